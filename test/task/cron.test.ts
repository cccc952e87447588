/** Ticks over whole years, in zones whose clocks change at different hours and by different amounts. */
import { assert as check, constantFrom, integer, property } from 'fast-check';
import { describe, expect, it } from 'vitest';
import { checkSchedule, dueTick, lastTick, nextTick, type Schedule } from '../../src/task/cron.ts';

const HOUR = 3_600_000;
const utc = (text: string): number => Date.parse(`${text}Z`);

/** All ticks from one moment to another. */
function ticks(schedule: Schedule, from: number, to: number): number[] {
  const found: number[] = [];
  for (let at = nextTick(schedule, from); at !== null && at <= to; at = nextTick(schedule, at)) found.push(at);
  return found;
}

/** `2026-03-29 02:30` on a clock in that zone. */
function onClock(ms: number, tz: string): string {
  return clockOf(tz).format(ms).slice(0, 16);
}

/** Zones with a year in which their clocks change twice. */
const YEARS = [
  ['Europe/Berlin', 2026],
  ['America/New_York', 2026],
  ['America/Sao_Paulo', 2018],
  ['Australia/Lord_Howe', 2026],
  ['UTC', 2026],
] as const;

const zone = (tz: string, year: number): { from: number; to: number } => ({
  from: utc(`${year - 1}-12-31T12:00:00`),
  to: utc(`${year}-12-31T12:00:00`) + (tz === 'UTC' ? 0 : 1),
});

describe.each(YEARS)('in %s, %i', (tz, year) => {
  const { from, to } = zone(tz, year);

  it.each(['0 0 * * *', '30 2 * * *', '15 1 * * *', '0 3 * * *', '45 23 * * *', '0 30 2 * * *'])(
    'H16: a fixed time comes once on each day of the year: %s',
    (expr) => {
      const days = ticks({ expr, tz }, from, to).map((at) => onClock(at, tz).slice(0, 10));
      expect(days.length).toBeGreaterThanOrEqual(364);
      expect(new Set(days).size).toBe(days.length);
      const every = Math.round((Date.parse(days.at(-1)!) - Date.parse(days[0]!)) / (24 * HOUR)) + 1;
      expect(days.length).toBe(every);
    },
  );

  it('H16: hours of a list each come once on each day', () => {
    const found = ticks({ expr: '0 0,4,12 * * *', tz }, from, to);
    const perDay = new Map<string, number>();
    for (const at of found) perDay.set(onClock(at, tz).slice(0, 10), (perDay.get(onClock(at, tz).slice(0, 10)) ?? 0) + 1);
    const inner = [...perDay.values()].slice(1, -1);
    expect(new Set(inner)).toEqual(new Set([3]));
  });

  it('H16: a minute comes every minute of real time, whatever the clocks do', () => {
    for (const change of changes(tz, year)) {
      const found = ticks({ expr: '* * * * *', tz }, change - 3 * HOUR, change + 3 * HOUR);
      expect(found.length).toBe(360);
      expect(found.every((at, i) => i === 0 || (found[i - 1] ?? 0) + 60_000 === at)).toBe(true);
    }
  });

  it('from any moment the next tick is the one that comes next in the row', () => {
    for (const expr of ['30 2 * * *', '0 */2 * * *', '*/20 1-3 * * *', '0 0,2,3 * * *']) {
      const schedule = { expr, tz };
      for (const change of changes(tz, year)) {
        const row = ticks(schedule, change - 48 * HOUR, change + 48 * HOUR);
        for (let at = change - 24 * HOUR; at < change + 24 * HOUR; at += 17 * 60_000) {
          expect(nextTick(schedule, at), `${expr} from ${new Date(at).toISOString()}`).toBe(row.find((t) => t > at));
        }
      }
    }
  });
});

const clocks = new Map<string, Intl.DateTimeFormat>();

function clockOf(tz: string): Intl.DateTimeFormat {
  let clock = clocks.get(tz);
  if (clock === undefined) {
    clock = new Intl.DateTimeFormat('sv-SE', { timeZone: tz, dateStyle: 'short', timeStyle: 'medium' });
    clocks.set(tz, clock);
  }
  return clock;
}

const changed = new Map<string, number[]>();

/** The moments in a year when the clocks of a zone change, to the half hour. */
function changes(tz: string, year: number): number[] {
  const known = changed.get(tz);
  if (known !== undefined) return known;
  const offset = (at: number): number => Date.parse(`${clockOf(tz).format(at)}Z`) - at;
  const found: number[] = [];
  for (let day = utc(`${year}-01-02T00:00:00`); day < utc(`${year}-12-30T00:00:00`); day += 24 * HOUR) {
    if (offset(day) === offset(day + 24 * HOUR)) continue;
    for (let at = day; at < day + 24 * HOUR; at += HOUR / 2) if (offset(at) !== offset(at + HOUR / 2)) found.push(at + HOUR / 2);
  }
  changed.set(tz, found);
  return found;
}

describe('a zone', () => {
  it('H16: is honoured: noon in New York is not noon in Berlin', () => {
    expect(new Date(nextTick({ expr: '0 12 * * *', tz: 'America/New_York' }, utc('2026-01-10T00:00:00'))!).toISOString()).toBe(
      '2026-01-10T17:00:00.000Z',
    );
    expect(new Date(nextTick({ expr: '0 12 * * *', tz: 'Europe/Berlin' }, utc('2026-07-10T00:00:00'))!).toISOString()).toBe(
      '2026-07-10T10:00:00.000Z',
    );
  });

  it('knows that the clocks of the zones in question do change', () => {
    expect(YEARS.map(([tz, year]) => changes(tz, year).length)).toEqual([2, 2, 2, 2, 0]);
  });
});

describe('lastTick', () => {
  it('is the last of the row', () => {
    const exprs = ['* * * * *', '*/7 * * * *', '0 3 * * *', '30 2 * * 0', '0 0 1 * *', '*/10 * * * * *'];
    check(
      property(constantFrom(...exprs), integer({ min: 0, max: 40 * 60 }), integer({ min: 0, max: 3_000_000 }), (expr, h, span) => {
        const schedule = { expr, tz: 'Europe/Berlin' };
        const from = utc('2026-03-10T00:00:00') + h * 60_000 * 17;
        expect(lastTick(schedule, from, from + span)).toBe(ticks(schedule, from, from + span).at(-1) ?? null);
      }),
    );
  });

  it('is found over years of seconds', () => {
    expect(lastTick({ expr: '* * * * * *', tz: 'UTC' }, utc('2016-01-01T00:00:00'), utc('2026-01-01T00:00:00'))).toBe(
      utc('2026-01-01T00:00:00'),
    );
  });
});

describe('dueTick', () => {
  const hourly: Schedule = { expr: '0 * * * *', tz: 'UTC' };
  const at = (text: string): number => utc(`2026-05-01T${text}`);

  it('H16: an hour with nobody looking is not made up for, or by one run', () => {
    const everyMinute: Schedule = { expr: '* * * * *', tz: 'UTC' };
    const [settled, now] = [at('10:00:00'), at('11:00:30')];
    expect(dueTick(everyMinute, 'none', settled, now - 2000, now)).toBe(null);
    expect(dueTick(everyMinute, 'last', settled, now - 2000, now)).toBe(at('11:00:00'));
    expect(dueTick(everyMinute, 'last', at('11:00:00'), now - 2000, now)).toBe(null);
  });

  it('a tick since the last look is due, the earliest first, and none twice', () => {
    expect(dueTick(hourly, 'none', at('10:00:00'), at('10:59:59'), at('11:00:00'))).toBe(at('11:00:00'));
    expect(dueTick(hourly, 'none', at('11:00:00'), at('10:59:59'), at('11:00:00'))).toBe(null);
    const seconds: Schedule = { expr: '* * * * * *', tz: 'UTC' };
    expect(dueTick(seconds, 'none', at('10:00:00'), at('10:00:01'), at('10:00:05'))).toBe(at('10:00:02'));
  });
});

describe('checkSchedule', () => {
  const now = utc('2026-05-01T00:00:00');

  it('takes five and six fields, names, and @daily', () => {
    for (const expr of ['* * * * *', ' 0  3 * *  mon-fri ', '*/5 * * * * *', '@daily', '0 0 29 2 *', '0 0 L * *']) {
      expect(checkSchedule(expr, 'UTC', now).tz).toBe('UTC');
    }
    expect(checkSchedule(' 0  3 * *  mon-fri ', 'UTC', now).expr).toBe('0 3 * * mon-fri');
  });

  it('H15: refuses what is no expression, never comes, or is in no zone, with the text', () => {
    for (const expr of [
      '',
      '* * *',
      '60 * * * *',
      'x * * * *',
      '*/0 * * * *',
      '* * * * * * *',
      '@reboot',
      '2030-01-01T00:00:00',
      '0 0 30 2 *',
    ]) {
      expect(() => checkSchedule(expr, 'UTC', now), expr).toThrow(`'${expr}'`);
    }
    expect(() => checkSchedule('* * * * *', 'Mars/Olympus', now)).toThrow("--tz: not a time zone: 'Mars/Olympus'");
  });
});
