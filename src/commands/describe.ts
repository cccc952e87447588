/**
 * Tasks in a few words for people: what one is called, how far it is, since when, and the code that it leaves. Pure. Everything
 * that came from a task has passed `visible`.
 */
import os from 'node:os';
import type { Style } from '../print.ts';
import type { TaskView } from '../queue/read.ts';
import { commandLine } from '../task/argv.ts';
import { formatDuration } from '../task/duration.ts';
import type { State } from '../task/types.ts';
import { visible } from '../task/visible.ts';

export { clockTime, relative } from '../task/moments.ts';

const STYLES: Readonly<Record<State, Style>> = {
  waiting: 'magenta',
  delayed: 'magenta',
  held: 'yellow',
  queued: 'blue',
  running: 'cyan',
  done: 'green',
  failed: 'red',
  canceled: 'yellow',
  skipped: 'yellow',
};

/** The colour of a state's word; undefined for another text. */
export function stateStyle(word: string): Style | undefined {
  return Object.hasOwn(STYLES, word) ? STYLES[word as State] : undefined;
}

/** What it runs, quoted for a shell, on one line. */
export function commandOf(view: TaskView): string {
  return visible(
    commandLine({
      command: view.command,
      steps: view.steps.map((s) => s.command),
      ...(view.shell === null ? {} : { shell: view.shell }),
      ...(view.script === null ? {} : { script: view.script }),
      ...(view.handler === null ? {} : { handler: view.handler }),
    }),
  );
}

/** Its name, or else what it runs. */
export function titleOf(view: TaskView): string {
  return view.name === null || view.name === '' ? commandOf(view) : visible(view.name);
}

/** `40% epoch 4` */
export function progressText(progress: TaskView['progress']): string {
  if (progress === null) return '';
  const percent = progress.percent === null ? '' : `${progress.percent}%`;
  return [percent, visible(progress.message ?? '')].filter((part) => part !== '').join(' ');
}

/** How long since, without a word; empty for null. */
export function age(at: string | null, now: number): string {
  return at === null ? '' : formatDuration(Math.max(0, now - Date.parse(at)));
}

/** How long the newest attempt took, or takes. */
export function runTime(view: TaskView, now: number): string {
  const last = view.attempts.at(-1);
  if (last?.startedAt === undefined || last.startedAt === null) return '';
  if (last.durationMs !== null) return formatDuration(last.durationMs);
  if (last.endedAt !== null) return formatDuration(Date.parse(last.endedAt) - Date.parse(last.startedAt));
  return view.state === 'running' ? age(last.startedAt, now) : '';
}

/**
 * The exit code that `run` and `wait --exit-code` hand on: the task's own, 128 + the signal that killed it, 126 or 127 when it could
 * not be started, 1 for an end that no exit code tells of.
 */
export function ownCode(view: TaskView): number {
  const last = view.attempts.at(-1);
  if (view.state === 'done') return view.exitCode ?? 0;
  if (view.state !== 'failed') return 1;
  switch (last?.outcome) {
    case 'rejected':
      return view.exitCode ?? 126;
    case 'failed':
      // A code that this task counts as a failure must not look like success.
      return view.exitCode === null || view.exitCode === 0 ? 1 : view.exitCode;
    case 'signaled':
      return 128 + signalNumber(view.signal);
    default:
      return 1;
  }
}

function signalNumber(name: string | null): number {
  return (os.constants.signals as Record<string, number | undefined>)[name ?? ''] ?? 0;
}

/** `failed`, or what the reason adds to it: `failed: exit code 3`. */
export function stateAndReason(view: TaskView): string {
  return view.reason === null || view.reason === '' ? view.state : `${view.state}: ${visible(view.reason)}`;
}
