/** What one task can do beyond one command: steps, a fallback, follow-ups, results for the tasks after it, tasks of its own. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { cancelTask } from '../../src/queue/cancel.ts';
import { bucketOf } from '../../src/queue/layout.ts';
import type { Queue } from '../../src/queue/open.ts';
import type { TaskView } from '../../src/queue/read.ts';
import { submitTask } from '../../src/queue/submit.ts';
import type { Task } from '../../src/task/types.ts';
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

  it('B5: the reason is what the failing step said, not what one before it did', async () => {
    const farm = await makeFarm();
    const silent = await submitSteps(farm, ['echo fine', 'exit 3']);
    const loud = await submitSteps(farm, ['echo fine', 'echo broken; exit 3']);
    await drain(farm);
    expect((await farm.show(silent)).reason).toBe('exit code 3');
    expect((await farm.show(loud)).reason).toBe('broken');
  });

  it('B5: a retry by itself begins at the step that failed; after an end well all of them run again', async () => {
    const farm = await makeFarm();
    const id = await submitSteps(
      farm,
      ['echo 1 >> ran', 'echo 2 >> ran; [ $TQ_ATTEMPT -gt 1 ]', 'echo 3 >> ran'],
      '--retries',
      '1',
      '--backoff',
      'none',
    );
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
      const died = await farm.tq(['worker', '--until-empty', '--poll', '50ms', '--name', 'victim'], {
        env: { TQ_FAULT: `die-after:${n}` },
      });
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
    expect(await farm.show(fails)).toMatchObject({
      state: 'failed',
      exitCode: 9,
      attempts: [{ exitCode: 78 }, { exitCode: 9, fallback: true }],
    });
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

/** What follow-ups wrote, one line each: the kind, the outcome, the code and the error of their parent. */
const NOTE = 'echo $TQ_PARENT_OUTCOME ${TQ_PARENT_EXIT-none} $TQ_PARENT_ERROR >>';
const HOOKS = ['--on-success', `${NOTE} success`, '--on-failure', `${NOTE} failure`, '--on-cancel', `${NOTE} cancel`];

describe('follow-ups', () => {
  it('D6: one for each ending, after the last attempt, in the same place, told of its parent; the parent stays as it ended', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(inDir(farm, 'sub'));
    await farm.worker(['-q', 'other', '--name', 'w1']);
    const where = ['-q', 'other', '-g', 'g', '-C', 'sub', '-e', 'MINE=1'];
    const note = 'echo $TQ_PARENT_ID $TQ_PARENT_OUTCOME ${TQ_PARENT_EXIT-none} $TQ_PARENT_ERROR $MINE >> told; pwd >> told';
    const id = await farm.submit(
      ...where,
      '--retries',
      '1',
      '--backoff',
      'none',
      '--on-failure',
      note,
      '--on-success',
      'touch no',
      ...sh('echo oh; exit 7'),
    );
    const failed = await farm.reaches(id, 'failed');
    expect(outcomes(failed)).toEqual(['failed', 'failed']);
    const [made] = failed.followUps;
    expect(failed.followUps).toEqual([{ kind: 'on-failure', attempt: 2, id: made!.id }]);
    const follow = await farm.reaches(made!.id, 'done');
    expect(follow).toMatchObject({
      queue: 'other',
      group: 'g',
      command: [note],
      cause: { id, attempt: 2, kind: 'on-failure', exitCode: 7 },
    });
    expect(lines(farm, 'sub/told')).toEqual([`${id} failed 7 oh 1`, inDir(farm, 'sub')]);
    expect((await farm.show(id)).state).toBe('failed');
    expect(await farm.ok(['show', id])).toContain(`${made!.id} (on-failure, done)`);
    expect(await farm.ok(['show', made!.id])).toContain(`on-failure of ${id} (failed)`);
    expect(await all(farm)).toHaveLength(2);
  });

  it('D6: --on-success after success alone, --on-cancel after a cancel alone, running or not; nothing after a skip', async () => {
    const farm = await makeFarm();
    const queued = await farm.submit(...HOOKS, '--', 'true');
    await farm.ok(['cancel', queued, '--reason', 'not wanted']);
    const held = await farm.submit(...HOOKS, '--hold', '--', 'true');
    await farm.submit(...HOOKS, '--after', queued, '--', 'true');
    await farm.ok(['release', held, '--result', '5']);
    const good = await farm.submit(...HOOKS, '--', 'true');
    const long = await farm.submit(...HOOKS, '-q', 'long', '--', 'sleep', '100');
    await farm.worker(['-q', 'default,long', '-j', '2']);
    await farm.reaches(long, 'running');
    await farm.ok(['cancel', long, '--wait']);
    await farm.reaches(good, 'done');
    await farm.tq(['wait']);
    expect(lines(farm, 'success').toSorted()).toEqual(['succeeded 0', 'succeeded none']);
    expect(lines(farm, 'cancel').toSorted()).toEqual(['canceled none', 'canceled none not wanted'].toSorted());
    expect(fs.existsSync(inDir(farm, 'failure'))).toBe(false);
    expect(await all(farm)).toHaveLength(9);
  });

  it('D6: retried by hand and ended so again, it makes them again; a follow-up outlives its cause', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...HOOKS, '--', 'false');
    await drain(farm);
    await farm.ok(['retry', id]);
    await drain(farm);
    expect(lines(farm, 'failure')).toEqual(['failed 1 exit code 1', 'failed 1 exit code 1']);
    const task = await farm.show(id);
    expect(task.followUps.map((f) => f.attempt)).toEqual([1, 3]);
    await farm.ok(['rm', id]);
    for (const { id: follow } of task.followUps) {
      expect(await farm.show(follow)).toMatchObject({ state: 'done', cause: { id } });
      expect(await farm.ok(['show', follow])).toContain(`on-failure of ${id}`);
    }
  });

  it('D6: the worker killed at any of its file calls: still exactly one', async () => {
    const farm = await makeFarm();
    for (let n = 1; ; n++) {
      const kind = ['true', 'false'][n % 2]!;
      const note = inDir(farm, `told${n}`);
      const id = await farm.submit(
        '--on-success',
        `echo success >> ${note}`,
        '--on-failure',
        `echo failure >> ${note}`,
        '--on-lost',
        'fail',
        '--',
        kind,
      );
      const died = await farm.tq(['worker', '--until-empty', '--poll', '50ms', '--name', 'victim', '--max-tasks', '1'], {
        env: { TQ_FAULT: `die-after:${n}` },
      });
      await drain(farm, '--name', 'heir');
      const task = await farm.show(id);
      expect(lines(farm, `told${n}`), `died after ${n}: ${task.state}`).toEqual([task.state === 'done' ? 'success' : 'failure']);
      expect(task.followUps, `died after ${n}`).toHaveLength(1);
      expect(fs.readdirSync(`${farm.queue}/follow`)).toEqual([]);
      if (died.code === 0) break;
      expect(n, 'the worker came through').toBeLessThan(80);
    }
  });

  it('D6: the cancel of a task that does not run, killed at any of its file calls and made again: exactly one', async () => {
    const farm = await makeFarm();
    for (let n = 1; ; n++) {
      const note = inDir(farm, `told${n}`);
      const id = await farm.submit('--hold', '--on-cancel', `echo cancel >> ${note}`, '--', 'true');
      const died = await farm.tq(['cancel', id], { env: { TQ_FAULT: `die-after:${n}` } });
      await farm.tq(['cancel', id]);
      await drain(farm);
      expect((await farm.show(id)).state).toBe('canceled');
      expect(lines(farm, `told${n}`), `died after ${n}`).toEqual(['cancel']);
      if (died.code === 0) break;
      expect(n, 'the cancel came through').toBeLessThan(40);
    }
  });

  it('D6 E3: a cancel that races with the end: the one follow-up is that of the state it ended in', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2']);
    const ids: string[] = [];
    for (let n = 0; n < 30; n++) {
      const hooks = ['--on-success', `echo done >> told${n}`, '--on-cancel', `echo canceled >> told${n}`];
      const id = await farm.submit(...hooks, ...sh(`sleep 0.0${n % 5}`));
      ids.push(id);
      await Promise.all([farm.tq(['cancel', id]), farm.tq(['cancel', id])]);
    }
    await farm.tq(['wait', ...ids]);
    await drain(farm, '--name', 'last');
    await farm.tq(['wait']);
    const states = new Set<string>();
    for (const [n, id] of ids.entries()) {
      const { state } = await farm.show(id);
      states.add(state);
      expect(lines(farm, `told${n}`)).toEqual([state]);
    }
    expect([...states].every((s) => s === 'done' || s === 'canceled')).toBe(true);
    expect(fs.readdirSync(`${farm.queue}/follow`)).toEqual([]);
  });

  it('D6: an empty command is refused', async () => {
    const farm = await makeFarm();
    for (const flag of ['--on-success', '--on-failure', '--on-cancel', '--fallback']) {
      const ran = await farm.tq(['submit', flag, '', '--', 'true']);
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain(flag);
    }
  });
});

describe('follow-ups on a shared queue', () => {
  /** The queue as a user sees it to whom the files of tasks belong to somebody else. */
  const asAnother = (q: Queue): Queue => ({
    ...q,
    fsx: { ...q.fsx, stat: async (file) => ({ ...(await q.fsx.stat(file)), uid: (await q.fsx.stat(file)).uid + 1 }) },
  });

  it('D6: one that another user made for a task is run only by a worker that runs the tasks of its user', async () => {
    const farm = await makeFarm({ shared: true });
    const id = await farm.submit('--hold', '--on-cancel', 'touch ran', '--', 'true');
    await cancelTask(asAnother(await farm.open()), id, { reason: null, now: false, by: null });
    const [follow] = (await farm.show(id)).followUps;
    expect((await farm.show(follow!.id)).cause).toMatchObject({ id, owner: process.getuid!() + 1 });
    await drain(farm);
    expect((await farm.show(follow!.id)).state).toBe('queued');
    await drain(farm, '--run-users', 'any');
    expect((await farm.show(follow!.id)).state).toBe('done');
    expect(fs.existsSync(inDir(farm, 'ran'))).toBe(true);
  });

  it('D6: one that another user made runs as the user of the task only if it says what the task says, and once', async () => {
    const farm = await makeFarm({ shared: true });
    const id = await farm.submit('--hold', '--on-cancel', 'touch ran', '--', 'true');
    const q = await farm.open();
    // As another would see it whose tasks these are not; the file then is one in the name of the user who runs this test.
    const other = { ...q, config: { ...q.config, shared: true } };
    const geteuid = vi.spyOn(process, 'geteuid').mockReturnValue(process.getuid!() + 1);
    await cancelTask(other, id, { reason: null, now: false, by: null });
    geteuid.mockRestore();
    const [made] = (await farm.show(id)).followUps;
    const { cause, ...view } = await farm.show(made!.id);
    expect(cause).toMatchObject({ owner: process.getuid!() });
    const task = JSON.parse(fs.readFileSync(view.file, 'utf8')) as Task;
    const { schema: _schema, id: _id, submittedAt: _at, ...honest } = task;
    const forged = await submitTask(q, { ...honest, command: ['touch forged'] });
    const twice = await submitTask(q, honest);
    await drain(farm);
    expect((await farm.show(made!.id)).state).toBe('done');
    expect(fs.existsSync(inDir(farm, 'ran'))).toBe(true);
    expect((await farm.show(forged.id)).state).toBe('queued');
    expect((await farm.show(twice.id)).state).toBe('queued');
  });
});

describe('results', () => {
  const show = 'cd $TQ_INPUTS; for f in *; do echo "$f: $(cat "$f")"; done';

  it('H7: a result is shown, and found by the child under id and name; a parent without one gives no file', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'a', '-c', `$TQ result '{"k":1}'`);
    const b = await farm.submit('-n', 'b/c', '-c', 'echo "not json" > $TQ_RESULT_FILE');
    const none = await farm.submit('-n', 'none', '--', 'true');
    const child = await farm.submit('--after', `${a},${b},${none}`, '-c', show);
    const alone = await farm.submit('--after', none, ...sh('ls -A $TQ_INPUTS; test -d "$TQ_INPUTS"'));
    const without = await farm.submit('--after', a, '--no-inputs', ...sh('echo ${TQ_INPUTS-unset}'));
    const orphan = await farm.submit(...sh('echo ${TQ_INPUTS-unset}'));
    await drain(farm);
    expect((await farm.show(a)).result).toEqual({ k: 1 });
    expect((await farm.show(b)).result).toBe('not json');
    expect(await farm.ok(['logs', child])).toBe([`${a}.json: {"k":1}`, `${b}.json: "not json"`, 'a.json: {"k":1}', ''].join('\n'));
    expect(await farm.ok(['logs', alone])).toBe('');
    expect((await farm.show(alone)).state).toBe('done');
    expect(await farm.ok(['logs', without])).toBe('unset\n');
    expect(await farm.ok(['logs', orphan])).toBe('unset\n');
  });

  it('H7: only the last attempt that succeeded counts, also after the parent was removed', async () => {
    const farm = await makeFarm();
    const a = await farm.submit(
      '-n',
      'a',
      '--retries',
      '1',
      '--backoff',
      'none',
      ...sh('echo $TQ_ATTEMPT > $TQ_RESULT_FILE; [ $TQ_ATTEMPT -gt 1 ]'),
    );
    const never = await farm.submit('-n', 'never', ...sh('echo 1 > $TQ_RESULT_FILE; false'));
    await drain(farm);
    const flags = ['--after-any', `${a},${never}`, '-c', show];
    const first = await farm.submit(...flags);
    await drain(farm);
    expect(await farm.ok(['logs', first])).toBe(`${a}.json: 2\na.json: 2\n`);
    await farm.ok(['retry', a]);
    await drain(farm);
    const again = await farm.submit(...flags);
    await drain(farm);
    expect(await farm.ok(['logs', again])).toBe(`${a}.json: 4\na.json: 4\n`);
    await farm.ok(['rm', a, never]);
    const later = await farm.submit(...flags);
    await drain(farm);
    expect(await farm.ok(['logs', later])).toBe(`${a}.json: 4\na.json: 4\n`);
    expect(JSON.parse(fs.readFileSync(`${farm.queue}/gone/${bucketOf(a)}/${a}.done`, 'utf8'))).toEqual({ result: 4, name: 'a' });
  });

  it('E13: release --result hands its result on, and tq cancel skips', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('--hold', '-n', 'ok', '--', 'true');
    const b = await farm.submit('--after', a, '-c', show);
    await farm.ok(['release', a, '--result', '{"k":1}']);
    const other = await farm.submit('--hold', '--', 'true');
    const c = await farm.submit('--after', other, '-c', show);
    await farm.ok(['cancel', other]);
    await drain(farm);
    expect(await farm.ok(['logs', b])).toBe(`${a}.json: {"k":1}\nok.json: {"k":1}\n`);
    expect((await farm.show(c)).state).toBe('skipped');
  });

  it('H8: a chain computes from result to result; one that fails skips the rest, and its retry finishes the chain', async () => {
    const farm = await makeFarm();
    const result = (text: string): string => `echo $((${text})) > $TQ_RESULT_FILE`;
    const a = await farm.submit('-n', 'a', '-c', result('2 + 2'));
    const b = await farm.submit('-n', 'b', '--after', a, '-c', `[ -e ok ] || exit 1; ${result('$(cat $TQ_INPUTS/a.json) + 5 + 6')}`);
    const c = await farm.submit('-n', 'c', '--after', b, '-c', result('$(cat $TQ_INPUTS/b.json) * 4'));
    await drain(farm);
    expect([(await farm.show(a)).result, (await farm.show(b)).state, (await farm.show(c)).state]).toEqual([4, 'failed', 'skipped']);
    fs.writeFileSync(inDir(farm, 'ok'), '');
    await farm.ok(['retry', b]);
    await drain(farm);
    expect([(await farm.show(a)).result, (await farm.show(b)).result, (await farm.show(c)).result]).toEqual([4, 15, 60]);
  });

  it('H1: after all of them, after any end, after none that succeeded; submitted before they end and after', async () => {
    const farm = await makeFarm();
    const good = await farm.submit(...sh('true'));
    const bad = await farm.submit(...sh('false'));
    const slow = await farm.submit(...sh('while [ ! -e go ]; do sleep 0.02; done'));
    const ask = (): Promise<string[]> =>
      Promise.all([
        farm.submit('--after', `${good},${slow}`, '--', 'true'),
        farm.submit('--after', good, '--after', `${slow},${bad}`, '--', 'true'),
        farm.submit('--after-any', `${good},${bad},${slow}`, '--', 'true'),
        farm.submit('--after-notok', bad, '--', 'true'),
        farm.submit('--after-notok', `${bad},${slow}`, '--', 'true'),
        farm.submit('--after', slow, '--after-notok', bad, '--', 'true'),
      ]);
    const ends = ['done', 'skipped', 'done', 'done', 'skipped', 'done'];
    const before = await ask();
    await farm.worker(['-j', '4']);
    await farm.reaches(bad, 'failed');
    await farm.reaches(good, 'done');
    await farm.reaches(before[3]!, 'done');
    for (const i of [0, 2, 4, 5]) expect((await farm.show(before[i]!)).state).toBe('waiting');
    expect((await farm.show(slow)).state).toBe('running');
    fs.writeFileSync(inDir(farm, 'go'), '');
    const ended = Date.parse((await farm.reaches(slow, 'done')).endedAt!);
    for (const ids of [before, await ask()]) for (const [i, id] of ids.entries()) await farm.reaches(id, ends[i]!);
    // File times are up to a tick coarse.
    for (const i of [0, 2, 5]) expect(Date.parse((await farm.show(before[i]!)).startedAt!)).toBeGreaterThanOrEqual(ended - 20);
  });

  it('H2: what comes after a task that did not succeed is skipped with the parent named, down the line; wait says 1; a retry runs all', async () => {
    const farm = await makeFarm();
    for (const how of ['failed', 'canceled', 'skipped'] as const) {
      const a = await farm.submit(...(how === 'skipped' ? ['--expires', '1ms'] : []), ...sh(`[ -e ${how} ]`));
      const b = await farm.submit('--after', a, '--', 'true');
      const c = await farm.submit('--after', b, '--', 'true');
      const d = await farm.submit('--after', `${a},${c}`, '--', 'true');
      if (how === 'canceled') await farm.ok(['cancel', a]);
      await drain(farm);
      expect((await farm.show(a)).state).toBe(how);
      expect(await farm.show(b)).toMatchObject({ state: 'skipped', reason: `parent ${a} ended ${how}` });
      expect(await farm.show(c)).toMatchObject({ state: 'skipped', reason: `parent ${b} ended skipped` });
      expect((await farm.show(d)).reason).toMatch(new RegExp(`^parent (${a} ended ${how}|${c} ended skipped)$`));
      expect((await farm.tq(['wait', b])).code).toBe(1);
      if (how === 'skipped') continue;
      fs.writeFileSync(inDir(farm, how), '');
      await farm.ok(['retry', a]);
      for (const id of [b, c, d]) expect((await farm.show(id)).state).toBe('waiting');
      await drain(farm);
      for (const id of [a, b, c, d]) expect((await farm.show(id)).state).toBe('done');
    }
  });

  it('H9: ten tasks and a join that runs once, with their results in submit order, though workers die', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 10; i++) {
      const dies = i % 4 === 1 ? '[ $TQ_ATTEMPT -gt 1 ] || { kill -9 $PPID; sleep 60; }; ' : '';
      ids.push(await farm.submit('-g', 'all', ...sh(`${dies}echo ${i} > $TQ_RESULT_FILE`)));
    }
    const join = await farm.submit('--after', ids.join(','), '-c', 'cat $TQ_INPUTS/*.json | tr "\\n" " "; echo >> joined');
    for (let n = 0; n < 8 && (await farm.show(join)).state !== 'done'; n++)
      await farm.tq(['worker', '-j', '3', '--until-empty', '--poll', '50ms', '--name', `w${n}`]);
    expect((await farm.show(join)).state).toBe('done');
    expect(await farm.ok(['logs', join])).toBe('0 1 2 3 4 5 6 7 8 9 ');
    expect(fs.readFileSync(inDir(farm, 'joined'), 'utf8')).toBe('\n');
  });

  it('H10: a join with a failed member is skipped, and runs once after the member was retried', async () => {
    const farm = await makeFarm();
    const good = await farm.submit(...sh('echo 1 > $TQ_RESULT_FILE'));
    const bad = await farm.submit(...sh('[ -e ok ] && echo 2 > $TQ_RESULT_FILE'));
    const join = await farm.submit('--after', `${good},${bad}`, '-c', 'cat $TQ_INPUTS/*.json; echo >> joined');
    await drain(farm);
    expect((await farm.show(join)).state).toBe('skipped');
    fs.writeFileSync(inDir(farm, 'ok'), '');
    await farm.ok(['retry', '--failed']);
    await drain(farm);
    expect(await farm.ok(['logs', join])).toBe('1\n2\n');
    expect(fs.readFileSync(inDir(farm, 'joined'), 'utf8')).toBe('\n');
  });

  it('H12: $TQ submit inside a task goes to the same queue from any directory, and its id can be named', async () => {
    const farm = await makeFarm();
    const other = inDir(farm, 'other');
    await farm.ok(['init', `${other}/.tq`]);
    const inner = `cd ${other} && a=$($TQ submit -n inner -- sh -c 'echo 7 > $TQ_RESULT_FILE') && $TQ submit -n last --after $a -- sh -c 'cat $TQ_INPUTS/inner.json'`;
    await farm.submit(...sh(inner));
    await drain(farm);
    const tasks = await all(farm);
    expect(tasks.map((t) => t.state)).toEqual(['done', 'done', 'done']);
    const last = tasks.find((t) => t.name === 'last')!;
    expect(await farm.ok(['logs', last.id])).toBe('7\n');
    expect(last.cwd).toBe(other);
    expect(await farm.ok(['-D', `${other}/.tq`, 'ls', '-a', '--count'])).toBe('0\n');
  });
});
