import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest';
import { allAlive, allGone, family, makePlace, pidsIn, programs, runtimes, until, type Place, type Runtime } from './drive.ts';

function PATH(...dirs: string[]): { env: Record<string, string> } {
  return { env: { PATH: dirs.join(':') } };
}

function peakKb(pid: number): number {
  return Number(/^VmHWM:\s+(\d+)/m.exec(fs.readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]);
}

describe.each(Object.keys(runtimes) as Runtime[])('processes of tasks under %s', (runtime) => {
  let place: Place;
  beforeEach(() => {
    place = makePlace();
  });
  afterEach(() => place.end());

  function program(name: string, text: string, mode = 0o755): string {
    const file = path.join(place.dir, name);
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, text, { mode });
    return file;
  }

  test('a task that exits is known by its code', async () => {
    const worker = await place.worker(runtime);
    expect(await worker.run('ok', ['true'])).toMatchObject({ code: 0, signal: null });
    expect(await worker.run('seven', ['sh', '-c', 'exit 7'])).toMatchObject({ code: 7, signal: null });
    expect(await worker.run('most', ['sh', '-c', 'exit 255'])).toMatchObject({ code: 255, signal: null });
  });

  test('B12: a task that a signal ended is known by the signal, and the worker goes on', async () => {
    const worker = await place.worker(runtime);
    expect(await worker.run('killed', ['sh', '-c', 'kill -9 $$'])).toMatchObject({ code: null, signal: 'SIGKILL' });
    expect(await worker.run('crashed', ['sh', '-c', 'kill -SEGV $$'])).toMatchObject({ code: null, signal: 'SIGSEGV' });
    expect(await worker.run('next', ['true'])).toMatchObject({ code: 0 });
  });

  test('a task leads a process group and a session of its own', async () => {
    const worker = await place.worker(runtime);
    const ended = await worker.run('stat', ['sh', '-c', 'cat /proc/$$/stat']);
    const [pid, , , , group, session] = ended.text.split(' ');
    expect([group, session]).toEqual([pid, pid]);
  });

  test('a task begins with default signals, whatever its worker ignores', async () => {
    // A worker started by nohup, or by a shell with a trap, inherits ignored signals; and it catches some itself.
    const worker = await place.worker(runtime, ['sh', '-c', 'trap "" HUP INT PIPE USR1; exec "$@"', 'sh']);
    worker.order({ do: 'ignore signals' });
    await worker.answer('signals ignored');
    const { text } = await worker.run('signals', ['cat', '/proc/self/status']);
    expect(/^SigIgn:\s*(\S+)/m.exec(text)?.[1]).toBe('0000000000000000');
    expect(/^SigBlk:\s*(\S+)/m.exec(text)?.[1]).toBe('0000000000000000');
    expect(await worker.run('int', ['sh', '-c', 'kill -INT $$; echo survived'])).toMatchObject({ signal: 'SIGINT', text: '' });
    expect(await worker.run('pipe', ['sh', '-c', 'kill -PIPE $$; echo survived'])).toMatchObject({ signal: 'SIGPIPE', text: '' });
  });

  test('a task has no descriptor of its worker, and exactly its own environment', async () => {
    const worker = await place.worker(runtime);
    worker.order({ do: 'guard', command: ['cat'], session: place.session, leaseMs: 60_000, onEnd: [] });
    await worker.answer('guarded');
    const started = await worker.spawn('idle', ['sleep', '1000']);
    // What we were started with ourselves, and handed on, is not the worker's.
    const inherited = execFileSync('sh', ['-c', 'ls /proc/$$/fd'], { encoding: 'utf8' }).trim().split('\n');
    const open = (): string[] => fs.readdirSync(`/proc/${Number(started['pid'])}/fd`);
    // The loader of the program has its libraries open for a moment.
    await vi.waitUntil(() => open().every((fd) => inherited.includes(fd)), { timeout: 10_000 });
    expect(open().slice(0, 3)).toEqual(['0', '1', '2']);
    expect(fs.readlinkSync(`/proc/${Number(started['pid'])}/fd/0`)).toBe('/dev/null');
    const { text } = await worker.run('env', ['/usr/bin/env'], { env: { A: '1', 'odd name': 'two\nlines', EMPTY: '' } });
    expect(text).toBe('A=1\nodd name=two\nlines\nEMPTY=\n');
  });

  test('a task reads the standard input that it is given, and else end of file', async () => {
    const worker = await place.worker(runtime);
    const stdin = program('input', 'some input\n', 0o644);
    expect((await worker.run('given', ['cat'], { stdin })).text).toBe('some input\n');
    expect(await worker.run('none', ['cat'])).toMatchObject({ code: 0, text: '' });
  });

  test('a program is looked for along the PATH of the task, and its name stays as it was given', async () => {
    const worker = await place.worker(runtime);
    program('first/tool', '#!/bin/sh\necho first "$0"\n');
    program('second/tool', '#!/bin/sh\necho second "$0"\n');
    program('second/unreadable/tool', '', 0o644);
    const at = (dir: string): string => path.join(place.dir, dir);
    expect((await worker.run('1', ['tool'], PATH(at('first'), at('second')))).text).toBe(`first ${at('first/tool')}\n`);
    expect((await worker.run('2', ['tool'], PATH(at('second'), at('first')))).text).toBe(`second ${at('second/tool')}\n`);
    // A directory or file that cannot be run is passed over when a later entry has one that can.
    expect((await worker.run('3', ['tool'], PATH(at('second/unreadable'), at('first')))).text).toMatch(/^first/);
    expect((await worker.run('4', ['first'], PATH(place.dir, '/bin')).catch(String)).toString()).toMatch(/rejected: not executable/);
    // Relative entries, the empty one too, begin at the task's working directory.
    expect((await worker.run('5', ['tool'], PATH('second', '/bin'))).text).toBe('second second/tool\n');
    expect((await worker.run('6', ['tool'], { ...PATH('/bin', ''), cwd: at('first') })).text).toBe('first ./tool\n');
    expect((await worker.run('7', ['tool'], { ...PATH('/bin', ''), cwd: at('second') })).text).toBe('second ./tool\n');
    // Without any PATH the system's own directories are searched.
    expect(await worker.run('8', ['true'], { env: {} })).toMatchObject({ code: 0 });
    expect((await worker.run('9', ['sh', '-c', 'tr "\\0" " " < /proc/$$/cmdline'])).text).toMatch(/^sh -c /);
  });

  test('a program with a slash in its name is found from the working directory of the task', async () => {
    const worker = await place.worker(runtime);
    program('work/run.sh', '#!/bin/sh\necho "$0" "$1"; pwd\n');
    const cwd = path.join(place.dir, 'work');
    expect((await worker.run('1', ['./run.sh', 'a b'], { cwd })).text).toBe(`./run.sh a b\n${cwd}\n`);
    expect((await worker.run('2', ['work/run.sh', 'x'])).text).toBe(`work/run.sh x\n${place.dir}\n`);
  });

  test('a script without #! is run by the shell', async () => {
    const worker = await place.worker(runtime);
    const file = program('plain', 'echo "$0" "$1" $#\n');
    expect((await worker.run('1', ['./plain', 'a b', 'c'])).text).toBe('./plain a b 2\n');
    expect((await worker.run('2', ['plain', 'x'], { env: { PATH: place.dir } })).text).toBe(`${file} x 1\n`);
    expect(await worker.run('3', [program('empty', '')])).toMatchObject({ code: 0 });
  });

  test('B11: what cannot be started is rejected with the reason, and the worker lives', async () => {
    const worker = await place.worker(runtime);
    const at = (name: string): string => path.join(place.dir, name);
    program('data', 'no program', 0o644);
    program('crlf', '#!/bin/sh\r\necho\r\n');
    program('lost-interpreter', '#!/no/such/interpreter -x\n');
    fs.mkdirSync(at('directory'));
    const env = { PATH: '/usr/bin:/bin' };
    const cases: Array<[argv: string[], cwd: string, expected: { exitCode: number; errno: string | null; reason: RegExp }]> = [
      [
        ['no-such-program'],
        place.dir,
        { exitCode: 127, errno: 'ENOENT', reason: /program not found: no-such-program \(PATH: \/usr\/bin:\/bin\)/ },
      ],
      [
        ['./no-such'],
        place.dir,
        { exitCode: 127, errno: 'ENOENT', reason: new RegExp(`program not found: ./no-such \\(from ${place.dir}\\)`) },
      ],
      [['/no/such'], place.dir, { exitCode: 127, errno: 'ENOENT', reason: /program not found: \/no\/such$/ }],
      [['/etc/passwd/x'], place.dir, { exitCode: 127, errno: 'ENOENT', reason: /program not found/ }],
      [[''], place.dir, { exitCode: 127, errno: 'ENOENT', reason: /program not found: ''/ }],
      [[], place.dir, { exitCode: 127, errno: 'ENOENT', reason: /program not found: ''/ }],
      [
        ['true'],
        at('nowhere'),
        { exitCode: 126, errno: 'ENOENT', reason: new RegExp(`working directory does not exist: ${at('nowhere')}`) },
      ],
      [['/bin/true'], at('data'), { exitCode: 126, errno: 'ENOTDIR', reason: /working directory is not a directory: .*\/data/ }],
      [['no-such-program'], at('nowhere'), { exitCode: 126, errno: 'ENOENT', reason: /working directory does not exist/ }],
      [['./data'], place.dir, { exitCode: 126, errno: 'EACCES', reason: /not executable: .\/data/ }],
      [['./directory'], place.dir, { exitCode: 126, errno: 'EACCES', reason: /not executable: .\/directory/ }],
      [
        ['./lost-interpreter'],
        place.dir,
        { exitCode: 126, errno: 'ENOENT', reason: /interpreter \/no\/such\/interpreter that .*lost-interpreter asks for/ },
      ],
      [['./crlf'], place.dir, { exitCode: 126, errno: 'ENOENT', reason: /interpreter \/bin\/sh\\r \(its first line ends in CR LF\)/ }],
      [['true', 'x'.repeat(300_000)], place.dir, { exitCode: 126, errno: 'E2BIG', reason: /argument list too long: .* 300\d\d\d bytes/ }],
      [['true', 'fine', 'a\0b'], place.dir, { exitCode: 126, errno: null, reason: /NUL byte in argument 2/ }],
    ];
    for (const [argv, cwd, expected] of cases) {
      const { exitCode, errno, reason } = await worker.spawn('case', argv, { cwd, env });
      expect({ argv, exitCode, errno, reason }).toEqual({ argv, ...expected, reason: expect.stringMatching(expected.reason) as string });
    }
    expect(await worker.spawn('nul', ['tr\0ue'])).toMatchObject({
      event: 'rejected',
      exitCode: 126,
      reason: 'a NUL byte in the name of the program',
    });
    const odd = await worker.spawn('env', ['true'], { env: { PATH: '/bin', ODD: 'a\0b' } });
    expect(odd).toMatchObject({ event: 'rejected', exitCode: 126, reason: 'a NUL byte in the environment variable ODD' });
    expect(await worker.run('next', ['true'])).toMatchObject({ code: 0 });
  });

  test('a file that is neither program nor text is rejected, or fails, but never succeeds', async () => {
    const worker = await place.worker(runtime);
    program('binary', '\x7fELF\0\0 not really');
    const started = await worker.spawn('binary', ['./binary']);
    // Node leaves it to the C library, which tries the shell on anything.
    const code = started.event === 'rejected' ? started['exitCode'] : (await worker.answer('exited', 'binary'))['code'];
    expect(code).toBeGreaterThan(0);
  });

  test('B11: a machine at its limits is not the fault of the task', async () => {
    const worker = await place.worker(runtime, ['sh', '-c', 'ulimit -n 100; exec "$@"', 'sh']);
    // One is left for the log of the task, none for starting it.
    worker.order({ do: 'use up descriptors', leave: 1 });
    await worker.answer('used up');
    expect(await worker.spawn('at the limit', ['true'])).toMatchObject({ event: 'rejected', exitCode: null, errno: 'EMFILE' });
    worker.order({ do: 'give back descriptors' });
    await worker.answer('given back');
    expect(await worker.run('after', ['true'])).toMatchObject({ code: 0 });
  });

  test('a program that has gone, or moved along the PATH, is noticed though it was found a moment ago', async () => {
    const worker = await place.worker(runtime);
    const env = { PATH: `${place.dir}/a:${place.dir}/b` };
    const first = program('a/tool', '#!/bin/sh\necho a\n');
    expect((await worker.run('1', ['tool'], { env })).text).toBe('a\n');
    expect((await worker.run('2', ['tool'], { env })).text).toBe('a\n');
    fs.mkdirSync(path.join(place.dir, 'b'));
    fs.renameSync(first, path.join(place.dir, 'b/tool'));
    fs.writeFileSync(path.join(place.dir, 'b/tool'), '#!/bin/sh\necho b\n');
    expect((await worker.run('3', ['tool'], { env })).text).toBe('b\n');
    fs.rmSync(path.join(place.dir, 'b/tool'));
    expect(await worker.spawn('4', ['tool'], { env })).toMatchObject({ event: 'rejected', exitCode: 127 });
    program('b/tool', '#!/bin/sh\necho again\n');
    expect((await worker.run('5', ['tool'], { env })).text).toBe('again\n');
    fs.chmodSync(path.join(place.dir, 'b/tool'), 0o644);
    expect(await worker.spawn('6', ['tool'], { env })).toMatchObject({ event: 'rejected', exitCode: 126 });
  });

  test('a signal goes to the whole group, and to nobody when it is gone', async () => {
    const worker = await place.worker(runtime);
    await worker.spawn('group', ['sh', '-c', 'sleep 1000 & echo $! $$ > pids; wait']);
    const pids = await pidsIn(path.join(place.dir, 'pids'), 2);
    worker.order({ do: 'kill', name: 'group', signal: 'SIGTERM' });
    expect(await worker.answer('exited', 'group')).toMatchObject({ signal: 'SIGTERM' });
    await until('both are gone', () => allGone(pids));
    worker.order({ do: 'kill', name: 'group', signal: 'SIGTERM' });
    await worker.answer('signalled');
    worker.order({ do: 'kill', name: 'group', signal: 'SIGTERM' });
    await worker.answer('signalled');
  });

  test('what a finished program leaves in its group is swept', async () => {
    const worker = await place.worker(runtime);
    await worker.run('leaves', ['sh', '-c', 'sleep 1000 & echo $! > pids']);
    const pids = await pidsIn(path.join(place.dir, 'pids'), 1);
    expect(allAlive(pids)).toBe(true);
    worker.order({ do: 'sweep', name: 'leaves' });
    expect(await worker.answer('swept')).toMatchObject({ found: true });
    await until('it is gone', () => allGone(pids));
    await worker.run('clean', ['true']);
    worker.order({ do: 'sweep', name: 'clean' });
    expect(await worker.answer('swept')).toMatchObject({ found: false });
  });

  const tree = (name: string, graceMs: number) =>
    ({ do: 'end', name, session: place.session, taskId: 'task1', attempt: 1, graceMs }) as const;

  test('B9: a task that ends at TERM is not killed, and not waited for any longer', async () => {
    const worker = await place.worker(runtime);
    await worker.spawn('polite', ['sh', '-c', 'trap "echo bye; exit 3" TERM; echo $$ > pids; while :; do sleep 0.01; done']);
    await pidsIn(path.join(place.dir, 'pids'), 1);
    worker.order(tree('polite', 1_000_000));
    await worker.answer('ended');
    expect(await worker.answer('exited')).toMatchObject({ code: 3, signal: null });
    expect(fs.readFileSync(place.log, 'utf8')).toMatch(/bye\n$/);
  });

  test('B9: a stopped task is continued so that it can obey its TERM', async () => {
    const worker = await place.worker(runtime);
    await worker.spawn('stopped', ['sh', '-c', 'trap "exit 3" TERM; echo $$ > pids; kill -STOP $$; while :; do sleep 0.01; done']);
    const [pid = 0] = await pidsIn(path.join(place.dir, 'pids'), 1);
    await until('it is stopped', () => /\) T /.test(fs.readFileSync(`/proc/${pid}/stat`, 'utf8')));
    worker.order(tree('stopped', 1_000_000));
    await worker.answer('ended');
    expect(await worker.answer('exited')).toMatchObject({ code: 3 });
  });

  test('B9: child, grandchild and one that called setsid, all deaf to TERM, are gone after the grace', async () => {
    const worker = await place.worker(runtime);
    await worker.spawn('deaf', family("trap '' TERM;"));
    const pids = await pidsIn(path.join(place.dir, 'pids'), 3);
    expect(allAlive(pids)).toBe(true);
    worker.order(tree('deaf', 100));
    await worker.answer('ended');
    expect(allGone(pids)).toBe(true);
    expect(await worker.answer('exited')).toMatchObject({ signal: 'SIGKILL' });
  });

  test('a grandchild may use the grace though the task itself has ended', async () => {
    const worker = await place.worker(runtime);
    const slow = 'trap "sleep 0.2; echo cleaned up > done; exit" TERM; echo $$ >> pids; while :; do sleep 0.01; done';
    await worker.spawn('parent', ['sh', '-c', `sh -c '${slow}' & echo $$ >> pids; exec sleep 1000`]);
    const pids = await pidsIn(path.join(place.dir, 'pids'), 2);
    worker.order(tree('parent', 1_000_000));
    await worker.answer('ended');
    expect(allGone(pids)).toBe(true);
    expect(fs.readFileSync(path.join(place.dir, 'done'), 'utf8')).toBe('cleaned up\n');
  });

  test('E2: ending at once asks nobody, and overtakes a grace that is running', async () => {
    const worker = await place.worker(runtime);
    await worker.spawn('deaf', family("trap '' TERM;"));
    const pids = await pidsIn(path.join(place.dir, 'pids'), 3);
    worker.order(tree('deaf', 1_000_000));
    worker.order({ ...tree('deaf', 1_000_000), now: 'now' });
    await worker.answer('ended');
    await worker.answer('ended');
    expect(allGone(pids)).toBe(true);
  });

  test('ending one attempt leaves other attempts and other tasks alone', async () => {
    const worker = await place.worker(runtime);
    const pids: number[] = [];
    for (const [name, TQ_TASK_ID, TQ_ATTEMPT] of [
      ['this', 'task1', '1'],
      ['other attempt', 'task1', '2'],
      ['other task', 'task11', '1'],
    ] as const) {
      pids.push(Number((await worker.spawn(name, ['sleep', '1000'], { env: place.env({ TQ_TASK_ID, TQ_ATTEMPT }) }))['pid']));
    }
    worker.order(tree('this', 10));
    await worker.answer('ended');
    expect(pids.map((pid) => allAlive([pid]))).toEqual([false, true, true]);
  });

  test('B13: a task is charged with its own time and memory, not with those of its worker', async () => {
    const worker = await place.worker(runtime);
    worker.order({ do: 'use memory', bytes: 300 << 20 });
    await worker.answer('memory used');
    const flag = program('flag', '');
    const big = path.join(programs, 'holds-memory.sh');
    const startedBig = await worker.spawn('big', [big, '40', flag]);
    const startedSmall = await worker.spawn('small', ['sh', '-c', 'while [ -e flag ]; do sleep 0.05; done']);
    await until('the big one has its memory', () => peakKb(Number(startedBig['pid'])) > 40 << 10);
    const seenAt = performance.now();
    // A look at each second: whoever lives for two has been looked at with all that it had.
    await until('it was looked at', () => performance.now() - seenAt > 2200);
    fs.rmSync(flag);
    const big1 = await worker.answer('exited', 'big');
    const small = await worker.answer('exited', 'small');
    expect(startedSmall.event).toBe('spawned');
    expect(big1['maxRssKb']).toBeGreaterThan(40 << 10);
    expect(big1['maxRssKb']).toBeLessThan(280 << 10);
    expect(big1['cpuMs']).toBeGreaterThanOrEqual(20);
    expect(small['maxRssKb']).toBeGreaterThan(100);
    expect(small['maxRssKb']).toBeLessThan(20 << 10);
    expect(small['durationMs']).toBeGreaterThan(2000);
  });
});
