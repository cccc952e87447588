/**
 * Events: what happened to a task, step by step, and to workers and queues. Pure. The steps that a task may make are a table; what two
 * witnesses (the journal and the task's own files) tell of one task is put into one order in which each step is legal: by attempt and by
 * what follows from what, since clocks of two machines may differ. A step that nobody saw is filled in and says so.
 */
import { isTerminal, STATES, type Outcome, type OutcomeKind, type State } from './types.ts';

/** What a step of a task is called. */
export const STEP_TYPES = ['submitted', 'ready', 'due', 'delayed', 'held', 'released', 'started', 'ended', 'retried', 'removed'] as const;
export type StepType = (typeof STEP_TYPES)[number];
/** What else there are events of. */
export const OTHER_TYPES = ['worker', 'queue', 'chunk'] as const;
export type OtherType = (typeof OTHER_TYPES)[number];

/** From one state to another; null: not there yet, or removed. */
export interface Step {
  /** Ms since the epoch, by the file server's clock. */
  at: number;
  task: string;
  from: State | null;
  to: State | null;
  /** The number in the name of the task's file after the step. */
  attempt: number;
  worker: string | null;
  outcome?: OutcomeKind;
  exitCode?: number | null;
  signal?: string | null;
  host?: string;
  reason?: string;
  /** Who did it, by hand. */
  by?: string;
  /** When the task is due, of a step to `delayed`. */
  dueAt?: number;
  name?: string;
  queue?: string;
  group?: string;
  user?: string;
  /** Nobody saw it: it follows from the steps beside it, and was made by then. */
  inferred?: true;
}

/** A step as the files of a task tell it: where from may be unknown, and is then wherever it was. */
export type Found = Omit<Step, 'from'> & { from?: State | null };

/** What never began is no attempt; a start that was refused is one, a task that expired before it is not. */
export function isAttempt(o: Pick<Outcome, 'started' | 'outcome' | 'next'>): boolean {
  return o.started || (o.outcome === 'rejected' && o.next.state !== 'skipped');
}

/** Of a worker: its states. Of a queue: active and paused. Of a chunk: that its elements are told in a journal of their own. */
export interface OtherEvent {
  at: number;
  type: OtherType;
  /** The worker's or queue's name; of a chunk its id. */
  subject: string;
  from: string | null;
  to: string | null;
  attempt?: number;
  worker: string | null;
  reason?: string;
  by?: string;
}

/** The states that may follow each state. In the order in which a gap is filled: the usual one first. */
const STEPS: Readonly<Record<State | 'none', ReadonlyArray<State | null>>> = {
  none: ['queued', 'waiting', 'delayed', 'held'],
  waiting: ['queued', 'delayed', 'held', 'skipped', 'canceled'],
  delayed: ['queued', 'waiting', 'held', 'skipped', 'canceled'],
  held: ['queued', 'waiting', 'delayed', 'done', 'canceled', 'skipped'],
  queued: ['running', 'held', 'delayed', 'waiting', 'canceled', 'skipped', 'failed'],
  running: ['done', 'failed', 'queued', 'delayed', 'held', 'waiting', 'canceled', 'skipped'],
  done: ['queued', 'waiting', 'delayed', null],
  failed: ['queued', 'waiting', 'delayed', null],
  canceled: ['queued', 'waiting', 'delayed', null],
  skipped: ['waiting', 'queued', 'delayed', null],
};

export function isLegal(from: State | null, to: State | null): boolean {
  return STEPS[from ?? 'none'].includes(to);
}

/** What a step is called follows from where it leads. */
export function typeOf({ from, to }: Pick<Step, 'from' | 'to'>): StepType {
  if (from === null) return 'submitted';
  if (to === null) return 'removed';
  if (from === 'done' || from === 'failed' || from === 'canceled' || from === 'skipped') return 'retried';
  switch (to) {
    case 'running':
      return 'started';
    case 'done':
    case 'failed':
    case 'canceled':
    case 'skipped':
      return 'ended';
    case 'held':
      return from === 'running' ? 'ended' : 'held';
    default:
      if (from === 'running') return 'ended';
      if (from === 'held') return 'released';
      if (from === 'waiting') return 'ready';
      return from === 'delayed' ? 'due' : 'delayed';
  }
}

/** The states on the shortest way from one to another, both left out; undefined: there is none. */
function between(from: State | null, to: State | null): Array<State | null> | undefined {
  const key = `${from} ${to}`;
  const known = WAYS.get(key);
  if (known !== undefined || WAYS.has(key)) return known;
  let ways: Array<Array<State | null>> = [[]];
  let found: Array<State | null> | undefined;
  for (let length = 0; length <= STATES.length && found === undefined; length++) {
    const longer: Array<Array<State | null>> = [];
    for (const way of ways) {
      for (const next of STEPS[(way.length === 0 ? from : way.at(-1)!) ?? 'none']) {
        if (next === to) found ??= way;
        // What was removed does not come back.
        else if (next !== null && !way.includes(next)) longer.push([...way, next]);
      }
    }
    ways = longer;
  }
  WAYS.set(key, found);
  return found;
}

const WAYS = new Map<string, Array<State | null> | undefined>();

/** Where a task was before the first of its steps that are told; `undefined` takes the first step's word. */
export interface Known {
  state: State | null;
  attempt: number;
  at: number;
  dueAt?: number | undefined;
}

/**
 * The steps of one task in order, each legal and none twice. `seen` are from the journal, `derived` from the task's files: of a step that
 * both tell of the journal has the moment and the files the rest.
 */
export function arrange(seen: readonly Step[], derived: readonly Found[], before?: Known): Step[] {
  const left = merged(seen, derived).toSorted((a, b) => a.attempt - b.attempt || a.at - b.at);
  const told: Step[] = [];
  let known = before;
  while (left.length > 0) {
    const [step] = left.splice(nextOf(left, known), 1) as [Found];
    if (known !== undefined && (step.attempt < known.attempt || isTold(told, step, known))) continue;
    for (const one of withGap(known, step)) {
      told.push(one);
      known = { state: one.to, attempt: one.attempt, at: one.at, dueAt: one.dueAt };
    }
  }
  return told;
}

/** Moments that lie so near to each other do not tell what was first, ms. */
const NEAR_MS = 20;

/**
 * Which of the steps that are left, by attempt and time, comes next. An attempt's number is made by its start, or by the retry before it, and
 * what began ends before anything else happens: so it is whatever the clocks of those who say so. The rest goes by time.
 */
function nextOf(left: readonly Found[], known: Known | undefined): number {
  const { attempt } = left[0]!;
  const find = (is: (s: Found) => boolean): number => left.findIndex((s) => s.attempt === attempt && is(s));
  const raises = known === undefined || known.attempt < attempt ? find((s) => s.to === 'running' || isOver(s.from)) : -1;
  if (raises >= 0) return raises;
  if (known === undefined) return 0;
  const { state } = known;
  const ends = state === 'running' ? find((s) => s.from === 'running') : -1;
  if (ends >= 0) return ends;
  const follows = find((s) => s.from === undefined || s.from === state);
  return follows >= 0 && left[follows]!.at - left[0]!.at <= NEAR_MS ? follows : 0;
}

function isOver(state: State | null | undefined): boolean {
  return state !== null && state !== undefined && isTerminal(state);
}

/** The same step was told already: two who helped each other both saw it. */
function isTold(told: readonly Step[], step: Found, known: Known): boolean {
  // A start raises the number.
  if (step.to === 'running' && step.attempt <= known.attempt) return true;
  if (step.from === undefined) return step.to === known.state;
  if (step.from === known.state || step.attempt !== known.attempt) return false;
  // What does not run may go to and fro without a new number.
  const mayRepeat = isPending(step.from) && isPending(step.to);
  return told.some(
    (s) => s.attempt === step.attempt && s.from === step.from && s.to === step.to && !(mayRepeat && Math.abs(s.at - step.at) > TWICE_MS),
  );
}

/** Two tellers of one step are no further apart, ms: the one that was slower lost a race. */
const TWICE_MS = 500;

function isPending(state: State | null): boolean {
  return state !== null && state !== 'running' && !isTerminal(state);
}

/** A step, with those before it that nobody saw; nothing when no way leads to it. Never earlier than what is known. */
export function withGap(known: Known | undefined, step: Found): Step[] {
  if (known === undefined) return step.from === undefined ? [] : [{ ...step, from: step.from }];
  const told: Step[] = [];
  let { state, at, dueAt } = known;
  const pass = (to: State | null): void => {
    // What was delayed went on when it was due, as far as that is known.
    const when = state === 'delayed' && dueAt !== undefined ? Math.min(Math.max(at, dueAt), Math.max(at, step.at)) : Math.max(at, step.at);
    const runs = to === 'running';
    const attempt = runs ? step.attempt : known.attempt;
    told.push({ at: when, task: step.task, from: state, to, attempt, worker: runs ? step.worker : null, inferred: true });
    state = to;
    at = when;
    dueAt = undefined;
  };
  // Another attempt's end. (An element of an array may be found lost under the next number.)
  if (state === 'running' && step.from === 'running' && step.attempt > known.attempt && !step.task.includes('.')) {
    pass('queued');
    pass('running');
  }
  if (step.from !== undefined && state !== step.from) {
    const way = between(state, step.from);
    if (way === undefined) return [];
    for (const to of way) pass(to);
    pass(step.from);
  }
  if (!isLegal(state, step.to)) {
    const way = between(state, step.to);
    if (way === undefined) return [];
    for (const to of way) pass(to);
  }
  told.push({ ...step, from: state, at: Math.max(at, step.at) });
  return told;
}

function merged(seen: readonly Step[], derived: readonly Found[]): Found[] {
  const all: Found[] = [...seen];
  for (const step of derived) {
    const i = all.findIndex(
      (s) =>
        s.attempt === step.attempt &&
        s.to === step.to &&
        (s.from === null) === (step.from === null) &&
        (step.from === undefined || s.from === step.from || s.to !== 'queued'),
    );
    if (i < 0 || i >= seen.length) all.push(step);
    else {
      const { at, from } = all[i]!;
      all[i] = { ...all[i]!, ...step, at, ...(from === undefined ? {} : { from }) };
    }
  }
  return all;
}

/** What was so at a moment: the last step until then; undefined: it was not there. */
export function stateAt(steps: readonly Step[], at: number): Step | undefined {
  let last: Step | undefined;
  for (const step of steps) {
    if (step.at > at) break;
    last = step;
  }
  return last === undefined || last.to === null ? undefined : last;
}
