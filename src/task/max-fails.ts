/**
 * `--max-fails`: how many failed elements end a submission, as a number of elements or a share of them. Pure.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

export type MaxFails = { kind: 'count'; n: number } | { kind: 'percent'; p: number };

/** Reads `3` or `10%`; anything else, nothing at all and more than all are a usage error naming the flag and the text. */
export function parseMaxFails(text: string, flag: string): MaxFails {
  const [, digits, percent] = /^(\d{1,9})(%?)$/.exec(text) ?? [];
  const n = Number(digits);
  if (digits !== undefined && n >= 1 && (percent === '' || n <= 100))
    return percent === '' ? { kind: 'count', n } : { kind: 'percent', p: n };
  throw usage(`${flag}: not a number or a percentage: ${quoted(text)}`, 'such as 3 or 10%');
}

/**
 * Whether so many failed elements of `size` are too many: the number itself is, and a share that is reached. In whole numbers, so
 * that 10% of 10 is one and 10% of 11 is two.
 */
export function isTooMany(max: MaxFails, failed: number, size: number): boolean {
  if (failed === 0) return false;
  return max.kind === 'count' ? failed >= max.n : failed * 100 >= max.p * size;
}
