/**
 * The text of the details pane: of a task what `tq show` and `tq why` say with its attempts as a timeline, of a worker all that is known.
 * Pure; the view draws these lines and the reducer scrolls in them.
 */
import { visible } from '../task/visible.ts';
import type { AttemptBar, Details } from './actions.ts';
import type { WorkerRow } from './model.ts';
import {
  BOLD,
  cell,
  clock,
  DIM,
  lineWidth,
  PLAIN,
  slice,
  space,
  span,
  timeOfDay,
  wrapText,
  type Line,
  type Span,
  type Style,
} from './text.ts';
import { countsBar, countsText, wordLook, workerState } from './view/words.ts';

export interface TextOptions {
  columns: number;
  wrap: boolean;
  left: number;
  search: string;
}

export function detailLines(details: Details, now: number, options: TextOptions): Line[] {
  const lines: Line[] = [];
  const [head = '', ...rest] = details.text;
  const at = head.indexOf(' ');
  lines.push(
    ...broken(
      [
        span(head.slice(0, at < 0 ? head.length : at), BOLD),
        ...marked(at < 0 ? '' : head.slice(at), wordLook(details.state), options.search),
      ],
      2,
      options,
    ),
  );
  for (const line of details.why) lines.push(...broken(marked(line, { fg: 'yellow' }, options.search), 4, options));
  if (details.attempts.length > 0) lines.push([], ...timeline(details.attempts, now, options.columns), []);
  if (details.counts !== null) {
    const bar = Math.min(40, Math.floor(options.columns / 3));
    lines.push(
      [],
      [space(2), ...countsBar(details.counts, bar), space(2), span(countsText(details.counts, options.columns - bar - 4))],
      [],
    );
  }
  for (const line of rest) lines.push(...titled(line, options));
  return lines;
}

/** `  name  value` with a quiet name; a longer value goes on below itself. */
function titled(text: string, options: TextOptions): Line[] {
  const parts = /^( {2})(\S.*?)( {2,}| ?$)(.*)$/.exec(text);
  const isTitle = parts !== null && parts[2]!.length <= 13;
  if (!isTitle) return broken(marked(text, PLAIN, options.search), 4, options);
  const lead = `${parts[1]}${parts[2]}${parts[3]}`;
  return broken([span(lead, DIM), ...marked(parts[4]!, PLAIN, options.search)], lead.length, options);
}

/** With what is searched for made inverse. */
export function marked(text: string, style: Style, search: string): Span[] {
  if (search === '') return [span(text, style)];
  const shown = visible(text);
  const wanted = search.toLowerCase();
  const lower = shown.toLowerCase();
  const spans: Span[] = [];
  let from = 0;
  // Letters that change their length with their case are too rare to find.
  while (lower.length === shown.length) {
    const at = lower.indexOf(wanted, from);
    if (at < 0) break;
    spans.push(span(shown.slice(from, at), style), span(shown.slice(at, at + wanted.length), { fg: 'yellow', inverse: true }));
    from = at + wanted.length;
  }
  return [...spans, span(shown.slice(from), style)];
}

/** One line as the rows that it takes: wrapped under itself, or moved to the left. */
function broken(line: Line, indent: number, { columns, wrap, left }: TextOptions): Line[] {
  const whole = lineWidth(line);
  if (!wrap) return [slice(line, left, left + columns)];
  const rows: Line[] = [slice(line, 0, columns)];
  const room = Math.max(10, columns - indent);
  for (let at = columns; at < whole; at += room) rows.push([space(columns - room), ...slice(line, at, at + room)]);
  return rows;
}

/** A bar for each attempt on a common axis of time. */
function timeline(attempts: readonly AttemptBar[], now: number, columns: number): Line[] {
  const MOST = 12;
  const shown = attempts.slice(-MOST);
  const times = shown.filter((a) => a.startedAt !== null);
  const from = Math.min(...times.map((a) => a.startedAt!));
  const to = Math.max(...times.map((a) => a.endedAt ?? now));
  const bar = Math.max(10, Math.min(60, columns - 44));
  const scale = (t: number): number => (to <= from ? 0 : Math.floor(((t - from) / (to - from)) * (bar - 1)));
  const lines: Line[] = [];
  if (attempts.length > MOST) lines.push([space(2), span(`${attempts.length - MOST} older attempts`, DIM)]);
  for (const a of shown) {
    const style = a.outcome === null ? ({ fg: 'cyan' } as const) : wordLook(a.outcome);
    const begin = a.startedAt === null ? 0 : scale(a.startedAt);
    const end = a.startedAt === null ? 0 : scale(a.endedAt ?? now);
    const took = a.startedAt === null ? '' : clock((a.endedAt ?? now) - a.startedAt);
    lines.push([
      cell(`${a.attempt}`, 4, DIM, 'right'),
      space(1),
      cell(a.outcome ?? 'running', 10, style),
      space(1),
      span('─'.repeat(begin), DIM),
      span((a.outcome === null ? '╍' : '━').repeat(Math.max(1, end - begin + 1)), style),
      span('─'.repeat(Math.max(0, bar - end - 1)), DIM),
      cell(took, 7, PLAIN, 'right'),
      space(1),
      span([a.worker, a.note].filter((part) => part !== '').join(' '), DIM),
    ]);
  }
  if (times.length > 0) {
    const ends = [timeOfDay(from), timeOfDay(to)] as const;
    if (bar >= 20) lines.push([space(16), span(ends[0], DIM), space(bar - 16), span(ends[1], DIM)]);
  }
  return lines;
}

export function workerLines(w: WorkerRow, now: number, columns: number): Line[] {
  const { text, style } = workerState(w);
  const ago = w.lastSeenAt === null ? 'never' : `${clock(now - w.lastSeenAt)} ago`;
  const pairs: Array<readonly [string, string]> = [
    ['host', w.host],
    ['slots', `${w.running.length} of ${w.jobs} in use`],
    ['load', w.load === null ? '' : w.load.toFixed(2)],
    ['last seen', ago],
    ['queues', w.queues.length === 0 ? 'all' : w.queues.join(', ')],
    [
      'labels',
      Object.entries(w.labels)
        .map(([k, v]) => (v === '' ? k : `${k}=${v}`))
        .join(' '),
    ],
    ['reason', w.reason ?? ''],
  ];
  const lines: Line[] = [[span(w.name, BOLD), space(1), span(text, style)], []];
  for (const [name, value] of pairs) {
    if (value === '') continue;
    const rows = wrapText(visible(value), Math.max(10, columns - 13));
    for (const [i, row] of rows.entries()) lines.push([span(i === 0 ? `  ${name.padEnd(9)}  ` : ' '.repeat(13), DIM), span(row)]);
  }
  if (w.running.length > 0) {
    lines.push([], [span('  runs', DIM)]);
    for (const id of w.running) lines.push([space(4), span(id)]);
  }
  return lines;
}
