/**
 * Taking away what ended long ago, and what crashes left lying about. Safe beside workers and beside another gc: a task goes by
 * the rename of `erase`, a directory by `rmdir`, and whoever needs one makes it again. Nothing of an unfinished task is touched.
 */
import { errnoOf } from '../errors.ts';
import { isTerminal, TERMINAL, UNFINISHED, type State, type TerminalState } from '../task/types.ts';
import { serverNow } from './clock.ts';
import { erase, finishErase, removeTree } from './control.ts';
import { dependants } from './depend.ts';
import { buckets, entriesOf, everything, locate, type Located } from './find.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { hourOf } from './journal.ts';
import { baseId, bucketEnd, idTime, isId, isPiece } from './layout.ts';
import { eraseArray, readArray } from './array.ts';
import { sweepKeys } from './keys.ts';
import { sweepMutexes } from './limits.ts';
import type { Queue } from './open.ts';
import { readOutcome } from './outcome.ts';
import { holderOf, readState, takeName, workerNames } from './registry.ts';
import { makeSession, type HostFacts } from './session.ts';
import { readIfThere, rmdirIfEmpty, unlinkQuietly } from './steps.ts';
import { sweepTmp } from './sweep.ts';
import { parseTask } from './task-file.ts';
import { elementsOf } from './walk.ts';
import { readWhy } from './why.ts';

export interface GcOptions {
  /** How long done tasks are kept, ms from their end. */
  keepMs: number;
  /** How long failed, canceled and skipped ones are kept, and what is known of workers that are offline. */
  keepFailedMs: number;
  dryRun: boolean;
  facts: HostFacts;
  /** Called for each task as it goes. */
  removed?(id: string): void;
}

export interface GcReport {
  /** Ids of the tasks that went, or would go. */
  removed: string[];
  /** Old enough, but an unfinished task comes after them. */
  needed: Array<{ id: string; by: string }>;
  blobs: number;
  workers: string[];
}

/** Ended tasks that are older than asked for, then the leftovers. Throws file system errors of the queue. */
export async function collect(q: Queue, options: GcOptions): Promise<GcReport> {
  const report: GcReport = { removed: [], needed: [], blobs: 0, workers: [] };
  const now = options.dryRun && !q.network ? Date.now() : await serverNow(q);
  await collectTasks(q, options, now, report);
  if (options.dryRun) return report;
  await finishRemovals(q);
  await sweepMarkers(q);
  await sweepGroupData(q, now);
  report.blobs = await sweepBlobs(q, now);
  await sweepKeys(q, now);
  await sweepMutexes(q, now);
  await sweepEmpty(q, now);
  await sweepTmp(q);
  await sweepJournal(q, now - Math.max(options.keepMs, options.keepFailedMs));
  report.workers = await sweepWorkers(q, options, now);
  return report;
}

async function collectTasks(q: Queue, options: GcOptions, now: number, report: GcReport): Promise<void> {
  const wanted = await wantedParents(q);
  const arrays = new Map<string, boolean>();
  for (const state of TERMINAL) {
    const before = now - (state === 'done' ? options.keepMs : options.keepFailedMs);
    for await (const at of entriesOf(q, { state })) {
      if (at.id.includes('.') && (await isOfArray(q, at, arrays))) continue;
      if (!(await endedBefore(q, at, state, before, now))) continue;
      const by = wanted.get(at.id) ?? (await waitingChild(q, at.id));
      if (by !== undefined) {
        report.needed.push({ id: at.id, by });
        continue;
      }
      if (!options.dryRun && !(await erase(q, at))) continue;
      report.removed.push(at.id);
      options.removed?.(at.id);
    }
  }
  for (const [id, is] of arrays) if (is) await collectArray(q, id, options, now, wanted.get(id) ?? (await waitingChild(q, id)), report);
}

/** Whether an entry is a piece of an array, which goes as a whole; each submission is asked once. */
async function isOfArray(q: Queue, at: Located, known: Map<string, boolean>): Promise<boolean> {
  const id = baseId(at.id);
  let is = known.get(id);
  if (is === undefined) {
    is = isPiece(at.id) || (await readArray(q, id)) !== undefined;
    known.set(id, is);
  }
  return is;
}

async function collectArray(
  q: Queue,
  id: string,
  options: GcOptions,
  now: number,
  by: string | undefined,
  report: GcReport,
): Promise<void> {
  const array = await readArray(q, id);
  if (array === undefined || !isTerminal(array.state)) return;
  const before = now - (array.state === 'done' ? options.keepMs : options.keepFailedMs);
  if (idTime(id) > before && idTime(id) <= now) return;
  for (const { at } of array.pieces) if ((await changedAt(q, at.file, now)) > before) return;
  if (by !== undefined) {
    report.needed.push({ id, by });
    return;
  }
  if (!options.dryRun) await eraseArray(q, array);
  report.removed.push(id);
  options.removed?.(id);
}

async function changedAt(q: Queue, path: string, otherwise: number): Promise<number> {
  try {
    return (await q.fsx.stat(path)).ctimeMs;
  } catch (error) {
    if (isGone(error)) return otherwise;
    throw error;
  }
}

/** Parents that unfinished tasks name in their own files, with one that does: a marker may be missing after a crash. */
async function wantedParents(q: Queue): Promise<Map<string, string>> {
  const wanted = new Map<string, string>();
  for (const state of ['waiting', 'held'] as const) {
    for await (const at of entriesOf(q, { state })) {
      for (const id of await parentsIn(q, at)) wanted.set(id, at.id);
    }
  }
  return wanted;
}

async function parentsIn(q: Queue, at: Located): Promise<string[]> {
  const text = await readIfThere(q, at.file);
  if (text?.includes('"after"') !== true) return [];
  const parsed = parseTask(text, at.id);
  return parsed.ok ? (parsed.value.after ?? []).map((p) => p.id.split('.')[0]!) : [];
}

/** An unfinished task with a marker under this parent: whatever its state, it may still ask for the parent's result. */
async function waitingChild(q: Queue, id: string): Promise<string | undefined> {
  for (const child of await dependants(q, id)) {
    const at = await locate(q, child);
    if (at !== undefined && !isTerminal(at.state)) return child;
  }
  return undefined;
}

/** Judged by the end that was recorded, else by when its file came to where it is. */
async function endedBefore(q: Queue, at: Located, state: TerminalState, before: number, now: number): Promise<boolean> {
  // A task ends after its submit, whose time is in the id; an id of the future was made by somebody else and tells nothing.
  const submitted = idTime(at.id);
  if (submitted > before && submitted <= now) return false;
  const [outcome, why] = [at.n > 0 ? await readOutcome(q, at.id, at.n) : undefined, await readWhy(q, at.id, at.n, state)];
  const ended = Math.max(outcome?.endedAt ?? 0, why?.at ?? 0);
  if (ended > 0) return ended <= before;
  try {
    return (await q.fsx.stat(at.file)).ctimeMs <= before;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Removals that a crash cut short. */
async function finishRemovals(q: Queue): Promise<void> {
  for (const bucket of await buckets(q, `${q.dir}/gone`)) {
    for (const name of await listOrEmpty(q.fsx, `${q.dir}/gone/${bucket}`)) await finishErase(q, `${q.dir}/gone/${bucket}/${name}`);
  }
}

/** Markers under parents that were removed: such a parent never ends again, and its children find its outcome in `gone/`. */
async function sweepMarkers(q: Queue): Promise<void> {
  for (const parent of await listOrEmpty(q.fsx, `${q.dir}/after`)) {
    if ((await listOrEmpty(q.fsx, q.lay.gone(parent))).some((name) => name.startsWith(`${parent}.`)))
      await removeTree(q, q.lay.after(parent));
  }
}

/** Rules of submissions of which nothing is left. */
async function sweepGroupData(q: Queue, now: number): Promise<void> {
  for (const name of await listOrEmpty(q.fsx, q.lay.groups)) {
    const id = name.endsWith('.json') ? name.slice(0, -'.json'.length) : '';
    if (!isId(id) || now - idTime(id) < SETTLED_MS) continue;
    // Twice: one that moves while the places are listed may be missed once.
    if ((await elementsOf(q, id)).length > 0 || (await elementsOf(q, id)).length > 0) continue;
    if ((await listOrEmpty(q.fsx, q.lay.intents)).some((intent) => intent.startsWith(id))) continue;
    await unlinkQuietly(q.fsx, `${q.lay.groups}/${id}.open`);
    await removeTree(q, `${q.lay.groups}/${id}`);
    await unlinkQuietly(q.fsx, `${q.lay.groups}/${name}`);
  }
}

/** A blob younger than this may belong to a submit that is still at it, ms. */
const BLOB_MS = 86_400_000;

/** Removes scripts and inputs that no task names: those of a submit that died before its task was there. */
async function sweepBlobs(q: Queue, now: number): Promise<number> {
  const orphans = new Set<string>();
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/blobs`)) {
    const age = now - (await mtimeOf(q, q.lay.blob(name), now));
    if (age > BLOB_MS) orphans.add(name);
  }
  // A task may move while the places are read one after the other: once along its way and once against it, and it is seen.
  for (const states of [STATES_FORWARD, STATES_FORWARD.toReversed()]) {
    if (orphans.size === 0) return 0;
    for await (const at of everything(q, states)) {
      const text = (await readIfThere(q, at.file)) ?? '';
      for (const blob of blobsIn(text)) orphans.delete(blob);
    }
  }
  for (const dir of [q.lay.tmp, q.lay.swept, q.lay.quarantine]) {
    // What a slow submit takes back from there, or a person puts back, needs its blobs.
    for (const name of await listOrEmpty(q.fsx, dir)) for (const blob of blobsIn(await textOf(q, `${dir}/${name}`))) orphans.delete(blob);
  }
  for (const name of orphans) await unlinkQuietly(q.fsx, q.lay.blob(name));
  return orphans.size;
}

async function textOf(q: Queue, path: string): Promise<string> {
  try {
    return await q.fsx.read(path);
  } catch (error) {
    if (isGone(error) || errnoOf(error) === 'EISDIR') return '';
    throw error;
  }
}

const STATES_FORWARD: readonly State[] = [...UNFINISHED, ...TERMINAL];

/** Names of blobs anywhere in a task file, even in one that is damaged. */
function blobsIn(text: string): string[] {
  return [...text.matchAll(/[0-9a-z]{10,16}\.(?:script|stdin|items)/g)].map((m) => m[0]);
}

async function mtimeOf(q: Queue, path: string, otherwise: number): Promise<number> {
  try {
    return (await q.fsx.stat(path)).mtimeMs;
  } catch (error) {
    if (isGone(error)) return otherwise;
    throw error;
  }
}

/** Buckets of ids younger than this are still being filled, ms. */
const SETTLED_MS = 3_600_000;

/** Removes empty buckets of the places whose writers make them again when they are missing. */
async function sweepEmpty(q: Queue, now: number): Promise<void> {
  for (const place of ['waiting', 'held', ...TERMINAL, 'runs'] as const) {
    const base = `${q.dir}/${place}`;
    for (const bucket of await buckets(q, base)) {
      if (now - bucketEnd(bucket) < SETTLED_MS) continue;
      // Told by rmdir alone: a listing may be stale.
      if (await rmdirIfEmpty(q.fsx, `${base}/${bucket}`)) await rmdirIfEmpty(q.fsx, `${base}/${bucket.slice(0, 4)}`);
    }
  }
}

/** Removes the hours of the journal that are over since then: of the tasks that are kept they tell nothing that matters. */
async function sweepJournal(q: Queue, before: number): Promise<void> {
  const first = hourOf(before);
  for (const hour of await listOrEmpty(q.fsx, q.lay.journal)) {
    if (/^\d{8}T\d{2}$/.test(hour) && hour < first) await removeTree(q, `${q.lay.journal}/${hour}`);
  }
}

/** Forgets workers that have been offline for as long as failures are kept. */
async function sweepWorkers(q: Queue, options: GcOptions, now: number): Promise<string[]> {
  const forgotten: string[] = [];
  for (const name of await workerNames(q)) {
    const state = await readState(q, name);
    if (state !== undefined && state.state !== 'offline') continue;
    const since = await mtimeOf(q, `${q.lay.worker(name)}/${state === undefined ? 'name' : 'state.json'}`, now);
    if (now - since > options.keepFailedMs && (await forgetWorker(q, options.facts, name))) forgotten.push(name);
  }
  return forgotten;
}

/**
 * Removes what is known of a worker. Its name is taken for the time, so that no worker starts under it meanwhile, and goes last.
 * False: somebody has the name.
 */
export async function forgetWorker(q: Queue, facts: HostFacts, name: string): Promise<boolean> {
  if ((await holderOf(q, name)) !== undefined) return false;
  const session = makeSession(name, facts);
  if ((await takeName(q, name, session)) !== session) return false;
  const dir = q.lay.worker(name);
  for (const file of await listOrEmpty(q.fsx, dir)) {
    if (file !== 'name') await unlinkQuietly(q.fsx, `${dir}/${file}`);
  }
  await removeTree(q, `${dir}/name`);
  await rmdirIfEmpty(q.fsx, dir);
  return true;
}
