/**
 * What reaches the terminal or the pipe: whole writes, tables, colours, and the one place that says an error. stdout is data,
 * stderr is everything else; a reader that went away (`tq ls | head`) ends the output quietly, never the work.
 */
import fs from 'node:fs';
import { errnoOf, TqError } from './errors.ts';
import { fit, visibleJson, width } from './task/visible.ts';
import { pause } from './system.ts';
import type { System } from './system.ts';

export interface Io {
  /** Writes to stdout as it is. False: nobody reads any more, and a command that only prints may stop. */
  out(data: string | Uint8Array): boolean;
  /** One line on stderr. */
  err(line: string): void;
  /** Wraps text in a colour of stdout where colours are wanted. */
  paint(style: Style, text: string): string;
  paintErr(style: Style, text: string): string;
  /** Columns to fit a table to; undefined: do not cut. */
  readonly columns: number | undefined;
  readonly terminal: boolean;
}

export type Style = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan';

const SGR: Record<Style, readonly [number, number]> = {
  bold: [1, 22],
  dim: [2, 22],
  red: [31, 39],
  green: [32, 39],
  yellow: [33, 39],
  blue: [34, 39],
  magenta: [35, 39],
  cyan: [36, 39],
};

export function makeIo(
  system: Pick<System, 'env' | 'isTerminal' | 'columns'>,
  write: (fd: 1 | 2, data: string | Uint8Array) => boolean = writeAll,
): Io {
  // Looked up at the first use: most commands print plain text and need none of it.
  const colour = { 1: undefined as boolean | undefined, 2: undefined as boolean | undefined };
  const paint = (fd: 1 | 2, style: Style, text: string): string => {
    colour[fd] ??= colourWanted(system.env, () => system.isTerminal(fd));
    if (!colour[fd] || text === '') return text;
    const [on, off] = SGR[style];
    return `\x1b[${on}m${text}\x1b[${off}m`;
  };
  let open = true;
  return {
    out(data) {
      if (open) open = write(1, data);
      return open;
    },
    err: (line) => void write(2, `${line}\n`),
    paint: (style, text) => paint(1, style, text),
    paintErr: (style, text) => paint(2, style, text),
    get columns() {
      return system.columns();
    },
    get terminal() {
      return system.isTerminal(1);
    },
  };
}

/**
 * NO_COLOR (any value) beats FORCE_COLOR (`0` and `false` mean no) beats a dumb terminal, CI and whether it is a terminal.
 * After no-color.org and force-color.org; Node and chalk read FORCE_COLOR the same way.
 */
export function colourWanted(env: Readonly<Record<string, string | undefined>>, isTerminal: () => boolean): boolean {
  if (env['NO_COLOR'] !== undefined && env['NO_COLOR'] !== '') return false;
  const force = env['FORCE_COLOR'];
  if (force !== undefined) return force !== '0' && force !== 'false';
  if (env['TERM'] === 'dumb') return false;
  if (env['CI'] !== undefined && env['CI'] !== '' && env['CI'] !== 'false') return false;
  return isTerminal();
}

const RETRY_MS = 2;

/**
 * Writes everything before it returns. A pipe that another process made non-blocking is tried again; a closed one (EPIPE, or EIO
 * of a terminal that hung up) answers false; so does anything that keeps stderr from being written, since nothing could say it.
 */
export function writeAll(fd: 1 | 2, data: string | Uint8Array): boolean {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  for (let at = 0; at < bytes.length;) {
    try {
      at += fs.writeSync(fd, bytes, at, bytes.length - at);
    } catch (error) {
      const code = errnoOf(error);
      if (code === 'EAGAIN') pause(RETRY_MS);
      else if (code === 'EPIPE' || code === 'EBADF' || code === 'EIO' || code === 'ECONNRESET') return false;
      else if (fd === 2) return false;
      else throw new TqError('INTERNAL', `cannot write the output: ${code ?? String(error)}`, { cause: error });
    }
  }
  return true;
}

/** Says an error: as JSON when the command was given `--json`, otherwise as a line with what to do next below it. */
export function printError(error: TqError, exit: number, json: boolean, io: Io): void {
  if (json) {
    const document = error.toJSON();
    document.error.exit = exit;
    io.err(visibleJson(document));
    return;
  }
  io.err(`${io.paintErr('red', 'tq:')} ${error.message}`);
  if (error.hint !== undefined) io.err(`    ${io.paintErr('dim', error.hint)}`);
}

export function printJson(value: unknown, io: Io): void {
  io.out(`${visibleJson(value, 2)}\n`);
}

export interface Column {
  title: string;
  align?: 'left' | 'right';
  /** Never cut below this many columns; a column without it is never cut. */
  shrinkTo?: number;
  paint?: (text: string) => Style | undefined;
}

/**
 * Rows as a table; the cells must already be safe to show. Fitted to `io.columns` by cutting the columns that may shrink, the
 * widest first; without a width nothing is cut.
 */
export function table(
  columns: readonly Column[],
  rows: ReadonlyArray<readonly string[]>,
  io: Pick<Io, 'columns' | 'paint'>,
  options: { header?: boolean } = {},
): string {
  const header = options.header ?? true;
  const widths = columns.map((c, i) => rows.reduce((w, row) => Math.max(w, width(row[i] ?? '')), header ? width(c.title) : 0));
  shrink(widths, columns, io.columns);
  const line = (cells: readonly string[], style: (i: number) => Style | undefined): string => {
    const parts = columns.map((c, i) => {
      const text = fit(cells[i] ?? '', widths[i]!);
      const room = ' '.repeat(Math.max(0, widths[i]! - width(text)));
      const wanted = style(i);
      const painted = wanted === undefined ? text : io.paint(wanted, text);
      return c.align === 'right' ? room + painted : painted + room;
    });
    return `${parts.join(GAP).trimEnd()}\n`;
  };
  let text = '';
  if (header)
    text += line(
      columns.map((c) => c.title),
      () => 'bold',
    );
  for (const row of rows) text += line(row, (i) => columns[i]!.paint?.(row[i] ?? ''));
  return text;
}

const GAP = '  ';

function shrink(widths: number[], columns: readonly Column[], room: number | undefined): void {
  if (room === undefined) return;
  let over = widths.reduce((sum, w) => sum + w, 0) + GAP.length * (widths.length - 1) - room;
  while (over > 0) {
    let widest = -1;
    for (const [i, c] of columns.entries()) {
      const may = c.shrinkTo !== undefined && widths[i]! > c.shrinkTo;
      if (may && (widest < 0 || widths[i]! > widths[widest]!)) widest = i;
    }
    if (widest < 0) return;
    widths[widest]! -= 1;
    over -= 1;
  }
}
