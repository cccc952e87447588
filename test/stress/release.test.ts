/** Children that are submitted in the moment in which their parents end: each of them runs, after its parent. */
import { expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { makeFarm, until } from '../helpers/tq.ts';

const ROUNDS = 200;

it(`H1: ${ROUNDS} children submitted while their parents finish and workers are killed: none is forgotten`, async () => {
  const farm = await makeFarm();
  const workers = [await farm.worker(['--name', 'w0', '-j', '2']), await farm.worker(['--name', 'w1', '-j', '2'])];
  const parents = new Map<string, string>();
  for (let i = 0; i < ROUNDS; i++) {
    const parent = await farm.submit('--', 'true');
    // Sometimes before it is claimed, sometimes after it has ended, mostly in between.
    await new Promise((resolve) => setTimeout(resolve, (i % 8) * 2));
    parents.set(await farm.submit('--after', parent, '--', 'true'), parent);
    if (i % 50 === 49) {
      const n = Math.floor(i / 50) % 2;
      workers[n]!.signal('SIGKILL');
      await workers[n]!.ended;
      workers[n] = await farm.worker(['--name', `w${n}`, '-j', '2']);
    }
  }
  await until(
    async () => Number(await farm.ok(['ls', '-s', 'done', '--count'])) === 2 * ROUNDS,
    () => 'all are done',
  );
  const tasks = new Map(
    (JSON.parse(await farm.ok(['ls', '-a', '--limit', '1000', '--json'])) as TaskView[]).map((task) => [task.id, task]),
  );
  expect(tasks.size).toBe(2 * ROUNDS);
  for (const [child, parent] of parents)
    expect(Date.parse(tasks.get(child)!.startedAt!)).toBeGreaterThanOrEqual(Date.parse(tasks.get(parent)!.endedAt!) - 20);
  await Promise.all(workers.map((w) => w.stop()));
  const doctor = await farm.tq(['doctor']);
  expect(doctor.code, doctor.stdout).toBe(0);
});
