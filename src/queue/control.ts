/**
 * What a person does to a task: hold, release, retry, remove, note. Each is one rename (or one file); a race with a worker or
 * with another person is decided by that rename, and the loser looks again.
 */
import { TqError } from '../errors.ts';
import { isTerminal, type State, type Task } from '../task/types.ts';
import { cancelTask, endWithoutAttempt, partOf } from './cancel.ts';
import { serverNow } from './clock.ts';
import { linkToParents, releasedMark, reviveDependants, tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { ensureFollowUp } from './follow.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { admitRetried, keyHolder } from './keys.ts';
import { baseId, baseOf, parentOf, pieceOf, randomText, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { lastResult, readMark } from './result.ts';
import { aMoment } from './set.ts';
import { ring } from './signal.ts';
import { createOnce, move, publish, replace, rmdirIfEmpty, unlinkQuietly } from './steps.ts';
import { defineLane } from './submit.ts';
import { timedPlace } from './task-file.ts';
import { readWhy, writeWhy } from './why.ts';

export interface By {
  user: string;
  host: string;
}

const MOVES = 20;

/** What has no entry of its own may be an array, or elements of one. Throws NOT_FOUND. */
async function locateOrPart(
  q: Queue,
  id: string,
  strong: boolean,
): Promise<Located | { id: string; range: readonly [number, number] | undefined }> {
  const at = (await locate(q, id, strong)) ?? (await partOf(q, id));
  if (at === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
  return at;
}

export function wrongState(id: string, state: State, wish: string): TqError {
  const hint = wish === 'remove' ? `to cancel it first: tq rm --force ${id}` : `tq show ${id}`;
  return new TqError('WRONG_STATE', `cannot ${wish} ${id}: it is ${state}`, { hint });
}

function keepsMoving(id: string, wish: string): TqError {
  return new TqError('QUEUE_UNUSABLE', `cannot ${wish} ${id}: it keeps moving`, { hint: 'try again; tq doctor tells who has it' });
}

/** waiting, delayed, queued → held. Throws WRONG_STATE for the rest. */
export async function holdTask(q: Queue, id: string, by: By | null): Promise<void> {
  for (let round = 0; round < MOVES; round++) {
    const at = await locateOrPart(q, id, round > 0);
    if ('range' in at) return (await import('./array.ts')).holdElements(q, at.id, at.range, by);
    if (at.state === 'running' || at.state === 'held' || isTerminal(at.state)) throw wrongState(id, at.state, 'hold');
    if (at.place.state === 'running') {
      await aMoment(q);
      continue;
    }
    const why = {
      at: await serverNow(q),
      by,
      reason: null,
      from: at.state,
      ...(at.place.state === 'delayed' ? { dueAt: at.place.dueAt } : {}),
    };
    await writeWhy(q, id, at.n, 'held', why);
    if ((await move(q, at.file, q.lay.entry({ state: 'held' }, id, at.n))) === 'moved') return;
  }
  throw keepsMoving(id, 'hold');
}

/** held → where it was. With `result`: ended done without running, and its dependants get the result. */
export async function releaseTask(q: Queue, id: string, by: By | null, result?: { value: unknown }): Promise<State> {
  for (let round = 0; round < MOVES; round++) {
    const at = await locateOrPart(q, id, round > 0);
    if ('range' in at) {
      const { releaseElements } = await import('./array.ts');
      return releaseElements(q, at.id, at.range, (piece) => releaseTask(q, piece, by, result));
    }
    if (at.state !== 'held') throw wrongState(id, at.state, 'release');
    if (at.place.state === 'running') {
      await aMoment(q);
      continue;
    }
    const task = await readTaskAt(q, at.file, id);
    if (task === undefined) continue;
    const now = await serverNow(q);
    if (result !== undefined) {
      await writeWhy(q, id, at.n, 'done', { at: now, by, reason: 'released with a result', result: result.value });
      if (await endWithoutAttempt(q, at, task, 'done')) return 'done';
      continue;
    }
    const why = await readWhy(q, id, at.n, 'held');
    const dueAt = why?.dueAt ?? (at.n === 0 ? task.notBefore : undefined);
    // What was held in a back-off had its parents checked, and they are again when its time comes; anything else asks them now. One
    // with a key asks whether it is still its own, under a name that was never in waiting.
    const keyed = task.key !== undefined;
    const waits = task.after !== undefined && task.after.length > 0;
    const place: Place =
      keyed || (waits && !(why?.from === 'delayed' && dueAt !== undefined && dueAt > now))
        ? { state: 'waiting' }
        : timedPlace(task, now, dueAt);
    const n = keyed ? at.n + 1 : at.n;
    if (place.state === 'queued') await defineLane(q, task);
    if (place.state === 'waiting' && task.hold === true) await createOnce(q, releasedMark(q, id), '');
    if (keyed && dueAt !== undefined) await writeWhy(q, id, n, 'waiting', { at: now, by, reason: null, dueAt });
    if ((await move(q, at.file, q.lay.entry(place, id, n))) !== 'moved') continue;
    if (place.state === 'waiting') {
      await linkToParents(q, task);
      return (await locate(q, id))?.state ?? 'waiting';
    }
    await ring(q);
    return place.state;
  }
  throw keepsMoving(id, 'release');
}

function duplicateKey(task: Task, holder: string): TqError {
  return new TqError('DUPLICATE_KEY', `cannot retry ${task.id}: its key ${task.key} is held by ${holder}`, {
    hint: `tq wait ${holder}, then try again`,
  });
}

export interface RetryOptions {
  by: By | null;
  /** Of an array only the elements that failed. */
  failed?: boolean;
  /** Not before this long from now, ms. */
  delayMs?: number;
}

/** A terminal task runs again as its next attempt, with fresh retries. The terminal name never comes back. */
export async function retryTask(q: Queue, id: string, options: RetryOptions): Promise<void> {
  for (let round = 0; round < MOVES; round++) {
    const at = await locateOrPart(q, id, round > 0);
    if ('range' in at) {
      const { retryElements } = await import('./array.ts');
      return retryElements(q, at.id, at.range, { failed: false, ...options });
    }
    if (!isTerminal(at.state)) throw wrongState(id, at.state, 'retry');
    const task = await readTaskAt(q, at.file, id);
    if (task === undefined) continue;
    if (task.key !== undefined) {
      const holder = await keyHolder(q, task.key);
      if (holder !== undefined && holder !== id) {
        throw duplicateKey(task, holder);
      }
    }
    await ensureFollowUp(q, task, at);
    if (task.submission !== undefined) {
      const { reopen } = await import('./groups.ts');
      await reopen(q, task.submission);
    }
    const now = await serverNow(q);
    await createOnce(q, q.lay.retried(id, at.n), `${JSON.stringify({ at: now, by: options.by })}\n`);
    const dueAt = options.delayMs === undefined ? undefined : now + options.delayMs;
    // One with a key is admitted from waiting, whenever it is due.
    const waits = task.key !== undefined || (dueAt === undefined && task.after !== undefined && task.after.length > 0);
    const place: Place = waits ? { state: 'waiting' } : timedPlace(task, now, dueAt);
    if (place.state === 'queued') await defineLane(q, task);
    if (place.state === 'waiting' && dueAt !== undefined)
      await writeWhy(q, id, at.n + 1, 'waiting', { at: now, by: options.by, reason: null, dueAt });
    if ((await move(q, at.file, q.lay.entry(place, id, at.n + 1))) !== 'moved') continue;
    await reviveDependants(q, id);
    if (task.key !== undefined) {
      const faster = await admitRetried(q, task, at.n + 1);
      if (faster !== undefined) throw duplicateKey(task, faster);
    } else if (place.state === 'waiting') await tryRelease(q, id);
    await ring(q);
    return;
  }
  throw keepsMoving(id, 'retry');
}

/** Removes a terminal task and all that belongs to it; its outcome stays in `gone/` for later dependencies. */
export async function removeTask(q: Queue, id: string, options: { force: boolean; by: By | null }): Promise<void> {
  for (let round = 0; ; round++) {
    const at = await locateOrPart(q, id, round > 0);
    if ('range' in at) {
      if (at.range !== undefined) throw isPart(id);
      const { removeElements } = await import('./array.ts');
      return removeElements(q, at.id, options);
    }
    await refuseElement(q, at);
    if (isTerminal(at.state)) {
      if (await erase(q, at)) return;
      continue;
    }
    if (!options.force) throw wrongState(id, at.state, 'remove');
    if (round % 20 === 0) {
      try {
        await cancelTask(q, id, { reason: 'removed', now: false, by: options.by });
      } catch (error) {
        if (!(error instanceof TqError && error.code === 'WRONG_STATE')) throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, q.network ? 500 : 50));
  }
}

/** Elements of an array go with the whole, also those that have an entry of their own: without one of them it would never be whole again. */
export async function refuseElement(q: Queue, at: Pick<Located, 'id' | 'file' | 'part'>): Promise<void> {
  if (at.part === 'array' || pieceOf(at.id) === undefined) return;
  if ((await readTaskAt(q, at.file, at.id))?.many !== undefined) throw isPart(at.id);
}

function isPart(id: string): TqError {
  return new TqError('REFUSED', `cannot remove ${id}: it is part of ${baseId(id)}`, { hint: `tq rm ${baseId(id)} removes the whole` });
}

/**
 * Removes everything of an ended task. One rename takes it out of its terminal place and leaves its state in `gone/`: that
 * decides against a retry at the same moment, and a parent is known as ended all the time. False: it was retried, or removed
 * by another. A crash after the rename is completed by `finishErase`.
 */
export async function erase(q: Queue, at: Located): Promise<boolean> {
  // One that does not parse goes to quarantine by this, and stays there.
  const task = await readTaskAt(q, at.file, at.id);
  if (task === undefined) return false;
  await ensureFollowUp(q, task, at);
  const mark = `${q.lay.gone(at.id)}/${at.id}.${at.state}`;
  if ((await move(q, at.file, mark)) !== 'moved') return false;
  await rmdirIfEmpty(q.fsx, parentOf(at.file));
  await finishErase(q, mark);
  return true;
}

/**
 * Goes on with a removal from its mark in `gone/`: first the mark holds the task itself, then its result and what is being
 * removed, in the end the result alone. True: there was something left to do.
 */
export async function finishErase(q: Queue, mark: string): Promise<boolean> {
  const name = baseOf(mark);
  const id = name.slice(0, name.lastIndexOf('.'));
  const state = name.slice(name.lastIndexOf('.') + 1) as State; // the mark's name, made by `erase`
  let gone = await readMark(q, mark);
  if (gone === undefined) return false;
  if ('schema' in gone) {
    const task = gone as Partial<Task>;
    const { script, stdin } = task;
    const result = await lastResult(q, id, { state });
    gone = {
      ...(result === undefined ? {} : { result: result.value, ...(task.name === undefined ? {} : { name: task.name }) }),
      erasing: { ...(script === undefined ? {} : { script }), ...(stdin === undefined ? {} : { stdin }) },
    };
    // A result must outlive the files it is read from; without one a crash leaves nothing to lose.
    if (result !== undefined) await replace(q, mark, `${JSON.stringify(gone)}\n`);
  }
  if (gone.erasing === undefined) return false;
  // The newest attempt goes last: whoever goes on after a crash must not take an older one's result for the task's.
  const files = (await listOrEmpty(q.fsx, q.lay.runs(id), true)).filter((file) => file.startsWith(`${id}.`));
  for (const file of files.toSorted((x, y) => attemptIn(x, id) - attemptIn(y, id))) await unlinkQuietly(q.fsx, `${q.lay.runs(id)}/${file}`);
  await removeTree(q, q.lay.state(id));
  await removeTree(q, q.lay.notes(id));
  await removeTree(q, q.lay.after(id));
  for (const blob of [gone.erasing.script, gone.erasing.stdin]) {
    if (blob !== undefined && /^[0-9a-z][0-9a-z.]{0,63}$/.test(blob)) await unlinkQuietly(q.fsx, q.lay.blob(blob));
  }
  await rmdirIfEmpty(q.fsx, q.lay.runs(id));
  const { erasing: _erased, ...rest } = gone;
  await replace(q, mark, rest.result === undefined ? '' : `${JSON.stringify(rest)}\n`);
  return true;
}

/** The attempt that a file in `runs/` is of; 0 for another task's. */
function attemptIn(file: string, id: string): number {
  return file.startsWith(`${id}.a`) ? Number(/^\d+/.exec(file.slice(id.length + 2))?.[0] ?? 0) : 0;
}

/** `rm -r` through the door, for directories of our own whose depth is small; the task's own state directory may hold anything. */
export async function removeTree(q: Queue, dir: string): Promise<void> {
  let names: string[];
  try {
    names = await q.fsx.list(dir);
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
  for (const name of names) {
    const path = `${dir}/${name}`;
    try {
      await q.fsx.unlink(path);
    } catch (error) {
      if (isGone(error)) continue;
      await removeTree(q, path);
    }
  }
  await rmdirIfEmpty(q.fsx, dir);
}

export interface Note {
  at: number;
  by: By;
  text: string;
}

/** One file each, so two machines never write the same one. */
export async function addNote(q: Queue, id: string, by: By, text: string): Promise<void> {
  await locateOrPart(q, id, false);
  const dir = q.lay.notes(id);
  await mkdirp(q.fsx, dir);
  const at = await serverNow(q);
  const note: Note = { at, by, text };
  await publish(q, `${dir}/${Math.floor(at).toString().padStart(14, '0')}.${randomText(6)}.json`, `${JSON.stringify(note)}\n`);
}

export async function readNotes(q: Queue, id: string): Promise<Note[]> {
  const dir = q.lay.notes(id);
  const notes: Note[] = [];
  for (const name of (await listOrEmpty(q.fsx, dir)).toSorted()) {
    try {
      notes.push(JSON.parse(await q.fsx.read(`${dir}/${name}`)) as Note); // written whole by addNote
    } catch {
      continue;
    }
  }
  return notes;
}
