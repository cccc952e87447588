/**
 * The flags of `tq worker` and of the verbs below it.
 */
import type { FlagTable } from '../spec.ts';

const TAKES = 'WHAT IT TAKES';
const LEAVES = 'WHEN IT LEAVES';
const PACE = 'WHEN IT TAKES TASKS';
const TASKS = 'WHAT ITS TASKS GET';

export const WORKER_FLAGS = {
  jobs: { char: 'j', value: 'N|auto', help: 'tasks at once (default: the number of cpus)', group: TAKES },
  queue: { char: 'q', value: 'Q[,Q]', many: 'list', help: 'only from these queues', group: TAKES },
  name: { value: 'S', help: 'its name (default: the host name)', group: TAKES },
  cpus: { value: 'N', help: 'cpus it offers', group: TAKES },
  mem: { value: 'SIZE', help: 'memory it offers', group: TAKES },
  gpus: { value: 'N', help: 'gpus it offers (default: those that it finds)', group: TAKES },
  resource: { char: 'r', value: 'k=N', many: 'map', help: 'another resource it offers', group: TAKES },
  label: { char: 'l', value: 'k[=v]', many: 'map', help: 'a label, for --on', group: TAKES },
  'run-users': { value: 'U,...|any', many: 'list', help: 'whose tasks it runs (on a shared queue: only its own)', group: TAKES },

  'until-empty': { help: 'exit when nothing is left that it could take', group: LEAVES },
  once: { help: 'exit after one task', group: LEAVES },
  'max-tasks': { value: 'N', help: 'exit after N tasks', group: LEAVES },
  idle: { value: 'D', help: 'exit after this long without a task', group: LEAVES },
  'time-limit': { value: 'D', help: 'exit after this long; takes nothing that does not fit, hands back what runs', group: LEAVES },
  'restart-exit-code': { value: 'N', help: 'exit with this code when asked to restart', group: LEAVES },

  hours: { value: 'SPEC', help: "awake then, asleep else: '22:00-06:00 mon-fri'", group: PACE },
  gate: { value: 'CMD', help: 'asked before each claim; non-zero: take nothing', group: PACE },
  'max-load': { value: 'F', help: 'take nothing while the load average is higher', group: PACE },
  'min-free-mem': { value: 'SIZE', help: 'take nothing while less memory is free', group: PACE },
  poll: { value: 'D', help: 'how often to look (default: 1s, network 5s)', group: PACE },

  pre: { value: 'CMD', help: 'run before each task', group: TASKS },
  post: { value: 'CMD', help: 'run after each task, failed ones too', group: TASKS },
  handlers: { value: 'DIR', help: 'the named functions that it has', group: TASKS },
  'pass-env': { value: 'K,...', many: 'list', help: "variables of the worker's environment that its tasks get", group: TASKS },
  var: { value: 'k=v', many: 'map', help: '{var:k} in a command, TQ_VAR_K: paths that differ per machine', group: TASKS },
} as const satisfies FlagTable;

/** For a verb on workers that are named by words or globs. */
export const ALL_FLAG = { all: { help: 'every worker' } } as const satisfies FlagTable;
export const NOW_FLAG = { now: { help: 'do not let the running tasks finish' } } as const satisfies FlagTable;
