/**
 * The door for task files and outcomes: text from disk becomes a `Task` or an `Outcome` here and nowhere else, and anything
 * that does not fit is reported with what is wrong, so that it can be quarantined instead of trusted.
 */
import { OUTCOMES, type Cause, type Next, type Outcome, type Task } from '../task/types.ts';
import { baseId, isId, isTaskId, laneName, parseEntry, requirementsOf, type Place } from './layout.ts';

export type Parsed<T> = { ok: true; value: T } | { ok: false; reason: string };

const bad = (reason: string): { ok: false; reason: string } => ({ ok: false, reason });

/** Reads a task file. `id` is the one in the file's name; an id inside that differs is refused. */
export function parseTask(text: string, id: string): Parsed<Task> {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return bad(text.trim() === '' ? 'the file is empty' : 'it is not JSON');
  }
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) return bad('it is not a JSON object');
  const t = raw as Record<string, unknown>;
  if (t['schema'] !== 'tq.task/1') return bad(`schema is ${JSON.stringify(t['schema'])?.slice(0, 40)}, not "tq.task/1"`);
  if (typeof t['id'] !== 'string' || !isTaskId(t['id'])) return bad('it has no valid id');
  // A file of many elements is the same for each piece; its name tells which.
  const many = typeof t['many'] === 'object' && t['many'] !== null;
  if (t['id'] !== id && !(many && baseId(t['id']) === baseId(id))) return bad(`it is the task ${t['id']}`);
  if (typeof t['queue'] !== 'string' || !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(t['queue'])) return bad('queue is not a name');
  if (!isStrings(t['command'])) return bad('command is not a list of strings');
  if (typeof t['cwd'] !== 'string' || !t['cwd'].startsWith('/')) return bad('cwd is not an absolute path');
  if (typeof t['priority'] !== 'number' || !Number.isInteger(t['priority']) || Math.abs(t['priority']) > 99)
    return bad('priority is not a whole number from -99 to 99');
  for (const key of NUMBERS) {
    const v = t[key];
    if (v !== undefined && (typeof v !== 'number' || !Number.isFinite(v) || v < 0)) return bad(`${key} is not a number`);
  }
  for (const key of ['script', 'stdin'] as const) {
    const v = t[key];
    if (v !== undefined && (typeof v !== 'string' || !/^[0-9a-z][0-9a-z.]{0,63}$/.test(v))) return bad(`${key} is not the name of a blob`);
  }
  if (t['env'] !== undefined && !isStringMap(t['env'])) return bad('env is not a map of strings');
  if (t['labels'] !== undefined && !isStringMap(t['labels'])) return bad('labels is not a map of strings');
  const backoff = t['backoff'];
  if (
    backoff !== undefined &&
    (typeof backoff !== 'object' || backoff === null || typeof (backoff as { kind?: unknown }).kind !== 'string')
  )
    return bad('backoff is malformed');
  const after = t['after'];
  if (
    after !== undefined &&
    (!Array.isArray(after) ||
      !after.every((p) => typeof p === 'object' && p !== null && isId(String((p as { id?: unknown }).id).split('.')[0]!)))
  ) {
    return bad('after is malformed');
  }
  const cause = t['cause'];
  if (cause !== undefined && !isCause(cause)) return bad('cause is malformed');
  for (const key of ['fallback', 'onSuccess', 'onFailure', 'onCancel'] as const) {
    if (t[key] !== undefined && typeof t[key] !== 'string') return bad(`${key} is not a command`);
  }
  if (t['steps'] !== undefined && !isStrings(t['steps'])) return bad('steps is not a list of strings');
  const task = {
    env: {},
    envMode: 'min',
    retries: 0,
    backoff: { kind: 'exp', baseMs: 1000, maxMs: 300_000 },
    jitter: true,
    graceMs: 10_000,
    onLost: 'requeue',
    split: false,
    submittedAt: 0,
    submittedBy: { user: 'unknown', host: 'unknown' },
    submitDir: t['cwd'],
    ...t,
    id,
  } as unknown as Task; // checked field by field above; the spread supplies what a hand-written file may leave out
  return { ok: true, value: task };
}

const NUMBERS = ['notBefore', 'expiresAt', 'submittedAt', 'retries', 'timeoutMs', 'deadlineMs', 'stallMs', 'graceMs'] as const;

function isCause(v: unknown): boolean {
  if (typeof v !== 'object' || v === null) return false;
  const { id, attempt, kind } = v as Partial<Cause>;
  return (
    typeof id === 'string' &&
    isId(id.split('.')[0]!) &&
    Number.isInteger(attempt) &&
    (kind === 'on-success' || kind === 'on-failure' || kind === 'on-cancel')
  );
}

function isStrings(v: unknown): v is string[] {
  return Array.isArray(v) && v.every((w) => typeof w === 'string');
}

function isStringMap(v: unknown): v is Record<string, string> {
  return typeof v === 'object' && v !== null && !Array.isArray(v) && Object.values(v).every((w) => typeof w === 'string');
}

export function formatTask(task: Task): string {
  return `${JSON.stringify(task)}\n`;
}

const NEXT_STATES = new Set(['done', 'failed', 'canceled', 'skipped', 'waiting', 'held', 'queued', 'delayed']);

/** Reads an outcome; undefined for what tq did not write (a torn file cannot be: outcomes are linked whole). */
export function parseOutcome(text: string): Outcome | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof raw !== 'object' || raw === null) return undefined;
  const o = raw as Partial<Outcome>;
  if (o.schema !== 'tq.outcome/1' || typeof o.id !== 'string' || typeof o.attempt !== 'number') return undefined;
  if (!(OUTCOMES as readonly unknown[]).includes(o.outcome)) return undefined;
  const next = o.next as Partial<Next> | undefined;
  if (next === undefined || !NEXT_STATES.has(String(next.state))) return undefined;
  if (next.state === 'delayed' && typeof (next as { dueAt?: unknown }).dueAt !== 'number') return undefined;
  return o as Outcome;
}

/** The lane of a task. */
export function laneOf(task: Task): string {
  return laneName(requirementsOf(task));
}

export function queuedPlace(task: Task): Place {
  return { state: 'queued', lane: laneOf(task), priority: task.priority };
}

/**
 * Where a task that nobody holds belongs at server time `now`: waiting while it has parents (they are checked there), delayed
 * until its time, else queued.
 */
export function freePlace(task: Task, now: number): Place {
  if (task.after !== undefined && task.after.length > 0) return { state: 'waiting' };
  return timedPlace(task, now);
}

/** As `freePlace` once the parents have ended. */
export function timedPlace(task: Task, now: number, notBefore = task.notBefore): Place {
  if (notBefore !== undefined && notBefore > now) return { state: 'delayed', dueAt: notBefore };
  return queuedPlace(task);
}

/** The place that an outcome sends a task to. */
export function placeOfNext(task: Task, next: Next): Place {
  if (next.state === 'queued') return queuedPlace(task);
  if (next.state === 'delayed') return { state: 'delayed', dueAt: next.dueAt };
  return { state: next.state };
}

/** The id of a task file's name, or undefined. */
export function idOfName(name: string): string | undefined {
  return parseEntry(name)?.id;
}
