import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { backoffMs, DEFAULT_BACKOFF, formatBackoff, parseBackoff } from '../../src/task/backoff.ts';
import { MAX_DURATION_MS } from '../../src/task/duration.ts';
import type { Backoff } from '../../src/task/types.ts';

const steady = { jitter: false, random: (): number => 0.5 };

function seconds(text: string, tries: number): number[] {
  return Array.from({ length: tries }, (_, i) => backoffMs(parseBackoff(text, '--backoff'), i + 1, steady) / 1000);
}

const duration = fc.nat(100_000_000);
const anyBackoff: fc.Arbitrary<Backoff> = fc.oneof(
  fc.constant({ kind: 'none' as const }),
  duration.map((baseMs) => ({ kind: 'fixed' as const, baseMs })),
  fc.tuple(fc.constantFrom('exp' as const, 'fib' as const), duration).map(([kind, baseMs]) => ({ kind, baseMs })),
  fc
    .tuple(fc.constantFrom('exp' as const, 'fib' as const), duration, duration)
    .map(([kind, baseMs, more]) => ({ kind, baseMs, maxMs: baseMs + more })),
);

describe('parseBackoff', () => {
  it.each<[string, Backoff]>([
    ['none', { kind: 'none' }],
    ['fixed:2s', { kind: 'fixed', baseMs: 2000 }],
    ['exp:1s', { kind: 'exp', baseMs: 1000 }],
    ['exp:1s..5m', { kind: 'exp', baseMs: 1000, maxMs: 300_000 }],
    ['exp:1.5s..1.5s', { kind: 'exp', baseMs: 1500, maxMs: 1500 }],
    ['fib:1..8', { kind: 'fib', baseMs: 1000, maxMs: 8000 }],
  ])('reads %s', (text, backoff) => {
    expect(parseBackoff(text, '--backoff')).toEqual(backoff);
  });

  it.each([
    '',
    'None',
    'none:1s',
    'fixed',
    'fixed:',
    'fixed:1s..2s',
    'exp',
    'exp:x',
    'exp:1s..',
    'exp:1s..x',
    'exp:5m..1s',
    'exp:..5m',
    'exp:1s...5s',
    'lin:1s',
    'exp:-1s',
  ])('A10: refuses %j, naming the flag and the text', (text) => {
    expect(() => parseBackoff(text, '--backoff')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: `--backoff: not a back-off: '${text}'` }),
    );
  });
});

describe('formatBackoff', () => {
  it('is read back as the same back-off', () => {
    expect(formatBackoff(DEFAULT_BACKOFF)).toBe('exp:1s..5m');
    fc.assert(
      fc.property(anyBackoff, (backoff) => {
        expect(parseBackoff(formatBackoff(backoff), '-')).toEqual(backoff);
      }),
    );
  });
});

describe('backoffMs', () => {
  it('D2: waits as the manual says', () => {
    expect(seconds('fib:1s', 6)).toEqual([1, 2, 3, 5, 8, 13]);
    expect(seconds('fib:2s..9s', 5)).toEqual([2, 4, 6, 9, 9]);
    expect(seconds('exp:1s..7s', 5)).toEqual([1, 2, 4, 7, 7]);
    expect(seconds('fixed:2s', 3)).toEqual([2, 2, 2]);
    expect(seconds('none', 3)).toEqual([0, 0, 0]);
  });

  it('stays a safe whole number after ten thousand tries', () => {
    for (const text of ['exp:1s', 'fib:1s', 'exp:0', 'fib:0', 'exp:1s..5m', 'fib:1s..5m', 'fixed:1s', 'none']) {
      for (const random of [() => 0, () => 1 - 2 ** -53]) {
        const wait = backoffMs(parseBackoff(text, '-'), 10_000, { jitter: true, random });
        expect(Number.isSafeInteger(wait)).toBe(true);
        expect(wait).toBeLessThanOrEqual(MAX_DURATION_MS);
      }
    }
    expect(backoffMs(parseBackoff('fib:1s..5m', '-'), 10_000, steady)).toBe(300_000);
  });

  it('D2: with jitter stays within a tenth of the wait, and spreads over both sides', () => {
    fc.assert(
      fc.property(
        anyBackoff,
        fc.integer({ min: 1, max: 40 }),
        fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
        (backoff, n, random) => {
          const plain = backoffMs(backoff, n, steady);
          const wait = backoffMs(backoff, n, { jitter: true, random: () => random });
          expect(Math.abs(wait - plain)).toBeLessThanOrEqual(plain / 10);
          expect(Number.isSafeInteger(wait)).toBe(true);
        },
      ),
    );
    const waits = [0, 0.25, 0.5, 0.75].map((random) =>
      backoffMs({ kind: 'fixed', baseMs: 10_000 }, 1, { jitter: true, random: () => random }),
    );
    expect(waits).toEqual([9000, 9500, 10_000, 10_500]);
  });

  it('never waits less after more failures, and never more than the maximum', () => {
    fc.assert(
      fc.property(anyBackoff, fc.integer({ min: 1, max: 2000 }), (backoff, n) => {
        const wait = backoffMs(backoff, n, steady);
        expect(backoffMs(backoff, n + 1, steady)).toBeGreaterThanOrEqual(wait);
        expect(wait).toBeLessThanOrEqual(('maxMs' in backoff ? backoff.maxMs : undefined) ?? MAX_DURATION_MS);
      }),
    );
  });
});
