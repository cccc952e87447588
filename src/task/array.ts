/**
 * The numbers of an array: `1-100`, `1-10:3`, `3,7,9`, each with `%MAX` for at most so many at once; and the arithmetic on them. Pure;
 * a range stays a range, however many numbers are in it.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

export type Numbers = { kind: 'range'; from: number; to: number; step: number } | { kind: 'list'; values: number[] };

export interface ArraySpec {
  numbers: Numbers;
  /** Elements. */
  size: number;
  /** At most so many run at once; undefined: any number. */
  max: number | undefined;
}

/** Numbers have at most nine digits, as element numbers in file names do. */
const RANGE = /^(\d{1,9})-(\d{1,9})(?::(\d{1,9}))?$/;
const LIST = /^\d{1,9}(?:,\d{1,9})*$/;
const HINT = 'such as 1-100, 1-10:3, 3,7,9 or 1-100%5';

/** Reads the text of `--array`; a reversed range, a number twice, a zero step and anything else is a usage error. */
export function parseArray(text: string, flag: string): ArraySpec {
  const wrong = (why: string): Error => usage(`${flag}: ${why}: ${quoted(text)}`, HINT);
  const [, body = '', limit] = /^(.*?)(?:%(\d{1,9}))?$/s.exec(text) ?? [];
  const max = limit === undefined ? undefined : Number(limit);
  if (max === 0) throw wrong('at most 0 at once would never run');
  const range = RANGE.exec(body);
  if (range !== null) {
    const [from, to, step] = [Number(range[1]), Number(range[2]), Number(range[3] ?? 1)];
    if (to < from) throw wrong('the range is reversed');
    if (step === 0) throw wrong('the step is 0');
    return { numbers: { kind: 'range', from, to, step }, size: Math.floor((to - from) / step) + 1, max };
  }
  if (!LIST.test(body)) throw wrong('not a list of numbers');
  const values = body.split(',').map(Number);
  if (new Set(values).size !== values.length) throw wrong('a number is there twice');
  return { numbers: { kind: 'list', values }, size: values.length, max };
}

/** Elements 1 to `size`. */
export function oneTo(size: number): Numbers {
  return { kind: 'range', from: 1, to: size, step: 1 };
}

export function sizeOf(numbers: Numbers): number {
  return numbers.kind === 'list' ? numbers.values.length : Math.floor((numbers.to - numbers.from) / numbers.step) + 1;
}

/** Ascending: elements run in the order of their numbers. */
export function sorted(numbers: Numbers): Numbers {
  return numbers.kind === 'list' ? { kind: 'list', values: numbers.values.toSorted((a, b) => a - b) } : numbers;
}

/** The index, from 0, of the first number that is not below `n`; of sorted numbers. */
export function indexFrom(numbers: Numbers, n: number): number {
  if (numbers.kind === 'range') return Math.max(0, Math.ceil((n - numbers.from) / numbers.step));
  let [low, high] = [0, numbers.values.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (numbers.values[middle]! < n) low = middle + 1;
    else high = middle;
  }
  return low;
}

/** The number at an index from 0; undefined past the end. */
export function numberAt(numbers: Numbers, index: number): number | undefined {
  if (numbers.kind === 'list') return numbers.values[index];
  const n = numbers.from + index * numbers.step;
  return n <= numbers.to ? n : undefined;
}

export function includes(numbers: Numbers, n: number): boolean {
  return numberAt(numbers, indexFrom(numbers, n)) === n;
}

/** How many numbers are in `lo` to `hi`. */
export function countIn(numbers: Numbers, lo: number, hi: number): number {
  return Math.max(0, Math.min(indexFrom(numbers, hi + 1), sizeOf(numbers)) - indexFrom(numbers, lo));
}

/** The numbers in `lo` to `hi`, ascending. */
export function* numbersIn(numbers: Numbers, lo: number, hi: number): Generator<number> {
  for (let i = indexFrom(numbers, lo); ; i++) {
    const n = numberAt(numbers, i);
    if (n === undefined || n > hi) return;
    yield n;
  }
}

/** The smallest and the largest. */
export function spanOf(numbers: Numbers): { lo: number; hi: number } {
  return { lo: numberAt(numbers, 0)!, hi: numberAt(numbers, sizeOf(numbers) - 1)! };
}

/** `1-4`, or `9,10,20,21` where they do not follow each other: what `{}` is for a `--chunk`. */
export function formatNumbers(values: readonly number[]): string {
  if (values.length === 1) return String(values[0]);
  const runs = values.every((n, i) => i === 0 || n === values[i - 1]! + 1);
  return runs ? `${values[0]}-${values.at(-1)}` : values.join(',');
}
