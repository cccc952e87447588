/**
 * The end of a worker that did not leave by itself: burial of its session, then its name is freed and its state file says so. And
 * the watch that other workers keep on it: nothing counts but "unchanged for a whole lease of my own monotonic clock".
 */
import { bury, type Burial, type Death } from './bury.ts';
import { serverNowAbout } from './clock.ts';
import { sessions } from './find.ts';
import type { Queue } from './open.ts';
import { freeName, holderOf, readBeat, readState, readWorker, workerNames, writeState } from './registry.ts';
import { isSetSession, parseSession } from './session.ts';

/** Buries and tidies the registration. Safe to repeat; a crash in between is completed by the next undertaker. */
export async function undertake(q: Queue, session: string, death: Death): Promise<Burial> {
  const result = await bury(q, session, death);
  if (result !== 'buried' || isSetSession(session)) return result;
  const owner = parseSession(session)?.owner;
  if (owner === undefined) return result;
  const state = await readState(q, owner);
  // Where the name is free already another undertaker was here, and the next worker of that name may be.
  if (state !== undefined && state.session === session && state.state !== 'offline' && (await holderOf(q, owner)) === session) {
    await writeState(q, owner, { ...state, state: 'offline', want: null, running: [], reason: death.reason, lost: true });
    const at = Math.round(serverNowAbout(q));
    q.journal?.other({ at, type: 'worker', subject: owner, from: state.state, to: 'offline', worker: owner, reason: death.reason });
  }
  await freeName(q, owner, session);
  return result;
}

/** Polls of its own that an observer must have made without a gap before it may call a peer dead. */
const HEALTHY_POLLS = 6;

interface Sighting {
  token: string;
  sinceMs: number;
  polls: number;
}

/** What one observer knows of the other sessions. All times are its own monotonic clock, ms. */
export interface Observer {
  seen: Map<string, Sighting>;
  lastPollMs: number;
  /** Sessions that hold a name, as of the last look at the names. */
  holders: string[];
  looks: number;
}

export function newObserver(): Observer {
  return { seen: new Map(), lastPollMs: Number.NEGATIVE_INFINITY, holders: [], looks: 0 };
}

/** Looks in a lease: well above the least that a verdict takes, and no more, since each reads one file of every peer. */
const LOOKS_PER_LEASE = 12;
/** The names are read in every so many looks: only a burial that was cut short leaves a name without a running directory. */
const NAMES_EVERY = 12;

/** How often a worker that polls every `pollMs` looks at its peers, ms. */
export function lookEveryMs(q: Queue, pollMs: number): number {
  return Math.max(pollMs, q.leaseMs / LOOKS_PER_LEASE);
}

/**
 * One look at the other sessions. Returns those whose heartbeat has not changed for a whole lease, over at least six looks, with
 * no gap in the observer's own looking (a gap starts every watch anew: an outage must not make everybody declare everybody dead).
 *
 * `most`: how many healthy sessions it looks at, those that follow its own in the order of names, so that in a large farm each is
 * watched by as many and nobody reads them all; silent ones are watched on top of that.
 */
export async function observe(
  q: Queue,
  o: Observer,
  mine: string | null,
  everyMs: number,
  most = Number.POSITIVE_INFINITY,
): Promise<string[]> {
  const nowMs = performance.now();
  const gap = nowMs - o.lastPollMs > Math.max(2.5 * everyMs, q.leaseMs / 3);
  o.lastPollMs = nowMs;
  if (gap) o.seen.clear();
  const running = new Set(await sessions(q));
  if (o.looks++ % NAMES_EVERY === 0) o.holders = await holders(q);
  const overdue: string[] = [];
  const looked = new Set<string>();
  let healthy = 0;
  for (const session of following(mine, [...new Set([...running, ...o.holders])].toSorted())) {
    if (healthy >= most) break;
    looked.add(session);
    const token = await tokenOf(q, session);
    const s = o.seen.get(session);
    if (s === undefined || s.token !== token) {
      o.seen.set(session, { token, sinceMs: nowMs, polls: 1 });
      healthy++;
      continue;
    }
    s.polls++;
    if (nowMs - s.sinceMs < q.leaseMs || s.polls <= HEALTHY_POLLS) continue;
    if (nowMs - s.sinceMs < (await leaseOf(q, session))) continue;
    if (running.has(session) || (await stillHolds(q, session))) overdue.push(session);
  }
  for (const session of o.seen.keys()) if (!looked.has(session)) o.seen.delete(session);
  if (performance.now() - nowMs <= q.leaseMs / 3) return overdue;
  // The look itself took too long: nothing that it saw is fresh.
  o.seen.clear();
  return [];
}

/** The sorted sessions as a ring that begins behind `mine`. */
function following(mine: string | null, sorted: readonly string[]): string[] {
  if (mine === null) return [...sorted];
  const others = sorted.filter((session) => session !== mine);
  const from = others.findIndex((session) => session > mine);
  return from <= 0 ? others : [...others.slice(from), ...others.slice(0, from)];
}

/** Sessions that hold a name: one whose running directory is gone already was buried by somebody who died at it. */
async function holders(q: Queue): Promise<string[]> {
  const found: string[] = [];
  for (const name of await workerNames(q)) {
    const holder = await holderOf(q, name);
    if (holder !== undefined) found.push(holder);
  }
  return found;
}

async function stillHolds(q: Queue, session: string): Promise<boolean> {
  const owner = parseSession(session)?.owner;
  return owner !== undefined && (await holderOf(q, owner)) === session;
}

async function tokenOf(q: Queue, session: string): Promise<string> {
  const owner = parseSession(session)?.owner;
  if (owner === undefined || isSetSession(session)) return '';
  const p = await readBeat(q, owner);
  return p?.session === session ? p.counter : '';
}

/**
 * The lease to wait for: that of the session if it is longer than this machine's. Where one works on the file server's own disk
 * and the other over the network the two differ, and a machine that was cut off ends its tasks by its own.
 */
async function leaseOf(q: Queue, session: string): Promise<number> {
  const owner = parseSession(session)?.owner;
  const file = owner === undefined || isSetSession(session) ? undefined : await readWorker(q, owner);
  return file?.session === session ? Math.max(q.leaseMs, file.leaseMs ?? 0) : q.leaseMs;
}

/** Starts the watch on a session anew, after a burial found it alive. */
export function forget(o: Observer, session: string): void {
  o.seen.delete(session);
}
