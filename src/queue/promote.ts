/**
 * What time does to tasks: delayed ones become runnable, expiring ones are skipped. Judged by the file server's clock, done by
 * whichever worker or verb looks next.
 */
import type { Task } from '../task/types.ts';
import { endWithoutAttempt } from './cancel.ts';
import { serverNow } from './clock.ts';
import { tryRelease } from './depend.ts';
import { buckets, dueMoments, entriesOf, type Located } from './find.ts';
import { isOfEntry } from './fsx.ts';
import { holdsKey } from './keys.ts';
import { bucketOf, parentOf, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt, tallyBefore } from './outcome.ts';
import { ring } from './signal.ts';
import { move, rmdirIfEmpty } from './steps.ts';
import { defineLane } from './submit.ts';
import { queuedPlace } from './task-file.ts';
import { writeWhy } from './why.ts';

export interface Promotion {
  promoted: number;
  /** Server time of the next due task, or null. */
  nextDueAt: number | null;
}

/**
 * Moves every task that is due to queued (or to waiting, when it has parents), earliest first; at most about `limit`. Costs two
 * listings when nothing is due, however much is delayed.
 */
export async function promoteDue(q: Queue, limit = Number.POSITIVE_INFINITY): Promise<Promotion> {
  let promoted = 0;
  let nextDueAt: number | null = null;
  let now: number | undefined;
  for await (const dueAt of dueMoments(q)) {
    now ??= await serverNow(q);
    if (dueAt > now || promoted >= limit) {
      nextDueAt = dueAt;
      break;
    }
    const place: Place = { state: 'delayed', dueAt };
    const emptied = new Set<string>();
    for await (const at of entriesOf(q, place)) {
      if (await promoteOne(q, at)) promoted++;
      emptied.add(parentOf(at.file));
    }
    for (const dir of emptied) await tidyDue(q, dir);
    const moment = q.lay.dir(place, SAMPLE_ID).slice(0, -bucketOf(SAMPLE_ID).length - 1);
    if (await rmdirIfEmpty(q.fsx, moment)) await tidyDue(q, parentOf(moment));
    // What a cancel or a hold emptied before its time would be read by every later look.
    else for (const bucket of await buckets(q, moment)) await tidyDue(q, `${moment}/${bucket}`);
  }
  if (promoted > 0) await ring(q);
  return { promoted, nextDueAt };
}

const SAMPLE_ID = '00000000000000';

/** One that cannot be read stays where it is, and keeps none of the others back. */
async function promoteOne(q: Queue, at: Located): Promise<boolean> {
  let task: Task | undefined;
  try {
    task = await readTaskAt(q, at.file, at.id);
  } catch (error) {
    if (isOfEntry(error)) return false;
    throw error;
  }
  return task !== undefined && (await undelay(q, at, task));
}

async function undelay(q: Queue, at: Located, task: Task): Promise<boolean> {
  if (await expireIfDue(q, at, task)) return false;
  // A retry with a delay may have lost its key to somebody who was faster.
  const asks = (task.after !== undefined && task.after.length > 0) || (task.key !== undefined && !(await holdsKey(q, task.key, task.id)));
  const place: Place = asks ? { state: 'waiting' } : queuedPlace(task);
  if (place.state === 'queued') await defineLane(q, task);
  if ((await move(q, at.file, q.lay.entry(place, at.id, at.n))) !== 'moved') return false;
  if (place.state === 'waiting') await tryRelease(q, at.id);
  return true;
}

/** Removes emptied directories from a bucket of `delayed/` upward. */
async function tidyDue(q: Queue, from: string): Promise<void> {
  const top = `${q.dir}/delayed`;
  for (let dir = from; dir.length > top.length; dir = parentOf(dir)) if (!(await rmdirIfEmpty(q.fsx, dir))) return;
}

/** Skips a task that was not started by its time. True: it is skipped now (by this call or another). */
export async function expireIfDue(q: Queue, at: Located, task: Task): Promise<boolean> {
  if (task.expiresAt === undefined) return false;
  const now = await serverNow(q);
  if (now < task.expiresAt) return false;
  // A claim that began nothing and a `tq set` raise the attempt too; only a start counts.
  if (at.n > 0 && (await tallyBefore(q, at.id, at.n + 1)).firstStartedAt !== null) return false;
  await writeWhy(q, at.id, at.n, 'skipped', {
    at: now,
    by: null,
    reason: `expired: not started by ${new Date(task.expiresAt).toISOString()}`,
  });
  return endWithoutAttempt(q, at, task, 'skipped');
}
