/** Task files that nobody's tq wrote: whatever a field holds, the file goes aside with the reason and everybody else goes on. */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

/** Field, what it holds, and the words of the reason. */
const NONSENSE: ReadonlyArray<readonly [field: string, value: unknown, reason: string]> = [
  ['queue', '../x', 'queue is not a name'],
  ['command', 'echo', 'command is not a list'],
  ['command', ['echo', 5], 'command is not a list'],
  ['cwd', '../..', 'cwd is not an absolute path'],
  ['priority', 1000, 'priority is not'],
  ['env', { A: 5 }, 'env is not a map'],
  ['labels', [], 'labels is not a map'],
  ['name', 5, 'name is not a string'],
  ['group', '../../x', 'group is not a name'],
  ['worker', 5, 'worker is not a name'],
  ['mutex', '../x', 'mutex is not a name'],
  ['limits', [{ name: '../x', n: 1 }], 'limits is not'],
  ['limits', [{ name: 'x', n: 0 }], 'limits is not'],
  ['needs', { cpus: 'many' }, 'needs is not'],
  ['after', 'x', 'after is not'],
  ['after', [{ id: '../x', kind: 'after' }], 'after is not'],
  ['many', {}, 'many is not'],
  ['many', { numbers: { kind: 'range', from: 1, to: 3, step: 0 }, size: 3 }, 'many is not'],
  ['steps', [1], 'steps is not a list'],
  ['stdin', '../../../etc/passwd', 'stdin is not the name of a blob'],
  ['script', '../x', 'script is not the name of a blob'],
  ['backoff', { kind: 'exp', baseMs: 'x' }, 'backoff is not'],
  ['ok', 'x', 'ok is not'],
  ['retries', -5, 'retries is not'],
  ['timeoutMs', 'x', 'timeoutMs is not'],
  ['notBefore', 9e15, 'notBefore is not a moment'],
  ['onLost', 'forget', 'onLost is not'],
  ['hold', 'yes', 'hold is not'],
  ['submittedBy', 'me', 'submittedBy is not'],
  ['submission', '../x', 'submission is not an id'],
  ['cause', {}, 'cause is not'],
  ['onFailure', ['mail'], 'onFailure is not a command'],
];

/** The file of a queued task, and its text. */
function fileOf(farm: Farm, id: string): string {
  const name = fs.readdirSync(path.join(farm.queue, 'queued'), { recursive: true, encoding: 'utf8' }).find((n) => n.includes(id));
  return path.join(farm.queue, 'queued', name!);
}

function reasons(farm: Farm): string[] {
  const dir = path.join(farm.queue, 'quarantine');
  return fs
    .readdirSync(dir)
    .filter((name) => name.endsWith('.reason'))
    .map((name) => JSON.parse(fs.readFileSync(path.join(dir, name), 'utf8')) as { file: string; reason: string })
    .map(({ file, reason }) => `${path.basename(file).slice(0, 14)} ${reason}`);
}

describe('task files by hand', () => {
  it('L4: a field that holds nonsense is named in quarantine, by a worker and by a listing; the worker stays awake and runs the others', async () => {
    for (const reader of ['worker', 'ls'] as const) {
      const farm = await makeFarm();
      const good = await farm.submit('--', 'echo', 'good');
      const file = fileOf(farm, good);
      const task = JSON.parse(fs.readFileSync(file, 'utf8')) as Record<string, unknown>;
      const expected = NONSENSE.map(([field, value, reason], i) => {
        const id = `${good.slice(0, 11)}${String(i).padStart(3, '0')}`;
        fs.writeFileSync(path.join(path.dirname(file), `${id}.a0.json`), JSON.stringify({ ...task, id, [field]: value }));
        return `${id} ${reason}`;
      });
      if (reader === 'worker') {
        const w = await farm.worker(['--until-empty']);
        const ran = await w.ended;
        expect([ran.code, ran.stderr]).toEqual([0, '']);
        expect(await farm.ok(['logs', good])).toBe('good\n');
      } else {
        expect(await farm.ok(['ls', '-o', 'id', '--no-header'])).toBe(`${good}\n`);
      }
      const found = reasons(farm).toSorted();
      expect(found.length).toBe(expected.length);
      for (const [i, text] of expected.toSorted().entries()) expect(found[i]).toContain(text);
    }
  });

  it('L4: a directory or a pipe with the name of a task holds up neither a listing nor a worker', async () => {
    const farm = await makeFarm();
    const good = await farm.submit('--', 'echo', 'good');
    const near = path.dirname(fileOf(farm, good));
    fs.mkdirSync(path.join(near, `${good.slice(0, 11)}ddd.a0.json`));
    execFileSync('mkfifo', [path.join(near, `${good.slice(0, 11)}ppp.a0.json`)]);
    expect(await farm.ok(['ls', '-o', 'id', '--no-header'])).toBe(`${good}\n`);
    expect(
      reasons(farm)
        .map((r) => r.slice(15))
        .toSorted(),
    ).toEqual(['it is a directory', 'the file is empty']);
    execFileSync('mkfifo', [path.join(near, `${good.slice(0, 11)}qqq.a0.json`)]);
    const w = await farm.worker();
    await until(
      () => reasons(farm).length === 3,
      () => `the worker puts it aside: ${reasons(farm).join('; ')}`,
    );
    expect((await farm.reaches(good, 'done')).exitCode).toBe(0);
    expect((await w.stop()).code).toBe(0);
  });
});
