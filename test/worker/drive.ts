/** Drives the worker in small (`programs/small-worker.ts`) in either runtime, and looks at processes from outside. */
import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import readline from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { leftovers, killAll, startTimeOf } from '../../src/worker/proc.ts';
import type { Order } from '../programs/small-worker.ts';

const root = path.resolve(import.meta.dirname, '../..');
export const programs = path.join(root, 'test/programs');

/** The two ways the product runs: the command that runs a .ts file in each. */
export const runtimes = {
  node: process.execPath,
  bun: fs.realpathSync(path.join(root, 'node_modules/.bin/bun')),
} as const;
export type Runtime = keyof typeof runtimes;

export interface Answer {
  event: string;
  of?: string;
  [field: string]: unknown;
}

export interface SmallWorker {
  pid: number;
  process: ChildProcess;
  order(order: Order): void;
  /** The next unread answer of this kind (about that task); those before it stay unread. */
  answer(event: string, of?: string): Promise<Answer>;
  /** Spawns and waits for the start or the rejection. */
  spawn(name: string, argv: string[], more?: Partial<Extract<Order, { do: 'spawn' }>>): Promise<Answer>;
  /** Spawns and waits for the end; the answer has the output as `text`. */
  run(name: string, argv: string[], more?: Partial<Extract<Order, { do: 'spawn' }>>): Promise<Answer & { text: string }>;
}

/** A place for one test, and everything in it that has to end with the test. */
export interface Place {
  dir: string;
  session: string;
  log: string;
  /** What a task of this place has in its environment. */
  env(more?: Record<string, string>): Record<string, string>;
  worker(runtime: Runtime, wrapper?: string[]): Promise<SmallWorker>;
  end(): Promise<void>;
}

let places = 0;

export function makePlace(): Place {
  const dir = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'tq-processes-')));
  const session = `test.${process.pid}.${++places}`;
  const log = path.join(dir, 'log');
  const workers: SmallWorker[] = [];
  const env = (more: Record<string, string> = {}): Record<string, string> => ({
    PATH: '/usr/local/bin:/usr/bin:/bin',
    TQ_SESSION: session,
    TQ_TASK_ID: 'task1',
    TQ_ATTEMPT: '1',
    ...more,
  });
  return {
    dir,
    session,
    log,
    env,
    async worker(runtime, wrapper = []) {
      const worker = await startWorker(runtime, wrapper, { cwd: dir, env: env(), log });
      workers.push(worker);
      return worker;
    },
    async end() {
      for (const worker of workers) worker.process.kill('SIGKILL');
      await until('the processes of the test are gone', () => {
        const left = leftovers(session);
        killAll(left, 'SIGKILL');
        return left.length === 0;
      });
      fs.rmSync(dir, { recursive: true, force: true });
    },
  };
}

async function startWorker(
  runtime: Runtime,
  wrapper: string[],
  defaults: { cwd: string; env: Record<string, string>; log: string },
): Promise<SmallWorker> {
  const [program = '', ...args] = [...wrapper, runtimes[runtime], path.join(programs, 'small-worker.ts')];
  const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'], detached: true });
  const answers: Answer[] = [];
  let news = Promise.withResolvers<void>();
  readline.createInterface({ input: child.stdout }).on('line', (line) => {
    answers.push(JSON.parse(line) as Answer);
    news.resolve();
    news = Promise.withResolvers();
  });
  child.stdin.on('error', () => {});

  const worker: SmallWorker = {
    pid: child.pid ?? 0,
    process: child,
    order: (order) => void child.stdin.write(`${JSON.stringify(order)}\n`),
    async answer(event, of) {
      for (;;) {
        const at = answers.findIndex((one) => one.event === event && (of === undefined || one.of === of));
        if (at >= 0) return answers.splice(at, 1)[0]!;
        await news.promise;
      }
    },
    async spawn(name, argv, more = {}) {
      worker.order({ do: 'spawn', name, argv, ...defaults, ...more });
      for (;;) {
        const at = answers.findIndex((one) => (one.event === 'spawned' || one.event === 'rejected') && one.of === name);
        if (at >= 0) return answers.splice(at, 1)[0]!;
        await news.promise;
      }
    },
    async run(name, argv, more = {}) {
      const log = more.log ?? `${defaults.log}.${name}`;
      const started = await worker.spawn(name, argv, { ...more, log });
      if (started.event === 'rejected') throw new Error(`rejected: ${String(started['reason'])}`);
      return { ...(await worker.answer('exited', name)), text: fs.readFileSync(log, 'utf8') };
    },
  };
  await worker.answer('ready');
  return worker;
}

/** Waits for a condition; the bound only ends a test whose condition never comes. */
export async function until(what: string, holds: () => boolean | Promise<boolean>, boundMs = 30_000): Promise<void> {
  const giveUpAt = performance.now() + boundMs;
  while (!(await holds())) {
    if (performance.now() > giveUpAt) throw new Error(`waited in vain until ${what}`);
    await sleep(10);
  }
}

/** The numbers that tasks wrote to a file, once there are so many. */
export async function pidsIn(file: string, count: number): Promise<number[]> {
  const read = (): number[] => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split(/\s+/).map(Number) : []);
  await until(`${file} has ${count} numbers`, () => read().filter((pid) => pid > 0).length >= count);
  return read();
}

export function allAlive(pids: number[]): boolean {
  return pids.every((pid) => startTimeOf(pid) !== null);
}

export function allGone(pids: number[]): boolean {
  return pids.every((pid) => startTimeOf(pid) === null);
}

/** A shell program of three processes: itself, a child, and a grandchild in a session of its own. Their numbers go to `pids`. */
export function family(extra = ''): string[] {
  const escapee = "setsid sh -c 'echo $$ >> pids; exec sleep 1000' &";
  return ['sh', '-c', `${extra} echo $$ >> pids; sh -c 'echo $$ >> pids; ${extra} sleep 1000; sleep 1000' & ${escapee} wait; wait`];
}
