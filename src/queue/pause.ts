/**
 * Paused queues: `paused/<queue>` is there as long as no worker may start a task of that queue. Made and removed by people, by `tq
 * queue` or by hand; whoever claims looks.
 */
import { serverNowAbout } from './clock.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import type { Queue } from './open.ts';
import { ring } from './signal.ts';
import { createOnce } from './steps.ts';

export async function pausedQueues(q: Queue): Promise<string[]> {
  return (await listOrEmpty(q.fsx, `${q.dir}/paused`, true)).filter((name) => !name.startsWith('.')).toSorted();
}

/** False: it was paused already. */
export async function pauseQueue(q: Queue, queue: string): Promise<boolean> {
  const made = await createOnce(q, q.lay.paused(queue), '');
  if (made) tell(q, queue, 'active', 'paused');
  await ring(q);
  return made;
}

/** False: it was not paused. */
export async function resumeQueue(q: Queue, queue: string): Promise<boolean> {
  try {
    await q.fsx.unlink(q.lay.paused(queue));
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
  tell(q, queue, 'paused', 'active');
  await ring(q);
  return true;
}

function tell(q: Queue, queue: string, from: string, to: string): void {
  q.journal?.other({ at: Math.round(serverNowAbout(q)), type: 'queue', subject: queue, from, to, worker: null });
}
