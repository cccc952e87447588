/**
 * Arrays and their elements for people and scripts: where an id without an entry of its own leads, and the Task JSON of the whole and
 * of one element.
 */
import { numbersIn } from '../task/array.ts';
import { arrayView, elementOf } from '../task/many.ts';
import { newTally } from '../task/decide.ts';
import { isTerminal, type Outcome, type Task } from '../task/types.ts';
import { findElement, readArray, type ArrayNow, type ElementAt } from './array.ts';
import { locate, type Located } from './find.ts';
import { followUpsOf } from './follow.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { itemLine } from './items.ts';
import { baseId, pieceId, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome } from './outcome.ts';
import { readJournal, type Ended } from './pieces.ts';
import { compose, readNow, readOutcomesOf, viewSteps, type ReadCache, type TaskView } from './read.ts';
import { finishedSteps } from './step-record.ts';
import { readNotes } from './control.ts';
import { readWhy } from './why.ts';

/** As `locate`; an array and its elements are found too. */
export async function locateAny(q: Queue, id: string, strong = false): Promise<Located | undefined> {
  const at = await locate(q, id, strong);
  return at ?? locatePart(q, id);
}

/** An array, or an element that lies in a piece with others. */
export async function locatePart(q: Queue, id: string): Promise<Located | undefined> {
  const array = await readArray(q, baseId(id));
  if (array === undefined) return undefined;
  const piece = pieceOf(id);
  if (piece === undefined) return arrayAt(array);
  if (piece.lo !== piece.hi) return undefined;
  const found = await findElement(q, array, piece.lo);
  return found === undefined ? undefined : elementAt(array, piece.lo, found);
}

/** The place of a whole array: as a task with its state would lie, but at the file of its first piece. */
export function arrayAt(array: ArrayNow): Located {
  const first = array.pieces.toSorted((a, b) => a.lo - b.lo).find((p) => p.at.state === array.state) ?? array.pieces[0]!;
  return {
    id: array.id,
    n: Math.max(...array.pieces.map((p) => p.at.n)),
    state: array.state,
    place: first.at.place,
    file: first.at.file,
    part: 'array',
  };
}

export function elementAt(array: ArrayNow, n: number, { piece, state }: ElementAt): Located {
  return { id: pieceId(array.id, n, n), n: piece.at.n, state, place: piece.at.place, file: piece.at.file, part: 'element' };
}

/** How many pieces are opened for the times of the whole. */
const MOST_OPENED = 50;
/** And up to how many elements their results are put together for a look. */
const MOST_RESULTS = 1000;

export async function viewArray(q: Queue, id: string, brief: boolean): Promise<{ view: TaskView; at: Located } | undefined> {
  const array = await readArray(q, id);
  if (array === undefined) return undefined;
  const { task, many, counts, state, pieces } = array;
  const at = arrayAt(array);
  const why = pieces.length === 1 ? await readWhy(q, pieces[0]!.at.id, pieces[0]!.at.n, pieces[0]!.at.state) : undefined;
  const view = compose(
    { ...task, id },
    at,
    [],
    why,
    undefined,
    brief ? [] : await readNotes(q, id),
    [],
    brief ? [] : await followUpsOf(q, { ...task, id }),
  );
  view.array = arrayView(many.size, counts);
  const times = await timesOf(q, array);
  view.startedAt = times.from === undefined ? null : new Date(times.from).toISOString();
  view.endedAt = isTerminal(state) && times.to !== undefined ? new Date(times.to).toISOString() : null;
  view.attempt = 0;
  if ((counts.failed ?? 0) > 0) view.reason = `${counts.failed} of ${many.size} failed`;
  else if (view.reason === null && (counts.canceled ?? 0) > 0 && isTerminal(state))
    view.reason = `${counts.canceled} of ${many.size} canceled`;
  const ended = (counts.done ?? 0) + (counts.failed ?? 0) + (counts.canceled ?? 0) + (counts.skipped ?? 0);
  view.progress = { percent: Math.floor((100 * ended) / many.size), message: null };
  if (!brief && state === 'done' && many.size <= MOST_RESULTS) {
    const results = await resultsOf(q, array);
    if (results.some((r) => r !== null)) view.result = results;
  }
  return { view, at };
}

/** The first start and the last end, ms; of a large array as far as a few of its pieces tell. */
async function timesOf(q: Queue, array: ArrayNow): Promise<{ from: number | undefined; to: number | undefined }> {
  let from: number | undefined;
  let to: number | undefined;
  const note = (start: number | null | undefined, end: number | null | undefined): void => {
    if (typeof start === 'number') from = Math.min(from ?? start, start);
    if (typeof end === 'number') to = Math.max(to ?? end, end);
  };
  const worth = array.pieces.filter((p) => p.at.n > 0).toSorted((a, b) => a.lo - b.lo);
  const some = worth.length <= MOST_OPENED ? worth : [...worth.slice(0, MOST_OPENED / 2), ...worth.slice(-MOST_OPENED / 2)];
  for (const piece of some) {
    if (piece.lo === piece.hi) {
      const o = await readOutcome(q, piece.at.id, piece.at.n);
      if (o !== undefined) note(o.startedAt, o.endedAt);
    }
    const journal = array.journals.get(piece.at.file) ?? (await readJournal(q, piece, piece.at.n));
    for (const line of journal?.begun.values() ?? []) note(line.begunAt, null);
    for (const line of journal?.ended.values() ?? []) note(line.startedAt, line.endedAt);
    if (isTerminal(piece.at.state) && journal === undefined) note(null, await changedAt(q, piece.at.file));
  }
  return { from, to };
}

async function changedAt(q: Queue, file: string): Promise<number | null> {
  try {
    return (await q.fsx.stat(file)).ctimeMs;
  } catch (error) {
    if (isGone(error)) return null;
    throw error;
  }
}

/** What each element handed back, in their order; null where there is nothing. */
export async function resultsOf(q: Queue, array: ArrayNow): Promise<unknown[]> {
  const found = new Map<number, unknown>();
  for (const piece of array.pieces) {
    if (piece.at.state !== 'done' || piece.at.n === 0) continue;
    if (piece.lo === piece.hi) {
      const o = await readOutcome(q, piece.at.id, piece.at.n);
      if (o !== undefined) {
        found.set(piece.lo, o.result);
        continue;
      }
      const why = await readWhy(q, piece.at.id, piece.at.n, 'done');
      if (why?.result !== undefined) found.set(piece.lo, why.result);
    }
    const journal = await readJournal(q, piece, piece.at.n);
    for (const line of journal?.ended.values() ?? []) if (line.n >= piece.lo && line.n <= piece.hi) found.set(line.n, line.result);
  }
  const results: unknown[] = [];
  for (const piece of array.pieces.toSorted((a, b) => a.lo - b.lo)) {
    for (const n of numbersIn(array.many.numbers, piece.lo, piece.hi)) results.push(found.get(n) ?? null);
  }
  return results;
}

export async function viewElement(
  q: Queue,
  array: ArrayNow,
  n: number,
  cache: ReadCache,
  brief: boolean,
): Promise<{ view: TaskView; at: Located } | undefined> {
  const found = await findElement(q, array, n);
  if (found === undefined) return undefined;
  const at = elementAt(array, n, found);
  const task: Task = { ...array.task, id: at.id };
  const outcomes = found.piece.at.n > 0 ? await readOutcomesOf(q, at) : [];
  if (found.line !== undefined && found.line.state !== 'again') outcomes.push(outcomeOfLine(found.line, at.id, at.n, ''));
  if (!brief) {
    for (const line of await earlierLines(q, array.id, n)) {
      if (line.state !== 'again' && outcomes.every((o) => o.attempt !== line.attempt && o.startedAt !== line.startedAt))
        outcomes.push(outcomeOfLine(line, at.id, line.attempt, ''));
    }
    outcomes.sort((a, b) => a.attempt - b.attempt);
  }
  const last = outcomes.at(-1);
  const why =
    last === undefined || last.attempt !== at.n || at.state === 'held' || at.state === 'skipped' || at.state === 'canceled'
      ? ((await readWhy(q, at.id, at.n, at.state)) ?? (await readWhy(q, found.piece.at.id, at.n, at.state)))
      : undefined;
  const runs = at.state === 'running' && at.place.state === 'running';
  const now = runs ? await readNow(q, at, cache) : undefined;
  let shown = task;
  try {
    shown = elementOf(task, array.many, n, await itemLine(q, array.many, n)).task;
  } catch {
    // Its items were removed: the template tells as much as there is.
  }
  const steps =
    shown.steps === undefined ? [] : viewSteps(shown.steps, at, outcomes, at.n > 0 ? await finishedSteps(q, at.id, at.n, true) : []);
  const view = compose(shown, at, outcomes, why, now, brief ? [] : await readNotes(q, at.id), steps, []);
  return { view, at };
}

/** What journals of all attempts say of an element: of each attempt the one whose piece began nearest before it. */
async function earlierLines(q: Queue, id: string, n: number): Promise<Ended[]> {
  const nearest = new Map<number, number>();
  for (const name of await listOrEmpty(q.fsx, q.lay.runs(id))) {
    const m = name.startsWith(`${id}.`) ? /\.(\d+)\.a(\d+)\.ndjson$/.exec(name) : null;
    if (m === null || Number(m[1]) > n) continue;
    const attempt = Number(m[2]);
    nearest.set(attempt, Math.max(nearest.get(attempt) ?? 0, Number(m[1])));
  }
  const found: Ended[] = [];
  for (const [attempt, lo] of nearest) {
    const line = (await readJournal(q, { base: id, lo }, attempt))?.ended.get(n);
    if (line !== undefined) found.push(line);
  }
  return found;
}

/** An outcome file that says what a line of a journal says. */
export function outcomeOfLine(line: Ended, id: string, attempt: number, session: string): Outcome {
  return {
    schema: 'tq.outcome/1',
    id,
    attempt,
    nonce: '',
    outcome: line.outcome,
    started: line.startedAt !== undefined,
    worker: line.worker,
    session,
    host: line.host ?? '',
    pid: line.pid ?? null,
    startedAt: line.startedAt ?? null,
    endedAt: line.endedAt,
    durationMs: line.durationMs ?? null,
    exitCode: line.exitCode ?? null,
    signal: line.signal ?? null,
    cpuMs: line.cpuMs ?? null,
    maxRssKb: line.maxRssKb ?? null,
    reason: line.reason ?? null,
    ...(line.result === undefined ? {} : { result: line.result }),
    next: { state: line.state === 'again' ? 'queued' : line.state },
    tally: newTally(),
  };
}
