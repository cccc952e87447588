import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { classify, deadlineAt, type DecideInput, decideNext, type Ended, MAX_LOST, newTally } from '../../src/task/decide.ts';
import { isTerminal, type Tally } from '../../src/task/types.ts';

const END = 1_000_000;
const START = END - 5000;

type TaskInput = DecideInput['task'];
type Overrides = Partial<Omit<DecideInput, 'task' | 'tally'>> & { task?: Partial<TaskInput>; tally?: Partial<Tally> };

/** An attempt that failed with code 1, no retries, no jitter, unless said otherwise. */
function input({ task, tally, ...rest }: Overrides = {}): DecideInput {
  return {
    task: { retries: 0, backoff: { kind: 'exp', baseMs: 1000, maxMs: 300_000 }, jitter: false, onLost: 'requeue', ...task },
    ended: exited(1),
    tally: { ...newTally(), ...tally },
    worker: 'w1',
    started: true,
    startedAt: START,
    endedAt: END,
    random: () => 0.5,
    ...rest,
  };
}

const exited = (code: number): Ended => ({ how: 'exited', code });
const killed: Ended = { how: 'signaled', signal: 'SIGKILL' };
const cause = (kind: 'timeout' | 'deadline' | 'stalled' | 'canceled' | 'preempted'): Ended => ({ how: 'cause', kind });
const rejected: Ended = { how: 'rejected', reason: 'nosuch: not found', exitCode: 127 };
const lost: Ended = { how: 'lost', reason: 'worker w1 died' };
const nextOf = (overrides: Overrides): unknown => decideNext(input(overrides)).next;

describe('classify', () => {
  it.each<[Ended, string, string | null]>([
    [exited(0), 'succeeded', null],
    [exited(1), 'failed', 'exit code 1'],
    [exited(75), 'snoozed', 'asked to be run later'],
    [exited(78), 'failed', 'exit code 78'],
    [killed, 'signaled', 'killed by SIGKILL'],
    [cause('timeout'), 'timeout', 'timeout after 1s'],
    [cause('deadline'), 'timeout', 'deadline'],
    [cause('stalled'), 'stalled', 'no output for 2m'],
    [cause('canceled'), 'canceled', null],
    [cause('preempted'), 'preempted', 'its worker was told to sleep or stop'],
    [rejected, 'rejected', 'nosuch: not found'],
    [lost, 'lost', 'worker w1 died'],
  ])('calls %j %s', (ended, outcome, reason) => {
    expect(classify({ timeoutMs: 1000, stallMs: 120_000 }, ended)).toEqual({ outcome, reason });
  });

  it('D3: asks --ok first: 75 and 78 can be success, and 0 need not be', () => {
    expect(classify({ ok: [[75, 78]] }, exited(75)).outcome).toBe('succeeded');
    expect(classify({ ok: [[75, 78]] }, exited(78)).outcome).toBe('succeeded');
    expect(classify({ ok: [[3, 3]] }, exited(0)).outcome).toBe('failed');
  });
});

describe('decideNext', () => {
  it('D3: a code in --ok is done and changes no count', () => {
    const tally = { failures: 2, lost: 3, firstStartedAt: 7, rejectedBy: ['w9'] };
    expect(
      decideNext(
        input({
          task: {
            ok: [
              [0, 0],
              [3, 3],
            ],
          },
          ended: exited(3),
          tally,
        }),
      ),
    ).toEqual({ next: { state: 'done' }, tally });
  });

  it('D1: without retries the first failure is the last', () => {
    expect(decideNext(input())).toEqual({
      next: { state: 'failed', reason: 'exit code 1' },
      tally: { failures: 1, lost: 0, firstStartedAt: START, rejectedBy: [] },
    });
  });

  it('D1: two retries make three attempts, delayed in between with the reason and the time', () => {
    const task = { retries: 2 };
    const first = decideNext(input({ task }));
    expect(first.next).toEqual({ state: 'delayed', dueAt: END + 1000, reason: 'exit code 1' });
    const second = decideNext(input({ task, tally: first.tally }));
    expect(second.next).toEqual({ state: 'delayed', dueAt: END + 2000, reason: 'exit code 1' });
    const third = decideNext(input({ task, tally: second.tally }));
    expect(third).toEqual({
      next: { state: 'failed', reason: 'exit code 1' },
      tally: { failures: 3, lost: 0, firstStartedAt: START, rejectedBy: [] },
    });
  });

  it('gives the reason that the task itself gave', () => {
    expect(nextOf({ said: 'disk on fire' })).toEqual({ state: 'failed', reason: 'disk on fire' });
    expect(nextOf({ said: null })).toEqual({ state: 'failed', reason: 'exit code 1' });
    expect(nextOf({ ended: cause('canceled'), said: 'not needed' })).toEqual({ state: 'canceled', reason: 'not needed' });
  });

  it('D2: a wait of nothing is queued at once, and jitter moves the due time', () => {
    expect(nextOf({ task: { retries: 1, backoff: { kind: 'none' } } })).toEqual({ state: 'queued', reason: 'exit code 1' });
    expect(nextOf({ task: { retries: 1, jitter: true }, random: () => 0 })).toMatchObject({ dueAt: END + 900 });
  });

  it.each<[Ended, string]>([
    [exited(1), 'failed'],
    [exited(64), 'delayed'],
    [exited(78), 'failed'],
    [exited(75), 'delayed'],
    [killed, 'delayed'],
    [cause('timeout'), 'delayed'],
    [cause('stalled'), 'delayed'],
  ])('D3: with --retry-on 64-78 and 5 retries, %j is %s', (ended, state) => {
    expect(nextOf({ task: { retries: 5, retryOn: [[64, 78]] }, ended })).toMatchObject({ state });
  });

  it('D4: 75 is run later without using up a retry, after a minute or what was asked for', () => {
    expect(decideNext(input({ ended: exited(75) }))).toMatchObject({
      next: { state: 'delayed', dueAt: END + 60_000 },
      tally: { failures: 0 },
    });
    expect(nextOf({ ended: exited(75), snoozeMs: 600_000 })).toMatchObject({ state: 'delayed', dueAt: END + 600_000 });
    expect(nextOf({ ended: exited(75), snoozeMs: 0 })).toMatchObject({ state: 'queued' });
    expect(nextOf({ ended: exited(1), snoozeMs: 600_000, task: { retries: 1 } })).toMatchObject({ dueAt: END + 1000 });
  });

  it('D4: a snooze across the deadline ends there', () => {
    const task = { deadlineMs: 65_000 };
    expect(nextOf({ task, ended: exited(75), snoozeMs: 59_999 })).toMatchObject({ state: 'delayed', dueAt: END + 59_999 });
    expect(nextOf({ task, ended: exited(75), snoozeMs: 600_000 })).toMatchObject({ state: 'delayed', dueAt: START + 65_000 });
  });

  it('D4: 78 is final whatever is left of the retries', () => {
    expect(decideNext(input({ task: { retries: 5 }, ended: exited(78) }))).toMatchObject({
      next: { state: 'failed', reason: 'exit code 78' },
      tally: { failures: 1 },
    });
  });

  it('B10: a wait ends at the deadline, counted from the first start, and at the deadline the task is failed', () => {
    const task = { retries: 99, deadlineMs: 6000 };
    expect(nextOf({ task: { ...task, deadlineMs: 5000 } })).toEqual({ state: 'failed', reason: 'deadline' });
    expect(nextOf({ task: { ...task, deadlineMs: 5500 } })).toMatchObject({ state: 'delayed', dueAt: START + 5500 });
    expect(nextOf({ task: { ...task, deadlineMs: 6001 } })).toMatchObject({ state: 'delayed', dueAt: END + 1000 });
    expect(nextOf({ task: { ...task, deadlineMs: 5500 }, tally: { firstStartedAt: START - 500 } })).toEqual({
      state: 'failed',
      reason: 'deadline',
    });
    for (const ended of [lost, rejected, cause('preempted')]) {
      expect(nextOf({ task: { deadlineMs: 5000 }, ended })).toEqual({ state: 'failed', reason: 'deadline' });
      expect(nextOf({ task: { deadlineMs: 5001 }, ended })).toMatchObject({ state: 'queued' });
    }
    expect(nextOf({ task: { deadlineMs: 5000 }, ended: exited(0) })).toEqual({ state: 'done' });
  });

  it('B10: stopped by the deadline it is failed whatever is left of the retries', () => {
    expect(decideNext(input({ task: { retries: 99, deadlineMs: 99_000 }, ended: cause('deadline') })).next).toEqual({
      state: 'failed',
      reason: 'deadline',
    });
  });

  it('C4: preempted is queued again and uses up no retry', () => {
    expect(decideNext(input({ ended: cause('preempted') }))).toMatchObject({ next: { state: 'queued' }, tally: { failures: 0 } });
  });

  it('E2: canceled stays canceled whatever is left of the retries', () => {
    expect(nextOf({ task: { retries: 9 }, ended: cause('canceled') })).toEqual({ state: 'canceled' });
  });

  it('D7: lost goes where --on-lost says', () => {
    const reason = 'worker w1 died';
    expect(nextOf({ ended: lost })).toEqual({ state: 'queued', reason });
    expect(nextOf({ ended: lost, task: { onLost: 'hold' } })).toEqual({ state: 'held', reason });
    expect(nextOf({ ended: lost, task: { onLost: 'fail' } })).toEqual({ state: 'failed', reason });
  });

  it('D7: the tenth lost attempt that had started is the last; one that had not started does not count', () => {
    const tally = { lost: MAX_LOST - 1 };
    expect(decideNext(input({ ended: lost, tally }))).toMatchObject({
      next: { state: 'failed', reason: 'lost too often' },
      tally: { lost: MAX_LOST },
    });
    expect(decideNext(input({ ended: lost, tally, started: false, startedAt: null }))).toMatchObject({ next: { state: 'queued' }, tally });
    expect(decideNext(input({ ended: lost, tally: { lost: MAX_LOST - 2 } })).next.state).toBe('queued');
  });

  it('counts a start whose time nobody knows, and takes no deadline from an attempt that never began', () => {
    expect(decideNext(input({ ended: lost, startedAt: null })).tally).toMatchObject({ lost: 1, firstStartedAt: null });
    expect(decideNext(input({ ended: rejected, started: false, startedAt: START })).tally.firstStartedAt).toBeNull();
  });

  it('B11: rejected is queued for others, each worker noted once, and failed once everyone has rejected it', () => {
    const first = decideNext(input({ ended: rejected, started: false, startedAt: null }));
    expect(first).toEqual({ next: { state: 'queued', reason: 'nosuch: not found' }, tally: { ...newTally(), rejectedBy: ['w1'] } });
    expect(decideNext(input({ ended: rejected, tally: first.tally })).tally.rejectedBy).toEqual(['w1']);
    const last = decideNext(input({ ended: rejected, tally: first.tally, worker: 'w2', everyoneRejected: true }));
    expect(last).toMatchObject({
      next: { state: 'failed', reason: 'nosuch: not found' },
      tally: { rejectedBy: ['w1', 'w2'], failures: 0 },
    });
  });

  it('changes nothing that it is given', () => {
    const tally = Object.freeze({ failures: 0, lost: 0, firstStartedAt: null, rejectedBy: Object.freeze(['w0']) as string[] });
    for (const ended of [exited(1), lost, rejected]) decideNext({ ...input({ ended }), tally });
    expect(tally).toEqual({ failures: 0, lost: 0, firstStartedAt: null, rejectedBy: ['w0'] });
  });
});

describe('the life of a task', () => {
  const code = fc.oneof(fc.nat(255), fc.constantFrom(0, 1, 75, 78));
  const anyEnded: fc.Arbitrary<Ended> = fc.oneof(
    code.map(exited),
    fc.constantFrom<Ended>(killed, rejected, lost),
    fc.constantFrom('timeout' as const, 'deadline' as const, 'stalled' as const, 'canceled' as const, 'preempted' as const).map(cause),
  );
  const ranges = fc.array(
    fc.tuple(fc.nat(255), fc.nat(255)).map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const),
    { minLength: 1, maxLength: 3 },
  );
  const anyTask: fc.Arbitrary<TaskInput> = fc.record(
    {
      retries: fc.nat(6),
      backoff: fc.constantFrom<TaskInput['backoff']>(
        { kind: 'none' },
        { kind: 'fixed', baseMs: 500 },
        { kind: 'exp', baseMs: 1000, maxMs: 7000 },
        { kind: 'fib', baseMs: 1000 },
      ),
      jitter: fc.boolean(),
      onLost: fc.constantFrom<TaskInput['onLost']>('requeue', 'hold', 'fail'),
      retryOn: ranges,
      ok: ranges,
      deadlineMs: fc.nat(200_000),
    },
    { requiredKeys: ['retries', 'backoff', 'jitter', 'onLost'] },
  );
  const attempt = fc.record({
    ended: anyEnded,
    startMs: fc.nat(5000),
    runMs: fc.nat(20_000),
    began: fc.boolean(),
    worker: fc.constantFrom('w1', 'w2', 'w3'),
    everyoneRejected: fc.boolean(),
    random: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  });

  interface Step {
    input: DecideInput;
    before: Tally;
    after: Tally;
    next: ReturnType<typeof decideNext>['next'];
    outcome: string;
  }

  /** Attempt after attempt until the task is terminal or the attempts run out; a held task is let go at once. */
  function live(task: TaskInput, attempts: Array<typeof attempt extends fc.Arbitrary<infer A> ? A : never>): Step[] {
    const steps: Step[] = [];
    let tally = newTally();
    let now = END;
    for (const { ended, startMs, runMs, began, worker, everyoneRejected, random } of attempts) {
      const started = ended.how === 'rejected' ? false : ended.how === 'lost' ? began : true;
      const startedAt = now + startMs;
      const endedAt = startedAt + runMs;
      const given: DecideInput = {
        task,
        ended,
        tally,
        worker,
        started,
        startedAt: started ? startedAt : null,
        endedAt,
        everyoneRejected,
        random: () => random,
      };
      const result = decideNext(given);
      steps.push({ input: given, before: tally, after: result.tally, next: result.next, outcome: classify(task, ended).outcome });
      if (isTerminal(result.next.state)) break;
      tally = result.tally;
      now = result.next.state === 'delayed' ? result.next.dueAt : endedAt;
    }
    return steps;
  }

  function everyStep(check: (step: Step, steps: Step[]) => void): void {
    fc.assert(
      fc.property(anyTask, fc.array(attempt, { minLength: 1, maxLength: 40 }), (task, attempts) => {
        const steps = live(task, attempts);
        for (const step of steps) check(step, steps);
      }),
      { numRuns: 400 },
    );
  }

  it('D1: never has more than retries + 1 counted failures, nor goes on after the last', () => {
    everyStep(({ input: { task }, after, next: { state } }) => {
      expect(after.failures).toBeLessThanOrEqual(task.retries + 1);
      expect(after.failures <= task.retries || isTerminal(state)).toBe(true);
    });
  });

  it('D7: only failures raise the failures, and only lost ones the losses, which end at ten', () => {
    everyStep(({ before, after, outcome, next: { state }, input: { started } }) => {
      const counts = ['failed', 'signaled', 'timeout', 'stalled'].includes(outcome);
      expect(after.failures - before.failures).toBe(counts ? 1 : 0);
      expect(after.lost - before.lost).toBe(outcome === 'lost' && started ? 1 : 0);
      expect(after.lost).toBeLessThanOrEqual(MAX_LOST);
      expect(after.lost < MAX_LOST || state === 'failed').toBe(true);
    });
  });

  it('D7: lost, rejected, snoozed and preempted attempts never end a task because of its retries', () => {
    everyStep(({ outcome, next, input: { task, everyoneRejected, endedAt }, after }) => {
      if (!['lost', 'rejected', 'snoozed', 'preempted'].includes(outcome) || next.state !== 'failed') return;
      const limit = deadlineAt(task, after);
      const late = limit !== null && endedAt >= limit;
      const given =
        (outcome === 'rejected' && everyoneRejected === true) ||
        (outcome === 'lost' && (task.onLost === 'fail' || after.lost === MAX_LOST));
      expect(late || given).toBe(true);
    });
  });

  it('B10: never queues at the deadline, never delays beyond it, and waits from the end of the attempt', () => {
    everyStep(({ next, input: { task, endedAt }, after }) => {
      if (next.state !== 'queued' && next.state !== 'delayed') return;
      const dueAt = next.state === 'delayed' ? next.dueAt : endedAt;
      expect(endedAt).toBeLessThan(deadlineAt(task, after) ?? Infinity);
      expect(dueAt).toBeLessThanOrEqual(deadlineAt(task, after) ?? Infinity);
      expect(dueAt > endedAt).toBe(next.state === 'delayed');
    });
  });

  it('ends done exactly on success, and canceled exactly on cancel', () => {
    everyStep(({ next, outcome }) => {
      expect(next.state === 'done').toBe(outcome === 'succeeded');
      expect(next.state === 'canceled').toBe(outcome === 'canceled');
      expect(['skipped', 'waiting']).not.toContain(next.state);
    });
  });

  it('keeps the first start once there was one, and every worker that rejected it', () => {
    everyStep(({ before, after, input: { started, startedAt, worker }, outcome }) => {
      expect(after.firstStartedAt).toBe(before.firstStartedAt ?? (started ? startedAt : null));
      expect(new Set(after.rejectedBy)).toEqual(new Set([...before.rejectedBy, ...(outcome === 'rejected' ? [worker] : [])]));
      expect(after.rejectedBy.length).toBe(new Set(after.rejectedBy).size);
    });
  });

  it('is decided the same way by everyone who decides from the same facts, also after a trip through JSON', () => {
    everyStep(({ input: given, next, after }) => {
      const { random, ...facts } = given;
      expect(decideNext({ ...(JSON.parse(JSON.stringify(facts)) as Omit<DecideInput, 'random'>), random })).toEqual({ next, tally: after });
    });
  });
});

describe('the fallback', () => {
  const task = { fallback: 'true' };
  const told = { outcome: 'failed', exitCode: 1, error: 'exit code 1' };

  it('D5: is the next attempt after the last retry, and is told how the task failed', () => {
    const first = decideNext(input({ task: { ...task, retries: 1 } }));
    expect(first).toMatchObject({ next: { state: 'delayed' }, tally: { failures: 1 } });
    expect(first.tally.fallback).toBeUndefined();
    const last = decideNext(input({ task: { ...task, retries: 1 }, tally: first.tally }));
    expect(last).toMatchObject({ next: { state: 'queued', reason: 'exit code 1' }, tally: { failures: 2, fallback: told } });
  });

  it.each<[string, Overrides]>([
    ['exit 78', { ended: exited(78), task: { retries: 5 } }],
    ['a code that is not retried', { ended: exited(2), task: { retries: 5, retryOn: [[1, 1]] } }],
    ['a signal', { ended: killed }],
    ['a timeout', { ended: cause('timeout') }],
    ['a stall', { ended: cause('stalled') }],
    ['a worker that died, with --on-lost fail', { ended: lost, task: { onLost: 'fail' } }],
    ['too many workers that died', { ended: lost, tally: { lost: MAX_LOST - 1 } }],
    ['the last rejection', { ended: rejected, everyoneRejected: true, tally: { rejectedBy: ['w2'] } }],
  ])('D5: comes after %s too', (_what, overrides) => {
    const decided = decideNext(input({ ...overrides, task: { ...task, ...overrides.task } }));
    expect(decided.next.state).toBe('queued');
    // Nobody has rejected the other program yet.
    expect(decided.tally).toMatchObject({ rejectedBy: [], fallback: { outcome: expect.any(String) as string } });
  });

  it.each<[string, Overrides, string]>([
    ['a cancel', { ended: cause('canceled') }, 'canceled'],
    ['a success', { ended: exited(0) }, 'done'],
    ['the deadline', { ended: cause('deadline') }, 'failed'],
    ['a failure at the deadline', { task: { deadlineMs: END - START }, tally: { firstStartedAt: START } }, 'failed'],
  ])('D5: does not come after %s', (_what, overrides, state) => {
    const decided = decideNext(input({ ...overrides, task: { ...task, ...overrides.task } }));
    expect(decided.next.state).toBe(state);
    expect(decided.tally.fallback).toBeUndefined();
  });

  it('D5: fails for good whatever retries are left, and is run again when it did not fail', () => {
    const tally: Partial<Tally> = { failures: 1, fallback: { outcome: 'failed', exitCode: 78, error: null } };
    const of = (ended: Ended): DecideInput => input({ task: { ...task, retries: 5 }, tally, ended });
    expect(decideNext(of(exited(1))).next.state).toBe('failed');
    expect(decideNext(of(cause('timeout'))).next.state).toBe('failed');
    expect(decideNext(of(exited(0))).next.state).toBe('done');
    for (const ended of [lost, cause('preempted'), exited(75), rejected]) {
      const again = decideNext(of(ended));
      expect(['queued', 'delayed']).toContain(again.next.state);
      expect(again.tally.fallback).toEqual(tally.fallback);
    }
  });
});
