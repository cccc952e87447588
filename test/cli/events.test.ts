/** `tq events` and `tq ls --at`: what happened, in order, with nothing missing; and how things were then. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { makeFarm, until, type Farm, type Started } from '../helpers/tq.ts';

interface Event {
  at: string;
  task: string | null;
  type: string;
  from: string | null;
  to: string | null;
  attempt: number | null;
  worker: string | null;
  name?: string;
  outcome?: string;
  reason?: string;
  by?: string;
  inferred?: true;
}

const parsed = (text: string): Event[] =>
  text
    .split('\n')
    .slice(0, -1)
    .map((line) => JSON.parse(line) as Event);

const eventsOf = async (farm: Farm, ...args: string[]): Promise<Event[]> => parsed(await farm.ok(['events', ...args]));

/** What may follow what, said once more, so that a wrong table in the program is found. */
const LEGAL: Readonly<Record<string, readonly string[]>> = {
  null: ['queued', 'waiting', 'delayed', 'held'],
  waiting: ['queued', 'delayed', 'held', 'skipped', 'canceled'],
  delayed: ['queued', 'waiting', 'held', 'skipped', 'canceled'],
  held: ['queued', 'waiting', 'delayed', 'done', 'skipped', 'canceled'],
  queued: ['running', 'held', 'delayed', 'waiting', 'skipped', 'canceled', 'failed'],
  running: ['done', 'failed', 'canceled', 'skipped', 'queued', 'delayed', 'held', 'waiting'],
  done: ['queued', 'waiting', 'delayed', 'null'],
  failed: ['queued', 'waiting', 'delayed', 'null'],
  canceled: ['queued', 'waiting', 'delayed', 'null'],
  skipped: ['queued', 'waiting', 'delayed', 'null'],
};

/** Each task's steps follow one from the other, each is legal, and time does not go back. */
function checkSteps(events: readonly Event[]): Map<string, Event[]> {
  const tasks = new Map<string, Event[]>();
  for (const event of events) {
    if (event.task === null) continue;
    const its = tasks.get(event.task) ?? [];
    tasks.set(event.task, its);
    const last = its.at(-1);
    const what = `${event.task}: ${JSON.stringify([...its, event].map((e) => [e.from, e.to, e.attempt]))}`;
    if (last !== undefined) {
      expect(event.from, what).toBe(last.to);
      expect(event.attempt!, what).toBeGreaterThanOrEqual(last.attempt!);
      expect(event.at >= last.at, what).toBe(true);
    }
    expect(LEGAL[String(event.from)], what).toContain(String(event.to));
    its.push(event);
  }
  return tasks;
}

const way = (events: readonly Event[] | undefined): string => (events ?? []).map((e) => `${e.type}:${e.to}`).join(' ');

function following(farm: Farm, ...args: string[]): Started & { events(): Event[]; has(wanted: (e: Event) => boolean): Promise<void> } {
  const began = farm.start(['events', '-f', ...args]);
  const events = (): Event[] => parsed(began.stdout().slice(0, began.stdout().lastIndexOf('\n') + 1));
  return Object.assign(began, {
    events,
    has: (wanted: (e: Event) => boolean) =>
      until(
        () => events().some(wanted),
        () => `an event comes; there are ${way(events())} ${began.stderr()}`,
      ),
  });
}

/** A follower that has begun to look: what happens from now on is told. */
async function ready(farm: Farm, ...args: string[]): Promise<ReturnType<typeof following>> {
  const f = following(farm, ...args);
  await until(
    async () => {
      await farm.ok(['queue', 'pause', 'probe']);
      await farm.ok(['queue', 'resume', 'probe']);
      return f.events().some((e) => e.type === 'queue') || args.length > 0;
    },
    () => `the follower looks: ${f.stderr()}`,
  );
  return f;
}

describe('events', () => {
  it('J6: each change of a task is one line, in order, and the types say what was done', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('-n', 'parent', '-g', 'g', '--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    const again = await farm.submit('--retries', '1', '--backoff', 'fixed:50ms', '--no-jitter', '-c', 'exit 3');
    const held = await farm.submit('--', 'true');
    await farm.ok(['hold', held]);
    await farm.ok(['release', held]);
    await farm.ok(['hold', held]);
    const gone = await farm.submit('--in', '1h', '--', 'true');
    await farm.ok(['cancel', gone, '--reason', 'not needed']);
    await farm.worker(['--until-empty', '--name', 'w']).then((w) => w.ended);
    await farm.ok(['release', held, '--result', '1']);
    await farm.ok(['retry', again]);
    await farm.ok(['rm', gone]);
    const tasks = checkSteps(await eventsOf(farm));
    expect(way(tasks.get(parent))).toBe('submitted:queued started:running ended:done');
    expect(way(tasks.get(child))).toBe('submitted:waiting ready:queued started:running ended:done');
    expect(way(tasks.get(again))).toBe(
      'submitted:queued started:running ended:delayed due:queued started:running ended:failed retried:queued',
    );
    expect(way(tasks.get(held))).toBe('submitted:queued held:held released:queued held:held ended:done');
    expect(way(tasks.get(gone))).toBe('submitted:delayed ended:canceled removed:null');
    expect(tasks.get(parent)![1]).toMatchObject({ attempt: 1, worker: 'w', name: 'parent', group: 'g', queue: 'default' });
    expect(tasks.get(again)!.filter((e) => e.type === 'ended')).toMatchObject([
      { outcome: 'failed', exitCode: 3, attempt: 1 },
      { outcome: 'failed', exitCode: 3, attempt: 2 },
    ]);
    expect([...tasks.values()].flat().some((e) => e.inferred === true)).toBe(false);
    expect((await eventsOf(farm)).filter((e) => e.type === 'worker').map((e) => [e.from, e.to, e.worker])).toEqual([
      [null, 'starting', 'w'],
      ['starting', 'awake', 'w'],
      ['awake', 'offline', 'w'],
    ]);
  });

  it('J6: without its journal a queue still tells every step that its files know', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--', 'true');
    const child = await farm.submit('--after', parent, '--', 'true');
    const again = await farm.submit('--retries', '1', '--backoff', 'fixed:50ms', '--no-jitter', '-c', 'exit 3');
    const skipped = await farm.submit('--after', again, '--', 'true');
    const held = await farm.submit('--', 'true');
    await farm.ok(['hold', held]);
    await farm.worker(['--until-empty']).then((w) => w.ended);
    await farm.ok(['cancel', held]);
    fs.rmSync(`${farm.queue}/journal`, { recursive: true });
    const tasks = checkSteps(await eventsOf(farm));
    expect(way(tasks.get(parent))).toBe('submitted:queued started:running ended:done');
    expect(way(tasks.get(child))).toBe('submitted:waiting ready:queued started:running ended:done');
    expect(tasks.get(child)![1]!.inferred).toBe(true);
    expect(way(tasks.get(again))).toBe('submitted:queued started:running ended:delayed due:queued started:running ended:failed');
    expect(way(tasks.get(skipped))).toBe('submitted:waiting ended:skipped');
    expect(way(tasks.get(held))).toBe('submitted:queued held:held ended:canceled');
  });

  it('J6: -f tells what happens while it happens, also of batches and elements, and ends at a signal', async () => {
    const farm = await makeFarm();
    const before = await farm.submit('--', 'true');
    const f = await ready(farm);
    await farm.worker(['-j', '2', '--name', 'w']);
    const one = await farm.submit('--', 'true');
    await f.has((e) => e.task === one && e.to === 'done');
    expect(f.child.exitCode).toBeNull();
    const many = await farm.submit('--array', '1-60', '--', 'true');
    const batch = (await farm.ok(['submit', '--batch', '-'], { input: '{"command": "true"}\n{"command": "exit 1"}\n' })).split('\n');
    await f.has((e) => e.task === batch[1] && e.to === 'failed');
    await farm.reaches(many, 'done');
    await until(
      () => f.events().filter((e) => e.task?.startsWith(`${many}.`) === true && e.to === 'done').length === 60,
      () => `the elements end: ${f.events().length}`,
    );
    const tasks = checkSteps(f.events());
    expect(way(tasks.get(before))).toBe('started:running ended:done');
    expect(way(tasks.get(one))).toBe('submitted:queued started:running ended:done');
    expect(way(tasks.get(batch[0]!))).toBe('submitted:queued started:running ended:done');
    expect(way(tasks.get(many))).toBe('submitted:queued');
    for (let n = 1; n <= 60; n++) expect(way(tasks.get(`${many}.${n}`)), `${n}`).toBe('started:running ended:done');
    f.signal('SIGTERM');
    expect(await f.ended).toMatchObject({ code: 0, stderr: '' });
  });

  it('J6: --since replays, with -f what follows comes after it, and no step is told twice', async () => {
    const farm = await makeFarm();
    const old = await farm.submit('--', 'true');
    await farm.worker(['--until-empty']).then((w) => w.ended);
    await until(
      () =>
        Date.now() > Date.parse((JSON.parse(fs.readFileSync(`${farm.queue}/tq.json`, 'utf8')) as { createdAt: string }).createdAt) + 1500,
      () => 'a second passes',
    );
    const mark = new Date().toISOString();
    const young = await farm.submit('--', 'true');
    expect((await eventsOf(farm, '--since', mark)).filter((e) => e.task !== null).map((e) => e.task)).toEqual([young]);
    const f = following(farm, '--since', '1h');
    await f.has((e) => e.task === young);
    await farm.worker(['--name', 'w']);
    await f.has((e) => e.task === young && e.to === 'done');
    const tasks = checkSteps(f.events());
    expect(way(tasks.get(old))).toBe('submitted:queued started:running ended:done');
    expect(way(tasks.get(young))).toBe('submitted:queued started:running ended:done');
  });

  it('J6: filters choose by task and by step; a reader that goes away ends it quietly', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'good', '-g', 'g', '-l', 'k=v', '--', 'true');
    const b = await farm.submit('-n', 'bad', '-q', 'other', '--', 'false');
    await farm.worker(['--until-empty', '-q', 'default,other', '--name', 'w']).then((w) => w.ended);
    const of = async (...args: string[]): Promise<string[]> =>
      (await eventsOf(farm, ...args)).map((e) => `${e.task === a ? 'a' : 'b'} ${e.to}`);
    expect(await of('-n', 'go*')).toEqual(['a queued', 'a running', 'a done']);
    expect(await of('-g', 'g', '-l', 'k=v')).toEqual(['a queued', 'a running', 'a done']);
    expect(await of('-q', 'other')).toEqual(['b queued', 'b running', 'b failed']);
    expect(await of('--failed')).toEqual(['b failed']);
    expect(await of('-s', 'running', '--user', 'nobody-such')).toEqual([]);
    expect(await of(b, '-s', 'queued,failed')).toEqual(['b queued', 'b failed']);
    expect((await eventsOf(farm, '--worker', 'w')).filter((e) => e.task !== null)).toHaveLength(4);
    const pipe = farm.start(['events', '-f', '--since', '1h']);
    await until(
      () => pipe.stdout() !== '',
      () => 'it prints',
    );
    pipe.child.stdout!.destroy();
    await farm.submit('--', 'true');
    expect((await pipe.ended).code).toBe(0);
  });

  it('J6: bad input: usage, an unknown task, a queue that is not there; garbage in the journal is passed over', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    expect(await farm.tq(['events', '--since', 'soon'])).toMatchObject({
      code: 2,
      stdout: '',
      stderr: expect.stringContaining("'soon'") as unknown,
    });
    expect((await farm.tq(['events', '--nonsense'])).code).toBe(2);
    expect(await farm.tq(['events', '0000000000zzzz'])).toMatchObject({ code: 3, stdout: '' });
    expect((await farm.tq(['events', id, '0000000000zzzz'])).code).toBe(5);
    expect((await farm.tq(['events', '-f'], { env: { TQ_DIR: path.join(farm.dir, 'none') } })).code).toBe(4);
    const [hour] = fs.readdirSync(`${farm.queue}/journal`);
    const lines = [
      'not json',
      '{}',
      '[1]',
      'null',
      JSON.stringify({ at: 'x', task: id, from: null, to: 'queued', attempt: 0, worker: null }),
      JSON.stringify({ at: Date.now(), task: '../x', from: null, to: 'queued', attempt: 0, worker: null }),
      JSON.stringify({ at: 1e300, task: id, from: 'queued', to: 'running', attempt: 1, worker: null }),
      JSON.stringify({ at: Date.now(), task: id, from: 'queued', to: 'flying', attempt: 1, worker: null }),
      JSON.stringify({ at: Date.now(), type: 'weather', subject: 'x', from: null, to: 'rain', worker: null }),
    ];
    fs.writeFileSync(`${farm.queue}/journal/${hour}/strange.ndjson`, `${lines.join('\n')}\n\u0000\xff{"at":1,"ta`);
    fs.mkdirSync(`${farm.queue}/journal/notes`);
    expect(way(await eventsOf(farm))).toBe('submitted:queued');
  });

  it('J6: elements of an array tell how they were held, let go, canceled, run again and removed', async () => {
    const farm = await makeFarm();
    const f = await ready(farm);
    const id = await farm.submit('--array', '1-8', '-c', 'test $TQ_INDEX -ne 3');
    await farm.ok(['hold', id]);
    await farm.ok(['release', `${id}.1-4`]);
    await farm.ok(['cancel', `${id}.7-8`, '--reason', 'enough']);
    await farm.worker(['--until-empty', '--name', 'w']).then((w) => w.ended);
    await farm.ok(['release', `${id}.5`]);
    await farm.ok(['retry', `${id}.3`]);
    await farm.worker(['--until-empty', '--name', 'w']).then((w) => w.ended);
    const ways = {
      1: /^held:held released:queued started:running ended:done$/,
      3: /^held:held released:queued started:running ended:failed retried:queued started:running ended:failed$/,
      5: /^held:held released:queued started:running ended:done$/,
      6: /^held:held$/,
      7: /^held:held ended:canceled$/,
    };
    await until(
      () =>
        checkSteps(f.events())
          .get(`${id}.3`)
          ?.filter((e) => e.to === 'failed').length === 2 && f.events().some((e) => e.task === `${id}.5` && e.to === 'done'),
      () => `the ends are told: ${way(f.events())}`,
    );
    const told = checkSteps(f.events());
    for (const [n, wanted] of Object.entries(ways)) expect(way(told.get(`${id}.${n}`)), n).toMatch(wanted);
    const known = checkSteps(await eventsOf(farm, id));
    for (const n of [1, 3, 5, 6, 7]) {
      const view = await farm.show(`${id}.${n}`);
      expect(known.get(`${id}.${n}`)!.at(-1)!.to, `${n}`).toBe(view.state);
      expect(known.get(`${id}.${n}`)!.filter((e) => e.to === 'running')).toHaveLength(view.attempts.length);
    }
    expect(known.get(`${id}.7`)!.at(-1)!.reason).toBe('enough');
    expect((await eventsOf(farm, `${id}.5`)).every((e) => e.task === `${id}.5`)).toBe(true);
    await farm.ok(['cancel', id]);
    await farm.ok(['rm', id]);
    await f.has((e) => e.task === `${id}.6` && e.to === 'canceled');
  });

  it('J6: over a network, where commands write no journal, new tasks are found by looking', async () => {
    const farm = await makeFarm();
    const env = { TQ_NETWORK: '1' };
    const f = farm.start(['events', '-f', '--since', '1h'], { env });
    const id = (await farm.ok(['submit', '--', 'true'], { env })).trim();
    expect(fs.readdirSync(`${farm.queue}/journal`)).toEqual([]);
    const told = (): Event[] => parsed(f.stdout().slice(0, f.stdout().lastIndexOf('\n') + 1)).filter((e) => e.task === id);
    await until(
      () => told().length === 1,
      () => `the submit is told: ${f.stdout()} ${f.stderr()}`,
    );
    await farm.worker(['--name', 'w'], { env });
    await until(
      () => told().length === 3,
      () => `the end is told: ${f.stdout()} ${f.stderr()}`,
    );
    expect(way(checkSteps(told()).get(id))).toBe('submitted:queued started:running ended:done');
  });

  it('J6: a queue that goes away ends a follower with exit 4', async () => {
    const farm = await makeFarm();
    const f = await ready(farm);
    fs.renameSync(`${farm.queue}/tq.json`, `${farm.queue}/away.json`);
    expect((await f.ended).code).toBe(4);
    expect(f.stderr()).toContain('tq.json');
  });

  it('J6: an attempt whose worker died before it wrote a line of it is told before the next one', async () => {
    const farm = await makeFarm();
    const f = await ready(farm);
    const id = await farm.submit('--', 'true');
    await f.has((e) => e.task === id);
    // As a burial leaves it: the log, the outcome, and the task back in its place as a1.
    const { file } = await farm.show(id);
    const runs = path.dirname(file).replace('/queued/default/p00/', '/runs/');
    const at = Date.now();
    const outcome = {
      schema: 'tq.outcome/1',
      id,
      attempt: 1,
      nonce: 'n',
      outcome: 'lost',
      started: true,
      worker: 'dead',
      session: 'dead.1.0-0-0-0-xxxxxxxx',
      host: 'h',
      pid: null,
      startedAt: at,
      endedAt: at,
      durationMs: null,
      exitCode: null,
      signal: null,
      cpuMs: null,
      maxRssKb: null,
      reason: 'worker dead died',
      next: { state: 'queued', reason: 'worker dead died' },
      tally: { failures: 0, lost: 1, firstStartedAt: at, rejectedBy: [] },
    };
    fs.mkdirSync(runs, { recursive: true });
    fs.writeFileSync(path.join(runs, `${id}.a1.log`), '');
    fs.writeFileSync(path.join(runs, `${id}.a1.json`), JSON.stringify(outcome));
    fs.renameSync(file, file.replace('.a0.json', '.a1.json'));
    await farm.worker(['--until-empty']).then((w) => w.ended);
    await f.has((e) => e.task === id && e.to === 'done');
    const its = checkSteps(f.events()).get(id)!;
    expect(its.map((e) => [e.to, e.attempt, e.outcome ?? null])).toEqual([
      ['queued', 0, null],
      ['running', 1, null],
      ['queued', 1, 'lost'],
      ['running', 2, null],
      ['done', 2, 'succeeded'],
    ]);
  });

  it('J6: nothing is missing and every step is legal after a worker was killed in the middle of its work', async () => {
    const farm = await makeFarm();
    const f = await ready(farm);
    const ids: string[] = [];
    for (let i = 0; i < 24; i++)
      ids.push(await farm.submit('-c', i % 5 === 0 ? 'exit 1' : 'sleep 0.05', '--retries', '1', '--backoff', 'none'));
    const many = await farm.submit('--array', '1-200', '-c', 'sleep 0.01');
    for (let round = 0; round < 3; round++) {
      const w = await farm.worker(['-j', '4', '--name', `w${round}`]);
      const wanted = (round + 1) * 5;
      await until(
        async () => Number(await farm.ok(['ls', '-s', 'done,failed', '--count'])) >= wanted,
        () => `${wanted} have ended`,
      );
      w.signal('SIGKILL');
      await w.ended;
    }
    await farm.worker(['-j', '4', '--until-empty']).then((w) => w.ended);
    await farm.reaches(many, 'done');
    const ends = (events: readonly Event[]): number => {
      const last = new Map(events.flatMap((e) => (e.task === null ? [] : [[e.task, e.to] as const])));
      return [...last].filter(([task, to]) => task !== many && (to === 'done' || to === 'failed')).length;
    };
    await until(
      () => ends(f.events()) === ids.length + 200,
      () => `the follower tells all ends: ${ends(f.events())}`,
    );
    for (const events of [f.events(), await eventsOf(farm)]) {
      const tasks = checkSteps(events);
      for (const id of ids) {
        const its = tasks.get(id)!;
        const view = await farm.show(id);
        expect(its[0]).toMatchObject({ type: 'submitted' });
        expect(its.at(-1)!.to).toBe(view.state);
        const begun = new Set(its.filter((e) => e.to === 'running').map((e) => e.attempt));
        expect([...begun].toSorted(), way(its)).toEqual(view.attempts.map((a) => a.attempt).toSorted());
        const ended = its.filter((e) => e.from === 'running').map((e) => [e.attempt, e.outcome]);
        expect(ended, its.map((e) => `${e.type}:${e.to}.a${e.attempt}`).join(' ')).toEqual(
          view.attempts.map((a) => [a.attempt, a.outcome]),
        );
      }
      for (let n = 1; n <= 200; n++) expect(tasks.get(`${many}.${n}`)?.at(-1)?.to, `${n}: ${way(tasks.get(`${many}.${n}`))}`).toBe('done');
    }
    expect((await eventsOf(farm)).filter((e) => e.outcome === 'lost').length).toBeGreaterThan(0);
  }, 120_000);
});

describe('ls --at', () => {
  const rows = async (farm: Farm, at: string, ...args: string[]): Promise<string[]> =>
    (await farm.ok(['ls', '--at', at, '-o', 'name,state', '--no-header', '--sort', 'name', ...args]))
      .trimEnd()
      .split('\n')
      .map((line) => line.trim().replaceAll(/ +/g, ' '));
  /** A moment, with nothing happening within the same milliseconds. */
  const moment = async (): Promise<string> => {
    const began = Date.now();
    await until(
      () => Date.now() > began + 60,
      () => 'time passes',
    );
    return new Date(began + 30).toISOString();
  };

  it('J1 J6: tasks are listed as they were then, with filters and columns, also those that were removed since', async () => {
    const farm = await makeFarm();
    const start = await moment();
    const a = await farm.submit('-n', 'a', '--', 'true');
    const b = await farm.submit('-n', 'b', '-c', 'exit 4');
    const c = await farm.submit('-n', 'c', '--hold', '--', 'true');
    const array = await farm.submit('-n', 'd', '--array', '1-3', '--', 'true');
    const first = await moment();
    await farm.worker(['--until-empty', '--name', 'w']).then((w) => w.ended);
    const second = await moment();
    await farm.ok(['release', c]);
    await farm.ok(['retry', b]);
    await farm.ok(['cancel', c]);
    const third = await moment();
    await farm.ok(['rm', a]);
    expect(await rows(farm, start, '-a')).toEqual(['']);
    expect(await rows(farm, first)).toEqual(['a queued', 'b queued', 'c held', 'd queued']);
    expect(await rows(farm, second)).toEqual(['c held']);
    expect(await rows(farm, second, '-a')).toEqual(['a done', 'b failed', 'c held', 'd done']);
    expect(await rows(farm, third, '-a')).toEqual(['a done', 'b queued', 'c canceled', 'd done']);
    expect(await rows(farm, 'now', '-a')).toEqual(['b queued', 'c canceled', 'd done']);
    expect(await rows(farm, second, '--failed')).toEqual(['b failed']);
    expect(await rows(farm, third, '-s', 'canceled,queued', '-n', '[bc]')).toEqual(['b queued', 'c canceled']);
    expect(await rows(farm, first, '-s', 'held')).toEqual(['c held']);
    expect(await farm.ok(['ls', '--at', second, '-a', '--count'])).toBe('4\n');
    expect(await rows(farm, first, '--expand', '-n', 'd')).toEqual(['d queued', 'd queued', 'd queued']);
    const [then] = JSON.parse(await farm.ok(['ls', '--at', second, '--json', b])) as TaskView[];
    expect(then).toMatchObject({ state: 'failed', exitCode: 4, worker: 'w', attempts: [{ attempt: 1, outcome: 'failed' }] });
    const [now] = JSON.parse(await farm.ok(['ls', '--at', third, '--json', b])) as TaskView[];
    expect(now).toMatchObject({ state: 'queued', exitCode: null, worker: null, endedAt: null });
    const [whole] = JSON.parse(await farm.ok(['ls', '--at', first, '--json', array])) as TaskView[];
    expect(whole).toMatchObject({ state: 'queued', array: { size: 3, queued: 3, done: 0 } });
  });

  it('J1: an attempt that ran then is shown running', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w']);
    const id = await farm.submit('-n', 'x', '-c', 'while [ ! -e go ]; do sleep 0.02; done');
    await farm.reaches(id, 'running');
    const then = await moment();
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(id, 'done');
    const [view] = JSON.parse(await farm.ok(['ls', '--at', then, '--json'])) as TaskView[];
    expect(view).toMatchObject({ id, state: 'running', worker: 'w', endedAt: null, attempts: [{ outcome: null, endedAt: null }] });
  });

  it('J1: bad input', async () => {
    const farm = await makeFarm();
    expect(await farm.tq(['ls', '--at', 'later'])).toMatchObject({
      code: 2,
      stderr: expect.stringContaining("--at: not a time: 'later'") as unknown,
    });
    expect((await farm.tq(['ls', '--at', 'now', '0000000000zzzz'])).code).toBe(3);
    expect(await farm.ok(['ls', '--at', '2h ago'])).toBe('');
  });
});
