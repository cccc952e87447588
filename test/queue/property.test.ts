/**
 * Random interleavings of everything that people and workers do, with crashes, refusals, lost replies, duplicates and stale listings
 * at every file call: V1 to V7 hold after each step, and in the end every task has come to rest. `TQ_SEED` plays one run again,
 * `TQ_STEPS` asks for more.
 */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { replaceLock } from '../../src/queue/lock.ts';
import { seedOf } from './harness.ts';
import { play } from './scenario.ts';

/** File calls, each followed by a check of the invariants. */
const STEPS = Number(process.env['TQ_STEPS'] ?? 300_000);
/** What people ask for in one run. */
const VERBS = 60;

beforeAll(() => replaceLock(async () => async () => undefined));
afterAll(() => replaceLock(undefined));

it(`I9 I10: the invariants hold over at least ${STEPS} file calls of random interleavings and faults`, async () => {
  const first = seedOf();
  let steps = 0;
  let runs = 0;
  for (let seed = first; steps < STEPS && (process.env['TQ_SEED'] === undefined || seed === first); seed++) {
    steps += (await play(seed, VERBS)).calls;
    runs++;
  }
  process.stdout.write(`${runs} runs from TQ_SEED=${first}: ${steps} file calls\n`);
  expect(steps).toBeGreaterThan(0);
}, 600_000);
