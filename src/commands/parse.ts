/**
 * Reads the words of a command line by a flag table: `--name value`, `--name=value`, `-nvalue`, `-n value`, switches that may be
 * bundled, and `--`, after which nothing is a flag. Pure and small, because the start of a submit is paid by every submit.
 */
import { usage } from '../errors.ts';
import { shellQuote } from '../task/argv.ts';
import { nearest } from '../task/nearest.ts';
import { quoted, visible } from '../task/visible.ts';
import type { CommandSpec, FlagSpec, FlagTable } from './spec.ts';

export interface Words {
  flags: Record<string, string | string[] | true>;
  /** Words that are no flags, before `--`. */
  args: string[];
  /** Words after `--`; undefined when there was none. */
  rest: string[] | undefined;
}

/** For a verb that takes a command after `--`: its name, and how many words may stand before. */
export interface CommandPlace {
  verb: string;
  most: number;
}

/**
 * Throws USAGE for an unknown flag, a flag without its value and a value that is not among the flag's choices. A separate
 * word that spells a flag of the table is not taken for a value: `--name --queue q` has forgotten the name. Joined to its flag
 * (`--name=--queue`) any text is a value.
 */
export function parseWords(words: readonly string[], table: FlagTable, command?: CommandPlace): Words {
  const flags: Words['flags'] = {};
  const args: string[] = [];
  const queue = [...words];
  while (queue.length > 0) {
    const word = queue.shift()!;
    if (word === '--') return { flags, args, rest: queue };
    if (word.length < 2 || word[0] !== '-') {
      if (command !== undefined && args.length === command.most) throw commandTooEarly(word, queue, command.verb);
      args.push(word);
      continue;
    }
    const found = findFlag(word, table);
    if (found === undefined) {
      // A negative number is a word: `tq progress -1`.
      if (/^-\d/.test(word)) {
        args.push(word);
        continue;
      }
      throw unknownFlag(word, table);
    }
    const { name, flag, joined } = found;
    if (flag.value === undefined) {
      flags[name] = true;
      if (joined === undefined) continue;
      if (word.startsWith('--')) throw usage(`--${name} takes no value: ${quoted(word)}`);
      queue.unshift(`-${joined}`);
      continue;
    }
    const value = joined === undefined ? queue.shift() : word.startsWith('--') ? joined : joined.replace(/^=/, '');
    if (value === undefined || (joined === undefined && (value === '--' || (flag.dash !== true && findFlag(value, table) !== undefined)))) {
      throw usage(
        `--${name} needs a value${value === undefined ? '' : `, found ${quoted(value)}`}`,
        value === undefined || value === '--' ? `--${name} ${flag.value}` : `for this very text: --${name}=${value}`,
      );
    }
    if (flag.choices !== undefined && !flag.choices.includes(value)) {
      throw usage(`--${name}: ${quoted(value)} is not one of ${flag.choices.join(', ')}`);
    }
    if (flag.many === undefined) flags[name] = value;
    else if (Array.isArray(flags[name])) flags[name].push(value);
    else flags[name] = [value];
  }
  return { flags, args, rest: undefined };
}

/** Throws USAGE when a verb gets words that it does not take, or misses one. */
export function checkArgs(spec: CommandSpec, words: Words): void {
  const wanted = spec.args ?? [];
  const given = spec.tail === 'command' ? words.args : [...words.args, ...(words.rest ?? [])];
  const limit = wanted.some((a) => a.many === true) ? Number.POSITIVE_INFINITY : wanted.length;
  if (given.length > limit) {
    throw usage(`tq ${spec.name}: unexpected ${quoted(given[limit]!)}`, `tq help ${spec.name}`);
  }
  const missing = wanted.find((a, i) => a.required === true && given[i] === undefined);
  if (missing !== undefined) throw usage(`tq ${spec.name}: ${missing.name} is missing`, `tq help ${spec.name}`);
}

/** The words from the first one that is no flag are most likely the command, its own flags included. */
function commandTooEarly(word: string, after: readonly string[], verb: string): Error {
  const line = visible(shellQuote([word, ...after.filter((w) => w !== '--')]));
  return usage(`tq ${verb}: ${quoted(word)} is not a flag; a command comes after --`, `tq ${verb} [flags] -- ${line}`);
}

interface Found {
  name: string;
  flag: FlagSpec;
  /** What follows the flag within its own word: after `=` for a long one, after the letter for a short one. */
  joined: string | undefined;
}

function findFlag(word: string, table: FlagTable): Found | undefined {
  if (word.startsWith('--')) {
    const at = word.indexOf('=');
    const name = at < 0 ? word.slice(2) : word.slice(2, at);
    if (!Object.hasOwn(table, name)) return undefined;
    return { name, flag: table[name]!, joined: at < 0 ? undefined : word.slice(at + 1) };
  }
  if (word.length < 2 || word[0] !== '-') return undefined;
  for (const name in table) {
    if (table[name]!.char === word[1]) return { name, flag: table[name]!, joined: word.length > 2 ? word.slice(2) : undefined };
  }
  return undefined;
}

function unknownFlag(word: string, table: FlagTable): Error {
  const name = word.startsWith('--') ? word.replace(/=.*/s, '') : word.slice(0, 2);
  // `-hold` is four switches in one word to the parser, and to a person one of them with a dash too few.
  const long = word.startsWith('--') ? name.slice(2) : word.slice(1);
  const near = long.length > 1 ? nearest(long, Object.keys(table)) : undefined;
  return usage(
    `unknown flag ${quoted(name)}`,
    near === undefined ? 'what comes after -- is never read as a flag' : `did you mean --${near}?`,
  );
}
