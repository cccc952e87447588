/**
 * Tasks that are submitted again and again: `cron/<id>.json` says what and when, and a token in `cron/<id>/`, one file that is only ever
 * renamed, says up to which tick everything is done with. A tick is fired by whichever worker looks, and by one of them:
 *
 * | step | a crash right after it leaves | who goes on |
 * |---|---|---|
 * | 1 the task is staged in `tmp/` | a staging file; the tick is not fired | the next who looks fires it anew; the sweep takes the file |
 * | 2 the token is renamed from the tick before to this one; its new name holds the task's id and the staging file's name: **this decides** | a tick whose task is in no place yet | whoever looks next finds the staging file (`swept/` too) and does step 3 |
 * | 3 the staging file is renamed to its place, as in any submit | the task in the queue, without a note | whoever looks next writes the note |
 * | 4 the note `cron/<id>/<tick>.json` | all of it | |
 *
 * The name of a token never comes back, since ticks only grow: who was stopped between looking and step 2, however long, finds his source
 * gone and throws his task away. Nobody renames a token before what it names is in its place. Notes are for people; nothing is decided
 * by them.
 */
import { TqError } from '../errors.ts';
import type { TaskDraft } from '../task/build.ts';
import { dueTick, nextTick, type Catchup, type Overlap, type Schedule } from '../task/cron.ts';
import { isTerminal } from '../task/types.ts';
import { serverNow } from './clock.ts';
import { removeTree } from './control.ts';
import { locate } from './find.ts';
import { isGone, listOrEmpty, mkdirp, strongList } from './fsx.ts';
import { isId, makeId, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { ring } from './signal.ts';
import { createOnce, discard, isAmbiguous, LOOKS, publish, readIfThere, stagingPath, unlinkQuietly } from './steps.ts';
import { commit, defineLane, stage, type Staged } from './submit.ts';
import { freePlace, parseTask } from './task-file.ts';

/** `cron/<id>.json`: never changes. */
export interface CronEntry extends Schedule {
  schema: 'tq.cron/1';
  id: string;
  overlap: Overlap;
  catchup: Catchup;
  /** Server time, ms. */
  createdAt: number;
  createdBy: { user: string; host: string };
  draft: StoredDraft;
}

/** A draft as JSON: its script and its input are text, or base64 where they are none. */
export type StoredDraft = Omit<TaskDraft, 'scriptText' | 'stdinData'> & { scriptText?: Stored; stdinData?: Stored };
type Stored = string | { base64: string };

/** `cron/<id>/<tick>.json`: what came of a tick. */
export interface CronNote {
  /** ms. */
  tick: number;
  /** When it was fired or skipped, server time, ms. */
  at: number;
  /** The task that was submitted. */
  task?: string;
  /** Not submitted: that task of the tick before was unfinished. */
  skippedFor?: string;
  /** Not submitted: what the submit said. */
  refused?: string;
}

/** Up to which tick everything is done with. */
interface Token {
  name: string;
  /** ms. */
  tick: number;
  /** The last task that was submitted. */
  task: string | undefined;
  /** Where that task was staged; undefined when the last step submitted nothing. */
  staged: string | undefined;
}

const NONE = 'none';
/** In the place of a staging file: nothing was submitted, the token was only moved. */
const SKIPPED = 'skipped';
const BEGUN = 'begun';
const TOKEN = /^at\.(\d{8}T\d{6}\.\d{3})\.([0-9a-z]+)\.(.+)$/;

/** Notes of this many ticks are kept. */
const KEEP_NOTES = 50;
/** A directory without its entry is what an add or a removal left that died, when it is older than this, ms. */
const ABANDONED_MS = 3_600_000;

/** `20261121T073000.000`, UTC. */
export function tickName(ms: number): string {
  return new Date(ms).toISOString().replaceAll(/[-:Z]/g, '');
}

export function parseTick(name: string): number | undefined {
  const m = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)(\d\d\.\d{3})$/.exec(name);
  const ms = m === null ? Number.NaN : Date.parse(`${m[1]}-${m[2]}-${m[3]}T${m[4]}:${m[5]}:${m[6]}Z`);
  return Number.isNaN(ms) ? undefined : ms;
}

function tokenName(tick: number, task: string | undefined, staged: string): string {
  return `at.${tickName(tick)}.${task ?? NONE}.${staged}`;
}

function parseToken(name: string): Token | undefined {
  const m = TOKEN.exec(name);
  const tick = m === null ? undefined : parseTick(m[1]!);
  if (m === null || tick === undefined) return undefined;
  const staged = m[3] === SKIPPED || m[3] === BEGUN ? undefined : m[3];
  return { name, tick, task: m[2] === NONE ? undefined : m[2], staged };
}

const dirOf = (q: Queue, id: string): string => `${q.lay.cron}/${id}`;
const fileOf = (q: Queue, id: string): string => `${q.lay.cron}/${id}.json`;
const pausedOf = (q: Queue, id: string): string => `${q.lay.cron}/${id}.paused`;

/** Makes an entry; its first tick is the first after now. The token comes before the entry, so that nobody ever makes one for an entry that is being removed. */
export async function addCron(
  q: Queue,
  what: Schedule & { overlap: Overlap; catchup: Catchup; draft: TaskDraft; by: { user: string; host: string } },
): Promise<CronEntry> {
  const now = await serverNow(q);
  const entry = cronEntry(what, now);
  const staged = stagingPath(q, '.cron');
  await mkdirp(q.fsx, q.lay.cron);
  await mkdirp(q.fsx, staged);
  await q.fsx.create(`${staged}/${tokenName(Math.round(now), undefined, BEGUN)}`, '');
  await q.fsx.rename(staged, dirOf(q, entry.id));
  await publish(q, fileOf(q, entry.id), `${JSON.stringify(entry)}\n`, { fsync: true });
  await q.fsx.fsyncDir(q.lay.cron);
  await ring(q);
  return entry;
}

/** The entry as it would be written at `now`, server time. */
export function cronEntry(
  what: Schedule & { overlap: Overlap; catchup: Catchup; draft: TaskDraft; by: { user: string; host: string } },
  now: number,
): CronEntry {
  const { scriptText, stdinData, ...draft } = what.draft;
  return {
    schema: 'tq.cron/1',
    id: makeId(now),
    expr: what.expr,
    tz: what.tz,
    overlap: what.overlap,
    catchup: what.catchup,
    createdAt: Math.round(now),
    createdBy: what.by,
    draft: {
      ...draft,
      ...(scriptText === undefined ? {} : { scriptText: stored(scriptText) }),
      ...(stdinData === undefined ? {} : { stdinData: stored(stdinData) }),
    },
  };
}

function stored(data: string | Uint8Array): Stored {
  if (typeof data === 'string') return data;
  const text = Buffer.from(data).toString('utf8');
  return Buffer.from(text).equals(data) ? text : { base64: Buffer.from(data).toString('base64') };
}

function restored(data: Stored): string | Uint8Array {
  return typeof data === 'string' ? data : Buffer.from(data.base64, 'base64');
}

function draftOf(entry: CronEntry): TaskDraft {
  const { scriptText, stdinData, ...draft } = entry.draft;
  return {
    ...draft,
    ...(scriptText === undefined ? {} : { scriptText: restored(scriptText) }),
    ...(stdinData === undefined ? {} : { stdinData: restored(stdinData) }),
  };
}

export interface CronNames {
  /** Ids of the entries. */
  ids: string[];
  paused: Set<string>;
  /** Directories without an entry. */
  abandoned: string[];
}

/** What there is, from one listing. */
export async function cronNames(q: Queue, strong = false): Promise<CronNames> {
  const names = await listOrEmpty(q.fsx, q.lay.cron, strong);
  const ids = names.flatMap((name) => (name.endsWith('.json') && isId(name.slice(0, -5)) ? [name.slice(0, -5)] : [])).toSorted();
  return {
    ids,
    paused: new Set(names.flatMap((name) => (name.endsWith('.paused') ? [name.slice(0, -7)] : []))),
    abandoned: names.filter((name) => isId(name) && !ids.includes(name)),
  };
}

/** Undefined when it is gone, or is no entry. */
export async function readCron(q: Queue, id: string): Promise<CronEntry | undefined> {
  const text = await readIfThere(q, fileOf(q, id));
  if (text === undefined) return undefined;
  try {
    const entry = JSON.parse(text) as CronEntry; // written by addCron; what matters is looked at here
    return entry.schema === 'tq.cron/1' && entry.id === id && typeof entry.expr === 'string' && typeof entry.draft === 'object'
      ? entry
      : undefined;
  } catch {
    return undefined;
  }
}

/** Whose file it is: on a shared queue a worker fires only what its own user asked for. */
export async function cronOwner(q: Queue, id: string): Promise<number | undefined> {
  try {
    return (await q.fsx.stat(fileOf(q, id))).uid;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

/** Removes an entry: without its file nobody fires it. False: it was gone. What a crash leaves is swept. */
export async function removeCron(q: Queue, id: string): Promise<boolean> {
  try {
    await q.fsx.unlink(fileOf(q, id));
  } catch (error) {
    if (!isGone(error)) throw error;
    return false;
  }
  await sweepCron(q, id);
  return true;
}

async function sweepCron(q: Queue, id: string): Promise<void> {
  await unlinkQuietly(q.fsx, pausedOf(q, id));
  await removeTree(q, dirOf(q, id));
}

/** Removes what adds and removals left that died. */
export async function sweepAbandoned(q: Queue, names: CronNames): Promise<void> {
  const now = await serverNow(q);
  for (const id of names.abandoned) {
    try {
      if (now - (await q.fsx.stat(dirOf(q, id))).mtimeMs > ABANDONED_MS && (await readCron(q, id)) === undefined) await sweepCron(q, id);
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
}

/** An empty file beside the entry; `touch` does the same. False: it was paused. */
export async function pauseCron(q: Queue, id: string): Promise<boolean> {
  return createOnce(q, pausedOf(q, id), '');
}

/** Ticks that passed meanwhile are done with: the token goes to now, and only then the mark goes. False: it was not paused. */
export async function resumeCron(q: Queue, id: string): Promise<boolean> {
  const { paused } = await cronNames(q, true);
  if (!paused.has(id)) return false;
  for (;;) {
    const token = await readToken(q, id);
    const now = Math.round(await serverNow(q));
    if (token === undefined || token.tick >= now) break;
    await finish(q, id, token);
    if (await advance(q, id, token, tokenName(now, token.task, BEGUN))) break;
  }
  await unlinkQuietly(q.fsx, pausedOf(q, id));
  await ring(q);
  return true;
}

async function readToken(q: Queue, id: string): Promise<Token | undefined> {
  let best: Token | undefined;
  for (const name of await listOrEmpty(q.fsx, dirOf(q, id), true)) {
    const token = parseToken(name);
    if (token !== undefined && (best === undefined || token.tick > best.tick)) best = token;
  }
  return best;
}

/** Renames the token. False: somebody else was faster, or the entry was removed. */
async function advance(q: Queue, id: string, from: Token, to: string): Promise<boolean> {
  const dir = dirOf(q, id);
  for (let look = 0; ; look++) {
    let last: unknown;
    try {
      await q.fsx.rename(`${dir}/${from.name}`, `${dir}/${to}`);
    } catch (error) {
      if (!isAmbiguous(error)) throw error;
      last = error;
    }
    if (last !== undefined) {
      let names: string[];
      try {
        names = await strongList(q.fsx, dir);
      } catch (error) {
        if (isGone(error)) return false;
        throw error;
      }
      if (!names.includes(to)) {
        if (!names.includes(from.name)) return false;
        if (look >= LOOKS) throw last;
        continue;
      }
    }
    // A power cut must not forget a tick whose task it remembers.
    await q.fsx.fsyncDir(dir).catch(() => undefined);
    return true;
  }
}

export interface FireOptions {
  /** Since when this worker has been looking, server time, ms. */
  seenFrom: number;
  /** Told of each tick. */
  log?(line: string): void;
}

/** Completes what others began, fires what is due, and says when the next tick is, server time, ms; null: never again. */
export async function fireDue(q: Queue, entry: CronEntry, options: FireOptions): Promise<number | null> {
  for (;;) {
    const token = await readToken(q, entry.id);
    // Removed meanwhile.
    if (token === undefined) return null;
    await finish(q, entry.id, token);
    const now = await serverNow(q);
    const tick = dueTick(entry, entry.catchup, token.tick, options.seenFrom, now);
    if (tick === null) return nextTick(entry, Math.max(token.tick, now));
    if ((await readCron(q, entry.id)) === undefined) return null;
    await fire(q, entry, token, tick, now, options);
  }
}

async function fire(q: Queue, entry: CronEntry, token: Token, tick: number, now: number, options: FireOptions): Promise<void> {
  const { id } = entry;
  if (entry.overlap === 'skip' && token.task !== undefined && (await isUnfinished(q, token.task))) {
    if (!(await advance(q, id, token, tokenName(tick, token.task, SKIPPED)))) return;
    options.log?.(`cron ${id}: ${new Date(tick).toISOString()} skipped: ${token.task} is unfinished`);
    await note(q, id, { tick, at: Math.round(now), skippedFor: token.task });
    return;
  }
  const s = await stage(q, draftOf(entry));
  const name = s.path.slice(q.lay.tmp.length + 1);
  let mine: boolean;
  try {
    // A full disk is met here, before anything is decided.
    const place = placeOf(s);
    if (place.state === 'queued') await defineLane(q, s.task);
    await mkdirp(q.fsx, q.lay.dir(place, s.task.id));
    mine = await advance(q, id, token, tokenName(tick, s.task.id, name));
  } catch (error) {
    // Whether it was renamed is not known: if so, the staging file is needed.
    if (!isAmbiguous(error)) await drop(q, s);
    throw error;
  }
  if (!mine) return drop(q, s);
  options.log?.(`cron ${id}: ${new Date(tick).toISOString()} submitted as ${s.task.id}`);
  await enter(q, id, tick, s);
}

async function drop(q: Queue, s: Staged): Promise<void> {
  await discard(q, s.path);
  for (const blob of [s.task.script, s.task.stdin]) if (blob !== undefined) await discard(q, q.lay.blob(blob));
}

async function isUnfinished(q: Queue, id: string): Promise<boolean> {
  const at = await locate(q, id, true);
  return at !== undefined && !isTerminal(at.state);
}

/** Tokens whose task this process has seen in its place. */
const finished = new WeakMap<Queue, Map<string, string>>();

/** What the token names is brought to its place, if it is not there. */
async function finish(q: Queue, id: string, token: Token): Promise<void> {
  const seen = finished.get(q) ?? new Map<string, string>();
  finished.set(q, seen);
  if (token.staged === undefined || seen.get(id) === token.name) return;
  const path = `${q.lay.tmp}/${token.staged}`;
  const text = await stagedText(q, token.staged);
  const task = text === undefined ? undefined : parseTask(text, token.task!);
  if (task?.ok === true) await enter(q, id, token.tick, { task: task.value, path, serverMs: task.value.submittedAt });
  else await note(q, id, { tick: token.tick, at: token.tick, task: token.task! });
  seen.set(id, token.name);
}

/** Undefined: it has been submitted. A sweeper that took it for a leftover is put right. */
async function stagedText(q: Queue, name: string): Promise<string | undefined> {
  for (let look = 0; look < LOOKS; look++) {
    if ((await listOrEmpty(q.fsx, q.lay.tmp, true)).includes(name)) {
      const text = await readIfThere(q, `${q.lay.tmp}/${name}`);
      if (text !== undefined) return text;
    }
    try {
      await q.fsx.rename(`${q.lay.swept}/${name}`, `${q.lay.tmp}/${name}`);
    } catch (error) {
      if (!isAmbiguous(error)) throw error;
      if (!(await listOrEmpty(q.fsx, q.lay.tmp, true)).includes(name)) return undefined;
    }
  }
  return undefined;
}

/** Step 3 and 4. Who comes second does no harm: there is one staging file. */
async function enter(q: Queue, id: string, tick: number, s: Staged): Promise<void> {
  const { task } = s;
  const at = Math.round(await serverNow(q));
  try {
    const holder = await submitStaged(q, s);
    await note(q, id, holder === undefined ? { tick, at, task: task.id } : { tick, at, refused: `${holder} has the key ${task.key}` });
  } catch (error) {
    if (!(error instanceof TqError)) throw error;
    await drop(q, s);
    await note(q, id, { tick, at, refused: error.message });
  }
}

/** The unfinished task that has the key, when that one stands for it. */
async function submitStaged(q: Queue, s: Staged): Promise<string | undefined> {
  const { task } = s;
  if (task.key !== undefined || task.lockKeys !== undefined) {
    const { enterKeyed, refuseIfLocked } = await import('./keys.ts');
    if (task.key !== undefined) await refuseIfLocked(q, task.key);
    const submitted = await enterKeyed(q, s);
    return submitted.existing === true ? submitted.id : undefined;
  }
  const place = placeOf(s);
  await commit(q, s, place);
  if (place.state === 'waiting') {
    const { linkToParents } = await import('./depend.ts');
    await linkToParents(q, task).catch(() => undefined);
  }
  await ring(q);
  return undefined;
}

function placeOf({ task, serverMs }: Staged): Place {
  if (task.key !== undefined) return { state: 'waiting' };
  return task.hold === true ? { state: 'held' } : freePlace(task, serverMs);
}

async function note(q: Queue, id: string, n: CronNote): Promise<void> {
  const dir = dirOf(q, id);
  try {
    await q.fsx.create(`${dir}/${tickName(n.tick)}.json`, `${JSON.stringify(n)}\n`);
  } catch {
    // It is there, or the entry was removed, or the disk is full: nothing depends on it.
    return;
  }
  for (const name of (await listOrEmpty(q.fsx, dir)).filter(isNote).toSorted().slice(0, -KEEP_NOTES)) {
    await unlinkQuietly(q.fsx, `${dir}/${name}`);
  }
}

function isNote(name: string): boolean {
  return name.endsWith('.json') && parseTick(name.slice(0, -5)) !== undefined;
}

/** What is known of the ticks, oldest first. */
export async function cronNotes(q: Queue, id: string): Promise<CronNote[]> {
  const found: CronNote[] = [];
  const dir = dirOf(q, id);
  for (const name of (await listOrEmpty(q.fsx, dir)).filter(isNote).toSorted()) {
    const text = await readIfThere(q, `${dir}/${name}`);
    try {
      if (text !== undefined) found.push(JSON.parse(text) as CronNote); // for people only
    } catch {
      // Being written, or what a crash left of it.
    }
  }
  return found;
}

/** The next tick of an entry as its token has it; `now` and the answer: server time, ms. Writes nothing. */
export async function nextOf(q: Queue, entry: CronEntry, now: number): Promise<number | null> {
  const names = await listOrEmpty(q.fsx, dirOf(q, entry.id));
  return nextTick(entry, Math.max(now, ...names.flatMap((name) => parseToken(name)?.tick ?? [])));
}
