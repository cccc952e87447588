/** What a limit leaves for a task, decided from the tokens that are there. */
import { describe, expect, it } from 'vitest';
import { choose, parseToken, wantsOf, type Lack, type Limit, type Token, type Want } from '../../src/queue/limits.ts';

const SESSION = 'node-1.a.10419.8wl7-daa4ee9-9f74d-08b02-7lpt';
const ID = '6d39o5h8zf9c15';
const want = (n = 1): Want => ({ kind: 'limit', name: 'lic', n });
const tokens = (...names: string[]): Token[] => names.map((name) => parseToken('dir', name)!);
const limit = (max: number | null, rate: Limit['rate'] = null): Limit => ({ max, rate });
const numbers = (chosen: Token[] | Lack): unknown => (Array.isArray(chosen) ? chosen.map((t) => t.number) : chosen.reason);

describe('tokens', () => {
  it('are read back: free, held by a session for a task or an element, used, retired; anything else is none', () => {
    expect(parseToken('d', '3.g7.free')).toMatchObject({ number: 3, generation: 7, holder: { kind: 'free' } });
    expect(parseToken('d', `3.g7.${SESSION}.${ID}`)?.holder).toEqual({ kind: 'held', session: SESSION, id: ID });
    expect(parseToken('d', `3.g7.${SESSION}.${ID}.12`)?.holder).toEqual({ kind: 'held', session: SESSION, id: `${ID}.12` });
    expect(parseToken('d', `3.g7.${SESSION}.${ID}.1-9+10-20`)?.holder).toEqual({ kind: 'held', session: SESSION, id: `${ID}.1-9+10-20` });
    expect(parseToken('d', '0.g2.at1795250869871')?.holder).toEqual({ kind: 'used', at: 1_795_250_869_871 });
    expect(parseToken('d', '0.g2.retired')?.holder).toEqual({ kind: 'retired' });
    for (const name of ['limit.json', '0.free', 'x.g1.free', '0.g1.', '0.g1.nobody']) expect(parseToken('d', name)).toBeUndefined();
  });

  it('are wanted in one order: the mutex, then the limits by name', () => {
    const wants = wantsOf({
      mutex: 'm',
      limits: [
        { name: 'b', n: 2 },
        { name: 'a', n: 1 },
      ],
    });
    expect(wants.map((w) => `${w.kind} ${w.name} ${w.n}`)).toEqual(['mutex m 1', 'limit a 1', 'limit b 2']);
    expect(wantsOf({})).toEqual([]);
    // Written by hand.
    expect(wantsOf({ limits: 'x', mutex: 1 } as never).map((w) => `${w.kind} ${w.name} ${w.n}`)).toEqual([
      'mutex 1 1',
      'limit undefined 1',
    ]);
    expect(wantsOf({ limits: [null, { name: 'a', n: -1 }] } as never).map((w) => w.n)).toEqual([1, 1]);
  });
});

describe('a limit', () => {
  it('gives as many as are free, all that are asked for or none', () => {
    const shares = tokens('0.g0.free', `1.g1.${SESSION}.${ID}`, '2.g4.free');
    expect(numbers(choose(want(2), { limit: limit(3), shares, starts: [] }, 0))).toEqual([0, 2]);
    expect(choose(want(3), { limit: limit(3), shares, starts: [] }, 0)).toEqual({ want: want(3), reason: 'held', by: [ID] });
    expect(choose(want(4), { limit: limit(3), shares, starts: [] }, 0)).toEqual({ want: want(4), reason: 'small', most: 3 });
    expect(numbers(choose(want(), { limit: undefined, shares: [], starts: [] }, 0))).toBe('missing');
    expect(numbers(choose(want(), { limit: limit(0), shares, starts: [] }, 0))).toBe('small');
  });

  it('that was lowered counts what is held beyond it, and takes nothing of that again', () => {
    const shares = tokens('0.g2.free', `1.g1.${SESSION}.${ID}`, '2.g4.free');
    expect(numbers(choose(want(), { limit: limit(1), shares, starts: [] }, 0))).toBe('held');
    expect(numbers(choose(want(), { limit: limit(1), shares: tokens('0.g2.free', '1.g2.free'), starts: [] }, 0))).toEqual([0]);
  });

  it('of starts gives one that was never used or long ago, and says when there is one', () => {
    const rate = { n: 2, perMs: 1000 };
    const at = (...names: string[]): unknown =>
      numbers(choose(want(5), { limit: limit(null, rate), shares: [], starts: tokens(...names) }, 5000));
    expect(at('0.g1.at4500', '1.g0.free')).toEqual([1]);
    expect(at('0.g1.at3900', '1.g1.at4900')).toEqual([0]);
    expect(at('0.g1.at4500', '1.g1.at4900')).toBe('rate');
    // A second start of the same millisecond of another clock is a little off.
    expect(at('0.g1.at3999', '1.g1.at4900')).toBe('rate');
    // Those beyond the rate, which was lowered, count and are not taken.
    expect(at('0.g1.free', '1.g1.at4900', '2.g1.at4900')).toBe('rate');
    expect(at('0.g1.at4900', '1.g1.at4900', '2.g1.free')).toBe('rate');
    const lack = choose(want(), { limit: limit(null, rate), shares: [], starts: tokens('0.g1.at4500', '1.g1.at4900') }, 5000);
    expect((lack as { until: number }).until).toBeGreaterThanOrEqual(5500);
    const held = choose(want(), { limit: limit(null, { n: 1, perMs: 1 }), shares: [], starts: tokens(`0.g1.${SESSION}.${ID}`) }, 5000);
    expect(held).toMatchObject({ reason: 'rate', until: null });
  });
});
