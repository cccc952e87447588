/**
 * Claiming: which tasks to try, in which order, and the rename that decides. The window is one listing of the oldest bucket of
 * the best priority among the lanes that a worker serves; it is used up before anything is listed again, so the cost of a claim
 * does not depend on the queue's length. The bucket's lockfile keeps claimers out of each other's way; nothing depends on it.
 */
import { bucketEnd, entryName, inSubmitOrder, isBucket, baseId, parseEntry, parsePrio, prioName } from './layout.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { lockBucket, type Unlock } from './lock.ts';
import type { Queue } from './open.ts';
import { move, rmdirIfEmpty } from './steps.ts';
import { serverNow } from './clock.ts';

export interface Candidate {
  id: string;
  /** Attempts used so far. */
  n: number;
  lane: string;
  priority: number;
  /** Its directory. */
  dir: string;
}

export interface Claimed extends Candidate {
  /** The attempt that this claim made. */
  attempt: number;
  /** `running/<session>/<id>.a<attempt>.json` */
  file: string;
  /** An element whose past was looked at when its piece was claimed. */
  known?: true;
}

export interface ClaimRules {
  /** Whether this worker can serve the lane; must be cheap, the answer is kept by the caller. */
  serves(lane: string): boolean | Promise<boolean>;
  /** Whether tasks of a served lane and this priority may be taken now; absent: all. */
  admits?(lane: string, priority: number): boolean;
  /** Whether to leave a candidate for now (it failed here, it does not fit, ...). */
  leave(candidate: Candidate): boolean | Promise<boolean>;
  /** Told of each claim as soon as it is made. */
  taken?(claimed: Claimed): void;
  /** Whether the session has this attempt already, running or not yet begun. */
  has?(id: string, attempt: number): boolean;
}

/** A kept listing. Drop it (make a new one) when the bell rang. */
export interface Window {
  entries: Candidate[];
  at: number;
  /** Directories that the window came from; empty ones are removed when it is used up. */
  dirs: string[];
  /** Candidates that were left: their buckets are not empty, and later buckets must still be looked at. */
  left: number;
}

export function emptyWindow(): Window {
  return { entries: [], at: 0, dirs: [], left: 0 };
}

/** Of a bucket's path, `aaaa/bb`: what those of the same seconds have in common. */
const BASE_CHARS = 7;

/** Buckets older than this may be removed when empty, ms; younger ones are still being filled. */
const BUCKET_SETTLED_MS = 15_000;

/**
 * Claims up to `count` tasks into `running/<session>/`. Fewer than asked: there is nothing more to take now. Throws
 * `RevokedError` when the session has been buried.
 */
export async function claim(q: Queue, session: string, w: Window, rules: ClaimRules, count: number): Promise<Claimed[]> {
  const claimed: Claimed[] = [];
  let refilled = false;
  const skipped = new Set<string>();
  while (claimed.length < count) {
    if (w.at >= w.entries.length) {
      if (refilled && claimed.length === 0 && w.entries.length === 0) break;
      await refill(q, w, rules, skipped);
      refilled = true;
      if (w.entries.length === 0) break;
    }
    const before = claimed.length;
    await claimFrom(q, session, w, rules, count, claimed, skipped);
    if (claimed.length === before && w.at < w.entries.length) break;
  }
  return claimed;
}

async function claimFrom(
  q: Queue,
  session: string,
  w: Window,
  rules: ClaimRules,
  count: number,
  claimed: Claimed[],
  skipped: Set<string>,
): Promise<void> {
  let unlock: Unlock | undefined;
  let locked = '';
  try {
    while (w.at < w.entries.length && claimed.length < count) {
      const c = w.entries[w.at++]!;
      if (await rules.leave(c)) {
        skipped.add(c.id);
        w.left++;
        continue;
      }
      if (locked !== c.dir) {
        await unlock?.();
        unlock = await lockBucket(q, c.dir);
        locked = c.dir;
      }
      const attempt = c.n + 1;
      const file = `${q.lay.session(session)}/${entryName(c.id, attempt)}`;
      const result = await tryClaim(q, `${c.dir}/${entryName(c.id, c.n)}`, file);
      if (result === 'revoked') throw new RevokedError(session);
      // After a lost reply a cached listing may name what this session claimed before: that is no second claim.
      if (result !== 'moved' || rules.has?.(c.id, attempt) === true) {
        // A cached listing may go on naming what is gone: once is enough in one look.
        skipped.add(entryName(c.id, c.n));
        continue;
      }
      const mine: Claimed = { ...c, attempt, file };
      claimed.push(mine);
      rules.taken?.(mine);
    }
  } finally {
    await unlock?.();
  }
}

/**
 * The rename is the claim. ENOENT: the own directory is listed strongly, since a lost reply looks the same. The target directory
 * is never made here: its absence means that this session was buried.
 */
async function tryClaim(q: Queue, source: string, target: string): Promise<'moved' | 'gone' | 'revoked'> {
  try {
    await q.fsx.rename(source, target);
    return 'moved';
  } catch (error) {
    if (!isGone(error)) return move(q, source, target);
  }
  let mine: string[];
  try {
    const { strongList } = await import('./fsx.ts');
    mine = await strongList(q.fsx, target.slice(0, target.lastIndexOf('/')));
  } catch (error) {
    if (isGone(error)) return 'revoked';
    throw error;
  }
  return mine.includes(target.slice(target.lastIndexOf('/') + 1)) ? 'moved' : 'gone';
}

export class RevokedError extends Error {
  constructor(session: string) {
    super(`session ${session} was buried`);
  }
}

/** On a network file system a listing may miss a name until its directory changes again: the lists are strong ones so often, ms. */
const STRONG_EVERY_MS = 60_000;
const strongAt = new WeakMap<Queue, number>();

/** The next look believes no cached listing: for whoever is about to conclude that nothing is left. */
export function distrustListings(q: Queue): void {
  strongAt.delete(q);
}

/**
 * Lists anew: the best priority over all served lanes, its oldest bucket with entries that are not to be left. Entries of several
 * lanes at the same priority are merged in id order.
 */
async function refill(q: Queue, w: Window, rules: ClaimRules, skipped: ReadonlySet<string>): Promise<void> {
  for (const dir of w.dirs) await tidy(q, dir);
  w.entries = [];
  w.at = 0;
  w.dirs = [];
  w.left = 0;
  const root = `${q.dir}/queued`;
  const strong = q.network && performance.now() - (strongAt.get(q) ?? Number.NEGATIVE_INFINITY) > STRONG_EVERY_MS;
  if (strong) strongAt.set(q, performance.now());
  const byPriority = new Map<number, string[]>();
  for (const lane of (await listOrEmpty(q.fsx, root, strong)).toSorted()) {
    if (lane.startsWith('.') || !(await rules.serves(lane))) continue;
    for (const prio of await listOrEmpty(q.fsx, `${root}/${lane}`, strong)) {
      const p = parsePrio(prio);
      if (p === undefined || rules.admits?.(lane, p) === false) continue;
      const lanes = byPriority.get(p);
      if (lanes === undefined) byPriority.set(p, [lane]);
      else lanes.push(lane);
    }
  }
  for (const priority of [...byPriority.keys()].toSorted((a, b) => b - a)) {
    const lanes = byPriority.get(priority)!;
    const cursors = lanes.map((lane) => bucketCursor(q, `${root}/${lane}/${prioName(priority)}`, strong));
    const heads = await Promise.all(cursors.map((c) => c.next()));
    let later: Candidate[] = [];
    for (;;) {
      let oldest: string | undefined;
      for (const h of heads) if (!h.done && (oldest === undefined || h.value < oldest)) oldest = h.value;
      if (oldest === undefined) break;
      for (const [i, h] of heads.entries()) {
        if (h.done || h.value !== oldest) continue;
        const dir = `${root}/${lanes[i]!}/${prioName(priority)}/${oldest}`;
        w.dirs.push(dir);
        for (const name of await listOrEmpty(q.fsx, dir, strong)) {
          const e = parseEntry(name);
          if (e !== undefined && !e.cancel && !skipped.has(e.id) && !skipped.has(name))
            w.entries.push({ id: e.id, n: e.n, lane: lanes[i]!, priority, dir });
        }
        heads[i] = await cursors[i]!.next();
      }
      const base = oldest.slice(0, BASE_CHARS);
      const next = heads.flatMap((h) => (h.done !== true && h.value.startsWith(`${base}.`) ? [h.value.split('.')[1]!] : [])).toSorted()[0];
      if (next !== undefined || later.length > 0) {
        // Within the same seconds a submission of many was made before some of the others: those have their turn after it.
        const all = [...later, ...w.entries];
        later = next === undefined ? [] : all.filter((c) => baseId(c.id) > next);
        w.entries = next === undefined ? all : all.filter((c) => baseId(c.id) <= next);
      }
      if (w.entries.length > 0) {
        if (w.entries.length > 1) w.entries.sort((a, b) => inSubmitOrder(a.id, b.id));
        return;
      }
      for (const dir of w.dirs) await tidy(q, dir);
      w.dirs = [];
    }
  }
}

/** Bucket paths below a priority's directory, oldest first, listed as they are needed. */
async function* bucketCursor(q: Queue, base: string, strong: boolean): AsyncGenerator<string> {
  for (const a of (await listOrEmpty(q.fsx, base, strong)).toSorted()) {
    if (a.startsWith('.') || a.length !== 4) continue;
    const names = await listOrEmpty(q.fsx, `${base}/${a}`, strong);
    const inner = names.filter(isBucket).toSorted();
    if (inner.length === 0) {
      // The lock of a claimer that died outlives its bucket.
      for (const name of names) if (name.endsWith('.lock')) await rmdirIfEmpty(q.fsx, `${base}/${a}/${name}`);
      await tidyUp(q, `${base}/${a}`);
    }
    for (const b of inner) yield `${a}/${b}`;
  }
}

/** Removes an emptied bucket and the directories above it, unless it is young enough to be filled right now. */
async function tidy(q: Queue, dir: string): Promise<void> {
  const parts = dir.split('/');
  const b = parts.at(-1)!;
  const a = parts.at(-2)!;
  if ((await serverNow(q)) - bucketEnd(`${a}/${b}`) < BUCKET_SETTLED_MS) return;
  if (!(await rmdirIfEmpty(q.fsx, dir))) return;
  await tidyUp(q, parts.slice(0, -1).join('/'));
}

async function tidyUp(q: Queue, dir: string): Promise<void> {
  const { length } = `${q.dir}/queued`;
  for (let at = dir; at.length > length; at = at.slice(0, at.lastIndexOf('/'))) {
    if (!(await rmdirIfEmpty(q.fsx, at))) return;
  }
}
