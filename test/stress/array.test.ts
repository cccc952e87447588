/** Workers killed at random while they run the elements of one large array: each element ends once, and none is run after its end. */
import { expect, it } from 'vitest';
import { spawnSync, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { readArray } from '../../src/queue/array.ts';
import { parseJournal } from '../../src/queue/pieces.ts';
import { doctor, dropFarm, finish, makeFarm, rememberSessions, startWorker, strays, TQ, until, type Farm } from './farm.ts';

const WORKERS = 4;
const ELEMENTS = Number(process.env['TQ_ARRAY_ELEMENTS'] ?? 20_000);
/** Workers are killed until the array has ended, or for so long. */
const SECONDS = Number(process.env['TQ_ARRAY_SECONDS'] ?? 30);
const KILL_EVERY_MS = 300;

/** Every end that was written down: `<number> <time>` of each. What a journal took over from another is the same end. */
function ends(farm: Farm, id: string): Map<number, Set<string>> {
  const found = new Map<number, Set<string>>();
  const note = (n: number, how: string): void => void (found.get(n) ?? found.set(n, new Set()).get(n)!).add(how);
  for (const e of fs.readdirSync(path.join(farm.dir, 'runs'), { recursive: true, withFileTypes: true })) {
    if (!e.name.startsWith(`${id}.`)) continue;
    const text = (): string => fs.readFileSync(path.join(e.parentPath, e.name), 'utf8');
    if (e.name.endsWith('.ndjson')) {
      for (const line of parseJournal(text()).ended.values())
        if (line.outcome === 'succeeded') note(line.n, `${line.startedAt} ${line.pid}`);
    } else if (/\.a\d+\.json$/.test(e.name)) {
      const o = JSON.parse(text()) as { id: string; outcome: string; startedAt: number; pid: number };
      if (o.outcome === 'succeeded') note(Number(o.id.slice(id.length + 1)), `${o.startedAt} ${o.pid}`);
    }
  }
  return found;
}

it(`I17: ${ELEMENTS} elements on ${WORKERS} workers, one killed every ${KILL_EVERY_MS} ms: each done once, none run after its end`, async () => {
  const farm = await makeFarm();
  const workers: ChildProcess[] = [];
  try {
    const runs = path.join(farm.marks, 'runs');
    const made = spawnSync(
      TQ,
      ['submit', '-D', farm.dir, '--array', `1-${ELEMENTS}`, '--env', `RUNS=${runs}`, '--', 'sh', '-c', 'echo $TQ_INDEX >> $RUNS'],
      {
        encoding: 'utf8',
      },
    );
    expect(made.stderr).toBe('');
    const id = made.stdout.trim();
    const start = (i: number): ChildProcess => startWorker(farm, `w${i}`, ['-j', '2', '--poll', '200ms']);
    for (let i = 0; i < WORKERS; i++) workers.push(start(i));
    const end = Date.now() + SECONDS * 1000;
    let kills = 0;
    while (Date.now() < end && (await readArray(farm.q, id))?.state !== 'done') {
      await new Promise((resolve) => setTimeout(resolve, KILL_EVERY_MS));
      rememberSessions(farm);
      const i = Math.floor(Math.random() * WORKERS);
      workers[i]!.kill('SIGKILL');
      await until(() => workers[i]!.exitCode !== null || workers[i]!.signalCode !== null, 'a killed worker is gone');
      workers[i] = start(i);
      kills++;
    }
    for (const w of workers) w.kill('SIGTERM');
    await until(() => workers.every((w) => w.exitCode !== null || w.signalCode !== null), 'every worker leaves', 60_000);
    const last = finish(farm, 'last', 240_000);
    expect(last.code, last.stderr).toBe(0);
    const array = await readArray(farm.q, id);
    expect({ state: array?.state, counts: array?.counts, isWhole: array?.isWhole }).toEqual({
      state: 'done',
      counts: { done: ELEMENTS },
      isWhole: true,
    });
    const found = ends(farm, id);
    expect(found.size).toBe(ELEMENTS);
    expect([...found].filter(([, how]) => how.size !== 1).map(([n, how]) => `${n}: ${[...how].join(', ')}`)).toEqual([]);
    expect(new Set(fs.readFileSync(runs, 'utf8').trim().split('\n')).size).toBe(ELEMENTS);
    expect(fs.readdirSync(path.join(farm.dir, 'running'))).toEqual([]);
    expect(fs.readdirSync(path.join(farm.dir, 'quarantine'))).toEqual([]);
    expect(strays(farm)).toEqual([]);
    expect(doctor(farm)).toMatchObject({ code: 0 });
    expect(kills).toBeGreaterThan(5);
  } finally {
    for (const w of workers) w.kill('SIGKILL');
    dropFarm(farm);
  }
}, 600_000);
