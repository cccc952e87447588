/**
 * What `tq export` wrote, into this queue. All of it is read and checked first and staged as a tree that mirrors the queue; one rename to
 * `intents/` imports it, and whoever comes by publishes it, as with a submission of many. Before that rename nothing is there. No name
 * of the archive is used as a path: each is taken apart, and the place in the queue is made anew from what it says.
 */
import { fsError, TqError } from '../errors.ts';
import { isTerminal, STATES, TERMINAL, type Outcome, type State, type Task } from '../task/types.ts';
import { lostOutcome } from './bury.ts';
import { commit, makeDirectory, makeInside, MANIFEST, newSubmission, publishSubmission, writeThrough, type Inside } from './bulk.ts';
import { removeTree } from './control.ts';
import { buckets, shownState } from './find.ts';
import { listOrEmpty } from './fsx.ts';
import { MANIFEST_PATH, TRAILER_PATH } from './export.ts';
import {
  baseId,
  bucketOf,
  entryName,
  flatBucket,
  isId,
  isPiece,
  isTaskId,
  makeLayout,
  parseDueMinute,
  parseDueSecond,
  parseEntry,
  parsePrio,
} from './layout.ts';
import type { Place } from './layout.ts';
import { takeKey } from './keys.ts';
import { readLimit, setLimit, type Limit } from './limits.ts';
import { FORMAT, type Queue } from './open.ts';
import { parseSession } from './session.ts';
import { readIfThere, stagingPath } from './steps.ts';
import { ring } from './signal.ts';
import { defineLane } from './submit.ts';
import { formatTask, parseOutcome, parseTask, placeOfNext, queuedPlace } from './task-file.ts';
import { broken, members, type ReadMember } from './tar.ts';
import { walk } from './walk.ts';

export interface ImportOptions {
  dryRun: boolean;
  /** Writes all of the file system to its disk at once. False: it cannot. */
  sync?(): boolean;
}

export interface Imported {
  /** In the order of the archive; of many elements the submission, once. */
  ids: string[];
  /** They were there already. */
  known: string[];
  /** What could not come along, and why. */
  leftOut: string[];
}

/** A task file is not longer than this: it is held in memory. */
const MOST_TEXT_BYTES = 256 * 1_048_576;
/** Smaller members are written at once. */
const SMALL_BYTES = 262_144;

/**
 * Imports all of the archive that is not there yet. Throws NOT_A_QUEUE for what is no archive of tq or ends too early, NEWER_FORMAT, and
 * REFUSED when another import came first; then nothing was imported.
 */
export async function importArchive(q: Queue, input: AsyncIterable<Uint8Array>, options: ImportOptions): Promise<Imported> {
  const stem = stagingPath(q, '.import');
  const inside = makeInside(q, stem);
  const mark = `imports/${(await lastImport(q)) + 1}`;
  // What another import has committed is where it belongs before it is asked what is there.
  for (const name of await listOrEmpty(q.fsx, q.lay.intents, true)) if (isId(name)) await publishSubmission(q, name);
  const load = newLoad(q, stem, inside, options.dryRun, await knownIds(q));
  try {
    const s = await newSubmission(q);
    if (!options.dryRun) {
      await makeDirectory(q, stem);
      const once = { name: mark, data: `${JSON.stringify({ id: s.id, at: new Date().toISOString() })}\n` };
      const manifest = { schema: 'tq.intent/1', id: s.id, at: Math.round(s.serverMs), size: 0, once };
      await q.fsx.create(`${stem}/${MANIFEST}`, `${JSON.stringify(manifest)}\n`, { staging: true });
      await takeIn(load, input);
      await settleBelongings(load);
      if (load.entries > 0) {
        if (!q.network && options.sync?.() !== true) await writeThrough(q, stem);
        await commit(q, s.id, stem);
        await publishSubmission(q, s.id);
        if ((await readIfThere(q, `${q.dir}/${mark}`)) !== once.data)
          throw new TqError('REFUSED', 'another import into this queue came first', { hint: 'nothing was imported: run it again' });
        await ring(q);
      } else await removeTree(q, stem);
    } else await takeIn(load, input);
  } catch (error) {
    await removeTree(q, stem).catch(() => undefined);
    if (error instanceof TqError) throw error;
    throw fsError(error, 'import', q.dir);
  }
  return { ids: [...load.ids], known: [...load.skipped], leftOut: load.leftOut };
}

interface Load {
  q: Queue;
  stem: string;
  inside: Inside;
  dryRun: boolean;
  /** What was there before: submissions by their ids. */
  known: ReadonlySet<string>;
  ids: Set<string>;
  skipped: Set<string>;
  leftOut: string[];
  /** Files that were staged. */
  entries: number;
  /** Requests to cancel what ran, by entry. */
  cancels: Set<string>;
  /** Attempts of which the archive has an outcome or a log. */
  ended: Set<string>;
  begun: Set<string>;
  keyed: Array<{ id: string; key: string; path: string }>;
  limits: Map<string, Limit>;
}

function newLoad(q: Queue, stem: string, inside: Inside, dryRun: boolean, known: ReadonlySet<string>): Load {
  return {
    q,
    stem,
    inside,
    dryRun,
    known,
    ids: new Set(),
    skipped: new Set(),
    leftOut: [],
    entries: 0,
    cancels: new Set(),
    ended: new Set(),
    begun: new Set(),
    keyed: [],
    limits: new Map(),
  };
}

/** Imports are numbered; of two that have read the same number the one counts whose mark is made first. */
async function lastImport(q: Queue): Promise<number> {
  let last = 0;
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/imports`, true)) if (/^\d{1,9}$/.test(name)) last = Math.max(last, Number(name));
  return last;
}

/** The ids of all that is or was in the queue; listed once, however many the archive has. */
async function knownIds(q: Queue): Promise<Set<string>> {
  const known = new Set<string>();
  for (let look = 0; look < 2; look++) {
    for await (const found of walk(q, { states: STATES })) for (const at of found) known.add(baseId(at.id));
  }
  for (const bucket of await buckets(q, `${q.dir}/gone`)) {
    for (const name of await listOrEmpty(q.fsx, `${q.dir}/gone/${bucket}`)) known.add(name.split('.')[0]!);
  }
  for (const name of [...(await listOrEmpty(q.fsx, q.lay.cron)), ...(await listOrEmpty(q.fsx, `${q.dir}/follow`))])
    known.add(name.split('.')[0]!);
  return known;
}

// --- reading

async function takeIn(load: Load, input: AsyncIterable<Uint8Array>): Promise<void> {
  let first = true;
  let files = 0;
  let told: { files?: unknown } | undefined;
  for await (const m of members(input)) {
    if (first) {
      checkManifest(m.path === MANIFEST_PATH ? parseJson(await textOf(m), m.path) : undefined);
      first = false;
      continue;
    }
    if (told !== undefined) throw broken(`${shown(m.path)} comes after its end`);
    if (m.kind === 'directory') continue;
    if (m.path === TRAILER_PATH) {
      told = parseJson(await textOf(m), m.path) as { files?: unknown };
      continue;
    }
    if (m.path === 'tq.json') continue;
    files++;
    await takeMember(load, m);
  }
  if (told === undefined) throw broken('it has no end');
  if (told.files !== files) throw broken(`it has ${files} files, and had ${String(told.files)} when it was made`);
}

function checkManifest(raw: unknown): void {
  const { schema, format } = (typeof raw === 'object' && raw !== null ? raw : {}) as { schema?: unknown; format?: unknown };
  if (typeof schema !== 'string' || !schema.startsWith('tq.export/') || typeof format !== 'number') {
    throw broken(`it does not begin with ${MANIFEST_PATH}`);
  }
  if (format > FORMAT || schema !== 'tq.export/1') {
    throw new TqError('NEWER_FORMAT', `the file has format ${format} (${schema}), this tq knows up to ${FORMAT}`, {
      hint: 'use a newer tq; nothing was imported',
    });
  }
}

async function textOf(m: ReadMember): Promise<string> {
  if (m.bytes > MOST_TEXT_BYTES) throw broken(`${shown(m.path)} is too long`);
  const parts: Buffer[] = [];
  for await (const part of m.body) parts.push(Buffer.from(part));
  return Buffer.concat(parts).toString('utf8');
}

function parseJson(text: string, path: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw broken(`${shown(path)} is not JSON`);
  }
}

function shown(path: string): string {
  return JSON.stringify(path.slice(0, 200));
}

const ID = '[0-9a-z]{10,16}';
const TASK_ID = `${ID}(?:\\.\\d{1,9}(?:-\\d{1,9})?)?`;

/** A file of what an attempt, an ending or a verb left: its name in `runs/` begins with the id. */
const RECORD = new RegExp(
  `^(${TASK_ID})\\.(?:a(\\d{1,9})\\.(log|err|json|retried|canceled|steps|ndjson|chunk\\.log|on-success|on-failure|on-cancel|(?:${STATES.join('|')})\\.json)|released)$`,
);

/**
 * What else is taken over as it is: a pattern of the name below the room, whose first group is the id that it belongs to, and the same
 * name in the queue where its place is not that of the archive.
 */
const ROOMS: Readonly<Record<string, RegExp>> = {
  blobs: new RegExp(`^${ID}\\.(?:script|stdin|items|items\\.index)$`),
  notes: new RegExp(`^(${TASK_ID})/\\d{14}\\.[0-9a-z]{1,16}\\.json$`),
  state: new RegExp(`^(${TASK_ID})/.+$`, 's'),
  arrays: new RegExp(`^(${ID})/(?:hold|stop|hooks|split\\.\\d{1,9}-\\d{1,9}\\.a\\d{1,9})$`),
  groups: new RegExp(`^(${ID})(?:\\.json|\\.open|/started|/late|/failed/\\d{6}/${TASK_ID}|/ended/\\d{1,16}\\.(?:success|failure|cancel))$`),
  follow: new RegExp(`^(${ID})\\.json$`),
  cron: new RegExp(
    `^(${ID})(?:\\.json|\\.paused|/at\\.[0-9T]{15}\\.\\d{3}\\.(?:none|${ID})\\.[A-Za-z0-9._-]{1,128}|/[0-9T]{15}\\.\\d{3}\\.json)$`,
  ),
  paused: /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/,
};

const PLACES: readonly string[] = STATES;

async function takeMember(load: Load, m: ReadMember): Promise<void> {
  const parts = m.path.split('/');
  const [room = ''] = parts;
  if (m.path.includes('\0') || parts.some((part) => part === '' || part === '.' || part === '..')) {
    throw broken(`${shown(m.path)} is not the name of a file in a queue`);
  }
  if (m.kind !== 'file') throw broken(`${shown(m.path)} is no file`);
  if (PLACES.includes(room)) return takeEntry(load, m, room as State, parts);
  const name = parts.at(-1)!;
  if (room === 'runs') return takeRecord(load, m, name);
  if (room === 'gone') {
    const [, id, state] = new RegExp(`^(${TASK_ID})\\.([a-z]+)$`).exec(name) ?? [];
    if (id === undefined || !(TERMINAL as readonly string[]).includes(state!))
      throw broken(`${shown(m.path)} has no name that belongs there`);
    return isNew(load, id) ? stage(load, `gone/${bucketOf(id)}/${name}`, m) : undefined;
  }
  if (room === 'limits') return takeLimit(load, m, parts);
  const pattern = ROOMS[room];
  if (pattern === undefined) {
    // Of a later version: within a format directories are only added.
    load.leftOut.push(`${m.path}: not known to this tq`);
    return;
  }
  const found = pattern.exec(parts.slice(1).join('/'));
  if (found === null) throw broken(`${shown(m.path)} has no name that belongs there`);
  if (found[1] !== undefined && !isNew(load, found[1])) return;
  await stage(load, m.path, m);
}

/** Whether what belongs to this id is imported. */
function isNew(load: Load, id: string): boolean {
  return !load.known.has(baseId(id));
}

async function takeRecord(load: Load, m: ReadMember, name: string): Promise<void> {
  const [, id, attempt, kind] = RECORD.exec(name) ?? [];
  if (id === undefined || !isTaskId(id)) throw broken(`${shown(m.path)} has no name that belongs there`);
  if (!isNew(load, id)) return;
  if (kind === 'json') load.ended.add(`${id}.a${attempt}`);
  if (kind === 'log') load.begun.add(`${id}.a${attempt}`);
  await stage(load, `runs/${bucketOf(id)}/${name}`, m);
}

async function takeLimit(load: Load, m: ReadMember, [, name = '', file]: readonly string[]): Promise<void> {
  if (file !== 'limit.json' || !/^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/.test(name))
    throw broken(`${shown(m.path)} has no name that belongs there`);
  const raw = parseJson(await textOf(m), m.path) as Partial<Limit> | null;
  const max = typeof raw?.max === 'number' && Number.isInteger(raw.max) && raw.max >= 0 ? raw.max : null;
  const rate = raw?.rate;
  const isRate = typeof rate?.n === 'number' && Number.isInteger(rate.n) && rate.n > 0 && typeof rate.perMs === 'number' && rate.perMs > 0;
  load.limits.set(name, { max, rate: isRate ? { n: rate.n, perMs: rate.perMs } : null });
}

async function stage(load: Load, path: string, m: ReadMember): Promise<void> {
  load.entries++;
  if (load.dryRun) return;
  const { q, stem, inside } = load;
  const target = `${stem}/${path}`;
  await inside.room(target);
  // A task may have kept a program.
  const runnable = (m.mode & 0o111) !== 0 && path.startsWith('state/');
  if (m.bytes > SMALL_BYTES || runnable) return q.fsx.createFrom(target, m.body, runnable);
  const parts: Buffer[] = [];
  for await (const part of m.body) parts.push(Buffer.from(part));
  await q.fsx.create(target, Buffer.concat(parts));
}

// --- tasks

async function takeEntry(load: Load, m: ReadMember, room: State, parts: readonly string[]): Promise<void> {
  const name = parts.at(-1)!;
  const e = parseEntry(name);
  if (e === undefined || e.cut !== undefined || !isTaskId(e.id)) throw broken(`${shown(m.path)} is not the name of a task`);
  if (!isNew(load, e.id)) {
    load.skipped.add(baseId(e.id));
    return;
  }
  if (e.cancel) {
    load.cancels.add(`${e.id}.a${e.n}`);
    return;
  }
  const text = await textOf(m);
  const parsed = parseTask(text, e.id);
  if (!parsed.ok) throw broken(`${shown(m.path)}: ${parsed.reason}`);
  const task = parsed.value;
  const place = await placeIn(load, room, parts, task, e.n);
  if (place === undefined) throw broken(`${shown(m.path)} lies where no task can lie`);
  load.ids.add(baseId(e.id));
  load.entries++;
  if (load.dryRun) return;
  const at = makeLayout(load.stem);
  const path = `${at.dir(place, e.id)}/${entryName(e.id, e.n)}`;
  // As it was, with all that this program does not know.
  await load.inside.file(path, text.endsWith('\n') ? text : formatTask(task));
  if (isTerminal(place.state)) return;
  if (place.state === 'queued') await defineLane(load.q, task);
  if (task.lockKeys !== undefined) await load.inside.file(`${at.keylocks}/${baseId(e.id)}`, task.lockKeys);
  if (task.key !== undefined) load.keyed.push({ id: e.id, key: task.key, path });
  if (place.state === 'waiting') {
    for (const { id } of task.after ?? []) await load.inside.file(`${at.after(id)}/${flatBucket(e.id)}/${e.id}`, '');
  }
}

/** Where it goes in this queue. What ran has lost its worker: it goes where its outcome says, of which there is one from now on. */
async function placeIn(load: Load, room: State, parts: readonly string[], task: Task, n: number): Promise<Place | undefined> {
  switch (room) {
    case 'queued': {
      const priority = parsePrio(parts[2] ?? '');
      return priority === undefined ? undefined : { ...(queuedPlace(task) as Place & { state: 'queued' }), priority };
    }
    case 'delayed': {
      const [minute, second] = [parseDueMinute(parts[1] ?? ''), parseDueSecond(parts[2] ?? '')];
      return minute === undefined || second === undefined ? undefined : { state: 'delayed', dueAt: minute + second };
    }
    case 'running': {
      const session = parts.length === 3 ? parts[1]! : '';
      if (parseSession(session) === undefined && !session.startsWith('set.')) return undefined;
      const state = shownState({ state: 'running', session });
      if (state === 'running') return afterTheLoss(load, session, task, n);
      if (state === 'queued') return queuedPlace(task);
      return state === 'delayed' ? { state, dueAt: task.notBefore ?? 0 } : { state };
    }
    default:
      return { state: room };
  }
}

const LOST = 'it ran when its queue was exported';

async function afterTheLoss(load: Load, session: string, task: Task, n: number): Promise<Place> {
  // A piece goes back whole, and its journal tells what was begun of it.
  if (isPiece(task.id)) return queuedPlace(task);
  const { q, stem } = load;
  const key = `${task.id}.a${n}`;
  if (load.dryRun) return queuedPlace(task);
  // What the records of the archive say, where they are staged.
  const staged: Queue = { ...q, lay: { ...makeLayout(stem), tmp: q.lay.tmp } };
  const path = staged.lay.outcome(task.id, n);
  const there = load.ended.has(key) ? parseOutcome((await readIfThere(q, path)) ?? '') : undefined;
  const canceled = load.cancels.has(key);
  const outcome = there ?? undated(await lostOutcome(staged, session, task, n, { reason: LOST, started: load.begun.has(key), canceled }));
  if (there === undefined) {
    // One that does not parse is none, and would stand in its way for ever.
    if (load.ended.has(key)) await q.fsx.unlink(path);
    await load.inside.file(path, `${JSON.stringify(outcome)}\n`);
  }
  return canceled && !isTerminal(outcome.next.state) ? { state: 'canceled' } : placeOfNext(task, outcome.next);
}

/** The log of the attempt told when it began; that of its copy does not. */
function undated(lost: Outcome): Outcome {
  const firstStartedAt = lost.tally.firstStartedAt === lost.startedAt ? null : lost.tally.firstStartedAt;
  return { ...lost, startedAt: null, durationMs: null, tally: { ...lost.tally, firstStartedAt } };
}

/**
 * Before the commit: keys are taken, and limits are made where there are none of their names. Should the import fail now, a key's holder is
 * no task and the next one takes it, and a limit without tasks is no harm. A task whose key another one has stays out.
 */
async function settleBelongings(load: Load): Promise<void> {
  const { q } = load;
  for (const { id, key, path } of load.keyed) {
    const verdict = await takeKey(q, key, id);
    if (verdict.kind === 'mine') continue;
    await q.fsx.unlink(path);
    load.ids.delete(baseId(id));
    load.leftOut.push(`${id}: its key ${key} is held by ${verdict.by}`);
  }
  for (const [name, limit] of load.limits) {
    const there = await readLimit(q, name);
    if (there === undefined) await setLimit(q, name, limit);
    else if (JSON.stringify(there) !== JSON.stringify(limit)) load.leftOut.push(`limits/${name}: there is another one of this name`);
  }
}
