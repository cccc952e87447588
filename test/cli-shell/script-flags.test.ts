import { describe, expect, it } from 'vitest';
import { SUBMIT_FLAGS } from '../../src/commands/flags/submit.ts';
import { mergeFlags, scriptFlags, splitWords } from '../../src/commands/script-flags.ts';

describe('the flags in a script', () => {
  it('A5: are the #TQ lines before the first line of code', () => {
    const text = [
      '#!/bin/sh',
      '#TQ --retries 2 -n "my job"  # twice',
      '',
      '# said to people',
      '#TQ\t-l a=1',
      'echo hi',
      '#TQ -n other',
    ].join('\n');
    expect(scriptFlags(text, 's.sh')).toEqual({ retries: '2', name: 'my job', label: ['a=1'] });
  });

  it('are read from a file with the line ends of Windows, too', () => {
    expect(scriptFlags('#!/bin/sh\r\n#TQ -p 5\r\necho\r\n', 's')).toEqual({ priority: '5' });
  });

  it('are none where there is only something similar', () => {
    expect(scriptFlags('#TQX -p 5\n#tq -p 5\n# TQ -p 5\n #TQ -p 6\n', 's')).toEqual({});
  });

  it.each([
    ['#TQ --nmae x', "s.sh line 2: unknown flag '--nmae'"],
    ['#TQ -p', 's.sh line 2: --priority needs a value'],
    ['#TQ make', "s.sh line 2: 'make' is not a flag"],
    ['#TQ -- make', 's.sh line 2'],
    ['#TQ -c make', "s.sh line 2: unknown flag '-c'"],
    ['#TQ --dry-run', 's.sh line 2: unknown flag'],
    ["#TQ -n 'open", 's.sh line 2: a quote is not closed'],
  ])('A10: %s is refused with the file and the line', (line, message) => {
    expect(() => scriptFlags(`#!/bin/sh\n${line}\n`, 's.sh')).toThrow(message);
  });

  it('A5: give way to the command line, a map key by key', () => {
    const below = { retries: '2', label: ['a=1', 'b=1'], after: ['x'] };
    const above = { retries: '5', label: ['b=2'], after: ['y'] };
    expect(mergeFlags(below, above, SUBMIT_FLAGS)).toEqual({ retries: '5', label: ['a=1', 'b=1', 'b=2'], after: ['y'] });
    expect(mergeFlags(below, {}, SUBMIT_FLAGS)).toEqual(below);
  });

  it.each<[string, string[]]>([
    ['', []],
    ['  a  b\tc ', ['a', 'b', 'c']],
    [`'a b' "c d" e\\ f`, ['a b', 'c d', 'e f']],
    [`a'b'"c"d`, ['abcd']],
    [`"" ''`, ['', '']],
    [`"a\\"b" 'a\\'`, ['a"b', 'a\\']],
    ['$HOME `x` $(y)', ['$HOME', '`x`', '$(y)']],
    ['a#b # c', ['a#b']],
  ])('are split as a shell does, expanding nothing: %s', (line, words) => {
    expect(splitWords(line, 's')).toEqual(words);
  });
});
