/**
 * What lies over the panes: the help, a question, the choice of columns. And the line at the foot. Pure.
 */
import { TASK_COLUMNS } from '../columns.ts';
import { BINDINGS, keyLabel, type Command, type Where } from '../keys.ts';
import { whereOf, type Modal, type Ui } from '../state.ts';
import { BOLD, cell, DIM, fill, inverted, lineWidth, slice, space, span, wrapText, type Line } from '../text.ts';
import { width } from '../../task/visible.ts';
import { box, type Block, type Zone } from './block.ts';

export function helpBox(ui: Ui, top: number): Block {
  const isWide = ui.columns >= TWO_COLUMNS;
  const columns = Math.min(ui.columns - 2, isWide ? 2 * HELP_COLUMNS : HELP_COLUMNS);
  const inner = columns - 4;
  const all = isWide ? inTwo(helpLines(Math.floor((inner - 2) / 2)), Math.floor((inner - 2) / 2)) : helpLines(inner);
  const rows = Math.min(all.length, ui.rows - 4);
  const from = Math.max(0, Math.min(top, all.length - rows));
  const more = all.length > rows ? `keys ${from + 1}-${from + rows} of ${all.length}: j k move, Esc closes` : 'keys: Esc closes';
  return {
    lines: box(more, all.slice(from, from + rows), columns),
    zones: [{ y: 0, x: 0, end: columns, on: { kind: 'key', key: 'esc' } }],
  };
}

/** From here on the help has room for two columns. */
const TWO_COLUMNS = 120;
const HELP_COLUMNS = 90;

/** The second half beside the first, parted between two groups. */
function inTwo(lines: readonly Line[], columns: number): Line[] {
  const gaps = [...lines.keys()].filter((i) => lines[i]!.length === 0);
  const half = gaps.reduce((best, i) => (Math.abs(i - lines.length / 2) < Math.abs(best - lines.length / 2) ? i : best), 0);
  const [left, right] = [lines.slice(0, half), lines.slice(half + 1)];
  return Array.from({ length: Math.max(left.length, right.length) }, (_, i) => [
    ...fill(left[i] ?? [], columns),
    space(2),
    ...(right[i] ?? []),
  ]);
}

const KEYS_COLUMNS = 16;

export function helpLines(columns: number): Line[] {
  const lines: Line[] = [];
  let group = '';
  for (const b of BINDINGS) {
    if (b.group !== group) {
      if (group !== '') lines.push([]);
      lines.push([span(b.group, BOLD)]);
      ({ group } = b);
    }
    const keys = b.does === 'sort-by' ? '1-9' : b.keys.map(keyLabel).join(' ');
    const where = b.where === undefined || b.group.startsWith('ON') || b.group.startsWith('IN') ? '' : placeWords(b.where);
    for (const [i, row] of wrapText(b.help + where, Math.max(10, columns - KEYS_COLUMNS - 2)).entries()) {
      lines.push([space(2), cell(i === 0 ? keys : '', KEYS_COLUMNS - 1, { fg: 'cyan', bold: true }), space(1), span(row)]);
    }
  }
  lines.push([], [span('MOUSE', BOLD)]);
  for (const text of ['click chooses, twice opens; on a column: sorts', 'wheel scrolls; shift keeps the selection of the terminal']) {
    for (const row of wrapText(text, columns - 2)) lines.push([space(2), span(row)]);
  }
  return lines;
}

function placeWords(where: readonly Where[]): string {
  return where.length === 1 ? ` (in ${where[0]})` : '';
}

const MOST_NAMES = 8;

export function confirmBox(ui: Ui, modal: Extract<Modal, { kind: 'confirm' }>): Block {
  const shown = modal.names.slice(0, Math.min(MOST_NAMES, ui.rows - 8));
  const longest = Math.max(width(modal.title) + 6, ...shown.map((name) => width(name) + 2), 34);
  const columns = Math.min(ui.columns - 2, longest + 6);
  const lines: Line[] = [[]];
  for (const name of shown) lines.push([space(1), cell(name, columns - 6)]);
  if (modal.names.length > shown.length) lines.push([space(1), span(`and ${modal.names.length - shown.length} more`, DIM)]);
  const answers: Line = [
    space(1),
    span(' y ', { inverse: true, bold: true }),
    span(' yes'),
    space(4),
    span(' n ', { inverse: true, bold: true }),
    span(' no'),
  ];
  lines.push([], answers);
  const zones: Zone[] = [
    { y: lines.length, x: 3, end: 10, on: { kind: 'key', key: 'y' } },
    { y: lines.length, x: 14, end: 21, on: { kind: 'key', key: 'n' } },
  ];
  return {
    lines: box(cell(modal.title, Math.min(width(modal.title), columns - 8)).text, lines, columns, { fg: 'yellow', bold: true }),
    zones,
  };
}

export function columnsBox(ui: Ui, at: number): Block {
  const columns = 34;
  const lines: Line[] = TASK_COLUMNS.map((c, i) => {
    const line: Line = [span(i === at ? '▌' : ' '), span(ui.hidden.has(c.column) ? '[ ] ' : '[x] '), cell(c.title, columns - 9)];
    return i === at ? inverted(fill(line, columns - 4)) : line;
  });
  return { lines: box('columns: space, Esc', lines.slice(0, ui.rows - 4), columns), zones: [] };
}

/** What was said last, a question, or the keys. */
export function footer(ui: Ui): Block {
  const { modal, message, columns } = ui;
  if (modal?.kind === 'prompt') return { lines: [promptLine(modal, columns)], zones: [] };
  if (message !== null) {
    const style = message.tone === 'bad' ? ({ fg: 'red', bold: true } as const) : message.tone === 'good' ? ({ fg: 'green' } as const) : {};
    return { lines: [fill([space(1), span(message.text, style)], columns)], zones: [] };
  }
  return keysLine(ui);
}

function promptLine({ title, text, caret, for: what }: Extract<Modal, { kind: 'prompt' }>, columns: number): Line {
  const lead = span(what === 'priority' ? ` ${title}: ` : ` ${title} /`, { fg: 'cyan', bold: true });
  const end = span(what === 'filter' ? '  Enter keeps, Esc clears' : '  Esc: back', DIM);
  const rest = text.slice(caret);
  const under = [...rest][0] ?? ' ';
  const typed: Line = [span(text.slice(0, caret)), span(under, { inverse: true }), span(rest.slice(under.length))];
  const room = columns - width(lead.text);
  // The caret stays in sight.
  const caretAt = lineWidth([typed[0]!]);
  const from = Math.max(0, caretAt - room + 2);
  const line: Line = [lead, ...slice(typed, from, from + room)];
  return fill(lineWidth(line) + width(end.text) <= columns ? [...line, end] : line, columns);
}

/** What one needs first. */
const HINTS: readonly Command[] = [
  ...(['open', 'logs', 'sleep', 'wake', 'stop', 'follow', 'search', 'stream', 'earlier-attempt', 'wrap'] as const),
  ...(['cancel', 'retry', 'hold', 'filter', 'mark', 'priority', 'next-pane'] as const),
];

/** As many as there is room for; each can be clicked. */
function keysLine(ui: Ui): Block {
  const where = whereOf(ui);
  const hints = BINDINGS.filter((b) => b.hint !== undefined && (b.where === undefined || b.where.includes(where)));
  const line: Array<ReturnType<typeof span>> = [];
  const zones: Zone[] = [];
  // Help and quit always have their place.
  const last = hints.filter((b) => b.does === 'help' || b.does === 'quit');
  const others = hints.filter((b) => !last.includes(b)).toSorted((a, b) => HINTS.indexOf(a.does) - HINTS.indexOf(b.does));
  const size = (b: (typeof hints)[number]): number => width(keyLabel(b.keys[0]!)) + 1 + b.hint!.length + 2;
  let room = ui.columns - 1 - last.reduce((sum, b) => sum + size(b), 0);
  const shown = others.filter((b) => {
    if (size(b) > room) return false;
    room -= size(b);
    return true;
  });
  let x = 1;
  for (const b of [...shown, ...last]) {
    const key = keyLabel(b.keys[0]!);
    line.push(span(key, { fg: 'cyan', bold: true }), span(` ${b.hint}  `, DIM));
    zones.push({ y: 0, x, end: x + size(b) - 1, on: { kind: 'key', key: b.keys[0]! } });
    x += size(b);
  }
  return { lines: [fill([space(1), ...line], ui.columns)], zones };
}
