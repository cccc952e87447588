/**
 * `tq submit -f`: workflow files and job compilers, from outside.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { treeOf } from '../helpers/files.ts';
import { makeFarm, type Farm, type Ran } from '../helpers/tq.ts';

function write(farm: Farm, name: string, text: string): string {
  const file = path.join(farm.dir, name);
  fs.writeFileSync(file, text);
  return file;
}

const YAML = `
name: render
defaults: {retries: 1, label: {job: r}}
tasks:
  - {id: movie, after: [one, two], command: [sh, -c, 'cat frames > movie']}
  - {id: one, command: 'echo 1 >> frames', priority: 3}
  - {id: two, after: one, command: [sh, -c, 'echo 2 >> frames'], label: {own: yes}, retries: 0}
`;
const TOML = `
name = "render"
[defaults]
retries = 1
label = {job = "r"}
[[tasks]]
id = "movie"
after = ["one", "two"]
command = ["sh", "-c", "cat frames > movie"]
[[tasks]]
id = "one"
command = "echo 1 >> frames"
priority = 3
[[tasks]]
id = "two"
after = "one"
command = ["sh", "-c", "echo 2 >> frames"]
label = {own = "yes"}
retries = 0
`;
const DATA = {
  name: 'render',
  defaults: { retries: 1, label: { job: 'r' } },
  tasks: [
    { id: 'movie', after: ['one', 'two'], command: ['sh', '-c', 'cat frames > movie'] },
    { id: 'one', command: 'echo 1 >> frames', priority: 3 },
    { id: 'two', after: 'one', command: ['sh', '-c', 'echo 2 >> frames'], label: { own: 'yes' }, retries: 0 },
  ],
};
const FILES: ReadonlyArray<readonly [string, string]> = [
  ['flow.json', JSON.stringify(DATA)],
  ['flow.yaml', YAML],
  ['flow.toml', TOML],
  ['flow.js', `export default () => (${JSON.stringify(DATA)});`],
  ['flow.ts', `interface Flow { name: string }\nexport default async (): Promise<Flow> => (${JSON.stringify(DATA)});`],
];

async function refused(farm: Farm, name: string, text: string, ...flags: string[]): Promise<string> {
  const before = treeOf(farm.queue);
  const ran = await farm.tq(['submit', '-f', write(farm, name, text), ...flags]);
  expect(ran, ran.stderr).toMatchObject({ code: 2, stdout: '' });
  expect(treeOf(farm.queue)).toEqual(before);
  return ran.stderr;
}

describe('workflow files', () => {
  it.each(FILES)('H5: %s is one group, printed as one id, and runs in its order', async (name, text) => {
    const farm = await makeFarm();
    const out = await farm.ok(['submit', '-f', write(farm, name, text)]);
    const id = out.trim();
    expect(out).toMatch(/^[0-9a-z]{10,16}\n$/);
    const tasks = [1, 2, 3].map((n) => `${id}.${n}`);
    const views = JSON.parse(await farm.ok(['show', '--json', id])) as TaskView[];
    expect(views.map((v) => [v.id, v.state, v.group, v.retries, v.priority, v.labels])).toEqual([
      [tasks[0], 'waiting', 'render', 1, 0, { job: 'r' }],
      [tasks[1], 'queued', 'render', 1, 3, { job: 'r' }],
      [tasks[2], 'waiting', 'render', 0, 0, { job: 'r', own: 'yes' }],
    ]);
    expect(views[0]!.after).toEqual([
      { id: tasks[1], kind: 'after' },
      { id: tasks[2], kind: 'after' },
    ]);
    await farm.worker(['--until-empty']).then((w) => w.ended);
    expect(fs.readFileSync(path.join(farm.dir, 'movie'), 'utf8')).toBe('1\n2\n');
    expect((await farm.tq(['wait', '-g', 'render'])).code).toBe(0);
    expect((await farm.tq(['wait', id])).code).toBe(0);
  });

  it('H5: --dry-run prints every task and writes nothing; -g names the group; a flow edited later changes nothing', async () => {
    const farm = await makeFarm();
    const file = write(farm, 'flow.yaml', YAML);
    const before = treeOf(farm.queue);
    const dry = JSON.parse(await farm.ok(['submit', '--dry-run', '-f', file, '-g', 'other'])) as TaskView[];
    expect(dry.map((task) => [task.group, task.after?.length ?? 0])).toEqual([
      ['other', 2],
      ['other', 0],
      ['other', 1],
    ]);
    expect(treeOf(farm.queue)).toEqual(before);
    const id = (await farm.ok(['submit', '-f', file, '-g', 'other'])).trim();
    write(farm, 'flow.yaml', 'tasks: []');
    expect(await farm.show(`${id}.2`)).toMatchObject({ group: 'other', command: ['echo 1 >> frames'] });
  });

  it('H5: killed at any file call, a flow is there as a whole or not at all, and runs in its order', async () => {
    const outcomes = new Set<number>();
    for (let call = 1, ran: Ran | undefined; ran?.code !== 0; call++) {
      const farm = await makeFarm({ keep: true });
      try {
        const file = write(farm, 'flow.yaml', `${YAML}max-fails: 3\non-success: touch told\n`);
        ran = await farm.tq(['submit', '-f', file], { env: { TQ_FAULT: `die-after:${call}` } });
        const there = Number((await farm.ok(['ls', '--count'])).trim());
        expect(ran.code === 0 ? [3] : [0, 3], `killed after call ${call}`).toContain(there);
        outcomes.add(there);
        if (there === 0 || call % 4 !== 0) continue;
        await farm.worker(['--until-empty']).then((w) => w.ended);
        expect(fs.readFileSync(path.join(farm.dir, 'movie'), 'utf8')).toBe('1\n2\n');
        expect(fs.existsSync(path.join(farm.dir, 'told'))).toBe(true);
      } finally {
        await farm.close();
      }
    }
    expect(outcomes).toEqual(new Set([0, 3]));
  });

  it('H4: what is wrong is named with file, task and key, and nothing is submitted', async () => {
    const farm = await makeFarm();
    const flow = (tasks: unknown, more: object = {}): string => JSON.stringify({ tasks, ...more });
    const ok = { id: 'a', command: ['true'] };
    for (const [text, said] of [
      [flow([{ ...ok, comand: 1 }]), /flow\.json: task a: unknown key 'comand'[\s\S]*did you mean command/],
      [flow([ok], { taks: [] }), /flow\.json: unknown key 'taks'[\s\S]*did you mean tasks/],
      [
        flow([ok, { id: 'b', command: ['true'], after: ['aa'] }]),
        /flow\.json: task b: after: there is no task 'aa'[\s\S]*did you mean a\?/,
      ],
      [
        flow([
          { ...ok, after: 'b' },
          { id: 'b', command: ['true'], 'after-any': ['a'] },
        ]),
        /flow\.json: task b: after-any: waits for itself: a after b after a/,
      ],
      [flow([{ ...ok, after: 'a' }]), /task a: after: waits for itself/],
      [flow([ok, ok]), /task a: id: there are two of this name/],
      [flow([{ ...ok, timeout: '5x' }]), /flow\.json: task a: timeout: .*'5x'/],
      [flow([{ command: ['true'] }, { retries: 2 }]), /flow\.json: task 2: no command/],
      [flow([ok], { 'max-fails': 'many' }), /flow\.json: max-fails: .*'many'/],
      [flow([ok], { deadline: '0' }), /flow\.json: deadline/],
      [flow([ok], { 'on-failure': ['x'] }), /flow\.json: on-failure: not a string/],
      [flow([ok], { defaults: { after: 'a' } }), /defaults: after/],
      [flow([ok], { defaults: { nope: 1 } }), /flow\.json: defaults: unknown key 'nope'/],
      [flow([ok], { name: 'a/b' }), /flow\.json: name: .*'a\/b'/],
      [flow('x'), /tasks: not a list/],
      ['{"tasks": [', /flow\.json: does not parse/],
      ['[]', /flow\.json: not a workflow/],
    ] as const) {
      expect(await refused(farm, 'flow.json', text)).toMatch(said);
    }
    expect(await refused(farm, 'flow.yaml', 'a: [')).toMatch(/flow\.yaml: does not parse/);
    expect(await refused(farm, 'flow.toml', 'a = [')).toMatch(/flow\.toml: does not parse/);
    expect(await refused(farm, 'flow.txt', 'a')).toMatch(/'[^']*flow\.txt'/);
    expect(await refused(farm, 'flow.json', flow([ok]), '--set', 'a=b')).toMatch(/--set 'a=b'/);
    expect((await farm.tq(['submit', '-f', 'missing.yaml'])).stderr).toMatch(/--file: cannot read 'missing\.yaml': ENOENT/);
    const gone = await farm.tq(['submit', '-f', write(farm, 'flow.json', flow([{ ...ok, after: ['zzzzzzzzzzzzzz'] }]))]);
    expect(gone).toMatchObject({ code: 3, stdout: '' });
    expect((await farm.ok(['ls', '-a', '--count'])).trim()).toBe('0');
  });
});

const COMPILER = `
interface Settings { frames: readonly number[] & { chunks(size: number): string[] }; chunk: number; prefix: string; fast: boolean; scale: number }
export const settings = {
  frames: { type: 'range', description: 'which frames' },
  chunk: { type: 'int', default: 1 },
  prefix: { type: 'string', default: 'frame' },
  fast: { type: 'bool', default: false },
  scale: { type: 'number', default: 1.5 },
};
console.log('compiling');
export default (s: Settings) => ({
  name: s.prefix,
  tasks: s.frames.chunks(s.chunk).map((part) => ({ name: part, command: ['echo', part, String(s.fast), s.scale, s.frames.length] })),
});
`;

describe('what a flow comes after', () => {
  it('H3: after-each in a flow goes by the numbers of an array of the flow, of one that is there, and of a batch', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('--array', '1-3', '--', 'sh', '-c', '[ {} -ne 2 ]');
    const flow = write(
      farm,
      'flow.json',
      JSON.stringify({
        tasks: [
          { id: 'a', array: [1, 3], command: ['true'], 'after-each': array },
          { id: 'b', array: '1-3', command: ['true'], 'after-each': array },
          { id: 'c', array: '1-3', command: ['true'], 'after-each': 'b' },
          { id: 'd', command: ['true'], after: `${array}.1` },
          { id: 'e', command: ['true'], after: array },
        ],
      }),
    );
    const id = (await farm.ok(['submit', '-f', flow])).trim();
    await farm.ok(['worker', '--until-empty', '--poll', '50ms', '-j', '4']);
    const states = JSON.parse(await farm.ok(['ls', id, '--sort', 'id', '--json'])) as TaskView[];
    expect(states.map((t) => t.state)).toEqual([
      ...['done', 'done'],
      ...['done', 'skipped', 'done'],
      ...['done', 'skipped', 'done'],
      ...['done', 'skipped'],
    ]);
  });

  it('H4: after-each where there are no elements for each, and a whole id that is nowhere, are named with file and task', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('--array', '1-3', '--', 'true');
    const flow = (tasks: unknown): string => write(farm, 'flow.json', JSON.stringify({ tasks }));
    const x = { command: ['true'] };
    for (const [tasks, code, said] of [
      [
        [
          { ...x, id: 'a', 'after-each': 'b' },
          { ...x, id: 'b' },
        ],
        2,
        'flow.json: task a: after-each: this is one task, not an array',
      ],
      [
        [
          { ...x, id: 'a', array: '1-2', 'after-each': 'b' },
          { ...x, id: 'b' },
        ],
        2,
        'flow.json: task a: after-each: what it comes after is one',
      ],
      [
        [
          { ...x, id: 'a', array: '1-3', 'after-each': 'b' },
          { ...x, id: 'b', array: '1-2' },
        ],
        2,
        'task a: after-each: the array before has no element 3',
      ],
      [[{ ...x, id: 'a', 'after-each': array }], 2, `flow.json: task a: after-each ${array}: this is one task`],
      [[{ ...x, id: 'a', array: '1-4', 'after-each': array }], 3, `flow.json: task a: after: no such task: ${array}.4`],
      [[x, { ...x, id: 'a', after: '00000000000000' }], 3, 'flow.json: task a: after: no such task: 00000000000000'],
      [[{ ...x, id: 'a', array: '1-3%2' }], 2, 'flow.json: task a: array: at most so many at once'],
      [[], 5, 'flow.json: there are no tasks in it'],
    ] as const) {
      const ran = await farm.tq(['submit', '-f', path.basename(flow(tasks))]);
      expect(ran, said).toMatchObject({ code, stdout: '' });
      expect(ran.stderr).toContain(said);
    }
    expect(await farm.ok(['ls', '--count'])).toBe('1\n');
  });
});

describe('job compilers', () => {
  it('H6: one that ends the process, or returns what is no data, is named; nothing looks like a submit', async () => {
    const farm = await makeFarm();
    for (const [text, said] of [
      ['export default () => { process.exit(0); };', 'flow.js: it ends the process'],
      ['process.exit(0);', 'flow.js: it ends the process'],
      [
        "export default () => { const t = {command: ['true'], env: {}}; t.env.t = t; return {tasks: [t]}; };",
        'flow.js: task 1: env.t: not a string',
      ],
      ["export default () => { const d = {}; d.d = d; return {tasks: [{handler: 'h', data: d}]}; };", 'flow.js: task 1: data: not JSON'],
      ["export default () => ({tasks: [{handler: 'h', data: () => 1}]});", 'flow.js: task 1: data: not JSON'],
      ['export default () => ({tasks: [{command: [1n]}]});', 'flow.js: task 1: command: not a string or a number'],
      ["import { x } from './nosuch.js';\nexport default () => x;", 'flow.js: cannot be loaded'],
    ] as const) {
      write(farm, 'flow.js', text);
      const ran = await farm.tq(['submit', '-f', 'flow.js']);
      expect(ran, text).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain(said);
    }
    expect(await farm.ok(['ls', '-a', '--count'])).toBe('0\n');
  });

  it('H6: a range is a list of numbers, and what array takes', async () => {
    const farm = await makeFarm();
    write(
      farm,
      'flow.ts',
      "export const settings = {frames: {type: 'range'}};\nexport default ({frames}: {frames: number[]}) => ({tasks: [{array: frames, command: ['echo', 'f{}']}]});",
    );
    const id = (await farm.ok(['submit', '-f', 'flow.ts', '--set', 'frames=1-3,7'])).trim();
    expect((JSON.parse(await farm.ok(['ls', id, '--sort', 'id', '--json'])) as TaskView[]).map((t) => t.command[1])).toEqual([
      'f1',
      'f2',
      'f3',
      'f7',
    ]);
  });

  it('H6: settings are typed, ranges are cut into chunks, defaults apply', async () => {
    const farm = await makeFarm();
    const file = write(farm, 'flow.ts', COMPILER);
    const dry = await farm.ok(['submit', '--dry-run', '-f', file, '--set', 'frames=1-10,20-25,40', '--set', 'chunk=4']);
    const tasks = JSON.parse(dry) as TaskView[];
    expect(tasks.map((task) => task.name)).toEqual(['1-4', '5-8', '9,10,20,21', '22-25', '40']);
    expect(tasks[0]).toMatchObject({ group: 'frame', command: ['echo', '1-4', 'false', '1.5', '17'] });
    const out = await farm.ok(['submit', '-f', file, '--set', 'frames=7', '--set', 'fast=yes', '--set', 'prefix=p', '--set', 'scale=2']);
    expect(out).toMatch(/^[0-9a-z]{10,16}\n$/);
    expect(await farm.show(`${out.trim()}.1`)).toMatchObject({ group: 'p', command: ['echo', '7', 'true', '2', '1'] });
  });

  it('H6: a missing, unknown or wrongly typed setting is named', async () => {
    const farm = await makeFarm();
    for (const [flags, said] of [
      [[], /flow\.ts: the setting frames is missing[\s\S]*--set frames=\.\.\.: which frames/],
      [['frames=1-3', 'chnk=2'], /--set: .*flow\.ts has no setting 'chnk': 'chnk=2'[\s\S]*did you mean chunk/],
      [['frames=3-1'], /--set frames: the range is reversed: '3-1'/],
      [['frames=a'], /--set frames: .*'a'/],
      [['frames=1-3,2'], /--set frames: a number is there twice/],
      [['frames=1', 'chunk=2.5'], /--set chunk: not a whole number: '2\.5'/],
      [['frames=1', 'chunk=0'], /chunks: .*'0'/],
      [['frames=1', 'fast=maybe'], /--set fast: not true or false: 'maybe'/],
      [['frames=1', 'scale=big'], /--set scale: not a number: 'big'/],
      [['frames'], /--set: not a name and a value: 'frames'/],
    ] as const) {
      expect(await refused(farm, 'flow.ts', COMPILER, ...flags.flatMap((word) => ['--set', word]))).toMatch(said);
    }
    expect(await refused(farm, 'a.ts', 'export const x = 1;')).toMatch(/a\.ts: its default export is not a function/);
    expect(await refused(farm, 'b.ts', 'export default () => { throw new Error("no frames"); }')).toMatch(/b\.ts: threw: no frames/);
    expect(await refused(farm, 'c.ts', 'export default (')).toMatch(/c\.ts: cannot be loaded/);
    expect(await refused(farm, 'd.ts', 'export const settings = {a: {type: "intt"}}; export default () => ({tasks: []})')).toMatch(
      /d\.ts: settings\.a: type: 'intt'/,
    );
    expect((await farm.tq(['submit', '--set', 'a=b', '--', 'true'])).stderr).toMatch(/--set 'a=b' goes with -f/);
  });
});

const examples = path.resolve(import.meta.dirname, '../../examples');

describe('the examples', () => {
  it('H6: render.ts draws its frames in chunks and makes a movie of them', async () => {
    const farm = await makeFarm();
    const out = path.join(farm.dir, 'film');
    const flow = ['submit', '-f', path.join(examples, 'render.ts'), '--set', 'frames=1-5,9', '--set', 'width=16'];
    const id = (await farm.ok([...flow, '--set', `out=${out}`])).trim();
    await farm.worker(['-j', '2', '--until-empty']).then((w) => w.ended);
    expect((await farm.tq(['wait', id])).code).toBe(0);
    expect(fs.readdirSync(out).filter((name) => name.startsWith('frame-'))).toHaveLength(6);
    const { result } = (await farm.show(`${id}.3`)) as unknown as { result: { movie: string; frames: number } };
    expect(result.frames).toBe(6);
    expect(fs.statSync(result.movie).size).toBeGreaterThan(1000);
    expect((await farm.tq(flow)).stderr).toContain('the setting out is missing');
  });

  it('H6: map-reduce.ts counts the words of all files', async () => {
    const farm = await makeFarm();
    fs.mkdirSync(path.join(farm.dir, 'texts'));
    write(farm, 'texts/a.txt', 'the cat and the dog\n');
    write(farm, 'texts/b b.txt', 'The end, and the rest: the\n');
    const out = path.join(farm.dir, 'counts');
    const id = (await farm.ok(['submit', '-f', path.join(examples, 'map-reduce.ts'), '--set', 'dir=texts', '--set', `out=${out}`])).trim();
    await farm.worker(['-j', '2', '--until-empty']).then((w) => w.ended);
    expect((await farm.tq(['wait', '-g', 'word-count'])).code).toBe(0);
    expect(fs.readFileSync(path.join(out, 'words'), 'utf8')).toBe('5 the\n2 and\n1 cat\n1 dog\n1 end\n1 rest\n');
    expect(await farm.show(`${id}.3`)).toMatchObject({ result: { the: 5, and: 2, cat: 1 } });
    expect((await farm.tq(['submit', '-f', path.join(examples, 'map-reduce.ts'), '--set', 'dir=q', '--set', 'out=x'])).stderr).toContain(
      'there is no .txt file',
    );
  });
});
