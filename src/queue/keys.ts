/**
 * At most one unfinished task per key. The key's token `keys/<hash>/g<G>.<id|free>` is only ever renamed, so it has one owner
 * at a time. A task goes to waiting first and is admitted when it owns the token; what a crash leaves there is settled by the
 * sweep of `waiting`. Lock patterns (`--lock-keys`) lie in `keylocks/<id>` while their task is unfinished.
 */
import { errnoOf, TqError } from '../errors.ts';
import { isTerminal, type Task } from '../task/types.ts';
import { cancelTask } from './cancel.ts';
import { checkParents, endedState, linkToParents, tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp, strongList } from './fsx.ts';
import { baseOf, parentOf } from './layout.ts';
import type { Queue } from './open.ts';
import { ring } from './signal.ts';
import { createOnce, discard, move, readIfThere, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import type { TaskDraft } from '../task/build.ts';
import { commit, stage, type Submitted } from './submit.ts';
import { serverNow } from './clock.ts';
import { writeWhy } from './why.ts';

interface Token {
  name: string;
  generation: number;
  holder: string | 'free';
}

/** The token of a key, making its directory when there is none (built in tmp, renamed into place: never two tokens). */
async function readToken(q: Queue, key: string): Promise<Token> {
  const dir = q.lay.key(key);
  for (;;) {
    const names = await listOrEmpty(q.fsx, dir, true);
    let best: Token | undefined;
    for (const name of names) {
      const m = /^g(\d+)\.([0-9a-z]+)$/.exec(name);
      if (m !== null && (best === undefined || Number(m[1]) > best.generation)) best = { name, generation: Number(m[1]), holder: m[2]! };
    }
    if (best !== undefined) return best;
    const staged = stagingPath(q, '.key');
    await mkdirp(q.fsx, staged);
    await q.fsx.create(`${staged}/g0.free`, '');
    try {
      await q.fsx.rename(staged, dir);
    } catch (error) {
      // Somebody else's directory is there (ENOTEMPTY), or the reply was lost: the next look tells.
      await unlinkQuietly(q.fsx, `${staged}/g0.free`);
      await rmdirIfEmpty(q.fsx, staged);
      const code = errnoOf(error);
      if (isGone(error)) await mkdirp(q.fsx, parentOf(dir));
      else if (code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
    }
  }
}

/** Renames a token to its next generation. False: somebody else was faster. */
async function raise(q: Queue, key: string, token: Token, holder: string): Promise<boolean> {
  const dir = q.lay.key(key);
  const to = `g${token.generation + 1}.${holder}`;
  try {
    await q.fsx.rename(`${dir}/${token.name}`, `${dir}/${to}`);
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
    return (await strongList(q.fsx, dir)).includes(to);
  }
}

/** The exact token names that `id` holds now: read before a terminal move, freed after it. */
export async function tokensOf(q: Queue, key: string, id: string): Promise<string[]> {
  const dir = q.lay.key(key);
  return (await listOrEmpty(q.fsx, dir, true)).filter((n) => n.endsWith(`.${id}`)).map((n) => `${dir}/${n}`);
}

/** Frees exactly the named tokens; one that has moved on since stays as it is. */
export async function freeTokens(q: Queue, paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    const generation = Number(/^g(\d+)\./.exec(baseOf(path))?.[1] ?? 0);
    try {
      await q.fsx.rename(path, `${path.slice(0, path.lastIndexOf('/'))}/g${generation + 1}.free`);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

export async function holdsKey(q: Queue, key: string, id: string): Promise<boolean> {
  return (await readToken(q, key)).holder === id;
}

/** The unfinished task that holds a key, if any. */
export async function keyHolder(q: Queue, key: string): Promise<string | undefined> {
  const token = await readToken(q, key);
  if (token.holder === 'free') return undefined;
  return (await isUnfinished(q, token.holder)) ? token.holder : undefined;
}

async function isUnfinished(q: Queue, id: string): Promise<boolean> {
  const at = await locate(q, id, true);
  return at !== undefined && !isTerminal(at.state);
}

export type KeyVerdict = { kind: 'mine' } | { kind: 'taken'; by: string };

/**
 * Takes the key for a task that lies in waiting. Free or held by an ended task: renamed to it; held by an unfinished one:
 * `taken`. Already its own: raised, so that an old finisher cannot free it.
 */
async function takeKey(q: Queue, key: string, id: string): Promise<KeyVerdict> {
  for (;;) {
    const token = await readToken(q, key);
    if (token.holder !== 'free' && token.holder !== id) {
      const at = await locate(q, token.holder, true);
      if (at !== undefined && !isTerminal(at.state)) return { kind: 'taken', by: token.holder };
      // Not found is not ended: its traces decide, and a removed task has left its outcome or nothing at all.
      if (at === undefined && (await endedState(q, token.holder, true)) === undefined && (await locate(q, token.holder, true)) !== undefined) continue;
    }
    if (await raise(q, key, token, id)) return { kind: 'mine' };
  }
}

/** Submit of a task with a key or a key lock. */
export async function submitKeyed(q: Queue, draft: TaskDraft): Promise<Submitted> {
  if (draft.key !== undefined) await refuseIfLocked(q, draft.key);
  const parents = draft.after ?? [];
  if (parents.length > 0) await checkParents(q, parents);
  if (draft.key !== undefined && draft.onDup !== 'replace') {
    const holder = await keyHolder(q, draft.key);
    if (holder !== undefined) return existing(q, draft, holder);
  }
  const s = await stage(q, draft);
  if (draft.lockKeys !== undefined) await createOnce(q, `${q.lay.keylocks}/${s.task.id}`, draft.lockKeys);
  if (draft.key === undefined) {
    const place = draft.hold === true ? ({ state: 'held' } as const) : (await import('./task-file.ts')).freePlace(s.task, s.serverMs);
    await commit(q, s, place);
    if (place.state === 'waiting') await linkToParents(q, s.task).catch(() => undefined);
    await ring(q);
    return { id: s.task.id, task: s.task, place };
  }
  await commit(q, s, { state: 'waiting' });
  try {
    for (;;) {
      const verdict = await takeKey(q, draft.key, s.task.id);
      if (verdict.kind === 'mine') break;
      if (draft.onDup === 'replace') {
        await replaceHolder(q, verdict.by);
        continue;
      }
      await withdraw(q, s.task);
      return await existing(q, draft, verdict.by);
    }
  } catch (error) {
    // Left in waiting it would be run one day, though its submit said that it failed.
    await withdraw(q, s.task).catch(() => undefined);
    throw error;
  }
  // It is in, with its key: what fails from here on is repeated by the sweep of waiting.
  await (parents.length > 0 ? linkToParents(q, s.task) : tryRelease(q, s.task.id)).catch(() => undefined);
  const at = await locate(q, s.task.id);
  if (at === undefined && (await endedState(q, s.task.id, true)) === undefined) {
    await freeTokens(q, await tokensOf(q, draft.key, s.task.id));
    throw new TqError('QUEUE_UNUSABLE', 'submit: it was stopped for longer than a lease, and its task was taken back', { hint: 'submit it again' });
  }
  return { id: s.task.id, task: s.task, place: at?.place ?? { state: 'waiting' } };
}

async function existing(q: Queue, draft: TaskDraft, holder: string): Promise<Submitted> {
  if (draft.onDup === 'error') {
    throw new TqError('DUPLICATE_KEY', `--key ${draft.key}: an unfinished task has this key: ${holder}`, { hint: `tq show ${holder}, or --on-dup replace` });
  }
  const at = await locate(q, holder);
  const { readTaskAt } = await import('./outcome.ts');
  const task = at === undefined ? undefined : await readTaskAt(q, at.file, holder);
  const stand: Task = task ?? { ...(draft as unknown as Task), schema: 'tq.task/1', id: holder, submittedAt: 0 };
  return { id: holder, task: stand, place: at?.place ?? { state: 'queued', lane: draft.queue, priority: draft.priority }, existing: true };
}

/** Takes back a task whose id was never printed. One that has moved on was admitted by somebody: it stays, with all that it needs. */
async function withdraw(q: Queue, task: Task): Promise<void> {
  try {
    await q.fsx.unlink(q.lay.entry({ state: 'waiting' }, task.id, 0));
  } catch (error) {
    if (isGone(error)) return;
    throw error;
  }
  await dropBelongings(q, task);
}

/** The same by others than its submit, which may go on at any moment and take the key: then the task goes back. */
async function withdrawForeign(q: Queue, task: Task, key: string): Promise<void> {
  const here = q.lay.entry({ state: 'waiting' }, task.id, 0);
  const aside = stagingPath(q, '.withdrawn');
  if ((await move(q, here, aside)) !== 'moved') return;
  if (await holdsKey(q, key, task.id)) {
    await move(q, aside, here);
    return;
  }
  await unlinkQuietly(q.fsx, aside);
  await dropBelongings(q, task);
}

async function dropBelongings(q: Queue, task: Task): Promise<void> {
  if (task.script !== undefined) await discard(q, q.lay.blob(task.script));
  if (task.stdin !== undefined) await discard(q, q.lay.blob(task.stdin));
  if (task.lockKeys !== undefined) await dropKeyLock(q, task.id);
}

/** Cancels the holder and waits until it has ended. */
async function replaceHolder(q: Queue, id: string): Promise<void> {
  for (let waited = 0; await isUnfinished(q, id); waited++) {
    if (waited % 20 === 0) {
      try {
        await cancelTask(q, id, { reason: 'replaced by a task with the same key', now: false, by: null });
      } catch (error) {
        if (!(error instanceof TqError && (error.code === 'WRONG_STATE' || error.code === 'NOT_FOUND'))) throw error;
      }
    }
    await new Promise((resolve) => setTimeout(resolve, q.network ? 500 : 50));
  }
}

/**
 * For the sweep: a waiting task whose key it does not hold. A fresh one (attempt 0) whose key another holds was never printed
 * and goes; a retried one goes back to canceled with the reason. A submit that is still at it is not disturbed: it is younger
 * than a lease.
 */
export async function settleKey(q: Queue, task: Task, at: Located): Promise<void> {
  if (task.key === undefined) return;
  const now = await serverNow(q);
  const since = at.n === 0 ? task.submittedAt : 0;
  if (at.n === 0 && now - since < q.leaseMs) return;
  const verdict = await takeKey(q, task.key, task.id);
  if (verdict.kind === 'mine') {
    await linkToParents(q, task);
    return;
  }
  if (at.n === 0) {
    await withdrawForeign(q, task, task.key);
    return;
  }
  await writeWhy(q, task.id, at.n, 'canceled', { at: now, by: null, reason: `key ${task.key} is held by ${verdict.by}` });
  await move(q, at.file, q.lay.entry({ state: 'canceled' }, task.id, at.n));
}

/** For `tq retry`: takes the key, free or held by an ended task, for the task that was just moved. The unfinished one that was faster, if any. */
export async function admitRetried(q: Queue, task: Task): Promise<string | undefined> {
  if (task.key === undefined) return undefined;
  const verdict = await takeKey(q, task.key, task.id);
  return verdict.kind === 'taken' ? verdict.by : undefined;
}

/** Throws KEY_LOCKED when an unfinished task's pattern matches the key. */
export async function refuseIfLocked(q: Queue, key: string): Promise<void> {
  for (const id of await listOrEmpty(q.fsx, q.lay.keylocks)) {
    const pattern = await readIfThere(q, `${q.lay.keylocks}/${id}`);
    if (pattern === undefined) continue;
    let matches: boolean;
    try {
      matches = new RegExp(pattern).test(key);
    } catch {
      continue;
    }
    if (!matches) continue;
    if (await isUnfinished(q, id)) {
      throw new TqError('KEY_LOCKED', `--key ${key}: locked by task ${id} (--lock-keys ${pattern})`, { hint: `wait for it: tq wait ${id}` });
    }
    if ((await endedState(q, id)) !== undefined || (await isAbandoned(q, id))) await dropKeyLock(q, id);
  }
}

/** A submit that dies before its task is there leaves its lock, which would be looked up by every later submit, ms. */
const ABANDONED_MS = 3_600_000;

async function isAbandoned(q: Queue, id: string): Promise<boolean> {
  try {
    return (await serverNow(q)) - (await q.fsx.stat(`${q.lay.keylocks}/${id}`)).mtimeMs > ABANDONED_MS;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

export async function dropKeyLock(q: Queue, id: string): Promise<void> {
  await unlinkQuietly(q.fsx, `${q.lay.keylocks}/${id}`);
}
