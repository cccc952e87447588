/** What a person or a script sees of a queue: ls, show, why, status, the workers. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { onTerminal } from '../helpers/terminal.ts';
import { childrenOf, makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

async function ids(farm: Farm, ...args: string[]): Promise<string[]> {
  return (await farm.ok(['ls', '-o', 'id', '--no-header', ...args])).split('\n').filter((line) => line !== '');
}

const untilFile = (name: string): string[] => ['--', 'sh', '-c', `while [ ! -e ${name} ]; do sleep 0.02; done`];
const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');

describe('ls', () => {
  it('J1: the newest unfinished task is first, -a shows the finished ones too', async () => {
    const farm = await makeFarm();
    const [a, b, c] = [
      await farm.submit('--', 'true'),
      await farm.submit('--hold', '--', 'true'),
      await farm.submit('-q', 'other', '--', 'true'),
    ];
    const w = await farm.worker();
    await farm.reaches(a, 'done');
    expect(await ids(farm)).toEqual([c, b]);
    expect(await ids(farm, '-a')).toEqual([c, b, a]);
    expect(await ids(farm, '-s', 'done')).toEqual([a]);
    expect(await ids(farm, '--since', '1h')).toEqual([c, b, a]);
    expect(await ids(farm, '--since', 'now+1h')).toEqual([]);
    expect(await ids(farm, a, b)).toEqual([a, b]);
    await w.stop();
  });

  it('A4 J1: filters combine, and one that matches nothing is an empty answer', async () => {
    const farm = await makeFarm();
    const one = await farm.submit('-n', 'nightly-1', '-l', 'k=v', '-l', 'x=1', '-g', 'g', '--', 'true');
    const two = await farm.submit('-n', 'nightly-2', '-l', 'k=v', '-q', 'other', '--hold', '--', 'true');
    await farm.submit('--', 'true');
    expect(await ids(farm, '-n', 'night*')).toEqual([two, one]);
    expect(await ids(farm, '-l', 'k=v', '-l', 'x=1')).toEqual([one]);
    expect(await ids(farm, '-g', 'g')).toEqual([one]);
    expect(await ids(farm, '-q', 'other')).toEqual([two]);
    expect(await ids(farm, '-s', 'held,queued', '-n', '*-2')).toEqual([two]);
    expect(await ids(farm, '--user', 'nobody-of-that-name')).toEqual([]);
    expect(await farm.tq(['ls', '-g', 'no-such-group'])).toMatchObject({ code: 0, stdout: '' });
    expect((await farm.tq(['ls', '-q', '../x'])).code).toBe(2);
    expect((await farm.tq(['ls', '-s', 'sleeping'])).code).toBe(2);
  });

  it('J1: columns, order, limit and count are as asked for', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-p', '5', '-n', 'b', '--', 'true');
    const b = await farm.submit('-p', '7', '-n', 'a', '--', 'echo', "it's", '$HOME');
    expect(await farm.ok(['ls', '-o', 'id,state,priority', '--sort', 'priority'])).toBe(
      `ID              STATE   PRIORITY\n${a}  queued  5\n${b}  queued  7\n`,
    );
    expect(await ids(farm, '--sort', '-priority')).toEqual([b, a]);
    expect(await ids(farm, '--sort', 'name')).toEqual([b, a]);
    expect(await ids(farm, '--sort', '-priority', '--limit', '1')).toEqual([b]);
    expect(await farm.ok(['ls', '-o', 'command,labels', '--no-header', b])).toBe(`echo 'it'\\''s' '$HOME'  -\n`);
    expect(await farm.ok(['ls', '--count'])).toBe('2\n');
    expect(await farm.ok(['ls', '--count', '-n', 'a'])).toBe('1\n');
    expect(await farm.ok(['ls', '--count', '-s', 'done'])).toBe('0\n');
    expect(await farm.tq(['ls', '--sort', 'nofield'])).toMatchObject({ code: 2, stdout: '' });
    expect((await farm.tq(['ls', '-o', 'id,nofield'])).stderr).toContain("'nofield'");
    expect((await farm.tq(['ls', '--limit', 'many'])).code).toBe(2);
  });

  it('J1: of many the first ones of an order are the same with a limit as without one', async () => {
    const farm = await makeFarm();
    const MANY = 2500;
    const tasks = Array.from({ length: MANY }, (_, i) => ({
      command: ['true'],
      name: String((i * 7919) % MANY),
      priority: i % 7,
      queue: 'q',
    }));
    await farm.ok(['submit', '--batch', '-'], { input: tasks.map((t) => JSON.stringify(t)).join('\n') });
    for (const order of ['name', '-name', 'priority', '-priority', 'endedAt']) {
      const all = (await farm.ok(['ls', '--sort', order, '-o', 'id,name,priority', '--no-header'])).split('\n');
      expect(all.length).toBe(MANY + 1);
      const first = (await farm.ok(['ls', '--sort', order, '-o', 'id,name,priority', '--no-header', '--limit', '20']))
        .trimEnd()
        .split('\n');
      expect(
        first.map((line) => line.split(/ +/)),
        order,
      ).toEqual(all.slice(0, 20).map((line) => line.split(/ +/)));
    }
  });

  it('J1: --expand --count counts the elements that --expand lists', async () => {
    const farm = await makeFarm();
    await farm.submit('--', 'true');
    const array = await farm.submit('--array', '1-50', '--', 'true');
    await farm.ok(['hold', `${array}.40-45`]);
    for (const [args, n] of [
      [[], 51],
      [['-s', 'held'], 6],
      [['-s', 'queued'], 45],
      [['-s', 'done'], 0],
      [[array], 50],
    ] as const) {
      expect(await farm.ok(['ls', '--expand', '--count', ...args]), args.join(' ')).toBe(`${n}\n`);
      expect((await ids(farm, '--expand', ...args)).length, args.join(' ')).toBe(n);
    }
    expect(await farm.ok(['ls', '--count'])).toBe('2\n');
  });

  it('J1: on a terminal of 80 columns no row is wider, however long names and reasons are', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-2', '-n', '日本語'.repeat(30), '--hold', '--', 'true');
    await farm.ok(['submit', '--in', '3d', '-n', 'x'.repeat(200), '--', 'true']);
    await farm.ok(['submit', '--after', id, '-c', `echo ${'y'.repeat(200)}; exit 3`]);
    const worker = await farm.worker(['--name', 'a-rather-long-name-of-a-machine.example.org', '--until-empty']);
    await farm.submit('--', 'sh', '-c', `echo '${'z'.repeat(200)}' >&2; exit 3`);
    await worker.ended;
    for (const args of ['ls -a', 'ls -a --expand', 'stats --failures', 'worker ls']) {
      const s = onTerminal(`${TQ} ${args}; echo over`, { cwd: farm.dir, env: { HOME: farm.dir, TQ_DIR: farm.queue } });
      await s.sees(/^over/m);
      const rows = (await farm.ok(args.split(' '))).trimEnd().split('\n').length;
      expect(
        s.emulator.lines().findIndex((line) => line.startsWith('over')),
        args,
      ).toBe(rows);
    }
  });

  it('J1: delayed tasks show until when, waiting ones for whom', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    const later = await farm.submit('--in', '10m', '--', 'true');
    const text = await farm.ok(['ls', '-s', 'delayed,waiting']);
    expect(text).toMatch(new RegExp(`${later} +delayed .*until .*in (10m|9m\\d+s)`));
    expect(text).toMatch(new RegExp(`${child} +waiting .*for ${parent}`));
  });

  it('J12: the counts are those of the files in the state directories', async () => {
    const farm = await makeFarm();
    await farm.submit('--', 'true');
    await farm.submit('--hold', '--', 'true');
    await farm.submit('--in', '1h', '--', 'true');
    const files = (fs.readdirSync(farm.queue, { recursive: true }) as string[]).filter((name) =>
      /^(queued|held|delayed)\/.*\.json$/.test(name),
    );
    expect(await farm.ok(['ls', '--count'])).toBe(`${files.length}\n`);
  });

  it('J2: --json is one array, --ndjson a line each, and what is empty is []', async () => {
    const farm = await makeFarm();
    expect(JSON.parse(await farm.ok(['ls', '--json']))).toEqual([]);
    const a = await farm.submit('-n', 'x', '--', 'printf', 'a b');
    const b = await farm.submit('--', 'true');
    const all = JSON.parse(await farm.ok(['ls', '--json'])) as TaskView[];
    expect(all.map((t) => t.id)).toEqual([b, a]);
    expect(all[1]).toMatchObject({
      schema: 'tq.task/1',
      name: 'x',
      state: 'queued',
      queue: 'default',
      priority: 0,
      command: ['printf', 'a b'],
      attempts: [],
      worker: null,
      notes: [],
    });
    expect(all[1]!.submittedAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    const lines = (await farm.ok(['ls', '--ndjson'])).trimEnd().split('\n');
    expect(lines.map((line) => (JSON.parse(line) as TaskView).id)).toEqual([b, a]);
  });

  it('J2: every read parses while tasks come and go', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', '2']);
    const submits = Promise.all(Array.from({ length: 30 }, () => farm.submit('--', 'true')));
    const submitting = { over: false };
    void submits.then(() => (submitting.over = true));
    const seen = new Set<string>();
    while (!submitting.over) {
      const all = JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[];
      expect(new Set(all.map((t) => t.id)).size).toBe(all.length);
      for (const t of all) seen.add(t.id);
    }
    for (const id of await submits) await farm.reaches(id, 'done');
    expect((JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[]).length).toBe(30);
    expect([...seen].every((id) => /^[0-9a-z]{10,16}$/.test(id))).toBe(true);
    await w.stop();
  });

  it('J11: control characters and bidi marks of a task are shown, not obeyed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', 'red\u001b[31m\u202e', '--hold', '--', 'printf', '\r\u001b]0;title\u0007');
    for (const args of [['ls'], ['ls', '-o', 'name,command'], ['show', id], ['why', id]]) {
      const text = await farm.ok(args, { env: { FORCE_COLOR: '0' } });
      expect(text).not.toMatch(/[\u001b\r\u0007\u202e]/);
    }
    expect(await farm.ok(['show', id])).toContain('red\\x1b[31m\\u202e');
    expect((await farm.show(id)).name).toBe('red\u001b[31m\u202e');
  });

  it('J11: JSON and events have them escaped too, and say the same', async () => {
    const farm = await makeFarm();
    const name = 'a\u001b[31m\u009b31m\u202eb\u2066c\u200fd';
    const id = await farm.submit('--hold', '-n', name, '--', 'true');
    for (const args of [
      ['show', '--json', id],
      ['ls', '--ndjson'],
      ['events', '--since', '1h', id],
    ]) {
      const text = await farm.ok(args);
      // eslint-disable-next-line no-control-regex -- what is looked for
      expect(text, args[0]).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]/);
      const said = (args[0] === 'show' ? [text] : text.trimEnd().split('\n')).map((json) => (JSON.parse(json) as { name?: string }).name);
      expect(said, args[0]).toContain(name);
    }
    expect((JSON.parse(await farm.ok(['ls', '--json'])) as TaskView[])[0]!.name).toBe(name);
  });

  it('J11: colours come when asked for, and NO_COLOR forbids them', async () => {
    const farm = await makeFarm();
    await farm.submit('--', 'true');
    expect(await farm.ok(['ls'])).not.toContain('\u001b[');
    expect(await farm.ok(['ls'], { env: { FORCE_COLOR: '1' } })).toContain('\u001b[34mqueued');
    expect(await farm.ok(['ls'], { env: { FORCE_COLOR: '1', NO_COLOR: '1' } })).not.toContain('\u001b[');
  });

  it('J1: a long command is not cut when piped', async () => {
    const farm = await makeFarm();
    const word = 'x'.repeat(500);
    await farm.submit('--', 'echo', word);
    expect(await farm.ok(['ls'])).toContain(word);
  });

  it('J11: ls into head ends quietly', async () => {
    const farm = await makeFarm();
    for (let i = 0; i < 3; i++) await farm.submit('--', 'echo', 'x'.repeat(100_000));
    const listing = farm.start(['ls', '--ndjson']);
    listing.child.stdout!.destroy();
    expect(await listing.ended).toMatchObject({ code: 0, stderr: '' });
  });

  it('A9: a task that was not started in time is skipped by whoever looks', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--expires', '50ms', '--', 'true');
    await until(
      async () => (await ids(farm)).length === 0,
      () => 'the task is not listed any more',
    );
    expect(await farm.show(id)).toMatchObject({ state: 'skipped', attempt: 0 });
    expect((await farm.show(id)).reason).toContain('expired');
  });
});

describe('show', () => {
  it('J3: everything of a task for people', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'first', '--hold', '-l', 'k=v', '--', 'echo', 'a b');
    const b = await farm.submit('--after', a, '--retries', '2', '--timeout', '90s', '--', 'true');
    const text = await farm.ok(['show', a]);
    expect(text.split('\n')[0]).toBe(`${a} held`);
    expect(text).toMatch(/name +first\n/);
    expect(text).toMatch(/command +echo 'a b'\n/);
    expect(text).toMatch(new RegExp(`cwd +${farm.dir}\\n`));
    expect(text).toMatch(/labels +k=v\n/);
    expect(text).toMatch(new RegExp(`waited for by +${b} \\(waiting\\)\\n`));
    const child = await farm.ok(['show', b]);
    expect(child).toMatch(new RegExp(`waits for +${a} \\(held\\)\\n`));
    expect(child).toMatch(/retries +2, backoff exp:1s\.\.5m\n/);
    expect(child).toMatch(/limits +timeout 1m30s\n/);
    const timeless = (page: string): string => page.replaceAll(/\((now|[^()]* ago)\)/g, '');
    expect(timeless(await farm.ok(['show', a, b]))).toBe(timeless(`${text}\n${child}`));
  });

  it('J3: what was asked for at submit', async () => {
    const farm = await makeFarm();
    const flags = [
      '--hold',
      '--retries',
      '2',
      '--retry-on',
      '5,64-78',
      '--ok',
      '0,3',
      '--on-lost',
      'hold',
      '--on-failure',
      'echo f',
      '--on-success',
      'echo s',
    ];
    const text = await farm.ok(['show', await farm.submit(...flags, '-c', 'exit 3')]);
    for (const line of [
      'retries +2, backoff exp:1s..5m, after exit codes 5,64-78',
      'ok codes +0,3',
      'when lost +hold',
      'on success +echo s',
      'on failure +echo f',
    ])
      expect(text).toMatch(new RegExp(`\\n {2}${line}\\n`));
    expect(text).not.toContain('on cancel');
    const handled = await farm.submit('--hold', '--handler', 'resize', '--data', '{"width":10}');
    expect(await farm.ok(['show', handled])).toMatch(/command +\(handler resize\)\n +data +\{"width":10\}\n/);
  });

  it('J3: of an array how many elements are in which state, and how many may run at a time', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-9%2', '--', 'sh', '-c', 'exit $(( {} == 3 ))');
    await farm.ok(['hold', `${id}.8`]);
    await farm.ok(['cancel', `${id}.9`]);
    expect(await farm.ok(['show', id])).toMatch(/\n +elements +9: 1 held, 7 queued, 1 canceled; at most 2 at a time\n/);
    await farm.ok(['worker', '--until-empty', '--poll', '20ms']);
    const text = await farm.ok(['show', id]);
    expect(text).toMatch(/\n +elements +9: 1 held, 6 done, 1 failed, 1 canceled; at most 2 at a time\n/);
    expect(text).not.toContain('needs');
    expect(await farm.ok(['show', `${id}.3`])).toMatch(/\n +elements +at most 2 at a time\n/);
  });

  it('J3 B13: every attempt with its outcome, its worker and its reason', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--retries', '1', '--backoff', 'none', '--', 'sh', '-c', 'echo boom >&2; exit 4');
    const view = await farm.reaches(id, 'failed');
    expect(view.attempts.map((a) => [a.attempt, a.outcome, a.exitCode, a.worker])).toEqual([
      [1, 'failed', 4, 'w1'],
      [2, 'failed', 4, 'w1'],
    ]);
    const text = await farm.ok(['show', id]);
    expect(text.split('\n')[0]).toBe(`${id} failed: boom`);
    expect(text).toMatch(/^ +1 +failed +4 .*w1.*boom$/m);
    expect(text).toMatch(/^ +2 +failed +4 .*w1.*boom$/m);
    expect(await farm.ok(['ls', '--failed'])).toMatch(new RegExp(`${id} +failed .*boom`));
    await w.stop();
  });

  it('J2: one task is an object, several are an array', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    expect((JSON.parse(await farm.ok(['show', '--json', a])) as TaskView).id).toBe(a);
    expect((JSON.parse(await farm.ok(['show', '--json', a, b])) as TaskView[]).map((t) => t.id)).toEqual([a, b]);
    expect(await farm.tq(['show'])).toMatchObject({ code: 2, stdout: '' });
  });

  it('B14: progress shows as percent and text', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit('--', 'sh', '-c', `echo '40 epoch 4' > "$TQ_PROGRESS_FILE"; while [ ! -e go ]; do sleep 0.02; done`);
    await until(
      async () => (await farm.show(id)).progress !== null,
      () => 'progress is shown',
    );
    expect((await farm.show(id)).progress).toEqual({ percent: 40, message: 'epoch 4' });
    expect(await farm.ok(['show', id])).toMatch(/progress +40% epoch 4\n/);
    expect(await farm.ok(['ls'])).toMatch(new RegExp(`${id} +running .*40% epoch 4`));
    touch(farm, 'go');
    await farm.reaches(id, 'done');
    await w.stop();
  });
});

describe('why', () => {
  it('J5: without a worker it says so', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    expect(await farm.ok(['why', id])).toBe(`${id} is queued: there is no worker; tq worker starts one\n`);
    expect(await farm.tq(['why', 'nosuchtask1234'])).toMatchObject({ code: 3, stdout: '' });
  });

  it('J5 F1 F4 F7: worker by worker, the one thing that keeps it from the task', async () => {
    const farm = await makeFarm();
    const workers = await Promise.all([
      farm.worker(['--name', 'busy', '-j', '1', '-q', 'default']),
      farm.worker(['--name', 'other', '-q', 'b,c', '-l', 'gpu']),
      farm.worker(['--name', 'asleep', '--cpus', '4', '-l', 'gpu']),
    ]);
    fs.writeFileSync(path.join(farm.queue, 'workers/asleep/want'), 'asleep\n');
    const running = await (async () => {
      await until(
        async () => /asleep +asleep/.test(await farm.ok(['worker', 'ls'])),
        () => 'one is asleep',
      );
      const id = await farm.submit('--worker', 'busy', ...untilFile('go'));
      await farm.reaches(id, 'running');
      return id;
    })();

    const plain = await farm.submit('--', 'true');
    expect((await farm.ok(['why', plain])).split('\n').slice(0, 4)).toEqual([
      `${plain} is queued:`,
      '  asleep: asleep',
      '  busy: no free slot (1 of 1 in use)',
      '  other: does not serve queue default (serves b, c)',
    ]);
    const big = await farm.submit('--cpus', '9', '--', 'true');
    const bigWhy = await farm.ok(['why', big]);
    expect(bigWhy).toContain('it asks for 9 cpus, the most on offer is 4 cpus');
    expect(bigWhy).toContain('  asleep: offers 4 cpus, 9 cpus asked for\n');
    const pinned = await farm.submit('--worker', 'nobody', '--', 'true');
    expect(await farm.ok(['why', pinned])).toContain('  busy: the task is for worker nobody\n');
    const labelled = await farm.submit('--on', 'gpu', '--', 'true');
    const labelledWhy = JSON.parse(await farm.ok(['why', '--json', labelled])) as { state: string; workers: unknown[] };
    expect(labelledWhy.state).toBe('queued');
    expect(labelledWhy.workers).toEqual([
      { name: 'asleep', obstacle: 'state', text: 'asleep' },
      { name: 'busy', obstacle: 'label', text: 'no label gpu' },
      { name: 'other', obstacle: 'queue', text: 'does not serve queue default (serves b, c)' },
    ]);
    expect(await farm.ok(['why', running])).toMatch(new RegExp(`^${running} is running on busy for .*, attempt 1\n$`));
    touch(farm, 'go');
    await farm.reaches(running, 'done');
    expect(await farm.ok(['why', running])).toMatch(new RegExp(`^${running} has ended .*, done\n$`));
    for (const w of workers) await w.stop();
  });

  it('B3 C5: names the gate, and a request that is pending', async () => {
    const farm = await makeFarm();
    const gated = await farm.worker(['--name', 'gated', '--gate', 'test -f open']);
    const id = await farm.submit('-q', 'default', '--', 'true');
    await until(
      async () => /gated: .*gate/.test(await farm.ok(['why', id])),
      () => 'the gate is named',
    );
    touch(farm, 'open');
    await farm.reaches(id, 'done');
    const long = await farm.submit(...untilFile('go'));
    await farm.reaches(long, 'running');
    fs.writeFileSync(path.join(farm.queue, 'workers/gated/want'), 'asleep\n');
    // Until it has seen the request it may take another one.
    await until(
      async () => (await farm.ok(['why', await farm.submit('--', 'true')])).includes('  gated: asked to be asleep: takes nothing more\n'),
      () => 'the request is named',
    );
    touch(farm, 'go');
    await farm.reaches(long, 'done');
    await gated.stop();
  });

  it('J5: which parent, until when and why, held by whom', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    const later = await farm.submit('--in', '1h', '--', 'true');
    expect(await farm.ok(['why', child])).toBe(`${child} is waiting for a task:\n  ${parent}: held\n`);
    expect(await farm.ok(['why', later])).toMatch(/is delayed until .* \(in 59m\d+s\), not before then, as submitted\n$/);
    expect(await farm.ok(['why', parent])).toContain('is held since it was submitted');
    const w = await farm.worker(['--name', 'w1']);
    const failing = await farm.submit('--retries', '1', '--backoff', 'fixed:1h', '--no-jitter', '--', 'sh', '-c', 'exit 9');
    await farm.reaches(failing, 'delayed');
    expect(await farm.ok(['why', failing])).toMatch(/is delayed until .*, after attempt 1: exit code 9\n$/);
    await w.stop();
  });

  it('D8: a worker that failed it leaves it to another one', async () => {
    const farm = await makeFarm();
    const [w1, w2] = [await farm.worker(['--name', 'w1', '-j', '1']), await farm.worker(['--name', 'w2', '-j', '1'])];
    const blocker = await farm.submit('--worker', 'w2', ...untilFile('go'));
    await farm.reaches(blocker, 'running');
    const id = await farm.submit('--retries', '5', '--backoff', 'none', '--', 'false');
    await until(
      async () => (await farm.ok(['why', id])).includes('w1: failed it before, leaves it to others for now'),
      () => 'w1 leaves it',
    );
    expect((await farm.show(id)).state).toBe('queued');
    touch(farm, 'go');
    await Promise.all([w1.stop(), w2.stop()]);
  });
});

describe('why of what is made of many', () => {
  it('J5: an array tells how many run and where, an element that as many run as may', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '4']);
    const id = await farm.submit('--array', '1-5%1', ...untilFile('go'));
    await farm.reaches(`${id}.1`, 'running');
    expect(await farm.ok(['why', id])).toBe(`${id} is running: 1 of 5 elements run on w1, 4 left, 0 done; tq why ${id}.N tells of one\n`);
    await until(
      async () => (await farm.ok(['why', `${id}.5`])).includes('w1: as many of its elements run as its %MAX allows at once'),
      () => 'the others wait',
    );
    const after = await farm.submit('--after', id, '--', 'true');
    expect(await farm.ok(['why', after])).toContain(`  ${id}: running`);
    touch(farm, 'go');
    await farm.reaches(after, 'done');
    await w.stop();
  });

  it('J5: what a parent waits for in turn is told down to who holds it', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('--', 'true');
    await farm.ok(['hold', a]);
    const b = await farm.submit('--after', a, '--', 'true');
    const c = await farm.submit('--after-any', b, '--', 'true');
    expect(await farm.ok(['why', c])).toMatch(new RegExp(`  ${b}: waiting for ${a}, which is held by \\S+ \\(--after-any\\)\n`));
    const { parents } = JSON.parse(await farm.ok(['why', '--json', c])) as {
      parents: Array<{ id: string; state: string; because: string }>;
    };
    expect(parents).toMatchObject([{ id: b, state: 'waiting', because: expect.stringContaining(a) as string }]);
  });

  it('J5 B6: a worker whose time is over before the task could end leaves it; one that is not there is named', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '--time-limit', '1h']);
    const long = await farm.submit('--timeout', '3h', '--', 'true');
    expect(await farm.ok(['why', long])).toMatch(/ {2}w1: its --time-limit is over in (1h|59m\d*s?), the task may take 3h\n/);
    const pinned = await farm.submit('--worker', 'w9', '--', 'true');
    expect(await farm.ok(['why', pinned])).toBe(`${pinned} is queued; there is no worker w9:\n  w1: the task is for worker w9\n`);
    await w.stop();
  });
});

describe('counts', () => {
  it('J12: ls --count, status and top say the same numbers: an array is one, a batch its tasks', async () => {
    const farm = await makeFarm();
    const tasks = Array.from({ length: 30 }, (_, i) => ({ command: ['true'], ...(i < 4 ? { hold: true } : {}) }));
    await farm.ok(['submit', '--batch', '-'], { input: tasks.map((t) => JSON.stringify(t)).join('\n') });
    await farm.submit('--array', '1-500', '--hold', '--', 'true');
    await farm.submit('--array', '1-20', '--', 'true');
    await farm.submit('--in', '1h', '--', 'true');
    await farm.ok(['worker', '--max-tasks', '10', '--poll', '20ms']);
    const agree = async (): Promise<Record<string, number>> => {
      const { tasks: counts } = JSON.parse(await farm.ok(['status', '--json'])) as { tasks: Record<string, number> };
      for (const [state, n] of Object.entries(counts)) expect(await farm.ok(['ls', '--count', '-s', state]), state).toBe(`${n}\n`);
      const sum = Object.values(counts).reduce((a, b) => a + b, 0);
      expect(await farm.ok(['ls', '-a', '--count'])).toBe(`${sum}\n`);
      expect((await ids(farm, '-a')).length).toBe(sum);
      const said = (await farm.ok(['status'])).split('\n')[1];
      expect((await farm.ok(['top', '--once'])).split('\n')[1]!.split(/, [\d.]+ ended/)[0]).toBe(said);
      return counts;
    };
    expect(await agree()).toMatchObject({ held: 5, delayed: 1, done: 10 });
    await farm.ok(['worker', '--until-empty', '--poll', '20ms']);
    expect(await agree()).toMatchObject({ held: 5, delayed: 1, done: 27, queued: 0 });
  });

  it('J9: a large queue is counted right again after something changed in what was remembered', async () => {
    const farm = await makeFarm();
    const tasks = Array.from({ length: 400 }, () => ({ command: ['true'] }));
    const made = (await farm.ok(['submit', '--batch', '-'], { input: tasks.map((t) => JSON.stringify(t)).join('\n') })).trim().split('\n');
    expect(await farm.ok(['ls', '--count'])).toBe('400\n');
    await farm.ok(['cancel', made[7]!]);
    expect(await farm.ok(['ls', '--count'])).toBe('399\n');
    expect(await farm.ok(['status'])).toContain('tasks: 399 queued, 1 canceled\n');
  });
});

describe('a queue of many files', () => {
  it('J10: the first rows, the counts that are remembered and a frame take as many listings and reads as in a small queue', async () => {
    const asked = async (tasks: number): Promise<Record<string, number>> => {
      const farm = await makeFarm();
      // Where so many files are made in no time.
      const home = fs.mkdtempSync(path.join(fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir(), 'tq-test-'));
      onTestFinished(() => fs.rmSync(home, { recursive: true, force: true }));
      const env = { TQ_DIR: path.join(home, 'q'), XDG_CACHE_HOME: path.join(home, 'cache') };
      await farm.ok(['init', env.TQ_DIR]);
      fill(env.TQ_DIR, tasks);
      const counts = `tasks: ${tasks / 2} queued, ${tasks / 2} done`;
      await until(
        async () => {
          fs.rmSync(env.XDG_CACHE_HOME, { recursive: true, force: true });
          expect(await farm.ok(['status'], { env })).toContain(counts);
          // A directory is remembered once nothing happened in it for a while, and only the many of a large queue are.
          return tasks < 20_000 || remembered(env.XDG_CACHE_HOME) >= tasks / PER_BUCKET;
        },
        () => 'its directories are remembered',
      );
      const least = (op: string, args: string[], answers: (stdout: string) => boolean): Promise<number> =>
        leastCalls(async (n) => answers((await farm.tq(args, { env: { ...env, TQ_FAULT: `fail:EIO:${op}:${n + 1}` } })).stdout));
      const rows = (most: number) => (stdout: string) => (stdout.match(/queued.* task-\d+ *$/gm) ?? []).length === most;
      return {
        'ls, listings': await least('list', ['ls', '-a', '--limit', '20'], rows(20)),
        'ls, reads': await least('read', ['ls', '-a', '--limit', '20'], rows(20)),
        'status, listings': await least('list', ['status'], (stdout) => stdout.includes(counts)),
        'status, reads': await least('read', ['status'], (stdout) => stdout.includes(counts)),
        'top, reads': await least('read', ['top', '--once'], rows(40)),
      };
    };
    const [few, many] = [await asked(1600), await asked(32_000)];
    for (const [what, calls] of Object.entries(many)) expect(calls, what).toBeLessThanOrEqual(few[what]! + 2);
  });
});

/** Directories whose counts this machine remembers. */
function remembered(cache: string): number {
  const dir = path.join(cache, 'tq/counts');
  const [file] = fs.existsSync(dir) ? fs.readdirSync(dir) : [];
  return file === undefined ? 0 : fs.readFileSync(path.join(dir, file), 'utf8').split('\n').length - 2;
}

/** The smallest number of calls with which it works. */
async function leastCalls(works: (calls: number) => Promise<boolean>): Promise<number> {
  let [low, high] = [0, 1];
  while (!(await works(high))) {
    low = high;
    high *= 2;
    if (high > 10_000) throw new Error('it never works');
  }
  while (high - low > 1) {
    const middle = Math.floor((low + high) / 2);
    if (await works(middle)) high = middle;
    else low = middle;
  }
  return high;
}

const PER_BUCKET = 400;

/** Puts tasks there as they lie on disk, half of them done, four hundred to a bucket; those that a listing shows first can be read. */
function fill(queue: string, tasks: number): void {
  const TICKS = 36 ** 3; // of a bucket
  const first = Math.floor((Date.now() * 10) / TICKS) * TICKS - 2 * tasks * TICKS;
  for (let i = 0; i < tasks; i++) {
    const id = (first + Math.floor(i / PER_BUCKET) * TICKS + (i % PER_BUCKET)).toString(36).padStart(9, '0') + String(i).padStart(5, '0');
    const place = i < tasks / 2 ? 'done' : 'queued/default/p00';
    const dir = path.join(queue, place, id.slice(0, 4), id.slice(4, 6));
    if (i % PER_BUCKET === 0) fs.mkdirSync(dir, { recursive: true });
    const text = JSON.stringify({ ...FILED, id, name: `task-${i}` });
    fs.writeFileSync(path.join(dir, `${id}.a${i < tasks / 2 ? 1 : 0}.json`), `${text}\n`);
  }
}

const FILED = {
  schema: 'tq.task/1',
  command: ['true'],
  cwd: '/',
  env: {},
  envMode: 'min',
  queue: 'default',
  priority: 0,
  submittedAt: 0,
  submittedBy: { user: 'u', host: 'h' },
  submitDir: '/',
  retries: 0,
  backoff: { kind: 'exp', baseMs: 1000, maxMs: 300_000 },
  jitter: true,
  graceMs: 10_000,
  onLost: 'requeue',
  split: false,
};

describe('one frame of top', () => {
  it('K12: in a pipe it is plain text: the word, counts, workers, tasks, nothing cut and no escape', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '1']);
    const first = await farm.submit('-n', 'first', ...untilFile('go'));
    await farm.reaches(first, 'running');
    const name = `long \u001b[31m${'x'.repeat(200)}`;
    const second = await farm.submit('-n', name, '--', 'true');
    const held = await farm.submit('--hold', '--', 'echo', 'later');
    for (const args of [['top'], ['top', '--once']]) {
      const text = await farm.ok(args, { env: { FORCE_COLOR: '1', TERM: 'xterm-256color' } });
      expect(text).toMatch(/^active\ntasks: 1 held, 1 queued, 1 running/);
      // eslint-disable-next-line no-control-regex -- what is looked for
      expect(text).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
      expect(text).toMatch(/\nw1 +awake +1\/1 /);
      const rows = text.split('\n').filter((line) => /^[0-9a-z]{14} /.test(line));
      expect(rows.map((line) => line.split(' ')[0])).toEqual([first, second, held]);
      expect(rows[1]).toContain(`long \\x1b[31m${'x'.repeat(200)}`);
    }
    touch(farm, 'go');
    await w.stop();
    expect((await farm.tq(['top', '--speed', '3'])).code).toBe(2);
    expect((await farm.tq(['top', '--replay', '--speed', 'fast'])).stderr).toContain("'fast'");
    expect(await farm.ok(['top', '--replay', '--once', '--since', 'now+1h'])).toContain('1 done');
  });
});

describe('status', () => {
  it('J9: one word, then counts', async () => {
    const farm = await makeFarm();
    const word = async (): Promise<string> => (await farm.ok(['status'])).split('\n')[0]!;
    expect(await farm.ok(['status'])).toBe('empty\ntasks: none\nworkers: none\n');
    const first = await farm.submit('--hold', '--', 'true');
    expect(await word()).toBe('waiting');
    const w = await farm.worker(['--name', 'w1']);
    await until(
      async () => (await word()) === 'idle',
      () => 'only held work: idle',
    );
    const id = await farm.submit(...untilFile('go'));
    await farm.reaches(id, 'running');
    expect(await word()).toBe('active');
    expect(JSON.parse(await farm.ok(['status', '--json']))).toMatchObject({
      status: 'active',
      tasks: { running: 1, held: 1, queued: 0 },
      workers: { awake: 1, asleep: 0 },
    });
    touch(farm, 'go');
    await farm.reaches(id, 'done');
    await farm.submit('-q', 'unserved', '--', 'true');
    expect(await word()).toBe('waiting');
    await farm.ok(['cancel', '-s', 'queued']);
    expect(await word()).toBe('idle');
    await farm.ok(['queue', 'pause', 'default']);
    const paused = await farm.submit('--', 'true');
    expect(await word()).toBe('waiting');
    expect(await farm.ok(['top', '--once'])).toMatch(/^waiting\n/);
    await farm.ok(['queue', 'resume', 'default']);
    await farm.reaches(paused, 'done');
    await farm.ok(['limit', 'set', 'none', '--max', '0']);
    await farm.submit('--limit', 'none', '--', 'true');
    expect(await word()).toBe('waiting');
    await farm.ok(['cancel', '@all']);
    expect((await farm.show(first)).state).toBe('canceled');
    expect(await word()).toBe('idle');
    fs.writeFileSync(path.join(farm.queue, 'workers/w1/want'), 'asleep\n');
    await until(
      async () => (await word()) === 'asleep',
      () => 'all asleep, no work',
    );
    await w.stop();
    expect(await word()).toBe('empty');
  });
});

describe('workers', () => {
  it('C5: a pending request shows as awake -> asleep', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '2']);
    const id = await farm.submit(...untilFile('go'));
    await farm.reaches(id, 'running');
    await until(
      async () => /w1 +awake +1\/2/.test(await farm.ok(['worker', 'ls'])),
      () => 'it runs one of two',
    );
    fs.writeFileSync(path.join(farm.queue, 'workers/w1/want'), 'asleep\n');
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1 +awake -> asleep +1\/2/);
    expect(JSON.parse(await farm.ok(['worker', 'ls', '--json']))).toMatchObject([
      { name: 'w1', state: 'awake', want: 'asleep', alive: true, jobs: 2, running: [id] },
    ]);
    expect(await farm.ok(['worker', 'show', 'w1'])).toContain(id);
    touch(farm, 'go');
    await until(
      async () => /w1 +asleep +0\/2/.test(await farm.ok(['worker', 'ls'])),
      () => 'then it is asleep',
    );
    await w.stop();
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1 +offline/);
  });

  it('C6: words in want that mean nothing are shown', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    fs.writeFileSync(path.join(farm.queue, 'workers/w1/want'), 'dance \u001b[31m\n');
    expect(await farm.ok(['worker', 'show', 'w1'])).toMatch(/request +not understood: dance \\x1b\[31m\n/);
    expect(JSON.parse(await farm.ok(['worker', 'show', '--json', 'w1']))).toMatchObject({ name: 'w1', state: 'awake', want: null });
    expect(await farm.tq(['worker', 'show', 'w2'])).toMatchObject({ code: 3, stdout: '' });
    await w.stop();
  });

  it('I16: with every worker dead, ls shows the tasks running on a dead worker', async () => {
    const farm = await makeFarm({ lease: 600_000 });
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--', 'sleep', '600');
    await farm.reaches(id, 'running');
    // The machine is gone: the worker, its guardian and its children at once.
    for (const pid of [w.pid, ...childrenOf(w.pid)]) process.kill(pid, 'SIGKILL');
    await w.ended;
    await until(
      async () => /w1 +awake \(not alive\) +1\//.test(await farm.ok(['worker', 'ls'])),
      () => 'it is not alive',
    );
    expect(JSON.parse(await farm.ok(['worker', 'ls', '--json']))).toMatchObject([
      { name: 'w1', state: 'awake', alive: false, running: [id] },
    ]);
    expect(await farm.ok(['ls'])).toMatch(new RegExp(`${id} +running .*worker is not alive`));
    expect(await farm.ok(['why', id])).toContain('that worker is not alive');
  });
});
