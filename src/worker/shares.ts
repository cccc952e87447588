/**
 * The shares of limits and mutexes that this worker holds for its attempts: taken before a claim, given back when the attempt is
 * neither claimed nor running any more. And which lanes cannot be served now for want of one, so that however long such a lane is it
 * costs one look.
 */
import { emptyWindow, type Candidate } from '../queue/claim.ts';
import { serverNow } from '../queue/clock.ts';
import { headOf, type Head } from '../queue/head.ts';
import { giveBack, giveBackAll, lackOf, takeShares, wantsOf, type Lack, type Share } from '../queue/limits.ts';
import { ring } from '../queue/signal.ts';
import { readRequirements } from './others.ts';
import { sayOnce, wake, type Run, type Worker } from './worker.ts';

interface Held {
  session: string;
  /** By `<id>.a<N>`. */
  shares: Map<string, Share[]>;
  /** What could not be given back yet, or may have been taken when the file system failed. */
  doubt: Share[];
  /** The candidate that is being claimed. */
  claiming: string | null;
  /** Attempts whose command was started: their rate counts. */
  begun: Set<string>;
  /** Lanes that lack something in this look. */
  lacking: Map<string, Lack>;
  /** The first tasks of lanes that ask for several shares and find too few, by lane. */
  starved: Map<string, Starved>;
  lookedMs: number;
}

/** A task that asks for several shares of a limit, of which others take each one that comes back. */
export interface Starved extends Head {
  /** The limit. */
  name: string;
  lane: string;
  /** Since when it has been first of its lane without getting them, monotonic, ms. */
  sinceMs: number;
}

/** How long shares are taken one by one before they are left to a task that asks for several, and for how long they are left, ms. */
const PATIENCE_MS = 20_000;
const LEFT_MS = 60_000;
/** How often the first tasks of such lanes are looked at, ms. */
const LOOK_MS = 1000;

/** The task that a share is left to by one of this lane and priority, or undefined. Pure. */
export function leftTo(starved: Iterable<Starved>, limit: string, lane: string, priority: number, nowMs: number): Starved | undefined {
  let first: Starved | undefined;
  for (const s of starved) {
    const ms = nowMs - s.sinceMs;
    // Who has not got them by then is kept by something else, and comes again later.
    if (s.name !== limit || ms < PATIENCE_MS || ms % (PATIENCE_MS + LEFT_MS) < PATIENCE_MS) continue;
    if (first === undefined || s.priority > first.priority || (s.priority === first.priority && s.id < first.id)) first = s;
  }
  return first === undefined || first.lane === lane || priority > first.priority ? undefined : first;
}

const all = new WeakMap<Worker, Held>();

/** What a session held is given back by others once it is over: its directory is gone. */
function heldBy(w: Worker): Held {
  let held = all.get(w);
  if (held === undefined || held.session !== w.session) {
    held = {
      session: w.session,
      shares: new Map(),
      doubt: [],
      claiming: null,
      begun: new Set(),
      lacking: new Map(),
      starved: new Map(),
      lookedMs: 0,
    };
    all.set(w, held);
  }
  return held;
}

/** A new look at what can be taken. */
export async function beginLook(w: Worker): Promise<void> {
  const held = heldBy(w);
  for (const [lane, lack] of held.lacking) {
    if (lack.reason !== 'held' || lack.want.n < 2 || held.starved.has(lane)) continue;
    held.starved.set(lane, { id: '', priority: 0, name: lack.want.name, lane, sinceMs: performance.now() });
  }
  held.lacking.clear();
  const now = performance.now();
  if (held.starved.size === 0 || now - held.lookedMs < LOOK_MS) return;
  held.lookedMs = now;
  for (const [lane, s] of held.starved) {
    const head = await headOf(w.q, lane);
    if (head === undefined) held.starved.delete(lane);
    else if (head.id !== s.id) held.starved.set(lane, { ...s, ...head, sinceMs: now });
  }
}

/** The look is over: what was taken for a candidate that somebody else got goes back. */
export async function endLook(w: Worker): Promise<void> {
  heldBy(w).claiming = null;
  await returnIdle(w);
}

/** What was taken for a range of elements is the share of the one element of it that is run. */
export function passShares(w: Worker, from: string, to: string): void {
  const held = all.get(w);
  const shares = held?.shares.get(from);
  if (held === undefined || shares === undefined) return;
  held.shares.delete(from);
  held.shares.set(to, shares);
}

/** Whether a lane's limits leave room for one of its tasks now. */
export async function laneHasShares(w: Worker, lane: string): Promise<boolean> {
  const wants = wantsOf(await readRequirements(w.q, lane));
  if (wants.length === 0) return true;
  const held = heldBy(w);
  if (held.lacking.has(lane)) return false;
  const lack = await lackOf(w.q, wants);
  if (lack === undefined) return true;
  lacks(w, held, lane, lack);
  return false;
}

/** Takes what a candidate needs, right before it is claimed. False: it is left, and its lane with it until the next look. */
export async function takeFor(w: Worker, c: Candidate): Promise<boolean> {
  const wants = wantsOf(await readRequirements(w.q, c.lane));
  if (wants.length === 0) return true;
  const held = heldBy(w);
  if (held.lacking.has(c.lane)) return false;
  for (const want of wants) {
    const other = leftTo(held.starved.values(), want.kind === 'limit' ? want.name : '', c.lane, c.priority, performance.now());
    if (other === undefined) continue;
    held.lacking.set(c.lane, { want, reason: 'held', by: [other.id] });
    return false;
  }
  // Also what was taken for the candidate before this one, if its claim came too late.
  held.claiming = null;
  await returnIdle(w);
  // What may have been taken must be settled first, or it could be given back under a name that is used again.
  if (held.doubt.length > 0) return false;
  const key = `${c.id}.a${c.n + 1}`;
  const taken = await takeShares(w.q, wants, w.session, c.id, held.doubt);
  if (!Array.isArray(taken)) {
    lacks(w, held, c.lane, taken);
    return false;
  }
  held.shares.set(key, taken);
  held.claiming = key;
  return true;
}

function lacks(w: Worker, held: Held, lane: string, lack: Lack): void {
  held.lacking.set(lane, lack);
  // A rate has room again at a known moment, before anybody rings.
  if (lack.reason === 'rate' && lack.until !== null) w.lookAtDueAt = Math.min(w.lookAtDueAt, lack.until + 1);
}

/** Lanes that lacked something in the last look, other than a limit that is not there or too small. */
export function lanesInWait(w: Worker): string[] {
  return [...heldBy(w).lacking].filter(([, lack]) => lack.reason === 'held' || lack.reason === 'rate').map(([lane]) => lane);
}

/** The command of an attempt was started: its rate counts from now. Does not wait for the file system. */
export function noteBegun(w: Worker, run: Run): void {
  const held = all.get(w);
  const shares = held?.shares.get(run.key);
  if (held === undefined || shares?.some((s) => s.rate) !== true) return;
  held.begun.add(run.key);
  void stamp(w, held, run.key, shares).catch(() => undefined);
}

/** What fails here is stamped, later, at the end of the attempt. */
async function stamp(w: Worker, held: Held, key: string, shares: Share[]): Promise<void> {
  for (const share of shares.filter((s) => s.rate)) {
    await giveBack(w.q, share, await serverNow(w.q));
    const left = held.shares.get(key)?.filter((s) => s !== share);
    if (left !== undefined) held.shares.set(key, left);
  }
  // The next one may be waiting for the moment that is known only now.
  wake(w);
}

/** Gives back what belongs to no attempt that is claimed, running or being claimed. Never throws. */
export async function returnIdle(w: Worker): Promise<void> {
  const held = all.get(w);
  if (held === undefined || (held.shares.size === 0 && held.doubt.length === 0)) return;
  if (held.session !== w.session) return;
  const doubtful = held.doubt.splice(0);
  let n = doubtful.length;
  await giveBackAll(w.q, doubtful, 'used', held.doubt);
  const inHand = new Set([...w.runs.keys(), ...[...w.pending, ...w.opening].map((c) => `${c.id}.a${c.attempt}`), held.claiming]);
  // Of this moment: what is taken while others go back is in hand.
  const keys = Array.from(held.shares.keys());
  for (const key of keys) {
    const shares = held.shares.get(key);
    if (shares === undefined || inHand.has(key)) continue;
    held.shares.delete(key);
    const began = held.begun.delete(key);
    n += shares.length;
    await giveBackAll(w.q, shares, began ? 'used' : 'unused', held.doubt);
  }
  if (held.doubt.length > 0) sayOnce(w, 'giving back shares of limits', 'the file system refuses, tried again');
  if (n === held.doubt.length) return;
  // Others may wait for it, and tasks that this worker has left.
  w.window = emptyWindow();
  await ring(w.q);
}
