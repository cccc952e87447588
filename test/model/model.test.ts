/**
 * The protocol's rules hold in every interleaving that the quick runs of the model reach, and each rule that is left out is missed:
 * the run without it shows what goes wrong.
 */
import { describe, expect, it } from 'vitest';
import { explore, sample, traceOf, type Found, type Result, type Scenario, type World } from './engine.ts';
import { SUITE, type Run } from './suite.ts';

function search(run: Run): Result {
  if (run.samples !== undefined) return sample(run.scenario, { runs: run.samples });
  return explore(run.scenario, run.shows === undefined ? {} : { until: run.shows });
}

/** Kind and trace of each violation: what a failing test prints. */
function told(run: Run, violations: ReadonlyMap<string, Found>): string[] {
  return [...violations].map(([kind, found]) => [kind, ...traceOf(run.scenario, found)].join('\n  '));
}

describe('the checker itself', () => {
  /** Two processes that each look whether a file is there, and then rename theirs to it. */
  const racing: Scenario<null> = {
    dirs: ['d'],
    files: [
      ['d/a', ''],
      ['d/b', ''],
    ],
    notes: null,
    processes: ['a', 'b'].map((name) => ({
      name,
      *run() {
        const { names } = yield { op: 'list', path: 'd' };
        if (names?.includes('c') !== true) yield { op: 'rename', path: `d/${name}`, to: 'd/c' };
      },
    })),
    tell() {},
    finish() {},
  };

  it('finds the interleaving of two processes in which a look is out of date, by a shortest trace', () => {
    const { violations } = explore(racing);
    expect([...violations.keys()]).toEqual(['OVERWRITE']);
    expect(violations.get('OVERWRITE')!.path.map((step) => step.process)).toEqual([0, 1, 0, 1]);
  });

  it('counts every reachable state once', () => {
    // Each of the two has looked or not, and has renamed or not: what remains after the trace above is cut off by it.
    const r = explore({ ...racing, processes: racing.processes.slice(0, 1) });
    expect([r.states, r.edges, r.ends, r.complete]).toEqual([3, 2, 1, true]);
  });

  it('says that a search was cut when it was', () => {
    expect(explore(racing, { states: 2 }).complete).toBe(false);
  });

  it('gives the same random runs for the same seed', () => {
    const path = (seed: number): unknown => sample(racing, { runs: 20, seed }).violations.get('OVERWRITE');
    expect(path(3)).toEqual(path(3));
  });

  it('leaves a state as it was when it goes on from it', () => {
    const before = new Map<World<null>, number>();
    const watched: Scenario<null> = {
      ...racing,
      check(world) {
        for (const [other, key] of before) expect(other === world ? key : other.key()).toBe(key);
        before.set(world, world.key());
      },
    };
    explore(watched, { until: 'OVERWRITE' });
    expect(before.size).toBeGreaterThan(2);
  });
});

const quick = SUITE.filter((run) => run.quick);

describe('the rules of the protocol', () => {
  it.each(quick.filter((run) => run.shows === undefined))('are never broken: $name', (run) => {
    const r = search(run);
    expect(told(run, r.violations)).toEqual([]);
    expect(r.complete || run.samples !== undefined).toBe(true);
  });
});

describe('a rule that is left out', () => {
  it.each(quick.filter((run) => run.shows !== undefined))('is missed: $name: $shows', (run) => {
    expect([...search(run).violations.keys()]).toContain(run.shows);
  });
});
