/**
 * Children that are submitted in the moment in which their parents end, while workers and submits are killed: each that is there runs
 * after its parent and succeeds once. And a parent with very many children, which are all let go.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { everything } from '../../src/queue/find.ts';
import { readTaskAt } from '../../src/queue/outcome.ts';
import { STATES } from '../../src/task/types.ts';
import {
  doctor,
  dropFarm,
  finish,
  makeFarm,
  outcomesOf,
  rememberSessions,
  startWorker,
  strays,
  TQ,
  until,
  wrongs,
  type Farm,
} from './farm.ts';

const ROUNDS = Number(process.env['TQ_RELEASE_ROUNDS'] ?? 1000);
/** Rounds that go on side by side. */
const ABREAST = 8;
const WORKERS = 2;
const KILL_EVERY_MS = 400;
/** One submit of so many is killed. */
const KILLED_OF = 3;
/** A hundred thousand are released by `npm run bench -- release`. */
const DEPENDANTS = Number(process.env['TQ_DEPENDANTS'] ?? 20_000);
const MEMORY_KB = 150 * 1024;

/** How far the file server's stamps lag behind, ms. */
const TICK_MS = 20;

interface Submitted {
  /** Undefined: it was killed before it said anything. */
  id: string | undefined;
  killed: boolean;
}

/** Submits; kills the process after so long if it still runs then. */
function submit(farm: Farm, args: readonly string[], killAfterMs?: number): Promise<Submitted> {
  return new Promise((resolve, reject) => {
    const child = spawn(TQ, ['submit', '-D', farm.dir, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
    let [stdout, stderr] = ['', ''];
    child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
    child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
    const timer = killAfterMs === undefined ? undefined : setTimeout(() => child.kill('SIGKILL'), killAfterMs);
    child.on('error', reject);
    child.on('close', (code, signal) => {
      clearTimeout(timer);
      const id = /^([0-9a-z]+)\n$/.exec(stdout)?.[1];
      if (signal === null && (code !== 0 || id === undefined)) reject(new Error(`submit: ${code} ${stdout} ${stderr}`));
      else resolve({ id, killed: signal !== null });
    });
  });
}

const sleep = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

it(`H17: ${ROUNDS} children submitted while their parents end, workers and submits killed: each that is there runs after its parent and succeeds once`, async () => {
  const farm = await makeFarm();
  const workers: ChildProcess[] = [];
  const start = (i: number): ChildProcess => startWorker(farm, `w${i}`, ['-j', '4', '--poll', '100ms']);
  try {
    for (let i = 0; i < WORKERS; i++) workers.push(start(i));
    const parents: string[] = [];
    /** The children whose ids were printed, by their parents. */
    const printed = new Map<string, string>();
    let [begun, killedSubmits, kills] = [0, 0, 0];
    const over = new AbortController();

    const rounds = async (): Promise<void> => {
      while (begun < ROUNDS) {
        const round = begun++;
        const parent = (await submit(farm, ['--', 'sh', '-c', `: > "${farm.marks}/$TQ_TASK_ID"`])).id!;
        parents.push(parent);
        // Sometimes before it is claimed, sometimes after it has ended, mostly in between.
        await sleep((round % 8) * 2);
        const child = await submit(
          farm,
          // It fails where its parent has not run.
          ['--after', parent, '--', 'sh', '-c', `[ -e "${farm.marks}/${parent}" ] && echo $TQ_ATTEMPT >> "${farm.marks}/${parent}.ran"`],
          round % KILLED_OF === 0 ? Math.random() * 20 : undefined,
        );
        if (child.killed) killedSubmits++;
        if (child.id !== undefined) printed.set(parent, child.id);
      }
    };
    const killer = async (): Promise<void> => {
      for (let i = 0; !over.signal.aborted; i = (i + 1) % WORKERS) {
        await sleep(KILL_EVERY_MS);
        rememberSessions(farm);
        workers[i]!.kill('SIGKILL');
        await until(() => workers[i]!.signalCode !== null || workers[i]!.exitCode !== null, 'a killed worker is gone');
        workers[i] = start(i);
        kills++;
      }
    };
    const killing = killer();
    await Promise.all(Array.from({ length: ABREAST }, rounds));
    over.abort();
    await killing;
    for (const w of workers) w.kill('SIGTERM');
    await until(() => workers.every((w) => w.exitCode !== null || w.signalCode !== null), 'every worker leaves', 60_000);
    const last = finish(farm);
    expect(last.code, last.stderr).toBe(0);

    // What a killed submit left is there in full or not at all.
    const children = new Map<string, string>();
    for await (const at of everything(farm.q, STATES)) {
      const task = await readTaskAt(farm.q, at.file, at.id);
      const parent = task?.after?.[0]?.id;
      if (parent !== undefined) children.set(parent, at.id);
    }
    for (const [parent, child] of printed) expect(children.get(parent)).toBe(child);
    expect(await wrongs(farm, [...parents, ...children.values()], () => ['done'])).toEqual([]);
    expect(parents.length).toBe(ROUNDS);
    expect(children.size).toBeGreaterThanOrEqual(ROUNDS - killedSubmits);

    const bad: string[] = [];
    for (const [parent, child] of children) {
      const before = (await outcomesOf(farm, parent)).find((o) => o.outcome === 'succeeded')!;
      const attempts = (await outcomesOf(farm, child)).filter((o) => o.started);
      for (const [i, o] of attempts.entries()) {
        const since = i === 0 ? before.endedAt : attempts[i - 1]!.endedAt;
        if (o.startedAt! < since - TICK_MS)
          bad.push(`${child}.a${o.attempt} began before ${i === 0 ? parent : 'the attempt before it'} had ended`);
      }
      const ran = fs
        .readFileSync(path.join(farm.marks, `${parent}.ran`), 'utf8')
        .trim()
        .split('\n');
      if (new Set(ran).size !== ran.length || ran.length > attempts.length) bad.push(`${child} ran as ${ran.join(' ')}`);
    }
    expect(bad).toEqual([]);
    expect(strays(farm)).toEqual([]);
    expect(doctor(farm)).toMatchObject({ code: 0 });
    expect(kills).toBeGreaterThan(3);
    expect(killedSubmits).toBeGreaterThan(ROUNDS / 100);
  } finally {
    for (const w of workers) w.kill('SIGKILL');
    dropFarm(farm);
  }
}, 600_000);

it(`H9: ${ROUNDS} pairs whose members end at the same instant: each pair's join runs once`, async () => {
  const farm = await makeFarm();
  const workers: ChildProcess[] = [];
  try {
    // Whoever comes first waits for the other; both leave at once.
    const member = 'cd "$MARKS" && if mkdir "$PAIR" 2> /dev/null; then while [ ! -e "$PAIR/go" ]; do :; done; else : > "$PAIR/go"; fi';
    const tasks = Array.from({ length: ROUNDS }, (_, i) => [
      { id: `a${i}`, command: member, env: { PAIR: String(i), MARKS: farm.marks } },
      { id: `b${i}`, command: member, env: { PAIR: String(i), MARKS: farm.marks } },
      { id: `j${i}`, after: [`a${i}`, `b${i}`], command: 'echo >> "$MARKS/$PAIR/joined"', env: { PAIR: String(i), MARKS: farm.marks } },
    ]).flat();
    const flow = path.join(farm.base, 'flow.json');
    fs.writeFileSync(flow, JSON.stringify({ tasks }));
    const { id } = await submit(farm, ['-f', flow]);
    for (let i = 0; i < WORKERS; i++) workers.push(startWorker(farm, `w${i}`, ['-j', '4', '--poll', '100ms', '--until-empty']));
    await until(() => workers.every((w) => w.exitCode !== null || w.signalCode !== null), 'every worker leaves', 300_000);
    expect(finish(farm).code).toBe(0);
    const ids = tasks.map((_, i) => `${id}.${i + 1}`);
    expect(await wrongs(farm, ids, () => ['done'])).toEqual([]);
    const joined = Array.from({ length: ROUNDS }, (_, i) => fs.readFileSync(path.join(farm.marks, String(i), 'joined'), 'utf8'));
    expect(joined.filter((text) => text !== '\n')).toEqual([]);
  } finally {
    for (const w of workers) w.kill('SIGKILL');
    dropFarm(farm);
  }
}, 600_000);

it(`H17: ${DEPENDANTS} dependants of one parent are all released, and the worker that does it stays small`, async () => {
  const farm = await makeFarm();
  try {
    const count = (state: string): number =>
      Number(spawnSync(TQ, ['ls', '-D', farm.dir, '-s', state, '--count'], { encoding: 'utf8' }).stdout);
    const parent = (await submit(farm, ['--', 'true'])).id!;
    const line = `${JSON.stringify({ command: ['true'], after: [parent] })}\n`;
    const made = spawnSync(TQ, ['submit', '-D', farm.dir, '--batch', '-'], {
      input: line.repeat(DEPENDANTS),
      encoding: 'utf8',
      maxBuffer: 1 << 30,
    });
    expect(made.stderr).toBe('');
    expect(made.stdout.split('\n').length - 1).toBe(DEPENDANTS);
    expect({ waiting: count('waiting'), queued: count('queued') }).toEqual({ waiting: DEPENDANTS, queued: 1 });

    // It runs the parent and nothing else, and leaves when that has let them all go.
    const worker = startWorker(farm, 'w', ['--max-tasks', '1', '--poll', '50ms']);
    let peakKb = 0;
    await until(
      () => {
        peakKb = Math.max(peakKb, peakOf(worker.pid!));
        return worker.exitCode !== null || worker.signalCode !== null;
      },
      'the worker leaves',
      300_000,
    );
    expect(worker.exitCode, fs.readFileSync(path.join(farm.base, 'w.err'), 'utf8')).toBe(0);
    expect({ waiting: count('waiting'), queued: count('queued'), done: count('done') }).toEqual({
      waiting: 0,
      queued: DEPENDANTS,
      done: 1,
    });
    if (process.platform === 'linux') expect(peakKb).toBeGreaterThan(0);
    expect(peakKb).toBeLessThan(MEMORY_KB);
  } finally {
    dropFarm(farm);
  }
}, 600_000);

/** The most memory that a process has had, KiB; 0 where that is not told. */
function peakOf(pid: number): number {
  try {
    return Number(/VmHWM:\s*(\d+)/.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
