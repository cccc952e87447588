/**
 * What `tq top` shows, taken from the queue: counts and order from the names in its directories, and the files of those tasks alone that
 * are on the screen. The first look answers with what is known after a moment, and the rest is counted in slices of a few milliseconds
 * between which keys are answered. After that a look costs a bounded number of calls whatever the queue's size: what runs is looked at
 * each time, a task that left it or came to it names the directories that changed, and a slow round through all of them finds what
 * nobody told of.
 */
import { readArray, type ArrayNow } from '../queue/array.ts';
import { serverNow } from '../queue/clock.ts';
import { bucketOf, idTime, inSubmitOrder, queueOfLane, type Entry } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import type { RunningNow } from '../queue/registry.ts';
import { shelvesOf } from '../queue/shelves.ts';
import { bell } from '../queue/signal.ts';
import { parseSession } from '../queue/session.ts';
import { isOther, openTail, type Tail } from '../queue/tail.ts';
import { giveMemoryBack, type System } from '../system.ts';
import { indexFrom, numberAt } from '../task/array.ts';
import type { StatusWord } from '../task/farm.ts';
import { stateOfAll } from '../task/many.ts';
import type { FilterRow } from '../task/selector.ts';
import { isTerminal, STATES, TERMINAL, type State } from '../task/types.ts';
import { ended, makeRows } from './compose.ts';
import { newEndings } from './endings.ts';
import { parseFilter, passesAll, passesByName, type Filter } from './filter.ts';
import { makeFiles, type Known } from './files.ts';
import type { Ask, Column, Row, Snapshot, Store, WorkerRow } from './model.ts';
import { refsOf, stretchesOf, type Facts, type Ref, type Stretch } from './rows.ts';
import { makeTree } from './tree.ts';

/** A worker as it was seen, and what it says that it runs. */
export interface Seen {
  row: WorkerRow;
  session: string;
  running: readonly RunningNow[];
}

/** How the store sees workers; what they are is not its business. */
export interface Eyes {
  names(): Promise<readonly string[]>;
  /** `now` is the file server's time. Undefined: there never was one of that name. */
  look(name: string, now: number): Promise<Seen | undefined>;
  /** One word for the farm, from the counts and the workers that were looked at. */
  word(counts: Readonly<Record<State, number>>): Promise<StatusWord>;
}

/** Over a network the journal is read at each third look. */
const TAIL_EVERY = 3;
/** How long the first look may take, and any later one wait for something new, ms. */
const FIRST_MS = 120;
const LATER_MS = 30;
/** The rows in sight have at least so long to be read, ms. */
const ROWS_MS = 10;
/** Work in the background stops for others after this long, ms. */
const SLICE_MS = 6;
/** A search takes all the time that is left for so long, then half of it, ms. */
const EAGER_MS = 2000;
/** The queue is looked at again after this long at the earliest, ms. */
const PACE_MS = 500;
const NETWORK_PACE_MS = 2000;
/** Directories of the slow round that are looked at each time, and workers besides those with tasks on the screen. */
const STEPS = 40;
const NETWORK_STEPS = 1;
const WORKERS = 15;
const NETWORK_WORKERS = 1;
/** On a local disk all of them are looked at once, up to this many. */
const MOST_AT_FIRST = 500;
/** Directories that are read until what they held is forgotten; of a thousand names each. */
const STEPS_IN_MEMORY = 80;
/** Directories in which something was seen to change, each time. */
const CHANGED = 24;
const NETWORK_CHANGED = 1;
/** A look that takes so long means that the directory does not answer, ms. */
const HANGS_MS = 5000;
/** Over a network: files that are read for rows from one look at the queue to the next; and the list of workers is kept for so long, ms. */
const NETWORK_READS = 24;
const NAMES_MS = 10_000;
/** Submissions of which one task is remembered. */
const MOST_SAMPLES = 1000;
/** Rows that a filter or an order keeps, or that an unfolded submission has. */
const MOST_KEPT = 20_000;

export async function openStore(q: Queue, system: Pick<System, 'now' | 'monotonic'>, eyes: Eyes): Promise<Store> {
  const tree = makeTree(q);
  const shelves = shelvesOf(q);
  const files = makeFiles(q);
  const workers = new Map<string, Seen>();
  const arrays = new Map<string, { signature: string; now: ArrayNow | undefined; readMs: number; tookMs: number }>();
  const kinds = new Map<string, boolean>();
  const runs = new Map<string, { run: RunningNow; worker: string }>();
  /** The tasks of submissions that are unfolded. */
  const inside = new Map<string, { touches: number; refs: readonly Ref[] }>();
  /** One task of each submission that is on the screen: what they have in common is in its file. */
  const samples = new Map<string, Known | null>();
  const changed = new Set<string>();
  const endings = newEndings();
  let running = new Map<string, string>();
  let isWritable = true;
  const phase = { complete: false, closed: false };
  let clockSkew = 0;
  let rung = '';
  let word: StatusWord = 'empty';
  let wordAtMs = Number.NEGATIVE_INFINITY;
  let refreshed = Number.NEGATIVE_INFINITY;
  let refreshing: Promise<void> | undefined;
  let refreshingSince = 0;
  let unreachableSince: number | null = null;
  let last: Snapshot | undefined;
  let shown: readonly Ref[] = [];
  let tail: Tail | undefined;
  let tailed = 0;
  let nextWorker = 0;
  let names: readonly string[] = [];
  let namesAtMs = Number.NEGATIVE_INFINITY;
  let reads = Number.POSITIVE_INFINITY;
  let nextSession = 0;
  const stretches = new Map<Facts, { changes: number; runs: number; list: Stretch[] }>();
  let runsSeen = 0;
  let runsKnown = '';
  let search: Search | undefined;
  let searching: Promise<void> | undefined;

  const serverTime = (): number => system.now() + clockSkew;
  const rowOf = makeRows({ q, files, runs, workers, array: (id) => arrays.get(id)?.now, serverTime });
  const facts: Facts = {
    isArray: (base) => kinds.get(base) === true,
    folds: (base) => kinds.has(base),
    startedAt: (id, n) => runs.get(`${id}.a${n}`)?.run.startedAt,
  };

  /** A filter and an order ask for each task by itself; elements of arrays have no files. */
  const singly: Facts = { ...facts, folds: facts.isArray };

  // --- looking at the queue

  let turnEndsMs = 0;
  /** Between two calls of a refresh, which on a local disk never wait: lets others have their turn after a slice. */
  const turn = async (): Promise<void> => {
    if (system.monotonic() < turnEndsMs) return;
    await breathe();
    turnEndsMs = system.monotonic() + SLICE_MS;
  };

  const lookAtWorkers = async (most: number): Promise<void> => {
    if (!q.network || system.monotonic() - namesAtMs > NAMES_MS) {
      namesAtMs = system.monotonic();
      names = await eyes.names();
    }
    const there = new Set(names);
    for (const name of workers.keys()) if (!there.has(name)) workers.delete(name);
    const wanted = new Set<string>();
    const shownOnes = new Set<string>();
    for (const ref of shown) if (ref.leaf.place.state === 'running') shownOnes.add(parseSession(ref.leaf.place.session)?.owner ?? '');
    // Over a network these take turns too, but more often than the others.
    if (!q.network) for (const name of shownOnes) wanted.add(name);
    else if (shownOnes.size > 0) wanted.add([...shownOnes][nextWorker % shownOnes.size]!);
    for (let i = 0; i < Math.min(most, names.length); i++) wanted.add(names[nextWorker++ % names.length]!);
    for (const name of wanted) {
      if (!there.has(name)) continue;
      await turn();
      const seen = await eyes.look(name, serverTime());
      for (const run of workers.get(name)?.running ?? []) runs.delete(`${run.id}.a${run.attempt}`);
      if (seen === undefined) {
        workers.delete(name);
        continue;
      }
      workers.set(name, seen);
      for (const run of seen.running) runs.set(`${run.id}.a${run.attempt}`, { run, worker: name });
    }
    const now = [...runs.keys()].join(' ');
    if (now !== runsKnown) runsSeen++;
    runsKnown = now;
  };

  /** The journal names tasks that moved. It is only quick, never sure: nothing rests on it. Over a network each writer's file is a call. */
  const readTail = async (): Promise<void> => {
    if (!phase.complete || (q.network && tailed++ % TAIL_EVERY > 0)) return;
    try {
      if (tail === undefined) tail = await openTail(q, serverTime());
      else for (const line of await tail.read(serverTime())) if (!isOther(line)) changed.add(bucketOf(line.task));
    } catch {
      tail = undefined;
    }
  };

  /** What began or ended since names the buckets in which something changed. */
  const lookAtRunning = async (): Promise<void> => {
    await tree.lookAtSessions(phase.complete ? someSessions() : undefined);
    const now = new Map<string, string>();
    for (const leaf of tree.leaves('running')) for (const e of leaf.running) now.set(e.name, e.id);
    for (const [name, id] of now) if (!running.has(name)) changed.add(bucketOf(id));
    for (const [name, id] of running) if (!now.has(name)) changed.add(bucketOf(id));
    running = now;
    for (const bucket of [...changed].slice(0, q.network ? NETWORK_CHANGED : CHANGED)) {
      changed.delete(bucket);
      await turn();
      await tree.lookAtBucket(bucket, q.network ? ['queued', 'done', 'failed'] : ['queued', ...TERMINAL, 'delayed']);
    }
  };

  /** The sessions with rows on the screen; on a local disk all that ran something; and of the others some each time. */
  const someSessions = (): Set<string> => {
    const wanted = new Set<string>();
    for (const ref of shown) if (ref.leaf.place.state === 'running') wanted.add(ref.leaf.place.session);
    if (!q.network)
      for (const leaf of tree.leaves('running'))
        if (leaf.running.length > 0 && leaf.place.state === 'running') wanted.add(leaf.place.session);
    const all = tree.sessions();
    for (let i = 0; i < Math.min(q.network ? NETWORK_WORKERS : WORKERS, all.length); i++) wanted.add(all[nextSession++ % all.length]!);
    return wanted;
  };

  const learnKinds = async (until: number): Promise<void> => {
    for (const [base, { leaf }] of tree.totals.parts) {
      if (kinds.has(base)) continue;
      const is = await shelves.isArray(base, leaf.dir);
      if (is !== undefined) kinds.set(base, is);
      if (system.monotonic() > until) return;
    }
  };

  /** Arrays that are on the screen, as far as they changed, and none that takes long more than a tenth of the time. */
  const readArrays = async (until: number): Promise<void> => {
    const ids = new Set(shown.flatMap((ref) => (ref.kind === 'array' ? [ref.id] : ref.kind === 'element' ? [ref.array] : [])));
    for (const id of arrays.keys()) if (!ids.has(id) && !tree.totals.parts.has(id)) arrays.delete(id);
    for (const id of ids) {
      const counts = tree.totals.parts.get(id)?.counts ?? {};
      const signature = JSON.stringify(counts);
      const known = arrays.get(id);
      const now = system.monotonic();
      if (known !== undefined && now - known.readMs < 10 * known.tookMs) continue;
      const moves = (counts.running ?? 0) > 0;
      if (known !== undefined && known.signature === signature && (!moves || now - known.readMs < (q.network ? 5000 : PACE_MS))) continue;
      const array = await readArray(q, id);
      arrays.set(id, { signature, now: array, readMs: system.monotonic(), tookMs: system.monotonic() - now });
      if (array !== undefined) endings.array(id, ended(array.counts));
      if (system.monotonic() > until) return;
    }
  };

  const refresh = async (): Promise<void> => {
    reads = q.network ? NETWORK_READS : Number.POSITIVE_INFINITY;
    await q.fsx.stat(q.lay.config);
    await lookAtWorkers(q.network ? NETWORK_WORKERS : WORKERS);
    const changes = tree.changes();
    await readTail();
    await lookAtRunning();
    const now = await bell(q);
    await turn();
    if (now !== rung) {
      rung = now;
      await tree.lookAtNewest();
    }
    for (let i = 0; phase.complete && i < (q.network ? NETWORK_STEPS : STEPS); i++) {
      await turn();
      await tree.step();
    }
    await turn();
    await learnKinds(system.monotonic() + SLICE_MS);
    await readArrays(system.monotonic() + SLICE_MS);
    // What was seen to be empty counts only if the queue was there all the time.
    if (!q.network || tree.changes() !== changes) await q.fsx.stat(q.lay.config);
    if (phase.complete) endings.tasks(endedTasks(), system.monotonic());
    if (!q.network || system.monotonic() - wordAtMs > HANGS_MS) await findWord();
    unreachableSince = null;
  };

  const findWord = async (): Promise<void> => {
    wordAtMs = system.monotonic();
    word = await eyes.word(totalCounts());
  };

  const startRefresh = (): Promise<void> => {
    if (refreshing !== undefined) return refreshing;
    refreshingSince = system.monotonic();
    refreshing = refresh()
      .catch(() => {
        unreachableSince ??= system.now();
      })
      .finally(() => {
        refreshing = undefined;
        refreshed = system.monotonic();
      });
    return refreshing;
  };

  /** The first round through everything, in slices. */
  const countAll = async (): Promise<void> => {
    let stop = system.monotonic() + SLICE_MS;
    let steps = 0;
    while (!phase.closed) {
      try {
        if (!(await tree.step())) break;
      } catch {
        unreachableSince ??= system.now();
        await sleep(PACE_MS);
      }
      // A million names are read here, and none of them is kept.
      if (++steps % STEPS_IN_MEMORY === 0) giveMemoryBack();
      if (system.monotonic() < stop) continue;
      await breathe();
      stop = system.monotonic() + SLICE_MS;
    }
    while (!phase.closed && [...tree.totals.parts.keys()].some((base) => !kinds.has(base))) {
      const before = kinds.size;
      await learnKinds(system.monotonic() + SLICE_MS).catch(() => undefined);
      if (kinds.size === before) break;
      await breathe();
    }
    endings.tasks(endedTasks(), system.monotonic());
    // What was said before went by fewer.
    await findWord().catch(() => undefined);
    phase.complete = true;
    shelves.save();
    giveMemoryBack();
  };

  // --- counts

  const totalCounts = (): Record<State, number> => {
    const counts = { ...tree.totals.alone };
    for (const [base, s] of tree.totals.parts) {
      if (kinds.get(base) === true) counts[stateOfAll(s.counts)]++;
      else for (const state of STATES) counts[state] += s.counts[state] ?? 0;
    }
    return counts;
  };

  const endedTasks = (): number => {
    let n = 0;
    for (const state of TERMINAL) n += tree.totals.alone[state];
    for (const [base, s] of tree.totals.parts) if (kinds.get(base) !== true) n += ended(s.counts);
    return n;
  };

  /** Tasks and elements that can run and have not ended. */
  const left = (counts: Readonly<Record<State, number>>): number => {
    let n = counts.queued + counts.running;
    for (const [base, s] of tree.totals.parts) {
      const array = arrays.get(base)?.now;
      if (kinds.get(base) !== true || array === undefined || isTerminal(stateOfAll(s.counts))) continue;
      n += (array.counts.queued ?? 0) + (array.counts.running ?? 0) - 1;
    }
    return Math.max(0, n);
  };

  // --- rows

  const currentStretches = (how = facts): Stretch[] => {
    let known = stretches.get(how);
    if (known?.changes !== tree.changes() || known.runs !== runsSeen) {
      known = { changes: tree.changes(), runs: runsSeen, list: stretchesOf(tree, how, undefined) };
      stretches.set(how, known);
    }
    return known.list;
  };

  const refsIn = async (stretch: Stretch, how = facts): Promise<Ref[]> => {
    if (stretch.refs !== undefined) return [...stretch.refs];
    const listed: Array<readonly Entry[]> = [];
    for (const leaf of stretch.leaves) listed.push(await tree.names(leaf));
    return refsOf(stretch, listed, how);
  };

  /** The rows below an unfolded one, without making them. */
  const elementsOf = (ref: Ref, unfolded: ReadonlySet<string>): number => {
    if (!unfolded.has(ref.id)) return 0;
    if (ref.kind === 'array') return arrays.get(ref.id)?.now?.many.size ?? 0;
    return ref.kind === 'group' ? (inside.get(ref.id)?.refs.length ?? 0) : 0;
  };

  /** Finds the tasks of the submissions that are unfolded, where something changed since. */
  const lookInside = async (unfolded: ReadonlySet<string>): Promise<void> => {
    for (const base of inside.keys()) if (!unfolded.has(base)) inside.delete(base);
    for (const base of unfolded) {
      if (kinds.get(base) !== false || inside.get(base)?.touches === tree.touches()) continue;
      const touches = tree.touches();
      const refs: Ref[] = [];
      for (const state of STATES) {
        for (const leaf of tree.leaves(state)) {
          if (leaf.shelf.parts?.has(base) !== true || refs.length >= MOST_KEPT) continue;
          for (const e of await tree.names(leaf))
            if (e.id.startsWith(`${base}.`)) refs.push({ kind: 'task', id: e.id, n: e.n, name: e.name, leaf, isInside: true });
        }
      }
      inside.set(base, { touches, refs: refs.toSorted((a, b) => inSubmitOrder(a.id, b.id)) });
    }
  };

  /** Rows `from` to `to` of a list in which arrays may be unfolded. */
  const cutOut = (refs: readonly Ref[], from: number, to: number, unfolded: ReadonlySet<string>): Ref[] => {
    const found: Ref[] = [];
    let at = 0;
    for (const ref of refs) {
      if (at >= to) break;
      const size = elementsOf(ref, unfolded);
      if (at >= from) found.push(ref);
      at++;
      if (ref.kind === 'group' && size > 0) found.push(...inside.get(ref.id)!.refs.slice(Math.max(0, from - at), Math.max(0, to - at)));
      const numbers = size === 0 || ref.kind !== 'array' ? undefined : arrays.get(ref.id)!.now!.many.numbers;
      // An array that is folded has no numbers here.
      const end = numbers === undefined ? 0 : Math.min(size, to - at);
      for (let i = Math.max(0, from - at); i < end; i++)
        found.push({ kind: 'element', id: `${ref.id}.${numberAt(numbers!, i)}`, array: ref.id, index: i, leaf: ref.leaf });
      at += size;
    }
    return found;
  };

  interface Window {
    refs: Ref[];
    offset: number;
    matching: number;
    reach: number;
    total: number;
  }

  const plainWindow = async (ask: Ask): Promise<Window> => {
    const list = currentStretches();
    const isOpen = (s: Stretch): boolean =>
      ask.unfolded.size > 0 &&
      ([...s.arrays.keys()].some((id) => ask.unfolded.has(id)) || (s.refs?.some((ref) => ask.unfolded.has(ref.id)) ?? false));
    await lookInside(ask.unfolded);
    const opened = new Map<Stretch, Ref[]>();
    const sizes: number[] = [];
    for (const s of list) {
      let rows = s.rows;
      if (isOpen(s)) {
        const refs = await refsIn(s);
        opened.set(s, refs);
        rows = refs.reduce((n, ref) => n + 1 + elementsOf(ref, ask.unfolded), 0);
      }
      sizes.push(rows);
    }
    const total = sizes.reduce((n, rows) => n + rows, 0);
    let offset = Math.max(0, Math.min(ask.offset, total - 1));
    const at = ask.cursor === null ? undefined : await positionOf(ask.cursor, list, sizes, opened, ask.unfolded);
    if (at !== undefined) offset = inSight(at, offset, ask.rows);
    const refs: Ref[] = [];
    let begin = 0;
    for (const [i, s] of list.entries()) {
      const end = begin + sizes[i]!;
      if (end > offset && begin < offset + ask.rows) {
        const all = opened.get(s) ?? (await refsIn(s));
        refs.push(...cutOut(all, Math.max(0, offset - begin), offset + ask.rows - begin, ask.unfolded));
      }
      begin = end;
      if (begin >= offset + ask.rows) break;
    }
    return { refs, offset, matching: total, reach: total, total };
  };

  /** Where the row with this id is. */
  const positionOf = async (
    id: string,
    list: readonly Stretch[],
    sizes: readonly number[],
    opened: ReadonlyMap<Stretch, Ref[]>,
    unfolded: ReadonlySet<string>,
  ): Promise<number | undefined> => {
    const bucket = bucketOf(id);
    const base = id.split('.')[0]!;
    let begin = 0;
    for (const [i, s] of list.entries()) {
      if (
        opened.has(s) ||
        s.refs !== undefined ||
        s.arrays.has(id) ||
        s.leaves.some((leaf) => leaf.bucket === bucket || leaf.bucket === '')
      ) {
        let at = begin;
        for (const ref of opened.get(s) ?? (await refsIn(s))) {
          if (ref.id === id) return at;
          const size = elementsOf(ref, unfolded);
          if (ref.kind === 'group' && size > 0 && ref.id === base) {
            const k = inside.get(base)!.refs.findIndex((one) => one.id === id);
            if (k >= 0) return at + 1 + k;
          }
          const numbers = size > 0 && ref.kind === 'array' && ref.id === base ? arrays.get(base)!.now!.many.numbers : undefined;
          const wanted = Number(id.slice(base.length + 1));
          const k = numbers === undefined ? 0 : indexFrom(numbers, wanted);
          if (numbers !== undefined && numberAt(numbers, k) === wanted) return at + 1 + k;
          at += 1 + size;
        }
      }
      begin += sizes[i]!;
    }
    return undefined;
  };

  // --- filters and orders

  /** A list that is gone through once: for a filter, or an order that names do not have. */
  interface Search {
    key: string;
    filter: Filter;
    states: readonly State[] | undefined;
    column: Column | null;
    reverse: boolean;
    /** The first ones of its order, of those that were found so far. */
    found: Found[];
    isSorted: boolean;
    /** None that comes after this one is kept. */
    last: Found | undefined;
    matching: number;
    isComplete: boolean;
    beganMs: number;
    endedMs: number;
    touches: number;
    /** The next one, which takes its place when it is complete. */
    next: Search | undefined;
  }

  /** What its place in the order depends on is kept with it: what was read of its file is soon forgotten. */
  interface Found {
    ref: Ref;
    key: string | number | null;
    /** How many were found before it. */
    at: number;
  }

  const newSearch = (key: string, filter: Filter, column: Column | null, reverse: boolean): Search => {
    const { states, failed } = filter.filters;
    const asked = failed === true ? (['failed'] as const) : states;
    return {
      key,
      filter,
      states: asked,
      column,
      reverse,
      found: [],
      isSorted: true,
      last: undefined,
      matching: 0,
      isComplete: false,
      beganMs: system.monotonic(),
      endedMs: 0,
      touches: tree.touches(),
      next: undefined,
    };
  };

  const rowFor = (ref: Ref): FilterRow => {
    const known = ref.kind === 'task' ? files.known(ref.id, ref.n) : undefined;
    const array = ref.kind === 'array' ? arrays.get(ref.id)?.now : undefined;
    const task = array?.task;
    const place = ref.leaf.place;
    return {
      state: stateOf(ref),
      queue: known?.queue ?? task?.queue ?? (place.state === 'queued' ? queueOfLane(place.lane) : ''),
      group: known?.group ?? task?.group,
      labels: known?.labels ?? task?.labels,
      name: known?.title ?? task?.name,
      user: known?.user ?? task?.submittedBy.user ?? '',
      worker: place.state === 'running' ? parseSession(place.session)?.owner : undefined,
      submittedAt: idTime(ref.id),
    };
  };

  const runSearch = async (s: Search): Promise<void> => {
    let stop = system.monotonic() + SLICE_MS;
    const readsAll = s.filter.needsFile || (s.column !== null && !BY_NAME.has(s.column));
    for (const stretch of stretchesOf(tree, singly, s.states)) {
      let refs: Ref[];
      try {
        refs = await refsIn(stretch, singly);
      } catch {
        continue;
      }
      for (const ref of refs) {
        if (phase.closed || (search !== s && search?.next !== s)) return;
        if (
          passesByName(s.filter, ref.id, rowFor(ref)) &&
          (!readsAll || (await readFor(ref))) &&
          passesAll(s.filter, ref.id, rowFor(ref))
        ) {
          keep(s, ref);
        }
        if (system.monotonic() < stop) continue;
        // Who has waited for a moment already can wait twice as long, and others need the processor too.
        await (system.monotonic() - s.beganMs > EAGER_MS ? sleep(SLICE_MS) : breathe());
        stop = system.monotonic() + SLICE_MS;
      }
      // The directories come in one by one while they are counted the first time.
      if (system.monotonic() >= stop) {
        await breathe();
        stop = system.monotonic() + SLICE_MS;
      }
    }
    s.isComplete = phase.complete;
    s.endedMs = system.monotonic();
  };

  const keep = (s: Search, ref: Ref): void => {
    const one = { ref, key: s.column === null ? s.matching : sortKey(ref, s.column), at: s.matching++ };
    if (s.last !== undefined && inOrderOf(s)(one, s.last) > 0) return;
    s.found.push(one);
    s.isSorted = false;
    if (s.found.length >= 2 * MOST_KEPT) putInOrder(s);
  };

  const putInOrder = (s: Search): void => {
    if (s.isSorted) return;
    s.found.sort(inOrderOf(s));
    if (s.found.length >= MOST_KEPT) s.found.length = MOST_KEPT;
    s.last = s.found[MOST_KEPT - 1];
    s.isSorted = true;
  };

  /** Those that lack it come last either way, equal ones as they were found. */
  const inOrderOf =
    ({ reverse }: Search) =>
    (a: Found, b: Found): number => {
      if (a.key === b.key) return a.at - b.at;
      if (a.key === null || b.key === null) return a.key === null ? 1 : -1;
      return a.key < b.key === reverse ? 1 : -1;
    };

  /** Runs a newer search beside the one that is shown. */
  const replaceBy = async (next: Search): Promise<void> => {
    await runSearch(next);
    if (search?.next === next) search = next;
  };

  const readFor = async (ref: Ref): Promise<true> => {
    if (ref.kind === 'task') {
      if (files.known(ref.id, ref.n) === undefined) await files.read(ref.leaf, ref);
    } else if (ref.kind === 'array' && !arrays.has(ref.id)) {
      const began = system.monotonic();
      const now = await readArray(q, ref.id).catch(() => undefined);
      const signature = JSON.stringify(tree.totals.parts.get(ref.id)?.counts ?? {});
      arrays.set(ref.id, { signature, now, readMs: system.monotonic(), tookMs: system.monotonic() - began });
    }
    return true;
  };

  const searchWindow = async (ask: Ask, filter: Filter): Promise<Window & { isComplete: boolean }> => {
    const column = ask.sort === 'state' ? null : ask.sort;
    const key = JSON.stringify([ask.filter, column]);
    if (search?.key === key && search.reverse !== ask.reverse && search.endedMs > 0 && search.matching === search.found.length) {
      search = { ...search, reverse: ask.reverse, isSorted: false, next: undefined };
    }
    if (search?.key !== key || search.reverse !== ask.reverse) {
      search = newSearch(key, filter, column, ask.reverse);
      searching = runSearch(search);
    } else if (search.endedMs > 0 && search.next === undefined && (search.touches !== tree.touches() || !search.isComplete)) {
      const took = search.endedMs - search.beganMs;
      if (system.monotonic() - search.endedMs > Math.max(PACE_MS, 20 * took)) {
        const next = newSearch(key, filter, column, ask.reverse);
        search.next = next;
        searching = replaceBy(next);
      }
    }
    await Promise.race([searching, sleep(LATER_MS)]);
    putInOrder(search);
    const refs = search.found.map(({ ref }) => ref);
    const sizes = refs.map((ref) => 1 + elementsOf(ref, ask.unfolded));
    const rows = sizes.reduce((n, size) => n + size, 0);
    let offset = Math.max(0, Math.min(ask.offset, rows - 1));
    if (ask.cursor !== null) {
      const base = ask.cursor.split('.')[0]!;
      let at = 0;
      for (const [i, ref] of refs.entries()) {
        if (ref.id === ask.cursor || (ref.kind === 'array' && ref.id === base && sizes[i] === 1)) {
          offset = inSight(at, offset, ask.rows);
          break;
        }
        at += sizes[i]!;
      }
    }
    return {
      refs: cutOut(refs, offset, offset + ask.rows, ask.unfolded),
      offset,
      matching: Math.max(search.matching, rows),
      reach: rows,
      total: currentStretches(singly).reduce((n, s) => n + s.rows, 0),
      isComplete: search.isComplete,
    };
  };

  const sortKey = (ref: Ref, column: Column): string | number | null => {
    const row = rowFor(ref);
    switch (column) {
      case 'id':
        return ref.id;
      case 'age':
        return -row.submittedAt;
      case 'priority':
        return ref.leaf.place.state === 'queued'
          ? -ref.leaf.place.priority
          : ref.kind === 'task'
            ? -(files.known(ref.id, ref.n)?.priority ?? 0)
            : 0;
      case 'name':
        return row.name ?? null;
      case 'queue':
        return row.queue;
      case 'group':
        return row.group ?? null;
      case 'user':
        return row.user;
      case 'worker':
        return row.worker ?? null;
      case 'time':
        return ref.kind === 'task' ? (facts.startedAt(ref.id, ref.n) ?? null) : null;
      default:
        return null;
    }
  };

  // --- what is shown

  const stateOf = (ref: Ref): State =>
    ref.kind === 'task'
      ? ref.leaf.state
      : ref.kind === 'array'
        ? (arrays.get(ref.id)?.now?.state ?? ref.state)
        : ref.kind === 'group'
          ? ref.state
          : 'queued';

  /** Reads what the rows need, as far as it can be done by then. */
  const prepare = async (refs: readonly Ref[], until: number): Promise<Map<Ref, Row>> => {
    const rows = new Map<Ref, Row>();
    for (const ref of refs) {
      const hurry = system.monotonic() > until || reads <= 0;
      if (ref.kind === 'task') {
        if (!hurry && files.known(ref.id, ref.n) === undefined && !files.isGone(ref.leaf, ref)) {
          reads--;
          await files.read(ref.leaf, ref);
        }
        const { state } = ref.leaf;
        const hasPast = state === 'held' || isTerminal(state) || (ref.n > 0 && state !== 'running');
        if (!hurry && hasPast && files.past(ref.id, ref.n, state) === undefined) {
          reads--;
          await files.readPast(ref.id, ref.n, state);
        }
        rows.set(ref, rowOf.task(ref));
      } else if (ref.kind === 'array') {
        if (!hurry && !arrays.has(ref.id)) await readFor(ref);
        rows.set(ref, rowOf.array(ref, stateOf(ref)));
      } else if (ref.kind === 'group') {
        if (!hurry && !samples.has(ref.id)) await readSample(ref);
        rows.set(ref, rowOf.group(ref, tree.totals.parts.get(ref.id)?.counts ?? {}, samples.get(ref.id)));
      } else {
        rows.set(ref, await rowOf.element(ref, hurry));
      }
    }
    return rows;
  };

  const readSample = async (ref: Ref): Promise<void> => {
    const e = (await tree.names(ref.leaf)).find(({ id }) => id.startsWith(`${ref.id}.`));
    if (e === undefined) return;
    reads--;
    await files.read(ref.leaf, e);
    const known = files.known(e.id, e.n);
    if (known !== undefined) samples.set(ref.id, known);
    if (samples.size > MOST_SAMPLES) samples.delete(samples.keys().next().value!);
  };

  const snapshot = async (ask: Ask): Promise<Snapshot> => {
    const until = system.monotonic() + LATER_MS;
    const parsed = parseFilter(ask.filter, serverTime());
    const filter = 'filter' in parsed ? parsed.filter : undefined;
    const plain = ask.filter.trim() === '' && (ask.sort === null || ask.sort === 'state') && !ask.reverse;
    if (plain || filter === undefined) search = undefined;
    const window = plain || filter === undefined ? { ...(await plainWindow(ask)), isComplete: true } : await searchWindow(ask, filter);
    shown = window.refs;
    // A search that goes on has used the time up, and its many reads have driven out what was known of the rows in sight.
    const rows = await prepare(window.refs, Math.max(until, system.monotonic() + ROWS_MS));
    const counts = totalCounts();
    const rate = endings.rate(system.monotonic());
    const rest = left(counts);
    return {
      at: serverTime(),
      dir: q.dir,
      word,
      counts,
      throughput: endings.points(system.monotonic()),
      rate,
      etaMs: rate > 0 && rest > 0 ? Math.round((rest / rate) * 1000) : null,
      workers: [...workers.values()].map((seen) => seen.row).toSorted((a, b) => (a.name < b.name ? -1 : 1)),
      rows: window.refs.map((ref) => {
        const row = rows.get(ref)!;
        return row.isFolded === null ? row : { ...row, isFolded: !ask.unfolded.has(row.id) };
      }),
      offset: window.offset,
      matching: window.matching,
      reach: window.reach,
      total: window.total,
      isComplete: phase.complete && window.isComplete,
      unreachableSince,
      isWritable,
      filterError: 'error' in parsed ? parsed.error : null,
    };
  };

  let begun = false;
  const begin = async (): Promise<void> => {
    begun = true;
    try {
      clockSkew = (await serverNow(q)) - system.now();
    } catch {
      isWritable = false;
    }
    // Over a network they come one by one.
    await lookAtWorkers(q.network ? NETWORK_WORKERS : MOST_AT_FIRST).catch(() => undefined);
    void countAll();
  };

  return {
    async look(ask) {
      const now = system.monotonic();
      if (!begun) {
        await begin();
        while (!phase.complete && system.monotonic() - now < FIRST_MS) await breathe();
        // A refresh may take longer than anybody waits for the first answer.
        if (!phase.complete && !q.network) await findWord().catch(() => undefined);
        await Promise.race([startRefresh(), sleep(LATER_MS)]);
      } else if (now - refreshed >= (q.network ? NETWORK_PACE_MS : PACE_MS)) {
        await Promise.race([startRefresh(), sleep(LATER_MS)]);
      }
      if (refreshing !== undefined && system.monotonic() - refreshingSince > HANGS_MS)
        unreachableSince ??= system.now() - (system.monotonic() - refreshingSince);
      if (unreachableSince !== null && last !== undefined) return { ...last, unreachableSince };
      try {
        last = await snapshot(ask);
      } catch {
        unreachableSince ??= system.now();
        last = last === undefined ? { ...nothing(q.dir, system.now()), unreachableSince } : { ...last, unreachableSince };
      }
      return last;
    },
    async close() {
      phase.closed = true;
      shelves.save();
    },
  };
}

/** Columns for which no file has to be read. */
const BY_NAME: ReadonlySet<Column> = new Set(['id', 'state', 'age', 'worker', 'time']);

function nothing(dir: string, at: number): Snapshot {
  return {
    at,
    dir,
    word: 'empty',
    counts: Object.fromEntries(STATES.map((s) => [s, 0])) as Record<State, number>,
    throughput: [],
    rate: 0,
    etaMs: null,
    workers: [],
    rows: [],
    offset: 0,
    matching: 0,
    reach: 0,
    total: 0,
    isComplete: false,
    unreachableSince: null,
    isWritable: false,
    filterError: null,
  };
}

function inSight(at: number, offset: number, rows: number): number {
  if (at < offset) return at;
  return at >= offset + rows ? at - rows + 1 : offset;
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}

/** Lets keys, timers and replies have their turn. */
function breathe(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
