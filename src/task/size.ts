/**
 * Amounts of memory and disk as people write and read them, in powers of 1024; inside tq they are whole bytes.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

const UNITS = ['', 'K', 'M', 'G', 'T', 'P'] as const;

/** `512M`, `8G`, `1.5G`, `100` (bytes), `4KiB` in bytes; anything else is a usage error naming `flag`. */
export function parseSize(text: string, flag: string): number {
  const parts = /^(\d+(?:\.\d+)?)(?:([KMGTP])(?:i?B)?|B)?$/i.exec(text);
  if (parts !== null) {
    const power = UNITS.indexOf((parts[2] ?? '').toUpperCase() as (typeof UNITS)[number]);
    const bytes = Math.round(Number(parts[1]) * 1024 ** power);
    const halfAByte = power === 0 && parts[1]!.includes('.');
    if (!halfAByte && Number.isSafeInteger(bytes)) return bytes;
  }
  throw usage(`${flag}: not a size: ${quoted(text)}`, 'such as 512M, 8G or 1.5G (powers of 1024: K M G T P), or 100 for bytes');
}

/** For people: the largest unit that fits, at most one decimal, cut and never rounded up: `512M`, `1.5G`, `100B`. */
export function formatSize(bytes: number): string {
  let power = 0;
  while (power < UNITS.length - 1 && bytes >= 1024 ** (power + 1)) power += 1;
  if (power === 0) return `${Math.floor(bytes)}B`;
  return `${Math.floor((bytes / 1024 ** power) * 10) / 10}${UNITS[power]}`;
}
