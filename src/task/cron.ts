/**
 * When a repeated task is due: ticks of a cron expression in a time zone. Pure: an answer depends on the schedule, the moments
 * given and nothing else, so every worker finds the same ticks. On days when clocks change each tick comes once, as in Vixie
 * cron: fixed times in the gap run right after it, fixed times that occur twice run at the first, steps and wildcards go by real time.
 */
import { Cron } from 'croner';
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

export interface Schedule {
  /** Five fields, or six with seconds first; `@daily` and its like. */
  expr: string;
  /** IANA name. */
  tz: string;
}

export type Overlap = 'skip' | 'queue';
export type Catchup = 'none' | 'last';

/** Throws USAGE naming what is wrong; also for one that has no tick after `now`. */
export function checkSchedule(expr: string, tz: string, now: number): Schedule {
  try {
    void new Intl.DateTimeFormat('en', { timeZone: tz });
  } catch {
    throw usage(`--tz: not a time zone: ${quoted(tz)}`, 'such as Europe/Berlin or UTC');
  }
  const schedule: Schedule = { expr: expr.trim().replaceAll(/\s+/g, ' '), tz };
  let first: number | null;
  try {
    first = nextTick(schedule, now);
  } catch (error) {
    const why = error instanceof Error ? error.message.replace(/^CronPattern: /, '') : String(error);
    throw usage(`EXPR: not a cron expression: ${quoted(expr)}: ${why}`, EXPRESSIONS);
  }
  if (first === null) throw usage(`EXPR: there is no such time: ${quoted(expr)}`, EXPRESSIONS);
  return schedule;
}

const EXPRESSIONS = "minute hour day month weekday, such as '30 3 * * mon-fri' or @daily";

/** The first tick after `after`, or null when there is none any more. Both ms. */
export function nextTick(schedule: Schedule, after: number): number | null {
  return parsed(schedule).nextRun(new Date(after))?.getTime() ?? null;
}

/** The last tick after `after` that is not after `upTo`, or null. All ms. */
export function lastTick(schedule: Schedule, after: number, upTo: number): number | null {
  let tick = nextTick(schedule, after);
  if (tick === null || tick > upTo) return null;
  // No tick lies between `none` and `upTo`.
  for (let none = upTo; ;) {
    const middle = Math.floor((tick + none) / 2);
    if (middle <= tick) return tick;
    const later = nextTick(schedule, middle);
    if (later !== null && later <= upTo) tick = later;
    else none = middle;
    // Ticks are whole seconds.
    if (none - tick < 1000) return tick;
  }
}

/**
 * The tick to fire now, or null. `settled`: every tick up to then is done with. `seenFrom`: since then this worker has been looking; ticks
 * before that were missed, and of those at most the last one is made up for. All ms.
 */
export function dueTick(schedule: Schedule, catchup: Catchup, settled: number, seenFrom: number, now: number): number | null {
  const live = nextTick(schedule, Math.max(settled, seenFrom));
  if (live !== null && live <= now) return live;
  return catchup === 'last' ? lastTick(schedule, settled, now) : null;
}

const known = new Map<string, Cron>();
const MOST_KNOWN = 1000;

function parsed({ expr, tz }: Schedule): Cron {
  const key = `${tz} ${expr}`;
  let cron = known.get(key);
  if (cron === undefined) {
    // Anything else it would take for a date.
    if (!expr.startsWith('@') && !/^\S+( \S+){4,5}$/.test(expr)) throw new Error('five or six fields are needed');
    cron = new Cron(expr, { timezone: tz, mode: '5-or-6-parts', fixedTimeRule: 'no-wildcard' });
    if (known.size >= MOST_KNOWN) known.clear();
    known.set(key, cron);
  }
  return cron;
}
