/** `$TQ_STATE_DIR`: there for each attempt, empty for the first one, kept when something is in it, and nothing is left over. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import type { FaultHook } from '../../src/queue/fsx.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { closeStateDir, dropStateDirs, openStateDir } from '../../src/worker/state-dir.ts';

async function queue(options: { fault?: FaultHook; shared?: boolean } = {}): Promise<Queue> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-state-'));
  onTestFinished(() => fs.rmSync(home, { recursive: true, force: true }));
  await initQueue(`${home}/q`, { shared: options.shared ?? false, leaseMs: null }, { network: false });
  return openQueue(`${home}/q`, { network: false, fault: options.fault ?? (() => undefined) });
}

const IDS = ['6d39o5h8zf9c15', '6d39o5heosk88a'] as const;
const states = (q: Queue): string[] => fs.readdirSync(`${q.dir}/state`);

it('B15: one that stayed empty is handed on to the next task, and is gone when the worker leaves', async () => {
  const q = await queue();
  const [a, b] = IDS.map((id) => q.lay.state(id)) as [string, string];
  await openStateDir(q, a);
  const { ino } = fs.statSync(a);
  await closeStateDir(q, a);
  expect(states(q)).toEqual([]);
  await openStateDir(q, b);
  expect(states(q)).toEqual([IDS[1]]);
  expect(fs.statSync(b).ino).toBe(ino);
  await closeStateDir(q, b);
  await dropStateDirs(q);
  expect([...states(q), ...fs.readdirSync(q.lay.tmp)]).toEqual([]);
});

it('B15: what a task put into it is there at its next attempt, whatever the worker has kept for the next task', async () => {
  const q = await queue();
  const [a, b] = IDS.map((id) => q.lay.state(id)) as [string, string];
  await openStateDir(q, a);
  fs.writeFileSync(`${a}/kept`, '1');
  await closeStateDir(q, a);
  await openStateDir(q, b);
  expect(fs.readdirSync(b)).toEqual([]);
  await closeStateDir(q, b);
  await openStateDir(q, a);
  expect(fs.readdirSync(a)).toEqual(['kept']);
  // What was not needed for that one is there for another.
  await openStateDir(q, b);
  await closeStateDir(q, b);
  await dropStateDirs(q);
  expect(states(q)).toEqual([IDS[0]]);
  expect(fs.readdirSync(q.lay.tmp)).toEqual([]);
});

it('B15: what is written between the look and the rename stays with its task', async () => {
  let late = '';
  const q = await queue({
    fault: (op, at) => {
      if (op === 'rename' && at === late) fs.writeFileSync(`${late}/late`, '');
      return undefined;
    },
  });
  const [a, b] = IDS.map((id) => q.lay.state(id)) as [string, string];
  await openStateDir(q, a);
  late = a;
  await closeStateDir(q, a);
  late = '';
  expect(fs.readdirSync(a)).toEqual(['late']);
  await openStateDir(q, b);
  expect(fs.readdirSync(b)).toEqual([]);
});

it('B15: where the spare was swept away, or state/ is missing, it is made', async () => {
  const q = await queue();
  const [a, b] = IDS.map((id) => q.lay.state(id)) as [string, string];
  await openStateDir(q, a);
  await closeStateDir(q, a);
  for (const name of fs.readdirSync(q.lay.tmp)) fs.rmdirSync(`${q.lay.tmp}/${name}`);
  fs.rmdirSync(`${q.dir}/state`);
  await openStateDir(q, b);
  expect(fs.readdirSync(b)).toEqual([]);
});

it('B15: on a queue of several users none is handed on', async () => {
  const umask = process.umask();
  onTestFinished(() => void process.umask(umask));
  const q = await queue({ shared: true });
  const [a] = IDS.map((id) => q.lay.state(id)) as [string];
  await openStateDir(q, a);
  await closeStateDir(q, a);
  expect([...states(q), ...fs.readdirSync(q.lay.tmp)]).toEqual([]);
});
