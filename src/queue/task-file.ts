/**
 * The door for task files and outcomes: text from disk becomes a `Task` or an `Outcome` here and nowhere else, and anything
 * that does not fit is reported with what is wrong, so that it can be quarantined instead of trusted.
 */
import { OUTCOMES, type Next, type Outcome, type Task } from '../task/types.ts';
import { baseId, isTaskId, laneName, parseEntry, requirementsOf, type Place } from './layout.ts';
import { wrongField } from './task-fields.ts';

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
  const wrong = wrongField(t);
  if (wrong !== undefined) return bad(wrong);
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
