import { describe, expect, it } from 'vitest';
import { awakeAt, nextBoundary, parseHours } from '../../src/task/hours.ts';
import { inZone } from './in-zone.ts';

/** A moment of the week that begins on Monday, 2026-06-15, by the local clock. */
function local(day: string, time: string): number {
  const date = 15 + ['mon', 'tue', 'wed', 'thu', 'fri', 'sat', 'sun'].indexOf(day);
  const [hour = 0, minute = 0, second = 0] = time.split(':').map(Number);
  return new Date(2026, 5, date, hour, minute, second).getTime();
}

describe('parseHours', () => {
  it('reads windows, days, lists of days and ranges that wrap', () => {
    expect(parseHours('22:00-06:00 mon-fri', '--hours')).toEqual([{ from: 1320, to: 360, days: [1, 2, 3, 4, 5] }]);
    expect(parseHours('9:00-18:00', '--hours')).toEqual([{ from: 540, to: 1080, days: [0, 1, 2, 3, 4, 5, 6] }]);
    expect(parseHours('00:00-24:00 fri-mon', '--hours')).toEqual([{ from: 0, to: 1440, days: [0, 1, 5, 6] }]);
    expect(parseHours('09:00-12:00;14:00-18:00 Mon, wed,FRI-fri', '--hours')).toEqual([
      { from: 540, to: 720, days: [0, 1, 2, 3, 4, 5, 6] },
      { from: 840, to: 1080, days: [1, 3, 5] },
    ]);
  });

  it.each([
    '',
    ';',
    '09:00-18:00;',
    '09:00',
    '09:00-',
    '9-18',
    '09:00-18:60',
    '25:00-26:00',
    '24:00-06:00',
    '09:00-24:01',
    '09:00-09:00',
    '00:00-00:00',
    '09:00-18:00 foo',
    '09:00-18:00 mon-',
    '09:00-18:00 mon-tue-wed',
    '09:00-18:00 mon,',
    '09:00-18:00mon',
    'mon-fri 09:00-18:00',
    '09:00-18:00 constructor',
  ])('C11: refuses %j, naming the flag and the text', (text) => {
    expect(() => parseHours(text, '--hours')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(/^--hours: /) }),
    );
    expect(() => parseHours(text, '--hours')).toThrow(`'${text}'`);
  });
});

describe('awakeAt', () => {
  it.each<[string, string, string, boolean]>([
    ['22:00-06:00 mon-fri', 'mon', '23:00', true],
    ['22:00-06:00 mon-fri', 'tue', '05:59', true],
    ['22:00-06:00 mon-fri', 'sat', '05:59', true],
    ['22:00-06:00 mon-fri', 'tue', '06:00', false],
    ['22:00-06:00 mon-fri', 'sat', '06:00', false],
    ['22:00-06:00 mon-fri', 'sat', '23:00', false],
    ['22:00-06:00 mon-fri', 'sun', '23:00', false],
    ['22:00-06:00 mon-fri', 'mon', '05:59', false],
    ['22:00-06:00 sun', 'mon', '05:59', true],
    ['22:00-06:00 sat', 'sun', '05:59', true],
    ['09:00-18:00', 'wed', '08:59:59', false],
    ['09:00-18:00', 'wed', '09:00', true],
    ['09:00-18:00', 'wed', '17:59:59', true],
    ['09:00-18:00', 'wed', '18:00', false],
    ['18:00-09:00', 'wed', '12:00', false],
    ['09:00-12:00;14:00-18:00 wed', 'wed', '13:00', false],
    ['09:00-12:00;14:00-18:00 wed', 'wed', '14:00', true],
    ['09:00-12:00;14:00-18:00 wed', 'thu', '14:00', false],
    ['00:00-24:00 wed', 'wed', '23:59:59', true],
    ['00:00-24:00 wed', 'thu', '00:00', false],
    ['22:00-00:00 wed', 'wed', '23:59', true],
    ['22:00-00:00 wed', 'thu', '00:00', false],
  ])('C11: %s on %s at %s: %s', (text, day, time, awake) => {
    expect(awakeAt(parseHours(text, '--hours'), local(day, time))).toBe(awake);
  });
});

describe('nextBoundary', () => {
  it.each<[string, [string, string], [string, string]]>([
    ['22:00-06:00 mon-fri', ['mon', '12:00'], ['mon', '22:00']],
    ['22:00-06:00 mon-fri', ['mon', '22:00'], ['tue', '06:00']],
    ['09:00-18:00', ['mon', '08:59:59'], ['mon', '09:00']],
    ['09:00-18:00', ['mon', '09:00'], ['mon', '18:00']],
    ['09:00-12:00;12:00-18:00', ['mon', '10:00'], ['mon', '18:00']],
    ['00:00-24:00 mon-wed', ['mon', '10:00'], ['thu', '00:00']],
    ['09:00-18:00 fri', ['mon', '10:00'], ['fri', '09:00']],
    ['08:00-20:00 wed;18:00-22:00 wed', ['wed', '09:00'], ['wed', '22:00']],
  ])('C11: of %s after %j is %j', (text, from, to) => {
    expect(nextBoundary(parseHours(text, '--hours'), local(...from))).toBe(local(...to));
  });

  it('comes a week later where only one day counts, and never where there is no change', () => {
    const weekly = parseHours('09:00-18:00 mon', '--hours');
    expect(nextBoundary(weekly, local('mon', '18:00'))).toBe(new Date(2026, 5, 22, 9).getTime());
    expect(nextBoundary(parseHours('00:00-24:00', '--hours'), local('mon', '12:00'))).toBe(Infinity);
    expect(nextBoundary(parseHours('00:00-12:00;12:00-00:00', '--hours'), local('mon', '12:00'))).toBe(Infinity);
  });

  it('C11: has the bounds where the clock shows them on the nights of the changes', () => {
    const walked = inZone(
      'Europe/Berlin',
      'hours',
      `const walk = (text, from, n) => {
         const hours = m.parseHours(text, '--hours');
         const steps = [];
         for (let t = at(from); steps.length < n; ) {
           t = m.nextBoundary(hours, t);
           steps.push(new Date(t).toISOString().slice(0, 16) + (m.awakeAt(hours, t) ? ' awake' : ' asleep'));
         }
         return steps;
       };
       return {
         night: walk('22:00-06:00', '2026-03-28T12:00Z', 4),
         autumn: walk('22:00-06:00', '2026-10-24T12:00Z', 3),
         fromInGap: walk('02:30-05:00', '2026-03-29T00:00Z', 2),
         toInGap: walk('22:00-02:30', '2026-03-28T20:00Z', 2),
         swallowed: walk('02:10-02:50 sun', '2026-03-28T20:00Z', 2),
         twice: walk('02:15-02:45 sun', '2026-10-25T00:00Z', 4),
         wholeHour: walk('02:00-03:00 sun', '2026-10-24T22:00Z', 2),
       };`,
    );
    expect(walked).toEqual({
      night: ['2026-03-28T21:00 awake', '2026-03-29T04:00 asleep', '2026-03-29T20:00 awake', '2026-03-30T04:00 asleep'],
      autumn: ['2026-10-24T20:00 awake', '2026-10-25T05:00 asleep', '2026-10-25T21:00 awake'],
      fromInGap: ['2026-03-29T01:00 awake', '2026-03-29T03:00 asleep'],
      toInGap: ['2026-03-28T21:00 awake', '2026-03-29T01:00 asleep'],
      swallowed: ['2026-04-05T00:10 awake', '2026-04-05T00:50 asleep'],
      twice: ['2026-10-25T00:15 awake', '2026-10-25T00:45 asleep', '2026-10-25T01:15 awake', '2026-10-25T01:45 asleep'],
      wholeHour: ['2026-10-25T00:00 awake', '2026-10-25T02:00 asleep'],
    });
  });

  it.each(['Europe/Berlin', 'America/Sao_Paulo', 'Australia/Lord_Howe', 'UTC'])(
    'C11: agrees with looking at the clock every five minutes of a year in %s',
    (zone) => {
      const wrong = inZone(
        zone,
        'hours',
        `const wrong = [];
       for (const text of ['22:00-06:00 mon-fri', '09:00-18:00', '00:00-24:00 sat-sun', '00:30-02:20 sun;02:20-02:40;23:00-01:00 sat']) {
         const hours = m.parseHours(text, '--hours');
         let t = at('2018-01-01T00:00Z');
         let boundary = m.nextBoundary(hours, t);
         let awake = m.awakeAt(hours, t);
         for (; t < at('2019-01-01T00:00Z'); t += 300_000) {
           if (t >= boundary) {
             const turns = m.awakeAt(hours, boundary) !== awake && m.awakeAt(hours, boundary - 1) === awake;
             if (!turns) wrong.push(text + ' bound ' + new Date(boundary).toISOString());
             awake = !awake;
             boundary = m.nextBoundary(hours, boundary);
           }
           if (m.awakeAt(hours, t) !== awake) wrong.push(text + ' ' + new Date(t).toISOString());
         }
       }
       return wrong.slice(0, 5);`,
      );
      expect(wrong).toEqual([]);
    },
  );
});
