/**
 * Going through many tasks by their names: newest first, counted, or many ids looked up at once. A bucket is listed when its turn
 * comes and never before, so that whoever needs only the newest few does not pay for a long queue. No task file is opened.
 */
import { isTerminal, TERMINAL, type State } from '../task/types.ts';
import { buckets, entriesOf, lanes, locate, placesToLook, sessions, shownState, type Located } from './find.ts';
import { listOrEmpty } from './fsx.ts';
import { bucketEnd, bucketOf, isBucket, newestBucketFirst, parseEntry, type Place, queueOfLane } from './layout.ts';
import type { Queue } from './open.ts';
import { newTally, shelvesOf, sizeOf, type Shelf, type Shelves } from './shelves.ts';
import { bell } from './signal.ts';

export interface WalkOptions {
  states: readonly State[];
  /** Tasks queued for another queue are left out. Those in other states are not: only their files tell the queue. */
  queue?: string | undefined;
  /** Buckets that hold only older ids are left out, server ms. */
  since?: number | undefined;
}

/**
 * The entries in these states, newest id first, about one array for each bucket. A bucket in whose turn something moved is read once more,
 * its places in the order in which a task goes through them: one that goes on is seen, one that goes back may be missed. Of an id seen
 * twice in a bucket the entry with more attempts is kept.
 */
export async function* walk(q: Queue, options: WalkOptions): AsyncGenerator<Located[]> {
  const seen = new Set<string>();
  const moves = watchMoves(q);
  await moves();
  for (let pass = 0; pass < PASSES; pass++) {
    yield* walkOnce(q, options, seen, moves);
    // What was taken on before its bucket was found may be in one that was not there then.
    if (!(await moves())) return;
  }
}

/** On a busy queue there is always something new: what comes while it is read need not be told. */
const PASSES = 2;

async function* walkOnce(q: Queue, options: WalkOptions, seen: Set<string>, moves: () => Promise<boolean>): AsyncGenerator<Located[]> {
  const { cursors, loose } = await open(q, options);
  for (const c of cursors) await advance(q, c);
  const looseBuckets = [...loose.keys()].toSorted(newestBucketFirst).toReversed();
  // Tasks that are alone and may be older than a submission of many of the same seconds, whose bucket comes next.
  let alone: Located[] = [];
  let seconds = '';
  for (;;) {
    let newest = looseBuckets.at(-1);
    for (const c of cursors) if (c.head !== undefined && (newest === undefined || newestBucketFirst(c.head, newest) < 0)) newest = c.head;
    if (alone.length > 0 && newest?.startsWith(`${seconds}.`) !== true) {
      yield alone;
      alone = [];
    }
    if (newest === undefined) return;
    if (options.since !== undefined && bucketEnd(newest) < options.since) return;
    const found = loose.get(newest) ?? [];
    if (looseBuckets.at(-1) === newest) looseBuckets.pop();
    for (const c of cursors) {
      if (c.head !== newest) continue;
      for (const at of await inDirectory(q, `${c.base}/${newest}`, c.place)) found.push(at);
      await advance(q, c);
    }
    if (seen.has(newest)) continue;
    seen.add(newest);
    if (await moves()) found.push(...(await inBucket(q, await placesOf(q, options), newest)));
    const [its = '', submission] = newest.split('.');
    if (submission === undefined) [alone, seconds] = [inOrder(found), its];
    else if (found.length > 0) {
      const older = alone.findIndex((at) => byId(submission, at.id) < 0);
      yield alone.splice(0, older < 0 ? alone.length : older).concat(inOrder(found));
    }
  }
}

/** All that is in a bucket now, place by place. */
async function inBucket(q: Queue, places: readonly Place[], bucket: string): Promise<Located[]> {
  const found: Located[] = [];
  for (const place of places) {
    for (const dir of await directoriesOf(q, place, new Set([bucket]))) {
      for (const at of await inDirectory(q, dir, place)) if (bucketOf(at.id) === bucket) found.push(at);
    }
  }
  return found;
}

/**
 * Whether anything moved since the beginning: what runs has changed, or the bell was rung. On a network file system, where asking
 * costs as much as listing and tells of the past, the answer is no.
 */
function watchMoves(q: Queue): () => Promise<boolean> {
  let before: string | undefined;
  return async () => {
    if (q.network) return false;
    const now = [await bell(q)];
    for (const session of await sessions(q))
      now.push(session, String(await mtimeOf(q, q.lay.session(session))), ...(await listOrEmpty(q.fsx, q.lay.session(session))));
    const text = now.join(' ');
    before ??= text;
    return text !== before;
  };
}

async function mtimeOf(q: Queue, dir: string): Promise<number> {
  try {
    return (await q.fsx.stat(dir)).mtimeMs;
  } catch {
    return 0;
  }
}

export interface Counted {
  /** Tasks by state; all of them together are `tasks`. An array is one, in the state of the whole. */
  states: Map<State, number>;
  tasks: number;
  /** Files; of an array in pieces there are several. */
  entries: number;
  /** Arrays of which something was seen. */
  arrays: number;
}

/** How many tasks there are in each of these states, by counting names. */
export async function count(q: Queue, options: WalkOptions): Promise<Counted> {
  let entries = 0;
  const shelves = shelvesOf(q);
  const tally = newTally(shelves, async (id) => (await (await import('./array.ts')).readArray(q, id))?.state);
  for (const place of await placesOf(q, options)) {
    const state = shownState(place);
    // Place after place, as a task goes through them; the directories of one in any order.
    for await (const { dir, shelf } of look(shelves, await directoriesOf(q, place))) {
      tally.add(state, shelf, dir);
      entries += sizeOf(shelf);
    }
  }
  const { states, arrays } = await tally.sum(options.states, options.queue !== undefined);
  shelves.save();
  return { states, tasks: [...states.values()].reduce((sum, n) => sum + n, 0), entries, arrays };
}

/** From so many directories on several are listed at a time. */
const MANY = 32;
const AT_A_TIME = 8;

async function* look(shelves: Shelves, dirs: readonly string[]): AsyncGenerator<{ dir: string; shelf: Shelf }> {
  const aside = dirs.length >= MANY;
  const step = aside ? AT_A_TIME : 1;
  const begun: Array<Promise<Shelf>> = [];
  for (const [i, dir] of dirs.entries()) {
    for (const next of dirs.slice(i + begun.length, i + step)) {
      const looked = shelves.look(next, aside);
      // One that fails before its turn comes is heard of then.
      looked.catch(() => undefined);
      begun.push(looked);
    }
    yield { dir, shelf: await begun.shift()! };
  }
}

/** Below this many ids each is looked up by itself. */
const FEW = 3;

/** Where these tasks are now; one that is nowhere is missing from the answer. Each directory is listed once, however many ids. */
export async function locateMany(q: Queue, ids: readonly string[]): Promise<Map<string, Located>> {
  const found = new Map<string, Located>();
  const wanted = new Set(ids);
  if (wanted.size > FEW) {
    const wantedBuckets = new Set([...wanted].map(bucketOf));
    for (const place of [...(await placesToLook(q)), ...TERMINAL.map((state) => ({ state }))]) {
      for (const dir of await directoriesOf(q, place, wantedBuckets)) {
        for (const at of await inDirectory(q, dir, place)) {
          const before = found.get(at.id);
          if (wanted.has(at.id) && (before === undefined || before.n <= at.n)) found.set(at.id, at);
        }
      }
    }
  }
  // What moved while the directories were read is looked for again, with more patience.
  for (const id of wanted) {
    if (found.has(id)) continue;
    const at = await locate(q, id);
    if (at !== undefined) found.set(id, at);
  }
  return found;
}

/** The elements of a submission that has no entry of its own, in their order: they lie in the buckets of its id. */
export async function elementsOf(q: Queue, id: string): Promise<Located[]> {
  const found: Located[] = [];
  const bucket = bucketOf(id);
  for (const place of [...(await placesToLook(q)), ...TERMINAL.map((state) => ({ state }))]) {
    const its = (await bucketsAt(q, place, bucket.slice(0, 4))).filter((b) => b === bucket || b.startsWith(`${bucket}.${id}.`));
    for (const dir of await directoriesOf(q, place, new Set(its))) {
      for (const at of await inDirectory(q, dir, place)) if (at.id.startsWith(`${id}.`)) found.push(at);
    }
  }
  return inOrder(found);
}

/** The buckets of a place that begin so. */
async function bucketsAt(q: Queue, place: Place, first: string): Promise<string[]> {
  if (place.state === 'running') return [];
  const base = baseOf(q, place);
  if (place.state === 'delayed') return buckets(q, base);
  return (await listOrEmpty(q.fsx, `${base}/${first}`)).filter(isBucket).map((b) => `${first}/${b}`);
}

/** Those of the ids that have ended, by listing the buckets of the terminal states alone. */
export async function endedOf(q: Queue, ids: Iterable<string>, strong = false): Promise<Map<string, Located>> {
  const found = new Map<string, Located>();
  const wanted = new Set(ids);
  const wantedBuckets = new Set([...wanted].map(bucketOf));
  for (const state of TERMINAL) {
    for (const bucket of wantedBuckets) {
      for (const at of await inDirectory(q, `${q.dir}/${state}/${bucket}`, { state }, strong)) if (wanted.has(at.id)) found.set(at.id, at);
    }
  }
  return found;
}

/** Newest id first; the elements of one submission in their own order. */
export function byId(a: string, b: string): number {
  const [baseA = '', n = '0'] = a.split('.');
  const [baseB = '', m = '0'] = b.split('.');
  if (baseA !== baseB) return baseA < baseB ? 1 : -1;
  return Number(n) - Number(m);
}

interface Cursor {
  place: Place;
  base: string;
  /** Buckets of the first level that are left, and the second level of the present one; the newest last. */
  firsts: string[];
  first: string;
  seconds: string[];
  /** The next bucket, `aaaa/bb`. */
  head: string | undefined;
}

/** One cursor for each place with buckets; what lies in running and delayed, with a directory for each session or moment, at once. */
async function open(q: Queue, options: WalkOptions): Promise<{ cursors: Cursor[]; loose: Map<string, Located[]> }> {
  const cursors: Cursor[] = [];
  const loose = new Map<string, Located[]>();
  for (const place of await placesOf(q, options)) {
    if (place.state === 'running' || place.state === 'delayed') {
      for await (const at of entriesOf(q, place)) {
        const bucket = bucketOf(at.id);
        const there = loose.get(bucket);
        if (there === undefined) loose.set(bucket, [at]);
        else there.push(at);
      }
      continue;
    }
    const base = baseOf(q, place);
    const firsts = (await listOrEmpty(q.fsx, base)).filter((a) => a.length === 4 && !a.startsWith('.')).toSorted();
    cursors.push({ place, base, firsts, first: '', seconds: [], head: undefined });
  }
  return { cursors, loose };
}

async function advance(q: Queue, c: Cursor): Promise<void> {
  while (c.seconds.length === 0) {
    const first = c.firsts.pop();
    if (first === undefined) {
      c.head = undefined;
      return;
    }
    c.first = first;
    c.seconds = (await listOrEmpty(q.fsx, `${c.base}/${first}`)).filter(isBucket).toSorted(newestBucketFirst).toReversed();
  }
  c.head = `${c.first}/${c.seconds.pop()!}`;
}

/** The order in which a task goes through the places. */
const ALONG: readonly State[] = ['held', 'waiting', 'delayed', 'queued', 'running', ...TERMINAL];

async function placesOf(q: Queue, { states, queue }: WalkOptions): Promise<Place[]> {
  const places: Place[] = [];
  if (states.every((state) => state === 'queued')) {
    for (const { lane, priority } of await lanes(q)) places.push({ state: 'queued', lane, priority });
  } else if (states.some((state) => !isTerminal(state))) {
    places.push(...(await placesToLook(q)).filter((place) => states.includes(shownState(place))));
  }
  for (const state of states) if (isTerminal(state)) places.push({ state });
  places.sort((a, b) => ALONG.indexOf(a.state) - ALONG.indexOf(b.state));
  return queue === undefined ? places : places.filter((place) => place.state !== 'queued' || queueOfLane(place.lane) === queue);
}

/** The directories that hold entries of a place; only those of these buckets, if given. */
async function directoriesOf(q: Queue, place: Place, wanted?: ReadonlySet<string>): Promise<string[]> {
  if (place.state === 'running') return [q.lay.session(place.session)];
  const base = baseOf(q, place);
  if (wanted === undefined) return (await buckets(q, base)).map((bucket) => `${base}/${bucket}`);
  // A moment in delayed has few buckets, and there may be many moments.
  const there = place.state === 'delayed' ? (await buckets(q, base)).filter((bucket) => wanted.has(bucket)) : [...wanted];
  return there.map((bucket) => `${base}/${bucket}`);
}

const SAMPLE_ID = '00000000000000';

/** The directory of a place without the bucket. */
function baseOf(q: Queue, place: Place): string {
  return q.lay.dir(place, SAMPLE_ID).slice(0, -bucketOf(SAMPLE_ID).length - 1);
}

async function inDirectory(q: Queue, dir: string, place: Place, strong = false): Promise<Located[]> {
  const found: Located[] = [];
  const state = shownState(place);
  for (const name of await listOrEmpty(q.fsx, dir, strong)) {
    const e = parseEntry(name);
    if (e !== undefined && !e.cancel) found.push({ id: e.id, n: e.n, state, place, file: `${dir}/${name}` });
  }
  return found;
}

function inOrder(found: Located[]): Located[] {
  if (found.length < 2) return found;
  found.sort((a, b) => byId(a.id, b.id) || b.n - a.n);
  return found.filter((at, i) => i === 0 || found[i - 1]!.id !== at.id);
}
