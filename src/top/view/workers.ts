/**
 * The pane of the workers. Pure.
 */
import { visible, width } from '../../task/visible.ts';
import type { WorkerRow } from '../model.ts';
import { WORKER_COLUMNS, workersOf, type Ui, type WorkerColumn } from '../state.ts';
import { cell, clock, DIM, fill, inverted, PLAIN, space, span, type Line, type Span } from '../text.ts';
import { listRows, textColumns, type Rect } from '../layout.ts';
import { join, pane, type Block, type Zone } from './block.ts';
import { slotsBar, workerState } from './words.ts';

const TITLES: Readonly<Record<WorkerColumn, string>> = {
  name: 'WORKER',
  state: 'STATE',
  slots: 'SLOTS',
  load: 'LOAD',
  seen: 'SEEN',
  runs: 'RUNS',
};
const STATE_COLUMNS = 16;
const LOAD_COLUMNS = 5;
const SEEN_COLUMNS = 6;
const NUMBERS = 5;

export function workersPane(ui: Ui, rect: Rect, isBoxed: boolean): Block {
  const all = workersOf(ui);
  const inner = textColumns(rect, isBoxed);
  const rows = listRows(rect, isBoxed);
  const sizes = sizesOf(inner, all);
  const isFocused = ui.focus === 'workers';
  const lines: Line[] = [heading(ui, sizes)];
  const zones: Zone[] = headingZones(sizes);
  if (all.length === 0) lines.push([space(2), span(ui.snapshot === null ? '' : 'no workers: tq worker starts one', DIM)]);
  for (let i = 0; i < rows && ui.workerTop + i < all.length; i++) {
    const at = ui.workerTop + i;
    const w = all[at]!;
    const line = fill(rowOf(ui, w, sizes, at === ui.workerAt), inner);
    lines.push(at === ui.workerAt && isFocused ? inverted(line) : line);
    zones.push({ y: i + 1, x: 0, end: inner, on: { kind: 'worker', at, again: false } });
  }
  return pane(
    { lines, zones },
    {
      columns: rect.columns,
      rows: rect.rows,
      isBoxed,
      isFocused,
      focus: 'workers',
      title: title(all, ui),
      right: hiddenBelow(ui, all.length, rows),
      window: { from: ui.workerTop, shown: rows, of: all.length },
    },
  );
}

function title(all: readonly WorkerRow[], ui: Ui): Line {
  const line: Span[] = [span('workers')];
  const alive = all.filter((w) => w.alive && w.state !== 'offline').length;
  if (all.length > 0) line.push(span(` ${alive}`, { bold: true }), span(alive === all.length ? '' : ` of ${all.length} alive`, DIM));
  if (ui.markedWorkers.size > 0) line.push(span(`  ${ui.markedWorkers.size} marked`, { fg: 'magenta' }));
  return line;
}

/** Says that there is more than the pane shows. */
function hiddenBelow(ui: Ui, all: number, rows: number): Line {
  if (all <= rows) return [];
  return [span(`${ui.workerTop + 1}-${Math.min(all, ui.workerTop + rows)} of ${all}`, DIM)];
}

type Sizes = ReadonlyArray<{ column: WorkerColumn; x: number; columns: number }>;

function sizesOf(inner: number, all: readonly WorkerRow[]): Sizes {
  const longest = all.reduce((most, w) => Math.max(most, width(visible(w.name))), 6);
  const name = Math.min(longest, Math.max(8, Math.floor(inner * 0.2)));
  const isWide = inner >= 100;
  // As many signs as the largest worker has slots, if there is room.
  const jobs = all.reduce((most, w) => Math.max(most, w.jobs), 1);
  const bar = Math.min(jobs, isWide ? 24 : inner >= 70 ? 10 : 4);
  const given: Array<readonly [WorkerColumn, number]> = [
    ['name', name],
    ['state', isWide ? STATE_COLUMNS + 4 : STATE_COLUMNS],
    ['slots', bar + 1 + NUMBERS],
    ...(inner >= 70 ? [['load', LOAD_COLUMNS] as const] : []),
    ['seen', SEEN_COLUMNS],
  ];
  const used = 2 + given.reduce((sum, [, n]) => sum + n + 1, 0);
  let x = 2;
  return [...given, ['runs', Math.max(0, inner - used)] as const].map(([column, columns]) => {
    const placed = { column, x, columns };
    x += columns + 1;
    return placed;
  });
}

const RIGHT: ReadonlySet<WorkerColumn> = new Set(['load', 'seen']);

function heading(ui: Ui, sizes: Sizes): Line {
  return [
    space(2),
    ...join(
      sizes.map(({ column, columns }) => {
        const mark = ui.workerSort === column ? (ui.workerReverse ? '▼' : '▲') : '';
        return cell(TITLES[column] + mark, columns, mark === '' ? DIM : { bold: true }, RIGHT.has(column) ? 'right' : 'left');
      }),
    ),
  ];
}

function headingZones(sizes: Sizes): Zone[] {
  return sizes
    .filter(({ column }) => WORKER_COLUMNS.includes(column))
    .map(({ column, x, columns }) => ({ y: 0, x, end: x + columns, on: { kind: 'worker-column', column } }));
}

function rowOf(ui: Ui, w: WorkerRow, sizes: Sizes, isCursor: boolean): Line {
  const isMarked = ui.markedWorkers.has(w.name);
  const line: Span[] = [
    span(isCursor ? '▌' : ' ', ui.focus === 'workers' ? PLAIN : DIM),
    span(isMarked ? '*' : ' ', { fg: 'magenta', bold: true }),
  ];
  for (const [i, { column, columns }] of sizes.entries()) {
    if (i > 0) line.push(space(1));
    line.push(...cellOf(ui, w, column, columns));
  }
  return line;
}

function cellOf(ui: Ui, w: WorkerRow, column: WorkerColumn, columns: number): Line {
  const isThere = w.alive && w.state !== 'offline';
  switch (column) {
    case 'name':
      return [cell(w.name, columns, isThere ? { bold: true } : DIM)];
    case 'state': {
      const { text, style } = workerState(w);
      return [cell(text, columns, style)];
    }
    case 'slots': {
      if (!isThere) return [space(columns)];
      return fill(
        [...slotsBar(w.running.length, w.jobs, columns - NUMBERS - 1), cell(` ${w.running.length}/${w.jobs}`, NUMBERS + 1)],
        columns,
      );
    }
    case 'load':
      return [
        cell(
          w.load === null || !isThere ? '' : w.load.toFixed(w.load < 100 ? 1 : 0),
          columns,
          w.load !== null && w.load > w.jobs * 2 ? { fg: 'yellow' } : PLAIN,
          'right',
        ),
      ];
    case 'seen': {
      const ago = w.lastSeenAt === null ? '' : clock(now(ui) - w.lastSeenAt);
      return [cell(ago, columns, isThere && !w.suspected ? DIM : { fg: 'yellow' }, 'right')];
    }
    case 'runs':
      return [runsOf(ui, w, columns)];
  }
}

function now(ui: Ui): number {
  return ui.snapshot?.at ?? ui.now;
}

/** What keeps it from work, or the names of what it runs. */
function runsOf(ui: Ui, w: WorkerRow, columns: number): Span {
  if (w.reason !== null && w.reason !== '') return cell(w.reason, columns, { fg: w.state === 'error' ? 'red' : 'yellow' });
  const names = w.running.map((id) => {
    const name = nameOf(ui, id) ?? '';
    if (name !== '') return name;
    const dot = id.indexOf('.');
    const whole = dot < 0 ? '' : (nameOf(ui, id.slice(0, dot)) ?? '');
    return whole === '' ? id : `${whole}${id.slice(dot)}`;
  });
  return cell(names.join('  '), columns, DIM);
}

/** Of a task that is in the list now. */
function nameOf(ui: Ui, id: string): string | null | undefined {
  const row = ui.snapshot?.rows.find((r) => r.id === id);
  return row?.kind === 'element' ? `${row.name}${id.slice(id.indexOf('.'))}` : row?.name;
}
