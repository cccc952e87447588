import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { execute, type Outside } from '../../src/commands/execute.ts';
import { runVerb, showHelp } from '../../src/commands/shell.ts';
import { allFlags, defineCommand, type CommandSpec } from '../../src/commands/spec.ts';
import { ALIASES, allCommands, HOT, VERBS } from '../../src/commands/table.ts';
import { usage } from '../../src/errors.ts';
import { makeIo } from '../../src/print.ts';
import { realSystem, type System } from '../../src/system.ts';

interface Session extends Outside {
  out: string;
  err: string;
  helped: string[];
}

function session(env: Record<string, string> = {}): Session {
  const system: System = { ...realSystem(), env, isTerminal: () => false, columns: () => undefined };
  const s: Session = {
    system,
    out: '',
    err: '',
    helped: [],
    io: makeIo(system, (fd, data) => {
      s[fd === 1 ? 'out' : 'err'] += String(data);
      return true;
    }),
    help: (spec) => {
      s.helped.push(spec.name);
      return Promise.resolve(0);
    },
  };
  return s;
}

const verbs = await allCommands();
const all: CommandSpec[] = verbs.flatMap((spec) => [spec, ...(spec.subs ?? [])]);

describe('the table of verbs', () => {
  it('has each verb of the command line in a file of its name', () => {
    expect(Object.keys(VERBS)).toEqual(verbs.map((s) => s.name));
    for (const verb of Object.keys(VERBS))
      expect(fs.existsSync(path.join(import.meta.dirname, `../../src/commands/${verb}.ts`))).toBe(true);
  });

  it('knows as hot verbs and aliases only verbs that are there', () => {
    for (const verb of [...HOT, ...Object.values(ALIASES)]) expect(VERBS).toHaveProperty(verb);
    const said = Object.fromEntries(verbs.flatMap((s) => (s.aliases ?? []).map((a) => [a, s.name])));
    expect(said).toEqual(ALIASES);
  });

  it.each(all.map((s) => [s.name, s] as const))('gives each letter of tq %s one meaning', (_, spec) => {
    const letters = Object.values(allFlags(spec)).flatMap((f) => (f.char === undefined ? [] : [f.char]));
    expect(letters).toHaveLength(new Set(letters).size);
    for (const flag of Object.values(spec.flags)) {
      const needsValue = flag.many !== undefined || flag.choices !== undefined;
      expect(needsValue && flag.value === undefined).toBe(false);
      expect(flag.help).not.toBe('');
    }
  });

  it.each(all.map((s) => [s.name, s] as const))('lets tq %s keep the flags of every verb for what they are', (_, spec) => {
    for (const name of ['dir', 'json', 'help']) expect(spec.flags).not.toHaveProperty(name);
  });
});

describe('the help', () => {
  it('lists every verb once', async () => {
    const s = session();
    expect(await showHelp(undefined, s)).toBe(0);
    for (const spec of verbs) expect(s.out.split('\n').filter((l) => l.startsWith(`  ${spec.name} `))).toHaveLength(1);
    expect(s.out).not.toContain('\x1b');
  });

  it.each(all.map((s) => [s.name, s] as const))('M5: shows every flag and example of tq %s', async (_, spec) => {
    const s = session();
    expect(await showHelp(spec, s)).toBe(0);
    expect(s.out).toContain(`$ tq ${spec.name}`);
    for (const [name, flag] of Object.entries(allFlags(spec))) {
      expect(s.out).toMatch(new RegExp(`^ +(-${flag.char ?? ' '}, )?--${name}[= .\n]`, 'm'));
    }
    const flat = s.out.replace(/ \\\n/g, ' ').replace(/\s+/g, ' ');
    for (const example of spec.examples ?? []) expect(flat).toContain(example.command.replace(/\s+/g, ' '));
  });

  it('puts a flag without a letter under those with one', async () => {
    const s = session();
    await showHelp(
      verbs.find((v) => v.name === 'cancel'),
      s,
    );
    const lines = s.out.split('\n').filter((line) => /--(reason|yes)\b/.test(line) && !line.includes('$'));
    expect(lines.map((line) => line.indexOf('--'))).toEqual([6, 6]);
  });
});

const probe = defineCommand({
  name: 'gc',
  summary: 'probe',
  args: [{ name: 'WORD', many: true, help: '' }],
  flags: { keep: { value: 'D', help: '' }, fail: { value: 'E', help: '' } },
  passesCode: ['keep'],
  run(ctx) {
    if (ctx.flags.fail === 'usage') throw usage('bad word');
    if (ctx.flags.fail === 'bug') throw new RangeError('oops');
    ctx.io.out(JSON.stringify({ flags: ctx.flags, args: ctx.args, json: ctx.json }));
    return 7;
  },
});

describe.each([
  ['directly', execute],
  ['as a command of oclif', runVerb],
] as const)('a verb that is run %s', (_, run) => {
  it('gets its flags and words, and its exit code is the one of the program', async () => {
    const s = session();
    expect(await run(probe, ['a', '--keep', '1d', '--json', '-D', 'q', '--', '--b'], s)).toBe(7);
    expect(JSON.parse(s.out)).toEqual({ flags: { keep: '1d', json: true, dir: 'q' }, args: ['a', '--b'], json: true });
  });

  it('M1: says a wrong word on stderr and exits 2', async () => {
    const s = session();
    const warnings: unknown[] = [];
    const warned = (warning: unknown): void => void warnings.push(warning);
    process.on('warning', warned);
    expect(await run(probe, ['--kepe'], s)).toBe(2);
    await new Promise((resolve) => setImmediate(resolve));
    process.off('warning', warned);
    expect(warnings).toEqual([]);
    expect(s).toMatchObject({ out: '', err: "tq: unknown flag '--kepe'\n    did you mean --keep?\n" });
  });

  it('M1: with --json says it as one document and nothing else', async () => {
    const s = session();
    expect(await run(probe, ['--kepe', '--json'], s)).toBe(2);
    expect(s.out).toBe('');
    expect(JSON.parse(s.err)).toMatchObject({ error: { code: 'USAGE', exit: 2, hint: 'did you mean --keep?' } });
  });

  it('M2: exits 125 for its own trouble where it passes on the code of a task', async () => {
    expect(await run(probe, ['--keep', '1d', '--fail', 'usage'], session())).toBe(125);
    expect(await run(probe, ['--keep'], session())).toBe(125);
    expect(await run(probe, ['--fail', 'usage', '--', '--keep'], session())).toBe(2);
  });

  it('survives a bug with one line', async () => {
    const s = session();
    expect(await run(probe, ['--fail', 'bug'], s)).toBe(125);
    expect(s.err).toContain('tq: tq gc: unexpected: oops\n');
  });

  it('shows its help instead of running', async () => {
    const s = session();
    expect(await run(probe, ['-h', '--keep', '1d'], s)).toBe(0);
    expect(s).toMatchObject({ out: '', helped: ['gc'] });
  });
});

describe('a verb below another', () => {
  const ran: string[] = [];
  const queue = defineCommand({
    name: 'queue',
    summary: '',
    flags: {},
    subs: ['ls', 'pause'].map((name) =>
      defineCommand({
        name: `queue ${name}`,
        summary: '',
        args: [{ name: 'NAME', help: '' }],
        flags: {},
        run: (ctx) => {
          ran.push([name, ...ctx.args, ctx.flags.dir ?? ''].join(' '));
          return 0;
        },
      }),
    ),
  });

  it.each([
    ['directly', execute],
    ['as a command of oclif', runVerb],
  ] as const)('is chosen by the first word, %s', async (_, run) => {
    ran.length = 0;
    expect(await run(queue, ['pause', 'ls'], session())).toBe(0);
    expect(await run(queue, ['-D', 'q', '--json', 'ls'], session())).toBe(0);
    expect(ran).toEqual(['pause ls ', 'ls q']);
  });

  it('is asked for when it is missing, with the words that there are', async () => {
    const s = session();
    expect(await execute(queue, ['puase'], s)).toBe(2);
    expect(s.err).toBe('tq: tq queue: unknown word "puase"\n    tq queue ls|pause\n');
  });
});

describe('the queue that a verb opens', () => {
  const look = defineCommand({
    name: 'ls',
    summary: '',
    flags: { 'dry-run': { help: '' } },
    async run(ctx) {
      ctx.io.out((await ctx.queue()).dir);
      return 0;
    },
  });

  it('A12: is not made by a dry run, even where it would be the default one', async () => {
    const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-home-'));
    try {
      const s = session({ HOME: home });
      s.system = { ...s.system, cwd: () => home };
      expect(await execute(look, ['--dry-run'], s)).toBe(4);
      expect(fs.readdirSync(home)).toEqual([]);
      expect(await execute(look, [], s)).toBe(0);
      expect(s.out).toBe(path.join(home, '.local/share/tq/default'));
    } finally {
      fs.rmSync(home, { recursive: true });
    }
  });

  it('A12: named by -D and not there is an error with the way to make one', async () => {
    const s = session();
    const dir = path.join(os.tmpdir(), 'tq-not-there');
    expect(await execute(look, ['-D', dir], s)).toBe(4);
    expect(s.err).toContain('tq init');
    expect(fs.existsSync(dir)).toBe(false);
  });
});
