/** The store behind the live view, on queues of real files: what it says, and how many calls that takes. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { entryName, makeLayout, type Place } from '../../src/queue/layout.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { formatTask } from '../../src/queue/task-file.ts';
import { count } from '../../src/queue/walk.ts';
import { STATES, type State, type Task } from '../../src/task/types.ts';
import type { Ask, Snapshot, Store } from '../../src/top/model.ts';
import { openStore, type Eyes } from '../../src/top/store.ts';

const ASK: Ask = { filter: '', sort: null, reverse: false, offset: 0, rows: 10, cursor: null, unfolded: new Set() };
const SESSION = 'w1.1.0-0-0-0-xxxxxxxx';

interface Watched {
  q: Queue;
  store: Store;
  /** Looks again, with some time passed, until nothing is left to be counted. */
  look(ask?: Partial<Ask>): Promise<Snapshot>;
  /** Paths of the calls since the last time. */
  calls(): string[];
}

async function watched(fill: (q: Queue) => void, network = false): Promise<Watched> {
  // Where very many files are made in no time.
  const dir = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'tq-top-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  const root = path.join(dir, 'q');
  await initQueue(root, { shared: false, leaseMs: null });
  let calls: string[] = [];
  const q = await openQueue(root, { network, fault: (op, file) => void calls.push(`${op} ${file.slice(root.length + 1)}`) });
  fill(q);
  let passedMs = 0;
  const store = await openStore(q, { now: () => Date.now(), monotonic: () => performance.now() + passedMs }, BLIND);
  onTestFinished(() => store.close());
  return {
    q,
    store,
    async look(ask = {}) {
      for (;;) {
        passedMs += 60_000;
        const seen = await store.look({ ...ASK, ...ask });
        if (seen.isComplete || seen.unreachableSince !== null) return seen;
      }
    },
    calls() {
      const made = calls;
      calls = [];
      return made;
    },
  };
}

/** No workers. */
const BLIND: Eyes = { names: async () => [], look: async () => undefined, word: async () => 'waiting' };

function put(q: Queue, place: Place, id: string, n = 0, more: Partial<Task> = {}): void {
  const task: Task = {
    schema: 'tq.task/1',
    id,
    name: `task-${id.slice(-3)}`,
    queue: 'default',
    priority: 0,
    command: ['true'],
    cwd: '/',
    env: {},
    envMode: 'min',
    submittedAt: 0,
    submittedBy: { user: 'u', host: 'h' },
    submitDir: '/',
    retries: 0,
    backoff: { kind: 'none' },
    jitter: false,
    graceMs: 0,
    onLost: 'requeue',
    split: false,
    ...more,
  };
  const file = makeLayout(q.dir).entry(place, id, n);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, formatTask(task));
}

const QUEUED: Place = { state: 'queued', lane: 'default', priority: 0 };
/** A hundred in each bucket. */
const idOf = (i: number): string =>
  `1aaa${String(Math.floor(i / 100))
    .padStart(2, '0')
    .slice(-2)}${String(i).padStart(8, '0')}`;
const range = (n: number): number[] => Array.from({ length: n }, (_, i) => i);
const ids = (s: Snapshot): string[] => s.rows.map((row) => row.id);

function moveTo(q: Queue, from: Place, to: Place, id: string, n: number, m: number): void {
  const lay = makeLayout(q.dir);
  fs.mkdirSync(lay.dir(to, id), { recursive: true });
  fs.renameSync(`${lay.dir(from, id)}/${entryName(id, n)}`, `${lay.dir(to, id)}/${entryName(id, m)}`);
}

describe('rows', () => {
  it('running tasks come first, then queued ones as they are claimed, then those that cannot run, then failures', async () => {
    const w = await watched((q) => {
      for (const i of range(3)) put(q, QUEUED, idOf(i));
      put(q, { state: 'queued', lane: 'other', priority: 7 }, idOf(50));
      put(q, { state: 'queued', lane: 'other', priority: 0 }, idOf(1000));
      put(q, { state: 'running', session: SESSION }, idOf(3), 1);
      put(q, { state: 'held' }, idOf(4));
      put(q, { state: 'failed' }, idOf(5), 1);
      put(q, { state: 'failed' }, idOf(6), 1);
      put(q, { state: 'done' }, idOf(7), 1);
    });
    const seen = await w.look();
    expect(ids(seen)).toEqual([3, 50, 0, 1, 2, 1000, 4, 6, 5].map(idOf));
    expect(seen.rows[0]).toMatchObject({ state: 'running', worker: 'w1', name: 'task-003', attempt: 1 });
    expect(seen.rows[1]).toMatchObject({ state: 'queued', priority: 7 });
    expect(seen).toMatchObject({ matching: 9, total: 9, isWritable: true, unreachableSince: null });
  });

  it('any part of a long list can be shown, and the row of the cursor stays in sight', async () => {
    const w = await watched((q) => {
      for (const i of range(500)) put(q, QUEUED, idOf(i));
    });
    expect(ids(await w.look({ offset: 255 }))).toEqual(range(10).map((i) => idOf(255 + i)));
    expect(ids(await w.look({ offset: 9999 }))).toEqual([idOf(499)]);
    const followed = await w.look({ offset: 0, cursor: idOf(350) });
    expect(followed.offset).toBe(341);
    expect(ids(followed).at(-1)).toBe(idOf(350));
  });

  it('K11: an array is one row with its counts, and unfolded a row for each element that is in sight', async () => {
    const many = { numbers: { kind: 'range', from: 1, to: 1000, step: 1 }, size: 1000 } as const;
    const w = await watched((q) => {
      put(q, QUEUED, idOf(0));
      put(q, QUEUED, `${idOf(1)}.11-1000`, 0, { many });
      put(q, { state: 'done' }, `${idOf(1)}.1-10`, 1, { many });
      put(q, QUEUED, idOf(2));
    });
    const folded = await w.look();
    expect(ids(folded)).toEqual([idOf(0), idOf(1), idOf(2)]);
    expect(folded.rows[1]).toMatchObject({ kind: 'array', state: 'queued', counts: { queued: 990, done: 10 }, percent: 1, isFolded: true });
    expect(folded.counts).toMatchObject({ queued: 3, done: 0 });
    const open = await w.look({ unfolded: new Set([idOf(1)]), rows: 4 });
    expect(ids(open)).toEqual([idOf(0), idOf(1), `${idOf(1)}.1`, `${idOf(1)}.2`]);
    expect(open.total).toBe(1003);
    expect(open.rows.map((row) => row.depth)).toEqual([0, 0, 1, 1]);
    const end = await w.look({ unfolded: new Set([idOf(1)]), offset: 1001 });
    expect(ids(end)).toEqual([`${idOf(1)}.1000`, idOf(2)]);
    expect(end.rows[0]).toMatchObject({ kind: 'element', state: 'queued' });
  });

  it('K1: a batch or workflow is one row by the name of its group; unfolded its tasks follow; a filter and an order ask for each', async () => {
    const id = idOf(1);
    const w = await watched((q) => {
      put(q, QUEUED, idOf(0));
      for (const n of [2, 10, 3]) put(q, QUEUED, `${id}.${n}`, 0, { group: 'film', name: `take ${n}` });
      put(q, { state: 'failed' }, `${id}.1`, 1, { group: 'film' });
      put(q, { state: 'waiting' }, `${id}.11`, 0, { group: 'film' });
      put(q, QUEUED, idOf(2));
    });
    const folded = await w.look();
    expect(ids(folded)).toEqual([idOf(0), idOf(2), id]);
    expect(folded.rows[2]).toMatchObject({
      kind: 'group',
      name: 'film',
      state: 'queued',
      counts: { queued: 3, failed: 1, waiting: 1 },
      percent: 20,
      isFolded: true,
      info: '1 of 5 failed',
    });
    const unfolded = new Set([id]);
    const open = await w.look({ unfolded });
    expect(ids(open)).toEqual([idOf(0), idOf(2), id, `${id}.1`, `${id}.2`, `${id}.3`, `${id}.10`, `${id}.11`]);
    expect(open.rows.map((row) => row.depth)).toEqual([0, 0, 0, 1, 1, 1, 1, 1]);
    expect(open.rows.map((row) => row.isFolded)).toEqual([null, null, false, null, null, null, null, null]);
    expect(open.total).toBe(8);
    const part = await w.look({ unfolded, offset: 5, rows: 2 });
    expect(ids(part)).toEqual([`${id}.3`, `${id}.10`]);
    expect(ids(await w.look({ unfolded, rows: 2, cursor: `${id}.11` }))).toEqual([`${id}.10`, `${id}.11`]);
    const takes = await w.look({ filter: 'take' });
    expect(ids(takes)).toEqual([`${id}.2`, `${id}.3`, `${id}.10`]);
    expect(takes).toMatchObject({ matching: 3, total: 7 });
    expect(await w.look({ sort: 'id' })).toMatchObject({ matching: 7, total: 7 });
  });
});

describe('counts', () => {
  it('J12: at rest they are those of tq status: a batch counts its tasks, an array is one', async () => {
    const many = { numbers: { kind: 'range', from: 1, to: 100, step: 1 }, size: 100 } as const;
    const w = await watched((q) => {
      for (const i of range(40)) put(q, QUEUED, idOf(i));
      for (const i of range(7)) put(q, { state: 'done' }, `${idOf(60)}.${i + 1}`, 1);
      for (const i of range(3)) put(q, { state: 'waiting' }, `${idOf(60)}.${i + 8}`);
      put(q, { state: 'done' }, `${idOf(70)}.1-50`, 1, { many });
      put(q, { state: 'failed' }, `${idOf(70)}.51`, 1, { many });
      put(q, QUEUED, `${idOf(70)}.52-100`, 1, { many });
      put(q, { state: 'done' }, `${idOf(80)}.1-100`, 1, { many });
      put(q, { state: 'held' }, idOf(90));
      put(q, { state: 'delayed', dueAt: 4_000_000_000_000 }, idOf(91));
      put(q, { state: 'running', session: 'set.held.1.0-0-0-0-yyyyyyyy' }, idOf(92), 1);
    });
    const seen = await w.look();
    expect(seen.counts).toEqual({ waiting: 3, delayed: 1, held: 2, queued: 41, running: 0, done: 8, failed: 0, canceled: 0, skipped: 0 });
    expect(Object.fromEntries((await count(w.q, { states: STATES })).states)).toEqual(seen.counts);
  });

  it('what was remembered of a directory counts no longer once it changed', async () => {
    const w = await watched((q) => {
      for (const i of range(100)) put(q, { state: 'done' }, idOf(i), 1);
      // As if it had been at rest for an hour.
      const dir = makeLayout(q.dir).dir({ state: 'done' }, idOf(0));
      fs.utimesSync(dir, new Date(Date.now() - 3_600_000), new Date(Date.now() - 3_600_000));
    });
    expect((await w.look()).counts.done).toBe(100);
    moveTo(w.q, { state: 'done' }, QUEUED, idOf(5), 1, 2);
    expect((await w.look()).counts).toMatchObject({ done: 99, queued: 1 });
    expect((await count(w.q, { states: STATES })).states.get('done')).toBe(99);
  });

  it('what is claimed and ends is seen at the next look, and what ended makes the rate', async () => {
    const w = await watched((q) => {
      for (const i of range(600)) put(q, QUEUED, idOf(i));
      fs.mkdirSync(`${q.dir}/running/${SESSION}`);
    });
    await w.look();
    moveTo(w.q, QUEUED, { state: 'running', session: SESSION }, idOf(500), 0, 1);
    const running = await w.look();
    expect(running.counts).toMatchObject({ queued: 599, running: 1 });
    expect(ids(running)[0]).toBe(idOf(500));
    moveTo(w.q, { state: 'running', session: SESSION }, { state: 'done' }, idOf(500), 1, 1);
    const after = await w.look();
    expect(after.counts).toMatchObject({ queued: 599, running: 0, done: 1 });
    expect(after.throughput.at(-1)).toBe(1);
    expect(after.rate).toBeGreaterThan(0);
    expect(after.etaMs).toBeGreaterThan(0);
  });
});

describe('the word', () => {
  it('goes by what was counted, however long the queue takes to be looked at again', async () => {
    const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-top-'));
    onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
    const root = path.join(dir, 'q');
    await initQueue(root, { shared: false, leaseMs: null });
    let opened = false;
    // Each look begins by asking for this file.
    const q = await openQueue(root, {
      fault: (op, file) => (opened && op === 'stat' && file.endsWith('/tq.json') ? { kind: 'delay', ms: 60_000 } : undefined),
    });
    put(q, QUEUED, idOf(0));
    const eyes: Eyes = { ...BLIND, word: async (counts) => (counts.queued > 0 ? 'waiting' : 'empty') };
    const store = await openStore(q, { now: () => Date.now(), monotonic: () => performance.now() }, eyes);
    onTestFinished(() => store.close());
    opened = true;
    expect(await store.look(ASK)).toMatchObject({ word: 'waiting', isComplete: true, counts: { queued: 1 } });
  });
});

describe('filters and orders', () => {
  it('K3: a part of a name, a state, k=v and the flags of ls narrow the list', async () => {
    const w = await watched((q) => {
      for (const i of range(300)) put(q, QUEUED, idOf(i), 0, i % 100 === 7 ? { name: `Special ${i}`, labels: { k: 'v' } } : {});
      put(q, { state: 'held' }, idOf(301), 0, { queue: 'other', group: 'g' });
      put(q, { state: 'done' }, idOf(302), 1);
    });
    expect(await w.look({ filter: 'special' })).toMatchObject({ matching: 3, total: 301 });
    expect(ids(await w.look({ filter: 'special' }))).toEqual([7, 107, 207].map(idOf));
    expect(ids(await w.look({ filter: 'k=v 107' }))).toEqual([idOf(107)]);
    expect(ids(await w.look({ filter: 'held' }))).toEqual([idOf(301)]);
    expect(ids(await w.look({ filter: '-q other' }))).toEqual([idOf(301)]);
    expect(ids(await w.look({ filter: '@g' }))).toEqual([idOf(301)]);
    expect(ids(await w.look({ filter: 'state=done' }))).toEqual([idOf(302)]);
    expect(await w.look({ filter: 'nothing-like-it' })).toMatchObject({ matching: 0, rows: [] });
    expect((await w.look({ filter: 'state=sleeping' })).filterError).toContain("'sleeping'");
    expect((await w.look({ filter: '-s' })).filterError).toBeNull();
  });

  it('K3: while a search goes on through many files, the rows in sight stay what they are', async () => {
    const w = await watched((q) => {
      for (const i of range(12_000)) put(q, QUEUED, idOf(i), 0, i < 5 ? { name: `special ${i}` } : {});
    });
    await w.look();
    const filter = 'special';
    await w.store.look({ ...ASK, filter });
    w.calls();
    // More than are remembered.
    for (let read = 0; read < 6500;) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      read += w.calls().filter((call) => call.startsWith('read ')).length;
    }
    const seen = await w.store.look({ ...ASK, filter });
    expect(seen.rows.map((row) => row.name)).toEqual(range(5).map((i) => `special ${i}`));
  });

  it('K3: of very many the first ones of the order are shown, and those that were read long ago keep their place', async () => {
    const MANY = 21_000;
    const w = await watched((q) => {
      for (const i of range(MANY)) put(q, QUEUED, idOf(i), 0, { name: `t${String((i * 7919) % MANY).padStart(5, '0')}` });
    });
    const names = async (ask: Partial<Ask>): Promise<Array<string | null>> => (await w.look(ask)).rows.map((row) => row.name);
    expect(ids(await w.look({ sort: 'id', reverse: true }))).toEqual(range(MANY).map(idOf).toSorted().toReversed().slice(0, 10));
    expect(await names({ sort: 'name' })).toEqual(range(10).map((i) => `t${String(i).padStart(5, '0')}`));
    const last = await w.look({ sort: 'name', reverse: true, offset: MANY });
    expect(last).toMatchObject({ matching: MANY, reach: 20_000, offset: 19_999 });
    expect(last.rows.map((row) => row.name)).toEqual(['t01000']);
    expect(await names({ sort: 'name', reverse: true })).toEqual(range(10).map((i) => `t${MANY - 1 - i}`));
  });

  it('K3: a column orders the rows, and reversed', async () => {
    const w = await watched((q) => {
      put(q, QUEUED, idOf(0), 0, { name: 'b' });
      put(q, QUEUED, idOf(100), 0, { name: 'c' });
      put(q, QUEUED, idOf(200), 0, { name: 'a' });
    });
    expect(ids(await w.look({ sort: 'name' }))).toEqual([200, 0, 100].map(idOf));
    expect(ids(await w.look({ sort: 'name', reverse: true }))).toEqual([100, 0, 200].map(idOf));
    expect(ids(await w.look({ sort: 'age' }))).toEqual([200, 100, 0].map(idOf));
  });
});

describe('what it costs', () => {
  const perLook = async (tasks: number, network: boolean): Promise<number> => {
    const w = await watched((q) => {
      for (const i of range(tasks)) put(q, i % 2 === 0 ? QUEUED : { state: 'done' }, idOf(i), i % 2);
    }, network);
    await w.look();
    await w.look();
    w.calls();
    for (const _ of range(10)) await w.look();
    return w.calls().length / 10;
  };

  it('K10: the calls of a look do not grow with the queue', async () => {
    const [few, many] = [await perLook(1000, false), await perLook(6000, false)];
    expect(few).toBeLessThan(150);
    expect(many).toBeLessThan(150);
  });

  it('over a network they are a few', async () => {
    expect(await perLook(2000, true)).toBeLessThan(12);
  });

  it('only the files of rows that are shown are read, each once', async () => {
    const w = await watched((q) => {
      for (const i of range(1000)) put(q, QUEUED, idOf(i));
    });
    await w.look({ rows: 5 });
    await w.look({ rows: 5 });
    const read = w.calls().filter((call) => call.startsWith('read queued/'));
    expect(read.length).toBe(5);
  });
});

describe('a queue that is away', () => {
  it('K13: what was seen last stays, with since when, and it is back by itself', async () => {
    const w = await watched((q) => {
      for (const i of range(5)) put(q, QUEUED, idOf(i));
    });
    const before = await w.look();
    expect(before.unreachableSince).toBeNull();
    fs.renameSync(w.q.dir, `${w.q.dir}.away`);
    const away = await w.look();
    expect(away.unreachableSince).toBeTypeOf('number');
    expect(ids(away)).toEqual(ids(before));
    expect((await w.look()).unreachableSince).toBe(away.unreachableSince);
    fs.renameSync(`${w.q.dir}.away`, w.q.dir);
    const back = await w.look();
    expect(back.unreachableSince).toBeNull();
    expect(back.counts.queued).toBe(5);
    expect(ids(back)).toEqual(ids(before));
  });
});

describe('every state', () => {
  it('has its place in the counts', async () => {
    const at: Record<State, Place> = {
      waiting: { state: 'waiting' },
      delayed: { state: 'delayed', dueAt: 4_000_000_000_000 },
      held: { state: 'held' },
      queued: QUEUED,
      running: { state: 'running', session: SESSION },
      done: { state: 'done' },
      failed: { state: 'failed' },
      canceled: { state: 'canceled' },
      skipped: { state: 'skipped' },
    };
    const w = await watched((q) => {
      for (const [i, state] of STATES.entries()) for (const k of range(i + 1)) put(q, at[state], idOf(i * 20 + k), 1);
    });
    expect((await w.look()).counts).toEqual(Object.fromEntries(STATES.map((state, i) => [state, i + 1])));
  });
});
