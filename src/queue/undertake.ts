/**
 * The end of a worker that did not leave by itself: burial of its session, then its name is freed and its state file says so. And
 * the watch that other workers keep on it: nothing counts but "unchanged for a whole lease of my own monotonic clock".
 */
import { bury, type Burial, type Death } from './bury.ts';
import { sessions } from './find.ts';
import type { Queue } from './open.ts';
import { freeName, holderOf, pulse, readState, workerNames, writeState } from './registry.ts';
import { isSetSession, parseSession } from './session.ts';

/** Buries and tidies the registration. Safe to repeat; a crash in between is completed by the next undertaker. */
export async function undertake(q: Queue, session: string, death: Death): Promise<Burial> {
  const result = await bury(q, session, death);
  if (result !== 'buried' || isSetSession(session)) return result;
  const owner = parseSession(session)?.owner;
  if (owner === undefined) return result;
  const state = await readState(q, owner);
  if (state !== undefined && state.session === session && state.state !== 'offline') {
    await writeState(q, owner, { ...state, state: 'offline', want: null, running: [], reason: death.reason, lost: true });
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
}

export function newObserver(): Observer {
  return { seen: new Map(), lastPollMs: Number.NEGATIVE_INFINITY };
}

/**
 * One look at the other sessions. Returns those whose heartbeat has not changed for a whole lease, over at least six polls, with
 * no gap in the observer's own polling (a gap starts every watch anew: an outage must not make everybody declare everybody dead).
 */
export async function observe(q: Queue, o: Observer, mine: string | null, pollMs: number, nowMs = performance.now()): Promise<string[]> {
  const gap = nowMs - o.lastPollMs > Math.max(2.5 * pollMs, q.leaseMs / 3);
  o.lastPollMs = nowMs;
  if (gap) o.seen.clear();
  const there = await watched(q);
  if (performance.now() - nowMs > q.leaseMs / 3) o.seen.clear();
  const overdue: string[] = [];
  for (const session of there) {
    if (session === mine) continue;
    const token = await tokenOf(q, session);
    const s = o.seen.get(session);
    if (s === undefined || s.token !== token) {
      o.seen.set(session, { token, sinceMs: nowMs, polls: 1 });
      continue;
    }
    s.polls++;
    if (nowMs - s.sinceMs >= q.leaseMs && s.polls > HEALTHY_POLLS) overdue.push(session);
  }
  for (const session of o.seen.keys()) if (!there.includes(session)) o.seen.delete(session);
  return overdue;
}

/** Sessions with a running directory, and holders of names whose directory is gone already (a burial that was cut short). */
async function watched(q: Queue): Promise<string[]> {
  const there = new Set(await sessions(q));
  for (const name of await workerNames(q)) {
    const holder = await holderOf(q, name);
    if (holder !== undefined) there.add(holder);
  }
  return [...there];
}

async function tokenOf(q: Queue, session: string): Promise<string> {
  const owner = parseSession(session)?.owner;
  if (owner === undefined || isSetSession(session)) return '';
  const p = await pulse(q, owner);
  return p?.session === session ? p.counter : '';
}

/** Starts the watch on a session anew, after a burial found it alive. */
export function forget(o: Observer, session: string): void {
  o.seen.delete(session);
}
