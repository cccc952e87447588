/**
 * The doorbell: one small file that whoever makes work runnable (or asks something of a worker) touches. Workers on the same
 * machine are woken by it at once, the others read its times at their next poll. A missed ring costs one poll, never a task.
 */
import type { Queue } from './open.ts';

export async function ring(q: Queue): Promise<void> {
  try {
    await q.fsx.touch(q.lay.signal);
  } catch {
    // Only a shortcut: workers poll anyway.
  }
}

/** Changes when somebody rang since. */
export async function bell(q: Queue): Promise<string> {
  try {
    const s = await q.fsx.stat(q.lay.signal);
    return `${s.ino}.${s.mtimeMs}.${s.ctimeMs}`;
  } catch {
    return '';
  }
}
