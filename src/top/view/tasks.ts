/**
 * The pane of the tasks. Pure.
 */
import { visible } from '../../task/visible.ts';
import { GUTTER, placeColumns, SHORT_ID, type Placed } from '../columns.ts';
import { listRows, textColumns, type Rect } from '../layout.ts';
import type { Row } from '../model.ts';
import { rowAt, type Ui } from '../state.ts';
import { age, cell, clock, DIM, fill, inverted, lineWidth, PLAIN, space, span, thousands, type Line, type Span } from '../text.ts';
import { pane, type Block, type Zone } from './block.ts';
import { countsBar, countsText, IN_COUNTS, progressBar, stateLook, stateText } from './words.ts';

export function tasksPane(ui: Ui, rect: Rect, isBoxed: boolean): Block {
  const inner = textColumns(rect, isBoxed);
  const rows = listRows(rect, isBoxed);
  const columns = placeColumns(inner, ui.hidden);
  const isFocused = ui.focus === 'tasks';
  const lines: Line[] = [heading(ui, columns)];
  const zones: Zone[] = columns.map((c) => ({ y: 0, x: c.x, end: c.x + c.columns + 1, on: { kind: 'column', column: c.column } }));
  const reach = ui.snapshot?.reach ?? 0;
  if (reach === 0) lines.push([space(2), span(nothing(ui), DIM)]);
  for (let i = 0; i < rows && ui.top + i < reach; i++) {
    const at = ui.top + i;
    const row = rowAt(ui, at);
    const line = row === undefined ? fill([space(2), span('…', DIM)], inner) : fill(rowOf(ui, row, columns, at === ui.at), inner);
    lines.push(at === ui.at && isFocused ? inverted(line) : line);
    zones.push({ y: i + 1, x: 0, end: inner, on: { kind: 'row', at, again: false } });
  }
  return pane(
    { lines, zones },
    {
      columns: rect.columns,
      rows: rect.rows,
      isBoxed,
      isFocused,
      focus: 'tasks',
      title: title(ui),
      right: place(ui, rows),
      window: { from: ui.top, shown: rows, of: reach },
    },
  );
}

const NOTHING_MATCHES = 'nothing matches: Esc clears the filter; -s done shows what is done';

function nothing(ui: Ui): string {
  if (ui.snapshot === null) return '';
  if (ui.snapshot.filterError !== null) return 'the filter cannot be understood';
  if (ui.filter !== '') return ui.snapshot.isComplete ? NOTHING_MATCHES : 'looking…';
  return ui.snapshot.isComplete ? 'nothing to do: tq submit -- COMMAND' : 'looking…';
}

/** `tasks 12 of 3,400  /nightly` */
function title(ui: Ui): Line {
  const { snapshot } = ui;
  const line: Span[] = [span('tasks')];
  if (snapshot === null) return line;
  const count = ui.filter === '' ? thousands(snapshot.matching) : `${thousands(snapshot.matching)} of ${thousands(snapshot.total)}`;
  line.push(span(` ${count}`, { bold: true }));
  if (ui.filter !== '') line.push(span('  /', DIM), span(ui.filter, { fg: 'cyan' }));
  if (ui.filter !== '' && !snapshot.isComplete) line.push(span('  looking…', DIM));
  if (snapshot.filterError !== null) line.push(span(`  ${snapshot.filterError}`, { fg: 'red' }));
  if (ui.marked.size > 0) line.push(span(`  ${ui.marked.size} marked`, { fg: 'magenta' }));
  return line;
}

function place(ui: Ui, rows: number): Line {
  const { reach = 0, matching = 0 } = ui.snapshot ?? {};
  if (reach <= rows) return [];
  const of = `${reach < matching ? 'the first ' : ''}${thousands(reach)}`;
  return [span(`${thousands(ui.top + 1)}-${thousands(Math.min(reach, ui.top + rows))} of ${of}`, DIM)];
}

function heading(ui: Ui, columns: readonly Placed[]): Line {
  const line: Span[] = [space(GUTTER)];
  for (const [i, c] of columns.entries()) {
    if (i > 0) line.push(space(1));
    const isSorted = ui.sort === c.column;
    // The order in which they run is reversed by O alone, and then said at the first column.
    const mark = isSorted ? (ui.reverse ? '▼' : '▲') : ui.sort === null && ui.reverse && i === 0 ? '▼' : '';
    line.push(cell(c.title + mark, c.columns, isSorted ? { bold: true } : DIM, c.align));
  }
  return line;
}

function rowOf(ui: Ui, row: Row, columns: readonly Placed[], isCursor: boolean): Line {
  const isMarked = ui.marked.has(row.id);
  const line: Span[] = [
    span(isCursor ? '▌' : ' ', ui.focus === 'tasks' ? PLAIN : DIM),
    span(isMarked ? '*' : ' ', { fg: 'magenta', bold: true }),
  ];
  for (const [i, c] of columns.entries()) {
    if (i > 0) line.push(space(1));
    line.push(...fill(cellOf(ui, row, c), c.columns));
  }
  return line;
}

function cellOf(ui: Ui, row: Row, c: Placed): Line {
  const text = (value: string | null, style = PLAIN): Line => [cell(value ?? '', c.columns, style, c.align)];
  switch (c.column) {
    case 'state':
      return text(stateText(row.state), stateLook(row.state));
    case 'id':
      return text(idText(row.id, c.columns), DIM);
    case 'name':
      return nameCell(row, c.columns);
    case 'queue':
      return text(row.queue, DIM);
    case 'group':
      return text(row.group, DIM);
    case 'priority':
      return text(row.priority === null ? '' : String(row.priority), row.priority === 0 ? DIM : { bold: true });
    case 'user':
      return text(row.user, DIM);
    case 'worker':
      return text(row.worker);
    case 'age':
      return text(age(momentOf(ui) - row.submittedAt), DIM);
    case 'time':
      return text(timeText(ui, row), row.state === 'running' ? PLAIN : DIM);
    case 'info':
      return infoCell(row, c.columns);
  }
}

function momentOf(ui: Ui): number {
  return ui.snapshot?.at ?? ui.now;
}

/** As much of the end as fits: it is what differs. */
function idText(id: string, columns: number): string {
  if (id.length <= columns) return id;
  const dot = id.indexOf('.');
  if (dot < 0) return id.slice(-SHORT_ID);
  const element = id.slice(dot);
  return element.length + 2 <= columns ? id.slice(dot - (columns - element.length), dot) + element : element;
}

function nameCell(row: Row, columns: number): Line {
  const indent = space(2 * row.depth);
  const sign = row.isFolded === null ? '' : row.isFolded ? '▸ ' : '▾ ';
  const { name } = row;
  const room = columns - 2 * row.depth - sign.length;
  return [
    indent,
    span(sign, { fg: 'cyan' }),
    name === null ? cell('…', room, DIM) : cell(name, room, row.kind === 'group' || row.kind === 'array' ? { bold: true } : PLAIN),
  ];
}

/** How long it runs or ran. */
function timeText(ui: Ui, row: Row): string {
  if (row.startedAt === null) return '';
  if (row.state === 'running') return clock(momentOf(ui) - row.startedAt);
  return row.endedAt === null ? '' : clock(row.endedAt - row.startedAt);
}

const LEAST_BAR = 6;
const MOST_BAR = 20;

function infoCell(row: Row, columns: number): Line {
  const bar = Math.min(MOST_BAR, Math.max(LEAST_BAR, Math.floor(columns * 0.33)));
  if (row.counts !== null) {
    const told = countsText(row.counts, columns - bar - 1);
    const rest = [row.info]
      .filter((part) => part !== '' && !IN_COUNTS.test(part) && !told.includes(part))
      .map((part) => `  ${visible(part)}`);
    return fill([...countsBar(row.counts, bar), space(1), span(told), ...rest.map((part) => span(part, DIM))], columns);
  }
  if (row.state === 'running' && row.percent !== null) {
    const percent = Math.min(100, Math.max(0, Math.round(row.percent)));
    const line: Line = [...progressBar(percent, bar), space(1), cell(`${percent}%`, 4, PLAIN, 'right')];
    const left = columns - lineWidth(line) - 1;
    return fill([...line, space(1), cell(row.message ?? '', left, DIM)], columns);
  }
  const parts = [row.message, row.info].filter((part): part is string => part !== null && part !== '');
  // Numbers of attempts of elements are those of the pieces they were claimed in.
  const attempt =
    row.kind !== 'element' && row.attempt > 1 && !parts.some((part) => part.includes('attempt')) ? [`attempt ${row.attempt}`] : [];
  return [cell([...parts, ...attempt].join(', '), columns, row.state === 'failed' ? { fg: 'red' } : DIM)];
}
