/**
 * Room for a task that asks for much: small tasks may pass it while it does not fit, but not for ever. When the first task of a lane
 * has been passed over for long enough, the worker takes nothing of its priority or below until it fits.
 */
import { emptyWindow } from '../queue/claim.ts';
import { headOf, type Head } from '../queue/head.ts';
import { listOthers } from './others.ts';
import { laneHasShares } from './shares.ts';
import type { Worker } from './worker.ts';

/** A task that did not fit when it was seen first, and not since. */
export interface Passed extends Head {
  lane: string;
  /** Monotonic, ms. */
  sinceMs: number;
  /** Another worker keeps room for it already. */
  elsewhere: boolean;
}

/** How long a task is passed over before room is kept for it, ms; the third part of what it may wait at most in a stream of short ones. */
export const PATIENCE_MS = 20_000;
/** One worker that keeps room for a task is enough, unless it comes to nothing. */
const PATIENCE_ELSEWHERE = 3;

/** The task to keep room for: of those passed over for `patienceMs` the one of best priority, the oldest of them. Pure. */
export function decideReservation(passed: readonly Passed[], nowMs: number, patienceMs = PATIENCE_MS): Passed | null {
  let best: Passed | null = null;
  for (const p of passed) {
    if (nowMs - p.sinceMs < patienceMs * (p.elsewhere ? PATIENCE_ELSEWHERE : 1)) continue;
    if (best === null || p.priority > best.priority || (p.priority === best.priority && p.id < best.id)) best = p;
  }
  return best;
}

interface Room {
  /** Lanes that ask for more than the least, which this worker can serve: whether there was room at the last look. */
  lanes: Map<string, boolean>;
  passed: Map<string, Passed>;
  lookedMs: number;
  prunedMs: number;
  reserved: Passed | null;
  /** Looks in which the task fitted and was not taken. */
  vain: number;
  /** Tasks that were left although there was room, until when, monotonic ms. */
  banned: Map<string, number>;
}

/** How often the first tasks of the lanes are looked at, ms. */
const LOOK_MS = 1000;
const PRUNE_MS = 60_000;
const MOST_VAIN = 3;
const BAN_MS = 60_000;

const rooms = new WeakMap<Worker, Room>();

function roomOf(w: Worker): Room {
  let room = rooms.get(w);
  if (room === undefined) {
    room = {
      lanes: new Map(),
      passed: new Map(),
      lookedMs: Number.NEGATIVE_INFINITY,
      prunedMs: performance.now(),
      reserved: null,
      vain: 0,
      banned: new Map(),
    };
    rooms.set(w, room);
  }
  return room;
}

/** A listing met a lane that this worker can serve, if not always: one that asks for more than the least, or has no room. */
export function noteRoom(w: Worker, lane: string, there: boolean): void {
  roomOf(w).lanes.set(lane, there);
}

/** The task that room is kept for, or null. */
export function reservedFor(w: Worker): Passed | null {
  return rooms.get(w)?.reserved ?? null;
}

/** The same for the state file. */
export function reservation(w: Worker): { id: string; priority: number } | null {
  const r = reservedFor(w);
  return r === null ? null : { id: r.id, priority: r.priority };
}

/** Whether tasks of a lane and priority may be taken while room is kept for another. */
export function admits(w: Worker, lane: string, priority: number): boolean {
  const r = reservedFor(w);
  return r === null || lane === r.lane || priority > r.priority;
}

/**
 * Before each claim: looks at what was passed over, and decides. A few listings for each such lane, at most once a second. True when the
 * answer is another one than before.
 */
export async function considerRoom(w: Worker, fits: (lane: string) => Promise<boolean>): Promise<boolean> {
  const room = rooms.get(w);
  if (room === undefined || (room.lanes.size === 0 && room.reserved === null) || w.options.only !== null) return false;
  const reservedBefore = room.reserved;
  room.reserved = await stillReserved(w, room, fits);
  for (const [lane, before] of room.lanes) {
    const there = await fits(lane);
    room.lanes.set(lane, there);
    // It was not listed while it did not fit: the listing in hand knows nothing of it.
    if (there && !before && room.reserved?.lane !== lane) w.window = emptyWindow();
  }
  const now = performance.now();
  if (room.reserved === null && now - room.lookedMs >= LOOK_MS) {
    room.lookedMs = now;
    await lookAtPassed(w, room, now);
    const chosen = decideReservation([...room.passed.values()], now);
    if (chosen !== null && (await laneHasShares(w, chosen.lane))) {
      room.reserved = chosen;
      room.vain = 0;
      w.log(`${chosen.id} has been passed over for ${Math.round((now - chosen.sinceMs) / 1000)} s: room is kept for it`);
    }
  }
  if (room.reserved?.id === reservedBefore?.id) return false;
  w.window = emptyWindow();
  return true;
}

async function lookAtPassed(w: Worker, room: Room, now: number): Promise<void> {
  const seen = new Map<string, Passed>();
  const prune = now - room.prunedMs >= PRUNE_MS;
  if (prune) room.prunedMs = now;
  for (const [id, until] of room.banned) if (now > until) room.banned.delete(id);
  for (const [lane, there] of room.lanes) {
    const before = room.passed.get(lane);
    // One that has not been short of room is looked at only to forget it when it is empty.
    if (there && before === undefined && !prune) continue;
    const head = await headOf(w.q, lane);
    if (head === undefined) room.lanes.delete(lane);
    if (head === undefined || room.banned.has(head.id)) continue;
    if (there && before === undefined) continue;
    seen.set(lane, { ...head, lane, sinceMs: before?.id === head.id ? before.sinceMs : now, elsewhere: false });
  }
  room.passed = seen;
  const due = [...seen.values()].filter((p) => now - p.sinceMs >= PATIENCE_MS);
  if (due.length === 0) return;
  const others = new Set((await listOthers(w.q)).filter((o) => o.awake && o.file.session !== w.session).map((o) => o.reserved?.id));
  for (const p of due) p.elsewhere = others.has(p.id);
}

/** Null when the task was taken, here or elsewhere, or is one that this worker leaves although it has room. */
async function stillReserved(w: Worker, room: Room, fits: (lane: string) => Promise<boolean>): Promise<Passed | null> {
  const r = room.reserved;
  if (r === null) return null;
  const over = (): null => {
    room.passed.delete(r.lane);
    return null;
  };
  if (w.pending.some((c) => c.id === r.id) || [...w.runs.values()].some((run) => run.claimed.id === r.id)) return over();
  const head = await headOf(w.q, r.lane);
  if (head?.id !== r.id || head.priority !== r.priority) return over();
  if (!(await laneHasShares(w, r.lane))) return over();
  if ((await fits(r.lane)) && ++room.vain >= MOST_VAIN) {
    room.banned.set(r.id, performance.now() + BAN_MS);
    return over();
  }
  return r;
}
