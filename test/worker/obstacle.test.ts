/** The one thing that keeps a worker from a task. */
import { describe, expect, it } from 'vitest';
import type { Requirements } from '../../src/queue/layout.ts';
import type { StateFile } from '../../src/queue/registry.ts';
import { obstacle, unable, type Everywhere, type Obstacle, type Past } from '../../src/worker/obstacle.ts';
import type { Sight } from '../../src/worker/sight.ts';

const NOTHING: Past = { rejectedBy: [], failedOn: null };
const PLAIN: Requirements = { queue: 'default' };

function sight(
  over: {
    state?: Sight['state'];
    alive?: boolean;
    want?: string;
    running?: string[];
    said?: Partial<StateFile>;
    file?: Partial<Sight['file']>;
  } = {},
): Sight {
  const file: Sight['file'] = {
    name: 'w1',
    session: 'w1.1.a-b-c-d-e',
    host: 'h',
    pid: 1,
    startedAt: 0,
    version: '1',
    jobs: 2,
    queues: ['default'],
    labels: { gpu: '', os: 'linux' },
    offers: { cpus: 4, mem: 8 * 2 ** 30, disk: 1 },
    heartbeatMs: 1000,
    restartExitCode: null,
    settings: {},
    ...over.file,
  };
  const said: StateFile = {
    session: file.session,
    state: over.state ?? 'awake',
    want: null,
    base: 'awake',
    reason: null,
    badWant: null,
    running: [],
    changedAt: 0,
    blocked: null,
    lastSession: null,
    lost: false,
    ...over.said,
  };
  return {
    file,
    said,
    state: said.state,
    want: over.want ?? null,
    alive: over.alive ?? true,
    running: over.running ?? [],
    lastSeenAt: 0,
    load: null,
    badWant: null,
  };
}

const text = (s: Sight, r: Requirements, past = NOTHING, used: Record<string, number> = {}): string | undefined =>
  obstacle(s, r, past, used)?.text;

describe('what is the same on every worker', () => {
  const everywhere = (keeps: Obstacle | undefined, priority = 0): Everywhere => ({ id: '6d39o5h8zf9c15', priority, keeps });
  const kind = (s: Sight, e: Everywhere): string | undefined => obstacle(s, PLAIN, NOTHING, {}, e)?.kind;
  const paused: Obstacle = { kind: 'paused', text: 'queue default is paused' };
  const mutex: Obstacle = { kind: 'mutex', text: 'mutex db is held by 6d39o5h8zf9c14' };

  it('J5: is told after what lasts and before what passes', () => {
    expect(kind(sight({ state: 'asleep' }), everywhere(paused))).toBe('state');
    expect(kind(sight({ file: { queues: ['other'] } }), everywhere(paused))).toBe('queue');
    expect(kind(sight({ said: { blocked: 'gate: x' } }), everywhere(paused))).toBe('paused');
    expect(kind(sight({ said: { blocked: 'gate: x' } }), everywhere(mutex))).toBe('blocked');
    expect(kind(sight({ running: ['a', 'b'] }), everywhere(mutex))).toBe('mutex');
    expect(kind(sight(), everywhere(undefined))).toBeUndefined();
  });

  it('J5 F8: room that is kept for another keeps it from tasks of that priority and below', () => {
    const keeping = sight({ said: { reserved: { id: '6d39o5h8zf9c14', priority: 3 } } });
    expect(obstacle(keeping, PLAIN, NOTHING, {}, everywhere(undefined, 3))?.text).toContain('6d39o5h8zf9c14');
    expect(kind(keeping, everywhere(undefined, 3))).toBe('reserved');
    expect(kind(keeping, everywhere(undefined, 4))).toBeUndefined();
    expect(kind(sight({ said: { reserved: { id: '6d39o5h8zf9c15', priority: 0 } } }), everywhere(undefined))).toBeUndefined();
  });
});

describe('why a worker leaves a task', () => {
  it('nothing keeps a free awake one from it', () => {
    expect(text(sight(), PLAIN)).toBeUndefined();
    expect(
      text(sight(), { queue: 'default', on: 'gpu && os==linux && !laptop', needs: { cpus: 4, disk: 1 }, worker: 'w1' }),
    ).toBeUndefined();
  });

  it('what lasts is told before what passes', () => {
    expect(text(sight({ state: 'asleep' }), { queue: 'other' })).toBe('does not serve queue other (serves default)');
    expect(text(sight({ state: 'asleep' }), PLAIN)).toBe('asleep');
    const hours = { file: { settings: { hours: '22:00-06:00' } } };
    expect(text(sight({ state: 'asleep', ...hours }), PLAIN)).toBe('asleep (its hours: 22:00-06:00)');
    expect(text(sight({ state: 'asleep', want: 'awake' }), PLAIN)).toBe('asleep, asked to be awake');
  });

  it('one that left or died is told first of all', () => {
    expect(text(sight({ state: 'offline', alive: false }), { queue: 'other' })).toBe('offline');
    expect(text(sight({ state: 'offline', alive: false, said: { lost: true } }), PLAIN)).toBe('offline: it was lost');
    expect(text(sight({ alive: false }), { queue: 'other' })).toBe('not alive');
  });

  it('names the label, the queue, the worker and the amount', () => {
    expect(text(sight(), { ...PLAIN, on: 'tpu' })).toBe('no label tpu');
    expect(text(sight(), { ...PLAIN, on: '!gpu' })).toBe('has the label gpu, which the task does not want');
    expect(text(sight(), { ...PLAIN, on: 'os==mac' })).toBe('label os is linux, not mac');
    expect(text(sight(), { ...PLAIN, on: 'zone==a' })).toBe('no label zone=a');
    expect(text(sight(), { ...PLAIN, on: 'os!=linux' })).toBe('label os is linux, which the task does not want');
    expect(text(sight(), { ...PLAIN, worker: 'w2' })).toBe('the task is for worker w2');
    expect(text(sight(), { ...PLAIN, needs: { cpus: 8 } })).toBe('offers 4 cpus, 8 cpus asked for');
    expect(text(sight(), { ...PLAIN, needs: { cpus: 1, mem: 16 * 2 ** 30 } })).toBe('offers 8G mem, 16G mem asked for');
    expect(text(sight(), { ...PLAIN, needs: { cpus: 1, gpus: 1 } })).toBe('offers 0 gpus, 1 gpu asked for');
  });

  it('names a variable or a handler that it is known not to have', () => {
    expect(text(sight(), { ...PLAIN, vars: ['store'] })).toBeUndefined();
    expect(text(sight({ file: { settings: { vars: { tmp: '/t' } } } }), { ...PLAIN, vars: ['store'] })).toBe(
      'has no variable store (--var)',
    );
    expect(text(sight({ file: { settings: { handlers: ['a'] } } }), { ...PLAIN, handler: 'b' })).toBe('has no handler b');
  });

  it('then what it was asked, what it failed, what blocks it, its slots and what is free', () => {
    expect(text(sight({ want: 'asleep' }), PLAIN)).toBe('asked to be asleep: takes nothing more');
    expect(text(sight(), PLAIN, { rejectedBy: ['w1'], failedOn: null })).toBe('could not start it before');
    expect(text(sight(), PLAIN, { rejectedBy: [], failedOn: 'w1' })).toBe('failed it before, leaves it to others for now');
    expect(text(sight({ said: { blocked: 'gate says no' } }), PLAIN)).toBe('gate says no');
    expect(text(sight({ running: ['a', 'b'] }), PLAIN)).toBe('no free slot (2 of 2 in use)');
    expect(text(sight({ running: ['a'] }), { ...PLAIN, needs: { cpus: 3 } }, NOTHING, { cpus: 2 })).toBe(
      '2 cpus free of 4 cpus, 3 cpus asked for',
    );
    expect(text(sight({ state: 'error', said: { reason: '5 tasks could not be started' } }), PLAIN)).toBe(
      'in error: 5 tasks could not be started',
    );
  });

  it('what others wrote comes out visible', () => {
    expect(text(sight({ said: { blocked: 'gate\u001b[31m' } }), PLAIN)).toBe('gate\\x1b[31m');
    expect(unable(sight({ file: { queues: ['a\r'] } }).file, PLAIN)?.text).toBe('does not serve queue default (serves a\\r)');
  });
});
