/**
 * The atomic steps that everything else is made of: move (one rename, lost replies recognised), publish (write-once file),
 * replace (small state files). Each says what a crash right after it leaves.
 */
import { errnoOf } from '../errors.ts';
import { isGone, listOrEmpty, mkdirp, strongList, type Fsx } from './fsx.ts';
import { baseOf, parentOf } from './layout.ts';
import type { About } from './journal.ts';
import type { Queue } from './open.ts';

/** `moved`: the entry is at the target, by this call. `gone`: somebody else moved the source. `revoked`: the target's session is buried. */
export type MoveResult = 'moved' | 'gone' | 'revoked';

/** How often an ambiguous answer is looked at again before it is called unknown. */
export const LOOKS = 6;

/**
 * The only way a task file changes place. ENOENT may mean that the source is gone, that the target directory is gone or that
 * the reply was lost: the target directory is made (never under `running/`, that would undo a revocation) and the rename tried
 * once more, and only then both directories are listed strongly. A crash leaves the entry in exactly one of the two places. `about` is
 * what the journal says of it.
 */
export async function move(q: Queue, source: string, target: string, about?: About): Promise<MoveResult> {
  const result = await rename(q, source, target);
  if (result === 'moved') q.journal?.moved(source, target, about);
  return result;
}

async function rename(q: Queue, source: string, target: string): Promise<MoveResult> {
  const { fsx } = q;
  const targetDir = parentOf(target);
  const intoRunning = parentOf(targetDir) === q.lay.running;
  let last: unknown;
  for (let look = 0; look < LOOKS; look++) {
    try {
      await fsx.rename(source, target);
      return 'moved';
    } catch (error) {
      if (!isAmbiguous(error)) throw error;
      last = error;
    }
    if (!intoRunning) {
      await mkdirp(fsx, targetDir);
      try {
        await fsx.rename(source, target);
        return 'moved';
      } catch (error) {
        if (!isAmbiguous(error)) throw error;
        last = error;
      }
    }
    let there: string[];
    try {
      there = await strongList(fsx, targetDir);
    } catch (error) {
      if (!isGone(error)) throw error;
      if (intoRunning) return 'revoked';
      continue;
    }
    if (there.includes(baseOf(target))) return 'moved';
    const here = await listOrEmpty(fsx, parentOf(source), true);
    if (!here.includes(baseOf(source))) return 'gone';
  }
  throw last;
}

/** ENOENT and ESTALE may be lost replies; EIO and a timeout may come after the call was done. */
export function isAmbiguous(error: unknown): boolean {
  const code = errnoOf(error);
  return isGone(error) || code === 'EIO' || code === 'ETIMEDOUT' || code === 'EINTR';
}

let staged = 0;

/** A fresh name in `tmp/`, of this process alone. */
export function stagingPath(q: Queue, suffix = ''): string {
  return `${q.lay.tmp}/${q.stem}.${(staged++).toString(36)}${suffix}`;
}

/**
 * Creates `path` once with `data`: staged in `tmp/`, then linked. True when this call made it; false when it was there. A link's
 * lost reply looks like EEXIST, so callers whose authorship matters put a nonce into the data and read it back. A crash leaves
 * a staging file that the sweep removes, and either the whole file or none.
 */
export async function publish(q: Queue, path: string, data: string, options: { fsync?: boolean } = {}): Promise<boolean> {
  const tmp = stagingPath(q);
  let made: boolean;
  try {
    await q.fsx.create(tmp, data, { ...options, staging: true });
    made = await linkOnce(q.fsx, tmp, path);
  } catch (error) {
    await discard(q, tmp);
    throw error;
  }
  await unlinkQuietly(q.fsx, tmp);
  return made;
}

/** Best effort on the way out of a failure: what stays is swept later. */
export async function discard(q: Queue, tmp: string): Promise<void> {
  try {
    await q.fsx.unlink(tmp);
  } catch {
    // The failure that brought us here is the one to report.
  }
}

async function linkOnce(fsx: Fsx, tmp: string, path: string): Promise<boolean> {
  for (let look = 0; ; look++) {
    try {
      await fsx.link(tmp, path);
      return true;
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EEXIST') return false;
      if (look >= LOOKS || (!isGone(error) && code !== 'EIO')) throw error;
      await mkdirp(fsx, parentOf(path));
    }
  }
}

/** Replaces a small file that has one writer. A crash leaves the old content or the new one. */
export async function replace(q: Queue, path: string, data: string): Promise<void> {
  const tmp = stagingPath(q);
  await stageWhole(q, tmp, data);
  for (let look = 0; ; look++) {
    try {
      await q.fsx.rename(tmp, path);
      return;
    } catch (error) {
      if (!isGone(error) || look >= LOOKS) throw error;
      const left = await listOrEmpty(q.fsx, q.lay.tmp, true);
      if (left.includes(baseOf(tmp))) await mkdirp(q.fsx, parentOf(path));
      else {
        // The reply was lost, or a sweeper was faster: the content tells.
        if ((await readIfThere(q, path)) === data) return;
        await stageWhole(q, tmp, data);
      }
    }
  }
}

async function stageWhole(q: Queue, tmp: string, data: string): Promise<void> {
  try {
    await q.fsx.create(tmp, data, { staging: true });
  } catch (error) {
    await discard(q, tmp);
    throw error;
  }
}

/** Creates an empty or small file with O_EXCL. True: made by this call (exclusive create tells the truth, even over NFS). */
export async function createOnce(q: Queue, path: string, data: string): Promise<boolean> {
  for (let look = 0; ; look++) {
    try {
      await q.fsx.create(path, data);
      return true;
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return false;
      if (!isGone(error) || look >= 2) throw error;
      await mkdirp(q.fsx, parentOf(path));
    }
  }
}

export async function unlinkQuietly(fsx: Fsx, path: string): Promise<void> {
  try {
    await fsx.unlink(path);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Removes a directory if it is empty; says whether it is gone now. */
export async function rmdirIfEmpty(fsx: Fsx, path: string): Promise<boolean> {
  try {
    await fsx.rmdir(path);
    return true;
  } catch (error) {
    return isGone(error);
  }
}

/** The text of a file, or undefined when it is not there. The directory is listed first where a stale name could mislead. */
export async function readIfThere(q: Queue, path: string): Promise<string | undefined> {
  try {
    return await q.fsx.read(path);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  if (!q.network) return undefined;
  const names = await listOrEmpty(q.fsx, parentOf(path));
  if (!names.includes(baseOf(path))) return undefined;
  try {
    return await q.fsx.read(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
