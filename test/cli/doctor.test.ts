/** `tq doctor` from outside: what it finds, that it repairs without losing anything, and that a healthy queue is left alone. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Finding } from '../../src/queue/doctor/finding.ts';
import { age, bury, filesWith, placesOf, put, treeOf } from '../helpers/files.ts';
import { isThere, makeFarm, until, type Farm } from '../helpers/tq.ts';

/** A session of a machine and boot that this one knows nothing of. */
const FAR = 'far.1.0-aaaaaaa-bbbbb-ccccc-dddd';
const DAY_MS = 86_400_000;

interface Said {
  code: number;
  stderr: string;
  findings: Finding[];
  /** Codes of what is not well and not repaired. */
  wrong: string[];
  fixed: string[];
}

async function doctor(farm: Farm, ...flags: string[]): Promise<Said> {
  const ran = await farm.tq(['doctor', '--json', ...flags]);
  const findings = JSON.parse(ran.stdout) as Finding[];
  const sick = findings.filter((f) => f.level !== 'ok');
  return {
    code: ran.code,
    stderr: ran.stderr,
    findings,
    wrong: sick.filter((f) => f.fixed !== true).map((f) => f.code),
    fixed: sick.filter((f) => f.fixed === true).map((f) => f.code),
  };
}

/** Finds exactly these, changes nothing without `--fix`, repairs them with it, and finds nothing any more. */
async function repairs(farm: Farm, codes: string[], options: { code?: number; left?: string[] } = {}): Promise<Said> {
  const before = treeOf(farm.queue);
  const found = await doctor(farm);
  expect(found.wrong).toEqual(codes);
  expect(found.code).toBe(options.code ?? 1);
  expect(treeOf(farm.queue)).toEqual(before);
  const fixed = await doctor(farm, '--fix');
  expect(fixed.fixed, `${JSON.stringify(fixed.findings.filter((f) => f.level !== 'ok'))}`).toEqual(codes);
  expect(fixed.code).toBe(0);
  const again = await doctor(farm);
  expect([again.code, again.wrong]).toEqual([0, options.left ?? []]);
  return fixed;
}

async function fileOf(farm: Farm, id: string): Promise<string> {
  return (await farm.show(id)).file;
}

/** The first `a/b` of the bucket of an id. */
const bucket = (id: string): string => `${id.slice(0, 4)}/${id.slice(4, 6)}`;

/** Puts a queued task into the hands of a session, as a claim does. */
async function claimed(farm: Farm, session: string, ...args: string[]): Promise<{ id: string; entry: string }> {
  const id = await farm.submit(...(args.length === 0 ? ['--', 'true'] : args));
  const file = await fileOf(farm, id);
  const entry = put(farm, `running/${session}/${id}.a1.json`, fs.readFileSync(file, 'utf8'));
  fs.unlinkSync(file);
  return { id, entry };
}

describe('a healthy queue', () => {
  it('L3: is said to be well, part by part, and exits 0', async () => {
    const farm = await makeFarm();
    await farm.submit('--hold', '--', 'true');
    const said = await doctor(farm);
    expect([said.code, said.wrong]).toEqual([0, []]);
    expect(said.findings.map((f) => f.code)).toEqual(['config', 'file-system', 'modes', 'operations', 'clock', 'sessions', 'tasks']);
    for (const f of said.findings) expect([f.level, f.message]).toEqual(['ok', expect.stringMatching(/./)]);
    const text = await farm.ok(['doctor']);
    expect(text.trim().split('\n')).toHaveLength(7);
    expect(text).toMatch(/^ok {7}config: /);
  });

  it('L3: stays well beside workers and everybody who changes it', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2']);
    const work = { over: false };
    const changing = (async () => {
      while (!work.over) {
        const ids = [await farm.submit('--key', 'k', '--', 'true'), await farm.submit('--', 'false')];
        await farm.submit('--after', ids.join(','), '--', 'true');
        await farm.tq(['retry', ids[1]!]);
        await farm.tq(['hold', ids[0]!]);
        await farm.tq(['release', ids[0]!]);
      }
    })();
    for (let round = 0; round < 8; round++) {
      const said = await doctor(farm, ...(round % 2 === 0 ? [] : ['--fix']));
      expect([said.code, said.wrong, said.fixed], `${JSON.stringify(said.findings)}`).toEqual([0, [], []]);
    }
    work.over = true;
    await changing;
  });
});

describe('tasks', () => {
  it('L3: one in two places: the older copy goes to quarantine and the task runs once', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'sh', '-c', 'echo x >> ran');
    const text = fs.readFileSync(await fileOf(farm, id), 'utf8');
    put(farm, `held/${bucket(id)}/${id}.a0.json`, text);
    put(farm, `canceled/${bucket(id)}/${id}.a1.json`, text);
    await repairs(farm, ['twice', 'twice'], { left: ['quarantine'] });
    expect(placesOf(farm.queue, id)).toEqual([expect.stringMatching(/^canceled\//)]);
    const aside = fs.readdirSync(path.join(farm.queue, 'quarantine')).filter((name) => name.endsWith('.reason'));
    expect(aside).toHaveLength(2);
    for (const name of aside) expect(fs.readFileSync(path.join(farm.queue, 'quarantine', name), 'utf8')).toContain('exists twice');
    await farm.ok(['retry', id]);
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect(fs.readFileSync(path.join(farm.dir, 'ran'), 'utf8')).toBe('x\n');
  });

  it('L4: garbage, half a task and a foreign file go to quarantine with the reason, others run on', async () => {
    const farm = await makeFarm();
    const [a, b, good] = [await farm.submit('--', 'true'), await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    const [fileA, fileB] = [await fileOf(farm, a), await fileOf(farm, b)];
    fs.writeFileSync(fileA, 'garbage');
    fs.writeFileSync(fileB, fs.readFileSync(fileB, 'utf8').slice(0, 60));
    fs.writeFileSync(path.join(path.dirname(fileA), 'notes.txt'), 'mine');
    const fixed = await repairs(farm, ['unreadable', 'unreadable', 'foreign'], { left: ['quarantine'] });
    expect(fixed.findings.filter((f) => f.code === 'unreadable').map((f) => f.message)).toEqual([
      expect.stringContaining('it is not JSON'),
      expect.stringContaining('it is not JSON'),
    ]);
    const aside = fs.readdirSync(path.join(farm.queue, 'quarantine'));
    expect(aside.filter((name) => !name.endsWith('.reason'))).toHaveLength(3);
    expect(
      fs.readFileSync(
        path.join(
          farm.queue,
          'quarantine',
          aside.find((name) => name.startsWith('notes.txt') && !name.endsWith('.reason'))!,
        ),
        'utf8',
      ),
    ).toBe('mine');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect((await farm.show(good)).state).toBe('done');
  });

  it('L3: damaged records go to quarantine, and each is named with what is amiss without it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    await farm.ok(['submit', '--batch', '-', '--deadline', '1h'], { input: '{"command":["true"]}\n' });
    const group = fs.readdirSync(path.join(farm.queue, 'groups')).find((name) => name.endsWith('.json'))!;
    await farm.ok(['limit', 'set', 'lic', '--max', '2']);
    const cron = (await farm.ok(['cron', 'add', '0 0 1 1 *', '--', 'true'])).trim();
    await farm.ok(['worker', '--until-empty', '--poll', '50ms', '--name', 'w1']);
    const outcome = (await fileOf(farm, id)).replace(/^.*\/done/, path.join(farm.queue, 'runs'));
    const files = [
      outcome,
      ...['workers/w1/worker.json', `cron/${cron}.json`, 'limits/lic/limit.json', `groups/${group}`].map((f) => path.join(farm.queue, f)),
    ];
    for (const file of files) fs.truncateSync(file, 20);
    const fixed = await repairs(
      farm,
      files.map(() => 'unreadable'),
      { left: ['quarantine'] },
    );
    const messages = fixed.findings.filter((f) => f.code === 'unreadable').map((f) => f.message);
    for (const file of files) expect(messages.join('\n')).toContain(`${path.relative(farm.queue, file)} is damaged: `);
    for (const file of files) expect(fs.existsSync(file), file).toBe(false);
    expect(fs.readdirSync(path.join(farm.queue, 'quarantine')).filter((name) => !name.endsWith('.reason'))).toHaveLength(files.length);
  });

  it('L3: one in a directory where nobody looks is put where it belongs', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    fs.renameSync(await fileOf(farm, id), put(farm, `held/0000/00/${id}.a0.json`, ''));
    await repairs(farm, ['misplaced']);
    expect((await farm.show(id)).state).toBe('held');
  });

  it('L3: one that ended but was not moved is moved, not run again', async () => {
    const farm = await makeFarm();
    const id = bury(farm, { state: 'done', agoMs: 60_000 });
    const child = await farm.submit('--after', id, '--', 'true');
    expect((await farm.show(child)).state).toBe('queued');
    fs.renameSync(path.join(farm.queue, placesOf(farm.queue, id)[0]!), put(farm, `queued/default/p00/${bucket(id)}/${id}.a1.json`, ''));
    await repairs(farm, ['not-moved']);
    expect(placesOf(farm.queue, id)).toEqual([expect.stringMatching(/^done\//)]);
  });

  it('L3: one whose parents have ended is let go; one whose parent is nowhere is named', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    // The parent ends, and whoever ended it dies before it told the child.
    fs.renameSync(await fileOf(farm, parent), put(farm, `done/${bucket(parent)}/${parent}.a0.json`, ''));
    await repairs(farm, ['stuck']);
    expect((await farm.show(child)).state).toBe('queued');

    const lost = await farm.submit('--hold', '--', 'true');
    const orphan = await farm.submit('--after', lost, '--', 'true');
    fs.unlinkSync(await fileOf(farm, lost));
    const said = await doctor(farm, '--fix');
    expect([said.code, said.wrong]).toEqual([1, ['parent-missing']]);
    expect(said.findings.find((f) => f.code === 'parent-missing')?.message).toContain(`${orphan} waits for ${lost}`);
  });

  it('L3: one that is skipped because of a parent that was retried since goes back to waiting, with what comes after it', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    const grandchild = await farm.submit('--after', child, '--', 'true');
    await farm.ok(['cancel', parent]);
    expect((await farm.show(grandchild)).state).toBe('skipped');
    // Whoever retries the parent dies before it tells the children.
    fs.renameSync(await fileOf(farm, parent), put(farm, `queued/default/p00/${bucket(parent)}/${parent}.a1.json`, ''));
    await repairs(farm, ['forgotten']);
    for (const id of [child, grandchild]) expect((await farm.show(id)).state).toBe('waiting');
  });

  it('L3: a follow-up that was not let go, and one whose ending never came, are settled; a missing one is made', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--on-success', 'echo followed', '--', 'true');
    expect((await farm.tq(['worker', '--max-tasks', '1', '--until-empty'])).code).toBe(0);
    const [record] = filesWith(farm.queue, id).filter((name) => name.endsWith('.on-success'));
    const follow = fs.readFileSync(path.join(farm.queue, record!), 'utf8').trim();
    const file = await fileOf(farm, follow);
    const text = fs.readFileSync(file, 'utf8');
    fs.renameSync(file, path.join(farm.queue, 'follow', `${follow}.json`));
    await repairs(farm, ['follow-up'], { code: 0 });
    expect((await farm.show(follow)).state).toBe('queued');
    // Of an ending that the task has passed by.
    const other = `${follow.slice(0, -2)}zz`;
    const stale = JSON.parse(text) as { cause: object };
    put(farm, `follow/${other}.json`, JSON.stringify({ ...stale, id: other, cause: { ...stale.cause, kind: 'on-failure' } }));
    await repairs(farm, ['follow-up'], { code: 0 });
    expect(fs.readdirSync(path.join(farm.queue, 'follow'))).toEqual([]);
    await farm.ok(['cancel', follow]);
    fs.unlinkSync(path.join(farm.queue, record!));
    await repairs(farm, ['not-followed']);
    const made = fs.readFileSync(path.join(farm.queue, record!), 'utf8').trim();
    expect(made).not.toBe(follow);
    expect((await farm.show(made)).state).toBe('queued');
    expect((await farm.show(id)).state).toBe('done');
  });

  it('L3: one that waits for an array which is not done is well', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('--hold', '--array', '1-3', '--', 'true');
    await farm.submit('--after', array, '--', 'true');
    const said = await doctor(farm);
    expect([said.code, said.wrong]).toEqual([0, []]);
  });

  it('L3: one that lost its key gets it back', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--key', 'k', '--', 'true');
    const keys = path.join(farm.queue, 'keys', fs.readdirSync(path.join(farm.queue, 'keys'))[0]!);
    const [token] = fs.readdirSync(keys);
    fs.renameSync(path.join(keys, token!), path.join(keys, 'g9.free'));
    await repairs(farm, ['key-not-held']);
    expect(await farm.submit('--key', 'k', '--', 'true')).toBe(id);
  });

  it('L3: attempts of a task that is nowhere are an error that only a person can repair', async () => {
    const farm = await makeFarm();
    const id = bury(farm, { state: 'done', agoMs: 60_000 });
    fs.unlinkSync(path.join(farm.queue, placesOf(farm.queue, id)[0]!));
    const said = await doctor(farm, '--fix');
    expect([said.code, said.wrong]).toEqual([1, ['task-missing']]);
    expect(filesWith(farm.queue, id).filter((name) => name.startsWith('runs/')).length).toBeGreaterThan(0);
  });

  it('L3: delayed ones long due that nobody looks at are a warning', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--in', '1h', '--', 'true');
    fs.renameSync(await fileOf(farm, id), put(farm, `delayed/20200101T0000/00.000/${bucket(id)}/${id}.a0.json`, ''));
    await repairs(farm, ['overdue'], { code: 0 });
    expect((await farm.show(id)).state).toBe('queued');
  });

  it('L3: what nobody offers is named; what a lane asks for is written again when it is missing', async () => {
    const farm = await makeFarm();
    await farm.worker(['-q', 'default', '--cpus', '2']);
    await farm.submit('--cpus', '64', '--', 'true');
    await farm.submit('-q', 'nobody', '--', 'true');
    const said = await doctor(farm);
    expect([said.code, said.wrong]).toEqual([0, ['nobody-serves', 'nobody-serves']]);
    expect(
      said.findings
        .filter((f) => f.code === 'nobody-serves')
        .map((f) => f.message)
        .join('\n'),
    ).toMatch(/64[\s\S]*queue nobody/);
    const lanes = path.join(farm.queue, 'lanes');
    const [lane] = fs.readdirSync(lanes);
    const text = fs.readFileSync(path.join(lanes, lane!), 'utf8');
    fs.unlinkSync(path.join(lanes, lane!));
    expect((await doctor(farm)).wrong).toEqual(['lane', 'nobody-serves']);
    expect((await doctor(farm, '--fix')).fixed).toEqual(['lane']);
    expect(fs.readFileSync(path.join(lanes, lane!), 'utf8')).toBe(text);
  });
});

describe('who holds running tasks', () => {
  it('I16: a worker that died here is proved dead: its task is handed back at once, and what it left running is ended', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--', 'sh', '-c', 'echo $$ > pid; exec sleep 300');
    await farm.reaches(id, 'running');
    await until(
      () => fs.existsSync(path.join(farm.dir, 'pid')) && fs.readFileSync(path.join(farm.dir, 'pid'), 'utf8').endsWith('\n'),
      () => 'it has begun',
    );
    const pid = Number(fs.readFileSync(path.join(farm.dir, 'pid'), 'utf8'));
    // Stopped, it cannot start another guardian when its own is killed.
    w.signal('SIGSTOP');
    const guardians = fs.readFileSync(`/proc/${w.pid}/task/${w.pid}/children`, 'utf8').trim().split(' ').map(Number);
    for (const guardian of guardians)
      if (fs.readFileSync(`/proc/${guardian}/cmdline`, 'utf8').includes('__guardian')) process.kill(guardian, 'SIGKILL');
    w.signal('SIGKILL');
    await w.ended;
    expect(isThere(pid)).toBe(true);
    await repairs(farm, ['dead-session']);
    await until(
      () => !isThere(pid),
      () => 'what it left has ended',
    );
    const view = await farm.show(id);
    expect(view.state).toBe('queued');
    expect(view.attempts).toMatchObject([{ attempt: 1, outcome: 'lost', worker: 'w1' }]);
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1\s+offline/);
  });

  it('I16: one that death cannot be proved of is watched for a lease, which is said, and then handed back', async () => {
    const farm = await makeFarm({ lease: 400 });
    const { id } = await claimed(farm, FAR);
    await until(
      async () => (await doctor(farm)).code === 1,
      () => 'its claim is older than a lease',
    );
    const fixed = await repairs(farm, ['unknown-session']);
    expect(fixed.stderr).toContain('watching worker far for 400ms');
    expect((await farm.show(id)).state).toBe('queued');
    expect(fs.readdirSync(path.join(farm.queue, 'running'))).toEqual([]);
  });

  it('L3: a session that gives a sign of life while it is watched keeps its tasks', async () => {
    const farm = await makeFarm({ lease: 600 });
    const { entry } = await claimed(farm, FAR);
    put(
      farm,
      'workers/far/worker.json',
      JSON.stringify({
        name: 'far',
        session: FAR,
        host: 'far',
        pid: 1,
        startedAt: 0,
        version: '0',
        jobs: 1,
        queues: ['default'],
        labels: {},
        offers: {},
        heartbeatMs: 100,
        restartExitCode: null,
        settings: {},
      }),
    );
    const heartbeat = put(farm, 'workers/far/heartbeat', `000000000001 ${FAR}\n`);
    age(heartbeat, DAY_MS);
    expect((await doctor(farm)).wrong).toEqual(['silent-worker']);
    const watching = farm.start(['doctor', '--fix', '--json']);
    await until(
      () => watching.stderr().includes('watching'),
      () => 'it watches',
    );
    let beats = 1;
    const beating = setInterval(() => fs.writeFileSync(heartbeat, `${String(++beats).padStart(12, '0')} ${FAR}\n`), 20);
    const ran = await watching.ended;
    clearInterval(beating);
    expect(ran.code).toBe(0);
    expect(ran.stdout).toContain('given a sign of life');
    expect(fs.existsSync(entry)).toBe(true);
  });

  it('L3: an outcome that is published is completed and not run again', async () => {
    const farm = await makeFarm({ lease: 300 });
    const { id } = await claimed(farm, FAR);
    const other = bury(farm, { state: 'done', agoMs: 60_000 });
    const outcome = fs.readFileSync(path.join(farm.queue, `runs/${bucket(other)}/${other}.a1.json`), 'utf8').replaceAll(other, id);
    put(farm, `runs/${bucket(id)}/${id}.a1.json`, outcome);
    await until(
      async () => (await doctor(farm)).wrong.includes('unknown-session'),
      () => 'its claim is older than a lease',
    );
    await repairs(farm, ['unknown-session']);
    const view = await farm.show(id);
    expect([view.state, view.attempts.length]).toEqual(['done', 1]);
  });

  it('L3: what a living worker has left undone for longer than a lease is done for it', async () => {
    const farm = await makeFarm({ lease: 300 });
    const { id, entry } = await claimed(farm, FAR);
    const queued = await farm.submit('--', 'true');
    put(
      farm,
      'workers/far/worker.json',
      JSON.stringify({
        name: 'far',
        session: FAR,
        host: 'far',
        pid: 1,
        startedAt: 0,
        version: '0',
        jobs: 1,
        queues: ['default'],
        labels: {},
        offers: {},
        heartbeatMs: 100,
        restartExitCode: null,
        settings: {},
      }),
    );
    const other = bury(farm, { state: 'done', agoMs: 60_000 });
    const outcome = fs.readFileSync(path.join(farm.queue, `runs/${bucket(other)}/${other}.a1.json`), 'utf8').replaceAll(other, id);
    age(put(farm, `runs/${bucket(id)}/${id}.a1.json`, outcome), DAY_MS);
    age(put(farm, `running/${FAR}/${queued}.a1.cancel`, ''), DAY_MS);
    const heartbeat = (): void => void put(farm, 'workers/far/heartbeat', `000000000001 ${FAR}\n`);
    const beating = setInterval(heartbeat, 20);
    heartbeat();
    const found = await doctor(farm);
    const fixed = await doctor(farm, '--fix');
    clearInterval(beating);
    expect([found.code, found.wrong.toSorted()]).toEqual([1, ['half-done', 'orphan-cancel']]);
    expect([fixed.code, fixed.fixed.toSorted()]).toEqual([0, ['half-done', 'orphan-cancel']]);
    expect(fs.existsSync(entry)).toBe(false);
    expect((await farm.show(id)).state).toBe('done');
    // The request was made for an attempt that never was here: it is carried to where the task is.
    expect((await farm.show(queued)).state).toBe('canceled');
  });

  it('I10: after a tq set was killed while it had the task, the task is back where it was', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-p', '3', '--', 'true');
    for (let call = 1; placesOf(farm.queue, id)[0]!.startsWith('queued/'); call++) {
      expect((await farm.tq(['set', id, '-l', 'a=b'], { env: { TQ_FAULT: `die-after:${call}` } })).code).toBe(137);
    }
    expect((await farm.show(id)).state).toBe('queued');
    await repairs(farm, [
      'dead-session',
      ...fs
        .readdirSync(path.join(farm.queue, 'running'))
        .slice(1)
        .map(() => 'dead-session'),
    ]);
    expect(placesOf(farm.queue, id)).toEqual([expect.stringMatching(/^queued\/default\/p03\//)]);
  });
});

describe('the ground', () => {
  it('L3: a private queue that others may look into is a warning, and closed by --fix', async () => {
    const farm = await makeFarm();
    fs.chmodSync(farm.queue, 0o755);
    await repairs(farm, ['mode'], { code: 0 });
    expect(fs.statSync(farm.queue).mode & 0o777).toBe(0o700);
  });

  it('L6: a directory of a shared queue where the group cannot work is an error, and opened by --fix', async () => {
    const farm = await makeFarm({ shared: true });
    const id = await farm.submit('--', 'true');
    fs.chmodSync(path.join(farm.queue, 'running'), 0o755);
    fs.chmodSync(path.dirname(await fileOf(farm, id)), 0o700);
    await repairs(farm, ['mode', 'mode']);
    expect(fs.statSync(path.join(farm.queue, 'running')).mode & 0o7777).toBe(0o2775);
  });

  it('L3: a folder that a program copies is a warning', async () => {
    const farm = await makeFarm();
    const dir = path.join(farm.dir, 'Dropbox', 'q');
    await farm.ok(['init', dir]);
    const ran = await farm.tq(['-D', dir, 'doctor', '--json']);
    expect(ran.code).toBe(0);
    expect((JSON.parse(ran.stdout) as Finding[]).filter((f) => f.level !== 'ok')).toMatchObject([
      { level: 'warning', code: 'synced', message: expect.stringContaining('Dropbox') as string },
    ]);
  });

  it('L3: an operation that does not do what it must is an error', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['doctor', '--json'], { env: { TQ_FAULT: 'fail:EPERM:link:1' } });
    expect(ran.code).toBe(1);
    expect((JSON.parse(ran.stdout) as Finding[]).filter((f) => f.level === 'error').map((f) => f.message)).toContain(
      'a hard link fails: EPERM',
    );
  });

  it('L3: a queue that cannot be written is examined as far as it can be read', async () => {
    const farm = await makeFarm();
    await farm.submit('--hold', '--', 'true');
    const ran = await farm.tq(['doctor', '--json'], { env: { TQ_FAULT: 'fail:EROFS:mkdir:1' } });
    expect(ran.code).toBe(0);
    const findings = JSON.parse(ran.stdout) as Finding[];
    expect(findings.filter((f) => f.level !== 'ok').map((f) => f.code)).toEqual(['not-writable']);
    expect(findings.at(-1)).toMatchObject({ level: 'ok', code: 'tasks' });
  });

  it('L3: missing directories are made again', async () => {
    const farm = await makeFarm();
    fs.rmdirSync(path.join(farm.queue, 'held'));
    await repairs(farm, ['missing-directory'], { code: 0 });
    expect(fs.existsSync(path.join(farm.queue, 'held'))).toBe(true);
  });

  it('L3: what is not a queue is refused with 4', async () => {
    const farm = await makeFarm();
    put(farm, 'tq.json', '{"half":');
    const ran = await farm.tq(['doctor', '--fix', '--json']);
    expect(ran.code).toBe(4);
    expect(JSON.parse(ran.stderr)).toMatchObject({ error: { code: 'NOT_A_QUEUE', exit: 4 } });
  });
});
