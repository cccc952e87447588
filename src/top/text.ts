/**
 * Lines of a screen as spans of text with a style, measured in columns. Whatever becomes a span has passed `visible`, so that nothing
 * which came from a task can act on the terminal. Pure.
 */
import { fit, visible, width } from '../task/visible.ts';

export type Colour = 'red' | 'green' | 'yellow' | 'blue' | 'magenta' | 'cyan' | 'grey';

export interface Style {
  fg?: Colour;
  bold?: true;
  underline?: true;
  inverse?: true;
}

export interface Span {
  readonly text: string;
  readonly style: Style;
}

export type Line = readonly Span[];

export const PLAIN: Style = {};
export const DIM: Style = { fg: 'grey' };
export const BOLD: Style = { bold: true };

/** The one way to make a span: what a terminal might act on is shown as an escape. */
export function span(text: string, style: Style = PLAIN): Span {
  return { text: visible(text), style };
}

export function lineWidth(line: Line): number {
  return line.reduce((sum, s) => sum + width(s.text), 0);
}

export function textOf(line: Line): string {
  return line.map((s) => s.text).join('');
}

/** A text in exactly so many columns: cut with an ellipsis, or filled with spaces. */
export function cell(text: string, columns: number, style: Style = PLAIN, align: 'left' | 'right' = 'left'): Span {
  if (columns <= 0) return { text: '', style };
  const shown = fit(visible(text), columns);
  const room = ' '.repeat(Math.max(0, columns - width(shown)));
  return { text: align === 'right' ? room + shown : shown + room, style };
}

export function space(columns: number): Span {
  return { text: ' '.repeat(Math.max(0, columns)), style: PLAIN };
}

/** The line in exactly so many columns. */
export function fill(line: Line, columns: number): Line {
  const used = lineWidth(line);
  if (used === columns) return line;
  return used < columns ? [...line, space(columns - used)] : slice(line, 0, columns, true);
}

/** The columns from `from` up to `to`; a wide character that is cut in half becomes a space. `mark` ends a cut one with `…`. */
export function slice(line: Line, from: number, to: number, mark = false): Line {
  const cut: Span[] = [];
  const end = mark && lineWidth(line) > to ? to - 1 : to;
  let at = 0;
  for (const s of line) {
    const own = width(s.text);
    if (at + own > from && at < end) {
      const text = at >= from && at + own <= end ? s.text : sliceText(s.text, from - at, end - at);
      if (text !== '') cut.push({ text, style: s.style });
    }
    at += own;
    if (at >= end) break;
  }
  if (end < to) cut.push({ text: '…', style: cut.at(-1)?.style ?? PLAIN });
  return cut;
}

/** Columns `from` to `to` of one text. */
function sliceText(text: string, from: number, to: number): string {
  let part = '';
  let begin = 0;
  let taken = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const own = width(segment);
    const end = begin + own;
    if (own === 0 ? begin > from && begin <= to && part !== '' : end > from && begin < to) {
      part += begin < from || end > to ? ' '.repeat(Math.min(end, to) - Math.max(begin, from)) : segment;
      taken = end;
    }
    begin = end;
    if (taken >= to && begin > to) break;
  }
  return part;
}

const GRAPHEMES = new Intl.Segmenter(undefined, { granularity: 'grapheme' });

/** Puts `over` on the line from column `x` on. */
export function overlay(line: Line, over: Line, x: number): Line {
  const total = lineWidth(line);
  const own = lineWidth(over);
  return [...fill(slice(line, 0, x), x), ...over, ...slice(line, x + own, total)];
}

/** All of the line inverse, for the row under the cursor: without its colours, which would make patches of it. */
export function inverted(line: Line): Line {
  return line.map((s) => ({ text: s.text, style: s.style.bold === true ? { bold: true, inverse: true } : { inverse: true } }));
}

/** Breaks a text into rows of at most so many columns, anywhere. At least one row. */
export function wrapText(text: string, columns: number): string[] {
  if (columns < 1 || width(text) <= columns) return [text];
  const rows: string[] = [];
  let row = '';
  let taken = 0;
  for (const { segment } of GRAPHEMES.segment(text)) {
    const own = width(segment);
    if (taken + own > columns && row !== '') {
      rows.push(row);
      row = '';
      taken = 0;
    }
    row += segment;
    taken += own;
  }
  if (row !== '') rows.push(row);
  return rows;
}

/** `12,034` */
export function thousands(n: number): string {
  return String(Math.round(n)).replaceAll(/\B(?=(?:\d{3})+$)/g, ',');
}

/** A running clock in at most six columns: `12s`, `3m05s`, `1h30m`, `2d03h`, `412d`. */
export function clock(ms: number): string {
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m${two(s % 60)}s`;
  if (s < 86_400) return `${Math.floor(s / 3600)}h${two(Math.floor((s % 3600) / 60))}m`;
  const days = Math.floor(s / 86_400);
  return days < 100 ? `${days}d${two(Math.floor((s % 86_400) / 3600))}h` : `${days}d`;
}

/** How old something is, where seconds soon say nothing: `12s`, `3m`, `1h30m`, `2d03h`. */
export function age(ms: number): string {
  return ms >= 60_000 && ms < 3_600_000 ? `${Math.floor(ms / 60_000)}m` : clock(ms);
}

/** `14:03:20`, on this machine's clock. */
export function timeOfDay(at: number): string {
  const d = new Date(at);
  return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}
