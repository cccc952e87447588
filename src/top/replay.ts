/**
 * What happened, played back for the live view: the steps of all tasks from the journal and their own files, applied as their time comes.
 * The clock of the view runs from a moment of the past, N times as fast, and stands still at the moment when the replay was opened.
 */
import { serverNowOrLocal } from '../queue/clock.ts';
import { momentOf, replay, type Facts, type Told } from '../queue/history.ts';
import { baseId, inSubmitOrder } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { WORKER_STATES, type WorkerState } from '../queue/registry.ts';
import { count } from '../queue/walk.ts';
import type { System } from '../system.ts';
import type { Step } from '../task/event.ts';
import { stateOfAll, type Counts } from '../task/many.ts';
import { isTerminal, STATES, TERMINAL, type State } from '../task/types.ts';
import { parseFilter, passesAll, type Filter } from './filter.ts';
import type { Ask, Column, Row, Snapshot, Store, WorkerRow } from './model.ts';
import { newEndings } from './endings.ts';

/** A queue with more tasks is played from the moment on alone: what did not change since is not in the picture. */
const MOST_WHOLE = 50_000;
/** A submission with more elements is one row. */
const MOST_ELEMENTS = 10;
const MOST_FAILURES = 100;

/** A task that is there from now on. */
interface Begin {
  id: string;
  state: State;
  facts: Facts;
}

interface Played {
  facts: Facts;
  state: State;
  attempt: number;
  worker: string | null;
  startedAt: number | null;
  endedAt: number | null;
  info: string;
}

/** `from` in server ms; undefined: from the first thing that happened. */
export async function openReplay(
  q: Queue,
  system: Pick<System, 'now' | 'monotonic'>,
  from: number | undefined,
  speed: number,
): Promise<Store> {
  const to = await serverNowOrLocal(q);
  const whole = from === undefined || (await count(q, { states: STATES })).entries <= MOST_WHOLE;
  const all: Told[] = [];
  for await (const told of replay(q, whole ? Number.NEGATIVE_INFINITY : from, to)) all.push(told);
  const start = from ?? (all.length === 0 ? to : momentOf(all[0]!));
  const tasks = new Map<string, Played>();
  const workers = new Map<string, { state: WorkerState; at: number; reason: string | null }>();
  const endings = newEndings();
  let applied = 0;
  let ended = 0;
  const first = new Set<string>();
  const events: Array<{ at: number; told: Told | Begin }> = [];
  for (const told of all) {
    events.push({ at: momentOf(told), told });
    if (!('step' in told) || first.has(told.step.task)) continue;
    const { task: id, from: state } = told.step;
    first.add(id);
    // It was there before the first thing that is known of it; an element since its array was submitted.
    if (state !== null) events.push({ at: Math.min(told.facts.submittedAt, told.step.at), told: { id, state, facts: told.facts } });
  }
  const timed = events.toSorted((a, b) => a.at - b.at);

  const apply = (told: Told | Begin): void => {
    if ('id' in told) {
      if (!tasks.has(told.id)) tasks.set(told.id, played(told.facts, told.state));
      return;
    }
    if ('step' in told) {
      ended += step(tasks, told.step, told.facts);
      return;
    }
    const { type, subject, to: state, at, reason } = told.other;
    if (type === 'worker' && isWorkerState(state)) workers.set(subject, { state, at, reason: reason ?? null });
  };

  const began = system.monotonic();
  return {
    async look(ask) {
      const at = Math.min(to, start + (system.monotonic() - began) * speed);
      while (applied < timed.length && timed[applied]!.at <= at) apply(timed[applied++]!.told);
      // Of what lay before the beginning nothing is told.
      endings.tasks(ended, Math.max(0, at - start));
      return picture(q, ask, at, tasks, workers, endings, at - start);
    },
    async close() {
      applied = timed.length;
    },
  };
}

function played(facts: Facts, state: State): Played {
  return { facts, state, attempt: 0, worker: null, startedAt: null, endedAt: null, info: '' };
}

/** How many it makes that ended: 1 or 0. */
function step(tasks: Map<string, Played>, s: Step, facts: Facts): number {
  if (s.to === null) {
    tasks.delete(s.task);
    return 0;
  }
  const before = tasks.get(s.task) ?? played(facts, s.to);
  const isEnd = isTerminal(s.to);
  tasks.set(s.task, {
    facts,
    state: s.to,
    attempt: s.attempt,
    worker: s.to === 'running' ? s.worker : isEnd ? (s.worker ?? before.worker) : null,
    startedAt: s.to === 'running' ? s.at : isEnd ? before.startedAt : null,
    endedAt: isEnd ? s.at : null,
    info: [s.reason ?? '', s.by === undefined ? '' : `by ${s.by}`].filter((part) => part !== '').join(', '),
  });
  return isEnd ? 1 : 0;
}

function isWorkerState(word: string | null): word is WorkerState {
  return (WORKER_STATES as readonly (string | null)[]).includes(word);
}

const ORDER: readonly State[] = ['running', 'queued', 'delayed', 'waiting', 'held', 'failed', 'canceled', 'skipped', 'done'];

function picture(
  q: Queue,
  ask: Ask,
  at: number,
  tasks: ReadonlyMap<string, Played>,
  seen: ReadonlyMap<string, { state: WorkerState; at: number; reason: string | null }>,
  endings: ReturnType<typeof newEndings>,
  passedMs: number,
): Snapshot {
  const parsed = parseFilter(ask.filter, at);
  const filter = 'filter' in parsed ? parsed.filter : undefined;
  const counts = Object.fromEntries(STATES.map((s) => [s, 0])) as Record<State, number>;
  const runningOf = new Map<string, string[]>();
  const rows: Row[] = [];
  const folded = foldedOnes(tasks);
  const elements = new Map<string, Row[]>();
  for (const [id, task] of tasks) {
    if (!folded.has(baseId(id))) counts[task.state]++;
    if (task.state === 'running' && task.worker !== null) runningOf.set(task.worker, [...(runningOf.get(task.worker) ?? []), id]);
    if (!folded.has(baseId(id))) rows.push(rowOf(id, task, 0));
    else if (id !== baseId(id) && ask.unfolded.has(baseId(id)))
      elements.set(baseId(id), [...(elements.get(baseId(id)) ?? []), rowOf(id, task, 1)]);
  }
  for (const [base, { its, sums }] of folded) {
    const row = arrayRow(base, its, sums, !ask.unfolded.has(base));
    counts[row.state]++;
    rows.push(row);
  }
  const all = rows.filter((row) => !isTerminal(row.state) || row.state === 'failed');
  const failures = new Set(
    all
      .filter((row) => row.state === 'failed')
      .toSorted((a, b) => (b.endedAt ?? 0) - (a.endedAt ?? 0))
      .slice(0, MOST_FAILURES),
  );
  const states = filter?.filters.failed === true ? ['failed' as const] : filter?.filters.states;
  const plain = all.filter((row) => row.state !== 'failed' || failures.has(row));
  const wanted = states === undefined ? plain : rows.filter((row) => states.includes(row.state));
  const left = (filter === undefined ? plain : wanted.filter((row) => passes(filter, row, tasks)))
    .toSorted(inOrder(ask.sort, ask.reverse))
    .flatMap((row) => [row, ...(elements.get(row.id) ?? []).toSorted((a, b) => inSubmitOrder(a.id, b.id))]);
  const index = ask.cursor === null ? -1 : left.findIndex((row) => row.id === ask.cursor);
  let offset = Math.max(0, Math.min(ask.offset, left.length - 1));
  if (index >= 0 && index < offset) offset = index;
  if (index >= offset + ask.rows) offset = index - ask.rows + 1;
  const names = new Set([...seen.keys(), ...runningOf.keys()]);
  const workers = [...names].toSorted().map((name) => workerRow(name, seen.get(name), runningOf.get(name) ?? []));
  const rate = endings.rate(passedMs);
  const rest = counts.queued + counts.running;
  return {
    at,
    dir: q.dir,
    word: wordOf(counts, workers),
    counts,
    throughput: endings.points(passedMs),
    rate,
    etaMs: rate > 0 && rest > 0 ? Math.round((rest / rate) * 1000) : null,
    workers,
    rows: left.slice(offset, offset + ask.rows),
    offset,
    matching: left.length,
    reach: left.length,
    total: plain.length,
    isComplete: true,
    unreachableSince: null,
    isWritable: false,
    filterError: 'error' in parsed ? parsed.error : null,
  };
}

/** Submissions of many elements, with how many are in which state. */
function foldedOnes(tasks: ReadonlyMap<string, Played>): Map<string, { its: Played[]; sums: Counts }> {
  const found = new Map<string, { its: Played[]; sums: Counts }>();
  for (const [id, task] of tasks) {
    const base = baseId(id);
    if (base === id) continue;
    let sub = found.get(base);
    if (sub === undefined) found.set(base, (sub = { its: [], sums: {} }));
    sub.its.push(task);
    sub.sums[task.state] = (sub.sums[task.state] ?? 0) + 1;
  }
  // An array was submitted as a whole; of many tasks of a batch one row is enough.
  for (const [base, { its }] of found) if (its.length <= MOST_ELEMENTS && !tasks.has(base)) found.delete(base);
  return found;
}

function rowOf(id: string, task: Played, depth: 0 | 1): Row {
  const { facts } = task;
  return {
    kind: depth === 1 ? 'element' : 'task',
    id,
    state: task.state,
    name: facts.title,
    queue: facts.queue,
    group: facts.group,
    priority: null,
    user: facts.user,
    worker: task.worker,
    attempt: task.attempt,
    submittedAt: facts.submittedAt,
    startedAt: task.startedAt,
    endedAt: task.endedAt,
    info: task.info,
    percent: null,
    message: null,
    counts: null,
    depth,
    isFolded: null,
  };
}

function arrayRow(id: string, its: readonly Played[], sums: Counts, isFolded: boolean): Row {
  const ended = TERMINAL.reduce((n, state) => n + (sums[state] ?? 0), 0);
  const starts = its.flatMap((task) => task.startedAt ?? []);
  return {
    ...rowOf(id, its[0]!, 0),
    kind: 'array',
    state: stateOfAll(sums),
    worker: null,
    attempt: 0,
    startedAt: starts.length === 0 ? null : starts.reduce((a, b) => Math.min(a, b)),
    endedAt: null,
    info: (sums.failed ?? 0) === 0 ? '' : `${sums.failed} of ${its.length} failed`,
    percent: Math.floor((100 * ended) / its.length),
    counts: sums,
    isFolded,
  };
}

function workerRow(
  name: string,
  said: { state: WorkerState; at: number; reason: string | null } | undefined,
  running: readonly string[],
): WorkerRow {
  const state = said?.state ?? 'awake';
  return {
    name,
    host: '',
    state,
    want: null,
    alive: state !== 'offline',
    suspected: false,
    jobs: running.length,
    running,
    load: null,
    lastSeenAt: said?.at ?? null,
    queues: [],
    labels: {},
    reason: said?.reason ?? null,
  };
}

function wordOf(counts: Readonly<Record<State, number>>, workers: readonly WorkerRow[]): Snapshot['word'] {
  if (counts.running > 0) return 'active';
  const awake = workers.some((w) => w.state === 'awake' || w.state === 'starting');
  if (counts.queued + counts.waiting + counts.delayed + counts.held > 0) return awake ? (counts.queued > 0 ? 'active' : 'idle') : 'waiting';
  if (awake) return 'idle';
  return workers.some((w) => w.alive) ? 'asleep' : 'empty';
}

function passes(filter: Filter, row: Row, tasks: ReadonlyMap<string, Played>): boolean {
  return passesAll(filter, row.id, {
    state: row.state,
    queue: row.queue ?? '',
    group: row.group,
    labels: tasks.get(row.id)?.facts.labels,
    name: row.name,
    user: row.user ?? '',
    worker: row.worker,
    submittedAt: row.submittedAt,
  });
}

function inOrder(column: Column | null, reverse: boolean): (a: Row, b: Row) => number {
  const sign = reverse ? -1 : 1;
  const keyOf = (row: Row): string | number | null => {
    switch (column) {
      case 'age':
        return -row.submittedAt;
      case 'time':
        return row.startedAt;
      case null:
      case 'state':
      case 'id':
        return null;
      default:
        return row[column];
    }
  };
  return (a, b) => {
    const [x, y] = [keyOf(a), keyOf(b)];
    if (x !== y) {
      if (x === null || y === null) return x === null ? 1 : -1;
      return x < y ? -sign : sign;
    }
    return sign * ((column === 'id' ? 0 : byState(a, b)) || inSubmitOrder(a.id, b.id));
  };
}

function byState(a: Row, b: Row): number {
  return ORDER.indexOf(a.state) - ORDER.indexOf(b.state);
}
