/**
 * What a task, an attempt and an outcome are, as they lie on disk. Plain data; every moment is milliseconds since the epoch
 * by the file server's clock unless its name says otherwise, every duration is `...Ms`.
 */

import type { Many } from './many.ts';

export const STATES = ['waiting', 'delayed', 'held', 'queued', 'running', 'done', 'failed', 'canceled', 'skipped'] as const;
export type State = (typeof STATES)[number];
export const TERMINAL = ['done', 'failed', 'canceled', 'skipped'] as const;
export type TerminalState = (typeof TERMINAL)[number];
export const UNFINISHED = ['waiting', 'delayed', 'held', 'queued', 'running'] as const;
export type UnfinishedState = (typeof UNFINISHED)[number];

export function isTerminal(state: State): state is TerminalState {
  return (TERMINAL as readonly string[]).includes(state);
}

export const OUTCOMES = [
  'succeeded',
  'failed',
  'signaled',
  'timeout',
  'stalled',
  'canceled',
  'lost',
  'rejected',
  'snoozed',
  'preempted',
] as const;
export type OutcomeKind = (typeof OUTCOMES)[number];

/** Inclusive ranges of exit codes: `1,64-78` is `[[1,1],[64,78]]`. */
export type CodeRanges = ReadonlyArray<readonly [number, number]>;

export type Backoff =
  | { kind: 'none' }
  | { kind: 'fixed'; baseMs: number }
  | { kind: 'exp'; baseMs: number; maxMs?: number }
  | { kind: 'fib'; baseMs: number; maxMs?: number };

/** What a task takes of a worker while it runs. `mem` in bytes; other keys are named resources. */
export interface Needs {
  cpus: number;
  mem?: number;
  gpus?: number;
  [resource: string]: number | undefined;
}

export type AfterKind = 'after' | 'after-any' | 'after-notok' | 'after-each';
export interface Parent {
  id: string;
  kind: AfterKind;
  /** It has many elements, and has ended when all of them have. */
  many?: true;
}

/**
 * A task file: written once at submit, immutable after (`tq set` replaces it under a claim of its own).
 * Fields that are absent have the default of the command line. Unknown fields are kept.
 */
export interface Task {
  schema: 'tq.task/1';
  id: string;
  name?: string;
  queue: string;
  group?: string;
  /** The submission that it is part of, where that has rules of its own: what its end means is asked there. */
  submission?: string;
  priority: number;
  /** argv; with `shell` the words are `[string]` and the string goes to `shell -c`. Empty for a script or handler. */
  command: string[];
  /** Path of the shell that runs `command[0]` with `-c`; absent: exec the argv. */
  shell?: string;
  /** Name of the blob that holds the script's text; `command` are then its arguments. */
  script?: string;
  /** Name of the blob given on standard input; absent: /dev/null. */
  stdin?: string;
  handler?: string;
  data?: unknown;
  cwd: string;
  env: Record<string, string>;
  envMode: 'all' | 'min' | 'none';
  labels?: Record<string, string>;
  comment?: string;
  needs?: Needs;
  /** Worker label expression. */
  on?: string;
  /** The one worker that may run it. */
  worker?: string;
  mutex?: string;
  limits?: Array<{ name: string; n: number }>;
  after?: Parent[];
  /** Created held. */
  hold?: boolean;
  /** Not before this moment. */
  notBefore?: number;
  expiresAt?: number;
  submittedAt: number;
  submittedBy: { user: string; host: string };
  submitDir: string;
  retries: number;
  backoff: Backoff;
  jitter: boolean;
  retryOn?: CodeRanges;
  ok?: CodeRanges;
  timeoutMs?: number;
  deadlineMs?: number;
  stallMs?: number;
  graceMs: number;
  key?: string;
  onDup?: 'ignore' | 'error' | 'replace';
  lockKeys?: string;
  onLost: 'requeue' | 'hold' | 'fail';
  split: boolean;
  steps?: string[];
  fallback?: string;
  onSuccess?: string;
  onFailure?: string;
  onCancel?: string;
  noInputs?: boolean;
  /** Present: one submission of many elements. */
  many?: Many;
  traceparent?: string;
  /** Of a follow-up task: the ending that made it. */
  cause?: Cause;
}

export type FollowKind = 'on-success' | 'on-failure' | 'on-cancel';

/** How a task ended, as what comes after it is told. */
export interface Ending {
  outcome: OutcomeKind;
  exitCode: number | null;
  error: string | null;
}

/** The ending of a task, once for each `id`, `attempt` and `kind`. */
export interface Cause extends Ending {
  id: string;
  attempt: number;
  kind: FollowKind;
  /** All of its elements have ended. */
  many?: true;
  /** On a shared queue, where another user than the one of the task made it: the one whom it is to run as. */
  owner?: number;
}

/** Where a task goes when an attempt has ended; every helper makes this same move. */
export type Next =
  | { state: 'done' | 'failed' | 'canceled' | 'skipped' | 'waiting' | 'held'; reason?: string }
  | { state: 'queued'; reason?: string }
  | { state: 'delayed'; dueAt: number; reason?: string };

/**
 * What is carried from attempt to attempt, so that a decision needs only the newest outcome. Counted since the last
 * `tq retry`.
 */
export interface Tally {
  /** Attempts that used up a retry (failed, signaled, timeout, stalled). */
  failures: number;
  /** Attempts whose worker died after they had started. */
  lost: number;
  /** Start of the first attempt (server clock), for the deadline. */
  firstStartedAt: number | null;
  /** Workers that could not start it, for "rejected by every live worker". */
  rejectedBy: string[];
  /** The retries are used up, and what runs next is the fallback; what it is told of the failure. */
  fallback?: Ending;
}

/** `runs/.../X.aN.json`: how attempt N ended. Write-once. */
export interface Outcome {
  schema: 'tq.outcome/1';
  id: string;
  attempt: number;
  /** Random, the writer's own; tells a lost reply from another writer. */
  nonce: string;
  outcome: OutcomeKind;
  /** False: claimed but the command never began; not shown and not counted. */
  started: boolean;
  worker: string;
  session: string;
  host: string;
  pid: number | null;
  startedAt: number | null;
  endedAt: number;
  durationMs: number | null;
  exitCode: number | null;
  /** Signal name, `SIGKILL`. */
  signal: string | null;
  cpuMs: number | null;
  maxRssKb: number | null;
  reason: string | null;
  result?: unknown;
  progress?: Progress;
  /** The step that it ended in, from 1. */
  step?: number;
  /** What ran was the fallback. */
  fallback?: true;
  next: Next;
  tally: Tally;
}

export interface Progress {
  /** 0..100, or null when only a message was given. */
  percent: number | null;
  message: string | null;
}
