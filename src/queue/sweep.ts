/**
 * The sweep of staging files: what a process that died left in `tmp/` is first renamed to `swept/`, where a submitter that was
 * merely slow can take it back, and deleted there after days. Ages are judged by the file server's clock.
 */
import { serverNow } from './clock.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { FROM_INBOX, recoverTaken } from './inbox.ts';
import type { Queue } from './open.ts';
import { quarantine } from './quarantine.ts';
import { removeTree } from './control.ts';

const STALE_MS = 3_600_000;
const SWEPT_MS = 3 * 86_400_000;
/** A file of the inbox is given up earlier: a submit takes milliseconds, and one that is only slow finds out that it was given up. */
const TAKEN_MS = 60_000;

export async function sweepTmp(q: Queue, staleMs = STALE_MS, sweptMs = SWEPT_MS): Promise<{ swept: number; deleted: number }> {
  const now = await serverNow(q);
  let swept = 0;
  let deleted = 0;
  const old = await olderThan(q, q.lay.tmp, now - staleMs, now - Math.min(staleMs, TAKEN_MS));
  // Files of the inbox first: what is staged of them is settled with them.
  for (const name of old.toSorted((a, b) => Number(b.includes(FROM_INBOX)) - Number(a.includes(FROM_INBOX)))) {
    try {
      if (name.includes(FROM_INBOX)) {
        if ((await recoverTaken(q, name)) !== 'unknown') continue;
        // Nobody else has it.
        await quarantine(
          q,
          `${q.lay.tmp}/${name}`,
          'a worker died while it submitted this file of the inbox: if there is no such task, put it there again',
        );
      } else await q.fsx.rename(`${q.lay.tmp}/${name}`, `${q.lay.swept}/${name}`);
      swept++;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  // A rename keeps the mtime: counted from when it was written, which is at least as long ago.
  for (const name of await olderThan(q, q.lay.swept, now - staleMs - sweptMs)) {
    const path = `${q.lay.swept}/${name}`;
    try {
      await q.fsx.unlink(path);
    } catch {
      // A tree gets another name first: its owner takes all of it back, or nothing.
      const going = `${path}.going`;
      if (!name.endsWith('.going')) await q.fsx.rename(path, going).catch(() => undefined);
      await removeTree(q, name.endsWith('.going') ? path : going);
    }
    deleted++;
  }
  return { swept, deleted };
}

async function olderThan(q: Queue, dir: string, ms: number, takenMs = ms): Promise<string[]> {
  const old: string[] = [];
  for (const name of await listOrEmpty(q.fsx, dir)) {
    try {
      const s = await q.fsx.stat(`${dir}/${name}`);
      // A file of the inbox may have been written long before it was put there: when it was taken tells its other time.
      if (name.includes(FROM_INBOX) ? s.ctimeMs < takenMs : s.mtimeMs < ms) old.push(name);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return old;
}
