/**
 * Arrays among the tasks that come after others: what an array parent has come to, element by element where the child says so
 * (`--after-each`), and the pieces of an array that waits.
 */
import { TqError } from '../errors.ts';
import { includes, numbersIn } from '../task/array.ts';
import type { Many } from '../task/many.ts';
import { isTerminal, type Parent, type State, type Task, type TerminalState } from '../task/types.ts';
import { findElement, piecesOf, readArray, type ArrayNow } from './array.ts';
import { endedState, judge, type Verdict } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, mkdirp } from './fsx.ts';
import { pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { scatter, type Fate } from './pieces.ts';
import { makeSession } from './session.ts';
import { ring } from './signal.ts';
import { move, rmdirIfEmpty } from './steps.ts';

export async function isArray(q: Queue, id: string): Promise<boolean> {
  return (await readArray(q, id)) !== undefined;
}

/** The array that this is the id of, or that has an element of this id. */
export async function arrayOf(q: Queue, id: string): Promise<ArrayNow | undefined> {
  const piece = pieceOf(id);
  if (piece === undefined) return readArray(q, id);
  // One of a batch has an entry of its own, and is asked for by that.
  const at = await locate(q, id);
  if (at !== undefined && (await readTaskAt(q, at.file, id))?.many === undefined) return undefined;
  const array = await readArray(q, piece.base);
  return array !== undefined && piece.lo === piece.hi && includes(array.many.numbers, piece.lo) ? array : undefined;
}

/** The ids of the pieces of an array that lie in a state. */
export async function piecesIn(q: Queue, place: { state: State }, id: string): Promise<string[]> {
  return (await piecesOf(q, id, q.network)).filter((p) => p.at.place.state === place.state).map((p) => p.at.id);
}

/** The parents, those with many elements marked. Throws USAGE for `--after-each` where there is no element for each. */
export async function knownParents(q: Queue, parents: readonly Parent[], many: Many | undefined): Promise<Parent[]> {
  const known: Parent[] = [];
  for (const parent of parents) {
    // An element may be run again after its end, which is then told under the array.
    const asked = parent.id.includes('.') || parent.kind === 'after-each' || (await endedState(q, parent.id)) === undefined;
    const array = asked ? await arrayOf(q, parent.id) : undefined;
    if (parent.kind === 'after-each') checkEach(parent, array, many);
    known.push(array === undefined ? parent : { ...parent, many: true });
  }
  return known;
}

function checkEach(parent: Parent, array: ArrayNow | undefined, many: Many | undefined): void {
  const flag = `--after-each ${parent.id}`;
  if (many === undefined)
    throw new TqError('USAGE', `${flag}: this is one task, not an array`, { hint: `--after ${parent.id} waits for all of it` });
  if (array === undefined || parent.id.includes('.'))
    throw new TqError('USAGE', `${flag}: it is one task, not an array`, { hint: `--after ${parent.id} waits for it` });
  for (const n of numbersIn(many.numbers, 0, 999_999_999)) {
    if (!includes(array.many.numbers, n))
      throw new TqError('USAGE', `${flag}: it has no element ${n}`, { hint: 'both must have the same numbers' });
  }
}

/** The state in which an element of an array ended; undefined while it is unfinished. */
export async function elementState(q: Queue, id: string): Promise<TerminalState | undefined> {
  const { base, lo } = pieceOf(id)!;
  const gone = await endedState(q, base);
  if (gone !== undefined) return gone;
  const array = await readArray(q, base);
  const state = array === undefined ? undefined : (await findElement(q, array, lo))?.state;
  return state !== undefined && isTerminal(state) ? state : undefined;
}

/**
 * A piece that waits and of which some elements may go: cut apart, each of those by itself. `together`: all of them wait for the same,
 * and the whole may be judged by its first element.
 */
export async function cutApart(
  q: Queue,
  at: Located,
  task: Task,
  strong: boolean,
): Promise<'together' | 'waiting' | 'elsewhere' | 'released'> {
  const many = task.many!;
  const piece = pieceOf(at.id)!;
  const parents = task.after ?? [];
  const arrays = new Map<string, ArrayNow | TerminalState | undefined>();
  for (const p of parents)
    arrays.set(p.id, (await endedState(q, p.id, strong)) ?? (p.many === true ? await readArray(q, p.id) : undefined));
  const verdicts = new Map<number, Verdict['kind']>();
  for (const n of numbersIn(many.numbers, piece.lo, piece.hi)) {
    const states: Array<TerminalState | undefined> = [];
    for (const p of parents) {
      const now = arrays.get(p.id);
      const state = typeof now === 'object' ? (p.kind === 'after-each' ? (await findElement(q, now, n))?.state : now.state) : now;
      states.push(state !== undefined && isTerminal(state) ? state : undefined);
    }
    verdicts.set(n, judge(parents, states).kind);
  }
  const kinds = new Set(verdicts.values());
  if (!kinds.has('go') && !kinds.has('skip')) return 'waiting';
  if (kinds.size === 1) return 'together';
  if (q.facts === undefined) return 'waiting';
  const session = makeSession('set.waiting', await q.facts());
  const dir = q.lay.session(session);
  const n = at.n + 1;
  await mkdirp(q.fsx, dir);
  try {
    if ((await move(q, at.file, q.lay.entry({ state: 'running', session }, at.id, n))) !== 'moved') return 'elsewhere';
    const waiting: Fate = { place: { state: 'waiting' }, alone: false };
    const section = (element: number): number => ['wait', 'go', 'skip'].indexOf(verdicts.get(element)!);
    if (!(await scatter(q, dir, piece, n, many, { begun: new Map(), ended: new Map() }, false, () => waiting, section))) return 'elsewhere';
    await ring(q);
  } catch (error) {
    if (!isGone(error)) throw error;
    return 'elsewhere';
  } finally {
    await rmdirIfEmpty(q.fsx, dir);
  }
  const { tryRelease } = await import('./depend.ts');
  for (const id of await piecesIn(q, { state: 'waiting' }, piece.base)) {
    const part = pieceOf(id)!;
    if (part.lo >= piece.lo && part.hi <= piece.hi && verdicts.get(part.lo) !== 'wait') await tryRelease(q, id, strong);
  }
  return 'released';
}
