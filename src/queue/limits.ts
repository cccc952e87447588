/**
 * Limits and mutexes. A share is a token: an empty file that is only ever renamed, so it has one holder at a time. It is taken before
 * the claim and given back when the attempt is over; one whose session has no running directory any more is given back by whoever
 * needs it. Tokens are made in whole blocks that are renamed into place, which is why there is never a second one of a number; how
 * many of them count is what `limit.json` says now.
 */
import { errnoOf } from '../errors.ts';
import { sessions } from './find.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { baseOf, parentOf, type Requirements } from './layout.ts';
import { serverNow } from './clock.ts';
import type { Queue } from './open.ts';
import { readIfThere, replace, rmdirIfEmpty, stagingPath, unlinkQuietly } from './steps.ts';

/** What `tq limit set` says: shares at once, and starts in a time. At least one of them. */
export interface Limit {
  max: number | null;
  rate: { n: number; perMs: number } | null;
}

/** What a task asks for: a mutex, or `n` shares of a limit. */
export interface Want {
  kind: 'limit' | 'mutex';
  name: string;
  n: number;
}

export type Holder =
  | { kind: 'free' }
  /** Of a rate: used for a start at this moment of the file server's clock. */
  | { kind: 'used'; at: number }
  | { kind: 'held'; session: string; id: string }
  /** Of a mutex that is being forgotten. */
  | { kind: 'retired' };

export interface Token {
  dir: string;
  name: string;
  number: number;
  generation: number;
  holder: Holder;
}

/** A token that a session took, by its path then. */
export interface Share {
  path: string;
  /** Of a rate: given back with the moment of the start. */
  rate: boolean;
}

/** Why a want cannot be met now. `until`: when it may be looked at again, server ms; null: when somebody gives back. */
export type Lack =
  | { want: Want; reason: 'missing' }
  | { want: Want; reason: 'small'; most: number }
  | { want: Want; reason: 'held'; by: string[] }
  | { want: Want; reason: 'rate'; until: number | null };

/** A limit of a few shares is one directory to list. */
export const TOKENS_IN_BLOCK = 16;
export const MOST_SHARES = 10_000;
/** Two processes read the file server's clock to within a tick or two of 10 ms; and a start takes a moment, ms. */
const CLOCK_SLACK_MS = 50;
/** A mutex that nobody has had for so long is forgotten, ms. */
const UNUSED_MS = 86_400_000;

/**
 * In the one order in which everybody takes them: mutex, then limits by name. What is no name or number, in a file that somebody wrote
 * by hand, becomes a limit that nobody has set.
 */
export function wantsOf(r: Pick<Requirements, 'mutex' | 'limits'>): Want[] {
  const limits: readonly unknown[] = r.limits === undefined ? [] : Array.isArray(r.limits) ? r.limits : [r.limits];
  const wants = limits.map((entry): Want => {
    const { name, n } = (entry ?? {}) as { name?: unknown; n?: unknown }; // from a file, checked here
    return { kind: 'limit', name: String(name), n: Number.isInteger(n) && (n as number) > 0 ? (n as number) : 1 };
  });
  wants.sort((x, y) => (x.name < y.name ? -1 : 1));
  return r.mutex === undefined ? wants : [{ kind: 'mutex', name: String(r.mutex), n: 1 }, ...wants];
}

/** A name that can be that of a directory. */
function isName(name: string): boolean {
  return /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name);
}

export function parseToken(dir: string, name: string): Token | undefined {
  const m = /^(\d{1,6})\.g(\d+)\.(.+)$/.exec(name);
  if (m === null) return undefined;
  const holder = parseHolder(m[3]!);
  return holder === undefined ? undefined : { dir, name, number: Number(m[1]), generation: Number(m[2]), holder };
}

function parseHolder(text: string): Holder | undefined {
  if (text === 'free' || text === 'retired') return { kind: text };
  const used = /^at(\d{1,16})$/.exec(text);
  if (used !== null) return { kind: 'used', at: Number(used[1]) };
  const held = /^(.+-[0-9a-z]+)\.([0-9a-z]{10,16}(?:\.[0-9][0-9+-]*)?)$/.exec(text);
  return held === null ? undefined : { kind: 'held', session: held[1]!, id: held[2]! };
}

/** What there is of a want's tokens. `limit` undefined: there is no such limit. */
export interface Standing {
  limit: Limit | undefined;
  shares: Token[];
  starts: Token[];
}

/**
 * The tokens to take for a want, or what it lacks. Pure. Shares with a number beyond the limit (it was lowered) count while they are
 * held and are not taken again. A start counts once, however many shares it takes.
 */
export function choose(want: Want, { limit, shares, starts }: Standing, now: number): Token[] | Lack {
  if (limit === undefined) return { want, reason: 'missing' };
  const chosen: Token[] = [];
  if (limit.max !== null) {
    if (want.n > limit.max) return { want, reason: 'small', most: limit.max };
    const held = shares.filter((t) => t.holder.kind === 'held');
    const free = shares.filter((t) => t.holder.kind === 'free' && t.number < limit.max!);
    if (Math.min(free.length, limit.max - held.length) < want.n) return { want, reason: 'held', by: holders(held) };
    chosen.push(...free.slice(0, want.n));
  }
  if (limit.rate !== null) {
    const { n, perMs } = limit.rate;
    const over = (t: Token): number => (t.holder.kind === 'used' ? t.holder.at + perMs + CLOCK_SLACK_MS : 0);
    const busy = starts.filter((t) => t.holder.kind === 'held' || over(t) > now);
    const free = starts.filter((t) => t.number < n && !busy.includes(t));
    if (busy.length >= n || free.length === 0) {
      const times = busy.map(over).filter((at) => at > now);
      return { want, reason: 'rate', until: times.length === 0 ? null : Math.min(...times) };
    }
    chosen.push(free[0]!);
  }
  return chosen;
}

function holders(held: readonly Token[]): string[] {
  return [...new Set(held.map((t) => (t.holder.kind === 'held' ? t.holder.id : '')))].toSorted();
}

/** Reads the tokens of a want; on a network file system past the caches of this machine. A mutex that nobody had yet is made. */
export async function standing(q: Queue, want: Want, readOnly = false): Promise<Standing> {
  if (!isName(want.name)) return { limit: undefined, shares: [], starts: [] };
  if (want.kind === 'mutex') {
    const dir = q.lay.mutex(want.name);
    let shares = await tokensIn(q, dir);
    for (let look = 0; look < TRIES && shares.every((t) => t.holder.kind === 'retired'); look++) {
      if (readOnly) break;
      for (const t of shares) await dropRetired(q, t);
      await makeBlock(q, dir, 0, 1);
      shares = await tokensIn(q, dir);
    }
    return { limit: { max: 1, rate: null }, shares, starts: [] };
  }
  const limit = await readLimit(q, want.name);
  if (limit === undefined) return { limit, shares: [], starts: [] };
  const dir = q.lay.limit(want.name);
  const shares: Token[] = [];
  const starts: Token[] = [];
  for (const name of (await listOrEmpty(q.fsx, dir)).toSorted()) {
    if (/^max\.\d+$/.test(name)) shares.push(...(await tokensIn(q, `${dir}/${name}`)));
    else if (/^rate\.\d+$/.test(name) && limit.rate !== null) starts.push(...(await tokensIn(q, `${dir}/${name}`)));
  }
  return { limit, shares, starts };
}

/** One token for each number: while one is being renamed a listing may name it twice, and the later name counts. */
async function tokensIn(q: Queue, dir: string): Promise<Token[]> {
  const found = new Map<number, Token>();
  for (const name of await listOrEmpty(q.fsx, dir, true)) {
    const t = parseToken(dir, name);
    if (t !== undefined && (found.get(t.number)?.generation ?? -1) < t.generation) found.set(t.number, t);
  }
  return [...found.values()].toSorted((a, b) => a.number - b.number);
}

/** What keeps a task with these wants from starting, the first of them; undefined when nothing does. Takes nothing. */
export async function lackOf(q: Queue, wants: readonly Want[], readOnly = false): Promise<Lack | undefined> {
  const now = await (readOnly ? Date.now() : serverNow(q));
  for (const want of wants) {
    let chosen = choose(want, await standing(q, want, readOnly), now);
    if (!Array.isArray(chosen) && !readOnly && (await reclaim(q, want))) chosen = choose(want, await standing(q, want), now);
    if (!Array.isArray(chosen)) return chosen;
  }
  return undefined;
}

/**
 * Takes all that is wanted for a task, or nothing. A crash in between leaves tokens with a session that will have no directory: they
 * are given back by `reclaim`. What may or may not have been taken when the file system failed is put into `doubt`, for the caller
 * to give back.
 */
export async function takeShares(q: Queue, wants: readonly Want[], session: string, id: string, doubt: Share[]): Promise<Share[] | Lack> {
  const mine: Share[] = [];
  try {
    const now = await serverNow(q);
    for (const want of wants) {
      const lack = await takeWant(q, want, session, id, now, mine);
      if (lack === undefined) continue;
      await giveBackAll(q, mine, 'unused', doubt);
      return lack;
    }
  } catch (error) {
    doubt.push(...mine);
    throw error;
  }
  return mine;
}

/** How often somebody else may be faster before it is left for the next look. */
const TRIES = 8;

async function takeWant(q: Queue, want: Want, session: string, id: string, now: number, mine: Share[]): Promise<Lack | undefined> {
  let got = 0;
  let started = false;
  let lack: Lack = { want, reason: 'held', by: [] };
  for (let look = 0; look < TRIES; look++) {
    const s = await standing(q, want);
    // What this very call holds of it already is not in the way.
    const names = new Set(mine.map((share) => share.path));
    const others = (list: Token[]): Token[] => list.filter((t) => !names.has(`${t.dir}/${t.name}`));
    const limit = s.limit === undefined || s.limit.max === null ? s.limit : { ...s.limit, max: s.limit.max - got };
    const chosen = choose(
      { ...want, n: want.n - got },
      { limit: started && limit !== undefined ? { ...limit, rate: null } : limit, shares: others(s.shares), starts: others(s.starts) },
      now,
    );
    if (!Array.isArray(chosen)) {
      lack = chosen.reason === 'small' ? { ...chosen, want, most: chosen.most + got } : { ...chosen, want };
      if (got > 0 || !(await reclaim(q, want))) return lack;
      continue;
    }
    let all = true;
    for (const t of chosen) {
      const rate = baseOf(t.dir).startsWith('rate.') && want.kind === 'limit';
      const path = `${t.dir}/${t.number}.g${t.generation + 1}.${session}.${id}`;
      // Before the call: should it fail, nobody knows whether it was done.
      mine.push({ path, rate });
      if (await renameToken(q, `${t.dir}/${t.name}`, path)) {
        if (rate) started = true;
        else got++;
      } else {
        mine.pop();
        all = false;
      }
    }
    if (all) return undefined;
  }
  return lack;
}

/** False: somebody else was faster. */
async function renameToken(q: Queue, from: string, to: string): Promise<boolean> {
  try {
    await q.fsx.rename(from, to);
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
    // A lost reply looks the same.
    return (await listOrEmpty(q.fsx, parentOf(to), true)).includes(baseOf(to));
  }
}

/**
 * Gives a share back under exactly the name that it was taken under: one that has moved on since is somebody else's. `began`: the
 * moment of the start by the file server's clock, or null when nothing was started.
 */
export async function giveBack(q: Queue, share: Share, began: number | null): Promise<void> {
  const m = /^(\d+)\.g(\d+)\./.exec(baseOf(share.path))!;
  const next = `${parentOf(share.path)}/${m[1]}.g${Number(m[2]) + 1}`;
  try {
    await q.fsx.rename(share.path, share.rate && began !== null ? `${next}.at${Math.ceil(began)}` : `${next}.free`);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Gives back what can be, and puts what could not into `doubt`. */
export async function giveBackAll(q: Queue, shares: readonly Share[], how: 'used' | 'unused', doubt: Share[]): Promise<void> {
  for (const share of shares) {
    try {
      await giveBack(q, share, how === 'used' ? await serverNow(q) : null);
    } catch {
      doubt.push(share);
    }
  }
}

/**
 * Gives back the tokens of a want whose session has no running directory: it was buried, or left. A start may have happened just
 * before, so that its rate counts from now. True when there was one.
 */
export async function reclaim(q: Queue, want: Want): Promise<boolean> {
  const { shares, starts } = await standing(q, want);
  const held = [...shares, ...starts].filter((t) => t.holder.kind === 'held');
  if (held.length === 0) return false;
  const living = new Set(await sessions(q, true));
  let found = false;
  for (const t of held) {
    if (t.holder.kind !== 'held' || living.has(t.holder.session)) continue;
    await giveBack(q, { path: `${t.dir}/${t.name}`, rate: starts.includes(t) }, await serverNow(q));
    found = true;
  }
  return found;
}

/** A limit as it was set; undefined when there is none. */
export async function readLimit(q: Queue, name: string): Promise<Limit | undefined> {
  const text = await readIfThere(q, `${q.lay.limit(name)}/${SETTING}`);
  if (text === undefined) return undefined;
  try {
    const { max, rate } = JSON.parse(text) as Partial<Limit>; // checked here
    return {
      max: typeof max === 'number' && max >= 0 ? max : null,
      rate: typeof rate?.n === 'number' && typeof rate.perMs === 'number' ? { n: rate.n, perMs: rate.perMs } : null,
    };
  } catch {
    return undefined;
  }
}

const SETTING = 'limit.json';

/** Makes or changes a limit. The tokens come first: a crash before the setting leaves some that do not count yet. */
export async function setLimit(q: Queue, name: string, limit: Limit): Promise<void> {
  const dir = q.lay.limit(name);
  for (const [prefix, n] of [
    ['max', limit.max ?? 0],
    ['rate', limit.rate?.n ?? 0],
  ] as const) {
    for (let block = 0; block * TOKENS_IN_BLOCK < n; block++) {
      await makeBlock(q, `${dir}/${prefix}.${block}`, block * TOKENS_IN_BLOCK, TOKENS_IN_BLOCK);
    }
  }
  await replace(q, `${dir}/${SETTING}`, `${JSON.stringify(limit)}\n`);
}

/** False: there is no such limit. Its tokens stay: who holds one gives it back, and a limit of that name finds them again. */
export async function removeLimit(q: Queue, name: string): Promise<boolean> {
  try {
    await q.fsx.unlink(`${q.lay.limit(name)}/${SETTING}`);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}

/** Those that people have set. */
export async function limitNames(q: Queue): Promise<string[]> {
  return (await listOrEmpty(q.fsx, `${q.dir}/limits`)).filter((name) => !name.startsWith('.') && !name.startsWith('array.')).toSorted();
}

/**
 * Tokens `from` and on, built aside and renamed into place: a directory that is there and not empty refuses, so there is never a second
 * token of a number. A crash leaves a staging directory, which is swept.
 */
async function makeBlock(q: Queue, dir: string, from: number, count: number): Promise<void> {
  if ((await tokensIn(q, dir)).length > 0) return;
  const staged = stagingPath(q, '.tokens');
  await mkdirp(q.fsx, staged);
  const names = Array.from({ length: count }, (_, i) => `${from + i}.g0.free`);
  for (const name of names) await q.fsx.create(`${staged}/${name}`, '');
  await mkdirp(q.fsx, parentOf(dir));
  try {
    await q.fsx.rename(staged, dir);
  } catch (error) {
    // Somebody else's directory is there, or the reply was lost: the next look tells.
    for (const name of names) await unlinkQuietly(q.fsx, `${staged}/${name}`);
    await rmdirIfEmpty(q.fsx, staged);
    const code = errnoOf(error);
    if (!isGone(error) && code !== 'ENOTEMPTY' && code !== 'EEXIST') throw error;
  }
}

async function dropRetired(q: Queue, t: Token): Promise<void> {
  await unlinkQuietly(q.fsx, `${t.dir}/${t.name}`);
  await rmdirIfEmpty(q.fsx, t.dir);
}

/**
 * For gc: forgets mutexes that have been free for a day. The rename to `retired` decides against whoever takes it at that moment; who
 * finds it so, after a crash, goes on with the removal.
 */
export async function sweepMutexes(q: Queue, now: number): Promise<void> {
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/mutexes`)) {
    const want: Want = { kind: 'mutex', name, n: 1 };
    if (await reclaim(q, want)) continue;
    const [t] = await tokensIn(q, q.lay.mutex(name));
    if (t === undefined) {
      await rmdirIfEmpty(q.fsx, q.lay.mutex(name));
      continue;
    }
    if (t.holder.kind === 'retired') await dropRetired(q, t);
    if (t.holder.kind !== 'free') continue;
    try {
      // A rename changes the directory: since then nobody has had it.
      if (now - (await q.fsx.stat(t.dir)).mtimeMs < UNUSED_MS) continue;
      const retired = `${t.number}.g${t.generation + 1}.retired`;
      await q.fsx.rename(`${t.dir}/${t.name}`, `${t.dir}/${retired}`);
      await dropRetired(q, { ...t, name: retired });
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

/** Gives back what a buried session holds of these limits and mutexes. */
export async function returnSharesOf(q: Queue, session: string, wants: readonly Want[]): Promise<void> {
  for (const want of wants) {
    const { shares, starts } = await standing(q, want);
    for (const t of [...shares, ...starts]) {
      if (t.holder.kind !== 'held' || t.holder.session !== session) continue;
      await giveBack(q, { path: `${t.dir}/${t.name}`, rate: starts.includes(t) }, await serverNow(q));
    }
  }
}
