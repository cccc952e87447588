/**
 * The whole queue as a sequence of files, by their names in the queue directory, so that unpacking them makes a queue. Of each task what
 * it left comes before its own file, and both are of one moment: where it lay when it was found, and the attempts up to then. Made
 * while others work on the queue; what belongs to machines (workers, sessions, staging files, tokens) is left out.
 */
import { TqError } from '../errors.ts';
import { STATES, isTerminal, type Task } from '../task/types.ts';
import { readArray, type PieceAt } from './array.ts';
import { buckets, locate, type Located } from './find.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { baseId, baseOf, bucketOf, cancelName, entryName, isPiece, TOP_DIRS } from './layout.ts';
import { FORMAT, type Queue } from './open.ts';
import { readIfThere } from './steps.ts';
import { parseTask } from './task-file.ts';
import { walk } from './walk.ts';

export const MANIFEST_PATH = 'tq-export.json';
export const TRAILER_PATH = 'tq-export-end.json';

/** A file of the archive: what it holds, or where that lies and how much of it counts. */
export type Piece =
  | { path: string; directory: true }
  | { path: string; data: string }
  | { path: string; file: string; bytes: number; mode: number; mtimeMs: number };

export interface Told {
  /** A task was written. */
  task?(id: string): void;
  /** Something is left out, and why. */
  leftOut?(what: string): void;
}

/** Every file of the archive, the manifest first and the trailer last. */
export async function* pieces(q: Queue, version: string, told: Told = {}): AsyncGenerator<Piece> {
  let files = 0;
  let tasks = 0;
  const count = { ...told, task: (id: string) => (tasks++, told.task?.(id)) };
  yield {
    path: MANIFEST_PATH,
    data: json({ schema: 'tq.export/1', format: FORMAT, queue: q.config.id, at: new Date().toISOString(), tq: version }),
  };
  yield { path: 'tq.json', data: await q.fsx.read(q.lay.config) };
  // Those that are empty too, for whoever unpacks it.
  for (const name of TOP_DIRS) yield { path: `${name}/`, directory: true };
  for await (const piece of contents(q, count)) {
    files++;
    yield piece;
  }
  yield { path: TRAILER_PATH, data: json({ schema: 'tq.export-end/1', files, tasks }) };
}

const json = (value: unknown): string => `${JSON.stringify(value)}\n`;

async function* contents(q: Queue, told: Told): AsyncGenerator<Piece> {
  const all: Seen = { ids: new Set(), arrays: new Set(), followed: new Set(), withNotes: new Set(), withState: new Set() };
  // Twice: what moves while the places are read, from one not yet read to one read before, is found by the second look.
  for (let pass = 0; pass < 2; pass++) {
    all.withNotes = new Set(await listOrEmpty(q.fsx, `${q.dir}/notes`));
    all.withState = new Set(await listOrEmpty(q.fsx, `${q.dir}/state`));
    for await (const found of walk(q, { states: STATES })) yield* tasksOf(q, found, all, told);
  }
  for (const id of all.arrays) yield* array(q, id, all, told);
  yield* followUps(q, all, told);
  // After the tasks: what is counted in it was written before a task moved.
  yield* tree(q, 'groups', told);
  yield* tree(q, 'cron', told, (name) => /^[0-9a-z]{10,16}(\.json|\.paused|\/(at\.[^/]+|[0-9T.]+\.json))$/.test(name));
  for (const bucket of await buckets(q, `${q.dir}/gone`)) yield* tree(q, `gone/${bucket}`, told);
  yield* tree(q, 'paused', told);
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/limits`)) {
    const data = await readIfThere(q, `${q.lay.limit(name)}/limit.json`);
    if (data !== undefined) yield { path: `limits/${name}/limit.json`, data };
  }
}

interface Seen {
  ids: Set<string>;
  /** Submissions that are one file of many elements: they are copied as a whole. */
  arrays: Set<string>;
  /** Tasks that endings made. */
  followed: Set<string>;
  /** Ids with a directory of notes, and of a state that was kept. */
  withNotes: ReadonlySet<string>;
  withState: ReadonlySet<string>;
}

async function* tasksOf(q: Queue, found: readonly Located[], all: Seen, told: Told): AsyncGenerator<Piece> {
  // Listed after the tasks were found: all that their attempts left until then is in it.
  const left = new Map<string, Map<string, string[]>>();
  for (const at of found) {
    if (all.ids.has(at.id) || all.arrays.has(baseId(at.id))) continue;
    if (isPiece(at.id)) all.arrays.add(baseId(at.id));
    else yield* one(q, at, left, all, told);
  }
}

/** How often a task that moves is looked for again. */
const LOOKS = 20;

async function* one(q: Queue, found: Located, left: Map<string, Map<string, string[]>>, all: Seen, told: Told): AsyncGenerator<Piece> {
  let at: Located | undefined = found;
  for (let look = 0; at !== undefined && look < LOOKS; look++) {
    const text = await readIfThere(q, at.file);
    if (text === undefined) {
      at = await locate(q, at.id, true);
      left.clear();
      continue;
    }
    const parsed = parseTask(text, at.id);
    if (!parsed.ok) {
      told.leftOut?.(`${at.file}: ${parsed.reason}`);
      return;
    }
    if (parsed.value.many !== undefined) {
      all.arrays.add(baseId(at.id));
      return;
    }
    all.ids.add(at.id);
    const bucket = bucketOf(at.id);
    if (!left.has(bucket)) left.set(bucket, byTask(await listOrEmpty(q.fsx, q.lay.runs(at.id))));
    yield* belongings(q, parsed.value, at.id, all, told);
    for (const name of left.get(bucket)!.get(at.id) ?? []) {
      if (!isUpTo(name, at)) continue;
      yield* copy(q, `runs/${bucket}/${name}`);
      const kind = FOLLOWS.exec(name);
      if (kind !== null) all.followed.add((await readIfThere(q, `${q.lay.runs(at.id)}/${name}`))?.trim() ?? '');
    }
    if (at.state === 'running') {
      const cancel = cancelName(at.id, at.n);
      if (at.place.state === 'running') yield* copy(q, `running/${at.place.session}/${cancel}`);
    }
    yield { path: within(q, at.file), data: text };
    told.task?.(at.id);
    return;
  }
}

const FOLLOWS = /\.on-(success|failure|cancel)$/;
const RECORD = /^([0-9a-z]{10,16}(?:\.\d{1,9}(?:-\d{1,9})?)?)\.(?:a(\d{1,9})\.)?[a-z-]/;

function byTask(names: readonly string[]): Map<string, string[]> {
  const found = new Map<string, string[]>();
  for (const name of names) {
    const id = RECORD.exec(name)?.[1];
    if (id === undefined) continue;
    const there = found.get(id);
    if (there === undefined) found.set(id, [name]);
    else there.push(name);
  }
  return found;
}

/** Whether a record is of an attempt up to this one. That it was retried after its last one is the next step, and was not seen. */
function isUpTo(name: string, at: Located): boolean {
  const attempt = RECORD.exec(name)?.[2];
  if (attempt === undefined || Number(attempt) < at.n) return true;
  return Number(attempt) === at.n && !(isTerminal(at.state) && name.endsWith('.retried'));
}

/** What is kept beside a task. */
async function* belongings(q: Queue, task: Task, id: string, all: Seen, told: Told): AsyncGenerator<Piece> {
  const items = task.many?.items?.blob;
  for (const blob of [task.script, task.stdin, items, items === undefined ? undefined : `${items}.index`]) {
    if (blob !== undefined) yield* copy(q, `blobs/${blob}`);
  }
  if (all.withNotes.has(id)) yield* tree(q, `notes/${id}`, told);
  if (all.withState.has(id)) yield* tree(q, `state/${id}`, told);
}

/**
 * All pieces of an array, read until they cover each element once, and all that its attempts left. What was written down of elements after
 * that is no harm: whoever takes a piece up finds it, as after a crash.
 */
async function* array(q: Queue, id: string, all: Seen, told: Told): AsyncGenerator<Piece> {
  for (let look = 0; look < LOOKS; look++) {
    const now = await readArray(q, id);
    if (now === undefined) return;
    const texts = now.isWhole ? await textsOf(q, now.pieces) : undefined;
    if (texts === undefined) continue;
    yield* belongings(q, now.task, id, all, told);
    const bucket = bucketOf(id);
    const first = bucket.slice(0, 4);
    const names = await listOrEmpty(q.fsx, `${q.dir}/runs/${first}`);
    for (const name of names.filter((n) => `${first}/${n}` === bucket || `${first}/${n}`.startsWith(`${bucket}.${id}.`))) {
      const its = (await listOrEmpty(q.fsx, `${q.dir}/runs/${first}/${name}`)).filter((file) => file.startsWith(`${id}.`));
      // Journals first: what they name of logs and outcomes was there before them.
      for (const file of its.toSorted((a, b) => Number(b.endsWith('.ndjson')) - Number(a.endsWith('.ndjson'))))
        yield* copy(q, `runs/${first}/${name}/${file}`);
    }
    for (const element of [...all.withNotes].filter((name) => name.startsWith(`${id}.`))) yield* tree(q, `notes/${element}`, told);
    for (const element of [...all.withState].filter((name) => name.startsWith(`${id}.`))) yield* tree(q, `state/${element}`, told);
    yield* tree(q, `arrays/${id}`, told);
    for (const [piece, text] of texts) yield { path: piecePath(q, piece), data: text };
    told.task?.(id);
    return;
  }
  throw new TqError('QUEUE_UNUSABLE', `the array ${id} moves too fast to be copied`, {
    hint: 'pause its queue meanwhile: tq queue pause NAME',
  });
}

async function textsOf(q: Queue, found: readonly PieceAt[]): Promise<Map<PieceAt, string> | undefined> {
  const texts = new Map<PieceAt, string>();
  for (const piece of found) {
    const text = await readIfThere(q, piece.at.file);
    if (text === undefined) return undefined;
    texts.set(piece, text);
  }
  return texts;
}

/** A piece that is being cut: what it will be called. */
function piecePath(q: Queue, { at }: PieceAt): string {
  const dir = within(q, at.file).slice(0, -baseOf(at.file).length);
  return `${dir}${entryName(at.id, at.n)}`;
}

/** Tasks that endings made and that were not there when the places were read: they lie in `follow/`, or have come to `queued/`. */
async function* followUps(q: Queue, all: Seen, told: Told): AsyncGenerator<Piece> {
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/follow`)) {
    const id = name.replace(/\.json$/, '');
    if (all.ids.has(id)) continue;
    for await (const piece of copy(q, `follow/${name}`)) {
      all.ids.add(id);
      yield piece;
    }
  }
  for (const id of all.followed) {
    if (id === '' || all.ids.has(id) || all.arrays.has(id)) continue;
    const at = await locate(q, id);
    if (at !== undefined) yield* one(q, at, new Map(), all, told);
  }
}

/** All files below a directory whose name from there on is wanted. */
async function* tree(
  q: Queue,
  path: string,
  told: Told,
  wanted: (name: string) => boolean = () => true,
  from = `${path}/`,
): AsyncGenerator<Piece> {
  for (const name of (await listOrEmpty(q.fsx, `${q.dir}/${path}`)).toSorted()) {
    const below = `${path}/${name}`;
    const kind = await q.fsx.kindOf(`${q.dir}/${below}`);
    if (kind === 'directory') yield* tree(q, below, told, wanted, from);
    else if (kind === 'other') told.leftOut?.(`${below}: neither a file nor a directory`);
    else if (kind === 'file' && wanted(below.slice(from.length))) yield* copy(q, below);
  }
}

/** A file as it is now, if it is there. One that grows is copied up to here. */
async function* copy(q: Queue, path: string): AsyncGenerator<Piece> {
  const file = `${q.dir}/${path}`;
  try {
    const { size, mode, mtimeMs } = await q.fsx.stat(file);
    yield { path, file, bytes: size, mode: mode % 0o1000, mtimeMs };
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

function within(q: Queue, path: string): string {
  return path.slice(q.dir.length + 1);
}
