import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { formatSize, parseSize } from '../../src/task/size.ts';

describe('parseSize', () => {
  it.each([
    ['0', 0],
    ['100', 100],
    ['100B', 100],
    ['1K', 1024],
    ['512M', 512 * 1024 ** 2],
    ['8G', 8 * 1024 ** 3],
    ['1.5G', 1.5 * 1024 ** 3],
    ['4KiB', 4096],
    ['4kb', 4096],
    ['2T', 2 * 1024 ** 4],
    ['3P', 3 * 1024 ** 5],
    ['0.3K', 307],
  ])('reads %s as %i bytes', (text, bytes) => {
    expect(parseSize(text, '--mem')).toBe(bytes);
  });

  it.each(['', '8Q', '-1', '-1G', 'G', '1.5', '1.5B', '5iB', '1 G', '1GG', '1e9', '.5G', '9P9', '8P1', '9007199254740992', '8192P'])(
    'A10: refuses %j, naming the flag and the text',
    (text) => {
      expect(() => parseSize(text, '--mem')).toThrow(expect.objectContaining({ code: 'USAGE', message: `--mem: not a size: '${text}'` }));
    },
  );
});

describe('formatSize', () => {
  it.each([
    [0, '0B'],
    [100, '100B'],
    [1023, '1023B'],
    [1024, '1K'],
    [1.5 * 1024 ** 3, '1.5G'],
    [512 * 1024 ** 2, '512M'],
    [1024 ** 3 - 1, '1023.9M'],
    [5000 * 1024 ** 5, '5000P'],
  ])('shows %d bytes as %s', (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  it('never claims more than there is, and is off by less than a tenth of the number shown', () => {
    fc.assert(
      fc.property(fc.maxSafeNat(), (bytes) => {
        const shown = parseSize(formatSize(bytes), '-');
        expect(shown).toBeLessThanOrEqual(bytes + 1); // the tenth of a unit is itself rounded to whole bytes
        expect(bytes - shown).toBeLessThanOrEqual(bytes / 10);
      }),
    );
  });
});
