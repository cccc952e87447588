/** Workers at odd moments: hooks that outlive their welcome, claims ahead that wait too long, limits and signals between two steps. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { undertake } from '../../src/queue/undertake.ts';
import { childrenOf, isThere, makeFarm, sleep, until, type Farm } from '../helpers/tq.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];
const has = (farm: Farm, name: string): boolean => fs.existsSync(path.join(farm.dir, name));
const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');
const outcomes = async (farm: Farm, id: string): Promise<Array<string | null>> => (await farm.show(id)).attempts.map((a) => a.outcome);
const sessions = (farm: Farm): string[] => fs.readdirSync(path.join(farm.queue, 'running'));

describe('hooks', () => {
  it('B4: a task canceled during its pre hook never starts, even when the hook ends well', async () => {
    const farm = await makeFarm();
    await farm.worker(['--pre', "trap 'exit 0' TERM; touch pre; while :; do sleep 0.05; done"]);
    const id = await farm.submit(...sh('touch ran; sleep 60'));
    await until(
      () => has(farm, 'pre'),
      () => 'the hook runs',
    );
    await farm.ok(['cancel', id]);
    const task = await farm.reaches(id, 'canceled');
    expect(has(farm, 'ran')).toBe(false);
    expect(task.exitCode).toBeNull();
  });

  it('C8: a worker that is stopped at once does not wait for a post hook, and the outcome of the task stands', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--post', 'touch post; sleep 60']);
    const id = await farm.submit('--grace', '200ms', '--', 'true');
    await until(
      () => has(farm, 'post'),
      () => 'the hook runs',
    );
    w.signal('SIGTERM');
    w.signal('SIGINT');
    expect((await w.ended).code).toBe(0);
    expect((await farm.show(id)).state).toBe('done');
    expect(sessions(farm)).toEqual([]);
  });

  it('E2: a cancel during the post hook changes nothing: the task had ended', async () => {
    const farm = await makeFarm();
    await farm.worker(['--post', 'touch post; while [ ! -e go ]; do sleep 0.02; done']);
    const id = await farm.submit('--', 'true');
    await until(
      () => has(farm, 'post'),
      () => 'the hook runs',
    );
    await farm.tq(['cancel', id]);
    await sleep(150);
    touch(farm, 'go');
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['succeeded']);
  });
});

describe('the gate', () => {
  it('B3: a gate that takes longer than the lease to answer costs no running task', async () => {
    const farm = await makeFarm({ lease: 1500 });
    await farm.worker(['-j', '2', '--gate', '[ ! -e slow ] || { touch asked; sleep 4; }']);
    const id = await farm.submit(...sh('while [ ! -e go ]; do sleep 0.05; done'));
    await farm.reaches(id, 'running');
    touch(farm, 'slow');
    await farm.submit('--', 'true');
    await until(
      () => has(farm, 'asked'),
      () => 'the gate is asked',
    );
    await sleep(2500);
    touch(farm, 'go');
    expect((await farm.reaches(id, 'done')).attempts.map((a) => a.outcome)).toEqual(['succeeded']);
  });

  it('C10: a worker that is told to leave does not wait for its gate', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--gate', 'touch asked; sleep 61']);
    await farm.submit('--', 'true');
    await until(
      () => has(farm, 'asked'),
      () => 'the gate is asked',
    );
    const inside = childrenOf(w.pid);
    expect((await w.stop()).code).toBe(0);
    await until(
      () => inside.every((pid) => !isThere(pid)),
      () => 'the gate is gone',
    );
  });
});

describe('claims ahead', () => {
  it('F11: what was claimed ahead of a slot that stays busy goes to a worker that is idle', async () => {
    const farm = await makeFarm();
    const first: string[] = [];
    for (let i = 0; i < 25; i++) first.push(await farm.submit('--', 'true'));
    const long = await farm.submit(...sh('touch long; while [ ! -e go ]; do sleep 0.02; done'));
    const rest: string[] = [];
    for (let i = 0; i < 12; i++) rest.push(await farm.submit('--', 'true'));
    await farm.worker(['--name', 'w1', '-j', '1']);
    await until(
      () => has(farm, 'long'),
      () => 'the long task runs',
    );
    await farm.worker(['--name', 'w2', '-j', '1']);
    for (const id of rest) await farm.reaches(id, 'done');
    expect((await farm.show(long)).state).toBe('running');
    touch(farm, 'go');
    await farm.reaches(long, 'done');
  });

  it('E2: a task that is claimed and waits for a slot is canceled within a poll', async () => {
    const farm = await makeFarm();
    for (let i = 0; i < 12; i++) await farm.submit('--', 'true');
    const long = await farm.submit(...sh('touch long; while [ ! -e go ]; do sleep 0.02; done'));
    const ahead = await farm.submit('--', 'touch', 'ran');
    await farm.worker(['--name', 'w1', '-j', '1']);
    await until(
      () => has(farm, 'long'),
      () => 'the long task runs',
    );
    await farm.ok(['cancel', ahead]);
    await farm.reaches(ahead, 'canceled');
    expect(has(farm, 'ran')).toBe(false);
    touch(farm, 'go');
    await farm.reaches(long, 'done');
  });
});

describe('what cannot be begun here', () => {
  const scratchOf = (farm: Farm): string => {
    const root = path.join(farm.dir, 'tmp', `tq-${process.getuid?.() ?? 0}`);
    return path.join(root, fs.readdirSync(root)[0]!);
  };

  it('D7: a worker whose local disk refuses runs nothing, and no attempt is counted as lost', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(path.join(farm.dir, 'tmp'));
    const w = await farm.worker(['--name', 'w1'], { env: { TMPDIR: path.join(farm.dir, 'tmp') } });
    // Where its running tasks' directories were, a file stands.
    const scratch = path.join(scratchOf(farm), fs.readdirSync(scratchOf(farm))[0]!);
    fs.rmSync(scratch, { recursive: true });
    fs.writeFileSync(scratch, '');
    const id = await farm.submit('--on-lost', 'fail', '--', 'true');
    await until(
      () => w.stderr().includes('could not be run'),
      () => 'the worker says so',
    );
    await until(
      () => w.stderr().includes('given back'),
      () => 'the task goes back',
    );
    fs.rmSync(scratch);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['succeeded']);
  });

  it('L4: a directory with the name of a task goes to quarantine, and the worker that met it goes on', async () => {
    const farm = await makeFarm();
    const real = await farm.submit('--', 'true');
    const place = path.dirname((await farm.show(real)).file);
    const bad = `${real.slice(0, -1)}${real.endsWith('0') ? '1' : '0'}`;
    fs.mkdirSync(path.join(place, `${bad}.a0.json`));
    const w = await farm.worker(['--name', 'w1']);
    await farm.reaches(real, 'done');
    await until(
      () => fs.readdirSync(path.join(farm.queue, 'quarantine')).some((name) => name.startsWith(bad)),
      () => `it is in quarantine: ${w.stderr()}`,
    );
    const next = await farm.submit('--', 'true');
    await farm.reaches(next, 'done');
    expect(sessions(farm).flatMap((s) => fs.readdirSync(path.join(farm.queue, 'running', s)))).toEqual([]);
  });
});

describe('looking at a queue with things in it that are no tasks', () => {
  it('L4: every looking verb shows the others, whatever has the name of a task', async () => {
    for (const verb of [
      ['ls', '-a'],
      ['ls', '--json'],
      ['stats'],
      ['graph'],
      ['events', '--since', '1h'],
      ['top', '--once'],
      ['wait', '--timeout', '0s'],
    ]) {
      const farm = await makeFarm();
      const real = await farm.submit('--hold', '--', 'true');
      const queued = await farm.submit('--', 'true');
      for (const [i, id] of [real, queued].entries()) {
        const place = path.dirname((await farm.show(id)).file);
        for (const [k, make] of [
          (file: string): unknown => fs.mkdirSync(file),
          (file: string): unknown => fs.writeFileSync(file, 'garbage'),
          (file: string): unknown => fs.symlinkSync('/nowhere', file),
          (file: string): unknown => fs.writeFileSync(file, ''),
        ].entries()) {
          make(path.join(place, `${id.slice(0, -3)}${id.at(-3) === 'a' ? 'b' : 'a'}${i}${k}.a0.json`));
        }
      }
      const ran = await farm.tq(verb);
      expect([ran.code, ran.stderr], verb.join(' ')).toEqual(verb[0] === 'wait' ? [124, expect.any(String)] : [0, '']);
      if (['ls', 'graph', 'top'].includes(verb[0]!)) expect(ran.stdout).toContain(real);
      if (['ls', 'graph', 'top'].includes(verb[0]!)) expect(ran.stdout).toContain(queued);
    }
  });
});

describe('ends at the wrong moment', () => {
  it('I8: a worker that waits for its last task publishes what another one came to while the queue was away', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '2']);
    const id = await farm.submit(...sh('while [ ! -e go ]; do sleep 0.02; done'));
    const long = await farm.submit(...sh('while [ ! -e go2 ]; do sleep 0.02; done'));
    await farm.reaches(id, 'running');
    await farm.reaches(long, 'running');
    w.signal('SIGTERM');
    await until(
      () => w.stderr().includes('leaving when'),
      () => 'it has heard',
    );
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    touch(farm, 'go');
    await until(
      () => w.stderr().includes('kept'),
      () => 'the outcome is kept',
    );
    // A worker that leaves soon gives up trying.
    await sleep(3500);
    fs.renameSync(away, farm.queue);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['succeeded']);
    touch(farm, 'go2');
    expect((await w.ended).code).toBe(0);
    expect((await farm.show(long)).state).toBe('done');
  });

  it('E6: a task that was started in time runs again when it is retried after its --expires', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--expires', '2s', '--', 'false');
    const first = await farm.reaches(id, 'failed');
    await until(
      () => Date.now() > Date.parse(first.expiresAt!) + 100,
      () => 'its time is over',
    );
    await farm.ok(['retry', id]);
    await until(
      async () => (await farm.show(id)).attempts.length === 2 || (await farm.show(id)).state === 'skipped',
      () => 'it runs again',
    );
    expect((await farm.reaches(id, 'failed')).attempts.map((a) => a.outcome)).toEqual(['failed', 'failed']);
  });
});

describe('names and requests', () => {
  it('C6: a request that cannot be read is told like one that cannot be understood, and the worker works on', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const want = path.join(farm.queue, 'workers', 'w1', 'want');
    fs.mkdirSync(want);
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    await until(
      async () => (await farm.ok(['worker', 'show', 'w1'])).includes('EISDIR'),
      () => 'it is told',
    );
    fs.rmdirSync(want);
    await farm.ok(['worker', 'sleep', 'w1']);
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('asleep'),
      () => 'it sleeps',
    );
  });

  it('C2: a worker that comes back when its name is taken leaves, and the other one keeps all that is its own', async () => {
    const farm = await makeFarm();
    const first = await farm.worker(['--name', 'w1']);
    const session = sessions(farm)[0]!;
    first.signal('SIGSTOP');
    await undertake(await farm.open(), session, { proved: true, reason: 'it seems dead from here' });
    const stated = (): { session: string; state: string } =>
      JSON.parse(fs.readFileSync(path.join(farm.queue, 'workers', 'w1', 'state.json'), 'utf8')) as { session: string; state: string };
    await farm.worker(['--name', 'w1']);
    const now = sessions(farm)[0]!;
    expect(now).not.toBe(session);
    await until(
      () => stated().session === now && stated().state === 'awake',
      () => 'the other one is awake',
    );
    first.signal('SIGCONT');
    await first.ended;
    expect(sessions(farm)).toEqual([now]);
    // It may have stood still in the middle of writing its state.
    await until(
      () => stated().session === now && stated().state === 'awake',
      () => 'the state is that of the other one',
    );
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
  });
});

describe('ends', () => {
  it('C2: a state that one who had the name before writes late is written again', async () => {
    const farm = await makeFarm({ lease: 3000 });
    await farm.worker(['--name', 'w1']);
    const file = path.join(farm.queue, 'workers', 'w1', 'state.json');
    const stated = (): { session: string; state: string } =>
      JSON.parse(fs.readFileSync(file, 'utf8')) as { session: string; state: string };
    await until(
      () => stated().state === 'awake',
      () => 'it is awake',
    );
    const now = stated();
    fs.writeFileSync(`${file}.late`, JSON.stringify({ ...now, session: 'w1.1.0-aaaaaaa-bbbbb-ccccc-dddd', state: 'asleep' }));
    fs.renameSync(`${file}.late`, file);
    await until(
      () => stated().session === now.session && stated().state === 'awake',
      () => 'its own state is there again',
    );
  });

  it('B12: a child killed by KILL is signaled, however short the lease is and however seldom the worker polls', async () => {
    const farm = await makeFarm({ lease: 3000 });
    await farm.worker(['--poll', '2s']);
    const id = await farm.submit(...sh('echo $$ > pid; touch up; sleep 60'));
    await until(
      () => has(farm, 'up'),
      () => 'the task runs',
    );
    process.kill(Number(fs.readFileSync(path.join(farm.dir, 'pid'), 'utf8')), 'SIGKILL');
    await farm.reaches(id, 'failed');
    expect(await outcomes(farm, id)).toEqual(['signaled']);
  });

  it('C8: a worker that leaves in the middle of a heartbeat leaves no session and no name behind', async () => {
    const farm = await makeFarm();
    for (let i = 0; i < 12; i++) {
      // Calls as on a network file system: a heartbeat is under way most of the time.
      const w = await farm.worker(['--name', 'w1', '--poll', '10ms'], { env: { TQ_NETWORK: '1' } });
      await sleep(7 * i);
      const ran = await w.stop();
      expect(ran.code).toBe(0);
      expect(ran.stderr).not.toContain('was buried');
      expect(sessions(farm)).toEqual([]);
    }
  });

  it('C13: --until-empty outlives trouble of the file system at the very moment of its last look', async () => {
    const farm = await makeFarm();
    // One listing fails, from about where the task has run to where the worker has left.
    for (let n = 46; n <= 56; n++) {
      const id = await farm.submit('--', 'true');
      const w = farm.start(['worker', '--name', 'w1', '--until-empty', '--poll', '50ms'], {
        env: { TQ_FAULT: `fail-some:EIO:list:${n}:${n}` },
      });
      const ran = await w.ended;
      expect(ran.code, `${n}: ${ran.stderr}`).toBe(0);
      expect((await farm.show(id)).state).toBe('done');
      expect(sessions(farm)).toEqual([]);
    }
  });

  it('A11: tq run --here ends with its own task, whatever else waits for a retry', async () => {
    const farm = await makeFarm();
    const other = await farm.submit('--retries', '3', '--backoff', 'fixed:1h', '--', 'false');
    const w = await farm.worker(['--name', 'w1']);
    await farm.reaches(other, 'delayed');
    await w.stop();
    const ran = await farm.tq(['run', '--here', '--', 'echo', 'hi']);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toBe('hi\n');
    expect((await farm.show(other)).state).toBe('delayed');
  });
});
