/** Queues as the store would show them, as plain data: an ordinary one, an empty, a huge and a broken one. */
import type { Ask, Row, Snapshot, Store, WorkerRow } from '../../src/top/model.ts';

/** 2026-03-04 10:20:30 UTC. */
export const NOW = Date.UTC(2026, 2, 4, 10, 20, 30);

export function row(given: Partial<Row> & Pick<Row, 'id'>): Row {
  return {
    kind: 'task',
    state: 'queued',
    name: 'task',
    queue: 'default',
    group: null,
    priority: 0,
    user: 'alice',
    worker: null,
    attempt: 0,
    submittedAt: NOW - 3_725_000,
    startedAt: null,
    endedAt: null,
    info: '',
    percent: null,
    message: null,
    counts: null,
    depth: 0,
    isFolded: null,
    ...given,
  };
}

export function worker(given: Partial<WorkerRow> & Pick<WorkerRow, 'name'>): WorkerRow {
  return {
    host: given.name,
    state: 'awake',
    want: null,
    alive: true,
    suspected: false,
    jobs: 4,
    running: [],
    load: 1.25,
    lastSeenAt: NOW - 1000,
    queues: [],
    labels: {},
    reason: null,
    ...given,
  };
}

const NONE = { waiting: 0, delayed: 0, held: 0, queued: 0, running: 0, done: 0, failed: 0, canceled: 0, skipped: 0 };

export function snapshot(given: Partial<Snapshot>): Snapshot {
  const rows = given.rows ?? [];
  return {
    at: NOW,
    dir: '/srv/farm/.tq',
    word: 'active',
    counts: NONE,
    throughput: [],
    rate: 0,
    etaMs: null,
    workers: [],
    rows,
    offset: 0,
    matching: rows.length,
    reach: given.matching ?? rows.length,
    total: rows.length,
    isComplete: true,
    unreachableSince: null,
    isWritable: true,
    filterError: null,
    ...given,
  };
}

const id = (n: number): string => `6d3dncwj4a${String(n).padStart(4, '0')}`;

export function typical(): Snapshot {
  return snapshot({
    counts: { ...NONE, running: 4, queued: 3392, waiting: 12, delayed: 1, held: 1, done: 12_034, failed: 7, canceled: 2 },
    throughput: [0, 1, 2, 4, 8, 6, 4, 5, 7, 9, 12, 8, 6, 5, 4],
    rate: 4.2,
    etaMs: 800_000,
    workers: [
      worker({ name: 'node1', jobs: 4, running: [id(1), id(2)], load: 3.2 }),
      worker({ name: 'node2', jobs: 16, running: [id(3)], want: 'asleep', load: 22.75 }),
      worker({ name: 'node3', state: 'asleep', load: 0.1 }),
      worker({ name: 'node4', state: 'error', reason: 'scratch directory is full' }),
      worker({ name: 'node5', alive: false, lastSeenAt: NOW - 95_000, running: [id(4)] }),
    ],
    rows: [
      row({
        id: id(1),
        state: 'running',
        name: 'render-001',
        group: 'nightly',
        worker: 'node1',
        attempt: 1,
        startedAt: NOW - 83_000,
        percent: 40,
        message: 'epoch 4',
      }),
      row({ id: id(2), state: 'running', name: 'render-002', group: 'nightly', worker: 'node1', attempt: 2, startedAt: NOW - 4000 }),
      row({ id: id(3), state: 'running', name: '映画を作る 🎬', worker: 'node2', attempt: 1, startedAt: NOW - 5_000_000, percent: 100 }),
      row({ id: '6d3k2m0v1e5abc', kind: 'group', name: 'movies', isFolded: true, counts: { done: 20, failed: 2, running: 5, queued: 13 } }),
      row({ id: id(4), kind: 'array', name: 'sweep', isFolded: false, counts: { done: 500, failed: 10, running: 40, queued: 450 } }),
      row({ id: `${id(4)}.551`, kind: 'element', name: 'sweep', state: 'running', depth: 1, worker: 'node2', startedAt: NOW - 9000 }),
      row({ id: id(5), name: 'encode', queue: 'video', priority: 90, group: 'nightly', user: 'bob' }),
      row({ id: id(6), state: 'waiting', name: 'join', info: 'waits for 6d3dncwj4a0001' }),
      row({ id: id(7), state: 'delayed', name: 'later', info: 'until 11:00:00' }),
      row({ id: id(8), state: 'held', name: 'ask first' }),
      row({
        id: id(9),
        state: 'failed',
        name: 'broken',
        attempt: 3,
        startedAt: NOW - 60_000,
        endedAt: NOW - 48_000,
        worker: 'node3',
        info: 'exit code 3',
      }),
      row({ id: id(10), state: 'canceled', name: 'no more', startedAt: NOW - 9_000_000, endedAt: NOW - 8_000_000, info: 'by alice' }),
    ],
    total: 3420,
    matching: 12,
  });
}

export function empty(): Snapshot {
  return snapshot({ word: 'empty' });
}

/** A window into a million. */
export function huge(offset = 0, rows = 120): Snapshot {
  return snapshot({
    counts: { ...NONE, running: 3, queued: 1_000_000, done: 123_456_789 },
    throughput: Array.from({ length: 200 }, (_, i) => (i * 37) % 101),
    rate: 1234,
    etaMs: 810_000_000,
    workers: Array.from({ length: 200 }, (_, i) =>
      worker({
        name: `render-farm-node-${String(i).padStart(3, '0')}.example.org`,
        jobs: 64,
        running: Array.from({ length: i % 65 }, (_unused, k) => id(k)),
      }),
    ),
    rows: Array.from({ length: rows }, (_, i) => row({ id: id(offset + i), name: `a-rather-long-name-of-a-task-number-${offset + i}` })),
    offset,
    matching: 1_000_003,
    total: 1_000_003,
    isComplete: false,
  });
}

/** What a hostile or unlucky queue can hold. */
export function broken(): Snapshot {
  return snapshot({
    dir: '/mnt/\x1b[31mred\x1b[0m/a/very/long/path/that/does/not/fit/into/any/header/at/all/and/goes/on/and/on/.tq',
    word: 'waiting',
    counts: { ...NONE, queued: 5 },
    unreachableSince: NOW - 42_000,
    isWritable: false,
    filterError: "not a state: '\x1b[2J'",
    workers: [
      worker({
        name: 'evil\x1b]0;title\x07',
        state: 'offline',
        alive: false,
        lastSeenAt: null,
        jobs: 0,
        load: null,
        reason: 'line\nbreak',
      }),
      worker({ name: 'silent', suspected: true, running: [id(1), id(2), id(3), id(4), id(5)] }),
    ],
    rows: [
      row({ id: id(1), name: null, queue: null, priority: null, user: null }),
      row({ id: id(2), name: '\x1b[2J\u202egnp.exe\r\n\t\u200b' }),
      row({ id: id(3), name: '👨‍👩‍👧‍👦 e\u0301\u0301\u0301 ✌️ ｗｉｄｅ', state: 'failed', info: 'x'.repeat(300) }),
      row({ id: id(4), name: '', percent: 250, state: 'running', message: '\x07bell', startedAt: NOW + 10_000 }),
      row({ id: `${id(5)}.1000000`, kind: 'element', depth: 2, counts: {}, submittedAt: 0 }),
    ],
  });
}

/** A store of rows that are there from the begin. */
export function fakeStore(all: () => Snapshot): Store & { asked: Ask[] } {
  const asked: Ask[] = [];
  return {
    asked,
    async look(ask) {
      asked.push(ask);
      const whole = all();
      const rows = whole.rows.filter((r) => ask.filter === '' || (r.name ?? '').includes(ask.filter));
      return {
        ...whole,
        rows: rows.slice(ask.offset, ask.offset + ask.rows),
        offset: ask.offset,
        matching: rows.length,
        reach: rows.length,
        total: whole.rows.length,
      };
    },
    async close() {},
  };
}
