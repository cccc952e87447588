/**
 * Submissions of many tasks, all or nothing. The whole submission is staged in `tmp/` as a tree that mirrors the queue, and one
 * rename to `intents/<id>/` commits it: from then on it is submitted, and whoever comes by publishes what is still there. Before
 * the rename nothing is there.
 */
import { errnoOf, fsError, TqError } from '../errors.ts';
import type { TaskDraft } from '../task/build.ts';
import type { Parent, Task, TerminalState } from '../task/types.ts';
import { noteServerTime } from './clock.ts';
import { isGone, listOrEmpty, mkdirp, removeProbes, strongList } from './fsx.ts';
import { baseOf, entryName, flatBucket, makeId, makeLayout, markedUnder, parentOf, baseId, type Layout, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { ring } from './signal.ts';
import { isAmbiguous, LOOKS, move, readIfThere, publish, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import { blob, defineLane } from './submit.ts';
import { formatTask, freePlace } from './task-file.ts';

/** A submission that has its id and nothing on disk yet. */
export interface Submission {
  id: string;
  /** By the file server's clock, ms. */
  serverMs: number;
}

/** Begins a submission: its elements will be `<id>.1`, `<id>.2` and so on. */
export async function newSubmission(q: Queue): Promise<Submission> {
  const path = stagingPath(q, '.clock');
  try {
    const serverMs = await q.fsx.createTimed(path, '', { staging: true });
    noteServerTime(q, serverMs);
    await unlinkQuietly(q.fsx, path);
    return { id: makeId(serverMs), serverMs };
  } catch (error) {
    throw fsError(error, 'submit', q.dir);
  }
}

/** The task that a draft becomes as element `id` of a submission. */
export function elementOf(draft: TaskDraft, id: string, serverMs: number): Task {
  const { scriptText: _script, stdinData: _stdin, hold, delayMs, expireMs, ...rest } = draft;
  const task: Task = { schema: 'tq.task/1', id, ...rest, submittedAt: Math.round(serverMs) };
  if (delayMs !== undefined && delayMs > 0) task.notBefore = Math.round(serverMs + delayMs);
  if (expireMs !== undefined) task.expiresAt = Math.round(serverMs + expireMs);
  if (hold === true) task.hold = true;
  return task;
}

export interface BulkOptions {
  /** Other files of the submission by their names in the queue, published before the tasks. */
  files?: ReadonlyMap<string, string>;
  /** The submission is void when this name exists already with another content: what must be done once, however many try. */
  once?: { name: string; data: string };
  /** Writes all of the file system to its disk at once. False: it cannot, and each file is written through instead. */
  sync?(): boolean;
}

/** Entries that are staged at a time on a network file system, whose server answers many calls at once. */
const ABREAST = 32;

/**
 * Submits all drafts, in order, as elements of `s`, or none. Throws NOT_FOUND for an unknown parent, KEY_LOCKED, NO_SPACE,
 * READ_ONLY and PERMISSION; then nothing was submitted. A crash before the commit leaves staging files that are swept, after it a
 * submission that others publish.
 */
export async function submitBulk(q: Queue, s: Submission, drafts: readonly TaskDraft[], options: BulkOptions = {}): Promise<Task[]> {
  const stem = stagingPath(q, '.bulk');
  const blobs: string[] = [];
  try {
    const tasks = await stageAll(q, s, stem, await knowOutsideParents(q, s, drafts), options, blobs);
    await commit(q, s.id, stem);
    // From here on it is submitted: what fails is repeated by whoever comes next.
    await publishSubmission(q, s.id).catch(() => undefined);
    if (tasks.some((task) => outsideParents(s, task.after).length > 0)) await askOutsideParents(q, s, tasks).catch(() => undefined);
    await ring(q);
    return tasks;
  } catch (error) {
    const { removeTree } = await import('./control.ts');
    await removeTree(q, stem).catch(() => undefined);
    if (!(await isCommitted(q, s.id))) for (const name of blobs) await q.fsx.unlink(q.lay.blob(name)).catch(() => undefined);
    if (error instanceof TqError) throw error;
    throw fsError(error, 'submit', q.dir);
  }
}

async function isCommitted(q: Queue, id: string): Promise<boolean> {
  try {
    return (await listOrEmpty(q.fsx, q.lay.intents, true)).includes(id);
  } catch {
    return true;
  }
}

function outsideParents(s: Submission, after: readonly Parent[] | undefined): Parent[] {
  return (after ?? []).filter((p) => baseId(p.id) !== s.id);
}

/**
 * The drafts with those of their parents marked that have many elements; each parent that is no part of the submission is looked for
 * once. Throws NOT_FOUND, and USAGE for a kind of parent that it is not, for the first draft that names it.
 */
async function knowOutsideParents(q: Queue, s: Submission, drafts: readonly TaskDraft[]): Promise<readonly TaskDraft[]> {
  if (drafts.every((draft) => outsideParents(s, draft.after).length === 0)) return drafts;
  const { knowParents } = await import('./submit.ts');
  const known = new Map<string, Parent>();
  const found: TaskDraft[] = [];
  for (const [i, draft] of drafts.entries()) {
    const after: Parent[] = [];
    for (const parent of draft.after ?? []) {
      const key = `${parent.kind} ${parent.id}`;
      let its = baseId(parent.id) === s.id ? parent : known.get(key);
      if (its === undefined) {
        const one: Pick<TaskDraft, 'after' | 'many'> = { after: [parent], ...(draft.many === undefined ? {} : { many: draft.many }) };
        try {
          await knowParents(q, one);
        } catch (error) {
          throw error instanceof TqError ? new ParentError(error, i) : error;
        }
        its = one.after![0]!;
        known.set(key, its);
      }
      after.push(its);
    }
    found.push(after.length === 0 ? draft : { ...draft, after });
  }
  return found;
}

/** A parent that cannot be one, of the draft with this position. */
export class ParentError extends TqError {
  readonly position: number;

  constructor(error: TqError, position: number) {
    super(error.code, error.message, { cause: error, ...(error.hint === undefined ? {} : { hint: error.hint }) });
    this.position = position;
  }
}

/**
 * Children of tasks that may have ended before the child was there; those of the submission's own tasks were there first. Of one
 * that has not ended nothing follows: whoever ends it finds the markers.
 */
async function askOutsideParents(q: Queue, s: Submission, tasks: readonly Task[]): Promise<void> {
  const { judge, parentState, tryReleaseAll } = await import('./depend.ts');
  const states = new Map<string, TerminalState | undefined>();
  const asked: string[] = [];
  for (const task of tasks) {
    const parents = outsideParents(s, task.after);
    if (parents.length === 0) continue;
    for (const p of parents) if (!states.has(p.id)) states.set(p.id, await parentState(q, p));
    const verdict = judge(
      parents,
      parents.map((p) => states.get(p.id)),
    );
    // What has a key or waits for elements is not judged by this alone.
    if (verdict.kind !== 'wait' || task.key !== undefined || parents.some((p) => p.kind === 'after-each')) asked.push(task.id);
  }
  await tryReleaseAll(q, asked);
}

/** Its presence says that the tree is whole: a sweep of old staging files takes the tree with it. */
export const MANIFEST = 'intent.json';

async function stageAll(
  q: Queue,
  s: Submission,
  stem: string,
  drafts: readonly TaskDraft[],
  options: BulkOptions,
  blobs: string[],
): Promise<Task[]> {
  const at = makeLayout(stem);
  const inside = makeInside(q, stem);
  await makeDirectory(q, stem);
  const manifest = { schema: 'tq.intent/1', id: s.id, at: Math.round(s.serverMs), size: drafts.length, once: options.once };
  await q.fsx.create(`${stem}/${MANIFEST}`, `${JSON.stringify(manifest)}\n`, { staging: true });
  for (const [name, data] of options.files ?? []) await inside.file(`${stem}/${name}`, data);
  const tasks: Task[] = [];
  let under: Array<Promise<void>> = [];
  for (const [i, draft] of drafts.entries()) {
    const task = elementOf(draft, drafts.length === 1 && options.once !== undefined ? s.id : `${s.id}.${i + 1}`, s.serverMs);
    if (draft.scriptText !== undefined) task.script = await blob(q, draft.scriptText, 'script', blobs);
    if (draft.stdinData !== undefined) task.stdin = await blob(q, draft.stdinData, 'stdin', blobs);
    tasks.push(task);
    const one = stageOne(q, at, inside, task, s.serverMs);
    if (q.network) {
      under.push(one);
      if (under.length < ABREAST) continue;
      await Promise.all(under);
      under = [];
    } else await one;
  }
  await Promise.all(under);
  // On a network file system closing a file writes it through.
  if (!q.network && options.sync?.() !== true) await writeThrough(q, stem);
  return tasks;
}

async function stageOne(q: Queue, at: Layout, inside: Inside, task: Task, serverMs: number): Promise<void> {
  const place: Place = task.hold === true ? { state: 'held' } : freePlace(task, serverMs);
  if (place.state === 'queued') await defineLane(q, task);
  await inside.file(`${at.dir(place, task.id)}/${entryName(task.id, 0)}`, formatTask(task));
  if (task.lockKeys !== undefined) await inside.file(`${at.keylocks}/${task.id}`, task.lockKeys);
  if (place.state === 'waiting') {
    const under = new Set((task.after ?? []).map(markedUnder));
    for (const id of under) await inside.file(`${at.after(id)}/${flatBucket(task.id)}/${task.id}`, '');
  }
}

export interface Inside {
  /** Makes the directories above `path`. */
  room(path: string): Promise<void>;
  file(path: string, data: string): Promise<void>;
}

/** Makes files in the staging tree, whose directories are made once. */
export function makeInside(q: Queue, stem: string): Inside {
  const made = new Map<string, Promise<void>>([[stem, Promise.resolve()]]);
  const dir = (path: string): Promise<void> => {
    let known = made.get(path);
    if (known === undefined) {
      known = dir(parentOf(path)).then(() => makeDirectory(q, path));
      made.set(path, known);
    }
    return known;
  };
  return {
    room: (path) => dir(parentOf(path)),
    async file(path, data) {
      const at = parentOf(path);
      const known = made.get(at);
      // An await for each of a hundred thousand files is a part of their time.
      if (known === undefined) await dir(at);
      else if (q.network) await known;
      await q.fsx.create(path, data, { staging: true });
    },
  };
}

/** Nobody else makes it: when it is there, the reply to an earlier call was lost. */
export async function makeDirectory(q: Queue, path: string): Promise<void> {
  try {
    await q.fsx.mkdir(path);
  } catch (error) {
    if (errnoOf(error) !== 'EEXIST') throw error;
  }
}

/** Where the whole file system could not be written at once: every file of the tree by itself. */
export async function writeThrough(q: Queue, dir: string): Promise<void> {
  for (const name of await q.fsx.list(dir)) {
    const path = `${dir}/${name}`;
    if ((await q.fsx.stat(path)).isDirectory) await writeThrough(q, path);
    else await q.fsx.fsyncDir(path);
  }
  await q.fsx.fsyncDir(dir);
}

/**
 * The one rename that submits. ENOENT: `intents/` was missing; or a sweeper took the tree to `swept/` (taken back, tried again); or
 * else the reply was lost, and it is in.
 */
export async function commit(q: Queue, id: string, stem: string): Promise<void> {
  const { fsx, lay } = q;
  const name = baseOf(stem);
  for (let look = 0; ; look++) {
    // A tree that was swept and made anew under its name holds its later half alone.
    const whole = (await readIfThere(q, `${stem}/${MANIFEST}`)) !== undefined;
    let last: unknown;
    try {
      if (whole) {
        await fsx.rename(stem, `${lay.intents}/${id}`);
        break;
      }
    } catch (error) {
      last = error;
      if (!isAmbiguous(error)) throw error;
    }
    if ((await strongList(fsx, lay.tmp)).includes(name)) {
      if (!whole || look >= LOOKS)
        throw last ?? new TqError('QUEUE_UNUSABLE', 'submit: it was stopped for an hour, and its staging files were swept');
      await mkdirp(fsx, lay.intents);
      continue;
    }
    try {
      await fsx.rename(`${lay.swept}/${name}`, stem);
      continue;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    if ((await listOrEmpty(fsx, lay.tmp, true)).includes(name)) continue;
    break;
  }
  try {
    await fsx.fsyncDir(lay.intents);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/**
 * The rooms of a submission in the order in which they are published, with the number of directories above their leaves. Children
 * and their markers come before parents, so that whoever ends a parent finds them.
 */
const ROOMS: ReadonlyArray<readonly [name: string, depth: number]> = [
  // Of an import: what tasks left and what they need lies there before them.
  ['blobs', 0],
  ['state', 1],
  ['notes', 1],
  ['runs', 2],
  ['arrays', 1],
  ['gone', 2],
  ['paused', 0],
  ['cron', 1],
  ['groups', 0],
  ['keylocks', 0],
  ['waiting', 2],
  ['after', 2],
  ['held', 2],
  ['delayed', 4],
  ['queued', 4],
  ['done', 2],
  ['failed', 2],
  ['canceled', 2],
  ['skipped', 2],
  ['follow', 0],
];

/** On NFS a listing may miss a name; `rmdir` tells, and the tree is gone through again. */
const ROUNDS = 8;

/**
 * Publishes what is left of a committed submission: each leaf directory by one rename where its target does not exist, else file
 * by file. All of it are renames whose source never comes back, so any number may do it at the same time, and a crash anywhere
 * leaves the rest to the next.
 */
export async function publishSubmission(q: Queue, id: string): Promise<void> {
  const base = `${q.lay.intents}/${id}`;
  for (let round = 0; round < ROUNDS; round++) {
    if (await isVoid(q, base)) await removeRooms(q, base);
    else for (const [room, depth] of ROOMS) await publishTree(q, `${base}/${room}`, `${q.dir}/${room}`, depth);
    // Not before all else is gone: without it nobody can tell whether what is left counts.
    const left = (await listOrEmpty(q.fsx, base, true)).filter((name) => name !== MANIFEST);
    if (left.length > 0) continue;
    await unlinkQuietly(q.fsx, `${base}/${MANIFEST}`);
    if (await removeEmptied(q, base)) {
      await ring(q);
      return;
    }
  }
  throw new TqError('QUEUE_UNUSABLE', `cannot publish the submission ${id}: ${base} does not get empty`, { hint: 'tq doctor' });
}

async function removeRooms(q: Queue, base: string): Promise<void> {
  const { removeTree } = await import('./control.ts');
  for (const [room] of ROOMS) await removeTree(q, `${base}/${room}`);
}

/** Whether this submission was to be made once and another one was first. The mark is written once and decides for everybody. */
async function isVoid(q: Queue, base: string): Promise<boolean> {
  const text = await readIfThere(q, `${base}/${MANIFEST}`);
  if (text === undefined) return false;
  const { once } = JSON.parse(text) as { once?: BulkOptions['once'] }; // written whole by stageAll
  if (once === undefined) return false;
  const mark = `${q.dir}/${once.name}`;
  await publish(q, mark, once.data);
  return (await readIfThere(q, mark)) !== once.data;
}

async function publishTree(q: Queue, source: string, target: string, depth: number): Promise<void> {
  // In order: of an entry of cron its token comes before it.
  for (const name of (await listOrEmpty(q.fsx, source, q.network)).toSorted()) {
    const [from, to] = [`${source}/${name}`, `${target}/${name}`];
    if (depth > 1) await publishTree(q, from, to, depth - 1);
    else if (depth === 0) await move(q, from, to);
    else if (!(await publishDirectory(q, from, to))) await publishTree(q, from, to, 0);
  }
  await removeEmptied(q, source);
}

/** False: there is something in it still. */
async function removeEmptied(q: Queue, dir: string): Promise<boolean> {
  if (await rmdirIfEmpty(q.fsx, dir)) return true;
  if (!q.network) return false;
  await removeProbes(q.fsx, dir).catch(() => undefined);
  return rmdirIfEmpty(q.fsx, dir);
}

/** False: there is a directory already. */
async function publishDirectory(q: Queue, from: string, to: string): Promise<boolean> {
  try {
    await move(q, from, to);
    return true;
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOTEMPTY' || code === 'EEXIST') return false;
    throw error;
  }
}
