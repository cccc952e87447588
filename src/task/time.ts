/**
 * Moments as people write them, in the local zone unless the text names another. Inside tq a moment is milliseconds since the
 * epoch. What local clocks show is always asked of the zone's own rules, so days on which clocks change come out right.
 */
import { usage } from '../errors.ts';
import { readDuration } from './duration.ts';
import { quoted } from './visible.ts';

const DAY_MS = 86_400_000;
const MINUTE_MS = 60_000;

export interface TimeContext {
  now: number;
  /** Which `HH:MM` is meant: the next one (or this very moment), or the last one. */
  look: 'next' | 'back';
}

/**
 * ISO 8601, `now`, `now+2h`, `now-2h`, `2h ago`, `HH:MM`, `HH:MM:SS` as epoch ms; anything else is a usage error naming `flag`.
 * A local time that clocks skip counts from before the jump (02:30 is then 03:30); of one that comes twice the first is meant,
 * except that `HH:MM` takes whichever is the next or the last.
 */
export function parseTime(text: string, flag: string, { now, look }: TimeContext): number {
  const ms = readRelative(text, now) ?? readClock(text, now, look) ?? readIso(text);
  if (ms !== undefined) return ms;
  throw usage(`${flag}: not a time: ${quoted(text)}`, "such as 2026-01-31T09:00, 09:00, now+2h or '2h ago'");
}

/** Since when: a duration means that long ago, anything else is read as a time in the past. */
export function parseSince(text: string, flag: string, now: number): number {
  const ago = readDuration(text);
  if (ago !== undefined) return now - ago;
  const ms = readRelative(text, now) ?? readClock(text, now, 'back') ?? readIso(text);
  if (ms !== undefined) return ms;
  throw usage(`${flag}: neither a duration nor a time: ${quoted(text)}`, 'such as 2h (ago), 09:00 (the last one) or 2026-01-31T09:00');
}

/** ISO 8601 in UTC with milliseconds. */
export function iso(ms: number): string {
  return new Date(ms).toISOString();
}

/**
 * The moments at which local clocks show this, ascending: two where an hour comes twice, else one. Where clocks skip it, the one
 * moment that lies as far after the jump. Fields beyond their range carry over (day 32, minute 90). Month counts from 1.
 */
export function localMoments(year: number, month: number, day: number, hour = 0, minute = 0, second = 0, ms = 0): number[] {
  const shown = utc(year, month, day, hour, minute, second, ms);
  // A zone changes its offset at most once in two days, so the offsets a day before and after are the only candidates.
  const before = shown + offsetMs(shown - DAY_MS);
  const after = shown + offsetMs(shown + DAY_MS);
  const found = [before, after].filter((t) => t - offsetMs(t) === shown);
  if (found.length === 0) return [before];
  return [...new Set(found)].toSorted((a, b) => a - b);
}

/** What has to be added to the local clock to get UTC. */
function offsetMs(at: number): number {
  return new Date(at).getTimezoneOffset() * MINUTE_MS;
}

/** As Date.UTC, without its reading of years below 100 as 19xx. */
function utc(year: number, month: number, day: number, hour: number, minute: number, second: number, ms: number): number {
  const date = new Date(0);
  date.setUTCFullYear(year, month - 1, day);
  date.setUTCHours(hour, minute, second, ms);
  return date.getTime();
}

function readRelative(text: string, now: number): number | undefined {
  if (text === 'now') return now;
  const shift = /^now([+-])(.+)$/.exec(text);
  const ago = /^(.+?) +ago$/.exec(text);
  const ms = readDuration(shift?.[2] ?? ago?.[1] ?? '');
  if (ms === undefined) return undefined;
  return shift?.[1] === '+' ? now + ms : now - ms;
}

function readClock(text: string, now: number, look: 'next' | 'back'): number | undefined {
  const parts = /^(\d{1,2}):(\d\d)(?::(\d\d))?$/.exec(text);
  if (parts === null) return undefined;
  const [hour, minute, second] = [Number(parts[1]), Number(parts[2]), Number(parts[3] ?? 0)];
  if (hour > 23 || minute > 59 || second > 59) return undefined;
  const today = new Date(now);
  // Two days each way, because a zone that crosses the date line leaves out a whole day.
  const moments = [-2, -1, 0, 1, 2].flatMap((days) =>
    localMoments(today.getFullYear(), today.getMonth() + 1, today.getDate() + days, hour, minute, second),
  );
  return look === 'next' ? Math.min(...moments.filter((t) => t >= now)) : Math.max(...moments.filter((t) => t <= now));
}

const ISO = /^(\d{4})-(\d\d)-(\d\d)(?:[T ](\d\d):(\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)?(?:(Z)|([+-])(\d\d)(?::?(\d\d))?)?)?$/i;

function readIso(text: string): number | undefined {
  const parts = ISO.exec(text);
  if (parts === null) return undefined;
  const field = (i: number): number => Number(parts[i] ?? 0);
  const [year, month, day, hour, minute, second] = [field(1), field(2), field(3), field(4), field(5), field(6)];
  const ms = Number((parts[7] ?? '').slice(0, 3).padEnd(3, '0'));
  if (hour > 23 || minute > 59 || second > 59 || field(10) > 23 || field(11) > 59) return undefined;
  const asUtc = utc(year, month, day, hour, minute, second, ms);
  // A day that the month does not have carried over into another one.
  if (new Date(asUtc).getUTCMonth() + 1 !== month) return undefined;
  if (parts[8] !== undefined) return asUtc;
  if (parts[9] !== undefined) return asUtc - (parts[9] === '-' ? -1 : 1) * (field(10) * 60 + field(11)) * MINUTE_MS;
  return localMoments(year, month, day, hour, minute, second, ms)[0];
}
