/**
 * One word and a percentage for a group, from how many of its tasks are in which state. Pure.
 */
import { TERMINAL, UNFINISHED, type State } from './types.ts';

export const GROUP_WORDS = ['active', 'paused', 'completed', 'failed', 'canceled'] as const;
export type GroupWord = (typeof GROUP_WORDS)[number];

export type Counts = Readonly<Partial<Record<State, number>>>;

export function total(counts: Counts, states: readonly State[]): number {
  return states.reduce((sum, state) => sum + (counts[state] ?? 0), 0);
}

/**
 * `active` while something may go on by itself; `paused` when all that is left is held, or waits for what is. Ended: `failed` when a
 * failure counts (is not within what `--max-fails` allows), else `canceled`, else `failed` when a task was skipped, else `completed`.
 */
export function wordOf(counts: Counts, failuresCount: boolean): GroupWord {
  if (total(counts, ['running', 'queued', 'delayed']) > 0) return 'active';
  if ((counts.held ?? 0) > 0) return 'paused';
  if ((counts.waiting ?? 0) > 0) return 'active';
  if (failuresCount) return 'failed';
  if ((counts.canceled ?? 0) > 0) return 'canceled';
  return (counts.skipped ?? 0) > 0 ? 'failed' : 'completed';
}

/** How much has ended, in whole percent; 100 only when all has. */
export function percentOf(counts: Counts): number {
  const ended = total(counts, TERMINAL);
  const all = ended + total(counts, UNFINISHED);
  return all === 0 ? 100 : Math.floor((100 * ended) / all);
}
