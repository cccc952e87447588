import { describe, expect, it } from 'vitest';
import { type FilterRow, type Filters, matcher, matches, parseSelector, parseStates, type Selector } from '../../src/task/selector.ts';
import { STATES } from '../../src/task/types.ts';

const ID = '0mk3v9x2ab7qzz';

describe('parseSelector', () => {
  it.each<[string, Selector]>([
    ['@all', { kind: 'all' }],
    ['@last', { kind: 'last' }],
    ['-', { kind: 'stdin' }],
    [ID, { kind: 'id', id: ID }],
    [`${ID}.7`, { kind: 'element', id: ID, n: 7 }],
    [`${ID}.0`, { kind: 'element', id: ID, n: 0 }],
    [`${ID}.3-5`, { kind: 'range', id: ID, from: 3, to: 5 }],
    [`${ID}.3-3`, { kind: 'range', id: ID, from: 3, to: 3 }],
    ['7qzz', { kind: 'part', text: '7qzz' }],
    [ID.slice(1), { kind: 'part', text: ID.slice(1) }],
    ['1234', { kind: 'part', text: '1234' }],
    ['7qzz.2-4', { kind: 'range', id: '7qzz', from: 2, to: 4 }],
    ['0mk3.12', { kind: 'element', id: '0mk3', n: 12 }],
  ])('E12: reads %s', (word, selector) => {
    expect(parseSelector(word)).toEqual(selector);
  });

  it.each([
    '',
    'abc',
    `${ID}x`,
    'ABCD',
    '@',
    '@first',
    '@ALL',
    '--',
    'ab cd',
    'abcd.',
    'abcd.x',
    'abcd.-1',
    'abcd.1-',
    'abcd.1-2-3',
    'abcd.1.2',
    'abcd.9999999999999999',
    'abcd.5-3',
    '../x',
    'abcd\n',
    '__proto__',
  ])('A10: refuses %j', (word) => {
    expect(() => parseSelector(word)).toThrow(expect.objectContaining({ code: 'USAGE', exit: 2 }));
  });

  it('J11: shows a hostile word without its control characters', () => {
    expect(() => parseSelector('\u001b]0;x\u0007')).toThrow("not a task: '\\x1b]0;x\\x07'");
  });
});

describe('parseStates', () => {
  it('reads one or several, each once', () => {
    expect(parseStates('queued,running,queued', '-s')).toEqual(['queued', 'running']);
    expect(parseStates(STATES.join(','), '-s')).toEqual([...STATES]);
  });

  it.each(['', 'queue', 'queued,', 'Queued', 'queued, running'])('A10: refuses %j, naming the flag', (text) => {
    expect(() => parseStates(text, '-s')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringMatching(/^-s: not a state: '/) }),
    );
  });
});

describe('matches', () => {
  const row: FilterRow = {
    state: 'failed',
    queue: 'q',
    group: 'g',
    labels: { a: '1', b: '2' },
    name: 'render 7',
    user: 'ann',
    worker: 'w1',
    submittedAt: 1000,
  };
  const bare: FilterRow = { state: 'queued', queue: 'default', user: 'bob', submittedAt: 2000 };

  it.each<[string, Filters, boolean, boolean]>([
    ['nothing', {}, true, true],
    ['states', { states: ['failed', 'done'] }, true, false],
    ['failed', { failed: true }, true, false],
    ['not failed', { failed: false }, true, true],
    ['a queue', { queue: 'default' }, false, true],
    ['a group', { group: 'g' }, true, false],
    [
      'two labels',
      {
        labels: [
          ['a', '1'],
          ['b', '2'],
        ],
      },
      true,
      false,
    ],
    [
      'a label of another value',
      {
        labels: [
          ['a', '1'],
          ['b', '3'],
        ],
      },
      false,
      false,
    ],
    ['a label that objects inherit', { labels: [['constructor', 'x']] }, false, false],
    ['a name', { name: 'render 7' }, true, false],
    ['a name pattern', { name: 'render*' }, true, false],
    ['part of a name', { name: 'render' }, false, false],
    ['any name', { name: '*' }, true, false],
    ['a user', { user: 'bob' }, false, true],
    ['a worker', { worker: 'w1' }, true, false],
    ['since', { since: 2000 }, false, true],
    ['since, bound included', { since: 1000 }, true, true],
    ['two that hold together', { group: 'g', failed: true }, true, false],
    ['two of which one does not hold', { group: 'g', states: ['done'] }, false, false],
  ])('A4: %s', (_, filters, hitsRow, hitsBare) => {
    expect(matches(filters, row)).toBe(hitsRow);
    expect(matches(filters, bare)).toBe(hitsBare);
    expect([row, bare].map(matcher(filters))).toEqual([hitsRow, hitsBare]);
  });
});
