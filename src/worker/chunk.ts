/**
 * Elements of an array, taken as pieces. Until it is known how long they take, and where they are long, each gets an entry of its own
 * and runs like any task. Short ones run as a chunk: a range that the worker keeps under one entry, with one journal and one log, so
 * that an element costs a few bytes instead of two dozen file calls. What one chunk holds is about half a second of work, and the part
 * that has not begun goes back when that was wrong.
 */
import fs from 'node:fs';
import { errnoOf } from '../errors.ts';
import { cancelAgain, cancelHere, carryCancel, readCancel, without, type CancelRequest } from '../queue/cancel.ts';
import type { Claimed } from '../queue/claim.ts';
import { serverNow, serverNowAbout } from '../queue/clock.ts';
import { afterTerminal } from '../queue/depend.ts';
import { checkFailures, readMarks } from '../queue/array.ts';
import { isGone, listOrEmpty, mkdirp } from '../queue/fsx.ts';
import { baseId, cancelName, entryName, parseEntry, pieceId, pieceOf, type Piece, type Place } from '../queue/layout.ts';
import { lostOutcome } from '../queue/bury.ts';
import type { Queue } from '../queue/open.ts';
import { publishOutcome, readClaimed, readOutcome } from '../queue/outcome.ts';
import {
  cut,
  formatLine,
  idOf,
  inherit,
  openJournal,
  publishJournal,
  scatter,
  type Begun,
  type Ended,
  type Fate,
  type Journal,
} from '../queue/pieces.ts';
import { ring } from '../queue/signal.ts';
import { spool } from '../queue/spool.ts';
import { move, unlinkQuietly } from '../queue/steps.ts';
import { placeOfNext, queuedPlace } from '../queue/task-file.ts';
import { writeWhy } from '../queue/why.ts';
import { countIn, indexFrom, numberAt } from '../task/array.ts';
import { newTally } from '../task/decide.ts';
import { elementOf, someOf, type Many } from '../task/many.ts';
import { isTerminal, type Needs, type Next, type Outcome, type Task } from '../task/types.ts';
import { itemLine } from '../queue/items.ts';
import { layInputs } from './inputs.ts';
import { outcomeOf, runTask, type Result } from './run-task.ts';
import { endRun, newRun, sayOnce, wake, type Run, type Worker } from './worker.ts';

/** How much work a chunk holds, ms with all slots busy; and how many elements at most. */
const CHUNK_MS = 500;
/** Over a network a chunk costs dozens of calls, and who waits there waits for a poll: so many times as much is in one. */
const NETWORK_CHUNKS = 4;
const MOST = 5000;
/** Elements that take longer than this on average get an entry each, ms. */
const SHORT_MS = 200;
/** After this long what has not begun goes back, ms. */
const GIVE_BACK_MS = 2000;

export interface Chunk {
  piece: Piece;
  /** The attempt. */
  n: number;
  task: Task;
  many: Many;
  claimed: Claimed;
  journalFd: number;
  journalPath: string;
  journal: Journal;
  log: { fd: number; path: string; bytes: number; torn: boolean } | null;
  /** Where those elements go that will run again. */
  again: Map<number, Next>;
  /** Index among the numbers of the next element to begin. */
  next: number;
  running: number;
  openedMs: number;
  /** Its entry is being cut or moved: nothing is begun. */
  busy: boolean;
  /** Requests that were seen, by their file names. */
  cancels: Set<string>;
  /** `$TQ_INPUTS`, the same for all. */
  inputs: Promise<Record<string, string>> | null;
  /** Appends go one after the other. */
  writing: Promise<void>;
  /** The last line may be there in part: the next one begins anew. */
  torn: boolean;
  /** Numbers that were asked to be canceled. */
  canceled: Array<readonly [lo: number, hi: number]>;
  /** Runs the processes of one element. */
  run: typeof runTask;
}

/** The name of its entry, without `.json`. */
export function keyOf(c: Chunk): string {
  return `${idOf(c.piece)}.a${c.n}`;
}

/** The next element that has not begun; undefined when there is none. */
function nextOf(c: Chunk): number | undefined {
  for (;;) {
    const n = numberAt(c.many.numbers, c.next);
    if (n === undefined || n > c.piece.hi) return undefined;
    // Canceled before it began.
    if (!c.journal.ended.has(n)) return n;
    c.next++;
  }
}

export function hasNext(c: Chunk): boolean {
  return !c.busy && nextOf(c) !== undefined;
}

/**
 * Takes from a claimed piece what this worker can begin now, at most `most` elements, and puts the rest back. Single elements come
 * back as claims; a chunk is added to the worker's.
 */
export async function openPiece(w: Worker, claimed: Claimed, most: number): Promise<Claimed[]> {
  const { q } = w;
  const dir = q.lay.session(w.session);
  const task = await readClaimed(q, claimed.file, claimed.id);
  if (task?.many === undefined) return [];
  const { many } = task;
  const n = claimed.attempt;
  const whole = pieceOf(claimed.id)!;
  const home = queuedPlace(task);
  if (claimed.n > 0) {
    const journal = await inherit(q, whole, claimed.n);
    if (journal !== undefined) {
      await recover(w, dir, whole, claimed, task, many, journal);
      return [];
    }
  }
  if (await isStopped(w, claimed, task)) return [];
  const averageMs = w.elementMs.get(whole.base);
  const chunked = averageMs !== undefined && averageMs <= SHORT_MS && isChunkable(task);
  const size = countIn(many.numbers, whole.lo, whole.hi);
  const wanted = chunked
    ? Math.max(w.options.jobs, Math.ceil((inChunks(q, CHUNK_MS) * w.options.jobs) / Math.max(0.1, averageMs)))
    : isChunkable(task)
      ? most
      : 1;
  const room = w.options.maxTasks === null ? wanted : Math.min(wanted, w.options.maxTasks - w.started);
  const take = Math.max(1, Math.min(room, size, MOST));
  let piece: Piece = whole;
  if (take < size) {
    const taken = await cutAt(w, dir, whole, n, many, take, home);
    if (taken === undefined) return [];
    piece = taken;
    await ring(q);
  }
  if (chunked && take > 1) {
    await openChunk(w, claimed, task, many, piece, n);
    if (take < size) await carryRequests(w, whole, n);
    return [];
  }
  const singles: Claimed[] = [];
  const numbers = someOf(many, piece.lo, piece.hi, take);
  for (let i = numbers.length - 1; i > 0; i--) {
    const left = await cutAt(w, dir, piece, n, many, i, { state: 'running', session: w.session });
    if (left === undefined) return singles;
    piece = left;
    singles.unshift(single(claimed, dir, whole.base, numbers[i]!));
  }
  singles.unshift(single(claimed, dir, whole.base, numbers[0]!));
  if (size > 1) await carryRequests(w, whole, n);
  return singles;
}

function inChunks(q: Queue, ms: number): number {
  return q.network ? NETWORK_CHUNKS * ms : ms;
}

function single(claimed: Claimed, dir: string, base: string, number: number): Claimed {
  const id = pieceId(base, number, number);
  return { ...claimed, id, file: `${dir}/${entryName(id, claimed.attempt)}`, known: true };
}

/** Keeps the first `take` elements of a piece; the rest goes to `place`. */
async function cutAt(w: Worker, dir: string, whole: Piece, n: number, many: Many, take: number, place: Place): Promise<Piece | undefined> {
  const first = indexFrom(many.numbers, whole.lo);
  const keep: Piece = { ...whole, hi: numberAt(many.numbers, first + take - 1)! };
  const rest: Piece = { ...whole, lo: numberAt(many.numbers, first + take)! };
  return cut(w.q, dir, whole, n, keep, rest, place);
}

/** One log and one journal for many: what needs files of its own, or a share for each, does not run so. */
function isChunkable(task: Task): boolean {
  return (
    (task.needs === undefined || isOneCpu(task.needs)) &&
    !task.split &&
    task.steps === undefined &&
    task.fallback === undefined &&
    task.mutex === undefined &&
    task.limits === undefined
  );
}

function isOneCpu(needs: Needs): boolean {
  return Object.entries(needs).every(([what, n]) => (what === 'cpus' ? n === 1 : n === undefined || n === 0));
}

/** Whether somebody held or canceled the whole array, or its time to start has passed: then the piece goes there. */
async function isStopped(w: Worker, claimed: Claimed, task: Task): Promise<boolean> {
  const { q } = w;
  const marks = await readMarks(q, baseId(claimed.id));
  const at = {
    id: claimed.id,
    n: claimed.attempt,
    state: 'running' as const,
    place: { state: 'running' as const, session: w.session },
    file: claimed.file,
  };
  if (marks.stop !== undefined) {
    await cancelHere(q, at, marks.stop);
    return true;
  }
  if (marks.hold) {
    await move(q, claimed.file, q.lay.entry({ state: 'held' }, claimed.id, claimed.attempt));
    return true;
  }
  if (task.expiresAt === undefined) return false;
  const now = await serverNow(q);
  if (now < task.expiresAt || claimed.n > 0) return false;
  await writeWhy(q, claimed.id, claimed.attempt, 'skipped', {
    at: now,
    by: null,
    reason: `expired: not started by ${new Date(task.expiresAt).toISOString()}`,
  });
  if ((await move(q, claimed.file, q.lay.entry({ state: 'skipped' }, claimed.id, claimed.attempt))) === 'moved')
    await afterTerminal(q, task);
  return true;
}

async function openChunk(w: Worker, claimed: Claimed, task: Task, many: Many, piece: Piece, n: number): Promise<boolean> {
  const { q } = w;
  const journalFd = await openJournal(q, piece, n);
  if (journalFd === undefined) {
    w.log(`${idOf(piece)}.a${n}: its journal exists already: not run`);
    return false;
  }
  const at = Math.round(serverNowAbout(q));
  q.journal?.other({ at, type: 'chunk', subject: idOf(piece), from: null, to: null, attempt: n, worker: w.options.name });
  w.chunks.push({
    piece,
    n,
    task,
    many,
    claimed,
    journalFd,
    journalPath: `${q.lay.runs(piece.base)}/${piece.base}.${piece.lo}.a${n}.ndjson`,
    journal: { begun: new Map(), ended: new Map() },
    log: null,
    again: new Map(),
    next: indexFrom(many.numbers, piece.lo),
    running: 0,
    openedMs: performance.now(),
    busy: false,
    cancels: new Set(),
    inputs: null,
    writing: Promise.resolve(),
    torn: false,
    canceled: [],
    run: runTask,
  });
  return true;
}

/** A piece of which something was begun: what has ended goes where it belongs, what was lost is counted, the rest goes back. */
async function recover(w: Worker, dir: string, whole: Piece, claimed: Claimed, task: Task, many: Many, journal: Journal): Promise<void> {
  const { q } = w;
  const n = claimed.attempt;
  const queued = queuedPlace(task);
  const fates = new Map<number, Fate>();
  for (const line of journal.ended.values()) {
    if (line.state !== 'again') fates.set(line.n, { place: { state: line.state }, alone: false });
    else {
      const outcome = await readOutcome(q, pieceId(whole.base, line.n, line.n), line.attempt);
      fates.set(line.n, { place: outcome === undefined ? queued : placeOfNext(task, outcome.next), alone: true });
    }
  }
  for (const begun of journal.begun.values()) {
    if (fates.has(begun.n)) continue;
    const id = pieceId(whole.base, begun.n, begun.n);
    // Its owner came as far as to say how it ended, here or on its own disk.
    const told = await readOutcome(q, id, begun.attempt ?? claimed.n);
    if (told !== undefined) {
      const terminal = isTerminal(told.next.state);
      if (terminal) journal.ended.set(begun.n, lineOf(told, begun.n, undefined));
      fates.set(begun.n, { place: placeOfNext(task, told.next), alone: !terminal });
      continue;
    }
    const lost = await lostOutcome(q, w.session, { ...task, id }, n, {
      reason: `worker ${begun.worker} died`,
      started: true,
      canceled: false,
    });
    const counts = await publishOutcome(q, { ...lost, worker: begun.worker, startedAt: begun.begunAt });
    fates.set(begun.n, { place: placeOfNext(task, counts.next), alone: true });
  }
  w.log(`${idOf(whole)}: ${journal.ended.size} of its elements have ended already, ${fates.size - journal.ended.size} were lost`);
  if (!(await scatter(q, dir, whole, n, many, journal, false, (element) => fates.get(element) ?? { place: queued, alone: false }))) return;
  await ring(q);
  await afterTerminal(q, task);
  // Who wrote that down may have died before it looked whether they are too many.
  if ([...journal.ended.values()].some((line) => line.state === 'failed')) await afterFailure(w, whole.base, many);
}

/** Begins the next element of a chunk in a slot. Resolves when it has been recorded. */
export async function runNext(w: Worker, c: Chunk, slot: number, made: (run: Run) => void): Promise<void> {
  const n = nextOf(c)!;
  c.next++;
  c.running++;
  const id = pieceId(c.piece.base, n, n);
  const run: Run = { ...newRun({ ...c.claimed, id, attempt: c.n }, slot), chunk: c };
  made(run);
  try {
    await runElement(w, c, run, n, slot);
  } finally {
    c.running--;
    // Also when it could not begin: nobody would come back to a chunk of which nothing is left.
    if (c.running === 0 && !c.busy && nextOf(c) === undefined && w.chunks.includes(c)) await closeChunk(w, c);
  }
}

async function runElement(w: Worker, c: Chunk, run: Run, n: number, slot: number): Promise<void> {
  const { q } = w;
  const { task, env } = elementOf({ ...c.task, id: run.claimed.id }, c.many, n, itemLine(q, c.many, n));
  const begun: Begun = { n, attempt: c.n, begunAt: Math.round(await serverNow(q)), worker: w.options.name };
  await write(w, c, formatLine(begun));
  c.journal.begun.set(n, begun);
  const s = slotFiles(w, slot);
  fs.ftruncateSync(s.fd);
  let recorded = false;
  await c.run(w, run, task, newTally(), {
    logFd: s.fd,
    errFd: undefined,
    output: s.path,
    stateDir: s.stateDir,
    env: { ...env, ...(await (c.inputs ??= inputsOf(w, c))) },
    settle: async (result) => {
      await record(w, c, run, task, n, result, s);
      recorded = true;
    },
  });
  keepState(w, task.id, s.stateDir);
  // Not started after all, since no heartbeat could be confirmed: the line says that it was begun, so it counts as lost at worst.
  if (!recorded && run.cause !== 'revoked') w.unbegun.delete(run.key);
}

async function inputsOf(w: Worker, c: Chunk): Promise<Record<string, string>> {
  if (c.task.noInputs === true || (c.task.after ?? []).length === 0) return {};
  const inside = `${w.scratch}/chunk.${keyOf(c)}`;
  fs.mkdirSync(inside, { recursive: true, mode: 0o700 });
  return { TQ_INPUTS: await layInputs(w.q, c.task, inside) };
}

/** Writes down how an element ended; tried until it is written. */
async function record(w: Worker, c: Chunk, run: Run, task: Task, n: number, result: Result, s: SlotFiles): Promise<void> {
  const outcome = await outcomeOf(w, run, task, result);
  let kept: { log: Ended['log'] } | undefined;
  for (let failures = 0; ; failures++) {
    try {
      const { next } = outcome;
      if (!isTerminal(next.state)) {
        const counts = await publishOutcome(w.q, outcome);
        c.again.set(n, counts.next);
      }
      kept ??= { log: await keepOutput(w, c, s) };
      const line = lineOf(outcome, n, kept.log);
      await write(w, c, formatLine(line));
      c.journal.ended.set(n, line);
      if (line.state === 'failed') await afterFailure(w, c.piece.base, c.many);
      return;
    } catch (error) {
      if (failures === 0) w.log(`${run.key}: cannot be recorded (${String(error)}): tried again`);
      if (w.stopping && failures > 3) {
        // As the outcome of a task: who buries this session on this machine publishes it, and who takes the element up finds it.
        spool(w.q, w.session, outcome);
        return;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 100 * 2 ** Math.min(failures, 7)) * (0.9 + 0.2 * Math.random())));
    }
  }
}

/** Too many failures cancel the rest: what this worker has of it is not begun any more at once. */
export async function afterFailure(w: Worker, id: string, many: Many): Promise<void> {
  const request = await checkFailures(w.q, id, many);
  if (request === undefined) return;
  for (const c of w.chunks.filter((other) => other.piece.base === id)) await cancelIn(w, c, '', c.piece.lo, c.piece.hi, request);
}

function lineOf(o: Outcome, n: number, log: Ended['log']): Ended {
  const line: Ended = {
    n,
    outcome: o.outcome,
    state: isTerminal(o.next.state) ? o.next.state : 'again',
    attempt: o.attempt,
    worker: o.worker,
    endedAt: o.endedAt,
  };
  if (o.host !== '') line.host = o.host;
  if (o.pid !== null) line.pid = o.pid;
  if (o.startedAt !== null) line.startedAt = o.startedAt;
  if (o.durationMs !== null) line.durationMs = o.durationMs;
  if (o.exitCode !== null) line.exitCode = o.exitCode;
  if (o.signal !== null) line.signal = o.signal;
  if (o.cpuMs !== null) line.cpuMs = o.cpuMs;
  if (o.maxRssKb !== null) line.maxRssKb = o.maxRssKb;
  const reason = o.next.reason ?? o.reason;
  if (reason !== null) line.reason = reason;
  if (o.result !== undefined) line.result = o.result;
  if (log !== undefined) line.log = log;
  return line;
}

function write(w: Worker, c: Chunk, text: string): Promise<void> {
  const append = async (): Promise<void> => {
    // A disk that gets full takes a part of a line: what comes next must not be read as the rest of it.
    const whole = c.torn ? `\n${text}` : text;
    c.torn = true;
    await w.q.fsx.appendTo(c.journalFd, c.journalPath, whole);
    c.torn = false;
  };
  const written = c.writing.then(append);
  c.writing = written.catch(() => undefined);
  return written;
}

const COPY_BYTES = 262_144;

/** Appends what an element printed to the chunk's log. */
async function keepOutput(w: Worker, c: Chunk, s: SlotFiles): Promise<Ended['log']> {
  const { size } = fs.fstatSync(s.fd);
  if (size === 0) return undefined;
  const before = c.writing;
  const { promise, resolve: done } = Promise.withResolvers<void>();
  c.writing = promise;
  try {
    await before;
    const log = (c.log ??= await openLog(w, c));
    // What could be written of an output whose writing failed lies there too.
    if (log.torn) log.bytes = (await w.q.fsx.stat(log.path)).size;
    log.torn = true;
    const from = log.bytes;
    for (let at = 0; at < size;) {
      const piece = Buffer.allocUnsafe(Math.min(COPY_BYTES, size - at));
      const bytes = fs.readSync(s.fd, piece, 0, piece.length, at);
      if (bytes === 0) break;
      await w.q.fsx.appendTo(log.fd, log.path, piece.subarray(0, bytes));
      at += bytes;
      log.bytes += bytes;
    }
    log.torn = false;
    return { file: log.path.slice(log.path.lastIndexOf('/') + 1), from, bytes: log.bytes - from };
  } finally {
    done();
  }
}

async function openLog(w: Worker, c: Chunk): Promise<NonNullable<Chunk['log']>> {
  const path = `${w.q.lay.runs(c.piece.base)}/${c.piece.base}.${c.piece.lo}.a${c.n}.chunk.log`;
  try {
    return { fd: await w.q.fsx.openLog(path), path, bytes: 0, torn: false };
  } catch (error) {
    if (!isGone(error)) throw error;
    await mkdirp(w.q.fsx, path.slice(0, path.lastIndexOf('/')));
    return { fd: await w.q.fsx.openLog(path), path, bytes: 0, torn: false };
  }
}

/** What an element writes to and keeps while it runs in a slot; the same for the next one. */
interface SlotFiles {
  fd: number;
  path: string;
  stateDir: string;
}

const slotsOf = new WeakMap<Worker, { session: string; files: SlotFiles[] }>();

function slotFiles(w: Worker, slot: number): SlotFiles {
  let known = slotsOf.get(w);
  if (known === undefined || known.session !== w.session) {
    for (const s of known?.files ?? []) if (s !== undefined) fs.closeSync(s.fd);
    known = { session: w.session, files: [] };
    slotsOf.set(w, known);
  }
  let s = known.files[slot];
  if (s === undefined) {
    const path = `${w.scratch}/output.${slot}`;
    s = {
      fd: fs.openSync(path, fs.constants.O_RDWR | fs.constants.O_APPEND | fs.constants.O_CREAT, 0o600),
      path,
      stateDir: `${w.scratch}/state.${slot}`,
    };
    known.files[slot] = s;
  }
  try {
    fs.mkdirSync(s.stateDir);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
  return s;
}

/** What an element left in its state directory is for its next attempt, wherever that runs. */
function keepState(w: Worker, id: string, stateDir: string): void {
  try {
    if (fs.readdirSync(stateDir).length === 0) return;
    fs.cpSync(stateDir, w.q.lay.state(id), { recursive: true });
  } catch (error) {
    w.log(`${id}: its state directory cannot be kept: ${String(error)}`);
  }
  fs.rmSync(stateDir, { recursive: true, force: true });
}

/** All elements have ended: each goes where it belongs. */
async function closeChunk(w: Worker, c: Chunk): Promise<void> {
  const { q } = w;
  c.busy = true;
  const dir = q.lay.session(w.session);
  w.chunks.splice(w.chunks.indexOf(c), 1);
  w.closing.add(c);
  w.claimEpoch++;
  try {
    await c.writing;
    closeFiles(c);
    // What runs again obeys a request that was not seen yet, as an entry of its own does when it ends.
    if (c.again.size > 0) await heedRequests(w, c);
    const queued = queuedPlace(c.task);
    const fateOf = (n: number): Fate => {
      const line = c.journal.ended.get(n);
      if (line !== undefined && line.state !== 'again') return { place: { state: line.state }, alone: false };
      // As a request beside an entry of its own would: it is not tried again.
      if (c.canceled.some(([lo, hi]) => lo <= n && n <= hi)) return { place: { state: 'canceled' }, alone: true };
      if (line === undefined) return { place: queued, alone: false };
      const next = c.again.get(n);
      return { place: next === undefined ? queued : placeOfNext(c.task, next), alone: true };
    };
    if (!(await scatter(q, dir, c.piece, c.n, c.many, c.journal, true, fateOf))) return;
    for (const name of c.cancels) await unlinkQuietly(q.fsx, `${dir}/${name}`);
    if (c.again.size > 0) await carryRequests(w, c.piece, c.n);
    for (const next of c.again.values()) if (next.state === 'delayed') w.lookAtDueAt = Math.min(w.lookAtDueAt, next.dueAt);
    if (c.again.size > 0) await ring(q);
    await afterTerminal(q, c.task);
  } catch (error) {
    // The next heartbeat finds the entry and gives it back; its journal tells the rest.
    w.log(`${keyOf(c)}: cannot be put away: ${String(error)}`);
  } finally {
    w.closing.delete(c);
    w.claimEpoch++;
    wake(w);
  }
}

function closeFiles(c: Chunk): void {
  for (const fd of [c.journalFd, c.log?.fd]) {
    try {
      if (fd !== undefined) fs.closeSync(fd);
    } catch {
      // What could not be written by then was said when it was.
    }
  }
}

/** The requests of the own directory for elements between two numbers that were claimed as attempt `n`. */
async function requestsFor(
  w: Worker,
  { base, lo, hi }: Piece,
  n: number,
): Promise<Array<{ id: string; name: string; lo: number; hi: number }>> {
  const found: Array<{ id: string; name: string; lo: number; hi: number }> = [];
  for (const name of await listOrEmpty(w.q.fsx, w.q.lay.session(w.session))) {
    const e = name.startsWith(`${base}.`) ? parseEntry(name) : undefined;
    const piece = e?.cancel === true && e.n === n ? pieceOf(e.id) : undefined;
    if (e !== undefined && piece !== undefined && piece.lo <= hi && lo <= piece.hi)
      found.push({ id: e.id, name, lo: piece.lo, hi: piece.hi });
  }
  return found;
}

async function heedRequests(w: Worker, c: Chunk): Promise<void> {
  for (const { name, lo, hi } of await requestsFor(w, c.piece, c.n)) {
    if (lo < c.piece.lo || hi > c.piece.hi || c.cancels.has(name)) continue;
    c.cancels.add(name);
    c.canceled.push([lo, hi]);
  }
}

/** Requests that came between a look and a move, or before a cut and for what was cut off: passed on at once. */
async function carryRequests(w: Worker, piece: Piece, n: number): Promise<void> {
  for (const { id } of await requestsFor(w, piece, n)) {
    const mine = pieceOf(id)!;
    const c = w.chunks.find((k) => k.piece.base === mine.base && k.n === n && k.piece.lo <= mine.hi && mine.lo <= k.piece.hi);
    if (c === undefined) await carryCancel(w.q, w.session, id, n);
    else if (!c.busy) await cancelOfChunk(w, { id, n, name: cancelName(id, n) });
  }
}

/** Forgets the chunks of a session that is over; what ran of them has ended. */
export function dropChunks(w: Worker): void {
  for (const c of w.chunks) closeFiles(c);
  w.chunks = [];
}

/** Gives back what has not begun of chunks that are open for long, or of all: others may have a slot free. */
export async function giveBackChunks(w: Worker, all: boolean): Promise<void> {
  for (const c of w.chunks.slice()) {
    if (c.busy || (!all && performance.now() - c.openedMs < inChunks(w.q, GIVE_BACK_MS))) continue;
    const next = nextOf(c);
    if (next === undefined) continue;
    c.busy = true;
    w.claimEpoch++;
    const whole = c.piece;
    try {
      await insist(() => giveBackFrom(w, c, next));
      await ring(w.q);
    } catch (error) {
      sayOnce(w, `${keyOf(c)}: cannot give back what has not begun`, error);
    } finally {
      c.busy = false;
      w.claimEpoch++;
    }
    await carryRequests(w, whole, c.n).catch((error: unknown) => sayOnce(w, keyOf(c), error));
    if (c.running === 0 && nextOf(c) === undefined && w.chunks.includes(c)) await closeChunk(w, c);
  }
}

async function giveBackFrom(w: Worker, c: Chunk, next: number): Promise<void> {
  // Canceled ones among what has not begun keep their lines.
  await publishJournal(w.q, { ...c.piece, lo: next }, c.n, c.journal);
  const kept = someOf(c.many, c.piece.lo, next - 1, 1).length > 0;
  const dir = w.q.lay.session(w.session);
  const home = queuedPlace(c.task);
  if (kept) {
    const keep: Piece = { ...c.piece, hi: numberAt(c.many.numbers, indexFrom(c.many.numbers, next) - 1)! };
    const left = await cut(w.q, dir, c.piece, c.n, keep, { ...c.piece, lo: next }, home);
    if (left !== undefined) c.piece = left;
    return;
  }
  await move(w.q, `${dir}/${entryName(idOf(c.piece), c.n)}`, w.q.lay.entry(home, idOf(c.piece), c.n));
  closeFiles(c);
  w.chunks.splice(w.chunks.indexOf(c), 1);
}

/** How often a cut that an error came into is gone on with: what was half done keeps what runs of it. */
const TRIES = 5;

async function insist(work: () => Promise<void>): Promise<void> {
  for (let failures = 1; ; failures++) {
    try {
      return await work();
    } catch (error) {
      if (failures >= TRIES) throw error;
      await new Promise((resolve) => setTimeout(resolve, 50 * 2 ** failures));
    }
  }
}

/** A request of the own directory that is for elements of a chunk: obeyed. False: it is not. */
export async function cancelOfChunk(w: Worker, { id, n, name }: { id: string; n: number; name: string }): Promise<boolean> {
  const piece = pieceOf(id);
  const c =
    piece === undefined
      ? undefined
      : w.chunks.find((k) => k.piece.base === piece.base && k.n === n && k.piece.lo <= piece.hi && piece.lo <= k.piece.hi);
  if (c === undefined || piece === undefined) return false;
  if (c.busy) return true;
  const request = await readCancel(w.q, w.session, id, n);
  // What was cut off before the request was seen lies elsewhere by now.
  if (!c.cancels.has(name)) {
    for (const [lo, hi] of without([piece.lo, piece.hi], [[c.piece.lo, c.piece.hi]]))
      await cancelAgain(w.q, pieceId(piece.base, lo, hi), n, request);
  }
  await cancelIn(w, c, name, piece.lo, piece.hi, request);
  return true;
}

/** A request to cancel elements of a chunk: those that run are ended, those that have not begun are written down as canceled. */
export async function cancelIn(w: Worker, c: Chunk, name: string, lo: number, hi: number, request: CancelRequest): Promise<void> {
  if (name !== '') c.cancels.add(name);
  if (!c.canceled.some(([from, to]) => from === lo && to === hi)) c.canceled.push([lo, hi]);
  for (const run of w.runs.values()) {
    if (run.chunk !== c || run.finishing || (run.cause !== null && run.cause !== 'canceled')) continue;
    const { lo: n } = pieceOf(run.claimed.id)!;
    if (n >= lo && n <= hi) endRun(run, 'canceled', { now: request.now, reason: request.reason });
  }
  const now = Math.round(await serverNow(w.q));
  let text = '';
  const lines: Ended[] = [];
  const first = nextOf(c);
  if (first === undefined) return;
  for (const n of someOf(c.many, Math.max(first, lo), Math.min(c.piece.hi, hi), MOST)) {
    if (c.journal.ended.has(n)) continue;
    const line: Ended = {
      n,
      outcome: 'canceled',
      state: 'canceled',
      attempt: c.n,
      worker: w.options.name,
      endedAt: now,
      reason: request.reason ?? 'canceled',
    };
    lines.push(line);
    text += formatLine(line);
    // At once, so that none of them begins while it is written.
    c.journal.ended.set(n, line);
  }
  try {
    if (lines.length > 0) await write(w, c, text);
  } catch (error) {
    for (const { n } of lines) c.journal.ended.delete(n);
    throw error;
  }
  if (c.running === 0 && !c.busy && nextOf(c) === undefined && w.chunks.includes(c)) await closeChunk(w, c);
}
