/**
 * The head of the screen: the farm in a word, how many tasks are in which state, how fast they end. Pure.
 */
import { STATES, type State } from '../../task/types.ts';
import { visible } from '../../task/visible.ts';
import type { Snapshot } from '../model.ts';
import type { Ui } from '../state.ts';
import { BOLD, clock, DIM, fill, lineWidth, slice, space, span, thousands, timeOfDay, type Line, type Style } from '../text.ts';
import type { Block } from './block.ts';
import { rateText, sparkline, stateLook } from './words.ts';

const WORD_STYLES: Readonly<Record<Snapshot['word'], Style>> = {
  active: { fg: 'green', bold: true },
  idle: { fg: 'blue', bold: true },
  waiting: { fg: 'yellow', bold: true },
  asleep: { fg: 'yellow', bold: true },
  empty: { fg: 'grey', bold: true },
};

export function header(ui: Ui, rows: number): Block {
  const { snapshot, columns } = ui;
  if (snapshot === null) {
    const lines: Line[] = [fill([space(1), span('tq', BOLD), span('  looking at the queue…', DIM)], columns)];
    while (lines.length < rows) lines.push([space(columns)]);
    return { lines, zones: [] };
  }
  const lines: Line[] = [titleLine(ui, snapshot)];
  if (rows >= 3) lines.push(countsLine(snapshot, columns), speedLine(snapshot, columns));
  else lines.push(countsLine(snapshot, columns));
  return { lines, zones: [] };
}

function titleLine(ui: Ui, snapshot: Snapshot): Line {
  const { columns } = ui;
  const right: Line = rightEnd(ui, snapshot);
  const left: Line = [space(1), span('tq', BOLD), space(2), span(`● ${snapshot.word}`, WORD_STYLES[snapshot.word]), space(2)];
  const room = columns - lineWidth(left) - lineWidth(right) - 1;
  return fill(
    [...fill([...left, ...tail(visible(snapshot.dir), Math.max(0, room))], columns - lineWidth(right) - 1), ...right, space(1)],
    columns,
  );
}

/** Of a path the end says most. */
function tail(path: string, columns: number): Line {
  const whole: Line = [span(path, DIM)];
  const own = lineWidth(whole);
  if (own <= columns) return whole;
  return columns < 4 ? [] : [span('…', DIM), ...slice(whole, own - columns + 1, own)];
}

function rightEnd(ui: Ui, snapshot: Snapshot): Line {
  if (snapshot.unreachableSince !== null) {
    const since = `unreachable since ${timeOfDay(snapshot.unreachableSince)} (${clock(ui.now - snapshot.unreachableSince)})`;
    return [span(` ${since} `, { fg: 'red', bold: true, inverse: true })];
  }
  if (ui.now - ui.seenAt > ui.patienceMs) {
    return [span(` no answer for ${clock(ui.now - ui.seenAt)} `, { fg: 'red', bold: true, inverse: true })];
  }
  const parts: Line[] = [];
  if (ui.acting > 0) parts.push([span('working…', { fg: 'magenta' })]);
  if (ui.readonly !== null || !snapshot.isWritable) parts.push([span('read-only', { fg: 'yellow', bold: true })]);
  // Of the past it is said which day it was.
  if (Math.abs(ui.now - snapshot.at) > 86_400_000) parts.push([span(new Date(snapshot.at).toISOString().slice(0, 10))]);
  parts.push([span(timeOfDay(snapshot.at))]);
  return parts.flatMap((part, i) => (i === 0 ? part : [space(2), ...part]));
}

/** Those that there are; on a narrow screen the ended ones go first. */
function countsLine(snapshot: Snapshot, columns: number): Line {
  const order: readonly State[] = ['running', 'queued', 'waiting', 'delayed', 'held', 'failed', 'done', 'canceled', 'skipped'];
  const always = new Set<State>(['running', 'queued', 'done', 'failed']);
  const shown = order.filter((state) => STATES.includes(state) && (snapshot.counts[state] > 0 || always.has(state)));
  let line: Line = [space(1)];
  for (const state of shown) {
    const n = snapshot.counts[state];
    const style: Style = n === 0 ? DIM : stateLook(state);
    const part: Line = [span(thousands(n), n === 0 ? DIM : { ...style, bold: true }), span(` ${state}`, style)];
    if (lineWidth(line) + lineWidth(part) + 3 > columns) break;
    line = [...line, ...(line.length === 1 ? [] : [span(' · ', DIM)]), ...part];
  }
  return fill(line, columns);
}

function speedLine(snapshot: Snapshot, columns: number): Line {
  const wide = Math.min(60, Math.max(16, Math.floor(columns / 3)));
  const eta =
    snapshot.etaMs === null
      ? []
      : [span('   all done in ', DIM), span(clock(snapshot.etaMs), BOLD), span(` (${timeOfDay(snapshot.at + snapshot.etaMs)})`, DIM)];
  const line: Line = [
    space(1),
    span(sparkline(snapshot.throughput, wide), snapshot.rate > 0 ? { fg: 'green' } : DIM),
    space(2),
    span(rateText(snapshot.rate), snapshot.rate > 0 ? BOLD : DIM),
    span(' ended', DIM),
    ...eta,
    ...(snapshot.isComplete ? [] : [span('   still looking…', DIM)]),
  ];
  return fill(line, columns);
}
