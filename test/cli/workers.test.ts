/** Workers from outside: names, states, requests by verb and by file, hours, signals, when they leave. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { treeOf } from '../helpers/files.ts';
import { isThere, makeFarm, until, type Farm } from '../helpers/tq.ts';

interface Row {
  name: string;
  state: string;
  want: string | null;
  alive: boolean;
  jobs: number;
  running: unknown[];
  labels: Record<string, string>;
  offers: Record<string, number>;
  pid: number;
  host: string;
  startedAt: string;
  lastSeenAt: string;
}

async function rows(farm: Farm): Promise<Row[]> {
  return JSON.parse(await farm.ok(['worker', 'ls', '--json'])) as Row[];
}

async function row(farm: Farm, name: string): Promise<Row> {
  const found = (await rows(farm)).find((r) => r.name === name);
  if (found === undefined) throw new Error(`no worker ${name}`);
  return found;
}

async function is(farm: Farm, name: string, state: string): Promise<void> {
  let last = '';
  await until(
    async () => {
      last = (await row(farm, name)).state;
      return last === state;
    },
    () => `${name} is ${state}, it is ${last}`,
  );
}

const want = (farm: Farm, name: string): string => path.join(farm.queue, 'workers', name, 'want');
const untilFile = (file: string): string[] => ['--', 'sh', '-c', `while [ ! -e ${file} ]; do sleep 0.02; done`];
const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');

describe('names', () => {
  it('C1: the first line is the name, ls shows it, --json has the fields, and an unknown one exits 3', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '-j', '3', '-l', 'gpu', '-l', 'zone=a']);
    expect(w.name).toBe('w1');
    expect(await farm.ok(['worker', 'ls'])).toMatch(/w1\s+awake/);
    const r = await row(farm, 'w1');
    expect(r).toMatchObject({
      name: 'w1',
      state: 'awake',
      want: null,
      alive: true,
      jobs: 3,
      running: [],
      labels: { gpu: '', zone: 'a' },
      pid: w.pid,
    });
    expect(r.offers['cpus']).toBe(3);
    expect(Date.parse(r.lastSeenAt)).toBeGreaterThanOrEqual(Date.parse(r.startedAt) - 1000);
    expect((await farm.tq(['worker', 'show', 'nobody'])).code).toBe(3);
  });

  it('I1: lastSeenAt moves on', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const first = (await row(farm, 'w1')).lastSeenAt;
    await until(
      async () => (await row(farm, 'w1')).lastSeenAt > first,
      () => 'lastSeenAt moves',
    );
  });

  it('I1: a heartbeat writes one file, however many tasks run', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '12']);
    const ids = await Promise.all(Array.from({ length: 12 }, () => farm.submit('--', 'sleep', '600')));
    for (const id of ids) await farm.reaches(id, 'running');
    const file = path.join(farm.queue, 'workers/w1/heartbeat');
    const written = (): string[] =>
      Object.keys(treeOf(farm.queue))
        .flatMap((name) => {
          const s = fs.statSync(path.join(farm.queue, name), { throwIfNoEntry: false });
          return s?.isFile() === true ? [`${name} ${s.mtimeMs}`] : [];
        })
        .toSorted();
    /** What was written while the heart beat several times. */
    const inBeats = async (): Promise<string[]> => {
      const before = new Set(written());
      const from = Number(fs.readFileSync(file, 'utf8').slice(0, 12));
      await until(
        () => Number(fs.readFileSync(file, 'utf8').slice(0, 12)) >= from + 4,
        () => 'four heartbeats',
      );
      return written().flatMap((line) => (before.has(line) ? [] : [line.split(' ')[0]!]));
    };
    // What the starts left to say is said before.
    await until(
      async () => (await inBeats()).length === 1,
      () => 'nothing but heartbeats is written',
    );
    expect(await inBeats()).toEqual(['workers/w1/heartbeat']);
  });

  it('C2: a second live worker of the name exits 5; after a stop the name is free', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const second = await farm.tq(['worker', '--name', 'w1']);
    expect(second.code).toBe(5);
    expect(second.stderr).toContain('w1');
    await w.stop();
    const third = await farm.worker(['--name', 'w1']);
    expect(third.name).toBe('w1');
  });

  it('C2: of many that start at once under one name one lives', async () => {
    const farm = await makeFarm();
    const all = Array.from({ length: 6 }, () => farm.start(['worker', '--name', 'w1', '--poll', '50ms']));
    await until(
      () => all.filter((w) => w.child.exitCode === 5).length === 5,
      () => `five of six leave: ${all.map((w) => w.child.exitCode).join()}`,
    );
    expect(all.filter((w) => w.child.exitCode === null)).toHaveLength(1);
  });
});

describe('requests', () => {
  it('C3: sleep lets what runs finish and takes nothing more; wake takes again', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '2']);
    const busy = await farm.submit(...untilFile('go'));
    await farm.reaches(busy, 'running');
    await farm.ok(['worker', 'sleep', 'w1']);
    await until(
      async () => (await row(farm, 'w1')).want === 'asleep',
      () => 'the request is seen',
    );
    expect(await farm.ok(['worker', 'ls'])).toContain('awake -> asleep');
    const next = await farm.submit('--', 'true');
    touch(farm, 'go');
    await farm.reaches(busy, 'done');
    await is(farm, 'w1', 'asleep');
    expect((await farm.show(next)).state).toBe('queued');
    await farm.ok(['worker', 'wake', 'w1']);
    await farm.reaches(next, 'done');
    await is(farm, 'w1', 'awake');
  });

  it('C3: --for wakes by itself, globs and --all reach several', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'gpu1']);
    await farm.worker(['--name', 'gpu2']);
    await farm.worker(['--name', 'cpu1']);
    await farm.ok(['worker', 'sleep', 'gpu*']);
    await is(farm, 'gpu1', 'asleep');
    await is(farm, 'gpu2', 'asleep');
    expect((await row(farm, 'cpu1')).state).toBe('awake');
    await farm.ok(['worker', 'wake', '--all']);
    await is(farm, 'gpu1', 'awake');
    await is(farm, 'gpu2', 'awake');
    await farm.ok(['worker', 'sleep', 'cpu1', '--for', '2s']);
    // As it says itself: the time may be over before a busy machine looks.
    const moves = async (): Promise<string[]> =>
      (await farm.ok(['events']))
        .trim()
        .split('\n')
        .map((line) => JSON.parse(line) as { type: string; worker: string; to: string })
        .filter((e) => e.type === 'worker' && e.worker === 'cpu1')
        .map((e) => e.to);
    await until(
      async () => (await moves()).join(' ').endsWith('awake asleep awake'),
      () => 'cpu1 was asleep for a while',
    );
  });

  it('C4 D7: sleep --now preempts, no retry used, and the task runs elsewhere', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--grace', '200ms', ...untilFile('go'));
    await farm.reaches(id, 'running');
    await farm.ok(['worker', 'sleep', 'w1', '--now']);
    await farm.reaches(id, 'queued');
    await is(farm, 'w1', 'asleep');
    touch(farm, 'go');
    await farm.worker(['--name', 'w2']);
    const task = await farm.reaches(id, 'done');
    expect(task.attempts.map((a) => [a.worker, a.outcome])).toEqual([
      ['w1', 'preempted'],
      ['w2', 'succeeded'],
    ]);
  });

  it('C5: a pending request is taken back by asking for the present state', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '2']);
    const busy = await farm.submit(...untilFile('go'));
    await farm.reaches(busy, 'running');
    await farm.ok(['worker', 'sleep', 'w1']);
    await until(
      async () => (await row(farm, 'w1')).want === 'asleep',
      () => 'the request is seen',
    );
    await farm.ok(['worker', 'wake', 'w1']);
    await until(
      async () => (await row(farm, 'w1')).want === null,
      () => 'the request is taken back',
    );
    expect((await farm.show(busy)).state).toBe('running');
    const next = await farm.submit('--', 'true');
    await farm.reaches(next, 'done');
    await farm.ok(['worker', 'wake', 'w1']);
    expect((await row(farm, 'w1')).state).toBe('awake');
    touch(farm, 'go');
    expect((await farm.reaches(busy, 'done')).attempts).toHaveLength(1);
  });

  it('C6: writing the word into the file is the same; an unknown word changes nothing and is shown', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    fs.writeFileSync(want(farm, 'w1'), 'asleep\n');
    await is(farm, 'w1', 'asleep');
    fs.writeFileSync(want(farm, 'w1'), 'awake');
    await is(farm, 'w1', 'awake');
    fs.writeFileSync(want(farm, 'w1'), 'dance \u001b[31m\n');
    await until(
      async () => (await farm.ok(['worker', 'show', 'w1'])).includes('dance'),
      () => 'the bad word is shown',
    );
    expect(await farm.ok(['worker', 'show', 'w1'])).not.toContain('\u001b');
    expect((await row(farm, 'w1')).state).toBe('awake');
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    const busy = await farm.submit('--grace', '100ms', '--', 'sleep', '60');
    await farm.reaches(busy, 'running');
    fs.writeFileSync(want(farm, 'w1'), 'asleep now\n');
    await farm.reaches(busy, 'queued');
    await is(farm, 'w1', 'asleep');
  });

  it('C7: asleep is kept over a restart, and a request made while it was offline is obeyed', async () => {
    const farm = await makeFarm();
    const first = await farm.worker(['--name', 'w1']);
    await farm.ok(['worker', 'sleep', 'w1']);
    await is(farm, 'w1', 'asleep');
    await first.stop();
    expect((await row(farm, 'w1')).state).toBe('offline');
    const second = await farm.worker(['--name', 'w1']);
    await is(farm, 'w1', 'asleep');
    await second.stop();
    await farm.ok(['worker', 'wake', 'w1']);
    await farm.worker(['--name', 'w1']);
    await is(farm, 'w1', 'awake');
  });

  it('C3 C7: asleep for a while ends at its time, also when the worker was started again meanwhile or only after it', async () => {
    const farm = await makeFarm();
    for (const late of [false, true]) {
      const name = late ? 'late' : 'soon';
      const first = await farm.worker(['--name', name]);
      const wakesAt = Date.now() + 3000;
      await farm.ok(['worker', 'sleep', name, '--for', '3s']);
      await is(farm, name, 'asleep');
      await first.stop();
      if (late)
        await until(
          () => Date.now() > wakesAt + 100,
          () => 'the time has passed',
        );
      await farm.worker(['--name', name]);
      await is(farm, name, 'awake');
      expect(Date.now()).toBeGreaterThan(wakesAt - 50);
    }
    // For good it stays asleep.
    const last = await farm.worker(['--name', 'good']);
    await farm.ok(['worker', 'sleep', 'good']);
    await is(farm, 'good', 'asleep');
    await last.stop();
    await farm.worker(['--name', 'good']);
    await is(farm, 'good', 'asleep');
  });

  it('C7: a stop left over from before is dropped at the next start', async () => {
    const farm = await makeFarm();
    const first = await farm.worker(['--name', 'w1']);
    await first.stop();
    fs.writeFileSync(want(farm, 'w1'), 'offline\n');
    await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    await is(farm, 'w1', 'awake');
  });

  it('C8: stop finishes, exits 0 and is offline; --now hands back; rm of a live one exits 5', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...untilFile('go'));
    await farm.reaches(id, 'running');
    expect((await farm.tq(['worker', 'rm', 'w1'])).code).toBe(5);
    await farm.ok(['worker', 'stop', 'w1']);
    await until(
      async () => (await row(farm, 'w1')).want === 'offline',
      () => 'the request is seen',
    );
    touch(farm, 'go');
    expect((await w.ended).code).toBe(0);
    expect((await farm.show(id)).state).toBe('done');
    expect(await row(farm, 'w1')).toMatchObject({ state: 'offline', alive: false });
    expect((await farm.tq(['worker', 'stop', 'w1'])).code).toBe(5);
    await farm.ok(['worker', 'rm', 'w1']);
    expect(await rows(farm)).toEqual([]);

    const w2 = await farm.worker(['--name', 'w2']);
    const long = await farm.submit('--grace', '100ms', '--', 'sleep', '60');
    await farm.reaches(long, 'running');
    await farm.ok(['worker', 'stop', 'w2', '--now']);
    expect((await w2.ended).code).toBe(0);
    expect(await farm.show(long)).toMatchObject({ state: 'queued' });
    expect((await farm.show(long)).attempts[0]!.outcome).toBe('preempted');
  });

  it('A6 C5: what a request would be is told without asking, and refused alike', async () => {
    const farm = await makeFarm();
    for (const name of ['w1', 'w2']) await farm.worker(['--name', name]);
    const dry = async (...words: string[]): Promise<unknown> => JSON.parse(await farm.ok(['worker', ...words, '--dry-run']));
    expect(await dry('sleep', '--all', '--now')).toEqual([
      { worker: 'w1', want: 'asleep now' },
      { worker: 'w2', want: 'asleep now' },
    ]);
    expect(await dry('stop', 'w2')).toEqual([{ worker: 'w2', want: 'offline' }]);
    // It is awake, and nothing else was asked of it.
    expect(await dry('wake', 'w1')).toEqual([{ worker: 'w1', want: null }]);
    expect((await farm.tq(['worker', 'restart', 'w1', '--dry-run'])).code).toBe(5);
    expect((await farm.tq(['worker', 'rm', 'w1', '--dry-run'])).code).toBe(5);
    for (const name of ['w1', 'w2']) expect(fs.existsSync(want(farm, name))).toBe(false);
    expect((await rows(farm)).map((r) => [r.state, r.want])).toEqual([
      ['awake', null],
      ['awake', null],
    ]);
    await farm.ok(['worker', 'stop', 'w2']);
    await is(farm, 'w2', 'offline');
    expect(await farm.ok(['worker', 'rm', 'w2', '--dry-run'])).toBe('w2\n');
    expect((await rows(farm)).length).toBe(2);
  });

  it('C9: restart finishes and exits with its code; without one it is refused', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1', '--restart-exit-code', '47']);
    await farm.ok(['worker', 'sleep', 'w1']);
    await is(farm, 'w1', 'asleep');
    await farm.ok(['worker', 'restart', 'w1']);
    expect((await w.ended).code).toBe(47);
    await farm.worker(['--name', 'w1']);
    await is(farm, 'w1', 'asleep');
    const refused = await farm.tq(['worker', 'restart', 'w1']);
    expect(refused.code).toBe(5);
    await farm.ok(['worker', 'wake', 'w1']);
    await is(farm, 'w1', 'awake');
    fs.writeFileSync(want(farm, 'w1'), 'restart\n');
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
  });
});

describe('signals', () => {
  it('C10: the first TERM finishes and exits 0, the second hands back and leaves no process', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit(...untilFile('go'));
    await farm.reaches(id, 'running');
    w.signal('SIGTERM');
    await until(
      async () => (await row(farm, 'w1')).want === 'offline',
      () => 'the worker is leaving',
    );
    touch(farm, 'go');
    expect((await w.ended).code).toBe(0);
    expect((await farm.show(id)).state).toBe('done');

    const w2 = await farm.worker(['--name', 'w2']);
    const long = await farm.submit('--grace', '200ms', '--', 'sh', '-c', 'echo $$ > pid; sleep 60');
    await until(
      () => fs.existsSync(path.join(farm.dir, 'pid')),
      () => 'the task runs',
    );
    await farm.reaches(long, 'running');
    w2.signal('SIGINT');
    w2.signal('SIGTERM');
    expect((await w2.ended).code).toBe(0);
    expect((await farm.show(long)).state).toBe('queued');
    const pid = Number(fs.readFileSync(path.join(farm.dir, 'pid'), 'utf8'));
    await until(
      () => !isThere(pid),
      () => 'no process is left',
    );
  });

  it('C10: a TERM right after the start ends it', async () => {
    const farm = await makeFarm();
    for (const ms of [0, 5, 10, 20, 40]) {
      const w = farm.start(['worker', '--name', `w${ms}`, '--poll', '50ms']);
      await new Promise((resolve) => setTimeout(resolve, ms));
      w.signal('SIGTERM');
      const ran = await w.ended;
      expect([0, 143]).toContain(ran.code);
    }
    expect(fs.readdirSync(path.join(farm.queue, 'running')).filter((s) => !s.startsWith('w'))).toEqual([]);
  });
});

describe('leaving by itself', () => {
  it('C13: --until-empty waits for a back-off, not for what is held, delayed or waiting', async () => {
    const farm = await makeFarm();
    const retried = await farm.submit('--retries', '1', '--backoff', 'fixed:400ms', '--', 'sh', '-c', '[ $TQ_ATTEMPT -eq 2 ]');
    const held = await farm.submit('--hold', '--', 'true');
    await farm.submit('--in', '1h', '--', 'true');
    await farm.submit('--after', held, '--', 'true');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect((await farm.show(retried)).state).toBe('done');
    expect((await farm.show(held)).state).toBe('held');
  });

  it('C13: --until-empty leaves other queues alone', async () => {
    const farm = await makeFarm();
    const other = await farm.submit('-q', 'other', '--', 'true');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect((await farm.show(other)).state).toBe('queued');
  });

  it('C13: --once runs one task, --max-tasks 3 three', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 6; i++) ids.push(await farm.submit('--', 'true'));
    const done = async (): Promise<number> => (await Promise.all(ids.map((id) => farm.show(id)))).filter((t) => t.state === 'done').length;
    await farm.ok(['worker', '--once', '--poll', '50ms', '-j', '2']);
    expect(await done()).toBe(1);
    await farm.ok(['worker', '--max-tasks', '3', '--poll', '50ms', '-j', '2']);
    expect(await done()).toBe(4);
  });

  it('C13: --idle leaves after a while without a task', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    await farm.ok(['worker', '--idle', '300ms', '--poll', '50ms']);
    expect((await farm.show(id)).state).toBe('done');
  });

  it('C13: --time-limit takes nothing that does not fit and hands back what runs at the limit', async () => {
    const farm = await makeFarm();
    const fits = await farm.submit('--timeout', '500ms', '--', 'true');
    const not = await farm.submit('--timeout', '1h', '--', 'true');
    const runs = await farm.submit('--grace', '100ms', '--', 'sleep', '60');
    await farm.ok(['worker', '--time-limit', '2s', '--poll', '50ms', '-j', '2']);
    expect((await farm.show(fits)).state).toBe('done');
    expect(await farm.show(not)).toMatchObject({ state: 'queued', attempts: [] });
    const task = await farm.show(runs);
    expect(task.state).toBe('queued');
    expect(task.attempts[0]!.outcome).toBe('preempted');
  });
});

describe('hours', () => {
  const at = (minutes: number): string => {
    const d = new Date(Date.now() + minutes * 60_000);
    return `${String(d.getHours()).padStart(2, '0')}:${String(d.getMinutes()).padStart(2, '0')}`;
  };

  it('C11: outside its hours a worker is asleep, within them awake', async () => {
    const farm = await makeFarm();
    const hours = `${at(120)}-${at(180)}`;
    await farm.worker(['--name', 'off', '--hours', hours]);
    await is(farm, 'off', 'asleep');
    expect(await farm.ok(['why', await farm.submit('--', 'true')])).toContain(`off: asleep (its hours: ${hours})`);
    await farm.worker(['--name', 'on', '--hours', `${at(-60)}-${at(60)}`]);
    await is(farm, 'on', 'awake');
  });

  it('C12: a person who wakes it outside its hours is obeyed until the next boundary', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'off', '--hours', `${at(120)}-${at(180)}`]);
    await is(farm, 'off', 'asleep');
    await farm.ok(['worker', 'wake', 'off']);
    await is(farm, 'off', 'awake');
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    expect((await row(farm, 'off')).state).toBe('awake');
  });

  it('C12 C7: what a person asked against the hours holds over a restart, also when it was asked while it was offline', async () => {
    const farm = await makeFarm();
    const off = ['--name', 'off', '--hours', `${at(120)}-${at(180)}`];
    const on = ['--name', 'on', '--hours', `${at(-60)}-${at(60)}`];
    const first = await farm.worker(off);
    await is(farm, 'off', 'asleep');
    await farm.ok(['worker', 'wake', 'off']);
    await is(farm, 'off', 'awake');
    await first.stop();
    const second = await farm.worker(off);
    expect((await farm.reaches(await farm.submit('--', 'true'), 'done')).worker).toBe('off');
    await second.stop();
    // Other hours, other times.
    const third = await farm.worker(['--name', 'off']);
    expect((await farm.reaches(await farm.submit('--', 'true'), 'done')).worker).toBe('off');
    await third.stop();

    await (await farm.worker(on)).stop();
    await farm.ok(['worker', 'sleep', 'on']);
    const fourth = await farm.worker(on);
    await is(farm, 'on', 'asleep');
    // Said at its start; what its hours would do they would have done by its next look.
    expect(fourth.stderr()).toContain('tq worker wake on');
    await farm.submit('--', 'true');
    const counter = (): string => fs.readFileSync(path.join(farm.queue, 'workers/on/heartbeat'), 'utf8').slice(0, 12);
    const seen = Number(counter());
    await until(
      () => Number(counter()) > seen + 3,
      () => 'it looks again',
    );
    expect((await row(farm, 'on')).state).toBe('asleep');
  });

  it('A10: a list with an empty name, and a resource that has its own flag, are usage errors', async () => {
    const farm = await makeFarm();
    for (const [flag, text, ...words] of [
      ['--queue', ''],
      ['--queue', 'a,,b'],
      ['--run-users', ''],
      ['--pass-env', ','],
      ['--resource', 'cpus=3', '--cpus 3'],
      ['--resource', 'a b=1'],
    ] as const) {
      const ran = await farm.tq(['worker', `${flag}=${text}`]);
      expect([ran.code, ran.stdout]).toEqual([2, '']);
      for (const word of [flag, `'${text}'`, ...words]) expect(ran.stderr).toContain(word);
    }
    expect(await rows(farm)).toEqual([]);
  });

  it('A10: hours that mean nothing are a usage error', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['worker', '--hours', '25:00-06:00']);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('25:00-06:00');
  });
});
