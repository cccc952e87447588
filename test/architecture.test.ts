/**
 * The rooms of the source and the arrows between them, read from the import lines; and what no file of the project may hold.
 */
import { execFileSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';

const root = path.resolve(import.meta.dirname, '..');

interface Import {
  /** Relative to the project. */
  from: string;
  /** A file below src, or the name of a module. */
  to: string;
  /** `import()` inside a function. */
  lazy: boolean;
  /** Nothing of it is there at run time. */
  typeOnly: boolean;
}

/** The imports of a source; without the comments, so that a word about a module is not an import. */
function importsIn(file: string): Import[] {
  const body = code(file);
  const found: Import[] = [];
  for (const m of body.matchAll(/^(?:import|export)\s([^;'"]*?)from\s*['"]([^'"]+)['"]/gm)) {
    found.push({ from: file, to: resolved(file, m[2]!), lazy: false, typeOnly: /^type\b/.test(m[1]!) });
  }
  for (const m of body.matchAll(/^import\s*['"]([^'"]+)['"]/gm))
    found.push({ from: file, to: resolved(file, m[1]!), lazy: false, typeOnly: false });
  for (const m of body.matchAll(/\b(?:import|require|getBuiltinModule)\(\s*['"]([^'"]+)['"]\s*\)/g)) {
    found.push({ from: file, to: resolved(file, m[1]!), lazy: true, typeOnly: false });
  }
  return found;
}

function resolved(file: string, specifier: string): string {
  return specifier.startsWith('.') ? path.posix.join(path.posix.dirname(file), specifier) : specifier;
}

const sources = fs
  .readdirSync(path.join(root, 'src'), { recursive: true, encoding: 'utf8' })
  .map((name) => `src/${name}`)
  .filter((name) => /\.tsx?$/.test(name))
  .toSorted();
const text = new Map(sources.map((file) => [file, fs.readFileSync(path.join(root, file), 'utf8')]));
const imports = sources.flatMap((file) => importsIn(file));

/** The room of a file: its directory below src, or the file itself at the top. */
function roomOf(file: string): string {
  return file.split('/')[1]!;
}

/** What each room may import of ours. The files at the top of src are named one by one. */
const MAY: Readonly<Record<string, readonly string[]>> = {
  task: ['task', 'errors.ts'],
  queue: ['queue', 'task', 'errors.ts'],
  worker: ['worker', 'queue', 'task', 'errors.ts', 'system.ts', 'version.ts'],
  flow: ['flow', 'queue', 'task', 'errors.ts'],
  top: ['top', 'queue', 'task', 'errors.ts', 'print.ts', 'system.ts', 'version.ts'],
  commands: ['commands', 'flow', 'worker', 'top', 'queue', 'task', 'errors.ts', 'print.ts', 'report.ts', 'system.ts', 'version.ts'],
  'errors.ts': [],
  'version.ts': [],
  'system.ts': ['errors.ts', 'task'],
  'print.ts': ['errors.ts', 'system.ts', 'task'],
  'report.ts': ['errors.ts', 'print.ts', 'task'],
  'main.ts': ['commands', 'worker', 'queue', 'task', 'errors.ts', 'print.ts', 'report.ts', 'system.ts', 'version.ts'],
};

const said = (list: readonly Import[]): string[] => list.map((i) => `${i.from} imports ${i.to}`);

/** Which files import a module (`node:fs`, and `node:fs/promises` with it), by any kind of import that is there at run time. */
function importersOf(module: string): string[] {
  const hits = imports.filter((i) => !i.typeOnly && (i.to === module || i.to.startsWith(`${module}/`)));
  return [...new Set(hits.map((i) => i.from))];
}

describe('the rooms of the source', () => {
  it('every file is in a room that the table names', () => {
    expect(sources.filter((file) => MAY[roomOf(file)] === undefined)).toEqual([]);
    expect(sources.length).toBeGreaterThan(50);
  });

  it('imports follow main → commands → {flow, worker, top, queue} → task and never turn back', () => {
    const wrong = imports.filter((i) => i.to.startsWith('src/') && !MAY[roomOf(i.from)]!.includes(roomOf(i.to)));
    expect(said(wrong)).toEqual([]);
  });

  it('every import of ours names a file that is there', () => {
    expect(said(imports.filter((i) => i.to.startsWith('src/') && !fs.existsSync(path.join(root, i.to))))).toEqual([]);
  });

  it('task is pure: no file, no process, no clock of its own', () => {
    const outside = imports.filter((i) => i.from.startsWith('src/task/') && i.to.startsWith('node:') && i.to !== 'node:path');
    expect(said(outside)).toEqual([]);
    const clocks = sources.filter(
      (file) => file.startsWith('src/task/') && /\b(?:Date\.now|performance\.now|Math\.random|process\.)\b/.test(code(file)),
    );
    expect(clocks).toEqual([]);
  });

  it('the command framework is loaded by commands alone, and only by what shows help', () => {
    expect(importersOf('@oclif/core')).toEqual(['src/commands/shell.ts']);
  });

  it('the live view is reached by a lazy import only', () => {
    expect(said(imports.filter((i) => i.to.startsWith('src/top/') && !i.from.startsWith('src/top/') && !i.lazy && !i.typeOnly))).toEqual(
      [],
    );
    expect(importersOf('ink').every((file) => file.startsWith('src/top/'))).toBe(true);
  });

  it('chokidar, proper-lockfile and the starting of processes each have one door', () => {
    expect(importersOf('chokidar')).toEqual(['src/queue/watch.ts']);
    expect(importersOf('proper-lockfile')).toEqual(['src/queue/lock.ts']);
    // child starts tasks and helpers; the other two ask the system a question and wait for its answer (ps, the gate).
    expect(importersOf('node:child_process')).toEqual(['src/worker/child.ts', 'src/worker/proc.ts']);
    expect(['src/worker/proc.ts'].filter((file) => /\b(?:spawn|execFile|fork)\(/.test(code(file)))).toEqual([]);
    expect(sources.filter((file) => /\bBun\s*\.\s*spawn/.test(code(file)) && file !== 'src/worker/child.ts')).toEqual([]);
  });

  it('in queue only the door to the directory and the few that need another file system, or a file by pieces, touch files', () => {
    const direct = importersOf('node:fs').filter((file) => file.startsWith('src/queue/'));
    expect(direct.toSorted()).toEqual([
      'src/queue/fsx.ts',
      'src/queue/items.ts',
      'src/queue/lock.ts',
      'src/queue/logs.ts',
      'src/queue/open.ts',
      'src/queue/shelves.ts',
      'src/queue/spool.ts',
    ]);
  });

  it('every import names its extension, and of the runtime only node: modules are used', () => {
    const bare = imports.filter((i) => i.to.startsWith('src/') && !/\.tsx?$|\.json$/.test(i.to));
    expect(said(bare)).toEqual([]);
    const declared = Object.keys(
      (JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { dependencies: object }).dependencies,
    );
    const undeclared = imports.filter(
      (i) => !/^(?:src\/|node:)/.test(i.to) && !declared.some((name) => i.to === name || i.to.startsWith(`${name}/`)),
    );
    expect(said(undeclared)).toEqual(['src/version.ts imports package.json']);
  });

  it('every module opens with a sentence about itself', () => {
    expect(sources.filter((file) => !/^(#!.*\n)?\/\*\*[\s\S]/.test(text.get(file)!))).toEqual([]);
  });
});

/** The text of a source without its comments. */
function code(file: string): string {
  return text
    .get(file)!
    .replaceAll(/\/\*[\s\S]*?\*\//g, '')
    .replaceAll(/^\s*\/\/.*$/gm, '');
}

/** What git tracks, or would when all is added, read as text. */
function projectFiles(): Array<{ file: string; body: string }> {
  const names = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard'], {
    cwd: root,
    encoding: 'utf8',
    maxBuffer: 2 ** 26,
  });
  return names
    .split('\0')
    .filter((file) => file !== '' && fs.existsSync(path.join(root, file)))
    .map((file) => ({ file, body: fs.readFileSync(path.join(root, file), 'utf8') }))
    .filter(({ body }) => !body.includes('\0'));
}

/** Lines that a pattern finds, as `file:line: text`. */
function linesWith(pattern: RegExp, files = projectFiles()): string[] {
  const hits: string[] = [];
  for (const { file, body } of files) {
    for (const [i, line] of body.split('\n').entries()) if (pattern.test(line)) hits.push(`${file}:${i + 1}: ${line.trim().slice(0, 120)}`);
  }
  return hits;
}

describe('what no file of the project holds', () => {
  it('an address of a package registry', () => {
    expect(linesWith(/\b(?:registry|npm|packages|proxy)\.[a-z0-9-]*(?:npm|yarn|golang|mirror)[a-z0-9-]*\.[a-z]{2,}/i)).toEqual([]);
    expect(linesWith(/"resolved"\s*:/)).toEqual([]);
  });

  it('a path of the machine that it was written on', () => {
    const paths = /(^|[\s'"`(=:])\/(?:work|root|home\/[a-z]+)\//;
    expect(linesWith(paths).filter((line) => !/\/home\/(?:alice|bob|me|u)\//.test(line))).toEqual([]);
  });

  it('a number of a ticket', () => {
    const files = projectFiles().filter(({ file }) => file !== 'package-lock.json');
    const ticket = /\b(?:iss[u]e|tick[e]t|PR|fix(?:es|ed)?|close[sd]?|see|refs?)\s+#?\d+\b|\(#\d+\)/i;
    expect(linesWith(ticket, files)).toEqual([]);
  });
});
