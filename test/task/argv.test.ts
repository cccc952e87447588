import { execFileSync } from 'node:child_process';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandLine, shellQuote } from '../../src/task/argv.ts';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'tq-argv-'));
});
afterAll(() => rmSync(dir, { recursive: true, force: true }));

/** What sh makes of the words behind a program that prints each of them, NUL-ended. */
function shellWords(line: string): string[] {
  const out = execFileSync('/bin/sh', ['-c', `printf '%s\\0' ${line}`], { encoding: 'utf8', cwd: dir });
  return out.split('\0').slice(0, -1);
}

describe('shellQuote', () => {
  it.each([
    [['make', '-j', '4', 'a/b.c'], 'make -j 4 a/b.c'],
    [['echo', 'a b', '*', '$HOME', ''], "echo 'a b' '*' '$HOME' ''"],
    [["it's"], "'it'\\''s'"],
    [['train', '--lr=0.1', 'seed=1'], "train --lr=0.1 'seed=1'"],
    [['if', 'if'], "'if' if"],
    [['~', '!', '#x', 'a\nb'], "'~' '!' '#x' 'a\nb'"],
    [[], ''],
  ])('shows %j as %s', (words, line) => {
    expect(shellQuote(words)).toBe(line);
  });

  it('J3: is split by sh into exactly the same words', () => {
    const word = fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.string({ unit: fc.constantFrom(...`'"\\$\`*?[]{}()<>|&;#~!=% \t\n\ra0-`) }),
      fc.constantFrom('', '-n', 'A=b', 'done', "''", '$(touch x)', '%s'),
    );
    const words = fc.array(
      word.filter((text) => !text.includes('\0')),
      { minLength: 1, maxLength: 8 },
    );
    fc.assert(
      fc.property(words, (list) => {
        expect(shellWords(shellQuote(list))).toEqual(list);
      }),
      { numRuns: 150 },
    );
  });

  it('runs a program whose name sh would take for a keyword or an assignment', () => {
    for (const name of ['if', 'time', 'A=b', '{', '!', 'a b', '~']) {
      const path = join(dir, name);
      writeFileSync(path, '#!/bin/sh\nprintf "ran %s" "$1"\n');
      chmodSync(path, 0o755);
      const env = { PATH: `${dir}:/usr/bin:/bin` };
      expect(execFileSync('/bin/sh', ['-c', shellQuote([name, 'x'])], { encoding: 'utf8', env })).toBe('ran x');
    }
  });
});

describe('commandLine', () => {
  it('shows what runs, for each way of giving a command', () => {
    expect(commandLine({ command: ['echo', 'a b'] })).toBe("echo 'a b'");
    expect(commandLine({ command: ['echo a; exit 3'], shell: '/bin/sh' })).toBe('echo a; exit 3');
    expect(commandLine({ command: ['echo $0'], shell: '/bin/bash' })).toBe("/bin/bash -c 'echo $0'");
    expect(commandLine({ command: ['a b', 'c'], script: '0k3' })).toBe("(script) 'a b' c");
    expect(commandLine({ command: [], script: '0k3' })).toBe('(script)');
    expect(commandLine({ command: [], handler: 'resize' })).toBe('(handler resize)');
    expect(commandLine({ command: [], steps: ['a', 'exit 3'], shell: '/bin/sh' })).toBe('a && exit 3');
  });
});
