/**
 * The order of the rows, without holding them: stretches of the queue's directories, each with the number of rows that it gives. Running
 * tasks come first (the longest running on top, so that a new one moves nobody), then queued ones as they are claimed, then delayed,
 * waiting and held ones, then the newest failures.
 */
import { inSubmitOrder, isPiece, newestBucketFirst, baseId, type Entry } from '../queue/layout.ts';
import { stateOfAll } from '../task/many.ts';
import { isTerminal, type State } from '../task/types.ts';
import type { Leaf, Tree } from './tree.ts';

/** One row before its file is read. */
export type Ref =
  | { kind: 'task'; id: string; n: number; name: string; leaf: Leaf; isInside?: true }
  | { kind: 'group'; id: string; state: State; leaf: Leaf }
  | { kind: 'array'; id: string; state: State; leaf: Leaf }
  | { kind: 'element'; id: string; array: string; index: number; leaf: Leaf };

/** Some rows in a row. */
export interface Stretch {
  rows: number;
  /** Directories of the same bucket and priority; their names are merged. */
  leaves: readonly Leaf[];
  /** Arrays, and other submissions that fold, that have their row here. */
  arrays: ReadonlyMap<string, State>;
  /** Rows that are known already. */
  refs: readonly Ref[] | undefined;
  /** Of the newest failures. */
  newestFirst: boolean;
}

/** What the rows are made from, beside the directories. */
export interface Facts {
  isArray(base: string): boolean;
  /** Whether the tasks of a submission have one row. */
  folds(base: string): boolean;
  /** Ms; undefined: not known. */
  startedAt(id: string, n: number): number | undefined;
}

const MOST_FAILURES = 100;

/** States whose every task is shown unless a filter says otherwise. */
const QUIET = ['delayed', 'waiting', 'held'] as const;

/** `states`: those that a filter asks for, all of their tasks; undefined: everything unfinished, and some failures. */
export function stretchesOf(tree: Tree, facts: Facts, states: readonly State[] | undefined): Stretch[] {
  const placed = new Set<string>();
  const found: Stretch[] = [];
  const wants = (state: State): boolean => states === undefined || states.includes(state);
  // An array that has a row further up has none further down, so all that come first are seen even if they are not shown.
  const running = runningRows(tree, facts, placed);
  if (wants('running') && running.length > 0)
    found.push({ rows: running.length, leaves: [], arrays: new Map(), refs: running, newestFirst: false });
  const add = (state: State, groups: ReadonlyArray<readonly Leaf[]>, newestFirst: boolean, most = Number.POSITIVE_INFINITY): void => {
    let rows = 0;
    for (const leaves of groups) {
      if (rows >= most) return;
      const stretch = stretchOf(tree, facts, state, leaves, placed, newestFirst);
      if (stretch.rows === 0 || !wants(state)) continue;
      rows += stretch.rows;
      found.push(stretch);
    }
  };
  add('queued', grouped(tree.leaves('queued'), claimKey, claimOrder), false);
  for (const state of QUIET) add(state, grouped(tree.leaves(state), oldKey, oldOrder), false);
  if (states === undefined) add('failed', newest(tree.leaves('failed')), true, MOST_FAILURES);
  else for (const state of states) if (isTerminal(state)) add(state, newest(tree.leaves(state)), true);
  return found;
}

/** The rows of a stretch, from its listings. */
export function refsOf(stretch: Stretch, listed: ReadonlyArray<readonly Entry[]>, facts: Facts): Ref[] {
  if (stretch.refs !== undefined) return [...stretch.refs];
  const refs: Ref[] = [];
  const seen = new Set<string>();
  for (const [i, entries] of listed.entries()) {
    const leaf = stretch.leaves[i]!;
    for (const e of entries) {
      const base = baseId(e.id);
      if (base === e.id || !(isPiece(e.id) || facts.folds(base))) {
        refs.push({ kind: 'task', id: e.id, n: e.n, name: e.name, leaf });
        continue;
      }
      const state = stretch.arrays.get(base);
      if (state === undefined || seen.has(base)) continue;
      seen.add(base);
      refs.push({ kind: kindOf(e.id, base, facts), id: base, state, leaf });
    }
  }
  refs.sort((a, b) => (stretch.newestFirst ? inSubmitOrder(b.id, a.id) : inSubmitOrder(a.id, b.id)));
  return refs;
}

function kindOf(id: string, base: string, facts: Facts): 'array' | 'group' {
  return isPiece(id) || facts.isArray(base) ? 'array' : 'group';
}

function runningRows(tree: Tree, facts: Facts, placed: Set<string>): Ref[] {
  const refs: Ref[] = [];
  for (const leaf of tree.leaves('running')) {
    for (const e of leaf.running) {
      const base = baseId(e.id);
      if (base !== e.id && (isPiece(e.id) || facts.folds(base))) {
        if (placed.has(base)) continue;
        placed.add(base);
        refs.push({ kind: kindOf(e.id, base, facts), id: base, state: 'running', leaf });
      } else refs.push({ kind: 'task', id: e.id, n: e.n, name: e.name, leaf });
    }
  }
  const since = (ref: Ref): number => (ref.kind === 'task' ? (facts.startedAt(ref.id, ref.n) ?? Number.MAX_SAFE_INTEGER) : 0);
  return refs.toSorted((a, b) => since(a) - since(b) || inSubmitOrder(a.id, b.id));
}

function stretchOf(tree: Tree, facts: Facts, state: State, leaves: readonly Leaf[], placed: Set<string>, newestFirst: boolean): Stretch {
  let rows = 0;
  const arrays = new Map<string, State>();
  for (const { shelf } of leaves) {
    rows += shelf.alone;
    for (const [base, n] of shelf.parts ?? []) {
      if (!facts.folds(base)) {
        rows += n;
        continue;
      }
      const whole = stateOfAll(tree.totals.parts.get(base)?.counts ?? {});
      // Its row is where the state of the whole is.
      if (whole !== state || placed.has(base)) continue;
      placed.add(base);
      arrays.set(base, whole);
      rows++;
    }
  }
  return { rows, leaves, arrays, refs: undefined, newestFirst };
}

/** By the list of leaves, which is another one when a directory comes or goes. */
const groupings = new WeakMap<readonly Leaf[], Leaf[][]>();

function grouped(leaves: readonly Leaf[], key: (leaf: Leaf) => string, order: (a: Leaf, b: Leaf) => number): Leaf[][] {
  const known = groupings.get(leaves);
  if (known !== undefined) return known;
  const groups = new Map<string, Leaf[]>();
  for (const leaf of leaves) {
    const there = groups.get(key(leaf));
    if (there === undefined) groups.set(key(leaf), [leaf]);
    else there.push(leaf);
  }
  const found = [...groups.values()].toSorted(([a], [b]) => order(a!, b!));
  groupings.set(leaves, found);
  return found;
}

const prioOf = ({ place }: Leaf): number => (place.state === 'queued' ? place.priority : 0);
const dueOf = ({ place }: Leaf): number => (place.state === 'delayed' ? place.dueAt : 0);

function claimKey(leaf: Leaf): string {
  return `${prioOf(leaf)} ${leaf.bucket}`;
}

function claimOrder(a: Leaf, b: Leaf): number {
  return prioOf(b) - prioOf(a) || oldestFirst(a.bucket, b.bucket);
}

function oldKey(leaf: Leaf): string {
  return `${dueOf(leaf)} ${leaf.bucket}`;
}

function oldOrder(a: Leaf, b: Leaf): number {
  return dueOf(a) - dueOf(b) || oldestFirst(a.bucket, b.bucket);
}

function newest(leaves: readonly Leaf[]): Leaf[][] {
  const known = groupings.get(leaves);
  if (known !== undefined) return known;
  const found = leaves.toSorted((a, b) => newestBucketFirst(a.bucket, b.bucket)).map((leaf) => [leaf]);
  groupings.set(leaves, found);
  return found;
}

/** By the seconds; then tasks that are alone before submissions, each in its own order. */
function oldestFirst(a: string, b: string): number {
  const [x, y] = [a.slice(0, 7), b.slice(0, 7)];
  return x === y ? newestBucketFirst(a, b) : x < y ? -1 : 1;
}
