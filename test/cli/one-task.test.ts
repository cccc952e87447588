/** What one task can do beyond one command: steps, a fallback, follow-ups, results for the tasks after it, tasks of its own. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { bucketOf } from '../../src/queue/layout.ts';
import type { TaskView } from '../../src/queue/read.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];
const inDir = (farm: Farm, file: string): string => path.join(farm.dir, file);
const lines = (farm: Farm, file: string): string[] =>
  fs.existsSync(inDir(farm, file)) ? fs.readFileSync(inDir(farm, file), 'utf8').trimEnd().split('\n') : [];
const outcomes = (task: TaskView): Array<string | null> => task.attempts.map((a) => a.outcome);
const logOf = (farm: Farm, id: string, attempt: number): Promise<string> => farm.ok(['logs', id, '--attempt', String(attempt)]);

async function drain(farm: Farm, ...args: string[]): Promise<void> {
  await farm.ok(['worker', '--until-empty', '--poll', '50ms', ...args]);
}

/** The tasks that are there, newest first. */
async function all(farm: Farm): Promise<TaskView[]> {
  return JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[];
}

async function submitSteps(farm: Farm, steps: readonly string[], ...flags: string[]): Promise<string> {
  return farm.submit(...flags, ...steps.flatMap((s) => ['--step', s]));
}

describe('steps', () => {
  it('B5: a step that fails is named, what follows it does not run, and tq retry begins there and keeps the results', async () => {
    const farm = await makeFarm();
    const steps = ['echo a; echo \'{"n":1}\' > $TQ_RESULT_FILE', 'echo b; echo two > $TQ_RESULT_FILE; [ -e ok ] || exit 3', 'echo c'];
    const id = await submitSteps(farm, steps);
    await drain(farm);
    const failed = await farm.show(id);
    expect(failed).toMatchObject({
      state: 'failed',
      exitCode: 3,
      attempts: [{ step: 2 }],
      steps: [
        { step: 1, state: 'done', attempt: 1, exitCode: 0, result: { n: 1 } },
        { step: 2, state: 'failed', attempt: 1, exitCode: 3 },
        { step: 3, state: 'waiting', attempt: null },
      ],
    });
    expect(await farm.ok(['show', id])).toMatch(/stopped at +step 2 of 3: /);
    expect(await farm.ok(['logs', id])).toBe('a\nb\n');
    fs.writeFileSync(inDir(farm, 'ok'), '');
    await farm.ok(['retry', id]);
    await drain(farm);
    const done = await farm.show(id);
    expect(done.steps.map((s) => [s.state, s.result])).toEqual([
      ['done', { n: 1 }],
      ['done', 'two'],
      ['done', null],
    ]);
    // The last one left none: the task's is that of the last that did.
    expect(done).toMatchObject({ state: 'done', result: 'two', progress: { percent: 100 } });
    expect(await farm.ok(['logs', id])).toBe('b\nc\n');
  });

  it('B5: a retry by itself begins at the step that failed; after an end well all of them run again', async () => {
    const farm = await makeFarm();
    const id = await submitSteps(farm, ['echo 1 >> ran', 'echo 2 >> ran; [ $TQ_ATTEMPT -gt 1 ]', 'echo 3 >> ran'], '--retries', '1', '--backoff', 'none');
    await drain(farm);
    expect(lines(farm, 'ran')).toEqual(['1', '2', '2', '3']);
    await farm.ok(['retry', id]);
    expect((await farm.show(id)).steps.map((s) => s.state)).toEqual(['waiting', 'waiting', 'waiting']);
    await drain(farm);
    expect(lines(farm, 'ran').slice(4)).toEqual(['1', '2', '3']);
    expect((await farm.show(id)).state).toBe('done');
  });

  it('B5: a worker lost in step 3: the next attempt begins at 3 and keeps the first two results', async () => {
    const farm = await makeFarm();
    const third = 'echo 3 >> ran; [ $TQ_ATTEMPT -gt 1 ] || { kill -9 $PPID; sleep 60; }';
    const id = await submitSteps(farm, ['echo 1 >> ran; echo 1 > $TQ_RESULT_FILE', 'echo 2 >> ran; echo 2 > $TQ_RESULT_FILE', third]);
    const w = await farm.worker(['--name', 'w1']);
    await w.ended;
    await until(
      async () => (await farm.show(id)).state === 'queued',
      () => 'it is handed back',
    );
    expect((await farm.show(id)).steps.map((s) => s.state)).toEqual(['done', 'done', 'waiting']);
    await drain(farm, '--name', 'w2');
    expect(lines(farm, 'ran')).toEqual(['1', '2', '3', '3']);
    const task = await farm.show(id);
    expect(outcomes(task)).toEqual(['lost', 'succeeded']);
    expect(task.steps.map((s) => s.result)).toEqual([1, 2, null]);
    expect(task.result).toBe(2);
  });

  it('B5: a worker killed at any of its file calls: each step that was recorded runs once, none is left out', async () => {
    const farm = await makeFarm();
    const starts = 60;
    for (let n = 1; n <= starts; n += 2) {
      const ran = `ran${n}`;
      const id = await submitSteps(farm, [`echo 1 >> ${ran}`, `echo 2 >> ${ran}`, `echo 3 >> ${ran}`]);
      const died = await farm.tq(['worker', '--until-empty', '--poll', '50ms', '--name', 'victim'], { env: { TQ_FAULT: `die-after:${n}` } });
      const recorded = (await farm.show(id)).steps.filter((s) => s.state === 'done').length;
      const before = lines(farm, ran);
      await drain(farm, '--name', 'heir');
      const after = lines(farm, ran);
      expect((await farm.show(id)).state, `died after ${n}`).toBe('done');
      // Between its end and its record a step may be lost, and runs again; never one that was recorded, and none is left out.
      expect(after.slice(before.length), `died after ${n} with ${recorded} recorded`).toEqual(['1', '2', '3'].slice(recorded));
      if (died.code === 0) break;
      expect(n, 'the worker came through').toBeLessThan(starts - 2);
    }
  });

  it('B5: timeout, cancel and --ok hold over the whole attempt; --shell runs the steps', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '4']);
    const slow = await submitSteps(farm, ['true', 'sleep 100', 'echo no'], '--timeout', '400ms');
    const gone = await submitSteps(farm, ['true', 'touch two; sleep 100', 'echo no']);
    const codes = await submitSteps(farm, ['exit 3', 'exit 0'], '--ok', '0,3');
    const bash = await submitSteps(farm, ['echo ${0##*/}'], '--shell', '/bin/bash');
    const input = (await farm.ok(['submit', '--stdin', '-', '--step', 'cat', '--step', 'cat'], { input: 'in\n' })).trim();
    const three = await farm.reaches(slow, 'failed');
    expect(three).toMatchObject({ attempts: [{ outcome: 'timeout', step: 2 }] });
    await until(
      () => fs.existsSync(inDir(farm, 'two')),
      () => 'the second step runs',
    );
    await farm.ok(['cancel', gone]);
    const canceled = await farm.reaches(gone, 'canceled');
    expect(canceled.steps.map((s) => s.state)).toEqual(['done', 'canceled', 'waiting']);
    expect(await farm.ok(['logs', gone])).toBe('');
    await farm.reaches(codes, 'done');
    await farm.reaches(bash, 'done');
    expect(await farm.ok(['logs', bash])).toBe('bash\n');
    await farm.reaches(input, 'done');
    expect(await farm.ok(['logs', input])).toBe('in\nin\n');
  });

  it('B14: 2 of 4 steps done is 50 percent, unless the step says more', async () => {
    const farm = await makeFarm();
    const wait = 'while [ ! -e go ]; do sleep 0.05; done';
    const id = await submitSteps(farm, ['$TQ progress 7% first', 'true', wait, `rm go; echo '80 last' > $TQ_PROGRESS_FILE; ${wait}`]);
    await farm.worker();
    const at = async (percent: number, message: string | null): Promise<void> => {
      let seen: TaskView['progress'] = null;
      await until(
        async () => {
          seen = (await farm.show(id)).progress;
          return JSON.stringify(seen) === JSON.stringify({ percent, message });
        },
        () => `${percent} ${message ?? ''}: ${JSON.stringify(seen)}`,
      );
    };
    await at(50, null);
    fs.writeFileSync(inDir(farm, 'go'), '');
    await at(80, 'last');
    fs.writeFileSync(inDir(farm, 'go'), '');
    await farm.reaches(id, 'done');
  });

  it('B5: bad steps are refused', async () => {
    const farm = await makeFarm();
    const empty = await farm.tq(['submit', '--step', ' ']);
    expect(empty).toMatchObject({ code: 2, stdout: '' });
    expect(empty.stderr).toContain('--step');
    const both = await farm.tq(['submit', '--step', 'true', '--', 'true']);
    expect(both).toMatchObject({ code: 2, stdout: '' });
    expect(both.stderr).toContain('exclude each other');
    expect(await all(farm)).toEqual([]);
  });
});

describe('fallback', () => {
  it('D5: it runs after the last retry, makes the task done, and both are logged', async () => {
    const farm = await makeFarm();
    const told = 'echo $TQ_PARENT_ID $TQ_PARENT_OUTCOME $TQ_PARENT_EXIT $TQ_PARENT_ERROR';
    const id = await farm.submit('--fallback', told, '--retries', '1', '--backoff', 'none', ...sh('echo boom; exit 4'));
    await drain(farm);
    const task = await farm.show(id);
    expect(task).toMatchObject({ state: 'done', exitCode: 0, attempt: 3 });
    expect(task.attempts.map((a) => [a.outcome, a.fallback])).toEqual([
      ['failed', false],
      ['failed', false],
      ['succeeded', true],
    ]);
    expect(await logOf(farm, id, 2)).toBe('boom\n');
    expect(await logOf(farm, id, 3)).toBe(`${id} failed 4 boom\n`);
    expect(await farm.ok(['show', id])).toContain('succeeded (fallback)');
    expect((await farm.tq(['wait', id])).code).toBe(0);
  });

  it('D5: a fallback that fails or is timed out ends the task failed, whatever retries are left', async () => {
    const farm = await makeFarm();
    const fails = await farm.submit('--fallback', 'exit 9', '--retries', '5', '--backoff', 'none', ...sh('exit 78'));
    const slow = await farm.submit('--fallback', 'sleep 100', '--timeout', '300ms', '--', 'sleep', '100');
    await drain(farm, '-j', '2');
    expect(await farm.show(fails)).toMatchObject({ state: 'failed', exitCode: 9, attempts: [{ exitCode: 78 }, { exitCode: 9, fallback: true }] });
    const timed = await farm.show(slow);
    expect(timed.state).toBe('failed');
    expect(outcomes(timed)).toEqual(['timeout', 'timeout']);
  });

  it('D5: it runs for a program that nobody has, is run again when its worker dies, and not after a cancel; a retry starts over', async () => {
    const farm = await makeFarm();
    const none = await farm.submit('--fallback', '[ -e dead ] || { touch dead; kill -9 $PPID; sleep 60; }', '--', 'no-such-program');
    const w = await farm.worker(['--name', 'w1']);
    await w.ended;
    await until(
      async () => (await farm.show(none)).state === 'queued',
      () => 'it is handed back',
    );
    await drain(farm, '--name', 'w2');
    const task = await farm.show(none);
    expect(task).toMatchObject({ state: 'done' });
    expect(task.attempts.map((a) => [a.outcome, a.fallback])).toEqual([
      ['rejected', false],
      ['lost', true],
      ['succeeded', true],
    ]);
    await farm.ok(['retry', none]);
    await drain(farm, '--name', 'w3');
    expect((await farm.show(none)).attempts.slice(3).map((a) => [a.outcome, a.fallback])).toEqual([
      ['rejected', false],
      ['succeeded', true],
    ]);
    await farm.worker(['--name', 'w4']);
    const canceled = await farm.submit('--fallback', 'touch never', '--', 'sleep', '100');
    await farm.reaches(canceled, 'running');
    await farm.ok(['cancel', canceled, '--wait']);
    expect(outcomes(await farm.show(canceled))).toEqual(['canceled']);
    expect(fs.existsSync(inDir(farm, 'never'))).toBe(false);
  });
});
