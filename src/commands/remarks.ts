/**
 * What a submit says on stderr about a task that was accepted and may wait for long: it asks for more than any known worker offers, or
 * for a limit that nobody has set. Loaded only for tasks that ask for something.
 */
import type { Io } from '../print.ts';
import { readLimit } from '../queue/limits.ts';
import type { Queue } from '../queue/open.ts';
import { readWorker, workerNames, type WorkerFile } from '../queue/registry.ts';
import type { Task } from '../task/types.ts';
import { amount } from '../worker/obstacle.ts';

export async function remarkOn(q: Queue, task: Pick<Task, 'id' | 'needs' | 'limits' | 'queue'>, io: Pick<Io, 'err'>): Promise<void> {
  for (const line of await remarks(q, task).catch(() => [])) io.err(`tq: ${task.id} waits: ${line}`);
}

async function remarks(q: Queue, { needs, limits }: Pick<Task, 'needs' | 'limits'>): Promise<string[]> {
  const lines: string[] = [];
  for (const { name, n } of limits ?? []) {
    const limit = await readLimit(q, name);
    if (limit === undefined) lines.push(`there is no limit ${name} (tq limit set ${name} --max N makes it)`);
    else if (limit.max !== null && n > limit.max) lines.push(`limit ${name} has ${limit.max} shares, ${n} asked for`);
  }
  if (needs !== undefined) lines.push(...tooMuch(needs, await known(q)));
  return lines;
}

async function known(q: Queue): Promise<WorkerFile[]> {
  const files: WorkerFile[] = [];
  for (const name of await workerNames(q)) {
    const file = await readWorker(q, name);
    if (file !== undefined) files.push(file);
  }
  return files;
}

/** No word where there is no worker yet: the first one may offer anything. */
function tooMuch(needs: NonNullable<Task['needs']>, files: readonly WorkerFile[]): string[] {
  if (files.length === 0) return [];
  const lines: string[] = [];
  for (const [what, asked] of Object.entries(needs)) {
    const most = Math.max(...files.map((f) => f.offers[what] ?? 0));
    if (asked !== undefined && asked > most) {
      lines.push(`no known worker offers ${amount(what, asked)}, the most on offer is ${amount(what, most)}`);
    }
  }
  return lines;
}
