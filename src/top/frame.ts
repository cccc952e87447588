/**
 * One plain frame of the live view, for a pipe, a file or a script: the farm's word and counts, workers, tasks. Pure; no escape byte, and
 * as wide as its longest line.
 */
import { formatDuration } from '../task/duration.ts';
import { relative } from '../task/moments.ts';
import { STATES, type State } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import { table, type Column } from '../print.ts';
import type { Row, Snapshot, WorkerRow } from './model.ts';
import { IN_COUNTS } from './view/words.ts';

export function plainFrame(s: Snapshot): string {
  const parts = [header(s)];
  if (s.workers.length > 0)
    parts.push(
      rowsOf(
        WORKER_COLUMNS,
        s.workers.map((w) => workerCells(w, s.at)),
      ),
    );
  if (s.rows.length > 0) {
    const more = s.matching - s.offset - s.rows.length;
    const rest = more > 0 ? `... and ${more}${s.isComplete ? '' : ' or more'} below\n` : '';
    parts.push(
      rowsOf(
        TASK_COLUMNS,
        s.rows.map((row) => taskCells(row, s.at)),
      ) + rest,
    );
  }
  return parts.join('\n');
}

function header(s: Snapshot): string {
  const counted = STATES.filter((state) => s.counts[state] > 0).map((state) => `${s.counts[state]} ${state}`);
  const rate = s.rate > 0 ? `, ${Math.round(s.rate * 10) / 10} ended a second` : '';
  const eta = s.etaMs === null ? '' : `, the rest in ${formatDuration(s.etaMs)}`;
  const unfinished = s.isComplete ? '' : ' (not all counted yet)';
  return `${s.word}\ntasks: ${counted.length === 0 ? 'none' : counted.join(', ')}${unfinished}${rate}${eta}\n`;
}

const WORKER_COLUMNS: readonly Column[] = ['WORKER', 'STATE', 'JOBS', 'HOST', 'SEEN', 'QUEUES', 'INFO'].map((title) => ({ title }));
const TASK_COLUMNS: readonly Column[] = ['ID', 'STATE', 'AGE', 'TIME', 'WORKER', 'NAME', 'INFO'].map((title) => ({ title }));

function rowsOf(columns: readonly Column[], rows: ReadonlyArray<readonly string[]>): string {
  return table(columns, rows, { columns: undefined, paint: (_style, text) => text });
}

function workerCells(w: WorkerRow, now: number): string[] {
  const state = w.want === null ? w.state : `${w.state} -> ${w.want}`;
  return [
    visible(w.name),
    w.alive || w.state === 'offline' ? state : `${state} (not alive)`,
    w.state === 'offline' ? '' : `${w.running.length}/${w.jobs}`,
    visible(w.host),
    w.lastSeenAt === null ? '' : relative(w.lastSeenAt, now),
    visible(w.queues.join(',')),
    visible(w.reason ?? ''),
  ];
}

function taskCells(row: Row, now: number): string[] {
  return [
    row.id,
    row.state,
    formatDuration(Math.max(0, now - row.submittedAt)),
    timeOf(row, now),
    visible(row.worker ?? ''),
    visible(row.name ?? ''),
    [percentOf(row), visible(row.message ?? ''), countsOf(row), IN_COUNTS.test(row.info) ? '' : visible(row.info)]
      .filter((part) => part !== '')
      .join(', '),
  ];
}

function percentOf(row: Row): string {
  return row.percent === null ? '' : `${row.percent}%`;
}

function countsOf({ counts }: Row): string {
  if (counts === null) return '';
  return (Object.entries(counts) as Array<[State, number]>)
    .filter(([, n]) => n > 0)
    .map(([state, n]) => `${n} ${state}`)
    .join(' ');
}

function timeOf({ startedAt, endedAt }: Row, now: number): string {
  return startedAt === null ? '' : formatDuration(Math.max(0, (endedAt ?? now) - startedAt));
}
