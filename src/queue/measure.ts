/**
 * What the tasks of a time came to: how they ended, how long they waited and ran, what failed alike, how long workers stood idle between
 * two. Each task's files are read once and forgotten; what is kept are a few numbers for each attempt.
 */
import type { Step } from '../task/event.ts';
import { gapsOf, normalised } from '../task/stats.ts';
import { isTerminal, type OutcomeKind, type State } from '../task/types.ts';
import { histories, type Facts } from './history.ts';
import type { Queue } from './open.ts';
import { isOther, readJournalOf } from './tail.ts';
import { isPiece } from './layout.ts';

export const MEASURED_BY = ['name', 'host', 'user', 'queue', 'worker'] as const;
export type MeasuredBy = (typeof MEASURED_BY)[number];

export interface Group {
  /** Tasks that ended in this time, by how. */
  ended: Partial<Record<State, number>>;
  outcomes: Partial<Record<OutcomeKind, number>>;
  attempts: number;
  /** From when they could have run to when they did, ms. */
  waitMs: number[];
  runMs: number[];
}

/** Attempts that failed alike. */
export interface Cluster {
  count: number;
  outcome: OutcomeKind;
  exitCode: number | null;
  signal: string | null;
  worker: string | null;
  /** The last line of the newest of them. */
  reason: string | null;
  /** Some of the tasks, the newest first. */
  tasks: string[];
  lastAt: number;
}

export interface Measured {
  total: Group;
  groups: Map<string, Group>;
  failures: Cluster[];
  /** Between two tasks in one slot while the second could have run already, ms. */
  gapMs: number[];
  /** Tasks that ended in the last minute and hour. */
  lastMinute: number;
  lastHour: number;
}

export interface MeasureOptions {
  by?: MeasuredBy;
  where?: (facts: Facts) => boolean;
  /** Only attempts of this worker. */
  worker?: string;
  /** Only tasks that ended so. */
  states?: readonly State[];
}

const BAD: ReadonlySet<OutcomeKind> = new Set(['failed', 'signaled', 'timeout', 'stalled', 'lost', 'rejected']);
const EXAMPLES = 3;

export async function measure(q: Queue, since: number, until: number, options: MeasureOptions = {}): Promise<Measured> {
  const total = newGroup();
  const groups = new Map<string, Group>();
  const clusters = new Map<string, Cluster>();
  const spans = new Map<string, Array<{ readyAt: number; from: number; to: number }>>();
  const result: Measured = { total, groups, failures: [], gapMs: [], lastMinute: 0, lastHour: 0 };
  const into = (key: string | null): Group[] => {
    if (options.by === undefined) return [total];
    const name = key ?? '';
    let group = groups.get(name);
    if (group === undefined) groups.set(name, (group = newGroup()));
    return [total, group];
  };
  const lines = await exactMoments(q, since, until);
  for await (const { facts, steps } of histories(q, since, lines)) {
    if (options.where?.(facts) === false) continue;
    const last = steps.at(-1);
    if (last === undefined || (options.states !== undefined && !options.states.includes(last.to as State))) continue;
    // An element of an array could run when the whole was submitted.
    let readyAt = steps[0]!.from === 'queued' ? facts.submittedAt : undefined;
    let begun: { at: number; readyAt: number | undefined } | undefined;
    let latest: Step | undefined;
    for (const step of steps) {
      if (step.to === 'queued') readyAt = step.inferred === true && step.from !== 'delayed' ? undefined : step.at;
      if (step.to === 'running') begun = { at: step.at, readyAt };
      if (step.from !== 'running' || begun === undefined) continue;
      latest = step;
      const { worker } = step;
      const start = begun;
      begun = undefined;
      const couldAt = start.readyAt;
      if (step.at < since || step.at > until || step.outcome === undefined) continue;
      if (options.worker !== undefined && options.worker !== worker) continue;
      for (const group of into(keyOf(options.by, facts, step))) {
        group.attempts++;
        group.outcomes[step.outcome] = (group.outcomes[step.outcome] ?? 0) + 1;
        group.runMs.push(step.at - start.at);
        if (couldAt !== undefined) group.waitMs.push(Math.max(0, start.at - couldAt));
      }
      if (worker !== null && couldAt !== undefined) {
        const its = spans.get(worker);
        const span = { readyAt: couldAt, from: start.at, to: step.at };
        if (its === undefined) spans.set(worker, [span]);
        else its.push(span);
      }
      if (BAD.has(step.outcome)) cluster(clusters, step);
    }
    if (last.to === null || !isTerminal(last.to) || last.at < since || last.at > until) continue;
    if (options.worker !== undefined && latest?.worker !== options.worker) continue;
    for (const group of into(keyOf(options.by, facts, latest))) group.ended[last.to] = (group.ended[last.to] ?? 0) + 1;
    if (last.at > until - MINUTE_MS) result.lastMinute++;
    if (last.at > until - HOUR_MS) result.lastHour++;
  }
  for (const its of spans.values()) for (const gap of gapsOf(its)) result.gapMs.push(gap);
  result.failures = [...clusters.values()].toSorted((a, b) => b.count - a.count || b.lastAt - a.lastAt);
  return result;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 3_600_000;

export function newGroup(): Group {
  return { ended: {}, outcomes: {}, attempts: 0, waitMs: [], runMs: [] };
}

/** Only what the files of a task do not tell: when it left waiting or its hold. */
async function exactMoments(q: Queue, since: number, until: number): Promise<Map<string, Step[]>> {
  const lines = new Map<string, Step[]>();
  await readJournalOf(q, since, until, (line) => {
    if (isOther(line) || isPiece(line.task) || line.from === null || line.from === 'queued' || line.from === 'running') return;
    const its = lines.get(line.task);
    if (its === undefined) lines.set(line.task, [line]);
    else its.push(line);
  });
  return lines;
}

function keyOf(by: MeasuredBy | undefined, facts: Facts, step: Step | undefined): string | null {
  switch (by) {
    case 'name':
      return facts.name;
    case 'user':
      return facts.user;
    case 'queue':
      return facts.queue;
    case 'host':
      return step?.host ?? null;
    case 'worker':
      return step?.worker ?? null;
    default:
      return null;
  }
}

/** More kinds of failures than this are counted together. */
const MOST_CLUSTERS = 10_000;

function cluster(clusters: Map<string, Cluster>, step: Step): void {
  const { outcome, exitCode = null, signal = null, worker, reason, task, at } = step;
  if (outcome === undefined) return;
  let key = JSON.stringify([outcome, exitCode, signal, worker, normalised(reason ?? '')]);
  if (clusters.size >= MOST_CLUSTERS && !clusters.has(key)) key = '';
  const known = clusters.get(key);
  if (known === undefined) {
    clusters.set(key, { count: 1, outcome, exitCode, signal, worker, reason: reason ?? null, tasks: [task], lastAt: at });
    return;
  }
  known.count++;
  if (at >= known.lastAt) {
    known.lastAt = at;
    known.reason = reason ?? null;
    known.tasks = [task, ...known.tasks.filter((id) => id !== task)].slice(0, EXAMPLES);
  } else if (known.tasks.length < EXAMPLES && !known.tasks.includes(task)) known.tasks.push(task);
}
