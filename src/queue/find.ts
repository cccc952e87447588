/**
 * Finding a task from its id: the id names its bucket, so only the few directories where that bucket can exist are listed.
 * Also the enumeration of everything, place by place, for listings and sweeps.
 */
import { isTerminal, TERMINAL, type State } from '../task/types.ts';
import { errnoOf } from '../errors.ts';
import { listOrEmpty } from './fsx.ts';
import { bucketOf, parseDueMinute, parseDueSecond, parseEntry, parsePrio, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { move } from './steps.ts';

export interface Located {
  id: string;
  n: number;
  state: State;
  place: Place;
  /** Absolute path of the task file. */
  file: string;
  /** It stands for a whole array, or for an element that has no entry of its own. */
  part?: 'array' | 'element';
}

/** How often a task that may be moving is looked for before it counts as not there. */
const ROUNDS = 4;

/**
 * Where the task is now. A task may move while the directories are read one after the other, so an id that has left traces is
 * looked for again before the answer is undefined; and never before everything was listed strongly twice, since a cached listing may
 * miss it.
 */
export async function locate(q: Queue, id: string, strong = false): Promise<Located | undefined> {
  for (let round = 0; round < ROUNDS; round++) {
    const again = round > 0;
    const found = (await locateUnfinished(q, id, strong, again)) ?? (await locateEnded(q, id, strong || again));
    if (found !== undefined) return found;
    if (round >= (q.network ? 2 : 1) && !(await hasTraces(q, id))) return undefined;
  }
  return undefined;
}

/** In done, failed, canceled or skipped; undefined elsewhere. */
export async function locateEnded(q: Queue, id: string, strong = false): Promise<Located | undefined> {
  for (const state of TERMINAL) {
    const hit = await look(q, { state }, id, strong);
    if (hit !== undefined) return hit;
  }
  return undefined;
}

/** `strong`: what runs is listed strongly; `all`: everything is, which costs calls for each lane and each due time. */
async function locateUnfinished(q: Queue, id: string, strong: boolean, all: boolean): Promise<Located | undefined> {
  for (const place of await placesToLook(q, all)) {
    const hit = await look(q, place, id, all || (strong && place.state === 'running'));
    if (hit !== undefined) return hit;
  }
  return undefined;
}

async function look(q: Queue, place: Place, id: string, strong: boolean): Promise<Located | undefined> {
  const dir = q.lay.dir(place, id);
  let best: Located | undefined;
  for (const name of await listOrEmpty(q.fsx, dir, strong)) {
    const e = name.startsWith(id) ? parseEntry(name) : undefined;
    if (e === undefined || e.cancel || e.id !== id || (best !== undefined && best.n > e.n)) continue;
    best = { id, n: e.n, state: shownState(place), place: place, file: `${dir}/${name}` };
  }
  return best;
}

/** Sessions of `tq set` show the state that the task came from: no attempt is being run. */
export function shownState(place: Place): State {
  if (place.state === 'running') {
    const m = /^set\.(queued|waiting|delayed|held|done|failed|canceled|skipped)\./.exec(place.session);
    if (m !== null) return m[1] as State;
  }
  return place.state;
}

async function hasTraces(q: Queue, id: string): Promise<boolean> {
  const runs = await listOrEmpty(q.fsx, q.lay.runs(id), true);
  return runs.some((name) => name.startsWith(id));
}

/** Every place that can hold unfinished tasks now, queued lanes by priority first. */
export async function placesToLook(q: Queue, strong = false): Promise<Place[]> {
  const places: Place[] = [];
  for (const { lane, priority } of await lanes(q, strong)) places.push({ state: 'queued', lane, priority });
  await tuckIn(q);
  places.push({ state: 'waiting' }, { state: 'held' });
  for (const session of await sessions(q, strong)) places.push({ state: 'running', session });
  for (const dueAt of await dues(q, strong)) places.push({ state: 'delayed', dueAt });
  return places;
}

const READ_ONLY = new Set(['EACCES', 'EPERM', 'EROFS']);

/** A task file that somebody moved straight into `held/` is put into its bucket by whoever looks. */
async function tuckIn(q: Queue): Promise<void> {
  for (const name of await listOrEmpty(q.fsx, `${q.dir}/held`)) {
    const e = parseEntry(name);
    if (e === undefined || e.cancel) continue;
    try {
      await move(q, `${q.dir}/held/${name}`, q.lay.entry({ state: 'held' }, e.id, e.n));
    } catch (error) {
      // Who may only read leaves it to others.
      if (!READ_ONLY.has(errnoOf(error) ?? '')) throw error;
    }
  }
}

/** Lanes with their priorities, highest priority first. */
export async function lanes(q: Queue, strong = false): Promise<Array<{ lane: string; priority: number }>> {
  const found: Array<{ lane: string; priority: number }> = [];
  for (const lane of await listOrEmpty(q.fsx, `${q.dir}/queued`, strong)) {
    if (lane.startsWith('.')) continue;
    for (const prio of await listOrEmpty(q.fsx, `${q.dir}/queued/${lane}`, strong)) {
      const priority = parsePrio(prio);
      if (priority !== undefined) found.push({ lane, priority });
    }
  }
  return found.toSorted((a, b) => b.priority - a.priority || (a.lane < b.lane ? -1 : 1));
}

export async function sessions(q: Queue, strong = false): Promise<string[]> {
  return (await listOrEmpty(q.fsx, q.lay.running, strong)).filter((n) => !n.startsWith('.')).toSorted();
}

/** Due moments of `delayed/`, earliest first, ms; listed as they are asked for, so the first one costs two listings. */
export async function* dueMoments(q: Queue, strong = false): AsyncGenerator<number> {
  for (const minute of (await listOrEmpty(q.fsx, `${q.dir}/delayed`, strong)).toSorted()) {
    const base = parseDueMinute(minute);
    if (base === undefined) continue;
    for (const second of (await listOrEmpty(q.fsx, `${q.dir}/delayed/${minute}`, strong)).toSorted()) {
      const ms = parseDueSecond(second);
      if (ms !== undefined) yield base + ms;
    }
  }
}

export async function dues(q: Queue, strong = false): Promise<number[]> {
  const found: number[] = [];
  for await (const dueAt of dueMoments(q, strong)) found.push(dueAt);
  return found;
}

/** The bucket paths below a place's directory, oldest first. */
export async function buckets(q: Queue, base: string): Promise<string[]> {
  const found: string[] = [];
  for (const a of (await listOrEmpty(q.fsx, base)).toSorted()) {
    if (a.startsWith('.') || a.endsWith('.lock')) continue;
    for (const b of (await listOrEmpty(q.fsx, `${base}/${a}`)).toSorted()) {
      if (!b.startsWith('.') && !b.endsWith('.lock')) found.push(`${a}/${b}`);
    }
  }
  return found;
}

/** All entries of one place, oldest bucket first, in id order within it. */
export async function* entriesOf(q: Queue, place: Place, newestFirst = false): AsyncGenerator<Located> {
  if (place.state === 'running') {
    const dir = q.lay.session(place.session);
    yield* inDirectory(q, dir, place, newestFirst);
    return;
  }
  // The directory of a place without its bucket: cut the bucket of a made-up id off.
  const base = q.lay.dir(place, SAMPLE_ID).slice(0, -bucketOf(SAMPLE_ID).length - 1);
  const all = await buckets(q, base);
  if (newestFirst) all.reverse();
  for (const bucket of all) yield* inDirectory(q, `${base}/${bucket}`, place, newestFirst);
}

const SAMPLE_ID = '00000000000000';

async function* inDirectory(q: Queue, dir: string, place: Place, newestFirst: boolean): AsyncGenerator<Located> {
  const names = (await listOrEmpty(q.fsx, dir)).toSorted();
  if (newestFirst) names.reverse();
  for (const name of names) {
    const e = parseEntry(name);
    if (e === undefined || e.cancel) continue;
    yield { id: e.id, n: e.n, state: shownState(place), place, file: `${dir}/${name}` };
  }
}

/** Every entry in the given states. */
export async function* everything(q: Queue, states: readonly State[], newestFirst = false): AsyncGenerator<Located> {
  const places = (await placesToLook(q)).filter((p) => states.includes(shownState(p)));
  for (const place of places) yield* entriesOf(q, place, newestFirst);
  for (const state of states) if (isTerminal(state)) yield* entriesOf(q, { state }, newestFirst);
}
