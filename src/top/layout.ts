/**
 * Where the panes are on a screen of a given size. Pure; the view draws into these places and the reducer scrolls by them.
 */

export interface Rect {
  x: number;
  y: number;
  columns: number;
  rows: number;
}

export interface Layout {
  header: Rect;
  workers: Rect | null;
  tasks: Rect | null;
  /** Details or log. */
  side: Rect | null;
  footer: Rect;
  /** Panes have a frame all around, not just a title. */
  isBoxed: boolean;
}

export interface Shown {
  columns: number;
  rows: number;
  workers: number;
  focus: 'tasks' | 'workers' | 'side';
  hasSide: boolean;
  isZoomed: boolean;
}

/** Below this there is no place for a row of every pane. */
export const LEAST_COLUMNS = 50;
export const LEAST_ROWS = 12;

const BOXED_COLUMNS = 100;
const BOXED_ROWS = 30;
/** From here on details stand beside the lists, or else below them. */
const BESIDE_COLUMNS = 150;
const BELOW_ROWS = 36;

/** Undefined: too small. */
export function layoutOf({ columns, rows, workers, focus, hasSide, isZoomed }: Shown): Layout | undefined {
  if (columns < LEAST_COLUMNS || rows < LEAST_ROWS) return undefined;
  const isBoxed = columns >= BOXED_COLUMNS && rows >= BOXED_ROWS;
  const top = rows >= 20 ? 3 : 2;
  const header: Rect = { x: 0, y: 0, columns, rows: top };
  const footer: Rect = { x: 0, y: rows - 1, columns, rows: 1 };
  const body: Rect = { x: 0, y: top, columns, rows: rows - top - 1 };
  const base = { header, footer, isBoxed };
  if (!hasSide) return { ...base, ...lists(body, workers, focus, isBoxed), side: null };
  const isBeside = columns >= BESIDE_COLUMNS;
  if (isZoomed || (!isBeside && rows < BELOW_ROWS)) return { ...base, workers: null, tasks: null, side: body };
  if (isBeside) {
    const left = Math.floor(columns * 0.5);
    return {
      ...base,
      ...lists({ ...body, columns: left }, workers, focus, isBoxed),
      side: { ...body, x: left, columns: columns - left },
    };
  }
  const upper = Math.floor(body.rows * 0.5);
  return {
    ...base,
    ...lists({ ...body, rows: upper }, workers, focus, isBoxed),
    side: { ...body, y: body.y + upper, rows: body.rows - upper },
  };
}

function lists(area: Rect, workers: number, focus: Shown['focus'], isBoxed: boolean): { workers: Rect; tasks: Rect } {
  const chrome = chromeOf(isBoxed);
  const most = Math.max(chrome + 2, Math.floor(area.rows * (focus === 'workers' ? 0.55 : 0.3)));
  const rows = Math.min(Math.max(1, workers) + chrome, most);
  return { workers: { ...area, rows }, tasks: { ...area, y: area.y + rows, rows: area.rows - rows } };
}

/** Rows of a list pane that are no rows of the list: title, names of the columns, lower edge. */
export function chromeOf(isBoxed: boolean): number {
  return isBoxed ? 3 : 2;
}

/** Rows of the list in a pane. */
export function listRows(pane: Rect | null, isBoxed: boolean): number {
  return pane === null ? 0 : Math.max(0, pane.rows - chromeOf(isBoxed));
}

/** Rows of text in the pane of details or of a log: it has no names of columns. */
export function textRows(pane: Rect | null, isBoxed: boolean): number {
  return pane === null ? 0 : Math.max(0, pane.rows - chromeOf(isBoxed) + 1);
}

/** Columns of text inside of a pane. */
export function textColumns(pane: Rect | null, isBoxed: boolean): number {
  return pane === null ? 0 : Math.max(0, pane.columns - (isBoxed ? 4 : 2));
}
