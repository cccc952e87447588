/** Going through tasks by their names. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { idTime, makeLayout, type Place } from '../../src/queue/layout.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { byId, count, elementsOf, endedOf, locateMany, walk } from '../../src/queue/walk.ts';
import { STATES, UNFINISHED } from '../../src/task/types.ts';

async function emptyQueue(): Promise<Queue> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-walk-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true }));
  await initQueue(`${dir}/q`, { shared: false, leaseMs: null });
  return openQueue(`${dir}/q`);
}

function put(q: Queue, place: Place, id: string, n = 0): void {
  const file = makeLayout(q.dir).entry(place, id, n);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, '');
}

const P0: Place = { state: 'queued', lane: 'default', priority: 0 };

async function ids(q: Queue, options: Parameters<typeof walk>[1]): Promise<string[]> {
  const found: string[] = [];
  for await (const batch of walk(q, options)) found.push(...batch.map((at) => at.id));
  return found;
}

/** Ids in ascending order, over many buckets of both levels. */
const SOME = ['6d39aa00000001', '6d39aa00000002', '6d39ab00000003', '6d3abb00000004', '6d3abb00000005', '6d3bcc00000006', '6d3bcc00000007'];

it('merges all places by id, newest first', async () => {
  const q = await emptyQueue();
  const places: Place[] = [
    P0,
    { state: 'done' },
    { state: 'queued', lane: 'other~12', priority: -5 },
    { state: 'delayed', dueAt: 1_800_000_000_000 },
    { state: 'running', session: 'w.1.a-b-c-d-e' },
    { state: 'held' },
    { state: 'waiting' },
  ];
  SOME.forEach((id, i) => put(q, places[i]!, id, i));
  expect(await ids(q, { states: STATES })).toEqual(SOME.toReversed());
  expect(await ids(q, { states: UNFINISHED })).toEqual(SOME.filter((_, i) => i !== 1).toReversed());
  expect(await ids(q, { states: ['queued'], queue: 'other' })).toEqual([SOME[2]]);
  expect(await ids(q, { states: ['done', 'failed'] })).toEqual([SOME[1]]);
});

it('J1: submissions of many come between the tasks of the same seconds, by their ids', async () => {
  const q = await emptyQueue();
  const alone = ['6d39aa10000001', '6d39aa30000003', '6d39aa50000005'];
  const many = ['6d39aa20000002.1', '6d39aa20000002.2', '6d39aa40000004.1', '6d39aa40000004.1000'];
  for (const id of [...alone, ...many, '6d39ab00000003']) put(q, P0, id);
  expect(await ids(q, { states: ['queued'] })).toEqual([
    '6d39ab00000003',
    alone[2],
    many[2],
    many[3],
    alone[1],
    many[0],
    many[1],
    alone[0],
  ]);
});

it('lists no bucket before its turn, and none older than asked for', async () => {
  const q = await emptyQueue();
  for (const id of SOME) put(q, P0, id);
  const listed: string[] = [];
  const watched: Queue = { ...q, fsx: { ...q.fsx, list: (dir) => (listed.push(dir), q.fsx.list(dir)) } };
  const batches = walk(watched, { states: ['queued'] });
  expect((await batches.next()).value?.map((at: { id: string }) => at.id)).toEqual([SOME[6], SOME[5]]);
  await batches.return(undefined);
  expect(listed.filter((dir) => dir.includes('6d39'))).toEqual([]);
  expect(await ids(q, { states: ['queued'], since: idTime(SOME[3]!) })).toEqual(SOME.slice(3).toReversed());
});

it('counts names and nothing else', async () => {
  const q = await emptyQueue();
  put(q, P0, SOME[0]!);
  put(q, P0, SOME[1]!, 3);
  put(q, { state: 'running', session: 'w.1.a-b-c-d-e' }, SOME[2]!, 1);
  fs.writeFileSync(`${q.lay.session('w.1.a-b-c-d-e')}/${SOME[2]}.a1.cancel`, '');
  put(q, { state: 'done' }, SOME[3]!, 1);
  expect(Object.fromEntries((await count(q, { states: ['queued', 'running', 'done', 'held'] })).states)).toEqual({
    queued: 2,
    running: 1,
    done: 1,
    held: 0,
  });
});

it('shows a task that tq set has for a moment in the state it came from', async () => {
  const q = await emptyQueue();
  put(q, { state: 'running', session: 'set.held.1.a-b-c-d-e' }, SOME[0]!, 1);
  expect(await ids(q, { states: ['held'] })).toEqual([SOME[0]]);
  expect(await ids(q, { states: ['running'] })).toEqual([]);
  expect((await count(q, { states: ['held', 'running'] })).states.get('held')).toBe(1);
});

it('finds many ids at once, wherever they are, and only those', async () => {
  const q = await emptyQueue();
  const places: Place[] = [
    P0,
    { state: 'done' },
    { state: 'delayed', dueAt: 1_800_000_000_000 },
    { state: 'running', session: 'w.1.a-b-c-d-e' },
    { state: 'held' },
  ];
  places.forEach((place, i) => put(q, place, SOME[i]!, i));
  const found = await locateMany(q, [...SOME.slice(0, 5), '6d39aa0000000x']);
  expect([...found.keys()].toSorted()).toEqual(SOME.slice(0, 5));
  expect(SOME.slice(0, 5).map((id) => found.get(id)!.state)).toEqual(['queued', 'done', 'delayed', 'running', 'held']);
  expect(found.get(SOME[4]!)!.file).toBe(q.lay.entry({ state: 'held' }, SOME[4]!, 4));
});

it('tells which of many have ended by the terminal directories of their buckets', async () => {
  const q = await emptyQueue();
  put(q, { state: 'failed' }, SOME[0]!, 1);
  put(q, { state: 'skipped' }, SOME[2]!);
  put(q, P0, SOME[1]!);
  const listed: string[] = [];
  const watched: Queue = { ...q, fsx: { ...q.fsx, list: (dir) => (listed.push(dir), q.fsx.list(dir)) } };
  const ended = await endedOf(watched, SOME.slice(0, 3));
  expect([...ended].map(([id, at]) => [id, at.state])).toEqual([
    [SOME[0], 'failed'],
    [SOME[2], 'skipped'],
  ]);
  // Two buckets, four states, each once.
  expect(listed.length).toBe(8);
  expect(new Set(listed).size).toBe(8);
});

it('finds the elements of a submission in their order', async () => {
  const q = await emptyQueue();
  for (const n of [10, 2, 1]) put(q, n === 2 ? { state: 'done' } : P0, `${SOME[0]}.${n}`);
  put(q, P0, SOME[1]!);
  expect((await elementsOf(q, SOME[0]!)).map((at) => at.id)).toEqual([`${SOME[0]}.1`, `${SOME[0]}.2`, `${SOME[0]}.10`]);
});

it('orders ids newest first and elements by number', () => {
  expect(['a.10', 'b', 'a.9', 'c'].toSorted(byId)).toEqual(['c', 'b', 'a.9', 'a.10']);
});

it('sees a task that goes on from place to place while it reads them', async () => {
  const session: Place = { state: 'running', session: 'w.1.a-b-c-d-e' };
  const way: Array<[Place, number]> = [
    [{ state: 'waiting' }, 0],
    [P0, 0],
    [session, 1],
    [{ state: 'done' }, 1],
  ];
  // Before its n-th listing the task makes its next step: every way to fall between two looks.
  for (let first = 1; first < 12; first++) {
    for (let second = first; second < 12; second++) {
      for (let third = second; third < 12; third++) {
        const q = await emptyQueue();
        const id = SOME[3]!;
        put(q, way[0]![0], id);
        fs.mkdirSync(q.lay.session('w.1.a-b-c-d-e'), { recursive: true });
        let listings = 0;
        let at = 0;
        const list: Queue['fsx']['list'] = (dir) => {
          listings++;
          for (const when of [first, second, third].slice(at)) {
            if (when > listings) break;
            const [from, to] = [way[at]!, way[at + 1]!];
            put(q, to[0], id, to[1]);
            fs.rmSync(q.lay.entry(from[0], id, from[1]));
            at++;
          }
          return q.fsx.list(dir);
        };
        expect(await ids({ ...q, fsx: { ...q.fsx, list } }, { states: STATES }), `${first} ${second} ${third}`).toEqual([id]);
      }
    }
  }
});
