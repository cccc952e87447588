/** Many dependants of one task: what they cost to let go, skip and take back, and that a process which is at it does nothing else no harm. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { newSubmission, submitBulk } from '../../src/queue/bulk.ts';
import { afterTerminal, reviveDependants, tryReleaseAll } from '../../src/queue/depend.ts';
import { entriesOf } from '../../src/queue/find.ts';
import { makeFsx, type FsOp } from '../../src/queue/fsx.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import type { State } from '../../src/task/types.ts';
import { draft } from './harness.ts';

const CHILDREN = 500;

/** A queue whose calls are counted by kind. */
async function counted(): Promise<{ q: Queue; calls: Map<FsOp, number>; dir: string }> {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-dependants-'));
  onTestFinished(() => fs.rmSync(base, { recursive: true, force: true }));
  const dir = path.join(base, 'q');
  await initQueue(dir, { shared: false, leaseMs: null });
  const calls = new Map<FsOp, number>();
  const q = await openQueue(dir, {
    fault: (op) => {
      calls.set(op, (calls.get(op) ?? 0) + 1);
      return undefined;
    },
  });
  return { q, calls, dir };
}

async function inState(q: Queue, state: State): Promise<number> {
  let n = 0;
  for await (const _ of entriesOf(q, state === 'queued' ? { state, lane: 'default', priority: 0 } : ({ state } as never))) n++;
  return n;
}

/** As its worker would end it; where the file lies now. */
async function end(q: Queue, from: string, id: string, state: 'done' | 'failed', n: number): Promise<string> {
  const to = q.lay.entry({ state }, id, n);
  fs.mkdirSync(path.dirname(to), { recursive: true });
  fs.renameSync(from, to);
  await afterTerminal(q, { id });
  return to;
}

it('H17: letting go, skipping and taking back are a few calls for each dependant, however many there are', async () => {
  const { q, calls } = await counted();
  const parent = await submitTask(q, draft());
  const many = Array.from({ length: CHILDREN }, () => draft({ after: [{ id: parent.id, kind: 'after' }] }));

  const spent = async (work: () => Promise<unknown>): Promise<{ list: number; all: number }> => {
    calls.clear();
    await work();
    return { list: calls.get('list') ?? 0, all: [...calls.values()].reduce((a, b) => a + b, 0) };
  };
  // A file and a marker for each, fsynced.
  const submitted = await spent(async () => submitBulk(q, await newSubmission(q), many));
  expect(await inState(q, 'waiting')).toBe(CHILDREN);
  expect(submitted.list).toBeLessThan(100);
  expect(submitted.all).toBeLessThan(7 * CHILDREN);

  // Each: the marker that is there, why, the move, its own dependants, the parent once more.
  let file = q.lay.entry({ state: 'queued', lane: 'default', priority: 0 }, parent.id, 0);
  const skipped = await spent(async () => (file = await end(q, file, parent.id, 'failed', 1)));
  expect(await inState(q, 'skipped')).toBe(CHILDREN);
  expect(skipped.all).toBeLessThan(15 * CHILDREN);

  const again = q.lay.entry({ state: 'queued', lane: 'default', priority: 0 }, parent.id, 2);
  fs.mkdirSync(path.dirname(again), { recursive: true });
  fs.renameSync(file, again);
  const revived = await spent(() => reviveDependants(q, parent.id));
  expect(await inState(q, 'waiting')).toBe(CHILDREN);
  expect(revived.all).toBeLessThan(8 * CHILDREN);

  const released = await spent(() => end(q, again, parent.id, 'done', 3));
  expect(await inState(q, 'queued')).toBe(CHILDREN);
  expect(released.list).toBeLessThan(2 * CHILDREN);
  // Reading it, what is kept of its due time, whether it was retried, the move.
  expect(released.all).toBeLessThan(8 * CHILDREN);
});

it('H17: nothing is listed for each of many that wait for the first time', async () => {
  const { q, calls } = await counted();
  const parent = await submitTask(q, draft());
  await submitBulk(
    q,
    await newSubmission(q),
    Array.from({ length: CHILDREN }, () => draft({ after: [{ id: parent.id, kind: 'after' }] })),
  );
  calls.clear();
  await end(q, q.lay.entry({ state: 'queued', lane: 'default', priority: 0 }, parent.id, 0), parent.id, 'done', 1);
  expect(calls.get('list')).toBeLessThan(100);
  expect(await inState(q, 'queued')).toBe(CHILDREN);
});

it('H2: one that cannot be read keeps neither its sisters nor its parent back', async () => {
  const { q } = await counted();
  const parent = await submitTask(q, draft());
  const tasks = await submitBulk(
    q,
    await newSubmission(q),
    Array.from({ length: 20 }, () => draft({ after: [{ id: parent.id, kind: 'after' }] })),
  );
  fs.writeFileSync(q.lay.entry({ state: 'waiting' }, tasks[7]!.id, 0), '{"schema":');
  await end(q, q.lay.entry({ state: 'queued', lane: 'default', priority: 0 }, parent.id, 0), parent.id, 'done', 1);
  expect(await inState(q, 'queued')).toBe(19);
});

it('children of several parents, asked together, are judged each by its own', async () => {
  const { q } = await counted();
  const [a, b, c] = [await submitTask(q, draft()), await submitTask(q, draft()), await submitTask(q, draft())];
  const after = (...ids: string[]): TaskDraft => draft({ after: ids.map((id) => ({ id, kind: 'after' as const })) });
  const s = await newSubmission(q);
  const tasks = await submitBulk(q, s, [after(a.id), after(b.id), after(a.id, b.id), after(c.id), after(a.id, c.id)]);
  const queued = (id: string): string => q.lay.entry({ state: 'queued', lane: 'default', priority: 0 }, id, 0);
  for (const [id, state] of [
    [a.id, 'done'],
    [b.id, 'failed'],
  ] as const) {
    const to = q.lay.entry({ state }, id, 1);
    fs.mkdirSync(path.dirname(to), { recursive: true });
    fs.renameSync(queued(id), to);
  }
  await tryReleaseAll(
    q,
    tasks.map((t) => t.id),
  );
  const where = tasks.map(
    (t) =>
      (['waiting', 'skipped'] as const).find((state) => fs.existsSync(q.lay.entry({ state }, t.id, 0))) ??
      (fs.existsSync(queued(t.id)) ? 'queued' : 'nowhere'),
  );
  expect(where).toEqual(['queued', 'skipped', 'skipped', 'waiting', 'waiting']);
});

it('I2: calls on a local disk in a row leave timers their turn', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-turns-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true }));
  const fsx = makeFsx({ root: dir });
  let ticks = 0;
  const timer = setInterval(() => ticks++, 1);
  const began = performance.now();
  await Promise.all(
    [1, 2, 3].map(async () => {
      while (performance.now() - began < 500) await fsx.list(dir);
    }),
  );
  clearInterval(timer);
  expect(ticks).toBeGreaterThan(2);
});
