/** `tq export` and `tq import` from outside: one file that has all, and a queue that is the same again. */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { header, padding } from '../../src/queue/tar.ts';
import { treeOf } from '../helpers/files.ts';
import { makeFarm, type Farm } from '../helpers/tq.ts';

const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');
const all = async (farm: Farm): Promise<TaskView[]> =>
  (JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[]).toSorted((a, b) => (a.id < b.id ? -1 : 1));
/** What must be the same in a copy: all but where the file lies, and of an array when its last file came to its place. */
const told = (views: readonly TaskView[]): unknown[] =>
  views.map(({ file: _file, ...view }) => (view.array === null ? view : { ...view, endedAt: view.endedAt !== null }));

async function exported(farm: Farm): Promise<string> {
  const file = path.join(farm.dir, 'backup.tar');
  await farm.ok(['export', file]);
  return file;
}

/** An archive as `tq export` would make it of these files. */
function archive(files: ReadonlyArray<readonly [path: string, data: string]>, end: { files?: number } | null = {}): Buffer {
  const manifest = JSON.stringify({ schema: 'tq.export/1', format: 1 });
  const trailer = JSON.stringify({ schema: 'tq.export-end/1', files: files.length, ...end });
  const members = [['tq-export.json', manifest] as const, ...files, ...(end === null ? [] : [['tq-export-end.json', trailer] as const])];
  const blocks = members.flatMap(([name, data]) => {
    const bytes = Buffer.from(data);
    return [header({ path: name, bytes: bytes.length }), bytes, padding(bytes.length)];
  });
  return Buffer.concat([...blocks, Buffer.alloc(1024)]);
}

const ID = '6d39o5h8zf9c15';
const task = (id: string, more: object = {}): string =>
  `${JSON.stringify({ schema: 'tq.task/1', id, queue: 'default', priority: 0, command: ['true'], cwd: '/', ...more })}\n`;

/** A bit of everything, at rest. */
async function furnished(farm: Farm): Promise<void> {
  fs.writeFileSync(
    path.join(farm.dir, 'job.sh'),
    '#!/bin/sh\nhead -c 3000 /dev/zero | tr "\\0" "\\377"; cat; echo "$1" > $TQ_STATE_DIR/kept; chmod +x $TQ_STATE_DIR/kept\n',
  );
  await farm.ok(['limit', 'set', 'api', '--max', '3', '--rate', '100/1s']);
  await farm.submit('-n', 'script', '--stdin', '-', '--script', 'job.sh', '--', 'x');
  await farm.submit('-n', 'fails', '--retries', '1', '--backoff', 'none', '--split', '-c', 'echo out; echo err >&2; exit 3');
  await farm.submit('-n', 'result', '--limit', 'api', '--mutex', 'm', '-c', 'echo \'{"sum":4}\' > $TQ_RESULT_FILE');
  await farm.submit('-n', 'array', '--array', '1-20%4', '--max-fails', '50%', '-c', 'echo element {}; test {} != 7');
  await farm.submit('-n', 'follows', '--on-success', 'true', '--', 'true');
  await farm.ok(['submit', '--batch', '-', '-g', 'lot'], { input: '{"command":["true"]}\n{"command":["false"]}\n' });
  await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
  const parent = await farm.submit('-n', 'later', '--at', '2099-01-31T09:30:07.250', '-p', '7', '--key', 'k1', '--', 'true');
  await farm.submit('-n', 'child', '--after', parent, '--lock-keys', '^x', '--', 'true');
  const held = await farm.submit('-n', 'held', '--hold', '-q', 'other', '--mem', '1G', '--', 'true');
  await farm.ok(['note', held, 'look at this']);
  await farm.submit('-n', 'queued', '-p', '-5', '-q', 'other', '--key', 'k2', '--on', 'gpu', '--', 'true');
  await farm.submit('-n', 'range', '--array', '1-1000', '-q', 'other', '--', 'true');
  await farm.ok(['cancel', await farm.submit('--', 'true')]);
  await farm.ok(['queue', 'pause', 'nightly']);
  await farm.ok(['cron', 'add', '@yearly', '--tz', 'UTC', '--', 'true']);
}

describe('export and import', () => {
  it('L10: into an empty queue: same ids, states, attempts, results and logs, byte for byte', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    await furnished(from);
    const file = await exported(from);
    const ran = await to.tq(['import', file]);
    expect([ran.code, ran.stderr]).toEqual([0, '']);
    const views = await all(from);
    expect(views.length).toBeGreaterThan(12);
    expect(told(await all(to))).toEqual(told(views));
    expect(lines(ran.stdout).toSorted()).toEqual([...new Set(views.map((v) => v.id.split('.')[0]!))].toSorted());
    for (const { id, attempts, array } of views) {
      for (const stream of [[], ...(attempts.length > 1 ? [['--attempt', '1'], ['--stderr']] : [])]) {
        const logs = ['logs', id, ...stream];
        const [a, b] = [await from.tq(logs), await to.tq(logs)];
        expect([b.code, b.bytes.equals(a.bytes)], logs.join(' ')).toEqual([a.code, true]);
      }
      expect(JSON.parse(await to.ok(['show', id, '--json'])).notes).toEqual(JSON.parse(await from.ok(['show', id, '--json'])).notes);
      if (array !== null)
        expect(await to.ok(['ls', id, '--expand', '-o', 'id,state,exitCode'])).toBe(
          await from.ok(['ls', id, '--expand', '-o', 'id,state,exitCode']),
        );
    }
    const script = views.find((v) => v.name === 'script')!.id;
    expect(fs.readFileSync(path.join(to.queue, 'state', script, 'kept'), 'utf8')).toBe('x\n');
    expect(fs.statSync(path.join(to.queue, 'state', script, 'kept')).mode & 0o100).toBe(0o100);
    for (const look of [
      ['limit', 'ls', '--json'],
      ['queue', 'ls', '--json'],
      ['cron', 'ls', '--json'],
      ['group', 'ls', '--json'],
    ])
      expect(JSON.parse(await to.ok(look)), look.join(' ')).toEqual(JSON.parse(await from.ok(look)));
    expect(fs.existsSync(path.join(to.queue, 'paused/nightly'))).toBe(true);
    // Keys are held: another submit of one finds the task, and a locked one is refused.
    const queued = views.find((v) => v.name === 'queued')!.id;
    expect(await to.submit('--key', 'k2', '--', 'true')).toBe(queued);
    expect((await to.tq(['submit', '--key', 'xyz', '--', 'true'])).code).toBe(5);
    expect((await to.tq(['doctor'])).code).toBe(0);
  });

  it('L10: what was imported runs, is retried and goes on as it would have', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    await furnished(from);
    await to.ok(['import', await exported(from)]);
    const named = async (name: string): Promise<TaskView> => (await all(to)).find((v) => v.name === name)!;
    await to.ok(['release', (await named('held')).id]);
    await to.ok(['set', (await named('later')).id, '--in', '0']);
    await to.ok(['retry', (await named('fails')).id]);
    await to.ok(['worker', '--until-empty', '--poll', '50ms', '-q', 'default,other', '-l', 'gpu']);
    expect((await named('held')).state).toBe('done');
    expect((await named('queued')).state).toBe('done');
    expect((await named('child')).state).toBe('done');
    expect(await named('range')).toMatchObject({ state: 'done', array: { done: 1000 } });
    expect((await named('fails')).attempts.map((a) => a.attempt)).toEqual([1, 2, 4, 5]);
    expect((await to.tq(['doctor'])).code).toBe(0);
  });

  it('L10: known ids are skipped and named, and what is new comes', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    const first = await from.submit('--', 'true');
    await to.ok(['import', await exported(from)]);
    await to.ok(['worker', '--until-empty', '--poll', '50ms']);
    const second = await from.submit('--', 'true');
    const file = await exported(from);
    expect(lines(await to.ok(['import', '--dry-run', file]))).toEqual([second]);
    expect(fs.readdirSync(path.join(to.queue, 'tmp')).filter((name) => name.includes('import'))).toEqual([]);
    const ran = await to.tq(['import', file]);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, `${second}\n`, `tq: ${first} is here already: skipped\n`]);
    expect((await to.show(first)).state).toBe('done');
    expect(JSON.parse(await to.ok(['import', file, '--json']))).toEqual({ imported: [], known: [second, first], leftOut: [] });
    // One that was removed since is not brought back either.
    await to.ok(['rm', first]);
    expect(lines((await to.tq(['import', file])).stdout)).toEqual([]);
  });

  it('L10: cp -a of a resting queue is a working queue, and so is what tar unpacks', async () => {
    const from = await makeFarm();
    await furnished(from);
    const file = await exported(from);
    const [copied, unpacked] = [path.join(from.dir, 'copy'), path.join(from.dir, 'unpacked')];
    execFileSync('cp', ['-a', from.queue, copied]);
    fs.mkdirSync(unpacked);
    execFileSync('tar', ['xf', file, '-C', unpacked]);
    for (const dir of [copied, unpacked]) {
      const views = JSON.parse(await from.ok(['ls', '-D', dir, '-a', '--json'])) as TaskView[];
      expect(told(views.toSorted((a, b) => (a.id < b.id ? -1 : 1))), dir).toEqual(told(await all(from)));
      const id = (await from.ok(['submit', '-D', dir, '--', 'true'])).trim();
      await from.ok(['worker', '-D', dir, '--until-empty', '--poll', '50ms']);
      expect(await from.ok(['ls', '-D', dir, id, '-o', 'state', '--no-header'])).toMatch(/^done/);
    }
  });

  it('L10: through pipes; an existing file is replaced only when the new one is whole', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    const id = await from.submit('--', 'true');
    const ran = await from.tq(['export', '-']);
    expect([ran.code, ran.stderr]).toEqual([0, 'tq: 1 task exported\n']);
    expect(await to.ok(['import', '-'], { input: ran.bytes })).toBe(`${id}\n`);
    const file = path.join(from.dir, 'f.tar');
    fs.writeFileSync(file, 'old');
    expect(JSON.parse(await from.ok(['export', file, '--json']))).toMatchObject({ file, tasks: 1 });
    expect(fs.readFileSync(file).length).toBe(ran.bytes.length);
    expect((await from.tq(['export', path.join(from.dir, 'no/such')])).code).toBe(2);
    expect(fs.readdirSync(from.dir).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('L10: while workers run: each task once, what ran is lost there and runs again', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    const running = await from.submit('-c', `echo begun; until test -e ${from.dir}/go; do sleep 0.05; done`);
    const array = await from.submit('--array', '1-400', '-c', 'echo {}');
    await from.worker(['-j', '4']);
    await from.reaches(running, 'running');
    const more = async (): Promise<void> => {
      for (let i = 0; i < 15; i++) await from.submit('--on-success', 'true', '--', 'true');
    };
    const [file] = await Promise.all([exported(from), more()]);
    const ids = lines(await to.ok(['import', file]));
    expect(new Set(ids).size).toBe(ids.length);
    expect(await to.show(running)).toMatchObject({ state: 'queued', attempts: [{ attempt: 1, outcome: 'lost' }] });
    expect(await to.ok(['logs', running, '--attempt', '1'])).toBe('begun\n');
    fs.writeFileSync(path.join(from.dir, 'go'), '');
    await to.ok(['worker', '--until-empty', '--poll', '50ms', '-j', '4']);
    expect(await to.show(array)).toMatchObject({ state: 'done', array: { size: 400, done: 400 } });
    expect(await to.show(running)).toMatchObject({ state: 'done', attempt: 2 });
    expect(new Set((await all(to)).map((v) => v.state))).toEqual(new Set(['done']));
    expect((await to.tq(['doctor'])).code).toBe(0);
  });

  it('L10: a link that a task keeps is not followed, but left out and named; long and odd names come along', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    const id = await from.submit('--hold', '--', 'true');
    const [there, here] = [path.join(from.queue, 'state', id), path.join(to.queue, 'state', id)];
    const long = path.join('a'.repeat(120), 'b'.repeat(120), `ü ${'c'.repeat(100)}\n`);
    fs.mkdirSync(path.join(there, path.dirname(long)), { recursive: true });
    fs.writeFileSync(path.join(there, long), Buffer.alloc(600_000, 7));
    fs.symlinkSync('/etc', path.join(there, 'link'));
    const file = path.join(from.dir, 'f.tar');
    const ran = await from.tq(['export', file]);
    expect([ran.code, ran.stderr]).toEqual([
      0,
      expect.stringContaining(`tq: left out: state/${id}/link: neither a file nor a directory\n`),
    ]);
    expect(execFileSync('tar', ['tf', file], { encoding: 'utf8' })).toContain('a'.repeat(120));
    await to.ok(['import', file]);
    expect(fs.readFileSync(path.join(here, long)).equals(Buffer.alloc(600_000, 7))).toBe(true);
    expect(fs.readdirSync(here)).toEqual(['a'.repeat(120)]);
  });

  it('L10: a task whose key another one has here stays out and is named', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    const theirs = await from.submit('--key', 'k', '--hold', '--', 'true');
    const mine = await to.submit('--key', 'k', '--hold', '--', 'true');
    const ran = await to.tq(['import', await exported(from)]);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, '', `tq: left out: ${theirs}: its key k is held by ${mine}\n`]);
    expect((await to.tq(['show', theirs])).code).toBe(3);
  });
});

describe('a file that is none', () => {
  it('L10: truncated anywhere, garbage or of a newer format: exit 4 and nothing changed', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    await from.submit('--stdin', '-', '--', 'cat');
    await from.submit('--', 'true');
    const whole = fs.readFileSync(await exported(from));
    const before = treeOf(to.queue);
    const file = path.join(to.dir, 'bad.tar');
    const bad: Array<[Buffer, string]> = [
      [Buffer.alloc(0), 'it ends in the middle of a header'],
      [Buffer.from('not a tar at all'), 'it ends in the middle of a header'],
      [Buffer.alloc(4096, 'x'), 'a header has'],
      [Buffer.alloc(4096), 'it has no end'],
      [whole.subarray(0, whole.length - 2048 - 512), 'it'],
      [archive([], null), 'it has no end'],
      [archive([[`queued/default/p00/6d39/o5/${ID}.a0.json`, task(ID)]], { files: 2 }), 'it has 1 files, and had 2'],
      [archive([[`queued/default/p00/6d39/o5/${ID}.a0.json`, '{']]), 'it is not JSON'],
      [archive([[`queued/default/p00/6d39/o5/${ID}.a0.json`, task('6d39o5hjplzhfm')]]), 'it is the task 6d39o5hjplzhfm'],
    ];
    for (let at = 512; at < whole.length - 1024; at += 1536) bad.push([whole.subarray(0, at), 'it ends in the middle of']);
    for (const [bytes, said] of bad) {
      fs.writeFileSync(file, bytes);
      const ran = await to.tq(['import', file]);
      expect([ran.code, ran.stdout, ran.stderr], String(bytes.length)).toEqual([4, '', expect.stringContaining(said)]);
    }
    fs.writeFileSync(file, Buffer.from(whole.toString('latin1').replace('"format":1', '"format":2'), 'latin1'));
    const newer = await to.tq(['import', file]);
    expect([newer.code, newer.stderr]).toEqual([4, expect.stringContaining('has format 2')]);
    expect(treeOf(to.queue)).toEqual(before);
    expect((await to.tq(['import', path.join(to.dir, 'nix')])).code).toBe(2);
    expect((await to.tq(['import', to.dir])).code).toBe(2);
    expect((await to.tq(['import'])).code).toBe(2);
  });

  it('L10: a hostile name never leaves the queue, and nothing changes', async () => {
    const farm = await makeFarm();
    const before = treeOf(farm.queue);
    const file = path.join(farm.dir, 'bad.tar');
    const names = [
      '../outside',
      '/etc/passwd',
      `queued/default/p00/../../../../${ID}.a0.json`,
      'runs/6d39/o5/../../../x',
      `runs/6d39/o5/${ID}.a1.exe`,
      'blobs/evil',
      `state/${ID}/../../../../x`,
      `state/..`,
      `notes/${ID}/name`,
      `running/x/${ID}.a1.json`,
      `queued/default/nix/6d39/o5/${ID}.a0.json`,
      `done/6d39/o5/nix.json`,
      'limits/a b/limit.json',
      'paused/a b',
      `cron/${ID}/evil`,
      `groups/../x`,
    ];
    for (const name of names) {
      fs.writeFileSync(file, archive([[name, task(ID)]]));
      const ran = await farm.tq(['import', file]);
      expect([ran.code, ran.stdout], name).toEqual([4, '']);
    }
    expect(treeOf(farm.queue)).toEqual(before);
    expect(fs.readdirSync(farm.dir).toSorted()).toEqual(['bad.tar', 'home', 'q']);
    // A wrong bucket or lane in the archive is not believed, and what a later version would add is left out.
    fs.writeFileSync(
      file,
      archive([
        [`queued/evil~0123456789/p07/xxxx/yy/${ID}.a0.json`, task(ID)],
        ['later/thing', '1'],
      ]),
    );
    const ran = await farm.tq(['import', file]);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([0, `${ID}\n`, 'tq: left out: later/thing: not known to this tq\n']);
    expect((await farm.show(ID)).file).toContain(`queued/default/p07/6d39/o5/${ID}.a0.json`);
  });
});

describe('two at once, and one that dies', () => {
  it('L10: a named pipe or a device is written to and stays what it is, and a link leads on', async () => {
    const farm = await makeFarm();
    await farm.submit('--', 'true');
    const [pipe, link, real] = ['pipe', 'link', 'real.tar'].map((name) => path.join(farm.dir, name));
    execFileSync('mkfifo', [pipe!]);
    const reader = spawn('tar', ['-tf', pipe!], { stdio: ['ignore', 'pipe', 'inherit'] });
    const read = textOf(reader.stdout);
    await farm.ok(['export', pipe!]);
    expect(await read).toContain('tq-export-end.json');
    expect(fs.statSync(pipe!).isFIFO()).toBe(true);
    fs.writeFileSync(real!, 'older');
    fs.symlinkSync('real.tar', link!);
    await farm.ok(['export', link!]);
    expect(fs.readlinkSync(link!)).toBe('real.tar');
    expect(execFileSync('tar', ['-tf', real!], { encoding: 'utf8' })).toContain('tq-export-end.json');
    expect(fs.readdirSync(farm.dir).filter((name) => name.endsWith('.part'))).toEqual([]);
  });

  it('L10: of two imports at once each task comes once', async () => {
    const [from, to] = [await makeFarm(), await makeFarm()];
    for (let i = 0; i < 5; i++) await from.submit('--', 'true');
    const file = await exported(from);
    const both = await Promise.all([to.tq(['import', file]), to.tq(['import', file])]);
    for (const ran of both) expect([0, 5], ran.stderr).toContain(ran.code);
    expect(lines(both.map((ran) => ran.stdout).join('')).length).toBe(5);
    expect((await all(to)).length).toBe(5);
    expect((await to.tq(['doctor'])).code).toBe(0);
  });

  it('L10: killed anywhere it is wholly there after the next command, or not at all', async () => {
    const from = await makeFarm();
    for (let i = 0; i < 2; i++) await from.submit('--hold', '--', 'true');
    await from.submit('--key', 'k', '--', 'true');
    const file = await exported(from);
    let died = 0;
    for (let at = 1; died === at - 1; at++) {
      const to = await makeFarm();
      const ran = await to.tq(['import', file], { env: { TQ_FAULT: `die-before:${at}` } });
      if (ran.code !== 0) died++;
      const there = (await all(to)).length;
      expect([0, 3], `call ${at}`).toContain(there);
      expect(lines(await to.ok(['import', file])).length, `call ${at}`).toBe(3 - there);
      expect((await all(to)).length, `call ${at}`).toBe(3);
      await to.close();
    }
    expect(died).toBeGreaterThan(20);
  });
});
