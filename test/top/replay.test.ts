/** A replay: the past of a queue of real files, by a clock of the test's own. */
import { describe, expect, it } from 'vitest';
import type { Ask, Snapshot } from '../../src/top/model.ts';
import { openReplay } from '../../src/top/replay.ts';
import { makeFarm } from '../helpers/tq.ts';

const ASK: Ask = { filter: '', sort: null, reverse: false, offset: 0, rows: 30, cursor: null, unfolded: new Set() };

describe('replay', () => {
  it('each task is in the states that it went through, in their order, and the last picture is the present', async () => {
    const farm = await makeFarm();
    // Longer than the two milliseconds from one look to the next.
    const good = await farm.submit('-n', 'good', '--', 'sleep', '0.05');
    const bad = await farm.submit('-n', 'bad', '-c', 'sleep 0.05; false');
    const held = await farm.submit('--hold', '--', 'echo', 'later');
    const array = await farm.submit('--array', '1-12', '--', 'true');
    await farm.ok(['worker', '--until-empty', '--poll', '20ms', '-j', '1']);
    let passedMs = 0;
    const q = await farm.open();
    const store = await openReplay(q, { now: () => Date.now(), monotonic: () => passedMs }, undefined, 2);
    const seen = new Map<string, string[]>();
    let last: Snapshot = await store.look(ASK);
    const first = last.at;
    expect(last.rows.map((row) => [row.id, row.state, row.name])).toEqual([[good, 'queued', 'good']]);
    for (; passedMs < 600_000; passedMs += 1) {
      last = await store.look({ ...ASK, filter: 'state=queued,held,running,done,failed,delayed,waiting' });
      for (const row of last.rows) {
        const states = seen.get(row.id) ?? [];
        if (states.at(-1) !== row.state) seen.set(row.id, [...states, row.state]);
      }
      if (last.counts.done === 2 && last.counts.failed === 1) break;
    }
    expect(last.at - first).toBe(passedMs * 2);
    expect(seen.get(good)).toEqual(['queued', 'running', 'done']);
    expect(seen.get(bad)).toEqual(['queued', 'running', 'failed']);
    expect(seen.get(held)).toEqual(['held']);
    expect(last.counts).toMatchObject({ done: 2, failed: 1, held: 1, queued: 0, running: 0 });
    passedMs = 10_000_000;
    const end = await store.look({ ...ASK, filter: 'state=done,failed,held' });
    expect(end.rows.find((row) => row.id === array)).toMatchObject({ kind: 'array', counts: { done: 12 }, percent: 100, isFolded: true });
    expect(end.rows.find((row) => row.id === bad)).toMatchObject({ state: 'failed', worker: last.workers[0]?.name });
    expect(end.at).toBeLessThanOrEqual(Date.now() + 1000);
    expect(end).toMatchObject({ isWritable: false, isComplete: true, unreachableSince: null });
    const open = await store.look({ ...ASK, filter: 'state=done', unfolded: new Set([array]) });
    expect(open.rows.filter((row) => row.depth === 1).map((row) => row.id)).toEqual(
      Array.from({ length: 12 }, (_, i) => `${array}.${i + 1}`),
    );
    await store.close();
  });
});
