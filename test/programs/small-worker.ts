/**
 * A worker in small for the tests of processes: obeys one JSON object a line on its standard input and answers on standard
 * output, also one a line. It runs in each runtime that the product runs in.
 */
import fs from 'node:fs';
import readline from 'node:readline';
import { endTree, spawnTask, sweepGroup, type SpawnedTask, type SpawnSpec } from '../../src/worker/child.ts';
import { startGuardian, type Guardian } from '../../src/worker/guardian.ts';

export type Order =
  | { do: 'spawn'; name: string; argv: string[]; cwd: string; env: Record<string, string>; log: string; stdin?: string }
  | { do: 'kill'; name: string; signal: NodeJS.Signals }
  | { do: 'end'; name: string; session: string; taskId: string; attempt: number; graceMs: number; now?: 'now' }
  | { do: 'sweep'; name: string }
  | { do: 'use up descriptors'; leave: number }
  | { do: 'give back descriptors' }
  | { do: 'use memory'; bytes: number }
  | { do: 'ignore signals' }
  | { do: 'guard'; command: string[]; session: string; leaseMs: number; onEnd: string[] }
  | { do: 'watch'; pid: number; taskId: string; attempt: number }
  | { do: 'unwatch'; pid: number }
  | { do: 'tick' }
  | { do: 'keep ticking'; everyMs: number }
  | { do: 'stop ticking' }
  | { do: 'close' };

const tasks = new Map<string, SpawnedTask>();
const descriptors: number[] = [];
const memory: Buffer[] = [];
let guardian: Guardian | undefined;
let ticking: NodeJS.Timeout | undefined;
let ticks = 0;

function say(answer: Record<string, unknown>): void {
  fs.writeSync(1, `${JSON.stringify(answer)}\n`);
}

function obey(order: Order): void {
  switch (order.do) {
    case 'spawn': {
      const log = fs.openSync(order.log, 'a');
      const stdin = order.stdin === undefined ? 'null' : fs.openSync(order.stdin, 'r');
      const spec: SpawnSpec = { argv: order.argv, cwd: order.cwd, env: order.env, stdin, stdout: log, stderr: log };
      const task = spawnTask(spec);
      fs.closeSync(log);
      if (stdin !== 'null') fs.closeSync(stdin);
      if (task.kind === 'rejected')
        return say({ event: 'rejected', of: order.name, reason: task.reason, exitCode: task.exitCode, errno: task.errno });
      tasks.set(order.name, task);
      say({ event: 'spawned', of: order.name, pid: task.pid });
      void task.exited.then((info) => say({ event: 'exited', of: order.name, ...info }));
      return;
    }
    case 'kill':
      tasks.get(order.name)?.kill(order.signal);
      return say({ event: 'signalled', of: order.name });
    case 'end': {
      const task = tasks.get(order.name)!;
      void endTree({ ...order, pid: task.pid }, task.exited).then(() => say({ event: 'ended', of: order.name }));
      return;
    }
    case 'sweep':
      return say({ event: 'swept', of: order.name, found: sweepGroup(tasks.get(order.name)!.pid) });
    case 'use up descriptors':
      try {
        for (;;) descriptors.push(fs.openSync('/dev/null', 'r'));
      } catch {
        for (const fd of descriptors.splice(0, order.leave)) fs.closeSync(fd);
        return say({ event: 'used up' });
      }
    case 'give back descriptors':
      for (const fd of descriptors.splice(0)) fs.closeSync(fd);
      return say({ event: 'given back' });
    case 'use memory':
      memory.push(Buffer.alloc(order.bytes, 1));
      return say({ event: 'memory used' });
    case 'ignore signals':
      for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP', 'SIGPIPE', 'SIGUSR2'] as const) process.on(signal, () => {});
      return say({ event: 'signals ignored' });
    case 'guard':
      guardian = startGuardian({ ...order, onLost: () => say({ event: 'lost' }) });
      return say({ event: 'guarded', pid: guardian.pid });
    case 'watch':
      return guardian?.watch(order.pid, order.taskId, order.attempt);
    case 'unwatch':
      return guardian?.unwatch(order.pid);
    case 'tick':
      guardian?.tick();
      return say({ event: 'ticked' });
    case 'keep ticking':
      ticking = setInterval(() => {
        guardian?.tick();
        say({ event: 'ticks', count: ++ticks });
      }, order.everyMs);
      return;
    case 'stop ticking':
      return clearInterval(ticking);
    case 'close':
      void guardian?.close().then(() => say({ event: 'closed' }));
  }
}

readline.createInterface({ input: process.stdin }).on('line', (line) => obey(JSON.parse(line) as Order));
say({ event: 'ready', pid: process.pid });
