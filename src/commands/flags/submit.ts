/**
 * The flags of `tq submit`, which `tq run` and `tq cron add` take too. The one table of them: the parser, the help and the keys
 * of a task object in a file all come from here.
 */
import type { SubmitFlags } from '../../task/build.ts';
import type { FlagsOf, FlagTable } from '../spec.ts';

const WHAT = 'WHAT TO RUN';
const CALLED = 'WHAT TO CALL IT';
const PLACE = 'DIRECTORY AND ENVIRONMENT';
const WHEN = 'WHEN';
const FAILURE = 'FAILURE AND TIME';
const WHERE = 'WHERE';
const MANY = 'MANY AT ONCE';
const AFTERWARDS = 'AFTERWARDS';
const OUTPUT = 'OUTPUT';

/** What a task may be told, on a command line as in a workflow file or a batch. */
export const TASK_FLAGS = {
  command: { char: 'c', value: 'STR', help: 'run STR with /bin/sh -c', group: WHAT },
  shell: { value: 'PATH', help: 'the shell for -c and --step', group: WHAT },
  script: { value: 'FILE|-', help: "store the script's text in the task and run that; #TQ lines at its head are flags", group: WHAT },
  step: {
    value: 'CMD',
    many: 'list',
    help: 'one of several commands in one task; a retry resumes after the last finished one',
    group: WHAT,
  },
  handler: { value: 'NAME', help: 'a named function that workers have, instead of a command', group: WHAT },
  data: { value: 'JSON', help: 'what the handler is given', group: WHAT },
  stdin: { value: 'FILE|-', help: 'stored with the task and given to it (default: /dev/null)', group: WHAT },

  name: { char: 'n', value: 'S', help: 'a name, for listings and filters', group: CALLED },
  label: { char: 'l', value: 'k=v', many: 'map', help: 'a label', group: CALLED },
  group: { char: 'g', value: 'G', help: 'the group that it belongs to', group: CALLED },
  comment: { value: 'S', help: 'a remark, shown by tq show', group: CALLED },

  cwd: { char: 'C', value: 'DIR', help: 'directory to run in (default: the present one)', group: PLACE },
  env: { char: 'e', value: 'K[=V]', many: 'map', help: 'a variable; without =V as it is now', group: PLACE },
  'env-mode': {
    value: 'all|min|none',
    choices: ['all', 'min', 'none'],
    help: 'min: PATH HOME USER LANG LC_* SHELL TZ and those of -e (default)',
    group: PLACE,
  },

  queue: { char: 'q', value: 'Q', help: 'queue name (default: default)', group: WHEN },
  priority: { char: 'p', value: 'N', help: '-99..99, higher first; equal ones run in submit order (default: 0)', group: WHEN },
  after: { value: 'ID[,ID]', many: 'list', help: 'when all of them ended done; otherwise it is skipped', group: WHEN },
  'after-any': { value: 'ID[,ID]', many: 'list', help: 'when all of them ended, however', group: WHEN },
  'after-notok': { value: 'ID[,ID]', many: 'list', help: 'when all of them ended other than done', group: WHEN },
  'after-each': { value: 'ID', many: 'list', help: 'element N after element N of that one', group: WHEN },
  at: { value: 'T', help: 'not before this time: 09:00, 2030-01-31T09:00, now+2h', group: WHEN },
  in: { value: 'D', help: 'not before this long from now: 90s, 15m, 1h30m', group: WHEN },
  hold: { help: 'create it held, until tq release', group: WHEN },
  expires: { value: 'D', help: 'skip it if it has not started by then', group: WHEN },
  key: { value: 'K', help: 'at most one unfinished task with this key', group: WHEN },
  'on-dup': {
    value: 'ignore|error|replace',
    choices: ['ignore', 'error', 'replace'],
    help: 'when there is one: print its id (default), fail with 5, or cancel it',
    group: WHEN,
  },
  'lock-keys': { value: 'REGEX', help: 'while this task is unfinished, refuse submits whose key matches', group: WHEN },

  retries: { value: 'N', help: 'run it again this often when it fails (default: 0)', group: FAILURE },
  backoff: { value: 'SPEC', help: 'none, fixed:D, exp:D[..MAX] or fib:D[..MAX] between tries (default: exp:1s..5m)', group: FAILURE },
  'no-jitter': { help: 'exact waits, instead of 10% more or less', group: FAILURE },
  'retry-on': { value: 'CODES', help: 'retry after these exit codes only: 1,64-78', group: FAILURE },
  ok: { value: 'CODES', help: 'exit codes that count as success (default: 0)', group: FAILURE },
  timeout: { value: 'D', help: 'longest time of one attempt', group: FAILURE },
  deadline: { value: 'D', help: 'longest time over all attempts, from the first start', group: FAILURE },
  stall: { value: 'D', help: 'end it after this long without output or progress', group: FAILURE },
  grace: { value: 'D', help: 'between TERM and KILL (default: 10s)', group: FAILURE },
  'on-lost': {
    value: 'requeue|hold|fail',
    choices: ['requeue', 'hold', 'fail'],
    help: 'when its worker died (default: requeue)',
    group: FAILURE,
  },

  cpus: { value: 'N', help: 'cpus it takes of a worker (default: 1)', group: WHERE },
  mem: { value: 'SIZE', help: 'memory it takes: 512M, 8G', group: WHERE },
  gpus: { value: 'N', help: 'gpus it takes, given by index', group: WHERE },
  resource: { char: 'r', value: 'k=N', many: 'map', help: 'another resource that workers offer', group: WHERE },
  on: { value: 'EXPR', help: "labels of the worker: 'gpu && os==linux && !laptop'", group: WHERE },
  worker: { value: 'NAME', help: 'only on that worker', group: WHERE },
  'each-worker': { help: 'one element for each live worker', group: WHERE },
  mutex: { value: 'NAME', help: 'one at a time in the whole queue', group: WHERE },
  limit: { value: 'NAME[=N]', many: 'map', help: 'shares of a limit, see tq limit', group: WHERE },

  array: { value: 'A-B[:STEP][%MAX]', help: 'one element per number, {} and TQ_INDEX; or a,b,c', group: MANY },
  chunk: { value: 'N', help: 'N numbers of --array to one element', group: MANY },
  each: { value: 'FILE|-', help: 'one element per line, {} and TQ_ITEM', group: MANY },
  'each-json': { value: 'FILE|-', help: 'one element per JSON value, {k}', group: MANY },
  'each-csv': { value: 'FILE|-', help: 'one element per row, {column}', group: MANY },
  param: { value: 'k=v1,v2', many: 'map', help: 'one element per combination, {k}', group: MANY },
  'max-fails': { value: 'N|P%', help: 'cancel the rest after that many failed', group: MANY },

  'no-inputs': { help: "do not hand on the parents' results", group: AFTERWARDS },
  fallback: { value: 'STR', help: 'a command that is run as the last try', group: AFTERWARDS },
  'on-success': { value: 'STR', help: 'a task made when it ended done', group: AFTERWARDS },
  'on-failure': { value: 'STR', help: 'a task made when it ended failed', group: AFTERWARDS },
  'on-cancel': { value: 'STR', help: 'a task made when it was canceled', group: AFTERWARDS },

  split: { help: 'stderr to its own file (default: one log, both streams in their order)', group: OUTPUT },
} as const satisfies FlagTable;

/** What only a command line can say. */
export const SUBMIT_FLAGS = {
  ...TASK_FLAGS,
  file: { char: 'f', value: 'FLOW', help: 'a workflow file (json, yaml, toml, ts, js): all of it or none', group: MANY },
  set: { value: 'k=v', many: 'map', help: 'a setting of the workflow', group: MANY },
  batch: { value: '-', help: 'task objects, one JSON object a line', group: MANY },
  follow: { help: 'show its output and exit with its code', group: OUTPUT },
  wait: { help: 'exit with its code when it has ended', group: OUTPUT },
  'dry-run': { help: 'print the task, submit nothing', group: OUTPUT },
} as const satisfies FlagTable;

export type SubmitWords = FlagsOf<typeof SUBMIT_FLAGS>;

// The pure room cannot import this table; here its own list of flags is held to it, in both directions.
type Same<A, B> = [A] extends [B] ? ([B] extends [A] ? true : false) : false;
const sameFlags: Same<keyof SubmitFlags, keyof SubmitWords> & Same<SubmitFlags, SubmitWords> = true;
void sameFlags;
