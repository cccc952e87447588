/**
 * Tasks as they were at a moment: the same Task JSON, with what came later taken out of it. Exact for tasks whose files are there; of those
 * that were removed what the journal says.
 */
import { arrange, stateAt, type Step } from '../task/event.ts';
import { arrayView, stateOfAll, type Counts } from '../task/many.ts';
import { isTerminal, TERMINAL, UNFINISHED, type State, type Task } from '../task/types.ts';
import { findElement, readArray, type ArrayNow } from './array.ts';
import { elementAt, viewArray, viewElement } from './array-view.ts';
import type { Located } from './find.ts';
import {
  changedSince,
  factsFromLines,
  historiesOf,
  history,
  historyAt,
  newHistoryCache,
  stateOfSubmit,
  type HistoryCache,
} from './history.ts';
import { baseId, idTime, isPiece, pieceId, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { compose, newCache, viewLocated, type AttemptView, type ReadCache, type TaskView } from './read.ts';
import { isOther, readJournalOf } from './tail.ts';
import { byId } from './walk.ts';
import { numbersIn, spanOf } from '../task/array.ts';

export interface Row {
  view: TaskView;
  at: Located;
}

export interface RewindOptions {
  /** Only what was in these states then. */
  states: readonly State[];
  /** Only these, as they were found now. */
  only?: readonly Located[];
  /** Elements of arrays one by one. */
  expand: boolean;
  /** Without notes and follow-ups. */
  brief: boolean;
}

/** What there was at `then` (server ms), newest first. */
export async function* rewound(q: Queue, then: number, options: RewindOptions): AsyncGenerator<Row> {
  const lines = await linesOf(q);
  const cache = newHistoryCache();
  const read = newCache();
  const told = new Set<string>();
  for (const { id, at } of await candidates(q, then, options, lines)) {
    if (told.has(id)) continue;
    told.add(id);
    const array = at === undefined || (at.part === undefined && !at.id.includes('.')) ? undefined : await readArray(q, baseId(id));
    if (array !== undefined && !id.includes('.')) {
      yield* arrayThen(q, array, then, options, lines, cache, read);
      continue;
    }
    const row =
      array !== undefined
        ? await elementThen(q, array, pieceOf(id)!.lo, then, lines, cache, read, options.brief)
        : at === undefined
          ? removedThen(id, then, lines.get(id) ?? [])
          : await taskThen(q, at, then, lines, cache, read, options.brief);
    if (row !== undefined && options.states.includes(row.view.state)) yield row;
  }
}

/** The ids that may have been there, newest first; of an array its own. Without an entry: removed since. */
async function candidates(
  q: Queue,
  then: number,
  { states, only }: RewindOptions,
  lines: ReadonlyMap<string, readonly Step[]>,
): Promise<Array<{ id: string; at: Located | undefined }>> {
  if (only !== undefined) return only.map((at) => ({ id: at.id, at }));
  const found = new Map<string, Located | undefined>();
  const arrays = new Map<string, boolean>();
  const note = async (at: Located): Promise<void> => {
    if (idTime(at.id) > then + COARSE_MS) return;
    const base = baseId(at.id);
    if (base === at.id) {
      found.set(at.id, at);
      return;
    }
    let is = arrays.get(base);
    if (is === undefined) {
      is = isPiece(at.id) || (await readArray(q, base)) !== undefined;
      arrays.set(base, is);
    }
    found.set(is ? base : at.id, is ? { ...at, id: base, part: 'array' } : at);
  };
  for await (const at of changedSince(q, Number.NEGATIVE_INFINITY, UNFINISHED)) await note(at);
  // What ended before and stayed so was not unfinished then: its directory has not changed since.
  const ended = states.some(isTerminal) ? Number.NEGATIVE_INFINITY : then;
  for await (const at of changedSince(q, ended, TERMINAL)) await note(at);
  for (const [id, steps] of lines) {
    // Also what was moved on while the places were read.
    if (!found.has(id) && !found.has(baseId(id)) && steps.some((s) => s.to === null && s.at > then)) found.set(id, undefined);
  }
  return [...found].map(([id, at]) => ({ id, at })).toSorted((a, b) => byId(a.id, b.id));
}

/** Two clocks of one machine differ by a tick. */
const COARSE_MS = 50;

async function linesOf(q: Queue): Promise<Map<string, Step[]>> {
  const lines = new Map<string, Step[]>();
  await readJournalOf(q, Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, (line) => {
    if (isOther(line) || isPiece(line.task)) return;
    const its = lines.get(line.task);
    if (its === undefined) lines.set(line.task, [line]);
    else its.push(line);
  });
  return lines;
}

async function taskThen(
  q: Queue,
  seen: Located,
  then: number,
  lines: ReadonlyMap<string, readonly Step[]>,
  cache: HistoryCache,
  read: ReadCache,
  brief: boolean,
): Promise<Row | undefined> {
  const its = lines.get(seen.id) ?? [];
  const h = (await historyAt(q, seen, its, cache)) ?? (await history(q, seen.id, its));
  const step = h === undefined ? undefined : stateAt(h.steps, then);
  if (h === undefined || step === undefined) return undefined;
  const view = await viewLocated(q, seen, read, brief);
  if (view === undefined) return undefined;
  return { view: rewind(view, step, h.steps, then), at: placeThen(seen, step) };
}

/** As if it lay there now; the file is where it lies today. */
function placeThen(at: Located, step: Step): Located {
  const state = step.to!;
  if (at.state === state) return at;
  return { ...at, n: step.attempt, state, place: placeOf(state, step) };
}

function placeOf(state: State, step: Step): Located['place'] {
  switch (state) {
    case 'running':
      return { state, session: '' };
    case 'delayed':
      return { state, dueAt: step.dueAt ?? step.at };
    case 'queued':
      return { state, lane: '', priority: 0 };
    default:
      return { state };
  }
}

/** The view of now without what came after `then`; `step` is the last one until then. */
function rewind(now: TaskView, step: Step, steps: readonly Step[], then: number): TaskView {
  const isLast = steps.at(-1) === step;
  const state = step.to!;
  const moment = new Date(then).toISOString();
  const attempts = now.attempts
    .filter((a) => (a.startedAt ?? a.endedAt ?? '') <= moment)
    .map((a) => (a.endedAt !== null && a.endedAt > moment ? unended(a) : a));
  const notes = now.notes.filter((n) => n.at <= moment);
  if (isLast) return { ...now, attempts, notes };
  const last = attempts.at(-1);
  const ended = isTerminal(state);
  return {
    ...now,
    state,
    reason: step.reason ?? null,
    notBefore: state === 'delayed' && step.dueAt !== undefined ? new Date(step.dueAt).toISOString() : now.notBefore,
    startedAt: state === 'running' || ended ? (last?.startedAt ?? null) : null,
    endedAt: ended ? new Date(step.at).toISOString() : null,
    exitCode: ended ? (step.exitCode ?? null) : null,
    signal: ended ? (step.signal ?? null) : null,
    result: null,
    progress: null,
    worker: state === 'running' ? step.worker : ended ? (last?.worker ?? null) : null,
    attempt: last?.attempt ?? 0,
    attempts,
    notes,
    followUps: [],
  };
}

function unended(a: AttemptView): AttemptView {
  const nothing = {
    endedAt: null,
    outcome: null,
    exitCode: null,
    signal: null,
    durationMs: null,
    cpuMs: null,
    maxRssKb: null,
    reason: null,
  };
  return { ...a, ...nothing };
}

/** What the journal says of a task that was removed. Its command is not known any more. */
function removedThen(id: string, then: number, lines: readonly Step[]): Row | undefined {
  const facts = factsFromLines(id, lines);
  const begins = lines.some((s) => s.from === null);
  const steps = arrange(lines, [], begins ? { state: null, attempt: 0, at: 0 } : undefined);
  const step = stateAt(steps, then);
  if (step === undefined) return undefined;
  const task: Task = {
    schema: 'tq.task/1',
    id,
    queue: facts.queue,
    priority: 0,
    command: [],
    cwd: '',
    env: {},
    envMode: 'none',
    submittedAt: begins ? facts.submittedAt : Math.round(idTime(id)),
    submittedBy: { user: facts.user, host: '' },
    submitDir: '',
    retries: 0,
    backoff: { kind: 'none' },
    jitter: false,
    graceMs: 0,
    onLost: 'requeue',
    split: false,
    ...(facts.name === null ? {} : { name: facts.name }),
    ...(facts.group === null ? {} : { group: facts.group }),
  };
  const at: Located = { id, n: step.attempt, state: step.to!, place: placeOf(step.to!, step), file: '' };
  const view = compose(task, at, [], undefined, undefined, [], [], []);
  const begun = steps.findLast((s) => s.to === 'running' && s.at <= then);
  const started = begun === undefined ? null : new Date(begun.at).toISOString();
  return {
    at,
    view: {
      ...view,
      reason: step.reason ?? null,
      worker: step.worker ?? (isTerminal(step.to!) ? (begun?.worker ?? null) : null),
      attempt: begun?.attempt ?? 0,
      startedAt: step.to === 'running' || isTerminal(step.to!) ? started : null,
      endedAt: isTerminal(step.to!) ? new Date(step.at).toISOString() : null,
      exitCode: isTerminal(step.to!) ? (step.exitCode ?? null) : null,
      signal: step.signal ?? null,
    },
  };
}

async function* arrayThen(
  q: Queue,
  array: ArrayNow,
  then: number,
  { states, expand, brief }: RewindOptions,
  lines: ReadonlyMap<string, readonly Step[]>,
  cache: HistoryCache,
  read: ReadCache,
): AsyncGenerator<Row> {
  const { id, many } = array;
  const counts: Counts = {};
  const changed = new Map<string, Step | undefined>();
  let first: Step | undefined;
  let from: number | undefined;
  let to: number | undefined;
  for await (const { facts, steps } of historiesOf(q, array, lines, cache)) {
    if (facts.id === id) {
      first = stateAt(steps, then);
      if (first === undefined) return;
      continue;
    }
    const step = stateAt(steps, then);
    changed.set(facts.id, step);
    for (const s of steps) {
      if (s.at > then) break;
      if (s.to === 'running') from = Math.min(from ?? s.at, s.at);
      if (s.to !== null && isTerminal(s.to)) to = Math.max(to ?? s.at, s.at);
    }
    const state = step?.to ?? first?.to ?? 'queued';
    counts[state] = (counts[state] ?? 0) + 1;
  }
  const untouched = many.size - changed.size;
  if (untouched > 0) counts[first!.to!] = (counts[first!.to!] ?? 0) + untouched;
  if (expand) {
    const { lo, hi } = spanOf(many.numbers);
    for (const n of numbersIn(many.numbers, lo, hi)) {
      const state = changed.get(pieceId(id, n, n))?.to ?? first!.to!;
      if (!states.includes(state)) continue;
      const row = await elementThen(q, array, n, then, lines, cache, read, brief);
      if (row !== undefined) yield row;
    }
    return;
  }
  const state = stateOfAll(counts);
  if (!states.includes(state)) return;
  const now = await viewArray(q, id, brief);
  if (now === undefined) return;
  const all = arrayView(many.size, counts);
  const ended = all.done + all.failed + all.canceled;
  yield {
    at: { ...now.at, state },
    view: {
      ...now.view,
      state,
      array: all,
      reason: all.failed > 0 ? `${all.failed} of ${many.size} failed` : state === now.view.state ? now.view.reason : null,
      startedAt: from === undefined ? null : new Date(from).toISOString(),
      endedAt: isTerminal(state) && to !== undefined ? new Date(to).toISOString() : null,
      result: isTerminal(state) && state === now.view.state ? now.view.result : null,
      progress: { percent: Math.floor((100 * ended) / many.size), message: null },
    },
  };
}

async function elementThen(
  q: Queue,
  array: ArrayNow,
  n: number,
  then: number,
  lines: ReadonlyMap<string, readonly Step[]>,
  cache: HistoryCache,
  read: ReadCache,
  brief: boolean,
): Promise<Row | undefined> {
  const id = pieceId(array.id, n, n);
  const found = await findElement(q, array, n);
  const now = await viewElement(q, array, n, read, brief);
  if (found === undefined || now === undefined || array.task.submittedAt > then) return undefined;
  let steps: Step[] = [];
  for await (const h of historiesOf(q, array, lines, cache, id)) steps = h.steps;
  const step = stateAt(steps, then) ?? beforeAll(array, id);
  const at = elementAt(array, n, found);
  return { view: rewind(now.view, step, steps, then), at: placeThen(at, step) };
}

/** An element of which nothing had happened is where the whole was submitted to. */
function beforeAll({ task }: ArrayNow, element: string): Step {
  return { at: task.submittedAt, task: element, from: null, to: stateOfSubmit(task), attempt: 0, worker: null };
}
