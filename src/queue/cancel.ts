/**
 * Cancel. What does not run is moved; what runs gets a `.cancel` beside its entry, which its worker sees at the next heartbeat.
 * A request outlives the entry it was made for: whoever finds one without its entry carries it to where the task is now.
 */
import { errnoOf, fsError, TqError } from '../errors.ts';
import { isTerminal, type Task } from '../task/types.ts';
import { serverNow } from './clock.ts';
import { afterTerminal } from './depend.ts';
import { locate, type Located } from './find.ts';
import { prepareFollowUp, releaseFollowUp, settleFollowUp } from './follow.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { freeTokens, tokensOf } from './keys.ts';
import { baseId, cancelName, entryName, parseEntry, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { nameIsThere, readTaskAt } from './outcome.ts';
import { ring } from './signal.ts';
import { createOnce, discard, move, stagingPath, unlinkQuietly } from './steps.ts';
import { readWhy, writeWhy } from './why.ts';

export interface CancelRequest {
  reason: string | null;
  /** Without the grace period. */
  now: boolean;
  by: { user: string; host: string } | null;
}

/** `canceled`: it has ended so. `asked`: it runs, and its worker was asked. */
export type CancelResult = 'canceled' | 'asked';

/** Throws NOT_FOUND, and WRONG_STATE when it has ended already (then nothing changed). */
export async function cancelTask(q: Queue, id: string, request: CancelRequest): Promise<CancelResult> {
  for (let round = 0; round < 20; round++) {
    const at = await locate(q, id, round > 0);
    if (at === undefined) {
      const part = await partOf(q, id);
      if (part === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`);
      const { cancelElements } = await import('./array.ts');
      return cancelElements(q, part.id, part.range, request);
    }
    if (isTerminal(at.state)) throw endedAlready(id, at.state);
    if (at.place.state === 'running') {
      if (await askToCancel(q, at.place.session, id, at.n, request)) return 'asked';
      continue;
    }
    const task = await readTaskAt(q, at.file, id);
    if (task?.many !== undefined && at.n > 0) {
      // Some of it may have ended under an owner that died: those are sorted out first.
      const { cancelElements } = await import('./array.ts');
      const { base, lo, hi } = pieceOf(id)!;
      return cancelElements(q, base, [lo, hi], request);
    }
    if (task === undefined || !(await cancelHere(q, at, request, task))) continue;
    if (await isFirst(q, id, at.n)) return 'canceled';
    throw endedAlready(id, 'canceled');
  }
  throw new TqError('QUEUE_UNUSABLE', `cannot cancel ${id}: it keeps moving`, { hint: 'try again' });
}

/** Which elements of which array an id stands for that has no entry of its own; undefined: there is no such array. */
export async function partOf(q: Queue, id: string): Promise<{ id: string; range: readonly [number, number] | undefined } | undefined> {
  const { readArray } = await import('./array.ts');
  const array = await readArray(q, baseId(id));
  if (array === undefined) return undefined;
  const piece = pieceOf(id);
  return { id: array.id, range: piece === undefined ? undefined : [piece.lo, piece.hi] };
}

function endedAlready(id: string, state: string): TqError {
  return new TqError('WRONG_STATE', `${id} is ${state} already`, { hint: `tq show ${id}` });
}

/**
 * Of two cancels at once both find the entry where they wanted it: whose rename it was cannot be told from a lost reply. So the
 * one says so that makes this file, since an exclusive create tells the truth. A crash before it leaves a task canceled that nobody boasts of.
 */
async function isFirst(q: Queue, id: string, n: number): Promise<boolean> {
  try {
    return await createOnce(q, `${q.lay.runs(id)}/${id}.a${n}.canceled`, '');
  } catch {
    // It has been canceled; that there is no room for this file changes nothing.
    return true;
  }
}

/** Moves a task that does not run to canceled. False: it was moved meanwhile. */
export async function cancelHere(q: Queue, at: Located, request: CancelRequest, known?: Task): Promise<boolean> {
  const task = known ?? (await readTaskAt(q, at.file, at.id));
  if (task === undefined) return false;
  await writeWhy(q, at.id, at.n, 'canceled', { at: await serverNow(q), by: request.by, reason: request.reason });
  return endWithoutAttempt(q, at, task, 'canceled');
}

/** Moves a task that does not run to a terminal place, frees its key, tells its dependants and lets its follow-up go. False: it was moved meanwhile. */
export async function endWithoutAttempt(q: Queue, at: Located, task: Task, state: 'canceled' | 'skipped' | 'done'): Promise<boolean> {
  const follow = await prepareFollowUp(q, task, at.n, at.file, state, async () => ({
    outcome: state === 'canceled' ? 'canceled' : 'succeeded',
    exitCode: null,
    error: state === 'done' ? null : ((await readWhy(q, at.id, at.n, state))?.reason ?? null),
  }));
  const tokens = task.key === undefined ? [] : await tokensOf(q, task.key, task.id);
  if (state === 'done' && task.submission !== undefined) {
    const { beforeEnd } = await import('./groups.ts');
    await beforeEnd(q, task, at.n, { state }, '');
  }
  if ((await move(q, at.file, q.lay.entry({ state }, at.id, at.n))) !== 'moved') {
    if (follow !== undefined) await settleFollowUp(q, follow);
    return false;
  }
  await freeTokens(q, tokens);
  if (follow !== undefined) await releaseFollowUp(q, follow);
  await afterTerminal(q, task);
  return true;
}

/** Creates the request beside the running entry. False: the session is gone, or the entry left it: look for the task again. */
async function askToCancel(q: Queue, session: string, id: string, n: number, request: CancelRequest): Promise<boolean> {
  const path = `${q.lay.session(session)}/${cancelName(id, n)}`;
  try {
    await createRequest(q, path, request);
  } catch (error) {
    const code = errnoOf(error);
    if (isGone(error)) return false;
    if (code !== 'EEXIST') throw error;
    // Asked before (or touched by hand): this one adds what it has to say, `--now` above all.
    if ((request.now || request.reason !== null) && !(await addTo(q, path, await readCancel(q, session, id, n), request))) return false;
  }
  await ring(q);
  // An entry that left before the request came is looked for again; the request stays behind and is carried on or dropped.
  return nameIsThere(q, q.lay.session(session), entryName(id, n));
}

/**
 * Makes a request, whole at once: a worker that looks between the name and the text would take it for one that says nothing. Never with
 * its directory: that would undo a burial. Throws EEXIST where one is there (or the reply was lost, and it is this one), and ENOENT.
 * On a full disk the request alone is made: one that says nothing needs no space, and what fills the disk may be this very task.
 */
export async function createRequest(q: Queue, path: string, request: CancelRequest): Promise<void> {
  const tmp = stagingPath(q);
  try {
    await q.fsx.create(tmp, `${JSON.stringify(request)}\n`, { staging: true });
  } catch (error) {
    await discard(q, tmp);
    // Not for want of the session: the queue itself is away.
    if (isGone(error)) throw fsError(error, 'cancel', tmp);
    const code = errnoOf(error);
    if ((code !== 'ENOSPC' && code !== 'EDQUOT') || request.now || request.reason !== null) throw error;
    return q.fsx.create(path, '');
  }
  try {
    await q.fsx.link(tmp, path);
  } finally {
    await discard(q, tmp);
  }
}

/** False: the request that was there is gone, and its entry with it. */
async function addTo(q: Queue, path: string, there: CancelRequest, request: CancelRequest): Promise<boolean> {
  const both: CancelRequest = { reason: request.reason ?? there.reason, now: request.now || there.now, by: request.by ?? there.by };
  try {
    // Spaces over whatever was longer: the file is written in place.
    const { size } = await q.fsx.stat(path);
    await q.fsx.overwrite(path, `${JSON.stringify(both).padEnd(size)}\n`);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** What a request says; one made by `touch` says nothing. */
export async function readCancel(q: Queue, session: string, id: string, n: number): Promise<CancelRequest> {
  try {
    const raw = JSON.parse(await q.fsx.read(`${q.lay.session(session)}/${cancelName(id, n)}`)) as Partial<CancelRequest>;
    return { reason: typeof raw.reason === 'string' ? raw.reason : null, now: raw.now === true, by: raw.by ?? null };
  } catch {
    return { reason: null, now: false, by: null };
  }
}

/**
 * A `.cancel` of attempt `n` whose entry has left this session: moved to canceled where the task rests, passed on to the attempt
 * that runs now, dropped when the task has ended, was removed, or was retried by a person since (a request is not for a later
 * wish). A task that keeps moving keeps its request: the next heartbeat or burial carries it on.
 */
export async function carryCancel(q: Queue, session: string, id: string, n: number): Promise<void> {
  const path = `${q.lay.session(session)}/${cancelName(id, n)}`;
  const request = await readCancel(q, session, id, n);
  // Of some of a range that is still here: it would be made anew under this very name.
  if (await isCovered(q, session, id, n)) return;
  let seen = false;
  let settled = false;
  for (let round = 0; round < 4 && !settled; round++) {
    const at = await locate(q, id, true);
    if (at === undefined) {
      if (pieceOf(id) === undefined || !(await cancelAgain(q, id, n, request))) continue;
      seen = true;
      settled = true;
      continue;
    }
    seen = true;
    if (at.place.state === 'running' && at.place.session === session && at.n === n) return;
    if (isTerminal(at.state) || (await retriedBetween(q, id, n, at.n))) settled = true;
    else if (at.place.state === 'running') settled = await askToCancel(q, at.place.session, id, at.n, request);
    else if (at.n > 0 && pieceOf(id) !== undefined && (await readTaskAt(q, at.file, id))?.many !== undefined)
      settled = await cancelAgain(q, id, n, request);
    else settled = await cancelHere(q, at, request);
  }
  if (settled || !seen) await unlinkQuietly(q.fsx, path);
}

/** Whether a range of which `id` is a part lies in the session as attempt `n`. */
async function isCovered(q: Queue, session: string, id: string, n: number): Promise<boolean> {
  const part = pieceOf(id);
  if (part === undefined) return false;
  for (const name of await listOrEmpty(q.fsx, q.lay.session(session), q.network)) {
    const e = name.startsWith(`${part.base}.`) ? parseEntry(name) : undefined;
    const whole = e === undefined || e.cancel || e.n !== n ? undefined : pieceOf(e.id);
    if (whole !== undefined && whole.lo <= part.lo && part.hi <= whole.hi) return true;
  }
  return false;
}

/** A request for elements whose piece was cut since: made anew for what covers them now. False: there are none. */
export async function cancelAgain(q: Queue, id: string, n: number, request: CancelRequest): Promise<boolean> {
  const { cancelElements, readArray, retriedSince } = await import('./array.ts');
  const piece = pieceOf(id)!;
  if ((await readArray(q, piece.base)) === undefined) return false;
  // A request is not for a later wish.
  const retried = await retriedSince(q, piece, n);
  for (const range of without([piece.lo, piece.hi], retried)) {
    try {
      await cancelElements(q, piece.base, range, request);
    } catch (error) {
      if (!(error instanceof TqError && error.code === 'WRONG_STATE')) throw error;
    }
  }
  return true;
}

/** What is left of a range of numbers without others. Pure. */
export function without(range: readonly [number, number], others: ReadonlyArray<readonly [number, number]>): Array<[number, number]> {
  let left: Array<[number, number]> = [[range[0], range[1]]];
  for (const [from, to] of others) {
    left = left.flatMap(([lo, hi]): Array<[number, number]> => {
      if (to < lo || hi < from) return [[lo, hi]];
      return [...(lo < from ? [[lo, from - 1] as [number, number]] : []), ...(to < hi ? [[to + 1, hi] as [number, number]] : [])];
    });
  }
  return left;
}

/** Whether a person began a new life of the task after one of the attempts `from` to `to` - 1. */
export async function retriedBetween(q: Queue, id: string, from: number, to: number): Promise<boolean> {
  if (to <= from) return false;
  const names = new Set(await listOrEmpty(q.fsx, q.lay.runs(id), true));
  for (let n = from; n < to; n++) if (names.has(`${id}.a${n}.retried`)) return true;
  return false;
}
