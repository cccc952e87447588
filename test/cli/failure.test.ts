/** What happens after a failure: retries, pauses, codes, snoozes, other workers, faulty workers. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';
import type { TaskView } from '../../src/queue/read.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];

async function drain(farm: Farm, ...args: string[]): Promise<void> {
  await farm.ok(['worker', '--until-empty', '--poll', '50ms', ...args]);
}

/** Pauses between the end of each attempt and the start of the next, ms. */
function pauses(task: TaskView): number[] {
  return task.attempts.slice(1).map((a, i) => Date.parse(a.startedAt!) - Date.parse(task.attempts[i]!.endedAt!));
}

const outcomes = (task: TaskView): Array<string | null> => task.attempts.map((a) => a.outcome);

describe('retries', () => {
  it('D1: --retries 2 gives three attempts, and between them it is delayed with reason and time', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--retries', '2', '--backoff', 'fixed:600ms', ...sh('echo boom; exit 1'));
    const w = await farm.worker();
    const between = await farm.reaches(id, 'delayed');
    expect(between.reason).toBe('boom');
    expect(Date.parse(between.notBefore!)).toBeGreaterThan(Date.parse(between.attempts[0]!.endedAt!));
    expect(await farm.ok(['ls', '-s', 'delayed'])).toContain(id);
    const task = await farm.reaches(id, 'failed');
    expect(outcomes(task)).toEqual(['failed', 'failed', 'failed']);
    expect(task.attempt).toBe(3);
    await w.stop();
  });

  it('D2: without jitter the pauses are those of the back-off, counted from the end of each attempt', async () => {
    const farm = await makeFarm();
    const fib = await farm.submit('--retries', '4', '--no-jitter', '--backoff', 'fib:200ms', '--', 'false');
    const exp = await farm.submit('--retries', '3', '--no-jitter', '--backoff', 'exp:200ms..500ms', '--', 'false');
    const none = await farm.submit('--retries', '2', '--no-jitter', '--backoff', 'none', '--', 'false');
    await drain(farm, '-j', '3');
    const check = (task: TaskView, expected: number[]): void => {
      const got = pauses(task);
      expect(got).toHaveLength(expected.length);
      for (const [i, ms] of expected.entries()) {
        expect(got[i]).toBeGreaterThanOrEqual(ms - 12);
        expect(got[i]! - ms).toBeLessThan(2000);
      }
    };
    check(await farm.show(fib), [200, 400, 600, 1000]);
    check(await farm.show(exp), [200, 400, 500]);
    check(await farm.show(none), [0, 0]);
  });

  it('D3: --ok, --retry-on, 75 and 78', async () => {
    const farm = await makeFarm();
    const ok = await farm.submit('--ok', '0,3', ...sh('exit 3'));
    const other = await farm.submit('--retry-on', '64-78', '--retries', '5', '--backoff', 'none', ...sh('exit 1'));
    const listed = await farm.submit('--retry-on', '64-78', '--retries', '2', '--backoff', 'none', ...sh('exit 64'));
    const final = await farm.submit('--retry-on', '64-78', '--retries', '5', '--backoff', 'none', ...sh('exit 78'));
    await drain(farm);
    expect(await farm.show(ok)).toMatchObject({ state: 'done', exitCode: 3 });
    expect((await farm.tq(['wait', ok])).code).toBe(0);
    expect(outcomes(await farm.show(other))).toEqual(['failed']);
    expect(outcomes(await farm.show(listed))).toEqual(['failed', 'failed', 'failed']);
    expect(outcomes(await farm.show(final))).toEqual(['failed']);
  });

  it('D4: exit 75 snoozes for a minute, or for what tq snooze said, and uses no retry', async () => {
    const farm = await makeFarm();
    const minute = await farm.submit(...sh('exit 75'));
    const said = await farm.submit(...sh('[ $TQ_ATTEMPT -gt 1 ] || { "$TQ" snooze 300ms; exit 75; }'));
    await farm.worker();
    const m = await farm.reaches(minute, 'delayed');
    expect(outcomes(m)).toEqual(['snoozed']);
    const wait = Date.parse(m.notBefore!) - Date.parse(m.attempts[0]!.endedAt!);
    expect(wait).toBeGreaterThanOrEqual(59_900);
    expect(wait).toBeLessThan(60_200);
    const s = await farm.reaches(said, 'done');
    expect(outcomes(s)).toEqual(['snoozed', 'succeeded']);
  });

  it('D4: a snooze is bounded by --deadline, and what is no duration is refused', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--deadline', '1s', '--retries', '5', ...sh('"$TQ" snooze soon; "$TQ" snooze 10m; exit 75'));
    const task = await farm.reaches(id, 'failed');
    expect(task.reason).toBe('deadline');
    expect(outcomes(task)).toEqual(['snoozed']);
    expect(await farm.ok(['logs', id])).toContain("not a duration: 'soon'");
  });

  it('D7: a task that takes its worker down each time ends failed after ten lost attempts', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('kill -9 $PPID; sleep 60'));
    let n = 0;
    for (; n < 12 && (await farm.show(id)).state !== 'failed'; n++) {
      const w = await farm.worker(['--name', `w${n}`]);
      await w.ended;
      await until(
        async () => (await farm.show(id)).state !== 'running',
        () => 'the task went back',
      );
    }
    const task = await farm.show(id);
    expect(task).toMatchObject({ state: 'failed', reason: 'lost too often' });
    expect(outcomes(task)).toEqual(Array.from({ length: 10 }, () => 'lost'));
  });

  it('D7 E6: after tq retry the lost attempts count anew', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('[ -e ok ] || { kill -9 $PPID; sleep 60; }'));
    for (let n = 0; n < 10; n++) {
      const w = await farm.worker(['--name', `w${n}`]);
      await w.ended;
      await until(
        async () => (await farm.show(id)).state !== 'running',
        () => 'the task went back',
      );
    }
    await farm.reaches(id, 'failed');
    fs.writeFileSync(path.join(farm.dir, 'ok'), '');
    await farm.ok(['retry', id]);
    await drain(farm);
    expect((await farm.show(id)).state).toBe('done');
  });
});

describe('elsewhere', () => {
  it('D8: a task that failed on w1 is retried on w2', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--retries', '1', '--backoff', 'fixed:3s', ...sh('[ $TQ_WORKER = w2 ]'));
    await farm.reaches(id, 'delayed');
    await farm.worker(['--name', 'w2']);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => a.worker)).toEqual(['w1', 'w2']);
  });

  it('D8: with w2 asleep the retry runs on w1, and a farm of one retries', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w2']);
    await farm.ok(['worker', 'sleep', 'w2']);
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('asleep'),
      () => 'w2 sleeps',
    );
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--retries', '2', '--backoff', 'none', '--', 'false');
    const task = await farm.reaches(id, 'failed');
    expect(task.attempts.map((a) => a.worker)).toEqual(['w1', 'w1', 'w1']);
  });

  it('D9: a worker that cannot start what it takes steps back, and wake ends that', async () => {
    const farm = await makeFarm();
    const bin = path.join(farm.dir, 'bin');
    fs.mkdirSync(bin);
    fs.writeFileSync(path.join(bin, 'only-here'), '#!/bin/sh\nsleep 0.1\n', { mode: 0o755 });
    await farm.worker(['--name', 'bad', '--pass-env', 'PATH', '-j', '1']);
    await farm.worker(['--name', 'good', '--pass-env', 'PATH', '-j', '1'], { env: { PATH: `${bin}:${process.env['PATH']}` } });
    await until(
      async () => (await farm.ok(['worker', 'ls'])).match(/awake/g)?.length === 2,
      () => 'both are awake',
    );
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) ids.push(await farm.submit('--', 'only-here'));
    await until(
      async () => /bad\s+error/.test(await farm.ok(['worker', 'ls'])),
      () => 'the bad one is in error',
    );
    expect(await farm.ok(['worker', 'show', 'bad'])).toContain('could not be started');
    for (const id of ids) {
      const task = await farm.reaches(id, 'done');
      expect(task.attempts.at(-1)!.worker).toBe('good');
    }
    await farm.ok(['worker', 'wake', 'bad']);
    await until(
      async () => /bad\s+awake/.test(await farm.ok(['worker', 'ls'])),
      () => 'the bad one is awake again',
    );
  });

  it('D9: tasks that merely fail leave the only worker awake', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 40; i++) ids.push(await farm.submit('--', 'false'));
    await farm.worker(['--name', 'w1', '-j', '4']);
    for (const id of ids) await farm.reaches(id, 'failed');
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1\s+awake/);
  });
});
