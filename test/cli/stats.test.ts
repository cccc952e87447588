/** `tq stats`: counts, waiting and run times, failures that are alike, and the page for Prometheus. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, type Farm } from '../helpers/tq.ts';

interface Spread {
  count: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
  max: number | null;
  mean: number | null;
}

interface Numbers {
  tasks: Record<string, number>;
  attempts: number;
  outcomes: Record<string, number>;
  waitMs: Spread;
  runMs: Spread;
}

interface Stats extends Numbers {
  since: string;
  until: string;
  overheadMs: Spread;
  endedLastMinute: number;
  endedLastHour: number;
  by?: string;
  groups?: Array<Numbers & Record<string, unknown>>;
  failures?: Array<{ count: number; outcome: string; exitCode: number | null; worker: string; reason: string; tasks: string[] }>;
}

const stats = async (farm: Farm, ...args: string[]): Promise<Stats> => JSON.parse(await farm.ok(['stats', '--json', ...args])) as Stats;

const run = async (farm: Farm, ...args: string[]): Promise<void> => {
  await farm.worker(['--until-empty', '--name', 'w', ...args]).then((w) => w.ended);
};

describe('stats', () => {
  it('J7: counts by state, outcomes, waiting and run times, overhead between tasks', async () => {
    const farm = await makeFarm();
    expect(await stats(farm)).toMatchObject({ attempts: 0, waitMs: { count: 0, p50: null }, overheadMs: { count: 0, max: null } });
    for (let i = 0; i < 5; i++) await farm.submit('-n', 'quick', '--', 'true');
    await farm.submit('-n', 'slow', '--', 'sleep', '0.3');
    await farm.submit('-n', 'bad', '--retries', '1', '--backoff', 'none', '-c', 'exit 3');
    await farm.submit('--hold', '--', 'true');
    await farm.submit('--in', '1h', '--', 'true');
    await run(farm, '-j', '1');
    const all = await stats(farm);
    expect(all.tasks).toEqual({ waiting: 0, delayed: 1, held: 1, queued: 0, running: 0, done: 6, failed: 1, canceled: 0, skipped: 0 });
    expect(all).toMatchObject({ attempts: 8, outcomes: { succeeded: 6, failed: 2 }, endedLastMinute: 7, endedLastHour: 7 });
    expect(all.runMs).toMatchObject({ count: 8 });
    expect(all.runMs.max!).toBeGreaterThanOrEqual(290);
    expect(all.runMs.p50!).toBeLessThan(all.runMs.max!);
    expect(all.waitMs.count).toBe(8);
    // What came behind the slow one waited for it.
    expect(all.waitMs.max!).toBeGreaterThanOrEqual(290);
    expect(all.overheadMs.count).toBeGreaterThanOrEqual(6);
    expect(all.overheadMs.p50!).toBeLessThan(all.waitMs.max!);
    for (const s of [all.runMs, all.waitMs, all.overheadMs]) {
      expect(s.p50!).toBeLessThanOrEqual(s.p90!);
      expect(s.p90!).toBeLessThanOrEqual(s.p99!);
      expect(s.p99!).toBeLessThanOrEqual(s.max!);
    }
    expect(await farm.ok(['stats'])).toMatch(
      /tasks: 1 delayed, 1 held, 6 done, 1 failed\n.*since .*\n.*\n\n.*P50.*\nwaited +8 .*\nran +8 /,
    );
  });

  it('J7: --by has a row for each name, host, user, queue or worker', async () => {
    const farm = await makeFarm();
    await farm.submit('-n', 'a', '--', 'true');
    await farm.submit('-n', 'a', '-q', 'other', '--', 'false');
    await farm.submit('-n', 'b', '--', 'true');
    await run(farm, '-q', 'default,other');
    const rows = async (by: string): Promise<unknown[]> => (await stats(farm, '--by', by)).groups!.map((g) => [g[by], g.attempts, g.tasks]);
    expect(await rows('name')).toEqual([
      ['a', 2, { done: 1, failed: 1 }],
      ['b', 1, { done: 1 }],
    ]);
    expect(await rows('queue')).toEqual([
      ['default', 2, { done: 2 }],
      ['other', 1, { failed: 1 }],
    ]);
    expect(await rows('worker')).toEqual([['w', 3, { done: 2, failed: 1 }]]);
    const [task] = JSON.parse(await farm.ok(['ls', '-a', '-n', 'b', '--json'])) as Array<{ submittedBy: { user: string; host: string } }>;
    expect(await rows('user')).toEqual([[task!.submittedBy.user, 3, { done: 2, failed: 1 }]]);
    expect(await rows('host')).toEqual([[task!.submittedBy.host, 3, { done: 2, failed: 1 }]]);
    expect(await farm.ok(['stats', '--by', 'name'])).toMatch(/^NAME +DONE +FAILED[^\n]*\na +1 +1 +2 /m);
  });

  it('J7: --failures puts those together that failed alike, with a count and some ids', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 5; i++) ids.push(await farm.submit('-c', `echo "cannot read block ${i}17 at 0x7f${i}a" >&2; exit 2`));
    const killed = await farm.submit('-c', 'kill -KILL $$');
    const missing = await farm.submit('--', 'no-such-program-at-all');
    await farm.submit('--', 'true');
    await run(farm);
    const { failures } = await stats(farm, '--failures');
    expect(failures).toHaveLength(3);
    expect(failures![0]).toMatchObject({
      count: 5,
      outcome: 'failed',
      exitCode: 2,
      worker: 'w',
      reason: expect.stringMatching(/^cannot read block \d17 at 0x7f/) as unknown,
    });
    expect(failures![0]!.tasks).toHaveLength(3);
    expect(ids).toEqual(expect.arrayContaining(failures![0]!.tasks));
    expect(failures!.find((f) => f.tasks.includes(killed))).toMatchObject({ count: 1, outcome: 'signaled', signal: 'SIGKILL' });
    expect(failures!.find((f) => f.tasks.includes(missing))).toMatchObject({ outcome: 'rejected', exitCode: 127 });
    expect(await farm.ok(['stats', '--failures'])).toMatch(/^ +5 +exit 2 +w .*cannot read block/m);
  });

  it('J7: elements of arrays count one by one, finished or not; filters, ids and --since choose', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('-n', 'many', '--array', '1-40', '-c', 'test $TQ_INDEX -ne 7');
    await farm.submit('-n', 'one', '--', 'true');
    expect((await stats(farm)).tasks).toMatchObject({ queued: 41 });
    expect((await stats(farm, array)).tasks).toMatchObject({ queued: 40 });
    await run(farm);
    expect(await stats(farm)).toMatchObject({
      tasks: { queued: 0, done: 40, failed: 1 },
      attempts: 41,
      runMs: { count: 41 },
      waitMs: { count: 41 },
    });
    expect(await stats(farm, array)).toMatchObject({ tasks: { done: 39, failed: 1 }, attempts: 40 });
    expect(await stats(farm, '-n', 'one')).toMatchObject({ tasks: { done: 1, failed: 0 }, attempts: 1 });
    expect(await stats(farm, '--failed')).toMatchObject({ tasks: { done: 0, failed: 1 }, attempts: 1 });
    expect(await stats(farm, '--worker', 'nobody')).toMatchObject({ attempts: 0, tasks: { done: 0 } });
    expect(await stats(farm, '--since', 'now+1h')).toMatchObject({ attempts: 0, tasks: { done: 0, failed: 0 } });
    expect(await stats(farm, '-g', 'no-such')).toMatchObject({ attempts: 0 });
  });

  it('M8: --prom is a page that a strict reader of the text format takes, with few values of a label', async () => {
    const farm = await makeFarm();
    const strange = 'a "quoted" back\\slash\\n ünicode';
    const input = [{ command: 'true', name: strange }, ...Array.from({ length: 70 }, (_, i) => ({ command: 'true', name: `n${i}` }))];
    await farm.ok(['submit', '--batch', '-'], { input: input.map((task) => JSON.stringify(task)).join('\n') });
    await farm.submit('-c', 'exit 5');
    await farm.submit('--hold', '--', 'true');
    await run(farm, '-j', '4');
    const page = readProm(await farm.ok(['stats', '--prom']));
    expect(page.value('tq_tasks', { state: 'done' })).toBe(71);
    expect(page.value('tq_tasks', { state: 'held' })).toBe(1);
    expect(page.value('tq_attempts', { outcome: 'failed' })).toBe(1);
    expect(page.value('tq_run_seconds_count', {})).toBe(72);
    expect(page.value('tq_run_seconds_sum', {})!).toBeGreaterThan(0);
    expect(page.value('tq_run_seconds', { quantile: '0.5' })!).toBeLessThan(60);
    expect(page.value('tq_workers', { state: 'offline' })).toBe(1);
    const named = readProm(await farm.ok(['stats', '--prom', '--by', 'name']));
    const names = new Set(named.samples.flatMap((s) => (s.labels['name'] === undefined ? [] : [s.labels['name']])));
    expect(names.size).toBe(51);
    expect(names.has('other')).toBe(true);
    const counts = named.samples.filter((s) => s.name === 'tq_run_seconds_count').reduce((sum, s) => sum + s.value, 0);
    expect(counts).toBe(72);
    const alone = readProm(await farm.ok(['stats', '--prom', '--by', 'name', '-n', 'a *']));
    expect(alone.value('tq_run_seconds_count', { name: strange })).toBe(1);
  });

  it('J7: bad input', async () => {
    const farm = await makeFarm();
    expect(await farm.tq(['stats', '--by', 'colour'])).toMatchObject({ code: 2, stderr: expect.stringContaining("'colour'") as unknown });
    expect((await farm.tq(['stats', '--since', 'x'])).code).toBe(2);
    expect((await farm.tq(['stats', '0000000000zzzz'])).code).toBe(3);
    expect((await farm.tq(['stats'], { env: { TQ_DIR: path.join(farm.dir, 'none') } })).code).toBe(4);
    const id = await farm.submit('--', 'true');
    fs.writeFileSync(`${farm.queue}/journal/${fs.readdirSync(`${farm.queue}/journal`)[0]}/x.ndjson`, 'garbage\n{"at":');
    expect((await stats(farm, id)).tasks).toMatchObject({ queued: 1 });
  });
});

interface Sample {
  name: string;
  labels: Record<string, string>;
  value: number;
}

/** Reads the text format 0.0.4 as a scraper does, and throws for what one would refuse or `promtool check metrics` complain of. */
function readProm(text: string): { samples: Sample[]; value(name: string, labels: Record<string, string>): number | undefined } {
  expect(text.endsWith('\n')).toBe(true);
  const samples: Sample[] = [];
  const seen = new Set<string>();
  const done = new Set<string>();
  let current = { name: '', type: '', help: false };
  for (const line of text.split('\n').slice(0, -1)) {
    const help = /^# HELP ([a-zA-Z_:][a-zA-Z0-9_:]*) (.+)$/.exec(line);
    const type = /^# TYPE ([a-zA-Z_:][a-zA-Z0-9_:]*) (counter|gauge|summary|histogram|untyped)$/.exec(line);
    if (help !== null) {
      done.add(current.name);
      if (done.has(help[1]!)) throw new Error(`twice: ${line}`);
      current = { name: help[1]!, type: '', help: true };
      continue;
    }
    if (type !== null) {
      if (type[1] !== current.name || current.type !== '') throw new Error(`TYPE without its HELP: ${line}`);
      current.type = type[2]!;
      continue;
    }
    const m = /^([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(.*)\})? (\S+)$/.exec(line);
    if (m === null) throw new Error(`not a sample: ${line}`);
    const [, name = '', inner, number = ''] = m;
    const family = current.type === 'summary' ? name.replace(/_(?:sum|count)$/, '') : name;
    if (family !== current.name || current.type === '') throw new Error(`outside of its family: ${line}`);
    if (current.type === 'gauge' && /_(?:total|count|sum|bucket)$/.test(name)) throw new Error(`a name that says another type: ${line}`);
    if (!/^[a-z_]+$/.test(name)) throw new Error(`not snake case: ${line}`);
    const labels = readLabels(inner ?? '', line);
    if (current.type === 'summary' && name === family && labels['quantile'] === undefined) throw new Error(`no quantile: ${line}`);
    const value = Number(number);
    if (Number.isNaN(value)) throw new Error(`not a number: ${line}`);
    const key = `${name} ${JSON.stringify(Object.entries(labels).toSorted())}`;
    if (seen.has(key)) throw new Error(`twice: ${line}`);
    seen.add(key);
    samples.push({ name, labels, value });
  }
  const same = (a: Record<string, string>, b: Record<string, string>): boolean =>
    JSON.stringify(Object.entries(a).toSorted()) === JSON.stringify(Object.entries(b).toSorted());
  return { samples, value: (name, labels) => samples.find((s) => s.name === name && same(s.labels, labels))?.value };
}

function readLabels(text: string, line: string): Record<string, string> {
  const labels: Record<string, string> = {};
  let rest = text;
  while (rest !== '') {
    const m = /^([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\\n]|\\\\|\\"|\\n)*)"(?:,|$)/.exec(rest);
    if (m === null || m[1]!.startsWith('__')) throw new Error(`not labels: ${line}`);
    labels[m[1]!] = m[2]!.replaceAll(/\\(.)/g, (_, c: string) => (c === 'n' ? '\n' : c));
    rest = rest.slice(m[0].length);
  }
  return labels;
}
