/**
 * What holds for a submission as a whole: how many of its elements may fail, how long it may take, what is made when it has ended.
 * Its rules are one file, a failed element is a marker beside it, and what follows from an end is asked by whoever made that end, so
 * that no one counts what nobody asks about.
 */
import type { TaskDraft } from '../task/build.ts';
import { isTooMany, type MaxFails } from '../task/max-fails.ts';
import { isTerminal, type Next, type Task } from '../task/types.ts';
import { serverNow } from './clock.ts';
import { placesToLook, type Located } from './find.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { carryOut, intentOf, isCarriedOut, recordIntent } from './intent.ts';
import { isId, baseId } from './layout.ts';
import type { Queue } from './open.ts';
import { createOnce, publish, readIfThere, unlinkQuietly } from './steps.ts';
import type { Submission } from './bulk.ts';
import { elementsOf } from './walk.ts';

export interface GroupRules {
  /** The group. */
  name?: string;
  maxFails?: MaxFails;
  /** From the first start of an element, ms. */
  deadlineMs?: number;
  /** Tasks that are made when all have ended so. */
  success?: TaskDraft;
  failure?: TaskDraft;
  cancel?: TaskDraft;
}

export interface GroupFile extends GroupRules {
  schema: 'tq.group/1';
  id: string;
  /** Elements. */
  size: number;
}

export type Verdict = 'success' | 'failure' | 'cancel';

/** For `submitBulk`: what is written with the submission. */
export function groupFiles(s: Submission, size: number, rules: GroupRules): Map<string, string> {
  const file: GroupFile = { schema: 'tq.group/1', id: s.id, size, ...rules };
  const files = new Map([[`groups/${s.id}.json`, `${JSON.stringify(file)}\n`]]);
  if (isWatched(file)) files.set(`groups/${s.id}.open`, '');
  return files;
}

/** Something is to be done at its end or at a time. */
function isWatched(file: GroupRules): boolean {
  return file.deadlineMs !== undefined || hasCallbacks(file);
}

function hasCallbacks(file: GroupRules): boolean {
  return file.success !== undefined || file.failure !== undefined || file.cancel !== undefined;
}

const dirOf = (q: Queue, id: string): string => `${q.lay.groups}/${id}`;
const openMark = (q: Queue, id: string): string => `${dirOf(q, id)}.open`;
const startedMark = (q: Queue, id: string): string => `${dirOf(q, id)}/started`;
const lateMark = (q: Queue, id: string): string => `${dirOf(q, id)}/late`;
const NUMBERS_IN_DIRECTORY = 1000;

function failedMark(q: Queue, element: string): string {
  const id = baseId(element);
  const thousand = Math.floor(Number(element.slice(id.length + 1) || 0) / NUMBERS_IN_DIRECTORY);
  return `${dirOf(q, id)}/failed/${String(thousand).padStart(6, '0')}/${element}`;
}

const known = new Map<string, GroupFile>();

/** The rules of a submission; undefined where it has none, or they were removed with all that it had. */
export async function readGroup(q: Queue, id: string): Promise<GroupFile | undefined> {
  const path = `${dirOf(q, id)}.json`;
  const before = known.get(path);
  if (before !== undefined) return before;
  const text = await readIfThere(q, path);
  if (text === undefined) return undefined;
  try {
    const file = JSON.parse(text) as GroupFile; // written whole, with its submission
    known.set(path, file);
    return file;
  } catch {
    return undefined;
  }
}

export async function countFailed(q: Queue, id: string): Promise<number> {
  const base = `${dirOf(q, id)}/failed`;
  let n = 0;
  for (const name of await listOrEmpty(q.fsx, base, q.network)) n += (await listOrEmpty(q.fsx, `${base}/${name}`, q.network)).length;
  return n;
}

/** Whether so much of it failed, or it took so long, that the rest was canceled. */
export async function isOver(q: Queue, file: GroupFile): Promise<boolean> {
  if (file.maxFails !== undefined && isTooMany(file.maxFails, await countFailed(q, file.id), file.size)) return true;
  return file.deadlineMs !== undefined && (await readIfThere(q, lateMark(q, file.id))) !== undefined;
}

/**
 * Before an element's move to its end: a failed one is marked, and when that is one too many the rest is asked to be canceled by an
 * intent, so that a crash between this and the move, or after it, leaves the intent to others. The outcome is published: the end
 * will come.
 */
export async function beforeEnd(q: Queue, task: Task, attempt: number, next: Next, session: string): Promise<void> {
  const file = task.submission === undefined ? undefined : await readGroup(q, task.submission);
  if (file?.maxFails === undefined) return;
  const mark = failedMark(q, task.id);
  if (next.state === 'done' && attempt > 1) await unlinkQuietly(q.fsx, mark);
  if (next.state !== 'failed') return;
  await createOnce(q, mark, '');
  const failed = await countFailed(q, file.id);
  if (!isTooMany(file.maxFails, failed, file.size)) return;
  await cancelRest(q, file, `${failed} of ${file.size} failed`, session);
}

async function cancelRest(q: Queue, file: GroupFile, reason: string, session: string): Promise<void> {
  await recordIntent(q, file.id, { action: 'cancel', submission: file.id, reason, by: null, session });
}

/** After an element's move to its end: what follows from it for all of them. */
export async function memberEnded(q: Queue, id: string): Promise<void> {
  if (isCarriedOut(q, id)) return;
  const file = await readGroup(q, id);
  if (file === undefined) return;
  if (file.maxFails !== undefined) {
    const intent = await intentOf(q, id);
    if (intent !== undefined) await carryOut(q, id, intent);
  }
  if (hasCallbacks(file)) await fireIfEnded(q, file);
}

/** An element that was unfinished when it was last seen: while it is there, nobody has to look at all the others. */
const witnesses = new WeakMap<Queue, Map<string, string>>();

async function fireIfEnded(q: Queue, file: GroupFile): Promise<void> {
  const { id } = file;
  if (await someoneIsLeft(q, id)) return;
  const ended = await elementsOf(q, id);
  if (ended.some((at) => !isTerminal(at.state)) || ended.length + (await countGone(q, id, ended)) < file.size) return;
  // Each retry raises an attempt: the sum tells one ending of the whole from the next.
  const ending = ended.reduce((sum, at) => sum + at.n, 0);
  const base = `${dirOf(q, id)}/ended`;
  // What was removed since is missing in the sum: a smaller one is no new ending.
  const told = (await listOrEmpty(q.fsx, base, q.network)).some((name) => Number(/^\d+/.exec(name)?.[0] ?? -1) >= ending);
  if (!told) {
    const verdict = await verdictOf(q, file, ended);
    const callback = file[verdict];
    if (callback === undefined) await createOnce(q, `${base}/${ending}.${verdict}`, '');
    else await make(q, file, callback, verdict, `groups/${id}/ended/${ending}.${verdict}`, ended);
  }
  await unlinkQuietly(q.fsx, openMark(q, id));
  // A retry in the same moment opened it again before it was closed here.
  if (await someoneIsLeft(q, id)) await createOnce(q, openMark(q, id), '');
}

/** Made once, however many try: the first to write the mark has made it. */
async function make(
  q: Queue,
  file: GroupFile,
  callback: TaskDraft,
  verdict: Verdict,
  mark: string,
  ended: readonly Located[],
): Promise<void> {
  const { newSubmission, submitBulk } = await import('./bulk.ts');
  const failed = ended.filter((at) => at.state === 'failed').length;
  const env = {
    ...callback.env,
    TQ_PARENT_ID: file.id,
    TQ_PARENT_OUTCOME: verdict === 'success' ? 'succeeded' : verdict === 'cancel' ? 'canceled' : 'failed',
    ...(verdict === 'failure' ? { TQ_PARENT_ERROR: `${failed} of ${file.size} failed` } : {}),
  };
  const s = await newSubmission(q);
  await submitBulk(q, s, [{ ...callback, env }], { once: { name: mark, data: `${s.id}\n` } });
}

async function verdictOf(q: Queue, file: GroupFile, ended: readonly Located[]): Promise<Verdict> {
  const states = new Set(ended.map((at) => at.state));
  if (await isOver(q, file)) return 'failure';
  if (states.has('failed') && file.maxFails === undefined) return 'failure';
  if (states.has('canceled')) return 'cancel';
  return states.has('skipped') ? 'failure' : 'success';
}

async function countGone(q: Queue, id: string, there: readonly Located[]): Promise<number> {
  const seen = new Set(there.map((at) => at.id));
  const first = q.lay.gone(id);
  const above = first.slice(0, first.lastIndexOf('/'));
  let n = 0;
  for (const bucket of await listOrEmpty(q.fsx, above)) {
    if (!bucket.includes(`.${id}.`)) continue;
    for (const name of await listOrEmpty(q.fsx, `${above}/${bucket}`)) if (!seen.has(name.slice(0, name.lastIndexOf('.')))) n++;
  }
  return n;
}

/** Whether one of its elements is seen unfinished: the cheap look, which stops at the first. */
async function someoneIsLeft(q: Queue, id: string): Promise<boolean> {
  const mine = witnesses.get(q) ?? new Map<string, string>();
  witnesses.set(q, mine);
  const before = mine.get(id);
  if (before !== undefined) {
    try {
      await q.fsx.stat(before);
      return true;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  for (const place of await placesToLook(q)) {
    const dirs = place.state === 'running' ? [q.lay.session(place.session)] : await bucketsOf(q, q.lay.dir(place, id), id);
    for (const dir of dirs) {
      const name = (await listOrEmpty(q.fsx, dir)).find((entry) => entry.startsWith(`${id}.`) && entry.endsWith('.json'));
      if (name === undefined) continue;
      if (place.state !== 'running') mine.set(id, `${dir}/${name}`);
      return true;
    }
  }
  mine.delete(id);
  return false;
}

/** The buckets of its elements in a place, the last first; `dir` is the bucket that it would have itself. */
async function bucketsOf(q: Queue, dir: string, id: string): Promise<string[]> {
  const above = dir.slice(0, dir.lastIndexOf('/'));
  const mine = (await listOrEmpty(q.fsx, above)).filter((name) => name.includes(`.${id}.`) && !name.endsWith('.lock'));
  return mine
    .toSorted()
    .toReversed()
    .map((name) => `${above}/${name}`);
}

/** When groups with a deadline that began here are late, monotonic ms. */
const alarms = new Map<string, { q: Queue; id: string; atMs: number }>();

/** An element begins: the first one starts the clock of its submission. */
export async function noteStart(q: Queue, id: string): Promise<void> {
  const file = await readGroup(q, id);
  if (file?.deadlineMs === undefined || alarms.has(startedMark(q, id))) return;
  const now = await serverNow(q);
  await publish(q, startedMark(q, id), `${Math.round(now)}\n`);
  alarms.set(startedMark(q, id), { q, id, atMs: performance.now() + file.deadlineMs });
}

/** Asks about the groups that are late by this process's own watch. Costs nothing while there are none. */
export async function ringAlarms(q: Queue, session: string): Promise<void> {
  for (const [key, alarm] of alarms) {
    if (alarm.q !== q || performance.now() < alarm.atMs) continue;
    alarms.delete(key);
    const file = await readGroup(q, alarm.id);
    if (file !== undefined && !(await endIfLate(q, file, session))) alarms.set(key, { ...alarm, atMs: performance.now() + SOON_MS });
  }
}

const SOON_MS = 1000;

/** False: it is not late yet. */
async function endIfLate(q: Queue, file: GroupFile, session: string): Promise<boolean> {
  if (file.deadlineMs === undefined) return true;
  const text = await readIfThere(q, startedMark(q, file.id));
  if (text === undefined) return true;
  if ((await serverNow(q)) < Number(text) + file.deadlineMs) return false;
  if (!(await someoneIsLeft(q, file.id))) return true;
  await createOnce(q, lateMark(q, file.id), '');
  await cancelRest(q, file, 'deadline', session);
  const intent = await intentOf(q, file.id);
  if (intent !== undefined) await carryOut(q, file.id, intent);
  return true;
}

/** The sweep: what a crash kept a submission from, and deadlines whose worker is gone. Looks at those alone that are still open. */
export async function sweepGroups(q: Queue, session: string): Promise<void> {
  for (const name of await listOrEmpty(q.fsx, q.lay.groups)) {
    const id = name.endsWith('.open') ? name.slice(0, -'.open'.length) : '';
    if (!isId(id) || isCarriedOut(q, id)) continue;
    const file = await readGroup(q, id);
    if (file === undefined) continue;
    await endIfLate(q, file, session);
    if (hasCallbacks(file)) await fireIfEnded(q, file);
  }
}

/** Before an element that ended is run again: the whole has not ended any more, and its time begins anew. */
export async function reopen(q: Queue, id: string): Promise<void> {
  const file = await readGroup(q, id);
  if (file === undefined || !isWatched(file)) return;
  await createOnce(q, openMark(q, id), '');
  await unlinkQuietly(q.fsx, lateMark(q, id));
  await unlinkQuietly(q.fsx, startedMark(q, id));
  alarms.delete(startedMark(q, id));
}
