/**
 * From the flags of a submit to the task that will lie on disk: every value is parsed and checked here, once, so that what is
 * written cannot be wrong. Pure; the clock, the environment and the directory are arguments.
 */
import path from 'node:path';
import { usage } from '../errors.ts';
import { parseArray } from './array.ts';
import { DEFAULT_BACKOFF, parseBackoff } from './backoff.ts';
import { parseCodes } from './codes.ts';
import { parseDuration } from './duration.ts';
import { parseMaxFails } from './max-fails.ts';
import {
  checkEnvName,
  checkGroup,
  checkKey,
  checkLabel,
  checkLimit,
  checkMutex,
  checkQueue,
  checkTaskName,
  checkWorkerName,
} from './names.ts';
import { parseOn } from './on.ts';
import { parseSize } from './size.ts';
import { parseTime } from './time.ts';
import type { AfterKind, Needs, Parent, Task } from './types.ts';
import { quoted } from './visible.ts';

/** The flags as they were written, by their long names; a flag that was not given is absent. */
export interface SubmitFlags {
  command?: string;
  shell?: string;
  script?: string;
  step?: string[];
  handler?: string;
  data?: string;
  stdin?: string;
  name?: string;
  label?: string[];
  group?: string;
  comment?: string;
  cwd?: string;
  env?: string[];
  'env-mode'?: string;
  queue?: string;
  priority?: string;
  after?: string[];
  'after-any'?: string[];
  'after-notok'?: string[];
  'after-each'?: string[];
  at?: string;
  in?: string;
  hold?: true;
  expires?: string;
  key?: string;
  'on-dup'?: string;
  'lock-keys'?: string;
  retries?: string;
  backoff?: string;
  'no-jitter'?: true;
  'retry-on'?: string;
  ok?: string;
  timeout?: string;
  deadline?: string;
  stall?: string;
  grace?: string;
  'on-lost'?: string;
  cpus?: string;
  mem?: string;
  gpus?: string;
  resource?: string[];
  on?: string;
  worker?: string;
  'each-worker'?: true;
  mutex?: string;
  limit?: string[];
  array?: string;
  chunk?: string;
  each?: string;
  'each-json'?: string;
  'each-csv'?: string;
  param?: string[];
  'max-fails'?: string;
  'no-inputs'?: true;
  fallback?: string;
  'on-success'?: string;
  'on-failure'?: string;
  'on-cancel'?: string;
  split?: true;
  file?: string;
  set?: string[];
  batch?: string;
  follow?: true;
  wait?: true;
  'dry-run'?: true;
}

export interface BuildContext {
  /** Now, ms since the epoch. */
  now: number;
  /** Absolute. */
  cwd: string;
  env: Readonly<Record<string, string | undefined>>;
  user: string;
  host: string;
  /** The words after `--`; undefined when there was no `--`. */
  argv?: readonly string[] | undefined;
  /** What `--script` named. */
  scriptText?: string | Uint8Array;
  /** What `--stdin` named. */
  stdinData?: string | Uint8Array;
  /** Flags that hold where they were not given: the queue's settings. */
  defaults?: SubmitFlags;
}

/** A task that has no id and no time of submit yet, with what is stored beside it. */
export interface TaskDraft extends Omit<Task, 'schema' | 'id' | 'submittedAt' | 'script' | 'stdin'> {
  scriptText?: string | Uint8Array;
  stdinData?: string | Uint8Array;
  /** Not before this long after submit, by the file server's clock, ms. */
  delayMs?: number;
  /** Of many elements: one JSON text each. */
  items?: string[];
  /** Expires this long after submit, by the file server's clock, ms. */
  expireMs?: number;
}

const MAX_PRIORITY = 99;
const MAX_RETRIES = 1_000_000;
const DEFAULT_GRACE_MS = 10_000;
const DEFAULT_SHELL = '/bin/sh';
/** What a task sees of the submitter's environment under `--env-mode min`; LC_* besides. */
const MIN_ENV = ['PATH', 'HOME', 'USER', 'LANG', 'SHELL', 'TZ'];
/** W3C Trace Context, version 00, section 3.2. */
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

/** Throws USAGE naming the flag and the text; REFUSED for what this version cannot do yet. */
export function buildTask(given: SubmitFlags, ctx: BuildContext): TaskDraft {
  const flags = ctx.defaults === undefined ? given : { ...ctx.defaults, ...given };
  const draft: TaskDraft = {
    queue: flags.queue === undefined ? 'default' : checkQueue(flags.queue, '--queue'),
    priority: parsePriority(flags.priority),
    ...whatToRun(flags, ctx),
    cwd: path.resolve(ctx.cwd, text(flags.cwd, '--cwd') ?? '.'),
    env: environment(flags, ctx),
    envMode: oneOf(flags['env-mode'], '--env-mode', ['min', 'all', 'none']),
    submittedBy: { user: ctx.user, host: ctx.host },
    submitDir: ctx.cwd,
    retries: parseCount(flags.retries, '--retries', MAX_RETRIES) ?? 0,
    backoff: flags.backoff === undefined ? DEFAULT_BACKOFF : parseBackoff(flags.backoff, '--backoff'),
    jitter: flags['no-jitter'] !== true,
    graceMs: flags.grace === undefined ? DEFAULT_GRACE_MS : parseDuration(flags.grace, '--grace'),
    onLost: oneOf(flags['on-lost'], '--on-lost', ['requeue', 'hold', 'fail']),
    split: flags.split === true,
  };
  put(draft, 'name', flags.name, checkTaskName, '--name');
  put(draft, 'group', flags.group, checkGroup, '--group');
  put(draft, 'comment', flags.comment, text, '--comment');
  put(draft, 'timeoutMs', flags.timeout, positiveDuration, '--timeout');
  put(draft, 'deadlineMs', flags.deadline, positiveDuration, '--deadline');
  put(draft, 'stallMs', flags.stall, positiveDuration, '--stall');
  put(draft, 'retryOn', flags['retry-on'], parseCodes, '--retry-on');
  put(draft, 'ok', flags.ok, parseCodes, '--ok');
  put(draft, 'on', flags.on, labelExpression, '--on');
  put(draft, 'worker', flags.worker, checkWorkerName, '--worker');
  put(draft, 'mutex', flags.mutex, checkMutex, '--mutex');
  put(draft, 'lockKeys', flags['lock-keys'], regularExpression, '--lock-keys');
  put(draft, 'fallback', flags.fallback, shellText, '--fallback');
  put(draft, 'onSuccess', flags['on-success'], shellText, '--on-success');
  put(draft, 'onFailure', flags['on-failure'], shellText, '--on-failure');
  put(draft, 'onCancel', flags['on-cancel'], shellText, '--on-cancel');
  if (flags.label !== undefined) draft.labels = Object.fromEntries(flags.label.map((word) => checkLabel(word, '--label')));
  if (flags.limit !== undefined) draft.limits = parseLimits(flags.limit);
  if (flags['no-inputs'] === true) draft.noInputs = true;
  const needs = parseNeeds(flags);
  if (needs !== undefined) draft.needs = needs;
  const after = parseParents(flags);
  if (after.length > 0) draft.after = after;
  putTimes(draft, flags, ctx.now);
  putKey(draft, flags);
  if (ctx.stdinData !== undefined) draft.stdinData = ctx.stdinData;
  const trace = ctx.env['TRACEPARENT'];
  if (trace !== undefined && TRACEPARENT.test(trace)) draft.traceparent = trace;
  checkMany(flags);
  return draft;
}

/** Sets an optional field from its flag; an absent flag leaves the field absent. */
function put<K extends keyof TaskDraft>(
  draft: TaskDraft,
  field: K,
  value: string | undefined,
  parse: (text: string, flag: string) => Exclude<TaskDraft[K], undefined>,
  flag: string,
): void {
  if (value !== undefined) draft[field] = parse(value, flag);
}

type What = Pick<TaskDraft, 'command' | 'shell' | 'handler' | 'data' | 'steps' | 'scriptText'>;

/** Exactly one of: words after `--`, `-c`, a script (the words are its arguments), steps, a handler. */
function whatToRun(flags: SubmitFlags, ctx: BuildContext): What {
  const argv = ctx.argv === undefined || (ctx.argv.length === 0 && ctx.scriptText !== undefined) ? undefined : [...ctx.argv];
  const ways: string[] = [];
  if (flags.command !== undefined) ways.push('--command (-c)');
  if (ctx.scriptText !== undefined) ways.push('--script');
  if (flags.step !== undefined) ways.push('--step');
  if (flags.handler !== undefined) ways.push('--handler');
  if (argv !== undefined && ctx.scriptText === undefined) ways.push('a command after --');
  if (ways.length > 1) throw usage(`${ways.join(' and ')} exclude each other`, 'one task runs one thing; --step takes several commands');
  if (flags.data !== undefined && flags.handler === undefined) throw usage(`--data ${quoted(flags.data)} goes with --handler`);
  if (flags.shell !== undefined && flags.command === undefined && flags.step === undefined) {
    throw usage(`--shell ${quoted(flags.shell)} goes with -c or --step`, 'a command after -- is run without a shell');
  }
  const shell = flags.shell === undefined ? undefined : shellText(flags.shell, '--shell');
  if (flags.command !== undefined) return { command: [shellText(flags.command, '--command')], shell: shell ?? DEFAULT_SHELL };
  if (ctx.scriptText !== undefined) return { command: words(argv ?? []), scriptText: ctx.scriptText };
  if (flags.step !== undefined) {
    return { command: [], steps: flags.step.map((step) => shellText(step, '--step')), ...(shell === undefined ? {} : { shell }) };
  }
  if (flags.handler !== undefined) {
    return { command: [], handler: checkHandler(flags.handler), ...(flags.data === undefined ? {} : { data: parseData(flags.data) }) };
  }
  if (argv === undefined || argv.length === 0) throw usage('no command', 'tq submit [flags] -- CMD ARGS..., or -c for a line of shell');
  if (argv[0] === '') throw usage(`the command after -- has an empty name: ''`);
  return { command: words(argv) };
}

function words(argv: readonly string[]): string[] {
  const at = argv.findIndex((word) => word.includes('\0'));
  if (at >= 0) throw usage(`word ${at + 1} of the command holds a NUL character: ${quoted(argv[at]!)}`);
  return [...argv];
}

function parsePriority(value: string | undefined): number {
  if (value === undefined) return 0;
  const n = /^[+-]?\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  // Adding zero makes -0 an ordinary zero.
  if (Math.abs(n) <= MAX_PRIORITY) return n + 0;
  throw usage(`--priority: not a number from -${MAX_PRIORITY} to ${MAX_PRIORITY}: ${quoted(value)}`);
}

function parseCount(value: string | undefined, flag: string, most: number, least = 0): number | undefined {
  if (value === undefined) return undefined;
  const n = /^\d{1,9}$/.test(value) ? Number(value) : Number.NaN;
  if (n >= least && n <= most) return n;
  throw usage(`${flag}: not a whole number from ${least} to ${most}: ${quoted(value)}`);
}

/** A share of something: 2, 0.5. */
function parseShare(value: string, flag: string): number {
  const n = /^(\d{1,9}(\.\d{1,9})?|\.\d{1,9})$/.test(value) ? Number(value) : Number.NaN;
  if (n >= 0) return n;
  throw usage(`${flag}: not a number of at least 0: ${quoted(value)}`, 'such as 2 or 0.5');
}

function positiveDuration(value: string, flag: string): number {
  const ms = parseDuration(value, flag);
  if (ms === 0) throw usage(`${flag}: must be longer than nothing: ${quoted(value)}`, 'leave the flag out for no limit');
  return ms;
}

function text<T extends string | undefined>(value: T, flag: string): T {
  if (value?.includes('\0')) throw usage(`${flag}: holds a NUL character: ${quoted(value)}`);
  return value;
}

function shellText(value: string, flag: string): string {
  if (value.trim() === '') throw usage(`${flag}: empty: ${quoted(value)}`);
  return text(value, flag);
}

function oneOf<T extends string>(value: string | undefined, flag: string, choices: readonly [T, ...T[]]): T {
  const found = value === undefined ? choices[0] : choices.find((choice) => choice === value);
  if (found === undefined) throw usage(`${flag}: ${quoted(value!)} is not one of ${choices.join(', ')}`);
  return found;
}

function labelExpression(value: string, flag: string): string {
  parseOn(value, flag);
  return value.trim();
}

function regularExpression(value: string, flag: string): string {
  // A variable that was not set, and would lock every key.
  if (value === '') throw usage(`${flag}: empty: ''`, `${flag} '.*' is for all keys`);
  try {
    void new RegExp(value, 'u');
  } catch (error) {
    throw usage(`${flag}: not a regular expression: ${quoted(value)}`, error instanceof Error ? error.message : undefined);
  }
  return value;
}

function checkHandler(name: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) return name;
  throw usage(`--handler: not the name of a handler: ${quoted(name)}`, 'letters, digits, _ . and -, beginning with a letter');
}

function parseData(value: string): unknown {
  try {
    return JSON.parse(value);
  } catch {
    throw usage(`--data: not JSON: ${quoted(value)}`, `such as '{"width": 2}'`);
  }
}

function environment(flags: SubmitFlags, ctx: BuildContext): Record<string, string> {
  const mode = flags['env-mode'] ?? 'min';
  const names = mode === 'none' ? [] : mode === 'all' ? Object.keys(ctx.env).filter(isHandedOn) : minNames(ctx.env);
  const taken: Array<[string, string]> = [];
  for (const name of names) {
    const value = ctx.env[name];
    if (value !== undefined) taken.push([name, value]);
  }
  for (const word of flags.env ?? []) {
    const at = word.indexOf('=');
    const name = checkEnvName(at < 0 ? word : word.slice(0, at), '--env');
    const value = at < 0 ? ctx.env[name] : word.slice(at + 1);
    if (value === undefined) throw usage(`--env: ${name} is not set here: ${quoted(word)}`, `give it a value: -e ${name}=...`);
    taken.push([name, text(value, '--env')]);
  }
  return Object.fromEntries(taken);
}

/** A task that submits another one does not hand on what it was told about itself; `_` is the shell's own. */
function isHandedOn(name: string): boolean {
  return name !== 'TQ' && !name.startsWith('TQ_') && name !== '_';
}

function minNames(env: BuildContext['env']): string[] {
  const names = [...MIN_ENV];
  for (const name in env) if (name.startsWith('LC_')) names.push(name);
  return names;
}

function parseNeeds(flags: SubmitFlags): Needs | undefined {
  if (flags.cpus === undefined && flags.mem === undefined && flags.gpus === undefined && flags.resource === undefined) return undefined;
  const needs: Needs = { cpus: flags.cpus === undefined ? 1 : parseShare(flags.cpus, '--cpus') };
  if (flags.mem !== undefined) needs.mem = parseSize(flags.mem, '--mem');
  const gpus = parseCount(flags.gpus, '--gpus', 1_000_000);
  if (gpus !== undefined) needs.gpus = gpus;
  for (const word of flags.resource ?? []) {
    const [, name, amount] = /^([A-Za-z][A-Za-z0-9._-]{0,63})=(.*)$/s.exec(word) ?? [];
    if (name === undefined || amount === undefined)
      throw usage(`--resource: not a name and a number: ${quoted(word)}`, 'such as -r disk=1');
    if (name === 'cpus' || name === 'mem' || name === 'gpus')
      throw usage(`--resource: ${name} has its own flag: ${quoted(word)}`, `--${name} ${amount}`);
    needs[name] = parseShare(amount, `--resource ${name}`);
  }
  return needs;
}

function parseLimits(list: readonly string[]): Array<{ name: string; n: number }> {
  const shares = new Map<string, number>();
  for (const word of list) {
    const at = word.indexOf('=');
    const name = checkLimit(at < 0 ? word : word.slice(0, at), '--limit');
    shares.set(name, at < 0 ? 1 : parseCount(word.slice(at + 1), `--limit ${name}`, 1_000_000, 1)!);
  }
  return [...shares].map(([name, n]) => ({ name, n }));
}

const AFTER_KINDS: readonly AfterKind[] = ['after', 'after-any', 'after-notok', 'after-each'];

function parseParents(flags: SubmitFlags): Parent[] {
  const parents: Parent[] = [];
  for (const kind of AFTER_KINDS) {
    for (const id of (flags[kind] ?? []).flatMap((list) => list.split(','))) {
      if (!/^(@last|[0-9a-z]{4,16}(\.\d{1,9})?)$/.test(id)) throw usage(`--${kind}: not an id: ${quoted(id)}`, `--${kind} ID[,ID]`);
      if (!parents.some((p) => p.id === id && p.kind === kind)) parents.push({ id, kind });
    }
  }
  return parents;
}

function putTimes(draft: TaskDraft, flags: SubmitFlags, now: number): void {
  if (flags.at !== undefined && flags.in !== undefined) {
    throw usage(`--at ${quoted(flags.at)} and --in ${quoted(flags.in)} exclude each other`);
  }
  if (flags.at !== undefined) draft.notBefore = parseTime(flags.at, '--at', { now, look: 'next' });
  if (flags.in !== undefined) draft.delayMs = parseDuration(flags.in, '--in');
  if (flags.expires !== undefined) draft.expireMs = positiveDuration(flags.expires, '--expires');
  if (flags.hold === true) draft.hold = true;
}

function putKey(draft: TaskDraft, flags: SubmitFlags): void {
  if (flags.key === undefined) {
    if (flags['on-dup'] !== undefined) throw usage(`--on-dup ${quoted(flags['on-dup'])} goes with --key`);
    return;
  }
  draft.key = checkKey(flags.key, '--key');
  draft.onDup = oneOf(flags['on-dup'], '--on-dup', ['ignore', 'error', 'replace']);
}

/** The flags that make many tasks of one. */
const MANY = ['array', 'each', 'each-json', 'each-csv', 'param', 'each-worker'] as const;

/** Submissions of many elements: what is wrong with the flags is said now; the rest is not there yet. */
function checkMany(flags: SubmitFlags): void {
  if (flags.array !== undefined) parseArray(flags.array, '--array');
  if (flags.chunk !== undefined && flags.array === undefined) throw usage(`--chunk ${quoted(flags.chunk)} goes with --array`);
  parseCount(flags.chunk, '--chunk', 1_000_000_000, 1);
  const maxFails = flags['max-fails'];
  if (maxFails !== undefined) {
    parseMaxFails(maxFails, '--max-fails');
    if (MANY.every((name) => flags[name] === undefined))
      throw usage(
        `--max-fails ${quoted(maxFails)} is for many tasks: it goes with ${MANY.map((name) => `--${name}`).join(', ')}, --batch or -f`,
      );
  }
  for (const word of flags.param ?? []) {
    if (!/^[A-Za-z_][A-Za-z0-9_-]*=/.test(word)) throw usage(`--param: not a name and a value: ${quoted(word)}`, '--param name=value');
  }
}
