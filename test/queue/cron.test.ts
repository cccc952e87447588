/**
 * Ticks on disk: whoever dies, is stopped or gets a wrong answer at any file call while a tick is fired, and however many try at the same
 * time, each tick makes one task. Single steps are driven by the scheduler of the simulation.
 */
import fs from 'node:fs';
import { describe, expect, it, onTestFinished } from 'vitest';
import {
  addCron,
  cronNotes,
  fireDue,
  parseTick,
  pauseCron,
  removeCron,
  resumeCron,
  sweepAbandoned,
  cronNames,
  readCron,
  tickName,
  type CronEntry,
} from '../../src/queue/cron.ts';
import { sweepWaiting } from '../../src/queue/depend.ts';
import { everything } from '../../src/queue/find.ts';
import { sweepTmp } from '../../src/queue/sweep.ts';
import { STATES } from '../../src/task/types.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import type { Catchup, Overlap } from '../../src/task/cron.ts';
import { draft, isMutation, lostCodes, World, type Proc } from './harness.ts';

const MINUTE = 60_000;

interface Given {
  world: World;
  entry: CronEntry;
}

interface Wishes {
  network?: boolean;
  seed?: number;
  over?: Partial<TaskDraft>;
  overlap?: Overlap;
  catchup?: Catchup;
}

/** A queue with an entry of every minute whose first tick has just come. */
async function given({ network = false, seed = 1, over = {}, overlap = 'queue', catchup = 'none' }: Wishes = {}): Promise<Given> {
  const world = await World.make({ network, seed });
  const entry = await world.alone('adder', (p) =>
    addCron(p.q, { expr: '* * * * *', tz: 'UTC', overlap, catchup, draft: draft(over), by: { user: 'u', host: 'h' } }),
  );
  toNextTick(world);
  return { world, entry: entry! };
}

function toNextTick(world: World): void {
  world.advance(MINUTE - (world.nowMs % MINUTE) + 100);
}

/** As a worker does that has been looking for a minute. */
const fire =
  (entry: CronEntry, seenMs = MINUTE) =>
  async (p: Proc): Promise<number | null> =>
    fireDue(p.q, entry, { seenFrom: p.world.nowMs - seenMs });

/** Every task, by id; each id must be in one place. */
async function tasksIn(world: World): Promise<string[]> {
  const ids = (await world.alone('looker', async (p) => {
    const found: string[] = [];
    for await (const at of everything(p.q, STATES)) found.push(at.id);
    return found;
  }))!;
  expect(new Set(ids).size).toBe(ids.length);
  return ids;
}

const filesOf = (g: Given): string[] => fs.readdirSync(`${g.world.dir}/cron/${g.entry.id}`).toSorted();
const tokens = (g: Given): string[] => filesOf(g).filter((name) => name.startsWith('at.'));
const ticksNoted = (g: Given): number[] => filesOf(g).flatMap((name) => parseTick(name.replace(/\.json$/, '')) ?? []);

const KINDS: Array<[string, Wishes]> = [
  ['a plain task', {}],
  ['a script with a delay', { over: { scriptText: '#!/bin/sh\n', delayMs: 3_600_000 } }],
  ['a task with a key', { over: { key: 'k', onDup: 'ignore' } }],
  ['a held one with a lock on keys', { over: { hold: true, lockKeys: '^x' } }],
];

describe.each([false, true])('over a network: %s', (network) => {
  it.each(KINDS)('H15: a death at any change while a tick is fired leaves one task of it: %s', async (_name, wishes) => {
    const play = async (n: number, when: 'before' | 'after'): Promise<number> => {
      const g = await given({ ...wishes, network });
      const { world, entry } = g;
      try {
        const victim = await world.process('victim');
        let seen = 0;
        world.faults = (call) => (call.proc === victim && isMutation(call.op) && ++seen === n ? { kind: 'crash', when } : undefined);
        const job = await world.start(victim, fire(entry));
        await world.finish(job);
        if (job.result.kind === 'error') throw job.result.error;
        // The next who looks.
        await world.alone('heir', fire(entry));
        // What waits for a key is settled when its submit has been silent for a lease.
        world.advance(world.leaseMs);
        await world.alone('sweeper', async (p) => void (await sweepWaiting(p.q)));
        expect(await tasksIn(world), `dies ${when} change ${n}`).toHaveLength(1);
        expect(tokens(g)).toHaveLength(1);
        expect(ticksNoted(g)).toHaveLength(1);
        return seen;
      } finally {
        world.remove();
      }
    };
    const changes = await play(Number.POSITIVE_INFINITY, 'before');
    expect(changes).toBeGreaterThan(4);
    for (let n = 1; n <= changes; n++) await play(n, 'after');
    await play(1, 'before');
  });

  it('H15: a lost reply at any change while a tick is fired changes nothing', async () => {
    const play = async (n: number, which: number): Promise<number> => {
      const g = await given({ network });
      const { world, entry } = g;
      try {
        const victim = await world.process('victim');
        let seen = 0;
        world.faults = (call) => {
          if (call.proc !== victim || !isMutation(call.op) || ++seen !== n) return undefined;
          return { kind: 'lost', code: lostCodes(call.op)[which % lostCodes(call.op).length]! };
        };
        const job = await world.start(victim, async (p) => {
          // An I/O error may be said; the next look finds things in order.
          const look = (): Promise<unknown> => fire(entry)(p).catch((error: NodeJS.ErrnoException) => expect(error.code).toBe('EIO'));
          for (let looks = 0; looks < 3; looks++) await look();
        });
        await world.finish(job);
        if (job.result.kind === 'error') throw job.result.error;
        expect(await tasksIn(world), `reply ${n} is lost`).toHaveLength(1);
        expect(tokens(g)).toHaveLength(1);
        return seen;
      } finally {
        world.remove();
      }
    };
    const changes = await play(Number.POSITIVE_INFINITY, 0);
    for (let n = 1; n <= changes; n++) for (const which of [0, 1]) await play(n, which);
  });

  it('H15: three at once, some of which die, fire each of five ticks once', async () => {
    for (let seed = 1; seed <= 40; seed++) {
      const g = await given({ network, seed });
      const { world, entry } = g;
      for (let tick = 0; tick < 5; tick++) {
        if (tick > 0) toNextTick(world);
        let deaths = 0;
        world.faults = (call) =>
          isMutation(call.op) && deaths < 2 && world.rng.chance(0.06) && ++deaths > 0
            ? { kind: 'crash', when: world.rng.chance(0.5) ? 'before' : 'after' }
            : undefined;
        const jobs = await Promise.all(['a', 'b', 'c'].map((name) => world.spawn(`${name}${tick}`, fire(entry))));
        while (jobs.some((job) => job.proc.status === 'runs')) await world.step();
        for (const job of jobs) if (job.result.kind === 'error') throw job.result.error;
        await world.calm();
      }
      expect(await tasksIn(world), `seed ${seed}`).toHaveLength(5);
      expect(tokens(g)).toHaveLength(1);
      world.remove();
    }
  });
});

describe('a tick', () => {
  const begin = async (wishes: Wishes = {}): Promise<Given> => {
    const g = await given(wishes);
    onTestFinished(() => g.world.remove());
    return g;
  };

  it('is not fired by who was stopped before the token was his, however much later he goes on', async () => {
    const g = await begin();
    const { world, entry } = g;
    const slow = await world.spawn('slow', fire(entry));
    await world.finish(slow, (call) => call.op === 'rename' && call.path.startsWith('cron/'));
    for (let tick = 0; tick < 60; tick++) {
      await world.alone(`fast${tick}`, fire(entry));
      toNextTick(world);
    }
    // By now the note of the first tick is gone, too.
    expect(ticksNoted(g)).toHaveLength(50);
    await world.finish(slow);
    // What he does then is what anybody would: the tick of this moment.
    const ids = await tasksIn(world);
    expect(ids.length - 60).toBeLessThanOrEqual(1);
    expect(ticksNoted(g).length).toBe(new Set(ticksNoted(g)).size);
    await world.alone('next', fire(entry));
    expect(await tasksIn(world)).toHaveLength(61);
  });

  it('whose firer died for hours is completed from where the sweep had put its staging file', async () => {
    const g = await begin();
    const { world, entry } = g;
    const victim = await world.process('victim');
    world.faults = (call) =>
      call.proc === victim && call.op === 'rename' && call.path.startsWith('cron/') ? { kind: 'crash', when: 'after' } : undefined;
    await world.finish(await world.start(victim, fire(entry)));
    expect(await tasksIn(world)).toEqual([]);
    world.advance(2 * 3_600_000);
    await world.alone('sweeper', async (p) => void (await sweepTmp(p.q)));
    expect(fs.readdirSync(`${world.dir}/swept`)).toHaveLength(1);
    // A worker that has just come: the ticks meanwhile were missed, this one was not.
    await world.alone('heir', fire(entry, 0));
    expect(await tasksIn(world)).toHaveLength(1);
    expect(tokens(g)[0]).toContain((await tasksIn(world))[0]);
  });

  it('H16: during an unfinished run is noted and not queued, and the next one after its end is', async () => {
    const g = await begin({ overlap: 'skip' });
    const { world, entry } = g;
    const look = (name: string): Promise<unknown> => world.alone(name, fire(entry));
    await look('one');
    const [id] = await tasksIn(world);
    toNextTick(world);
    await look('two');
    toNextTick(world);
    await look('three');
    expect(await tasksIn(world)).toEqual([id]);
    const notes = (await world.alone('reader', (p) => cronNotes(p.q, entry.id)))!;
    expect(notes.map((n) => [n.task, n.skippedFor])).toEqual([
      [id, undefined],
      [undefined, id],
      [undefined, id],
    ]);
    const [file] = fs.globSync(`${world.dir}/queued/**/${id}.a0.json`);
    fs.mkdirSync(`${world.dir}/canceled/${id!.slice(0, 4)}/${id!.slice(4, 6)}`, { recursive: true });
    fs.renameSync(file!, `${world.dir}/canceled/${id!.slice(0, 4)}/${id!.slice(4, 6)}/${id}.a0.json`);
    toNextTick(world);
    await look('four');
    expect(await tasksIn(world)).toHaveLength(2);
  });

  it('H16: whose key another task has, or may not be used now, is noted as refused', async () => {
    for (const [over, said] of [
      [{ key: 'k', onDup: 'ignore' }, / has the key k$/],
      [{ key: 'k', onDup: 'error' }, /an unfinished task has this key/],
      [{ key: 'k', onDup: 'ignore', lockKeys: '^k$' }, /k/],
    ] as Array<[Partial<TaskDraft>, RegExp]>) {
      const g = await begin({ over });
      const { world, entry } = g;
      await world.alone('one', fire(entry));
      const [id] = await tasksIn(world);
      toNextTick(world);
      await world.alone('two', fire(entry));
      expect(await tasksIn(world)).toEqual([id]);
      const [first, second] = (await world.alone('reader', (p) => cronNotes(p.q, entry.id)))!;
      expect(first).toMatchObject({ task: id });
      expect(second).toMatchObject({ refused: expect.stringMatching(said) as unknown });
      expect(fs.readdirSync(`${world.dir}/tmp`)).toEqual([]);
    }
  });

  it('H16: an hour with nobody looking gives no run, or the last one, once', async () => {
    for (const [catchup, runs] of [
      ['none', 0],
      ['last', 1],
    ] as const) {
      const g = await begin({ catchup });
      const { world, entry } = g;
      world.advance(3_600_000);
      const look = fire(entry, 50);
      for (const name of ['one', 'two']) await world.alone(name, look);
      expect(await tasksIn(world), catchup).toHaveLength(runs);
      toNextTick(world);
      await world.alone('three', fire(entry));
      expect(await tasksIn(world), catchup).toHaveLength(runs + 1);
    }
  });

  it('H15: is not fired while the entry is paused or gone, and not made up for after a pause', async () => {
    const g = await begin({ catchup: 'last' });
    const { world, entry } = g;
    await world.alone('pauser', (p) => pauseCron(p.q, entry.id));
    expect((await world.alone('looker', (p) => cronNames(p.q)))!.paused).toEqual(new Set([entry.id]));
    world.advance(10 * MINUTE);
    await world.alone('resumer', (p) => resumeCron(p.q, entry.id));
    await world.alone('worker', fire(entry));
    expect(await tasksIn(world)).toEqual([]);
    toNextTick(world);
    await world.alone('worker', fire(entry));
    expect(await tasksIn(world)).toHaveLength(1);
    const slow = await world.spawn('slow', async (p) => {
      toNextTick(world);
      return fire(entry)(p);
    });
    await world.finish(slow, (call) => call.op === 'rename' && call.path.startsWith('cron/'));
    await world.alone('remover', (p) => removeCron(p.q, entry.id));
    await world.finish(slow);
    expect(slow.result.kind).toBe('value');
    expect(await tasksIn(world)).toHaveLength(1);
    expect(fs.readdirSync(`${world.dir}/cron`)).toEqual([]);
  });

  it('a resume that dies leaves the entry paused or resumed, never with ticks to make up for', async () => {
    for (let n = 1; n <= 8; n++) {
      const g = await begin({ catchup: 'last' });
      const { world, entry } = g;
      await world.alone('pauser', (p) => pauseCron(p.q, entry.id));
      world.advance(10 * MINUTE);
      const victim = await world.process('victim');
      let seen = 0;
      world.faults = (call) => (call.proc === victim && isMutation(call.op) && ++seen === n ? { kind: 'crash', when: 'after' } : undefined);
      await world.finish(await world.start(victim, (p) => resumeCron(p.q, entry.id)));
      await world.calm();
      const names = (await world.alone('looker', (p) => cronNames(p.q)))!;
      if (!names.paused.has(entry.id)) await world.alone('worker', fire(entry, 0));
      expect(await tasksIn(world), `dies after change ${n}`).toEqual([]);
    }
  });

  it('an add or a removal that dies leaves an entry that fires, or nothing after the sweep', async () => {
    for (const verb of ['add', 'rm'] as const) {
      for (let n = 1; n <= 10; n++) {
        const g = await begin();
        const { world, entry } = g;
        const victim = await world.process('victim');
        let seen = 0;
        world.faults = (call) =>
          call.proc === victim && isMutation(call.op) && ++seen === n ? { kind: 'crash', when: 'after' } : undefined;
        await world.finish(
          await world.start(victim, async (p) =>
            verb === 'rm'
              ? removeCron(p.q, entry.id)
              : addCron(p.q, {
                  expr: '0 0 * * *',
                  tz: 'UTC',
                  overlap: 'skip',
                  catchup: 'none',
                  draft: draft(),
                  by: { user: 'u', host: 'h' },
                }),
          ),
        );
        await world.calm();
        // Directories have the real clock's times.
        const hours = 1000 * 3_600_000;
        world.advance(Math.max(0, Date.now() - world.nowMs) + hours);
        await world.alone('sweeper', async (p) => sweepAbandoned(p.q, await cronNames(p.q)));
        const { ids, abandoned } = (await world.alone('looker', (p) => cronNames(p.q)))!;
        expect(abandoned, `${verb} dies after change ${n}`).toEqual([]);
        for (const id of ids) {
          expect(await world.alone('reader', (p) => readCron(p.q, id))).toBeDefined();
          expect(fs.readdirSync(`${world.dir}/cron/${id}`).filter((name) => name.startsWith('at.'))).toHaveLength(1);
        }
      }
    }
  });

  it('has a name that sorts and is read back', () => {
    const ms = Date.UTC(2026, 10, 21, 7, 30, 5, 250);
    expect(tickName(ms)).toBe('20261121T073005.250');
    expect(parseTick(tickName(ms))).toBe(ms);
    expect(parseTick('20261321T073005.250')).toBeUndefined();
  });
});
