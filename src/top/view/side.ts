/**
 * The pane of details and the pane of a log. Pure.
 */
import { visible } from '../../task/visible.ts';
import { marked } from '../details.ts';
import { textColumns, textRows, type Rect } from '../layout.ts';
import { shownText, topOfEnd } from '../log-lines.ts';
import { sideText, type Side, type Ui } from '../state.ts';
import { DIM, fill, lineWidth, slice, span, thousands, wrapText, type Line, type Span, type Style } from '../text.ts';
import { pane, type Block } from './block.ts';
import { wordLook } from './words.ts';

export function sidePane(ui: Ui, side: Side, rect: Rect, isBoxed: boolean): Block {
  const rows = textRows(rect, isBoxed);
  const isFocused = ui.focus === 'side';
  const base = { columns: rect.columns, rows: rect.rows, isBoxed, isFocused, focus: 'side' as const };
  if (side.kind === 'log') return logPane(side, rows, textColumns(rect, isBoxed), base);
  const lines = sideText(ui, side, textColumns(rect, isBoxed));
  const top = Math.max(0, Math.min(side.top, lines.length - rows));
  const title: Line =
    side.kind === 'worker' ? [span('worker '), span(side.name, { bold: true })] : [span('details '), span(side.id, { bold: true })];
  const shown = lines.slice(top, top + rows);
  return pane(
    { lines: shown, zones: [] },
    { ...base, title, right: position(top, rows, lines.length), window: { from: top, shown: rows, of: lines.length } },
  );
}

function position(top: number, rows: number, of: number): Line {
  if (of <= rows) return [];
  return [span(`${top + 1}-${Math.min(of, top + rows)} of ${of}`, DIM)];
}

type Log = Extract<Side, { kind: 'log' }>;
type Base = Pick<Parameters<typeof pane>[1], 'columns' | 'rows' | 'isBoxed' | 'isFocused' | 'focus'>;

function logPane(side: Log, rows: number, columns: number, base: Base): Block {
  const all = side.log.lines;
  const first = side.top ?? topOfEnd(all, rows, columns, side.wrap, side.escapes);
  const lines: Line[] = [];
  for (let at = first; at < all.length && lines.length < rows; at++) {
    const from = all[at]!.from;
    const text = shownText(all[at]!, side.escapes);
    if (from === 'mark') {
      lines.push([span(`── ${text} ${'─'.repeat(Math.max(0, columns - text.length - 4))}`, { fg: 'magenta' })]);
      continue;
    }
    const style: Style = from === 'stderr' && side.stream === 'both' ? { fg: 'red' } : {};
    const parts = side.wrap ? wrapText(text, columns) : [text];
    for (const part of parts) {
      if (lines.length >= rows) break;
      const whole: Line = marked(part, at === side.match ? { ...style, bold: true } : style, side.search);
      lines.push(side.wrap ? whole : slice(whole, side.left, side.left + columns));
    }
  }
  if (all.length === 0)
    lines.push([span(side.attempts.length === 0 && !side.isOver ? 'it has not begun: waiting for its output' : 'no output', DIM)]);
  return pane(
    { lines: lines.map((line) => fill(line, columns)), zones: [] },
    {
      ...base,
      title: logTitle(side),
      right: logPlace(side, first, all.length),
      window: { from: first, shown: Math.min(rows, all.length), of: all.length },
    },
  );
}

function logTitle(side: Log): Line {
  const line: Span[] = [span('log '), span(side.id, { bold: true })];
  const attempt = side.attempt ?? side.attempts.at(-1);
  if (attempt !== undefined)
    line.push(span(`  attempt ${attempt}`), span(side.attempts.length > 1 ? ` (of ${side.attempts.join(', ')})` : '', DIM));
  if (side.isSplit) line.push(span(`  ${side.stream === 'both' ? 'stdout and stderr' : side.stream}`, { fg: 'magenta' }));
  if (side.taskState !== '') line.push(span(`  ${side.taskState}`, wordLook(side.taskState)));
  if (side.search !== '') line.push(span('  /', DIM), span(visible(side.search), { fg: 'cyan' }));
  return line;
}

function logPlace(side: Log, first: number, all: number): Line {
  const words: Span[] = [];
  if (!side.wrap) words.push(span(side.left > 0 ? `column ${side.left + 1}  ` : 'cut  ', DIM));
  if (!side.escapes) words.push(span('plain  ', DIM));
  if (side.top === null && !side.isOver) words.push(span('following', { fg: 'green' }));
  else if (side.top === null) words.push(span(`end, ${thousands(all + side.log.dropped)} lines`, DIM));
  else words.push(span(`${thousands(first + 1 + side.log.dropped)} of ${thousands(all + side.log.dropped)}`, DIM));
  return lineWidth(words) === 0 ? [] : words;
}
