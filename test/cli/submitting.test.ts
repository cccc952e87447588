/** Submitting from outside: ids, names, keys, times, environments, which queue, wrong usage, durability. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, until, type Farm, type Ran } from '../helpers/tq.ts';

/** Every file below a directory with its content, to see that nothing changed. */
function snapshot(dir: string): Record<string, string> {
  const found: Record<string, string> = {};
  for (const e of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const file = path.join(e.parentPath, e.name);
    found[file] = e.isDirectory() ? 'directory' : fs.readFileSync(file, 'latin1');
  }
  return found;
}

const files = (dir: string): string[] =>
  fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .filter((e) => e.isFile())
    .map((e) => e.name);

async function drain(farm: Farm): Promise<void> {
  await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
}

describe('ids and what is stored', () => {
  it('A1: stdout is one id and a newline, and the task is queued with the defaults', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['submit', '--', 'echo', 'hi']);
    expect(ran).toMatchObject({ code: 0, stderr: '' });
    expect(ran.stdout).toMatch(/^[0-9a-z]{10,16}\n$/);
    expect(await farm.show(ran.stdout.trim())).toMatchObject({
      schema: 'tq.task/1',
      state: 'queued',
      queue: 'default',
      priority: 0,
      command: ['echo', 'hi'],
      attempts: [],
    });
  });

  it('A1: ids sort in submit order', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) ids.push(await farm.submit('--', 'true'));
    expect(ids.toSorted()).toEqual(ids);
    expect(new Set(ids).size).toBe(30);
  });

  it('A4: name, labels, group and comment come back, and ls finds the task by each', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', 'nightly-1', '-l', 'k=v', '-l', 'x=y=z', '-g', 'grp', '--comment', 'why not', '--', 'true');
    await farm.submit('-n', 'other', '--', 'true');
    expect(await farm.show(id)).toMatchObject({ name: 'nightly-1', labels: { k: 'v', x: 'y=z' }, group: 'grp', comment: 'why not' });
    for (const words of [
      ['-n', 'nightly*'],
      ['-l', 'k=v'],
      ['-g', 'grp'],
    ]) {
      expect((await farm.ok(['ls', ...words, '-o', 'id', '--no-header'])).trim()).toBe(id);
    }
  });

  it('A3: an exported secret that nobody named is in no file', async () => {
    const farm = await makeFarm();
    await farm.ok(['submit', '--', 'env'], { env: { SECRET: 'hush-hush' } });
    expect(Object.values(snapshot(farm.queue)).join('\n')).not.toContain('hush-hush');
  });

  it('A3: -C names the directory, and relative ones count from that of submit', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(path.join(farm.dir, 'sub'));
    const id = await farm.submit('-C', 'sub', '--', 'pwd');
    await drain(farm);
    expect(await farm.ok(['logs', id])).toBe(`${path.join(farm.dir, 'sub')}\n`);
  });

  it('A6: a dry run prints the task and leaves the directory byte-identical', async () => {
    const farm = await makeFarm();
    const before = snapshot(farm.queue);
    const task = JSON.parse(
      await farm.ok(['submit', '--dry-run', '-p', '7', '-n', 'x', '--stdin', '/etc/hostname', '--', 'echo', 'a b']),
    ) as Record<string, unknown>;
    expect(task).toMatchObject({ schema: 'tq.task/1', name: 'x', priority: 7, command: ['echo', 'a b'] });
    expect(snapshot(farm.queue)).toEqual(before);
  });

  it('A6 A7 A8: a dry run is refused as its submit would be, and tells who has the key', async () => {
    const farm = await makeFarm();
    const submit = (...flags: string[]): Promise<Ran> => farm.tq(['submit', '--dry-run', ...flags, '--', 'true']);
    const id = await farm.submit('--hold', '--key', 'k', '--', 'true');
    const lock = await farm.submit('--hold', '--lock-keys', String.raw`^\p{Lu}/`, '--', 'true');
    const before = snapshot(farm.queue);
    expect(await submit('--key', 'k', '--on-dup', 'error')).toMatchObject({
      code: 5,
      stdout: '',
      stderr: expect.stringContaining(id) as string,
    });
    expect(await submit('--key', 'Ä/x')).toMatchObject({ code: 5, stdout: '', stderr: expect.stringContaining(lock) as string });
    for (const dup of ['ignore', 'replace']) {
      const ran = await submit('--key', 'k', '--on-dup', dup);
      expect([ran.code, JSON.parse(ran.stdout)]).toMatchObject([0, { key: 'k' }]);
      expect(ran.stderr).toContain(id);
    }
    expect(await submit('--key', 'a/x')).toMatchObject({ code: 0, stderr: '' });
    expect(await submit('--after', 'zzzzzzzzzzzz')).toMatchObject({ code: 3, stdout: '' });
    expect(snapshot(farm.queue)).toEqual(before);
    // And so is the submit itself.
    expect((await farm.tq(['submit', '--key', 'Ä/x', '--', 'true'])).code).toBe(5);
    expect(await farm.submit('--key', 'ä/x', '--', 'true')).not.toBe('');
    expect((await farm.tq(['submit', '--lock-keys', '', '--', 'true'])).stderr).toContain("--lock-keys: empty: ''");
  });

  it('A6: a dry run says where the task would lie, and with which blobs', async () => {
    const farm = await makeFarm();
    fs.writeFileSync(path.join(farm.dir, 's.sh'), 'echo hi\n');
    for (const flags of [
      ['-p', '-5', '--', 'true'],
      ['--mem', '1G', '--', 'true'],
      ['--in', '1h', '--', 'true'],
      ['--hold', '--', 'true'],
      ['--array', '1-3%2', '--', 'true'],
      ['--script', 's.sh', '--stdin', 's.sh'],
    ]) {
      const would = JSON.parse(await farm.ok(['submit', '--dry-run', ...flags])) as Record<string, string>;
      const id = await farm.submit(...flags);
      const { file } = await farm.show(id);
      // Ids and moments differ, everything else is the same.
      const place = (at: string): string => at.replaceAll(/[0-9a-z]{4}\/[0-9a-z]{2}\/|[0-9a-z]{14}|\d{8}T\d{4}\/[\d.]+\//g, '*');
      if (flags[0] !== '--array') expect(place(would['file']!)).toBe(place(file));
      else expect(path.basename(would['file']!)).toMatch(/^[0-9a-z]{14}\.1-3\.a0\.json$/);
      if (flags[0] === '--script') {
        expect(would['script']).toMatch(/^[0-9a-z]{14}\.script$/);
        expect(would['stdin']).toMatch(/^[0-9a-z]{14}\.stdin$/);
      }
    }
  });
});

describe('keys', () => {
  it('A7: a key has one unfinished task; ignore, error and replace', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--key', 'k', '--', 'sleep', '60');
    expect(await farm.submit('--key', 'k', '--', 'true')).toBe(id);
    expect((await farm.ok(['ls', '--count'])).trim()).toBe('1');
    const refused = await farm.tq(['submit', '--key', 'k', '--on-dup', 'error', '--', 'true']);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain(id);
    await farm.worker();
    await farm.reaches(id, 'running');
    const next = await farm.submit('--key', 'k', '--on-dup', 'replace', '--grace', '100ms', '--', 'true');
    expect(next).not.toBe(id);
    expect((await farm.show(id)).state).toBe('canceled');
    await farm.reaches(next, 'done');
    const third = await farm.submit('--key', 'k', '--', 'true');
    expect([id, next]).not.toContain(third);
    await farm.reaches(third, 'done');
  });

  it('A7: twenty submits of one key at once make one task', async () => {
    const farm = await makeFarm();
    const ids = await Promise.all(Array.from({ length: 20 }, () => farm.submit('--key', 'k', '--', 'true')));
    expect(new Set(ids).size).toBe(1);
    expect((await farm.ok(['ls', '--count'])).trim()).toBe('1');
    await drain(farm);
    expect((await farm.show(ids[0]!)).state).toBe('done');
  });

  it('A7: retrying a task whose key another unfinished one holds exits 5', async () => {
    const farm = await makeFarm();
    const first = await farm.submit('--key', 'k', '--', 'true');
    await drain(farm);
    const second = await farm.submit('--key', 'k', '--hold', '--', 'true');
    const refused = await farm.tq(['retry', first]);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain(second);
    await farm.ok(['cancel', second]);
    await farm.ok(['retry', first]);
    await drain(farm);
    expect((await farm.show(first)).state).toBe('done');
  });

  it('A8: --lock-keys refuses matching keys while its task is unfinished', async () => {
    const farm = await makeFarm();
    const lock = await farm.submit('--lock-keys', '^db/', '--hold', '--', 'true');
    const refused = await farm.tq(['submit', '--key', 'db/x', '--', 'true']);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain(lock);
    await farm.submit('--key', 'web/x', '--', 'true');
    await farm.ok(['cancel', lock]);
    await farm.submit('--key', 'db/x', '--', 'true');
  });
});

describe('times', () => {
  it('A9: --hold is never taken until it is released', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    expect((await farm.show(id)).state).toBe('held');
    await drain(farm);
    expect((await farm.show(id)).state).toBe('held');
    await farm.ok(['release', id]);
    await drain(farm);
    expect((await farm.show(id)).state).toBe('done');
  });

  it('A9: --in starts after its time and never before, the earlier of two first', async () => {
    const farm = await makeFarm();
    const late = await farm.submit('--in', '900ms', '--', 'sh', '-c', 'echo late >> order');
    const early = await farm.submit('--in', '500ms', '--', 'sh', '-c', 'echo early >> order');
    const task = await farm.show(late);
    expect(task.state).toBe('delayed');
    expect(Date.parse(task.notBefore!) - Date.parse(task.submittedAt)).toBe(900);
    await farm.worker(['-j', '1']);
    const l = await farm.reaches(late, 'done');
    const e = await farm.reaches(early, 'done');
    for (const t of [l, e]) expect(Date.parse(t.startedAt!)).toBeGreaterThanOrEqual(Date.parse(t.notBefore!));
    expect(fs.readFileSync(path.join(farm.dir, 'order'), 'utf8')).toBe('early\nlate\n');
  });

  it('A9: --at HH:MM is the next such', async () => {
    const farm = await makeFarm();
    const soon = new Date(Date.now() + 2 * 60_000);
    const hhmm = `${String(soon.getHours()).padStart(2, '0')}:${String(soon.getMinutes()).padStart(2, '0')}`;
    const next = Date.parse((await farm.show(await farm.submit('--at', hhmm, '--', 'true'))).notBefore!);
    expect(next).toBeGreaterThan(Date.now());
    expect(next).toBeLessThanOrEqual(Date.now() + 120_000);
  });

  it('A9: what expires before it starts is skipped and never runs', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--expires', '200ms', '--', 'touch', 'ran');
    const kept = await farm.submit('--expires', '1h', '--', 'true');
    await until(
      () => Date.now() > 0 && fs.statSync(farm.queue).mtimeMs + 200 < Date.now(),
      () => 'the time is over',
    );
    await new Promise((resolve) => setTimeout(resolve, 250));
    await drain(farm);
    expect(await farm.show(id)).toMatchObject({ state: 'skipped', attempts: [] });
    expect((await farm.show(id)).reason).toContain('expired');
    expect(fs.existsSync(path.join(farm.dir, 'ran'))).toBe(false);
    expect((await farm.show(kept)).state).toBe('done');
  });
});

describe('wrong usage', () => {
  const wrong: Array<[string, string[], string[]]> = [
    ['an unknown flag', ['--bogus', '--', 'true'], ['--bogus']],
    ['a bad duration', ['--timeout', '5x', '--', 'true'], ['--timeout', '5x']],
    ['a bad size', ['--mem', '8Q', '--', 'true'], ['--mem', '8Q']],
    ['a priority out of range', ['-p', '100', '--', 'true'], ['--priority', '100']],
    ['negative retries', ['--retries', '-1', '--', 'true'], ['--retries', '-1']],
    ['no command', [], ['command']],
    ['an empty command', ['--'], ['command']],
    ['-c and --', ['-c', 'x', '--', 'y'], ['--']],
    ['a command without --', ['make'], ['--']],
    ['a queue that leaves the directory', ['-q', '../x', '--', 'true'], ['../x']],
    ['a group with a slash', ['-g', 'a/b', '--', 'true'], ['a/b']],
  ];
  for (const [what, args, words] of wrong) {
    it(`A10 L7: ${what} is exit 2, the message names it, and nothing is written`, async () => {
      const farm = await makeFarm();
      const before = snapshot(farm.queue);
      const ran = await farm.tq(['submit', ...args]);
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      for (const word of words) expect(ran.stderr).toContain(word);
      expect(snapshot(farm.queue)).toEqual(before);
    });
  }

  it('A10: two flags that would both read standard input are refused', async () => {
    const farm = await makeFarm();
    for (const [one, two] of [
      ['--script', '--stdin'],
      ['--stdin', '--each'],
      ['--script', '--each-json'],
    ] as const) {
      const ran = await farm.tq(['submit', one, '-', two, '-', ...(one === '--script' ? [] : ['--', 'cat'])], { input: 'echo\n' });
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain(`${one} '-' and ${two} '-' cannot both read standard input`);
    }
  });

  it('A10: a long flag with one dash is told what was meant', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['submit', '-hold', '--', 'true']);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('did you mean --hold?');
  });

  it('A10 A12: wrong words do not make the default queue', async () => {
    const farm = await makeFarm();
    const home = path.join(farm.dir, 'fresh');
    fs.mkdirSync(home);
    const env = { TQ_DIR: undefined, HOME: home };
    for (const words of [
      ['submit', '-p', '100', '--', 'true'],
      ['submit', '--batch', '-'],
      ['run', '--mem', '8Q', '--', 'true'],
      ['cron', 'add', '* * * * *', '--retries', 'x', '--', 'true'],
      ['worker', '-j', 'x'],
    ]) {
      const ran = await farm.tq(words, { env, cwd: home, input: '{"nosuch": 1}\n' });
      expect(ran.code, `${words[0]}: ${ran.stderr}`).toBe(words[0] === 'run' ? 125 : 2);
      expect(fs.readdirSync(home), words.join(' ')).toEqual([]);
    }
    // What is read from standard input is there all the same once the queue was made.
    expect(await farm.ok(['submit', '--stdin', '-', '--', 'cat'], { env, cwd: home, input: 'x\n' })).toMatch(/^[0-9a-z]{14}\n$/);
    await farm.ok(['worker', '--until-empty', '--poll', '50ms'], { env, cwd: home });
    expect(await farm.ok(['logs', '@last'], { env, cwd: home })).toBe('x\n');
  });

  it('M1: with --json the error is one object on stderr, stdout stays empty', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['submit', '--json', '-p', '100', '--', 'true']);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    const { error } = JSON.parse(ran.stderr) as { error: Record<string, unknown> };
    expect(error).toMatchObject({ code: 'USAGE', exit: 2 });
    expect(error['message']).toContain('100');
  });

  it('A10: a NUL in an argument cannot come from a shell, and is refused in a script flag', async () => {
    const farm = await makeFarm();
    fs.writeFileSync(path.join(farm.dir, 's'), '#!/bin/sh\n#TQ --name a\0b\necho\n');
    const ran = await farm.tq(['submit', '--script', 's']);
    expect(ran.code).toBe(2);
  });

  it('an argument of 100 KB and a script of 10 MB are kept whole', async () => {
    const farm = await makeFarm();
    const big = 'x'.repeat(100_000);
    const id = await farm.submit('--', 'printf', '%s', big);
    const script = (await farm.ok(['submit', '--script', '-'], { input: `#!/bin/sh\necho end\nexit 0\n${'#'.repeat(10 << 20)}\n` })).trim();
    await drain(farm);
    expect(await farm.ok(['logs', id])).toBe(big);
    expect(await farm.ok(['logs', script])).toBe('end\n');
  });
});

describe('which queue', () => {
  it('A12: -D, then TQ_DIR, then the nearest .tq upward, then the default, made on first use with mode 0700', async () => {
    const farm = await makeFarm();
    const home = path.join(farm.dir, 'home');
    const project = path.join(farm.dir, 'project');
    fs.mkdirSync(path.join(project, 'deep', 'down'), { recursive: true });
    const none = { TQ_DIR: undefined };
    await farm.ok(['init', path.join(project, '.tq')], { env: none });
    await farm.ok(['init', path.join(farm.dir, 'flag')], { env: none });
    const queuedIn = (dir: string): number => files(path.join(dir, 'queued')).length;

    await farm.ok(['submit', '-D', path.join(farm.dir, 'flag'), '--', 'true'], { cwd: path.join(project, 'deep') });
    expect(queuedIn(path.join(farm.dir, 'flag'))).toBe(1);
    await farm.ok(['submit', '--', 'true'], { cwd: path.join(project, 'deep') });
    expect(queuedIn(farm.queue)).toBe(1);
    await farm.ok(['submit', '--', 'true'], { cwd: path.join(project, 'deep', 'down'), env: none });
    expect(queuedIn(path.join(project, '.tq'))).toBe(1);
    await farm.ok(['submit', '--', 'true'], { env: none });
    const byDefault = path.join(home, '.local/share/tq/default');
    expect(queuedIn(byDefault)).toBe(1);
    expect(fs.statSync(byDefault).mode & 0o777).toBe(0o700);
  });

  it('A12: -D with nothing in it leads to no other queue, and an empty HOME to no queue in the working directory', async () => {
    const farm = await makeFarm();
    for (const words of [['-D', '', 'submit', '--', 'true'], ['submit', '--dir=', '--', 'true'], ['-D']]) {
      const ran = await farm.tq(words);
      expect([ran.code, ran.stdout], words.join(' ')).toEqual([2, '']);
      expect(ran.stderr).toContain('--dir');
    }
    expect(await farm.ok(['ls', '-a', '--count'])).toBe('0\n');
    const cwd = path.join(farm.dir, 'here');
    fs.mkdirSync(cwd);
    await farm.tq(['submit', '--dry-run', '--', 'true'], { env: { HOME: '', TQ_DIR: undefined }, cwd });
    expect(fs.readdirSync(cwd)).toEqual([]);
  });

  it('A12: -D of an empty or a missing directory is exit 4 with the hint, and nothing is made', async () => {
    const farm = await makeFarm();
    const empty = path.join(farm.dir, 'empty');
    fs.mkdirSync(empty);
    for (const dir of [empty, path.join(farm.dir, 'missing')]) {
      const ran = await farm.tq(['submit', '-D', dir, '--', 'true']);
      expect(ran.code).toBe(4);
      expect(ran.stderr).toContain('tq init');
    }
    expect(fs.readdirSync(empty)).toEqual([]);
    expect(fs.existsSync(path.join(farm.dir, 'missing'))).toBe(false);
  });

  it('L8: a queue of a newer format is refused and untouched', async () => {
    const farm = await makeFarm();
    const config = path.join(farm.queue, 'tq.json');
    fs.writeFileSync(config, JSON.stringify({ ...JSON.parse(fs.readFileSync(config, 'utf8')), format: 99 }));
    const before = snapshot(farm.queue);
    for (const args of [['submit', '--', 'true'], ['ls'], ['worker', '--until-empty'], ['doctor', '--fix']])
      expect((await farm.tq(args)).code).toBe(4);
    expect(snapshot(farm.queue)).toEqual(before);
  });
});

describe('trouble with the disk', () => {
  it('A14 I15: kill -9 at any moment leaves nothing or a whole task, and a printed id is never lost', async () => {
    const farm = await makeFarm();
    const printed: string[] = [];
    for (let ms = 0; ms < 24; ms++) {
      const began = farm.start(['submit', '--', 'true']);
      await new Promise((resolve) => setTimeout(resolve, ms / 2));
      began.signal('SIGKILL');
      const id = (await began.ended).stdout.trim();
      if (id !== '') printed.push(id);
    }
    const there = JSON.parse(await farm.ok(['ls', '--json'])) as Array<{ id: string; command: string[] }>;
    for (const t of there) expect(t.command).toEqual(['true']);
    for (const id of printed) expect(there.map((t) => t.id)).toContain(id);
    await drain(farm);
    expect((await farm.ok(['ls', '--count'])).trim()).toBe('0');
    expect(fs.readdirSync(path.join(farm.queue, 'quarantine'))).toEqual([]);
  });

  it('I15: no space left is exit 4 with the cause and leaves nothing half written', async () => {
    const farm = await makeFarm();
    for (const op of ['create', 'rename', 'mkdir']) {
      const ran = await farm.tq(['submit', '--', 'true'], { env: { TQ_FAULT: `fail:ENOSPC:${op}:1` } });
      if (ran.code === 0) continue; // this submit did not need that call
      expect(ran.code).toBe(4);
      expect(ran.stderr).toContain('no space');
      expect(ran.stdout).toBe('');
    }
    expect(files(path.join(farm.queue, 'tmp'))).toEqual([]);
  });

  it('I15: EDQUOT is 4, EROFS is 4, EACCES is 6', async () => {
    const farm = await makeFarm();
    const code = async (errno: string): Promise<number> =>
      (await farm.tq(['submit', '--', 'true'], { env: { TQ_FAULT: `fail:${errno}:create:1` } })).code;
    expect(await code('EDQUOT')).toBe(4);
    expect(await code('EROFS')).toBe(4);
    expect(await code('EACCES')).toBe(6);
    expect(await code('EPERM')).toBe(6);
  });
});
