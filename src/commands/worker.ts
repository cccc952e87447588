/**
 * `tq worker`: runs tasks until told otherwise; below it the verbs that look at workers and ask something of them.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { usage } from '../errors.ts';
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
import type { Io } from '../print.ts';
import { parseDuration } from '../task/duration.ts';
import { parseHours } from '../task/hours.ts';
import { checkEnvName, checkQueue, checkWorkerName } from '../task/names.ts';
import { parseSize } from '../task/size.ts';
import { quoted } from '../task/visible.ts';
import { version } from '../version.ts';
import { gpusHere, memoryHere } from '../worker/resources.ts';
import { pollOf } from '../worker/settings.ts';
import { selfCommand } from '../worker/self.ts';
import type { WorkerOptions } from '../worker/worker.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { ALL_FLAG, NOW_FLAG, WORKER_FLAGS } from './flags/worker.ts';
import { defineCommand, type FlagsOf } from './spec.ts';

type Flags = FlagsOf<typeof WORKER_FLAGS>;

const WORKERS = [{ name: 'W', required: false, many: true, help: 'names of workers, or globs' }] as const;

export const command = defineCommand({
  name: 'worker',
  section: 'WORKERS',
  summary: 'run tasks until told otherwise; list workers, wake them, send them to sleep, stop them',
  description:
    'The first line on stdout is its name. SIGTERM or SIGINT: the running tasks finish, then it exits 0; a second one: they are ' +
    'stopped and handed back. Its state is a file: echo asleep > QUEUE/workers/NAME/want does the same as tq worker sleep NAME.',
  examples: [
    { command: 'tq worker -j 4', text: 'four tasks at once, until stopped' },
    { command: 'tq worker --until-empty', text: 'until nothing is left that it could take' },
    {
      command: "tq worker --hours '22:00-06:00 mon-fri' --gate 'test ! -e /tmp/busy'",
      text: 'at night, and only when the machine is free',
    },
    { command: 'tq worker --handlers ./handlers', text: 'with the functions that the modules in there export' },
    { command: 'tq worker sleep node1 --for 2h', text: 'node1 takes nothing for two hours' },
    { command: "tq worker stop 'gpu*'", text: 'every worker whose name begins with gpu leaves when its tasks are done' },
  ],
  args: [],
  flags: WORKER_FLAGS,
  subs: [
    defineCommand({
      name: 'worker ls',
      summary: 'list the workers',
      examples: [{ command: 'tq worker ls', text: 'who is there' }],
      args: [],
      flags: {},
      run: async (ctx) => (await import('./worker-look.ts')).list(ctx),
    }),
    defineCommand({
      name: 'worker show',
      summary: 'everything about one worker',
      examples: [{ command: 'tq worker show node1', text: 'what it is, offers and runs' }],
      args: [{ name: 'W', required: true, many: true, help: 'its name' }],
      flags: {},
      run: async (ctx) => (await import('./worker-look.ts')).show(ctx),
    }),
    defineCommand({
      name: 'worker wake',
      summary: 'let a worker take tasks again',
      examples: [{ command: 'tq worker wake node1', text: '' }],
      args: WORKERS,
      flags: { ...ALL_FLAG, ...DRY_RUN_FLAG },
      run: async (ctx) => (await import('./worker-ask.ts')).wake(ctx),
    }),
    defineCommand({
      name: 'worker sleep',
      summary: 'let a worker finish what it runs and take nothing more',
      examples: [{ command: 'tq worker sleep --all --for 30m', text: 'everybody, for half an hour' }],
      args: WORKERS,
      flags: { ...ALL_FLAG, ...NOW_FLAG, ...DRY_RUN_FLAG, for: { value: 'D', help: 'wake up by itself after this long' } },
      run: async (ctx) => (await import('./worker-ask.ts')).sleep(ctx),
    }),
    defineCommand({
      name: 'worker stop',
      summary: 'let a worker finish what it runs and leave',
      examples: [{ command: 'tq worker stop --now node1', text: 'hands back what it runs' }],
      args: WORKERS,
      flags: { ...ALL_FLAG, ...NOW_FLAG, ...DRY_RUN_FLAG },
      run: async (ctx) => (await import('./worker-ask.ts')).stop(ctx),
    }),
    defineCommand({
      name: 'worker restart',
      summary: 'let a worker exit with its restart code',
      examples: [{ command: 'tq worker restart node1', text: 'its supervisor starts it again' }],
      args: WORKERS,
      flags: { ...ALL_FLAG, ...NOW_FLAG, ...DRY_RUN_FLAG },
      run: async (ctx) => (await import('./worker-ask.ts')).restart(ctx),
    }),
    defineCommand({
      name: 'worker rm',
      summary: 'forget an offline worker',
      examples: [{ command: 'tq worker rm node1', text: '' }],
      args: WORKERS,
      flags: { ...ALL_FLAG, ...DRY_RUN_FLAG },
      run: async (ctx) => (await import('./worker-ask.ts')).remove(ctx),
    }),
  ],
  async run(ctx) {
    const { queueFor } = await import('./submit.ts');
    const unset = { network: false, config: { settings: {} }, umask: 0 };
    const q = await queueFor(ctx, async () => workerOptions(ctx.flags, ctx.system, unset));
    const options = workerOptions(ctx.flags, ctx.system, q);
    const { setInboxReader } = await import('../queue/inbox.ts');
    const { submitFromInbox } = await import('./inbox.ts');
    setInboxReader((queue, text, owner, id) => submitFromInbox(queue, text, owner, id, ctx.system));
    return work(q, options, ctx.io, true);
  },
});

/** Runs one task here when no awake worker can take it: `tq run --here`. Resolves when that task has ended or left. */
export async function runHere(queue: Queue, id: string, system: System, io: Io): Promise<void> {
  const name = `${safeName(system.host())}-run-${process.pid}`.slice(-64);
  const options = workerOptions({ name, jobs: '1', 'until-empty': true }, system, queue);
  await work(queue, { ...options, only: id, queues: ['*'] }, { ...io, out: () => true }, false);
  const { removeWorker } = await import('../queue/registry.ts');
  await removeWorker(queue, name).catch(() => undefined);
}

async function work(queue: Queue, options: WorkerOptions, io: Io, announce: boolean): Promise<number> {
  const { runWorker } = await import('../worker/machine.ts');
  const { hostFacts } = await import('../worker/facts.ts');
  return runWorker(queue, hostFacts(), options, {
    announced: () => {
      if (announce) io.out(`${options.name}\n`);
    },
    log: (line) => io.err(`${new Date().toISOString()} ${options.name}: ${line}`),
  });
}

/** What the queue has a say in. */
type Settled = Pick<Queue, 'network' | 'umask'> & { config: Pick<Queue['config'], 'settings'> };

/** Pure but for what is detected of this machine. Throws USAGE naming the flag and the text. */
export function workerOptions(flags: Flags, system: System, queue: Settled): WorkerOptions {
  const jobs = flags.jobs === undefined || flags.jobs === 'auto' ? os.availableParallelism() : count(flags.jobs, '--jobs', 1, 4096);
  const offers: Record<string, number> = {
    cpus: flags.cpus === undefined ? jobs : positive(flags.cpus, '--cpus'),
    mem: flags.mem === undefined ? memoryHere() : parseSize(flags.mem, '--mem'),
    gpus: flags.gpus === undefined ? gpusHere(system.env).length : count(flags.gpus, '--gpus', 0, 1024),
  };
  for (const word of flags.resource ?? []) {
    const [, name, amount] = /^([A-Za-z][A-Za-z0-9._-]{0,63})=(.*)$/s.exec(word) ?? [];
    if (name === undefined || amount === undefined) throw usage(`--resource: not k=N: ${quoted(word)}`, 'such as disk=2');
    if (OWN_FLAGS.has(name)) throw usage(`--resource: ${name} has its own flag: ${quoted(word)}`, `--${name} ${amount}`);
    offers[name] = positive(amount, `--resource ${name}`);
  }
  const restart = flags['restart-exit-code'];
  return {
    name: flags.name === undefined ? safeName(system.host()) : checkWorkerName(flags.name, '--name'),
    jobs,
    queues: flags.queue === undefined ? ['default'] : list(flags.queue, '--queue').map((name) => checkQueue(name, '--queue')),
    labels: Object.fromEntries((flags.label ?? []).map(label)),
    offers,
    pollMs: flags.poll === undefined ? pollOf(queue, queue.config.settings) : Math.max(10, parseDuration(flags.poll, '--poll')),
    pollAsSet: flags.poll === undefined,
    untilEmpty: flags['until-empty'] === true,
    maxTasks: flags.once === true ? 1 : flags['max-tasks'] === undefined ? null : count(flags['max-tasks'], '--max-tasks', 1, 1e9),
    idleMs: flags.idle === undefined ? null : parseDuration(flags.idle, '--idle'),
    timeLimitMs: flags['time-limit'] === undefined ? null : parseDuration(flags['time-limit'], '--time-limit'),
    hours: flags.hours === undefined ? null : parseHours(flags.hours, '--hours'),
    ...(flags.hours === undefined ? {} : { hoursText: flags.hours }),
    gate: flags.gate ?? null,
    pre: flags.pre ?? null,
    post: flags.post ?? null,
    maxLoad: flags['max-load'] === undefined ? null : positive(flags['max-load'], '--max-load'),
    minFreeMem: flags['min-free-mem'] === undefined ? null : parseSize(flags['min-free-mem'], '--min-free-mem'),
    passEnv: list(flags['pass-env'] ?? [], '--pass-env').map((name) => checkEnvName(name, '--pass-env')),
    vars: Object.fromEntries((flags.var ?? []).map(variable)),
    handlers: flags.handlers === undefined ? null : directory(flags.handlers, '--handlers', system.cwd()),
    runUsers: runUsers(flags['run-users']),
    restartExitCode: restart === undefined ? null : count(restart, '--restart-exit-code', 0, 255),
    only: null,
    self: selfCommand(),
    version,
    umask: queue.umask,
  };
}

/** What is offered by a flag of its own. */
const OWN_FLAGS: ReadonlySet<string> = new Set(['cpus', 'mem', 'gpus']);

function directory(text: string, flag: string, cwd: string): string {
  const dir = path.resolve(cwd, text);
  if (fs.statSync(dir, { throwIfNoEntry: false })?.isDirectory() === true) return dir;
  throw usage(`${flag}: not a directory: ${quoted(text)}`);
}

function runUsers(words: readonly string[] | undefined): WorkerOptions['runUsers'] {
  if (words === undefined) return null;
  const names = list(words, '--run-users');
  return names.includes('any') ? 'any' : names;
}

/** An empty word is a variable that was not set, and would be taken for what was not asked for. */
function list(words: readonly string[], flag: string): string[] {
  return words.flatMap((word) => {
    const parts = word.split(',');
    if (parts.includes('')) throw usage(`${flag}: a name is missing: ${quoted(word)}`);
    return parts;
  });
}

function count(text: string, flag: string, least: number, most: number): number {
  const n = /^\d{1,10}$/.test(text) ? Number(text) : Number.NaN;
  if (n >= least && n <= most) return n;
  throw usage(`${flag}: not a whole number from ${least} to ${most}: ${quoted(text)}`);
}

function positive(text: string, flag: string): number {
  const n = /^(\d{1,12}(\.\d{1,9})?|\.\d{1,9})$/.test(text) ? Number(text) : Number.NaN;
  if (n >= 0) return n;
  throw usage(`${flag}: not a number of at least 0: ${quoted(text)}`);
}

function label(word: string): [string, string] {
  const at = word.indexOf('=');
  const key = at < 0 ? word : word.slice(0, at);
  if (!/^[A-Za-z0-9._/-]{1,64}$/.test(key)) throw usage(`--label: not k or k=v: ${quoted(word)}`);
  return [key, at < 0 ? '' : word.slice(at + 1)];
}

function variable(word: string): [string, string] {
  const at = word.indexOf('=');
  const key = at < 0 ? '' : word.slice(0, at);
  if (!/^[A-Za-z0-9_]{1,64}$/.test(key)) throw usage(`--var: not k=v: ${quoted(word)}`);
  return [key, word.slice(at + 1)];
}

/** A host name as a worker's name: what does not fit in a file name becomes `-`. */
function safeName(host: string): string {
  const name = host
    .replaceAll(/[^A-Za-z0-9._-]/g, '-')
    .replace(/^[.-]+/, '')
    .slice(0, 64);
  return name === '' ? 'worker' : name;
}
