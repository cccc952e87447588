/** `tq cron` from outside: ticks, workers that die at them, what is skipped and what is made up for. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { tickName } from '../../src/queue/cron.ts';
import { makeFarm, until, type Farm, type TestWorker } from '../helpers/tq.ts';

interface CronView {
  id: string;
  expr: string;
  tz: string;
  state: string;
  next: string | null;
  last: string | null;
  lastTask: string | null;
  lastSkipped: string | null;
  lastSkippedReason: string | null;
  overlap: string;
  catchup: string;
}

const EVERY_SECOND = '* * * * * *';

async function add(farm: Farm, ...args: string[]): Promise<string> {
  return (await farm.ok(['cron', 'add', ...args])).trim();
}

async function views(farm: Farm): Promise<CronView[]> {
  return JSON.parse(await farm.ok(['cron', 'ls', '--json'])) as CronView[];
}

async function view(farm: Farm, id: string): Promise<CronView> {
  return (await views(farm)).find((v) => v.id === id)!;
}

interface Note {
  tick: number;
  task?: string;
  skippedFor?: string;
}

function notes(farm: Farm, id: string): Note[] {
  const dir = path.join(farm.queue, 'cron', id);
  return (
    fs
      .readdirSync(dir)
      .filter((name) => name.endsWith('.json'))
      .toSorted()
      .map((name) => fs.readFileSync(path.join(dir, name), 'utf8'))
      // One that is being written is there a moment before what it says.
      .filter((text) => text.endsWith('\n'))
      .map((text) => JSON.parse(text) as Note)
  );
}

async function countOf(farm: Farm, name: string): Promise<number> {
  return Number(await farm.ok(['ls', '-a', '-n', name, '--count']));
}

/** Makes an entry believe that nothing was done with since then. */
function setBack(farm: Farm, id: string, ms: number): void {
  const dir = path.join(farm.queue, 'cron', id);
  const token = fs.readdirSync(dir).find((name) => name.startsWith('at.'))!;
  const parts = token.split('.');
  fs.renameSync(path.join(dir, token), path.join(dir, ['at', tickName(Date.now() - ms), ...parts.slice(3)].join('.')));
}

/** Waits until a worker's heartbeat has been raised so often. */
async function beats(farm: Farm, name: string, n: number): Promise<void> {
  const counter = (): number => Number(fs.readFileSync(path.join(farm.queue, 'workers', name, 'heartbeat'), 'utf8').slice(0, 12));
  const enough = counter() + n;
  await until(
    () => counter() >= enough,
    () => `${name} looks ${n} times`,
  );
}

/** Waits until a whole second of the clock has begun. */
async function tickPasses(): Promise<void> {
  const next = Math.floor(Date.now() / 1000) * 1000 + 1000;
  await until(
    () => Date.now() > next,
    () => 'the clock goes on',
  );
}

/** An hourly tick that is half an hour away. */
function hourly(): string {
  return `${(new Date().getUTCMinutes() + 30) % 60} * * * *`;
}

describe('ticks', () => {
  it('H15: with three workers, killed one after the other, each tick makes one task', async () => {
    const farm = await makeFarm();
    const id = await add(farm, EVERY_SECOND, '--overlap', 'queue', '-n', 'tick', '--', 'true');
    const crew: TestWorker[] = [];
    let hired = 0;
    const hire = async (): Promise<void> => void crew.push(await farm.worker(['--name', `w${hired++}`]));
    for (let i = 0; i < 3; i++) await hire();
    // Killed in the moment of a tick: as soon as there is something new.
    for (let kills = 0; kills < 6; kills++) {
      const before = fs.readdirSync(path.join(farm.queue, 'cron', id)).join();
      await until(
        () => fs.readdirSync(path.join(farm.queue, 'cron', id)).join() !== before,
        () => 'a tick comes',
      );
      crew.shift()!.signal('SIGKILL');
      await hire();
    }
    await farm.ok(['cron', 'pause', id]);
    await Promise.all(crew.map((w) => w.stop()));
    await farm.worker(['--until-empty']).then((w) => w.ended);
    const fired = notes(farm, id);
    expect(fired.length).toBeGreaterThanOrEqual(6);
    expect(fired.map((n) => n.tick)).toEqual(fired.map((_, i) => fired[0]!.tick + 1000 * i));
    const tasks = JSON.parse(await farm.ok(['ls', '-a', '-n', 'tick', '--json'])) as Array<{ id: string; state: string }>;
    expect(tasks.map((t) => t.id).toSorted()).toEqual(fired.map((n) => n.task!).toSorted());
    expect(new Set(tasks.map((t) => t.state))).toEqual(new Set(['done']));
  });

  it('H15: a worker that dies at any change while it fires leaves one task of each tick', async () => {
    const farm = await makeFarm();
    const id = await add(farm, EVERY_SECOND, '--overlap', 'queue', '-n', 'tick', '--', 'true');
    let died = 0;
    // The first changes are those of its start; which ones are of a tick is left to the clock.
    for (let n = 20; n < 60; n += 5) {
      const victim = farm.start(['worker', '--name', `v${n}`, '--poll', '50ms'], { env: { TQ_FAULT: `die-after:${n}` } });
      if ((await victim.ended).code === 137) died++;
    }
    expect(died).toBe(8);
    const last = await farm.worker();
    const seen = notes(farm, id).length;
    await until(
      () => notes(farm, id).length > seen + 1,
      () => 'ticks go on',
    );
    await last.stop();
    const tasks = JSON.parse(await farm.ok(['ls', '-a', '-n', 'tick', '--json'])) as Array<{ id: string }>;
    // Ticks are noted under their names, so none is noted twice; a second task of one would have no note.
    expect(tasks.map((t) => t.id).toSorted()).toEqual(
      notes(farm, id)
        .map((n) => n.task!)
        .toSorted(),
    );
  });

  it('H15: ls tells the next time, pause and resume do what they say, rm ends it', async () => {
    const farm = await makeFarm();
    const id = await add(farm, EVERY_SECOND, '-n', 'tick', '--', 'true');
    const yearly = await add(
      farm,
      '0 12 1 7 *',
      '--tz',
      'America/New_York',
      '--catchup',
      'last',
      '--overlap',
      'queue',
      '-c',
      'echo x | cat',
    );
    expect((await views(farm)).map((v) => v.id)).toEqual([id, yearly]);
    expect(await view(farm, yearly)).toMatchObject({
      expr: '0 12 1 7 *',
      tz: 'America/New_York',
      state: 'active',
      catchup: 'last',
      overlap: 'queue',
      last: null,
      next: expect.stringMatching(/-07-01T16:00:00\.000Z$/) as unknown,
    });
    const listed = await farm.ok(['cron', 'ls']);
    expect(listed).toContain('America/New_York');
    expect(listed).toContain('echo x | cat');
    const worker = await farm.worker();
    await until(
      async () => (await countOf(farm, 'tick')) > 0,
      () => 'a tick comes',
    );
    expect(await farm.ok(['cron', 'pause', id.slice(0, 13)])).toBe(`${id}\n`);
    const paused = await view(farm, id);
    expect(paused).toMatchObject({ state: 'paused', next: null });
    expect(paused.lastTask).not.toBeNull();
    // What had begun before the pause is over soon; then ticks pass, and nothing comes.
    await beats(farm, worker.name, 3);
    const before = await countOf(farm, 'tick');
    await tickPasses();
    await beats(farm, worker.name, 3);
    expect(await countOf(farm, 'tick')).toBe(before);
    const count = await countOf(farm, 'tick');
    await farm.ok(['cron', 'resume', id]);
    expect((await view(farm, id)).state).toBe('active');
    await until(
      async () => (await countOf(farm, 'tick')) > count,
      () => 'ticks come again',
    );
    expect(await farm.ok(['cron', 'rm', '--dry-run', id])).toBe(`${id}\n`);
    expect(await farm.ok(['cron', 'rm', id])).toBe(`${id}\n`);
    expect((await views(farm)).map((v) => v.id)).toEqual([yearly]);
    await farm.ok(['cron', 'rm', yearly]);
    expect(await farm.ok(['cron', 'ls'])).toBe('');
    expect(fs.readdirSync(path.join(farm.queue, 'cron'))).toEqual([]);
  });

  it('H15: all flags of submit hold for its tasks, a script and an input too', async () => {
    const farm = await makeFarm();
    fs.writeFileSync(path.join(farm.dir, 'job.sh'), '#!/bin/sh\n#TQ --label k=v\ncat; echo "$1" >&2\nexit 3\n');
    fs.writeFileSync(path.join(farm.dir, 'in.txt'), 'from stdin\n');
    const id = await add(
      farm,
      ...[EVERY_SECOND, '-n', 'job', '-p', '7', '--retries', '1', '--backoff', 'none', '--split', '-e', 'X=1'],
      ...['--script', 'job.sh', '--stdin', 'in.txt', '--', 'arg'],
    );
    fs.rmSync(path.join(farm.dir, 'job.sh'));
    fs.rmSync(path.join(farm.dir, 'in.txt'));
    await farm.worker();
    await until(
      async () => (await view(farm, id)).lastTask !== null,
      () => 'a tick comes',
    );
    const task = await farm.reaches(notes(farm, id)[0]!.task!, 'failed');
    expect(task).toMatchObject({ name: 'job', priority: 7, labels: { k: 'v' }, exitCode: 3, attempts: [{ attempt: 1 }, { attempt: 2 }] });
    expect(await farm.ok(['logs', '--stdout', task.id])).toBe('from stdin\n');
    expect(await farm.ok(['logs', '--stderr', task.id])).toBe('arg\n');
  });
});

describe('overlap and gaps', () => {
  it('H16: a tick during a run is noted and not queued; with queue it is queued', async () => {
    const farm = await makeFarm();
    const gate = path.join(farm.dir, 'go');
    const skip = await add(farm, EVERY_SECOND, '-n', 'skips', '-c', `while ! test -e ${gate}; do sleep 0.05; done`);
    const queue = await add(farm, EVERY_SECOND, '--overlap', 'queue', '-n', 'queues', '-c', `while ! test -e ${gate}; do sleep 0.05; done`);
    await farm.worker(['-j', '20']);
    await until(
      () => notes(farm, skip).filter((n) => n.skippedFor !== undefined).length >= 2,
      () => 'two ticks are skipped',
    );
    const [first] = notes(farm, skip);
    expect(await countOf(farm, 'skips')).toBe(1);
    expect(notes(farm, skip)[1]).toMatchObject({ skippedFor: first!.task });
    expect(await view(farm, skip)).toMatchObject({ lastTask: first!.task, lastSkippedReason: `${first!.task} was unfinished` });
    await until(
      async () => (await countOf(farm, 'queues')) >= 3,
      () => 'ticks are queued',
    );
    expect(notes(farm, queue).every((n) => n.skippedFor === undefined)).toBe(true);
    fs.writeFileSync(gate, '');
    await until(
      async () => (await countOf(farm, 'skips')) >= 2,
      () => 'the next tick after its end is queued',
    );
  });

  it('H16: hours without a worker give no run, or one, and ticks go on', async () => {
    const farm = await makeFarm();
    const none = await add(farm, hourly(), '-n', 'none', '--', 'true');
    const last = await add(farm, hourly(), '-n', 'last', '--catchup', 'last', '--', 'true');
    for (const id of [none, last]) setBack(farm, id, 3 * 3_600_000);
    const worker = await farm.worker();
    await until(
      async () => (await countOf(farm, 'last')) === 1,
      () => 'the last one is made up for',
    );
    const { next } = await view(farm, none);
    expect(Date.parse(next!)).toBeGreaterThan(Date.now());
    await worker.stop();
    // Once: neither by this one nor by the next.
    await farm.worker(['--name', 'second', '--until-empty']).then((w) => w.ended);
    expect([await countOf(farm, 'none'), await countOf(farm, 'last')]).toEqual([0, 1]);
  });

  it('H15: an asleep worker fires nothing', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w']);
    await farm.ok(['worker', 'sleep', 'w']);
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('asleep '),
      () => 'it is asleep',
    );
    const id = await add(farm, EVERY_SECOND, '-n', 'tick', '--', 'true');
    await tickPasses();
    await beats(farm, 'w', 3);
    expect(notes(farm, id)).toEqual([]);
    await farm.ok(['worker', 'wake', 'w']);
    await until(
      () => notes(farm, id).length > 0,
      () => 'a tick is fired',
    );
  });
});

describe('a shared queue', () => {
  it('H15: an entry is fired by workers of its owner alone, since its tasks would belong to their user', async () => {
    const farm = await makeFarm({ shared: true });
    const mine = await add(farm, EVERY_SECOND, '-n', 'mine', '--', 'true');
    const theirs = await add(farm, EVERY_SECOND, '-n', 'theirs', '--', 'true');
    // Only root can give a file away; as anybody else both are mine.
    const root = process.getuid?.() === 0;
    if (root) fs.chownSync(path.join(farm.queue, 'cron', `${theirs}.json`), 12_345, 12_345);
    await farm.worker();
    await until(
      () => notes(farm, mine).length >= 2 && (root || notes(farm, theirs).length >= 2),
      () => 'ticks of mine come',
    );
    expect((await countOf(farm, 'theirs')) === 0).toBe(root);
  });
});

describe('bad input', () => {
  it('H15: a bad expression, zone or flag is a usage error that names it, and nothing is written', async () => {
    const farm = await makeFarm();
    const bad: Array<[string[], string]> = [
      [['61 * * * *', '--', 'true'], "'61 * * * *'"],
      [['nonsense', '--', 'true'], "'nonsense'"],
      [['0 0 30 2 *', '--', 'true'], 'no such time'],
      [['', '--', 'true'], "''"],
      [['--', 'true'], 'EXPR'],
      [['* * * * *'], 'no command'],
      [['* * * * *', '--tz', 'Mars/Olympus', '--', 'true'], "--tz: not a time zone: 'Mars/Olympus'"],
      [['* * * * *', '--overlap', 'maybe', '--', 'true'], '--overlap'],
      [['* * * * *', '--catchup', 'all', '--', 'true'], '--catchup'],
      [['* * * * *', '--priority', 'x', '--', 'true'], '--priority'],
      [['* * * * *', '--follow', '--', 'true'], '--follow'],
      [['* * * * *', '--at', 'now+1h', '--', 'true'], '--at'],
    ];
    for (const [args, said] of bad) {
      const { code, stdout, stderr } = await farm.tq(['cron', 'add', ...args]);
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' });
      expect(stderr).toContain(said);
    }
    const dry = JSON.parse(await farm.ok(['cron', 'add', '@daily', '--dry-run', '--', 'true'])) as { expr: string };
    expect(dry.expr).toBe('@daily');
    expect(fs.readdirSync(path.join(farm.queue, 'cron'))).toEqual([]);
  });

  it('H15: ids that are not there: 3, some of several: 5, ambiguous: 2', async () => {
    const farm = await makeFarm();
    const [a, b] = [await add(farm, '@daily', '--', 'true'), await add(farm, '@daily', '--', 'true')];
    for (const verb of ['rm', 'pause', 'resume']) {
      expect((await farm.tq(['cron', verb, 'zzzzzzzz'])).code).toBe(3);
      expect((await farm.tq(['cron', verb])).code).toBe(2);
    }
    expect(await farm.tq(['cron', 'pause', a, 'zzzzzzzz'])).toMatchObject({ code: 5, stdout: `${a}\n` });
    expect(await farm.tq(['cron', 'pause', a])).toMatchObject({ code: 0, stdout: `${a}\n` });
    if (a.slice(0, 4) === b.slice(0, 4)) expect((await farm.tq(['cron', 'rm', a.slice(0, 4)])).code).toBe(2);
    expect(await farm.tq(['cron', 'rm', a, b])).toMatchObject({ code: 0, stdout: `${a}\n${b}\n` });
  });
});
