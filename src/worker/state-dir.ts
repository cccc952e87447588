/**
 * `$TQ_STATE_DIR` of a running attempt: there when the task looks, gone afterwards where nothing was put into it. On a local disk
 * one that stayed empty is handed on to the next task by two renames, which cost a fraction of removing and making a directory.
 */
import { errnoOf } from '../errors.ts';
import { isGone, mkdirp } from '../queue/fsx.ts';
import type { Queue } from '../queue/open.ts';
import { rmdirIfEmpty, stagingPath } from '../queue/steps.ts';

/** Empty directories in `tmp/`, of this process alone. After a crash the sweep of `tmp/` removes them. */
const spares = new WeakMap<Queue, string[]>();
const MOST_SPARES = 64;

/** Makes it for the coming attempt, or finds it as the attempts before left it. */
export async function openStateDir(q: Queue, dir: string): Promise<void> {
  const spare = spares.get(q)?.pop();
  try {
    if (spare === undefined) await q.fsx.mkdir(dir);
    // One that is there and not empty is not replaced; an empty one may be.
    else await q.fsx.rename(spare, dir);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'EEXIST' || code === 'ENOTEMPTY') {
      if (spare !== undefined) spares.get(q)!.push(spare);
      return;
    }
    if (!isGone(error)) throw error;
    await mkdirp(q.fsx, dir);
  }
}

/**
 * Takes it away if it is empty. Called while the entry is still this session's: the next attempt may begin elsewhere the moment
 * the entry has moved. Failing costs an empty directory, so nothing is thrown.
 */
export async function closeStateDir(q: Queue, dir: string): Promise<void> {
  try {
    const kept = spares.get(q) ?? [];
    // Over a network the two cost as many calls; and among several users none may keep a handle on what is another's next.
    if (q.network || q.config.shared || kept.length >= MOST_SPARES) return void (await rmdirIfEmpty(q.fsx, dir));
    if ((await q.fsx.list(dir, true)).length > 0) return;
    const spare = stagingPath(q, '.state');
    await q.fsx.rename(dir, spare);
    // What came between the look and the rename belongs to the task.
    if ((await q.fsx.list(spare, true)).length > 0) return await q.fsx.rename(spare, dir);
    kept.push(spare);
    spares.set(q, kept);
  } catch {
    // An empty directory stays, which the next attempt finds.
  }
}

/** Removes what was kept for the next task. */
export async function dropStateDirs(q: Queue): Promise<void> {
  for (const spare of spares.get(q) ?? []) await rmdirIfEmpty(q.fsx, spare).catch(() => false);
  spares.delete(q);
}
