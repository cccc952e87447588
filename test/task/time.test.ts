import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { iso, localMoments, parseSince, parseTime } from '../../src/task/time.ts';
import { inZone } from './in-zone.ts';

const NOW = Date.parse('2026-06-15T12:34:56.789Z');
const next = { now: NOW, look: 'next' } as const;
const back = { now: NOW, look: 'back' } as const;
const HOUR = 3_600_000;

describe('parseTime', () => {
  it.each([
    ['now', 0],
    ['now+2h', 2 * HOUR],
    ['now-2h', -2 * HOUR],
    ['now+1h30m', 1.5 * HOUR],
    ['now+90', 90_000],
    ['2h ago', -2 * HOUR],
    ['250ms  ago', -250],
  ])('reads %s relative to now', (text, shift) => {
    expect(parseTime(text, '--at', next)).toBe(NOW + shift);
    expect(parseTime(text, '--at', back)).toBe(NOW + shift);
  });

  it.each([
    ['2026-01-31T09:00Z', '2026-01-31T09:00:00.000Z'],
    ['2026-01-31 09:00:01Z', '2026-01-31T09:00:01.000Z'],
    ['2026-01-31T09:00:01.5Z', '2026-01-31T09:00:01.500Z'],
    ['2026-01-31T09:00:01,123456z', '2026-01-31T09:00:01.123Z'],
    ['2026-01-31T09:00+02:00', '2026-01-31T07:00:00.000Z'],
    ['2026-01-31T09:00-0530', '2026-01-31T14:30:00.000Z'],
    ['2026-01-31T00:00+01', '2026-01-30T23:00:00.000Z'],
    ['2028-02-29T00:00Z', '2028-02-29T00:00:00.000Z'],
    ['0050-01-01T00:00Z', '0050-01-01T00:00:00.000Z'],
  ])('reads %s in the zone that it names', (text, expected) => {
    expect(iso(parseTime(text, '--at', next))).toBe(expected);
  });

  it.each([
    '',
    'tomorrow',
    '25:00',
    '24:00',
    '9:5',
    '12:60',
    '12:00:60',
    '12:00pm',
    '2026-13-01',
    '2026-00-10',
    '2026-02-30',
    '2026-02-29T00:00Z',
    '2026-01-01T24:00',
    '2026-01-01T12:61',
    '2026-01-01T12:00+25:00',
    '2026-1-1',
    '2026-01-01Z',
    '1700000000',
    '2h',
    'ago',
    ' ago',
    '-2h ago',
    'now+',
    'now+-2h',
    'now 2h',
    'now+2x',
    '+2h',
  ])('A10: refuses %j, naming the flag and the text', (text) => {
    for (const context of [next, back]) {
      expect(() => parseTime(text, '--at', context)).toThrow(
        expect.objectContaining({ code: 'USAGE', message: `--at: not a time: '${text}'` }),
      );
    }
  });

  it('A9: takes the next 09:00 looking ahead and the last 09:00 looking back, this very moment included', () => {
    const result = inZone(
      'Europe/Berlin',
      'time',
      `const of = (text, now, look) => m.iso(m.parseTime(text, '--at', { now: at(now), look }));
       return [
         of('09:00', '2026-06-15T06:59:59Z', 'next'),
         of('09:00', '2026-06-15T07:00:00Z', 'next'),
         of('09:00', '2026-06-15T07:00:00.001Z', 'next'),
         of('09:00', '2026-06-15T06:59:59Z', 'back'),
         of('09:00', '2026-06-15T07:00:00Z', 'back'),
         of('9:00:30', '2026-06-15T07:00:40Z', 'back'),
         of('00:00', '2026-12-31T22:59:00Z', 'next'), of('23:59', '2027-01-01T00:00:00Z', 'back'),
       ];`,
    );
    expect(result).toEqual([
      '2026-06-15T07:00:00.000Z',
      '2026-06-15T07:00:00.000Z',
      '2026-06-16T07:00:00.000Z',
      '2026-06-14T07:00:00.000Z',
      '2026-06-15T07:00:00.000Z',
      '2026-06-15T07:00:30.000Z',
      '2026-12-31T23:00:00.000Z',
      '2026-12-31T22:59:00.000Z',
    ]);
  });

  it('keeps the time of day across the nights on which clocks change', () => {
    const result = inZone(
      'Europe/Berlin',
      'time',
      `const of = (text, now, look) => m.iso(m.parseTime(text, '--at', { now: at(now), look }));
       return [
         of('09:00', '2026-03-28T12:00Z', 'next'), of('09:00', '2026-03-29T02:00Z', 'back'),
         of('09:00', '2026-10-24T12:00Z', 'next'), of('09:00', '2026-10-25T02:00Z', 'back'),
         of('2026-03-29', '2026-01-01T00:00Z', 'next'),
         of('2026-03-30T00:00', '2026-01-01T00:00Z', 'next'),
         of('2026-07-01 12:00', '2026-01-01T00:00Z', 'next'),
       ];`,
    );
    expect(result).toEqual([
      '2026-03-29T07:00:00.000Z',
      '2026-03-28T08:00:00.000Z',
      '2026-10-25T08:00:00.000Z',
      '2026-10-24T07:00:00.000Z',
      '2026-03-28T23:00:00.000Z',
      '2026-03-29T22:00:00.000Z',
      '2026-07-01T10:00:00.000Z',
    ]);
  });

  it('finds both of an hour that comes twice, and counts a skipped time from before the jump', () => {
    const result = inZone(
      'Europe/Berlin',
      'time',
      `const of = (text, now, look) => m.iso(m.parseTime(text, '--at', { now: at(now), look }));
       return [
         of('02:30', '2026-10-25T00:00Z', 'next'), of('02:30', '2026-10-25T00:45Z', 'next'), of('02:30', '2026-10-25T01:45Z', 'next'),
         of('02:30', '2026-10-25T00:45Z', 'back'),
         of('02:30', '2026-10-25T01:45Z', 'back'),
         of('2026-10-25T02:30', '2026-10-25T00:00Z', 'next'),
         of('02:30', '2026-03-29T00:00Z', 'next'), of('2026-03-29T02:30', '2026-03-29T00:00Z', 'next'),
       ];`,
    );
    expect(result).toEqual([
      '2026-10-25T00:30:00.000Z',
      '2026-10-25T01:30:00.000Z',
      '2026-10-26T01:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-10-25T01:30:00.000Z',
      '2026-10-25T00:30:00.000Z',
      '2026-03-29T01:30:00.000Z',
      '2026-03-29T01:30:00.000Z',
    ]);
  });

  it('works in zones of half an hour, without a midnight, and with a day left out', () => {
    expect(inZone('Australia/Lord_Howe', 'time', `return m.localMoments(2026, 4, 5, 1, 45).map(m.iso);`)).toEqual([
      '2026-04-04T14:45:00.000Z',
      '2026-04-04T15:15:00.000Z',
    ]);
    expect(inZone('America/Sao_Paulo', 'time', `return m.iso(m.parseTime('2018-11-04', '--at', { now: 0, look: 'next' }));`)).toBe(
      '2018-11-04T03:00:00.000Z',
    );
    const apia = inZone(
      'Pacific/Apia',
      'time',
      `const of = (now, look) => m.iso(m.parseTime('09:00', '--at', { now: at(now), look }));
       return [of('2011-12-30T09:00Z', 'next'), of('2011-12-30T18:00Z', 'back')];`,
    );
    expect(apia).toEqual(['2011-12-30T19:00:00.000Z', '2011-12-29T19:00:00.000Z']);
  });

  it('is, for HH:MM, the nearest moment on its side at which the clock shows that time', () => {
    const date = fc.integer({ min: Date.parse('2020-01-01'), max: Date.parse('2030-01-01') });
    fc.assert(
      fc.property(date, fc.nat(23), fc.nat(59), (now, hour, minute) => {
        const text = `${String(hour).padStart(2, '0')}:${String(minute).padStart(2, '0')}`;
        const ahead = parseTime(text, '-', { now, look: 'next' });
        const behind = parseTime(text, '-', { now, look: 'back' });
        expect(ahead).toBeGreaterThanOrEqual(now);
        expect(behind).toBeLessThanOrEqual(now);
        expect(ahead - now).toBeLessThanOrEqual(26 * HOUR);
        expect(now - behind).toBeLessThanOrEqual(26 * HOUR);
      }),
    );
  });
});

describe('parseSince', () => {
  it('takes a duration as that long ago and anything else as a time in the past', () => {
    expect(parseSince('2h', '--since', NOW)).toBe(NOW - 2 * HOUR);
    expect(parseSince('90', '--since', NOW)).toBe(NOW - 90_000);
    expect(parseSince('2h ago', '--since', NOW)).toBe(NOW - 2 * HOUR);
    expect(parseSince('2026-01-31T09:00Z', '--since', NOW)).toBe(Date.parse('2026-01-31T09:00Z'));
    expect(parseSince('00:00', '--since', NOW)).toBe(parseTime('00:00', '--since', back));
  });

  it('A10: refuses anything else, naming the flag and the text', () => {
    expect(() => parseSince('-2h', '--since', NOW)).toThrow("--since: neither a duration nor a time: '-2h'");
  });
});

describe('localMoments', () => {
  it('gives exactly the moments at which the clock shows the time, all through a year with both changes', () => {
    const wrong = inZone(
      'Europe/Berlin',
      'time',
      `const wrong = [];
       for (let t = at('2026-01-01T00:00Z'); t < at('2027-01-01T00:00Z'); t += 15 * 60_000) {
         const d = new Date(t);
         const found = m.localMoments(d.getFullYear(), d.getMonth() + 1, d.getDate(), d.getHours(), d.getMinutes());
         if (!found.includes(t) || found.some((f) => new Date(f).getHours() !== d.getHours())) wrong.push(m.iso(t));
       }
       return wrong;`,
    );
    expect(wrong).toEqual([]);
  });

  it('carries fields beyond their range over', () => {
    expect(localMoments(2026, 12, 32, 0, 90)).toEqual(localMoments(2027, 1, 1, 1, 30));
  });
});
