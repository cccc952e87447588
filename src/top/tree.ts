/**
 * The directories that hold task files, with how many each holds: what the live view knows of the queue without opening a task. One
 * step looks at one directory and costs a call or two, whatever the queue's size; a round of steps goes through all of them, so that
 * nothing stays wrong for longer than a round takes. Tasks are not kept one by one.
 */
import { shownState } from '../queue/find.ts';
import { listOrEmpty } from '../queue/fsx.ts';
import { isBucket, parseDueMinute, parseDueSecond, parseEntry, parsePrio, type Entry, type Place } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { shelvesOf, type Shelf } from '../queue/shelves.ts';
import { STATES, TERMINAL, type State } from '../task/types.ts';

/** A directory with entries. */
export interface Leaf {
  dir: string;
  /** `aaaa/bb`; empty for a session's. */
  bucket: string;
  place: Place;
  state: State;
  shelf: Shelf;
  /** Of a session: what it runs. */
  running: readonly Entry[];
  /** Goes up whenever something in it may have changed. */
  version: number;
}

interface Node {
  dir: string;
  /** What the names in it are; the last kind holds entries. */
  kind: Kind;
  below: readonly Kind[];
  place: Place | undefined;
  bucket: string;
  children: Map<string, Node>;
  leaf: Leaf | undefined;
  above: Node | undefined;
}

/** What a directory's name says. */
type Kind = 'place' | 'lane' | 'priority' | 'minute' | 'second' | 'first' | 'bucket' | 'session';

const BUCKETS: readonly Kind[] = ['first', 'bucket'];
/** In the order in which they are read first: what is on the screen before what is only counted. */
const PLACES: ReadonlyArray<readonly [State, readonly Kind[]]> = [
  ['running', ['session']],
  ['queued', ['lane', 'priority', ...BUCKETS]],
  ['failed', BUCKETS],
  ['waiting', BUCKETS],
  ['held', BUCKETS],
  ['delayed', ['minute', 'second', ...BUCKETS]],
  ['canceled', BUCKETS],
  ['skipped', BUCKETS],
  ['done', BUCKETS],
];

/** Counts of all entries, kept up to date as leaves change. */
export interface Totals {
  alone: Record<State, number>;
  /** Entries that are parts of a submission. */
  parts: Map<string, Submission>;
}

export interface Submission {
  counts: Partial<Record<State, number>>;
  /** A leaf in which some of it was seen. */
  leaf: Leaf;
}

export interface Tree {
  readonly totals: Totals;
  /** Goes up whenever a number changed. */
  changes(): number;
  /** Goes up whenever an entry may have changed. */
  touches(): number;
  leaves(state: State): readonly Leaf[];
  /** Those that are known. */
  sessions(): string[];
  /** Looks at the next directory of the round. False: the round is over, the next call begins another. */
  step(): Promise<boolean>;
  /** Sessions, and what each of those `wanted` runs, and each new one; of all if undefined. */
  lookAtSessions(wanted?: ReadonlySet<string>): Promise<void>;
  /** The directories of this bucket that are known, and those of the terminal states even if they are not. */
  lookAtBucket(bucket: string, states: readonly State[]): Promise<void>;
  /** Where something that was submitted or put back a moment ago would be. */
  lookAtNewest(): Promise<void>;
  lookAt(leaf: Leaf): Promise<void>;
  /** The entries of a leaf, listed unless nothing changed since. */
  names(leaf: Leaf): Promise<readonly Entry[]>;
}

/** Listings that are kept, in names. */
const MOST_NAMES = 20_000;

export function makeTree(q: Queue): Tree {
  const shelves = shelvesOf(q);
  const totals: Totals = { alone: Object.fromEntries(STATES.map((s) => [s, 0])) as Record<State, number>, parts: new Map() };
  const roots = new Map<State, Node>(
    PLACES.map(([state, kinds]) => [
      state,
      {
        dir: `${q.dir}/${state}`,
        kind: 'place',
        below: kinds,
        place: state === 'queued' || state === 'delayed' || state === 'running' ? undefined : { state },
        bucket: '',
        children: new Map(),
        leaf: undefined,
        above: undefined,
      },
    ]),
  );
  let shape = 0;
  let changes = 0;
  let touches = 0;
  let round: AsyncGenerator<void> | undefined;
  const sorted = new Map<State, { shape: number; leaves: Leaf[] }>();
  const listed = new Map<Leaf, { version: number; entries: Entry[] }>();
  let kept = 0;

  const put = (leaf: Leaf, shelf: Shelf): void => {
    const before = leaf.shelf;
    totals.alone[leaf.state] += shelf.alone - before.alone;
    for (const [base, n] of before.parts ?? []) {
      const s = totals.parts.get(base);
      if (s === undefined) continue;
      s.counts[leaf.state] = (s.counts[leaf.state] ?? 0) - n;
      if (Object.values(s.counts).every((some) => some === 0)) totals.parts.delete(base);
    }
    for (const [base, n] of shelf.parts ?? []) {
      const s = totals.parts.get(base) ?? { counts: {}, leaf };
      s.counts[leaf.state] = (s.counts[leaf.state] ?? 0) + n;
      s.leaf = leaf;
      totals.parts.set(base, s);
    }
    leaf.shelf = shelf;
    leaf.version++;
    changes++;
    touches++;
  };

  const drop = (node: Node): void => {
    node.above?.children.delete(node.dir.slice(node.dir.lastIndexOf('/') + 1));
    for (const child of node.children.values()) drop(child);
    if (node.leaf !== undefined) {
      put(node.leaf, EMPTY);
      forget(node.leaf);
      node.leaf = undefined;
    }
    shape++;
    changes++;
  };

  const forget = (leaf: Leaf): void => {
    kept -= listed.get(leaf)?.entries.length ?? 0;
    listed.delete(leaf);
  };

  /** The names of the next level, as the directory says now. */
  const expand = async (node: Node): Promise<void> => {
    const names = (await listOrEmpty(q.fsx, node.dir)).filter((name) => isOfKind(name, node.below[0]!));
    const there = new Set(names);
    for (const [name, child] of node.children) if (!there.has(name)) drop(child);
    for (const name of names) if (!node.children.has(name)) node.children.set(name, childOf(node, name));
  };

  const lookAtNode = async (node: Node): Promise<void> => {
    if (node.below.length > 0) return expand(node);
    if (node.leaf === undefined) {
      const place = node.place!;
      node.leaf = { dir: node.dir, bucket: node.bucket, place, state: shownState(place), shelf: EMPTY, running: [], version: 0 };
      shape++;
    }
    await lookAt(node.leaf);
  };

  const lookAt = async (leaf: Leaf): Promise<void> => {
    if (leaf.place.state === 'running') {
      const entries = await entriesIn(q, leaf.dir);
      if (sameEntries(entries, leaf.running)) return;
      leaf.running = entries;
      put(leaf, shelfOfEntries(entries));
      return;
    }
    const shelf = await shelves.look(leaf.dir);
    // A shelf that is remembered is the same object as long as nothing changed.
    if (shelf === leaf.shelf) return;
    // As many as before, though perhaps others.
    if (shelf.parts === undefined && leaf.shelf.parts === undefined && shelf.alone === leaf.shelf.alone) {
      leaf.version++;
      touches++;
    } else put(leaf, shelf.alone === 1 && shelf.parts === undefined ? ONE : shelf);
  };

  async function* goRound(): AsyncGenerator<void> {
    for (const [state] of PLACES) yield* below(roots.get(state)!, state);
  }

  async function* below(node: Node, state: State): AsyncGenerator<void> {
    await lookAtNode(node);
    yield;
    const names = [...node.children.keys()].toSorted();
    // Queued ones in the order in which they are claimed, finished ones the newest first.
    if (isEnded(state) || node.below[0] === 'priority') names.reverse();
    for (const name of names) {
      const child = node.children.get(name);
      if (child !== undefined) yield* below(child, state);
    }
  }

  /** Opens the way to a bucket below a node, and looks at it. */
  const descend = async (node: Node, bucket: string): Promise<void> => {
    const [first = '', second = ''] = bucket.split('/');
    const at = node.children.get(first) ?? childOf(node, first);
    const leafNode = at.children.get(second) ?? childOf(at, second);
    await lookAtNode(leafNode);
    if (leafNode.leaf!.shelf.alone === 0 && leafNode.leaf!.shelf.parts === undefined) return;
    if (!node.children.has(first)) node.children.set(first, at);
    if (!at.children.has(second)) at.children.set(second, leafNode);
  };

  return {
    totals,
    changes: () => changes,
    touches: () => touches,
    leaves(state) {
      let known = sorted.get(state);
      if (known?.shape === shape) return known.leaves;
      const leaves: Leaf[] = [];
      const collect = (node: Node): void => {
        if (node.leaf !== undefined && node.leaf.state === state) leaves.push(node.leaf);
        for (const child of node.children.values()) collect(child);
      };
      // What a `set` has in its hands lies in running.
      collect(roots.get('running')!);
      if (state !== 'running') collect(roots.get(state)!);
      known = { shape, leaves };
      sorted.set(state, known);
      return leaves;
    },
    sessions: () => [...roots.get('running')!.children.keys()],
    async step() {
      round ??= goRound();
      const next = await round.next();
      if (next.done !== true) return true;
      round = undefined;
      return false;
    },
    async lookAtSessions(wanted) {
      const running = roots.get('running')!;
      await expand(running);
      for (const [session, node] of running.children)
        if (node.leaf === undefined || wanted === undefined || wanted.has(session)) await lookAtNode(node);
    },
    async lookAtBucket(bucket, states) {
      for (const state of states) {
        const root = roots.get(state)!;
        if (root.below.length === 2) await descend(root, bucket);
        else for (const leaf of this.leaves(state)) if (leaf.bucket === bucket) await lookAt(leaf);
      }
    },
    async lookAtNewest() {
      const newest = async (node: Node): Promise<void> => {
        await lookAtNode(node);
        const names = [...node.children.keys()].toSorted();
        // Every lane, priority and due time, but of the buckets the last one.
        const every = node.below[0] === 'lane' || node.below[0] === 'priority';
        for (const name of every ? names : names.slice(-1)) {
          const child = node.children.get(name);
          if (child !== undefined) await newest(child);
        }
      };
      for (const state of ['queued', 'waiting', 'held', 'delayed'] as const) await newest(roots.get(state)!);
    },
    lookAt,
    async names(leaf) {
      if (leaf.place.state === 'running') return leaf.running;
      const known = listed.get(leaf);
      if (known?.version === leaf.version) {
        // The one used last is the last to go.
        listed.delete(leaf);
        listed.set(leaf, known);
        return known.entries;
      }
      forget(leaf);
      const { version } = leaf;
      const entries = await entriesIn(q, leaf.dir);
      listed.set(leaf, { version, entries });
      kept += entries.length;
      for (const other of listed.keys()) {
        if (kept <= MOST_NAMES || other === leaf) break;
        forget(other);
      }
      return entries;
    },
  };
}

/** Of the directories that hold entries, which may be very many. */
const NO_CHILDREN: Map<string, Node> = new Map();
const NO_KINDS: readonly Kind[] = [];
/** As many directories hold a single task. */
const ONE: Shelf = { alone: 1, parts: undefined };
const EMPTY: Shelf = { alone: 0, parts: undefined };

function isEnded(state: State): boolean {
  return (TERMINAL as readonly State[]).includes(state);
}

function isOfKind(name: string, kind: Kind): boolean {
  if (name.startsWith('.') || name.endsWith('.lock')) return false;
  switch (kind) {
    case 'priority':
      return parsePrio(name) !== undefined;
    case 'minute':
      return parseDueMinute(name) !== undefined;
    case 'second':
      return parseDueSecond(name) !== undefined;
    case 'first':
      return name.length === 4;
    case 'bucket':
      return isBucket(name);
    default:
      return true;
  }
}

function childOf(node: Node, name: string): Node {
  const kind = node.below[0];
  const below = node.kind === 'first' ? NO_KINDS : node.below.slice(1);
  return {
    dir: `${node.dir}/${name}`,
    kind: kind!,
    below,
    place: placeBelow(node, kind!, name),
    bucket: kind === 'first' ? name : kind === 'bucket' ? `${node.bucket}/${name}` : '',
    children: below.length === 0 ? NO_CHILDREN : new Map(),
    leaf: undefined,
    above: node,
  };
}

function placeBelow(node: Node, kind: Kind, name: string): Place | undefined {
  switch (kind) {
    case 'lane':
      return { state: 'queued', lane: name, priority: 0 };
    case 'priority':
      return { ...(node.place as Place & { state: 'queued' }), priority: parsePrio(name)! };
    case 'minute':
      return { state: 'delayed', dueAt: parseDueMinute(name)! };
    case 'second':
      return { state: 'delayed', dueAt: (node.place as Place & { state: 'delayed' }).dueAt + parseDueSecond(name)! };
    case 'session':
      return { state: 'running', session: name };
    default:
      return node.place;
  }
}

async function entriesIn(q: Queue, dir: string): Promise<Entry[]> {
  const entries: Entry[] = [];
  for (const name of (await listOrEmpty(q.fsx, dir)).toSorted()) {
    const e = parseEntry(name);
    if (e !== undefined && !e.cancel) entries.push(e);
  }
  return entries;
}

function shelfOfEntries(entries: readonly Entry[]): Shelf {
  let alone = 0;
  let parts: Map<string, number> | undefined;
  for (const { id } of entries) {
    const dot = id.indexOf('.');
    if (dot < 0) {
      alone++;
      continue;
    }
    parts ??= new Map();
    parts.set(id.slice(0, dot), (parts.get(id.slice(0, dot)) ?? 0) + 1);
  }
  return { alone, parts };
}

function sameEntries(a: readonly Entry[], b: readonly Entry[]): boolean {
  return a.length === b.length && a.every((e, i) => e.name === b[i]!.name);
}
