/** `tq config` from outside: the settings of the queue, who obeys them, and that none gets lost. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { bury } from '../helpers/files.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

interface Row {
  key: string;
  value: string | null;
  default: string | null;
  set: boolean;
}

const rows = async (farm: Farm): Promise<Row[]> => JSON.parse(await farm.ok(['config', 'ls', '--json'])) as Row[];
const raw = (farm: Farm): Record<string, unknown> & { settings: Record<string, unknown> } =>
  JSON.parse(fs.readFileSync(path.join(farm.queue, 'tq.json'), 'utf8')) as never;

describe('tq config', () => {
  it('L9: ls and get show defaults, set changes one, the word default takes it away', async () => {
    const farm = await makeFarm();
    expect((await rows(farm)).map((r) => [r.key, r.value, r.set])).toEqual([
      ['lease', '30s', false],
      ['poll', '1s', false],
      ['keep', '7d', false],
      ['keep-failed', '30d', false],
      ['queue', 'default', false],
      ['priority', '0', false],
      ['retries', '0', false],
      ['backoff', 'exp:1s..5m', false],
      ['timeout', null, false],
      ['stall', null, false],
      ['grace', '10s', false],
      ['env-mode', 'min', false],
      ['on-lost', 'requeue', false],
    ]);
    expect(await farm.ok(['config', 'get', 'poll'])).toBe('1s\n');
    expect(await farm.ok(['config', 'get', 'timeout'])).toBe('');
    expect(await farm.ok(['config', 'set', 'timeout', '2h'])).toBe('');
    expect(await farm.ok(['config', 'get', 'timeout'])).toBe('2h\n');
    expect(await farm.ok(['config', 'ls'])).toMatch(/timeout +2h +- +submit/);
    expect(JSON.parse(await farm.ok(['config', 'set', 'retries', '3', '--json']))).toMatchObject({
      key: 'retries',
      value: '3',
      default: '0',
    });
    expect(raw(farm).settings).toEqual({ timeout: '2h', retries: '3' });
    await farm.ok(['config', 'set', 'timeout', 'default']);
    expect((await rows(farm)).filter((r) => r.set).map((r) => r.key)).toEqual(['retries']);
  });

  it('L9: an unknown key or a bad value: exit 2, naming it, and nothing changed', async () => {
    const farm = await makeFarm();
    const before = fs.readFileSync(path.join(farm.queue, 'tq.json'), 'utf8');
    const bad: Array<[string[], string]> = [
      [['set', 'pol', '1s'], "no such setting: 'pol'"],
      [['get', 'nix'], "no such setting: 'nix'"],
      [['set', 'poll', 'soon'], "poll: not a duration: 'soon'"],
      [['set', 'poll', '1ms'], "poll: must be at least 10ms: '1ms'"],
      [['set', 'lease', '0'], "lease: must be at least 1000ms: '0'"],
      [['set', 'retries', '-1'], "--retries: not a whole number from 0 to 1000000: '-1'"],
      [['set', 'priority', '100'], "--priority: not a number from -99 to 99: '100'"],
      [['set', 'queue', '../x'], '--queue'],
      [['set', 'env-mode', 'some'], "'some' is not one of min, all, none"],
      [['set', 'timeout', '0'], "--timeout: must be longer than nothing: '0'"],
      [['set', 'keep'], 'VALUE'],
    ];
    for (const [words, said] of bad) {
      const ran = await farm.tq(['config', ...words]);
      expect([ran.code, ran.stdout, ran.stderr], words.join(' ')).toEqual([2, '', expect.stringContaining(said)]);
    }
    expect((await farm.tq(['config', 'set', 'pol', '1s'])).stderr).toContain('did you mean poll?');
    expect(fs.readFileSync(path.join(farm.queue, 'tq.json'), 'utf8')).toBe(before);
  });

  it('L9: defaults of submit hold where the flag is absent, also in scripts, batches and the inbox', async () => {
    const farm = await makeFarm();
    for (const [key, value] of [
      ['retries', '2'],
      ['timeout', '2h'],
      ['queue', 'slow'],
      ['env-mode', 'none'],
      ['on-lost', 'hold'],
    ])
      await farm.ok(['config', 'set', key!, value!]);
    const plain = await farm.show(await farm.submit('--', 'true'));
    expect(plain).toMatchObject({ retries: 2, timeoutMs: 7_200_000, queue: 'slow', env: {} });
    expect(await farm.show(await farm.submit('--retries', '0', '-q', 'default', '--', 'true'))).toMatchObject({
      retries: 0,
      queue: 'default',
    });
    const script = path.join(farm.dir, 'job.sh');
    fs.writeFileSync(script, '#!/bin/sh\n#TQ --retries 5\ntrue\n');
    expect(await farm.show(await farm.submit('--script', script))).toMatchObject({ retries: 5, timeoutMs: 7_200_000, queue: 'slow' });
    const [one, two] = (await farm.ok(['submit', '--batch', '-'], { input: '{"command":["true"]}\n{"command":["true"],"retries":7}\n' }))
      .trim()
      .split('\n');
    expect([(await farm.show(one!)).retries, (await farm.show(two!)).retries]).toEqual([2, 7]);
    fs.writeFileSync(path.join(farm.queue, 'inbox/.one'), '{"command": ["true"], "name": "dropped"}');
    fs.renameSync(path.join(farm.queue, 'inbox/.one'), path.join(farm.queue, 'inbox/one.json'));
    await farm.worker();
    await until(
      async () => (await farm.ok(['ls', '-n', 'dropped', '-o', 'id', '--no-header'])) !== '',
      () => 'the file of the inbox is a task',
    );
    expect(JSON.parse(await farm.ok(['ls', '-n', 'dropped', '--json']))).toMatchObject([{ retries: 2, queue: 'slow' }]);
  });

  it('L9: keep and keep-failed are what gc goes by', async () => {
    const farm = await makeFarm();
    const id = bury(farm, { state: 'done', agoMs: 2 * 86_400_000 });
    expect(await farm.ok(['gc', '--dry-run'])).toBe('');
    await farm.ok(['config', 'set', 'keep', '1d']);
    expect(await farm.ok(['gc', '--dry-run', '--keep', '3d'])).toBe('');
    expect(await farm.ok(['gc'])).toBe(`${id}\n`);
  });

  it('L9: a running worker takes a new poll up, one with --poll does not', async () => {
    const farm = await makeFarm();
    await farm.ok(['config', 'set', 'poll', '200ms']);
    const began = farm.start(['worker', '--name', 'w1']);
    await farm.worker(['--name', 'w2']);
    const poll = (name: string): number =>
      (JSON.parse(fs.readFileSync(path.join(farm.queue, 'workers', name, 'worker.json'), 'utf8')) as { heartbeatMs: number }).heartbeatMs;
    await until(
      () => began.stdout().includes('w1'),
      () => 'w1 says its name',
    );
    expect(poll('w1')).toBe(200);
    await farm.ok(['config', 'set', 'poll', '60ms']);
    await until(
      () => poll('w1') === 60,
      () => `w1 beats every 60 ms: ${poll('w1')}`,
    );
    expect(poll('w2')).toBe(50);
    const beats = (): number => Number(fs.readFileSync(path.join(farm.queue, 'workers/w1/heartbeat'), 'utf8').split(' ')[0]);
    const before = beats();
    await until(
      () => beats() > before + 3,
      () => 'it goes on beating',
    );
    // By hand, and what means nothing: the worker says so and keeps what it had.
    const config = raw(farm);
    fs.writeFileSync(path.join(farm.queue, 'tmp/mine'), JSON.stringify({ ...config, settings: { poll: 'often' } }));
    fs.renameSync(path.join(farm.queue, 'tmp/mine'), path.join(farm.queue, 'tq.json'));
    await until(
      () => began.stderr().includes('the setting poll'),
      () => 'it says that it does not understand',
    );
    expect(poll('w1')).toBe(60);
    expect((await farm.tq(['worker', '--once', '--name', 'w3'])).code).toBe(4);
    await farm.ok(['config', 'set', 'poll', 'default']);
    await until(
      () => poll('w1') === 1000,
      () => 'the default again',
    );
  });

  it('L9: the lease cannot change while a worker is alive', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--name', 'w1']);
    const ran = await farm.tq(['config', 'set', 'lease', '60s']);
    expect([ran.code, ran.stderr]).toEqual([5, expect.stringContaining('while workers are alive, which count with the present one: w1')]);
    expect(await farm.ok(['config', 'get', 'lease'])).toBe('30s\n');
    await worker.stop();
    await farm.ok(['config', 'set', 'lease', '60s']);
    expect(await farm.ok(['config', 'get', 'lease'])).toBe('1m\n');
    expect(raw(farm)['leaseMs']).toBe(60_000);
    await farm.worker(['--name', 'w1']);
    expect(JSON.parse(fs.readFileSync(path.join(farm.queue, 'workers/w1/worker.json'), 'utf8'))).toMatchObject({ leaseMs: 60_000 });
  });

  it('L9: of many changes at once none is lost, unknown fields stay, and one that died half-way is completed', async () => {
    const farm = await makeFarm();
    const file = path.join(farm.queue, 'tq.json');
    fs.writeFileSync(file, JSON.stringify({ ...raw(farm), later: { a: 1 } }));
    const sets: Array<[string, string]> = [
      ['retries', '3'],
      ['timeout', '1h'],
      ['grace', '3s'],
      ['keep', '2d'],
      ['keep-failed', '3d'],
      ['poll', '2s'],
      ['priority', '-5'],
      ['stall', '5m'],
    ];
    await Promise.all(sets.map(([key, value]) => farm.ok(['config', 'set', key, value])));
    expect(raw(farm).settings).toEqual(Object.fromEntries(sets));
    expect(raw(farm)).toMatchObject({ later: { a: 1 }, rev: sets.length });
    // What a crash leaves: the next version is staged under its number.
    fs.writeFileSync(
      path.join(farm.queue, 'tmp', `tq.json.${sets.length + 1}`),
      JSON.stringify({ ...raw(farm), settings: { keep: '9d' }, rev: sets.length + 1 }),
    );
    await farm.ok(['config', 'set', 'queue', 'slow']);
    expect(raw(farm).settings).toEqual({ keep: '9d', queue: 'slow' });
    expect(fs.readdirSync(path.join(farm.queue, 'tmp'))).toEqual([]);
  });

  it('L9: killed at any call: the old settings or the new ones, and the next change loses nothing', async () => {
    let died = 0;
    for (let at = 1; died === at - 1; at++) {
      const farm = await makeFarm();
      await farm.ok(['config', 'set', 'keep', '3d']);
      const ran = await farm.tq(['config', 'set', 'retries', '4'], { env: { TQ_FAULT: `die-before:${at}` } });
      if (ran.code !== 0) died++;
      const now = raw(farm).settings;
      expect([{ keep: '3d' }, { keep: '3d', retries: '4' }], `call ${at}`).toContainEqual(now);
      await farm.ok(['config', 'set', 'grace', '1s']);
      expect(raw(farm).settings, `call ${at}`).toMatchObject({ ...now, grace: '1s' });
      await farm.close();
    }
    expect(died).toBeGreaterThan(4);
  });

  it('L9: --dry-run prints the file that would be written and writes nothing', async () => {
    const farm = await makeFarm();
    const before = fs.readFileSync(path.join(farm.queue, 'tq.json'), 'utf8');
    expect(JSON.parse(await farm.ok(['config', 'set', 'retries', '2', '--dry-run']))).toMatchObject({
      format: 1,
      settings: { retries: '2' },
    });
    expect(fs.readFileSync(path.join(farm.queue, 'tq.json'), 'utf8')).toBe(before);
  });
});
