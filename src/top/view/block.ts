/**
 * The pieces that a screen is put together from: a rectangle of lines, each in its exact width, with the places in it that the mouse can
 * hit; and the panes with their titles. Pure.
 */
import type { Ui, Target } from '../state.ts';
import { BOLD, DIM, fill, lineWidth, overlay, slice, space, span, type Line, type Span, type Style } from '../text.ts';

/** Part of a row, from column `x` to before `end`. */
export interface Zone {
  y: number;
  x: number;
  end: number;
  on: Target;
}

export interface Block {
  lines: readonly Line[];
  zones: readonly Zone[];
}

/** Blocks of the same width, one below the other. */
export function stack(blocks: readonly Block[]): Block {
  const lines: Line[] = [];
  const zones: Zone[] = [];
  for (const block of blocks) {
    for (const zone of block.zones) zones.push({ ...zone, y: zone.y + lines.length });
    lines.push(...block.lines);
  }
  return { lines, zones };
}

/** Two blocks of the same height, side by side. */
export function beside(left: Block, right: Block, columns: number): Block {
  return {
    lines: left.lines.map((line, y) => [...fill(line, columns), ...(right.lines[y] ?? [])]),
    zones: [...left.zones, ...right.zones.map((zone) => ({ ...zone, x: zone.x + columns, end: zone.end + columns }))],
  };
}

/** `over` in the middle of `under`; only it can be hit. */
export function inTheMiddle(under: Block, over: Block, columns: number): Block {
  const wide = lineWidth(over.lines[0] ?? []);
  const x = Math.max(0, Math.floor((columns - wide) / 2));
  const y = Math.max(0, Math.floor((under.lines.length - over.lines.length) / 2));
  return {
    lines: under.lines.map((line, i) => {
      const own = over.lines[i - y];
      return own === undefined ? line : overlay(line, own, x);
    }),
    zones: over.zones.map((zone) => ({ y: zone.y + y, x: zone.x + x, end: zone.end + x, on: zone.on })),
  };
}

export interface PaneOptions {
  columns: number;
  rows: number;
  isBoxed: boolean;
  isFocused: boolean;
  title: Line;
  /** At the right end of the title. */
  right?: Line;
  focus: Ui['focus'];
  /** The share of the list that is in sight, for the bar at the edge of a box. */
  window?: { from: number; shown: number; of: number };
}

/** A pane around its content, whose lines are as wide as `textColumns` says. */
export function pane(content: Block, options: PaneOptions): Block {
  const { columns, rows, isBoxed, isFocused, focus } = options;
  const edge: Style = isFocused ? { fg: 'cyan' } : DIM;
  const height = rows - (isBoxed ? 2 : 1);
  const inner = columns - (isBoxed ? 4 : 2);
  const top = titleLine(options, edge);
  const lines: Line[] = [top];
  const bar = scrollBar(options, height);
  for (let i = 0; i < height; i++) {
    const line = fill(content.lines[i] ?? [], inner);
    const right: Span = bar?.[i] === true ? span('┃', edge) : span('│', edge);
    lines.push(isBoxed ? [span('│', edge), space(1), ...line, space(1), right] : [space(1), ...line, space(1)]);
  }
  if (isBoxed) lines.push([span(`╰${'─'.repeat(columns - 2)}╯`, edge)]);
  const shift = isBoxed ? 2 : 1;
  const zones: Zone[] = content.zones
    .filter((zone) => zone.y < height)
    .map((zone) => ({ ...zone, y: zone.y + 1, x: zone.x + shift, end: Math.min(zone.end, inner) + shift }));
  for (let y = 0; y < rows; y++) zones.push({ y, x: 0, end: columns, on: { kind: 'pane', focus } });
  return { lines, zones };
}

function titleLine({ columns, isBoxed, isFocused, title, right }: PaneOptions, edge: Style): Line {
  const corners = isBoxed ? (['╭─', '─╮'] as const) : (['──', '──'] as const);
  const strong: Line = isFocused ? title.map((s) => ({ ...s, style: { ...BOLD, ...s.style } })) : title;
  const end: Line = right === undefined || right.length === 0 ? [] : [space(1), ...right, space(1)];
  const room = columns - 4 - lineWidth(end) - 2;
  const shown: Line = [space(1), ...(lineWidth(strong) > room ? slice(strong, 0, room, true) : strong), space(1)];
  const fillers = Math.max(0, columns - 4 - lineWidth(shown) - lineWidth(end));
  return fill([span(corners[0], edge), ...shown, span('─'.repeat(fillers), edge), ...end, span(corners[1], edge)], columns);
}

function scrollBar({ window }: PaneOptions, height: number): boolean[] | undefined {
  if (window === undefined || window.of <= window.shown || height < 2) return undefined;
  const size = Math.max(1, Math.round((height * window.shown) / window.of));
  const at = Math.round(((height - size) * window.from) / Math.max(1, window.of - window.shown));
  return Array.from({ length: height }, (_, i) => i >= at && i < at + size);
}

/** A box with a title for a question or the help. */
export function box(title: string, content: readonly Line[], columns: number, style: Style = { fg: 'cyan' }): Line[] {
  const inner = columns - 4;
  const fillers = Math.max(0, columns - 5 - lineWidth([span(title)]));
  return [
    fill([span('╭─ ', style), span(title, BOLD), span(` ${'─'.repeat(fillers)}╮`, style)], columns),
    ...content.map((line): Line => [span('│ ', style), ...fill(line, inner), span(' │', style)]),
    [span(`╰${'─'.repeat(columns - 2)}╯`, style)],
  ];
}

/** Cells one after the other with a space between. */
export function join(cells: readonly Span[]): Line {
  return cells.flatMap((one, i) => (i === 0 ? [one] : [space(1), one]));
}
