/** The same source on Node, through the launcher that npm installs. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, it } from 'vitest';
import { makeFarm } from '../helpers/tq.ts';

const LAUNCHER = fileURLToPath(new URL('../../bin/tq.js', import.meta.url));

it('M11: on Node a task is submitted, run and recorded as by the binary', async () => {
  const farm = await makeFarm();
  const tq = (...args: string[]): { status: number | null; stdout: string; stderr: string } =>
    spawnSync(process.execPath, [LAUNCHER, ...args], {
      encoding: 'utf8',
      cwd: farm.dir,
      env: { PATH: process.env['PATH'], HOME: path.join(farm.dir, 'home'), TQ_DIR: farm.queue },
    });
  expect(tq('--version').stdout).toBe(await farm.ok(['--version']));
  const id = tq('submit', '--', 'sh', '-c', 'echo $TQ_TASK_ID; "$TQ" result 5; sleep 0.2').stdout.trim();
  const bad = tq('submit', '--retries', '1', '--backoff', 'none', '--', 'false').stdout.trim();
  const worker = tq('worker', '--name', 'n1', '--until-empty', '--poll', '50ms');
  expect(worker.status, worker.stderr).toBe(0);
  expect(worker.stdout).toBe('n1\n');
  expect(tq('logs', id).stdout).toBe(`${id}\n`);
  const task = JSON.parse(tq('show', '--json', id).stdout) as {
    state: string;
    result: unknown;
    attempts: Array<{ maxRssKb: number | null }>;
  };
  expect(task).toMatchObject({ state: 'done', result: 5 });
  expect(task.attempts[0]!.maxRssKb).toBeGreaterThan(0);
  expect((await farm.show(bad)).attempts.map((a) => a.outcome)).toEqual(['failed', 'failed']);
  expect(fs.readdirSync(path.join(farm.queue, 'running'))).toEqual([]);
});
