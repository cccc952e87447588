/**
 * The bucket's lock is a courtesy: with one that everybody gets, one that nobody gets, one that is stolen, and the real one in a
 * directory where locks are removed, made and grown old by others, each task is claimed once and nobody waits long.
 */
import fs from 'node:fs';
import { afterEach, describe, expect, it, onTestFinished } from 'vitest';
import { claim, emptyWindow } from '../../src/queue/claim.ts';
import { mkdirp } from '../../src/queue/fsx.ts';
import { bucketOf } from '../../src/queue/layout.ts';
import { replaceLock } from '../../src/queue/lock.ts';
import { makeSession } from '../../src/queue/session.ts';
import { submitTask } from '../../src/queue/submit.ts';
import { draft, makeRng, type Proc, World } from './harness.ts';
import { Oracle } from './oracle.ts';

const CLAIMERS = 8;
const TASKS = 60;
/** By the simulated clock, which goes on with every file call and every wait: longer than this nobody may take. */
const LONGEST_MS = 5000;

afterEach(() => replaceLock(undefined));

type LockFn = NonNullable<Parameters<typeof replaceLock>[0]>;

const locked = (): Error => Object.assign(new Error('Lock file is already being held'), { code: 'ELOCKED' });

/** Locks that are directories beside the bucket, as the real ones are, made through the claimer's own file calls. */
interface LockFiles {
  mkdir(path: string, done: (error: unknown) => void): void;
  rmdir(path: string, done: (error: unknown) => void): void;
}

function call(run: (done: (error: unknown) => void) => void): Promise<void> {
  return new Promise((resolve, reject) => run((error) => (error === null ? resolve() : reject(error as Error))));
}

const LOCKS: ReadonlyArray<readonly [string, LockFn | undefined]> = [
  ['everybody gets at once', async () => async () => undefined],
  ['nobody gets', () => Promise.reject(locked())],
  ['cannot be made', () => Promise.reject(Object.assign(new Error('EIO'), { code: 'EIO' }))],
  ['is stolen at random', stealing(makeRng(7))],
  ['cannot be given back', async () => () => Promise.reject(new Error('Lock is already released'))],
  ['is the real one', undefined],
];

/** Takes it, or removes whoever has it and takes it then. */
function stealing(rng: ReturnType<typeof makeRng>): LockFn {
  return async (file, options) => {
    const files = options.fs as LockFiles; // the queue's own calls
    const lock = `${file}.lock`;
    try {
      await call((done) => files.mkdir(lock, done));
    } catch {
      if (!rng.chance(0.5)) throw locked();
      await call((done) => files.rmdir(lock, done)).catch(() => undefined);
      await call((done) => files.mkdir(lock, done)).catch(() => {
        throw locked();
      });
    }
    return () => call((done) => files.rmdir(lock, done));
  };
}

interface Race {
  world: World;
  /** Who claimed what, in order. */
  claimed: Array<{ by: string; id: string; attempt: number }>;
  /** The longest time that one claim took, ms. */
  longestMs: number;
}

/** Eight claim what there is, each until it finds nothing more. */
async function race(seed: number, meddle: (world: World, buckets: readonly string[]) => void = () => undefined): Promise<Race> {
  const world = await World.make({ seed });
  onTestFinished(() => world.remove());
  void new Oracle(world);
  const ids: string[] = [];
  for (let i = 0; i < TASKS; i++) ids.push((await world.alone('submit', (p) => submitTask(p.q, draft())))!.id);
  const buckets = [...new Set(ids.map((id) => `queued/default/p00/${bucketOf(id)}`))];
  const r: Race = { world, claimed: [], longestMs: 0 };
  for (let i = 0; i < CLAIMERS; i++) await world.spawn(`w${i}`, (p) => claimer(p, r));
  for (let n = 0; await world.step(); n++) {
    if (n % 10 === 0) meddle(world, buckets);
    expect(n, 'it comes to an end').toBeLessThan(200_000);
  }
  for (const job of world.jobs) if (job.result.kind === 'error') throw job.result.error;
  return r;
}

async function claimer(p: Proc, r: Race): Promise<void> {
  const session = makeSession(p.name, p.facts, p.pid);
  await mkdirp(p.q.fsx, p.q.lay.session(session));
  const w = emptyWindow();
  for (;;) {
    const began = p.world.nowMs;
    const got = await claim(p.q, session, w, { serves: () => true, leave: () => false }, 1 + p.world.rng.int(3));
    r.longestMs = Math.max(r.longestMs, p.world.nowMs - began);
    if (got.length === 0) return;
    for (const c of got) r.claimed.push({ by: p.name, id: c.id, attempt: c.attempt });
  }
}

function expectOneWinnerEach(r: Race): void {
  expect(r.claimed).toHaveLength(TASKS);
  expect(new Set(r.claimed.map((c) => c.id)).size).toBe(TASKS);
  expect(r.claimed.every((c) => c.attempt === 1)).toBe(true);
  expect(new Set(r.claimed.map((c) => c.by)).size).toBeGreaterThan(1);
  expect(r.longestMs).toBeLessThan(LONGEST_MS);
}

describe('a claim under the bucket lock', () => {
  it.each(LOCKS)('B1: has one winner for each task and no stall with a lock that %s', async (_how, lock) => {
    for (let seed = 1; seed <= 3; seed++) {
      replaceLock(lock);
      expectOneWinnerEach(await race(seed));
    }
  });

  it('B1: has one winner for each task and no stall while others remove the locks, make their own and let them grow old', async () => {
    const rng = makeRng(11);
    const meddle = (world: World, buckets: readonly string[]): void => {
      const lock = world.absolute(`${rng.pick(buckets)}.lock`);
      const what = rng.int(3);
      try {
        if (what === 0) fs.rmdirSync(lock);
        else if (what === 1) fs.mkdirSync(lock);
        else fs.utimesSync(lock, new Date(0), new Date(0));
      } catch {
        // It is as somebody else wanted it.
      }
    };
    for (let seed = 1; seed <= 3; seed++) expectOneWinnerEach(await race(seed, meddle));
  });

  it('B1: is nobody’s business after its claimer died: what it left locked is claimed by others', async () => {
    const world = await World.make({ seed: 1 });
    onTestFinished(() => world.remove());
    void new Oracle(world);
    for (let i = 0; i < 5; i++) await world.alone('submit', (p) => submitTask(p.q, draft()));
    const r: Race = { world, claimed: [], longestMs: 0 };
    const dead = await world.spawn('dead', (p) => claimer(p, r));
    await world.finish(dead, (c) => c.op === 'rename' && c.path.startsWith('queued/'));
    world.crash(dead.proc);
    expect(fs.readdirSync(world.absolute('queued/default/p00'), { recursive: true }).some((name) => String(name).endsWith('.lock'))).toBe(
      true,
    );
    await world.alone('living', (p) => claimer(p, r));
    expect(r.claimed.map((c) => c.by)).toEqual(Array.from({ length: 5 }, () => 'living'));
    expect(r.longestMs).toBeLessThan(LONGEST_MS);
  });
});
