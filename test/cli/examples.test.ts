/** The examples, run as a user runs them; and that they say no when something is wrong. */
import { spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { TQ, until } from '../helpers/tq.ts';

const examples = path.resolve(import.meta.dirname, '../../examples');

/** A directory whose files have the names that break scripts. */
function oddTree(): string {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-tree-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  fs.mkdirSync(`${dir}/a b/$(date)`, { recursive: true });
  const names = [
    'plain',
    'a b/two  spaces',
    'a b/$(date)/`id`',
    '-n',
    '--',
    '*',
    '{}',
    "it's",
    '"',
    'back\\slash',
    'new\nline',
    'tab\t',
    'ümläut ☃',
    '#TQ -p 5',
    ';',
    '~',
  ];
  for (const [i, name] of names.entries()) fs.writeFileSync(`${dir}/${name}`, `${i}\n`.repeat(i));
  return dir;
}

interface Run {
  code: number | null;
  stdout: string;
  stderr: string;
  /** The directory that it was given for its files. */
  tmp: string;
}

function start(
  args: readonly string[],
  env: Record<string, string> = {},
  script = 'checksum-tree.sh',
): { pid: number; tmp: string; stdout(): string; ended: Promise<Run>; kill(name: NodeJS.Signals): void } {
  const tmp = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-example-'));
  onTestFinished(() => fs.rmSync(tmp, { recursive: true, force: true }));
  const child = spawn(path.join(examples, script), args, {
    env: { PATH: process.env['PATH'], HOME: tmp, TMPDIR: tmp, TQ, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (part: Buffer) => (stdout += part.toString()));
  child.stderr.on('data', (part: Buffer) => (stderr += part.toString()));
  const ended = new Promise<Run>((resolve) => child.on('close', (code) => resolve({ code, stdout, stderr, tmp })));
  return { pid: child.pid!, tmp, stdout: () => stdout, ended, kill: (name) => void child.kill(name) };
}

/** Processes that were started with this directory as their TMPDIR, the script's children at any depth among them. */
function processesOf(tmp: string): string[] {
  return fs
    .readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .filter((pid) => {
      try {
        return fs.readFileSync(`/proc/${pid}/environ`, 'utf8').includes(`TMPDIR=${tmp}\0`);
      } catch {
        return false;
      }
    });
}

async function leavesNothing(tmp: string): Promise<void> {
  await until(
    () => processesOf(tmp).length === 0,
    () => `no process is left of it: ${processesOf(tmp).join(' ')}`,
  );
  const left = fs.readdirSync(tmp).filter((name) => /^(checksum-tree|tq-example)/.test(name));
  expect(left).toEqual([]);
}

describe('examples/checksum-tree.sh', () => {
  it('runs one task per file on two workers and agrees with sha256sum for every name', async () => {
    const run = await start([oddTree()]).ended;
    expect(run.stderr).toBe('');
    expect(run.code).toBe(0);
    expect(run.stdout).toContain('agree      all 16 sums');
    await leavesNothing(run.tmp);
  });

  it('takes the packages in node_modules, and as many as are asked for', async () => {
    const run = await start([], { LIMIT: '40' }).ended;
    expect(run.stderr).toBe('');
    expect(run.stdout).toMatch(/^files {6}40 below .*\/node_modules$/m);
    expect(run.stdout).toContain('agree      all 40 sums');
    await leavesNothing(run.tmp);
  });

  it('fails when a single sum is another one', async () => {
    const tree = oddTree();
    const forged = path.join(tree, '../', `${path.basename(tree)}.tq`);
    onTestFinished(() => fs.rmSync(forged, { force: true }));
    // A tq that gives one task another file.
    fs.writeFileSync(
      forged,
      `#!/bin/sh\nif [ "$1" = submit ] && [ "$5" = "${tree}/plain" ]; then exec "${TQ}" submit -- sha256sum -- "${tree}/-n"; fi\nexec "${TQ}" "$@"\n`,
      { mode: 0o755 },
    );
    const run = await start([tree], { TQ: forged }).ended;
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('sums differ');
    expect(run.stdout).not.toContain('agree');
    await leavesNothing(run.tmp);
  });

  it('fails when a file cannot be read', async () => {
    const tree = oddTree();
    const forged = path.join(tree, '../', `${path.basename(tree)}.tq`);
    onTestFinished(() => fs.rmSync(forged, { force: true }));
    fs.writeFileSync(
      forged,
      `#!/bin/sh\nif [ "$1" = submit ] && [ "$5" = "${tree}/plain" ]; then exec "${TQ}" submit -- sha256sum -- /no/such/file; fi\nexec "${TQ}" "$@"\n`,
      { mode: 0o755 },
    );
    const run = await start([tree], { TQ: forged }).ended;
    expect(run.code).toBe(1);
    expect(run.stderr).toContain('16 tasks, but 15 done');
    await leavesNothing(run.tmp);
  });

  it('a signal in the middle leaves no process and no file', async () => {
    const run = start([oddTree()]);
    await until(
      () => run.stdout().includes('files'),
      () => 'it has begun',
    );
    await until(
      () => processesOf(run.tmp).length > 3,
      () => 'its workers run',
    );
    run.kill('SIGTERM');
    expect((await run.ended).code).toBe(130);
    await leavesNothing(run.tmp);
  });
});

describe('examples of several tasks', () => {
  it.each([
    ['chain.sh', 'first   a done b failed c skipped \nthen    4 15 60\n'],
    ['group.sh', 'ended   6 of 6\nsum     91\n'],
    ['chord.sh', 'join    10 20 30 40 50 60 70 80 90 100 \n'],
  ])('H7 H8 H9: %s says what came of them, and leaves nothing', async (script, said) => {
    const run = await start([], {}, script).ended;
    expect(run.stderr).toBe('');
    expect({ code: run.code, stdout: run.stdout }).toEqual({ code: 0, stdout: said });
    await leavesNothing(run.tmp);
  });

  it.each(['chain.sh', 'group.sh', 'chord.sh'])('%s fails when tasks get no results', async (script) => {
    const forged = path.join(fs.mkdtempSync(path.join(os.tmpdir(), 'tq-forged-')), 'tq');
    onTestFinished(() => fs.rmSync(path.dirname(forged), { recursive: true, force: true }));
    // A tq whose workers lose what a task hands on.
    const lines = ['#!/bin/sh', `[ "$1" = worker ] && set -- "$@" --pre 'ln -s /dev/null "$TQ_RESULT_FILE"'`, `exec "${TQ}" "$@"`, ''];
    fs.writeFileSync(forged, lines.join('\n'), { mode: 0o755 });
    const run = await start([], { TQ: forged }, script).ended;
    expect(run.code).not.toBe(0);
    await leavesNothing(run.tmp);
  });
});
