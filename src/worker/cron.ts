/**
 * An awake worker's eye on `cron/`: one look at the directory's time per poll, and the entries themselves only when it changed, when a
 * tick is due, or now and then. Nothing here decides who fires a tick; that is `queue/cron.ts`.
 */
import { serverNow } from '../queue/clock.ts';
import { isGone } from '../queue/fsx.ts';
import type { CronEntry } from '../queue/cron.ts';
import { sayOnce, wake, type Worker } from './worker.ts';

interface Eye {
  /** The directory's time when it was listed; undefined: list it again. */
  seen: string | undefined;
  entries: Map<string, CronEntry>;
  active: string[];
  /** Server time, ms. */
  nextAt: number;
  /** Server time of the last look; undefined while it did not look. */
  lookedAt: number | undefined;
  looks: number;
  busy: boolean;
}

const eyes = new WeakMap<Worker, Eye>();

/** Each entry is looked at anyway every so many polls: who died while firing may have been the only one to know of it. */
const LOOK_EVERY = 30;
/** Seen late by a worker that was there all the time, a tick still counts for so long, ms. */
const LATE_MS = 60_000;
/** Two changes of a directory within this time may have the same time stamp, ms. */
const GRAIN_MS = 2000;
/** A worker that has just come counts as looking for a poll and so long already, so that nothing is missed between two of them, ms. */
const HEAD_START_MS = 1000;
/** What could not be fired is tried again after this long, ms. */
const AGAIN_MS = 5000;

/** Once a poll. Never throws; goes on by itself where a submit has to wait for something. */
export async function lookAtCron(w: Worker): Promise<void> {
  let eye = eyes.get(w);
  if (eye === undefined) {
    eye = { seen: undefined, entries: new Map(), active: [], nextAt: 0, lookedAt: undefined, looks: 0, busy: false };
    eyes.set(w, eye);
  }
  if (eye.busy) return;
  if (w.state !== 'awake' || w.options.only !== null) {
    eye.lookedAt = undefined;
    return;
  }
  eye.busy = true;
  try {
    await look(w, eye);
  } catch (error) {
    eye.seen = undefined;
    sayOnce(w, 'cron', error);
  }
  eye.busy = false;
}

async function look(w: Worker, eye: Eye): Promise<void> {
  const { q } = w;
  const before = await timeOf(w);
  const now = await serverNow(q);
  const seenFrom = eye.lookedAt === undefined ? now - w.options.pollMs - HEAD_START_MS : Math.max(eye.lookedAt, now - LATE_MS);
  const thorough = eye.looks++ % LOOK_EVERY === 0;
  const changed = before === undefined ? eye.active.length > 0 : before.text !== eye.seen;
  if (!changed && !thorough && now < eye.nextAt) {
    eye.lookedAt = now;
    return;
  }
  if (before === undefined) {
    Object.assign(eye, { seen: undefined, active: [], nextAt: Number.POSITIVE_INFINITY, lookedAt: now });
    return;
  }
  const cron = await import('../queue/cron.ts');
  if (changed || thorough) {
    const names = await cron.cronNames(q);
    const mine: string[] = [];
    for (const id of names.ids) if (!names.paused.has(id) && (await isMine(w, eye, id))) mine.push(id);
    eye.active = mine;
    for (const id of eye.entries.keys()) if (!names.ids.includes(id)) eye.entries.delete(id);
    eye.seen = now - before.ms > GRAIN_MS ? before.text : undefined;
    if (thorough) await cron.sweepAbandoned(q, names);
  }
  let nextAt = Number.POSITIVE_INFINITY;
  let failed = false;
  for (const id of eye.active) {
    try {
      const next = await cron.fireDue(q, eye.entries.get(id)!, {
        seenFrom,
        log: (line) => {
          w.log(line);
          wake(w);
        },
      });
      nextAt = Math.min(nextAt, next ?? Number.POSITIVE_INFINITY);
    } catch (error) {
      // One that cannot be fired keeps none of the others back, and is tried again soon.
      nextAt = Math.min(nextAt, now + AGAIN_MS);
      failed = true;
      sayOnce(w, `cron ${id}`, error);
    }
  }
  // What could not be fired is not behind us: it is late at the next look, not missed.
  if (failed) eye.lookedAt ??= seenFrom;
  else eye.lookedAt = now;
  eye.nextAt = nextAt;
}

/** Reads an entry once; on a shared queue only those of the worker's own user count, since what it submits belongs to its user. */
async function isMine(w: Worker, eye: Eye, id: string): Promise<boolean> {
  if (eye.entries.has(id)) return true;
  const cron = await import('../queue/cron.ts');
  if (w.q.config.shared && (await cron.cronOwner(w.q, id)) !== process.geteuid?.()) return false;
  const entry = await cron.readCron(w.q, id);
  if (entry === undefined) {
    sayOnce(w, `cron ${id}`, `${w.q.lay.cron}/${id}.json is no entry`);
    return false;
  }
  eye.entries.set(id, entry);
  return true;
}

/** When the directory changed last; undefined: there is none. */
async function timeOf(w: Worker): Promise<{ text: string; ms: number } | undefined> {
  try {
    const s = await w.q.fsx.stat(w.q.lay.cron);
    return { text: `${s.ino}.${s.mtimeMs}`, ms: s.mtimeMs };
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
