/** What is wrong is said with its exit code, named with its text, and changes nothing: words, names, states, queues, permissions. */
import { execFileSync, spawn, spawnSync, type SpawnSyncReturns } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { put, treeOf } from '../helpers/files.ts';
import { makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

const NEVER = '00000000000000';

/** Runs it as usual and with `--json`: the code, the words, and that nothing in the queue changed. */
async function refuses(farm: Farm, args: string[], code: number, ...words: string[]): Promise<void> {
  const before = treeOf(farm.queue);
  const ran = await farm.tq(args);
  expect([ran.code, ran.stdout], `tq ${args.join(' ')}: ${ran.stderr}`).toEqual([code, '']);
  expect(ran.stderr).toMatch(/^tq: /);
  for (const word of words) expect(ran.stderr, `tq ${args.join(' ')}`).toContain(word);
  const json = await farm.tq([args[0]!, '--json', ...args.slice(1)]);
  expect(json.code).toBe(code);
  if (json.stdout !== '') JSON.parse(json.stdout);
  for (const line of json.stderr.trim().split('\n')) {
    const { error } = JSON.parse(line) as { error: Record<string, unknown> };
    expect(error).toMatchObject({
      code: expect.stringMatching(/^[A-Z_]+$/) as string,
      exit: code,
      message: expect.stringMatching(/./) as string,
    });
    expect(Object.keys(error)).toEqual(['code', 'exit', 'message', 'hint']);
  }
  expect(treeOf(farm.queue)).toEqual(before);
}

describe('lists', () => {
  it('G4 G5: what cannot be read as a list is named with its file and line; a list with nothing in it is refused', async () => {
    const farm = await makeFarm();
    const file = (name: string, text: string | Uint8Array): string => {
      fs.writeFileSync(path.join(farm.dir, name), text);
      return name;
    };
    const each = (flag: string, name: string, code: number, ...words: string[]): Promise<void> =>
      refuses(farm, ['submit', flag, name, '--', 'echo', '{}'], code, flag, ...words);
    await each('--each-csv', file('short.csv', 'a,b\n1,2\n3\n'), 2, "'short.csv': line 3: 1 field where the header has 2");
    await each('--each-csv', file('long.csv', 'a,b\n1,2,3\n'), 2, "'long.csv': line 2: 3 fields where the header has 2");
    await each('--each-csv', file('open.csv', 'a,b\n"1,2\n'), 2, "'open.csv': line 2: a quote is not closed");
    await each('--each-csv', file('twice.csv', 'a,a\n1,2\n'), 2, "'twice.csv': the header names 'a' twice");
    await each('--each-csv', file('nameless.csv', 'a,\n1,2\n'), 2, "'nameless.csv': the header has a column without a name");
    await each('--each-csv', file('header.csv', 'a,b\n'), 5, "there is nothing in 'header.csv'");
    for (const flag of ['--each', '--each-json', '--each-csv']) await each(flag, file('empty', ''), 5, "there is nothing in 'empty'");
    await each('--each', file('blank', '\n\r\n\n'), 5, "there is nothing in 'blank'");
    await each('--each', file('nul', 'a\nb\0\n'), 2, 'line 2');
    await each('--each', file('latin', Buffer.from([0xe4, 10])), 2, "'latin' is not UTF-8");
    await each('--each', 'missing', 2, "'missing'", 'ENOENT');
    await each('--each', '.', 2, "'.'", 'EISDIR');
    await each('--each-json', file('cut.json', '{"k":1}\n{"k":\n'), 2, 'line 2');
    for (const other of ['--stdin', '--script'])
      await refuses(
        farm,
        ['submit', '--each', '-', other, '-', ...(other === '--stdin' ? ['--', 'cat'] : [])],
        2,
        `${other} '-' and --each '-' cannot both read standard input`,
      );
  });
});

describe('words', () => {
  it('F1: the queues of a worker are names, and at least one', async () => {
    const farm = await makeFarm();
    const refused = (text: string, why: string): Promise<void> =>
      refuses(farm, ['worker', '--queue', text, '--until-empty'], 2, `--queue: ${why}: '${text}'`);
    for (const text of ['', ',', 'a,']) await refused(text, 'a name is missing');
    for (const text of ['a b', 'a/b', '*', '..']) await refused(text, 'not a queue name');
  });

  it('F4: what is no label expression is named, and an empty term', async () => {
    const farm = await makeFarm();
    for (const text of ['', ' ', 'os=', '=x', '!', '!!a', 'a b', 'a || b', '(a)', 'a==', 'a=b', 'a==b c', 'a>3', '!a==b', 'a\tb', "a=='b'"])
      await refuses(farm, ['submit', '--on', text, '--', 'true'], 2, '--on');
    for (const text of ['a &&', '&& a', 'a && && b'])
      await refuses(farm, ['submit', '--on', text, '--', 'true'], 2, '--on', `'${text}': a term is empty`);
  });

  it('M1: wrong usage of the changing verbs exits 2 and names the flag and the text', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    for (const verb of ['cancel', 'retry', 'hold', 'release', 'rm']) {
      await refuses(farm, [verb], 2, `tq ${verb}: which tasks?`);
      await refuses(farm, [verb, id, '--nosuch'], 2, "'--nosuch'");
      await refuses(farm, [verb, 'x!'], 2, "'x!'");
      await refuses(farm, [verb, '-s', 'dne'], 2, '--state', "'dne'");
    }
    await refuses(farm, ['retry', id, '--in', '5x'], 2, '--in', "'5x'");
    await refuses(farm, ['release', id, '--result', '{'], 2, '--result', "'{'");
    for (const p of ['100', '-100', '1.5', 'high', '']) await refuses(farm, ['set', id, `--priority=${p}`], 2, '--priority', `'${p}'`);
    await refuses(farm, ['set', id, '--timeout', 'soon'], 2, '--timeout', "'soon'");
    await refuses(farm, ['set', id, '--in', '-1s'], 2, '--in', "'-1s'");
    await refuses(farm, ['set', id, '-l', 'novalue'], 2, '--label', "'novalue'");
    await refuses(farm, ['note', id], 2, 'TEXT is missing');
    await refuses(farm, ['note', '@all', 'x'], 2, 'one id');
    await refuses(farm, ['gc', '--keep', 'week'], 2, '--keep', "'week'");
    await refuses(farm, ['gc', 'extra'], 2, "'extra'");
    await refuses(farm, ['completion', 'tcsh'], 2, "'tcsh'");
    expect((await farm.show(id)).state).toBe('held');
  });

  it('M1: a word that is not UTF-8 is refused and shown, for what is stored must be what was given', async () => {
    const farm = await makeFarm();
    // A shell, since no string of ours holds such a byte.
    const submit = (word: string) =>
      spawnSync('sh', ['-c', `exec "$TQ" submit -- echo "$(printf '${word}')"`], {
        env: { ...process.env, TQ, TQ_DIR: farm.queue },
        encoding: 'utf8',
      });
    const bad = submit(String.raw`caf\351`);
    expect([bad.status, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toContain(String.raw`not UTF-8: 'caf\xe9'`);
    expect(bad.stderr).toContain('--script');
    expect(await farm.ok(['ls', '-a', '--count'])).toBe('0\n');
    // The replacement character itself is as good as any other.
    const good = submit(String.raw`caf\357\277\275`);
    expect(good.status).toBe(0);
    expect((await farm.show(good.stdout.trim())).command).toEqual(['echo', 'caf\uFFFD']);
  });

  it('L7: a name that leads out of the queue is refused', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    for (const name of ['../x', 'a/b', '..', '.hidden', '-x', '']) {
      await refuses(farm, ['set', id, `--queue=${name}`], 2, '--queue', `'${name}'`);
      await refuses(farm, ['hold', `--group=${name}`], 2, '--group', `'${name}'`);
    }
    for (const verb of ['wake', 'sleep', 'stop', 'restart', 'rm'])
      for (const name of ['..', '../tq.json', 'a/b']) await refuses(farm, ['worker', verb, name], 2, `'${name}'`);
    expect(fs.existsSync(path.join(farm.queue, 'tq.json'))).toBe(true);
  });

  it('J11: what is wrong is shown without its control characters', async () => {
    const farm = await makeFarm();
    const evil = '\u001b]0;owned\u0007\u202e';
    for (const args of [
      ['cancel', evil],
      ['set', evil, '-p', '1'],
      ['hold', '-q', evil],
      ['release', 'abcd', '--result', evil],
      ['worker', 'stop', evil],
      ['gc', '--keep', evil],
      ['progress', evil],
    ]) {
      const ran = await farm.tq(args);
      expect(ran.code, `tq ${args[0]}`).toBe(2);
      expect(ran.stdout + ran.stderr).not.toMatch(/[\u001b\u0007\u202e]/);
    }
  });
});

describe('what is not there', () => {
  it('M1: an id, a filter or a worker that matches nothing exits 3', async () => {
    const farm = await makeFarm();
    for (const verb of ['cancel', 'retry', 'hold', 'release', 'rm']) {
      await refuses(farm, [verb, NEVER], 3, NEVER);
      await refuses(farm, [verb, '-g', 'nosuch'], 3);
      await refuses(farm, [verb, '@last'], 3);
    }
    await refuses(farm, ['set', NEVER, '-p', '1'], 3, NEVER);
    await refuses(farm, ['note', NEVER, 'text'], 3, NEVER);
    for (const verb of ['wake', 'sleep', 'stop', 'restart', 'rm']) {
      await refuses(farm, ['worker', verb, 'nobody'], 3, 'nobody');
      await refuses(farm, ['worker', verb, 'no*'], 3, 'no*');
      await refuses(farm, ['worker', verb], 2, 'which worker');
    }
    expect(await farm.ok(['ls', '-a', '--count'])).toBe('0\n');
  });

  it('M1: of several ids with one unknown the others are done, and it exits 5', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const ran = await farm.tq(['hold', NEVER, id]);
    expect([ran.code, ran.stdout]).toEqual([5, `${id}\n`]);
    expect(ran.stderr).toContain(NEVER);
  });
});

describe('workers', () => {
  it('C8 C9: stop, restart and rm are refused with 5 where they cannot be done', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    expect((await farm.tq(['worker', 'restart', 'w1'])).code).toBe(5);
    expect((await farm.tq(['worker', 'rm', 'w1'])).code).toBe(5);
    await w.stop();
    await refuses(farm, ['worker', 'stop', 'w1'], 5, 'not alive');
    await refuses(farm, ['worker', 'restart', '--all'], 5, 'not alive');
    expect(await farm.ok(['worker', 'rm', '--all'])).toBe('w1\n');
    await refuses(farm, ['worker', 'rm', 'w1'], 3, 'w1');
  });

  it('C5: while it is offline, asking for what it will be takes the request back', async () => {
    const farm = await makeFarm();
    await (await farm.worker(['--name', 'w1'])).stop();
    await farm.ok(['worker', 'sleep', 'w1']);
    const want = path.join(farm.queue, 'workers/w1/want');
    expect(fs.readFileSync(want, 'utf8')).toBe('asleep\n');
    await farm.ok(['worker', 'wake', 'w1']);
    expect(fs.existsSync(want)).toBe(false);
    await farm.ok(['worker', 'sleep', '--now', '--for', '1h', 'w*']);
    expect(fs.readFileSync(want, 'utf8')).toMatch(/^asleep now until \d{4}-\d\d-\d\dT[\d:.]+Z\n$/);
    expect((await farm.tq(['worker', 'sleep', 'w1', '--for', 'long'])).code).toBe(2);
  });
});

describe('queues', () => {
  it('L1: init prints the path; again it says so, changes nothing and exits 0', async () => {
    const farm = await makeFarm();
    const dir = path.join(farm.dir, 'new');
    expect(await farm.ok(['init', 'new'])).toBe(`${dir}\n`);
    expect(fs.statSync(dir).mode & 0o777).toBe(0o700);
    const before = treeOf(dir);
    const again = await farm.tq(['init', 'new', '--shared', '--lease', '1h']);
    expect([again.code, again.stdout]).toEqual([0, `${dir}\n`]);
    expect(again.stderr).toContain('nothing was changed');
    expect(treeOf(dir)).toEqual(before);
    expect(await farm.ok(['init'])).toBe(`${farm.dir}/.tq\n`);
    expect(await farm.ok(['init', '-D', 'other', '--json'])).toContain(`"dir": "${farm.dir}/other"`);
  });

  it('L1: --shared is setgid and group-writable, --lease holds for all workers', async () => {
    const farm = await makeFarm();
    await farm.ok(['init', 's', '--shared', '--lease', '60s']);
    const dir = path.join(farm.dir, 's');
    const modes = ['', ...fs.readdirSync(dir)]
      .map((name) => fs.statSync(path.join(dir, name)))
      .filter((s) => s.isDirectory())
      .map((s) => s.mode & 0o7777);
    expect(modes.length).toBeGreaterThan(20);
    expect(new Set(modes)).toEqual(new Set([0o2775]));
    expect(JSON.parse(fs.readFileSync(path.join(dir, 'tq.json'), 'utf8'))).toMatchObject({ shared: true, leaseMs: 60_000 });
    expect(await farm.ok(['-D', dir, 'doctor'])).toContain('lease 1m');
  });

  it('L1: a directory with files of others, a file, or a lease that means nothing are refused and left alone', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(path.join(farm.dir, 'full'));
    fs.writeFileSync(path.join(farm.dir, 'full', 'mine.txt'), 'mine');
    await refuses(farm, ['init', 'full'], 5, 'mine.txt');
    await refuses(farm, ['init', 'full/mine.txt'], 5, 'not a directory');
    expect(fs.readdirSync(path.join(farm.dir, 'full'))).toEqual(['mine.txt']);
    for (const lease of ['0', '5x', '1ms', '-1s']) await refuses(farm, ['init', 'fresh', `--lease=${lease}`], 2, '--lease', `'${lease}'`);
    expect(fs.existsSync(path.join(farm.dir, 'fresh'))).toBe(false);
  });

  it('M1 A12: what is no queue, or a damaged one, exits 4 for every verb, and nothing is made', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(path.join(farm.dir, 'empty'));
    const verbs = [
      ['cancel', NEVER],
      ['retry', NEVER],
      ['hold', NEVER],
      ['release', NEVER],
      ['set', NEVER, '-p', '1'],
      ['rm', NEVER],
      ['note', NEVER, 'x'],
      ['gc'],
      ['doctor'],
      ['queue', 'ls'],
      ['top', '--once'],
      ['worker', 'stop', 'w'],
    ];
    for (const verb of verbs) {
      for (const dir of ['empty', 'missing']) {
        const ran = await farm.tq(['-D', dir, ...verb]);
        expect([ran.code, ran.stdout], `${verb[0]} ${dir}: ${ran.stderr}`).toEqual([4, '']);
        expect(ran.stderr).toContain('tq init');
      }
    }
    expect(fs.readdirSync(path.join(farm.dir, 'empty'))).toEqual([]);
    // What is wrong with the words is said even so.
    for (const words of [['submit'], ['cron', 'add', '* * * * *']])
      await refuses(farm, ['-D', 'missing', ...words, '--retries', 'x', '--', 'true'], 2, '--retries', "'x'");
    expect(fs.existsSync(path.join(farm.dir, 'missing'))).toBe(false);
    put(farm, 'tq.json', 'null');
    for (const verb of verbs) await refuses(farm, verb, 4, 'tq.json');
  });

  it('M1: no space and a read-only file system are 4, no permission is 6, and the task is where it was', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    for (const [code, exit] of [
      ['ENOSPC', 4],
      ['EDQUOT', 4],
      ['EROFS', 4],
      ['EACCES', 6],
      ['EPERM', 6],
    ] as const) {
      for (const verb of [
        ['cancel', id],
        ['hold', id],
        ['set', id, '-p', '3'],
        ['note', id, 'x'],
      ]) {
        const ran = await farm.tq(verb, { env: { TQ_FAULT: `fail:${code}:*:1` } });
        expect([ran.code, ran.stdout], `${verb[0]} with ${code}: ${ran.stderr}`).toEqual([exit, '']);
        expect((await farm.show(id)).state).toBe('queued');
      }
    }
  });

  describe('several users', () => {
    // root may do everything, so it lets others ask; who is not root is all of them.
    const isRoot = process.getuid?.() === 0;
    const ALICE = { uid: 61_001, gid: 61_100 };
    const BOB = { uid: 61_002, gid: 61_100 };
    const CAROL = { uid: 61_003, gid: 61_101 };

    /** A shared queue of Alice's, and what somebody with umask 077 runs on it. */
    async function sharedFarm(): Promise<{ farm: Farm; by: (who: typeof ALICE, ...args: string[]) => SpawnSyncReturns<string> }> {
      const farm = await makeFarm();
      fs.rmSync(farm.queue, { recursive: true });
      fs.chmodSync(farm.dir, 0o755);
      const place = path.join(farm.dir, 'shared');
      fs.mkdirSync(place);
      if (isRoot) fs.chownSync(place, ALICE.uid, ALICE.gid);
      fs.chmodSync(place, 0o2775);
      const env = { PATH: process.env['PATH'], HOME: '/nowhere', TQ_DIR: path.join(place, 'q') };
      const by = (who: typeof ALICE, ...args: string[]): SpawnSyncReturns<string> =>
        spawnSync('sh', ['-c', 'umask 077; exec "$@"', 'sh', TQ, ...args], { ...(isRoot ? who : {}), cwd: '/', env, encoding: 'utf8' });
      expect(by(ALICE, 'init', env.TQ_DIR, '--shared').stderr).toBe('');
      return { farm, by };
    }

    it('L6: Alice submits, Bob cancels, holds and notes; the task says whose it is, and only she may change it', async () => {
      const { by } = await sharedFarm();
      const [a, b] = [by(ALICE, 'submit', '--', 'true').stdout.trim(), by(ALICE, 'submit', '--', 'true').stdout.trim()];
      for (const [verb, id] of [
        ['hold', a],
        ['release', a],
        ['cancel', b],
      ] as const) {
        const ran = by(BOB, verb, id);
        expect([ran.status, ran.stdout], `${verb}: ${ran.stderr}`).toEqual([0, `${id}\n`]);
      }
      expect(by(BOB, 'note', a, 'seen').status).toBe(0);
      const shown = JSON.parse(by(BOB, 'show', '--json', a).stdout) as TaskView;
      const owner = isRoot ? String(ALICE.uid) : os.userInfo().username;
      expect([shown.submittedBy.user, shown.notes.map((note) => note.text)]).toEqual([owner, ['seen']]);
      expect((JSON.parse(by(ALICE, 'show', '--json', b).stdout) as TaskView).state).toBe('canceled');
      const set = by(BOB, 'set', a, '-p', '3');
      expect([set.status, isRoot ? /another user's task/.test(set.stderr) : true]).toEqual([isRoot ? 6 : 0, true]);
      expect(by(ALICE, 'set', a, '-p', '4').status).toBe(0);
    });

    it("L6: a worker leaves other users' tasks alone unless it is told to run them, and why says so", async () => {
      const { farm, by } = await sharedFarm();
      const [a, b] = [by(ALICE, 'submit', '--', 'true').stdout.trim(), by(BOB, 'submit', '--', 'true').stdout.trim()];
      const stateOf = (id: string): string => (JSON.parse(by(BOB, 'show', '--json', id).stdout) as TaskView).state;
      const worker = by(BOB, 'worker', '--name', 'bobs', '--until-empty', '--poll', '20ms');
      expect([worker.status, stateOf(b)], worker.stderr).toEqual([0, 'done']);
      if (isRoot) expect(stateOf(a)).toBe('queued');
      if (isRoot) {
        const env = { PATH: process.env['PATH'], HOME: '/nowhere', TQ_DIR: path.join(farm.dir, 'shared/q') };
        const living = spawn(TQ, ['worker', '--name', 'other', '--poll', '20ms'], { ...BOB, cwd: '/', env, stdio: 'ignore' });
        onTestFinished(() => void living.kill('SIGKILL'));
        await until(
          () => by(ALICE, 'why', a).stdout.includes(`  other: runs no tasks of ${ALICE.uid} (only of ${BOB.uid})\n`),
          () => by(ALICE, 'why', a).stdout,
        );
        living.kill('SIGTERM');
        await new Promise((resolve) => living.on('close', resolve));
      }
      expect(by(BOB, 'worker', '--name', 'bobs', '--until-empty', '--poll', '20ms', '--run-users', 'any').status).toBe(0);
      expect(stateOf(a)).toBe('done');
    });

    it('L6: who may only read sees everything and changes nothing: 6; who may not read: 6', async () => {
      const { farm, by } = await sharedFarm();
      const id = by(ALICE, 'submit', '-n', 'hers', '--', 'echo', 'out').stdout.trim();
      expect(by(ALICE, 'worker', '--until-empty', '--poll', '20ms').status).toBe(0);
      const queued = by(ALICE, 'submit', '-n', 'next', '--', 'true').stdout.trim();
      if (!isRoot) execFileSync('chmod', ['-R', 'a-w', farm.dir]);
      for (const [args, text] of [
        [['ls', '-a'], 'hers'],
        [['status'], '1 queued, 1 done'],
        [['show', id], 'hers'],
        [['logs', id], 'out\n'],
        [['top', '--once'], 'next'],
        [['why', queued], 'offline'],
        [['stats'], '1 done'],
      ] as const) {
        const ran = by(CAROL, ...args);
        expect([ran.status, ran.stderr], args.join(' ')).toEqual([0, '']);
        expect(ran.stdout).toContain(text);
      }
      for (const args of [['submit', '--', 'true'], ['cancel', queued], ['hold', queued], ['retry', id], ['note', id, 'x'], ['worker']]) {
        const ran = by(CAROL, ...args);
        expect([ran.status, ran.stdout], `${args.join(' ')}: ${ran.stderr}`).toEqual([6, '']);
        expect(ran.stderr).toContain('permission denied');
      }
      if (!isRoot) execFileSync('chmod', ['-R', 'u+w', farm.dir]);
      fs.chmodSync(path.join(farm.dir, 'shared/q'), isRoot ? 0o770 : 0);
      for (const args of [['ls'], ['status'], ['top', '--once'], ['show', id], ['logs', id], ['doctor'], ['submit', '--', 'true']]) {
        expect([by(CAROL, ...args).status, args], args.join(' ')).toEqual([6, args]);
      }
      fs.chmodSync(path.join(farm.dir, 'shared/q'), 0o770);
    });

    it('L6: one file that may not be read hides no other task, and is named', async () => {
      const { by } = await sharedFarm();
      const [hidden, other] = [
        by(ALICE, 'submit', '--', 'true').stdout.trim(),
        by(ALICE, 'submit', '-n', 'other', '--', 'true').stdout.trim(),
      ];
      const { file } = JSON.parse(by(ALICE, 'show', '--json', hidden).stdout) as TaskView;
      fs.chmodSync(file, 0);
      const ls = by(BOB, 'ls', '--json');
      expect([ls.status, (JSON.parse(ls.stdout) as TaskView[]).map((t) => t.id)]).toEqual([6, [other]]);
      expect(JSON.parse(ls.stderr)).toMatchObject({ error: { code: 'PERMISSION', exit: 6 } });
      expect(ls.stderr).toContain(file);
      for (const args of [['stats'], ['graph'], ['ls', '-n', 'o*'], ['top', '--once'], ['status'], ['events']]) {
        const ran = by(BOB, ...args);
        expect([ran.status, ran.stderr], args.join(' ')).toEqual([0, '']);
      }
      expect(by(BOB, 'show', hidden).status).toBe(6);
    });
  });

  it('M1 L6: somebody without permission is told so with 6', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const root = process.getuid?.() === 0;
    // root may do everything, so another user asks; who is not root takes the permission away from himself.
    fs.chmodSync(farm.dir, 0o755);
    fs.chmodSync(farm.queue, root ? 0o700 : 0);
    const as = root ? { uid: 65_534, gid: 65_534 } : {};
    const ran = spawnSync(TQ, ['cancel', id], {
      ...as,
      cwd: '/',
      env: { PATH: process.env['PATH'], HOME: '/', TQ_DIR: farm.queue },
      encoding: 'utf8',
    });
    fs.chmodSync(farm.queue, 0o700);
    expect([ran.status, ran.stdout], `${ran.stderr}`).toEqual([6, '']);
    expect(ran.stderr).toContain('permission denied');
    expect((await farm.show(id)).state).toBe('queued');
  });
});
