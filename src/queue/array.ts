/**
 * Arrays as a whole: which piece covers which element, how many elements are in which state, and the verbs on a whole array or on
 * some of its elements. A verb first splits pieces so that what it is about lies by itself, then does to each what is done to a task.
 * What must also reach pieces that are on their way (a worker has the whole for a moment while it takes its part) is said in marks,
 * `arrays/<id>/hold` and `arrays/<id>/stop`, which every worker reads when it has claimed a piece.
 */
import { errnoOf, TqError } from '../errors.ts';
import { countIn, includes, numbersIn } from '../task/array.ts';
import { isTooMany, stateOfAll, type Counts, type Many } from '../task/many.ts';
import { isTerminal, TERMINAL, type State, type Task, type TerminalState } from '../task/types.ts';
import { serverNow } from './clock.ts';
import type { CancelRequest } from './cancel.ts';
import { reviveDependants } from './depend.ts';
import { isHooked, prepareFollowUp, releaseFollowUp } from './follow.ts';
import { placesToLook, shownState, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { baseId, bucketOf, cancelName, isBucket, isId, parseEntry, parseRest, pieceId, pieceOf, type Piece, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome, readTaskAt } from './outcome.ts';
import { readJournal, scatter, type Ended, type Fate, type Journal } from './pieces.ts';
import { isSetSession, judgeSession, makeSession } from './session.ts';
import { ring } from './signal.ts';
import { arrayLimit } from './submit.ts';
import { createOnce, move, publish, readIfThere, replace, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import { homeOf } from './set.ts';
import { queuedPlace } from './task-file.ts';
import { writeWhy } from './why.ts';

/** An entry that covers some elements. */
export interface PieceAt extends Piece {
  at: Located;
  /** Staged beside a committed cut: on its way to where the piece came from. */
  staged?: true;
}

export interface ArrayNow {
  id: string;
  /** The task file of one of its pieces. */
  task: Task;
  many: Many;
  pieces: PieceAt[];
  counts: Counts;
  state: State;
  /** Whether its pieces covered each element exactly once when they were read. */
  isWhole: boolean;
  /** What running pieces have written down so far, and what was read of others, by their file. */
  journals: Map<string, Journal>;
}

// --- reading

/** How often an array whose pieces are moving is read again, and how long between, ms. */
const READS = 40;
const AGAIN_MS = 5;

/** The array with this id, as it is at one moment; undefined: there is none. */
export async function readArray(q: Queue, id: string): Promise<ArrayNow | undefined> {
  let seen: ArrayNow | undefined;
  let met = false;
  for (let round = 0; round < READS; round++) {
    const pieces = await piecesOf(q, id, round > (q.network ? 0 : 2));
    const task = await templateOf(q, pieces);
    if (task?.many === undefined) {
      // All of its pieces may be moving; of an array that is gone nothing is left.
      if (pieces.length === 0 && round > 1 && (seen !== undefined || (!met && !(await hasTraces(q, id))))) return seen;
      met ||= pieces.length > 0;
      if (pieces.length > 0 && task !== undefined) return undefined;
      if (round > 1) await new Promise((resolve) => setTimeout(resolve, AGAIN_MS));
      continue;
    }
    seen = await countUp(q, id, task, task.many, pieces);
    seen.isWhole = covers(seen);
    if (seen.isWhole) return seen;
    await new Promise((resolve) => setTimeout(resolve, q.network ? 10 * AGAIN_MS : AGAIN_MS));
  }
  return seen;
}

async function hasTraces(q: Queue, id: string): Promise<boolean> {
  for (const name of await listOrEmpty(q.fsx, q.lay.gone(id), true)) if (name.startsWith(`${id}.`)) return false;
  return (await listOrEmpty(q.fsx, q.lay.runs(id), true)).some((name) => name.startsWith(`${id}.`));
}

/** Every entry of an array, also those that are being cut. Of an id with no array: what else lies under it. */
export async function piecesOf(q: Queue, id: string, strong = false): Promise<PieceAt[]> {
  const found: PieceAt[] = [];
  const bucket = bucketOf(id);
  const first = bucket.slice(0, 4);
  for (const place of [...(await placesToLook(q, strong)), ...TERMINAL.map((state) => ({ state }))]) {
    if (place.state === 'running') {
      found.push(...(await inRunning(q, place, id, strong)));
      continue;
    }
    const base = q.lay.dir(place, id).slice(0, -bucket.length);
    for (const name of await listOrEmpty(q.fsx, `${base}${first}`, strong)) {
      const b = `${first}/${name}`;
      if (!isBucket(name) || (b !== bucket && !b.startsWith(`${bucket}.${id}.`))) continue;
      for (const file of await listOrEmpty(q.fsx, `${base}${b}`, strong)) {
        const e = file.startsWith(`${id}.`) ? parseEntry(file) : undefined;
        const piece = e === undefined || e.cancel ? undefined : pieceOf(e.id);
        if (e === undefined || piece === undefined) continue;
        found.push({ ...piece, at: { id: e.id, n: e.n, state: shownState(place), place, file: `${base}${b}/${file}` } });
      }
    }
  }
  return found;
}

async function inRunning(q: Queue, place: Place & { state: 'running' }, id: string, strong: boolean): Promise<PieceAt[]> {
  const found: PieceAt[] = [];
  const dir = q.lay.session(place.session);
  const names = (await listOrEmpty(q.fsx, dir, strong)).filter((name) => name.startsWith(`${id}.`));
  for (const name of names) {
    const e = parseEntry(name);
    const piece = e === undefined || e.cancel ? undefined : pieceOf(e.id);
    if (e === undefined || piece === undefined) continue;
    const state = shownState(place);
    found.push({ ...piece, at: { id: e.id, n: e.n, state, place, file: `${dir}/${name}` } });
    if (e.cut === undefined) continue;
    const rest = `${id}.${e.cut}`;
    const staged = names.find((other) => parseRest(other)?.id === rest && parseRest(other)?.n === e.n);
    if (staged === undefined) continue;
    const home: State = state === 'running' ? 'queued' : state;
    found.push({ ...pieceOf(rest)!, at: { id: rest, n: e.n, state: home, place, file: `${dir}/${staged}` }, staged: true });
  }
  return found;
}

async function templateOf(q: Queue, pieces: readonly PieceAt[]): Promise<Task | undefined> {
  for (const { at } of pieces) {
    const task = await readTaskAt(q, at.file, at.id);
    if (task !== undefined) return { ...task, id: baseId(task.id) };
  }
  return undefined;
}

function covers({ pieces, many }: ArrayNow): boolean {
  let n = 0;
  let end = -1;
  for (const piece of pieces.toSorted((a, b) => a.lo - b.lo)) {
    if (piece.lo <= end) return false;
    end = piece.hi;
    n += countIn(many.numbers, piece.lo, piece.hi);
  }
  return n === many.size;
}

async function countUp(q: Queue, id: string, task: Task, many: Many, pieces: PieceAt[]): Promise<ArrayNow> {
  const counts: Counts = {};
  const journals = new Map<string, Journal>();
  const add = (state: State, n: number): void => void (counts[state] = (counts[state] ?? 0) + n);
  for (const piece of pieces) {
    const size = countIn(many.numbers, piece.lo, piece.hi);
    const journal = piece.at.state === 'running' && piece.hi > piece.lo ? await readJournal(q, piece, piece.at.n) : undefined;
    if (journal === undefined) {
      // A piece that a worker has just taken, and of which nothing has begun.
      add(piece.at.state === 'running' && piece.hi > piece.lo ? 'queued' : piece.at.state, size);
      continue;
    }
    journals.set(piece.at.file, journal);
    let left = size;
    for (const line of journal.ended.values()) {
      if (line.n < piece.lo || line.n > piece.hi) continue;
      add(line.state === 'again' ? 'queued' : line.state, 1);
      left--;
    }
    const running = [...journal.begun.keys()].filter((n) => n >= piece.lo && n <= piece.hi && !journal.ended.has(n)).length;
    if (running > 0) add('running', running);
    if (left > running) add('queued', left - running);
  }
  const missing = many.size - Object.values(counts).reduce((sum, n) => sum + n, 0);
  if (missing > 0) add('running', missing);
  return { id, task, many, pieces, counts, state: stateOfAll(counts), isWhole: false, journals };
}

/** One element: the entry that covers it, and its line where it has one. */
export interface ElementAt {
  piece: PieceAt;
  state: State;
  line: Ended | undefined;
  begunAt: number | undefined;
}

/** Undefined: the array has no such element. */
export async function findElement(q: Queue, array: ArrayNow, n: number): Promise<ElementAt | undefined> {
  if (!includes(array.many.numbers, n)) return undefined;
  const piece = array.pieces.find((p) => p.lo <= n && n <= p.hi);
  if (piece === undefined) return undefined;
  const { at } = piece;
  const journal =
    array.journals.get(at.file) ??
    (at.n > 0 && (isTerminal(at.state) || at.state === 'running') && (await readOutcome(q, at.id, at.n)) === undefined
      ? await readJournal(q, piece, at.n)
      : undefined);
  // Its neighbours are in the same one.
  if (journal !== undefined) array.journals.set(at.file, journal);
  const line = journal?.ended.get(n);
  const begun = journal?.begun.get(n);
  let { state } = at;
  if (state === 'running' && piece.hi > piece.lo) {
    if (line !== undefined) state = line.state === 'again' ? 'queued' : line.state;
    else if (begun === undefined) state = 'queued';
  }
  return { piece, state, line, begunAt: begun?.begunAt };
}

/** The state in which an array ended; undefined while anything of it is left, or when there is none. By names alone. */
export async function arrayEnded(q: Queue, id: string, strong = false): Promise<TerminalState | undefined> {
  let task: Task | undefined;
  const counts: Counts = {};
  let n = 0;
  const bucket = bucketOf(id);
  for (const state of TERMINAL) {
    const first = bucket.slice(0, 4);
    for (const name of await listOrEmpty(q.fsx, `${q.dir}/${state}/${first}`, strong)) {
      const b = `${first}/${name}`;
      if (!isBucket(name) || (b !== bucket && !b.startsWith(`${bucket}.${id}.`))) continue;
      for (const file of await listOrEmpty(q.fsx, `${q.dir}/${state}/${b}`, strong)) {
        const e = file.startsWith(`${id}.`) ? parseEntry(file) : undefined;
        const piece = e === undefined || e.cancel ? undefined : pieceOf(e.id);
        if (e === undefined || piece === undefined) continue;
        task ??= await readTaskAt(q, `${q.dir}/${state}/${b}/${file}`, e.id);
        if (task?.many === undefined) return undefined;
        const size = countIn(task.many.numbers, piece.lo, piece.hi);
        counts[state] = (counts[state] ?? 0) + size;
        n += size;
      }
    }
  }
  if (task?.many === undefined || n < task.many.size) return undefined;
  const state = stateOfAll(counts);
  return isTerminal(state) ? state : undefined;
}

// --- marks

export interface Marks {
  hold: boolean;
  stop: CancelRequest | undefined;
}

function marksDir(q: Queue, id: string): string {
  return `${q.dir}/arrays/${id}`;
}

export async function readMarks(q: Queue, id: string): Promise<Marks> {
  const names = await listOrEmpty(q.fsx, marksDir(q, id), true, 'believed');
  if (names.length === 0) return { hold: false, stop: undefined };
  const text = names.includes('stop') ? await readIfThere(q, `${marksDir(q, id)}/stop`) : undefined;
  return { hold: names.includes('hold'), stop: text === undefined ? undefined : parseStop(text) };
}

function parseStop(text: string): CancelRequest {
  try {
    const raw = JSON.parse(text) as Partial<CancelRequest>;
    return { reason: typeof raw.reason === 'string' ? raw.reason : null, now: raw.now === true, by: raw.by ?? null };
  } catch {
    return { reason: null, now: false, by: null };
  }
}

async function unmark(q: Queue, id: string, mark: 'hold' | 'stop'): Promise<void> {
  await unlinkQuietly(q.fsx, `${marksDir(q, id)}/${mark}`);
  await rmdirIfEmpty(q.fsx, marksDir(q, id));
}

// --- changing

/** How often a verb looks again at an array whose pieces keep moving. */
const ROUNDS = 200;
/** A piece is in somebody's hands for a moment, ms. */
const MOMENT_MS = 10;

interface Change {
  verb: string;
  /** Elements in these states are changed; those in `finished` are as wished already, or on their way. */
  from: readonly State[];
  whole(at: Located, task: Task): Promise<boolean>;
  /** A piece that is left alone although it is in such a state. */
  leave?(piece: Piece): boolean;
  /** For a running piece: true when everything was asked that can be. */
  running?(piece: PieceAt, lo: number, hi: number): Promise<boolean>;
}

/** Does something to the elements `lo` to `hi`. The number of elements that it was done to. */
async function changeElements(q: Queue, id: string, lo: number, hi: number, change: Change): Promise<number> {
  let n = 0;
  const asked = new Set<string>();
  for (let round = 0; round < ROUNDS; round++) {
    const array = await readArray(q, id);
    if (array === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
    let again = false;
    for (const piece of array.pieces) {
      const [from, to] = [Math.max(lo, piece.lo), Math.min(hi, piece.hi)];
      const size = from > to ? 0 : countIn(array.many.numbers, from, to);
      if (size === 0) continue;
      const { at } = piece;
      if (at.place.state === 'running') {
        // In the hands of a verb, or about to be published: it comes out in a moment.
        if (at.state !== 'running' || piece.staged === true) {
          again ||= change.from.includes(at.state);
          // Unless that one has died, and nobody comes by to bury it. (A worker's processes must be ended first: that is for workers.)
          if (isSetSession(at.place.session) && q.facts !== undefined && judgeSession(at.place.session, await q.facts()) === 'dead') {
            const { bury } = await import('./bury.ts');
            await bury(q, at.place.session, { proved: true, reason: 'it died' });
          }
        } else if (change.running !== undefined && !asked.has(at.file)) {
          if (await change.running(piece, from, to)) {
            asked.add(at.file);
            n += size;
          } else again = true;
        }
        continue;
      }
      if (!change.from.includes(at.state) || change.leave?.(piece) === true) continue;
      again = true;
      if (from > piece.lo || to < piece.hi || (await hasPast(q, piece))) await split(q, array, piece, from, to);
      else {
        // What was set of some elements alone is in their own file.
        const task = await readTaskAt(q, at.file, at.id);
        if (task !== undefined && (await change.whole(at, task))) n += size;
      }
    }
    if (!again) return n;
    await new Promise((resolve) => setTimeout(resolve, q.network ? 10 * MOMENT_MS : MOMENT_MS));
  }
  throw new TqError('QUEUE_UNUSABLE', `cannot ${change.verb} ${id}: its elements keep moving`, { hint: 'try again' });
}

/** Whether some of it has ended or begun under an owner that died, and it was not sorted out yet. */
async function hasPast(q: Queue, piece: PieceAt): Promise<boolean> {
  if (isTerminal(piece.at.state) || piece.at.n === 0) return false;
  const journal = await readJournal(q, piece, piece.at.n);
  if (journal === undefined) return false;
  const inPiece = (n: number): boolean => n >= piece.lo && n <= piece.hi;
  const hasEnded = [...journal.ended.values()].some((line) => inPiece(line.n) && line.state !== 'again');
  // That one element was begun is in its outcomes.
  return hasEnded || (piece.lo < piece.hi && [...journal.begun.keys()].some(inPiece));
}

/** The numbers of a piece that a person has retried since attempt `n`. */
export async function retriedSince(q: Queue, { base, lo, hi }: Piece, n: number): Promise<Range[]> {
  const found: Range[] = [];
  const bucket = bucketOf(base);
  const first = bucket.slice(0, 4);
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/runs/${first}`, true)) {
    const b = `${first}/${name}`;
    if (b !== bucket && !b.startsWith(`${bucket}.${base}.`)) continue;
    for (const file of await listOrEmpty(q.fsx, `${q.dir}/runs/${b}`, true)) {
      const m = file.startsWith(`${base}.`) ? /^[^.]+\.(\d+)(?:-(\d+))?\.a(\d+)\.retried$/.exec(file) : null;
      if (m === null || Number(m[3]) < n) continue;
      const [from, to] = [Number(m[1]), Number(m[2] ?? m[1])];
      if (from <= hi && lo <= to) found.push([from, to]);
    }
  }
  return found;
}

/** Splits a piece that does not run so that `from` to `to` lies by itself; all parts stay where the whole was. */
async function split(q: Queue, array: ArrayNow, piece: PieceAt, from: number, to: number): Promise<void> {
  if (q.facts === undefined) throw new Error('who splits a piece must be able to prove its death');
  const { at } = piece;
  const session = makeSession(`set.${at.state}`, await q.facts());
  const dir = q.lay.session(session);
  await mkdirp(q.fsx, dir);
  const n = at.n + 1;
  try {
    const task = await readTaskAt(q, at.file, at.id);
    if (task === undefined) return;
    if (at.place.state === 'delayed') await writeWhy(q, at.id, n, 'delayed', { at: 0, by: null, reason: null, dueAt: at.place.dueAt });
    if ((await move(q, at.file, q.lay.entry({ state: 'running', session }, at.id, n))) !== 'moved') return;
    await markSplit(q, task, piece, n, at.state);
    const home = await homeOf(q, session, task, n);
    const journal = at.n > 0 ? await readJournal(q, piece, at.n) : undefined;
    const fateOf = (element: number): Fate => {
      const line = isTerminal(at.state) ? undefined : journal?.ended.get(element);
      if (line !== undefined && line.state !== 'again') return { place: { state: line.state }, alone: false };
      // What had begun lies by itself from now on, so that the others have no past any more.
      const begun = !isTerminal(at.state) && journal?.begun.has(element) === true;
      return { place: home, alone: begun || (element >= from && element <= to && from === to) };
    };
    // A border on either side of the range: runs of one fate that are not next to each other are cut apart.
    await scatterApart(q, dir, piece, n, array.many, journal ?? EMPTY, fateOf, from, to);
    await ring(q);
  } catch (error) {
    if (!isGone(error)) throw error;
  } finally {
    await rmdirIfEmpty(q.fsx, dir);
  }
}

const EMPTY: Journal = { begun: new Map(), ended: new Map() };

function scatterApart(
  q: Queue,
  dir: string,
  piece: Piece,
  n: number,
  many: Many,
  journal: Journal,
  fateOf: (element: number) => Fate,
  from: number,
  to: number,
): Promise<boolean> {
  return scatter(q, dir, piece, n, many, journal, false, fateOf, (element) => (element < from ? 0 : element > to ? 2 : 1));
}

/** Cancels a whole array, or some of its elements. `asked`: some run, and their workers were asked. */
export async function cancelElements(
  q: Queue,
  id: string,
  range: Range | undefined,
  request: CancelRequest,
): Promise<'canceled' | 'asked'> {
  const array = await mustRead(q, id);
  if (isTerminal(array.state) && range === undefined) throw ended(id, array.state);
  if (range === undefined) {
    await mkdirp(q.fsx, marksDir(q, id));
    await replace(q, `${marksDir(q, id)}/stop`, `${JSON.stringify(request)}\n`);
  }
  const [lo, hi] = range ?? WHOLE;
  let asked = false;
  const n = await changeElements(q, id, lo, hi, {
    verb: 'cancel',
    from: ['queued', 'waiting', 'delayed', 'held'],
    whole: async (at, task) => {
      const { cancelHere } = await import('./cancel.ts');
      return cancelHere(q, at, request, task);
    },
    running: async (piece, from, to) => {
      if (piece.at.place.state !== 'running') return false;
      const name = cancelName(pieceId(id, from, to), piece.at.n);
      asked = true;
      try {
        const { createRequest } = await import('./cancel.ts');
        await createRequest(q, `${q.lay.session(piece.at.place.session)}/${name}`, request);
      } catch (error) {
        if (isGone(error)) return false;
        if (errnoOf(error) !== 'EEXIST') throw error;
      }
      await ring(q);
      return (await listOrEmpty(q.fsx, q.lay.session(piece.at.place.session), true)).some(
        (other) => `${q.lay.session(sessionOf(piece))}/${other}` === piece.at.file,
      );
    },
  });
  if (n === 0 && !asked) {
    const now = await mustRead(q, id);
    throw ended(
      range === undefined ? id : pieceId(id, lo, hi),
      range === undefined ? now.state : ((await findElement(q, now, lo))?.state ?? now.state),
    );
  }
  return asked ? 'asked' : 'canceled';
}

function sessionOf(piece: PieceAt): string {
  return piece.at.place.state === 'running' ? piece.at.place.session : '';
}

function ended(id: string, state: State): TqError {
  return new TqError('WRONG_STATE', `${id} is ${state} already`, { hint: `tq show ${id}` });
}

/** Lowest and highest number. */
export type Range = readonly [number, number];
const WHOLE: Range = [0, 999_999_999];

async function mustRead(q: Queue, id: string): Promise<ArrayNow> {
  const array = await readArray(q, id);
  if (array === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
  return array;
}

/** What does not run is held; of a whole array also what workers take up at this moment. */
export async function holdElements(
  q: Queue,
  id: string,
  range: Range | undefined,
  by: { user: string; host: string } | null,
): Promise<void> {
  const array = await mustRead(q, id);
  const { counts } = array;
  if (range === undefined) {
    if ((counts.queued ?? 0) + (counts.waiting ?? 0) + (counts.delayed ?? 0) === 0) throw wrong(id, array.state, 'hold');
    await createOnce(q, `${marksDir(q, id)}/hold`, '');
  }
  const [lo, hi] = range ?? WHOLE;
  const n = await changeElements(q, id, lo, hi, {
    verb: 'hold',
    from: ['queued', 'waiting', 'delayed'],
    whole: async (at) => {
      await writeWhy(q, at.id, at.n, 'held', {
        at: await serverNow(q),
        by,
        reason: null,
        from: at.state,
        ...(at.place.state === 'delayed' ? { dueAt: at.place.dueAt } : {}),
      });
      return (await move(q, at.file, q.lay.entry({ state: 'held' }, at.id, at.n))) === 'moved';
    },
  });
  if (n === 0 && range !== undefined)
    throw wrong(pieceId(id, lo, hi), (await findElement(q, await mustRead(q, id), lo))?.state ?? array.state, 'hold');
}

function wrong(id: string, state: State, wish: string): TqError {
  const hint = wish === 'remove' ? `to cancel it first: tq rm --force ${id}` : `tq show ${id}`;
  return new TqError('WRONG_STATE', `cannot ${wish} ${id}: it is ${state}`, { hint });
}

/** Held elements go back where they were. */
export async function releaseElements(
  q: Queue,
  id: string,
  range: Range | undefined,
  release: (pieceId: string) => Promise<unknown>,
): Promise<State> {
  const array = await mustRead(q, id);
  if (range === undefined) await unmark(q, id, 'hold');
  const [lo, hi] = range ?? WHOLE;
  const n = await changeElements(q, id, lo, hi, {
    verb: 'release',
    from: ['held'],
    whole: async (at) => {
      await release(at.id);
      return true;
    },
  });
  if (n === 0) throw wrong(range === undefined ? id : pieceId(id, lo, hi), array.state, 'release');
  return (await mustRead(q, id)).state;
}

/** Changes what does not run. */
export async function setElements(q: Queue, id: string, range: Range | undefined, set: (pieceId: string) => Promise<void>): Promise<void> {
  const array = await mustRead(q, id);
  const [lo, hi] = range ?? WHOLE;
  const done: Piece[] = [];
  const n = await changeElements(q, id, lo, hi, {
    verb: 'set',
    from: ['queued', 'waiting', 'delayed', 'held'],
    leave: (p) => done.some((d) => d.lo <= p.lo && p.hi <= d.hi),
    whole: async (at) => {
      await set(at.id);
      done.push(pieceOf(at.id)!);
      return true;
    },
  });
  if (n > 0) return;
  const state = range === undefined ? array.state : ((await findElement(q, array, lo))?.state ?? array.state);
  throw wrong(range === undefined ? id : pieceId(id, lo, hi), state, 'set');
}

/** Ended elements run again, all of them or those that failed. */
export async function retryElements(
  q: Queue,
  id: string,
  range: Range | undefined,
  options: { by: { user: string; host: string } | null; failed: boolean; delayMs?: number },
): Promise<void> {
  const array = await mustRead(q, id);
  const unfinished = !isTerminal(array.state);
  const subject = range === undefined ? id : pieceId(id, range[0], range[1]);
  if (unfinished && range === undefined && !options.failed) throw wrong(id, array.state, 'retry');
  // What its end was to make is made first, whoever was about to.
  if (!unfinished && isHooked(array.task)) await endArray(q, id);
  // What runs again must not meet what was asked of it before.
  await unmark(q, id, 'stop');
  const [lo, hi] = range ?? WHOLE;
  const now = await serverNow(q);
  const done: Piece[] = [];
  let n = 0;
  // What it puts into the queue may end again while the rest is done: each number once.
  for (const piece of array.pieces) {
    const [from, to] = [Math.max(lo, piece.lo), Math.min(hi, piece.hi)];
    if (from > to || !isTerminal(piece.at.state) || (options.failed && piece.at.state !== 'failed')) continue;
    n += await changeElements(q, id, from, to, {
      verb: 'retry',
      from: options.failed ? ['failed'] : TERMINAL,
      leave: (p) => done.some((d) => d.lo <= p.lo && p.hi <= d.hi),
      whole: async (at, task) => {
        const place: Place = options.delayMs === undefined ? queuedPlace(task) : { state: 'delayed', dueAt: now + options.delayMs };
        await createOnce(q, q.lay.retried(at.id, at.n), `${JSON.stringify({ at: now, by: options.by })}\n`);
        const moved = (await move(q, at.file, q.lay.entry(place, at.id, at.n + 1))) === 'moved';
        if (moved) done.push(pieceOf(at.id)!);
        return moved;
      },
    });
  }
  if (n === 0)
    throw wrong(subject, range === undefined ? array.state : ((await findElement(q, array, range[0]))?.state ?? array.state), 'retry');
  await reviveDependants(q, id);
  await ring(q);
}

/** After an element has failed: cancels the rest when they are too many. What was asked, if so. */
export async function checkFailures(q: Queue, id: string, many: Many): Promise<CancelRequest | undefined> {
  if (many.maxFails === undefined) return undefined;
  const failed = (await readArray(q, id))?.counts.failed ?? 0;
  if (!isTooMany(many.maxFails, failed, many.size)) return undefined;
  const request: CancelRequest = { reason: `${failed} of ${many.size} elements failed`, now: false, by: null };
  try {
    await cancelElements(q, id, undefined, request);
  } catch (error) {
    if (!(error instanceof TqError && error.code === 'WRONG_STATE')) throw error;
  }
  return request;
}

/** Numbers and places of the elements in these states: what `--expand` lists. */
export function* elementsIn(array: ArrayNow): Generator<{ n: number; piece: PieceAt }> {
  for (const piece of array.pieces.toSorted((a, b) => a.lo - b.lo)) {
    for (const n of numbersIn(array.many.numbers, piece.lo, piece.hi)) yield { n, piece };
  }
}

/**
 * What follows from the end of the whole: its `--on-success`, `--on-failure` or `--on-cancel`, once for each ending. Safe for anyone at
 * any time; done by who ends its last elements, and by the sweep where that one died.
 */
export async function endArray(q: Queue, id: string): Promise<void> {
  if ((await arrayEnded(q, id)) === undefined) return;
  const array = await readArray(q, id);
  if (array === undefined || !isAtRest(array)) return;
  const { task, many, pieces, counts, state } = array;
  const n = await endingOf(q, array);
  // A name that was left never comes back: twice the same, and so it was at one moment. Else whoever moves something looks again.
  if (namesOf(await readArray(q, id)) !== namesOf(array)) return;
  const { many: _many, ...whole } = task;
  const outcome = state === 'done' ? 'succeeded' : state === 'failed' ? 'failed' : 'canceled';
  const error = state === 'failed' ? `${counts.failed} of ${many.size} failed` : null;
  const follow = await prepareFollowUp(q, { ...whole, id }, n, pieces[0]!.at.file, state, () => ({ outcome, exitCode: null, error }), true);
  if (follow !== undefined) await releaseFollowUp(q, follow);
}

/** Whether all of it has ended, and nothing is just being split. */
function isAtRest({ isWhole, pieces }: ArrayNow): boolean {
  return isWhole && pieces.every((p) => isTerminal(p.at.place.state));
}

function namesOf(array: ArrayNow | undefined): string {
  return (array?.pieces ?? [])
    .map((p) => p.at.file)
    .toSorted()
    .join('\n');
}

/** The sweep: arrays that something follows from, and whose last owner may have died before it did that. */
export async function sweepArrays(q: Queue): Promise<void> {
  for (const id of await listOrEmpty(q.fsx, `${q.dir}/arrays`, q.network)) {
    if (isId(id) && (await listOrEmpty(q.fsx, marksDir(q, id))).includes('hooks')) await endArray(q, id);
  }
}

/**
 * Before a piece that has ended, and was only taken to be split, goes back to its end as attempt `n`: notes that this number stands for
 * no attempt. By whoever brings it back, the verb or a burial.
 */
export async function markSplit(q: Queue, task: Task, { base, lo, hi }: Piece, n: number, state: State): Promise<void> {
  if (isTerminal(state) && isHooked(task)) await createOnce(q, `${marksDir(q, base)}/split.${lo}-${hi}.a${n}`, '');
}

/**
 * The number of this ending of an array, in all of whose pieces nothing moves: how often its elements have begun, or could have. What
 * begins again raises a number and none ever falls, so the next ending has a higher one; a split raises one too, which is taken off.
 */
async function endingOf(q: Queue, { id, many, pieces }: ArrayNow): Promise<number> {
  const splits: Array<{ lo: number; hi: number; n: number }> = [];
  for (const name of await listOrEmpty(q.fsx, marksDir(q, id), true)) {
    const m = /^split\.(\d+)-(\d+)\.a(\d+)$/.exec(name);
    if (m !== null) splits.push({ lo: Number(m[1]), hi: Number(m[2]), n: Number(m[3]) });
  }
  let sum = 0;
  for (const p of pieces) {
    const raised = new Set(splits.filter((s) => s.lo <= p.lo && p.hi <= s.hi && s.n <= p.at.n).map((s) => s.n));
    sum += (p.at.n - raised.size) * countIn(many.numbers, p.lo, p.hi);
  }
  return sum;
}

/** Made at submit where something follows from the end of the whole. */
export async function markHooks(q: Queue, id: string): Promise<void> {
  await createOnce(q, `${marksDir(q, id)}/hooks`, '');
}

/** Removes an ended array and all that belongs to it; its state and results stay in `gone/`. With `force` it is canceled first. */
export async function removeElements(
  q: Queue,
  id: string,
  options: { force: boolean; by: { user: string; host: string } | null },
): Promise<void> {
  for (let round = 0; ; round++) {
    const array = await mustRead(q, id);
    if (isTerminal(array.state)) return eraseArray(q, array);
    if (!options.force) throw wrong(id, array.state, 'remove');
    if (round % 20 === 0) {
      try {
        await cancelElements(q, id, undefined, { reason: 'removed', now: false, by: options.by });
      } catch (error) {
        if (!(error instanceof TqError && error.code === 'WRONG_STATE')) throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, q.network ? 500 : 50));
  }
}

/**
 * Its mark in `gone/` first, so that a parent is known as ended all the time; then its pieces, which decides against a retry of what is
 * left; then what belongs to it. A crash leaves a mark and a part of the pieces, and the next removal goes on.
 */
export async function eraseArray(q: Queue, array: ArrayNow): Promise<void> {
  const { id, task, state } = array;
  if (isHooked(task)) await endArray(q, id);
  const { resultsOf } = await import('./array-view.ts');
  const results = state === 'done' ? await resultsOf(q, array) : [];
  const text = results.some((r) => r !== null) ? `${JSON.stringify({ result: results })}\n` : '';
  await publish(q, `${q.lay.gone(id)}/${id}.${state}`, text);
  const dirs = new Set<string>();
  for (const { at } of array.pieces) {
    const aside = stagingPath(q, '.removed');
    if ((await move(q, at.file, aside)) === 'moved') await unlinkQuietly(q.fsx, aside);
    dirs.add(at.file.slice(0, at.file.lastIndexOf('/')));
  }
  for (const dir of dirs) await rmdirIfEmpty(q.fsx, dir);
  await removeBelongings(q, id, task);
}

async function removeBelongings(q: Queue, id: string, task: Task): Promise<void> {
  const { removeTree } = await import('./control.ts');
  const first = id.slice(0, 4);
  const bucket = bucketOf(id);
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/runs/${first}`)) {
    const b = `${first}/${name}`;
    if (b !== bucket && !b.startsWith(`${bucket}.${id}.`)) continue;
    for (const file of await listOrEmpty(q.fsx, `${q.dir}/runs/${b}`))
      if (file.startsWith(`${id}.`)) await unlinkQuietly(q.fsx, `${q.dir}/runs/${b}/${file}`);
    await rmdirIfEmpty(q.fsx, `${q.dir}/runs/${b}`);
  }
  for (const kind of ['state', 'notes'] as const) {
    for (const name of await listOrEmpty(q.fsx, `${q.dir}/${kind}`))
      if (name === id || name.startsWith(`${id}.`)) await removeTree(q, `${q.dir}/${kind}/${name}`);
  }
  await removeTree(q, q.lay.after(id));
  await removeTree(q, marksDir(q, id));
  if (task.many?.max !== undefined) await removeTree(q, q.lay.limit(arrayLimit(id)));
  const items = task.many?.items?.blob;
  for (const blob of [task.script, task.stdin, items, items === undefined ? undefined : `${items}.index`]) {
    if (blob !== undefined && /^[0-9a-z][0-9a-z.]{0,63}$/.test(blob)) await unlinkQuietly(q.fsx, q.lay.blob(blob));
  }
}
