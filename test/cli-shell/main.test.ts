import { spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { version } from '../../src/version.ts';

const root = path.join(import.meta.dirname, '../..');
const main = path.join(root, 'src/main.ts');

let dir = '';
let queue = '';

beforeAll(() => {
  dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-main-'));
  queue = path.join(dir, 'q');
  expect(tq(['init', queue]).status).toBe(0);
});

afterAll(() => fs.rmSync(dir, { recursive: true }));

function tq(
  argv: string[],
  options: { input?: string; env?: Record<string, string> } = {},
): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [main, ...argv], {
    cwd: dir,
    env: { PATH: process.env['PATH'] ?? '', HOME: dir, TQ_DIR: queue, ...options.env },
    input: options.input ?? '',
    encoding: 'utf8',
  });
}

function show(id: string): Record<string, unknown> {
  return JSON.parse(fs.readFileSync(findTask(id), 'utf8')) as Record<string, unknown>;
}

function findTask(id: string): string {
  const name = fs.readdirSync(queue, { recursive: true, encoding: 'utf8' }).find((file) => path.basename(file) === `${id}.a0.json`);
  if (name === undefined) throw new Error(`no file of ${id}`);
  return path.join(queue, name);
}

/** All names below the queue with their contents: equal before and after means that nothing was written. */
function everything(): string[] {
  return fs
    .readdirSync(queue, { recursive: true, encoding: 'utf8' })
    .toSorted()
    .map((file) => {
      const stat = fs.statSync(path.join(queue, file));
      return `${file} ${stat.isFile() ? `${fs.readFileSync(path.join(queue, file), 'hex')} ${stat.mtimeMs}` : ''}`;
    });
}

describe('the program', () => {
  it('says its version', () => {
    expect(tq(['--version'])).toMatchObject({ status: 0, stdout: `tq ${version}\n`, stderr: '' });
    expect(JSON.parse(tq(['--version', '--json']).stdout)).toEqual({ version });
  });

  it('shows the verbs when it is called without one, and on request', () => {
    const { status, stdout, stderr } = tq([]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('  submit ');
    expect(tq(['--help']).stdout).toBe(stdout);
    expect(tq(['help']).stdout).toBe(stdout);
    expect(tq(['help', 'submit']).stdout).toBe(tq(['submit', '--help']).stdout);
    expect(tq(['help', 'add']).stdout).toContain('$ tq submit [flags] -- CMD ARGS...');
    expect(tq(['help', 'queue', 'pause']).stdout).toContain('$ tq queue pause');
  });

  it('M1: suggests the verb that was meant', () => {
    expect(tq(['sumbit', '--', 'true'])).toMatchObject({
      status: 2,
      stdout: '',
      stderr: "tq: unknown verb 'sumbit'\n    did you mean tq submit?\n",
    });
    expect(tq(['help', 'frobnicate'])).toMatchObject({ status: 2, stdout: '' });
    expect(JSON.parse(tq(['--json', 'frobnicate']).stderr)).toMatchObject({ error: { code: 'USAGE', exit: 2 } });
  });

  it('A1: submits, and prints the id and nothing else', () => {
    const { status, stdout, stderr } = tq(['submit', '--', 'echo', 'a b', '']);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/^[0-9a-z]{10,16}\n$/);
    expect(show(stdout.trim())).toMatchObject({
      schema: 'tq.task/1',
      command: ['echo', 'a b', ''],
      queue: 'default',
      priority: 0,
      cwd: dir,
    });
  });

  it('A1: takes the queue before the verb, and an alias of the verb', () => {
    const { status, stdout } = tq(['-D', queue, 'add', '--', 'true'], { env: { TQ_DIR: path.join(dir, 'not-there') } });
    expect(status).toBe(0);
    expect(show(stdout.trim())).toMatchObject({ command: ['true'] });
  });

  it('A3: writes no variable that was not asked for into any file', () => {
    expect(tq(['submit', '-e', 'WANTED', '--', 'true'], { env: { SECRET: 'hush-hush', WANTED: 'seen' } }).status).toBe(0);
    const files = everything();
    expect(files.some((file) => file.includes(Buffer.from('seen').toString('hex')))).toBe(true);
    expect(files.some((file) => file.includes(Buffer.from('hush-hush').toString('hex')))).toBe(false);
  });

  it('A5: stores the script with its flags, and standard input', () => {
    fs.writeFileSync(path.join(dir, 'run.sh'), '#!/bin/sh\n#TQ --retries 2 -p 3\necho $1\n');
    const { stdout } = tq(['submit', '--script', 'run.sh', '-p', '4', '--stdin', '-', '--', 'word'], { input: 'x\n' });
    const task = show(stdout.trim());
    expect(task).toMatchObject({ retries: 2, priority: 4, command: ['word'] });
    expect(fs.readFileSync(path.join(queue, 'blobs', String(task['script'])), 'utf8')).toContain('echo $1');
    expect(fs.readFileSync(path.join(queue, 'blobs', String(task['stdin'])), 'utf8')).toBe('x\n');
  });

  it('A5: takes a script from standard input, and says which file it cannot read', () => {
    const { stdout } = tq(['submit', '--script', '-'], { input: 'echo hi\n' });
    expect(show(stdout.trim())).toHaveProperty('script');
    expect(tq(['submit', '--script', 'nowhere.sh'])).toMatchObject({ status: 2, stdout: '' });
    expect(tq(['submit', '--script', 'nowhere.sh']).stderr).toContain("--script: cannot read 'nowhere.sh': ENOENT");
    expect(tq(['submit', '--script', '-', '--stdin', '-']).status).toBe(2);
  });

  it('A6: a dry run prints the task and writes nothing', () => {
    const before = everything();
    const { status, stdout } = tq(['submit', '--dry-run', '-n', 'x', '--', 'true']);
    expect(status).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ name: 'x', command: ['true'] });
    expect(everything()).toEqual(before);
  });

  it('A10: wrong words exit 2 and write nothing', () => {
    const before = everything();
    const wrong = [
      ['make', '-j4'],
      [],
      ['--'],
      ['-c', 'a', '--', 'b'],
      ['-p', '100', '--', 'x'],
      ['--frob', '--', 'x'],
      ['--mem', '8Q', '--', 'x'],
    ];
    for (const argv of wrong) expect(tq(['submit', ...argv])).toMatchObject({ status: 2, stdout: '' });
    expect(everything()).toEqual(before);
  });

  it('A12: a directory that is no queue is an error that makes nothing', () => {
    const away = path.join(dir, 'away');
    for (const argv of [
      ['submit', '-D', away, '--', 'true'],
      ['submit', '--', 'true', '-D'],
    ]) {
      const { status, stderr } = tq(argv, { env: { TQ_DIR: away } });
      expect(status).toBe(4);
      expect(stderr).toContain('tq init');
    }
    expect(fs.existsSync(away)).toBe(false);
  });

  it('M2: exits 125 for its own trouble where the code of a task is asked for', () => {
    expect(tq(['run', '-p', 'x', '--', 'true']).status).toBe(125);
    expect(tq(['submit', '--wait', '-p', 'x', '--', 'true']).status).toBe(125);
    expect(tq(['submit', '-p', 'x', '--', 'cmd', '--wait']).status).toBe(2);
  });

  it('M3: ends quietly when nobody reads its output', async () => {
    const child = spawn(process.execPath, [main, '--help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout.destroy();
    let said = '';
    child.stderr.on('data', (data: Buffer) => (said += data.toString()));
    const code = await new Promise((resolve) => child.on('close', resolve));
    expect({ code, said }).toEqual({ code: 0, said: '' });
  });
});

/** What a module imports by `import ... from`, all the way down: files and packages. What is imported by `import()` is not in it. */
function staticImports(file: string, seen = new Set<string>()): Set<string> {
  if (seen.has(file)) return seen;
  seen.add(file);
  if (!file.endsWith('.ts')) return seen;
  // Comments may hold anything, a quoted path included.
  const code = fs.readFileSync(file, 'utf8').replace(/^\/\*\*[^]*?\*\/$/gm, '');
  for (const [, what, target] of code.matchAll(/^(?:import|export) ([^;'"]*? from )?'([^']+)'/gm)) {
    if (what?.startsWith('type ') === true) continue;
    staticImports(target!.startsWith('.') ? path.join(path.dirname(file), target!) : target!, seen);
  }
  return seen;
}

describe('the start of a submit', () => {
  it('A14: loads no library and no verb but its own', () => {
    const loaded = [...staticImports(main)];
    expect(loaded).toContain(path.join(root, 'src/queue/submit.ts'));
    const packages = loaded.filter((name) => !path.isAbsolute(name));
    expect(packages.toSorted()).toEqual(['node:fs', 'node:os', 'node:path']);
    const rooms = loaded.filter((name) => path.isAbsolute(name)).map((name) => path.relative(path.join(root, 'src'), name));
    expect(rooms.filter((name) => name.startsWith('worker/') || name.startsWith('top/') || name.startsWith('flow/'))).toEqual([]);
    expect(rooms.filter((name) => name.startsWith('commands/')).toSorted()).toEqual(
      ['execute', 'flags/submit', 'parse', 'spec', 'submit', 'table'].map((name) => `commands/${name}.ts`),
    );
  });
});
