/**
 * What follows when an attempt has ended: its outcome, and where the task goes next. This is the one place that knows the rules of
 * retries, back-off, snoozes, deadlines and lost workers. It asks no clock and touches no file, so that whoever publishes the
 * outcome decides once and everyone who helps makes the same move.
 *
 * | ended by                     | outcome            | next                                                             | counts as |
 * |------------------------------|--------------------|------------------------------------------------------------------|-----------|
 * | exit code in `--ok`          | succeeded          | done                                                             |           |
 * | exit 75                      | snoozed            | delayed by what was asked for, else by a minute                  |           |
 * | exit 78                      | failed             | failed, whatever is left of the retries                          | failure   |
 * | another code                 | failed             | another try if `--retry-on` has it and a retry is left           | failure   |
 * | signal, timeout, stall       | the same           | another try if a retry is left                                   | failure   |
 * | deadline                     | timeout            | failed                                                           | failure   |
 * | cancel                       | canceled           | canceled                                                         |           |
 * | worker sent to sleep or stop | preempted          | queued                                                           |           |
 * | could not be started         | rejected           | queued for others; failed once everyone has rejected it          | rejection |
 * | worker died                  | lost               | as `--on-lost` says; failed after too many                       | loss      |
 * | worker died before it began  | lost               | queued                                                           |           |
 *
 * Where the table says failed and there is a `--fallback` that has not run yet, the fallback is the next attempt (not after a
 * deadline, when nothing may run any more). Its own failure is final; what is no failure of it is tried again.
 *
 * Another try, for whatever reason, that would start at the deadline or later is not made: the task waits until then and ends failed.
 */
import { backoffMs } from './backoff.ts';
import { inCodes } from './codes.ts';
import { formatDuration } from './duration.ts';
import type { CodeRanges, Next, OutcomeKind, Tally, Task } from './types.ts';

/** How an attempt ended, as its worker saw it or its burial found it. */
export type Ended =
  | { how: 'exited'; code: number }
  /** By a signal that tq did not send; its name, `SIGKILL`. */
  | { how: 'signaled'; signal: string }
  /** tq ended it for this cause, and the exit code that followed says nothing. */
  | { how: 'cause'; kind: 'timeout' | 'deadline' | 'stalled' | 'canceled' | 'preempted' }
  /** The command could not be started: 127 not found, otherwise 126; null if it was not even tried. */
  | { how: 'rejected'; reason: string; exitCode: 126 | 127 | null }
  /** Its worker died. */
  | { how: 'lost'; reason: string };

export type Judged = Pick<Task, 'ok' | 'timeoutMs' | 'stallMs'>;

export interface DecideInput {
  task: Judged & Pick<Task, 'retries' | 'backoff' | 'jitter' | 'retryOn' | 'deadlineMs' | 'onLost' | 'fallback'>;
  ended: Ended;
  /** As it was before this attempt. */
  tally: Tally;
  worker: string;
  /** Whether the attempt's command began, as far as can be known of it. */
  started: boolean;
  /** When it began; null if it did not, or nobody knows. */
  startedAt: number | null;
  /** End of the attempt, from which waits are counted. Same clock as `startedAt`. */
  endedAt: number;
  /** What the task itself, or whoever canceled it, gave as the reason; it takes the place of the plain words of `classify`. */
  said?: string | null | undefined;
  /** What `tq snooze` asked for during this attempt. */
  snoozeMs?: number | null | undefined;
  /** This worker was the last live one that had not yet rejected it. */
  everyoneRejected?: boolean | undefined;
  /** 0 up to but not including 1. */
  random: () => number;
}

const DEFAULT_OK: CodeRanges = [[0, 0]];
/** EX_TEMPFAIL and EX_CONFIG of sysexits(3). */
const SNOOZE_CODE = 75;
const FINAL_CODE = 78;
const DEFAULT_SNOOZE_MS = 60_000;
/** A task that takes its machine down with it must not go through the whole farm. */
export const MAX_LOST = 10;

export function newTally(): Tally {
  return { failures: 0, lost: 0, firstStartedAt: null, rejectedBy: [] };
}

/** The moment from which on nothing of the task may start or run; null without a deadline or before the first start. */
export function deadlineAt(task: Pick<Task, 'deadlineMs'>, tally: Pick<Tally, 'firstStartedAt'>): number | null {
  if (task.deadlineMs === undefined || tally.firstStartedAt === null) return null;
  return tally.firstStartedAt + task.deadlineMs;
}

/** The outcome of an attempt, with the reason in a few words; null where the outcome says it all. */
export function classify(task: Judged, ended: Ended): { outcome: OutcomeKind; reason: string | null } {
  switch (ended.how) {
    case 'exited':
      if (inCodes(task.ok ?? DEFAULT_OK, ended.code)) return { outcome: 'succeeded', reason: null };
      if (ended.code === SNOOZE_CODE) return { outcome: 'snoozed', reason: 'asked to be run later' };
      return { outcome: 'failed', reason: `exit code ${ended.code}` };
    case 'signaled':
      return { outcome: 'signaled', reason: `killed by ${ended.signal}` };
    case 'cause':
      return ofCause(task, ended.kind);
    case 'rejected':
      return { outcome: 'rejected', reason: ended.reason };
    case 'lost':
      return { outcome: 'lost', reason: ended.reason };
  }
}

/** Where the task goes, and what the next decision has to know. Changes nothing that it is given. */
export function decideNext(input: DecideInput): { next: Next; tally: Tally } {
  const { outcome } = classify(input.task, input.ended);
  const tally = count(input, outcome);
  const next = place(input, outcome, tally);
  return (next.state === 'failed' ? fallBack(input, outcome, tally, next.reason) : undefined) ?? { next, tally };
}

/** The fallback as the next attempt; undefined if there is none, it was this one, or there is no time for it. */
function fallBack(
  input: DecideInput,
  outcome: OutcomeKind,
  counted: Tally,
  reason: string | undefined,
): { next: Next; tally: Tally } | undefined {
  const { task, ended } = input;
  if (task.fallback === undefined || counted.fallback !== undefined) return undefined;
  if (ended.how === 'cause' && ended.kind === 'deadline') return undefined;
  const exitCode = ended.how === 'exited' ? ended.code : ended.how === 'rejected' ? ended.exitCode : null;
  // Another program: that somebody could not start the first says nothing about it.
  const tally: Tally = { ...counted, rejectedBy: [], fallback: { outcome, exitCode, error: reason ?? null } };
  const next = again(input, tally, 0, reason === undefined ? {} : { reason });
  return next.state === 'failed' ? undefined : { next, tally };
}

function ofCause(
  task: Judged,
  kind: 'timeout' | 'deadline' | 'stalled' | 'canceled' | 'preempted',
): { outcome: OutcomeKind; reason: string | null } {
  switch (kind) {
    case 'timeout':
      return { outcome: 'timeout', reason: task.timeoutMs === undefined ? 'timeout' : `timeout after ${formatDuration(task.timeoutMs)}` };
    case 'deadline':
      return { outcome: 'timeout', reason: 'deadline' };
    case 'stalled':
      return { outcome: 'stalled', reason: task.stallMs === undefined ? 'stalled' : `no output for ${formatDuration(task.stallMs)}` };
    case 'canceled':
      return { outcome: 'canceled', reason: null };
    case 'preempted':
      return { outcome: 'preempted', reason: 'its worker was told to sleep or stop' };
  }
}

function count({ tally, worker, started, startedAt }: DecideInput, outcome: OutcomeKind): Tally {
  const firstStartedAt = tally.firstStartedAt ?? (started ? startedAt : null);
  const counted: Tally = { ...tally, firstStartedAt, rejectedBy: [...tally.rejectedBy] };
  switch (outcome) {
    case 'failed':
    case 'signaled':
    case 'timeout':
    case 'stalled':
      counted.failures += 1;
      break;
    case 'lost':
      if (started) counted.lost += 1;
      break;
    case 'rejected':
      if (!counted.rejectedBy.includes(worker)) counted.rejectedBy.push(worker);
      break;
    default:
  }
  return counted;
}

function place(input: DecideInput, outcome: OutcomeKind, tally: Tally): Next {
  const { task, ended, random } = input;
  const said = input.said ?? classify(task, ended).reason;
  const why = said === null ? {} : { reason: said };
  switch (outcome) {
    case 'succeeded':
      return { state: 'done' };
    case 'canceled':
      return { state: 'canceled', ...why };
    case 'snoozed':
      return again(input, tally, input.snoozeMs ?? DEFAULT_SNOOZE_MS, why);
    case 'preempted':
      return again(input, tally, 0, why);
    case 'rejected':
      return input.everyoneRejected === true ? { state: 'failed', ...why } : again(input, tally, 0, why);
    case 'lost':
      // What never began did no harm: it goes back whatever `--on-lost` says.
      if (!input.started) return again(input, tally, 0, why);
      if (tally.lost >= MAX_LOST) return { state: 'failed', reason: 'lost too often' };
      if (task.onLost === 'hold') return { state: 'held', ...why };
      return task.onLost === 'fail' ? { state: 'failed', ...why } : again(input, tally, 0, why);
    case 'failed':
    case 'signaled':
    case 'timeout':
    case 'stalled': {
      if (ended.how === 'cause' && ended.kind === 'deadline') return { state: 'failed', reason: 'deadline' };
      if (tally.fallback !== undefined || tally.failures > task.retries || !mayRetry(task, ended)) return { state: 'failed', ...why };
      return again(input, tally, backoffMs(task.backoff, tally.failures, { jitter: task.jitter, random }), why);
    }
  }
}

/** Codes can be final or left out of `--retry-on`; signals, timeouts and stalls are retried like any failure. */
function mayRetry(task: Pick<Task, 'retryOn'>, ended: Ended): boolean {
  if (ended.how !== 'exited') return true;
  return ended.code !== FINAL_CODE && (task.retryOn === undefined || inCodes(task.retryOn, ended.code));
}

function again({ task, endedAt }: DecideInput, tally: Tally, waitMs: number, why: { reason?: string }): Next {
  const dueAt = endedAt + waitMs;
  const deadline = deadlineAt(task, tally);
  if (deadline !== null && endedAt >= deadline) return { state: 'failed', reason: 'deadline' };
  // A wait across the deadline ends there: whoever takes the task then finds its time over.
  if (deadline !== null && dueAt >= deadline) return { state: 'delayed', dueAt: deadline, ...why };
  return waitMs === 0 ? { state: 'queued', ...why } : { state: 'delayed', dueAt, ...why };
}
