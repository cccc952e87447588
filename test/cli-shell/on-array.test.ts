import { describe, expect, it } from 'vitest';
import { parseArray } from '../../src/task/array.ts';
import { matchesOn, parseOn } from '../../src/task/on.ts';

describe('a label expression', () => {
  it.each<[string, Record<string, string>, boolean]>([
    ['gpu && os==linux && !laptop', { gpu: '', os: 'linux' }, true],
    ['gpu && os==linux && !laptop', { gpu: '', os: 'linux', laptop: '' }, false],
    ['gpu && os==linux && !laptop', { os: 'linux' }, false],
    ['os==linux', { os: 'Linux' }, false],
    ['os!=linux', { os: 'mac' }, true],
    ['os!=linux', {}, true],
    ['os != linux', { os: 'linux' }, false],
    ['! gpu', {}, true],
    ['site/rack==r1', { 'site/rack': 'r1' }, true],
    ['constructor', {}, false],
  ])('F4: %s on %j is %s', (text, labels, wanted) => {
    expect(matchesOn(parseOn(text, '--on'), labels)).toBe(wanted);
  });

  it.each([
    '',
    ' ',
    'os=',
    'os==',
    '==linux',
    '=x',
    'a b',
    'a &&',
    '&& a',
    'a & b',
    'a || b',
    'os=linux',
    'os==a b',
    '!os==x',
    '!!a',
    'a&&&b',
    'é',
  ])('F4: %j is refused', (text) => {
    expect(() => parseOn(text, '--on')).toThrow(
      expect.objectContaining({ code: 'USAGE', exit: 2, message: expect.stringContaining('--on') }),
    );
  });
});

describe('the numbers of an array', () => {
  it.each([
    ['1-10', { numbers: { kind: 'range', from: 1, to: 10, step: 1 }, size: 10, max: undefined }],
    ['1-10:3', { numbers: { kind: 'range', from: 1, to: 10, step: 3 }, size: 4, max: undefined }],
    ['0-0', { numbers: { kind: 'range', from: 0, to: 0, step: 1 }, size: 1, max: undefined }],
    ['1-100%2', { numbers: { kind: 'range', from: 1, to: 100, step: 1 }, size: 100, max: 2 }],
    ['3,7,9', { numbers: { kind: 'list', values: [3, 7, 9] }, size: 3, max: undefined }],
    ['9,3%1', { numbers: { kind: 'list', values: [9, 3] }, size: 2, max: 1 }],
    ['5', { numbers: { kind: 'list', values: [5] }, size: 1, max: undefined }],
  ])('G1: %s', (text, want) => {
    expect(parseArray(text, '--array')).toEqual(want);
  });

  it('G2: a range of a million is no list', () => {
    expect(parseArray('1-1000000', '--array').numbers.kind).toBe('range');
  });

  it.each([
    '',
    '5-1',
    '1-x',
    'x',
    '1-',
    '-1',
    '1-10:0',
    '1-10%0',
    '1-10%',
    '3,3',
    '1,,2',
    '1-2,4',
    '1-10:2:3',
    '1.5-2',
    '1-10 ',
    '1-9999999999',
    '%2',
  ])('G1: %j is refused, naming it', (text) => {
    expect(() => parseArray(text, '--array')).toThrow(
      expect.objectContaining({ code: 'USAGE', message: expect.stringContaining('--array') }),
    );
  });
});
