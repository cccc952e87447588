/**
 * What the live view is at a moment, and what each event makes of it: a pure reducer. It answers with what is to be done outside (look,
 * act, read a log, quit) as data.
 */
import { isTerminal, type State as TaskState } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import type { Act, Acted, Details, LogPart, Stream } from './actions.ts';
import { TASK_COLUMNS, placeColumns } from './columns.ts';
import { bindingOf, CHANGING, type Command, type Where } from './keys.ts';
import { layoutOf, listRows, textColumns, textRows, type Layout } from './layout.ts';
import { appendLog, findLine, NO_LOG, topOfEnd, type LogText } from './log-lines.ts';
import { detailLines, workerLines } from './details.ts';
import { DIM, span, textOf, type Line } from './text.ts';
import { EMPTY_ROW, type Ask, type Column, type Row, type Snapshot, type WorkerRow } from './model.ts';

export type WorkerColumn = 'name' | 'state' | 'slots' | 'load' | 'seen' | 'runs';
export const WORKER_COLUMNS: readonly WorkerColumn[] = ['name', 'state', 'slots', 'load', 'seen', 'runs'];

export type Side =
  | { kind: 'details'; id: string; details: Details | null; error: string | null; top: number; left: number; wrap: boolean; search: string }
  | { kind: 'worker'; name: string; top: number }
  | {
      kind: 'log';
      id: string;
      attempt: number | null;
      attempts: readonly number[];
      stream: Stream;
      log: LogText;
      /** First line shown; null: the end, as it grows. */
      top: number | null;
      left: number;
      wrap: boolean;
      escapes: boolean;
      search: string;
      match: number | null;
      taskState: string;
      isSplit: boolean;
      isOver: boolean;
      /** Counts the readers: what an older one still brings is not for this log. */
      reader: number;
    };

export type Modal =
  | { kind: 'help'; top: number }
  | { kind: 'confirm'; act: Act; title: string; names: readonly string[] }
  | { kind: 'columns'; at: number }
  | { kind: 'prompt'; for: 'filter' | 'search' | 'priority'; title: string; text: string; caret: number; before: string };

export interface Message {
  tone: 'good' | 'bad' | 'plain';
  text: string;
  at: number;
}

export interface Ui {
  columns: number;
  rows: number;
  /** Ms since the epoch. */
  now: number;
  snapshot: Snapshot | null;
  focus: 'tasks' | 'workers' | 'side';
  filter: string;
  sort: Column | null;
  reverse: boolean;
  unfolded: ReadonlySet<string>;
  hidden: ReadonlySet<Column>;
  /** Of all rows that match: the first in the window, and the one under the cursor. */
  top: number;
  at: number;
  cursor: string | null;
  marked: ReadonlyMap<string, Row>;
  workerTop: number;
  workerAt: number;
  workerCursor: string | null;
  workerSort: WorkerColumn | null;
  workerReverse: boolean;
  markedWorkers: ReadonlySet<string>;
  side: Side | null;
  isZoomed: boolean;
  modal: Modal | null;
  message: Message | null;
  /** Why the acting keys do nothing; null: they act. */
  readonly: string | null;
  /** Acts under way. */
  acting: number;
  readers: number;
  /** When the store answered last, ms since the epoch. */
  seenAt: number;
  /** Without an answer for this long the store is said to hang, ms. */
  patienceMs: number;
}

export type Event =
  | { kind: 'key'; key: string }
  | { kind: 'click'; on: Target }
  | { kind: 'wheel'; over: Ui['focus'] | null; by: 1 | -1 }
  | { kind: 'resize'; columns: number; rows: number }
  | { kind: 'tick'; now: number }
  | { kind: 'snapshot'; snapshot: Snapshot; now: number }
  | { kind: 'acted'; act: Act; acted: Acted }
  | { kind: 'details'; id: string; details: Details | null; error: string | null }
  | { kind: 'log'; reader: number; part: LogPart }
  | { kind: 'trouble'; text: string };

/** What lies under the mouse. */
export type Target =
  | { kind: 'row'; at: number; again: boolean }
  | { kind: 'worker'; at: number; again: boolean }
  | { kind: 'column'; column: Column }
  | { kind: 'worker-column'; column: WorkerColumn }
  | { kind: 'pane'; focus: Ui['focus'] }
  | { kind: 'key'; key: string };

export type Effect =
  | { kind: 'look' }
  | { kind: 'act'; act: Act }
  | { kind: 'details'; id: string }
  /** As time goes by. */
  | { kind: 'details-again'; id: string }
  | { kind: 'log'; id: string; attempt: number | null; stream: Stream; reader: number }
  | { kind: 'redraw' }
  | { kind: 'suspend' }
  | { kind: 'quit' };

export type Step = readonly [Ui, readonly Effect[]];

export function startUi(columns: number, rows: number, now: number, readonly: string | null, patienceMs = PATIENCE_MS): Ui {
  return {
    columns,
    rows,
    now,
    snapshot: null,
    focus: 'tasks',
    filter: '',
    sort: null,
    reverse: false,
    unfolded: new Set(),
    hidden: new Set(),
    top: 0,
    at: 0,
    cursor: null,
    marked: new Map(),
    workerTop: 0,
    workerAt: 0,
    workerCursor: null,
    workerSort: null,
    workerReverse: false,
    markedWorkers: new Set(),
    side: null,
    isZoomed: false,
    modal: null,
    message: null,
    readonly,
    acting: 0,
    readers: 0,
    seenAt: now,
    patienceMs,
  };
}

const PATIENCE_MS = 5000;
/** Messages go away after this long, ms. */
const MESSAGE_MS = 8000;
/** Rows per notch of the wheel. */
const WHEEL_ROWS = 3;
/** Columns per step to the side. */
const SIDE_STEP = 8;

export function reduce(ui: Ui, event: Event): Step {
  switch (event.kind) {
    case 'key':
      return ui.modal === null ? onKey(ui, event.key) : inModal(ui, ui.modal, event.key);
    case 'click':
      return onClick(ui, event.on);
    case 'wheel':
      return onWheel(ui, event.over, event.by);
    case 'resize':
      return [settle({ ...ui, columns: event.columns, rows: event.rows }), [{ kind: 'look' }]];
    case 'tick':
      return [aged({ ...ui, now: event.now }), []];
    case 'snapshot':
      return onSnapshot(aged({ ...ui, now: event.now, seenAt: event.now }), event.snapshot);
    case 'acted':
      return [
        { ...ui, acting: Math.max(0, ui.acting - 1), message: saidOf(event.act, event.acted, ui.now) },
        [{ kind: 'look' }, ...detailsEffect(ui)],
      ];
    case 'details':
      if (ui.side?.kind !== 'details' || ui.side.id !== event.id) return [ui, []];
      return [{ ...ui, side: { ...ui.side, details: event.details ?? ui.side.details, error: event.error } }, []];
    case 'log':
      return onLog(ui, event.reader, event.part);
    case 'trouble':
      return [say(ui, 'bad', event.text), []];
  }
}

// What the view and the reducer both need to know.

export function layoutFor(ui: Ui): Layout | undefined {
  return layoutOf({
    columns: ui.columns,
    rows: ui.rows,
    workers: ui.snapshot?.workers.length ?? 0,
    focus: ui.focus,
    hasSide: ui.side !== null,
    isZoomed: ui.isZoomed,
  });
}

/** Where a key is meant for. */
export function whereOf(ui: Ui): Where {
  if (ui.focus !== 'side' || ui.side === null) return ui.focus === 'workers' ? 'workers' : 'tasks';
  return ui.side.kind === 'log' ? 'log' : 'details';
}

/** What the store is asked for: a page before and a page after the window too, so that keys need not wait for it. */
export function askOf(ui: Ui): Ask {
  const page = Math.max(1, taskRows(ui));
  return {
    filter: ui.filter,
    sort: ui.sort,
    reverse: ui.reverse,
    offset: Math.max(0, ui.top - page),
    rows: 3 * page,
    cursor: formsAbove(ui, ui.snapshot) ? null : ui.cursor,
    unfolded: ui.unfolded,
  };
}

/** The cursor is at the top of an order that is still being found out: it stays there, whatever comes above. */
function formsAbove(ui: Ui, snapshot: Snapshot | null): boolean {
  return ui.sort !== null && ui.at === 0 && snapshot?.isComplete === false;
}

/** The row at a place among all that match; undefined: it was not read yet. */
export function rowAt(ui: Ui, at: number): Row | undefined {
  return ui.snapshot?.rows[at - ui.snapshot.offset];
}

export function taskRows(ui: Ui): number {
  const layout = layoutFor(ui);
  return layout === undefined ? 0 : listRows(layout.tasks, layout.isBoxed);
}

export function workerRows(ui: Ui): number {
  const layout = layoutFor(ui);
  return layout === undefined ? 0 : listRows(layout.workers, layout.isBoxed);
}

/** The workers in the order of the screen. */
export function workersOf(ui: Ui): readonly WorkerRow[] {
  const all = ui.snapshot?.workers ?? [];
  if (ui.workerSort === null) return ui.workerReverse ? all.toReversed() : all;
  const by = ui.workerSort;
  const ordered = all.toSorted((a, b) => compare(workerKey(a, by), workerKey(b, by)) || compare(a.name, b.name));
  return ui.workerReverse ? ordered.toReversed() : ordered;
}

function workerKey(w: WorkerRow, by: WorkerColumn): string | number {
  switch (by) {
    case 'name':
      return w.name;
    case 'state':
      return w.alive ? w.state : `~${w.state}`;
    case 'slots':
      return -w.running.length;
    case 'load':
      return -(w.load ?? -1);
    case 'seen':
      return -(w.lastSeenAt ?? 0);
    case 'runs':
      return w.running[0] ?? '~';
  }
}

function compare(a: string | number, b: string | number): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

// The parts of the reducer.

function aged(ui: Ui): Ui {
  return ui.message !== null && ui.now - ui.message.at > MESSAGE_MS ? { ...ui, message: null } : ui;
}

function say(ui: Ui, tone: Message['tone'], text: string): Ui {
  return { ...ui, message: { tone, text, at: ui.now } };
}

function onSnapshot(ui: Ui, snapshot: Snapshot): Step {
  const { cursor } = ui;
  let { at, top } = ui;
  const isLoose = formsAbove(ui, snapshot) || formsAbove(ui, ui.snapshot);
  const found = cursor === null || isLoose ? -1 : snapshot.rows.findIndex((row) => row.id === cursor);
  if (found >= 0) {
    // It keeps its row on the screen while others come and go above it.
    const onScreen = at - top;
    at = snapshot.offset + found;
    top = ui.at === 0 && at === 0 ? 0 : at - onScreen;
  }
  const marked = new Map(ui.marked);
  for (const row of snapshot.rows) if (marked.has(row.id)) marked.set(row.id, row);
  const names = new Set(snapshot.workers.map((w) => w.name));
  const markedWorkers = new Set([...ui.markedWorkers].filter((name) => names.has(name)));
  const next = settle({ ...ui, snapshot, at, top, cursor, marked, markedWorkers });
  // The window moved out of what was read.
  const isRead = rowAt(next, next.top) !== undefined && rowAt(next, Math.min(next.top + taskRows(next), snapshot.reach) - 1) !== undefined;
  const missing = snapshot.reach > 0 && !isRead && (next.top !== ui.top || ui.snapshot === null);
  return [next, [...(missing ? [{ kind: 'look' } as const] : []), ...detailsEffect(next, ui)]];
}

/** Brings cursors and windows into what there is. */
function settle(ui: Ui): Ui {
  const reach = ui.snapshot?.reach ?? 0;
  const rows = Math.max(1, taskRows(ui));
  const at = clamp(ui.at, 0, reach - 1);
  let top = clamp(ui.top, 0, reach - rows);
  if (at < top) top = at;
  if (at >= top + rows) top = at - rows + 1;
  const row = rowAt(ui, at);
  const workers = workersOf(ui);
  const known = ui.workerCursor === null ? -1 : workers.findIndex((w) => w.name === ui.workerCursor);
  const workerAt = known >= 0 ? known : clamp(ui.workerAt, 0, workers.length - 1);
  const wRows = Math.max(1, workerRows(ui));
  let workerTop = clamp(ui.workerTop, 0, workers.length - wRows);
  if (workerAt < workerTop) workerTop = workerAt;
  if (workerAt >= workerTop + wRows) workerTop = workerAt - wRows + 1;
  return { ...ui, at, top, cursor: row?.id ?? null, workerAt, workerTop, workerCursor: workers[workerAt]?.name ?? null };
}

function clamp(n: number, least: number, most: number): number {
  return Math.max(least, Math.min(n, Math.max(least, most)));
}

/** Details that stand beside the list are of the task under the cursor. */
function detailsEffect(ui: Ui, before?: Ui): Effect[] {
  if (ui.side?.kind !== 'details') return [];
  if (before === undefined) return [{ kind: 'details', id: ui.side.id }];
  return before.snapshot?.at === ui.snapshot?.at ? [] : [{ kind: 'details-again', id: ui.side.id }];
}

function onKey(ui: Ui, key: string): Step {
  const where = whereOf(ui);
  const binding = bindingOf(key, where);
  if (binding === undefined) {
    const elsewhere = (['tasks', 'workers', 'log'] as const).find((place) => bindingOf(key, place) !== undefined);
    if (elsewhere === undefined) return [ui, []];
    const words = elsewhere === 'log' ? 'in a log: l opens it' : `in the ${elsewhere} pane: tab goes there`;
    return [say(ui, 'plain', `${key} is for use ${words}`), []];
  }
  return command({ ...ui, message: null }, binding.does, key, where);
}

function command(ui: Ui, does: Command, key: string, where: Where): Step {
  if (CHANGING.has(does)) {
    const why = ui.readonly ?? (ui.snapshot?.isWritable === false ? 'you may not write to this queue' : null);
    if (why !== null) return [say(ui, 'bad', `${does}: nothing was changed: ${why}`), []];
  }
  switch (does) {
    case 'quit':
      return [ui, [{ kind: 'quit' }]];
    case 'suspend':
      return [ui, [{ kind: 'suspend' }]];
    case 'redraw':
      return [ui, [{ kind: 'redraw' }, { kind: 'look' }]];
    case 'help':
      return [{ ...ui, modal: { kind: 'help', top: 0 } }, []];
    case 'up':
      return move(ui, -1);
    case 'down':
      return move(ui, 1);
    case 'page-up':
      return move(ui, -pageOf(ui));
    case 'page-down':
      return move(ui, pageOf(ui));
    case 'first':
      return move(ui, Number.NEGATIVE_INFINITY);
    case 'last':
      return move(ui, Number.POSITIVE_INFINITY);
    case 'left':
      return sideways(ui, -SIDE_STEP);
    case 'right':
      return sideways(ui, SIDE_STEP);
    case 'next-pane':
      return turn(ui, 1);
    case 'previous-pane':
      return turn(ui, -1);
    case 'zoom':
      return [settle({ ...ui, isZoomed: !ui.isZoomed && ui.side !== null, focus: ui.side === null ? ui.focus : 'side' }), []];
    case 'in':
      return fold(ui, false);
    case 'out':
      return fold(ui, true);
    case 'fold-all':
      return foldAll(ui);
    case 'open':
      return open(ui);
    case 'logs':
      return logs(ui);
    case 'back':
      return back(ui);
    case 'mark':
      return mark(ui);
    case 'mark-all':
      return markAll(ui);
    case 'filter':
      if (where === 'workers') return prompt({ ...ui, focus: 'tasks' }, 'filter', 'filter', ui.filter);
      return prompt(ui, 'filter', 'filter', ui.filter);
    case 'search':
      return prompt(ui, 'search', 'search', ui.side !== null && ui.side.kind !== 'worker' ? ui.side.search : '');
    case 'next-match':
      return nextMatch(ui, ui.side?.kind === 'log' ? -1 : 1);
    case 'previous-match':
      return nextMatch(ui, ui.side?.kind === 'log' ? 1 : -1);
    case 'sort-by':
      return sortBy(ui, Number(key) - 1);
    case 'sort-next':
      return sortNext(ui);
    case 'reverse':
      return ui.focus === 'workers' ? [settle({ ...ui, workerReverse: !ui.workerReverse }), []] : sorted(ui, ui.sort, !ui.reverse);
    case 'columns':
      return [{ ...ui, modal: { kind: 'columns', at: 0 } }, []];
    case 'cancel':
    case 'retry':
      return actOn(ui, does);
    case 'hold':
      return holdOrRelease(ui);
    case 'priority': {
      const targets = targetsOf(ui);
      if (targets.length === 0) return [say(ui, 'plain', 'no task is chosen'), []];
      const now = targets.length === 1 ? targets[0]!.priority : null;
      return prompt(ui, 'priority', `priority of ${some(targets)} (-99 to 99)`, now === null ? '' : String(now));
    }
    case 'sleep':
    case 'wake':
    case 'stop':
      return actOnWorkers(ui, does);
    case 'follow':
    case 'wrap':
    case 'stream':
    case 'escapes':
    case 'earlier-attempt':
    case 'later-attempt':
      return inLog(ui, does);
  }
}

function pageOf(ui: Ui): number {
  if (ui.focus === 'side') return Math.max(1, sideRows(ui) - 1);
  return Math.max(1, (ui.focus === 'workers' ? workerRows(ui) : taskRows(ui)) - 1);
}

function sideRows(ui: Ui): number {
  const layout = layoutFor(ui);
  return layout === undefined ? 0 : textRows(layout.side, layout.isBoxed);
}

function sideColumns(ui: Ui): number {
  const layout = layoutFor(ui);
  return layout === undefined ? 0 : textColumns(layout.side, layout.isBoxed);
}

function move(ui: Ui, by: number): Step {
  if (ui.focus === 'side' && ui.side !== null) return scroll(ui, ui.side, by);
  if (ui.focus === 'workers') return moveWorker(ui, ui.workerAt + by);
  return moveTo(ui, ui.at + by);
}

function moveTo(ui: Ui, to: number): Step {
  const at = clamp(to, 0, (ui.snapshot?.reach ?? 0) - 1);
  if (at === ui.at) return [ui, []];
  return moved(settle({ ...ui, at, cursor: null }));
}

/** After the cursor went somewhere: what is not read yet is looked for, and details beside the list follow. */
function moved(ui: Ui): Step {
  const { snapshot } = ui;
  const page = Math.max(1, taskRows(ui));
  const effects: Effect[] = [];
  if (snapshot !== null) {
    const needFrom = Math.max(0, ui.top - Math.floor(page / 2));
    const needTo = Math.min(snapshot.reach, ui.top + Math.ceil(1.5 * page));
    if (needFrom < snapshot.offset || needTo > snapshot.offset + snapshot.rows.length) effects.push({ kind: 'look' });
  }
  if (ui.side?.kind !== 'details' || ui.cursor === null || ui.cursor === ui.side.id || ui.focus === 'side') return [ui, effects];
  return [
    { ...ui, side: { ...ui.side, id: ui.cursor, details: null, error: null, top: 0, left: 0 } },
    [...effects, { kind: 'details', id: ui.cursor }],
  ];
}

function moveWorker(ui: Ui, to: number): Step {
  const workers = workersOf(ui);
  const at = clamp(to, 0, workers.length - 1);
  const next = settle({ ...ui, workerAt: at, workerCursor: workers[at]?.name ?? null });
  if (next.side?.kind !== 'worker' || next.workerCursor === null) return [next, []];
  return [{ ...next, side: { kind: 'worker', name: next.workerCursor, top: 0 } }, []];
}

/** The lines of the pane of details. */
export function sideText(ui: Ui, side: Exclude<Side, { kind: 'log' }>, columns: number): Line[] {
  const now = ui.snapshot?.at ?? ui.now;
  if (side.kind === 'worker') {
    const worker = ui.snapshot?.workers.find((w) => w.name === side.name);
    return worker === undefined ? [[span('this worker is not there any more', DIM)]] : workerLines(worker, now, columns);
  }
  if (side.error !== null) return [[span(side.error, { fg: 'red' })]];
  return side.details === null ? [[span('…', DIM)]] : detailLines(side.details, now, { ...side, columns });
}

function scroll(ui: Ui, side: Side, by: number): Step {
  const rows = sideRows(ui);
  if (side.kind !== 'log') {
    const most = sideText(ui, side, sideColumns(ui)).length - rows;
    return [{ ...ui, side: { ...side, top: clamp(Math.min(side.top, Math.max(0, most)) + by, 0, most) } }, []];
  }
  const { lines } = side.log;
  const end = topOfEnd(lines, rows, sideColumns(ui), side.wrap, side.escapes);
  const top = clamp((side.top ?? end) + by, 0, end);
  return [{ ...ui, side: { ...side, top: top >= end && by > 0 ? null : top } }, []];
}

function sideways(ui: Ui, by: number): Step {
  if (ui.side === null || ui.side.kind === 'worker') return [ui, []];
  return [{ ...ui, side: { ...ui.side, left: Math.max(0, ui.side.left + by), wrap: false } }, []];
}

function turn(ui: Ui, by: 1 | -1): Step {
  if (ui.isZoomed || layoutFor(ui)?.tasks === null) return [ui, []];
  const panes: Array<Ui['focus']> = ['tasks', 'workers', ...(ui.side === null ? [] : ['side' as const])];
  const at = (panes.indexOf(ui.focus) + by + panes.length) % panes.length;
  return [settle({ ...ui, focus: panes[at]! }), []];
}

function fold(ui: Ui, isFolded: boolean): Step {
  const row = rowAt(ui, ui.at);
  if (ui.focus !== 'tasks' || row === undefined) return [ui, []];
  if (row.isFolded === null || row.isFolded === isFolded) {
    // To the left of what is folded is what it belongs to.
    if (!isFolded || row.depth === 0) return [ui, []];
    for (let at = ui.at - 1; at >= 0; at--) {
      const above = rowAt(ui, at);
      if (above === undefined) break;
      if (above.depth < row.depth) return moveTo(ui, at);
    }
    return [ui, []];
  }
  const unfolded = new Set(ui.unfolded);
  if (isFolded) unfolded.delete(row.id);
  else unfolded.add(row.id);
  return [{ ...ui, unfolded }, [{ kind: 'look' }]];
}

function foldAll(ui: Ui): Step {
  const rows = (ui.snapshot?.rows ?? []).filter((row) => row.isFolded !== null);
  const unfolded = new Set(ui.unfolded);
  const isAnyFolded = rows.some((row) => row.isFolded === true);
  for (const row of rows) {
    if (isAnyFolded) unfolded.add(row.id);
    else unfolded.delete(row.id);
  }
  return [{ ...ui, unfolded }, [{ kind: 'look' }]];
}

function open(ui: Ui): Step {
  if (ui.focus === 'workers') {
    if (ui.workerCursor === null) return [ui, []];
    return [settle({ ...ui, side: { kind: 'worker', name: ui.workerCursor, top: 0 } }), []];
  }
  if (ui.focus === 'side') {
    if (ui.side?.kind !== 'log') return [ui, []];
    return details(ui, ui.side.id);
  }
  const row = rowAt(ui, ui.at);
  if (row === undefined) return [ui, []];
  if (row.kind === 'group') return fold(ui, row.isFolded === false);
  return details(ui, row.id);
}

function details(ui: Ui, id: string): Step {
  const side: Side = { kind: 'details', id, details: null, error: null, top: 0, left: 0, wrap: true, search: '' };
  return [settle({ ...ui, side, focus: 'side' }), [{ kind: 'details', id }]];
}

function logs(ui: Ui): Step {
  if (ui.focus === 'tasks') {
    const row = rowAt(ui, ui.at);
    if (row === undefined) return [ui, []];
    if (row.kind === 'group' || row.kind === 'array') {
      return row.isFolded === true ? fold(ui, false) : [say(ui, 'plain', 'unfolded already: choose one of its tasks for its output'), []];
    }
    return openLog(ui, row.id, null, 'both');
  }
  if (ui.side?.kind === 'details' && ui.side.details !== null && ui.side.details.counts !== null) {
    return [say(ui, 'plain', 'an array has no output of its own: unfold it and choose one of its tasks'), []];
  }
  if (ui.side?.kind === 'details') return openLog(ui, ui.side.id, null, 'both');
  return [ui, []];
}

function openLog(ui: Ui, id: string, attempt: number | null, stream: Stream): Step {
  const before = ui.side?.kind === 'log' && ui.side.id === id ? ui.side : null;
  const reader = ui.readers + 1;
  const side: Side = {
    kind: 'log',
    id,
    attempt,
    attempts: before?.attempts ?? [],
    stream,
    log: NO_LOG,
    top: null,
    left: 0,
    wrap: before?.wrap ?? true,
    escapes: before?.escapes ?? true,
    search: before?.search ?? '',
    match: null,
    taskState: before?.taskState ?? '',
    isSplit: before?.isSplit ?? false,
    isOver: false,
    reader,
  };
  return [settle({ ...ui, side, focus: 'side', readers: reader }), [{ kind: 'log', id, attempt, stream, reader }]];
}

function onLog(ui: Ui, reader: number, part: LogPart): Step {
  const { side } = ui;
  if (side?.kind !== 'log' || side.reader !== reader) return [ui, []];
  const log = appendLog(side.log, part.pieces);
  const gone = log.dropped - side.log.dropped;
  const top = side.top === null ? null : Math.max(0, side.top - gone);
  const { attempts, isSplit, isOver } = part;
  return [{ ...ui, side: { ...side, log, top, attempts, isSplit, isOver, taskState: part.state } }, []];
}

function back(ui: Ui): Step {
  if (ui.side !== null)
    return [settle({ ...ui, side: null, isZoomed: false, focus: ui.focus === 'side' ? backTo(ui.side) : ui.focus }), []];
  if (ui.filter !== '') return filtered(ui, '');
  return [{ ...ui, marked: new Map(), markedWorkers: new Set() }, []];
}

function backTo(side: Side): Ui['focus'] {
  return side.kind === 'worker' ? 'workers' : 'tasks';
}

function filtered(ui: Ui, filter: string): Step {
  if (filter === ui.filter) return [ui, []];
  return [{ ...ui, filter, top: 0, at: 0, cursor: filter === '' ? ui.cursor : null }, [{ kind: 'look' }]];
}

function mark(ui: Ui): Step {
  if (ui.focus === 'workers') {
    if (ui.workerCursor === null) return [ui, []];
    const markedWorkers = new Set(ui.markedWorkers);
    if (!markedWorkers.delete(ui.workerCursor)) markedWorkers.add(ui.workerCursor);
    return moveWorker({ ...ui, markedWorkers }, ui.workerAt + 1);
  }
  const row = rowAt(ui, ui.at);
  if (row === undefined) return [ui, []];
  const marked = new Map(ui.marked);
  if (!marked.delete(row.id)) marked.set(row.id, row);
  return moveTo({ ...ui, marked }, ui.at + 1);
}

function markAll(ui: Ui): Step {
  if (ui.focus === 'workers') {
    const all = workersOf(ui).map((w) => w.name);
    return [{ ...ui, markedWorkers: new Set(ui.markedWorkers.size > 0 ? [] : all) }, []];
  }
  if (ui.marked.size > 0) return [{ ...ui, marked: new Map() }, []];
  const marked = new Map<string, Row>();
  for (let at = ui.top; at < ui.top + taskRows(ui); at++) {
    const row = rowAt(ui, at);
    if (row !== undefined) marked.set(row.id, row);
  }
  return [{ ...ui, marked }, []];
}

/** The columns that the width shows now, as the digits count them. */
export function shownColumns(ui: Ui): readonly Column[] {
  const layout = layoutFor(ui);
  if (layout === undefined || layout.tasks === null) return TASK_COLUMNS.map((c) => c.column);
  return placeColumns(textColumns(layout.tasks, layout.isBoxed), ui.hidden).map((c) => c.column);
}

function sortBy(ui: Ui, n: number): Step {
  if (ui.focus === 'workers') {
    const column = WORKER_COLUMNS[n];
    return column === undefined ? [ui, []] : sortWorkers(ui, column);
  }
  const column = shownColumns(ui)[n];
  if (column === undefined) return [say(ui, 'plain', `there is no column ${n + 1}`), []];
  return sorted(ui, column, ui.sort === column && !ui.reverse);
}

function sortWorkers(ui: Ui, column: WorkerColumn): Step {
  return [settle({ ...ui, workerSort: column, workerReverse: ui.workerSort === column && !ui.workerReverse }), []];
}

/** After the last column comes the order in which they run. */
function sortNext(ui: Ui): Step {
  if (ui.focus === 'workers') {
    const at = ui.workerSort === null ? -1 : WORKER_COLUMNS.indexOf(ui.workerSort);
    return [settle({ ...ui, workerSort: WORKER_COLUMNS[at + 1] ?? null, workerReverse: false }), []];
  }
  const columns = shownColumns(ui);
  const at = ui.sort === null ? -1 : columns.indexOf(ui.sort);
  return sorted(ui, columns[at + 1] ?? null, false);
}

function sorted(ui: Ui, sort: Column | null, reverse: boolean): Step {
  return [{ ...ui, sort, reverse }, [{ kind: 'look' }]];
}

// Acting.

/** What the acting keys are about: the marked, or the one under the cursor, or the one whose details or log are shown. */
function targetsOf(ui: Ui): Row[] {
  if (ui.focus === 'side' && ui.side !== null && ui.side.kind !== 'worker') {
    const { id } = ui.side;
    const row = ui.snapshot?.rows.find((r) => r.id === id);
    return [row ?? bare(id, ui.side.kind === 'details' ? (ui.side.details?.state ?? '') : ui.side.taskState)];
  }
  if (ui.marked.size > 0) return [...ui.marked.values()];
  const row = rowAt(ui, ui.at);
  return row === undefined ? [] : [row];
}

/** One that is not in the list now. */
function bare(id: string, state: string): Row {
  return {
    ...EMPTY_ROW,
    kind: 'task',
    id,
    state: (state === '' ? 'queued' : state) as TaskState, // a word that tq itself printed
    submittedAt: 0,
  };
}

/** `7k2p render` */
function called(row: Row): string {
  return row.name === null || row.name === '' ? row.id : `${row.id} ${visible(row.name)}`;
}

function some(rows: readonly Row[]): string {
  return rows.length === 1 ? called(rows[0]!) : `${rows.length} tasks`;
}

function actOn(ui: Ui, kind: 'cancel' | 'retry'): Step {
  const targets = targetsOf(ui);
  if (targets.length === 0) return [say(ui, 'plain', 'no task is chosen'), []];
  const ids = targets.map((row) => row.id);
  const act: Act =
    kind === 'cancel'
      ? { kind, ids }
      : { kind, ids, many: targets.filter((row) => row.kind === 'array' || row.kind === 'group').map((row) => row.id) };
  if (kind === 'retry' && targets.every((row) => row.kind === 'task' || row.kind === 'element')) return begin(ui, act);
  return [
    {
      ...ui,
      modal: {
        kind: 'confirm',
        act,
        title: `${kind === 'cancel' ? 'cancel' : 'run what failed again of'} ${some(targets)}?`,
        names: targets.map(stateAndName),
      },
    },
    [],
  ];
}

function stateAndName(row: Row): string {
  if (row.counts === null) return `${called(row)}  ${row.state}`;
  const parts = Object.entries(row.counts).filter(([, n]) => n > 0);
  return `${called(row)}  ${parts.map(([state, n]) => `${n} ${state}`).join(', ')}`;
}

function holdOrRelease(ui: Ui): Step {
  const targets = targetsOf(ui);
  if (targets.length === 0) return [say(ui, 'plain', 'no task is chosen'), []];
  const isRelease = targets.every(isHeld);
  const rows = isRelease ? targets : targets.filter((row) => !isHeld(row));
  return begin(ui, { kind: isRelease ? 'release' : 'hold', ids: rows.map((row) => row.id) });
}

/** Of many: nothing is left that could be held. */
function isHeld(row: Row): boolean {
  return row.state === 'held' || ((row.counts?.held ?? 0) > 0 && (row.counts?.queued ?? 0) === 0);
}

function actOnWorkers(ui: Ui, kind: 'sleep' | 'wake' | 'stop'): Step {
  const names = ui.markedWorkers.size > 0 ? [...ui.markedWorkers] : ui.workerCursor === null ? [] : [ui.workerCursor];
  if (names.length === 0) return [say(ui, 'plain', 'there is no worker'), []];
  const act: Act = { kind, names };
  if (kind !== 'stop') return begin(ui, act);
  const running = (name: string): number => ui.snapshot?.workers.find((w) => w.name === name)?.running.length ?? 0;
  const title =
    names.length === 1
      ? `stop ${visible(names[0]!)} when what it runs has ended?`
      : `stop ${names.length} workers when what they run has ended?`;
  return [{ ...ui, modal: { kind: 'confirm', act, title, names: names.map((name) => `${visible(name)}  runs ${running(name)}`) } }, []];
}

/** The marks have done their work. */
function begin(ui: Ui, act: Act): Step {
  return [{ ...ui, acting: ui.acting + 1, marked: new Map(), markedWorkers: new Set(), modal: null }, [{ kind: 'act', act }]];
}

const DONE: Readonly<Record<Act['kind'], string>> = {
  cancel: 'cancel: asked for',
  retry: 'run again:',
  hold: 'held',
  release: 'released',
  priority: 'priority set:',
  sleep: 'asked to sleep:',
  wake: 'asked to wake:',
  stop: 'asked to stop:',
};

function saidOf(act: Act, { done, refusals }: Acted, at: number): Message {
  const all = 'ids' in act ? act.ids : act.names;
  const kind = 'ids' in act ? 'task' : 'worker';
  const who = all.length === 1 ? visible(all[0]!) : `${done} ${kind}${done === 1 ? '' : 's'}`;
  if (refusals.length === 0) return { tone: 'good', text: `${DONE[act.kind]} ${who}`, at };
  const more = refusals.length === 1 ? '' : ` (and ${refusals.length - 1} more refused)`;
  return { tone: 'bad', text: `${done === 0 ? '' : `${DONE[act.kind]} ${who}; `}${refusals[0]}${more}`, at };
}

// Prompts and boxes.

function prompt(ui: Ui, what: 'filter' | 'search' | 'priority', title: string, text: string): Step {
  return [{ ...ui, modal: { kind: 'prompt', for: what, title, text, caret: text.length, before: text } }, []];
}

function inModal(ui: Ui, modal: Modal, key: string): Step {
  if (key === 'ctrl-c') return [ui, [{ kind: 'quit' }]];
  if (key === 'ctrl-z') return [ui, [{ kind: 'suspend' }]];
  switch (modal.kind) {
    case 'help':
      return inHelp(ui, modal, key);
    case 'confirm':
      if (key === 'y' || key === 'Y') return begin({ ...ui, modal: null }, modal.act);
      if (key === 'n' || key === 'N' || key === 'esc' || key === 'q')
        return [say({ ...ui, modal: null }, 'plain', 'nothing was changed'), []];
      return [ui, []];
    case 'columns':
      return inColumns(ui, modal.at, key);
    case 'prompt':
      return inPrompt(ui, modal, key);
  }
}

function inHelp(ui: Ui, modal: { top: number }, key: string): Step {
  const to = (top: number): Step => [{ ...ui, modal: { kind: 'help', top: Math.max(0, top) } }, []];
  if (key === 'up' || key === 'k') return to(modal.top - 1);
  if (key === 'down' || key === 'j') return to(modal.top + 1);
  if (key === 'pgup') return to(modal.top - ui.rows + 4);
  if (key === 'pgdn' || key === 'space') return to(modal.top + ui.rows - 4);
  if (key === 'home' || key === 'g') return to(0);
  if (key === 'end' || key === 'G') return to(1000);
  return ['esc', 'q', '?', 'enter'].includes(key) ? [{ ...ui, modal: null }, []] : [ui, []];
}

function inColumns(ui: Ui, at: number, key: string): Step {
  const to = (next: number): Step => [{ ...ui, modal: { kind: 'columns', at: clamp(next, 0, TASK_COLUMNS.length - 1) } }, []];
  if (key === 'up' || key === 'k') return to(at - 1);
  if (key === 'down' || key === 'j') return to(at + 1);
  if (key === 'space' || key === 'x') {
    const { column } = TASK_COLUMNS[at]!;
    const hidden = new Set(ui.hidden);
    if (!hidden.delete(column)) hidden.add(column);
    return [{ ...ui, hidden: hidden.size === TASK_COLUMNS.length ? ui.hidden : hidden }, []];
  }
  return ['esc', 'q', 'enter', 'C'].includes(key) ? [{ ...ui, modal: null }, []] : [ui, []];
}

type Prompt = Extract<Modal, { kind: 'prompt' }>;

function inPrompt(ui: Ui, modal: Prompt, key: string): Step {
  if (key === 'enter') return entered({ ...ui, modal: null }, modal);
  if (key === 'esc') {
    const closed: Ui = { ...ui, modal: null };
    return modal.for === 'filter' ? filtered(closed, '') : [closed, []];
  }
  const edited = edit(modal, key);
  if (edited === undefined) return modal.for === 'filter' && (key === 'up' || key === 'down') ? move(ui, key === 'up' ? -1 : 1) : [ui, []];
  const next: Ui = { ...ui, modal: edited };
  return modal.for === 'filter' ? filtered(next, edited.text) : [next, []];
}

/** A line with the usual keys of a shell; undefined: the key means nothing here. */
function edit(p: Prompt, key: string): Prompt | undefined {
  const { text, caret } = p;
  const at = (next: number): Prompt => ({ ...p, caret: clamp(next, 0, text.length) });
  const replace = (from: number, to: number, by: string): Prompt => ({
    ...p,
    text: text.slice(0, from) + by + text.slice(to),
    caret: from + by.length,
  });
  const before = Array.from(text.slice(0, caret)).at(-1)?.length ?? 0;
  const after = Array.from(text.slice(caret))[0]?.length ?? 0;
  switch (key) {
    case 'left':
    case 'ctrl-b':
      return at(caret - before);
    case 'right':
    case 'ctrl-f':
      return at(caret + after);
    case 'home':
    case 'ctrl-a':
      return at(0);
    case 'end':
    case 'ctrl-e':
      return at(text.length);
    case 'backspace':
      return replace(caret - before, caret, '');
    case 'delete':
    case 'ctrl-d':
      return replace(caret, caret + after, '');
    case 'ctrl-u':
      return replace(0, caret, '');
    case 'ctrl-k':
      return replace(caret, text.length, '');
    case 'ctrl-w':
      return replace(text.slice(0, caret).replace(/\S*\s*$/, '').length, caret, '');
    case 'space':
      return replace(caret, caret, ' ');
    default:
      return [...key].length === 1 ? replace(caret, caret, key) : undefined;
  }
}

function entered(ui: Ui, modal: Prompt): Step {
  switch (modal.for) {
    case 'filter':
      return filtered(ui, modal.text);
    case 'search': {
      if (ui.side === null || ui.side.kind === 'worker') return [ui, []];
      const side: Side = ui.side.kind === 'log' ? { ...ui.side, search: modal.text, match: null } : { ...ui.side, search: modal.text };
      const next: Ui = { ...ui, side };
      return modal.text === '' ? [next, []] : nextMatch(next, side.kind === 'log' ? -1 : 1);
    }
    case 'priority': {
      const text = modal.text.trim();
      if (!/^[+-]?\d{1,2}$/.test(text))
        return [say(ui, 'bad', `priority: not a whole number from -99 to 99: ${visible(text) || 'nothing'}`), []];
      return begin(ui, { kind: 'priority', ids: targetsOf(ui).map((row) => row.id), priority: Number(text) });
    }
  }
}

// In a log or in details.

/** A search begins at the newest line and goes back, as one looks for what happened last; n goes on in the same direction. */
function nextMatch(ui: Ui, step: 1 | -1): Step {
  const { side } = ui;
  if (side === null || side.kind === 'worker') return [ui, []];
  if (side.search === '') return [say(ui, 'plain', 'search for what? / asks'), []];
  if (side.kind === 'details') {
    const lines = sideText(ui, side, sideColumns(ui));
    const wanted = side.search.toLowerCase();
    for (let i = 1; i <= lines.length; i++) {
      const at = (side.top + step * i + lines.length * i) % lines.length;
      if (textOf(lines[at]!).toLowerCase().includes(wanted)) return [{ ...ui, side: { ...side, top: at } }, []];
    }
    return [say(ui, 'plain', `not found: ${visible(side.search)}`), []];
  }
  const { lines } = side.log;
  const begun = side.match ?? (step < 0 ? lines.length : -1);
  const match = findLine(lines, side.search, begun + step, step, side.escapes);
  if (match === undefined) {
    return [say(ui, 'plain', `${side.match === null ? 'not found' : 'no more'}: ${visible(side.search)}`), []];
  }
  const end = topOfEnd(lines, sideRows(ui), sideColumns(ui), side.wrap, side.escapes);
  const top = Math.min(end, Math.max(0, match - Math.floor(sideRows(ui) / 2)));
  return [{ ...ui, side: { ...side, match, top } }, []];
}

const STREAMS: readonly Stream[] = ['both', 'stdout', 'stderr'];

function inLog(ui: Ui, does: Command): Step {
  const { side } = ui;
  if (does === 'wrap' && side?.kind === 'details') return [{ ...ui, side: { ...side, wrap: !side.wrap, left: 0 } }, []];
  if (side?.kind !== 'log') return [ui, []];
  switch (does) {
    case 'follow':
      return [{ ...ui, side: { ...side, top: null } }, []];
    case 'wrap':
      return [{ ...ui, side: { ...side, wrap: !side.wrap, left: 0 } }, []];
    case 'escapes':
      return [{ ...ui, side: { ...side, escapes: !side.escapes } }, []];
    case 'stream': {
      if (!side.isSplit) return [say(ui, 'plain', 'both streams are in one log: it was submitted without --split'), []];
      return openLog(ui, side.id, side.attempt, STREAMS[(STREAMS.indexOf(side.stream) + 1) % STREAMS.length]!);
    }
    default: {
      const { attempts } = side;
      const now = side.attempt ?? attempts.at(-1);
      const at = now === undefined ? -1 : attempts.indexOf(now);
      const next = attempts[at + (does === 'earlier-attempt' ? -1 : 1)];
      if (at < 0 || next === undefined) {
        const text =
          attempts.length <= 1 ? 'there is only one attempt' : `that is the ${does === 'earlier-attempt' ? 'first' : 'newest'} attempt`;
        return [say(ui, 'plain', text), []];
      }
      return openLog(ui, side.id, next === attempts.at(-1) ? null : next, side.stream);
    }
  }
}

// The mouse.

function onClick(ui: Ui, on: Target): Step {
  if (on.kind === 'key') return reduce(ui, { kind: 'key', key: on.key });
  if (ui.modal?.kind === 'prompt') return onClick({ ...ui, modal: null }, on);
  if (ui.modal !== null) return [ui, []];
  switch (on.kind) {
    case 'pane':
      return [settle({ ...ui, focus: on.focus }), []];
    case 'row': {
      const [next, effects] = moveTo({ ...ui, focus: 'tasks' }, on.at);
      if (!on.again) return [next, effects];
      const [opened, more] = open(next);
      return [opened, [...effects, ...more]];
    }
    case 'worker': {
      const [next, effects] = moveWorker({ ...ui, focus: 'workers' }, on.at);
      if (!on.again) return [next, effects];
      return open(next);
    }
    case 'column':
      return sorted({ ...ui, focus: 'tasks' }, on.column, ui.sort === on.column && !ui.reverse);
    case 'worker-column':
      return sortWorkers({ ...ui, focus: 'workers' }, on.column);
  }
}

function onWheel(ui: Ui, over: Ui['focus'] | null, by: 1 | -1): Step {
  if (ui.modal?.kind === 'help') return inHelp(ui, ui.modal, by > 0 ? 'down' : 'up');
  if (ui.modal !== null && ui.modal.kind !== 'prompt') return [ui, []];
  const focus = over ?? ui.focus;
  if (focus === 'side') return ui.side === null ? [ui, []] : scroll(ui, ui.side, by * WHEEL_ROWS);
  const [next, effects] = focus === 'workers' ? moveWorker(ui, ui.workerAt + by) : moveTo(ui, ui.at + by * WHEEL_ROWS);
  return [next, effects];
}

/** Whether the row can still change. */
export function isEnded(row: Row): boolean {
  return isTerminal(row.state);
}
