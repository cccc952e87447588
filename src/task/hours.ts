/**
 * Working hours: when a worker is awake by the clock on its wall. What local clocks show decides, so a skipped hour is skipped and an
 * hour that comes twice counts twice. The day named is the day on which a window starts; one that ends before it starts runs
 * over midnight.
 */
import { usage } from '../errors.ts';
import { localMoments } from './time.ts';
import { quoted } from './visible.ts';

const DAYS = ['sun', 'mon', 'tue', 'wed', 'thu', 'fri', 'sat'] as const;
const EVERY_DAY: readonly number[] = [0, 1, 2, 3, 4, 5, 6];
const MIDNIGHT = 24 * 60;
const DAY_MS = 86_400_000;
const HINT = "such as '22:00-06:00 mon-fri', 09:00-18:00 or '09:00-12:00;14:00-18:00 mon,wed'; 00:00-24:00 is the whole day";

export interface HoursWindow {
  /** Minutes after midnight, 0..1439. */
  from: number;
  /** Minutes after midnight, 0..1440, exclusive; below `from` it is on the next day. Never equal to it. */
  to: number;
  /** Weekdays on which it starts, 0 is Sunday. */
  days: readonly number[];
}

/** Awake when any of them says so. */
export type Hours = readonly HoursWindow[];

/** `22:00-06:00 mon-fri`, `09:00-12:00;14:00-18:00 mon,wed,fri-sun`; anything else is a usage error naming `flag`. */
export function parseHours(text: string, flag: string): Hours {
  return text.split(';').map((part) => {
    const window = readWindow(part.trim());
    if (typeof window !== 'string') return window;
    throw usage(`${flag}: ${window}: ${quoted(text)}`, HINT);
  });
}

export function awakeAt(hours: Hours, ms: number): boolean {
  const local = new Date(ms);
  const minute = local.getHours() * 60 + local.getMinutes();
  const today = local.getDay();
  const yesterday = (today + 6) % 7;
  return hours.some(({ from, to, days }) => {
    if (from < to) return days.includes(today) && from <= minute && minute < to;
    return (days.includes(today) && from <= minute) || (days.includes(yesterday) && minute < to);
  });
}

/** The next moment after `ms` at which awake turns to asleep or back, as epoch ms; Infinity if it never does. */
export function nextBoundary(hours: Hours, ms: number): number {
  const awake = awakeAt(hours, ms);
  // The answer can change only where a clock shows a bound or is set forward or back: look at each such moment, in order.
  return momentsOf(hours, ms).find((at) => awakeAt(hours, at) !== awake) ?? Infinity;
}

/** The week repeats, but a clock change may swallow this week's window, and one zone once left out a day: three weeks hold them all. */
const HORIZON_DAYS = 22;

function momentsOf(hours: Hours, after: number): number[] {
  const today = new Date(after);
  const bounds = new Set(hours.flatMap(({ from, to }) => [from, to % MIDNIGHT]));
  const moments = clockChanges(after, after + HORIZON_DAYS * DAY_MS);
  for (let day = -1; day <= HORIZON_DAYS; day += 1) {
    for (const minute of bounds) {
      moments.push(...localMoments(today.getFullYear(), today.getMonth() + 1, today.getDate() + day, 0, minute));
    }
  }
  return moments.filter((at) => at > after).toSorted((a, b) => a - b);
}

/** The first moments of each new offset to UTC between two moments. */
function clockChanges(from: number, to: number): number[] {
  const changes: number[] = [];
  for (let start = from; start < to; start += DAY_MS) {
    const before = offsetAt(start);
    if (before === offsetAt(start + DAY_MS)) continue;
    let [old, changed] = [start, start + DAY_MS];
    while (changed - old > 1) {
      const middle = Math.floor((old + changed) / 2);
      if (offsetAt(middle) === before) old = middle;
      else changed = middle;
    }
    changes.push(changed);
  }
  return changes;
}

function offsetAt(at: number): number {
  return new Date(at).getTimezoneOffset();
}

/** A window, or what is wrong with the text. */
function readWindow(text: string): HoursWindow | string {
  const parts = /^(\d{1,2}:\d\d)-(\d{1,2}:\d\d)(?:\s+(.+))?$/.exec(text);
  if (parts === null) return 'not working hours';
  const [from, to] = [readMinute(parts[1]!), readMinute(parts[2]!)];
  if (from === undefined || to === undefined || from === MIDNIGHT) return 'no such time of day';
  if (from === to) return 'starts and ends at the same time';
  const days = parts[3] === undefined ? EVERY_DAY : readDays(parts[3]);
  return days === undefined ? 'no such day of the week' : { from, to, days };
}

function readMinute(text: string): number | undefined {
  const [hour, minute] = text.split(':').map(Number) as [number, number]; // the caller's pattern has exactly one colon
  const total = hour * 60 + minute;
  return minute <= 59 && total <= MIDNIGHT ? total : undefined;
}

function readDays(text: string): number[] | undefined {
  const days = new Set<number>();
  for (const part of text.toLowerCase().split(',')) {
    const [first, last, ...more] = part.split('-').map((name) => (DAYS as readonly string[]).indexOf(name.trim()));
    const to = last ?? first;
    if (first === undefined || to === undefined || first < 0 || to < 0 || more.length > 0) return undefined;
    for (let day = first; ; day = (day + 1) % 7) {
      days.add(day);
      if (day === to) break;
    }
  }
  return [...days].toSorted((a, b) => a - b);
}
