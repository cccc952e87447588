/**
 * The guardian: one helper process beside each worker that knows the worker's process groups by a pipe. However the worker
 * dies, the pipe ends, and the guardian ends what the worker had started before anyone else may run it again. It does the same
 * when the worker has not confirmed its heartbeat for two thirds of the lease. It never touches the queue before it has killed.
 *
 * Lines on the pipe, worker to guardian: `+<group> <task> <attempt>` watch, `-<group>` forget, `t <ms since boot>` heartbeat
 * confirmed at that moment (`t` alone: now), `q` clean end, nothing to kill.
 */
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { TqError } from '../errors.ts';
import { spawnHelper } from './child.ts';
import { bootClockMs, factsAreCheap, killAll, killGroup, leftoverTasks, livingGroups, startTimeOf, type Leftover } from './proc.ts';

export interface GuardianOptions {
  /** How to start ourselves as the guardian. Absolute paths: it runs in `/`, away from any mount that may hang. */
  command: readonly string[];
  session: string;
  leaseMs: number;
  /** More words for the command, for what its `report` needs. */
  onEnd?: readonly string[];
  /** The guardian is gone though nobody closed it: start another one and announce the groups again. Called once. */
  onLost: () => void;
}

export interface Guardian {
  readonly pid: number;
  watch(group: number, taskId: string, attempt: number): void;
  unwatch(group: number): void;
  /** The heartbeat was confirmed; give the moment before it was sent (`bootClockMs()`), as others count from its arrival. */
  tick(atMs?: number): void;
  /** Ends the guardian without killing anything. Resolves when it is gone. */
  close(): Promise<void>;
}

/** Starts the helper. Throws TqError when it cannot be started; it being lost later is told by `onLost`. */
export function startGuardian(options: GuardianOptions): Guardian {
  const child = spawnGuardian(options);
  const outbox = makeOutbox((text, written) => child.stdin?.write(text, written));
  let over = false;
  const exited = new Promise<void>((resolve) => {
    child.on('exit', () => resolve());
    child.on('error', () => resolve());
  });
  const lost = (): void => {
    if (over) return;
    over = true;
    outbox.stop();
    // It may only be stopped, or stand behind a launcher that is gone: it must neither go on counting nor take this for our end.
    child.stdin?.end('q\n');
    child.kill('SIGKILL');
    options.onLost();
  };
  void exited.then(lost);
  child.stdin?.on('error', lost);
  if (child.pid === undefined || child.stdin === null) {
    over = true;
    throw cannotStart(options);
  }

  const pipe = child.stdin;
  return {
    pid: child.pid,
    watch(group, taskId, attempt) {
      if (!over) outbox.watch(group, `+${group} ${taskId} ${attempt}\n`);
    },
    unwatch(group) {
      if (!over) outbox.unwatch(group);
    },
    tick(atMs) {
      if (outbox.unreadMs() > options.leaseMs / 3) return lost();
      const at = atMs ?? bootClockMs();
      if (!over) outbox.tick(at === null ? 't\n' : `t ${Math.floor(at)}\n`);
    },
    async close() {
      if (!over) {
        over = true;
        outbox.stop();
        pipe.end('q\n');
      }
      // It answers at once unless someone stopped it.
      const kill = setTimeout(() => child.kill('SIGKILL'), CLOSE_MS);
      await exited;
      clearTimeout(kill);
    },
  };
}

/**
 * How the lease is counted. `boot`: time that the machine slept counts, since other machines did not sleep. `awake`: it does
 * not; right where all who could take over sleep with us (a local directory), so that closing a laptop ends no task.
 */
export type GuardClock = 'boot' | 'awake';

export interface GuardOptions {
  session: string;
  leaseMs: number;
  /** `boot` unless said. */
  clock?: GuardClock;
  /**
   * Called once, when the worker is dead and everything that it had started is gone: the session may be buried. `cut off`: it
   * had not confirmed its heartbeat for two thirds of the lease when it died, so the queue may be out of reach.
   */
  report(why: 'worker died' | 'cut off'): Promise<void>;
}

/**
 * The body of the hidden verb: resolves when the process is to exit (it must be made to: the pipe may still be open). Ctrl-C,
 * TERM and HUP do not reach it, so that it outlives the worker in every case.
 */
export async function runGuardian(stdin: NodeJS.ReadableStream, options: GuardOptions): Promise<void> {
  for (const signal of OUTLIVED) process.on(signal, ignore);
  const alarm = makeAlarm();
  const watched = new Map<number, Watched>();
  const lease = makeLease(options);
  // The worker's end counts as well as the pipe's, which something else may hold open. (0: it is outside our namespace.)
  const worker = Number(process.env[WORKER_VARIABLE] ?? process.ppid);
  const workerStart = worker > 0 ? startTimeOf(worker) : null;
  let state: 'runs' | 'ended' | 'died' = 'runs';
  let rest = '';

  stdin.on('data', (bytes: Buffer | string) => {
    const lines = (rest + bytes.toString()).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) obey(line);
  });
  const died = (): void => {
    if (state === 'runs') state = 'died';
    alarm.ring();
  };
  stdin.on('end', died);
  stdin.on('close', died);
  stdin.on('error', died);

  function obey(line: string): void {
    const [first = '', ...attempt] = line.slice(1).trim().split(' ');
    const number = Number(first);
    switch (line[0]) {
      case '+':
        if (!(number > 1)) return;
        watched.set(number, { what: attempt.join(' attempt '), start: factsAreCheap ? startTimeOf(number) : null, killed: false });
        preferForOom(number);
        return;
      case '-':
        watched.delete(number);
        return;
      case 't':
        lease.tick(first === '' ? null : number);
        return;
      case 'q':
        if (state === 'runs') state = 'ended';
        alarm.ring();
        return;
      default:
        note(`unknown line: ${line}`);
    }
  }

  /** Whether the lease is over, judged after everything that waits in the pipe was read: we may have been stopped ourselves. */
  async function isCutOff(): Promise<boolean> {
    if (!lease.isOver()) return false;
    await sleep(READ_FIRST_MS);
    return state === 'runs' && lease.isOver();
  }

  let cutOff = false;
  for (;;) {
    await alarm.within(lease.lookEveryMs);
    if (state === 'runs' && workerStart !== null && startTimeOf(worker) !== workerStart) state = 'died';
    if (state !== 'runs') break;
    const cutOffNow = await isCutOff();
    if (cutOffNow && (!cutOff || [...watched.values()].some((one) => !one.killed))) {
      note(`no heartbeat for two thirds of the lease: ending ${namesOf(watched)}`);
      await endEverything(watched, options.session, 'cut off');
    }
    cutOff = cutOffNow;
  }

  if (state === 'died') {
    note(`the worker is gone: ending ${namesOf(watched)}`);
    const why = lease.isOver() ? 'cut off' : 'worker died';
    await endEverything(watched, options.session, 'dead');
    await options.report(why);
  }
  for (const signal of OUTLIVED) process.off(signal, ignore);
}

// ---- the worker's side --------------------------------------------------------------------------------------------------

const CLOSE_MS = 2000;
/** A group is announced at this age or a little later: short tasks end before, and never reach the pipe. */
const ANNOUNCE_AFTER_MS = 10;

interface Outbox {
  watch(group: number, line: string): void;
  unwatch(group: number): void;
  tick(line: string): void;
  /** How long the other side has not taken what was written. */
  unreadMs(): number;
  /** Nothing is written any more. */
  stop(): void;
}

/**
 * What is still to be told, each thing once, in one write at a time: bounded by the number of groups however long the other
 * side does not read. A group that is not announced yet when the worker dies is found by its session's mark.
 */
function makeOutbox(write: (text: string, written: () => void) => void): Outbox {
  const fresh = new Map<number, string>();
  const ripe = new Map<number, string>();
  const told = new Set<number>();
  const removed = new Set<number>();
  let tick = '';
  let busy = false;
  let stopped = false;
  let planned = false;
  let writtenAt = 0;

  function flush(): void {
    planned = false;
    if (stopped) return;
    if (!busy) send();
    for (const [group, line] of fresh) ripe.set(group, line);
    fresh.clear();
    plan();
  }

  function send(): void {
    // The tick first: what was started after it is not to be judged before it. And a number may be forgotten and used anew in one
    // batch; the other order does not occur.
    const text = tick + [...removed].map((group) => `-${group}\n`).join('') + [...ripe.values()].join('');
    if (text === '') return;
    for (const group of ripe.keys()) told.add(group);
    removed.clear();
    ripe.clear();
    tick = '';
    busy = true;
    writtenAt = performance.now();
    write(text, () => {
      busy = false;
      plan();
    });
  }

  function plan(): void {
    const waiting = fresh.size > 0 || (!busy && ripe.size + removed.size + tick.length > 0);
    if (planned || !waiting) return;
    planned = true;
    setTimeout(flush, ANNOUNCE_AFTER_MS);
  }

  return {
    watch(group, line) {
      fresh.set(group, line);
      plan();
    },
    unwatch(group) {
      fresh.delete(group);
      ripe.delete(group);
      if (told.delete(group)) removed.add(group);
      plan();
    },
    tick(line) {
      tick = line;
      plan();
    },
    unreadMs: () => (busy ? performance.now() - writtenAt : 0),
    stop() {
      stopped = true;
    },
  };
}

function spawnGuardian(options: GuardianOptions): ReturnType<typeof spawnHelper> {
  const log = openLog();
  try {
    return spawnHelper([...options.command, ...(options.onEnd ?? [])], guardianEnvironment(), log);
  } catch (error) {
    throw cannotStart(options, error);
  } finally {
    if (typeof log === 'number') fs.closeSync(log);
  }
}

function cannotStart(options: GuardianOptions, cause?: unknown): TqError {
  return new TqError('INTERNAL', `the guardian of session ${options.session} cannot be started: ${options.command[0] ?? ''}`, {
    hint: 'the machine may be short of processes or descriptors (ulimit -a)',
    cause,
  });
}

/** Tells the guardian whom it guards, whatever launcher stands between the two. */
const WORKER_VARIABLE = 'TQ_GUARDED_PID';

/**
 * The guardian is of the worker, not of a task that the worker may itself run in: without these marks the end of that task
 * does not take the guardian before it has ended what its own worker left.
 */
function guardianEnvironment(): NodeJS.ProcessEnv {
  const { TQ_SESSION: _session, TQ_TASK_ID: _task, TQ_ATTEMPT: _attempt, TQ_FAULT: _fault, ...environment } = process.env;
  return { ...environment, [WORKER_VARIABLE]: String(process.pid) };
}

function openLog(): number | 'ignore' {
  const path = process.env['TQ_GUARDIAN_LOG'];
  if (path === undefined || path === '') return 'ignore';
  try {
    return fs.openSync(path, 'a');
  } catch {
    return 'ignore';
  }
}

// ---- the guardian's side ------------------------------------------------------------------------------------------------

interface Watched {
  /** The task and attempt, for the log. */
  what: string;
  /** When the group's first process began; null when that was over already. */
  start: string | null;
  killed: boolean;
}

const OUTLIVED: readonly NodeJS.Signals[] = ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGQUIT'];
const READ_FIRST_MS = 20;
const KILL_AGAIN_MS = 5;
const KILL_AGAIN_AT_LEAST_MS = 200;
/** What has its KILL and still stands hangs in the kernel; it will not run its program any further. */
const UNKILLABLE_MS = 10_000;
/** Added to the parent's value: when memory runs out, the kernel takes a task before the worker and its guardian. */
const OOM_ADD = 500;
const OOM_MOST = 1000;

function ignore(): void {}

function namesOf(watched: Map<number, Watched>): string {
  return [...watched].map(([group, one]) => `${group} (${one.what})`).join(', ') || 'nothing';
}

/**
 * KILL to the watched groups and to whatever carries the session's mark, until none of it is left. With a worker that is dead
 * that is everything; one that is only cut off may be back the next moment, and the attempts that it then starts are spared.
 */
async function endEverything(watched: ReadonlyMap<number, Watched>, session: string, worker: 'dead' | 'cut off'): Promise<void> {
  const groups = new Map<number, Watched>();
  const attempts = new Set<string>();
  let firstPass = true;
  const giveUpAt = performance.now() + UNKILLABLE_MS;
  for (let pauseMs = KILL_AGAIN_MS; ; pauseMs = Math.min(pauseMs * 2, KILL_AGAIN_AT_LEAST_MS)) {
    const marked = leftoverTasks(session);
    if (worker === 'dead' || firstPass) {
      for (const [group, one] of watched) groups.set(group, one);
      for (const one of marked) attempts.add(attemptOf(one));
    }
    firstPass = false;
    const strays = marked.filter((one) => attempts.has(attemptOf(one))).map((one) => one.pid);
    const standing = [...groups].filter(([group, one]) => isStillThat(group, one)).map(([group]) => group);
    for (const group of standing) killGroup(group, 'SIGKILL');
    killAll(strays, 'SIGKILL');
    for (const one of groups.values()) one.killed = true;
    if (strays.length === 0 && livingGroups(standing).length === 0) return;
    if (performance.now() > giveUpAt) {
      note(`does not end: processes ${strays.join(' ')}, groups ${standing.join(' ')}`);
      return;
    }
    await sleep(pauseMs);
  }
}

function attemptOf(one: Leftover): string {
  return `${one.taskId} ${one.attempt}`;
}

/** The group's number may have been given to another process since; one whose leader is gone cannot be reused while it lives. */
function isStillThat(group: number, one: Watched): boolean {
  if (!factsAreCheap) return true;
  const start = startTimeOf(group);
  return start === null || start === one.start;
}

function preferForOom(pid: number): void {
  try {
    const path = `/proc/${pid}/oom_score_adj`;
    const own = Number(fs.readFileSync('/proc/self/oom_score_adj', 'utf8'));
    fs.writeFileSync(path, String(Math.min(OOM_MOST, own + OOM_ADD)));
  } catch {
    // It has ended already, or this is no Linux.
  }
}

interface Lease {
  tick(atMs: number | null): void;
  isOver(): boolean;
  lookEveryMs: number;
}

/** Two thirds of the lease since the last tick; see GuardClock. */
function makeLease(options: Pick<GuardOptions, 'leaseMs' | 'clock'>): Lease {
  const limitMs = (options.leaseMs * 2) / 3;
  const lookEveryMs = Math.min(Math.max(options.leaseMs / 30, 20), 1000);
  if (options.clock !== 'awake') {
    let confirmedAt = bootClock();
    return {
      lookEveryMs,
      tick(atMs) {
        // A tick that waited in the pipe is as old as it says.
        const now = bootClock();
        confirmedAt = Math.max(confirmedAt, atMs === null ? now : Math.min(atMs, now));
      },
      isOver: () => bootClock() - confirmedAt > limitMs,
    };
  }
  // No clock of both runtimes leaves sleep out: a gap between two looks counts for no more than two of them.
  let awakeMs = 0;
  let lookedAt = performance.now();
  return {
    lookEveryMs,
    tick() {
      awakeMs = 0;
      lookedAt = performance.now();
    },
    isOver() {
      const now = performance.now();
      awakeMs += Math.min(now - lookedAt, 2 * lookEveryMs);
      lookedAt = now;
      return awakeMs > limitMs;
    },
  };
}

function bootClock(): number {
  return bootClockMs() ?? performance.now();
}

interface Alarm {
  ring(): void;
  /** Resolves at the next ring (or the last one, if nobody waited then), and after so many ms at the latest. */
  within(ms: number): Promise<void>;
}

function makeAlarm(): Alarm {
  let rung = false;
  let wake = ignore;
  return {
    ring() {
      rung = true;
      wake();
    },
    async within(ms) {
      if (!rung) {
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, ms);
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      rung = false;
    },
  };
}

/** To the file of TQ_GUARDIAN_LOG; into nothing otherwise. */
function note(text: string): void {
  try {
    fs.writeSync(2, `${new Date().toISOString()} guardian ${process.pid}: ${text}\n`);
  } catch {
    // The log is for people; the work goes on without it.
  }
}
