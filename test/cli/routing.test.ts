/** Which worker takes what, and when: queues, resources, GPUs, limits, mutexes, room for large tasks. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, sleep, until, type Farm, type TestWorker } from '../helpers/tq.ts';

/** A task that writes when it begins and ends, in one line each: `b ID WORKER TIME` and `e ID WORKER TIME`. */
const noting = (body = 'sleep 0.1'): string[] => [
  '-c',
  `echo "b $TQ_TASK_ID $TQ_WORKER $(date +%s%3N) $TQ_GPUS" >> notes; ${body}; echo "e $TQ_TASK_ID $TQ_WORKER $(date +%s%3N) $TQ_GPUS" >> notes`,
];

interface Note {
  what: 'b' | 'e';
  id: string;
  worker: string;
  at: number;
  gpus: string;
}

function notes(farm: Farm): Note[] {
  const file = path.join(farm.dir, 'notes');
  if (!fs.existsSync(file)) return [];
  const lines = fs.readFileSync(file, 'utf8').trim().split('\n');
  return lines.map((line) => {
    const [what, id = '', worker = '', at, gpus = ''] = line.split(' ');
    return { what: what as 'b' | 'e', id, worker, at: Number(at), gpus };
  });
}

/** The most that ran at once. Those of a worker that was killed have no end: `over` says when they were over. */
function mostAtOnce(list: readonly Note[], weight: (id: string) => number = () => 1): number {
  let now = 0;
  let most = 0;
  const open = new Set<string>();
  for (const n of list) {
    // Begun again: the attempt before it was over.
    if (n.what === 'b' && open.has(n.id)) continue;
    if (n.what === 'b') open.add(n.id);
    else open.delete(n.id);
    now += n.what === 'b' ? weight(n.id) : -weight(n.id);
    most = Math.max(most, now);
  }
  return most;
}

async function allDone(farm: Farm, count: number): Promise<void> {
  let n = '';
  await until(
    async () => (n = (await farm.ok(['ls', '-a', '-s', 'done', '--count'])).trim()) === String(count),
    () => `${count} are done, ${n} are`,
  );
}

async function why(
  farm: Farm,
  id: string,
): Promise<{ text: string; workers: Array<{ name: string; obstacle: string | null; text: string }> }> {
  return JSON.parse(await farm.ok(['why', id, '--json'])) as Awaited<ReturnType<typeof why>>;
}

/** Waits until `tq why` says so of a worker. */
async function keeps(farm: Farm, id: string, name: string, obstacle: string): Promise<string> {
  let last: { obstacle: string | null; text: string } | undefined;
  await until(
    async () => {
      last = (await why(farm, id)).workers.find((w) => w.name === name);
      return last?.obstacle === obstacle;
    },
    () => `${name}: ${obstacle}; it is ${JSON.stringify(last)}`,
  );
  return last!.text;
}

const three = (farm: Farm, ...args: string[]): Promise<TestWorker[]> =>
  Promise.all(['w1', 'w2', 'w3'].map((name) => farm.worker(['--name', name, '-j', '2', ...args])));

const untilFile = (name: string): string[] => ['--', 'sh', '-c', `while [ ! -e ${name} ]; do sleep 0.02; done`];
const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');

describe('limits', () => {
  it('F9: with --max 2 never more than two of three workers run a task of the limit', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'lic', '--max', '2']);
    for (let i = 0; i < 5; i++) await farm.submit('--limit', 'lic', ...noting('sleep 0.3'));
    await three(farm);
    await allDone(farm, 5);
    expect(mostAtOnce(notes(farm))).toBe(2);
    expect(JSON.parse(await farm.ok(['limit', 'ls', '--json']))).toMatchObject([
      { name: 'lic', max: 2, rate: null, inUse: 0, holders: [] },
    ]);
  });

  it('F9: --limit lic=2 takes both shares, and one that was killed comes back', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'lic', '--max', '2']);
    const w1 = await farm.worker(['--name', 'w1']);
    const both = await farm.submit('--limit', 'lic=2', '-c', 'echo $$ >> pids; while [ ! -e go ]; do sleep 0.02; done');
    await farm.reaches(both, 'running');
    expect(JSON.parse(await farm.ok(['limit', 'ls', '--json']))).toMatchObject([
      { inUse: 2, holders: [{ id: both, worker: 'w1', shares: 2 }] },
    ]);
    expect(await farm.ok(['limit', 'ls'])).toMatch(new RegExp(`lic +2 +- +2 +${both} \\(2\\)`));
    const one = await farm.submit('--limit', 'lic', '--', 'true');
    await farm.worker(['--name', 'w2']);
    expect(await keeps(farm, one, 'w2', 'limit')).toContain(both);
    w1.signal('SIGKILL');
    // Whichever of them is next: the shares are free as soon as the dead worker is buried.
    touch(farm, 'go');
    await farm.reaches(one, 'done');
    await farm.reaches(both, 'done');
    expect(JSON.parse(await farm.ok(['limit', 'ls', '--json']))).toMatchObject([{ inUse: 0 }]);
  });

  it('F9: --rate 5/1s starts at most five in any second, also when a worker is killed', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'api', '--rate', '5/1s']);
    for (let i = 0; i < 14; i++) await farm.submit('--limit', 'api', '--', 'true');
    const [w1] = await three(farm, '-j', '4');
    await until(
      async () => Number((await farm.ok(['ls', '-a', '-s', 'done', '--count'])).trim()) >= 4,
      () => 'some are done',
    );
    w1!.signal('SIGKILL');
    await allDone(farm, 14);
    const views = JSON.parse(await farm.ok(['ls', '-a', '--json'])) as Array<{ startedAt: string; attempts: Array<{ startedAt: string }> }>;
    const starts = views.flatMap((v) => v.attempts.map((a) => Date.parse(a.startedAt))).toSorted((a, b) => a - b);
    expect(starts.length).toBeGreaterThanOrEqual(14);
    for (let i = 5; i < starts.length; i++) expect(starts[i]! - starts[i - 5]!).toBeGreaterThanOrEqual(1000);
  });

  it('F9: a task that is retried or snoozed holds no share in between', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'lic', '--max', '1']);
    await farm.worker();
    const later = await farm.submit('--limit', 'lic', '--retries', '1', '--backoff', 'fixed:1h', '--', 'false');
    await farm.reaches(later, 'delayed');
    const snoozed = await farm.submit('--limit', 'lic', '-c', 'exit 75');
    await farm.reaches(snoozed, 'delayed');
    await farm.reaches(await farm.submit('--limit', 'lic', '--', 'true'), 'done');
  });

  it('F9: a limit that nobody set makes its tasks wait, and submit, run and why say so', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const sent = await farm.tq(['submit', '--limit', 'nosuch', '--', 'true']);
    expect(sent).toMatchObject({ code: 0, stderr: expect.stringContaining('there is no limit nosuch') as unknown });
    const id = sent.stdout.trim();
    expect(await keeps(farm, id, 'w1', 'limit')).toContain('no limit nosuch');
    const other = await farm.submit('--', 'true');
    await farm.reaches(other, 'done');
    expect((await farm.show(id)).state).toBe('queued');
    const ended = await (await farm.worker(['--name', 'w2', '--until-empty'])).ended;
    expect(ended.code).toBe(0);
    await farm.ok(['limit', 'set', 'nosuch', '--max', '1']);
    await farm.reaches(id, 'done');
  });

  it('F9: a lower --max ends nothing and counts from then on; a higher one at once; rm makes its tasks wait', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'lic', '--max', '3']);
    await farm.worker(['-j', '4']);
    const first = await Promise.all([1, 2, 3].map((i) => farm.submit('--limit', 'lic', ...untilFile(`go${i}`))));
    for (const id of first) await farm.reaches(id, 'running');
    await farm.ok(['limit', 'set', 'lic', '--max', '1']);
    const next = await farm.submit('--limit', 'lic', ...untilFile('never'));
    touch(farm, 'go1');
    await farm.reaches(first[0]!, 'done');
    touch(farm, 'go2');
    await farm.reaches(first[1]!, 'done');
    // A plain task that runs to its end shows that the worker has looked meanwhile.
    await farm.reaches(await farm.submit('--', 'true'), 'done');
    expect((await farm.show(next)).state).toBe('queued');
    touch(farm, 'go3');
    await farm.reaches(next, 'running');
    await farm.ok(['limit', 'set', 'lic', '--max', '40']);
    const more = await Promise.all([1, 2, 3].map(() => farm.submit('--limit', 'lic', ...untilFile('never'))));
    for (const id of more) await farm.reaches(id, 'running');
    await farm.ok(['cancel', ...more]);
    for (const id of more) await farm.reaches(id, 'canceled');
    await farm.ok(['limit', 'rm', 'lic']);
    const waits = await farm.submit('--limit', 'lic', '--', 'true');
    await farm.reaches(await farm.submit('--', 'true'), 'done');
    expect((await farm.show(waits)).state).toBe('queued');
    expect((await farm.show(next)).state).toBe('running');
    await farm.ok(['limit', 'set', 'lic', '--max', '2']);
    await farm.reaches(waits, 'done');
  });

  it('F9: what is wrong with a limit is said with its flag and text', async () => {
    const farm = await makeFarm();
    for (const [args, code, text] of [
      [['limit', 'set', 'lic'], 2, '--max'],
      [['limit', 'set', 'lic', '--max', 'two'], 2, "--max: not a whole number from 0 to 10000: 'two'"],
      [['limit', 'set', 'lic', '--rate', '5'], 2, "--rate: not a number of starts and a time: '5'"],
      [['limit', 'set', 'lic', '--rate', '5/x'], 2, "--rate: not a duration: 'x'"],
      [['limit', 'set', 'lic', '--rate', '0/1s'], 2, "'0/1s'"],
      [['limit', 'set', '../x', '--max', '1'], 2, "'../x'"],
      [['limit', 'set', 'lic', '--max', 'none'], 2, 'lic'],
      [['limit', 'rm', 'lic'], 3, 'lic'],
      [['submit', '--limit', 'lic=0', '--', 'true'], 2, "'0'"],
      [['submit', '--mutex', '..', '--', 'true'], 2, "'..'"],
    ] as const) {
      const ran = await farm.tq(args);
      expect({ args, code: ran.code, stderr: ran.stderr }).toEqual({ args, code, stderr: expect.stringContaining(text) as unknown });
    }
    expect(await farm.ok(['limit', 'set', 'lic', '--max', '2', '--rate', '5/1m', '--dry-run'])).toContain('"max"');
    expect(JSON.parse(await farm.ok(['limit', 'ls', '--json']))).toEqual([]);
    await farm.ok(['limit', 'set', 'lic', '--max', '2', '--rate', '5/1m']);
    await farm.ok(['limit', 'set', 'lic', '--max', '3']);
    expect(JSON.parse(await farm.ok(['limit', 'ls', '--json']))).toMatchObject([{ max: 3, rate: { n: 5, perMs: 60_000 } }]);
    const few = await farm.tq(['submit', '--limit', 'lic=9', '--', 'true']);
    expect(few.stderr).toContain('limit lic has 3 shares, 9 asked for');
  });
});

describe('mutexes', () => {
  it('F10: ten tasks of a mutex on three workers run one at a time and in submit order, also over kill -9', async () => {
    const farm = await makeFarm();
    const workers = await three(farm);
    const ids: string[] = [];
    for (let i = 0; i < 10; i++) ids.push(await farm.submit('--mutex', 'db', ...noting('sleep 0.15')));
    await until(
      () => notes(farm).filter((n) => n.what === 'e').length >= 3,
      () => 'three have ended',
    );
    const running = notes(farm).at(-1)!.worker;
    workers.find((w) => w.name === running)!.signal('SIGKILL');
    await allDone(farm, 10);
    const list = notes(farm);
    expect(mostAtOnce(list)).toBe(1);
    const began = [...new Set(list.filter((n) => n.what === 'b').map((n) => n.id))];
    expect(began).toEqual(ids);
    // One at a time as the clock sees it, too.
    let end = 0;
    for (const n of list) {
      if (n.what === 'e') end = n.at;
      else expect(n.at).toBeGreaterThanOrEqual(end);
    }
  });

  it('F10: a mutex and a limit of one name are two things, and why names the holder', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'db', '--max', '0']);
    await farm.worker(['--name', 'w1', '-j', '2']);
    const holder = await farm.submit('--mutex', 'db', ...untilFile('go'));
    await farm.reaches(holder, 'running');
    const next = await farm.submit('--mutex', 'db', '--', 'true');
    expect(await keeps(farm, next, 'w1', 'mutex')).toBe(`mutex db is held by ${holder}`);
    expect((await why(farm, next)).text).toContain(`mutex db is held by ${holder}`);
    const other = await farm.submit('--mutex', 'other', '--', 'true');
    await farm.reaches(other, 'done');
    touch(farm, 'go');
    await farm.reaches(next, 'done');
  });

  it('F10: a long lane that waits for its mutex does not keep other tasks', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2']);
    const holder = await farm.submit('--mutex', 'db', ...untilFile('go'));
    await farm.reaches(holder, 'running');
    for (let i = 0; i < 30; i++) await farm.submit('--mutex', 'db', '--', 'true');
    const plain = await farm.submit('--', 'true');
    await farm.reaches(plain, 'done');
    expect((await farm.show(holder)).state).toBe('running');
    touch(farm, 'go');
    await allDone(farm, 32);
  });

  it('F10: --until-empty waits for a task whose mutex another worker has', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1']);
    const holder = await farm.submit('--mutex', 'db', ...untilFile('go'));
    await farm.reaches(holder, 'running');
    await farm.ok(['worker', 'sleep', 'w1']);
    const next = await farm.submit('--mutex', 'db', '--', 'true');
    const w2 = await farm.worker(['--name', 'w2', '--until-empty']);
    await farm.reaches(await farm.submit('--', 'true'), 'done');
    expect(w2.child.exitCode).toBeNull();
    touch(farm, 'go');
    expect((await w2.ended).code).toBe(0);
    expect((await farm.show(next)).state).toBe('done');
  });
});

describe('resources', () => {
  it('F6: GPUs are given by index, never twice, and are free again after a crash', async () => {
    const farm = await makeFarm();
    const w1 = await farm.worker(['--name', 'w1', '--gpus', '2', '-j', '4']);
    for (let i = 0; i < 4; i++) await farm.submit('--gpus', '1', ...noting('test "$CUDA_VISIBLE_DEVICES" = "$TQ_GPUS" && sleep 0.2'));
    await allDone(farm, 4);
    const list = notes(farm);
    expect(mostAtOnce(list)).toBe(2);
    const inUse = new Set<string>();
    for (const n of list) {
      expect(['0', '1']).toContain(n.gpus);
      expect(inUse.has(n.gpus)).toBe(n.what === 'e');
      if (n.what === 'b') inUse.add(n.gpus);
      else inUse.delete(n.gpus);
    }
    const both = await farm.submit('--gpus', '2', '-c', 'echo $TQ_GPUS; while [ ! -e go ]; do sleep 0.02; done');
    await farm.reaches(both, 'running');
    const one = await farm.submit('--gpus', '1', '--', 'true');
    expect(await keeps(farm, one, 'w1', 'not enough free')).toBe('0 gpus free of 2 gpus, 1 gpu asked for');
    w1.signal('SIGKILL');
    await w1.ended;
    touch(farm, 'go');
    await farm.worker(['--name', 'w1', '--gpus', '2', '-j', '4']);
    await farm.reaches(both, 'done');
    await farm.reaches(one, 'done');
    expect(await farm.ok(['logs', both])).toBe('0,1\n');
    const plain = await farm.submit('-c', 'echo "${TQ_GPUS-unset} $TQ_CPUS"');
    await farm.reaches(plain, 'done');
    expect(await farm.ok(['logs', plain])).toBe('unset 1\n');
  });

  it('F7: cpus, memory and named resources are never given twice', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '4', '--cpus', '4', '--mem', '10G', '-r', 'disk=2']);
    for (let i = 0; i < 2; i++) await farm.submit('--cpus', '3', '-n', 'cpu', ...noting());
    await allDone(farm, 2);
    expect(mostAtOnce(notes(farm))).toBe(1);
    for (let i = 0; i < 2; i++) await farm.submit('--mem', '8G', '-n', 'mem', ...noting());
    await allDone(farm, 4);
    expect(mostAtOnce(notes(farm))).toBe(1);
    for (let i = 0; i < 4; i++) await farm.submit('-r', 'disk=1', '-n', 'disk', ...noting('sleep 0.2'));
    await allDone(farm, 8);
    expect(mostAtOnce(notes(farm))).toBe(2);
  });

  it('F7: fractions add up: two of --cpus 0.5 share one cpu with others', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '8', '--cpus', '1', '-r', 'disk=0.3']);
    for (let i = 0; i < 6; i++) await farm.submit('--cpus', '0.1', '-r', 'disk=0.1', ...noting('sleep 0.3'));
    await allDone(farm, 6);
    expect(mostAtOnce(notes(farm))).toBe(3);
  });

  it('F7: more than anyone offers stays queued; submit says so, and why what is asked and the most on offer', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '--cpus', '2', '--mem', '1G']);
    await farm.worker(['--name', 'w2', '--cpus', '4', '--mem', '2G']);
    const sent = await farm.tq(['submit', '--cpus', '64', '--gpus', '1', '--', 'true']);
    expect(sent.code).toBe(0);
    expect(sent.stderr).toContain('no known worker offers 64 cpus, the most on offer is 4 cpus');
    expect(sent.stderr).toContain('no known worker offers 1 gpu');
    const id = sent.stdout.trim();
    const because = await why(farm, id);
    expect(because.text).toContain('it asks for 64 cpus, the most on offer is 4 cpus');
    expect(because.workers.map((w) => w.obstacle)).toEqual(['offer', 'offer']);
    expect((await farm.tq(['submit', '--cpus', '3', '--', 'true'])).stderr).toBe('');
    expect((await farm.show(id)).state).toBe('queued');
  });

  it('F8: what does not fit lets later ones pass', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '2', '--cpus', '2']);
    const long = await farm.submit(...untilFile('go'));
    await farm.reaches(long, 'running');
    const whole = await farm.submit('--cpus', '2', '--', 'true');
    for (let i = 0; i < 3; i++) await farm.reaches(await farm.submit('--', 'true'), 'done');
    expect(await keeps(farm, whole, 'w1', 'not enough free')).toBe('1 cpu free of 2 cpus, 2 cpus asked for');
    touch(farm, 'go');
    await farm.reaches(whole, 'done');
  });

  /** Waits for a task longer than the farm's own patience; what `why` said of the other one meanwhile. */
  const inAMinute = async (farm: Farm, id: string, late: string): Promise<Set<string | null>> => {
    const said = new Set<string | null>();
    const began = performance.now();
    let state = '';
    for (; state !== 'done' && performance.now() - began < 60_000; await sleep(300)) {
      ({ state } = await farm.show(id));
      const because = await why(farm, late);
      for (const w of because.workers) if (w.text.includes(id)) said.add(w.obstacle);
    }
    expect(state).toBe('done');
    expect(Number((await farm.ok(['ls', '-s', 'queued', '--count'])).trim())).toBeGreaterThan(10);
    return said;
  };

  it(
    'F8 F9: one that needs the whole worker, or all shares, starts within a minute although short ones keep coming',
    { timeout: 120_000 },
    async () => {
      // More than a minute of them. The first is shorter: from then on two end in turns, and never both are over at once.
      const stream = async (farm: Farm, ...flags: string[]): Promise<void> => {
        for (let i = 0; i < 130; i++) await farm.submit(...flags, '--', 'sleep', i === 0 ? '0.5' : '1');
      };
      const room = async (): Promise<void> => {
        const farm = await makeFarm();
        await stream(farm);
        const whole = await farm.submit('--cpus', '2', '--', 'true');
        const late = await farm.submit('--', 'true');
        await farm.worker(['--name', 'w1', '-j', '2', '--cpus', '2']);
        expect(await inAMinute(farm, whole, late)).toContain('reserved');
      };
      const shares = async (): Promise<void> => {
        const farm = await makeFarm();
        await farm.ok(['limit', 'set', 'lic', '--max', '2']);
        await stream(farm, '--limit', 'lic');
        const both = await farm.submit('--limit', 'lic=2', '--', 'true');
        const late = await farm.submit('--limit', 'lic', '--', 'true');
        await farm.worker(['--name', 'w1', '-j', '4']);
        await farm.worker(['--name', 'w2', '-j', '4']);
        await inAMinute(farm, both, late);
      };
      await Promise.all([room(), shares()]);
    },
  );
});

describe('queues', () => {
  it('F2: a paused queue lets running tasks end and starts none; queue ls and why show it; resume goes on at once', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '1', '-q', 'q,other']);
    const running = await farm.submit('-q', 'q', ...untilFile('go'));
    await farm.reaches(running, 'running');
    const next = await farm.submit('-q', 'q', '--', 'true');
    expect(await farm.ok(['queue', 'pause', 'q'])).toBe('');
    touch(farm, 'go');
    await farm.reaches(running, 'done');
    await farm.reaches(await farm.submit('-q', 'other', '--', 'true'), 'done');
    expect((await farm.show(next)).state).toBe('queued');
    expect(await farm.ok(['queue', 'ls'])).toMatch(/^q +paused +1 +0 +w1$/m);
    expect(JSON.parse(await farm.ok(['queue', 'ls', '--json']))).toMatchObject([
      { queue: 'other', paused: false },
      { queue: 'q', paused: true, queued: 1, running: 0, workers: ['w1'] },
    ]);
    expect(await keeps(farm, next, 'w1', 'paused')).toBe('queue q is paused');
    expect((await why(farm, next)).text).toContain('queue q is paused');
    const again = await farm.tq(['queue', 'pause', 'q']);
    expect([again.code, again.stderr]).toEqual([0, 'tq: queue q is paused already\n']);
    // A worker that has nothing else to take leaves.
    expect((await (await farm.worker(['--name', 'w2', '-q', 'q', '--until-empty'])).ended).code).toBe(0);
    await farm.ok(['queue', 'resume', 'q']);
    await farm.reaches(next, 'done');
    expect((await farm.tq(['queue', 'pause', '../x'])).code).toBe(2);
    expect(await farm.ok(['queue', 'pause', 'q', '--dry-run'])).toContain('"paused": true');
    await farm.reaches(await farm.submit('-q', 'q', '--', 'true'), 'done');
  });

  it('F1 F5: a queue that nobody serves, and a task for another worker, wait; why says so', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-q', 'a,b']);
    const c = await farm.submit('-q', 'c', '--', 'true');
    const w2 = await farm.submit('-q', 'a', '--worker', 'w2', '--', 'true');
    await farm.reaches(await farm.submit('-q', 'b', '--', 'true'), 'done');
    expect(await keeps(farm, c, 'w1', 'queue')).toContain('does not serve queue c');
    expect(await keeps(farm, w2, 'w1', 'other worker')).toContain('w2');
    await farm.worker(['--name', 'w2', '-q', 'a']);
    expect((await farm.reaches(w2, 'done')).worker).toBe('w2');
    expect((await farm.show(c)).state).toBe('queued');
  });

  it('F3: equal priority runs in submit order over lanes that one worker serves, a higher one is next', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 30; i++) {
      ids.push(await farm.submit('-q', ['a', 'b'][i % 2]!, ...(i % 3 === 0 ? ['--on', '!laptop'] : []), ...noting(':')));
    }
    const urgent = await farm.submit('-q', 'b', '-p', '90', ...noting(':'));
    await farm.worker(['-j', '1', '-q', 'a,b', '--until-empty']).then((w) => w.ended);
    const began = notes(farm).flatMap((n) => (n.what === 'b' ? [n.id] : []));
    expect(began).toEqual([urgent, ...ids]);
  });

  it('F4: labels: all of an expression must hold; a bad one is a usage error', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'plain']);
    await farm.worker(['--name', 'old', '-l', 'gpu', '-l', 'os=linux', '-l', 'laptop']);
    const id = await farm.submit('--on', 'gpu && os==linux && !laptop', '--', 'true');
    expect(await keeps(farm, id, 'plain', 'label')).toContain('no label gpu');
    expect(await keeps(farm, id, 'old', 'label')).toContain('laptop');
    await farm.worker(['--name', 'new', '-l', 'gpu', '-l', 'os=linux']);
    expect((await farm.reaches(id, 'done')).worker).toBe('new');
    for (const bad of ['os=', '', 'a b', 'gpu &&']) {
      const ran = await farm.tq(['submit', '--on', bad, '--', 'true']);
      expect([bad, ran.code, ran.stderr.includes('--on')]).toEqual([bad, 2, true]);
    }
  });

  it('F11: idle workers share long tasks, and one that joins later gets work at once', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w1', '-j', '4']);
    await farm.worker(['--name', 'w2', '-j', '4']);
    const ids = await Promise.all(Array.from({ length: 10 }, () => farm.submit(...untilFile('go'))));
    await until(
      async () => (await farm.ok(['ls', '-s', 'running', '--count'])).trim() === '8',
      () => 'eight run',
    );
    await farm.worker(['--name', 'w3', '-j', '4']);
    for (const id of ids) await farm.reaches(id, 'running');
    touch(farm, 'go');
    await allDone(farm, 10);
  });

  it('F12 F13: variables and passed environment are those of the worker', async () => {
    const farm = await makeFarm();
    const env = { CUDA_HOME: '/opt/cuda', OTHER: 'x' };
    await farm.worker(['--name', 'a', '--var', 'store=/mnt/a', '--pass-env', 'CUDA_HOME'], { env });
    await farm.worker(['--name', 'none']);
    const id = await farm.submit('-e', 'A=1', '--', 'sh', '-c', 'echo "$1 $TQ_VAR_STORE $CUDA_HOME ${OTHER-unset}"', 'sh', '{var:store}');
    expect((await farm.reaches(id, 'done')).worker).toBe('a');
    expect(await farm.ok(['logs', id])).toBe('/mnt/a /mnt/a /opt/cuda unset\n');
    const nobody = await farm.submit('--', 'echo', '{var:nosuch}');
    expect(await keeps(farm, nobody, 'none', 'variable')).toContain('nosuch');
  });

  it('J5 I5: a worker that is too busy by --max-load or has too little memory takes nothing, and why says so', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'busy', '--max-load', '0']);
    await farm.worker(['--name', 'small', '--min-free-mem', '100000G']);
    const id = await farm.submit('--', 'true');
    expect(await keeps(farm, id, 'busy', 'blocked')).toContain('--max-load 0');
    expect(await keeps(farm, id, 'small', 'blocked')).toContain('--min-free-mem');
    expect((await farm.show(id)).state).toBe('queued');
    await farm.worker(['--name', 'fine', '--max-load', '10000', '--min-free-mem', '1M']);
    expect((await farm.reaches(id, 'done')).worker).toBe('fine');
  });
});
