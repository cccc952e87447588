/**
 * Who waits for whom. A child is written to waiting, then a marker under each parent, then it looks whether the parents ended;
 * who finishes a parent moves it first and then reads the markers. Moving the child is one rename, so both may try. The sweep
 * of `waiting` repeats the look for what a crash left, from the child's own file.
 */
import { TqError } from '../errors.ts';
import { isTerminal, TERMINAL, type Parent, type Task, type TerminalState } from '../task/types.ts';
import { retriedBetween } from './cancel.ts';
import { serverNow } from './clock.ts';
import { entriesOf, locate, locateEnded, type Located } from './find.ts';
import { isHooked, sweepFollowUps, type Hooked } from './follow.ts';
import { isOfEntry, listOrEmpty } from './fsx.ts';
import { baseId, flatBucket, isPiece, markedUnder, parseEntry, pieceId, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { confirmKey, holdsKey, settleKey, tokensOf, freeTokens } from './keys.ts';
import { readTaskAt } from './outcome.ts';
import { ring } from './signal.ts';
import { createOnce, move, readIfThere } from './steps.ts';
import { defineLane } from './submit.ts';
import { timedPlace } from './task-file.ts';
import { readWhy, writeWhy } from './why.ts';

/** Throws NOT_FOUND for a parent that never was. One that gc took away counts by its kept outcome. */
export async function checkParents(q: Queue, parents: readonly Parent[]): Promise<void> {
  for (const { id, kind } of parents) {
    if ((await endedState(q, id)) !== undefined) continue;
    if ((await locate(q, id)) !== undefined) continue;
    if ((await (await import('./each.ts')).arrayOf(q, id)) !== undefined) continue;
    throw new TqError('NOT_FOUND', `--${kind}: no such task: ${id}`, { hint: 'tq ls -a lists all tasks' });
  }
}

/** Markers under each parent, then the look; the child must be in waiting already. */
export async function linkToParents(q: Queue, child: Task): Promise<void> {
  await mark(q, child);
  await tryRelease(q, child.id);
}

async function mark(q: Queue, child: Task): Promise<void> {
  const id = child.many === undefined ? child.id : baseId(child.id);
  for (const parent of child.after ?? []) await createOnce(q, `${q.lay.after(markedUnder(parent))}/${flatBucket(id)}/${id}`, '');
}

/** The state in which a task ended, from its entry or from what gc left of it; undefined while it has not ended. */
export async function endedState(q: Queue, id: string, strong = false): Promise<TerminalState | undefined> {
  const at = await locateEnded(q, id, strong);
  if (at !== undefined && isTerminal(at.state)) return at.state;
  for (const name of await listOrEmpty(q.fsx, q.lay.gone(id), strong)) {
    if (!name.startsWith(`${id}.`)) continue;
    const state = name.slice(id.length + 1);
    if ((TERMINAL as readonly string[]).includes(state)) return state as TerminalState;
  }
  return undefined;
}

/** As `endedState`; of an array when the last of its elements has ended, of one of these when that has. */
export async function parentState(q: Queue, parent: Parent, strong = false): Promise<TerminalState | undefined> {
  const state = await endedState(q, parent.id, strong);
  if (state !== undefined || parent.many !== true) return state;
  if (parent.id.includes('.')) return (await import('./each.ts')).elementState(q, parent.id);
  return (await import('./array.ts')).arrayEnded(q, parent.id, strong);
}

export type Verdict = { kind: 'wait'; parent: string } | { kind: 'go' } | { kind: 'skip'; parent: string; reason: string };

/** Pure: what the parents' states mean for the child. Undefined state: has not ended. */
export function judge(parents: readonly Parent[], states: ReadonlyArray<TerminalState | undefined>): Verdict {
  let waiting: string | undefined;
  for (const [i, p] of parents.entries()) {
    const state = states[i];
    if (state === undefined) {
      waiting ??= p.id;
      continue;
    }
    if ((p.kind === 'after' || p.kind === 'after-each') && state !== 'done')
      return { kind: 'skip', parent: p.id, reason: `parent ${p.id} ended ${state}` };
    if (p.kind === 'after-notok' && state === 'done') return { kind: 'skip', parent: p.id, reason: `parent ${p.id} ended done` };
  }
  return waiting === undefined ? { kind: 'go' } : { kind: 'wait', parent: waiting };
}

/** What a look at a child came to. */
export type Looked = 'released' | 'skipped' | 'waiting' | 'elsewhere';

/** Moves a child on if its parents say so. Safe for anyone at any time; a child that is not in waiting is left alone. */
export async function tryRelease(q: Queue, childId: string, strong = q.network): Promise<Looked> {
  const at = (await entriesIn(q, 'waiting', childId, childId)).get(childId);
  if (at === undefined) return childId.includes('.') ? 'elsewhere' : tryReleasePieces(q, childId, strong);
  const looked = await lookAt(q, at, parentsSeen(q, strong), strong);
  if (looked === 'released') await ring(q);
  return looked;
}

/** Of many elements: each piece that waits. */
async function tryReleasePieces(q: Queue, id: string, strong: boolean): Promise<Looked> {
  let result: Looked = 'elsewhere';
  for (const piece of await (await import('./each.ts')).piecesIn(q, { state: 'waiting' }, id)) result = await tryRelease(q, piece, strong);
  return result;
}

/** Children that are looked at with one listing of their directory and one look at each of their parents. */
const TOGETHER = 100;

/**
 * As `tryRelease` for each, with a few calls for all of them that are the same. The ids of a submission that follow each other share
 * a directory. A child that is elsewhere may be skipped because of a retry that died before it came to it.
 */
export async function tryReleaseAll(q: Queue, ids: readonly string[], strong = q.network): Promise<void> {
  for (const slice of inDirectories(q, ids)) {
    const waiting = await entriesIn(q, 'waiting', slice[0]!);
    const seen = parentsSeen(q, strong);
    const elsewhere: string[] = [];
    let released = false;
    const look = async (id: string): Promise<void> => {
      const at = waiting.get(id);
      const looked =
        at === undefined ? (id.includes('.') ? 'elsewhere' : await tryReleasePieces(q, id, strong)) : await lookAt(q, at, seen, strong);
      if (looked === 'released') released = true;
      if (looked === 'elsewhere') elsewhere.push(id);
    };
    await eachEntry(q, slice, look);
    if (released) await ring(q);
    if (elsewhere.length === 0) continue;
    const skipped = await entriesIn(q, 'skipped', slice[0]!);
    // One without a dot may be an array, whose pieces have names and directories of their own.
    const mayBe = elsewhere.filter((id) => skipped.has(id) || !id.includes('.'));
    await eachEntry(q, mayBe, async (id) => {
      for (const at of await skippedEntries(q, id)) await unskip(q, at, seen);
    });
  }
}

/** One after the other, over a network several at a time. One that cannot be read does not keep the others back. */
async function eachEntry<T>(q: Queue, items: readonly T[], look: (item: T) => Promise<unknown>): Promise<void> {
  const abreast = q.network ? ABREAST : 1;
  const guarded = async (item: T): Promise<void> => {
    try {
      await look(item);
    } catch (error) {
      if (!isOfEntry(error)) throw error;
    }
  };
  for (let i = 0; i < items.length; i += abreast) await Promise.all(items.slice(i, i + abreast).map(guarded));
}

const ABREAST = 8;

/** Runs of ids that share a directory, none longer than `TOGETHER`. */
function* inDirectories(q: Queue, ids: readonly string[]): Generator<string[]> {
  let run: string[] = [];
  let dir = '';
  for (const id of ids) {
    const its = q.lay.dir({ state: 'waiting' }, id);
    if (run.length > 0 && (its !== dir || run.length >= TOGETHER)) {
      yield run;
      run = [];
    }
    dir = its;
    run.push(id);
  }
  if (run.length > 0) yield run;
}

/** Looks at a parent for a child. */
type ParentsSeen = (parent: Parent, child: Task) => Promise<TerminalState | undefined>;

/** Each parent is looked at once for all children that are asked about together; that of an element has its own. */
function parentsSeen(q: Queue, strong: boolean): ParentsSeen {
  const known = new Map<string, Promise<TerminalState | undefined>>();
  return (parent, child) => {
    if (parent.kind === 'after-each') return stateFor(q, parent, child, strong);
    const key = `${parent.id} ${parent.many === true}`;
    const state = known.get(key) ?? stateFor(q, parent, child, strong);
    known.set(key, state);
    return state;
  };
}

async function lookAt(q: Queue, at: Located, seen: ParentsSeen, strong: boolean): Promise<Looked> {
  const task = await readTaskAt(q, at.file, at.id);
  if (task === undefined) return 'elsewhere';
  // A task with a key settles the key first; until then it is not admitted.
  if (task.key !== undefined && !(await holdsKey(q, task.key, task.id))) {
    await settleKey(q, task, at);
    return 'waiting';
  }
  return release(q, at, task, seen, strong);
}

/** Whoever calls it rings for what was released. */
async function release(q: Queue, at: Located, task: Task, seen: ParentsSeen, strong: boolean): Promise<Looked> {
  const parents = task.after ?? [];
  if (parents.some((p) => p.kind === 'after-each') && isPiece(at.id)) {
    // Elements wait for elements: what may not go together is cut apart first, and comes back here.
    const apart = await (await import('./each.ts')).cutApart(q, at, task, strong);
    if (apart !== 'together') return apart;
  }
  const states: Array<TerminalState | undefined> = [];
  for (const p of parents) states.push(await seen(p, task));
  const verdict = judge(parents, states);
  if (verdict.kind === 'wait') return 'waiting';
  const now = await serverNow(q);
  if (verdict.kind === 'skip') {
    // A submit that died before it had made the markers: without them a retry of the parent would not find this one.
    await mark(q, task);
    await writeWhy(q, task.id, at.n, 'skipped', { at: now, by: null, reason: verdict.reason, parent: verdict.parent });
    const tokens = task.key === undefined ? [] : await tokensOf(q, task.key, task.id);
    const moved = await move(q, at.file, q.lay.entry({ state: 'skipped' }, task.id, at.n));
    if (moved !== 'moved') return 'elsewhere';
    await freeTokens(q, tokens);
    await afterTerminal(q, task);
    // Retried in the same moment, the parent looked for skipped children before this was one.
    const parent = parents.find((p) => p.id === verdict.parent)!;
    if ((await stateFor(q, parent, task, strong)) === undefined)
      for (const skipped of await skippedEntries(q, task.id)) await unskip(q, skipped, parentsSeen(q, true));
    return 'skipped';
  }
  // What is kept of its due time while it waits: that of a retry or release, or of a `tq set`.
  const dueAt = at.n === 0 ? undefined : (await readWhy(q, task.id, at.n, 'waiting'))?.dueAt;
  // A `tq set` raises the attempt too; only a retry begins a new life.
  const first = at.n === 0 || !(await retriedBetween(q, task.id, 0, at.n));
  const held = first && task.hold === true && (await readIfThere(q, releasedMark(q, task.id))) === undefined;
  const place = held ? ({ state: 'held' } as const) : timedPlace(task, now, dueAt ?? (first ? task.notBefore : undefined));
  if (place.state === 'queued') await defineLane(q, task);
  if (at.n > 0 && !(await confirmKey(q, task))) return 'waiting';
  const moved = await move(q, at.file, q.lay.entry(place, task.id, at.n));
  return moved === 'moved' ? 'released' : 'elsewhere';
}

/** The state of a parent as one child sees it: of `--after-each` that of the element with its number. */
async function stateFor(q: Queue, parent: Parent, task: Task, strong: boolean): Promise<TerminalState | undefined> {
  if (parent.kind === 'after-each' && task.many !== undefined)
    return (await import('./each.ts')).elementState(q, pieceId(parent.id, pieceOf(task.id)!.lo));
  return parentState(q, parent, strong);
}

/** Made when a task created held is released: from then on waiting does not lead back to held. */
export function releasedMark(q: Queue, id: string): string {
  return `${q.lay.runs(id)}/${id}.released`;
}

/** The entries of a state that lie in the directory of this id, by their ids; those alone whose names begin so. */
async function entriesIn(q: Queue, state: 'waiting' | 'skipped', id: string, prefix = ''): Promise<Map<string, Located>> {
  const dir = q.lay.dir({ state }, id);
  const found = new Map<string, Located>();
  for (const name of await listOrEmpty(q.fsx, dir, q.network)) {
    const e = name.startsWith(prefix) ? parseEntry(name) : undefined;
    if (e === undefined || e.cancel || (found.get(e.id)?.n ?? -1) > e.n) continue;
    found.set(e.id, { id: e.id, n: e.n, state, place: { state }, file: `${dir}/${name}` });
  }
  return found;
}

/** The children that have a marker under this parent. */
export async function dependants(q: Queue, parentId: string): Promise<string[]> {
  const found: string[] = [];
  for await (const children of dependantsByBucket(q, parentId)) for (const child of children) found.push(child);
  return found.toSorted();
}

/** A directory of them at a time: there may be more than a worker should keep in mind. */
async function* dependantsByBucket(q: Queue, parentId: string): AsyncGenerator<string[]> {
  const base = q.lay.after(parentId);
  // Most tasks have none, and each is looked at here once: believing its first answer saves three calls of a task's two dozen.
  for (const bucket of (await listOrEmpty(q.fsx, base, q.network, 'believed')).toSorted()) {
    yield (await listOrEmpty(q.fsx, `${base}/${bucket}`, q.network)).toSorted();
  }
}

/**
 * What follows from a task's having ended: its children look again, and its lock on other keys goes. A crash before it is made
 * good by the sweep of `waiting`.
 */
export async function afterTerminal(q: Queue, task: Pick<Task, 'id' | 'lockKeys' | 'many' | 'submission' | keyof Hooked>): Promise<void> {
  if (task.many !== undefined && isHooked(task)) await (await import('./array.ts')).endArray(q, baseId(task.id));
  const id = task.many === undefined ? task.id : baseId(task.id);
  for await (const children of dependantsByBucket(q, id)) await tryReleaseAll(q, children);
  if (
    task.lockKeys !== undefined &&
    (task.many === undefined || (await (await import('./array.ts')).arrayEnded(q, baseId(task.id))) !== undefined)
  ) {
    const { dropKeyLock } = await import('./keys.ts');
    await dropKeyLock(q, task.many === undefined ? task.id : baseId(task.id));
  }
  if (task.submission !== undefined) {
    const { memberEnded } = await import('./groups.ts');
    await memberEnded(q, task.submission);
  }
}

/**
 * Children that were skipped because of this parent go back to waiting, as after a retry of their own; theirs likewise. Called
 * after the parent left its terminal place.
 */
export async function reviveDependants(q: Queue, parentId: string): Promise<void> {
  for await (const children of dependantsByBucket(q, parentId)) {
    for (const slice of inDirectories(q, children)) {
      const skipped = await entriesIn(q, 'skipped', slice[0]!);
      const revived: string[] = [];
      for (const child of slice) {
        const its = skipped.get(child);
        // One without a dot may be an array.
        for (const at of its !== undefined ? [its] : child.includes('.') ? [] : await skippedEntries(q, child)) {
          const why = await readWhy(q, at.id, at.n, 'skipped');
          if (why?.parent !== undefined && (await reviveOne(q, at))) revived.push(at.id);
        }
      }
      await tryReleaseAll(q, revived);
    }
  }
}

/** A child that was skipped; of many elements the pieces that were. */
async function skippedEntries(q: Queue, child: string): Promise<Located[]> {
  const at = await locateEnded(q, child, q.network);
  if (at !== undefined) return at.state === 'skipped' ? [at] : [];
  const found: Located[] = [];
  if (child.includes('.')) return found;
  for (const piece of await (await import('./each.ts')).piecesIn(q, { state: 'skipped' }, child)) {
    const its = await locateEnded(q, piece, q.network);
    if (its?.state === 'skipped') found.push(its);
  }
  return found;
}

/** Back to waiting, with those that were skipped for its sake; it looks at its parents later. False: it had moved on. */
async function reviveOne(q: Queue, at: Located): Promise<boolean> {
  await createOnce(q, q.lay.retried(at.id, at.n), '{}\n');
  if ((await move(q, at.file, q.lay.entry({ state: 'waiting' }, at.id, at.n + 1))) !== 'moved') return false;
  await reviveDependants(q, at.id);
  if (baseId(at.id) !== at.id) await reviveDependants(q, baseId(at.id));
  return true;
}

/** A child that was skipped for its parents' sake goes back to waiting when they do not ask for that any more. */
async function unskip(q: Queue, at: Located, seen: ParentsSeen): Promise<void> {
  if ((await readWhy(q, at.id, at.n, 'skipped'))?.parent === undefined) return;
  const task = await readTaskAt(q, at.file, at.id);
  if (task === undefined) return;
  const parents = task.after ?? [];
  const states: Array<TerminalState | undefined> = [];
  for (const p of parents) states.push(await seen(p, task));
  if (judge(parents, states).kind !== 'skip' && (await reviveOne(q, at))) await tryRelease(q, at.id);
}

/** Where a sweep that had no more time stopped: the next one goes on behind it, or the last tasks would never have their turn. */
const sweptTo = new WeakMap<Queue, Partial<Record<'waiting' | 'skipped', string>>>();

/**
 * The sweep: every waiting task looks at its parents again, and every skipped one whether they still ask for that (a retry of a
 * parent may have died, or failed, before it came to its children). First of all the follow-ups whose endings were cut short. Stops at `until` (monotonic ms) and says whether it got through.
 */
export async function sweepWaiting(q: Queue, until = Number.POSITIVE_INFINITY): Promise<boolean> {
  await sweepFollowUps(q);
  await (await import('./array.ts')).sweepArrays(q);
  const waiting = await sweep(q, 'waiting', until, async (at, seen) => {
    if ((await lookAt(q, at, seen, true)) === 'released') await ring(q);
  });
  const skipped = await sweep(q, 'skipped', until, (at, seen) => unskip(q, at, seen));
  return waiting && skipped;
}

async function sweep(
  q: Queue,
  state: 'waiting' | 'skipped',
  until: number,
  look: (at: Located, seen: ParentsSeen) => Promise<unknown>,
): Promise<boolean> {
  const marks = sweptTo.get(q) ?? {};
  sweptTo.set(q, marks);
  const after = until === Number.POSITIVE_INFINITY ? '' : (marks[state] ?? '');
  delete marks[state];
  let looked = 0;
  let seen = parentsSeen(q, true);
  for await (const at of entriesOf(q, { state })) {
    if (at.id <= after) continue;
    if (looked++ % TOGETHER === 0) seen = parentsSeen(q, true);
    try {
      await look(at, seen);
    } catch (error) {
      // One that cannot be read does not keep the others back.
      if (!isOfEntry(error)) throw error;
    }
    if (performance.now() <= until) continue;
    marks[state] = at.id;
    return false;
  }
  return after === '';
}
