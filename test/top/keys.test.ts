/** From bytes to keys and the mouse. */
import { describe, expect, it } from 'vitest';
import { BINDINGS, bindingOf, newInputReader, type Input, type Where } from '../../src/top/keys.ts';

function read(...pieces: readonly string[]): Input[] {
  const reader = newInputReader();
  return [...pieces.flatMap((piece) => reader(piece)), ...reader('', true)];
}

const names = (inputs: readonly Input[]): string[] => inputs.map((i) => (i.kind === 'key' ? i.key : `${i.what} ${i.x},${i.y}`));

describe('keys', () => {
  it('letters, control keys and what terminals send for the others', () => {
    expect(names(read('jK/ \r\t\x7f\x03\x1a映'))).toEqual(['j', 'K', '/', 'space', 'enter', 'tab', 'backspace', 'ctrl-c', 'ctrl-z', '映']);
    expect(names(read('\x1b[A\x1bOB\x1b[1;5C\x1b[D'))).toEqual(['up', 'down', 'right', 'left']);
    expect(names(read('\x1b[H\x1bOF\x1b[1~\x1b[4~\x1b[5~\x1b[6~\x1b[3~\x1b[Z'))).toEqual([
      'home',
      'end',
      'home',
      'end',
      'pgup',
      'pgdn',
      'delete',
      'shift-tab',
    ]);
  });

  it('a sequence that comes in pieces is one key, an ESC that nothing follows is Esc', () => {
    expect(names(read('\x1b', '[', 'A'))).toEqual(['up']);
    expect(names(read('\x1b[<0;1', '2;5M'))).toEqual(['click 11,4']);
    expect(names(read('\x1b'))).toEqual(['esc']);
    expect(names(read('\x1b\x1b[A'))).toEqual(['esc', 'up']);
    const reader = newInputReader();
    expect(reader('\x1b')).toEqual([]);
    expect(names(reader('', true))).toEqual(['esc']);
  });

  it('clicks and the wheel; releases, drags, other buttons and what is not known are nothing', () => {
    expect(names(read('\x1b[<0;1;1M\x1b[<64;3;4M\x1b[<65;3;4M'))).toEqual(['click 0,0', 'up 2,3', 'down 2,3']);
    expect(names(read('\x1b[<0;1;1m\x1b[<32;1;1M\x1b[<2;1;1M\x1b[99~\x1b[?1;2c\x1bq\x1b[200~x'))).toEqual(['x']);
    expect(read(`\x1b[${'1;'.repeat(100)}`)).toEqual([]);
  });

  it('no key means two things in one place, and each has its help', () => {
    for (const where of ['tasks', 'workers', 'details', 'log'] as const satisfies Where[]) {
      const all = BINDINGS.filter((b) => b.where === undefined || b.where.includes(where)).flatMap((b) => b.keys);
      expect(all.toSorted()).toEqual([...new Set(all)].toSorted());
    }
    expect(BINDINGS.filter((b) => b.help === '')).toEqual([]);
    expect(bindingOf('c', 'workers')).toBeUndefined();
    expect(bindingOf('s', 'workers')?.does).toBe('sleep');
    expect(bindingOf('s', 'log')?.does).toBe('stream');
  });
});
