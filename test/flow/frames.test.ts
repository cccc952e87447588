/** Ranges of frames: read, cut into chunks, written again. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { chunksOf, formatFrames, parseFrames } from '../../src/flow/frames.ts';

describe('ranges of frames', () => {
  it('H6: chunks of four cross the gaps of a range', () => {
    expect(parseFrames('1-10,20-25,40', 'frames').chunks(4)).toEqual(['1-4', '5-8', '9,10,20,21', '22-25', '40']);
  });

  it.each(['', ' ', '1-', '-1', '5-1', 'a', '1,,2', '1-3,2', '1.5', '1-2000000', '1:3'])('H6: %j is refused, naming the text', (text) => {
    expect(() => parseFrames(text, '--set frames')).toThrow(/^--set frames: .*'.*'/);
  });

  it('H6: what is written is read as the same numbers, in their order, and chunks miss none', () => {
    const numbers = fc.uniqueArray(fc.nat(500), { minLength: 1, maxLength: 60 });
    fc.assert(
      fc.property(numbers, fc.integer({ min: 1, max: 20 }), (list, size) => {
        expect([...parseFrames(formatFrames(list), 'x')]).toEqual(list);
        expect(chunksOf(list, size).flatMap((part) => [...parseFrames(part, 'x')])).toEqual(list);
      }),
    );
  });
});
