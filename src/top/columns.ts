/**
 * The columns of the tasks pane: which of them a width has room for, in the order in which they stand. Pure.
 */
import type { Column } from './model.ts';

export interface ColumnSpec {
  column: Column;
  title: string;
  /** Columns of the screen that it takes, or at least takes when it may grow. */
  columns: number;
  /** Share of what is left over. */
  grow: number;
  align: 'left' | 'right';
  /** What is kept when there is no room for all: the lowest. */
  rank: number;
}

/** In the order in which they stand. */
export const TASK_COLUMNS: readonly ColumnSpec[] = [
  { column: 'state', title: 'STATE', columns: 10, grow: 0, align: 'left', rank: 0 },
  { column: 'id', title: 'ID', columns: 14, grow: 0, align: 'left', rank: 5 },
  { column: 'name', title: 'NAME', columns: 14, grow: 3, align: 'left', rank: 1 },
  { column: 'queue', title: 'QUEUE', columns: 8, grow: 0, align: 'left', rank: 7 },
  { column: 'group', title: 'GROUP', columns: 10, grow: 0, align: 'left', rank: 9 },
  { column: 'priority', title: 'PRI', columns: 3, grow: 0, align: 'right', rank: 8 },
  { column: 'user', title: 'USER', columns: 8, grow: 0, align: 'left', rank: 10 },
  { column: 'worker', title: 'WORKER', columns: 8, grow: 0, align: 'left', rank: 4 },
  { column: 'age', title: 'AGE', columns: 6, grow: 0, align: 'right', rank: 6 },
  { column: 'time', title: 'TIME', columns: 6, grow: 0, align: 'right', rank: 3 },
  { column: 'info', title: 'PROGRESS, REASON', columns: 19, grow: 4, align: 'left', rank: 2 },
];

/** Of an id in a narrow window its end is shown: it differs where the begin, a time, is the same. */
export const SHORT_ID = 6;

export interface Placed extends ColumnSpec {
  /** From the left edge of the list. */
  x: number;
}

/** From here on ids are shown whole. */
const WIDE = 110;
const NARROW = 70;

/** Columns after these come only when names and progress have so much more than they need. */
const LAST_OF_MUST = 6;
const BREADTH = 22;

/** Before the first column: cursor and mark. */
export const GUTTER = 2;

/** The columns that are shown in a list of this width, with their places. One that is hidden is left out. */
export function placeColumns(columns: number, hidden: ReadonlySet<Column>): Placed[] {
  const wanted = TASK_COLUMNS.filter((c) => !hidden.has(c.column)).map((c) => {
    if (c.column === 'id' && columns < WIDE) return { ...c, columns: SHORT_ID };
    // A very narrow window rather cuts these than to lose others.
    return c.grow > 0 && columns < NARROW ? { ...c, columns: c.columns - 4 } : c;
  });
  const kept: ColumnSpec[] = [];
  let used = GUTTER;
  for (const c of wanted.toSorted((a, b) => a.rank - b.rank)) {
    const spare = c.rank > LAST_OF_MUST ? BREADTH : 0;
    if (used + c.columns + (kept.length === 0 ? 0 : 1) + spare > columns) continue;
    used += c.columns + (kept.length === 0 ? 0 : 1);
    kept.push(c);
  }
  const shown = wanted.filter((c) => kept.includes(c));
  const shares = shown.reduce((sum, c) => sum + c.grow, 0);
  let over = columns - used;
  let left = shares;
  let x = GUTTER;
  return shown.map((c) => {
    const more = c.grow === 0 || left === 0 ? 0 : Math.floor((over * c.grow) / left);
    over -= more;
    left -= c.grow;
    const placed = { ...c, columns: c.columns + more, x };
    x += placed.columns + 1;
    return placed;
  });
}
