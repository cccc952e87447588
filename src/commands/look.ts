/**
 * Looking at one task for a verb that shows it: its JSON as it is now, wherever it moved meanwhile. Looking changes nothing but
 * one thing: a task whose time to start has passed is skipped by whoever sees it, if they may write.
 */
import { serverNowOrLocal } from '../queue/clock.ts';
import { locateAny } from '../queue/array-view.ts';
import type { Located } from '../queue/find.ts';
import { listOrEmpty } from '../queue/fsx.ts';
import { baseOf, parentOf } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { expireIfDue } from '../queue/promote.ts';
import { newCache, viewLocated, type ReadCache, type TaskView } from '../queue/read.ts';
import { isTerminal } from '../task/types.ts';
import { isRefusal, isUnreadable, readTaskQuietly } from './select.ts';

export interface Looked {
  view: TaskView;
  at: Located;
}

const TRIES = 4;

/** The task, from where it was seen last; undefined when it is not there any more. `brief` leaves the notes out. */
export async function look(q: Queue, seen: Located, cache: ReadCache = newCache(), brief = false): Promise<Looked | undefined> {
  let at: Located | undefined = seen;
  for (let round = 0; round < TRIES && at !== undefined; round++) {
    const view = await viewQuietly(q, at, cache, brief);
    // Of an array the view is newer than where it was seen.
    if (view !== undefined && !(view.expiresAt !== null && (await expire(q, at))))
      return { view, at: at.part === undefined ? at : { ...at, state: view.state } };
    at = await locateAny(q, seen.id, round > 0);
  }
  return undefined;
}

/** Skips a task that was not started by its time; true when it is skipped now. */
export async function expire(q: Queue, at: Located): Promise<boolean> {
  if (at.part !== undefined || at.n > 0 || isTerminal(at.state) || at.place.state === 'running') return false;
  const task = await readTaskQuietly(q, at);
  if (task?.expiresAt === undefined) return false;
  try {
    return await expireIfDue(q, at, task);
  } catch (error) {
    if (isRefusal(error)) return false;
    throw error;
  }
}

/** Whether the entry is still where it was seen. Over NFS a name that moved can be opened for half a minute: its directory tells. */
export async function stays(q: Queue, at: Located): Promise<boolean> {
  if (q.network) return (await listOrEmpty(q.fsx, parentOf(at.file))).includes(baseOf(at.file));
  return q.fsx.stat(at.file).then(
    () => true,
    () => false,
  );
}

/** Server time, ms. On a local disk that is this machine's, and costs no file. */
export async function nowOf(q: Queue): Promise<number> {
  return q.network ? serverNowOrLocal(q) : Date.now();
}

async function viewQuietly(q: Queue, at: Located, cache: ReadCache, brief: boolean): Promise<TaskView | undefined> {
  try {
    return await viewLocated(q, at, cache, brief);
  } catch (error) {
    if (await isUnreadable(q, at, error)) throw error;
    return undefined;
  }
}
