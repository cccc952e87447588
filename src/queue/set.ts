/**
 * `tq set`: changing a task that does not run. A claimed name must never come back, so the verb makes a session of its own,
 * claims the task as that session's attempt, replaces the file there, and puts it back one attempt higher where it was. No
 * attempt is recorded, readers show it in its former place meanwhile, and a verb that dies is buried like a worker.
 */
import { TqError } from '../errors.ts';
import { isTerminal, type State, type Task } from '../task/types.ts';
import { cancelHere, carryCancel, readCancel } from './cancel.ts';
import { serverNow } from './clock.ts';
import { tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { cancelName, entryName, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { makeSession, type HostFacts } from './session.ts';
import { ring } from './signal.ts';
import { discard, move, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import { defineLane } from './submit.ts';
import { formatTask, timedPlace } from './task-file.ts';
import { readWhy, writeWhy } from './why.ts';

export interface Change {
  priority?: number;
  queue?: string;
  timeoutMs?: number;
  labels?: Record<string, string>;
  /** Not before this long from now, ms. */
  delayMs?: number;
}

/** Pure: the task after the change. */
export function changed(task: Task, change: Change, now: number): Task {
  const t: Task = { ...task };
  if (change.priority !== undefined) t.priority = change.priority;
  if (change.queue !== undefined) t.queue = change.queue;
  if (change.timeoutMs !== undefined) t.timeoutMs = change.timeoutMs;
  if (change.labels !== undefined) t.labels = { ...t.labels, ...change.labels };
  if (change.delayMs !== undefined) t.notBefore = Math.round(now + change.delayMs);
  return t;
}

/** Throws WRONG_STATE when it runs or has ended, NOT_FOUND, PERMISSION. */
export async function setTask(q: Queue, facts: HostFacts, id: string, change: Change): Promise<void> {
  for (let round = 0; round < 20; round++) {
    const at = await locate(q, id, round > 0);
    if (at === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
    if (isTerminal(at.state) || at.state === 'running') {
      throw new TqError('WRONG_STATE', `cannot set ${id}: it is ${at.state}`, { hint: at.state === 'running' ? 'a running task cannot be changed' : `tq retry ${id} runs it again` });
    }
    if (at.place.state === 'running') {
      await new Promise((resolve) => setTimeout(resolve, 5)); // another `tq set` has it for a moment
      continue;
    }
    if (!(await refuseForeign(q, at.file, id))) continue;
    const session = makeSession(`set.${at.state}`, facts);
    const dir = q.lay.session(session);
    await mkdirp(q.fsx, dir);
    try {
      const n = at.n + 1;
      const mine = `${dir}/${entryName(id, n)}`;
      // Where it came from must survive a crash of this verb, and `held` remembers its due time by the attempt's number.
      if (at.place.state === 'delayed') await writeWhy(q, id, n, 'delayed', { at: 0, by: null, reason: null, dueAt: at.place.dueAt });
      const held = at.state === 'held' ? await readWhy(q, id, at.n, 'held') : undefined;
      if (held !== undefined) {
        const dueAt = change.delayMs === undefined ? held.dueAt : (await serverNow(q)) + change.delayMs;
        await writeWhy(q, id, n, 'held', { ...held, ...(dueAt === undefined ? {} : { dueAt }) });
      }
      if ((await move(q, at.file, mine)) !== 'moved') continue;
      const task = await readTaskAt(q, mine, id);
      if (task !== undefined) {
        const now = await serverNow(q);
        if (!(await replaceIn(q, mine, formatTask(changed(task, change, now))))) continue;
        if (change.delayMs !== undefined && at.state !== 'held' && at.state !== 'waiting') {
          await writeWhy(q, id, n, 'delayed', { at: now, by: null, reason: null, dueAt: now + change.delayMs });
        }
        await putBack(q, session, id, n);
        return;
      }
    } finally {
      for (const name of await listOrEmpty(q.fsx, dir, q.network)) {
        const m = /^(.+)\.a(\d+)\.cancel$/.exec(name);
        if (m !== null) await carryCancel(q, session, m[1]!, Number(m[2]));
      }
      await rmdirIfEmpty(q.fsx, dir);
    }
  }
  throw new TqError('QUEUE_UNUSABLE', `cannot set ${id}: it keeps moving`, { hint: 'try again' });
}

/** Never makes the directory, as other replacements do: without it this session was buried and the task is somewhere else. */
async function replaceIn(q: Queue, path: string, data: string): Promise<boolean> {
  const staged = stagingPath(q);
  await q.fsx.create(staged, data);
  if ((await move(q, staged, path)) === 'moved') return true;
  await discard(q, staged);
  return false;
}

/**
 * The file is replaced, and its owner is who submitted the task and who may run it: only the owner may do that. Throws
 * PERMISSION; false: the task has moved.
 */
export async function refuseForeign(q: Queue, file: string, id: string): Promise<boolean> {
  let uid: number;
  try {
    uid = (await q.fsx.stat(file)).uid;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
  if (uid === (process.geteuid?.() ?? uid)) return true;
  throw new TqError('PERMISSION', `cannot set ${id}: it is another user's task`, { hint: 'its owner can change it; you can hold or cancel it' });
}

/**
 * Moves the entry of a `set` session back to the state that the session's name tells; a `.cancel` made meanwhile is obeyed.
 * Used by the verb itself and by whoever buries it.
 */
export async function putBack(q: Queue, session: string, id: string, n: number): Promise<void> {
  const file = `${q.lay.session(session)}/${entryName(id, n)}`;
  const task = await readTaskAt(q, file, id);
  if (task === undefined) return;
  const state = (/^set\.([a-z]+)\./.exec(session)?.[1] ?? 'queued') as State; // written by setTask alone
  // Whoever moves an entry with a request beside it moves it to canceled; one that comes later is carried after it.
  const request = `${q.lay.session(session)}/${cancelName(id, n)}`;
  if (await isThere(q, request)) {
    const at: Located = { id, n, state, place: { state: 'running', session }, file };
    if (await cancelHere(q, at, await readCancel(q, session, id, n))) await unlinkQuietly(q.fsx, request);
    else await carryCancel(q, session, id, n);
    return;
  }
  const place = await formerPlace(q, task, n, state);
  if (place.state === 'queued') await defineLane(q, task);
  const moved = await move(q, file, q.lay.entry(place, id, n));
  if (moved !== 'moved') return;
  if (await isThere(q, request)) await carryCancel(q, session, id, n);
  if (place.state === 'waiting') await tryRelease(q, id);
  await ring(q);
}

async function formerPlace(q: Queue, task: Task, n: number, state: State): Promise<Place> {
  if (state === 'held' || state === 'waiting') return { state };
  const why = await readWhy(q, task.id, n, 'delayed');
  return timedPlace(task, await serverNow(q), why?.dueAt);
}

async function isThere(q: Queue, path: string): Promise<boolean> {
  try {
    await q.fsx.stat(path);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

