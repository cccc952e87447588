import { describe, expect, it } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { colourWanted, makeIo, printError, table, type Io } from '../../src/print.ts';
import { report } from '../../src/report.ts';

interface Screen {
  io: Io;
  out: string;
  err: string;
}

function screen(options: { env?: Record<string, string>; terminal?: boolean; columns?: number; open?: boolean } = {}): Screen {
  const terminal = options.terminal ?? false;
  const s: Screen = {
    out: '',
    err: '',
    io: makeIo({ env: options.env ?? {}, isTerminal: () => terminal, columns: () => options.columns }, (fd, data) => {
      if (options.open === false) return false;
      s[fd === 1 ? 'out' : 'err'] += String(data);
      return true;
    }),
  };
  return s;
}

describe('colours', () => {
  it.each<[Record<string, string>, boolean, boolean]>([
    [{}, true, true],
    [{}, false, false],
    [{ NO_COLOR: '1' }, true, false],
    [{ NO_COLOR: '' }, true, true],
    [{ FORCE_COLOR: '1' }, false, true],
    [{ FORCE_COLOR: '' }, false, true],
    [{ FORCE_COLOR: '0' }, true, false],
    [{ FORCE_COLOR: 'false' }, true, false],
    [{ NO_COLOR: '1', FORCE_COLOR: '1' }, true, false],
    [{ TERM: 'dumb' }, true, false],
    [{ CI: 'true' }, true, false],
    [{ CI: 'false' }, true, true],
    [{ CI: 'true', FORCE_COLOR: '1' }, false, true],
  ])('J11: %j with a terminal %s: %s', (env, terminal, want) => {
    expect(colourWanted(env, () => terminal)).toBe(want);
  });

  it('J11: no escape byte reaches a pipe', () => {
    const { io } = screen();
    expect(io.paint('red', 'x')).toBe('x');
    expect(screen({ terminal: true }).io.paint('red', 'x')).toBe('\x1b[31mx\x1b[39m');
  });
});

describe('a table', () => {
  const columns = [{ title: 'id' }, { title: 'n', align: 'right' as const }, { title: 'name', shrinkTo: 6 }];
  const rows = [
    ['abcd', '1', 'a name that is rather long'],
    ['e', '100', '日本語の名前'],
  ];

  it('J1: is never cut in a pipe', () => {
    expect(table(columns, rows, screen().io)).toBe(
      ['id      n  name', 'abcd    1  a name that is rather long', 'e     100  日本語の名前', ''].join('\n'),
    );
  });

  it('J1: is cut to the terminal where a column may be, wide characters counted', () => {
    const text = table(columns, rows, screen({ columns: 20 }).io, { header: false });
    expect(text).toBe(['abcd    1  a name t…', 'e     100  日本語の…', ''].join('\n'));
  });

  it('keeps what may not be cut on a terminal that is too narrow', () => {
    expect(table(columns, rows, screen({ columns: 5 }).io, { header: false }).split('\n')[0]).toBe('abcd    1  a nam…');
  });
});

describe('errors', () => {
  const error = new TqError('NOT_FOUND', 'no such task: x', { hint: 'tq ls -a' });

  it('M1: are a line with a hint below it, on stderr', () => {
    const s = screen();
    printError(error, 3, false, s.io);
    expect(s).toMatchObject({ out: '', err: 'tq: no such task: x\n    tq ls -a\n' });
  });

  it('M1: with --json are one document on stderr', () => {
    const s = screen();
    printError(error, 125, true, s.io);
    expect(s.out).toBe('');
    expect(JSON.parse(s.err)).toEqual({ error: { code: 'NOT_FOUND', exit: 125, message: 'no such task: x', hint: 'tq ls -a' } });
  });

  const plain = { json: false, passesCode: false, doing: 'tq ls', debug: false };

  it('M1: end the program with their own exit code', () => {
    expect(report(error, screen().io, plain)).toBe(3);
  });

  it('M2: end a verb that passes on the code of a task with 125, but for its own --timeout', () => {
    expect(report(error, screen().io, { ...plain, passesCode: true })).toBe(125);
    expect(report(new TqError('TIMEOUT', 'too late'), screen().io, { ...plain, passesCode: true })).toBe(124);
  });

  it('M1: of the file system are told apart by cause', () => {
    const of = (code: string): number => report(Object.assign(new Error(code), { code, syscall: 'open', path: '/q' }), screen().io, plain);
    expect([of('EIO'), of('ESTALE'), of('ENOSPC'), of('EROFS'), of('EACCES'), of('EPERM')]).toEqual([4, 4, 4, 4, 6, 6]);
  });

  it('that nobody expected are one line, and the stack on request', () => {
    const s = screen();
    const bug = new Error('cannot read properties\nof undefined');
    expect(report(bug, s.io, plain)).toBe(125);
    expect(s.err.split('\n').filter((l) => l !== '')).toHaveLength(2);
    report(bug, s.io, { ...plain, debug: true });
    expect(s.err).toContain('print.test');
  });
});

describe('output', () => {
  it('M3: to a reader that went away ends without a word', () => {
    const { io } = screen({ open: false });
    expect(io.out('a')).toBe(false);
    expect(io.out('b')).toBe(false);
    expect(() => io.err('c')).not.toThrow();
  });
});
