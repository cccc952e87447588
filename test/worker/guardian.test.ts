import { spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { bootClockMs, killAll, startTimeOf } from '../../src/worker/proc.ts';
import {
  allAlive,
  allGone,
  family,
  makePlace,
  pidsIn,
  programs,
  runtimes,
  until,
  type Place,
  type Runtime,
  type SmallWorker,
} from './drive.ts';

function oomOf(pid: number): number {
  return Number(fs.readFileSync(`/proc/${pid}/oom_score_adj`, 'utf8'));
}

/** The guardian has read what it was told when the child is marked for the out-of-memory killer. */
async function isWatched(pid: number, worker: SmallWorker): Promise<void> {
  await until('the guardian watches it', () => oomOf(pid) > oomOf(worker.pid));
}

describe.each(Object.keys(runtimes) as Runtime[])('the guardian under %s', (runtime) => {
  let place: Place;
  beforeEach(() => {
    place = makePlace();
  });
  afterEach(() => place.end());

  const inPlace = (name: string): string => path.join(place.dir, name);
  const report = (): string => (fs.existsSync(inPlace('report')) ? fs.readFileSync(inPlace('report'), 'utf8') : '');
  const LONG_LEASE_MS = 1_000_000;
  const SHORT_LEASE_MS = 1500;

  async function guarded(leaseMs: number, clock = 'boot'): Promise<{ worker: SmallWorker; guardian: number }> {
    const worker = await place.worker(runtime);
    return { worker, guardian: await guard(worker, leaseMs, clock) };
  }

  async function guard(worker: SmallWorker, leaseMs: number, clock = 'boot'): Promise<number> {
    worker.order({
      do: 'guard',
      command: [runtimes[runtime], path.join(programs, 'guardian.ts'), place.session, String(leaseMs), clock],
      session: place.session,
      leaseMs,
      onEnd: [inPlace('report')],
    });
    return Number((await worker.answer('guarded'))['pid']);
  }

  async function familyOf(worker: SmallWorker, name = 'family', attempt = 1): Promise<number[]> {
    fs.rmSync(inPlace('pids'), { force: true });
    const started = await worker.spawn(name, family(), { env: place.env({ TQ_ATTEMPT: String(attempt) }) });
    worker.order({ do: 'watch', pid: Number(started['pid']), taskId: 'task1', attempt });
    const pids = await pidsIn(inPlace('pids'), 3);
    expect(allAlive(pids)).toBe(true);
    return pids;
  }

  test('B16: a worker killed by -9 takes child, grandchild and one that called setsid with it, and then it is reported', async () => {
    const { worker, guardian } = await guarded(LONG_LEASE_MS);
    const pids = await familyOf(worker);
    process.kill(worker.pid, 'SIGKILL');
    await until('the family is gone', () => allGone(pids));
    await until('it is reported', () => report() !== '');
    expect(report()).toBe('worker died 0\n');
    await until('the guardian is gone too', () => allGone([guardian]));
  });

  test('B16: what was started but not announced yet is ended as well', async () => {
    const { worker } = await guarded(LONG_LEASE_MS);
    await worker.spawn('unannounced', family());
    const pids = await pidsIn(inPlace('pids'), 3);
    process.kill(worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone(pids)).toBe(true);
    expect(report()).toBe('worker died 0\n');
  });

  test('a watched group is ended even when its processes dropped the mark', async () => {
    const { worker } = await guarded(LONG_LEASE_MS);
    const started = await worker.spawn('unmarked', ['sleep', '1000'], { env: { PATH: '/usr/bin:/bin' } });
    const other = await worker.spawn('forgotten', ['sleep', '1000'], { env: { PATH: '/usr/bin:/bin' } });
    const [pid, otherPid] = [Number(started['pid']), Number(other['pid'])];
    for (const one of [otherPid, pid]) worker.order({ do: 'watch', pid: one, taskId: 'task1', attempt: 1 });
    await isWatched(pid, worker);
    worker.order({ do: 'unwatch', pid: otherPid });
    const last = await familyOf(worker);
    await isWatched(last[0]!, worker);
    process.kill(worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone([pid])).toBe(true);
    // And one that the worker said is not its own any more is left alone.
    expect(allAlive([otherPid])).toBe(true);
    killAll([otherPid], 'SIGKILL');
  });

  test('B16: neither Ctrl-C, TERM, HUP nor the end of the group of the worker reaches the guardian', async () => {
    const { worker, guardian } = await guarded(LONG_LEASE_MS);
    const pids = await familyOf(worker);
    await isWatched(pids[0]!, worker);
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.kill(guardian, signal);
    process.kill(-worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone(pids)).toBe(true);
  });

  test('I7: a stopped worker is cut off: its tasks are ended, nothing is reported, and it is obeyed again afterwards', async () => {
    const { worker, guardian } = await guarded(SHORT_LEASE_MS);
    worker.order({ do: 'keep ticking', everyMs: 50 });
    const pids = await familyOf(worker);
    process.kill(worker.pid, 'SIGSTOP');
    await until('the family is gone', () => allGone(pids));
    expect(allAlive([guardian])).toBe(true);
    process.kill(worker.pid, 'SIGCONT');
    expect(await worker.answer('exited', 'family')).toMatchObject({ signal: 'SIGKILL' });
    worker.order({ do: 'tick' });
    await worker.answer('ticked');

    const next = await familyOf(worker, 'next', 2);
    await isWatched(next[0]!, worker);
    expect(report()).toBe('');
    process.kill(worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone(next)).toBe(true);
    expect(report()).toBe('worker died 0\n');
  });

  test.each(['boot', 'awake'])('I7: a worker without a confirmed heartbeat loses its tasks, by the %s clock', async (clock) => {
    const { worker } = await guarded(SHORT_LEASE_MS, clock);
    const pids = await familyOf(worker);
    await until('the family is gone', () => allGone(pids));
    // What it starts nevertheless is ended too.
    fs.rmSync(inPlace('pids'));
    const again = await worker.spawn('again', ['sleep', '1000']);
    worker.order({ do: 'watch', pid: Number(again['pid']), taskId: 'task1', attempt: 2 });
    expect(await worker.answer('exited', 'again')).toMatchObject({ signal: 'SIGKILL' });
    expect(report()).toBe('');
    // It dies while cut off: that is another report.
    process.kill(worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(report()).toBe('cut off 0\n');
  });

  test.each(['boot', 'awake'])('I8: confirmed heartbeats keep the tasks alive over many leases, by the %s clock', async (clock) => {
    const { worker } = await guarded(SHORT_LEASE_MS, clock);
    worker.order({ do: 'keep ticking', everyMs: 50 });
    const pids = await familyOf(worker);
    const from = Number((await worker.answer('ticks'))['count']);
    await until('forty ticks went by', async () => Number((await worker.answer('ticks'))['count']) > from + 40);
    expect(allAlive(pids)).toBe(true);
    worker.order({ do: 'stop ticking' });
    await until('the family is gone', () => allGone(pids));
  });

  test('a guardian that was stopped itself reads the ticks that came meanwhile before it judges', async () => {
    const { worker, guardian } = await guarded(SHORT_LEASE_MS);
    worker.order({ do: 'keep ticking', everyMs: 50 });
    const pids = await familyOf(worker);
    await isWatched(pids[0]!, worker);
    process.kill(guardian, 'SIGSTOP');
    const from = Number((await worker.answer('ticks'))['count']);
    await until('more than a lease went by', async () => Number((await worker.answer('ticks'))['count']) > from + 40);
    process.kill(guardian, 'SIGCONT');
    await until('it had the time to judge', async () => Number((await worker.answer('ticks'))['count']) > from + 60);
    expect(allAlive(pids)).toBe(true);
  });

  test('a clean end kills nothing and reports nothing', async () => {
    const { worker, guardian } = await guarded(LONG_LEASE_MS);
    const pids = await familyOf(worker);
    await isWatched(pids[0]!, worker);
    worker.order({ do: 'close' });
    await worker.answer('closed');
    expect(allGone([guardian])).toBe(true);
    expect(allAlive(pids)).toBe(true);
    expect(report()).toBe('');
  });

  test('a lost guardian is told, and the next one knows what is announced again', async () => {
    const { worker, guardian } = await guarded(LONG_LEASE_MS);
    const pids = await familyOf(worker);
    process.kill(guardian, 'SIGKILL');
    await worker.answer('lost');
    // Talking to nobody does not hurt the worker.
    for (let i = 0; i < 100; i++) worker.order({ do: 'watch', pid: pids[0]!, taskId: 'task1', attempt: 1 });
    worker.order({ do: 'tick' });
    await worker.answer('ticked');
    expect(allAlive(pids)).toBe(true);

    await guard(worker, LONG_LEASE_MS);
    worker.order({ do: 'watch', pid: pids[0]!, taskId: 'task1', attempt: 1 });
    await isWatched(pids[0]!, worker);
    process.kill(worker.pid, 'SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone(pids)).toBe(true);
    expect(report()).toBe('worker died 0\n');
  });

  test('B12: when memory runs out the kernel prefers a task to its worker', async () => {
    const { worker, guardian } = await guarded(LONG_LEASE_MS);
    const [pid = 0] = await familyOf(worker);
    await isWatched(pid, worker);
    expect(oomOf(pid)).toBe(Math.min(1000, oomOf(worker.pid) + 500));
    expect(oomOf(guardian)).toBe(oomOf(worker.pid));
  });

  test('the guardian of a worker that itself runs in a task does not carry the marks of that task', async () => {
    const worker = await place.worker(runtime, ['env', `TQ_SESSION=${place.session}`, 'TQ_TASK_ID=outer', 'TQ_ATTEMPT=1']);
    const guardian = await guard(worker, LONG_LEASE_MS);
    await familyOf(worker);
    const environment = fs.readFileSync(`/proc/${guardian}/environ`, 'utf8').split('\0');
    expect(environment.filter((entry) => /^TQ_(SESSION|TASK_ID|ATTEMPT)=/.test(entry))).toEqual([]);
  });

  // The rest speaks to the guardian without a worker.

  function bare(worker: number, leaseMs: number): ReturnType<typeof spawn> {
    const args = [path.join(programs, 'guardian.ts'), place.session, String(leaseMs), 'boot', inPlace('report')];
    return spawn(runtimes[runtime], args, {
      stdio: ['pipe', 'ignore', 'ignore'],
      env: { ...process.env, TQ_GUARDED_PID: String(worker) },
    });
  }

  function task(env = place.env()): number {
    const child = spawn('sleep', ['1000'], { detached: true, stdio: 'ignore', env });
    return child.pid!;
  }

  test('a dead worker is noticed even when something else holds the pipe open', async () => {
    const worker = spawn('sleep', ['1000'], { stdio: 'ignore' });
    const guardian = bare(worker.pid!, LONG_LEASE_MS);
    const pid = task();
    guardian.stdin!.write(`+${pid} task1 1\n`);
    await until('it is watched', () => oomOf(pid) > oomOf(process.pid));
    worker.kill('SIGKILL');
    await until('it is reported', () => report() !== '');
    expect(allGone([pid])).toBe(true);
    expect(report()).toBe('worker died 0\n');
  });

  test('I7: a tick is as old as it says: one that waited in the pipe does not renew the lease', async () => {
    const guardian = bare(process.pid, SHORT_LEASE_MS);
    const confirmedAt = Math.floor(bootClockMs()!);
    const pid = task();
    guardian.stdin!.write(`+${pid} task1 1\n`);
    const ticking = setInterval(() => guardian.stdin!.write(`t ${confirmedAt}\n`), 20);
    await until('the task is gone', () => startTimeOf(pid) === null);
    clearInterval(ticking);
    guardian.stdin!.end('q\n');
    await until('the guardian is gone', () => allGone([guardian.pid!]));
    expect(report()).toBe('');
  });

  test('lines may come in any pieces, and what is no line is passed over', async () => {
    const guardian = bare(process.pid, LONG_LEASE_MS);
    const [one, two] = [task(), task({ PATH: '/bin' })];
    const text = `nonsense\n+1 init 1\n+-5 x 1\n+ 1\nt\n+${one} task1 1\n+${two} task2 7\n`;
    for (const piece of text.match(/[\s\S]{1,3}/g)!) {
      await new Promise((written) => guardian.stdin!.write(piece, written));
    }
    await until('both are watched', () => [one, two].every((pid) => oomOf(pid) > oomOf(process.pid)));
    guardian.stdin!.end();
    await until('it is reported', () => report() !== '');
    expect(allGone([one, two])).toBe(true);
  });
});
