/**
 * What happened, from the files that say so: of one task its steps from submit to now, as its task file, the outcomes of its attempts and
 * the records of who held, canceled or retried it tell them; of a time the steps of all tasks, with what the journal knows beside that
 * (exact moments, tasks that were removed, workers and queues). The order of a task's steps is legal whatever is missing.
 */
import { commandLine } from '../task/argv.ts';
import { arrange, isAttempt, withGap, type Found, type Known, type OtherEvent, type Step } from '../task/event.ts';
import { includes, numbersIn, spanOf } from '../task/array.ts';
import { isTerminal, STATES, TERMINAL, type Outcome, type State, type Task } from '../task/types.ts';
import { findElement, readArray, type ArrayNow } from './array.ts';
import { locateAny } from './array-view.ts';
import { buckets, entriesOf, placesToLook, shownState, type Located } from './find.ts';
import { isGone, isOfEntry, listOrEmpty } from './fsx.ts';
import { baseId, bucketOf, isPiece, parentOf, parseEntry, pieceId, pieceOf, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome, readTaskAt } from './outcome.ts';
import { newCache, readNow, type ReadCache } from './read.ts';
import { isOther, readJournalOf, type Line } from './tail.ts';
import { freePlace } from './task-file.ts';
import { readIfThere } from './steps.ts';
import { readWhy } from './why.ts';

/** What filters ask of a task, as far as it is known. */
export interface Facts {
  id: string;
  submittedAt: number;
  name: string | null;
  /** Its name, or else what it runs; null where only the journal tells of it. */
  title: string | null;
  queue: string;
  group: string | null;
  user: string;
  labels: Readonly<Record<string, string>>;
}

export interface History {
  facts: Facts;
  steps: Step[];
  /** So many of them are told by somebody; the rest leads to where the task lies now. */
  sure: number;
}

/** What one pass over many tasks keeps: listings of `runs/`, states of workers. */
export interface HistoryCache {
  read: ReadCache;
  runs: Map<string, Map<string, string[]>>;
}

export function newHistoryCache(): HistoryCache {
  return { read: newCache(), runs: new Map() };
}

/** All steps of a task or of one element of an array; of an array the submit. Undefined: it is not there. */
export async function history(q: Queue, id: string, seen: readonly Step[] = []): Promise<History | undefined> {
  for (let round = 0; round < TRIES; round++) {
    // What was listed before it was found may be of the time before it came there.
    const cache = newHistoryCache();
    const at = await locateAny(q, id, round > 0);
    if (at === undefined) return undefined;
    // One element of an array may have an entry of its own.
    const alone = at.part === undefined && (!id.includes('.') || (await readIfAllowed(q, at))?.many === undefined);
    if (alone) {
      const found = await historyAt(q, at, seen, cache);
      if (found !== undefined) return found;
      continue;
    }
    const array = await readArray(q, baseId(id));
    if (array === undefined) continue;
    for await (const found of historiesOf(q, array, new Map([[id, seen]]), cache, id)) if (found.facts.id === id) return found;
    return { facts: factsOf(array.task, id), steps: [], sure: 0 };
  }
  return undefined;
}

/** How often a task that moves is looked at again. */
const TRIES = 3;

/** Of a task whose entry was just found; undefined: it moved on. */
export async function historyAt(q: Queue, at: Located, seen: readonly Step[], cache: HistoryCache): Promise<History | undefined> {
  const task = await readIfAllowed(q, at);
  if (task === undefined) return undefined;
  const first: Found = { ...submission(task), task: at.id };
  const found = [first, ...(await foundOf(q, task, at, cache))];
  const sure = arrange(seen, found, NOTHING);
  return { facts: factsOf(task, at.id), steps: await upToNow(q, at, sure, cache, task), sure: sure.length };
}

/** One that may not be read keeps the others' history from nobody. */
async function readIfAllowed(q: Queue, at: Located): Promise<Task | undefined> {
  try {
    return await readTaskAt(q, at.file, at.id);
  } catch (error) {
    if (isOfEntry(error)) return undefined;
    throw error;
  }
}

const NOTHING: Known = { state: null, attempt: 0, at: 0 };

export function factsOf(task: Task, id: string): Facts {
  return {
    id,
    submittedAt: task.submittedAt,
    name: task.name ?? null,
    title: task.name ?? commandLine(task),
    queue: task.queue,
    group: task.group ?? null,
    user: task.submittedBy.user,
    labels: task.labels ?? {},
  };
}

/** The state in which a task was submitted. */
export function stateOfSubmit(task: Task): State {
  if (task.key !== undefined) return 'waiting';
  return task.hold === true ? 'held' : freePlace(task, task.submittedAt).state;
}

function submission(task: Task): Step {
  const { id, submittedAt: at, notBefore: dueAt } = task;
  return { at, task: id, from: null, to: stateOfSubmit(task), attempt: 0, worker: null, ...(dueAt === undefined ? {} : { dueAt }) };
}

/** The names in `runs/` that are about this task, behind its id. */
async function namesOf(q: Queue, id: string, cache: HistoryCache): Promise<readonly string[]> {
  const dir = q.lay.runs(id);
  let known = cache.runs.get(dir);
  if (known === undefined) {
    // Those of one bucket come one after the other.
    if (cache.runs.size >= MOST_LISTINGS) cache.runs.clear();
    known = new Map();
    for (const name of await listOrEmpty(q.fsx, dir)) {
      const m = RUN.exec(name);
      if (m === null || m[2]!.endsWith('log')) continue;
      const its = known.get(m[1]!);
      if (its === undefined) known.set(m[1]!, [m[2]!]);
      else its.push(m[2]!);
    }
    cache.runs.set(dir, known);
  }
  return known.get(id) ?? [];
}

const MOST_LISTINGS = 50;
const RUN = /^([0-9a-z]{10,16}(?:\.\d{1,9}(?:-\d{1,9})?)?)\.a(\d.*)$/;
const WHY = new RegExp(`^(\\d+)\\.(${STATES.join('|')})\\.json$`);

/** What the files of a task tell, behind its submit. */
async function foundOf(q: Queue, task: Task, at: Located, cache: HistoryCache): Promise<Found[]> {
  const id = at.id;
  const found: Found[] = [];
  const names = await namesOf(q, id, cache);
  const outcomes = new Map<number, Outcome>();
  // A listing that is older than the entry does not know its newest outcome.
  const numbers = new Set(names.flatMap((name) => (/^\d+\.json$/.test(name) ? [Number.parseInt(name, 10)] : [])));
  if (at.n > 0 && isTerminal(at.state)) numbers.add(at.n);
  for (const n of numbers) {
    const o = n > at.n ? undefined : await readOutcome(q, id, n);
    if (o === undefined) continue;
    outcomes.set(n, o);
    found.push(...stepsOf(o, id));
  }
  for (const name of names) {
    const [, number, state] = WHY.exec(name) ?? [];
    if (number !== undefined) {
      const n = Number(number);
      const step = n > at.n ? undefined : await whyStep(q, id, n, state as State, at, names); // one of STATES, by the pattern
      if (step !== undefined) found.push(step);
    } else if (name.endsWith('.retried')) {
      const step = await retriedStep(q, task, Number.parseInt(name, 10), at);
      if (step !== undefined) found.push(step);
    }
  }
  return found;
}

/** The begin and the end of an attempt; of one that never began at most where the task went. */
function stepsOf(o: Outcome, id: string): Found[] {
  const { next } = o;
  const end: Found = {
    at: o.endedAt,
    task: id,
    from: 'running',
    to: next.state,
    attempt: o.attempt,
    worker: o.worker,
    outcome: o.outcome,
    exitCode: o.exitCode,
    ...(o.signal === null ? {} : { signal: o.signal }),
    ...(o.host === '' ? {} : { host: o.host }),
    ...(next.state === 'done' || (next.reason ?? o.reason) === null ? {} : { reason: (next.reason ?? o.reason)! }),
    ...(next.state === 'delayed' ? { dueAt: next.dueAt } : {}),
  };
  if (!isAttempt(o)) return next.state === 'queued' ? [] : [{ ...end, from: 'queued' }];
  return [{ at: o.startedAt ?? o.endedAt, task: id, from: 'queued', to: 'running', attempt: o.attempt, worker: o.worker }, end];
}

async function whyStep(q: Queue, id: string, n: number, to: State, at: Located, names: readonly string[]): Promise<Found | undefined> {
  if (to === 'waiting' || to === 'queued' || to === 'running') return undefined;
  const isHere = at.n === n && at.state === to;
  // Where a task ended it left only by a retry; without one the record is of a move that did not happen.
  if (isTerminal(to) && !isHere && !names.includes(`${n}.retried`)) return undefined;
  const why = await readWhy(q, id, n, to);
  if (why === undefined || !(why.at > 0)) return undefined;
  return {
    at: Math.round(why.at),
    task: id,
    ...(to === 'held' && why.from !== undefined ? { from: why.from } : {}),
    to,
    attempt: n,
    worker: null,
    ...(why.reason === null ? {} : { reason: why.reason }),
    ...(why.by === null || why.by === undefined ? {} : { by: why.by.user }),
    ...(why.dueAt === undefined || to !== 'delayed' ? {} : { dueAt: why.dueAt }),
  };
}

async function retriedStep(q: Queue, task: Task, n: number, at: Located): Promise<Found | undefined> {
  if (n >= at.n) return undefined;
  const path = q.lay.retried(at.id, n);
  let said: { at?: unknown; by?: { user?: unknown } | null };
  try {
    said = JSON.parse((await readIfThere(q, path)) ?? '{}') as typeof said; // looked at below
  } catch {
    said = {};
  }
  const when = typeof said.at === 'number' ? said.at : await changeOf(q, path, 'mtimeMs');
  const user = said.by?.user;
  const waits = task.key !== undefined || (task.after ?? []).length > 0;
  const to: State = at.n === n + 1 && (at.state === 'delayed' || at.state === 'waiting') ? at.state : waits ? 'waiting' : 'queued';
  return { at: Math.round(when), task: at.id, to, attempt: n + 1, worker: null, ...(typeof user === 'string' ? { by: user } : {}) };
}

async function changeOf(q: Queue, path: string, which: 'mtimeMs' | 'ctimeMs'): Promise<number> {
  try {
    return Math.round((await q.fsx.stat(path))[which]);
  } catch (error) {
    if (isGone(error)) return 0;
    throw error;
  }
}

/** Adds the step to where the task is now, where no file but its own tells of that: it came there when its file was renamed. */
async function upToNow(q: Queue, at: Located, steps: Step[], cache: HistoryCache, task: Task): Promise<Step[]> {
  const last = steps.at(-1);
  if (last?.to === at.state && (at.state !== 'running' || last.attempt === at.n)) return steps;
  if (last !== undefined && isOlder(at, last)) return steps;
  const runs = at.state === 'running' && at.place.state === 'running';
  // Claimed, and not begun before it has a log.
  if (runs && (await changeOf(q, q.lay.log(at.id, at.n), 'mtimeMs')) === 0) return steps;
  const now = runs ? await readNow(q, at, cache.read) : undefined;
  const when = now?.running?.startedAt ?? (await changeOf(q, at.file, 'ctimeMs'));
  const dueAt = last?.to === 'delayed' ? (last.dueAt ?? task.notBefore) : undefined;
  const known: Known = last === undefined ? NOTHING : { state: last.to, attempt: last.attempt, at: last.at, dueAt };
  const step: Found = { at: when, task: at.id, to: at.state, attempt: at.n, worker: now?.worker ?? null };
  if (at.place.state === 'delayed') step.dueAt = at.place.dueAt;
  return [...steps, ...withGap(known, step)];
}

/** The entry was seen before the last step was told: what began goes on only with an outcome. */
function isOlder({ n, state }: Pick<Located, 'n' | 'state'>, last: Step): boolean {
  return n < last.attempt || (last.to === 'running' && n === last.attempt && !isTerminal(state));
}

// --- arrays

/**
 * The steps of the elements of an array of which something happened, and the submit of the whole under its own id. `only`: of this
 * element alone. The elements begin in the state in which the whole was submitted.
 */
export async function* historiesOf(
  q: Queue,
  array: ArrayNow,
  seen: ReadonlyMap<string, readonly Step[]>,
  cache: HistoryCache,
  only?: string,
): AsyncGenerator<History> {
  const { id, task, many } = array;
  const first = { ...submission(task), task: id };
  if (only === undefined || only === id) {
    const steps = arrange(seen.get(id) ?? [], [first], NOTHING);
    yield { facts: factsOf(task, id), steps, sure: steps.length };
  }
  if (only === id) return;
  const wanted = only === undefined ? undefined : pieceOf(only)?.lo;
  const found = await fromChunks(q, array, wanted);
  const start: Known = { state: first.to, attempt: 0, at: first.at };
  const whys = await pieceWhys(q, array);
  const { lo: firstNumber, hi: lastNumber } = spanOf(many.numbers);
  for (const n of wanted === undefined
    ? numbersIn(many.numbers, firstNumber, lastNumber)
    : includes(many.numbers, wanted)
      ? [wanted]
      : []) {
    const element = pieceId(id, n, n);
    const its = found.get(n) ?? [];
    const now = await findElement(q, array, n);
    if (now === undefined) continue;
    const { piece, state } = now;
    const at: Located = { id: element, n: piece.at.n, state, place: piece.at.place, file: piece.at.file };
    const own = await foundOf(q, task, at, cache);
    for (const step of own) {
      // What was begun in a chunk whose worker died is told by that one's journal.
      const again = step.to === 'running' && its.some((s) => s.to === 'running' && s.at === step.at);
      if (!again) its.push(step);
    }
    for (const { lo, hi, step } of whys) if (lo <= n && n <= hi) its.push({ ...step, task: element });
    const given = seen.get(element) ?? [];
    if (its.length === 0 && given.length === 0 && state === first.to) continue;
    const steps = arrange(given, its, start);
    const last = steps.at(-1);
    if (last?.to === state || (last !== undefined && isOlder(at, last))) yield { facts: factsOf(task, element), steps, sure: steps.length };
    else {
      const from: Known = last === undefined ? start : { state: last.to, attempt: last.attempt, at: last.at, dueAt: last.dueAt };
      const when = now.begunAt ?? now.line?.endedAt ?? (await changeOf(q, at.file, 'ctimeMs'));
      const worker = now.line?.worker ?? null;
      yield {
        facts: factsOf(task, element),
        steps: [...steps, ...withGap(from, { at: when, task: element, to: state, attempt: at.n, worker })],
        sure: steps.length,
      };
    }
  }
}

const CHUNK = /^(\d+)\.a(\d+)\.ndjson$/;

/** What the journals of its chunks tell of each element. */
async function fromChunks(q: Queue, array: ArrayNow, wanted: number | undefined): Promise<Map<number, Found[]>> {
  const found = new Map<number, Found[]>();
  const told = new Set<string>();
  const { id } = array;
  const names: Array<{ attempt: number; name: string }> = [];
  for (const name of await listOrEmpty(q.fsx, q.lay.runs(id))) {
    const m = name.startsWith(`${id}.`) ? CHUNK.exec(name.slice(id.length + 1)) : null;
    if (m !== null && (wanted === undefined || Number(m[1]) <= wanted)) names.push({ attempt: Number(m[2]), name });
  }
  // Lines are copied into later journals: of each the first counts.
  for (const { attempt, name } of names.toSorted((a, b) => a.attempt - b.attempt)) {
    for (const text of ((await readIfThere(q, `${q.lay.runs(id)}/${name}`)) ?? '').split('\n')) {
      const step = chunkStep(id, attempt, text);
      if (step === undefined) continue;
      const { n } = pieceNumber(step.task);
      if (wanted !== undefined && n !== wanted) continue;
      const key = `${n} ${step.to} ${step.at}`;
      if (told.has(key)) continue;
      told.add(key);
      const its = found.get(n);
      if (its === undefined) found.set(n, [step]);
      else its.push(step);
    }
  }
  return found;
}

function pieceNumber(id: string): { n: number } {
  return { n: pieceOf(id)?.lo ?? 0 };
}

/** What a line of the journal of a chunk says; undefined where an outcome file says more. */
export function chunkStep(id: string, attempt: number, text: string): Found | undefined {
  let raw: Record<string, unknown>;
  try {
    raw = JSON.parse(text) as Record<string, unknown>; // looked at below
  } catch {
    return undefined;
  }
  const { n, worker, begunAt, endedAt, state, outcome, exitCode, signal, reason } = raw;
  if (typeof n !== 'number' || typeof worker !== 'string') return undefined;
  const task = pieceId(id, n, n);
  if (typeof begunAt === 'number') return { at: begunAt, task, from: 'queued', to: 'running', attempt, worker };
  if (typeof endedAt !== 'number' || !(TERMINAL as readonly unknown[]).includes(state)) return undefined;
  return {
    at: endedAt,
    task,
    ...(raw['startedAt'] === undefined ? {} : { from: 'running' as const }),
    to: state as State, // one of TERMINAL
    attempt: typeof raw['attempt'] === 'number' ? raw['attempt'] : attempt,
    worker,
    outcome: outcome as NonNullable<Found['outcome']>, // written by formatLine alone
    exitCode: typeof exitCode === 'number' ? exitCode : null,
    ...(typeof signal === 'string' ? { signal } : {}),
    ...(typeof raw['host'] === 'string' ? { host: raw['host'] } : {}),
    ...(typeof reason === 'string' && state !== 'done' ? { reason } : {}),
  };
}

/** Why pieces are where they are: a hold or a cancel of many at once. */
async function pieceWhys(q: Queue, array: ArrayNow): Promise<Array<{ lo: number; hi: number; step: Found }>> {
  const found: Array<{ lo: number; hi: number; step: Found }> = [];
  for (const { at, lo, hi } of array.pieces) {
    if (!isPiece(at.id) || at.state === 'queued' || at.state === 'running') continue;
    const step = await whyStep(q, at.id, at.n, at.state, at, []);
    if (step !== undefined) found.push({ lo, hi, step });
  }
  return found;
}

// --- a time

export interface ReplayOptions {
  /** Only tasks that pass. */
  where?: (facts: Facts) => boolean;
  /** Only these, with the elements of arrays. */
  ids?: readonly string[];
}

export type Told = { step: Step; facts: Facts } | { other: OtherEvent };

export function momentOf(told: Told): number {
  return 'step' in told ? told.step.at : told.other.at;
}

/** Everything that happened from one moment to another, by time, each task's steps in their order. Held in memory for the time of the sort. */
export async function* replay(q: Queue, from: number, to: number, options: ReplayOptions = {}): AsyncGenerator<Told> {
  const all: Told[] = [];
  for await (const told of unsorted(q, from, to, options)) all.push(told);
  all.sort((a, b) => momentOf(a) - momentOf(b));
  yield* all;
}

async function* unsorted(q: Queue, from: number, to: number, { where, ids }: ReplayOptions): AsyncGenerator<Told> {
  const lines = new Map<string, Step[]>();
  const others: OtherEvent[] = [];
  const wanted = ids === undefined ? undefined : new Set(ids);
  await readJournalOf(q, from, to, (line: Line) => {
    if (isOther(line)) {
      if (line.type !== 'chunk') others.push(line);
    } else if (!isPiece(line.task) && (wanted === undefined || wanted.has(line.task) || wanted.has(baseId(line.task)))) {
      const its = lines.get(line.task);
      if (its === undefined) lines.set(line.task, [line]);
      else its.push(line);
    }
  });
  if (wanted === undefined && where === undefined) for (const other of others) yield { other };
  const within = (h: History): Told[] =>
    where !== undefined && !where(h.facts)
      ? []
      : h.steps.filter((step) => step.at >= from && step.at <= to).map((step) => ({ step, facts: h.facts }));
  const told = new Set<string>();
  for await (const h of histories(q, from, lines, wanted)) {
    if (told.has(h.facts.id)) continue;
    told.add(h.facts.id);
    yield* within(h);
  }
  for (const [id, steps] of lines) {
    if (told.has(id)) continue;
    // Removed, or it did nothing but what the journal tells.
    const h = id.includes('.') || steps.some((s) => s.to === null) ? undefined : await history(q, id, steps);
    yield* within(h ?? { facts: factsFromLines(id, steps), steps: arrange(steps, [], startOf(steps)), sure: steps.length });
  }
}

/** A task that is not there any more was submitted first, if the journal goes back so far. */
function startOf(steps: readonly Step[]): Known | undefined {
  return steps.some((s) => s.from === null) ? NOTHING : undefined;
}

/** What the journal says of a task that was removed. */
export function factsFromLines(id: string, steps: readonly Step[]): Facts {
  const first = steps.find((s) => s.from === null);
  return {
    id,
    submittedAt: first?.at ?? 0,
    name: first?.name ?? null,
    title: first?.name ?? null,
    queue: first?.queue ?? '',
    group: first?.group ?? null,
    user: first?.user ?? '',
    labels: {},
  };
}

/** The histories of all tasks that may have made a step since then, arrays as their elements. */
export async function* histories(
  q: Queue,
  since: number,
  seen: ReadonlyMap<string, readonly Step[]> = new Map(),
  ids?: ReadonlySet<string>,
): AsyncGenerator<History> {
  const cache = newHistoryCache();
  if (ids !== undefined) {
    for (const id of ids) {
      const array = id.includes('.') ? undefined : await readArray(q, id);
      if (array !== undefined) yield* historiesOf(q, array, seen, cache);
      else {
        const h = await history(q, id, seen.get(id) ?? []);
        if (h !== undefined) yield h;
      }
    }
    return;
  }
  const arrays = new Map<string, boolean>();
  let dir = '';
  for await (const at of changedSince(q, since)) {
    // As above: what is in `runs/` is listed after the directory that the entry was found in.
    if (parentOf(at.file) !== dir) cache.runs.clear();
    dir = parentOf(at.file);
    const base = baseId(at.id);
    if (at.id.includes('.')) {
      const known = arrays.get(base);
      if (known === true) continue;
      if (known === undefined) {
        const array = await readArray(q, base);
        arrays.set(base, array !== undefined);
        if (array !== undefined) {
          yield* historiesOf(q, array, seen, cache);
          continue;
        }
      }
    }
    const h = (await historyAt(q, at, seen.get(at.id) ?? [], cache)) ?? (await history(q, at.id, seen.get(at.id) ?? []));
    if (h !== undefined) yield h;
  }
}

/** The order in which a task goes through the places: what moves on while they are read is seen twice, not missed. */
const ALONG: readonly State[] = ['held', 'waiting', 'delayed', 'queued', 'running', ...TERMINAL];
/** A rename is stamped from a coarse clock. */
const COARSE_MS = 2000;

/**
 * The entries that came to where they are at that moment or later, and some more: a directory into which nothing was renamed since is not
 * opened.
 */
export async function* changedSince(q: Queue, since: number, states: readonly State[] = STATES): AsyncGenerator<Located> {
  const places: Place[] = [...(await placesToLook(q)), ...TERMINAL.map((state) => ({ state }))];
  places.sort((a, b) => ALONG.indexOf(a.state) - ALONG.indexOf(b.state));
  for (const place of places) {
    const state = shownState(place);
    if (!states.includes(state)) continue;
    if (place.state === 'running' || !Number.isFinite(since)) {
      yield* entriesOf(q, place);
      continue;
    }
    const base = q.lay.dir(place, SAMPLE_ID).slice(0, -bucketOf(SAMPLE_ID).length - 1);
    for (const bucket of await buckets(q, base)) {
      const dir = `${base}/${bucket}`;
      if ((await changeOf(q, dir, 'mtimeMs')) < since - COARSE_MS) continue;
      for (const name of await listOrEmpty(q.fsx, dir)) {
        const e = parseEntry(name);
        if (e !== undefined && !e.cancel) yield { id: e.id, n: e.n, state, place, file: `${dir}/${name}` };
      }
    }
  }
}

const SAMPLE_ID = '00000000000000';
