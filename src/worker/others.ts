/**
 * What this worker knows of the others: who else is awake and could take a task of a lane. Only for politeness (leaving a task to
 * somebody who has not failed it); a stale answer costs a delay, never a task.
 */
import { readIfThere } from '../queue/steps.ts';
import { queueOfLane, type Requirements } from '../queue/layout.ts';
import { pulse, readState, readWorker, workerNames, type WorkerFile } from '../queue/registry.ts';
import { serverNow } from '../queue/clock.ts';
import type { Queue } from '../queue/open.ts';
import { unable } from './obstacle.ts';
import type { Worker } from './worker.ts';

export interface Other {
  file: WorkerFile;
  awake: boolean;
  alive: boolean;
  /** The task that it keeps room for. */
  reserved: { id: string; priority: number } | null;
}

/** Heartbeats missed before a worker counts as not alive in a listing; a report, never a ground to act on its tasks. */
export const MISSED_BEATS = 5;

/** Every registered worker that has a session, with what it says of itself. */
export async function listOthers(q: Queue): Promise<Other[]> {
  const found: Other[] = [];
  const now = await serverNow(q).catch(() => Date.now());
  for (const name of await workerNames(q)) {
    const [file, state, p] = [await readWorker(q, name), await readState(q, name), await pulse(q, name)];
    if (file === undefined) continue;
    const alive =
      p !== undefined &&
      p.session === file.session &&
      state?.session === file.session &&
      state.state !== 'offline' &&
      now - p.mtimeMs < Math.max(3000, MISSED_BEATS * file.heartbeatMs);
    found.push({
      file,
      awake: alive && state?.state === 'awake' && (state.want === null || state.want === 'awake'),
      alive,
      reserved: state?.reserved ?? null,
    });
  }
  return found;
}

/** Kept for this long, so that a backlog of failing tasks does not read every worker's files for each. */
const KEEP_MS = 1000;
const kept = new WeakMap<Worker, { atMs: number; others: Promise<Other[]> }>();

async function awakeOthers(w: Worker): Promise<WorkerFile[]> {
  let k = kept.get(w);
  if (k === undefined || performance.now() - k.atMs > KEEP_MS) {
    k = { atMs: performance.now(), others: listOthers(w.q) };
    kept.set(w, k);
  }
  return (await k.others).filter((o) => o.awake && o.file.session !== w.session).map((o) => o.file);
}

/** Live awake workers besides this one that could take a task of the lane. */
export async function couldTake(w: Worker, lane: string): Promise<string[]> {
  const requirements = await readRequirements(w.q, lane);
  return (await awakeOthers(w)).filter((f) => canServe(f, requirements)).map((f) => f.name);
}

/** Whether every other live awake worker that could take it has rejected it already. */
export async function everyoneElseRejected(w: Worker, lane: string, rejectedBy: readonly string[]): Promise<boolean> {
  return (await couldTake(w, lane)).every((name) => rejectedBy.includes(name));
}

const lanesRead = new Map<string, Requirements>();

/** A queue that no worker has, so that a lane whose file cannot be read is served by nobody. */
const UNKNOWN: Requirements = { queue: '' };

/** What a lane asks for. Lane files never change; a lane of default requirements has none. */
export async function readRequirements(q: Queue, lane: string): Promise<Requirements> {
  const key = q.lay.lane(lane);
  const known = lanesRead.get(key);
  if (known !== undefined) return known;
  let r: Requirements = { queue: queueOfLane(lane) };
  if (lane !== r.queue) {
    const text = await readIfThere(q, key);
    if (text === undefined) return UNKNOWN;
    try {
      r = JSON.parse(text) as Requirements; // checked no further: what it lacks is not asked for
    } catch {
      return UNKNOWN;
    }
  }
  lanesRead.set(key, r);
  return r;
}

/** Whether a worker meets a lane's requirements at all, free or not. */
export function canServe(file: WorkerFile, r: Requirements): boolean {
  return r.queue !== '' && unable(file, r) === undefined;
}
