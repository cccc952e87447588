import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { formatDuration, MAX_DURATION_MS, parseDuration, readDuration, spellDuration } from '../../src/task/duration.ts';

describe('parseDuration', () => {
  it.each([
    ['90', 90_000],
    ['90s', 90_000],
    ['15m', 900_000],
    ['2h', 7_200_000],
    ['3d', 259_200_000],
    ['250ms', 250],
    ['1h30m', 5_400_000],
    ['1d2h3m4s5ms', 93_784_005],
    ['1m5ms', 60_005],
    ['1.5h', 5_400_000],
    ['0.25', 250],
    ['4.2s', 4200],
    ['0', 0],
    ['0ms', 0],
  ])('reads %s as %i ms', (text, ms) => {
    expect(parseDuration(text, '--timeout')).toBe(ms);
  });

  it.each([
    '',
    ' ',
    '5x',
    '-5',
    '-5s',
    '+5',
    '5 s',
    '1h-30m',
    '30m1h',
    '1h1h',
    's',
    'ms',
    '.5s',
    '5.s',
    '1e3',
    'Infinity',
    'NaN',
    '1H',
    '١s',
    '0x10',
    '1,5s',
  ])('A10: refuses %j, naming the flag and the text', (text) => {
    expect(() => parseDuration(text, '--timeout')).toThrow(TqError);
    expect(() => parseDuration(text, '--timeout')).toThrow(`--timeout: not a duration: '${text}'`);
  });

  it('is a usage error whose hint shows valid forms', () => {
    let thrown: unknown;
    try {
      parseDuration('5x', '--timeout');
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toMatchObject({ code: 'USAGE', exit: 2, hint: expect.stringContaining('1h30m') });
  });

  it('refuses what is longer than any moment can be moved', () => {
    expect(parseDuration(`${MAX_DURATION_MS}ms`, '--in')).toBe(MAX_DURATION_MS);
    expect(() => parseDuration(`${MAX_DURATION_MS + 1}ms`, '--in')).toThrow('--in');
    expect(() => parseDuration('9'.repeat(400), '--in')).toThrow('--in');
    expect(() => new Date(4_000_000_000_000 + MAX_DURATION_MS).toISOString()).not.toThrow();
  });

  it('never gives anything but a safe whole number, whatever the text', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.stringMatching(/^[0-9.]{1,20}(d|h|m|s|ms|)$/)), (text) => {
        const ms = readDuration(text);
        expect(ms === undefined || (Number.isSafeInteger(ms) && ms >= 0)).toBe(true);
      }),
    );
  });
});

describe('formatDuration', () => {
  it.each([
    [0, '0s'],
    [250, '250ms'],
    [999.7, '999ms'],
    [1000, '1s'],
    [4200, '4.2s'],
    [59_999, '59.9s'],
    [60_000, '1m'],
    [90_000, '1m30s'],
    [3_599_999, '59m59s'],
    [5_400_000, '1h30m'],
    [5_459_000, '1h30m'],
    [3_600_000, '1h'],
    [183_600_000, '2d3h'],
    [86_400_000 + 60_000, '1d'],
    [-4200, '-4.2s'],
  ])('shows %d ms as %s', (ms, text) => {
    expect(formatDuration(ms)).toBe(text);
  });

  it('never claims more than has passed, nor less than half of it', () => {
    fc.assert(
      fc.property(fc.nat(10_000_000_000), (ms) => {
        const shown = parseDuration(formatDuration(ms), '-');
        expect(shown).toBeLessThanOrEqual(ms);
        expect(shown * 2).toBeGreaterThanOrEqual(ms);
      }),
    );
  });
});

describe('spellDuration', () => {
  it('is read back as the same number', () => {
    expect(spellDuration(0)).toBe('0s');
    expect(spellDuration(5_400_000)).toBe('1h30m');
    expect(spellDuration(1500)).toBe('1s500ms');
    fc.assert(
      fc.property(fc.integer({ min: 0, max: MAX_DURATION_MS }), (ms) => {
        expect(parseDuration(spellDuration(ms), '-')).toBe(ms);
      }),
    );
  });
});
