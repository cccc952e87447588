/**
 * `tq why`: why a task is not running, worker by worker.
 */
import { printError, printJson } from '../print.ts';
import type { Located } from '../queue/find.ts';
import { listOrEmpty } from '../queue/fsx.ts';
import { keyHolder } from '../queue/keys.ts';
import { baseId, cancelName, requirementsOf, type Requirements } from '../queue/layout.ts';
import { lackOf, wantsOf, type Lack } from '../queue/limits.ts';
import type { Queue } from '../queue/open.ts';
import { readOutcome } from '../queue/outcome.ts';
import { pausedQueues } from '../queue/pause.ts';
import { viewTask, type TaskView } from '../queue/read.ts';
import { arrayLimit } from '../queue/submit.ts';
import { readWhy } from '../queue/why.ts';
import { locateAny } from '../queue/array-view.ts';
import { userOf } from '../system.ts';
import { formatDuration } from '../task/duration.ts';
import { isTerminal, type AfterKind, type Outcome, type State, type Task } from '../task/types.ts';
import { iso } from '../task/time.ts';
import { visible } from '../task/visible.ts';
import { amount, obstacle, unable, type Obstacle, type Past } from '../worker/obstacle.ts';
import { isAwake, sights, type Sight } from '../worker/sight.ts';
import { clockTime, progressText, relative, stateAndReason } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { look, nowOf, type Looked } from './look.ts';
import { exitOfMissing, isRefusal, noSuchTask, readTaskQuietly, select } from './select.ts';
import { stateOf } from './show.ts';
import { defineCommand, type Ctx } from './spec.ts';

export const command = defineCommand({
  name: 'why',
  section: 'LOOKING',
  summary: 'say why a task is not running, worker by worker',
  examples: [{ command: 'tq why 7k2p', text: 'what it waits for' }],
  args: SELECTOR,
  flags: FILTER_FLAGS,
  run: why,
});

/** What `tq why --json` prints of a task. Fields are only ever added. */
interface Because {
  id: string;
  state: string;
  /** In one line. */
  text: string;
  /** Of a delayed task. */
  until: string | null;
  /** Of a waiting one. */
  parents: Array<{
    id: string;
    kind: AfterKind;
    state: string;
    /** Why it does not end, in a few words. */
    because: string | null;
  }>;
  /** Of a queued one: what keeps each worker from it; null for nothing. */
  workers: Array<{ name: string; obstacle: string | null; text: string }>;
}

async function why(ctx: Ctx): Promise<number> {
  const { io } = ctx;
  const selection = await select(ctx, { verb: 'why', words: ctx.args, none: 'usage', filters: true });
  const q = await ctx.queue();
  const farm = new Farm(q, await nowOf(q));
  const found: Because[] = [];
  const missing = [...selection.missing];
  for (const { id, at: seen } of selection.tasks) {
    const looked = await look(q, seen);
    if (looked === undefined) {
      missing.push(noSuchTask(id));
      continue;
    }
    const because = await explain(q, looked, farm);
    found.push(because);
    if (!ctx.json && !io.out(page(because, io))) break;
  }
  const alone = selection.tasks.length + selection.missing.length === 1;
  if (ctx.json && alone && found.length === 1) printJson(found[0], io);
  else if (ctx.json && !alone) printJson(found, io);
  for (const error of missing) printError(error, error.exit, ctx.json, io);
  return exitOfMissing(found.length, missing);
}

function page(b: Because, io: Pick<Ctx['io'], 'paint'>): string {
  let text = `${io.paint('bold', b.id)} ${b.text}\n`;
  for (const p of b.parents)
    text += `  ${visible(p.id)}: ${p.state}${p.because === null ? '' : ` ${p.because}`}${p.kind === 'after' ? '' : ` (--${p.kind})`}\n`;
  for (const w of b.workers) text += `  ${visible(w.name)}: ${w.text}\n`;
  return text;
}

/** The workers, looked at once however many tasks are asked about. */
class Farm {
  readonly q: Queue;
  readonly now: number;
  private seen: Promise<Sight[]> | undefined;
  private readonly used = new Map<string, Promise<Record<string, number>>>();

  constructor(q: Queue, now: number) {
    this.q = q;
    this.now = now;
  }

  workers(): Promise<Sight[]> {
    this.seen ??= sights(this.q);
    return this.seen;
  }

  /** What the tasks of a worker take of its offer. */
  inUse(s: Sight): Promise<Record<string, number>> {
    let known = this.used.get(s.file.session);
    if (known === undefined) {
      known = sumOfNeeds(this.q, s);
      this.used.set(s.file.session, known);
    }
    return known;
  }
}

async function sumOfNeeds(q: Queue, s: Sight): Promise<Record<string, number>> {
  const sum: Record<string, number> = {};
  const dir = q.lay.session(s.file.session);
  for (const name of await listOrEmpty(q.fsx, dir)) {
    const id = s.running.find((r) => name.startsWith(`${r}.a`) && name.endsWith('.json'));
    if (id === undefined) continue;
    const task = await readTaskQuietly(q, {
      id,
      n: 0,
      state: 'running',
      place: { state: 'running', session: s.file.session },
      file: `${dir}/${name}`,
    });
    for (const [what, n] of Object.entries(task?.needs ?? { cpus: 1 })) if (n !== undefined) sum[what] = (sum[what] ?? 0) + n;
  }
  return sum;
}

async function explain(q: Queue, { view, at }: Looked, farm: Farm): Promise<Because> {
  const base: Because = { id: view.id, state: view.state, text: '', until: null, parents: [], workers: [] };
  const reason = view.reason === null || view.reason === '' ? '' : visible(view.reason);
  const { now } = farm;
  switch (view.state) {
    case 'running':
      return { ...base, text: await runningText(q, { view, at }, farm) };
    case 'delayed': {
      const due = at.place.state === 'delayed' ? at.place.dueAt : undefined;
      const until = due === undefined ? '' : ` until ${clockTime(due, now)} (${relative(due, now)})`;
      const said = at.n === 0 ? 'not before then, as submitted' : 'not before then';
      const because = view.attempts.length === 0 ? said : `after attempt ${view.attempt}${reason === '' ? '' : `: ${reason}`}`;
      return { ...base, text: `is delayed${until}, ${because}`, until: due === undefined ? null : iso(due) };
    }
    case 'waiting': {
      for (const { id, kind } of view.after) {
        const state = await stateOf(q, id);
        base.parents.push({ id, kind, state, because: isTerminal(state as State) ? null : await becauseOf(q, id, state, PARENTS_DEEP) });
      }
      return { ...base, text: await waitingText(q, view.key, view.id, base.parents.length) };
    }
    case 'held': {
      const held = await readWhy(q, at.id, at.n, 'held');
      const by = held?.by === undefined || held.by === null ? '' : ` by ${visible(held.by.user)}`;
      const since =
        held === undefined
          ? at.n === 0
            ? ' since it was submitted'
            : ''
          : ` since ${clockTime(held.at, now)} (${relative(held.at, now)})`;
      return { ...base, text: `is held${by}${since}${reason === '' ? '' : `: ${reason}`}; tq release ${view.id} lets it go on` };
    }
    case 'queued': {
      const task = await readTaskQuietly(q, at);
      if (task === undefined) return { ...base, text: 'is queued, and moving' };
      return { ...base, ...(await queuedBecause(q, at, task, farm)) };
    }
    default: {
      const when = view.endedAt === null ? '' : ` ${relative(Date.parse(view.endedAt), now)}`;
      return {
        ...base,
        text: `has ended${when}, ${stateAndReason(view)}${isTerminal(view.state) && view.state !== 'done' ? `; tq retry ${view.id} runs it again` : ''}`,
      };
    }
  }
}

/** How many generations of parents are asked what they wait for themselves. */
const PARENTS_DEEP = 5;

/** What keeps a parent: who holds it, until when, or what it waits for in its turn. */
async function becauseOf(q: Queue, id: string, state: string, deep: number): Promise<string | null> {
  const view = await viewTask(q, id);
  if (view === undefined) return null;
  switch (state) {
    case 'held': {
      const at = await locateAny(q, id);
      const held = at === undefined ? undefined : await readWhy(q, at.id, at.n, 'held');
      return held?.by === undefined || held.by === null ? null : `by ${visible(held.by.user)}`;
    }
    case 'delayed':
      return view.notBefore === null ? null : `until ${clockTime(Date.parse(view.notBefore), await nowOf(q))}`;
    case 'running':
      return view.worker === null ? null : `on ${visible(view.worker)}`;
    case 'waiting': {
      if (deep === 0) return null;
      for (const parent of view.after) {
        const its = await stateOf(q, parent.id);
        if (isTerminal(its as State)) continue;
        const because = await becauseOf(q, parent.id, its, deep - 1);
        return `for ${visible(parent.id)}, which is ${its}${because === null ? '' : ` ${because}`}`;
      }
      return null;
    }
    default:
      return null;
  }
}

/** Of an array: how many of its elements run, and where; what keeps the others is asked of one of them. */
function arrayText(view: TaskView, workers: readonly Sight[]): string {
  const { size, running, queued, done, failed } = view.array!;
  const on = workers.filter((s) => s.alive && s.running.some((id) => baseId(id) === view.id)).map((s) => visible(s.file.name));
  const where = on.length === 0 ? '' : ` on ${on.join(', ')}`;
  const parts = [
    `${running} of ${size} elements run${where}`,
    `${queued} left`,
    `${done} done`,
    ...(failed > 0 ? [`${failed} failed`] : []),
  ];
  return `is running: ${parts.join(', ')}; tq why ${view.id}.N tells of one`;
}

async function runningText(q: Queue, { view, at }: Looked, farm: Farm): Promise<string> {
  if (view.array !== null) return arrayText(view, await farm.workers());
  const session = at.place.state === 'running' ? at.place.session : '';
  const worker = (await farm.workers()).find((s) => s.file.session === session);
  const started = view.attempts.at(-1)?.startedAt ?? null;
  const since = started === null ? '' : ` for ${formatDuration(Math.max(0, farm.now - Date.parse(started)))}`;
  const text = `is running on ${visible(view.worker ?? 'a worker')}${since}, attempt ${at.n}`;
  const asked = (await listOrEmpty(q.fsx, q.lay.session(session))).includes(cancelName(at.id, at.n)) ? ', asked to cancel' : '';
  if (worker !== undefined && worker.alive) {
    const progress = progressText(view.progress);
    return `${text}${progress === '' ? '' : `, ${progress}`}${asked}`;
  }
  const seen =
    worker?.lastSeenAt === undefined || worker.lastSeenAt === null ? '' : ` (last seen ${relative(worker.lastSeenAt, farm.now)})`;
  return `${text}${asked}; that worker is not alive${seen}: another one, or tq doctor --fix, hands the task back, at the latest after the lease of ${formatDuration(q.leaseMs)}`;
}

async function waitingText(q: Queue, key: string | null, id: string, parents: number): Promise<string> {
  const holder = key === null ? undefined : await holderQuietly(q, key);
  if (holder !== undefined && holder !== id) return `is waiting: its key ${visible(key!)} is held by ${visible(holder)}`;
  return parents === 0 ? 'is waiting to be admitted' : `is waiting for ${parents === 1 ? 'a task' : `${parents} tasks`}:`;
}

/** To read a key's token a missing one is made; a reader who may not write does not know. */
async function holderQuietly(q: Queue, key: string): Promise<string | undefined> {
  try {
    return await keyHolder(q, key);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

async function queuedBecause(q: Queue, at: Located, task: Task, farm: Farm): Promise<Pick<Because, 'text' | 'workers'>> {
  const r = requirementsOf(task);
  const all = await farm.workers();
  const keeps = await keepsEverywhere(q, task);
  const first = keeps === undefined ? 'is queued' : `is queued, and ${keeps.text}`;
  if (all.length === 0) return { text: `${first}: there is no worker; tq worker starts one`, workers: [] };
  const past = await pastOf(q, at, r, farm);
  const user = q.config.shared ? await ownerOf(q, at) : undefined;
  const everywhere = { id: task.id, priority: task.priority, keeps, timeoutMs: task.timeoutMs, now: farm.now, user };
  const workers: Because['workers'] = [];
  for (const s of all) {
    const found = obstacle(s, r, past, await farm.inUse(s), everywhere);
    workers.push({
      name: s.file.name,
      obstacle: found?.kind ?? null,
      text: found?.text ?? 'nothing keeps it from the task: it takes it when its turn comes',
    });
  }
  const nobody = r.worker === undefined || all.some((s) => s.file.name === r.worker) ? '' : `; there is no worker ${visible(r.worker)}`;
  return { text: `${first}${tooMuch(all, r)}${nobody}:`, workers };
}

/** The owner of its file, by whom workers of a shared queue go. */
async function ownerOf(q: Queue, at: Located): Promise<string | undefined> {
  try {
    return userOf((await q.fsx.stat(at.file)).uid);
  } catch {
    return undefined;
  }
}

/** What keeps a task from every worker: its queue is paused, or a limit or mutex of it has no room. */
async function keepsEverywhere(q: Queue, task: Task): Promise<Obstacle | undefined> {
  if ((await pausedQueues(q)).includes(task.queue)) return { kind: 'paused', text: `queue ${visible(task.queue)} is paused` };
  const lack = await lackOf(q, wantsOf(task), true);
  return lack === undefined ? undefined : { kind: lack.want.kind, text: lackText(lack) };
}

/** How the limit is called that holds the `%MAX` of an array. */
const ELEMENTS = arrayLimit('');

function lackText(lack: Lack): string {
  const { kind, n } = lack.want;
  const name = visible(lack.want.name);
  switch (lack.reason) {
    case 'missing':
      return `there is no limit ${name} (tq limit set ${name} --max N makes it)`;
    case 'small':
      return `limit ${name} has ${lack.most} ${lack.most === 1 ? 'share' : 'shares'}, ${n} asked for`;
    case 'held': {
      if (lack.want.name.startsWith(ELEMENTS)) return 'as many of its elements run as its %MAX allows at once';
      const by = lack.by.length === 0 ? '' : ` by ${lack.by.map(visible).join(', ')}`;
      return kind === 'mutex'
        ? `mutex ${name} is held${by}`
        : `limit ${name} has not ${n === 1 ? 'a share' : `${n} shares`} left: held${by}`;
    }
    case 'rate':
      return `limit ${name} allows no more starts for now`;
  }
}

/** What is asked for and the most on offer, when that is less. */
function tooMuch(all: readonly Sight[], r: Requirements): string {
  for (const [what, asked] of Object.entries(r.needs ?? {})) {
    const living = all.filter((s) => s.state !== 'offline');
    const most = Math.max(0, ...living.map((s) => s.file.offers[what] ?? 0));
    if (asked !== undefined && asked > most) return `; it asks for ${amount(what, asked)}, the most on offer is ${amount(what, most)}`;
  }
  return '';
}

/** How long a failed task is left to others after it was due, ms; as the workers do. */
const AVOID_MS = 60_000;

/** What its newest attempt means for the workers, as long as there is another one that could take it. */
async function pastOf(q: Queue, at: Located, r: Requirements, farm: Farm): Promise<Past> {
  const last = at.n === 0 ? undefined : await readOutcome(q, at.id, at.n);
  if (last === undefined) return { rejectedBy: [], failedOn: null };
  const able = (await farm.workers()).filter((s) => isAwake(s) && unable(s.file, r) === undefined).map((s) => s.file.name);
  const rejectedBy = able.some((name) => !last.tally.rejectedBy.includes(name)) ? last.tally.rejectedBy : [];
  const failed = isFailure(last) && able.some((name) => name !== last.worker);
  const dueAt = last.next.state === 'delayed' ? last.next.dueAt : last.endedAt;
  return { rejectedBy, failedOn: failed && farm.now <= dueAt + AVOID_MS ? last.worker : null };
}

function isFailure({ outcome }: Outcome): boolean {
  return outcome === 'failed' || outcome === 'signaled' || outcome === 'timeout' || outcome === 'stalled';
}
