/** starting: takes the name, buries what is proved dead here, makes the session. On to awake or asleep, as it was before. */
import { TqError } from '../../errors.ts';
import { mkdirp } from '../../queue/fsx.ts';
import { newObserver, observe, undertake } from '../../queue/undertake.ts';
import { beat, clearWant, readState, readWant, takeName, writeWorker, type StateFile } from '../../queue/registry.ts';
import { judgeSession, makeSession } from '../../queue/session.ts';
import { serverNow } from '../../queue/clock.ts';
import { bell } from '../../queue/signal.ts';
import { awakeAt, nextBoundary } from '../../task/hours.ts';
import { startGuardianOf } from '../guard.ts';
import { offeredBy } from '../handlers.ts';
import { heartbeatMs, holdsUntil, isLeaving, type StateModule } from '../machine.ts';
import { endLeftovers, recoverHere } from '../recover.ts';
import { userOf } from '../../system.ts';
import { parseWant } from '../requests.ts';
import { dropSpares, openScratch } from '../scratch.ts';
import type { Worker } from '../worker.ts';

export const starting: StateModule = {
  name: 'starting',
  async run(w) {
    const { q, options } = w;
    const again = w.session !== '';
    const session = makeSession(options.name, w.facts);
    await takeOver(w, session);
    w.session = session;
    w.written = '';
    await mkdirp(q.fsx, q.lay.session(session));
    dropSpares();
    w.scratch = openScratch(q, session);
    const offer = await offeredBy(w);
    w.file = {
      name: options.name,
      session,
      host: w.facts.host,
      pid: process.pid,
      startedAt: Math.round(await serverNow(q)),
      version: options.version,
      jobs: options.jobs,
      queues: options.queues,
      labels: options.labels,
      offers: options.offers,
      heartbeatMs: heartbeatMs(q, options.pollMs),
      leaseMs: q.leaseMs,
      restartExitCode: options.restartExitCode,
      settings: {
        gate: options.gate,
        hours: options.hoursText ?? null,
        maxTasks: options.maxTasks,
        untilEmpty: options.untilEmpty,
        timeLimitMs: options.timeLimitMs,
        // Whose tasks it runs where others can write too.
        ...(q.config.shared ? { runUsers: options.runUsers ?? [userOf(process.getuid?.() ?? 0)] } : {}),
        vars: Object.keys(options.vars),
        handlers: offer.handlers,
        ...(offer.broken.length > 0 ? { brokenHandlers: offer.broken } : {}),
      },
    };
    await writeWorker(q, w.file);
    const began = performance.now();
    await beat(q, options.name, session, ++w.counter);
    w.confirmedMs = began;
    await w.guardian?.close();
    w.guardian = startGuardianOf(w);
    if (!again) await recall(w);
    await recoverHere(w, true);
    w.bell = await bell(q);
    return w.base;
  },
};

/** Takes the name, from a dead holder if it can be proved or after a lease of silence. Throws NAME_TAKEN. */
async function takeOver(w: Worker, session: string): Promise<void> {
  const { q, options } = w;
  const observer = newObserver();
  let told = false;
  for (;;) {
    const holder = await takeName(q, options.name, session);
    if (holder === session) return;
    if (holder === w.session && w.session !== '') {
      // My own buried session: whoever buried it may not have come to the name yet.
      await undertake(q, holder, { proved: true, reason: 'buried' });
      continue;
    }
    const judged = judgeSession(holder, w.facts);
    if (judged === 'alive') throw taken(options.name, holder, 'it is alive on this machine');
    if (judged === 'dead') {
      endLeftovers(holder);
      await undertake(q, holder, { proved: true, reason: `worker ${options.name} died` });
      continue;
    }
    if (!told) w.log(`the name ${options.name} is held by ${holder}, which may be dead: watching it for ${Math.round(q.leaseMs / 1000)} s`);
    told = true;
    await watchHolder(w, observer, holder);
  }
}

function taken(name: string, holder: string, why: string): TqError {
  return new TqError('NAME_TAKEN', `a worker named ${name} exists: ${why} (${holder})`, {
    hint: 'give this one another --name, or stop that one: tq worker stop',
  });
}

/** One poll of the watch: its heartbeat moves: NAME_TAKEN; silent for a lease: buried. */
async function watchHolder(w: Worker, observer: ReturnType<typeof newObserver>, holder: string): Promise<void> {
  const { q, options } = w;
  const pollMs = heartbeatMs(q, options.pollMs);
  const before = observer.seen.get(holder)?.token;
  const overdue = await observe(q, observer, null, pollMs);
  const now = observer.seen.get(holder)?.token;
  if (before !== undefined && now !== undefined && before !== now) throw taken(options.name, holder, 'its heartbeat moves');
  if (overdue.includes(holder)) {
    const result = await undertake(q, holder, { proved: false, reason: `no heartbeat for ${Math.round(q.leaseMs / 1000)} s` });
    if (result === 'alive') throw taken(options.name, holder, 'it claims tasks');
    return;
  }
  if (w.stopping || isLeaving(w)) throw new TqError('REFUSED', 'stopped while waiting for the name');
  await new Promise((resolve) => setTimeout(resolve, pollMs));
}

/** awake or asleep as before; a request made meanwhile is obeyed, except stop and restart, which were for the one before. */
async function recall(w: Worker): Promise<void> {
  const { q, options } = w;
  const before = await readState(q, options.name);
  w.base = before?.base ?? 'awake';
  const text = await readWant(q, options.name);
  const want = parseWant(text);
  const asked = want.kind === 'request' ? want.request : null;
  if (asked !== null) await clearWant(q, options.name, text);
  if (asked !== null && (asked.to === 'awake' || asked.to === 'asleep') && (asked.until === null || asked.until > Date.now())) {
    w.base = asked.to;
    w.baseUntil = holdsUntil(w, asked.until);
  } else resume(w, before?.until ?? null);
  if (w.base === 'asleep' && (options.hours === null || awakeAt(options.hours, Date.now())))
    w.log(`asleep, as it was asked to be before: tq worker wake ${options.name}`);
}

/** What a person asked of the one before holds on until its time; then, or without such, the hours tell. */
function resume(w: Worker, until: NonNullable<StateFile['until']> | null): void {
  const { hours } = w.options;
  const now = Date.now();
  if (until !== null && now < until.at && (until.of === 'request' || hours !== null)) w.baseUntil = until.at;
  else if (hours !== null) {
    w.base = awakeAt(hours, now) ? 'awake' : 'asleep';
    w.baseUntil = nextBoundary(hours, now);
  } else if (until?.of === 'request') w.base = w.base === 'awake' ? 'asleep' : 'awake';
}
