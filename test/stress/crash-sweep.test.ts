/**
 * The crash sweep: each verb and the worker's whole cycle is killed at its 1st, 2nd, ... change of the queue, before it and after it.
 * Afterwards a worker brings everything to its end: each acknowledged task exactly once, and doctor finds nothing.
 */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import { describe, expect, it } from 'vitest';
import { dues } from '../../src/queue/find.ts';
import { dropFarm, doctor, finish, makeFarm, submit, TQ, until, whereAll, wrongs, type Farm } from './farm.ts';

/** More changes than any verb makes; the sweep ends when the verb survives. */
const MOST = 400;

interface Ran {
  code: number | null;
  killed: boolean;
  stdout: string;
}

function run(farm: Farm, args: readonly string[], fault?: string, input?: string): Ran {
  const r = spawnSync(TQ, [...args, '-D', farm.dir], {
    encoding: 'utf8',
    timeout: 60_000,
    env: { ...process.env, ...(fault === undefined ? {} : { TQ_FAULT: fault }) },
    ...(input === undefined ? {} : { input }),
  });
  return { code: r.status, killed: r.signal === 'SIGKILL', stdout: r.stdout };
}

/** When the last delayed task is due, ms. */
async function dueOf(farm: Farm): Promise<number | undefined> {
  return (await dues(farm.q)).at(-1);
}

const SUBMIT = ['--', 'true'];

/** What is prepared, the verb, and the states that the prepared tasks may end in. */
interface Case {
  name: string;
  prepare(farm: Farm): Promise<{ ids: string[]; args: string[] }>;
  ends: readonly string[];
  /** How often a task may succeed; once unless said. */
  lives?: number;
}

const submitWith = (name: string, flags: readonly string[], ends: readonly string[] = ['done']): Case => ({
  name,
  prepare: async () => ({ ids: [], args: ['submit', ...flags] }),
  ends,
});

const onOne = (
  name: string,
  args: (id: string) => string[],
  ends: readonly string[],
  make: (farm: Farm) => Promise<string> = (farm) => submit(farm, {}),
): Case => ({
  name,
  prepare: async (farm) => {
    const id = await make(farm);
    return { ids: [id], args: args(id) };
  },
  ends,
});

const ended = async (farm: Farm): Promise<string> => {
  const id = await submit(farm, {});
  finish(farm, 'before');
  return id;
};

const CASES: Case[] = [
  submitWith('submit', SUBMIT),
  submitWith('submit --key', ['--key', 'k', ...SUBMIT]),
  submitWith('submit --in', ['--in', '50ms', ...SUBMIT]),
  submitWith('submit --stdin', ['--stdin', '/etc/hostname', '--', 'cat']),
  onOne('submit --after', (id) => ['submit', '--after', id, ...SUBMIT], ['done']),
  onOne('cancel', (id) => ['cancel', id], ['done', 'canceled']),
  onOne('hold', (id) => ['hold', id], ['done', 'held']),
  onOne(
    'release',
    (id) => ['release', id],
    ['done', 'held'],
    (farm) => submit(farm, { hold: true }),
  ),
  onOne('set', (id) => ['set', id, '-p', '7', '-l', 'a=b'], ['done']),
  { ...onOne('retry', (id) => ['retry', id], ['done'], ended), lives: 2 },
];

// `--` ends the flags, so the directory stands before it.
function withDir(farm: Farm, args: readonly string[]): string[] {
  const [verb = '', ...rest] = args;
  return [verb, '-D', farm.dir, ...rest];
}

describe('I10: a verb killed at each of its changes', () => {
  for (const c of CASES) {
    it(`${c.name}: nothing lost, nothing twice`, async () => {
      let survived = 0;
      for (let n = 1; n <= MOST && survived < 2; n++) {
        survived = 0;
        for (const when of ['die-before', 'die-after']) {
          const farm = await makeFarm();
          try {
            const { ids, args } = await c.prepare(farm);
            const r = spawnSync(TQ, withDir(farm, args), {
              encoding: 'utf8',
              timeout: 60_000,
              env: { ...process.env, TQ_FAULT: `${when}:${n}` },
            });
            if (r.signal !== 'SIGKILL') survived++;
            const printed = args[0] === 'submit' ? r.stdout.split('\n').filter((line) => /^[0-9a-z]{14}$/.test(line)) : [];
            // What was submitted but never printed may be there, whole, or not at all.
            const there = [...(await whereAll(farm)).keys()];
            // A delay does not keep a worker that leaves when the queue is empty.
            if (args.includes('--in')) await until(async () => Date.now() > ((await dueOf(farm)) ?? 0), 'the delay is over');
            const last = finish(farm);
            expect(last.code, last.stderr).toBe(0);
            const all = [...new Set([...ids, ...printed, ...there])].filter(
              (id) => ids.includes(id) || printed.includes(id) || there.includes(id),
            );
            const at = await whereAll(farm);
            // A keyed submit that died before it was admitted is settled once it is older than a lease; until then it waits.
            const young = (id: string): boolean =>
              c.name === 'submit --key' && !printed.includes(id) && (at.get(id)?.[0]?.state === 'waiting' || at.get(id) === undefined);
            expect(
              await wrongs(
                farm,
                all.filter((id) => !young(id)).concat([...at.keys()].filter(young)),
                (id) => (young(id) ? ['waiting'] : c.ends),
                c.lives,
              ),
              `${when}:${n}`,
            ).toEqual([]);
            const checked = doctor(farm);
            expect(checked.code, `${when}:${n}: ${checked.text}`).toBe(0);
          } finally {
            dropFarm(farm);
          }
        }
      }
      expect(survived).toBe(2);
    }, 300_000);
  }
});

describe("I10: the worker's whole cycle killed at each of its changes", () => {
  for (const when of ['die-before', 'die-after']) {
    it(`${when}: every task ends once`, async () => {
      let n = 1;
      for (; n <= MOST; n++) {
        const farm = await makeFarm();
        try {
          const good = await submit(farm, { command: ['sh', '-c', 'echo x >> "$TQ_STATE_DIR/f"; echo 1 > "$TQ_RESULT_FILE"'] });
          const bad = await submit(farm, { command: ['false'], retries: 1 });
          const child = await submit(farm, { after: [{ id: good, kind: 'after' }] });
          const skipped = await submit(farm, { after: [{ id: bad, kind: 'after' }] });
          const keyed = await submit(farm, { key: 'k' });
          const r = run(farm, ['worker', '--name', 'w', '-j', '2', '--until-empty', '--poll', '100ms'], `${when}:${n}`);
          const last = finish(farm);
          expect(last.code, last.stderr).toBe(0);
          const expected: Record<string, string[]> = {
            [good]: ['done'],
            [bad]: ['failed'],
            [child]: ['done'],
            [skipped]: ['skipped'],
            [keyed]: ['done'],
          };
          expect(await wrongs(farm, Object.keys(expected), (id) => expected[id]!), `${when}:${n}`).toEqual([]);
          const checked = doctor(farm);
          expect(checked.code, `${when}:${n}: ${checked.text}`).toBe(0);
          if (!r.killed) break;
        } finally {
          dropFarm(farm);
        }
      }
      expect(n).toBeLessThan(MOST);
      expect(n).toBeGreaterThan(40);
    }, 600_000);
  }
});

/** Every token of the queue's limits and mutexes. */
function tokens(farm: Farm): string[] {
  return ['limits', 'mutexes'].flatMap((room) =>
    fs
      .readdirSync(`${farm.dir}/${room}`, { recursive: true, encoding: 'utf8' })
      .filter((name) => /\/\d+\.g\d+\./.test(name))
      .map((name) => `${room}/${name}`),
  );
}

describe('F9 F10: a worker whose tasks hold shares killed at each of its changes', () => {
  for (const when of ['die-before', 'die-after']) {
    it(`${when}: every task ends once, and every share comes back`, async () => {
      let n = 1;
      for (; n <= MOST; n++) {
        const farm = await makeFarm();
        try {
          expect(run(farm, ['limit', 'set', 'lic', '--max', '2', '--rate', '50/1s']).code).toBe(0);
          const ids = [
            await submit(farm, { mutex: 'm' }),
            await submit(farm, { mutex: 'm' }),
            await submit(farm, { limits: [{ name: 'lic', n: 2 }] }),
            await submit(farm, { mutex: 'm', limits: [{ name: 'lic', n: 1 }] }),
          ];
          const r = run(farm, ['worker', '--name', 'w', '-j', '2', '--until-empty', '--poll', '100ms'], `${when}:${n}`);
          const last = finish(farm);
          expect(last.code, last.stderr).toBe(0);
          expect(await wrongs(farm, ids, () => ['done']), `${when}:${n}`).toEqual([]);
          // What the dead one took for a task that it did not claim goes back when somebody needs it.
          const after = await submit(farm, { mutex: 'm', limits: [{ name: 'lic', n: 2 }] });
          finish(farm);
          expect(await wrongs(farm, [...ids, after], () => ['done']), `${when}:${n}`).toEqual([]);
          const all = tokens(farm);
          expect([all.length, all.filter((name) => !/\.(?:free|at\d+)$/.test(name))], `${when}:${n}`).toEqual([81, []]);
          const checked = doctor(farm);
          expect(checked.code, `${when}:${n}: ${checked.text}`).toBe(0);
          if (!r.killed) break;
        } finally {
          dropFarm(farm);
        }
      }
      expect(n).toBeLessThan(MOST);
      expect(n).toBeGreaterThan(40);
    }, 600_000);
  }

  it('limit set: the limit is there or not, and set again it is whole', async () => {
    let n = 1;
    for (; n <= MOST; n++) {
      const farm = await makeFarm();
      try {
        const r = run(farm, ['limit', 'set', 'lic', '--max', '17'], `die-after:${n}`);
        const id = await submit(farm, { limits: [{ name: 'lic', n: 17 }] });
        expect(run(farm, ['limit', 'set', 'lic', '--max', '17']).code).toBe(0);
        expect(finish(farm).code).toBe(0);
        expect(await wrongs(farm, [id], () => ['done']), `${n}`).toEqual([]);
        expect(tokens(farm)).toHaveLength(32);
        if (!r.killed) break;
      } finally {
        dropFarm(farm);
      }
    }
    expect(n).toBeGreaterThan(30);
  }, 600_000);
});
