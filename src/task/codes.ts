/**
 * Sets of exit codes as `--ok` and `--retry-on` take them.
 */
import { usage } from '../errors.ts';
import type { CodeRanges } from './types.ts';
import { quoted } from './visible.ts';

const MAX_CODE = 255;

/** `1,64-78` as inclusive ranges, in the order given; anything else is a usage error naming `flag`. */
export function parseCodes(text: string, flag: string): CodeRanges {
  return text.split(',').map((part) => {
    const ends = /^(\d{1,3})(?:-(\d{1,3}))?$/.exec(part);
    const from = Number(ends?.[1]);
    const to = Number(ends?.[2] ?? ends?.[1]);
    if (ends === null || to > MAX_CODE || from > to) {
      throw usage(`${flag}: not exit codes: ${quoted(text)}`, 'codes from 0 to 255 and ranges, such as 1,64-78');
    }
    return [from, to] as const;
  });
}

export function inCodes(ranges: CodeRanges, code: number): boolean {
  return ranges.some(([from, to]) => code >= from && code <= to);
}
