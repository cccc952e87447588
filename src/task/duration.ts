/**
 * Durations as people write and read them; inside tq they are whole milliseconds, never negative, and small enough that any
 * moment plus any duration is still a date.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

/** The longest duration, some 250,000 years: with the present moment added it stays below the last date of JavaScript, 8.64e15. */
export const MAX_DURATION_MS = 8_000_000_000_000_000;

const UNITS = [
  ['d', 86_400_000],
  ['h', 3_600_000],
  ['m', 60_000],
  ['s', 1000],
  ['ms', 1],
] as const;

const SHAPE = /^(?=\d)(\d+(?:\.\d+)?d)?(\d+(?:\.\d+)?h)?(\d+(?:\.\d+)?m)?(\d+(?:\.\d+)?s)?(\d+(?:\.\d+)?ms)?$/;

/** `90` (seconds), `90s`, `15m`, `2h`, `3d`, `250ms`, `1h30m`, `1.5h` in ms; anything else is a usage error naming `flag`. */
export function parseDuration(text: string, flag: string): number {
  const ms = readDuration(text);
  if (ms !== undefined) return ms;
  throw usage(`${flag}: not a duration: ${quoted(text)}`, 'such as 90 (seconds), 250ms, 15m, 2h, 3d or 1h30m');
}

/** As `parseDuration`, undefined where that throws: for texts that may be something else. */
export function readDuration(text: string): number | undefined {
  const bare = /^\d+(?:\.\d+)?$/.test(text);
  const parts = SHAPE.exec(bare ? `${text}s` : text);
  if (parts === null) return undefined;
  let ms = 0;
  UNITS.forEach(([, unitMs], i) => {
    const part = parts[i + 1];
    if (part !== undefined) ms += Number.parseFloat(part) * unitMs;
  });
  const whole = Math.round(ms);
  return whole <= MAX_DURATION_MS ? whole : undefined;
}

/** For people: the two largest units, cut and never rounded up: `1h30m`, `2d3h`, `4.2s`, `250ms`, `0s`. */
export function formatDuration(ms: number): string {
  if (ms < 0) return `-${formatDuration(-ms)}`;
  if (ms < 1) return '0s';
  if (ms < 1000) return `${Math.floor(ms)}ms`;
  if (ms < 60_000) return `${Math.floor(ms / 100) / 10}s`;
  const first = UNITS.findIndex(([, unitMs]) => ms >= unitMs);
  const [name, unitMs] = UNITS[first]!;
  const [nextName, nextMs] = UNITS[first + 1]!;
  const rest = Math.floor((ms % unitMs) / nextMs);
  return `${Math.floor(ms / unitMs)}${name}${rest === 0 ? '' : `${rest}${nextName}`}`;
}

/** Exact, in the words of the command line: `parseDuration` gives the same number back. Takes whole ms. */
export function spellDuration(ms: number): string {
  let rest = ms;
  let text = '';
  for (const [name, unitMs] of UNITS) {
    const n = Math.floor(rest / unitMs);
    rest -= n * unitMs;
    if (n > 0) text += `${n}${name}`;
  }
  return text === '' ? '0s' : text;
}
