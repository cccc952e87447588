/**
 * States, bars and sparklines as text that is told apart without its colour. Pure.
 */
import type { State } from '../../task/types.ts';
import type { WorkerRow } from '../model.ts';
import { DIM, span, thousands, type Line, type Style } from '../text.ts';

interface Look {
  symbol: string;
  style: Style;
}

const STATES: Readonly<Record<State, Look>> = {
  running: { symbol: '●', style: { fg: 'cyan' } },
  queued: { symbol: '○', style: { fg: 'blue' } },
  waiting: { symbol: '◇', style: { fg: 'magenta' } },
  delayed: { symbol: '◌', style: { fg: 'magenta' } },
  held: { symbol: '‖', style: { fg: 'yellow' } },
  done: { symbol: '✓', style: { fg: 'green' } },
  failed: { symbol: '✗', style: { fg: 'red' } },
  canceled: { symbol: '⊘', style: { fg: 'yellow' } },
  skipped: { symbol: '»', style: { fg: 'yellow' } },
};

export function stateText(state: State): string {
  return `${STATES[state].symbol} ${state}`;
}

export function stateLook(state: State): Style {
  return STATES[state].style;
}

/** The style of a word that may be a state or an outcome. */
export function wordLook(word: string): Style {
  if (Object.hasOwn(STATES, word)) return STATES[word as State].style; // just checked
  if (word === 'succeeded') return { fg: 'green' };
  return word === 'snoozed' || word === 'preempted' ? { fg: 'yellow' } : { fg: 'red' };
}

export function workerState(w: WorkerRow): { text: string; style: Style } {
  const change = w.want === null ? '' : ` → ${w.want}`;
  if (!w.alive && w.state !== 'offline') return { text: `dead (${w.state})`, style: { fg: 'red', bold: true } };
  if (w.suspected) return { text: `${w.state}${change} silent?`, style: { fg: 'yellow' } };
  const style: Style =
    w.want !== null
      ? { fg: 'magenta' }
      : w.state === 'awake'
        ? { fg: 'green' }
        : w.state === 'error'
          ? { fg: 'red', bold: true }
          : w.state === 'offline'
            ? DIM
            : { fg: 'yellow' };
  return { text: `${w.state}${change}`, style };
}

/** 40 of 100 fills 40 of 100 columns. */
export function progressBar(percent: number, columns: number, style: Style = { fg: 'cyan' }): Line {
  const full = Math.min(columns, Math.max(0, Math.round((percent / 100) * columns)));
  return [span('━'.repeat(full), style), span('─'.repeat(columns - full), DIM)];
}

/** A reason that says no more than the counts beside it. */
export const IN_COUNTS = /^\d+ of \d+ failed$/;

/** What of an array or a group has ended how: done, failed, running, and what is still to come, each with a sign of its own. */
export function countsBar(counts: Readonly<Partial<Record<State, number>>>, columns: number): Line {
  const n = (state: State): number => counts[state] ?? 0;
  const total = Object.values(counts).reduce((sum, one) => sum + one, 0);
  const parts: Array<[number, string, Style]> = [
    [n('done'), '━', { fg: 'green' }],
    [n('failed'), '×', { fg: 'red' }],
    [n('canceled') + n('skipped'), '╌', { fg: 'yellow' }],
    [n('running'), '╍', { fg: 'cyan' }],
    [total - n('done') - n('failed') - n('canceled') - n('skipped') - n('running'), '─', DIM],
  ];
  const sizes = shares(
    parts.map(([count]) => count),
    columns,
  );
  return parts.map(([, char, style], i) => span(char.repeat(sizes[i]!), style));
}

/** Columns for each count, together all of them; what is there at all gets at least one as long as there is room. */
export function shares(counts: readonly number[], columns: number): number[] {
  const total = counts.reduce((sum, n) => sum + n, 0);
  if (total === 0) return counts.map((_, i) => (i === counts.length - 1 ? columns : 0));
  const sizes = counts.map((n) => (n === 0 ? 0 : Math.max(1, Math.floor((n / total) * columns))));
  for (;;) {
    const over = sizes.reduce((sum, n) => sum + n, 0) - columns;
    if (over === 0) return sizes;
    // The one that is furthest from its share gives or takes.
    const off = sizes.map((size, i) =>
      counts[i] === 0 || (over > 0 && size <= 1) ? Number.NEGATIVE_INFINITY : (size - (counts[i]! / total) * columns) * Math.sign(over),
    );
    const at = off.indexOf(Math.max(...off));
    if (off[at] === Number.NEGATIVE_INFINITY) {
      const last = sizes.findLastIndex((size) => size > 0);
      sizes[last]! -= 1;
    } else sizes[at]! -= Math.sign(over);
  }
}

/** `12/40 done, 3 failed, 5 running`, or as far as there is room for that `12✓ 3✗ 5● of 40`. */
export function countsText(counts: Readonly<Partial<Record<State, number>>>, columns: number): string {
  const total = thousands(Object.values(counts).reduce((sum, one) => sum + one, 0));
  const parts = (['failed', 'running', 'canceled', 'skipped', 'held'] as const).filter((state) => (counts[state] ?? 0) > 0);
  const done = thousands(counts.done ?? 0);
  const long = [`${done}/${total} done`, ...parts.map((state) => `${thousands(counts[state]!)} ${state}`)].join(', ');
  if (long.length <= columns) return long;
  return [
    `${done}${STATES.done.symbol}`,
    ...parts.map((state) => `${thousands(counts[state]!)}${STATES[state].symbol}`),
    `of ${total}`,
  ].join(' ');
}

const STEPS = '▁▂▃▄▅▆▇█';

/** The newest values, one a column; nothing is a space at the foot. */
export function sparkline(values: readonly number[], columns: number): string {
  const shown = values.slice(-columns);
  const most = Math.max(...shown, 0);
  const bars = shown.map((v) =>
    v <= 0 || most === 0 ? '▁' : STEPS[Math.min(STEPS.length - 1, Math.ceil((v / most) * (STEPS.length - 1)))]!,
  );
  return bars.join('').padStart(columns, '▁');
}

/** `3 of 8` as signs; more than fit are told by the number alone. */
export function slotsBar(running: number, jobs: number, columns: number): Line {
  if (jobs <= columns)
    return [span('■'.repeat(Math.min(running, jobs)), { fg: 'cyan' }), span('□'.repeat(Math.max(0, jobs - running)), DIM)];
  const full = Math.round((Math.min(running, jobs) / jobs) * columns);
  return [span('■'.repeat(full), { fg: 'cyan' }), span('□'.repeat(columns - full), DIM)];
}

/** `4.2/s`, `12/min`, `3/h` */
export function rateText(perSecond: number): string {
  if (perSecond <= 0) return '0/s';
  if (perSecond >= 10) return `${thousands(perSecond)}/s`;
  if (perSecond >= 1) return `${perSecond.toFixed(1)}/s`;
  if (perSecond * 60 >= 1) return `${Math.round(perSecond * 60)}/min`;
  return `${Math.max(1, Math.round(perSecond * 3600))}/h`;
}
