/** The heartbeat file: overwritten in place by its one writer, read by peers that must never take a live worker for a silent one. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, expect, test } from 'vitest';
import { initQueue, openQueue } from '../../src/queue/open.ts';
import { beat, pulse, readBeat, takeName, writeWorker } from '../../src/queue/registry.ts';
import { mkdirp } from '../../src/queue/fsx.ts';
import { newObserver, observe } from '../../src/queue/undertake.ts';

const homes: string[] = [];
afterEach(() => {
  for (const home of homes.splice(0)) fs.rmSync(home, { recursive: true, force: true });
});

async function queue(options: { leaseMs: number | null; network?: boolean } = { leaseMs: null }) {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-heartbeat-'));
  homes.push(home);
  const network = options.network ?? false;
  await initQueue(`${home}/q`, { shared: false, leaseMs: options.leaseMs }, { network });
  return openQueue(`${home}/q`, { network });
}

const LONG = 'w1.2250.58w-4e4a6c2-2fe8d-08b02-pz1d';
const SHORT = 'w1.850.8j-4e4a6c2-5d393-08b02-k76w';

test.each([false, true])(
  'a session with a shorter name than the one before is read whole and without its rest (network %s)',
  async (network) => {
    const q = await queue({ leaseMs: null, network });
    await mkdirp(q.fsx, q.lay.worker('w1'));
    await beat(q, 'w1', LONG, 28);
    await beat(q, 'w1', SHORT, 1);
    expect(await readBeat(q, 'w1')).toEqual({ counter: '000000000001', session: SHORT, load: null });
    await beat(q, 'w1', SHORT, 2);
    expect(await pulse(q, 'w1')).toMatchObject({ counter: '000000000002', session: SHORT });
  },
);

test('I5: a peer whose heartbeat moves is never overdue, though its session has a shorter name than the one before', async () => {
  const q = await queue({ leaseMs: 100 });
  await takeName(q, 'w1', SHORT);
  await mkdirp(q.fsx, q.lay.session(SHORT));
  await beat(q, 'w1', LONG, 28);
  const observer = newObserver();
  const began = performance.now();
  let overdue: string[] = [];
  for (let n = 1; overdue.length === 0 && performance.now() - began < 3 * q.leaseMs; n++) {
    await beat(q, 'w1', SHORT, n);
    overdue = await observe(q, observer, 'me', 20);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  expect(overdue).toEqual([]);
});

test("I7: a silent peer is not overdue before its own lease is over, where that is longer than the observer's", async () => {
  const q = await queue({ leaseMs: 300 });
  await takeName(q, 'w1', SHORT);
  await mkdirp(q.fsx, q.lay.session(SHORT));
  await beat(q, 'w1', SHORT, 1);
  const file = { name: 'w1', session: SHORT, host: 'far', pid: 850, startedAt: 0, version: '0', jobs: 1, queues: ['default'] };
  const rest = { labels: {}, offers: {}, heartbeatMs: 10, restartExitCode: null, settings: {} };
  await writeWorker(q, { ...file, ...rest, leaseMs: 900 });
  const observer = newObserver();
  const began = performance.now();
  let overdue: string[] = [];
  while (overdue.length === 0) {
    overdue = await observe(q, observer, 'me', 100);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  expect(overdue).toEqual([SHORT]);
  expect(performance.now() - began).toBeGreaterThanOrEqual(900);
});
