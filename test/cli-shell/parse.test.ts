import { Parser } from '@oclif/core';
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { SUBMIT_FLAGS } from '../../src/commands/flags/submit.ts';
import { checkArgs, parseWords, type Words } from '../../src/commands/parse.ts';
import { nearest } from '../../src/task/nearest.ts';
import { oclifFlags } from '../../src/commands/shell.ts';
import { allFlags, defineCommand, type CommandSpec, type FlagTable } from '../../src/commands/spec.ts';
import { allCommands } from '../../src/commands/table.ts';
import { TqError } from '../../src/errors.ts';

const SUBMIT: FlagTable = SUBMIT_FLAGS;
const PLACE = { verb: 'submit', most: 0 };

function usageOf(act: () => unknown): { message: string; hint: string | undefined } {
  try {
    act();
  } catch (error) {
    if (error instanceof TqError && error.code === 'USAGE') return { message: error.message, hint: error.hint };
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the words of a command line', () => {
  it('takes a value after the flag, after =, and joined to its letter', () => {
    const want = { priority: '7' };
    for (const words of [['-p', '7'], ['-p7'], ['-p=7'], ['--priority', '7'], ['--priority=7']]) {
      expect(parseWords(words, SUBMIT)).toEqual({ flags: want, args: [], rest: undefined });
    }
  });

  it('takes negative numbers and - as values', () => {
    expect(parseWords(['-p', '-5', '--stdin', '-'], SUBMIT).flags).toEqual({ priority: '-5', stdin: '-' });
  });

  it('collects repeated flags in order and lets the last of a single one win', () => {
    const { flags } = parseWords(['-l', 'a=1', '-p', '1', '--label=b=2', '-p', '2'], SUBMIT);
    expect(flags).toEqual({ label: ['a=1', 'b=2'], priority: '2' });
  });

  it('A2: leaves every word after -- as it is', () => {
    const rest = ['-p', '--', '--name', '', 'a b', '$HOME', '*'];
    expect(parseWords(['-n', 'x', '--', ...rest], SUBMIT, PLACE)).toEqual({ flags: { name: 'x' }, args: [], rest });
  });

  it('unbundles switches, the last of which may take a value', () => {
    const table = { all: { char: 'a', help: '' }, follow: { char: 'f', help: '' }, lines: { char: 'n', value: 'N', help: '' } };
    expect(parseWords(['-afn3'], table).flags).toEqual({ all: true, follow: true, lines: '3' });
  });

  it('A10: names an unknown flag and suggests the nearest one', () => {
    expect(usageOf(() => parseWords(['--retires', '3'], SUBMIT))).toEqual({
      message: "unknown flag '--retires'",
      hint: 'did you mean --retries?',
    });
    expect(usageOf(() => parseWords(['-Z'], SUBMIT)).message).toContain("'-Z'");
  });

  it.each(['--constructor', '--__proto__', '--toString=x', '--hasOwnProperty'])('A10: %s is unknown like any other', (word) => {
    expect(usageOf(() => parseWords([word, 'v'], SUBMIT)).message).toContain('unknown flag');
  });

  it.each([
    [['--name'], '--name needs a value'],
    [['--name', '--queue', 'q'], '--name needs a value'],
    [['--name', '--queue=q'], '--name needs a value'],
    [['-n', '-q', 'q'], '--name needs a value'],
    [['--name', '--', 'echo'], '--name needs a value'],
    [['--hold=yes'], '--hold takes no value'],
    [['--on-dup', 'maybe'], "--on-dup: 'maybe' is not one of ignore, error, replace"],
  ])('A10: %j is refused naming the flag', (words, message) => {
    expect(usageOf(() => parseWords(words, SUBMIT)).message).toContain(message);
  });

  it('takes any text as a value that is joined to its flag', () => {
    expect(parseWords(['--comment=--queue', '-n--hold', '--group='], SUBMIT).flags).toEqual({
      comment: '--queue',
      name: '--hold',
      group: '',
    });
  });

  it('A10: a command without -- is refused with the line that was meant', () => {
    const { message, hint } = usageOf(() => parseWords(['-p', '5', 'make', '-j4', 'a b'], SUBMIT, PLACE));
    expect(message).toContain("'make'");
    expect(hint).toBe("tq submit [flags] -- make -j4 'a b'");
  });

  it('shows nothing of a hostile word that a terminal would obey', () => {
    // oxlint-disable-next-line no-control-regex
    expect(usageOf(() => parseWords(['--\x1b[31mred\u202e'], SUBMIT)).message).not.toMatch(/[\x1b\u202e]/);
  });

  it('misses a required word and refuses one too many', () => {
    const spec = defineCommand({
      name: 'queue pause',
      summary: '',
      args: [{ name: 'NAME', required: true, help: '' }],
      flags: {},
    });
    const words = (...args: string[]): Words => ({ flags: {}, args, rest: undefined });
    expect(usageOf(() => checkArgs(spec, words())).message).toContain('NAME is missing');
    expect(usageOf(() => checkArgs(spec, words('a', 'b'))).message).toContain("unexpected 'b'");
    expect(() => checkArgs(spec, { flags: {}, args: [], rest: ['a'] })).not.toThrow();
  });

  it.each([
    ['sbumit', 'submit'],
    ['retires', 'retries'],
    ['lss', 'ls'],
    ['prioritiy', 'priority'],
  ])('suggests for %s the word %s', (text, want) => {
    expect(nearest(text, ['submit', 'ls', 'retries', 'priority', 'group'])).toBe(want);
  });

  it('suggests nothing for a word that is far from all', () => {
    expect(nearest('frobnicate', ['submit', 'ls', 'retries'])).toBeUndefined();
  });
});

type Reading = { flags: Words['flags']; words: string[] } | 'refused';

function ours(argv: readonly string[], table: FlagTable): Reading {
  try {
    const { flags, args, rest } = parseWords(argv, table);
    return { flags, words: [...args, ...(rest ?? [])] };
  } catch (error) {
    if (error instanceof TqError) return 'refused';
    throw error;
  }
}

async function oclifs(argv: readonly string[], table: FlagTable): Promise<Reading> {
  try {
    const result = await Parser.parse([...argv], { flags: oclifFlags(table), args: {}, strict: false });
    if (result.nonExistentFlags.length > 0) return 'refused';
    const words = result.raw.flatMap((token) => (token.type === 'arg' ? [token.input] : []));
    return { flags: { ...(result.flags as Words['flags']) }, words };
  } catch {
    return 'refused';
  }
}

/**
 * Command lines on which the two must agree: flags in every spelling, words, unknown flags, missing values, `--`. Left out is what
 * this program reads otherwise on purpose: a single flag given twice (the last one wins), a value joined to a switch (refused), and
 * a joined value that spells a flag (taken).
 */
function lines(table: FlagTable): fc.Arbitrary<string[]> {
  const value = fc.oneof(
    fc.string({ maxLength: 8 }).filter((s) => !s.startsWith('-')),
    fc.integer({ min: -99, max: 99 }).map(String),
    fc.constantFrom('-', 'k=v', 'a=b=c', '', '1,2-3', 'x y', '=', 'no'),
  );
  const piece = ([name, flag]: [string, FlagTable[string]]): fc.Arbitrary<string[]> => {
    const long = `--${name}`;
    if (flag.value === undefined) return fc.constantFrom([long], ...(flag.char === undefined ? [] : [[`-${flag.char}`]]));
    const values = flag.choices === undefined ? value : fc.oneof(fc.constantFrom(...flag.choices), value);
    const once = values.chain((v) => {
      const spellings = [[long, v], [`${long}=${v}`]];
      if (flag.char !== undefined) {
        spellings.push([`-${flag.char}`, v], [`-${flag.char}=${v}`]);
        if (v !== '') spellings.push([`-${flag.char}${v}`]);
      }
      return fc.constantFrom(...spellings);
    });
    return flag.many === undefined ? once : fc.array(once, { minLength: 1, maxLength: 3 }).map((list) => list.flat());
  };
  const flags = fc
    .subarray(Object.entries(table), { maxLength: Math.min(6, Object.keys(table).length) })
    .chain((some) => fc.tuple(...some.map(piece)));
  const other = fc.oneof(
    value.filter((v) => v !== '').map((v) => [v]),
    fc.constantFrom(['--frobnicate'], ['-Z'], ['--no-such=1'], ['-5']),
  );
  const ending = fc.oneof(
    fc.constant<string[]>([]),
    fc.array(fc.oneof(value, fc.constantFrom('--', '--hold', '-p')), { maxLength: 4 }).map((rest) => ['--', ...rest]),
    fc.constantFrom(...Object.entries(table).flatMap(([name, f]) => (f.value === undefined ? [] : [[`--${name}`]])), ['--json']),
  );
  return fc
    .tuple(flags, fc.array(other, { maxLength: 2 }), ending)
    .chain(([some, more, end]) =>
      fc.shuffledSubarray([...some, ...more], { minLength: some.length + more.length }).map((list) => [...list.flat(), ...end]),
    );
}

describe('the small parser and the one of oclif', async () => {
  const verbs: CommandSpec[] = (await allCommands()).flatMap((spec) => [spec, ...(spec.subs ?? [])]);

  it('read the same from the flag table of submit', async () => {
    const table = allFlags(verbs.find((s) => s.name === 'submit')!);
    await fc.assert(
      fc.asyncProperty(lines(table), async (argv) => {
        expect(ours(argv, table)).toEqual(await oclifs(argv, table));
      }),
      { numRuns: 3000 },
    );
  });

  it('read the same from the flag table of every other verb', async () => {
    const tables = fc.constantFrom(...verbs.map(allFlags));
    await fc.assert(
      fc.asyncProperty(
        tables.chain((table) => lines(table).map((argv) => ({ table, argv }))),
        async ({ table, argv }) => {
          expect(ours(argv, table)).toEqual(await oclifs(argv, table));
        },
      ),
      { numRuns: 3000 },
    );
  });
});
