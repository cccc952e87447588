/**
 * The file server's clock. Due times, expiry and deadlines are judged by the mtime of a file just written, never by comparing
 * two machines' clocks; between readings this machine's monotonic clock carries it on.
 */
import { stagingPath, unlinkQuietly } from './steps.ts';
import type { Queue } from './open.ts';

interface Reading {
  serverMs: number;
  monoMs: number;
}

/** A reading older than this is taken anew, ms: two clocks drift by less than 1 ms in a minute at 10 ppm. */
const FRESH_MS = 60_000;
/** mtimes are stamped from a coarse clock, up to one tick (10 ms at HZ=100) behind. */
const readings = new WeakMap<Queue, Reading>();

/** Notes a server time that some write of this process just brought back. */
export function noteServerTime(q: Queue, serverMs: number): void {
  readings.set(q, { serverMs, monoMs: performance.now() });
}

/** The server's time now, ms; costs a file only when no reading is fresh. */
export async function serverNow(q: Queue): Promise<number> {
  const r = readings.get(q);
  if (r !== undefined && performance.now() - r.monoMs < FRESH_MS) return r.serverMs + (performance.now() - r.monoMs);
  const path = stagingPath(q, '.clock');
  const ms = await q.fsx.createTimed(path, '', { staging: true });
  await unlinkQuietly(q.fsx, path);
  noteServerTime(q, ms);
  return ms;
}

/** The last reading carried on, however old; this machine's clock before the first. */
export function serverNowAbout(q: Queue): number {
  const r = readings.get(q);
  return r === undefined ? Date.now() : r.serverMs + (performance.now() - r.monoMs);
}

/** The last reading carried on, or this machine's clock where the queue cannot be written (a reader without permission). */
export async function serverNowOrLocal(q: Queue): Promise<number> {
  try {
    return await serverNow(q);
  } catch {
    return Date.now();
  }
}
