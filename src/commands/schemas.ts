/**
 * JSON Schemas (draft 2020-12) of what tq prints, keeps and takes. Their properties are held to the types that the code works with, in
 * both directions, and what a task object may say comes from the table of the flags; so a field cannot be added in one place alone.
 * What is printed may get more fields at any time; what is taken may not hold unknown ones.
 */
import { RULES } from '../flow/workflow.ts';
import type { FollowUp } from '../queue/follow.ts';
import { WORKER_STATES } from '../queue/registry.ts';
import type { AttemptView, StepView, TaskView } from '../queue/read.ts';
import { OTHER_TYPES, STEP_TYPES } from '../task/event.ts';
import type { ArrayCounts } from '../task/many.ts';
import { OUTCOMES, STATES, type Cause, type Outcome, type Tally } from '../task/types.ts';
import { TASK_FLAGS } from './flags/submit.ts';
import type { FlagSpec } from './spec.ts';
import type { WorkerView } from './worker-look.ts';

export type Schema = { readonly [keyword: string]: unknown };

/** The names in a type that also takes others. */
type Named<T> = keyof { [K in keyof T as string extends K ? never : K]: T[K] };
type Properties<T> = { readonly [K in Named<Required<T>>]: Schema };

const string: Schema = { type: 'string' };
const number: Schema = { type: 'number' };
const count: Schema = { type: 'integer', minimum: 0 };
const boolean: Schema = { type: 'boolean' };
const anything: Schema = {};
const moment: Schema = { type: 'string', format: 'date-time', pattern: '^\\d{4}-\\d\\d-\\d\\dT\\d\\d:\\d\\d:\\d\\d\\.\\d{3}Z$' };
const taskId: Schema = { type: 'string', pattern: '^[0-9a-z]{10,16}(\\.\\d{1,9}(-\\d{1,9})?)?$' };
/** Milliseconds since 1970 by the file server's clock. */
const stamp: Schema = { type: 'number', minimum: 0 };
const by: Schema = object({ user: string, host: string });

function orNull(schema: Schema): Schema {
  const { type } = schema;
  return typeof type === 'string' && schema['enum'] === undefined
    ? { ...schema, type: [type, 'null'] }
    : { anyOf: [schema, { type: 'null' }] };
}

function oneOf(values: readonly string[]): Schema {
  return { enum: values };
}

function list(items: Schema): Schema {
  return { type: 'array', items };
}

function map(values: Schema): Schema {
  return { type: 'object', additionalProperties: values };
}

/** An object that has all of these properties but the optional ones, and perhaps more. */
function object(properties: Readonly<Record<string, Schema>>, optional: readonly string[] = []): Schema {
  return { type: 'object', properties, required: Object.keys(properties).filter((name) => !optional.includes(name)) };
}

const progress: Schema = object({ percent: orNull(number), message: orNull(string) });
const signal: Schema = { type: 'string', pattern: '^SIG[A-Z0-9+-]+$' };
const ending = { outcome: oneOf(OUTCOMES), exitCode: orNull(count), error: orNull(string) };
const kinds = oneOf(['on-success', 'on-failure', 'on-cancel']);
const parent: Schema = object({ id: taskId, kind: oneOf(['after', 'after-any', 'after-notok', 'after-each']), many: { const: true } }, [
  'many',
]);
const causeProperties: Properties<Cause> = { id: taskId, attempt: count, kind: kinds, ...ending, many: { const: true }, owner: count };

const attemptProperties: Properties<AttemptView> = {
  attempt: count,
  worker: string,
  host: orNull(string),
  pid: orNull(count),
  startedAt: orNull(moment),
  endedAt: orNull(moment),
  outcome: orNull(oneOf(OUTCOMES)),
  exitCode: orNull(count),
  signal: orNull(signal),
  durationMs: orNull(number),
  cpuMs: orNull(number),
  maxRssKb: orNull(number),
  reason: orNull(string),
  fallback: boolean,
  step: orNull(count),
};
const attempt = object(attemptProperties);

const stepProperties: Properties<StepView> = {
  step: { type: 'integer', minimum: 1 },
  command: string,
  state: oneOf(['waiting', 'running', 'done', 'failed', 'canceled']),
  attempt: orNull(count),
  exitCode: orNull(count),
  durationMs: orNull(number),
  result: anything,
};

const arrayProperties: Properties<ArrayCounts> = {
  size: count,
  queued: count,
  running: count,
  done: count,
  failed: count,
  canceled: count,
};

const followUpProperties: Properties<FollowUp> = { kind: kinds, attempt: count, id: taskId };

const taskProperties: Properties<TaskView> = {
  schema: { const: 'tq.task/1' },
  id: taskId,
  name: orNull(string),
  state: oneOf(STATES),
  reason: orNull(string),
  queue: string,
  group: orNull(string),
  priority: { type: 'integer', minimum: -99, maximum: 99 },
  command: list(string),
  shell: orNull(string),
  script: orNull(string),
  handler: orNull(string),
  data: anything,
  cwd: string,
  env: map(string),
  labels: map(string),
  needs: map(number),
  after: list(parent),
  notBefore: orNull(moment),
  submittedAt: moment,
  submittedBy: by,
  startedAt: orNull(moment),
  endedAt: orNull(moment),
  retries: count,
  timeoutMs: orNull(number),
  exitCode: orNull(count),
  signal: orNull(signal),
  result: anything,
  progress: orNull(progress),
  worker: orNull(string),
  attempt: count,
  attempts: list(attempt),
  comment: orNull(string),
  notes: list(object({ at: moment, by, text: string })),
  key: orNull(string),
  mutex: orNull(string),
  limits: list(object({ name: string, n: count })),
  on: orNull(string),
  array: orNull(object(arrayProperties)),
  steps: list(object(stepProperties)),
  backoff: string,
  expiresAt: orNull(moment),
  deadlineMs: orNull(number),
  stallMs: orNull(number),
  cause: orNull(object(causeProperties, ['many', 'owner'])),
  followUps: list(object(followUpProperties)),
  file: string,
};

const workerProperties: Properties<WorkerView> = {
  name: string,
  state: oneOf(WORKER_STATES),
  want: orNull(string),
  host: string,
  pid: count,
  alive: boolean,
  jobs: count,
  running: list(taskId),
  labels: map(string),
  offers: map(number),
  startedAt: moment,
  lastSeenAt: orNull(moment),
  queues: list(string),
  reason: orNull(string),
  blocked: orNull(string),
  reserved: orNull(taskId),
  load: orNull({ type: 'number' }),
  badWant: orNull(string),
  version: string,
  session: string,
  handlers: list(string),
  brokenHandlers: list(object({ file: string, reason: string })),
};

const tallyProperties: Properties<Tally> = {
  failures: count,
  lost: count,
  firstStartedAt: orNull(stamp),
  rejectedBy: list(string),
  fallback: object(ending),
};

const outcomeProperties: Properties<Outcome> = {
  schema: { const: 'tq.outcome/1' },
  id: taskId,
  attempt: count,
  nonce: string,
  outcome: oneOf(OUTCOMES),
  started: boolean,
  worker: string,
  session: string,
  host: string,
  pid: orNull(count),
  startedAt: orNull(stamp),
  endedAt: stamp,
  durationMs: orNull(number),
  exitCode: orNull(count),
  signal: orNull(signal),
  cpuMs: orNull(number),
  maxRssKb: orNull(number),
  reason: orNull(string),
  result: anything,
  progress,
  step: count,
  fallback: { const: true },
  next: object({ state: oneOf(STATES.filter((state) => state !== 'running')), reason: string, dueAt: stamp }, ['reason', 'dueAt']),
  tally: object(tallyProperties, ['fallback']),
};

/** A word of a command line: numbers are taken as they are written. */
const word: Schema = { type: ['string', 'number'] };

/** What a key of a task object takes, from the flag of that name. */
function ofFlag(name: string, spec: FlagSpec): Schema {
  const about = { description: spec.help };
  if (name === 'command') return { ...about, description: 'a list is an argv, a string is for a shell', anyOf: [string, list(word)] };
  if (name === 'data') return { ...about };
  if (spec.value === undefined) return { ...about, ...boolean };
  if (spec.many !== undefined) return { ...about, anyOf: [word, list(word), ...(spec.many === 'map' ? [map(word)] : [])] };
  return spec.choices === undefined ? { ...about, ...word } : { ...about, enum: spec.choices };
}

const taskObjectProperties: Readonly<Record<string, Schema>> = Object.fromEntries(
  Object.entries(TASK_FLAGS as Readonly<Record<string, FlagSpec>>).map(([name, spec]) => [name, ofFlag(name, spec)]),
);

function closed(properties: Readonly<Record<string, Schema>>, required: readonly string[] = []): Schema {
  return { type: 'object', properties, required, additionalProperties: false };
}

const flowTask = closed({ id: { type: 'string', pattern: '^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$' }, ...taskObjectProperties });
const { after: _a, 'after-any': _b, 'after-notok': _c, 'after-each': _d, ...underTasks } = taskObjectProperties;

const workflow = closed(
  { name: string, tasks: list(flowTask), defaults: closed(underTasks), ...Object.fromEntries(RULES.map((rule) => [rule, word])) },
  ['tasks'],
);

const event = object(
  {
    at: moment,
    task: orNull(taskId),
    type: oneOf([...STEP_TYPES, ...OTHER_TYPES.filter((type) => type !== 'chunk')]),
    // Of a worker its own states, of a queue paused or not.
    from: orNull(string),
    to: orNull(string),
    attempt: orNull(count),
    worker: orNull(string),
    name: string,
    queue: string,
    group: string,
    outcome: oneOf(OUTCOMES),
    exitCode: count,
    signal: string,
    reason: string,
    by: string,
    dueAt: moment,
    inferred: { const: true },
  },
  ['name', 'queue', 'group', 'outcome', 'exitCode', 'signal', 'reason', 'by', 'dueAt', 'inferred'],
);

const error = object({ error: object({ code: string, exit: count, message: string, hint: orNull(string) }) });

const BODIES: Readonly<Record<string, readonly [title: string, body: Schema]>> = {
  task: ['a task, as ls, show and submit print it with --json', object(taskProperties)],
  attempt: ['an attempt, in attempts of a task', attempt],
  worker: ['a worker, as worker ls prints it with --json', object(workerProperties)],
  event: ['a change of state, as tq events prints it', event],
  outcome: ['how an attempt ended, as it lies in runs/', object(outcomeProperties, ['result', 'progress', 'step', 'fallback'])],
  error: ['what stderr says with --json', error],
  'task-object': ['a task as --batch, the inbox and workflows take it: the long flags of tq submit', closed(taskObjectProperties)],
  workflow: ['a workflow, as tq submit -f takes it', workflow],
};

export const SCHEMA_NAMES: readonly string[] = Object.keys(BODIES);

/** The schema of this name, or undefined. */
export function schemaOf(name: string): Schema | undefined {
  if (!Object.hasOwn(BODIES, name)) return undefined;
  const [title, body] = BODIES[name]!;
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', $id: `urn:tq:${name}:1`, title, ...body };
}
