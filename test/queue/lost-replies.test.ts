/**
 * I9: a file call that was done although its answer says otherwise. Each call of each verb gets each wrong answer that its file
 * system can give, one at a time, and then one call in ten is hit at random: nothing is lost, nothing is there twice, every
 * outcome is published once, and a verb fails only where the answer was an I/O error.
 */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { replaceLock } from '../../src/queue/lock.ts';
import { CASES, stateOf, type Case, type Stage } from './cases.ts';
import { isMutation, lostCodes, refusals, seedOf, World, type Call, type Injection } from './harness.ts';
import { Oracle } from './oracle.ts';
import { recover } from './sim-worker.ts';

/** One test is hundreds of small worlds. */
vi.setConfig({ testTimeout: 300_000 });

beforeAll(() => replaceLock(async () => async () => undefined));
afterAll(() => replaceLock(undefined));

/** Random runs of each case: more for a soak. */
const SEEDS = Math.max(3, Math.ceil(Number(process.env['TQ_STEPS'] ?? '0') / 1000));

interface Played {
  /** The calls of the verb, in order, and what it said. */
  calls: Call[];
  error: unknown;
}

/** Plays the case with `fault` over the verb's calls, then lets everything come to rest and looks. */
async function playWith(
  c: Case,
  network: boolean,
  seed: number,
  fault: (call: Call, n: number, world: World) => Injection | undefined,
): Promise<Played> {
  const world = await World.make({ seed, network });
  try {
    const stage: Stage = { world, oracle: new Oracle(world), id: '', ids: {} };
    const { oracle } = stage;
    await c.before(stage);
    const proc = await world.process('verb');
    const calls: Call[] = [];
    world.faults = (call) => {
      if (call.proc !== proc) return undefined;
      calls.push(call);
      return fault(call, calls.length, world);
    };
    const job = await world.start(proc, (p) => c.verb(stage, p));
    await world.finish(job);
    const error = job.result.kind === 'error' ? job.result.error : undefined;
    if (error !== undefined && !isAnswer(error)) throw error;
    await recover(world, oracle);
    for (const k of oracle.tasks.values()) if (stage.id === '' && !Object.values(stage.ids).includes(k.id)) stage.id = k.id;
    const state = stateOf(stage);
    if (state !== undefined) expect(error === undefined ? c.done : c.ends).toContain(state);
    if (state !== undefined) c.after?.(stage);
    return { calls, error };
  } finally {
    world.remove();
  }
}

/** An error of the file system, or tq's own word for one. */
function isAnswer(error: unknown): boolean {
  return error instanceof TqError || (error instanceof Error && 'code' in error);
}

async function explained<T>(what: string, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    if (error instanceof Error) error.message = `${what}: ${error.message}`;
    throw error;
  }
}

const NAMED = CASES.map((c) => [c.name, c] as const);

describe.each([false, true])('over a network: %s', (network) => {
  it.each(NAMED)('I9: one call that was done and says it was not, in "%s", loses nothing and does nothing twice', async (_name, c) => {
    const { calls } = await playWith(c, network, 1, () => undefined);
    for (const [i, call] of calls.entries()) {
      if (!isMutation(call.op)) continue;
      // An I/O error is the same over a network, at several times the calls: there the random runs have it.
      for (const code of lostCodes(call.op).filter((answer) => !network || answer !== 'EIO')) {
        await explained(`call ${i + 1} of ${calls.length}, ${call.op} ${call.path} answered ${code}`, async () => {
          const { error } = await playWith(c, network, 1, (_, n) => (n === i + 1 ? { kind: 'lost', code } : undefined));
          if (code !== 'EIO' && error !== undefined) throw error;
        });
      }
    }
  });

  it.each(NAMED)('I9: with one call in ten refused or its reply lost, "%s" loses nothing and does nothing twice', async (_name, c) => {
    const from = seedOf();
    for (let seed = from; seed < from + SEEDS; seed++) {
      await explained(`TQ_SEED=${seed}`, () =>
        playWith(c, network, seed, (call, _, { rng }) => {
          if (!rng.chance(0.1)) return undefined;
          if (isMutation(call.op) && rng.chance(0.6)) return { kind: 'lost', code: rng.pick(lostCodes(call.op)) };
          return { kind: 'refuse', code: rng.pick(refusals(call.op, network)) };
        }),
      );
    }
  });
});
