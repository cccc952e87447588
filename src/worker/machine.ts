/**
 * A worker's life: announce, run a state, go to the next one, leave. The states are one module each and decide; this one owns the
 * heartbeat timer, the signals and the way in and out.
 */
import { TqError } from '../errors.ts';
import { emptyWindow } from '../queue/claim.ts';
import type { Queue } from '../queue/open.ts';
import { clearWant, freeName, type WorkerState } from '../queue/registry.ts';
import type { HostFacts } from '../queue/session.ts';
import { serverNow, serverNowAbout } from '../queue/clock.ts';
import { workerJournal } from '../queue/journal.ts';
import { newObserver } from '../queue/undertake.ts';
import { watch, type Watch } from '../queue/watch.ts';
import { bury, settleLost } from '../queue/bury.ts';
import { parseEntry } from '../queue/layout.ts';
import { heartbeat, publishState, rang, type Pulse } from './heartbeat.ts';
import { nextBoundary, awakeAt } from '../task/hours.ts';
import { lookAtCron } from './cron.ts';
import { closeScratch } from './scratch.ts';
import { dropStateDirs } from './state-dir.ts';
import { awake } from './states/awake.ts';
import { asleep } from './states/asleep.ts';
import { error as errorState } from './states/error.ts';
import { offline } from './states/offline.ts';
import { restart } from './states/restart.ts';
import { starting } from './states/starting.ts';
import { observeOthers } from './recover.ts';
import { dropChunks } from './chunk.ts';
import { takeSettings } from './settings.ts';
import { returnIdle } from './shares.ts';
import { endRun, jittered, sayOnce, wake, type Log, type Worker, type WorkerOptions } from './worker.ts';

/** A state runs until it is time for another; every wait in it ends with `wake(w)`. */
export interface StateModule {
  readonly name: WorkerState;
  run(w: Worker): Promise<WorkerState | 'end'>;
}

const STATES: Record<WorkerState, StateModule> = { starting, awake, asleep, error: errorState, offline, restart };

export interface MachineEvents {
  /** The name is taken, the session registered: said on stdout. */
  announced(w: Worker): void;
  log: Log;
}

/** Runs a worker until it is told otherwise. Returns the exit code; throws NAME_TAKEN when a live worker has the name. */
export async function runWorker(q: Queue, facts: HostFacts, options: WorkerOptions, events: MachineEvents): Promise<number> {
  const w = newWorker(q, facts, options, events.log);
  openJournal(w);
  const signals = catchSignals(w);
  let watching: Watch = { close: async () => undefined };
  let timer = { stop: (): void => undefined };
  let next: WorkerState | 'end' = 'starting';
  let code = 0;
  let left = false;
  try {
    while (next !== 'end') {
      noteState(w, next);
      w.state = next;
      if (next === 'restart') code = options.restartExitCode ?? 0;
      // Before it has the name there is nothing to say, and the state file still tells what the one before was.
      if (w.session !== '') await publishState(w).catch(() => undefined);
      const came: WorkerState = next;
      next = await STATES[came].run(w);
      if (came === 'starting' && next !== 'end') {
        events.announced(w);
        timer = beatForever(w);
        watching = await watch(q, [q.lay.signal, q.lay.worker(options.name)], () => heardBell(w), isOwnFile);
      }
    }
    left = true;
  } finally {
    timer.stop();
    signals.stop();
    await watching.close().catch(() => undefined);
    await Promise.race([q.journal?.flush(), new Promise((resolve) => setTimeout(resolve, LAST_WORDS_MS).unref())]);
    // A worker that fails here may have tasks running: its guardian ends them, and buries the session, when this process is gone.
    if (left) {
      await w.guardian?.close().catch(() => undefined);
      closeScratch(w.scratch);
      await dropStateDirs(q);
    }
  }
  return code;
}

/** What a worker has to say is written so long after the first of it, ms. Over a network it is written with the heartbeat. */
const TELL_MS = 100;

/** And when it leaves it does not wait longer than this for it, ms. */
const LAST_WORDS_MS = 2000;

function openJournal(w: Worker): void {
  const { q } = w;
  const told = (): void => {
    if (!q.network) setTimeout(() => void q.journal?.flush(), TELL_MS);
  };
  q.journal = workerJournal(
    q,
    () => serverNowAbout(q),
    () => w.session,
    told,
  );
}

function noteState({ q, options, session, state }: Worker, to: WorkerState): void {
  const { name } = options;
  const at = Math.round(serverNowAbout(q));
  q.journal?.other({ at, type: 'worker', subject: name, from: session === '' ? null : state, to, worker: name });
}

function newWorker(q: Queue, facts: HostFacts, options: WorkerOptions, log: Log): Worker {
  const w: Worker = {
    q,
    options,
    facts,
    log,
    session: '',
    file: null,
    guardian: null,
    state: 'starting',
    base: 'awake',
    baseUntil: null,
    request: null,
    badWant: null,
    reason: null,
    blocked: null,
    runs: new Map(),
    pending: [],
    opening: [],
    chunks: [],
    closing: new Set(),
    elementMs: new Map(),
    unbegun: new Set(),
    beating: Promise.resolve(),
    window: emptyWindow(),
    claiming: false,
    claimEpoch: 0,
    slots: Array.from({ length: options.jobs }, () => false),
    counter: 0,
    confirmedMs: Number.NEGATIVE_INFINITY,
    confirmedBootMs: null,
    observer: newObserver(),
    polls: 0,
    lookAtDueAt: 0,
    bell: '',
    started: 0,
    lastBusyMs: performance.now(),
    startedMs: performance.now(),
    rejections: [],
    averageMs: null,
    leftForOthers: 0,
    scratch: '',
    stopping: false,
    woken: false,
    sleeper: null,
    written: '',
    runningNow: () =>
      [...w.runs.values()]
        .filter((r) => r.startedAt !== null)
        .map((r) => ({
          id: r.claimed.id,
          attempt: r.claimed.attempt,
          pid: r.pid,
          startedAt: Math.round(r.startedAt!),
          slot: r.slot,
          progress: r.progress,
        })),
  };
  return w;
}

/** The first signal asks to leave when the running tasks are done, the second hands them back. */
function catchSignals(w: Worker): { stop(): void } {
  const heard = (signal: NodeJS.Signals): void => {
    const again = w.stopping;
    w.stopping = true;
    w.log(
      again
        ? `${signal}: handing the running tasks back`
        : `${signal}: leaving when the running tasks are done (once more: hand them back)`,
    );
    w.request = { to: 'offline', now: again, until: null, from: 'signal', text: '' };
    wake(w);
  };
  const names: NodeJS.Signals[] = ['SIGTERM', 'SIGINT', 'SIGHUP'];
  for (const name of names) process.on(name, heard);
  return {
    stop: () => {
      for (const name of names) process.off(name, heard);
    },
  };
}

/** Somebody made something runnable or asked something: what was listed before is out of date. */
function heardBell(w: Worker): void {
  w.window = emptyWindow();
  w.lookAtDueAt = 0;
  wake(w);
}

/** What a worker writes itself once a poll must not wake it. */
function isOwnFile(path: string): boolean {
  return path.endsWith('/heartbeat') || path.endsWith('/state.json') || path.endsWith('/worker.json') || path.endsWith('/name');
}

/** The heartbeat has its own timer, whatever the state does and however long the chores take; one beat at a time. */
function beatForever(w: Worker): { stop(): void } {
  let stopped = false;
  let timer: NodeJS.Timeout | undefined;
  let busy = false;
  // Asked for each time: the queue's setting may change.
  const beatMs = (): number => jittered(heartbeatMs(w.q, w.options.pollMs));
  const tick = async (): Promise<void> => {
    const beating = housekeeping(w);
    w.beating = beating;
    const pulse = await beating;
    // By itself: a tick may have to wait for a task that it replaces, and a burial must not make it late.
    if (pulse === 'ok' && !stopped) void lookAtCron(w);
    if (pulse === 'ok' && !busy && !stopped) {
      busy = true;
      void chores(w).finally(() => {
        busy = false;
      });
    }
    if (!stopped) timer = setTimeout(() => void tick(), beatMs());
  };
  timer = setTimeout(() => void tick(), beatMs());
  return {
    stop: () => {
      stopped = true;
      clearTimeout(timer);
    },
  };
}

/** A heartbeat is due well before anybody could miss it: every poll, but at least eight times a lease. */
export function heartbeatMs(q: Queue, pollMs: number): number {
  return Math.min(pollMs, q.leaseMs / 8);
}

/** One heartbeat and what follows from it. Never throws. */
async function housekeeping(w: Worker): Promise<Pulse | 'left'> {
  try {
    return await beatOnce(w);
  } catch (error) {
    sayOnce(w, 'heartbeat', error);
    return 'away';
  }
}

async function beatOnce(w: Worker): Promise<Pulse | 'left'> {
  if (isLeaving(w) || w.session === '') return 'left';
  followHours(w);
  const pulse = await heartbeat(w);
  // It may have begun to leave meanwhile, and removed its directory itself.
  if (isLeaving(w)) return 'left';
  if (pulse === 'ok') {
    const heard = await rang(w);
    await takeSettings(w, heard);
    if (heard) heardBell(w);
    else if (w.lookAtDueAt <= (await serverNow(w.q))) wake(w);
  } else if (pulse === 'revoked') await rise(w);
  else if (w.state === 'awake') {
    w.reason = `the queue cannot be used: ${w.reason ?? 'unknown'}`;
    w.request ??= null;
    toError(w);
  }
  return pulse;
}

/** What a worker does for others: the burial of a peer with many tasks takes longer than a heartbeat may wait. */
async function chores(w: Worker): Promise<void> {
  try {
    await returnIdle(w);
    await observeOthers(w);
  } catch (error) {
    sayOnce(w, 'watching the others', error);
  }
}

/** In its last states nothing else is begun. */
export function isLeaving(w: Worker): boolean {
  return w.state === 'offline' || w.state === 'restart';
}

/** Sends a worker to the error state from outside its state's loop. */
export function toError(w: Worker): void {
  w.blocked = 'error';
  wake(w);
}

/** The hours of `--hours`: at each boundary a request like a person's; a person's own holds until the next boundary. */
function followHours(w: Worker): void {
  const { hours } = w.options;
  if (w.state === 'error' || w.stopping) return;
  const now = Date.now();
  if (hours === null ? w.baseUntil === null || now < w.baseUntil : w.baseUntil !== null && now < w.baseUntil) return;
  w.baseUntil = hours === null ? null : nextBoundary(hours, now);
  const to = hours === null ? opposite(w.base) : awakeAt(hours, now) ? 'awake' : 'asleep';
  if (w.base === to && w.request === null) return;
  if (w.request === null || w.request.from === 'hours' || w.request.from === 'want') {
    w.request = { to, now: false, until: null, from: 'hours', text: w.request?.text ?? '' };
    wake(w);
  }
}

function opposite(base: 'awake' | 'asleep'): 'awake' | 'asleep' {
  return base === 'awake' ? 'asleep' : 'awake';
}

/** Until when a request of a person holds: what it said, else the next boundary of the hours, else for good. */
export function holdsUntil(w: Worker, until: number | null): number | null {
  return until ?? (w.options.hours === null ? null : nextBoundary(w.options.hours, Date.now()));
}

/** A buried worker ends what it still runs, and starts a new session under its name. */
async function rise(w: Worker): Promise<void> {
  w.log(`session ${w.session} was buried: its tasks were given away, a new session begins`);
  for (const run of w.runs.values()) endRun(run, 'revoked', { now: true });
  w.pending = [];
  w.unbegun.clear();
  w.window = emptyWindow();
  for (const c of w.chunks) c.busy = true;
  await Promise.all([...w.runs.values()].map((r) => r.settled));
  dropChunks(w);
  const old = w.session;
  try {
    await starting.run(w);
    closeScratch(w.scratch.replace(w.session, old));
  } catch (error) {
    if (error instanceof TqError && (error.code === 'NAME_TAKEN' || error.code === 'REFUSED')) {
      w.log(`${error.message}: leaving`);
      w.session = '';
      w.request = { to: 'offline', now: true, until: null, from: 'signal', text: '' };
      w.stopping = true;
    } else w.reason = error instanceof Error ? error.message : String(error);
  }
  wake(w);
}

/** Leaves: everything settled, the running directory removed, the name freed. Called by the last states. */
export async function depart(w: Worker): Promise<void> {
  const { q } = w;
  if (w.session === '') return;
  // A heartbeat that is still under way would take the end of this session for its burial by somebody else.
  await w.beating;
  for (let tries = 1; ; tries++) {
    try {
      await giveBackUnbegun(w);
      await bury(q, w.session, { proved: true, reason: `worker ${w.options.name} left` });
      w.request = null;
      await publishState(w);
      await freeName(q, w.options.name, w.session);
      return;
    } catch (error) {
      if (tries < LEAVE_TRIES) await new Promise((resolve) => setTimeout(resolve, jittered(LEAVE_AGAIN_MS)));
      else {
        w.log(`leaving: ${error instanceof Error ? error.message : String(error)}; what is left is buried by whoever comes next`);
        return;
      }
    }
  }
}

/** What never began here must not pass for lost at the burial because its log is there. */
async function giveBackUnbegun(w: Worker): Promise<void> {
  for (const key of w.unbegun) {
    const e = parseEntry(`${key}.json`)!;
    await settleLost(w.q, w.session, e.id, e.n, 'claimed, but never started', false, false);
    w.unbegun.delete(key);
  }
}

/** Without a clean end others must wait for a whole lease: trouble that passes is worth another try. */
const LEAVE_TRIES = 3;
const LEAVE_AGAIN_MS = 200;

/** Takes the request off the table once the worker is what was asked. */
export async function acknowledge(w: Worker): Promise<void> {
  const r = w.request;
  w.request = null;
  if (r === null || r.text === '') return;
  await clearWant(w.q, w.options.name, r.text).catch(() => undefined);
}
