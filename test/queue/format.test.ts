/**
 * FORMAT.md against the code: its entries cover every path that arises, its fields are those of the types, its sample is the
 * kept queue, which opens for ever; and what it calls legal by hand is done by hand here.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { everything } from '../../src/queue/find.ts';
import {
  bucketOf,
  duePath,
  idTime,
  makeLayout,
  parseDueMinute,
  parseDueSecond,
  parseEntry,
  parsePrio,
  prioName,
  TOP_DIRS,
} from '../../src/queue/layout.ts';
import { hourOf } from '../../src/queue/journal.ts';
import { openQueue } from '../../src/queue/open.ts';
import { viewTask } from '../../src/queue/read.ts';
import { parseSession } from '../../src/queue/session.ts';
import { laneOf, parseOutcome, parseTask } from '../../src/queue/task-file.ts';
import { STATES, TERMINAL } from '../../src/task/types.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

const root = path.resolve(import.meta.dirname, '../..');
const text = fs.readFileSync(path.join(root, 'src/queue/FORMAT.md'), 'utf8');
const kept = path.join(root, 'test/data/v1');

const ID = String.raw`[0-9a-z]{10,16}(?:\.\d{1,9})?`;
const SECOND = String.raw`[0-9a-z]{2}(?:\.[0-9a-z]{10,16}\.\d{6})?`;

/** What stands for each placeholder of the page. */
const MEANS: Readonly<Record<string, string>> = {
  id: String.raw`[0-9a-z]{10,16}(?:\.\d{1,9}(?:-\d{1,9})?)?`,
  part: String.raw`\d{1,9}(?:-\d{1,9})?`,
  lo: String.raw`\d{1,9}`,
  hi: String.raw`\d{1,9}`,
  parent: ID,
  child: ID,
  element: ID,
  submission: '[0-9a-z]{10,16}',
  thousands: String.raw`\d{6}`,
  ending: String.raw`\d+`,
  verdict: '(?:success|failure|cancel)',
  rest: '.+',
  N: String.raw`\d+`,
  G: String.raw`\d+`,
  bucket: `[0-9a-z]{4}/${SECOND}`,
  flat: `[0-9a-z]{4}${SECOND}`,
  lane: '[A-Za-z0-9_][A-Za-z0-9._-]*(?:~[0-9a-f]{10})?',
  prio: String.raw`[pn]\d\d`,
  minute: String.raw`\d{8}T\d{4}`,
  second: String.raw`\d\d\.\d{3}`,
  session: String.raw`[A-Za-z0-9_.-]+\.\d+\.[0-9a-z]+(?:-[0-9a-z]+){4}`,
  name: '[A-Za-z0-9_][A-Za-z0-9._-]*',
  holder: '(?:free|[A-Za-z0-9._-]+)',
  share: String.raw`(?:free|retired|at\d+|[A-Za-z0-9_.-]+-[0-9a-z]+\.[0-9a-z]{10,16}(?:\.[0-9+-]+)?)`,
  n: String.raw`\d+`,
  block: String.raw`\d+`,
  limit: '[A-Za-z0-9_][A-Za-z0-9._-]*',
  queue: '[A-Za-z0-9_][A-Za-z0-9._-]*',
  hash: '[0-9a-f]{24}',
  kind: 'on-(?:success|failure|cancel)',
  state: `(?:${STATES.join('|')})`,
  blob: String.raw`[0-9a-z]{10,16}\.(?:script|stdin|items(?:\.index)?)`,
  time: String.raw`\d{14}`,
  random: '[0-9a-z]+',
  hour: String.raw`\d{8}T\d{2}`,
  tick: String.raw`\d{8}T\d{6}\.\d{3}`,
  last: '(?:none|[0-9a-z]{10,16})',
  any: '[^/]+',
};

/** The paths that the page describes: its list items that begin with one. */
const entries = [...text.matchAll(/^- `([^`]+)` - /gm)].map((m) => {
  const pattern = m[1]!.replaceAll(/[.~+]/g, String.raw`\$&`).replaceAll(/<(\w+)>/g, (_, name: string) => {
    const meaning = MEANS[name];
    if (meaning === undefined) throw new Error(`FORMAT.md has a placeholder that this test does not know: <${name}>`);
    return meaning;
  });
  return { path: m[1]!, re: new RegExp(`^${pattern}$`) };
});

/** Every path in a queue, directories with a slash at their end. */
function pathsIn(dir: string): string[] {
  return fs
    .readdirSync(dir, { recursive: true, withFileTypes: true })
    .map((e) => path.relative(dir, path.join(e.parentPath, e.name)) + (e.isDirectory() ? '/' : ''))
    .toSorted();
}

/** Whether a directory is on the way to something that the page describes. */
function isAbove(dir: string): boolean {
  const depth = dir.split('/').length - 1;
  return entries.some((e) => {
    const parts = e.path.replaceAll('<bucket>', '<bucket4>/<bucket2>').split('/').slice(0, depth);
    if (parts.length < depth) return false;
    const pattern = parts.map((p) =>
      p
        .replaceAll(/[.~+]/g, String.raw`\$&`)
        .replaceAll('<bucket4>', '[0-9a-z]{4}')
        .replaceAll('<bucket2>', SECOND)
        .replaceAll(/<(\w+)>/g, (_, name: string) => MEANS[name]!),
    );
    return new RegExp(`^${pattern.join('/')}/$`).test(dir);
  });
}

function undescribed(dir: string): string[] {
  return pathsIn(dir).filter((p) => {
    if (/^(?:state\/[0-9a-z]+|(?:tmp|swept)\/[^/]+)\/./.test(p)) return false; // a task's own, or somebody's staging
    return !entries.some((e) => e.re.test(p)) && !(p.endsWith('/') && (isAbove(p) || entries.some((e) => e.re.test(p.slice(0, -1)))));
  });
}

/** The first fenced block of a kind after a heading. */
function block(kind: string, heading: string, nth = 0): string {
  const from = text.indexOf(`\n## ${heading}\n`);
  const found = [...text.slice(from).matchAll(new RegExp(`^\`\`\`${kind}\n([\\s\\S]*?)^\`\`\`$`, 'gm'))];
  return found[nth]![1]!;
}

/** A copy to work on: a test never changes what is kept. `cwd`: where its tasks are to run, which names a directory of long ago. */
function copyOfKept(cwd?: string): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-v1-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.cpSync(kept, dir, { recursive: true });
  // Which git does not keep.
  for (const name of TOP_DIRS) fs.mkdirSync(path.join(dir, name), { recursive: true });
  for (const name of cwd === undefined ? [] : fs.readdirSync(dir, { recursive: true, encoding: 'utf8' })) {
    if (!name.endsWith('.json') || !/^(?:queued|held|waiting|delayed)\//.test(name)) continue;
    const task = fs.readFileSync(path.join(dir, name), 'utf8');
    fs.writeFileSync(path.join(dir, name), task.replace('"cwd": "/srv/data"', `"cwd": ${JSON.stringify(cwd)}`));
  }
  return dir;
}

describe('the page', () => {
  it('describes every directory that init makes, and names no other at the top', () => {
    const described = new Set(entries.map((e) => e.path.split('/')[0]!));
    expect([...TOP_DIRS, 'tq.json', 'signal'].filter((name) => !described.has(name))).toEqual([]);
    expect([...described].filter((name) => ![...TOP_DIRS, 'tq.json', 'signal'].includes(name))).toEqual([]);
  });

  it('has a table of names with every placeholder that its entries use', () => {
    const used = new Set(entries.flatMap((e) => [...e.path.matchAll(/<(\w+)>/g)].map((m) => m[1]!)));
    const names = text.slice(text.indexOf('\n## Names\n'), text.indexOf('\n## Entries\n'));
    expect([...used].filter((name) => !names.includes(`\`<${name}>\``))).toEqual([]);
  });

  it('puts each kind of path where the layout puts it', () => {
    const lay = makeLayout('');
    const id = '6d39o5h8zf9c15';
    const session = 'node1.10419.8wl7-daa4ee9-9f74d-08b02-7lpt';
    const made = [
      lay.config,
      lay.signal,
      lay.entry({ state: 'queued', lane: 'default~0123456789', priority: -5 }, id, 0),
      lay.entry({ state: 'delayed', dueAt: idTime(id) }, id, 12),
      lay.entry({ state: 'running', session }, id, 1),
      ...(['waiting', 'held', ...TERMINAL] as const).map((state) => lay.entry({ state }, id, 3)),
      lay.log(id, 1),
      lay.errLog(id, 1),
      lay.outcome(id, 1),
      lay.retried(id, 1),
      lay.steps(id, 1),
      lay.followed(id, 1, 'on-failure'),
      lay.follow(id),
      lay.why(id, 0, 'held'),
      lay.notes(id) + '/01795250869247.kghy6c.json',
      lay.key('k') + `/g1.${id}`,
      lay.limit('lic') + '/limit.json',
      lay.limit('lic') + `/max.0/3.g1.${session}.${id}`,
      lay.limit('lic') + '/rate.1/16.g2.at1795250869871',
      lay.mutex('db') + `/0.g1.${session}.${id}`,
      lay.paused('nightly'),
      lay.lane('default~0123456789'),
      lay.blob(`${id}.script`),
      lay.gone(id) + `/${id}.done`,
      lay.after(id) + `/6d39o5/${id}`,
      lay.entry({ state: 'done' }, `${id}.12345`, 1),
      lay.outcome(`${id}.12345`, 1),
      lay.intents + `/${id}${lay.entry({ state: 'held' }, `${id}.1`, 0)}`,
      lay.intents + `/${id}.json`,
      lay.groups + `/${id}.json`,
      lay.groups + `/${id}/failed/000012/${id}.12345`,
      lay.worker('node1') + `/name/g3.${session}`,
      `${lay.journal}/${hourOf(idTime(id))}/${session}.ndjson`,
    ].map((p) => p.slice(1));
    expect(made.filter((p) => entries.filter((e) => e.re.test(p)).length !== 1)).toEqual([]);
  });

  it('lists every field of a task and of an outcome', () => {
    const types = fs.readFileSync(path.join(root, 'src/task/types.ts'), 'utf8');
    for (const [name, heading, next] of [
      ['Task', 'Task file', 'Outcome file'],
      ['Outcome', 'Outcome file', 'Outside the directory'],
    ] as const) {
      const body = new RegExp(`export interface ${name} \\{([\\s\\S]*?)\n\\}`).exec(types)![1]!;
      const fields = [...body.matchAll(/^ {2}(\w+)\??:/gm)].map((m) => m[1]!);
      const section = text.slice(text.indexOf(`\n## ${heading}\n`), text.indexOf(`\n## ${next}\n`));
      expect(fields.length).toBeGreaterThan(15);
      expect(fields.filter((field) => !section.includes(`\`${field}\``))).toEqual([]);
    }
  });
});

describe('the sample', () => {
  const listed = block('text', 'Sample').trim().split('\n');

  it('lists the files of the kept queue, each of which the page describes in one place', () => {
    expect(listed).toEqual(pathsIn(kept).filter((p) => !p.endsWith('/')));
    expect(listed.filter((p) => entries.filter((e) => e.re.test(p)).length !== 1)).toEqual([]);
    expect(undescribed(kept)).toEqual([]);
  });

  it('has paths that the code reads back: ids, buckets, priorities, due times, sessions, lanes', () => {
    const tasks = listed
      .filter((p) => (STATES as readonly string[]).includes(p.split('/')[0]!) && p.endsWith('.json'))
      .map((p) => ({ parts: p.split('/'), entry: parseEntry(path.basename(p))!, body: fs.readFileSync(path.join(kept, p), 'utf8') }))
      .map((t) => ({ ...t, state: t.parts[0]!, parsed: parseTask(t.body, t.entry.id) }));
    expect(tasks).toHaveLength(38);
    for (const { parts, entry, state, parsed } of tasks) {
      if (!parsed.ok) throw new Error(`${parts.join('/')}: ${parsed.reason}`);
      const { value: task } = parsed;
      const bucket = bucketOf(entry.id);
      const above: Record<string, () => string> = {
        queued: () => `queued/${laneOf(task)}/${prioName(parsePrio(parts[2]!)!)}/${bucket}`,
        delayed: () => `delayed/${duePath(parseDueMinute(parts[1]!)! + parseDueSecond(parts[2]!)!)}/${bucket}`,
        running: () => `running/${parseSession(parts[1]!) === undefined ? 'not a session' : parts[1]!}`,
      };
      expect(parts.slice(0, -1).join('/')).toBe(above[state]?.() ?? `${state}/${bucket}`);
      // The id is of the time of the task's own file.
      expect(Math.abs(idTime(entry.id) - task.submittedAt)).toBeLessThan(1000);
    }
  });

  it('shows a task and an outcome as they are in the kept queue', () => {
    const task = parseTask(block('json', 'Sample', 0), '6d39o5h8zf9c15');
    const outcome = parseOutcome(block('json', 'Sample', 1));
    if (!task.ok || outcome === undefined) throw new Error('the sample does not parse');
    const onDisk = (dir: string): unknown =>
      JSON.parse(fs.readFileSync(`${kept}/${dir}/${bucketOf(task.value.id)}/${task.value.id}.a1.json`, 'utf8'));
    expect(JSON.parse(block('json', 'Sample', 0))).toEqual(onDisk('done'));
    expect(outcome).toEqual(onDisk('runs'));
  });
});

describe('the kept queue', () => {
  it('L8: a queue of format 1 opens, and every task in it is found, in its state', async () => {
    const q = await openQueue(copyOfKept());
    const states: Record<string, number> = {};
    for await (const at of everything(q, STATES)) {
      states[at.state] = (states[at.state] ?? 0) + 1;
      const view = await viewTask(q, at.id);
      // A piece is shown by its first element.
      expect(view).toMatchObject({ id: at.id.replace(/-\d+$/, ''), state: at.state, file: at.file });
    }
    expect(states).toEqual({ waiting: 1, delayed: 2, held: 5, queued: 2, running: 1, done: 15, failed: 10, canceled: 1, skipped: 1 });
  });

  it('L8: this tq lists and shows a queue of format 1', async () => {
    const farm = await makeFarm();
    const dir = copyOfKept();
    const list = JSON.parse(await farm.ok(['-D', dir, 'ls', '-a', '--json'])) as Array<{ id: string; name: string; state: string }>;
    expect(list).toHaveLength(30);
    const show = async (name: string): Promise<unknown> =>
      JSON.parse(await farm.ok(['-D', dir, 'show', '--json', list.find((t) => t.name === name)!.id]));
    expect(await show('ok')).toMatchObject({
      state: 'done',
      exitCode: 0,
      labels: { kind: 'sample' },
      group: 'first',
      notes: [{ text: 'kept as a sample' }],
    });
    expect(await show('result')).toMatchObject({ result: { sum: 4 }, progress: { percent: 100, message: 'all' } });
    expect(await show('fails')).toMatchObject({
      state: 'failed',
      exitCode: 3,
      reason: 'trouble',
      attempts: [{ attempt: 1 }, { attempt: 2 }],
    });
    expect(await show('killed')).toMatchObject({ signal: 'SIGKILL', attempts: [{ outcome: 'signaled' }] });
    expect(await show('slow')).toMatchObject({ attempts: [{ outcome: 'timeout' }] });
    expect(await show('again')).toMatchObject({
      state: 'done',
      attempts: [
        { attempt: 1, outcome: 'failed' },
        { attempt: 3, outcome: 'succeeded' },
      ],
    });
    expect(await show('canceled')).toMatchObject({ state: 'canceled', reason: 'not needed', attempts: [] });
    expect(await show('skipped')).toMatchObject({ state: 'skipped', reason: expect.stringContaining('6d39o5heosk88a') as unknown });
    expect(await show('later')).toMatchObject({ state: 'delayed', notBefore: '2099-01-31T09:30:07.250Z' });
    expect(await show('runs')).toMatchObject({ state: 'running', worker: 'node2' });
    expect(await show('keyed')).toMatchObject({ key: 'nightly' });
    expect(await farm.ok(['-D', dir, 'logs', list.find((t) => t.name === 'script')!.id])).toBe('from stdin\narg\n');
  });

  it('L8: arrays, submissions of many, follow-ups, steps and limits of a queue of format 1', async () => {
    const farm = await makeFarm();
    const dir = copyOfKept(farm.dir);
    const list = JSON.parse(await farm.ok(['-D', dir, 'ls', '-a', '--json'])) as Array<{ id: string; name: string }>;
    const show = async (name: string): Promise<Record<string, unknown> & { id: string }> =>
      JSON.parse(await farm.ok(['-D', dir, 'show', '--json', list.find((t) => t.name === name)!.id])) as never;
    const [array, range, each, follows, steps] = [
      await show('array'),
      await show('range'),
      await show('each'),
      await show('follows'),
      await show('steps'),
    ];
    expect(array).toMatchObject({ state: 'failed', array: { size: 6, done: 5, failed: 1 } });
    expect(await farm.ok(['-D', dir, 'logs', `${array.id}.3`, '--attempt', '4'])).toBe('element 3\n');
    expect(range).toMatchObject({ state: 'held', array: { size: 100, done: 2, failed: 1, queued: 97 } });
    expect(each).toMatchObject({ state: 'held', array: { size: 3 } });
    expect(await farm.ok(['-D', dir, 'logs', (follows['followUps'] as Array<{ id: string }>)[0]!.id])).toBe('followed\n');
    expect(steps).toMatchObject({ state: 'failed', exitCode: 2, steps: [{ state: 'done' }, { state: 'failed' }] });
    expect(JSON.parse(await farm.ok(['-D', dir, 'group', 'ls', '--json']))).toMatchObject(
      expect.arrayContaining([expect.objectContaining({ group: 'lot' }), expect.objectContaining({ group: 'ended' })]),
    );
    expect(await farm.ok(['-D', dir, 'config', 'get', 'keep'])).toBe('14d\n');
    // And they go on.
    for (const id of [range.id, each.id]) await farm.ok(['-D', dir, 'release', id]);
    await farm.ok(['worker', '-D', dir, '--until-empty', '--poll', '50ms', '-j', '4', '-q', 'ranges']);
    expect(await show('range')).toMatchObject({ state: 'failed', array: { size: 100, failed: 1 } });
  });

  it('L8: fields that this tq does not know survive tq set, in a task, a file of many and tq.json', async () => {
    const farm = await makeFarm();
    const dir = copyOfKept();
    const later = { fromLater: { deep: [1, 'x'] } };
    const fileOf = (id: string): string =>
      path.join(
        dir,
        pathsIn(dir).find((p) => p.includes(`/${id}.`) && /^(queued|held|delayed)\//.test(p))!,
      );
    const list = JSON.parse(await farm.ok(['-D', dir, 'ls', '--json'])) as Array<{ id: string; name: string }>;
    for (const [name, change] of [
      ['queued', ['-p', '7']],
      ['urgent', ['-q', 'elsewhere', '-l', 'a=b', '--timeout', '5m']],
      ['later', ['--in', '2h']],
    ] as const) {
      const { id } = list.find((t) => t.name === name)!;
      const file = fileOf(id);
      fs.writeFileSync(file, JSON.stringify({ ...(JSON.parse(fs.readFileSync(file, 'utf8')) as object), ...later }));
      await farm.ok(['-D', dir, 'set', id, ...change]);
      expect(JSON.parse(fs.readFileSync(fileOf(id), 'utf8')), name).toMatchObject(later);
      expect(JSON.parse(await farm.ok(['-D', dir, 'show', '--json', id])), name).toMatchObject(later);
    }
    const config = path.join(dir, 'tq.json');
    fs.writeFileSync(config, JSON.stringify({ ...(JSON.parse(fs.readFileSync(config, 'utf8')) as object), ...later }));
    await farm.ok(['-D', dir, 'config', 'set', 'retries', '1']);
    expect(JSON.parse(fs.readFileSync(config, 'utf8'))).toMatchObject({ ...later, settings: { keep: '14d', retries: '1' } });
  });

  it('L8: this tq knows when an entry of cron of format 1 came last and comes next', async () => {
    const farm = await makeFarm();
    const dir = copyOfKept();
    const list = async (): Promise<unknown> => JSON.parse(await farm.ok(['-D', dir, 'cron', 'ls', '--json']));
    const three = expect.stringMatching(/T03:00:00\.000Z$/) as unknown;
    expect(await list()).toMatchObject([
      { id: '6d39o5m5w2c7aq', expr: '0 3 * * *', tz: 'UTC', last: three, next: three, lastTask: '6d39o5h8zf9c15' },
    ]);
  });

  it('L8: a higher format number is refused with exit 4 and nothing is touched', async () => {
    const farm = await makeFarm();
    const dir = copyOfKept();
    fs.writeFileSync(`${dir}/tq.json`, fs.readFileSync(`${dir}/tq.json`, 'utf8').replace('"format": 1', '"format": 2'));
    const before = pathsIn(dir);
    for (const args of [['ls'], ['submit', '--', 'true'], ['cancel', '6d39o5ku65tylt'], ['worker', '--once']]) {
      const { code, stderr } = await farm.tq(['-D', dir, ...args]);
      expect({ code, stderr }).toEqual({ code: 4, stderr: expect.stringContaining('format 2') as unknown });
    }
    expect(pathsIn(dir)).toEqual(before);
  });
});

describe('a living queue', () => {
  it('holds nothing that the page does not describe, while workers run and after', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--key', 'k', '--lock-keys', '^x', '--', 'true');
    const child = await farm.submit('--after', parent, '--hold', '--', 'true');
    await farm.submit('--in', '1h', '-p', '-5', '--', 'true');
    const other = await farm.submit('--cpus', '0.5', '-q', 'other', '-c', 'exit 1');
    await farm.tq(['submit', '--script', '-', '--split'], { input: '#!/bin/sh\necho out; echo err >&2; echo 1 > "$TQ_STATE_DIR/kept"\n' });
    await farm.ok(['limit', 'set', 'lic', '--max', '20', '--rate', '5/1s']);
    await farm.ok(['queue', 'pause', 'nobodys']);
    const long = await farm.submit('-q', 'long', '--limit', 'lic=2', '--mutex', 'm', '--', 'sleep', '100');
    await farm.ok(['hold', other]);
    await farm.ok(['note', other, 'a note']);
    await farm.ok(['cron', 'add', '* * * * * *', '--', 'true']);
    const paused = (await farm.ok(['cron', 'add', '@yearly', '--', 'true'])).trim();
    await farm.ok(['cron', 'pause', paused]);
    expect(undescribed(farm.queue)).toEqual([]);
    await farm.worker(['--name', 'node1', '-q', 'default,long', '-j', '2']);
    await farm.reaches(long, 'running');
    await farm.reaches(parent, 'done');
    await farm.ok(['release', child]);
    await farm.ok(['set', other, '-p', '3']);
    await farm.ok(['release', other]);
    await farm.ok(['cancel', long]);
    expect(undescribed(farm.queue)).toEqual([]);
    await farm.worker(['--name', 'node2', '-q', 'other']);
    await farm.reaches(other, 'failed');
    await farm.reaches(child, 'done');
    await farm.reaches(long, 'canceled');
    await farm.ok(['retry', other]);
    await farm.reaches(other, 'failed');
    await farm.ok(['rm', child]);
    const hooks = ['-q', 'other', '--on-success', 'true', '--on-failure', 'true', '--on-cancel', 'true'];
    const steps = await farm.submit(...hooks, '--step', 'echo 1 > $TQ_RESULT_FILE', '--step', 'exit 1', '--fallback', 'exit 2');
    const unwanted = await farm.submit(...hooks, '--hold', '--', 'true');
    await farm.ok(['cancel', unwanted]);
    const [follow] = (await farm.reaches(steps, 'failed')).followUps;
    await farm.reaches(follow!.id, 'done');
    expect(undescribed(farm.queue)).toEqual([]);
    const rules = ['--max-fails', '2', '--on-failure', 'true', '--deadline', '1h', '-g', 'many', '-q', 'other'];
    const tasks = [
      { command: 'exit 1' },
      { command: 'true', after: parent, 'lock-keys': '^y' },
      { command: 'true', in: '1h' },
      { command: 'true', hold: true },
    ];
    const input = tasks.map((task) => JSON.stringify(task)).join('\n');
    const many = (await farm.ok(['submit', '--batch', '-', ...rules], { input })).split('.')[0]!;
    await farm.reaches(`${many}.1`, 'failed');
    await farm.reaches(`${many}.2`, 'done');
    expect(undescribed(farm.queue)).toEqual([]);
    await farm.ok(['group', 'cancel', 'many']);
    await until(
      () => pathsIn(farm.queue).some((p) => p.startsWith(`groups/${many}/ended/`)),
      () => 'the end of the group is noted',
    );
    expect(undescribed(farm.queue)).toEqual([]);
    expect(undescribed(farm.dir)).not.toEqual([]);
  });
});

describe('by hand', () => {
  /** Where a task's file lies now, by the means of the page: the name has the id. */
  const fileOf = (farm: Farm, id: string): string => {
    const found = pathsIn(farm.queue).filter((p) => p.includes(`/${id}.a`) && p.endsWith('.json') && !p.startsWith('runs/'));
    expect(found).toHaveLength(1);
    return found[0]!;
  };

  it('L5: mv of a task file to its bucket in held/ holds it, and tq release lets it go', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const file = fileOf(farm, id);
    fs.mkdirSync(`${farm.queue}/held/${bucketOf(id)}`, { recursive: true });
    fs.renameSync(`${farm.queue}/${file}`, `${farm.queue}/held/${bucketOf(id)}/${path.basename(file)}`);
    expect((await farm.show(id)).state).toBe('held');
    await farm.worker(['--until-empty']).then((w) => w.ended);
    expect((await farm.show(id)).state).toBe('held');
    await farm.ok(['release', id]);
    await farm.worker(['--until-empty']);
    await farm.reaches(id, 'done');
  });

  it('L5: mv of a task file straight into held/ holds it: it is listed, released, or put into its bucket by a worker', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    for (const id of [a, b]) fs.renameSync(`${farm.queue}/${fileOf(farm, id)}`, `${farm.queue}/held/${path.basename(fileOf(farm, id))}`);
    expect((await farm.ok(['ls', '-s', 'held', '--count'])).trim()).toBe('2');
    fs.renameSync(`${farm.queue}/${fileOf(farm, a)}`, `${farm.queue}/held/${path.basename(fileOf(farm, a))}`);
    expect((await farm.show(a)).state).toBe('held');
    expect(fileOf(farm, a)).toBe(`held/${bucketOf(a)}/${a}.a0.json`);
    fs.renameSync(`${farm.queue}/${fileOf(farm, a)}`, `${farm.queue}/held/${path.basename(fileOf(farm, a))}`);
    await farm.ok(['release', a]);
    await farm.worker(['--until-empty']).then((w) => w.ended);
    await farm.reaches(a, 'done');
    expect((await farm.show(b)).state).toBe('held');
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('E2: touch of a .cancel beside a running task cancels it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'sleep', '100');
    await farm.worker();
    await farm.reaches(id, 'running');
    fs.writeFileSync(`${farm.queue}/${fileOf(farm, id).replace(/json$/, 'cancel')}`, '');
    const view = await farm.reaches(id, 'canceled');
    expect(view.attempts).toMatchObject([{ attempt: 1, outcome: 'canceled' }]);
  });

  it('C3: a word in want is a request', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--name', 'node1']);
    const file = `${farm.queue}/workers/node1/state.json`;
    const state = (): string =>
      fs.existsSync(file) ? (JSON.parse(fs.readFileSync(file, 'utf8')) as { state: string }).state : 'not said yet';
    for (const word of ['asleep', 'awake', 'asleep']) {
      fs.writeFileSync(`${farm.queue}/workers/node1/want`, `${word}\n`);
      await until(
        () => state() === word,
        () => `node1 is ${word}: it is ${state()}`,
      );
    }
    fs.writeFileSync(`${farm.queue}/workers/node1/want`, 'offline\n');
    expect((await worker.ended).code).toBe(0);
  });

  it('L5: a task object moved into inbox/ becomes a task, and one that says nonsense goes to quarantine/ with the reason', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const put = (name: string, body: string): void => {
      fs.writeFileSync(`${farm.queue}/inbox/.mine`, body);
      fs.renameSync(`${farm.queue}/inbox/.mine`, `${farm.queue}/inbox/${name}`);
    };
    put('bad.json', JSON.stringify({ command: ['true'], nosuchkey: 1 }));
    put('good.json', JSON.stringify({ command: ['echo', 'a  b'], cwd: '/', name: 'good' }));
    await until(
      async () => (await farm.ok(['ls', '-a', '-n', 'good', '-s', 'done', '--count'])).trim() === '1',
      () => 'the good one is done',
    );
    await until(
      () => fs.readdirSync(`${farm.queue}/quarantine`).length === 2,
      () => 'the bad one is in quarantine/',
    );
    const [view] = JSON.parse(await farm.ok(['ls', '-a', '-n', 'good', '--json'])) as Array<{ id: string; command: string[] }>;
    expect(view!.command).toEqual(['echo', 'a  b']);
    expect(await farm.ok(['logs', view!.id])).toBe('a  b\n');
    const reason = fs.readdirSync(`${farm.queue}/quarantine`).find((name) => name.endsWith('.reason'))!;
    expect(fs.readFileSync(`${farm.queue}/quarantine/${reason}`, 'utf8')).toContain('nosuchkey');
    expect(undescribed(farm.queue)).toEqual([]);
  });

  it('J12: counting the files of a state gives the number that tq ls gives', async () => {
    const farm = await makeFarm();
    for (let i = 0; i < 5; i++) await farm.submit('--', i < 3 ? 'true' : 'false');
    await farm.worker(['--until-empty']).then((w) => w.ended);
    const files = (state: string): number => pathsIn(`${farm.queue}/${state}`).filter((p) => p.endsWith('.json')).length;
    for (const state of ['done', 'failed']) expect(Number(await farm.ok(['ls', '-s', state, '--count']))).toBe(files(state));
    expect(files('done')).toBe(3);
  });
});
