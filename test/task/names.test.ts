import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TqError } from '../../src/errors.ts';
import {
  checkEnvName,
  checkGroup,
  checkKey,
  checkLabel,
  checkLimit,
  checkQueue,
  checkTaskName,
  checkWorkerName,
} from '../../src/task/names.ts';

const FILE_NAMES = [
  ['queue', checkQueue],
  ['worker', checkWorkerName],
  ['group', checkGroup],
  ['limit', checkLimit],
] as const;

function isRefused(act: () => unknown): boolean {
  try {
    act();
    return false;
  } catch (error) {
    return error instanceof TqError && error.code === 'USAGE';
  }
}

describe.each(FILE_NAMES)('the name of a %s', (what, check) => {
  it.each(['a', 'default', 'node-1.example.org', '_x', '0', 'A'.repeat(64)])('may be %s', (name) => {
    expect(check(name, '-q')).toBe(name);
  });

  it.each(['', '.', '..', '../x', 'a/b', '/etc', '.hidden', '-rf', 'a..b', 'a b', 'a\n', 'a\0', 'é', 'a'.repeat(65), 'a:b', 'a\\b', '*'])(
    'L7: may not be %j',
    (name) => {
      expect(() => check(name, '-q')).toThrow(
        expect.objectContaining({ code: 'USAGE', exit: 2, message: expect.stringContaining(`-q: not a ${what} name: '`) }),
      );
    },
  );

  it('J11: shows a hostile one without its control characters', () => {
    expect(() => check('\u001b[2J\u202e', '-q')).toThrow("'\\x1b[2J\\u202e'");
  });

  it('L7: stays within its directory, whatever the text', () => {
    const tricky = fc.string({ unit: fc.constantFrom('.', '/', '-', 'a', '\\', '\0', '\n'), maxLength: 6 });
    fc.assert(
      fc.property(fc.oneof(fc.string(), tricky), (name) => {
        const stays = /^[\w.-]+$/.test(name) && new URL(name, 'file:///base/').pathname === `/base/${name}`;
        expect(stays || isRefused(() => check(name, '-q'))).toBe(true);
      }),
    );
  });
});

describe('checkTaskName', () => {
  it('takes any one line of at most 255 characters', () => {
    for (const name of ['', 'render frame 7', '../x', '日本語', '\u001b[2J', '😀'.repeat(255)])
      expect(checkTaskName(name, '-n')).toBe(name);
    for (const name of ['a\nb', 'a\rb', 'a\0b', 'x'.repeat(256)]) expect(() => checkTaskName(name, '-n')).toThrow('-n: not a task name');
  });
});

describe('checkKey', () => {
  it('takes 1 to 1024 characters', () => {
    for (const key of ['k', 'db/x', 'a b\n', '😀'.repeat(1024)]) expect(checkKey(key, '--key')).toBe(key);
    for (const key of ['', 'a\0', 'x'.repeat(1025)]) expect(() => checkKey(key, '--key')).toThrow('--key: not a key');
  });
});

describe('checkLabel', () => {
  it('splits at the first =', () => {
    expect(checkLabel('k=v', '-l')).toEqual(['k', 'v']);
    expect(checkLabel('k=', '-l')).toEqual(['k', '']);
    expect(checkLabel('a/b.c_d-e=x = y=z', '-l')).toEqual(['a/b.c_d-e', 'x = y=z']);
    expect(checkLabel(`${'k'.repeat(64)}=${'ü'.repeat(255)}`, '-l')).toEqual(['k'.repeat(64), 'ü'.repeat(255)]);
  });

  it.each([
    '',
    'k',
    '=',
    '=v',
    'a b=v',
    ' =v',
    'k\n=v',
    'k=a\nb',
    'k=\u001b',
    'k=\u0085',
    `${'k'.repeat(65)}=v`,
    `k=${'v'.repeat(256)}`,
    'é=v',
  ])('F4: refuses %j, naming the flag', (text) => {
    expect(() => checkLabel(text, '-l')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(/^-l: not a label: '/) }),
    );
  });
});

describe('checkEnvName', () => {
  it('takes what a shell could set', () => {
    for (const name of ['A', '_', 'TQ_P_x1', 'lower']) expect(checkEnvName(name, '-e')).toBe(name);
    for (const name of ['', '1A', 'A B', 'A=B', 'A-B', 'é', 'A\n'])
      expect(() => checkEnvName(name, '-e')).toThrow('-e: not the name of an environment variable');
  });
});
