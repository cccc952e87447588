/**
 * Flags that a script carries: lines `#TQ --flag value` at its head. Pure. The head ends at the first line that is neither
 * empty nor a comment, as it does for the directives of batch schedulers.
 */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';
import { TASK_FLAGS } from './flags/submit.ts';
import { parseWords, type Words } from './parse.ts';
import type { FlagTable } from './spec.ts';

const DIRECTIVE = /^#TQ(?:\s+(.*))?$/;

/** Flags that say what is run: the script is. */
const OWN: readonly string[] = ['command', 'shell', 'script', 'step', 'handler', 'data'];

/** The flags in the head of a script, in order; `file` is for messages. */
export function scriptFlags(text: string, file: string): Words['flags'] {
  const words: string[] = [];
  for (const [i, raw] of text.split('\n').entries()) {
    const line = raw.replace(/\r$/, '');
    if (line.trim() !== '' && !line.startsWith('#')) break;
    const found = DIRECTIVE.exec(line);
    if (found === null) continue;
    const here = splitWords(found[1] ?? '', `${file} line ${i + 1}`);
    checkLine(here, `${file} line ${i + 1}`);
    words.push(...here);
  }
  return parseWords(words, ALLOWED).flags;
}

const ALLOWED: FlagTable = Object.fromEntries(Object.entries(TASK_FLAGS).filter(([name]) => !OWN.includes(name)));

/** One line at a time, so that a message can name it. */
function checkLine(words: readonly string[], where: string): void {
  try {
    const parsed = parseWords(words, ALLOWED);
    const stray = parsed.rest === undefined ? parsed.args[0] : '--';
    if (stray !== undefined) throw usage(`${quoted(stray)} is not a flag`);
  } catch (error) {
    throw usage(
      `${where}: ${error instanceof Error ? error.message : String(error)}`,
      'lines #TQ --flag value, with flags of tq submit that do not say what is run',
    );
  }
}

/** The script's flags under those of the command line: a map is merged key by key, anything else is replaced. */
export function mergeFlags(below: Words['flags'], above: Words['flags'], table: FlagTable): Words['flags'] {
  const merged = { ...below, ...above };
  for (const [name, value] of Object.entries(below)) {
    const over = above[name];
    if (table[name]?.many === 'map' && Array.isArray(value) && Array.isArray(over)) merged[name] = [...value, ...over];
  }
  return merged;
}

/** Splits as a shell does, without expanding anything: blanks separate, '...' and "..." and \ quote, # begins a comment. */
export function splitWords(line: string, where: string): string[] {
  const words: string[] = [];
  let word: string | undefined;
  for (let i = 0; i < line.length; i++) {
    const c = line[i]!;
    if (c === ' ' || c === '\t') {
      if (word !== undefined) words.push(word);
      word = undefined;
    } else if (c === '#' && word === undefined) {
      break;
    } else if (c === '\\' && i + 1 < line.length) {
      word = (word ?? '') + line[++i]!;
    } else if (c === "'" || c === '"') {
      const [text, end] = quotedPart(line, i + 1, c, where);
      word = (word ?? '') + text;
      i = end;
    } else {
      word = (word ?? '') + c;
    }
  }
  if (word !== undefined) words.push(word);
  return words;
}

/** The text from `start` to the closing quote, and where that is; in double quotes a backslash takes \ and " for themselves. */
function quotedPart(line: string, start: number, quote: string, where: string): [text: string, end: number] {
  let text = '';
  for (let i = start; i < line.length; i++) {
    if (line[i] === quote) return [text, i];
    if (quote === '"' && line[i] === '\\' && (line[i + 1] === '"' || line[i + 1] === '\\')) i++;
    text += line[i]!;
  }
  throw usage(`${where}: a quote is not closed: ${quoted(line)}`);
}
