/**
 * Follow-up tasks: what `--on-success`, `--on-failure` and `--on-cancel` make, exactly once for each ending, by whoever makes the
 * terminal move. The task is written before that move, into `follow/`, where nobody runs it; a write-once record names the one that
 * counts of this ending; the rename from `follow/` to `queued/` comes after the move. Whoever helps with the same ending finds the
 * record and adds nothing.
 *
 * | a crash after                  | leaves                                        | made good by                                                         |
 * |--------------------------------|-----------------------------------------------|----------------------------------------------------------------------|
 * | the staging file               | a file in `tmp/`                              | the sweep of `tmp/`                                                  |
 * | its rename to `follow/`        | a follow-up that no record names              | the sweep of `follow/`: dropped once the ending has another, or is none |
 * | the record                     | a follow-up that its ending waits for         | whoever ends the task so: takes the one that the record names        |
 * | the terminal move              | a follow-up whose ending has come             | a burial, the sweep, a retry or a removal of the task: queued        |
 * | the rename to `queued/`        | nothing                                       |                                                                      |
 *
 * What was prepared for an ending that did not come (the task was claimed before the cancel took it) is dropped when the task is
 * seen to have gone on: a name that was left never comes back. `tq retry` and a removal see to the follow-up first, so that one whose
 * task has gone on is never one that was due. `follow/` holds only endings under way, so its sweep is short however long the queue.
 */
import { isTerminal, type Cause, type Ending, type FollowKind, type State, type Task } from '../task/types.ts';
import type { TaskDraft } from '../task/build.ts';
import { endedState } from './depend.ts';
import { locate } from './find.ts';
import { isGone, isOfEntry, listOrEmpty, strongList } from './fsx.ts';
import { isId, parentOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { quarantine } from './quarantine.ts';
import { ring } from './signal.ts';
import { move, publish, readIfThere, unlinkQuietly } from './steps.ts';
import { defineLane, stage } from './submit.ts';
import { queuedPlace } from './task-file.ts';

export type Hooked = Pick<Task, 'onSuccess' | 'onFailure' | 'onCancel'>;

/** Whether anything follows from some ending of the task. */
export function isHooked(task: Hooked): boolean {
  return task.onSuccess !== undefined || task.onFailure !== undefined || task.onCancel !== undefined;
}

interface Hook {
  state: State;
  kind: FollowKind;
  field: keyof Hooked;
}

const HOOKS: readonly Hook[] = [
  { state: 'done', kind: 'on-success', field: 'onSuccess' },
  { state: 'failed', kind: 'on-failure', field: 'onFailure' },
  { state: 'canceled', kind: 'on-cancel', field: 'onCancel' },
];

function hookOf(kind: FollowKind): Hook {
  return HOOKS.find((hook) => hook.kind === kind)!;
}

/** Which kind of follow-up a task has for this state, if any. */
export function kindFor(task: Hooked, state: State): FollowKind | undefined {
  const hook = HOOKS.find((one) => one.state === state);
  return hook !== undefined && task[hook.field] !== undefined ? hook.kind : undefined;
}

/**
 * Before the terminal move of `task` at attempt `n`, which lies in `file`: makes sure that its follow-up lies ready. Returns its id, for
 * `releaseFollowUp` after the move; undefined when nothing follows from such an ending.
 */
export async function prepareFollowUp(
  q: Queue,
  task: Task,
  n: number,
  file: string,
  state: State,
  ending: () => Ending | Promise<Ending>,
  whole = false,
): Promise<string | undefined> {
  const kind = kindFor(task, state);
  // Of many elements it follows from the end of the whole: see `endArray`.
  if (kind === undefined || task.many !== undefined) return undefined;
  const record = q.lay.followed(task.id, n, kind);
  const before = await readRecord(q, record);
  if (before !== undefined) return before;
  const cause: Cause = { id: task.id, attempt: n, kind, ...(await ending()), ...(whole ? { many: true } : {}) };
  const owner = q.config.shared ? await ownerOf(q, file) : undefined;
  if (owner !== undefined && owner !== process.geteuid?.()) cause.owner = owner;
  const id = await lay(q, draftOf(task, cause));
  const winner = await claimRecord(q, record, id);
  if (winner !== id) await unlinkQuietly(q.fsx, q.lay.follow(id));
  return winner;
}

async function ownerOf(q: Queue, file: string): Promise<number | undefined> {
  try {
    return (await q.fsx.stat(file)).uid;
  } catch (error) {
    // Ended by somebody else meanwhile, who saw it.
    if (isGone(error)) return undefined;
    throw error;
  }
}

/**
 * Whether a follow-up that one user wrote for another one's task says what that task says, word for word: only then it may run as the
 * other one. The task's own file tells, and who owns it.
 */
export async function isTrue(q: Queue, follow: Task): Promise<boolean> {
  const { cause } = follow;
  const at = cause?.owner === undefined ? undefined : await locate(q, cause.id);
  if (cause === undefined || at === undefined || (await ownerOf(q, at.file)) !== cause.owner) return false;
  const task = await readTaskAt(q, at.file, cause.id);
  if (task === undefined || task[hookOf(cause.kind).field] === undefined) return false;
  // Once for each ending, as every follow-up.
  if ((await readRecord(q, q.lay.followed(cause.id, cause.attempt, cause.kind))) !== follow.id) return false;
  const { schema: _schema, id: _id, submittedAt: _at, ...said } = follow;
  return sorted(said) === sorted(draftOf(task, cause));
}

function sorted(value: object): string {
  return JSON.stringify(Object.entries(value).toSorted(([a], [b]) => (a < b ? -1 : 1)));
}

/** Writes the task into `follow/`, where it stays until its ending has come. */
async function lay(q: Queue, draft: TaskDraft): Promise<string> {
  for (;;) {
    const s = await stage(q, draft);
    const file = q.lay.follow(s.task.id);
    // Stopped for so long that the staging file was swept away: once more.
    if ((await move(q, s.path, file)) !== 'moved') continue;
    await q.fsx.fsyncDir(parentOf(file));
    return s.task.id;
  }
}

/** The same place in the world as its cause, and otherwise a task like any other. */
function draftOf(task: Task, cause: Cause): TaskDraft {
  const text = task[hookOf(cause.kind).field]!;
  return {
    queue: task.queue,
    priority: task.priority,
    command: [text],
    shell: task.shell ?? '/bin/sh',
    cwd: task.cwd,
    env: task.env,
    envMode: task.envMode,
    submittedBy: task.submittedBy,
    submitDir: task.submitDir,
    retries: 0,
    backoff: { kind: 'none' },
    jitter: true,
    graceMs: task.graceMs,
    onLost: 'requeue',
    split: false,
    ...(task.group === undefined ? {} : { group: task.group }),
    ...(task.traceparent === undefined ? {} : { traceparent: task.traceparent }),
    cause,
  };
}

/** Names `id` in the record, unless another is named there already; who is. */
async function claimRecord(q: Queue, record: string, id: string): Promise<string> {
  if (await publish(q, record, `${id}\n`)) return id;
  let there = await readRecord(q, record);
  if (there === undefined && q.network) {
    // There is one, the link has told; only this machine's caches still say that there is none.
    await strongList(q.fsx, parentOf(record));
    there = await readRecord(q, record);
  }
  if (there === undefined) throw Object.assign(new Error(`EIO: cannot be read: ${record}`), { code: 'EIO', path: record });
  return there;
}

async function readRecord(q: Queue, record: string): Promise<string | undefined> {
  const text = (await readIfThere(q, record))?.trim();
  return text !== undefined && isId(text) ? text : undefined;
}

/** After the terminal move: the follow-up may run. One that was let go before is left alone. */
export async function releaseFollowUp(q: Queue, id: string): Promise<void> {
  const file = q.lay.follow(id);
  const task = await readTaskAt(q, file, id);
  if (task === undefined) return;
  await defineLane(q, task);
  const target = q.lay.entry(queuedPlace(task), id, 0);
  if ((await move(q, file, target)) !== 'moved') return;
  try {
    await q.fsx.fsyncDir(parentOf(target));
  } catch (error) {
    // Claimed already, and its bucket removed behind it.
    if (!isGone(error)) throw error;
  }
  await ring(q);
}

/** For who takes a task out of its terminal place: what its ending has made is let go first, whoever was about to. */
export async function ensureFollowUp(q: Queue, task: Task, at: { n: number; state: State }): Promise<void> {
  const kind = kindFor(task, at.state);
  if (kind === undefined) return;
  const record = q.lay.followed(task.id, at.n, kind);
  if (q.network) await strongList(q.fsx, parentOf(record)).catch(() => undefined);
  const id = await readRecord(q, record);
  if (id !== undefined) await releaseFollowUp(q, id);
}

/** `due`: its ending has come; `early`: it may still come; `never`: the task has gone on; `foreign`: nothing that an ending has made. */
export type Duty = 'due' | 'early' | 'never' | 'foreign';

/** What is to become of a follow-up in `follow/`; undefined: it is not there. Changes nothing. */
export async function dutyOf(q: Queue, id: string): Promise<{ task: Task; duty: Duty } | undefined> {
  const task = await readTaskAt(q, q.lay.follow(id), id);
  if (task === undefined) return undefined;
  const { cause } = task;
  if (cause === undefined) return { task, duty: 'foreign' };
  // It was laid only when the whole had ended so.
  if (cause.many === true) return { task, duty: 'due' };
  const at = await locate(q, cause.id, true);
  // Not found is not ended. A removed one has seen to its follow-up before.
  if (at === undefined) return { task, duty: (await endedState(q, cause.id, true)) === undefined ? 'early' : 'never' };
  if (!isTerminal(at.state) && at.n <= cause.attempt) return { task, duty: 'early' };
  return { task, duty: at.n === cause.attempt && hookOf(cause.kind).state === at.state ? 'due' : 'never' };
}

/** Looks whether the ending of a follow-up in `follow/` has come, is still to come, or never will. Safe for anyone at any time. */
export async function settleFollowUp(q: Queue, id: string): Promise<void> {
  const file = q.lay.follow(id);
  const known = await dutyOf(q, id);
  if (known === undefined || known.duty === 'early') return;
  if (known.duty === 'foreign') {
    await quarantine(q, file, 'in follow/, and not made by the ending of a task');
    return;
  }
  const cause = known.task.cause!;
  if (known.duty === 'due' && (await claimRecord(q, q.lay.followed(cause.id, cause.attempt, cause.kind), id)) === id)
    await releaseFollowUp(q, id);
  else await unlinkQuietly(q.fsx, file);
}

/** Whether an ended task has the record of what its ending was to make; true where nothing was. */
export async function hasFollowed(q: Queue, task: Task, at: { n: number; state: State }): Promise<boolean> {
  const kind = task.many === undefined ? kindFor(task, at.state) : undefined;
  return kind === undefined || (await readRecord(q, q.lay.followed(task.id, at.n, kind))) !== undefined;
}

/** Settles everything in `follow/`: what crashes left there. One that cannot be read does not keep the others back. */
export async function sweepFollowUps(q: Queue): Promise<void> {
  for (const name of (await listOrEmpty(q.fsx, `${q.dir}/follow`, q.network)).toSorted()) {
    const id = name.endsWith('.json') ? name.slice(0, -'.json'.length) : '';
    if (!isId(id)) continue;
    try {
      await settleFollowUp(q, id);
    } catch (error) {
      if (!isOfEntry(error)) throw error;
    }
  }
}

export interface FollowUp {
  kind: FollowKind;
  /** The attempt whose ending made it. */
  attempt: number;
  id: string;
}

/** For people: the follow-ups that the endings of a task have made, oldest ending first. */
export async function followUpsOf(q: Queue, task: Pick<Task, 'id'> & Hooked): Promise<FollowUp[]> {
  if (task.onSuccess === undefined && task.onFailure === undefined && task.onCancel === undefined) return [];
  const found: FollowUp[] = [];
  for (const name of await listOrEmpty(q.fsx, q.lay.runs(task.id))) {
    const kind = HOOKS.find((hook) => name.endsWith(`.${hook.kind}`))?.kind;
    if (kind === undefined || !name.startsWith(`${task.id}.a`)) continue;
    const attempt = Number(name.slice(task.id.length + 2, -kind.length - 1));
    const id = await readRecord(q, q.lay.followed(task.id, attempt, kind));
    if (id === undefined || !Number.isInteger(attempt)) continue;
    // One whose ending did not come is nowhere.
    if ((await locate(q, id)) !== undefined || (await endedState(q, id)) !== undefined) found.push({ kind, attempt, id });
  }
  return found.toSorted((a, b) => a.attempt - b.attempt);
}
