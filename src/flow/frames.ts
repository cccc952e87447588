/**
 * Ranges of numbers as people write them for frames, `1-10,20-25,40`, and their parts. Pure.
 */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';

/** The numbers in the order in which they were written, and how to cut them up. */
export interface Frames extends ReadonlyArray<number> {
  /** Parts of `size` numbers, the last may be shorter, each as text: `1-4`, `9,10,20,21`. */
  chunks(size: number): string[];
}

/** A range with more numbers than this is a slip of the pen. */
const MOST = 1_000_000;
const HINT = 'such as 1-10,20-25,40';

/** Reads a range; a reversed one, a number twice and anything else is a usage error that begins with `where`. */
export function parseFrames(text: string, where: string): Frames {
  const wrong = (why: string): Error => usage(`${where}: ${why}: ${quoted(text)}`, HINT);
  const numbers: number[] = [];
  for (const part of text.split(',')) {
    const [, first, last = first] = /^\s*(\d{1,9})(?:\s*-\s*(\d{1,9}))?\s*$/.exec(part) ?? [];
    if (first === undefined) throw wrong('not a range of numbers');
    const [from, to] = [Number(first), Number(last)];
    if (to < from) throw wrong('the range is reversed');
    if (to - from >= MOST || numbers.length + to - from >= MOST) throw wrong(`more than ${MOST} numbers`);
    for (let n = from; n <= to; n++) numbers.push(n);
  }
  if (new Set(numbers).size !== numbers.length) throw wrong('a number is there twice');
  return Object.assign(numbers, { chunks: (size: number) => chunksOf(numbers, size) });
}

/** Throws a usage error for a size that is no whole number of at least 1. */
export function chunksOf(numbers: readonly number[], size: number): string[] {
  if (!Number.isInteger(size) || size < 1) throw usage(`chunks: not a whole number of at least 1: ${quoted(String(size))}`);
  const parts: string[] = [];
  for (let at = 0; at < numbers.length; at += size) parts.push(formatFrames(numbers.slice(at, at + size)));
  return parts;
}

/** From this many numbers in a row on they are written as `a-b`. */
const ROW = 3;

/** The numbers as a text that `parseFrames` reads. */
export function formatFrames(numbers: readonly number[]): string {
  const words: string[] = [];
  for (let at = 0; at < numbers.length;) {
    let end = at + 1;
    while (end < numbers.length && numbers[end] === numbers[end - 1]! + 1) end++;
    if (end - at >= ROW) words.push(`${numbers[at]!}-${numbers[end - 1]!}`);
    else words.push(...numbers.slice(at, end).map(String));
    at = end;
  }
  return words.join(',');
}
