/** Workers killed at random while they run tasks: nothing overlaps, nothing is lost, no process stays. */
import { expect, it } from 'vitest';
import type { ChildProcess } from 'node:child_process';
import { doctor, dropFarm, fencedCommand, finish, makeFarm, rememberSessions, startWorker, strays, submit, until, wrongs } from './farm.ts';

const WORKERS = 8;
const TASKS = Number(process.env['TQ_SOAK_TASKS'] ?? 2000);
const SECONDS = Number(process.env['TQ_SOAK_SECONDS'] ?? 30);
const KILL_EVERY_MS = 200;

it(`I17 B1: ${TASKS} tasks on ${WORKERS} workers, one killed every ${KILL_EVERY_MS} ms for ${SECONDS} s: each done once, no two attempts at once`, async () => {
  const farm = await makeFarm();
  const workers: ChildProcess[] = [];
  try {
    const ids: string[] = [];
    for (let i = 0; i < TASKS; i++) ids.push(await submit(farm, { command: fencedCommand(farm, (0.005 + (i % 10) * 0.02).toFixed(3)) }));
    for (let i = 0; i < WORKERS; i++) workers.push(startWorker(farm, `w${i}`, ['-j', '2', '--poll', '200ms']));
    const end = Date.now() + SECONDS * 1000;
    let kills = 0;
    while (Date.now() < end) {
      await new Promise((resolve) => setTimeout(resolve, KILL_EVERY_MS));
      rememberSessions(farm);
      const i = Math.floor(Math.random() * WORKERS);
      workers[i]!.kill('SIGKILL');
      await until(() => workers[i]!.exitCode !== null || workers[i]!.signalCode !== null, 'a killed worker is gone');
      workers[i] = startWorker(farm, `w${i}`, ['-j', '2', '--poll', '200ms']);
      kills++;
    }
    for (const w of workers) w.kill('SIGTERM');
    await until(() => workers.every((w) => w.exitCode !== null || w.signalCode !== null), 'every worker leaves', 60_000);
    const last = finish(farm, 'last', 240_000);
    expect(last.code, last.stderr).toBe(0);
    expect(await wrongs(farm, ids, () => ['done'])).toEqual([]);
    expect(strays(farm)).toEqual([]);
    expect(doctor(farm)).toMatchObject({ code: 0 });
    expect(kills).toBeGreaterThan((SECONDS * 1000) / KILL_EVERY_MS / 10);
  } finally {
    for (const w of workers) w.kill('SIGKILL');
    dropFarm(farm);
  }
}, 600_000);
