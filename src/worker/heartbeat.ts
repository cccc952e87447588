/**
 * The heartbeat: once a poll the worker raises its counter, lists its own running directory and reads its request file. That
 * one look finds everything that others want of it: cancels, a burial, requests.
 */
import os from 'node:os';
import { carryCancel, readCancel } from '../queue/cancel.ts';
import { noteServerTime } from '../queue/clock.ts';
import { isGone, strongList } from '../queue/fsx.ts';
import { parseEntry } from '../queue/layout.ts';
import { openQueue } from '../queue/open.ts';
import { finishCut, settleLost } from '../queue/bury.ts';
import { publishSpool } from '../queue/spool.ts';
import { beat, readWant, writeState, type StateFile } from '../queue/registry.ts';
import { bell } from '../queue/signal.ts';
import { TqError } from '../errors.ts';
import { awakeAt } from '../task/hours.ts';
import { parseWant } from './requests.ts';
import { bootClockMs } from './proc.ts';
import { reservation } from './reserve.ts';
import { readProgress } from './scratch.ts';
import { cancelOfChunk, keyOf } from './chunk.ts';
import { endRun, sayOnce, wake, type Run, type Worker } from './worker.ts';

/** Every so many heartbeats the own directory is listed past the caches of this machine. */
const CAREFUL_EVERY = 12;

/** `ok`; `revoked`: somebody buried this session; `away`: the queue's directory cannot be reached. */
export type Pulse = 'ok' | 'revoked' | 'away';

/** One heartbeat. Never throws for trouble of the file system: that is `away`. */
export async function heartbeat(w: Worker): Promise<Pulse> {
  const began = performance.now();
  const beganBoot = bootClockMs();
  try {
    const { q } = w;
    noteServerTime(q, await beat(q, w.options.name, w.session, ++w.counter, os.loadavg()[0]));
    const result = await lookAtOwn(w);
    if (result !== 'ok') return result;
    // Confirmed is the moment the beat began: what was true then is what others saw.
    w.confirmedMs = began;
    w.confirmedBootMs = beganBoot;
    w.guardian?.tick(beganBoot ?? undefined);
    await readRequest(w);
    await noteProgress(w);
    await publishState(w);
    // Nothing waits for it.
    void w.q.journal?.flush();
    return 'ok';
  } catch (error) {
    w.reason = error instanceof Error ? error.message : String(error);
    return 'away';
  }
}

/** Lists the own directory: entries gone mean a burial, entries unknown are given back, a `.cancel` is obeyed. */
async function lookAtOwn(w: Worker): Promise<Pulse> {
  const { q } = w;
  const epoch = w.claimEpoch;
  const claiming = w.claiming || w.closing.size > 0 || w.chunks.some((c) => c.busy);
  const before = new Set([...w.runs.values()].map(entryOf));
  for (const c of w.chunks) before.add(keyOf(c));
  for (const c of [...w.pending, ...w.opening]) before.add(`${c.id}.a${c.attempt}`);
  let names: string[];
  try {
    // A cached listing may miss a request until something else changes there: a careful look now and then finds it.
    const dir = q.lay.session(w.session);
    names = w.counter % CAREFUL_EVERY === 0 ? await strongList(q.fsx, dir) : await q.fsx.list(dir);
  } catch (error) {
    if (!isGone(error)) throw error;
    return (await queueIsThere(w)) ? 'revoked' : 'away';
  }
  const there = new Set<string>();
  const cuts = new Map<string, string>();
  const cancels: Request[] = [];
  for (const name of names) {
    const e = parseEntry(name);
    if (e === undefined) continue;
    const key = `${e.id}.a${e.n}`;
    if (e.cancel) cancels.push({ id: e.id, n: e.n, key, name });
    else there.add(key);
    if (e.cut !== undefined) cuts.set(key, e.cut);
  }
  if (epoch === w.claimEpoch && !claiming) await dropMissing(w, there, before);
  // What is wrong with one entry must not pass for a queue that is away: it is tried again at each heartbeat.
  for (const c of cancels) await obeyCancel(w, c, there).catch((error: unknown) => sayOnce(w, c.key, error));
  if (!claiming && !w.claiming && w.closing.size === 0 && epoch === w.claimEpoch) {
    for (const key of there) {
      if (
        before.has(key) ||
        w.runs.has(key) ||
        w.chunks.some((c) => keyOf(c) === key) ||
        w.pending.some((c) => `${c.id}.a${c.attempt}` === key)
      )
        continue;
      await giveBack(
        w,
        key,
        cancels.some((c) => c.key === key),
        cuts.get(key),
      ).catch((error: unknown) => sayOnce(w, key, error));
    }
  }
  return 'ok';
}

async function giveBack(w: Worker, key: string, canceled: boolean, cut: string | undefined): Promise<void> {
  const e = parseEntry(`${key}.json`)!;
  // An error kept it from being cut as a whole.
  if (cut !== undefined) await finishCut(w.q, w.session, e.id, cut, e.n);
  // It may have ended here while the queue was away, and its outcome lie on the local disk: that one comes first.
  await publishSpool(w.q, w.session);
  await settleLost(w.q, w.session, e.id, e.n, 'claimed, but never started', canceled, w.unbegun.has(key) ? false : undefined);
  w.log(`${key}: in my directory but not mine to run: given back`);
  w.unbegun.delete(key);
}

/** The entry that an attempt is run from. */
function entryOf(run: Run): string {
  return run.chunk === undefined ? run.key : keyOf(run.chunk);
}

interface Request {
  id: string;
  n: number;
  key: string;
  name: string;
}

/** A request of the own directory: for what runs, for what was claimed and not begun, or for what has left. */
async function obeyCancel(w: Worker, c: Request, there: ReadonlySet<string>): Promise<void> {
  const { q } = w;
  const waiting = w.pending.findIndex((p) => `${p.id}.a${p.attempt}` === c.key);
  if (waiting >= 0) {
    w.pending.splice(waiting, 1);
    await settleLost(q, w.session, c.id, c.n, 'canceled before it began', true);
    return;
  }
  const run = w.runs.get(c.key);
  if (run === undefined || run.chunk !== undefined) {
    if (!(await cancelOfChunk(w, c)) && !there.has(c.key) && w.closing.size === 0) await carryCancel(q, w.session, c.id, c.n);
  } else if (!run.finishing && (run.cause === null || run.cause === 'canceled')) {
    const request = await readCancel(q, w.session, c.id, c.n);
    endRun(run, 'canceled', { now: request.now, reason: request.reason });
  }
}

/** An attempt whose entry is gone was given to somebody else: its processes end and its outcome is discarded. */
async function dropMissing(w: Worker, there: ReadonlySet<string>, before: ReadonlySet<string>): Promise<void> {
  const missing = [...w.runs.values()].filter((r) => before.has(entryOf(r)) && !there.has(entryOf(r)) && !r.finishing);
  if (missing.length === 0) return;
  const again = new Set(await strongList(w.q.fsx, w.q.lay.session(w.session)));
  for (const run of missing) {
    if (again.has(`${entryOf(run)}.json`) || run.finishing || !w.runs.has(run.key)) continue;
    w.log(`${run.key}: taken away from me: its processes are ended`);
    endRun(run, 'revoked', { now: true });
  }
}

/** Whether the queue itself can be read, so that a missing directory means a burial and not a vanished mount. */
export async function queueIsThere(w: Worker): Promise<boolean> {
  try {
    return (await openQueue(w.q.dir, { network: w.q.network })).config.id === w.q.config.id;
  } catch (error) {
    if (error instanceof TqError) return false;
    throw error;
  }
}

/** Reads the request file. Also before a claim on a local disk, where it costs microseconds: who asked first is heard first. */
export async function readRequest(w: Worker): Promise<void> {
  const parsed = parseWant(await readWant(w.q, w.options.name));
  switch (parsed.kind) {
    case 'none':
      if (w.request?.from === 'want') w.request = null;
      w.badWant = null;
      return;
    case 'bad':
      if (w.badWant !== parsed.text) w.log(`request not understood, ignored: ${JSON.stringify(parsed.text)}`);
      w.badWant = parsed.text;
      return;
    case 'request': {
      w.badWant = null;
      // A signal or a limit is not taken back by an older word on disk.
      if (w.request !== null && w.request.from !== 'want' && w.request.from !== 'hours' && w.request.to !== 'awake') return;
      if (w.request?.text === parsed.request.text && w.request.from === 'want') return;
      w.request = parsed.request;
      wake(w);
    }
  }
}

async function noteProgress(w: Worker): Promise<void> {
  for (const run of w.runs.values()) {
    if (run.progressFile !== null) run.progress = readProgress(run.progressFile) ?? run.progress;
  }
}

/** What a restart is to know of the end of `base`: of one that its hours have made it makes the same again. */
function untilOf(w: Worker): NonNullable<StateFile['until']> | null {
  const { hours } = w.options;
  if (w.baseUntil === null) return null;
  if (hours === null) return { at: w.baseUntil, of: 'request' };
  return awakeAt(hours, Date.now()) === (w.base === 'awake') ? null : { at: w.baseUntil, of: 'hours' };
}

/** Writes state.json if it would say something new. */
export async function publishState(w: Worker): Promise<void> {
  // Without a session the name is another's, or not its own yet.
  if (w.session === '') return;
  const s: StateFile = {
    session: w.session,
    state: w.state,
    want: w.request === null || w.request.to === w.state ? null : w.request.to,
    base: w.base,
    until: untilOf(w),
    reason: w.state === 'error' ? w.reason : null,
    badWant: w.badWant,
    running: w.runningNow(),
    changedAt: 0,
    blocked: w.blocked,
    reserved: reservation(w),
    lastSession: null,
    lost: false,
  };
  const text = JSON.stringify(s);
  if (text === w.written) return;
  await writeState(w.q, w.options.name, { ...s, changedAt: Math.round(Date.now()) });
  w.written = text;
}

/** Whether somebody rang since the last look. */
export async function rang(w: Worker): Promise<boolean> {
  const now = await bell(w.q);
  const changed = now !== w.bell;
  w.bell = now;
  return changed;
}
