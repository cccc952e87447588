/**
 * A farm for stress tests: a queue in a temp directory, tasks submitted in bulk through the queue layer, worker processes of the
 * built binary that are killed and replaced, and the checks that hold in the end whatever was killed.
 */
import { spawn, spawnSync, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { everything } from '../../src/queue/find.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import { STATES, type Outcome } from '../../src/task/types.ts';
import { leftovers } from '../../src/worker/proc.ts';

export const TQ = path.resolve(import.meta.dirname, '../../dist/tq');

export interface Farm {
  base: string;
  dir: string;
  q: Queue;
  /** Directory for the tasks' own marks. */
  marks: string;
  /** Sessions that were ever seen, to look for what they left. */
  sessions: Set<string>;
}

export async function makeFarm(leaseMs: number | null = null): Promise<Farm> {
  const base = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-farm-'));
  const dir = path.join(base, 'q');
  await initQueue(dir, { shared: false, leaseMs });
  const marks = path.join(base, 'marks');
  fs.mkdirSync(marks);
  return { base, dir, q: await openQueue(dir), marks, sessions: new Set() };
}

export function dropFarm(farm: Farm): void {
  fs.rmSync(farm.base, { recursive: true, force: true });
}

export function draft(farm: Farm, fields: Partial<TaskDraft>): TaskDraft {
  return {
    queue: 'default',
    priority: 0,
    command: ['true'],
    cwd: farm.base,
    env: { PATH: process.env['PATH'] ?? '/usr/bin:/bin' },
    envMode: 'min',
    submittedBy: { user: 'test', host: 'test' },
    submitDir: farm.base,
    retries: 0,
    backoff: { kind: 'none' },
    jitter: false,
    graceMs: 1000,
    onLost: 'requeue',
    split: false,
    ...fields,
  };
}

export async function submit(farm: Farm, fields: Partial<TaskDraft>): Promise<string> {
  return (await submitTask(farm.q, draft(farm, fields))).id;
}

/**
 * A command that proves that no two attempts of its task overlap: it holds a lock of the kernel, which ends with the last process
 * that has it, and leaves a mark if the lock was taken. Writes start and stop stamps.
 */
export function fencedCommand(farm: Farm, seconds: string): string[] {
  const inner = `echo "start $TQ_ATTEMPT $(date +%s%N)" >> "${farm.marks}/$TQ_TASK_ID.stamps"; sleep ${seconds}; echo "stop $TQ_ATTEMPT $(date +%s%N)" >> "${farm.marks}/$TQ_TASK_ID.stamps"`;
  return [
    'sh',
    '-c',
    `flock -n -E 99 "${farm.marks}/$TQ_TASK_ID.lock" sh -c '${inner}'; c=$?; [ $c -ne 99 ] || : > "${farm.marks}/$TQ_TASK_ID.overlap"; exit $c`,
  ];
}

export function startWorker(farm: Farm, name: string, args: readonly string[] = [], env: Record<string, string> = {}): ChildProcess {
  return spawn(TQ, ['worker', '-D', farm.dir, '--name', name, ...args], {
    stdio: ['ignore', 'ignore', fs.openSync(path.join(farm.base, `${name}.err`), 'a')],
    env: { ...process.env, ...env },
  });
}

/** Runs a worker until the queue is empty. */
export function finish(farm: Farm, name = 'last', timeoutMs = 60_000): { code: number | null; stderr: string } {
  const r = spawnSync(TQ, ['worker', '-D', farm.dir, '-j', '8', '--name', name, '--until-empty', '--poll', '100ms'], {
    encoding: 'utf8',
    timeout: timeoutMs,
  });
  return { code: r.status, stderr: r.stderr };
}

export function rememberSessions(farm: Farm): void {
  for (const session of fs.readdirSync(path.join(farm.dir, 'running'))) farm.sessions.add(session);
}

/** Every entry of the queue by id: state and attempt number, one line each. */
export async function whereAll(farm: Farm): Promise<Map<string, Array<{ state: string; n: number }>>> {
  const found = new Map<string, Array<{ state: string; n: number }>>();
  for await (const at of everything(farm.q, STATES)) {
    const list = found.get(at.id) ?? [];
    list.push({ state: at.state, n: at.n });
    found.set(at.id, list);
  }
  return found;
}

export async function outcomesOf(farm: Farm, id: string): Promise<Outcome[]> {
  const dir = farm.q.lay.runs(id);
  const found: Outcome[] = [];
  for (const name of fs.readdirSync(dir)) {
    if (name.startsWith(`${id}.a`) && /\.a\d+\.json$/.test(name))
      found.push(JSON.parse(fs.readFileSync(path.join(dir, name), 'utf8')) as Outcome);
  }
  return found.toSorted((a, b) => a.attempt - b.attempt);
}

/** Everything that must hold of finished tasks that may have begun so many lives; returns what does not. */
export async function wrongs(
  farm: Farm,
  ids: readonly string[],
  expected: (id: string) => readonly string[],
  lives = 1,
): Promise<string[]> {
  const bad: string[] = [];
  const where = await whereAll(farm);
  for (const id of ids) {
    const entries = where.get(id) ?? [];
    if (entries.length !== 1) {
      bad.push(`${id} has ${entries.length} entries: ${JSON.stringify(entries)}`);
      continue;
    }
    const at = entries[0]!;
    if (!expected(id).includes(at.state)) bad.push(`${id} is ${at.state}, expected ${expected(id).join(' or ')}`);
    if (at.state === 'done') {
      const good = (await outcomesOf(farm, id)).filter((o) => o.outcome === 'succeeded');
      if (good.length < 1 || good.length > lives) bad.push(`${id} succeeded ${good.length} times`);
      else if (good.at(-1)!.attempt !== at.n) bad.push(`${id} is done at attempt ${at.n}, but attempt ${good.at(-1)!.attempt} succeeded`);
    }
  }
  for (const id of where.keys()) if (!ids.includes(id)) bad.push(`${id} was never submitted`);
  for (const name of fs.readdirSync(farm.marks)) if (name.endsWith('.overlap')) bad.push(`two attempts of ${name.slice(0, -8)} overlapped`);
  const running = fs.readdirSync(path.join(farm.dir, 'running'));
  if (running.length > 0) bad.push(`running/ still has ${running.join(' ')}`);
  const aside = fs.readdirSync(path.join(farm.dir, 'quarantine'));
  if (aside.length > 0) bad.push(`quarantine/ has ${aside.join(' ')}`);
  return bad;
}

/** Processes that sessions of this farm left behind. */
export function strays(farm: Farm): number[] {
  return [...farm.sessions].flatMap((session) => leftovers(session));
}

export async function until(condition: () => boolean | Promise<boolean>, what: string, timeoutMs = 30_000): Promise<void> {
  const end = Date.now() + timeoutMs;
  while (!(await condition())) {
    if (Date.now() > end) throw new Error(`never came true: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** `tq doctor` must find nothing wrong. */
export function doctor(farm: Farm): { code: number | null; text: string } {
  const r = spawnSync(TQ, ['doctor', '-D', farm.dir], { encoding: 'utf8' });
  return { code: r.status, text: `${r.stdout}${r.stderr}` };
}
