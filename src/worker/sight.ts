/**
 * What can be seen of the workers from outside: who they are, what they say of themselves, what was asked of them, what lies in
 * their running directories. A report for people and scripts; nothing may act on it.
 */
import { serverNowOrLocal } from '../queue/clock.ts';
import { listOrEmpty } from '../queue/fsx.ts';
import { parseEntry } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import {
  pulse,
  readState,
  readWant,
  readWorker,
  workerNames,
  type StateFile,
  type WorkerFile,
  type WorkerState,
} from '../queue/registry.ts';
import { MISSED_BEATS } from './others.ts';
import { parseWant } from './requests.ts';

export interface Sight {
  file: WorkerFile;
  /** What it says of itself in this session; undefined before its first word. */
  said: StateFile | undefined;
  state: WorkerState;
  /** What it was asked to be and is not yet. */
  want: string | null;
  alive: boolean;
  /** Ids of the tasks that it runs, or ran when it died. */
  running: string[];
  /** By the file server's clock, ms. */
  lastSeenAt: number | null;
  /** Load average of its machine over a minute; null: it does not say. */
  load: number | null;
  /** Words in its request file that mean nothing. */
  badWant: string | null;
}

/** Missed beats are counted only after this long, ms: a short poll says nothing about a busy machine. */
const LEAST_SILENCE_MS = 3000;

/** Every registered worker, by name. */
export async function sights(q: Queue): Promise<Sight[]> {
  const found: Sight[] = [];
  // On a local disk heartbeats are stamped by this machine's own clock, and asking it costs no file.
  const now = q.network ? await serverNowOrLocal(q) : Date.now();
  for (const name of await workerNames(q)) {
    const seen = await sightOf(q, name, now);
    if (seen !== undefined) found.push(seen);
  }
  return found;
}

/** One worker; undefined when there never was one of that name. `now` is server time, ms. */
export async function sightOf(q: Queue, name: string, now: number): Promise<Sight | undefined> {
  const file = await readWorker(q, name);
  if (file === undefined) return undefined;
  const [state, beat, asked] = [await readState(q, name), await pulse(q, name), parseWant(await readWant(q, name))];
  const said = state?.session === file.session ? state : undefined;
  const beats = beat?.session === file.session && now - beat.mtimeMs < Math.max(LEAST_SILENCE_MS, MISSED_BEATS * file.heartbeatMs);
  const alive = beats && said?.state !== 'offline';
  const shown: WorkerState = said?.state ?? (beats ? 'starting' : 'offline');
  return {
    file,
    said,
    state: shown,
    want: wanted(asked, said, shown, alive),
    alive,
    running: await runningIds(q, file, said, alive),
    lastSeenAt: beat === undefined ? null : beat.mtimeMs,
    load: alive ? (beat?.load ?? null) : null,
    badWant: asked.kind === 'bad' ? asked.text.trim() : null,
  };
}

/** Awake, and not about to be something else. */
export function isAwake(s: Sight): boolean {
  return s.alive && s.state === 'awake' && s.want === null;
}

/** The request file is newer than what the worker says; one for a worker that is gone counts only if its next start obeys it. */
function wanted(asked: ReturnType<typeof parseWant>, said: StateFile | undefined, state: WorkerState, alive: boolean): string | null {
  if (asked.kind !== 'request') return alive ? (said?.want ?? null) : null;
  const { to } = asked.request;
  if (!alive && (to === 'offline' || to === 'restart')) return null;
  return to === state ? null : to;
}

/** The entries in its directory, without those that a living worker has claimed and not begun. */
async function runningIds(q: Queue, file: WorkerFile, said: StateFile | undefined, alive: boolean): Promise<string[]> {
  const ids: string[] = [];
  for (const name of await listOrEmpty(q.fsx, q.lay.session(file.session))) {
    const e = parseEntry(name);
    if (e !== undefined && !e.cancel) ids.push(e.id);
  }
  if (!alive || ids.length <= file.jobs || said === undefined) return ids.toSorted();
  const begun = new Set(said.running.map((r) => r.id));
  return ids.filter((id) => begun.has(id)).toSorted();
}
