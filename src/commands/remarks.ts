/**
 * What a submit says on stderr about a task that was accepted and may wait for long: it asks for more than any known worker offers, or
 * for a limit that nobody has set. Loaded only for tasks that ask for something.
 */
import type { Io } from '../print.ts';
import { readLimit } from '../queue/limits.ts';
import type { Queue } from '../queue/open.ts';
import { readWorker, workerNames } from '../queue/registry.ts';
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
  if (needs !== undefined) lines.push(...(await tooMuch(q, needs)));
  return lines;
}

/** No word where there is no worker yet: the first one may offer anything. Reads no more workers than it takes to find the offer. */
async function tooMuch(q: Queue, needs: NonNullable<Task['needs']>): Promise<string[]> {
  const most = new Map<string, number>();
  let known = 0;
  const short = (): Array<[string, number]> =>
    Object.entries(needs).flatMap(([what, asked]) => (asked === undefined || asked <= (most.get(what) ?? 0) ? [] : [[what, asked]]));
  for (const name of await workerNames(q)) {
    const file = await readWorker(q, name);
    if (file === undefined) continue;
    known++;
    for (const [what, n] of Object.entries(file.offers)) most.set(what, Math.max(n, most.get(what) ?? 0));
    if (short().length === 0) break;
  }
  if (known === 0) return [];
  return short().map(
    ([what, asked]) => `no known worker offers ${amount(what, asked)}, the most on offer is ${amount(what, most.get(what) ?? 0)}`,
  );
}
