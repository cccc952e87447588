/**
 * What a person does to a task: hold, release, retry, remove, note. Each is one rename (or one file); a race with a worker or
 * with another person is decided by that rename, and the loser looks again.
 */
import { TqError } from '../errors.ts';
import { isTerminal, type State } from '../task/types.ts';
import { cancelTask, endWithoutAttempt } from './cancel.ts';
import { serverNow } from './clock.ts';
import { linkToParents, releasedMark, reviveDependants, tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { admitRetried, keyHolder } from './keys.ts';
import { parentOf, randomText, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { ring } from './signal.ts';
import { createOnce, move, rmdirIfEmpty, unlinkQuietly } from './steps.ts';
import { defineLane } from './submit.ts';
import { timedPlace } from './task-file.ts';
import { readWhy, writeWhy } from './why.ts';

export interface By {
  user: string;
  host: string;
}

const MOVES = 20;

async function mustLocate(q: Queue, id: string, strong: boolean): Promise<Located> {
  const at = await locate(q, id, strong);
  if (at === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
  return at;
}

function wrongState(id: string, state: State, wish: string): TqError {
  return new TqError('WRONG_STATE', `cannot ${wish} ${id}: it is ${state}`, { hint: `tq show ${id}` });
}

function keepsMoving(id: string, wish: string): TqError {
  return new TqError('QUEUE_UNUSABLE', `cannot ${wish} ${id}: it keeps moving`, { hint: 'try again' });
}

/** waiting, delayed, queued → held. Throws WRONG_STATE for the rest. */
export async function holdTask(q: Queue, id: string, by: By | null): Promise<void> {
  for (let round = 0; round < MOVES; round++) {
    const at = await mustLocate(q, id, round > 0);
    if (at.state === 'running' || at.state === 'held' || isTerminal(at.state)) throw wrongState(id, at.state, 'hold');
    if (at.place.state === 'running') continue; // a `tq set` has it for a moment
    const why = { at: await serverNow(q), by, reason: null, from: at.state, ...(at.place.state === 'delayed' ? { dueAt: at.place.dueAt } : {}) };
    await writeWhy(q, id, at.n, 'held', why);
    if ((await move(q, at.file, q.lay.entry({ state: 'held' }, id, at.n))) === 'moved') return;
  }
  throw keepsMoving(id, 'hold');
}

/** held → where it was. With `result`: ended done without running, and its dependants get the result. */
export async function releaseTask(q: Queue, id: string, by: By | null, result?: { value: unknown }): Promise<State> {
  for (let round = 0; round < MOVES; round++) {
    const at = await mustLocate(q, id, round > 0);
    if (at.state !== 'held') throw wrongState(id, at.state, 'release');
    if (at.place.state === 'running') continue;
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
    const place: Place = task.after !== undefined && task.after.length > 0 ? { state: 'waiting' } : timedPlace(task, now, dueAt);
    if (place.state === 'queued') await defineLane(q, task);
    if (place.state === 'waiting' && task.hold === true) await createOnce(q, releasedMark(q, id), '');
    if ((await move(q, at.file, q.lay.entry(place, id, at.n))) !== 'moved') continue;
    if (place.state === 'waiting') {
      await linkToParents(q, task);
      return (await locate(q, id))?.state ?? 'waiting';
    }
    await ring(q);
    return place.state;
  }
  throw keepsMoving(id, 'release');
}

export interface RetryOptions {
  by: By | null;
  /** Not before this long from now, ms. */
  delayMs?: number;
}

/** A terminal task runs again as its next attempt, with fresh retries. The terminal name never comes back. */
export async function retryTask(q: Queue, id: string, options: RetryOptions): Promise<void> {
  for (let round = 0; round < MOVES; round++) {
    const at = await mustLocate(q, id, round > 0);
    if (!isTerminal(at.state)) throw wrongState(id, at.state, 'retry');
    const task = await readTaskAt(q, at.file, id);
    if (task === undefined) continue;
    if (task.key !== undefined) {
      const holder = await keyHolder(q, task.key);
      if (holder !== undefined && holder !== id) {
        throw new TqError('DUPLICATE_KEY', `cannot retry ${id}: its key ${task.key} is held by ${holder}`, { hint: `tq wait ${holder}, then try again` });
      }
    }
    const now = await serverNow(q);
    await createOnce(q, q.lay.retried(id, at.n), `${JSON.stringify({ at: now, by: options.by })}\n`);
    const dueAt = options.delayMs === undefined ? undefined : now + options.delayMs;
    const waits = task.key !== undefined || (task.after !== undefined && task.after.length > 0);
    const place: Place = waits && dueAt === undefined ? { state: 'waiting' } : timedPlace(task, now, dueAt);
    if (place.state === 'queued') await defineLane(q, task);
    if ((await move(q, at.file, q.lay.entry(place, id, at.n + 1))) !== 'moved') continue;
    await reviveDependants(q, id);
    await admitRetried(q, task);
    if (place.state === 'waiting') await tryRelease(q, id);
    await ring(q);
    return;
  }
  throw keepsMoving(id, 'retry');
}

/**
 * Removes a terminal task and all that belongs to it; its outcome stays in `gone/` for later dependencies. The task file goes
 * last, so a crash in between leaves a terminal task to be removed again.
 */
export async function removeTask(q: Queue, id: string, options: { force: boolean; by: By | null }): Promise<void> {
  for (let round = 0; ; round++) {
    const at = await mustLocate(q, id, round > 0);
    if (isTerminal(at.state)) {
      await erase(q, at);
      return;
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

/** Removes everything of an ended task. */
export async function erase(q: Queue, at: Located): Promise<void> {
  const { id } = at;
  await createOnce(q, `${q.lay.gone(id)}/${id}.${at.state}`, await keptResult(q, at));
  const task = await readTaskAt(q, at.file, id);
  for (const name of await listOrEmpty(q.fsx, q.lay.runs(id), true)) {
    if (name.startsWith(`${id}.`)) await unlinkQuietly(q.fsx, `${q.lay.runs(id)}/${name}`);
  }
  await removeTree(q, q.lay.state(id));
  await removeTree(q, q.lay.notes(id));
  await removeTree(q, q.lay.after(id));
  if (task?.script !== undefined) await unlinkQuietly(q.fsx, q.lay.blob(task.script));
  if (task?.stdin !== undefined) await unlinkQuietly(q.fsx, q.lay.blob(task.stdin));
  await unlinkQuietly(q.fsx, at.file);
  await rmdirIfEmpty(q.fsx, q.lay.runs(id));
  await rmdirIfEmpty(q.fsx, parentOf(at.file));
}

/** What later dependants may still want: the result, as JSON text. */
async function keptResult(q: Queue, at: Located): Promise<string> {
  const why = await readWhy(q, at.id, at.n, at.state);
  if (why?.result !== undefined) return `${JSON.stringify({ result: why.result })}\n`;
  const { readOutcome } = await import('./outcome.ts');
  const o = await readOutcome(q, at.id, at.n);
  return o?.result === undefined ? '' : `${JSON.stringify({ result: o.result })}\n`;
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
  await mustLocate(q, id, false);
  const dir = q.lay.notes(id);
  await mkdirp(q.fsx, dir);
  const at = await serverNow(q);
  const note: Note = { at, by, text };
  await createOnce(q, `${dir}/${Math.floor(at).toString().padStart(14, '0')}.${randomText(6)}.json`, `${JSON.stringify(note)}\n`);
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
