/** `tq schema` from outside: what the binary prints and takes is what its schemas say. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { makeFarm, type Farm } from '../helpers/tq.ts';

type Schema = Record<string, unknown>;

const KEYWORDS = new Set([
  '$schema',
  '$id',
  'title',
  'description',
  'format',
  'type',
  'enum',
  'const',
  'pattern',
  'minimum',
  'maximum',
  'anyOf',
  'items',
  'properties',
  'required',
  'additionalProperties',
]);

function typeOf(value: unknown): string[] {
  if (value === null) return ['null'];
  if (Array.isArray(value)) return ['array'];
  return Number.isInteger(value) ? ['integer', 'number'] : [typeof value];
}

/** What of `value` is not as the schema says: a validator of the keywords that the schemas use. */
function faults(schema: Schema, value: unknown, at = '$'): string[] {
  for (const keyword of Object.keys(schema))
    if (!KEYWORDS.has(keyword)) throw new Error(`${at}: a keyword that this test does not know: ${keyword}`);
  const found: string[] = [];
  const says = (ok: boolean, what: string): void => void (ok || found.push(`${at}: ${what}: ${JSON.stringify(value)}`));
  if (schema['type'] !== undefined) {
    const types = [schema['type']].flat();
    says(
      typeOf(value).some((type) => types.includes(type)),
      `not of type ${types.join(', ')}`,
    );
  }
  if (schema['enum'] !== undefined) says((schema['enum'] as unknown[]).includes(value), 'not in the enum');
  if (schema['const'] !== undefined) says(schema['const'] === value, 'not the constant');
  if (schema['pattern'] !== undefined && typeof value === 'string')
    says(new RegExp(schema['pattern'] as string, 'u').test(value), 'not as the pattern');
  if (schema['minimum'] !== undefined && typeof value === 'number') says(value >= (schema['minimum'] as number), 'too small');
  if (schema['maximum'] !== undefined && typeof value === 'number') says(value <= (schema['maximum'] as number), 'too large');
  if (schema['anyOf'] !== undefined) {
    const each = (schema['anyOf'] as Schema[]).map((one) => faults(one, value, at));
    if (each.every((one) => one.length > 0)) found.push(...each.flat());
  }
  if (Array.isArray(value) && schema['items'] !== undefined)
    for (const [i, item] of value.entries()) found.push(...faults(schema['items'] as Schema, item, `${at}[${i}]`));
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return found;
  const properties = (schema['properties'] ?? {}) as Record<string, Schema>;
  for (const name of (schema['required'] ?? []) as string[]) says(Object.hasOwn(value, name), `has no ${name}`);
  for (const [name, part] of Object.entries(value)) {
    const more = schema['additionalProperties'];
    if (Object.hasOwn(properties, name)) found.push(...faults(properties[name]!, part, `${at}.${name}`));
    else if (more === false) found.push(`${at}: does not know ${name}`);
    else if (more !== undefined) found.push(...faults(more as Schema, part, `${at}.${name}`));
  }
  return found;
}

const schema = async (farm: Farm, name: string): Promise<Schema> => JSON.parse(await farm.ok(['schema', name])) as Schema;

describe('tq schema', () => {
  it('L10: its names, each of which is a schema; an unknown one is a usage error', async () => {
    const farm = await makeFarm();
    const names = (await farm.ok(['schema'])).trim().split('\n');
    expect(names).toEqual(['task', 'attempt', 'worker', 'event', 'outcome', 'error', 'task-object', 'workflow']);
    const all = JSON.parse(await farm.ok(['schema', '--json'])) as Record<string, Schema>;
    expect(Object.keys(all)).toEqual(names);
    for (const name of names) {
      expect(all[name]).toEqual(await schema(farm, name));
      expect(all[name]).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema', type: 'object' });
      expect(faults(all[name]!, 7), name).toHaveLength(1);
    }
    expect(Object.keys(all['event']!['properties'] as object).slice(0, 7)).toEqual([
      'at',
      'task',
      'type',
      'from',
      'to',
      'attempt',
      'worker',
    ]);
    const ran = await farm.tq(['schema', 'tasks']);
    expect([ran.code, ran.stdout, ran.stderr]).toEqual([2, '', expect.stringContaining("no such schema: 'tasks'")]);
    // It needs no queue.
    expect((await farm.tq(['schema', 'task'], { env: { TQ_DIR: '/nowhere' } })).code).toBe(0);
  });

  it('L10: tasks, attempts, outcomes, workers and errors are as their schemas say', async () => {
    const farm = await makeFarm();
    await farm.ok(['limit', 'set', 'api', '--max', '3']);
    const parent = await farm.submit(
      '-n',
      'ok',
      '--limit',
      'api',
      '--on-success',
      'true',
      '-c',
      'echo 1 > $TQ_RESULT_FILE; echo 50 half > $TQ_PROGRESS_FILE',
    );
    await farm.submit('--retries', '1', '--backoff', 'none', '--fallback', 'exit 4', '-c', 'exit 3');
    await farm.submit('--timeout', '100ms', '--grace', '50ms', '--', 'sleep', '60');
    await farm.submit('--', '/no/such/program');
    await farm.submit('--step', 'true', '--step', 'false', '-l', 'a=b', '--mem', '1M');
    await farm.submit('--array', '1-5', '-c', 'test {} != 3');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms', '--name', 'w1']);
    await farm.submit('--after', parent, '--in', '1h', '--key', 'k', '--deadline', '2h', '--stall', '1m', '--expires', '1d', '--', 'true');
    await farm.ok(['note', await farm.submit('--hold', '--', 'true'), 'a note']);
    await farm.submit('-c', 'sleep 60');
    await farm.worker(['--name', 'w2']);
    await farm.reaches('@last', 'running');
    const [task, attempt, outcome] = [await schema(farm, 'task'), await schema(farm, 'attempt'), await schema(farm, 'outcome')];
    const views = [
      ...(JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[]),
      ...(JSON.parse(await farm.ok(['ls', '-a', '--expand', '--json'])) as TaskView[]),
    ];
    expect(new Set(views.map((v) => v.state))).toEqual(new Set(['done', 'failed', 'running', 'held', 'delayed']));
    for (const view of views) {
      expect(faults(task, view), view.id).toEqual([]);
      for (const one of view.attempts) expect(faults(attempt, one), view.id).toEqual([]);
      expect(faults(task, JSON.parse(await farm.ok(['show', view.id, '--json'])))).toEqual([]);
    }
    const files = fs
      .readdirSync(path.join(farm.queue, 'runs'), { recursive: true, encoding: 'utf8' })
      .filter((name) => /\.a\d+\.json$/.test(name));
    expect(files.length).toBeGreaterThan(5);
    for (const name of files)
      expect(faults(outcome, JSON.parse(fs.readFileSync(path.join(farm.queue, 'runs', name), 'utf8'))), name).toEqual([]);
    const workers = JSON.parse(await farm.ok(['worker', 'ls', '--json'])) as unknown[];
    expect(workers).toHaveLength(2);
    expect(workers).toContainEqual(expect.objectContaining({ name: 'w2', alive: true, load: expect.any(Number) as number }));
    for (const worker of workers) expect(faults(await schema(farm, 'worker'), worker)).toEqual([]);
    const events = (await farm.ok(['events']))
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as { type: string });
    expect(new Set(events.map((e) => e.type))).toEqual(new Set(['submitted', 'ready', 'started', 'ended', 'worker']));
    for (const one of events) expect(faults(await schema(farm, 'event'), one), JSON.stringify(one)).toEqual([]);
    const said = await farm.tq(['show', 'nosuchid0000', '--json']);
    expect([said.code, faults(await schema(farm, 'error'), JSON.parse(said.stderr))]).toEqual([3, []]);
    // The validator does find fault.
    expect(faults(task, { ...views[0], state: 'gone' })).toEqual(['$.state: not in the enum: "gone"']);
    const { file: _file, ...without } = views[0]!;
    expect(faults(task, without)[0]).toContain('$: has no file');
  });

  it('L10: what the schemas of task objects and workflows refuse, submit refuses, and the other way round', async () => {
    const farm = await makeFarm();
    const [one, flow] = [await schema(farm, 'task-object'), await schema(farm, 'workflow')];
    const objects: Array<[object, boolean]> = [
      [{ command: ['make', '-j', 4], retries: 3, env: { A: '1' }, label: ['a=b'], timeout: '2h', split: true }, true],
      [{ command: 'sort big.txt', after: [], 'env-mode': 'none', mem: '1G', hold: true }, true],
      [{ handler: 'h', data: { width: 2 } }, true],
      [{ command: ['true'], timeoutMs: 5 }, false],
      [{ command: ['true'], 'env-mode': 'some' }, false],
      [{ command: ['true'], hold: 'yes' }, false],
      [{ command: [['true']] }, false],
      [{ command: 'true', name: true }, false],
    ];
    for (const [object, good] of objects) {
      const text = JSON.stringify(object);
      expect(faults(one, object).length === 0, text).toBe(good);
      expect((await farm.tq(['submit', '--batch', '-', '--dry-run'], { input: `${text}\n` })).code, text).toBe(good ? 0 : 2);
    }
    const flows: Array<[object, boolean]> = [
      [
        {
          name: 'render',
          tasks: [
            { id: 'frame', array: '1-10', command: ['render', '{}'] },
            { after: ['frame'], command: 'true' },
          ],
        },
        true,
      ],
      [{ defaults: { retries: 2 }, 'max-fails': '10%', 'on-failure': 'notify', tasks: [{ command: ['true'] }] }, true],
      [{ tasks: [{ command: ['true'], nmae: 'x' }] }, false],
      [{ tasks: [{ command: ['true'] }], default: {} }, false],
      [{ name: 'x' }, false],
      [{ defaults: { after: ['x'] }, tasks: [] }, false],
    ];
    for (const [object, good] of flows) {
      const file = path.join(farm.dir, 'flow.json');
      fs.writeFileSync(file, JSON.stringify(object));
      expect(faults(flow, object).length === 0, JSON.stringify(object)).toBe(good);
      expect((await farm.tq(['submit', '-f', file, '--dry-run'])).code, JSON.stringify(object)).toBe(good ? 0 : 2);
    }
  });
});
