/** How many failed elements are too many, in whole numbers; and the one word of a group. */
import { describe, expect, it } from 'vitest';
import { percentOf, wordOf, type Counts } from '../../src/task/group-word.ts';
import { isTooMany, parseMaxFails } from '../../src/task/max-fails.ts';

describe('--max-fails', () => {
  it.each([
    ['10%', 10, 100, true],
    ['10%', 9, 100, false],
    ['10%', 1, 10, true],
    ['10%', 1, 11, false],
    ['10%', 2, 11, true],
    ['100%', 99, 100, false],
    ['100%', 100, 100, true],
    ['33%', 1, 3, true],
    ['34%', 1, 3, false],
    ['1%', 0, 10, false],
    ['3', 2, 1000, false],
    ['3', 3, 3, true],
    ['3', 0, 0, false],
  ])('G8: %s: %i of %i is too many: %s', (text, failed, size, tooMany) => {
    expect(isTooMany(parseMaxFails(text, '--max-fails'), failed, size)).toBe(tooMany);
  });

  it.each(['', '0', '0%', '101%', '1.5', '-1', 'x', '5 %', '1e3'])('G8: %j is refused, naming flag and text', (text) => {
    expect(() => parseMaxFails(text, '--max-fails')).toThrow(/--max-fails: .*'/);
  });
});

describe('the word of a group', () => {
  it.each<[Counts, boolean, string, number]>([
    [{ queued: 1, held: 5 }, false, 'active', 0],
    [{ running: 1, failed: 1 }, true, 'active', 50],
    [{ held: 1, waiting: 2, done: 1 }, false, 'paused', 25],
    [{ waiting: 2 }, false, 'active', 0],
    [{ done: 3 }, false, 'completed', 100],
    [{ done: 3, failed: 1 }, true, 'failed', 100],
    [{ done: 3, failed: 1 }, false, 'completed', 100],
    [{ failed: 1, canceled: 9 }, true, 'failed', 100],
    [{ done: 1, canceled: 1 }, false, 'canceled', 100],
    [{ done: 1, skipped: 1 }, false, 'failed', 100],
    [{ done: 999, queued: 1 }, false, 'active', 99],
  ])('H11: %j, failures count %s: %s, %i%%', (counts, failuresCount, word, percent) => {
    expect([wordOf(counts, failuresCount), percentOf(counts)]).toEqual([word, percent]);
  });
});
