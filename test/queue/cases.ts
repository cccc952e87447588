/**
 * Each verb of the queue in the situations that it meets, one at a time: what lies there before, what is done, and what may have
 * become of it in the end. The tests of crashes and of lost replies go through all of them.
 */
import { expect } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { bury } from '../../src/queue/bury.ts';
import { cancelTask } from '../../src/queue/cancel.ts';
import { holdTask, releaseTask, removeTask, retryTask } from '../../src/queue/control.ts';
import { newSubmission, submitBulk } from '../../src/queue/bulk.ts';
import { serverNow } from '../../src/queue/clock.ts';
import { groupFiles, type GroupRules } from '../../src/queue/groups.ts';
import { carryOut, recordIntent } from '../../src/queue/intent.ts';
import { makeId, baseId, pieceOf } from '../../src/queue/layout.ts';
import { makeSession } from '../../src/queue/session.ts';
import { promoteDue } from '../../src/queue/promote.ts';
import { setTask, type Change } from '../../src/queue/set.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import { manyOfArray } from '../../src/task/many.ts';
import type { State } from '../../src/task/types.ts';
import { draft, type Proc, type World } from './harness.ts';
import type { Oracle } from './oracle.ts';
import { beginChunk, beginSome, runOne, runSome } from './sim-worker.ts';

export interface Stage {
  world: World;
  oracle: Oracle;
  /** The task that the verb is about; `x` where there is none yet. */
  id: string;
  /** Others that matter, by name. */
  ids: Record<string, string>;
}

export interface Case {
  name: string;
  /** Makes what lies there before. */
  before(stage: Stage): Promise<void>;
  verb(stage: Stage, p: Proc): Promise<void>;
  /** Where the task may have come to rest, whatever was done to the verb; and where it must be if the verb succeeded. */
  ends: readonly State[];
  done: readonly State[];
  /** After the rest: something else that must hold. */
  after?(stage: Stage): void;
}

/** Submits as a process of its own would, and tells the oracle when the id is printed. */
export async function submit(stage: Stage, p: Proc, over: Partial<TaskDraft> = {}): Promise<string> {
  const made = await submitTask(p.q, draft(over));
  if (made.existing !== true) stage.oracle.acked(made.task);
  return made.id;
}

export async function given(stage: Stage, over: Partial<TaskDraft> = {}): Promise<string> {
  return (await stage.world.alone('before', (p) => submit(stage, p, over)))!;
}

/** The task has ended so. */
export async function ended(stage: Stage, code: 0 | 1, over: Partial<TaskDraft> = {}): Promise<string> {
  const id = await given(stage, over);
  await stage.world.alone('worker-before', (p) => runOne(p, stage.oracle, code));
  return id;
}

/** A worker claimed so many, began the first, and died. Its session. */
export async function dead({ world, oracle }: Stage, most: number): Promise<string> {
  const job = await world.spawn('dead', (p) => beginSome(p, oracle, most));
  await world.finish(job);
  world.crash(job.proc);
  return job.result.kind === 'value' ? job.result.value : '';
}

const HOOKS = { onSuccess: 'true', onFailure: 'true', onCancel: 'true' };

/** A worker ends the task failed and dies between the move and letting the follow-up go. */
async function endedShortOfFollowUp({ world, oracle }: Stage): Promise<void> {
  const job = await world.spawn('dead', (p) => runOne(p, oracle, 1));
  await world.finish(job, (call) => call.op === 'rename' && call.path.startsWith('follow/'));
  expect(job.proc.status).toBe('runs');
  world.crash(job.proc);
}

/** Where a task lies now; of an array the state of the whole. */
export function stateOf(stage: Stage, id = stage.id): State | undefined {
  if (stage.oracle.arrays.known.has(id)) return stage.oracle.arrays.stateOf(id);
  return [...stage.oracle.known(id).spots.values()][0]?.state;
}

async function submits(stage: Stage, p: Proc, over: Partial<TaskDraft>): Promise<void> {
  stage.id = await submit(stage, p, over);
}

/** Submits as elements 1, 2 and so on; a parent `.N` is the Nth of them. */
async function submitMany(s: Stage, p: Proc, overs: ReadonlyArray<Partial<TaskDraft>>, rules?: GroupRules): Promise<void> {
  const made = await newSubmission(p.q);
  const drafts = overs.map((over) =>
    draft({
      ...over,
      ...(over.after === undefined ? {} : { after: over.after.map((a) => (a.id.startsWith('.') ? { ...a, id: `${made.id}${a.id}` } : a)) }),
      ...(rules === undefined ? {} : { submission: made.id }),
    }),
  );
  const tasks = await submitBulk(p.q, made, drafts, rules === undefined ? {} : { files: groupFiles(made, drafts.length, rules) });
  s.id = tasks[0]!.id;
  for (const task of tasks) s.oracle.acked(task);
}

/** The states of the tasks that were made by the rules of a submission; one that came too late was committed and made void. */
function told(s: Stage): State[] {
  return [...s.oracle.tasks.values()].filter((k) => k.task?.name === 'told').flatMap((k) => stateOf(s, k.id) ?? []);
}

const ARRAY = { many: manyOfArray('1-8', undefined) };

/** An array of eight elements. */
async function array(s: Stage, over: Partial<TaskDraft> = {}): Promise<void> {
  s.id = await given(s, { ...ARRAY, ...over });
}

/** Its elements have all ended so, in chunks or one by one. */
async function endedArray(s: Stage, code: 0 | 1): Promise<void> {
  await array(s, HOOKS);
  for (let i = 0; i < 10 && s.oracle.arrays.open().length > 0; i++) {
    await s.world.alone(`worker-before${i}`, (p) => runSome(p, s.oracle, i % 2 === 0 ? 'chunk' : 'singles', code));
  }
}

/** One element has ended and two run in a worker that dies. Its session. */
async function deadChunk({ world, oracle }: Stage): Promise<string> {
  const job = await world.spawn('dead', (p) => beginChunk(p, oracle));
  await world.finish(job);
  world.crash(job.proc);
  return job.result.kind === 'value' ? job.result.value : '';
}

const cancelPart =
  (part: string): Case['verb'] =>
  async ({ oracle, id, world }, p) => {
    const since = world.steps;
    await cancelTask(p.q, `${id}${part}`, { reason: 'a test', now: false, by: null });
    const { lo, hi } = pieceOf(`${id}${part}`) ?? { lo: 1, hi: 8 };
    oracle.arrays.canceled(id, lo, hi, since);
  };

const ARRAY_CASES: readonly Case[] = [
  { name: 'submit an array', before: async () => undefined, verb: (s, p) => submits(s, p, ARRAY), ends: ['done'], done: ['done'] },
  ...(['chunk', 'singles'] as const).map((takes): Case => ({
    name: `take some elements as ${takes}, run them and give back the rest`,
    before: array,
    verb: (s, p) => runSome(p, s.oracle, takes, 0),
    ends: ['done'],
    done: ['done'],
  })),
  {
    name: 'run a chunk whose elements are tried again',
    before: (s) => array(s, { ...HOOKS, retries: 1 }),
    verb: (s, p) => runSome(p, s.oracle, 'chunk', 1),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'take up a chunk whose worker died',
    before: async (s) => {
      await array(s);
      const session = await deadChunk(s);
      await s.world.alone('undertaker', async (p) => void (await bury(p.q, session, { proved: true, reason: 'died' })));
    },
    verb: (s, p) => runSome(p, s.oracle, 'chunk', 0),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'bury a worker that died with a chunk',
    before: async (s) => {
      await array(s);
      s.ids['session'] = await deadChunk(s);
    },
    verb: async (s, p) => void (await bury(p.q, s.ids['session']!, { proved: true, reason: 'died' })),
    ends: ['done'],
    done: ['done'],
  },
  ...['', '.3', '.3-5'].flatMap((part): Case[] => [
    {
      name: `cancel an array${part}`,
      before: (s) => array(s, HOOKS),
      verb: cancelPart(part),
      ends: ['canceled', 'done'],
      done: ['canceled'],
    },
    {
      name: `cancel an array${part} of which some run in a worker that died`,
      before: async (s) => {
        await array(s);
        await deadChunk(s);
      },
      verb: cancelPart(part),
      ends: ['canceled', 'done'],
      done: ['canceled'],
    },
    {
      name: `retry an array${part}`,
      before: (s) => endedArray(s, 1),
      verb: ({ id }, p) => retryTask(p.q, `${id}${part}`, { by: null }),
      ends: ['failed', 'done'],
      done: part === '' ? ['done'] : ['failed'],
    },
  ]),
  ...['', '.3'].flatMap((part): Case[] => [
    {
      name: `hold an array${part}`,
      before: array,
      verb: ({ id }, p) => holdTask(p.q, `${id}${part}`, null),
      ends: ['held', 'done'],
      done: ['held'],
    },
    {
      name: `release an array${part}`,
      before: (s) => array(s, { hold: true }),
      verb: async ({ id }, p) => void (await releaseTask(p.q, `${id}${part}`, null)),
      ends: ['held', 'done'],
      done: part === '' ? ['done'] : ['held'],
    },
    {
      name: `set an array${part}`,
      before: array,
      verb: ({ id }, p) => setTask(p.q, p.facts, `${id}${part}`, { priority: 9 }),
      ends: ['done'],
      done: ['done'],
    },
  ]),
];

const nothing = async (): Promise<void> => undefined;

export async function cancel({ oracle, world, id }: Stage, p: Proc): Promise<void> {
  const since = world.steps;
  oracle.wished(id, p);
  await cancelTask(p.q, id, { reason: 'a test', now: false, by: null });
  oracle.canceled(id, since);
}

async function release({ oracle, id }: Stage, p: Proc, result?: { value: unknown }): Promise<void> {
  oracle.known(id).released = true;
  await releaseTask(p.q, id, null, result);
}

function set(change: Change): Case['verb'] {
  return async ({ oracle, id }, p) => {
    if (change.delayMs !== undefined) oracle.known(id).changed = true;
    await setTask(p.q, p.facts, id, change);
  };
}

export const CASES: readonly Case[] = [
  ...ARRAY_CASES,
  { name: 'submit', before: nothing, verb: (s, p) => submits(s, p, {}), ends: ['done'], done: ['done'] },
  {
    name: 'submit with a lane of its own',
    before: nothing,
    verb: (s, p) => submits(s, p, { needs: { cpus: 2 } }),
    ends: ['done'],
    done: ['done'],
  },
  { name: 'submit held', before: nothing, verb: (s, p) => submits(s, p, { hold: true }), ends: ['held'], done: ['held'] },
  { name: 'submit delayed', before: nothing, verb: (s, p) => submits(s, p, { delayMs: 1000 }), ends: ['done'], done: ['done'] },
  {
    name: 'submit after another',
    before: async (s) => void (s.ids['parent'] = await given(s)),
    verb: (s, p) => submits(s, p, { after: [{ id: s.ids['parent']!, kind: 'after' }] }),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'submit after one that failed',
    before: async (s) => void (s.ids['parent'] = await ended(s, 1)),
    verb: (s, p) => submits(s, p, { after: [{ id: s.ids['parent']!, kind: 'after' }] }),
    ends: ['skipped'],
    done: ['skipped'],
  },
  { name: 'submit with a key', before: nothing, verb: (s, p) => submits(s, p, { key: 'k' }), ends: ['done'], done: ['done'] },
  {
    name: 'submit with a key that another has',
    before: async (s) => void (s.ids['other'] = await given(s, { key: 'k' })),
    verb: (s, p) => submits(s, p, { key: 'k' }),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect(stateOf(s, s.ids['other'])).toBe('done'),
  },
  {
    name: 'submit with a key that one has that ended',
    before: async (s) => void (s.ids['other'] = await ended(s, 0, { key: 'k' })),
    verb: (s, p) => submits(s, p, { key: 'k' }),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'submit in the place of another',
    before: async (s) => {
      s.ids['other'] = await given(s, { key: 'k' });
    },
    verb: (s, p) => submits(s, p, { key: 'k', onDup: 'replace' }),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect(['canceled', 'done']).toContain(stateOf(s, s.ids['other'])),
  },
  {
    name: 'submit many',
    before: async (s) => void (s.ids['parent'] = await ended(s, 0)),
    verb: (s, p) =>
      submitMany(s, p, [
        {
          after: [
            { id: '.2', kind: 'after' },
            { id: s.ids['parent']!, kind: 'after' },
          ],
        },
        {},
        { needs: { cpus: 2 } },
        { hold: true },
        { delayMs: 1000, lockKeys: '^k' },
        { after: [{ id: s.ids['parent']!, kind: 'after' }] },
      ]),
    // Any of them may be the first that is heard of.
    ends: ['done', 'held'],
    done: ['done'],
    after: (s) => {
      const all = [1, 2, 3, 4, 5, 6].map((n) => stateOf(s, `${baseId(s.id)}.${n}`));
      expect(all).toEqual(['done', 'done', 'done', 'held', 'done', 'done']);
    },
  },
  {
    name: 'submit many with something to be made at their end',
    before: nothing,
    verb: (s, p) => submitMany(s, p, [{}, {}], { success: draft({ name: 'told' }) }),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect(told(s)).toEqual(['done']),
  },
  {
    name: 'end the last of many',
    before: async (s) => {
      await s.world.alone('before', (p) => submitMany(s, p, [{}, {}], { success: draft({ name: 'told' }) }));
      await s.world.alone('worker-before', (p) => runOne(p, s.oracle, 0));
      s.id = s.id.replace('.1', '.2');
    },
    verb: (s, p) => runOne(p, s.oracle, 0),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect(told(s)).toEqual(['done']),
  },
  {
    name: 'fail one of many that is one too many',
    before: async (s) => {
      const rules = { maxFails: { kind: 'count', n: 1 }, failure: draft({ name: 'told' }) } as const;
      await s.world.alone('before', (p) => submitMany(s, p, [{}, { hold: true }, { delayMs: 1000 }], rules));
      // Whoever keeps the promise may do so in the name of all.
      for (const n of [2, 3]) s.oracle.known(`${baseId(s.id)}.${n}`).wishes.push({ by: await s.world.process('rules'), toStep: undefined });
    },
    verb: (s, p) => runOne(p, s.oracle, 1),
    // Died before it could say how it ended: lost, and tried again.
    ends: ['failed', 'done'],
    done: ['failed'],
    after: (s) => {
      const rest = [2, 3].map((n) => stateOf(s, `${baseId(s.id)}.${n}`));
      if (stateOf(s) === 'failed') expect([...rest, ...told(s)]).toEqual(['canceled', 'canceled', 'done']);
      else expect([...rest, ...told(s)]).toEqual(['held', 'done']);
    },
  },
  {
    name: 'cancel a group',
    before: async (s) => {
      await s.world.alone('before', (p) => submitMany(s, p, [{ group: 'g' }, { group: 'g', hold: true }, { group: 'g', delayMs: 1000 }]));
    },
    verb: async (s, p) => {
      for (const n of [1, 2, 3]) s.oracle.wished(`${baseId(s.id)}.${n}`, p);
      const id = makeId(await serverNow(p.q));
      const intent = { action: 'cancel', group: 'g', reason: null, by: null, session: makeSession('group', p.facts, p.pid) } as const;
      await recordIntent(p.q, id, intent);
      await carryOut(p.q, id, intent);
    },
    ends: ['canceled', 'done'],
    done: ['canceled'],
    after: (s) => {
      const all = [1, 2, 3].map((n) => stateOf(s, `${baseId(s.id)}.${n}`));
      expect([
        ['canceled', 'canceled', 'canceled'],
        ['done', 'held', 'done'],
      ]).toContainEqual(all);
    },
  },
  {
    name: 'cancel a queued one',
    before: async (s) => void (s.id = await given(s)),
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
  },
  {
    name: 'cancel a delayed one',
    before: async (s) => void (s.id = await given(s, { delayMs: 1000 })),
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
  },
  {
    name: 'cancel one with a key and a child',
    before: async (s) => {
      s.id = await given(s, { key: 'k' });
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after' }] });
    },
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe(stateOf(s) === 'canceled' ? 'skipped' : 'done'),
  },
  {
    name: 'cancel a running one',
    before: async (s) => {
      s.id = await given(s);
      await dead(s, 1);
    },
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
  },
  {
    name: 'hold a queued one',
    before: async (s) => void (s.id = await given(s)),
    verb: ({ id }, p) => holdTask(p.q, id, null),
    ends: ['held', 'done'],
    done: ['held'],
  },
  {
    name: 'hold a delayed one',
    before: async (s) => void (s.id = await given(s, { delayMs: 1000 })),
    verb: ({ id }, p) => holdTask(p.q, id, null),
    ends: ['held', 'done'],
    done: ['held'],
  },
  {
    name: 'release',
    before: async (s) => void (s.id = await given(s, { hold: true })),
    verb: (s, p) => release(s, p),
    ends: ['held', 'done'],
    done: ['done'],
  },
  {
    name: 'release one with a parent and a key',
    before: async (s) => {
      s.ids['parent'] = await given(s);
      s.id = await given(s, { hold: true, key: 'k', after: [{ id: s.ids['parent'], kind: 'after' }] });
      await s.world.alone('worker-before', (p) => runOne(p, s.oracle, 0));
    },
    verb: (s, p) => release(s, p),
    ends: ['held', 'done'],
    done: ['done'],
  },
  {
    name: 'release with a result',
    before: async (s) => {
      s.id = await given(s, { hold: true });
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after' }] });
    },
    verb: (s, p) => release(s, p, { value: 1 }),
    ends: ['held', 'done'],
    done: ['done'],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe(stateOf(s) === 'done' ? 'done' : 'waiting'),
  },
  {
    name: 'set a queued one',
    before: async (s) => void (s.id = await given(s)),
    verb: set({ priority: 9, labels: { v: '1' } }),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'set a delayed one',
    before: async (s) => void (s.id = await given(s, { delayMs: 1000 })),
    verb: set({ labels: { v: '1' } }),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'set when a queued one is due',
    before: async (s) => void (s.id = await given(s)),
    verb: set({ delayMs: 1000 }),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'set a held one',
    before: async (s) => void (s.id = await given(s, { hold: true })),
    verb: set({ labels: { v: '1' } }),
    ends: ['held'],
    done: ['held'],
  },
  {
    name: 'set one that waits to be held',
    before: async (s) => {
      s.ids['parent'] = await given(s);
      s.id = await given(s, { hold: true, after: [{ id: s.ids['parent'], kind: 'after' }] });
    },
    verb: set({ priority: 9 }),
    ends: ['held'],
    done: ['held'],
  },
  {
    name: 'retry',
    before: async (s) => void (s.id = await ended(s, 1)),
    verb: ({ id }, p) => retryTask(p.q, id, { by: null }),
    ends: ['failed', 'done'],
    done: ['done'],
  },
  {
    name: 'retry later',
    before: async (s) => void (s.id = await ended(s, 1)),
    verb: ({ id }, p) => retryTask(p.q, id, { by: null, delayMs: 1000 }),
    ends: ['failed', 'done'],
    done: ['done'],
  },
  {
    name: 'retry one with a key',
    before: async (s) => void (s.id = await ended(s, 1, { key: 'k' })),
    verb: ({ id }, p) => retryTask(p.q, id, { by: null }),
    ends: ['failed', 'done'],
    done: ['done'],
  },
  {
    name: 'retry one whose child was skipped',
    before: async (s) => {
      s.id = await ended(s, 1);
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after' }] });
      s.ids['grandchild'] = await given(s, { after: [{ id: s.ids['child'], kind: 'after' }] });
    },
    verb: ({ id }, p) => retryTask(p.q, id, { by: null }),
    ends: ['failed', 'done'],
    done: ['done'],
    after: (s) => {
      const both = stateOf(s) === 'done' ? 'done' : 'skipped';
      expect([stateOf(s, s.ids['child']), stateOf(s, s.ids['grandchild'])]).toEqual([both, both]);
    },
  },
  {
    name: 'rm',
    before: async (s) => {
      s.id = await ended(s, 0);
      s.ids['child'] = await given(s, { hold: true, after: [{ id: s.id, kind: 'after' }] });
    },
    verb: async ({ id, oracle }, p) => {
      await removeTask(p.q, id, { force: false, by: null });
      oracle.removed(id);
    },
    ends: ['done'],
    done: [],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe('held'),
  },
  {
    name: 'promote',
    before: async (s) => {
      s.id = await given(s, { delayMs: 1000 });
      s.world.advance(2000);
    },
    verb: async (_s, p) => void (await promoteDue(p.q)),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'expire',
    before: async (s) => {
      s.id = await given(s, { delayMs: 1000, expireMs: 500 });
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after-any' }] });
      s.world.advance(2000);
    },
    verb: async (_s, p) => void (await promoteDue(p.q)),
    ends: ['skipped'],
    done: ['skipped'],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe('done'),
  },
  {
    name: 'claim, run and finish',
    before: async (s) => {
      s.id = await given(s, { key: 'k' });
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after' }] });
    },
    verb: (s, p) => runOne(p, s.oracle, 0),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe('done'),
  },
  {
    name: 'claim, fail and try again',
    before: async (s) => void (s.id = await given(s, { retries: 1 })),
    verb: (s, p) => runOne(p, s.oracle, 1),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'claim and fail for good',
    before: async (s) => {
      s.id = await given(s);
      s.ids['child'] = await given(s, { after: [{ id: s.id, kind: 'after-notok' }] });
    },
    verb: (s, p) => runOne(p, s.oracle, 1),
    // Died before it could say how the attempt ended: lost, and tried again.
    ends: ['failed', 'done'],
    done: ['failed'],
    after: (s) => expect(stateOf(s, s.ids['child'])).toBe(stateOf(s) === 'failed' ? 'done' : 'skipped'),
  },
  {
    name: 'claim and finish one with follow-ups',
    before: async (s) => {
      s.id = await given(s, { ...HOOKS, key: 'k' });
    },
    verb: (s, p) => runOne(p, s.oracle, 0),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'claim and fail one with follow-ups',
    before: async (s) => void (s.id = await given(s, { ...HOOKS, onLost: 'fail' })),
    verb: (s, p) => runOne(p, s.oracle, 1),
    ends: ['failed', 'done'],
    done: ['failed'],
  },
  {
    name: 'fail, and run the fallback',
    before: async (s) => void (s.id = await given(s, { ...HOOKS, fallback: 'true' })),
    verb: (s, p) => runOne(p, s.oracle, 1),
    ends: ['done'],
    done: ['done'],
  },
  {
    name: 'cancel a queued one with follow-ups',
    before: async (s) => void (s.id = await given(s, HOOKS)),
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
  },
  {
    name: 'cancel a running one with follow-ups',
    before: async (s) => {
      s.id = await given(s, HOOKS);
      await dead(s, 1);
    },
    verb: cancel,
    ends: ['canceled', 'done'],
    done: ['canceled'],
  },
  {
    name: 'release one with follow-ups with a result',
    before: async (s) => void (s.id = await given(s, { ...HOOKS, hold: true })),
    verb: (s, p) => release(s, p, { value: 1 }),
    ends: ['held', 'done'],
    done: ['done'],
  },
  {
    name: 'retry one whose follow-up was not let go yet',
    before: async (s) => {
      s.id = await given(s, HOOKS);
      await endedShortOfFollowUp(s);
    },
    verb: ({ id }, p) => retryTask(p.q, id, { by: null }),
    ends: ['failed', 'done'],
    done: ['done'],
  },
  {
    name: 'rm of one whose follow-up was not let go yet',
    before: async (s) => {
      s.id = await given(s, HOOKS);
      await endedShortOfFollowUp(s);
    },
    verb: async ({ id, oracle }, p) => {
      await removeTask(p.q, id, { force: false, by: null });
      oracle.removed(id);
    },
    ends: ['failed'],
    done: [],
  },
  {
    name: 'bury a dead worker whose task ends with follow-ups',
    before: async (s) => {
      s.id = await given(s, { ...HOOKS, onLost: 'fail' });
      s.ids['canceled'] = await given(s, HOOKS);
      s.ids['session'] = await dead(s, 2);
      await s.world.alone('before', (p) => cancel({ ...s, id: s.ids['canceled']! }, p));
    },
    verb: async (s, p) => void (await bury(p.q, s.ids['session']!, { proved: true, reason: 'died' })),
    ends: ['failed'],
    done: ['failed'],
    after: (s) => expect(stateOf(s, s.ids['canceled'])).toBe('canceled'),
  },
  {
    name: 'bury a dead worker',
    before: async (s) => {
      s.id = await given(s);
      s.ids['unbegun'] = await given(s);
      s.ids['canceled'] = await given(s);
      s.ids['session'] = await dead(s, 3);
      await s.world.alone('before', (p) => cancel({ ...s, id: s.ids['canceled']! }, p));
    },
    verb: async (s, p) => void (await bury(p.q, s.ids['session']!, { proved: true, reason: 'died' })),
    ends: ['done'],
    done: ['done'],
    after: (s) => expect([stateOf(s, s.ids['unbegun']), stateOf(s, s.ids['canceled'])]).toEqual(['done', 'canceled']),
  },
  {
    name: 'bury a dead set',
    before: async (s) => {
      s.id = await given(s, { delayMs: 1000 });
      const job = await s.world.spawn('dead', (p) => setTask(p.q, p.facts, s.id, { priority: 9 }));
      await s.world.finish(job, (call) => call.op === 'rename' && call.path.endsWith('.new'));
      s.world.crash(job.proc);
      s.ids['session'] = [...s.oracle.known(s.id).spots.values()][0]!.session!;
    },
    verb: async (s, p) => void (await bury(p.q, s.ids['session']!, { proved: true, reason: 'died' })),
    ends: ['done'],
    done: ['done'],
  },
];

/** A refusal by the state of things is an answer too, where something was done to the verb. */
export function isRefusal(error: unknown): boolean {
  return error instanceof TqError && error.code === 'WRONG_STATE';
}
