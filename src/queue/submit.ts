/**
 * Submit: one task file, staged, fsynced, and put in its place by one rename. A printed id is on disk; a crash before the
 * rename leaves a staging file that is swept, after it a whole task.
 */
import { errnoOf, fsError, TqError } from '../errors.ts';
import type { TaskDraft } from '../task/build.ts';
import type { Step } from '../task/event.ts';
import type { State, Task } from '../task/types.ts';
import { isGone, listOrEmpty, mkdirp, strongList } from './fsx.ts';
import { baseOf, laneName, makeId, parentOf, pieceId, requirementsOf, type Place } from './layout.ts';
import { spanOf } from '../task/array.ts';
import { noteServerTime } from './clock.ts';
import type { Queue } from './open.ts';
import { ring } from './signal.ts';
import { discard, isAmbiguous, LOOKS, readIfThere, replace, stagingPath, unlinkQuietly } from './steps.ts';
import { formatTask, freePlace } from './task-file.ts';

export interface Submitted {
  id: string;
  task: Task;
  place: Place;
  /** The id of an unfinished task with the same key, when that one stands for this submit. */
  existing?: true;
}

/**
 * Puts one task into the queue. Throws NOT_FOUND for an unknown parent, DUPLICATE_KEY and KEY_LOCKED for keys, NO_SPACE,
 * READ_ONLY and PERMISSION from the file system; then nothing was submitted. `id`: of a submit that must happen once only, see `onceStaged`.
 */
export async function submitTask(q: Queue, draft: TaskDraft, id?: string): Promise<Submitted> {
  try {
    if (draft.key !== undefined || draft.lockKeys !== undefined) {
      const { submitKeyed } = await import('./keys.ts');
      return await submitKeyed(q, draft, id);
    }
    await knowParents(q, draft);
    const s = await stage(q, draft, id);
    const place: Place = draft.hold === true ? { state: 'held' } : freePlace(s.task, s.serverMs);
    await furnish(q, s.task);
    await commit(q, s, place);
    if (place.state === 'waiting') {
      const { linkToParents } = await import('./depend.ts');
      // It is in: what fails from here on is repeated by the sweep of waiting, and saying that it failed would be wrong.
      await linkToParents(q, s.task).catch(() => undefined);
    }
    await ring(q);
    return { id: s.task.id, task: s.task, place };
  } catch (error) {
    if (error instanceof TqError) throw error;
    throw fsError(error, 'submit', q.dir);
  }
}

/** Throws NOT_FOUND for a parent that is not there; those with many elements are marked. */
export async function knowParents(q: Queue, draft: Pick<TaskDraft, 'after' | 'many'>): Promise<void> {
  const parents = draft.after ?? [];
  if (parents.length === 0) return;
  const { checkParents } = await import('./depend.ts');
  await checkParents(q, parents);
  draft.after = await (await import('./each.ts')).knownParents(q, parents, draft.many);
}

/** What an array has beside its file: the mark of what follows from its end, and the limit of `%MAX`. There before it is. */
export async function furnish(q: Queue, { id, many, onSuccess, onFailure, onCancel }: Task): Promise<void> {
  if (many === undefined) return;
  if ((onSuccess ?? onFailure ?? onCancel) !== undefined) await (await import('./array.ts')).markHooks(q, id);
  if (many.max !== undefined) await (await import('./limits.ts')).setLimit(q, arrayLimit(id), { max: many.max, rate: null });
}

export interface Staged {
  task: Task;
  /** The staging file. */
  path: string;
  serverMs: number;
}

/** Writes blobs and the staging file and makes the id from the file's own mtime. Nothing is visible yet. */
export async function stage(q: Queue, draft: TaskDraft, id?: string): Promise<Staged> {
  const path = id === undefined ? stagingPath(q, '.task') : onceStaged(q, id);
  let staged: Staged | undefined;
  const blobs: string[] = [];
  const { scriptText, stdinData, items, hold, delayMs, expireMs, ...rest } = draft;
  try {
    const fields: Partial<Task> = {};
    if (items !== undefined && rest.many?.items !== undefined) {
      const name = await itemsBlob(q, items, blobs);
      fields.many = { ...rest.many, items: { ...rest.many.items, blob: name } };
    }
    if (scriptText !== undefined) fields.script = await blob(q, scriptText, 'script', blobs);
    if (stdinData !== undefined) fields.stdin = await blob(q, stdinData, 'stdin', blobs);
    await q.fsx.createWith(
      path,
      (serverMs) => {
        noteServerTime(q, serverMs);
        const task: Task = { schema: 'tq.task/1', id: id ?? makeId(serverMs), ...rest, ...fields, submittedAt: Math.round(serverMs) };
        if (delayMs !== undefined && delayMs > 0) task.notBefore = Math.round(serverMs + delayMs);
        if (expireMs !== undefined) task.expiresAt = Math.round(serverMs + expireMs);
        if (hold === true) task.hold = true;
        // At most so many of its elements at once: a limit of its own.
        if (task.many?.max !== undefined) task.limits = [...(task.limits ?? []), { name: arrayLimit(task.id), n: 1 }];
        staged = { task, path, serverMs };
        return formatTask(task);
      },
      { fsync: true, staging: id === undefined },
    );
  } catch (error) {
    // Under the name that tells it from the others lies what another left there: it is not ours to remove.
    if (id === undefined || errnoOf(error) !== 'EEXIST') await discard(q, path);
    for (const file of blobs) await discard(q, file);
    throw error;
  }
  return staged!;
}

/** The items, one a line, and beside them where each begins (and the last one ends): 8-byte numbers, so that one is found by its number. */
async function itemsBlob(q: Queue, items: readonly string[], made: string[]): Promise<string> {
  const index = Buffer.alloc(8 * (items.length + 1));
  let at = 0;
  for (const [i, item] of items.entries()) {
    index.writeDoubleBE(at, 8 * i);
    at += Buffer.byteLength(item) + 1;
  }
  index.writeDoubleBE(at, 8 * items.length);
  const name = await blob(q, items.map((item) => `${item}\n`).join(''), 'items', made);
  const file = q.lay.blob(`${name}.index`);
  made.push(file);
  await q.fsx.create(file, index, { fsync: true });
  return name;
}

/**
 * Where a submit with an id of its own is staged, with `O_EXCL`. Who wants to know that it can never be published any more takes
 * the file away, or the name by a directory.
 */
export function onceStaged(q: Queue, id: string): string {
  return `${q.lay.tmp}/once.${id}.task`;
}

export async function blob(q: Queue, data: string | Uint8Array, suffix: string, made: string[]): Promise<string> {
  const name = `${makeId(Date.now())}.${suffix}`;
  const file = q.lay.blob(name);
  made.push(file);
  await q.fsx.create(file, data, { fsync: true });
  return name;
}

/**
 * Publishes a staged task by one rename. ENOENT with the staging file still there: the bucket was missing or swept away;
 * gone: a sweeper took it to `swept/` (taken back, tried again), or else the reply was lost and it is in. One with an id of its own
 * is published by a link, which a directory in its place refuses; the staging file goes afterwards, or is swept.
 */
export async function commit(q: Queue, s: Staged, place: Place): Promise<void> {
  const { fsx, lay } = q;
  if (place.state === 'queued') await defineLane(q, s.task);
  const target = lay.entry(place, entryIdOf(s.task), 0);
  const isOnce = s.path === onceStaged(q, s.task.id);
  for (let look = 0; ; look++) {
    let last: unknown;
    try {
      await (isOnce ? fsx.link(s.path, target) : fsx.rename(s.path, target));
      break;
    } catch (error) {
      last = error;
      const code = errnoOf(error);
      // The id is its own: there it is.
      if (isOnce && code === 'EEXIST') break;
      // A directory: its file was given back.
      if (isOnce && (code === 'EPERM' || code === 'EISDIR')) throw Object.assign(new Error(`EEXIST: ${s.path}`), { code: 'EEXIST' });
      if (!isAmbiguous(error)) {
        await discard(q, s.path);
        throw error;
      }
    }
    const name = baseOf(s.path);
    if ((await strongList(fsx, lay.tmp)).includes(name)) {
      try {
        if (look >= LOOKS) throw last;
        await mkdirp(fsx, parentOf(target));
      } catch (error) {
        await discard(q, s.path);
        throw error;
      }
      continue;
    }
    try {
      await fsx.rename(`${lay.swept}/${name}`, s.path);
      continue;
    } catch (error) {
      if (!isGone(error)) throw error;
    }
    if ((await listOrEmpty(fsx, lay.tmp, true)).includes(name)) continue;
    // Neither here nor there: a rename that was done. A link leaves it here, so somebody has taken it away for good.
    if (isOnce) throw last;
    break;
  }
  if (isOnce) await unlinkQuietly(fsx, s.path);
  q.journal?.step(submission(s.task, place.state));
  try {
    await fsx.fsyncDir(parentOf(target));
  } catch (error) {
    // It was moved on already, and its bucket removed behind it.
    if (!isGone(error)) throw error;
  }
}

/** What the journal says of a new task. */
function submission(task: Task, to: State): Step {
  const { id, submittedAt: at, name, queue, group, submittedBy } = task;
  return {
    at,
    task: id,
    from: null,
    to,
    attempt: 0,
    worker: null,
    ...(name === undefined ? {} : { name }),
    queue,
    ...(group === undefined ? {} : { group }),
    user: submittedBy.user,
  };
}

/** The limit that `--array 1-100%2` has for itself. */
export function arrayLimit(id: string): string {
  return `array.${id}`;
}

/** The name under which a new task lies: of an array that of all its elements. */
export function entryIdOf(task: Task): string {
  if (task.many === undefined) return task.id;
  const { lo, hi } = spanOf(task.many.numbers);
  return pieceId(task.id, lo, hi);
}

const definedLanes = new Set<string>();

/** Writes what a worker must offer for the lane of a task; the default lane of a queue needs no file. */
export async function defineLane(q: Queue, task: Task): Promise<void> {
  const r = requirementsOf(task);
  const lane = laneName(r);
  if (lane === r.queue) return;
  const file = q.lay.lane(lane);
  if (definedLanes.has(file)) return;
  // Whole or not at all, and again where it is damaged: a lane whose file does not tell what it asks for is served by nobody.
  if (!isWhole(await readIfThere(q, file))) await replace(q, file, `${JSON.stringify(r)}\n`);
  definedLanes.add(file);
}

function isWhole(text: string | undefined): boolean {
  try {
    return text !== undefined && typeof JSON.parse(text) === 'object';
  } catch {
    return false;
  }
}

/** What a dry run shows: the task as it would be written, and where. */
export async function preview(q: Queue, draft: TaskDraft): Promise<Task> {
  const { scriptText, stdinData, items, hold, delayMs, expireMs, ...rest } = draft;
  const now = Date.now();
  const task: Task = { schema: 'tq.task/1', id: makeId(now), ...rest, submittedAt: now };
  if (items !== undefined && rest.many?.items !== undefined)
    task.many = { ...rest.many, items: { ...rest.many.items, blob: `${makeId(now)}.items` } };
  if (scriptText !== undefined) task.script = `${makeId(now)}.script`;
  if (stdinData !== undefined) task.stdin = `${makeId(now)}.stdin`;
  if (delayMs !== undefined && delayMs > 0) task.notBefore = now + delayMs;
  if (expireMs !== undefined) task.expiresAt = now + expireMs;
  if (hold === true) task.hold = true;
  const place: Place = hold === true ? { state: 'held' } : freePlace(task, now);
  return { ...task, file: q.lay.entry(place, entryIdOf(task), 0) } as Task;
}
