/**
 * I10: whoever dies at a file call, just before it or just after, leaves a queue from which the living go on: every task is in
 * exactly one place at every moment, each promise is kept, and in the end everything has come to rest.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { replaceLock } from '../../src/queue/lock.ts';
import { CASES, stateOf, type Case, type Stage } from './cases.ts';
import { isMutation, type Job, World } from './harness.ts';
import { Oracle } from './oracle.ts';
import { recover } from './sim-worker.ts';

/** One test is dozens of small worlds. */
vi.setConfig({ testTimeout: 300_000 });

beforeAll(() => replaceLock(async () => async () => undefined));
afterAll(() => replaceLock(undefined));

async function stageFor(c: Case, network: boolean): Promise<Stage> {
  const world = await World.make({ seed: 1, network });
  const stage: Stage = { world, oracle: new Oracle(world), id: '', ids: {} };
  await c.before(stage);
  return stage;
}

/** Plays the case with the process dying at its `n`-th change; how many changes it made. */
async function dieAt(c: Case, n: number, when: 'before' | 'after', network: boolean): Promise<number> {
  const stage = await stageFor(c, network);
  const { world, oracle } = stage;
  try {
    const proc = await world.process('victim');
    let seen = 0;
    world.faults = (call) => (call.proc === proc && isMutation(call.op) && ++seen === n ? { kind: 'crash', when } : undefined);
    const job: Job<void> = await world.start(proc, (p) => c.verb(stage, p));
    await world.finish(job);
    if (job.result.kind === 'error') throw job.result.error;
    expect(proc.status).toBe(seen < n ? 'ended' : 'crashed');
    await recover(world, oracle);
    for (const k of oracle.tasks.values()) if (stage.id === '' && !Object.values(stage.ids).includes(k.id)) stage.id = k.id;
    const state = stateOf(stage);
    const allowed: readonly unknown[] = proc.status === 'ended' ? c.done : c.ends;
    // A submit that died before its rename has submitted nothing; a removal has left no task.
    if (state === undefined)
      expect([undefined, ...oracle.tasks.values()].some((k) => k === undefined || k.removing || !k.acked)).toBe(true);
    else expect(allowed).toContain(state);
    if (state !== undefined) c.after?.(stage);
    return seen;
  } finally {
    world.remove();
  }
}

const NAMED = CASES.map((c) => [c.name, c] as const);

describe.each([false, true])('over a network: %s', (network) => {
  // Before a change is after the one that came before it: looking leaves nothing.
  it.each(NAMED)(
    'I10: a death before or after any change of "%s" leaves everything in one place and to be gone on with',
    async (_name, c) => {
      const changes = await dieAt(c, Number.POSITIVE_INFINITY, 'before', network);
      if (changes > 0) await explained(`died before the first of ${changes} changes`, () => dieAt(c, 1, 'before', network));
      for (let n = 1; n <= changes; n++) await explained(`died after change ${n} of ${changes}`, () => dieAt(c, n, 'after', network));
    },
  );
});

async function explained<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error) error.message = `${what}: ${error.message}`;
    throw error;
  }
}
