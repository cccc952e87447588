/**
 * The result of a task as the tasks after it see it: that of its last attempt that succeeded, that of its release, or what was kept
 * when it was removed.
 */
import type { State, Task } from '../task/types.ts';
import { locate } from './find.ts';
import { listOrEmpty } from './fsx.ts';
import { baseId, entryName, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome, readTaskAt } from './outcome.ts';
import { readIfThere } from './steps.ts';
import { readWhy } from './why.ts';

/** What `gone/<bucket>/<id>.<state>` holds: the result and the name that later dependants may want, and while a removal is under way, of what. */
export interface Gone {
  result?: unknown;
  name?: string;
  erasing?: { script?: string; stdin?: string };
}

export interface Handed {
  name?: string;
  result: unknown;
}

/** What a parent hands on; undefined when it has no result. The one place that knows where results come from. */
export async function handedOn(q: Queue, id: string): Promise<Handed | undefined> {
  const at = await locate(q, id, q.network);
  if (at !== undefined) {
    const task = await readTaskAt(q, at.file, id);
    const result = await lastResult(q, id, at);
    if (result !== undefined) return named(task?.name, result.value);
    // What an element of an array handed on may be in the journal of the piece that it ended in.
    if (task?.many === undefined) return undefined;
  }
  const { findElement, readArray } = await import('./array.ts');
  const array = await readArray(q, baseId(id));
  const piece = pieceOf(id);
  if (array !== undefined && piece !== undefined) {
    const result = (await findElement(q, array, piece.lo))?.line?.result;
    return result === undefined ? undefined : named(array.task.name, result);
  }
  if (array !== undefined) {
    const { resultsOf } = await import('./array-view.ts');
    const results = await resultsOf(q, array);
    return results.every((r) => r === null) ? undefined : named(array.task.name, results);
  }
  for (const name of await listOrEmpty(q.fsx, q.lay.gone(id), q.network)) {
    if (!name.startsWith(`${id}.`)) continue;
    const gone = await readMark(q, `${q.lay.gone(id)}/${name}`);
    if (gone === undefined) continue;
    // While its removal is under way, the mark may be the task itself.
    const result = 'schema' in gone ? await lastResult(q, id, { state: stateIn(name, id) }) : valueIn(gone);
    if (result !== undefined) return named(gone.name, result.value);
  }
  return undefined;
}

function named(name: string | undefined, result: unknown): Handed {
  return name === undefined ? { result } : { name, result };
}

function valueIn(gone: Gone): { value: unknown } | undefined {
  return 'result' in gone ? { value: gone.result } : undefined;
}

function stateIn(name: string, id: string): State {
  return name.slice(id.length + 1) as State; // the mark's name, made by `erase`
}

/**
 * The result of the newest attempt that succeeded, or of a later release. `at.n`: the number in the name of the task's file; absent:
 * the newest of what its attempts left.
 */
export async function lastResult(q: Queue, id: string, at: { state: State; n?: number }): Promise<{ value: unknown } | undefined> {
  const names = await listOrEmpty(q.fsx, q.lay.runs(id), true);
  const n = at.n ?? newest(names, id);
  const there = new Set(names);
  for (let m = n; m >= 0; m--) {
    // Why it was to be done means nothing where that move did not happen: it is there, or was run again from there.
    const released = there.has(`${id}.a${m}.done.json`) && (m === n ? at.state === 'done' : there.has(`${id}.a${m}.retried`));
    const why = released ? await readWhy(q, id, m, 'done') : undefined;
    if (why?.result !== undefined) return { value: why.result };
    if (!there.has(entryName(id, m))) continue;
    const o = await readOutcome(q, id, m);
    if (o?.outcome === 'succeeded') return o.result === undefined ? undefined : { value: o.result };
  }
  return undefined;
}

function newest(names: readonly string[], id: string): number {
  return Math.max(0, ...names.map((name) => (name.startsWith(`${id}.a`) ? Number(/^\d+/.exec(name.slice(id.length + 2))?.[0] ?? 0) : 0)));
}

/** What a mark in `gone/` says; the task itself at the beginning of its removal. */
export async function readMark(q: Queue, mark: string): Promise<(Gone & Partial<Pick<Task, 'schema'>>) | undefined> {
  const text = await readIfThere(q, mark);
  if (text === undefined || text.trim() === '') return undefined;
  try {
    return JSON.parse(text) as Gone; // a task file that was moved here, or written by finishErase
  } catch {
    return { erasing: {} };
  }
}
