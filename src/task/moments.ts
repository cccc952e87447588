/**
 * Moments as people say them: on the clock, and how far from now. Pure; the time zone is this machine's.
 */
import { formatDuration } from './duration.ts';

/** `3m ago`, `in 2h`; `now` within a second. Both in ms. */
export function relative(at: number, now: number): string {
  const ms = now - at;
  if (Math.abs(ms) < 1000) return 'now';
  return ms > 0 ? `${formatDuration(ms)} ago` : `in ${formatDuration(-ms)}`;
}

/** `14:03:20` today, else the day before it, on this machine's clock. */
export function clockTime(at: number, now: number): string {
  const d = new Date(at);
  const time = `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
  if (new Date(now).toDateString() === d.toDateString()) return time;
  return `${d.getFullYear()}-${two(d.getMonth() + 1)}-${two(d.getDate())} ${time}`;
}

function two(n: number): string {
  return String(n).padStart(2, '0');
}
