/**
 * The bucket's lockfile, by proper-lockfile: the only import of it. It keeps claimers of one bucket off each other's toes; every
 * claim is decided by a rename, so with the lock removed, stolen, stale or always free only speed suffers. Whatever goes wrong
 * here is swallowed for that reason.
 */
import type { LockOptions } from 'proper-lockfile';
import fs from 'node:fs';
import type { Queue } from './open.ts';

export type Unlock = () => Promise<void>;

/** The same everywhere: proper-lockfile compares a lock's age with this, ms. */
const STALE_MS = 60_000;
/** How long a claimer waits for a busy bucket before it goes on without the lock, ms; jittered. */
const WAIT_MS = 40;
const TRIES = 3;

type LockFn = (file: string, options: LockOptions) => Promise<() => Promise<void>>;
let lockFn: LockFn | undefined;

/** For tests: another lock (one that always succeeds, fails or steals); undefined brings the real one back. */
export function replaceLock(fn: LockFn | undefined): void {
  lockFn = fn;
}

/** Takes `<bucket>.lock`, waiting a little; undefined (after the wait) means: go on without. */
export async function lockBucket(q: Queue, bucketDir: string): Promise<Unlock | undefined> {
  lockFn ??= (await import('proper-lockfile')).lock;
  for (let i = 0; i < TRIES; i++) {
    try {
      const release = await lockFn(bucketDir, {
        realpath: false,
        retries: 0,
        stale: STALE_MS,
        update: STALE_MS / 3,
        fs: lockFs(q),
        onCompromised: () => undefined,
      });
      return async () => {
        try {
          await release();
        } catch {
          // Stolen or removed: the renames have decided already.
        }
      };
    } catch (error) {
      if ((error as { code?: string }).code !== 'ELOCKED') return undefined;
    }
    await new Promise((resolve) => setTimeout(resolve, WAIT_MS * (0.5 + Math.random())));
  }
  return undefined;
}

const adapters = new WeakMap<Queue, unknown>();

type Callback = (error: unknown, value?: unknown) => void;

/**
 * The file calls that proper-lockfile makes, through the queue's door. `stat` opens the directory first where caches may lie; of
 * one that was just made the reply told everything. One object for the life of the queue: the library keeps its mtime precision
 * on it.
 */
function lockFs(q: Queue): unknown {
  let a = adapters.get(q);
  if (a === undefined) {
    const pass = (promise: Promise<unknown>, done: Callback): void =>
      void promise.then(
        (v) => done(null, v),
        (e: unknown) => done(e),
      );
    const made = new Set<string>();
    const stat = (path: string): Promise<{ mtimeMs: number }> => (made.delete(path) ? fs.promises.stat(path) : q.fsx.stat(path));
    a = {
      mkdir: (path: string, done: Callback) =>
        pass(
          q.fsx.mkdir(path).then(() => void made.add(path)),
          done,
        ),
      rmdir: (path: string, done: Callback) => pass(q.fsx.rmdir(path), done),
      rmdirSync: (path: string) => fs.rmdirSync(path),
      stat: (path: string, done: Callback) =>
        pass(
          stat(path).then((s) => ({ ...s, mtime: new Date(s.mtimeMs) })),
          done,
        ),
      utimes: (path: string, atime: Date, mtime: Date, done: Callback) => fs.utimes(path, atime, mtime, done),
      realpath: fs.realpath,
    };
    adapters.set(q, a);
  }
  return a;
}
