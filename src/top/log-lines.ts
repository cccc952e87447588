/**
 * The output of a task as lines to scroll in: what came is cut at its newlines, the oldest lines are let go, and control characters are
 * shown or left out. Pure.
 */
import { visible, width } from '../task/visible.ts';
import type { LogPart } from './actions.ts';
import { wrapText } from './text.ts';

export interface LogLine {
  /** As it was printed, without its newline. */
  readonly text: string;
  readonly from: 'stdout' | 'stderr' | 'mark';
}

export interface LogText {
  readonly lines: readonly LogLine[];
  /** Streams whose last line has no newline yet. */
  readonly open: ReadonlySet<'stdout' | 'stderr'>;
  /** Lines let go so far. */
  readonly dropped: number;
}

export const NO_LOG: LogText = { lines: [], open: new Set(), dropped: 0 };

/** Kept in memory; `tq logs` prints all of them. */
export const MOST_LINES = 10_000;
/** A longer line is shown as several. */
const MOST_CHARS = 8192;

export function appendLog(log: LogText, pieces: LogPart['pieces']): LogText {
  if (pieces.length === 0) return log;
  const lines = [...log.lines];
  const open = new Set(log.open);
  for (const piece of pieces) {
    if ('attempt' in piece) {
      open.clear();
      lines.push({ text: `attempt ${piece.attempt}`, from: 'mark' });
      continue;
    }
    const parts = piece.text.split('\n');
    for (const [i, part] of parts.entries()) {
      const isLast = i === parts.length - 1;
      if (isLast && part === '') {
        if (parts.length > 1) open.delete(piece.stream);
        continue;
      }
      const at = i === 0 && open.has(piece.stream) ? lines.findLastIndex((l) => l.from === piece.stream) : -1;
      const whole = (at < 0 ? '' : lines[at]!.text) + part;
      const cut = cutLong(whole).map((text): LogLine => ({ text, from: piece.stream }));
      if (at < 0) lines.push(...cut);
      else lines.splice(at, 1, ...cut);
      if (isLast) open.add(piece.stream);
      else open.delete(piece.stream);
    }
  }
  const over = Math.max(0, lines.length - MOST_LINES);
  return { lines: over === 0 ? lines : lines.slice(over), open, dropped: log.dropped + over };
}

function cutLong(text: string): string[] {
  if (text.length <= MOST_CHARS) return [text];
  const parts: string[] = [];
  for (let at = 0; at < text.length; at += MOST_CHARS) parts.push(text.slice(at, at + MOST_CHARS));
  return parts;
}

const TAB = 8;
/** CSI, OSC with its end, and other escape sequences (ECMA-48). */
const SEQUENCE = /\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[ -/]*[0-~])/g;

/** A line as it is shown: tabs as spaces, control characters as escapes, or left out as far as they only drive a terminal. */
export function shownText(line: LogLine, escapes: boolean): string {
  let { text } = line;
  if (text.endsWith('\r')) text = text.slice(0, -1);
  if (!escapes && /[\x00-\x08\x0b-\x1f\x7f]/.test(text)) {
    text = text.replaceAll(SEQUENCE, '');
    text = text.slice(text.lastIndexOf('\r') + 1).replaceAll(/[\x00-\x08\x0b-\x1f\x7f]/g, '');
  }
  return visible(text.includes('\t') ? expandTabs(text) : text);
}

function expandTabs(text: string): string {
  let out = '';
  let column = 0;
  for (const part of text.split(/(\t)/)) {
    const add = part === '\t' ? ' '.repeat(TAB - (column % TAB)) : part;
    out += add;
    column += width(visible(add));
  }
  return out;
}

/** Rows that a line takes. */
export function rowsOf(line: LogLine, columns: number, wrap: boolean, escapes: boolean): number {
  return wrap ? wrapText(shownText(line, escapes), columns).length : 1;
}

/** The first line to show so that the last one is the lowest on the screen. */
export function topOfEnd(lines: readonly LogLine[], rows: number, columns: number, wrap: boolean, escapes: boolean): number {
  if (!wrap) return Math.max(0, lines.length - rows);
  let left = rows;
  let top = lines.length;
  while (top > 0) {
    left -= rowsOf(lines[top - 1]!, columns, true, escapes);
    if (left < 0) break;
    top -= 1;
  }
  // One line that is longer than the screen is shown from its begin.
  return Math.min(top, Math.max(0, lines.length - 1));
}

/** The next line from `from` on, in the direction, that holds the text; letters of both cases are the same. Undefined: none. */
export function findLine(lines: readonly LogLine[], text: string, from: number, step: 1 | -1, escapes: boolean): number | undefined {
  const wanted = text.toLowerCase();
  if (wanted === '') return undefined;
  for (let at = from; at >= 0 && at < lines.length; at += step) {
    if (shownText(lines[at]!, escapes).toLowerCase().includes(wanted)) return at;
  }
  return undefined;
}
