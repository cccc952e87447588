/** Who is dead, who only looks dead, and what survives: leases, zombies, outages, full disks. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isThere, makeFarm, sleep, until, type Farm, type TestWorker } from '../helpers/tq.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];
const outcomes = async (farm: Farm, id: string): Promise<Array<string | null>> => (await farm.show(id)).attempts.map((a) => a.outcome);

/** A task that holds a lock of the kernel while it runs, and says OVERLAP if an earlier attempt still has it. */
const fenced = (line: string): string[] => sh(`exec 9>lock.$TQ_TASK_ID; flock -n 9 || echo OVERLAP > overlap; ${line}`);

function expectNoOverlap(farm: Farm): void {
  expect(fs.existsSync(path.join(farm.dir, 'overlap'))).toBe(false);
}

const running = (farm: Farm): string[] => fs.readdirSync(path.join(farm.queue, 'running'));

/** The guardian of a worker: a stopped worker's guardian is what ends its tasks. */
function freeze(w: TestWorker): void {
  w.signal('SIGSTOP');
}

describe('the lease', () => {
  it('I2 I6: a worker stopped past its lease loses its task; continued it ends it, publishes nothing, and takes work again', async () => {
    const farm = await makeFarm({ lease: 2000 });
    const w1 = await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...fenced('echo $TQ_ATTEMPT >> starts; [ $TQ_ATTEMPT -gt 1 ] || sleep 60'));
    await until(
      () => fs.existsSync(path.join(farm.dir, 'starts')),
      () => 'the task runs',
    );
    await farm.worker(['--name', 'w2']);
    freeze(w1);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => [a.worker, a.outcome])).toEqual([
      ['w1', 'lost'],
      ['w2', 'succeeded'],
    ]);
    w1.signal('SIGCONT');
    await until(
      () => running(farm).some((s) => s.startsWith('w1.')) && running(farm).length === 2,
      () => 'w1 has a new session',
    );
    await farm.ok(['worker', 'sleep', 'w2']);
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('asleep'),
      () => 'w2 sleeps',
    );
    const next = await farm.submit('--', 'true');
    expect((await farm.reaches(next, 'done')).attempts[0]!.worker).toBe('w1');
    expect(await outcomes(farm, id)).toEqual(['lost', 'succeeded']);
    expect(fs.readFileSync(path.join(farm.dir, 'starts'), 'utf8')).toBe('1\n2\n');
    expectNoOverlap(farm);
  });

  it('I5: a worker that just started buries no live peer, however short the pause since', async () => {
    const farm = await makeFarm({ lease: 1000 });
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...fenced('while [ ! -e go ]; do sleep 0.05; done'));
    await farm.reaches(id, 'running');
    for (let i = 0; i < 5; i++) {
      const w = await farm.worker(['--name', 'w2']);
      await sleep(150);
      await w.stop();
    }
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    expect((await farm.reaches(id, 'done')).attempts).toHaveLength(1);
  });

  it('I5: an observer that was stopped for longer than the lease starts its watch anew', async () => {
    const farm = await makeFarm({ lease: 1500 });
    await farm.worker(['--name', 'w1']);
    const w2 = await farm.worker(['--name', 'w2']);
    const id = await farm.submit(...fenced('while [ ! -e go ]; do sleep 0.05; done'));
    await farm.reaches(id, 'running');
    freeze(w2);
    await sleep(3000);
    w2.signal('SIGCONT');
    await sleep(700);
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    expect(await outcomes(farm, (await farm.reaches(id, 'done')).id)).not.toContain(null);
    expectNoOverlap(farm);
  });

  it('I16: with every worker dead ls shows the task running on a dead one, and doctor --fix hands it back', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--', 'sleep', '61');
    await farm.reaches(id, 'running');
    const children = fs.readFileSync(`/proc/${w.pid}/task/${w.pid}/children`, 'utf8').trim().split(' ').map(Number);
    const guardian = children.find((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('__guardian'))!;
    process.kill(guardian, 'SIGKILL');
    w.signal('SIGKILL');
    await w.ended;
    expect(await farm.ok(['ls'])).toContain('running');
    expect((await farm.tq(['doctor'])).code).toBe(1);
    await farm.ok(['doctor', '--fix']);
    expect((await farm.show(id)).state).toBe('queued');
    await until(
      () => children.every((pid) => !isThere(pid)),
      () => 'nothing is left running',
    );
    await farm.ok(['doctor']);
  });
});

describe('the queue is away', () => {
  it('I14: commands exit 4 and make nothing; a worker waits and goes on', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    for (const args of [['submit', '--', 'true'], ['ls'], ['status'], ['wait']]) expect((await farm.tq(args)).code).toBe(4);
    expect(fs.existsSync(farm.queue)).toBe(false);
    await until(
      () => w.stderr().includes('cannot be used'),
      () => 'the worker says so',
    );
    await sleep(1500);
    expect(w.stderr().split('\n').length).toBeLessThan(10);
    expect(fs.existsSync(farm.queue)).toBe(false);
    fs.renameSync(away, farm.queue);
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1\s+awake/);
  });

  it('I8: in a short outage children run on, and what ended meanwhile is published after, once', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '2']);
    const id = await farm.submit(...fenced('while [ ! -e go ]; do sleep 0.02; done; echo over'));
    const long = await farm.submit(...fenced('while [ ! -e go2 ]; do sleep 0.02; done'));
    await farm.reaches(id, 'running');
    await farm.reaches(long, 'running');
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await until(
      () => w.stderr().includes('kept on the local disk'),
      () => 'the outcome is kept',
    );
    fs.renameSync(away, farm.queue);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts).toHaveLength(1);
    fs.writeFileSync(path.join(farm.dir, 'go2'), '');
    expect((await farm.reaches(long, 'done')).attempts).toHaveLength(1);
  });

  it('I8: a worker that is killed meanwhile leaves its outcome on the local disk, and its next start publishes it', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...fenced('while [ ! -e go ]; do sleep 0.02; done'));
    await farm.reaches(id, 'running');
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await until(
      () => w.stderr().includes('kept on the local disk'),
      () => 'the outcome is kept',
    );
    w.signal('SIGKILL');
    await w.ended;
    // The guardian looks for the queue in vain and leaves.
    await sleep(300);
    fs.renameSync(away, farm.queue);
    await farm.worker(['--name', 'w1']);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['succeeded']);
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('I8: what a killed worker kept of a task that was given away meanwhile is discarded by its next start, which says so', async () => {
    const farm = await makeFarm({ lease: 3_600_000 });
    const disk = path.join(farm.dir, 'disk');
    const own = { env: { XDG_STATE_HOME: disk } };
    const w1 = await farm.worker(['--name', 'w1'], own);
    const id = await farm.submit(...sh('until [ -e end ]; do sleep 0.02; done; echo $TQ_ATTEMPT'));
    await farm.reaches(id, 'running');
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    fs.writeFileSync(path.join(farm.dir, 'end'), '');
    await until(
      () => w1.stderr().includes('kept on the local disk'),
      () => 'its outcome is kept',
    );
    w1.signal('SIGKILL');
    await w1.ended;
    // Whoever buries it cannot see what it kept, as on another machine.
    fs.renameSync(disk, `${disk}.away`);
    fs.renameSync(away, farm.queue);
    await farm.worker(['--name', 'w2']);
    const given = await farm.reaches(id, 'done');
    expect(given.attempts.map((a) => [a.worker, a.outcome])).toEqual([
      ['w1', 'lost'],
      ['w2', 'succeeded'],
    ]);
    fs.rmSync(disk, { recursive: true, force: true });
    fs.renameSync(`${disk}.away`, disk);
    const again = await farm.worker(['--name', 'w1'], own);
    await until(
      () => again.stderr().includes('given away'),
      () => 'it says that the task was given away',
    );
    expect(again.stderr()).toContain(id);
    expect((await farm.show(id)).attempts).toEqual(given.attempts);
  });

  it('I7: away for two thirds of the lease the children are ended, so that another attempt cannot overlap', async () => {
    const farm = await makeFarm({ lease: 3000 });
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...fenced('echo $$ > pid; [ $TQ_ATTEMPT -gt 1 ] || sleep 62'));
    const file = path.join(farm.dir, 'pid');
    await until(
      () => fs.existsSync(file) && fs.readFileSync(file, 'utf8') !== '',
      () => 'the task runs',
    );
    const pid = Number(fs.readFileSync(file, 'utf8'));
    const away = `${farm.queue}.away`;
    fs.renameSync(farm.queue, away);
    await until(
      () => !isThere(pid),
      () => 'the guardian ends it',
    );
    fs.renameSync(away, farm.queue);
    expect((await farm.reaches(id, 'done')).attempts.map((a) => a.outcome)).toEqual(['lost', 'succeeded']);
    expectNoOverlap(farm);
  });
});

describe('trouble with the disk', () => {
  it('I15: a worker whose disk is full keeps the outcome and publishes it when it can', async () => {
    const farm = await makeFarm();
    // Ten failing file creations, then the disk has space again: the variable is read per process.
    const w = await farm.worker(['--name', 'w1'], { env: { TQ_FAULT: 'fail-some:ENOSPC:create:8:14' } });
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push(await farm.submit('--', 'true'));
    for (const id of ids) {
      const task = await farm.reaches(id, 'done');
      expect(task.attempts.filter((a) => a.outcome === 'succeeded')).toHaveLength(1);
    }
    await w.stop();
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });
});

describe('what a worker says', () => {
  it('I14 I15: while the records of attempts cannot be written it says so once, not at every poll', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const w = await farm.worker(['--name', 'w1'], { env: { TQ_FAULT: 'fail-some:EACCES:mkdir@/runs/:1:40' } });
    await farm.reaches(id, 'done');
    await w.stop();
    const said = w.stderr().split('\n');
    expect(said.filter((line) => line.includes('EACCES')).length).toBeGreaterThan(0);
    expect(said.filter((line) => line.includes('given back')).length).toBeLessThanOrEqual(1);
    expect(said.length).toBeLessThan(12);
  });
});

describe('proof', () => {
  it('I3: a clean exit hands everything back whatever the lease', async () => {
    const farm = await makeFarm({ lease: 3_600_000 });
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--grace', '100ms', '--', 'sleep', '60');
    await farm.reaches(id, 'running');
    w.signal('SIGTERM');
    w.signal('SIGINT');
    await w.ended;
    expect((await farm.show(id)).state).toBe('queued');
    expect(running(farm)).toEqual([]);
  });

  it('I4: restarted under its name it runs its old tasks before later ones', async () => {
    const farm = await makeFarm({ lease: 3_600_000 });
    const w = await farm.worker(['--name', 'w1', '-j', '1']);
    const old = await farm.submit(...fenced('echo old >> order; [ $TQ_ATTEMPT -gt 1 ] || sleep 60'));
    await until(
      () => fs.existsSync(path.join(farm.dir, 'order')),
      () => 'the old one runs',
    );
    const later = await farm.submit(...sh('echo later >> order'));
    w.signal('SIGKILL');
    await w.ended;
    await farm.worker(['--name', 'w1', '-j', '1']);
    await farm.reaches(later, 'done');
    await farm.reaches(old, 'done');
    expect(fs.readFileSync(path.join(farm.dir, 'order'), 'utf8')).toBe('old\nold\nlater\n');
    expectNoOverlap(farm);
  });

  it('I11: --in is counted by the file server, whatever the clock of this machine says', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--in', '300ms', '--', 'true');
    const t = await farm.show(id);
    const made = fs.statSync(t.file).mtimeMs;
    expect(Math.abs(Date.parse(t.notBefore!) - made - 300)).toBeLessThan(50);
  });

  it('I12: a late outcome of an attempt that was given away changes nothing', async () => {
    const farm = await makeFarm({ lease: 2000 });
    const w1 = await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...sh('[ $TQ_ATTEMPT -gt 1 ] || sleep 60; echo $TQ_ATTEMPT'));
    await farm.reaches(id, 'running');
    freeze(w1);
    await farm.worker(['--name', 'w2']);
    await farm.reaches(id, 'done');
    const file = path.join(path.dirname((await farm.ok(['logs', id, '--path'])).trim()), `${id}.a1.json`);
    const before = fs.readFileSync(file, 'utf8');
    w1.signal('SIGCONT');
    await until(
      () => w1.stderr().includes('buried'),
      () => 'w1 learns of its burial',
    );
    await sleep(300);
    expect(fs.readFileSync(file, 'utf8')).toBe(before);
    expect((await farm.show(id)).state).toBe('done');
  });
});
