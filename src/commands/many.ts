/**
 * `tq submit --batch`, `-f` and `--each-worker`: many tasks in one submission, all of them or none. Everything is read and checked
 * before anything is written; a message names the line, or the file, the task and the key.
 */
import { TqError, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import type { Queue } from '../queue/open.ts';
import type { Submission } from '../queue/bulk.ts';
import type { GroupRules } from '../queue/groups.ts';
import { expectWork, type System } from '../system.ts';
import type { Rules, Workflow } from '../flow/workflow.ts';
import type { SubmitFlags, TaskDraft } from '../task/build.ts';
import { numbersIn, oneTo } from '../task/array.ts';
import { parseDuration } from '../task/duration.ts';
import { elementOf, MOST } from '../task/many.ts';
import { parseMaxFails } from '../task/max-fails.ts';
import { checkGroup } from '../task/names.ts';
import type { Parent, Task } from '../task/types.ts';
import { quoted } from '../task/visible.ts';
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { mergeFlags } from './script-flags.ts';
import type { Ctx, GlobalFlags } from './spec.ts';
import { draftOf, queueFor, submitterTo, type Submitter } from './submit.ts';
import { readTaskObject, type TaskObject } from './task-object.ts';

/** A submission as it was asked for, checked but for what only the queue can tell. */
interface Plan {
  /** In order; parents inside the submission by their positions. */
  rows: Row[];
  /** What holds for all of it. */
  rules: GroupRules | undefined;
}

interface Row {
  /** For messages: the line, or the file and the task. */
  where: string;
  draft: TaskDraft;
  inside: Array<{ kind: 'after' | 'after-any' | 'after-notok' | 'after-each'; local: number }>;
}

type Many = Ctx<SubmitFlags & GlobalFlags>;

/** The exit code. */
export async function submitMany(ctx: Many): Promise<number> {
  const { flags } = ctx;
  expectWork();
  checkFlags(ctx);
  const planIt = flags.batch !== undefined ? planBatch : flags.file !== undefined ? planFlow : planWorkers;
  const q = await queueFor(ctx, () => planIt(ctx, frozen(ctx.system)));
  const system = frozen(await submitterTo(q, ctx.system));
  const plan = await withWholeParents(ctx, await planIt(ctx, system));
  const { elementOf: taskOf, newSubmission, ParentError, submitBulk } = await import('../queue/bulk.ts');
  const { groupFiles } = await import('../queue/groups.ts');
  if (flags['dry-run'] === true) {
    const { makeId } = await import('../queue/layout.ts');
    const s = { id: makeId(system.now()), serverMs: system.now() };
    printJson(
      draftsOf(plan, s).map((draft, i) => taskOf(draft, `${s.id}.${i + 1}`, s.serverMs)),
      ctx.io,
    );
    return 0;
  }
  if (plan.rows.length === 0) {
    if (flags.file !== undefined)
      throw new TqError('REFUSED', `${flags.file}: there are no tasks in it`, { hint: 'nothing was submitted' });
    if (ctx.json) printJson([], ctx.io);
    return 0;
  }
  const s = await newSubmission(q);
  const { syncFileSystem } = await import('../worker/proc.ts');
  const tasks = await submitBulk(q, s, draftsOf(plan, s), {
    ...(plan.rules === undefined ? {} : { files: groupFiles(s, plan.rows.length, plan.rules) }),
    sync: () => syncFileSystem(q.dir),
  }).catch((error: unknown) => {
    throw error instanceof ParentError ? located(plan.rows[error.position]!.where, error) : error;
  });
  if (ctx.json) printJson(await views(q, tasks), ctx.io);
  else if (flags.batch === undefined) ctx.io.out(`${s.id}\n`);
  else ctx.io.out(tasks.map((task) => `${task.id}\n`).join(''));
  return flags.wait === true ? waitForAll(ctx, q, tasks) : 0;
}

/** Each parent outside of the submission as people name it is looked up once. */
async function withWholeParents(ctx: Many, { rows, rules }: Plan): Promise<Plan> {
  if (rows.every(({ draft }) => draft.after === undefined)) return { rows, rules };
  const { wholeParents } = await import('./parents.ts');
  const known = new Map<string, Parent[]>();
  const named: Row[] = [];
  for (const row of rows) {
    const after: Parent[] = [];
    for (const parent of row.draft.after ?? []) {
      const key = `${parent.kind} ${parent.id}`;
      let whole = known.get(key);
      if (whole === undefined) {
        whole = await wholeParents(ctx as unknown as Ctx, [parent]).catch((error: unknown) => {
          throw error instanceof TqError ? located(row.where, error) : error;
        });
        known.set(key, whole);
      }
      after.push(...whole);
    }
    named.push(after.length === 0 ? row : { ...row, draft: { ...row.draft, after } });
  }
  return { rows: named, rules };
}

function checkFlags({ flags, command }: Many): void {
  if (flags.batch !== undefined && flags.file !== undefined) throw usage(`--batch and --file ${quoted(flags.file)} exclude each other`);
  if (flags.set !== undefined && flags.file === undefined) throw usage(`--set ${quoted(flags.set[0]!)} goes with -f`);
  if (flags['each-worker'] === true) {
    checkEachWorker(flags);
    return;
  }
  const one = flags.batch === undefined ? '--file' : '--batch';
  if (flags.batch !== undefined && flags.batch !== '-') throw usage(`--batch: only - (standard input) is read: ${quoted(flags.batch)}`);
  if (command !== undefined) throw usage(`${one} and a command after -- exclude each other`, 'the tasks say themselves what they run');
  if (flags.follow === true) throw usage(`${one} and --follow exclude each other`, 'tq logs -f ID follows one of its tasks');
  for (const name of PER_TASK) {
    if (flags[name] !== undefined) throw usage(`--${name} is for a single task: it cannot go with ${one}`);
  }
}

/** One command for each worker: nothing else may make many of it, or say where it runs. */
function checkEachWorker(flags: SubmitFlags): void {
  const other = (['batch', 'file', 'array', 'each', 'each-json', 'each-csv', 'param', 'worker'] as const).find(
    (name) => flags[name] !== undefined,
  );
  if (other !== undefined) throw usage(`--each-worker and --${other} exclude each other`);
  if (flags.follow === true) throw usage('--each-worker and --follow exclude each other', 'tq logs -f ID follows all of them');
  if (flags.key !== undefined)
    throw new TqError('REFUSED', '--key is for a single task: it cannot go with --each-worker', { hint: 'nothing was submitted' });
}

/** What only a task itself can say. */
const PER_TASK = [
  'command',
  'script',
  'step',
  'handler',
  'data',
  'stdin',
  'key',
  'array',
  'each',
  'each-json',
  'each-csv',
  'param',
  'each-worker',
  'chunk',
] as const;

/** What holds for the whole submission. */
const FOR_ALL = ['max-fails', 'deadline', 'on-success', 'on-failure', 'on-cancel'] as const;

/** What is about this submit and not about tasks. */
const OWN = ['batch', 'file', 'set', 'wait', 'follow', 'dry-run', 'dir', 'json', 'help', ...FOR_ALL] as const;

/** The flags of the command line as they lie under every task. */
function baseOf(flags: SubmitFlags): SubmitFlags {
  return Object.fromEntries(Object.entries(flags).filter(([name]) => !(OWN as readonly string[]).includes(name))) as SubmitFlags;
}

/** The outside, asked once: a hundred thousand tasks have one submitter and one clock. */
function frozen(system: Submitter): Submitter {
  const [now, cwd, user, host] = [system.now(), system.cwd(), system.user(), system.host()];
  return { ...system, env: { ...system.env }, now: () => now, cwd: () => cwd, user: () => user, host: () => host };
}

async function planBatch(ctx: Many, system: Submitter): Promise<Plan> {
  const base = baseOf(ctx.flags);
  const lines = ctx.system.readStdin().toString('utf8').split('\n');
  while (lines.at(-1)?.trim() === '') lines.pop();
  const rows: Row[] = [];
  for (const [i, line] of lines.entries()) {
    const where = `line ${i + 1}`;
    const object = readTaskObject(parseLine(line, where), where);
    if (object.flags.stdin === '-' || object.flags.script === '-') throw usage(`${where}: standard input is the batch itself`);
    const draft = await draftAt(where, base, [object], system);
    if (draft.many !== undefined)
      throw new TqError('USAGE', `${where}: a line of a batch is one task, not an array`, {
        hint: 'tq submit --array is a submission of its own',
      });
    rows.push({ where, draft, inside: [] });
  }
  return { rows, rules: await rulesOf({}, ctx.flags, base, ctx.flags.group, '--batch', system) };
}

/** The command once for each worker that is alive, `{}` and `TQ_ITEM` being its name. */
async function planWorkers(ctx: Many, system: Submitter): Promise<Plan> {
  const { 'each-worker': _each, ...base } = baseOf(ctx.flags);
  const draft = await draftOf(base, ctx.command, system);
  if (draft.worker !== undefined || draft.many !== undefined)
    throw usage('--each-worker: the script asks for a worker, or for many elements, itself');
  const { sights } = await import('../worker/sight.ts');
  const names = (await sights(await ctx.queue())).filter((s) => s.alive).map((s) => s.file.name);
  if (names.length === 0)
    throw new TqError('REFUSED', '--each-worker: no worker is alive', { hint: 'tq worker starts one; nothing was submitted' });
  const many: TaskDraft = {
    ...draft,
    many: { numbers: oneTo(names.length), size: names.length, items: { blob: '', of: 'lines' } },
    items: names.map((name) => JSON.stringify(name)),
  };
  const rows = expanded([{ where: '--each-worker', draft: many, inside: [] }]);
  return {
    rows: rows.map((row, i) => ({ ...row, draft: { ...row.draft, worker: names[i]! } })),
    rules: await rulesOf({}, ctx.flags, base, ctx.flags.group, '--each-worker', system),
  };
}

function parseLine(line: string, where: string): unknown {
  try {
    return JSON.parse(line);
  } catch (error) {
    throw new TqError('USAGE', `${where}: not JSON: ${quoted(line.slice(0, 80))}`, { cause: error, hint: 'one task object a line' });
  }
}

async function planFlow(ctx: Many, system: Submitter): Promise<Plan> {
  const { loadWorkflow } = await import('../flow/load.ts');
  const file = ctx.flags.file!; // submitMany is for --batch or --file, and checkFlags has refused --set alone
  const flow = await loadWorkflow(file, system.cwd(), ctx.flags.set ?? []);
  const base = baseOf(ctx.flags);
  const group = ctx.flags.group ?? (flow.name === undefined ? undefined : checkGroup(flow.name, `${file}: name`));
  if (group !== undefined) base.group = group;
  const defaults = readTaskObject(flow.defaults, `${file}: defaults`);
  const rows: Row[] = [];
  for (const task of flow.tasks) rows.push(await flowRow(task, defaults, base, system));
  return { rows: expanded(rows), rules: await rulesOf(flow.rules, ctx.flags, base, group, file, system) };
}

/** Each element of an array in a workflow is a task of its own; what comes after the array comes after all of them. */
function expanded(rows: readonly Row[]): Row[] {
  const numbers = rows.map(({ draft }) => (draft.many === undefined ? undefined : [...numbersIn(draft.many.numbers, 0, MOST)]));
  const first: number[] = [];
  let total = 0;
  for (const list of numbers) {
    first.push(total);
    total += list?.length ?? 1;
  }
  return rows.flatMap(({ where, draft, inside }, i) => {
    const { many, items, ...rest } = draft;
    if (many === undefined) {
      if (inside.some(({ kind }) => kind === 'after-each'))
        throw usage(`${where}: after-each: this is one task, not an array`, 'after waits for all of it');
      return [{ where, draft, inside: inside.flatMap(({ kind, local }) => all(kind, local)) }];
    }
    if (many.max !== undefined)
      throw usage(`${where}: array: at most so many at once is not for a workflow`, 'a limit does that: tq limit set NAME --max N');
    return numbers[i]!.map((n) => {
      const { task, env } = elementOf(rest as unknown as Task, many, n, items?.[n - 1]);
      const outside = rest.after?.map((p) => (p.kind === 'after-each' ? ({ id: `${p.id}.${n}`, kind: 'after' } as const) : p));
      return {
        where,
        draft: { ...(task as unknown as TaskDraft), env: { ...rest.env, ...env }, ...(outside === undefined ? {} : { after: outside }) },
        inside: inside.flatMap(({ kind, local }) => (kind === 'after-each' ? each(where, local, n) : all(kind, local))),
      };
    });
  });

  function all(kind: Row['inside'][number]['kind'], local: number): Row['inside'] {
    const size = numbers[local]?.length ?? 1;
    return Array.from({ length: size }, (_, k) => ({ kind, local: first[local]! + k }));
  }

  function each(where: string, local: number, n: number): Row['inside'] {
    const before = numbers[local];
    if (before === undefined) throw usage(`${where}: after-each: what it comes after is one task, not an array`, 'after waits for it');
    const k = before.indexOf(n);
    if (k < 0) throw usage(`${where}: after-each: the array before has no element ${n}`, 'both must have the same numbers');
    return [{ kind: 'after', local: first[local]! + k }];
  }
}

async function flowRow(task: Workflow['tasks'][number], defaults: TaskObject, base: SubmitFlags, system: Submitter): Promise<Row> {
  const own = readTaskObject(task.object, task.where);
  const below = saysWhat(own) ? withoutWhat(defaults) : defaults;
  const draft = await draftAt(task.where, base, [below, own], system);
  const inside: Row['inside'] = [];
  for (const { kind, to } of task.parents) {
    if ('local' in to) inside.push({ kind, local: to.local });
    else draft.after = [...(draft.after ?? []), { id: to.id, kind }];
  }
  return { where: task.where, draft, inside };
}

const WHAT = ['command', 'shell', 'script', 'step', 'handler', 'data'] as const;

function saysWhat({ argv, flags }: TaskObject): boolean {
  return argv !== undefined || WHAT.some((name) => name !== 'shell' && name !== 'data' && flags[name] !== undefined);
}

/** A task that says what it runs takes nothing of that from the defaults. */
function withoutWhat({ flags }: TaskObject): TaskObject {
  const rest = { ...flags };
  for (const name of WHAT) delete rest[name];
  return { flags: rest, argv: undefined };
}

/** The task of some objects, each over the one before it. Usage errors name `where` and the key. */
async function draftAt(where: string, base: SubmitFlags, objects: readonly TaskObject[], system: Submitter): Promise<TaskDraft> {
  let flags = base;
  let argv: string[] | undefined;
  for (const object of objects) {
    flags = mergeFlags({ ...flags }, { ...object.flags }, SUBMIT_FLAGS) as SubmitFlags;
    argv = object.argv ?? argv;
  }
  try {
    if (flags.key !== undefined)
      throw new TqError('REFUSED', 'key is for a single task, not for one of many', {
        hint: 'tq submit --key for this one alone; nothing was submitted',
      });
    return await draftOf(flags, argv, system);
  } catch (error) {
    throw error instanceof TqError ? located(where, error) : error;
  }
}

/** The error of a task among many; a flag is a key there. */
function located(where: string, error: TqError): TqError {
  return new TqError(error.code, `${where}: ${error.message.replace(/^--/, '')}`, {
    ...(error.hint === undefined ? {} : { hint: error.hint }),
    cause: error,
  });
}

/** What holds for the whole: the command line's word before the file's. */
async function rulesOf(
  file: Rules,
  flags: SubmitFlags,
  base: SubmitFlags,
  group: string | undefined,
  where: string,
  system: System,
): Promise<GroupRules | undefined> {
  const rules: GroupRules = {};
  const word = (name: (typeof FOR_ALL)[number]): { text: string; from: string } | undefined => {
    const own = flags[name];
    if (own !== undefined) return { text: own, from: `--${name}` };
    const there = file[name];
    return there === undefined ? undefined : { text: there, from: `${where}: ${name}` };
  };
  const most = word('max-fails');
  if (most !== undefined) rules.maxFails = parseMaxFails(most.text, most.from);
  const deadline = word('deadline');
  if (deadline !== undefined) {
    rules.deadlineMs = parseDuration(deadline.text, deadline.from);
    if (rules.deadlineMs === 0) throw usage(`${deadline.from}: must be longer than nothing: ${quoted(deadline.text)}`);
  }
  for (const kind of ['success', 'failure', 'cancel'] as const) {
    const callback = word(`on-${kind}`);
    if (callback === undefined) continue;
    const { group: _group, after: _after, hold: _hold, ...own } = base;
    const object: TaskObject = { flags: { command: callback.text, name: `on-${kind}` }, argv: undefined };
    rules[kind] = await draftAt(callback.from, own, [object], system);
  }
  if (Object.keys(rules).length === 0) return undefined;
  return group === undefined ? rules : { ...rules, name: group };
}

/** With the ids of this submission. */
function draftsOf({ rows, rules }: Plan, s: Submission): TaskDraft[] {
  return rows.map(({ draft, inside }) => {
    const after = [...(draft.after ?? []), ...inside.map(({ kind, local }) => ({ kind, id: `${s.id}.${local + 1}` }))];
    return {
      ...draft,
      ...(after.length === 0 ? {} : { after }),
      ...(rules === undefined ? {} : { submission: s.id }),
    };
  });
}

async function views(q: Queue, tasks: readonly Task[]): Promise<object[]> {
  const { newCache, viewLocated } = await import('../queue/read.ts');
  const { locateMany } = await import('../queue/walk.ts');
  const there = await locateMany(
    q,
    tasks.map((task) => task.id),
  );
  const cache = newCache();
  const found: object[] = [];
  for (const task of tasks) {
    const at = there.get(task.id);
    found.push((at === undefined ? undefined : await viewLocated(q, at, cache)) ?? task);
  }
  return found;
}

/** 0 when all ended done. */
async function waitForAll(ctx: Many, q: Queue, tasks: readonly Task[]): Promise<number> {
  const { interruptible } = await import('./interrupt.ts');
  const { untilEnded } = await import('./wait.ts');
  const { locateMany } = await import('../queue/walk.ts');
  const ids = tasks.map((task) => task.id);
  const there = await locateMany(q, ids);
  return interruptible(ctx as unknown as Ctx, ids, async (signal) => {
    const ended = await untilEnded(
      q,
      ids.flatMap((id) => (there.has(id) ? [{ id, at: there.get(id)! }] : [])),
      ctx,
      { signal },
    );
    return ended !== 'timeout' && !signal.aborted && [...ended.values()].every((end) => end.state === 'done') ? 0 : 1;
  });
}
