/** Waiting for tasks and handing on their codes: wait, run, submit --wait and --follow. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { onTerminal, type Session } from '../helpers/terminal.ts';
import { makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');
const untilFile = (name: string): string[] => ['--', 'sh', '-c', `while [ ! -e ${name} ]; do sleep 0.02; done`];

describe('wait', () => {
  it('E11: 0 when all ended done, 1 when one did not, and says which', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const [good, bad] = [await farm.submit('--', 'true'), await farm.submit('-c', 'echo boom; exit 4')];
    expect(await farm.tq(['wait', good])).toEqual({ code: 0, stdout: '', stderr: '', bytes: Buffer.alloc(0) });
    const ran = await farm.tq(['wait', good, bad]);
    expect(ran).toMatchObject({ code: 1, stdout: '' });
    expect(ran.stderr).toBe(`tq: ${bad} failed: boom\n`);
    await w.stop();
  });

  it('E11: begins before the end and returns at it, also over a restart of the worker', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...untilFile('go'));
    const waiting = farm.start(['wait', id]);
    const first = await farm.worker(['--name', 'w1']);
    await farm.reaches(id, 'running');
    first.signal('SIGTERM');
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('awake -> offline'),
      () => 'the first signal is seen',
    );
    first.signal('SIGTERM');
    await first.ended;
    const second = await farm.worker(['--name', 'w1']);
    await farm.reaches(id, 'running');
    expect(waiting.child.exitCode).toBe(null);
    touch(farm, 'go');
    expect(await waiting.ended).toMatchObject({ code: 0, stdout: '' });
    await second.stop();
  });

  it('E11 M2: --exit-code hands on the own code of one task', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', '4']);
    const code = async (...args: string[]): Promise<number> => (await farm.tq(['wait', '--exit-code', await farm.submit(...args)])).code;
    expect(await code('--', 'true')).toBe(0);
    expect(await code('--', 'sh', '-c', 'exit 7')).toBe(7);
    expect(await code('--', 'sh', '-c', 'kill -9 $$')).toBe(137);
    expect(await code('--', 'no-such-program-anywhere')).toBe(127);
    expect(await code('--', farm.dir)).toBe(126);
    expect(await code('--timeout', '100ms', '--grace', '1s', '--', 'sleep', '600')).toBe(1);
    expect(await code('--ok', '0,3', '--', 'sh', '-c', 'exit 3')).toBe(3);
    const held = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', held, '--', 'true');
    await farm.ok(['cancel', held]);
    expect((await farm.tq(['wait', '--exit-code', held])).code).toBe(1);
    await farm.reaches(child, 'skipped');
    expect((await farm.tq(['wait', '--exit-code', child])).code).toBe(1);
    await w.stop();
  });

  it('E11 M2: with --exit-code its own trouble is 125, the timeout stays 124', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    expect((await farm.tq(['wait', '--exit-code', 'nosuchtask1234'])).code).toBe(125);
    expect((await farm.tq(['wait', '--exit-code', id, id.replace(/.$/, (c) => (c === 'x' ? 'y' : 'x'))])).code).toBe(125);
    expect((await farm.tq(['wait', '--exit-code', '--timeout', '5x', id])).code).toBe(125);
    expect((await farm.tq(['wait', '--exit-code', '--timeout', '10ms', id])).code).toBe(124);
  });

  it('E11: --timeout passes with 124 and the task goes on', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit(...untilFile('go'));
    await farm.reaches(id, 'running');
    const ran = await farm.tq(['wait', '--timeout', '200ms', id]);
    expect(ran).toMatchObject({ code: 124, stdout: '' });
    expect((await farm.show(id)).state).toBe('running');
    touch(farm, 'go');
    expect((await farm.tq(['wait', '--timeout', '1h', id])).code).toBe(0);
    await w.stop();
  });

  it('E11: --any returns at the first end', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', '2']);
    const long = await farm.submit(...untilFile('go'));
    const short = await farm.submit('--', 'true');
    expect((await farm.tq(['wait', '--any', long, short])).code).toBe(0);
    expect((await farm.show(long)).state).not.toBe('done');
    expect((await farm.tq(['wait', '--any', long, await farm.submit('--', 'false')])).code).toBe(1);
    touch(farm, 'go');
    await farm.reaches(long, 'done');
    await w.stop();
  });

  it('E11: what is not there is 3 alone and 5 among others; an empty list and an empty queue are 0', async () => {
    const farm = await makeFarm();
    expect((await farm.tq(['wait'])).code).toBe(0);
    expect((await farm.tq(['wait', '-'], { input: '' })).code).toBe(0);
    expect((await farm.tq(['wait', 'nosuchtask1234'])).code).toBe(3);
    expect((await farm.tq(['wait', '-g', 'nobody'])).code).toBe(3);
    const w = await farm.worker();
    const id = await farm.submit('--', 'true');
    expect((await farm.tq(['wait', 'nosuchtask1234', id])).code).toBe(5);
    await w.stop();
  });

  it('E11: without a selector it waits for everything that is unfinished now', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const failed = await farm.submit('--', 'false');
    await farm.reaches(failed, 'failed');
    const id = await farm.submit(...untilFile('go'));
    const waiting = farm.start(['wait']);
    await farm.reaches(id, 'running');
    touch(farm, 'go');
    // The one that had failed before is not among them.
    expect((await waiting.ended).code).toBe(0);
    expect((await farm.tq(['wait', '@all'])).code).toBe(1);
    await w.stop();
  });

  it('E11: --progress goes to stderr alone', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const [a, b] = [await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    const ran = await farm.tq(['wait', '--progress', a, b]);
    expect(ran).toMatchObject({ code: 0, stdout: '' });
    expect(ran.stderr).toContain('2 of 2 ended');
    await w.stop();
  });

  it('A9: a task that nobody starts in time is skipped while somebody waits for it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--expires', '300ms', '--', 'true');
    expect((await farm.tq(['wait', id])).code).toBe(1);
    expect((await farm.show(id)).state).toBe('skipped');
  });

  it('a task that is removed while somebody waits for it ended as it had', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const waiting = farm.start(['wait', id]);
    await farm.ok(['rm', '--force', id]);
    expect((await waiting.ended).code).toBe(1);
  });

  it('M3: wait of a submit that fails exits 1', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    expect((await farm.tq(['wait', await farm.submit('--', 'false')])).code).toBe(1);
    expect(JSON.parse((await farm.tq(['wait', '--json', '@last'])).stdout) as TaskView).toMatchObject({ state: 'failed', exitCode: 1 });
    await w.stop();
  });

  it('Ctrl-C leaves the task alone and says how to cancel it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const waiting = farm.start(['wait', '--progress', id]);
    await until(
      () => waiting.stderr() !== '',
      () => 'it waits',
    );
    waiting.signal('SIGINT');
    const ran = await waiting.ended;
    expect(ran.code).toBe(130);
    expect(ran.stderr).toContain(`tq cancel ${id}`);
    expect((await farm.show(id)).state).toBe('queued');
  });
});

describe('run', () => {
  it('A11: stdout, stderr and the code of the task', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    expect(await farm.tq(['run', '--', 'sh', '-c', 'echo o; echo e >&2; exit 7'])).toMatchObject({ code: 7, stdout: 'o\n', stderr: 'e\n' });
    expect((await farm.tq(['run', '--', 'printf', '%s.', 'a b', '*', '$HOME', ''])).stdout).toBe('a b.*.$HOME..');
    await w.stop();
  });

  it('A11 D10 E2: an end that is no exit code of the command is said on stderr, with why', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const said = async (...args: string[]): Promise<[number, string]> => {
      const ran = await farm.tq(['run', ...args]);
      expect(ran.stdout).toBe('');
      return [ran.code, ran.stderr.replace(/^tq: [0-9a-z]+ /, '').trim()];
    };
    expect(await said('--', 'sh', '-c', 'exit 3')).toEqual([3, '']);
    expect(await said('--timeout', '100ms', '--', 'sleep', '60')).toEqual([1, 'failed: timeout after 100ms']);
    expect(await said('--', './nosuch')).toEqual([127, `failed: program not found: ./nosuch (from ${farm.dir})`]);
    expect(await said('--', 'sh', '-c', 'kill -9 $$')).toEqual([137, '']);
    const running = farm.start(['run', '-n', 'mine', '--grace', '100ms', '--', 'sleep', '60']);
    await until(
      async () => (await farm.ok(['ls', '-n', 'mine', '-s', 'running', '-o', 'id', '--no-header'])) !== '',
      () => 'it runs',
    );
    await farm.ok(['cancel', '-n', 'mine', '--reason', 'enough']);
    const ended = await running.ended;
    expect(ended.code).toBe(1);
    expect(ended.stderr).toMatch(/^tq: [0-9a-z]+ canceled: enough\n$/);
    const between = farm.start(['run', '-n', 'again', '--retries', '1', '--backoff', 'fixed:1h', '--', 'false']);
    await until(
      async () => (await farm.ok(['ls', '-n', 'again', '-s', 'delayed', '-o', 'id', '--no-header'])) !== '',
      () => 'it waits for its next try',
    );
    await farm.ok(['cancel', '-n', 'again']);
    expect((await between.ended).stderr).toMatch(/^tq: [0-9a-z]+ canceled/);
  });

  it('A11: goes on over retries until the task ends', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const ran = await farm.tq(['run', '--retries', '1', '--backoff', 'fixed:50ms', '-c', 'echo $TQ_ATTEMPT; [ $TQ_ATTEMPT = 2 ]']);
    expect(ran).toMatchObject({ code: 0, stdout: '1\n2\n' });
    await w.stop();
  });

  it('B8 B11 B12: a timeout is 1, a signal 128 + N, a missing program 127', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', '3']);
    expect((await farm.tq(['run', '--timeout', '100ms', '--grace', '1s', '--', 'sleep', '600'])).code).toBe(1);
    expect((await farm.tq(['run', '--', 'sh', '-c', 'kill -9 $$'])).code).toBe(137);
    expect((await farm.tq(['run', '--', 'no-such-program-anywhere'])).code).toBe(127);
    await w.stop();
  });

  it('A11: an end that the task did not make itself is told with its reason; one of its own is not', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    for (const [flags, code, reason] of [
      [['--', 'no-such-program-anywhere'], 127, /^tq: \w+ failed: program not found: no-such-program-anywhere/],
      [['-C', '/no/such/place', '--', 'true'], 126, /^tq: \w+ failed: the working directory does not exist: \/no\/such\/place\n$/],
      [['--timeout', '100ms', '--', 'sleep', '600'], 1, /^tq: \w+ failed: timeout after 100ms\n$/],
      [['--stall', '100ms', '--', 'sleep', '600'], 1, /^tq: \w+ failed: no output for 100ms\n$/],
      [['--', 'false'], 1, /^$/],
      [['--', 'sh', '-c', 'kill -9 $$'], 137, /^$/],
    ] as const) {
      const ran = await farm.tq(['run', ...flags]);
      expect([ran.code, ran.stdout], flags.join(' ')).toEqual([code, '']);
      expect(ran.stderr).toMatch(reason);
    }
    const run = farm.start(['run', '--', 'sleep', '600']);
    await until(
      async () => (await farm.ok(['ls', '-s', 'running', '--count'])) === '1\n',
      () => 'it runs',
    );
    await farm.ok(['cancel', '@last', '--reason', 'no longer wanted']);
    expect((await run.ended).stderr).toMatch(/^tq: \w+ canceled: .*no longer wanted\n$/);
    const waited = await farm.tq(['submit', '--wait', '--', 'no-such-program-anywhere']);
    expect([waited.code, waited.stderr]).toEqual([127, expect.stringContaining('program not found')]);
    await w.stop();
  });

  it('A11: Ctrl-C leaves the task running and says how to cancel it', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const running = farm.start(['run', '-c', 'echo begun; while [ ! -e go ]; do sleep 0.02; done']);
    await until(
      () => running.stdout() === 'begun\n',
      () => 'it runs',
    );
    running.signal('SIGINT');
    const ran = await running.ended;
    expect(ran.code).toBe(130);
    const id = /tq cancel ([0-9a-z]+)/.exec(ran.stderr)?.[1] ?? '';
    expect((await farm.show(id)).state).toBe('running');
    touch(farm, 'go');
    await farm.reaches(id, 'done');
    await w.stop();
  });

  it('A11: without an awake worker it says once that it waits for one', async () => {
    const farm = await makeFarm();
    const running = farm.start(['run', '--', 'echo', 'hi']);
    await until(
      () => running.stderr() !== '',
      () => 'it says so',
    );
    expect(running.stderr()).toMatch(/^tq: [0-9a-z]+ waits for a worker: there is none/);
    const w = await farm.worker();
    expect(await running.ended).toMatchObject({ code: 0, stdout: 'hi\n' });
    expect(running.stderr().split('\n').length).toBe(2);
    await w.stop();
  });

  it('A11: --here with no worker runs it itself', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['run', '--here', '--', 'sh', '-c', 'echo o; echo e >&2; exit 7']);
    expect(ran).toMatchObject({ code: 7, stdout: 'o\n' });
    expect(ran.stderr).toContain('e\n');
    expect(JSON.parse(await farm.ok(['worker', 'ls', '--json']))).toEqual([]);
  });

  it('M2: its own trouble is 125', async () => {
    const farm = await makeFarm();
    expect((await farm.tq(['run', '--no-such-flag', '--', 'true'])).code).toBe(125);
    expect((await farm.tq(['run', '-D', '/nonexistent/q', '--', 'true'])).code).toBe(125);
    expect((await farm.tq(['submit', '--wait', '-D', '/nonexistent/q', '--', 'true'])).code).toBe(125);
    expect((await farm.tq(['submit', '-D', '/nonexistent/q', '--', 'true'])).code).toBe(4);
  });

  it('M2: submit --wait prints the id and hands on the code; --follow hands on the output too', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const waited = await farm.tq(['submit', '--wait', '--', 'sh', '-c', 'echo o; exit 7']);
    expect(waited.code).toBe(7);
    expect(waited.stdout).toMatch(/^[0-9a-z]{10,16}\n$/);
    expect(await farm.tq(['submit', '--follow', '--', 'sh', '-c', 'echo o; echo e >&2; exit 7'])).toMatchObject({
      code: 7,
      stdout: 'o\n',
      stderr: 'e\n',
    });
    await w.stop();
  });

  it('J11: a reader that goes away ends the output, not the waiting', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const running = farm.start(['run', '-c', 'seq 1 200000; exit 3']);
    running.child.stdout!.destroy();
    expect((await running.ended).code).toBe(3);
    await w.stop();
  });
});

describe('on a terminal', () => {
  const session = (farm: Farm, command: string): Session =>
    onTerminal(`exec ${TQ} ${command}`, {
      cwd: farm.dir,
      env: { HOME: path.join(farm.dir, 'home'), TQ_DIR: farm.queue, TERM: 'xterm', LANG: 'C.UTF-8' },
    });

  it('E11: wait --progress is one line with a bar that moves', async () => {
    const farm = await makeFarm();
    const ids = [await farm.submit('--', 'true'), await farm.submit('--hold', '--', 'true')];
    const s = session(farm, `wait --progress ${ids.join(' ')}`);
    await s.sees('0% 0 of 2 ended');
    const w = await farm.worker();
    await s.sees('██████████░░░░░░░░░░  50% 1 of 2 ended');
    await farm.ok(['release', ids[1]!]);
    await s.sees('████████████████████ 100% 2 of 2 ended');
    expect(s.emulator.lines().filter((line) => line.includes('ended')).length).toBe(1);
    await w.stop();
  });

  it('A11: run says that its task waits, and nothing of that is left when the output comes', async () => {
    const farm = await makeFarm();
    const s = session(farm, 'run -- echo here it is');
    await s.sees(/is queued for/);
    const w = await farm.worker();
    await s.sees('here it is');
    expect(s.emulator.lines().filter((line) => line.includes('is queued for'))).toEqual([]);
    await w.stop();
  });
});
