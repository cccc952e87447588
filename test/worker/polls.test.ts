/** What a worker asks of the file system at each poll. Counted at the door of the queue, against its own heartbeats. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import type { FsOp } from '../../src/queue/fsx.ts';
import { addCron } from '../../src/queue/cron.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { readState, writeWant } from '../../src/queue/registry.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import { hostFacts } from '../../src/worker/facts.ts';
import { runWorker } from '../../src/worker/machine.ts';
import type { WorkerOptions } from '../../src/worker/worker.ts';

const NAME = 'w1';
const POLL_MS = 50;

interface Counted {
  q: Queue;
  dir: string;
  /** Calls so far whose path ends so. */
  calls(op: FsOp, ending: string): number;
  beats(n: number): Promise<void>;
}

/** A worker in this process on a new queue; it leaves when the test has finished. */
async function counted(network: boolean): Promise<Counted> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-polls-'));
  const root = `${dir}/q`;
  await initQueue(root, { shared: false, leaseMs: null });
  const seen: string[] = [];
  const q = await openQueue(root, {
    network,
    fault: (op, file) => {
      seen.push(`${op} ${file}`);
      return undefined;
    },
  });
  const outside = await openQueue(root);
  const calls = (op: FsOp, ending: string): number => seen.filter((line) => line.startsWith(`${op} `) && line.endsWith(ending)).length;
  const left = runWorker(q, hostFacts(), options(dir), { announced: () => undefined, log: () => undefined });
  onTestFinished(async () => {
    await writeWant(outside, NAME, 'offline now');
    await left;
    fs.rmSync(dir, { recursive: true, force: true });
  });
  return {
    q: outside,
    dir,
    calls,
    async beats(n) {
      const enough = calls('write', '/heartbeat') + n;
      await until(() => calls('write', '/heartbeat') >= enough);
    },
  };
}

async function until(look: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await look())) await new Promise((resolve) => setTimeout(resolve, 10));
}

test.each([false, true])('C14: an idle worker looks for work once a poll (network %s)', async (network) => {
  const w = await counted(network);
  await w.beats(3);
  const before = w.calls('list', '/queued');
  const beatsBefore = w.calls('write', '/heartbeat');
  await w.beats(20);
  const beats = w.calls('write', '/heartbeat') - beatsBefore;
  expect(w.calls('list', '/queued') - before).toBeLessThanOrEqual(beats * 1.5);
});

test.each([false, true])('H15: what is not due costs a look at one directory a poll (network %s)', async (network) => {
  const w = await counted(network);
  for (let i = 0; i < 3; i++) {
    await addCron(w.q, {
      expr: '0 0 29 2 *',
      tz: 'UTC',
      overlap: 'skip',
      catchup: 'none',
      draft: draft('true', w.dir),
      by: { user: 'u', host: 'h' },
    });
  }
  // Until the directory has had one time for so long that a change would be seen.
  const began = Date.now();
  await until(() => Date.now() - began > 3000);
  await w.beats(2);
  const cron = (): number[] => [w.calls('stat', '/cron'), w.calls('list', '/cron')];
  const [looks, lists] = cron();
  const beatsBefore = w.calls('write', '/heartbeat');
  await w.beats(20);
  const beats = w.calls('write', '/heartbeat') - beatsBefore;
  const after = cron();
  expect(after[0]! - looks!).toBeGreaterThan(0);
  // On a network what seems missing is asked for twice.
  expect(after[0]! - looks!).toBeLessThanOrEqual(beats * 2 + 2);
  expect(after[1]! - lists!).toBeLessThanOrEqual(Math.ceil(beats / 30) + 1);
});

test('C14: a worker that was asked to sleep and has a task to end first waits for it without looking round all the time', async () => {
  const w = await counted(false);
  const { id } = await submitTask(w.q, draft(`while test ! -e ${w.dir}/go; do sleep 0.02; done`, w.dir));
  await until(async () => (await readState(w.q, NAME))?.running.some((r) => r.id === id) === true);
  await writeWant(w.q, NAME, 'asleep');
  await until(async () => (await readState(w.q, NAME))?.want === 'asleep');
  // Its due tasks are looked at once a poll; a poll after the last look that time has passed.
  await w.beats(3);
  const before = w.calls('read', '/want');
  const beatsBefore = w.calls('write', '/heartbeat');
  await w.beats(20);
  const beats = w.calls('write', '/heartbeat') - beatsBefore;
  expect(w.calls('read', '/want') - before).toBeLessThanOrEqual(beats * 3);
  fs.writeFileSync(`${w.dir}/go`, '');
  await until(async () => (await readState(w.q, NAME))?.state === 'asleep');
});

function options(dir: string): WorkerOptions {
  return {
    name: NAME,
    jobs: 2,
    queues: ['default'],
    labels: {},
    offers: { cpus: 2 },
    pollMs: POLL_MS,
    untilEmpty: false,
    maxTasks: null,
    idleMs: null,
    timeLimitMs: null,
    hours: null,
    gate: null,
    pre: null,
    post: null,
    maxLoad: null,
    minFreeMem: null,
    passEnv: [],
    vars: {},
    handlers: null,
    runUsers: null,
    restartExitCode: null,
    only: null,
    // A guardian that does nothing: it ends with its pipe.
    self: ['/bin/sh', '-c', `cd ${dir} && exec cat > /dev/null`],
    version: '0',
    umask: 0o022,
  };
}

function draft(line: string, cwd: string): TaskDraft {
  return {
    queue: 'default',
    priority: 0,
    command: [line],
    shell: '/bin/sh',
    cwd,
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    envMode: 'min',
    submittedBy: { user: os.userInfo().username, host: os.hostname() },
    submitDir: cwd,
    retries: 0,
    backoff: { kind: 'none' },
    jitter: false,
    graceMs: 1000,
    onLost: 'requeue',
    split: false,
  };
}
