/**
 * Why a task is in a state that no attempt brought it to: `runs/<bucket>/<id>.a<N>.<state>.json`, written before the move it
 * explains. Left over from a move that did not happen it means nothing.
 */
import type { State } from '../task/types.ts';
import type { Queue } from './open.ts';
import { publish, readIfThere, replace } from './steps.ts';

export interface Why {
  at: number;
  by: { user: string; host: string } | null;
  reason: string | null;
  /** For held: where release puts it back. */
  from?: State;
  dueAt?: number;
  /** For skipped: the parent that did not succeed. */
  parent?: string;
  /** For done by `tq release --result`. */
  result?: unknown;
}

export async function writeWhy(q: Queue, id: string, n: number, state: State, why: Why): Promise<void> {
  await replace(q, q.lay.why(id, n, state), `${JSON.stringify(why)}\n`);
}

/** As `writeWhy`, but what is there stays. */
export async function writeWhyOnce(q: Queue, id: string, n: number, state: State, why: Why): Promise<void> {
  await publish(q, q.lay.why(id, n, state), `${JSON.stringify(why)}\n`);
}

export async function readWhy(q: Queue, id: string, n: number, state: State): Promise<Why | undefined> {
  const text = await readIfThere(q, q.lay.why(id, n, state));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Why; // written whole by writeWhy
  } catch {
    return undefined;
  }
}
