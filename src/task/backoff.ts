/**
 * How long to wait before the next try. The wait is a whole number of milliseconds however many tries there were.
 */
import { usage } from '../errors.ts';
import { MAX_DURATION_MS, readDuration, spellDuration } from './duration.ts';
import type { Backoff } from './types.ts';
import { quoted } from './visible.ts';

export const DEFAULT_BACKOFF: Backoff = { kind: 'exp', baseMs: 1000, maxMs: 300_000 };

/** Up or down by at most this part of the wait, so that tasks that failed together do not come back together. */
const JITTER = 0.1;

/** `none`, `fixed:D`, `exp:D[..MAX]`, `fib:D[..MAX]`; anything else is a usage error naming `flag`. */
export function parseBackoff(text: string, flag: string): Backoff {
  const backoff = readBackoff(text);
  if (backoff !== undefined) return backoff;
  throw usage(`${flag}: not a back-off: ${quoted(text)}`, 'none, fixed:D, exp:D[..MAX] or fib:D[..MAX], such as exp:1s..5m');
}

function readBackoff(text: string): Backoff | undefined {
  if (text === 'none') return { kind: 'none' };
  const parts = /^(fixed|exp|fib):(.+?)(?:\.\.(.+))?$/.exec(text);
  const baseMs = readDuration(parts?.[2] ?? '');
  if (parts === null || baseMs === undefined) return undefined;
  const kind = parts[1] as 'fixed' | 'exp' | 'fib'; // the only words that the pattern lets through
  if (parts[3] === undefined) return { kind, baseMs };
  const maxMs = readDuration(parts[3]);
  if (kind === 'fixed' || maxMs === undefined || maxMs < baseMs) return undefined;
  return { kind, baseMs, maxMs };
}

/** The text that `parseBackoff` reads back as the same back-off. */
export function formatBackoff(backoff: Backoff): string {
  if (backoff.kind === 'none') return 'none';
  const max = backoff.kind !== 'fixed' && backoff.maxMs !== undefined ? `..${spellDuration(backoff.maxMs)}` : '';
  return `${backoff.kind}:${spellDuration(backoff.baseMs)}${max}`;
}

/**
 * Ms to wait before the next try after the `n`-th failure (n from 1). exp waits base times 1 2 4 8, fib base times 1 2 3 5 8, both up
 * to their maximum. Jitter is uniform and is added after the maximum, or all that reached it would stay in step.
 */
export function backoffMs(backoff: Backoff, n: number, { jitter, random }: { jitter: boolean; random: () => number }): number {
  const wait = steadyMs(backoff, n);
  if (!jitter) return wait;
  return Math.min(wait + Math.trunc(wait * JITTER * (2 * random() - 1)), MAX_DURATION_MS);
}

function steadyMs(backoff: Backoff, n: number): number {
  if (backoff.kind === 'none' || backoff.baseMs === 0) return 0;
  if (backoff.kind === 'fixed') return backoff.baseMs;
  const max = backoff.maxMs ?? MAX_DURATION_MS;
  return Math.min(backoff.baseMs * (backoff.kind === 'exp' ? 2 ** (n - 1) : fibonacci(n, max)), max);
}

/** 1 2 3 5 8 13; stops counting once it is over `enough`, where the exact number no longer matters. */
function fibonacci(n: number, enough: number): number {
  let [before, now] = [1, 1];
  for (let i = 1; i < n && now <= enough; i += 1) [before, now] = [now, before + now];
  return now;
}
