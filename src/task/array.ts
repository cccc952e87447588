/**
 * The numbers of an array: `1-100`, `1-10:3`, `3,7,9`, each with `%MAX` for at most so many at once. Pure; a range stays a
 * range, however many numbers are in it.
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
