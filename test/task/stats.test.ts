/** Percentiles, gaps between tasks, what failures have in common, and the text format of Prometheus. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { bounded, gapsOf, normalised, promText, spread } from '../../src/task/stats.ts';

describe('spread', () => {
  it('has the nearest-rank percentiles', () => {
    expect(spread([])).toEqual({ count: 0, p50: null, p90: null, p99: null, max: null, mean: null });
    expect(spread([5])).toEqual({ count: 1, p50: 5, p90: 5, p99: 5, max: 5, mean: 5 });
    const hundred = Array.from({ length: 100 }, (_, i) => 100 - i);
    expect(spread(hundred)).toEqual({ count: 100, p50: 50, p90: 90, p99: 99, max: 100, mean: 50.5 });
  });
});

describe('gapsOf', () => {
  it('counts what a slot stood empty while the next task could have run', () => {
    const ready = { readyAt: 0 };
    expect(
      gapsOf([
        { ...ready, from: 0, to: 10 },
        { ...ready, from: 12, to: 20 },
        { ...ready, from: 23, to: 30 },
      ]),
    ).toEqual([2, 3]);
    // The second came only later.
    expect(
      gapsOf([
        { readyAt: 0, from: 0, to: 10 },
        { readyAt: 50, from: 51, to: 60 },
      ]),
    ).toEqual([]);
    // Two slots at once: each one's next.
    expect(
      gapsOf([
        { ...ready, from: 0, to: 10 },
        { ...ready, from: 0, to: 30 },
        { ...ready, from: 11, to: 20 },
        { ...ready, from: 31, to: 40 },
      ]),
    ).toEqual([1, 1]);
  });

  it('is never negative, and there are fewer gaps than attempts', () => {
    const spans = fc.array(fc.record({ readyAt: fc.nat(100), from: fc.nat(1000), ms: fc.nat(100) }), { maxLength: 40 });
    fc.assert(
      fc.property(spans, (all) => {
        const gaps = gapsOf(all.map(({ readyAt, from, ms }) => ({ readyAt: Math.min(readyAt, from), from, to: from + ms })));
        expect(gaps.every((gap) => gap >= 0)).toBe(true);
        expect(gaps.length).toBeLessThan(Math.max(1, all.length));
      }),
    );
  });
});

describe('normalised', () => {
  it.each([
    ['cannot read block 17 at 0x7f3a', 'cannot read block N at N'],
    ['run 3b1f0c2a-9d1e-4c7b-8a55-0123456789ab failed after 1.5 s', 'run N failed after N s'],
    ['commit deadbee1 not found', 'commit N not found'],
    ['exit code 3', 'exit code N'],
    ['no  such\tfile', 'no such file'],
  ])('%s', (line, common) => {
    expect(normalised(line)).toBe(common);
  });
});

describe('promText', () => {
  it('escapes labels and help', () => {
    const samples = [{ labels: { name: 'a"b\\c\nd\u0007' }, value: 1.5 }];
    expect(promText([{ name: 'tq_x', help: 'back\\slash\nand', type: 'gauge', samples }])).toBe(
      '# HELP tq_x back\\\\slash\\nand\n# TYPE tq_x gauge\ntq_x{name="a\\"b\\\\c\\nd "} 1.5\n',
    );
  });
});

describe('bounded', () => {
  it('keeps the largest and puts the rest together, also with one that is called so', () => {
    const groups = new Map([
      ['a', 1],
      ['other', 5],
      ['b', 3],
      ['c', 2],
    ]);
    const kept = bounded(
      groups,
      2,
      (n) => n,
      (into = 0, n) => into + n,
    );
    expect([...kept]).toEqual([
      ['other', 8],
      ['b', 3],
    ]);
  });
});
