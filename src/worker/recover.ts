/**
 * What a worker does for others: it buries sessions that are proved dead or whose lease is over, publishes what this machine had
 * kept for them, and now and then looks through what waits. All of it may be done by several at once.
 */
import { sweepWaiting } from '../queue/depend.ts';
import { sessions } from '../queue/find.ts';
import { ringAlarms, sweepGroups } from '../queue/groups.ts';
import { sweepInbox } from '../queue/inbox.ts';
import { finishIntents } from '../queue/intent.ts';
import { sweepTmp } from '../queue/sweep.ts';
import { holderOf, readState, workerNames } from '../queue/registry.ts';
import { isSetSession, judgeSession } from '../queue/session.ts';
import { publishSpool, spooledSessions } from '../queue/spool.ts';
import { forget, lookEveryMs, observe, undertake } from '../queue/undertake.ts';
import { killAll, leftovers } from './proc.ts';
import { publishState } from './heartbeat.ts';
import { heartbeatMs } from './machine.ts';
import { sweepScratch } from './scratch.ts';
import { sayOnce, wake, type Worker } from './worker.ts';

/** Ends what a dead session of this machine left running; only then may its tasks go back. */
export function endLeftovers(session: string): void {
  for (let round = 0; round < 50; round++) {
    const pids = leftovers(session);
    if (pids.length === 0) return;
    killAll(pids, 'SIGKILL');
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 10);
  }
}

/**
 * Buries every session that is proved dead on this machine, and publishes what was kept here for any. `names`: also those that
 * have no running directory any more but still hold a name, which costs a look at every name.
 */
export async function recoverHere(w: Worker, names = true): Promise<void> {
  const { q } = w;
  const there = new Set(await sessions(q));
  if (names) {
    for (const name of await workerNames(q)) {
      const holder = await holderOf(q, name);
      if (holder !== undefined) there.add(holder);
    }
  }
  for (const session of there) {
    if (session === w.session || judgeSession(session, w.facts) !== 'dead') continue;
    try {
      endLeftovers(session);
      const result = await undertake(q, session, { proved: true, reason: deathOf(session) });
      if (result === 'buried') w.log(`buried ${session}: its process is gone`);
    } catch (error) {
      // One that cannot be buried now keeps neither the others nor a start back.
      sayOnce(w, `burying ${session}`, error);
    }
  }
  for (const session of spooledSessions(q)) {
    if (session === w.session || there.has(session)) continue;
    try {
      for (const r of await publishSpool(q, session)) {
        w.log(
          `${r.outcome.id}.a${r.outcome.attempt}: kept outcome ${r.counted ? 'published' : 'discarded, the task was given away meanwhile'}`,
        );
      }
    } catch (error) {
      sayOnce(w, `publishing what ${session} kept`, error);
    }
  }
  sweepScratch(q, w.facts);
}

function deathOf(session: string): string {
  return isSetSession(session) ? 'tq set died' : `worker ${session.split('.')[0]} died`;
}

/** How often the slow sweeps run, in polls. */
const SWEEP_EVERY = 30;
/** And how long one may take, ms. */
const SWEEP_MS = 200;
/** Healthy peers that a worker watches. */
const WATCHED = 8;

/** Once a poll: the others' heartbeats and the inbox; the slow sweeps now and then. */
export async function observeOthers(w: Worker): Promise<void> {
  const { q } = w;
  const slow = w.polls++ % SWEEP_EVERY === 0;
  await watchPeers(w);
  await recoverHere(w, slow);
  if ((await sweepInbox(q, w.log)) > 0) wake(w);
  await finishBegun(w);
  if (slow) {
    await sweepGroups(q, w.session);
    await sweepWaiting(q, performance.now() + SWEEP_MS);
    await sweepTmp(q);
  }
}

/** Submissions and changes of groups that others did not live to finish, and groups that are late. What cannot be done now is tried again. */
async function finishBegun(w: Worker): Promise<void> {
  try {
    if ((await finishIntents(w.q, w.facts, w.session)) > 0) wake(w);
    await ringAlarms(w.q, w.session);
  } catch (error) {
    sayOnce(w, 'finishing what others began', error);
  }
}

/** Buries peers whose lease is over. A few polls may pass between two looks: a lease is long, and each look reads a file of every peer. */
async function watchPeers(w: Worker): Promise<void> {
  const { q } = w;
  const everyMs = lookEveryMs(q, heartbeatMs(q, w.options.pollMs));
  // A poll comes up to a tenth early.
  if (performance.now() - w.observer.lastPollMs < 0.85 * everyMs) return;
  for (const session of await observe(q, w.observer, w.session, everyMs, WATCHED)) {
    const here = judgeSession(session, w.facts);
    if (here === 'dead') endLeftovers(session);
    try {
      const result = await undertake(q, session, { proved: here === 'dead', reason: `no heartbeat for ${Math.round(q.leaseMs / 1000)} s` });
      if (result === 'buried') w.log(`buried ${session}: no heartbeat for a lease`);
      else forget(w.observer, session);
    } catch (error) {
      sayOnce(w, `burying ${session}`, error);
    }
  }
  if (w.observer.looks % STATE_EVERY === 0) await keepState(w);
}

/** Looks at peers from one look at the own state to the next. */
const STATE_EVERY = 6;

/** One that had this name before and stood still in the middle of a write may finish it any time: then the state is written again. */
async function keepState(w: Worker): Promise<void> {
  const { session, options } = w;
  if (session === '' || (await readState(w.q, options.name))?.session === session) return;
  if ((await holderOf(w.q, options.name)) !== session || w.session !== session) return;
  w.written = '';
  await publishState(w);
}
