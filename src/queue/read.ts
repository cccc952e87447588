/**
 * Reading for people and scripts: the Task JSON of the command line, put together from the task file, the outcomes of its
 * attempts, the why-files and what its worker says of it now.
 */
import { isAttempt } from '../task/event.ts';
import { isTerminal, type Cause, type Outcome, type OutcomeKind, type Parent, type State, type Task } from '../task/types.ts';
import { formatBackoff } from '../task/backoff.ts';
import type { ArrayCounts } from '../task/many.ts';
import { readNotes, type Note } from './control.ts';
import { locate, type Located } from './find.ts';
import { followUpsOf, type FollowUp } from './follow.ts';
import { listOrEmpty } from './fsx.ts';
import { baseId, DUE_QUANTUM_MS, parseEntry, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome, readTaskAt } from './outcome.ts';
import { readState, readWorker, type RunningNow, type WorkerFile } from './registry.ts';
import { parseSession } from './session.ts';
import { finishedSteps, type FinishedStep } from './step-record.ts';
import { readWhy, type Why } from './why.ts';

export interface AttemptView {
  attempt: number;
  worker: string;
  host: string | null;
  pid: number | null;
  startedAt: string | null;
  endedAt: string | null;
  outcome: string | null;
  exitCode: number | null;
  signal: string | null;
  durationMs: number | null;
  cpuMs: number | null;
  maxRssKb: number | null;
  reason: string | null;
  /** What ran was the fallback. */
  fallback: boolean;
  /** Of a task with steps: the one that it ended in. */
  step: number | null;
}

export interface StepView {
  /** From 1. */
  step: number;
  command: string;
  state: 'waiting' | 'running' | 'done' | 'failed' | 'canceled';
  /** The attempt that ran it last. */
  attempt: number | null;
  exitCode: number | null;
  durationMs: number | null;
  result: unknown;
}

/** The Task JSON of cli `--json`. Fields are only ever added. */
export interface TaskView {
  schema: 'tq.task/1';
  id: string;
  name: string | null;
  state: State;
  reason: string | null;
  queue: string;
  group: string | null;
  priority: number;
  command: string[];
  shell: string | null;
  script: string | null;
  handler: string | null;
  data: unknown;
  cwd: string;
  env: Record<string, string>;
  labels: Record<string, string>;
  needs: Record<string, number | undefined>;
  after: Parent[];
  notBefore: string | null;
  submittedAt: string;
  submittedBy: { user: string; host: string };
  startedAt: string | null;
  endedAt: string | null;
  retries: number;
  timeoutMs: number | null;
  exitCode: number | null;
  signal: string | null;
  result: unknown;
  progress: { percent: number | null; message: string | null } | null;
  worker: string | null;
  attempt: number;
  attempts: AttemptView[];
  comment: string | null;
  notes: Array<{ at: string; by: { user: string; host: string }; text: string }>;
  key: string | null;
  mutex: string | null;
  limits: Array<{ name: string; n: number }>;
  on: string | null;
  /** Of many elements: how many are in which state. */
  array: ArrayCounts | null;
  steps: StepView[];
  backoff: string;
  expiresAt: string | null;
  deadlineMs: number | null;
  stallMs: number | null;
  /** Of a follow-up task: the ending that made it. */
  cause: Cause | null;
  /** The tasks that its endings have made. */
  followUps: FollowUp[];
  file: string;
  [more: string]: unknown;
}

const iso = (ms: number): string => new Date(ms).toISOString();
const isoOrNull = (ms: number | undefined | null): string | null => (ms === undefined || ms === null ? null : iso(ms));

/** Worker files are read once per listing. */
export interface ReadCache {
  workers: Map<string, Promise<{ worker: WorkerFile | undefined; running: RunningNow[]; session: string | null }>>;
}

export function newCache(): ReadCache {
  return { workers: new Map() };
}

/** Everything about one task, or undefined when it is not there (any more). */
export async function viewTask(q: Queue, id: string, cache = newCache()): Promise<TaskView | undefined> {
  for (let round = 0; round < 3; round++) {
    const at = (await locate(q, id, round > 0)) ?? (await (await import('./array-view.ts')).locatePart(q, id));
    if (at === undefined) return undefined;
    const view = await viewLocated(q, at, cache);
    if (view !== undefined) return view;
  }
  return undefined;
}

/** As `viewTask` for an entry that was just found; undefined when it moved on meanwhile. `brief` leaves notes out. */
export async function viewLocated(q: Queue, at: Located, cache: ReadCache, brief = false): Promise<TaskView | undefined> {
  if (at.part !== undefined) {
    const { viewArray, viewElement } = await import('./array-view.ts');
    if (at.part === 'array') return (await viewArray(q, at.id, brief))?.view;
    const { readArray } = await import('./array.ts');
    const array = await readArray(q, baseId(at.id));
    return array === undefined ? undefined : (await viewElement(q, array, pieceOf(at.id)!.lo, cache, brief))?.view;
  }
  const task = await readTaskAt(q, at.file, at.id);
  if (task === undefined) return undefined;
  if (task.many !== undefined) return viewLocated(q, { ...at, part: 'element' }, cache, brief);
  // Attempts exist only where the name says that the task was claimed.
  const outcomes = at.n > 0 ? await readOutcomesOf(q, at) : [];
  const why =
    outcomes.length === 0 || outcomes.at(-1)!.attempt !== at.n || at.state === 'held' || at.state === 'skipped' || at.state === 'canceled'
      ? await readWhy(q, at.id, at.n, at.state)
      : undefined;
  const now = at.place.state === 'running' && at.state === 'running' ? await readNow(q, at, cache) : undefined;
  const notes = brief ? [] : await readNotes(q, at.id);
  const steps =
    task.steps === undefined ? [] : viewSteps(task.steps, at, outcomes, at.n > 0 ? await finishedSteps(q, at.id, at.n, true) : []);
  const followUps = brief ? [] : await followUpsOf(q, task);
  return compose(task, at, outcomes, why, now, notes, steps, followUps);
}

export function viewSteps(
  commands: readonly string[],
  at: Located,
  outcomes: readonly Outcome[],
  finished: ReadonlyArray<FinishedStep & { attempt: number }>,
): StepView[] {
  const byStep = new Map(finished.map((f) => [f.step, f]));
  const last = outcomes.findLast((o) => o.step !== undefined);
  // After a retry by a person that began anew, what an attempt before it said is over.
  const first = commands.findIndex((_, i) => !byStep.has(i + 1)) + 1;
  return commands.map((command, i) => {
    const f = byStep.get(i + 1);
    if (f !== undefined)
      return {
        step: i + 1,
        command,
        state: 'done',
        attempt: f.attempt,
        exitCode: f.exitCode,
        durationMs: f.durationMs,
        result: f.result ?? null,
      };
    const base = { step: i + 1, command, attempt: null, exitCode: null, durationMs: null, result: null };
    if (i + 1 !== first) return { ...base, state: 'waiting' };
    if (at.state === 'running' && last?.attempt !== at.n) return { ...base, state: 'running', attempt: at.n };
    if (last?.step !== first) return { ...base, state: 'waiting' };
    return { ...base, state: endedStep(last.outcome), attempt: last.attempt, exitCode: last.exitCode };
  });
}

/** A step that its task's own fault did not end is run again. */
function endedStep(outcome: OutcomeKind): StepView['state'] {
  if (outcome === 'canceled') return 'canceled';
  return outcome === 'lost' || outcome === 'preempted' || outcome === 'snoozed' || outcome === 'succeeded' ? 'waiting' : 'failed';
}

/** The outcomes of its attempts so far, oldest first. */
export async function readOutcomesOf(q: Queue, at: Located): Promise<Outcome[]> {
  const found: Outcome[] = [];
  const numbers: number[] = [];
  if (at.n === 1) numbers.push(1);
  else {
    for (const name of await listOrEmpty(q.fsx, q.lay.runs(at.id))) {
      const e = name.startsWith(`${at.id}.a`) ? parseEntry(name) : undefined;
      if (e !== undefined && !e.cancel && e.id === at.id) numbers.push(e.n);
    }
  }
  for (const n of numbers.toSorted((a, b) => a - b)) {
    if (n > at.n) continue;
    const o = await readOutcome(q, at.id, n);
    if (o !== undefined) found.push(o);
  }
  return found;
}

interface Now {
  worker: string;
  file: WorkerFile | undefined;
  running: RunningNow | undefined;
}

export async function readNow(q: Queue, at: Located, cache: ReadCache): Promise<Now> {
  const session = at.place.state === 'running' ? at.place.session : '';
  const owner = parseSession(session)?.owner ?? session;
  let known = cache.workers.get(owner);
  if (known === undefined) {
    known = (async () => {
      const [worker, state] = [await readWorker(q, owner), await readState(q, owner)];
      return { worker, running: state?.running ?? [], session: state?.session ?? null };
    })();
    cache.workers.set(owner, known);
  }
  const k = await known;
  return {
    worker: owner,
    file: k.worker?.session === session ? k.worker : undefined,
    running: k.session === session ? k.running.find((r) => r.id === at.id && r.attempt === at.n) : undefined,
  };
}

export function compose(
  task: Task,
  at: Located,
  outcomes: readonly Outcome[],
  why: Why | undefined,
  now: Now | undefined,
  notes: readonly Note[],
  steps: StepView[],
  followUps: FollowUp[],
): TaskView {
  const attempts: AttemptView[] = outcomes.filter(isAttempt).map(attemptView);
  const last = outcomes.at(-1);
  if (now !== undefined && !outcomes.some((o) => o.attempt === at.n)) {
    attempts.push({
      attempt: at.n,
      worker: now.worker,
      host: now.file?.host ?? null,
      pid: now.running?.pid ?? null,
      startedAt: isoOrNull(now.running?.startedAt),
      endedAt: null,
      outcome: null,
      exitCode: null,
      signal: null,
      durationMs: null,
      cpuMs: null,
      maxRssKb: null,
      reason: null,
      fallback: last?.tally.fallback !== undefined,
      step: null,
    });
  }
  const lastRun = attempts.at(-1);
  const ended = isTerminal(at.state);
  const dueAt = dueOf(task, at);
  const known = new Set<string>(STATIC_FIELDS);
  const more: Record<string, unknown> = {};
  for (const [k, v] of Object.entries(task)) if (!known.has(k)) more[k] = v;
  return {
    schema: 'tq.task/1',
    id: task.id,
    name: task.name ?? null,
    state: at.state,
    reason: reasonOf(at, last, why),
    queue: task.queue,
    group: task.group ?? null,
    priority: at.place.state === 'queued' ? at.place.priority : task.priority,
    command: task.command,
    shell: task.shell ?? null,
    script: task.script ?? null,
    handler: task.handler ?? null,
    data: task.data ?? null,
    cwd: task.cwd,
    env: task.env,
    labels: task.labels ?? {},
    needs: task.needs ?? { cpus: 1 },
    after: task.after ?? [],
    notBefore: isoOrNull(dueAt),
    submittedAt: iso(task.submittedAt),
    submittedBy: task.submittedBy,
    startedAt:
      at.state === 'queued' || at.state === 'delayed' || at.state === 'waiting' || at.state === 'held'
        ? null
        : (lastRun?.startedAt ?? null),
    endedAt: ended ? isoOrNull(endOf(at, last, why)) : null,
    retries: task.retries,
    timeoutMs: task.timeoutMs ?? null,
    exitCode: ended && last?.attempt === at.n ? last.exitCode : null,
    signal: ended && last?.attempt === at.n ? last.signal : null,
    result: why?.result ?? (at.state === 'done' ? (last?.result ?? null) : null),
    progress: now?.running?.progress ?? (ended && last?.attempt === at.n ? (last.progress ?? null) : null),
    worker: at.state === 'running' ? (now?.worker ?? null) : ended ? (lastRun?.worker ?? null) : null,
    attempt: lastRun?.attempt ?? 0,
    attempts,
    comment: task.comment ?? null,
    notes: notes.map((n) => ({ at: iso(n.at), by: n.by, text: n.text })),
    key: task.key ?? null,
    mutex: task.mutex ?? null,
    limits: task.limits ?? [],
    on: task.on ?? null,
    array: null,
    steps,
    backoff: formatBackoff(task.backoff),
    expiresAt: isoOrNull(task.expiresAt),
    deadlineMs: task.deadlineMs ?? null,
    stallMs: task.stallMs ?? null,
    cause: task.cause ?? null,
    followUps,
    file: at.file,
    ...more,
  };
}

/** When the task ended: with its last attempt, or later by a cancel or a skip between two tries. */
function endOf(at: Located, last: Outcome | undefined, why: Why | undefined): number | undefined {
  const ends = [last !== undefined && last.attempt === at.n ? last.endedAt : undefined, why?.at].filter((ms) => ms !== undefined);
  return ends.length === 0 ? undefined : Math.max(...ends);
}

/** The path rounds a due time up; the task's own is told where it is the one meant. */
function dueOf(task: Task, at: Located): number | null {
  if (at.place.state !== 'delayed') return task.notBefore ?? null;
  const { dueAt } = at.place;
  return task.notBefore !== undefined && dueAt >= task.notBefore && dueAt - task.notBefore < DUE_QUANTUM_MS ? task.notBefore : dueAt;
}

const STATIC_FIELDS = [
  'schema',
  'id',
  'name',
  'queue',
  'group',
  'priority',
  'command',
  'shell',
  'script',
  'handler',
  'data',
  'cwd',
  'env',
  'labels',
  'needs',
  'after',
  'notBefore',
  'submittedAt',
  'submittedBy',
  'retries',
  'timeoutMs',
  'comment',
  'key',
  'mutex',
  'limits',
  'on',
  'steps',
  'cause',
  'backoff',
  'expiresAt',
  'deadlineMs',
  'stallMs',
  'worker',
  'hold',
  'many',
];

function reasonOf(at: Located, last: Outcome | undefined, why: Why | undefined): string | null {
  if (why?.reason !== undefined && why.reason !== null && at.state !== 'done') return why.reason;
  if (last === undefined) return null;
  if (at.state === 'done' && last.outcome === 'succeeded') return null;
  if (at.state === 'queued' || at.state === 'delayed' || at.state === 'held') return last.next.reason ?? last.reason;
  if (isTerminal(at.state)) return last.next.reason ?? last.reason;
  return null;
}

function attemptView(o: Outcome): AttemptView {
  return {
    attempt: o.attempt,
    worker: o.worker,
    host: o.host === '' ? null : o.host,
    pid: o.pid,
    startedAt: isoOrNull(o.startedAt),
    endedAt: iso(o.endedAt),
    outcome: o.outcome,
    exitCode: o.exitCode,
    signal: o.signal,
    durationMs: o.durationMs,
    cpuMs: o.cpuMs,
    maxRssKb: o.maxRssKb,
    reason: o.reason,
    fallback: o.fallback === true,
    step: o.step ?? null,
  };
}
