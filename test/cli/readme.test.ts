/** The README: what it shows is what happens, and what it names is there. */
import { spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { VERBS } from '../../src/commands/table.ts';
import { EXIT } from '../../src/errors.ts';
import { OUTCOMES, STATES } from '../../src/task/types.ts';
import { TQ } from '../helpers/tq.ts';

const root = path.resolve(import.meta.dirname, '../..');
const text = fs.readFileSync(path.join(root, 'README.md'), 'utf8');

/** The blocks that are marked as runnable, by their kind. */
function blocks(kind: string): string[] {
  return [...text.matchAll(new RegExp(`^<!-- runs -->\n\`\`\`${kind}\n([\\s\\S]*?)^\`\`\`$`, 'gm'))].map((m) => m[1]!);
}

function section(heading: string): string {
  const from = text.indexOf(`\n${heading}\n`);
  expect(from).toBeGreaterThan(0);
  const end = text.slice(from + 1).search(/\n##+ /);
  return text.slice(from, end < 0 ? undefined : from + 1 + end);
}

/** Runs a script in a new home, where `tq` is the built program; the exit code and all that it printed. */
function sh(script: string): { code: number | null; output: string; dir: string } {
  const home = fs.realpathSync(fs.mkdtempSync(path.join(os.tmpdir(), 'tq-readme-')));
  onTestFinished(() => fs.rmSync(home, { recursive: true, force: true }));
  fs.mkdirSync(`${home}/bin`);
  fs.mkdirSync(`${home}/job`);
  fs.symlinkSync(TQ, `${home}/bin/tq`);
  const env = { PATH: `${home}/bin:${process.env['PATH']}`, HOME: home, LANG: 'C.UTF-8' };
  const ran = spawnSync('sh', ['-c', `exec 2>&1\n${script}`], { cwd: `${home}/job`, env, encoding: 'utf8' });
  return { code: ran.status, output: ran.stdout, dir: `${home}/job` };
}

/** Takes out of a line what differs from run to run: ids, durations, how wide a column is. */
function masked(output: string, dir: string): string[] {
  return output
    .replaceAll(dir, '/home/me/job')
    .trimEnd()
    .split('\n')
    .map((line) =>
      line
        .replaceAll(/\b[0-9a-z]{14}\b(?=\.a\d|\s|$)/g, 'ID')
        .replaceAll(/\b\d+(?:\.\d+)?(?:ms|s)\b/g, 'T')
        .replaceAll(/\s+/g, ' ')
        .trim(),
    );
}

describe('the README', () => {
  it('shows in its example what the commands print', () => {
    const [example] = blocks('console');
    const steps = example!
      .split(/^\$ /m)
      .slice(1)
      .map((step) => ({ command: step.slice(0, step.indexOf('\n')), prints: step.slice(step.indexOf('\n') + 1) }));
    expect(steps.length).toBeGreaterThan(5);
    const script = steps.map((step) => `${step.command} || echo "exit $?"\nprintf '\\001'`).join('\n');
    const { output, dir } = sh(script);
    const printed = output.split('\u0001');
    for (const [i, step] of steps.entries()) {
      expect({ command: step.command, prints: masked(printed[i]!, dir) }).toEqual({
        command: step.command,
        prints: masked(step.prints, dir),
      });
    }
  });

  it.each(blocks('sh').map((block, i) => ({ n: `${i + 1}`, block })))('runs to its end with runnable block $n', ({ block }) => {
    const { code, output } = sh(`tq init > /dev/null\nset -e\n${block}`);
    expect({ code, output }).toEqual({ code: 0, output });
    expect(output).not.toMatch(/^tq: /m);
  });

  it('has runnable blocks', () => {
    expect(blocks('sh').length).toBeGreaterThanOrEqual(2);
    expect(blocks('console')).toHaveLength(1);
  });

  it('names in its table verbs that are there and work in this version', () => {
    const verbs = [...section('## The verbs').matchAll(/^\| ((?:`\w+` ?)+)\|/gm)].flatMap((m) =>
      [...m[1]!.matchAll(/`(\w+)`/g)].map((v) => v[1]!),
    );
    expect(verbs.length).toBeGreaterThan(15);
    expect(verbs.filter((verb) => !Object.hasOwn(VERBS, verb))).toEqual([]);
    const later = verbs.filter(
      (verb) => verb !== 'worker' && /does not have/.test(sh(`tq init > /dev/null; tq ${verb} < /dev/null`).output),
    );
    expect(later).toEqual([]);
  });

  it('names every state, every outcome and every exit code', () => {
    const states = section('### States');
    expect([...STATES, ...OUTCOMES].filter((word) => !states.includes(`\`${word}\``))).toEqual([]);
    const codes = section('### Exit codes');
    expect(Object.values(EXIT).filter((code) => !codes.includes(`| ${code} |`))).toEqual([]);
  });

  it('links to files that are there', () => {
    const links = [...text.matchAll(/\]\(([^)#]+)\)/g)].map((m) => m[1]!);
    expect(links.length).toBeGreaterThan(2);
    expect(links.filter((file) => !fs.existsSync(path.join(root, file)))).toEqual([]);
  });

  it('names npm scripts that are there', () => {
    const { scripts } = JSON.parse(fs.readFileSync(path.join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };
    const named = [...text.matchAll(/npm (?:run (\w+)|(test))\b/g)].map((m) => m[1] ?? m[2]!);
    expect(named).toContain('demo');
    expect(named.filter((name) => scripts[name] === undefined)).toEqual([]);
  });
});
