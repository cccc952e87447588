/**
 * What the changing verbs would write, for `--dry-run`: the same refusals, the task as it would lie, and where. Nothing in the
 * directory is touched, not even what a look would otherwise tidy.
 */
import { TqError } from '../errors.ts';
import { isTerminal, type State, type Task, type TerminalState } from '../task/types.ts';
import type { CancelRequest } from './cancel.ts';
import { serverNowOrLocal } from './clock.ts';
import { wrongState } from './control.ts';
import { endedState, judge } from './depend.ts';
import { locate, type Located } from './find.ts';
import { listOrEmpty } from './fsx.ts';
import { baseOf, cancelName, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { changed, refuseForeign, type Change } from './set.ts';
import { readIfThere } from './steps.ts';
import { parseTask, timedPlace } from './task-file.ts';
import { readWhy } from './why.ts';

/** A task file as it would lie after the change. */
export interface Rehearsed extends Task {
  state: State;
  /** Where. */
  file: string;
  [more: string]: unknown;
}

export async function rehearseCancel(q: Queue, at: Located, request: CancelRequest): Promise<Rehearsed> {
  if (isTerminal(at.state)) throw new TqError('WRONG_STATE', `${at.id} is ${at.state} already`, { hint: `tq show ${at.id}` });
  const task = await peek(q, at);
  if (at.place.state !== 'running') return { ...task, ...lying(q, at, { state: 'canceled' }, at.n), reason: request.reason };
  const file = `${q.lay.session(at.place.session)}/${cancelName(at.id, at.n)}`;
  return { ...task, state: at.state, file: at.file, request: { ...request, file } };
}

export async function rehearseHold(q: Queue, at: Located): Promise<Rehearsed> {
  if (at.state === 'running' || at.state === 'held' || isTerminal(at.state)) throw wrongState(at.id, at.state, 'hold');
  return { ...(await peek(q, at)), ...lying(q, at, { state: 'held' }, at.n) };
}

export async function rehearseRelease(q: Queue, at: Located, result?: { value: unknown }): Promise<Rehearsed> {
  if (at.state !== 'held') throw wrongState(at.id, at.state, 'release');
  const task = await peek(q, at);
  if (result !== undefined) return { ...task, ...lying(q, at, { state: 'done' }, at.n), result: result.value };
  const why = await readWhy(q, at.id, at.n, 'held');
  return { ...task, ...lying(q, at, await freed(q, task, why?.dueAt), at.n) };
}

export async function rehearseRetry(q: Queue, at: Located, delayMs: number | undefined): Promise<Rehearsed> {
  if (!isTerminal(at.state)) throw wrongState(at.id, at.state, 'retry');
  const task = await peek(q, at);
  const holder = task.key === undefined ? undefined : await otherHolder(q, task.key, at.id);
  if (holder !== undefined) {
    throw new TqError('DUPLICATE_KEY', `cannot retry ${at.id}: its key ${task.key} is held by ${holder}`, {
      hint: `tq wait ${holder}, then try again`,
    });
  }
  const dueAt = delayMs === undefined ? undefined : (await clock(q)) + delayMs;
  return { ...task, ...lying(q, at, await freed(q, task, dueAt), at.n + 1) };
}

export async function rehearseSet(q: Queue, at: Located, change: Change): Promise<Rehearsed> {
  if (at.state === 'running' || isTerminal(at.state)) throw wrongState(at.id, at.state, 'set');
  const task = await peek(q, at);
  await refuseForeign(q, at.file, at.id);
  const now = await clock(q);
  const after = changed(task, change, now);
  const dueAt = change.delayMs === undefined ? (at.place.state === 'delayed' ? at.place.dueAt : undefined) : now + change.delayMs;
  const place: Place = at.state === 'held' || at.state === 'waiting' ? { state: at.state } : timedPlace(after, now, dueAt);
  return { ...after, ...lying(q, at, place, at.n + 1) };
}

function lying(q: Queue, at: Located, place: Place, n: number): { state: State; file: string } {
  return { state: place.state, file: q.lay.entry(place, at.id, n) };
}

/** Where a task goes that nothing holds any more. */
async function freed(q: Queue, task: Task, dueAt: number | undefined): Promise<Place> {
  const parents = task.after ?? [];
  const states: Array<TerminalState | undefined> = [];
  for (const parent of parents) states.push(await endedState(q, parent.id));
  const verdict = judge(parents, states);
  if (verdict.kind === 'wait') return { state: 'waiting' };
  if (verdict.kind === 'skip') return { state: 'skipped' };
  return timedPlace(task, await clock(q), dueAt);
}

/** Reading the server's clock takes a file; on a local disk it is this machine's. */
async function clock(q: Queue): Promise<number> {
  return q.network ? serverNowOrLocal(q) : Date.now();
}

async function otherHolder(q: Queue, key: string, id: string): Promise<string | undefined> {
  for (const name of await listOrEmpty(q.fsx, q.lay.key(key))) {
    const holder = /^g\d+\.([0-9a-z]+)$/.exec(name)?.[1];
    if (holder === undefined || holder === 'free' || holder === id) continue;
    const at = await locate(q, holder);
    if (at !== undefined && !isTerminal(at.state)) return holder;
  }
  return undefined;
}

/** The task in an entry, left where it is whatever it holds. */
async function peek(q: Queue, at: Located): Promise<Task> {
  const text = await readIfThere(q, at.file);
  if (text === undefined) throw new TqError('WRONG_STATE', `${at.id} is just being moved`, { hint: 'try again' });
  const parsed = parseTask(text, at.id);
  if (!parsed.ok)
    throw new TqError('QUEUE_UNUSABLE', `${baseOf(at.file)} is not a task: ${parsed.reason}`, {
      hint: 'tq doctor --fix moves it to quarantine/',
    });
  return parsed.value;
}
