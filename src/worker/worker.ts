/**
 * What a worker is while it runs: its options, its session, the attempts it has in hand, and the small facts that its states, its
 * heartbeat and its tasks share. Plain data; the states decide, the heartbeat watches.
 */
import { errnoOf } from '../errors.ts';
import type { Claimed, Window } from '../queue/claim.ts';
import type { Queue } from '../queue/open.ts';
import type { RunningNow, WorkerFile, WorkerState } from '../queue/registry.ts';
import type { HostFacts } from '../queue/session.ts';
import type { Observer } from '../queue/undertake.ts';
import type { Hours } from '../task/hours.ts';
import type { Outcome, Progress } from '../task/types.ts';
import type { Chunk } from './chunk.ts';
import type { Guardian } from './guardian.ts';
import type { Request } from './requests.ts';

export interface WorkerOptions {
  name: string;
  /** Tasks at once. */
  jobs: number;
  queues: string[];
  labels: Record<string, string>;
  offers: Record<string, number>;
  /** ms, before jitter. */
  pollMs: number;
  /** It follows the queue's setting, as without `--poll`. */
  pollAsSet?: boolean;
  untilEmpty: boolean;
  maxTasks: number | null;
  idleMs: number | null;
  timeLimitMs: number | null;
  hours: Hours | null;
  /** The same as it was given. */
  hoursText?: string;
  gate: string | null;
  pre: string | null;
  post: string | null;
  maxLoad: number | null;
  minFreeMem: number | null;
  passEnv: string[];
  vars: Record<string, string>;
  /** Absolute path of the directory with the modules of its handlers. */
  handlers: string | null;
  runUsers: string[] | 'any' | null;
  restartExitCode: number | null;
  /** Run this one task and nothing else. */
  only: string | null;
  /** How this program is started, for `$TQ` and the guardian. */
  self: string[];
  version: string;
  /** umask for tasks; that of the process may be the queue's. */
  umask: number;
}

/** Why tq ends a child: the outcome is this cause whatever the exit code. */
export type Cause = 'timeout' | 'deadline' | 'stalled' | 'canceled' | 'preempted' | 'revoked' | 'cut off';

/** One attempt in hand, from its claim until its entry has been moved. */
export interface Run {
  /** `<id>.a<N>` */
  key: string;
  claimed: Claimed;
  slot: number;
  pid: number | null;
  startedAt: number | null;
  progress: Progress | null;
  /** Set when tq ends it; the first cause counts. */
  cause: Cause | null;
  /** Who asked for the cancel and why. */
  causeReason: string | null;
  /** Its command was started, or is about to be in this very moment. */
  begun: boolean;
  /** Ends its processes: TERM, grace, KILL. Without grace when `now`. Set once it runs. */
  end: ((cause: Cause, options?: { now?: boolean; reason?: string | null }) => void) | null;
  /** Resolves when its entry has been settled or given up. */
  settled: Promise<void>;
  /** Its processes are over and its outcome is being published. */
  finishing: boolean;
  /** Where progress is read while it runs. */
  progressFile: string | null;
  /** The chunk of an array that it is an element of; otherwise it has an entry of its own. */
  chunk?: Chunk;
  /** An outcome that could not be published yet. */
  kept: Outcome | null;
}

/** An attempt of which nothing has begun. */
export function newRun(claimed: Claimed, slot: number): Run {
  return {
    key: `${claimed.id}.a${claimed.attempt}`,
    claimed,
    slot: slot + 1,
    pid: null,
    startedAt: null,
    progress: null,
    cause: null,
    causeReason: null,
    end: null,
    settled: Promise.resolve(),
    finishing: false,
    progressFile: null,
    begun: false,
    kept: null,
  };
}

export interface Log {
  (line: string): void;
}

export interface Worker {
  readonly q: Queue;
  readonly options: WorkerOptions;
  readonly facts: HostFacts;
  readonly log: Log;
  session: string;
  /** What is registered of it; null before it is. */
  file: WorkerFile | null;
  guardian: Guardian | null;
  state: WorkerState;
  /** awake or asleep: what a restart returns to. */
  base: 'awake' | 'asleep';
  /** When `base` goes back by itself, epoch ms of this machine, or null. */
  baseUntil: number | null;
  request: Request | null;
  badWant: string | null;
  reason: string | null;
  blocked: string | null;
  runs: Map<string, Run>;
  /** Claimed, waiting for a free slot. */
  pending: Claimed[];
  /** Ranges that were claimed and not yet cut. */
  opening: Claimed[];
  /** Ranges of arrays whose elements it runs one after the other. */
  chunks: Chunk[];
  /** Those whose elements have all ended, and that are being put away. */
  closing: Set<Chunk>;
  /** How long elements of an array took lately, ms. */
  elementMs: Map<string, number>;
  /** Keys of attempts whose log was made here, but whose command never began: they go back as such. */
  unbegun: Set<string>;
  window: Window;
  /** A claim is under way, or has been since the number was read. */
  claiming: boolean;
  claimEpoch: number;
  slots: boolean[];
  counter: number;
  /** Monotonic ms of the last heartbeat that was written and whose listing was read. */
  confirmedMs: number;
  /** The same by a clock that goes on while the machine sleeps; null where there is none. */
  confirmedBootMs: number | null;
  observer: Observer;
  /** Polls since the start. */
  polls: number;
  /** When the first of `delayed/` comes due, as far as is known, server ms; 0: to be looked at now. */
  lookAtDueAt: number;
  bell: string;
  /** Counters for --max-tasks, --idle. */
  started: number;
  lastBusyMs: number;
  startedMs: number;
  /** Monotonic ms of recent rejections. */
  rejections: number[];
  /** Smoothed duration of attempts, ms; null before the first. */
  averageMs: number | null;
  /** Candidates that were left for others in the last look. */
  leftForOthers: number;
  /** The heartbeat that is under way. */
  beating: Promise<unknown>;
  /** Directory on the local disk for what belongs to running attempts. */
  scratch: string;
  stopping: boolean;
  /** Something happened since the last pause. */
  woken: boolean;
  sleeper: (() => void) | null;
  /** What the last written state file said, to write only changes. */
  written: string;
  runningNow(): RunningNow[];
}

/** Sleeps until `ms` have passed or something woke the worker; a wake since the last pause counts. */
export async function pause(w: Worker, ms: number): Promise<void> {
  if (!w.woken) {
    await new Promise<void>((resolve) => {
      const timer = setTimeout(resolve, ms);
      w.sleeper = () => {
        clearTimeout(timer);
        resolve();
      };
    });
    w.sleeper = null;
  }
  w.woken = false;
}

/** Ends the worker's present or next pause. */
export function wake(w: Worker): void {
  w.woken = true;
  w.sleeper?.();
}

const said = new WeakMap<Worker, Map<string, string>>();

/** Says a line about something once, and again when there is something else to say about it. */
export function sayOnce(w: Worker, about: string, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  // The names of staging files, which errors of the file system tell, are never the same twice.
  const what = errnoOf(error) ?? message;
  const heard = said.get(w) ?? new Map<string, string>();
  said.set(w, heard);
  if (heard.get(about) === what) return;
  heard.set(about, what);
  w.log(`${about}: ${message}`);
}

/** Ends an attempt for this cause. One whose command has not begun is not started at all. */
export function endRun(run: Run, cause: Cause, options: { now?: boolean; reason?: string | null } = {}): void {
  if (run.end !== null) run.end(cause, options);
  else if (!run.begun) {
    run.cause ??= cause;
    run.causeReason ??= options.reason ?? null;
  }
}

/** +/-10%, so that workers drift apart. */
export function jittered(ms: number): number {
  return ms * (0.9 + 0.2 * Math.random());
}

export function freeSlots(w: Worker): number {
  return w.options.jobs - w.runs.size;
}
