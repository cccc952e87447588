import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { inCodes, parseCodes } from '../../src/task/codes.ts';

describe('parseCodes', () => {
  it('D3: reads codes and inclusive ranges', () => {
    expect(parseCodes('1,64-78', '--retry-on')).toEqual([
      [1, 1],
      [64, 78],
    ]);
    expect(parseCodes('0', '--ok')).toEqual([[0, 0]]);
    expect(parseCodes('0-255', '--ok')).toEqual([[0, 255]]);
  });

  it.each(['', ',', '1,', ',1', '256', '0-256', '78-64', '-1', '1-', '1--2', '1-2-3', 'a', '1 ,2', '1.5', '0001'])(
    'A10: refuses %j, naming the flag and the text',
    (text) => {
      expect(() => parseCodes(text, '--ok')).toThrow(
        expect.objectContaining({ code: 'USAGE', message: `--ok: not exit codes: '${text}'` }),
      );
    },
  );
});

describe('inCodes', () => {
  it('holds exactly the codes of the ranges', () => {
    const ranges = fc.array(fc.tuple(fc.nat(255), fc.nat(255)), { minLength: 1, maxLength: 4 });
    fc.assert(
      fc.property(ranges, fc.nat(255), (pairs, code) => {
        const sorted = pairs.map(([a, b]) => [Math.min(a, b), Math.max(a, b)] as const);
        const members = new Set(sorted.flatMap(([from, to]) => Array.from({ length: to - from + 1 }, (_, i) => from + i)));
        expect(inCodes(parseCodes(sorted.map((pair) => pair.join('-')).join(','), '-'), code)).toBe(members.has(code));
      }),
    );
  });

  it('holds nothing when there are no ranges', () => {
    expect(inCodes([], 0)).toBe(false);
  });
});
