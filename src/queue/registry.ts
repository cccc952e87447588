/**
 * Workers as they are registered: who has a name, what it was asked to be, what it says it is, and whether it is alive. A name
 * is a token that is only ever renamed (`workers/<name>/name/g<G>.<session|free>`), so two workers never share one.
 */
import { errnoOf, TqError } from '../errors.ts';
import { isGone, isOfEntry, listOrEmpty, mkdirp, strongList } from './fsx.ts';
import type { Queue } from './open.ts';
import { discard, move, readIfThere, replace, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import { removeTree } from './control.ts';
import { ring } from './signal.ts';

export const WORKER_STATES = ['starting', 'awake', 'asleep', 'error', 'offline', 'restart'] as const;
export type WorkerState = (typeof WORKER_STATES)[number];

/** `workers/<name>/worker.json`: who it is. Written once a session. */
export interface WorkerFile {
  name: string;
  session: string;
  host: string;
  pid: number;
  startedAt: number;
  version: string;
  jobs: number;
  queues: string[];
  labels: Record<string, string>;
  offers: Record<string, number>;
  /** How often it looks, ms: what `alive` in listings is measured against. */
  heartbeatMs: number;
  /** The lease that its guardian counts with, ms: on the file server itself it may be shorter than on the clients. */
  leaseMs?: number;
  restartExitCode: number | null;
  settings: Record<string, unknown>;
}

export interface RunningNow {
  id: string;
  attempt: number;
  pid: number | null;
  startedAt: number;
  slot: number;
  progress: { percent: number | null; message: string | null } | null;
}

/** `workers/<name>/state.json`: what it is and runs; replaced when something changed, at most once a heartbeat. */
export interface StateFile {
  session: string;
  state: WorkerState;
  /** The request that is being carried out, or null. */
  want: string | null;
  /** awake or asleep: what a restart returns to. */
  base: 'awake' | 'asleep';
  /** Until when, where that is not for good: `at` in epoch ms of its machine, as a person said or, against its hours, to their next boundary. */
  until?: { at: number; of: 'request' | 'hours' } | null;
  reason: string | null;
  /** Words in `want` that mean nothing, shown by `tq worker show`. */
  badWant: string | null;
  running: RunningNow[];
  changedAt: number;
  /** What keeps it from taking tasks although it is awake (gate, load), or null. */
  blocked: string | null;
  /** The task that it keeps room for: it takes nothing else of its priority. */
  reserved?: { id: string; priority: number } | null;
  lastSession: string | null;
  lost: boolean;
}

interface NameToken {
  file: string;
  generation: number;
  holder: string;
}

async function nameToken(q: Queue, name: string): Promise<NameToken | undefined> {
  let best: NameToken | undefined;
  for (const file of await listOrEmpty(q.fsx, `${q.lay.worker(name)}/name`, true)) {
    const m = /^g(\d+)\.(.+)$/.exec(file);
    if (m !== null && (best === undefined || Number(m[1]) > best.generation)) best = { file, generation: Number(m[1]), holder: m[2]! };
  }
  return best;
}

/** The session that has the name now, or undefined. */
export async function holderOf(q: Queue, name: string): Promise<string | undefined> {
  const t = await nameToken(q, name);
  return t === undefined || t.holder === 'free' ? undefined : t.holder;
}

/** Takes the name if nobody has it; the answer is the holder: `session` when it worked. */
export async function takeName(q: Queue, name: string, session: string): Promise<string> {
  for (;;) {
    // Each time: who forgets an offline worker may remove the directory meanwhile.
    await mkdirp(q.fsx, q.lay.worker(name));
    const token = await nameToken(q, name);
    if (token === undefined) {
      // Built aside and renamed into place: a directory that is there and not empty refuses, so there is never a second token.
      const staged = stagingPath(q, '.name');
      await mkdirp(q.fsx, staged);
      await q.fsx.create(`${staged}/g0.free`, '');
      try {
        await q.fsx.rename(staged, `${q.lay.worker(name)}/name`);
      } catch (error) {
        const code = errnoOf(error);
        if (code !== 'ENOTEMPTY' && code !== 'EEXIST' && !isGone(error)) throw error;
        await discard(q, `${staged}/g0.free`);
        await rmdirIfEmpty(q.fsx, staged);
      }
      continue;
    }
    if (token.holder === session) return session;
    if (token.holder !== 'free') return token.holder;
    if (await raiseName(q, name, token, session)) return session;
  }
}

async function raiseName(q: Queue, name: string, token: NameToken, holder: string): Promise<boolean> {
  const dir = `${q.lay.worker(name)}/name`;
  const to = `g${token.generation + 1}.${holder}`;
  try {
    await q.fsx.rename(`${dir}/${token.file}`, `${dir}/${to}`);
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
    return (await listOrEmpty(q.fsx, dir, true)).includes(to);
  }
}

/** Frees the name if exactly this session has it. Anyone may do it once the session has no running directory. */
export async function freeName(q: Queue, name: string, session: string): Promise<boolean> {
  const token = await nameToken(q, name);
  if (token === undefined || token.holder !== session) return false;
  return raiseName(q, name, token, 'free');
}

export async function writeWorker(q: Queue, w: WorkerFile): Promise<void> {
  await replace(q, `${q.lay.worker(w.name)}/worker.json`, `${JSON.stringify(w)}\n`);
}

export async function writeState(q: Queue, name: string, s: StateFile): Promise<void> {
  await replace(q, `${q.lay.worker(name)}/state.json`, `${JSON.stringify(s)}\n`);
}

async function readJson<T>(q: Queue, path: string): Promise<T | undefined> {
  const text = await readIfThere(q, path);
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as T; // written whole, by rename, by this module
  } catch {
    return undefined;
  }
}

export async function readWorker(q: Queue, name: string): Promise<WorkerFile | undefined> {
  return readJson<WorkerFile>(q, `${q.lay.worker(name)}/worker.json`);
}

export async function readState(q: Queue, name: string): Promise<StateFile | undefined> {
  return readJson<StateFile>(q, `${q.lay.worker(name)}/state.json`);
}

/**
 * The heartbeat: a counter, overwritten in place by its one writer. `load`: the machine's load average over a minute. Returns the
 * server's time.
 */
export async function beat(q: Queue, name: string, session: string, counter: number, load?: number): Promise<number> {
  const words = [String(counter).padStart(12, '0'), session, ...(load === undefined ? [] : [load.toFixed(2)])];
  return q.fsx.overwrite(`${q.lay.worker(name)}/heartbeat`, `${words.join(' ')}\n`);
}

export interface Pulse {
  counter: string;
  session: string;
  /** Load average of its machine over a minute; null: it does not say. */
  load: number | null;
  mtimeMs: number;
}

/** The heartbeat's words. Opened and read each time: content is fresh on NFS where a bare stat is not. */
export async function readBeat(q: Queue, name: string): Promise<Omit<Pulse, 'mtimeMs'> | undefined> {
  const text = await readIfThere(q, `${q.lay.worker(name)}/heartbeat`);
  if (text === undefined) return undefined;
  // The first line only: it is overwritten in place, and the end of a longer one of before may still stand behind it.
  const [counter = '', session = '', load = ''] = text.split('\n')[0]!.split(' ');
  return { counter, session, load: /^\d+\.\d+$/.test(load) ? Number(load) : null };
}

/** The same, and when it was written. */
export async function pulse(q: Queue, name: string): Promise<Pulse | undefined> {
  const words = await readBeat(q, name);
  if (words === undefined) return undefined;
  const s = await q.fsx.stat(`${q.lay.worker(name)}/heartbeat`).catch(() => undefined);
  return { ...words, mtimeMs: s?.mtimeMs ?? 0 };
}

export async function workerNames(q: Queue): Promise<string[]> {
  return (await listOrEmpty(q.fsx, q.lay.workers)).filter((n) => !n.startsWith('.')).toSorted();
}

/** The text of the request file; empty when there is none. One that cannot be read is a word that means nothing, no trouble of the queue. */
export async function readWant(q: Queue, name: string): Promise<string> {
  try {
    return (await readIfThere(q, `${q.lay.worker(name)}/want`)) ?? '';
  } catch (error) {
    if (isOfEntry(error)) return `cannot be read: ${errnoOf(error)}`;
    throw error;
  }
}

/** Asks a worker to become something: one line in `want`, the same as `echo` by hand. */
export async function writeWant(q: Queue, name: string, text: string): Promise<void> {
  await replace(q, `${q.lay.worker(name)}/want`, `${text}\n`);
  await ring(q);
}

/** Takes a request away once it was carried out; a newer one stays, also one that comes in this moment. */
export async function clearWant(q: Queue, name: string, text: string): Promise<void> {
  const path = `${q.lay.worker(name)}/want`;
  if ((await readWant(q, name)) !== text) return;
  const taken = stagingPath(q, '.want');
  if ((await move(q, path, taken)) !== 'moved') return;
  if ((await readIfThere(q, taken)) !== text) {
    try {
      await q.fsx.link(taken, path);
    } catch (error) {
      // A still newer one has come.
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
  }
  await unlinkQuietly(q.fsx, taken);
}

/** Removes what is known of an offline worker. Throws WRONG_STATE when its name is held. */
export async function removeWorker(q: Queue, name: string): Promise<void> {
  const token = await nameToken(q, name);
  if (token !== undefined && token.holder !== 'free') {
    throw new TqError('WRONG_STATE', `worker ${name} is not offline`, { hint: `tq worker stop ${name}` });
  }
  await removeTree(q, q.lay.worker(name));
}

/** Whether the session still has its running directory, i.e. has not been buried. */
export async function sessionIsThere(q: Queue, session: string): Promise<boolean> {
  try {
    await strongList(q.fsx, q.lay.session(session));
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
