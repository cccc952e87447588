/**
 * `tq set`: changing a task that does not run. A claimed name must never come back, so the verb makes a session of its own,
 * stages the new content there, claims the task as that session's attempt, renames the one over the other, and puts it back one
 * attempt higher where it was. No attempt is recorded, readers show it in its former place meanwhile, and a verb that dies is
 * buried like a worker: its staged content goes first, then the entry goes back as it is.
 */
import { TqError } from '../errors.ts';
import { isTerminal, type State, type Task } from '../task/types.ts';
import { bury } from './bury.ts';
import { cancelHere, carryCancel, partOf, readCancel } from './cancel.ts';
import { serverNow } from './clock.ts';
import { tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { cancelName, entryName, parseEntry, pieceOf, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { keepJournal } from './pieces.ts';
import { judgeSession, makeSession, type HostFacts } from './session.ts';
import { ring } from './signal.ts';
import { isAmbiguous, move, readIfThere, rmdirIfEmpty, unlinkQuietly } from './steps.ts';
import { defineLane } from './submit.ts';
import { formatTask, timedPlace } from './task-file.ts';
import { readWhy, writeWhy, writeWhyOnce } from './why.ts';

export interface Change {
  priority?: number;
  queue?: string;
  timeoutMs?: number;
  labels?: Record<string, string>;
  /** Not before this long from now, ms. */
  delayMs?: number;
}

/** Pure: the task after the change. */
export function changed(task: Task, change: Change, now: number): Task {
  const t: Task = { ...task };
  if (change.priority !== undefined) t.priority = change.priority;
  if (change.queue !== undefined) t.queue = change.queue;
  if (change.timeoutMs !== undefined) t.timeoutMs = change.timeoutMs;
  if (change.labels !== undefined) t.labels = { ...t.labels, ...change.labels };
  if (change.delayMs !== undefined) t.notBefore = Math.round(now + change.delayMs);
  return t;
}

/** Throws WRONG_STATE when it runs or has ended, NOT_FOUND, PERMISSION. */
export async function setTask(q: Queue, facts: HostFacts, id: string, change: Change): Promise<void> {
  for (let round = 0; round < 20; round++) {
    const at = await locate(q, id, round > 0);
    if (at === undefined) {
      const part = await partOf(q, id);
      if (part === undefined) throw new TqError('NOT_FOUND', `no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
      const { setElements } = await import('./array.ts');
      return setElements(q, part.id, part.range, (piece) => setTask(q, facts, piece, change));
    }
    if (isTerminal(at.state) || at.state === 'running') {
      throw new TqError('WRONG_STATE', `cannot set ${id}: it is ${at.state}`, {
        hint: at.state === 'running' ? 'a running task cannot be changed' : `tq retry ${id} runs it again`,
      });
    }
    if (at.place.state === 'running') {
      if (judgeSession(at.place.session, facts) === 'dead') await bury(q, at.place.session, { proved: true, reason: 'tq set died' });
      else await aMoment(q);
      continue;
    }
    if (!(await refuseForeign(q, at.file, id))) continue;
    const session = makeSession(`set.${at.state}`, facts);
    const dir = q.lay.session(session);
    await mkdirp(q.fsx, dir);
    try {
      const n = at.n + 1;
      const mine = `${dir}/${entryName(id, n)}`;
      // Where it came from must survive a crash of this verb. Once: another one at the same attempt may have changed it already.
      if (at.place.state === 'delayed') await writeWhyOnce(q, id, n, 'delayed', { at: 0, by: null, reason: null, dueAt: at.place.dueAt });
      const known = at.state === 'held' || at.state === 'waiting' ? await readWhy(q, id, at.n, at.state) : undefined;
      if (known !== undefined) await writeWhyOnce(q, id, n, at.state, known);
      // The new content lies there before the claim: a burial takes it away before it moves the entry, so what comes later finds none.
      const task = await readTaskAt(q, at.file, id);
      if (task === undefined) continue;
      const now = await serverNow(q);
      const text = formatTask(changed(task, change, now));
      await q.fsx.create(`${mine}${NEW}`, text);
      if ((await move(q, at.file, mine)) !== 'moved') continue;
      if (!(await takeNew(q, mine, text))) {
        await putBack(q, session, id, n);
        continue;
      }
      if (change.delayMs !== undefined) {
        const former = known ?? { at: now, by: null, reason: null };
        await writeWhy(q, id, n, at.state === 'queued' ? 'delayed' : at.state, { ...former, dueAt: now + change.delayMs });
      }
      await putBack(q, session, id, n);
      return;
    } catch (error) {
      // What was claimed must not stay here until somebody buries this session; as in a burial the new content goes first.
      const file = `${dir}/${entryName(id, at.n + 1)}`;
      await unlinkQuietly(q.fsx, `${file}${NEW}`)
        .then(() => putBack(q, session, id, at.n + 1))
        .catch(() => undefined);
      // Buried meanwhile: looked for again.
      if (!isGone(error)) throw error;
    } finally {
      for (const name of await listOrEmpty(q.fsx, dir, q.network)) {
        if (name.endsWith(NEW)) await unlinkQuietly(q.fsx, `${dir}/${name}`);
        const e = parseEntry(name);
        if (e?.cancel === true) await carryCancel(q, session, e.id, e.n);
      }
      await rmdirIfEmpty(q.fsx, dir);
    }
  }
  throw new TqError('QUEUE_UNUSABLE', `cannot set ${id}: it keeps moving`, { hint: 'try again; tq doctor tells who has it' });
}

/** While another `tq set` has the task. */
export function aMoment(q: Queue): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, q.network ? 250 : 10));
}

/** What a staged content is called beside the entry that it will replace. */
export const NEW = '.new';
/** How often an answer that may be a lost reply is looked at again. */
const LOOKS = 4;

/** Replaces the claimed file by the content staged beside it. False: a burial took that away, and the task is as it was. */
async function takeNew(q: Queue, mine: string, text: string): Promise<boolean> {
  for (let look = 0; ; look++) {
    try {
      await q.fsx.rename(`${mine}${NEW}`, mine);
      return true;
    } catch (error) {
      if (!isAmbiguous(error)) throw error;
      // The reply was lost, or nothing was done, or a burial took the staged file away: the content tells.
      const there = await readIfThere(q, mine);
      if (there === text) return true;
      if (there === undefined || (isGone(error) && look > 0)) return false;
      if (look >= LOOKS) throw error;
    }
  }
}

/**
 * The file is replaced, and its owner is who submitted the task and who may run it: only the owner may do that. Throws
 * PERMISSION; false: the task has moved.
 */
export async function refuseForeign(q: Queue, file: string, id: string): Promise<boolean> {
  let uid: number;
  try {
    uid = (await q.fsx.stat(file)).uid;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
  if (uid === (process.geteuid?.() ?? uid)) return true;
  throw new TqError('PERMISSION', `cannot set ${id}: it is another user's task`, {
    hint: 'its owner can change it; you can hold or cancel it',
  });
}

/**
 * Moves the entry of a `set` session back to the state that the session's name tells; a `.cancel` made meanwhile is obeyed.
 * Used by the verb itself and by whoever buries it.
 */
export async function putBack(q: Queue, session: string, id: string, n: number): Promise<void> {
  const file = `${q.lay.session(session)}/${entryName(id, n)}`;
  const task = await readTaskAt(q, file, id);
  if (task === undefined) return;
  const state = stateIn(session);
  // Whoever moves an entry with a request beside it moves it to canceled; one that comes later is carried after it.
  const request = `${q.lay.session(session)}/${cancelName(id, n)}`;
  if (await isThere(q, request)) {
    if (task.many !== undefined) await keepJournal(q, id, n);
    const at: Located = { id, n, state, place: { state: 'running', session }, file };
    if (await cancelHere(q, at, await readCancel(q, session, id, n))) await unlinkQuietly(q.fsx, request);
    else await carryCancel(q, session, id, n);
    return;
  }
  if (task.many !== undefined) {
    await keepJournal(q, id, n);
    const piece = pieceOf(id);
    if (piece !== undefined) await (await import('./array.ts')).markSplit(q, task, piece, n, state);
  }
  const place = await formerPlace(q, task, n, state);
  if (place.state === 'queued') await defineLane(q, task);
  const moved = await move(q, file, q.lay.entry(place, id, n));
  if (moved !== 'moved') return;
  if (await isThere(q, request)) await carryCancel(q, session, id, n);
  if (place.state === 'waiting') await tryRelease(q, id);
  await ring(q);
}

/** The state that the name of a `set` session tells. */
function stateIn(session: string): State {
  return (/^set\.([a-z]+)\./.exec(session)?.[1] ?? 'queued') as State; // written by makeSession's callers alone
}

/** Where what a `set` session has came from. */
export function homeOf(q: Queue, session: string, task: Task, n: number): Promise<Place> {
  return formerPlace(q, task, n, stateIn(session));
}

async function formerPlace(q: Queue, task: Task, n: number, state: State): Promise<Place> {
  if (state === 'held' || state === 'waiting' || isTerminal(state)) return { state };
  const why = await readWhy(q, task.id, n, 'delayed');
  // Due meanwhile or not: leaving `delayed` is another step, which asks the parents and the key.
  if (state === 'delayed' && why?.dueAt !== undefined) return { state, dueAt: why.dueAt };
  return timedPlace(task, await serverNow(q), why?.dueAt);
}

async function isThere(q: Queue, path: string): Promise<boolean> {
  try {
    await q.fsx.stat(path);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
