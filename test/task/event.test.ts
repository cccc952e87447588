/** The order of events: whatever is missing, twice there or stamped by a wrong clock, each task's steps are legal and in order. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { arrange, isLegal, stateAt, typeOf, withGap, type Found, type Step } from '../../src/task/event.ts';
import { isTerminal, STATES, type State } from '../../src/task/types.ts';

const step = (from: State | null, to: State | null, attempt: number, at: number, more: Partial<Step> = {}): Step => ({
  at,
  task: '6d39o5h8zf9c15',
  from,
  to,
  attempt,
  worker: null,
  ...more,
});

const BEFORE = { state: null, attempt: 0, at: 0 } as const;
const words = (steps: readonly Step[]): string =>
  steps.map((s) => `${typeOf(s)}:${s.to}@${s.attempt}${s.inferred === true ? '?' : ''}`).join(' ');

function expectInOrder(steps: readonly Step[]): void {
  for (const [i, s] of steps.entries()) {
    const last = steps[i - 1];
    expect(isLegal(s.from, s.to), words(steps)).toBe(true);
    if (last === undefined) continue;
    expect(s.from, words(steps)).toBe(last.to);
    expect(s.at).toBeGreaterThanOrEqual(last.at);
    expect(s.attempt).toBeGreaterThanOrEqual(last.attempt);
  }
}

/** What a task may really have done, as a list of choices. */
const lives = fc.array(fc.nat(50), { minLength: 1, maxLength: 25 }).map((choices) => {
  const steps: Step[] = [];
  let state: State | null = null;
  let attempt = 0;
  for (const [i, choice] of choices.entries()) {
    const may: State[] = STATES.filter((to) => isLegal(state, to));
    if (may.length === 0) break;
    const to: State = may[choice % may.length]!;
    if (to === 'running' || (state !== null && isTerminal(state))) attempt++;
    steps.push(step(state, to, attempt, 1000 * (i + 1)));
    state = to;
  }
  return steps;
});

describe('arrange', () => {
  it('leaves a whole journal as it is', () => {
    fc.assert(
      fc.property(lives, (life) => {
        expect(arrange(life, [], BEFORE)).toEqual(life);
      }),
    );
  });

  it('makes every step legal, none twice, and ends where the last one that is known ended, whatever lines are missing or doubled', () => {
    fc.assert(
      fc.property(lives, fc.infiniteStream(fc.integer({ min: 0, max: 5 })), (life, luck) => {
        const dice = luck[Symbol.iterator]();
        const kept = life.flatMap((s, i) => {
          const n = dice.next().value as number;
          if (i === life.length - 1) return [s];
          return n === 0 ? [] : n === 1 ? [s, { ...s, at: s.at + 1 }] : [s];
        });
        const steps = arrange(kept, [], BEFORE);
        expectInOrder(steps);
        expect(steps.at(-1)).toMatchObject({ to: life.at(-1)!.to, attempt: life.at(-1)!.attempt });
      }),
    );
  });

  it('tells a start once, though its second line comes after an end that let the task go on', () => {
    const life = [step(null, 'queued', 0, 1000), step('queued', 'running', 1, 2000), step('running', 'queued', 1, 3000)];
    expect(words(arrange([...life, { ...life[1]!, at: 2001 }], [], BEFORE))).toBe(words(life));
  });

  it('takes the order from attempts and from what follows from what, not from clocks that differ', () => {
    const life = [
      step(null, 'queued', 0, 1000),
      step('queued', 'running', 1, 400, { worker: 'behind' }),
      step('running', 'queued', 1, 410, { worker: 'behind' }),
      step('queued', 'running', 2, 90_000, { worker: 'ahead' }),
      step('running', 'done', 2, 90_010, { worker: 'ahead' }),
    ];
    const steps = arrange(life.toReversed(), [], BEFORE);
    expect(words(steps)).toBe('submitted:queued@0 started:running@1 ended:queued@1 started:running@2 ended:done@2');
    expectInOrder(steps);
  });

  it('puts what another machine did between two attempts behind the end of the first, though its clock is an hour behind', () => {
    const hour = 3_600_000;
    const life = [
      step(null, 'queued', 0, 1000),
      step('queued', 'running', 1, 2000 + hour),
      step('running', 'delayed', 1, 3000 + hour),
      step('delayed', 'queued', 1, 4000),
      step('queued', 'running', 2, 5000),
    ];
    expect(words(arrange(life.toReversed(), [], BEFORE))).toBe(words(life));
  });

  it('takes the moment from the journal and what else there is from the files, and tells a step once', () => {
    const seen = [step(null, 'waiting', 0, 1000), step('waiting', 'queued', 0, 1500), step('running', 'failed', 1, 2005)];
    const found: Found[] = [
      step(null, 'waiting', 0, 1000),
      step('queued', 'running', 1, 2000, { worker: 'w' }),
      step('running', 'failed', 1, 2004, { worker: 'w', outcome: 'failed', exitCode: 3 }),
    ];
    const steps = arrange(seen, found, BEFORE);
    expect(words(steps)).toBe('submitted:waiting@0 ready:queued@0 started:running@1 ended:failed@1');
    expect(steps.at(-1)).toMatchObject({ at: 2005, outcome: 'failed', exitCode: 3 });
  });

  it('fills in what nobody saw: a task that was due, an attempt between two', () => {
    const steps = arrange([], [step(null, 'delayed', 0, 1000, { dueAt: 5000 }), step('running', 'done', 3, 9000, { worker: 'w' })], BEFORE);
    expect(words(steps)).toBe('submitted:delayed@0 due:queued@0? started:running@3? ended:done@3');
    expect(steps.map((s) => s.at)).toEqual([1000, 5000, 9000, 9000]);
  });

  it('puts a step whose start is not known where it belongs', () => {
    const canceled: Found = { at: 1500, task: '6d39o5h8zf9c15', to: 'canceled', attempt: 0, worker: null };
    expect(words(arrange([], [step(null, 'held', 0, 1000), canceled], BEFORE))).toBe('submitted:held@0 ended:canceled@0');
  });
});

describe('withGap', () => {
  it('finds a legal way between any two states that a task can come to', () => {
    for (const from of STATES) {
      for (const to of STATES) {
        const steps = withGap({ state: from, attempt: 1, at: 0 }, { at: 1, task: '6d39o5h8zf9c15', to, attempt: 2, worker: null });
        expectInOrder(steps);
        expect(steps.at(-1)!.to).toBe(to);
      }
    }
  });
});

describe('stateAt', () => {
  it('is the last step until then; nothing before the submit and after the removal', () => {
    const steps = [step(null, 'queued', 0, 1000), step('queued', 'canceled', 0, 2000), step('canceled', null, 0, 3000)];
    expect([999, 1000, 1999, 2000, 2999, 3000].map((at) => stateAt(steps, at)?.to)).toEqual([
      undefined,
      'queued',
      'queued',
      'canceled',
      'canceled',
      undefined,
    ]);
  });
});
