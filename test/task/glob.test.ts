import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { globToRegExp, isGlob } from '../../src/task/glob.ts';

const hits = (glob: string, name: string): boolean => globToRegExp(glob).test(name);

/** The plainest matcher there is, for `*`, `?` and characters. */
function oracle(glob: string, name: string): boolean {
  if (glob === '') return name === '';
  if (glob[0] === '*') return oracle(glob.slice(1), name) || (name !== '' && oracle(glob, name.slice(1)));
  return name !== '' && (glob[0] === '?' || glob[0] === name[0]) && oracle(glob.slice(1), name.slice(1));
}

describe('globToRegExp', () => {
  it.each<[string, string, boolean]>([
    ['abc', 'abc', true],
    ['abc', 'abcd', false],
    ['abc', 'ABC', false],
    ['n*', 'n', true],
    ['n*', 'night build', true],
    ['n*', 'an', false],
    ['*', '', true],
    ['*', 'a/b\n.c', true],
    ['*.log', '.log', true],
    ['?', '😀', true],
    ['?', '', false],
    ['a?c', 'abbc', false],
    ['gpu[0-3]', 'gpu2', true],
    ['gpu[0-3]', 'gpu4', false],
    ['[!a-c]x', 'dx', true],
    ['[^a-c]x', 'ax', false],
    ['[]a]', ']', true],
    ['[!]a]', ']', false],
    ['[a-]', '-', true],
    ['[a-]', 'b', false],
    ['[z-a]', 'm', false],
    ['[!z-a]', 'm', true],
    ['[\\d]', '5', false],
    ['[^', '[^', true],
    ['a[b', 'a[b', true],
    ['a.c', 'abc', false],
    ['(a|b)+$', '(a|b)+$', true],
    ['a\\*', 'a*', true],
    ['a\\*', 'ab', false],
    ['a\\', 'a\\', true],
    ['a*b*c', 'aXbYbZc', true],
    ['a*b*c', 'aXcYb', false],
    ['*ab', 'aab', true],
    ['*a*', 'bab', true],
    ['**a**', 'a', true],
    ['é*', 'ecole', false],
    ['é*', 'étage', true],
  ])('%s on %j: %s', (glob, name, hit) => {
    expect(hits(glob, name)).toBe(hit);
  });

  it('agrees with the plainest matcher', () => {
    const glob = fc.string({ unit: fc.constantFrom('a', 'b', '*', '?', '*'), maxLength: 8 });
    const name = fc.string({ unit: fc.constantFrom('a', 'b', 'c'), maxLength: 10 });
    fc.assert(
      fc.property(glob, name, (pattern, text) => {
        expect(hits(pattern, text)).toBe(oracle(pattern, text));
      }),
      { numRuns: 2000 },
    );
  });

  it('takes any text as a pattern, and a text without special characters as itself', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }), (text) => {
        expect(globToRegExp(text)).toBeInstanceOf(RegExp);
      }),
    );
    fc.assert(
      fc.property(
        fc.string({ unit: 'binary' }).filter((text) => !isGlob(text) && !text.includes('\\')),
        (text) => {
          expect(hits(text, text)).toBe(true);
        },
      ),
    );
  });

  it('ends on a pattern of many stars against a name that almost matches', () => {
    expect(hits(`${'*a'.repeat(40)}*b`, 'a'.repeat(255))).toBe(false);
  });
});

describe('isGlob', () => {
  it('tells patterns from plain names', () => {
    expect(['n*', 'a?', 'x[ab]'].every(isGlob)).toBe(true);
    expect(['', 'n', 'a.b-c_d', 'a b'].some(isGlob)).toBe(false);
  });
});
