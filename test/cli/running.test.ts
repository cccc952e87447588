/** How a task runs, seen from outside: slots, hooks, output, limits on time, processes, what it finds and what it leaves. */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isThere, makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];

/** Runs everything that is queued. */
async function drain(farm: Farm, ...args: string[]): Promise<void> {
  await farm.ok(['worker', '--until-empty', '--poll', '50ms', ...args]);
}

async function logOf(farm: Farm, id: string): Promise<string> {
  return farm.ok(['logs', id]);
}

async function pidIn(file: string): Promise<number> {
  await until(
    () => fs.existsSync(file) && fs.readFileSync(file, 'utf8').trim() !== '',
    () => `a pid in ${file}`,
  );
  return Number(fs.readFileSync(file, 'utf8').trim().split('\n')[0]);
}

const allGone = (pids: readonly number[]): Promise<void> =>
  until(
    () => !pids.some(isThere),
    () => `processes ${pids.join(' ')} are gone`,
  );

describe('slots and gates', () => {
  it('B2: -j 3 runs three of ten tasks at once, never four', async () => {
    const farm = await makeFarm();
    // Each task counts the marks of those that run with it.
    const line = 'mkdir -p marks; : > marks/$TQ_TASK_ID; ls marks | wc -l >> counts; sleep 0.1; rm marks/$TQ_TASK_ID';
    for (let i = 0; i < 10; i++) await farm.submit(...sh(line));
    await drain(farm, '-j', '3');
    const counts = fs.readFileSync(path.join(farm.dir, 'counts'), 'utf8').trim().split(/\s+/).map(Number);
    expect(counts).toHaveLength(10);
    expect(Math.max(...counts)).toBeLessThanOrEqual(3);
    expect(Math.max(...counts)).toBeGreaterThan(1);
  });

  it('B2: --jobs auto is the number of cpus', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', 'auto', '--name', 'w1']);
    const [row] = JSON.parse(await farm.ok(['worker', 'ls', '--json'])) as Array<{ jobs: number }>;
    expect(row!.jobs).toBe(os.availableParallelism());
    await w.stop();
  });

  it('B3: with --gate nothing is taken until it says yes, and tq why names it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    await farm.worker(['--gate', 'test -f ok', '--name', 'w1']);
    await until(
      async () => (await farm.ok(['why', id])).includes('gate'),
      () => 'why names the gate',
    );
    expect((await farm.show(id)).state).toBe('queued');
    fs.writeFileSync(path.join(farm.dir, 'ok'), '');
    await farm.reaches(id, 'done');
  });
});

describe('hooks', () => {
  it('B4: pre and post run once for each attempt, post also after a failure, and post changes nothing', async () => {
    const farm = await makeFarm();
    const good = await farm.submit('--', 'true');
    const bad = await farm.submit('--retries', '1', '--backoff', 'none', '--', 'false');
    const slow = await farm.submit('--timeout', '200ms', '--grace', '100ms', '--', 'sleep', '60');
    await drain(farm, '--pre', `echo pre $TQ_TASK_ID >> ${farm.dir}/hooks`, '--post', `echo post $TQ_TASK_ID >> ${farm.dir}/hooks; false`);
    const lines = fs.readFileSync(path.join(farm.dir, 'hooks'), 'utf8').trim().split('\n');
    for (const [id, n] of [
      [good, 1],
      [bad, 2],
      [slow, 1],
    ] as const) {
      expect(lines.filter((l) => l === `pre ${id}`)).toHaveLength(n);
      expect(lines.filter((l) => l === `post ${id}`)).toHaveLength(n);
    }
    expect((await farm.show(good)).state).toBe('done');
    expect((await farm.show(slow)).attempts[0]!.outcome).toBe('timeout');
  });

  it('B4: post runs after a cancel', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--grace', '100ms', '--', 'sleep', '60');
    await farm.worker(['--post', `echo post > ${farm.dir}/post`]);
    await farm.reaches(id, 'running');
    await farm.ok(['cancel', id, '--wait']);
    expect((await farm.show(id)).state).toBe('canceled');
    expect(fs.readFileSync(path.join(farm.dir, 'post'), 'utf8')).toBe('post\n');
  });

  it('B4: a failing pre keeps the command from running, and the attempt is rejected', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('touch ran'));
    await drain(farm, '--pre', 'exit 3');
    const task = await farm.show(id);
    expect(task.attempts.map((a) => a.outcome)).toEqual(['rejected']);
    expect(task.state).toBe('failed');
    expect(task.reason).toContain('pre');
    // Like all that could not be started.
    expect(task.exitCode).toBe(126);
    expect((await farm.tq(['wait', '--exit-code', id])).code).toBe(126);
    expect(fs.existsSync(path.join(farm.dir, 'ran'))).toBe(false);
  });
});

describe('output', () => {
  it('B6: lines of the two streams come out in their order', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('for i in 1 2 3 4 5; do echo out$i; sleep 0.01; echo err$i >&2; sleep 0.01; done'));
    await drain(farm);
    expect(await logOf(farm, id)).toBe([1, 2, 3, 4, 5].map((i) => `out${i}\nerr${i}\n`).join(''));
  });

  it('B6: --split keeps the streams apart', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--split', ...sh('echo o; echo e >&2; exit 1'));
    await drain(farm);
    expect(await farm.ok(['logs', id, '--stdout'])).toBe('o\n');
    expect(await farm.ok(['logs', id, '--stderr'])).toBe('e\n');
    expect((await farm.show(id)).reason).toBe('e');
  });

  it('B6: 10 MB of binary, a line of 100 KB, a character split between two writes and a last line without its end are byte-exact', async () => {
    const farm = await makeFarm();
    const bytes = Buffer.alloc(10 << 20);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 131 + (i >> 8)) & 255;
    fs.writeFileSync(path.join(farm.dir, 'blob'), bytes);
    const long = `${'x'.repeat(100_000)}\n`;
    fs.writeFileSync(path.join(farm.dir, 'long'), long);
    const binary = await farm.submit('--', 'cat', 'blob');
    const line = await farm.submit('--', 'cat', 'long');
    const split = await farm.submit(...sh("printf '\\303'; sleep 0.05; printf '\\244 end'"));
    await drain(farm);
    expect((await farm.tq(['logs', binary])).bytes.equals(bytes)).toBe(true);
    expect(await logOf(farm, line)).toBe(long);
    expect(await logOf(farm, split)).toBe('ä end');
  });

  it('B6: output far larger than the memory it may take does not grow the worker', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'head', '-c', '300M', '/dev/zero');
    const w = await farm.worker();
    const rss = (): number => Number(/VmHWM:\s+(\d+)/.exec(fs.readFileSync(`/proc/${w.pid}/status`, 'utf8'))![1]);
    const before = rss();
    await farm.reaches(id, 'done');
    expect(rss() - before).toBeLessThan(50_000);
    expect(fs.statSync((await farm.ok(['logs', id, '--path'])).trim()).size).toBe(300 << 20);
  });

  it('B7: tq logs -f on a queued task waits for its start and ends with it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('echo one; sleep 0.2; echo two'));
    const follow = farm.start(['logs', '-f', id]);
    await farm.worker();
    const ran = await follow.ended;
    expect(ran).toMatchObject({ code: 0, stdout: 'one\ntwo\n' });
  });

  it('B7: the tail, an older attempt and the path', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '--retries',
      '1',
      '--backoff',
      'none',
      ...sh('for i in 1 2 3 4 5 6 7; do echo $TQ_ATTEMPT.$i; done; exit 1'),
    );
    await drain(farm);
    expect(await farm.ok(['logs', id, '-n', '2'])).toBe('2.6\n2.7\n');
    expect(await farm.ok(['logs', id, '--attempt', '1', '-n', '1'])).toBe('1.7\n');
    expect(fs.readFileSync((await farm.ok(['logs', id, '--path'])).trim(), 'utf8')).toContain('2.7');
  });
});

describe('limits on time', () => {
  it('B8: a timeout ends the task failed with outcome timeout', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--timeout', '300ms', '--grace', '200ms', '--', 'sleep', '60');
    await drain(farm);
    const task = await farm.show(id);
    expect(task.state).toBe('failed');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['timeout']);
  });

  it('B8 M2: tq run of a task that times out exits 1', async () => {
    const farm = await makeFarm();
    await farm.worker();
    expect((await farm.tq(['run', '--timeout', '200ms', '--grace', '100ms', '--', 'sleep', '60'])).code).toBe(1);
  });

  it('B9: what ignores TERM is killed after the grace, with its grandchild', async () => {
    const farm = await makeFarm();
    const line = "trap '' TERM; sh -c 'trap \"\" TERM; echo $$ > grandchild; sleep 60' & echo $$ > child; while :; do sleep 1; done";
    const id = await farm.submit('--timeout', '700ms', '--grace', '300ms', ...sh(line));
    await farm.worker();
    const pids = [await pidIn(path.join(farm.dir, 'child')), await pidIn(path.join(farm.dir, 'grandchild'))];
    await farm.reaches(id, 'failed');
    await allGone(pids);
  });

  it('B9 E2: the same on a cancel from another process', async () => {
    const farm = await makeFarm();
    const line = "trap '' TERM; setsid sh -c 'echo $$ > grandchild; sleep 60' & echo $$ > child; while :; do sleep 1; done";
    const id = await farm.submit('--grace', '300ms', ...sh(line));
    await farm.worker();
    const pids = [await pidIn(path.join(farm.dir, 'child')), await pidIn(path.join(farm.dir, 'grandchild'))];
    await farm.ok(['cancel', id, '--reason', 'no more', '--wait']);
    await allGone(pids);
    const task = await farm.show(id);
    expect(task).toMatchObject({ state: 'canceled', reason: 'no more' });
    expect(task.attempts.map((a) => a.outcome)).toEqual(['canceled']);
  });

  it('B10: --deadline ends the retries about when it is over, pauses counted', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--deadline', '2s', '--retries', '99', '--backoff', 'fixed:300ms', '--', 'false');
    const task = await farm.reaches(id, 'failed');
    const first = Date.parse(task.attempts[0]!.startedAt!);
    const lasted = Date.parse(task.endedAt!) - first;
    expect(task.reason).toContain('deadline');
    expect(lasted).toBeGreaterThanOrEqual(1900);
    expect(lasted).toBeLessThan(4000);
    expect(task.attempts.length).toBeGreaterThan(2);
  });

  it('B10: --stall ends a silent task, and leaves one that writes or reports progress', async () => {
    const farm = await makeFarm();
    const silent = await farm.submit('--stall', '500ms', '--grace', '100ms', '--', 'sleep', '60');
    const talks = await farm.submit('--stall', '500ms', ...sh('for i in 1 2 3 4 5 6; do echo x; sleep 0.2; done'));
    const reports = await farm.submit('--stall', '500ms', ...sh('for i in 1 2 3 4 5 6; do echo "$i" > $TQ_PROGRESS_FILE; sleep 0.2; done'));
    await drain(farm, '-j', '3');
    expect((await farm.show(silent)).attempts[0]!.outcome).toBe('stalled');
    expect((await farm.show(talks)).state).toBe('done');
    expect((await farm.show(reports)).state).toBe('done');
  });

  it('D10: the next attempt starts only after every process of the one before is gone', async () => {
    const farm = await makeFarm();
    const line = "trap '' TERM; flock -n lock true || echo OVERLAP; exec 9>lock; flock -n 9 || echo OVERLAP; while :; do sleep 0.1; done";
    const id = await farm.submit('--timeout', '300ms', '--grace', '300ms', '--retries', '1', '--backoff', 'none', ...sh(line));
    await farm.worker();
    const task = await farm.reaches(id, 'failed');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['timeout', 'timeout']);
    for (const n of ['1', '2']) expect(await farm.ok(['logs', id, '--attempt', n])).not.toContain('OVERLAP');
  });
});

describe('what cannot be started', () => {
  it('B11: a missing program is rejected and fails 127, one that is not executable 126, a missing directory with its path', async () => {
    const farm = await makeFarm();
    fs.writeFileSync(path.join(farm.dir, 'plain'), 'x', { mode: 0o644 });
    const missing = await farm.submit('--', 'no-such-program');
    const plain = await farm.submit('--', './plain');
    const nowhere = await farm.submit('-C', '/no/such/dir', '--', 'true');
    await drain(farm);
    const results = await Promise.all([missing, plain, nowhere].map((id) => farm.show(id)));
    for (const t of results) {
      expect(t.state).toBe('failed');
      expect(t.attempts.map((a) => a.outcome)).toEqual(['rejected']);
    }
    expect(results.map((t) => t.exitCode)).toEqual([127, 126, 126]);
    expect(results[0]!.reason).toContain('no-such-program');
    expect(results[2]!.reason).toContain('/no/such/dir');
  });

  it('B11: rejected where the program is missing, done where it is, without a retry', async () => {
    const farm = await makeFarm();
    const bin = path.join(farm.dir, 'bin');
    fs.mkdirSync(bin);
    fs.writeFileSync(path.join(bin, 'only-here'), '#!/bin/sh\necho here\n', { mode: 0o755 });
    // The worker's PATH reaches its tasks: it is what differs between two machines.
    await farm.worker(['--name', 'w1', '--pass-env', 'PATH']);
    await farm.worker(['--name', 'w2', '--pass-env', 'PATH'], { env: { PATH: `${bin}:${process.env['PATH']}` } });
    await until(
      async () => (await farm.ok(['worker', 'ls'])).match(/awake/g)?.length === 2,
      () => 'both are awake',
    );
    for (let i = 0; i < 4; i++) {
      const id = await farm.submit('--', 'only-here');
      const task = await farm.reaches(id, 'done');
      expect(task.attempts.at(-1)).toMatchObject({ worker: 'w2', outcome: 'succeeded' });
    }
  });

  it('B11: what cannot be started because there are too many processes is rejected, and the worker lives', async () => {
    const farm = await makeFarm();
    // The limit does not hold for root: then it is another user's worker.
    const root = process.getuid?.() === 0;
    const as = root ? { uid: 65_534, gid: 65_534 } : {};
    const home = path.join(farm.dir, 'theirs');
    fs.mkdirSync(home);
    fs.chmodSync(farm.dir, 0o755);
    if (root) fs.chownSync(home, 65_534, 65_534);
    const options = { ...as, cwd: home, env: { PATH: process.env['PATH'], HOME: home, TMPDIR: home, TQ_DIR: `${home}/q` } };
    const ok = (...args: string[]): string => execFileSync(TQ, args, { ...options, encoding: 'utf8' }).trim();
    const stateOf = (id: string): { state: string; attempts: Array<{ outcome: string; reason: string }> } =>
      JSON.parse(ok('show', '--json', id)) as { state: string; attempts: Array<{ outcome: string; reason: string }> };
    const ends = (id: string, state: string): Promise<void> =>
      until(
        () => stateOf(id).state === state,
        () => `${id} is ${state}: it is ${stateOf(id).state}`,
      );
    ok('init', `${home}/q`);
    const worker = spawn(TQ, ['worker', '--poll', '50ms'], { ...options, stdio: 'ignore' });
    const ended = new Promise<number | null>((resolve) => worker.on('close', resolve));
    try {
      await ends(ok('submit', '--', 'true'), 'done');
      // Its own threads are more than one.
      execFileSync('prlimit', ['--pid', String(worker.pid), '--nproc=1:'], as);
      const refused = ok('submit', '--', 'true');
      await ends(refused, 'failed');
      expect(stateOf(refused).attempts).toMatchObject([{ outcome: 'rejected', reason: expect.stringContaining('EAGAIN') as string }]);
      expect(worker.exitCode).toBeNull();
      const [, hard] = execFileSync('prlimit', ['--pid', String(worker.pid), '--nproc', '--raw', '--noheadings', '-o', 'SOFT,HARD'], {
        ...as,
        encoding: 'utf8',
      })
        .trim()
        .split(/\s+/);
      execFileSync('prlimit', ['--pid', String(worker.pid), `--nproc=${hard}:`], as);
      await ends(ok('submit', '--', 'true'), 'done');
    } finally {
      worker.kill('SIGTERM');
    }
    expect(await ended).toBe(0);
  });

  it('B11: an argument list that is too long is rejected, 126', async () => {
    const farm = await makeFarm();
    const file = path.join(farm.dir, 'task.json');
    // No shell passes such a list, so it comes by the script's own words.
    fs.writeFileSync(file, 'x'.repeat(140_000));
    const id = await farm.submit('--', 'true', fs.readFileSync(file, 'utf8').slice(0, 131_000), 'y'.repeat(131_000));
    await drain(farm);
    expect((await farm.show(id)).state).toBe('done');
    const q = await farm.open();
    const { submitTask } = await import('../../src/queue/submit.ts');
    const base = {
      queue: 'default',
      priority: 0,
      cwd: farm.dir,
      env: { PATH: '/bin:/usr/bin' },
      envMode: 'min',
      submittedBy: { user: 'u', host: 'h' },
      submitDir: farm.dir,
      retries: 0,
      backoff: { kind: 'none' },
      jitter: false,
      graceMs: 1000,
      onLost: 'requeue',
      split: false,
    } as const;
    const long = (await submitTask(q, { ...base, command: ['true', 'z'.repeat(200_000)] })).id;
    await drain(farm);
    expect(await farm.show(long)).toMatchObject({ state: 'failed', exitCode: 126 });
  });
});

describe('ends and records', () => {
  it('B12 M2: a child killed by a signal is signaled, tq run exits 137, and the worker goes on', async () => {
    const farm = await makeFarm();
    await farm.worker();
    expect((await farm.tq(['run', ...sh('kill -9 $$')])).code).toBe(137);
    const task = JSON.parse(await farm.ok(['show', '--json', '@last'])) as { attempts: Array<{ outcome: string; signal: string }> };
    expect(task.attempts[0]).toMatchObject({ outcome: 'signaled', signal: 'SIGKILL' });
    expect((await farm.tq(['run', '--', 'true'])).code).toBe(0);
  });

  it.runIf(process.platform === 'linux')('B12: children are likelier victims of the kernel than their worker', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('sleep 0.3; cat /proc/self/oom_score_adj'));
    const w = await farm.worker();
    await farm.reaches(id, 'done');
    const own = Number(fs.readFileSync(`/proc/${w.pid}/oom_score_adj`, 'utf8'));
    expect(Number(await logOf(farm, id))).toBeGreaterThan(own);
  });

  it('B13: an attempt is recorded with worker, host, pid, times, code, cpu and memory', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('i=0; while [ $i -lt 200000 ]; do i=$((i+1)); done; exit 4'));
    await drain(farm, '--name', 'w1');
    const [a] = (await farm.show(id)).attempts;
    expect(a).toMatchObject({ attempt: 1, worker: 'w1', host: os.hostname(), outcome: 'failed', exitCode: 4, signal: null });
    expect(a!.pid).toBeGreaterThan(1);
    expect(Date.parse(a!.endedAt!)).toBeGreaterThanOrEqual(Date.parse(a!.startedAt!));
    expect(a!.durationMs).toBeGreaterThan(0);
    expect(a!.cpuMs).toBeGreaterThan(0);
    expect(a!.maxRssKb).toBeGreaterThan(100);
  });

  it('B13: the reason is the error file, else the last line of what it wrote', async () => {
    const farm = await makeFarm();
    const a = await farm.submit(...sh('echo noise; echo boom >&2; exit 1'));
    const b = await farm.submit(...sh('echo noise; echo "disk on fire" > $TQ_ERROR_FILE; exit 1'));
    await drain(farm);
    expect((await farm.show(a)).reason).toBe('boom');
    expect((await farm.show(b)).reason).toBe('disk on fire');
    expect(await farm.ok(['ls', '-a'])).toContain('disk on fire');
  });

  it('B14: progress by the verb and by the file', async () => {
    const farm = await makeFarm();
    const a = await farm.submit(...sh('$TQ progress 40% "epoch 4"; while [ ! -e go ]; do sleep 0.05; done'));
    const b = await farm.submit(...sh("echo '30 epoch 3' > $TQ_PROGRESS_FILE; while [ ! -e go ]; do sleep 0.05; done"));
    await farm.worker(['-j', '2']);
    await until(
      async () => (await farm.show(a)).progress !== null && (await farm.show(b)).progress !== null,
      () => 'both report progress',
    );
    expect((await farm.show(a)).progress).toEqual({ percent: 40, message: 'epoch 4' });
    expect((await farm.show(b)).progress).toEqual({ percent: 30, message: 'epoch 3' });
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(a, 'done');
  });

  it('B14: a thousand progress reports make no extra writes on the share', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      ...sh(
        'case $TQ_PROGRESS_FILE in $TQ_DIR/*) exit 9;; esac; i=0; while [ $i -lt 1000 ]; do echo $((i/10)) > $TQ_PROGRESS_FILE; i=$((i+1)); done',
      ),
    );
    await drain(farm);
    expect((await farm.show(id)).state).toBe('done');
  });
});

describe('what a task finds', () => {
  it('B15: every variable is set, $TQ is this tq, and variables without meaning are unset', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', 'named', '-g', 'grp', '-q', 'lane', ...sh('env; "$TQ" --version'));
    await drain(farm, '--name', 'w1', '-q', 'lane', '--var', 'store=/mnt/a');
    const text = await logOf(farm, id);
    const env = new Map(text.split('\n').map((l) => [l.slice(0, l.indexOf('=')), l.slice(l.indexOf('=') + 1)]));
    expect(env.get('TQ_DIR')).toBe(farm.queue);
    expect(env.get('TQ_TASK_ID')).toBe(id);
    expect(env.get('TQ_TASK_NAME')).toBe('named');
    expect(env.get('TQ_ATTEMPT')).toBe('1');
    expect(env.get('TQ_GROUP')).toBe('grp');
    expect(env.get('TQ_QUEUE')).toBe('lane');
    expect(env.get('TQ_WORKER')).toBe('w1');
    expect(env.get('TQ_SLOT')).toBe('1');
    expect(env.get('TQ_CPUS')).toBe('1');
    expect(env.get('TQ_SUBMIT_DIR')).toBe(farm.dir);
    expect(env.get('TQ_VAR_STORE')).toBe('/mnt/a');
    expect(env.get('TQ_SESSION')).toMatch(/^w1\./);
    for (const name of ['TQ_STATE_DIR', 'TQ_TMPDIR', 'TQ_RESULT_FILE', 'TQ_PROGRESS_FILE', 'TQ_ERROR_FILE'])
      expect(env.get(name)).toMatch(/^\//);
    for (const name of ['TQ_INDEX', 'TQ_ARRAY_SIZE', 'TQ_ITEM', 'TQ_PARENT_ID', 'TQ_GPUS']) expect(env.has(name)).toBe(false);
    expect(text).toContain(await farm.ok(['--version']));
  });

  it('B15: the state directory lasts over attempts, the temporary one is gone at the end', async () => {
    const farm = await makeFarm();
    const line =
      'echo $TQ_ATTEMPT >> $TQ_STATE_DIR/seen; echo x > $TQ_TMPDIR/x; echo $TQ_TMPDIR; cat $TQ_STATE_DIR/seen; [ $TQ_ATTEMPT -eq 2 ]';
    const id = await farm.submit('--retries', '1', '--backoff', 'none', ...sh(line));
    await drain(farm);
    const [tmp, ...seen] = (await logOf(farm, id)).trim().split('\n');
    expect(seen).toEqual(['1', '2']);
    expect(fs.existsSync(tmp!)).toBe(false);
  });

  it('B15: the temporary directory is gone also when the worker is killed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('echo $TQ_TMPDIR > where; echo x > $TQ_TMPDIR/x; sleep 60'));
    const w = await farm.worker();
    await until(
      () => fs.existsSync(path.join(farm.dir, 'where')),
      () => 'the task says where',
    );
    const tmp = fs.readFileSync(path.join(farm.dir, 'where'), 'utf8').trim();
    w.signal('SIGKILL');
    await until(
      () => !fs.existsSync(tmp),
      () => `${tmp} is gone`,
    );
    await farm.reaches(id, 'queued');
  });

  it('A3 F13: what the environment modes let through', async () => {
    const farm = await makeFarm();
    const env = { SECRET: 'hush', TZ: 'UTC', LC_ALL: 'C' };
    const min = (await farm.ok(['submit', '--', 'env'], { env })).trim();
    const named = (await farm.ok(['submit', '-e', 'SECRET', '-e', 'MORE=1', '--', 'env'], { env })).trim();
    const all = (await farm.ok(['submit', '--env-mode', 'all', '--', 'env'], { env })).trim();
    const none = (await farm.ok(['submit', '--env-mode', 'none', '--', '/usr/bin/env'], { env })).trim();
    await drain(farm);
    expect(await logOf(farm, min)).toMatch(/^TZ=UTC$/m);
    expect(await logOf(farm, min)).not.toContain('hush');
    expect(await logOf(farm, named)).toMatch(/^SECRET=hush$/m);
    expect(await logOf(farm, named)).toMatch(/^MORE=1$/m);
    expect(await logOf(farm, all)).toMatch(/^SECRET=hush$/m);
    const bare = await logOf(farm, none);
    expect(bare).not.toMatch(/^HOME=/m);
    expect(bare).toMatch(/^TQ_TASK_ID=/m);
  });

  it('A5: standard input is stored with the task; without it a read gets end of file', async () => {
    const farm = await makeFarm();
    const id = (await farm.ok(['submit', '--stdin', '-', '--', 'cat'], { input: 'x\n' })).trim();
    const empty = await farm.submit(...sh('wc -c'));
    await drain(farm);
    expect(await logOf(farm, id)).toBe('x\n');
    expect((await logOf(farm, empty)).trim()).toBe('0');
  });

  it('A5: the text of a script counts at submit, whatever happens to the file', async () => {
    const farm = await makeFarm();
    const file = path.join(farm.dir, 'run.sh');
    fs.writeFileSync(file, '#!/bin/bash\n#TQ --retries 2\necho "old $1 $BASH"\n', { mode: 0o755 });
    const id = await farm.submit('--script', file, '--', 'word');
    const other = await farm.submit('--script', file, '--retries', '1', '--', 'word');
    fs.rmSync(file);
    await drain(farm);
    expect(await logOf(farm, id)).toMatch(/^old word .*bash/);
    expect((await farm.show(id)).retries).toBe(2);
    expect((await farm.show(other)).retries).toBe(1);
  });

  it('A2: argv is not re-quoted; -c goes through a shell', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const ran = await farm.tq(['run', '--', 'printf', '%s.', 'a b', '*', '$HOME', '']);
    expect(ran).toMatchObject({ code: 0, stdout: 'a b.*.$HOME..' });
    expect((await farm.tq(['run', '-c', 'echo a; exit 3'])).code).toBe(3);
    expect((await farm.tq(['run', '--shell', '/bin/bash', '-c', 'echo ${BASH_VERSION:+bash}'])).stdout).toBe('bash\n');
  });

  it('A11: tq run keeps the streams apart and passes the code on', async () => {
    const farm = await makeFarm();
    await farm.worker();
    expect(await farm.tq(['run', ...sh('echo o; echo e >&2; exit 7')])).toMatchObject({ code: 7, stdout: 'o\n', stderr: 'e\n' });
  });

  it('A11: tq run --here runs the task itself when no worker can', async () => {
    const farm = await makeFarm();
    expect(await farm.tq(['run', '--here', ...sh('echo here; exit 5')])).toMatchObject({ code: 5, stdout: 'here\n' });
    expect(JSON.parse(await farm.ok(['worker', 'ls', '--json']))).toEqual([]);
  });
});

describe('the guardian', () => {
  it('B16 I3: kill -9 of a worker leaves no child, grandchild or setsid escapee, and its task goes back at once', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('sleep 61 & echo $! > a; setsid sh -c "echo \\$\\$ > b; sleep 62" & echo $$ > c; sleep 63'));
    const w = await farm.worker();
    const pids = await Promise.all(['a', 'b', 'c'].map((f) => pidIn(path.join(farm.dir, f))));
    w.signal('SIGKILL');
    await allGone(pids);
    const task = await farm.reaches(id, 'queued');
    expect(task.attempts.map((a) => a.outcome)).toEqual(['lost']);
  });

  it('B16 I4: worker and guardian killed: the next worker ends what they left, and only then claims', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(...sh('exec 9>lock; flock -n 9 || echo OVERLAP; echo $$ >> pids; [ $TQ_ATTEMPT -gt 1 ] || sleep 64'));
    const w = await farm.worker(['--name', 'w1']);
    const child = await pidIn(path.join(farm.dir, 'pids'));
    const guardian = Number(
      fs
        .readFileSync(`/proc/${w.pid}/task/${w.pid}/children`, 'utf8')
        .trim()
        .split(' ')
        .find((pid) => fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').includes('__guardian')),
    );
    expect(guardian).toBeGreaterThan(1);
    process.kill(guardian, 'SIGKILL');
    w.signal('SIGKILL');
    await w.ended;
    expect(isThere(child)).toBe(true);
    await farm.worker(['--name', 'w1']);
    const task = await farm.reaches(id, 'done');
    expect(isThere(child)).toBe(false);
    expect(task.attempts.map((a) => a.outcome)).toEqual(['lost', 'succeeded']);
    expect(await logOf(farm, id)).not.toContain('OVERLAP');
  });
});
