/**
 * How many entries a directory holds, by its names alone, and remembered: in the process, and for large queues in a file of this
 * machine (below `$XDG_CACHE_HOME/tq/counts`, one for each queue), so that a million names are listed once and asked about with one
 * `stat` for each thousand from then on. What is remembered counts only while the directory's inode and the time of its last change are
 * the same, and only if it had been at rest for a while when it was listed: within one tick of the clock two changes look like one.
 * The file is a cache that anybody may remove; the local disk is not the queue, so plain file calls are used for it.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { stateOfAll, type Counts } from '../task/many.ts';
import { STATES, UNFINISHED, type State } from '../task/types.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { baseId, parseEntry } from './layout.ts';
import type { Queue } from './open.ts';
import { readIfThere } from './steps.ts';
import { parseTask } from './task-file.ts';

/** What the names in one directory say. */
export interface Shelf {
  /** Entries that are tasks of their own. */
  alone: number;
  /** Elements and pieces: how many of each submission. Undefined: none. */
  parts: Map<string, number> | undefined;
}

export interface Shelves {
  /** What is in a directory now; an empty shelf when it is not there. `aside`: several are looked at at a time. */
  look(dir: string, aside?: boolean): Promise<Shelf>;
  /** Whether a submission is an array; `dir` holds a part of it. Undefined: it moved on. */
  isArray(base: string, dir: string): Promise<boolean | undefined>;
  /** Keeps what was learnt for the next process, if it was much. */
  save(): void;
}

/** What `parseEntry` accepts as a task, without taking it apart. */
const ENTRY = /^[0-9a-z]{10,16}(\.\d{1,9}(-\d{1,9})?)?(?:\+[\d-]+)?\.a\d{1,9}\.json$/;

/** Pure. Names that show a range belong to arrays, and are noted in `arrays`. */
export function shelfOf(names: readonly string[], arrays?: Map<string, boolean>): Shelf {
  let alone = 0;
  let parts: Map<string, number> | undefined;
  for (const name of names) {
    const m = ENTRY.exec(name);
    if (m === null) continue;
    if (m[1] === undefined) {
      alone++;
      continue;
    }
    const base = baseId(name);
    if (m[2] !== undefined) arrays?.set(base, true);
    parts ??= new Map();
    parts.set(base, (parts.get(base) ?? 0) + 1);
  }
  return { alone, parts };
}

/** Entries, of whatever kind. */
export function sizeOf({ alone, parts }: Shelf): number {
  let n = alone;
  for (const some of parts?.values() ?? []) n += some;
  return n;
}

interface Kept extends Shelf {
  stamp: string;
}

/** A smaller directory is listed as fast as it is asked about. */
const LEAST_NAMES = 16;
/** From so many names on that had to be listed the cache file is written. */
const MUCH = 20_000;
/** At rest for so long, ms: longer than a tick; over a network, whose server has a clock of its own, much longer. */
const REST_MS = 2000;
const NETWORK_REST_MS = 60_000;

const opened = new WeakMap<Queue, Shelves>();

/** The shelves of a queue; one for each process. */
export function shelvesOf(q: Queue): Shelves {
  let shelves = opened.get(q);
  if (shelves === undefined) opened.set(q, (shelves = openShelves(q)));
  return shelves;
}

function openShelves(q: Queue): Shelves {
  const file = cacheFile(q);
  let kept: Map<string, Kept> | undefined;
  const arrays = new Map<string, boolean>();
  let listed = 0;
  const known = (): Map<string, Kept> => (kept ??= file === undefined ? new Map() : load(file, q.dir, arrays));
  const restMs = q.network ? NETWORK_REST_MS : REST_MS;
  return {
    async look(dir, aside = false) {
      const name = dir.slice(q.dir.length + 1);
      const before = known().get(name);
      if (before !== undefined) {
        const stamp = await stampOf(q, dir, Number.POSITIVE_INFINITY);
        if (stamp === before.stamp) return before;
        known().delete(name);
      }
      const listedAt = Date.now();
      const names = aside ? await listAside(q, dir) : await listOrEmpty(q.fsx, dir);
      const shelf = shelfOf(names, arrays);
      if (names.length < LEAST_NAMES) return shelf;
      listed += names.length;
      // Asked after the listing: a last change long before it means that there was none between the two.
      const stamp = await stampOf(q, dir, listedAt - restMs);
      if (stamp !== undefined) known().set(name, { ...shelf, stamp });
      return shelf;
    },
    async isArray(base, dir) {
      known();
      let is = arrays.get(base);
      if (is !== undefined) return is;
      for (const name of await listOrEmpty(q.fsx, dir)) {
        const e = name.startsWith(`${base}.`) ? parseEntry(name) : undefined;
        if (e === undefined || e.cancel) continue;
        const text = await readIfThere(q, `${dir}/${name}`);
        const task = text === undefined ? undefined : parseTask(text, e.id);
        if (task?.ok !== true) continue;
        is = task.value.many !== undefined;
        arrays.set(base, is);
        return is;
      }
      return undefined;
    },
    save() {
      if (file === undefined || kept === undefined || listed < MUCH) return;
      listed = 0;
      store(file, q.dir, kept, arrays);
    },
  };
}

async function listAside(q: Queue, dir: string): Promise<string[]> {
  try {
    return await q.fsx.listAside(dir);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** The directory's inode and last change; undefined when it is gone, or changed after `latest`. */
async function stampOf(q: Queue, dir: string, latest: number): Promise<string | undefined> {
  try {
    const s = await q.fsx.stat(dir);
    return s.ctimeMs > latest ? undefined : `${s.ino}.${s.ctimeMs}`;
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

function cacheFile(q: Queue): string | undefined {
  if (!/^[0-9a-z]{8,32}$/.test(q.config.id)) return undefined;
  const [cache, home] = [process.env['XDG_CACHE_HOME'], process.env['HOME']];
  const base =
    cache !== undefined && cache.startsWith('/')
      ? cache
      : home !== undefined && home.startsWith('/')
        ? path.join(home, '.cache')
        : path.join(os.tmpdir(), `tq-${process.getuid?.() ?? 0}`, 'cache');
  return path.join(base, 'tq', 'counts', q.config.id);
}

/** The first word of a cache file of this form. */
const FORM = 'tq-counts-1';

/** A line for each directory: name, stamp, tasks, then the submissions with their numbers of parts. */
function load(file: string, dir: string, arrays: Map<string, boolean>): Map<string, Kept> {
  const kept = new Map<string, Kept>();
  let text: string;
  try {
    text = fs.readFileSync(file, 'utf8');
  } catch {
    return kept;
  }
  const [first, ...lines] = text.split('\n');
  // Of another queue of this id, that is a copy, or cut short.
  if (first !== `${FORM}\t${dir}` || lines.pop() !== FORM) return kept;
  for (const line of lines) {
    const [name = '', stamp = '', alone = '', ...rest] = line.split('\t');
    if (name === '') arrays.set(stamp, alone === 'array');
    else if (rest.length === 0) kept.set(name, { stamp, alone: Number(alone), parts: undefined });
    else {
      const parts = new Map<string, number>();
      for (let i = 0; i + 1 < rest.length; i += 2) parts.set(rest[i]!, Number(rest[i + 1]));
      kept.set(name, { stamp, alone: Number(alone), parts });
    }
  }
  return kept;
}

function store(file: string, dir: string, kept: ReadonlyMap<string, Kept>, arrays: ReadonlyMap<string, boolean>): void {
  let text = `${FORM}\t${dir}\n`;
  const there = new Set<string>();
  for (const [name, { stamp, alone, parts }] of kept) {
    text += `${name}\t${stamp}\t${alone}`;
    for (const [base, n] of parts ?? []) {
      text += `\t${base}\t${n}`;
      there.add(base);
    }
    text += '\n';
  }
  for (const base of there) if (arrays.has(base)) text += `\t${base}\t${arrays.get(base) === true ? 'array' : 'tasks'}\n`;
  const staged = `${file}.${process.pid}`;
  try {
    fs.mkdirSync(path.dirname(file), { recursive: true, mode: 0o700 });
    fs.writeFileSync(staged, text + FORM, { mode: 0o600 });
    fs.renameSync(staged, file);
  } catch {
    // Without a cache the next one counts again.
    fs.rmSync(staged, { force: true });
  }
}

/** Entries added up: an array counts as one task, in the state of the whole. */
export interface Tally {
  /** `dir` is where the entries lie. */
  add(state: State, shelf: Shelf, dir: string): void;
  /** Tasks by state, of the states whose entries were added; of queued tasks perhaps not all. */
  sum(scanned: readonly State[], isPartial?: boolean): Promise<{ states: Map<State, number>; arrays: number }>;
}

/** `wholeState` reads an array; it is asked where the entries that were added do not tell. */
export function newTally(shelves: Shelves, wholeState: (base: string) => Promise<State | undefined>): Tally {
  const alone = new Map<State, number>();
  const submissions = new Map<string, { dir: string; counts: Counts }>();
  return {
    add(state, shelf, dir) {
      alone.set(state, (alone.get(state) ?? 0) + shelf.alone);
      for (const [base, n] of shelf.parts ?? []) {
        let s = submissions.get(base);
        if (s === undefined) submissions.set(base, (s = { dir, counts: {} }));
        s.counts[state] = (s.counts[state] ?? 0) + n;
      }
    },
    async sum(scanned, isPartial = false) {
      const total = new Map(scanned.map((state) => [state, alone.get(state) ?? 0]));
      const add = (state: State, n: number): void => {
        if (total.has(state)) total.set(state, total.get(state)! + n);
      };
      let arrays = 0;
      for (const [base, { dir, counts }] of submissions) {
        if ((await shelves.isArray(base, dir)) !== true) {
          for (const state of STATES) add(state, counts[state] ?? 0);
          continue;
        }
        arrays++;
        const state = !isPartial && tells(counts, scanned) ? stateOfAll(counts) : await wholeState(base);
        if (state !== undefined) add(state, 1);
      }
      return { states: total, arrays };
    },
  };
}

/** Whether what was seen of an array is enough to know its state: of the states that come first all, or something in one of them. */
function tells(counts: Counts, scanned: readonly State[]): boolean {
  const all = (states: readonly State[]): boolean => states.every((state) => scanned.includes(state));
  return all(STATES) || (all(UNFINISHED) && UNFINISHED.some((state) => (counts[state] ?? 0) > 0));
}
