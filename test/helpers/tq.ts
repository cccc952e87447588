/**
 * A queue in a temporary directory and the built binary on it, for tests from outside. Whatever a test starts here has ended
 * when the test has.
 */
import { execFileSync, spawn, type ChildProcess } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, onTestFinished } from 'vitest';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import type { TaskView } from '../../src/queue/read.ts';

/** The program under test; `npm run build` makes it. */
export const TQ: string = process.env['TQ_BIN'] ?? fileURLToPath(new URL('../../dist/tq', import.meta.url));

export interface Ran {
  /** Exit code, or 128 + the number of the signal that ended it. */
  code: number;
  stdout: string;
  stderr: string;
  /** stdout byte for byte. */
  bytes: Buffer;
}

export interface RunOptions {
  input?: string | Uint8Array;
  /** Over the clean environment that every command gets; undefined takes a variable away. */
  env?: Record<string, string | undefined>;
  cwd?: string;
}

/** A process that goes on beside the test. */
export interface Started {
  readonly child: ChildProcess;
  readonly pid: number;
  /** What it has printed so far. */
  stdout(): string;
  stderr(): string;
  /** Resolves when it has ended and all that it printed was read. */
  readonly ended: Promise<Ran>;
  signal(name: NodeJS.Signals): void;
}

export interface TestWorker extends Started {
  readonly name: string;
  /** TERM: it lets its tasks finish and leaves. */
  stop(): Promise<Ran>;
}

export interface Farm {
  /** A directory of the test's own; commands run there. */
  readonly dir: string;
  /** The queue in it, which the commands find through TQ_DIR. */
  readonly queue: string;
  /** Runs a command to its end. */
  tq(args: readonly string[], options?: RunOptions): Promise<Ran>;
  /** Runs a command that must succeed; its stdout. */
  ok(args: readonly string[], options?: RunOptions): Promise<string>;
  /** Starts a command and goes on. */
  start(args: readonly string[], options?: RunOptions): Started;
  /** Starts a worker and waits for its name; polls every 50 ms unless told otherwise. */
  worker(args?: readonly string[], options?: RunOptions): Promise<TestWorker>;
  /** Submits; the id. */
  submit(...args: string[]): Promise<string>;
  /** What `tq show --json` says of one task. */
  show(id: string): Promise<TaskView>;
  /** Waits until the task is in this state. */
  reaches(id: string, state: string): Promise<TaskView>;
  /** The queue itself, for what no command does. */
  open(): Promise<Queue>;
  /** Ends everything and removes the directory; called when the test finishes unless `keep` was asked for. */
  close(): Promise<void>;
}

/** A new farm. `keep`: for a `beforeAll`, whose `afterAll` calls `close`. */
export async function makeFarm(options: { keep?: boolean; lease?: number; shared?: boolean } = {}): Promise<Farm> {
  if (!existsSync(TQ)) throw new Error(`${TQ} is not there: npm run build`);
  const dir = realpathSync(mkdtempSync(path.join(os.tmpdir(), 'tq-test-')));
  const queue = path.join(dir, 'q');
  const home = path.join(dir, 'home');
  mkdirSync(home);
  await initQueue(queue, { shared: options.shared ?? false, leaseMs: options.lease ?? null });
  const running = new Set<Started>();

  const start = (args: readonly string[], given: RunOptions = {}): Started => {
    const env = { PATH: process.env['PATH'], HOME: home, LANG: 'C.UTF-8', SHELL: '/bin/sh', TQ_DIR: queue, ...given.env };
    const began = launch(args, { ...given, env, cwd: given.cwd ?? dir });
    running.add(began);
    void began.ended.then(() => running.delete(began));
    return began;
  };
  const tq: Farm['tq'] = (args, given) => start(args, given).ended;

  const farm: Farm = {
    dir,
    queue,
    tq,
    start,
    async ok(args, given) {
      const ran = await tq(args, given);
      expect(ran.code, `tq ${args.join(' ')}: ${ran.stderr}`).toBe(0);
      return ran.stdout;
    },
    async worker(args = [], given = {}) {
      const began = start(['worker', '--poll', '50ms', ...args], given);
      await until(
        () => began.stdout().includes('\n') || began.child.exitCode !== null,
        () => `a worker says its name: ${began.stderr()}`,
      );
      const name = began.stdout().split('\n')[0]!;
      if (name === '') throw new Error(`the worker did not start: ${began.stderr()}`);
      return Object.assign(began, {
        name,
        stop: () => {
          began.signal('SIGTERM');
          return began.ended;
        },
      });
    },
    async submit(...args) {
      return (await farm.ok(['submit', ...args])).trim();
    },
    async show(id) {
      return JSON.parse(await farm.ok(['show', '--json', id])) as TaskView;
    },
    async reaches(id, state) {
      let view = await farm.show(id);
      await until(
        async () => {
          view = await farm.show(id);
          return view.state === state;
        },
        () => `${id} is ${state}: it is ${view.state} (${view.reason ?? 'no reason'})`,
      );
      return view;
    },
    open: () => openQueue(queue),
    async close() {
      // A worker's second TERM ends its tasks too; its guardian sees to them after a KILL.
      for (const name of ['SIGTERM', 'SIGTERM', 'SIGKILL'] as const) {
        for (const began of running) began.signal(name);
        await Promise.race([Promise.all([...running].map((began) => began.ended)), sleep(name === 'SIGTERM' ? 1000 : 5000)]);
        if (running.size === 0) break;
      }
      rmSync(dir, { recursive: true, force: true, maxRetries: 10, retryDelay: 50 });
    },
  };
  if (options.keep !== true) onTestFinished(() => farm.close());
  return farm;
}

function launch(args: readonly string[], { input, env, cwd }: RunOptions): Started {
  const child = spawn(TQ, args, { cwd, env: env as NodeJS.ProcessEnv, stdio: ['pipe', 'pipe', 'pipe'] });
  const out: Buffer[] = [];
  const err: Buffer[] = [];
  child.stdout.on('data', (part: Buffer) => out.push(part));
  child.stderr.on('data', (part: Buffer) => err.push(part));
  // A command that does not read its input may be gone before it is written.
  child.stdin.on('error', () => undefined);
  child.stdin.end(input ?? '');
  const stdout = (): string => Buffer.concat(out).toString();
  const stderr = (): string => Buffer.concat(err).toString();
  const ended = new Promise<Ran>((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code, signal) => {
      const died = signal === null ? 0 : 128 + os.constants.signals[signal];
      resolve({ code: code ?? died, stdout: stdout(), stderr: stderr(), bytes: Buffer.concat(out) });
    });
  });
  return { child, pid: child.pid ?? 0, stdout, stderr, ended, signal: (name) => void child.kill(name) };
}

const POLL_MS = 20;
/** Only ends a test whose condition never comes. */
const PATIENCE_MS = 30_000;

/** Waits for a condition, never for a duration. `what` names it when it does not come. */
export async function until(condition: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const began = performance.now();
  while (!(await condition())) {
    if (performance.now() - began > PATIENCE_MS) throw new Error(`did not come: ${what()}`);
    await sleep(POLL_MS);
  }
}

/** Between two looks at a condition. */
export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** Whether the process runs; one that is dead and only waits to be buried by its parent does not. */
export function isThere(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, 'utf8'));
  } catch {
    return false;
  }
}

/** The processes that a process started; of a worker its guardian and its tasks. */
export function childrenOf(pid: number): number[] {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  return rows.map((row) => row.trim().split(/\s+/).map(Number)).flatMap(([child, parent]) => (parent === pid ? [child!] : []));
}
