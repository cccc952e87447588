/**
 * The whole screen from the state of the view: as many lines as it has rows, each as wide as it has columns, and what the mouse hits
 * where. Pure.
 */
import { LEAST_COLUMNS, LEAST_ROWS } from '../layout.ts';
import { layoutFor, type Target, type Ui } from '../state.ts';
import { fill, span, type Line } from '../text.ts';
import { beside, inTheMiddle, stack, type Block, type Zone } from './block.ts';
import { columnsBox, confirmBox, footer, helpBox } from './boxes.ts';
import { header } from './header.ts';
import { sidePane } from './side.ts';
import { tasksPane } from './tasks.ts';
import { workersPane } from './workers.ts';

export interface Frame {
  lines: readonly Line[];
  zones: readonly Zone[];
}

export function drawFrame(ui: Ui): Frame {
  const layout = layoutFor(ui);
  if (layout === undefined) return tooSmall(ui);
  const { isBoxed } = layout;
  const lists: Block[] = [];
  if (layout.workers !== null) lists.push(workersPane(ui, layout.workers, isBoxed));
  if (layout.tasks !== null) lists.push(tasksPane(ui, layout.tasks, isBoxed));
  let body = stack(lists);
  if (layout.side !== null && ui.side !== null) {
    const side = sidePane(ui, ui.side, layout.side, isBoxed);
    body = layout.side.x > 0 ? beside(body, side, layout.side.x) : stack([body, side]);
  }
  const foot = footer(ui);
  let whole = stack([header(ui, layout.header.rows), body, foot]);
  if (ui.modal?.kind === 'help') whole = inTheMiddle(whole, helpBox(ui, ui.modal.top), ui.columns);
  if (ui.modal?.kind === 'confirm') whole = inTheMiddle(whole, confirmBox(ui, ui.modal), ui.columns);
  if (ui.modal?.kind === 'columns') whole = inTheMiddle(whole, columnsBox(ui, ui.modal.at), ui.columns);
  return { lines: whole.lines.slice(0, ui.rows).map((line) => fill(line, ui.columns)), zones: whole.zones };
}

function tooSmall({ columns, rows }: Ui): Frame {
  const words = [`too small: ${columns}x${rows}`, `at least ${LEAST_COLUMNS}x${LEAST_ROWS}`, 'q quits'];
  const lines = Array.from({ length: Math.max(1, rows) }, (_, y): Line => fill(words[y] === undefined ? [] : [span(words[y])], columns));
  return { lines, zones: [] };
}

/** What the mouse hits there: the innermost, which is the first. */
export function hit(frame: Frame, x: number, y: number): Target | undefined {
  return frame.zones.find((zone) => zone.y === y && x >= zone.x && x < zone.end)?.on;
}
