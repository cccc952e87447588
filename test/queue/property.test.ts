/**
 * V1 to V7 under everything at once: workers, people and undertakers in random order, with refused calls, lost replies, calls done
 * twice, stale listings and deaths at any call. Looked at after every single file call, and once more when all has come to rest.
 */
import { describe, expect, it } from 'vitest';
import { World, seedOf } from './harness.ts';
import { play } from './scenario.ts';

/** Verbs in all; more for a soak. */
const VERBS = Number(process.env['TQ_STEPS'] ?? '10000');
/** Verbs of one run: short ones meet more different beginnings, and their traces can be read. */
const IN_ONE = 60;

describe('the queue under faults', () => {
  it(
    'V1, V2, V3, V4, V5, V6: every task is in one place, runs once at a time, and ends as it was promised, whatever happens in between',
    async () => {
      const from = seedOf();
      const ends = new Map<string, number>();
      let deaths = 0;
      let calls = 0;
      for (let n = 0; n * IN_ONE < VERBS; n++) {
        const run = await play(from + n, IN_ONE);
        for (const [state, count] of run.ends) ends.set(state, (ends.get(state) ?? 0) + count);
        deaths += run.deaths;
        calls += run.calls;
      }
      // A run in which nothing comes to its end, or nobody dies, proves nothing.
      expect([...ends.keys()]).toEqual(expect.arrayContaining(['done', 'failed', 'canceled', 'skipped', 'held']));
      expect(deaths).toBeGreaterThan(VERBS / 500);
      expect(calls).toBeGreaterThan(VERBS * 10);
    },
    Math.max(600_000, VERBS * 30),
  );

  it(
    'V1, V2, V3, V5: each element of an array is covered once, runs once at a time and not after its end, whatever is cut, taken and changed',
    async () => {
      const from = seedOf();
      const ends = new Map<string, number>();
      for (let n = 0; n * IN_ONE < Math.max(1200, VERBS / 5); n++) {
        const run = await play(from + n, IN_ONE, 'arrays');
        for (const [state, count] of run.ends) ends.set(state, (ends.get(state) ?? 0) + count);
      }
      expect([...ends.keys()]).toEqual(expect.arrayContaining(['done', 'failed', 'canceled', 'held']));
    },
    Math.max(600_000, VERBS * 30),
  );

  it('the same seed is the same run, call by call', async () => {
    const [first, second] = [await traced(4), await traced(4)];
    expect(first.length).toBeGreaterThan(500);
    expect(second).toEqual(first);
    expect(await traced(10)).not.toEqual(first);
  });
});

/** The calls of a run, without the names of staging files, which count on within a process. */
async function traced(seed: number): Promise<string[]> {
  const lines: string[] = [];
  const note = World.prototype.note;
  World.prototype.note = function (line: string): void {
    lines.push(line.replaceAll(/\b[0-9a-z]+\.s\.[0-9a-z]+/g, 'staging'));
    note.call(this, line);
  };
  try {
    await play(seed, 30);
  } finally {
    World.prototype.note = note;
  }
  return lines;
}
