/**
 * At most one unfinished task per key. The key's token `keys/<hash>/g<G>.<id|free>` is only ever renamed, so it has one owner
 * at a time. A task goes to waiting first and is admitted when it owns the token; what a crash leaves there is settled by the
 * sweep of `waiting`. Lock patterns (`--lock-keys`) lie in `keylocks/<id>` while their task is unfinished.
 */
import { errnoOf, TqError } from '../errors.ts';
import { isTerminal, type Task } from '../task/types.ts';
import { cancelTask, endWithoutAttempt } from './cancel.ts';
import { endedState, linkToParents, tryRelease } from './depend.ts';
import { locate, type Located } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { baseOf, parentOf } from './layout.ts';
import type { Queue } from './open.ts';
import { aMoment } from './set.ts';
import { ring } from './signal.ts';
import { createOnce, discard, move, readIfThere, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';
import type { TaskDraft } from '../task/build.ts';
import { commit, furnish, knowParents, stage, type Staged, type Submitted } from './submit.ts';
import { serverNow } from './clock.ts';
import { readWhy, writeWhy } from './why.ts';

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
      const token = parseToken(name);
      if (token !== undefined && (best === undefined || token.generation > best.generation)) best = token;
    }
    if (best?.holder === RETIRED) {
      await dropRetired(q, dir, best);
      continue;
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

/** A token of this holder is never taken again: its directory is on its way out. */
const RETIRED = 'retired';
/** A key that nobody has had for so long is forgotten, ms. */
const UNUSED_MS = 86_400_000;

async function dropRetired(q: Queue, dir: string, token: Token): Promise<void> {
  await unlinkQuietly(q.fsx, `${dir}/${token.name}`);
  await rmdirIfEmpty(q.fsx, dir);
}

/**
 * For gc: forgets keys that have been free for a day. The rename to `retired` decides against whoever takes the key at that moment;
 * who finds it so, after a crash, goes on with the removal.
 */
export async function sweepKeys(q: Queue, now: number): Promise<void> {
  for (const hash of await listOrEmpty(q.fsx, `${q.dir}/keys`)) {
    const dir = `${q.dir}/keys/${hash}`;
    const tokens = (await listOrEmpty(q.fsx, dir, true)).flatMap((name) => parseToken(name) ?? []);
    const [token] = tokens;
    if (token === undefined || tokens.length > 1) continue;
    if (token.holder === RETIRED) await dropRetired(q, dir, token);
    if (token.holder !== 'free') continue;
    try {
      // A rename changes the directory: since then nobody has had it.
      if (now - (await q.fsx.stat(dir)).mtimeMs < UNUSED_MS) continue;
      const retired = { ...token, name: `g${token.generation + 1}.${RETIRED}` };
      await q.fsx.rename(`${dir}/${token.name}`, `${dir}/${retired.name}`);
      await dropRetired(q, dir, retired);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

function parseToken(name: string): Token | undefined {
  const m = /^g(\d+)\.([0-9a-z]+)$/.exec(name);
  return m === null ? undefined : { name, generation: Number(m[1]), holder: m[2]! };
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
    return (await listOrEmpty(q.fsx, dir, true)).includes(to);
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
  const at = (await locate(q, id, true)) ?? (await (await import('./array-view.ts')).locatePart(q, id));
  return at !== undefined && !isTerminal(at.state);
}

export type KeyVerdict = { kind: 'mine' } | { kind: 'taken'; by: string };

/**
 * Takes the key for a task that lies in waiting. Free or held by an ended task: renamed to it; held by an unfinished one:
 * `taken`. Already its own: raised, so that an old finisher cannot free it.
 */
export async function takeKey(q: Queue, key: string, id: string): Promise<KeyVerdict> {
  for (;;) {
    const token = await readToken(q, key);
    if (token.holder !== 'free' && token.holder !== id) {
      const at = await locate(q, token.holder, true);
      if (at !== undefined && !isTerminal(at.state)) return { kind: 'taken', by: token.holder };
      // Not found is not ended: its traces decide, and a removed task has left its outcome or nothing at all.
      if (
        at === undefined &&
        (await endedState(q, token.holder, true)) === undefined &&
        (await locate(q, token.holder, true)) !== undefined
      )
        continue;
    }
    if (await raise(q, key, token, id)) return { kind: 'mine' };
  }
}

/** Submit of a task with a key or a key lock. */
export async function submitKeyed(q: Queue, draft: TaskDraft, own?: string): Promise<Submitted> {
  if (draft.key !== undefined) await refuseIfLocked(q, draft.key);
  await knowParents(q, draft);
  if (draft.key !== undefined && draft.onDup !== 'replace') {
    const holder = await keyHolder(q, draft.key);
    if (holder !== undefined) return existing(q, draft, holder);
  }
  return enterKeyed(q, await stage(q, draft, own));
}

/** The rest of a submit, once the task is staged. Throws DUPLICATE_KEY; then it is not in the queue. */
export async function enterKeyed(q: Queue, s: Staged): Promise<Submitted> {
  const { task } = s;
  if (task.lockKeys !== undefined) await createOnce(q, `${q.lay.keylocks}/${task.id}`, task.lockKeys);
  if (task.key === undefined) {
    const place = task.hold === true ? ({ state: 'held' } as const) : (await import('./task-file.ts')).freePlace(task, s.serverMs);
    await furnish(q, task);
    await commit(q, s, place);
    if (place.state === 'waiting') await linkToParents(q, task).catch(() => undefined);
    await ring(q);
    return { id: task.id, task, place };
  }
  await commit(q, s, { state: 'waiting' });
  try {
    for (;;) {
      const verdict = await takeKey(q, task.key, task.id);
      if (verdict.kind === 'mine') break;
      if (task.onDup === 'replace') {
        await replaceHolder(q, verdict.by);
        continue;
      }
      const mine = await withdraw(q, task);
      if (mine === 'withdrawn') return await existing(q, task, verdict.by);
      if (mine === 'admitted') break;
    }
    const at = await admit(q, task);
    if (at === undefined && (await endedState(q, task.id, true)) === undefined) {
      throw new TqError('QUEUE_UNUSABLE', 'submit: it was stopped for longer than a lease, and its task was taken back', {
        hint: 'submit it again',
      });
    }
    return { id: task.id, task, place: at?.place ?? { state: 'canceled' } };
  } catch (error) {
    // Left in waiting it would be run one day, though its submit said that it failed.
    await withdraw(q, task).catch(() => undefined);
    throw error;
  }
}

/**
 * The key is the task's: on to where it belongs. One that must stay in waiting gets a name that was never there: whoever concluded
 * before that it has to go, because another had the key, moves nothing any more. Undefined: it was taken back or canceled before.
 */
export async function admit(q: Queue, task: Task): Promise<Located | undefined> {
  // What fails from here on is repeated by the sweep of waiting.
  await ((task.after ?? []).length > 0 ? linkToParents(q, task) : tryRelease(q, task.id)).catch(() => undefined);
  for (;;) {
    const at = await locate(q, task.id, true);
    if (at?.state !== 'waiting') return at;
    if (at.place.state === 'running') {
      await aMoment(q);
      continue;
    }
    if (!(await rename(q, at))) continue;
    // Its parents may have ended while it had the other name.
    await tryRelease(q, task.id).catch(() => undefined);
    return locate(q, task.id);
  }
}

/** Raises the number of a waiting task, with what is known of its due time. False: it has moved on. */
async function rename(q: Queue, at: Located): Promise<boolean> {
  const why = at.n === 0 ? undefined : await readWhy(q, at.id, at.n, 'waiting');
  if (why !== undefined) await writeWhy(q, at.id, at.n + 1, 'waiting', why);
  return (await move(q, at.file, q.lay.entry({ state: 'waiting' }, at.id, at.n + 1))) === 'moved';
}

async function existing(q: Queue, draft: TaskDraft | Task, holder: string): Promise<Submitted> {
  if (draft.onDup === 'error') {
    throw new TqError('DUPLICATE_KEY', `--key ${draft.key}: an unfinished task has this key: ${holder}`, {
      hint: `tq show ${holder}, or --on-dup replace`,
    });
  }
  const at = await locate(q, holder);
  const { readTaskAt } = await import('./outcome.ts');
  const task = at === undefined ? undefined : await readTaskAt(q, at.file, holder);
  const stand: Task = task ?? { ...(draft as unknown as Task), schema: 'tq.task/1', id: holder, submittedAt: 0 };
  return { id: holder, task: stand, place: at?.place ?? { state: 'queued', lane: draft.queue, priority: draft.priority }, existing: true };
}

/**
 * Takes back a task whose id was never printed, by one rename: of its submit, a sweep and a hold only one has it. `admitted`: a
 * sweep was given the key for it, and it is on its way. `moving`: ask again.
 */
async function withdraw(q: Queue, task: Task): Promise<'withdrawn' | 'admitted' | 'moving'> {
  const at = await locate(q, task.id, true);
  if (at === undefined || at.state === 'canceled') return 'withdrawn';
  if (at.state !== 'waiting' && at.state !== 'held') return 'admitted';
  if (at.place.state === 'running') await aMoment(q);
  else if (await takeOut(q, task, at)) return 'withdrawn';
  return 'moving';
}

/** False: it has moved on, so that somebody has admitted or held it. */
async function takeOut(q: Queue, task: Task, at: Located): Promise<boolean> {
  const aside = stagingPath(q, '.withdrawn');
  if ((await move(q, at.file, aside)) !== 'moved') return false;
  await unlinkQuietly(q.fsx, aside);
  await dropBelongings(q, task);
  return true;
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

/** Whether this is a keyed task whose submit may still be at it: it has no key yet, and is younger than a lease. */
export async function isBeingSubmitted(q: Queue, task: Task, at: Located): Promise<boolean> {
  return at.state === 'waiting' && at.n === 0 && (await serverNow(q)) - task.submittedAt < q.leaseMs;
}

/**
 * For the sweep: a waiting task whose key it does not hold. A fresh one (attempt 0) whose key another holds was never printed
 * and goes; a retried one goes back to canceled with the reason. A submit that is still at it is not disturbed.
 */
export async function settleKey(q: Queue, task: Task, at: Located): Promise<void> {
  if (task.key === undefined || (await isBeingSubmitted(q, task, at))) return;
  const verdict = await takeKey(q, task.key, task.id);
  if (verdict.kind === 'mine') await linkToParents(q, task);
  else if (at.n === 0) await takeOut(q, task, at);
  else await cancelForKey(q, task, at, verdict.by);
}

async function cancelForKey(q: Queue, task: Task, at: Located, holder: string): Promise<boolean> {
  await writeWhy(q, task.id, at.n, 'canceled', { at: await serverNow(q), by: null, reason: `key ${task.key} is held by ${holder}` });
  return endWithoutAttempt(q, at, task, 'canceled');
}

/**
 * For `tq retry`: takes the key for the task that was just moved to waiting, if it is free or its holder has ended, and lets it go
 * on. Otherwise the task is canceled again. Returns who was faster.
 */
export async function admitRetried(q: Queue, task: Task, n: number): Promise<string | undefined> {
  if (task.key === undefined) return undefined;
  const verdict = await takeKey(q, task.key, task.id);
  if (verdict.kind === 'taken') {
    const at: Located = {
      id: task.id,
      n,
      state: 'waiting',
      place: { state: 'waiting' },
      file: q.lay.entry({ state: 'waiting' }, task.id, n),
    };
    await cancelForKey(q, task, at, verdict.by);
    const now = await locate(q, task.id, true);
    // A sweep was given the key for it meanwhile: it runs.
    return now === undefined || isTerminal(now.state) ? verdict.by : undefined;
  }
  const at = await admit(q, task);
  return at?.state === 'canceled' ? ((await keyHolder(q, task.key)) ?? task.id) : undefined;
}

/** Takes the key once more for a retried task that is about to leave waiting, so that an old finisher cannot free it. */
export async function confirmKey(q: Queue, task: Task): Promise<boolean> {
  return task.key === undefined || (await takeKey(q, task.key, task.id)).kind === 'mine';
}

/** For a dry run: throws what the submit would be refused with; the id of the task that would stand for it or be replaced. Writes nothing. */
export async function rehearseKeyed(q: Queue, draft: TaskDraft): Promise<string | undefined> {
  if (draft.key === undefined) return undefined;
  await refuseIfLocked(q, draft.key, false);
  const tokens = (await listOrEmpty(q.fsx, q.lay.key(draft.key))).flatMap((name) => parseToken(name) ?? []);
  const { holder } = tokens.toSorted((a, b) => b.generation - a.generation)[0] ?? { holder: 'free' };
  if (holder === 'free' || holder === RETIRED || !(await isUnfinished(q, holder))) return undefined;
  if (draft.onDup === 'error') await existing(q, draft, holder);
  return holder;
}

/** Throws KEY_LOCKED when an unfinished task's pattern matches the key. Locks of tasks that have ended are removed unless told not to. */
export async function refuseIfLocked(q: Queue, key: string, tidy = true): Promise<void> {
  for (const id of await listOrEmpty(q.fsx, q.lay.keylocks)) {
    const pattern = await readIfThere(q, `${q.lay.keylocks}/${id}`);
    if (pattern === undefined) continue;
    let matches: boolean;
    try {
      // As it was checked when it was submitted.
      matches = new RegExp(pattern, 'u').test(key);
    } catch {
      continue;
    }
    if (!matches) continue;
    if (await isUnfinished(q, id)) {
      throw new TqError('KEY_LOCKED', `--key ${key}: locked by task ${id} (--lock-keys ${pattern})`, {
        hint: `wait for it: tq wait ${id}`,
      });
    }
    if (tidy && ((await endedState(q, id)) !== undefined || (await isAbandoned(q, id)))) await dropKeyLock(q, id);
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
