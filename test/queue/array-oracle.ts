/**
 * What must hold of an array at every moment, watched from the calls that took effect: each of its elements is covered by exactly one
 * entry (a cut that was committed counts with what is staged beside it), names that were claimed never come back, no element runs
 * twice at once, and none runs again after its end was written down.
 */
import fs from 'node:fs';
import { numbersIn } from '../../src/task/array.ts';
import { isTerminal, STATES, type Cause, type Outcome, type State, type Task, type TerminalState } from '../../src/task/types.ts';
import { stateOfAll, type Counts } from '../../src/task/many.ts';
import { baseId, parseEntry, parseRest, pieceOf } from '../../src/queue/layout.ts';
import { parseJournal } from '../../src/queue/pieces.ts';
import { type Call, type Proc, Violation, type World } from './harness.ts';

interface Covering {
  path: string;
  state: State;
  session: string | undefined;
  n: number;
  lo: number;
  hi: number;
  /** The name of the part that was cut off, as long as it lies beside it. */
  rest: { name: string; lo: number; hi: number } | undefined;
}

interface Element {
  /** The highest attempt that any session had; and the step of its last claim by a worker. */
  claimed: number;
  claimedAt: number;
  /** How it ended, as published; undefined before, and again when it was retried. */
  ended: TerminalState | undefined;
  started: Set<number>;
  running: { session: string; n: number; condemned: boolean } | undefined;
  /** The step after which a cancel of it was promised. */
  canceledAt: number | undefined;
  /** The step at which a retry last took it out of its end. */
  retriedAt: number;
}

export interface KnownArray {
  id: string;
  task: Task;
  elements: Map<number, Element>;
  entries: Map<string, Covering>;
  acked: boolean;
  removing: boolean;
  retried: Array<{ lo: number; hi: number; n: number }>;
  /** All of it has ended. */
  ended: boolean;
  /** Endings of the whole from which something follows, and what has followed. */
  endings: number;
  followed: string[];
  /** The ending that had come when something followed last. */
  followedAt: number;
}

const HOOKS: Partial<Record<State, keyof Task>> = { done: 'onSuccess', failed: 'onFailure', canceled: 'onCancel' };

/** Who a session belongs to and whether it was given up: what the oracle of single tasks knows. */
export interface Sessions {
  owner(session: string): Proc | undefined;
  isCondemned(session: string): boolean;
}

const SET = /^set\.([a-z]+)\./;

export class ArrayOracle {
  readonly known = new Map<string, KnownArray>();
  /** Whether nothing is done at the same time as a retry. */
  isExact = true;
  private readonly world: World;
  private readonly sessions: Sessions;

  constructor(world: World, sessions: Sessions) {
    this.world = world;
    this.sessions = sessions;
  }

  /** Whether a path is about an array, which is then no business of anybody else. */
  owns(path: string | undefined): boolean {
    const id = path === undefined ? undefined : idIn(path);
    return id !== undefined && this.known.has(baseId(id));
  }

  /** Makes an array known when its file first comes to a place. */
  meet(to: string): boolean {
    const id = idIn(to);
    if (id === undefined || !id.includes('.') || stateAt(to) === undefined || this.known.has(baseId(id))) return this.owns(to);
    let task: Task;
    try {
      task = JSON.parse(fs.readFileSync(this.world.absolute(to), 'utf8')) as Task; // written by the code under test
    } catch {
      return false;
    }
    if (task.many === undefined) return false;
    this.learn({ ...task, id: baseId(task.id) });
    return true;
  }

  private learn(task: Task): KnownArray {
    const elements = new Map<number, Element>();
    for (const n of numbersIn(task.many!.numbers, 0, 999_999_999)) {
      elements.set(n, {
        claimed: 0,
        claimedAt: -1,
        ended: undefined,
        started: new Set(),
        running: undefined,
        canceledAt: undefined,
        retriedAt: -1,
      });
    }
    const nothing = { acked: false, removing: false, retried: [], ended: false, endings: 0, followed: [], followedAt: 0 };
    const a: KnownArray = { id: task.id, task, elements, entries: new Map(), ...nothing };
    this.known.set(task.id, a);
    return a;
  }

  acked(task: Task): void {
    const a = this.known.get(task.id);
    if (a === undefined) this.fail(`${task.id} was promised and is nowhere`, task.id);
    a!.acked = true;
    this.check(a!);
  }

  /** A cancel of these elements that began at step `since` was promised. */
  canceled(id: string, lo: number, hi: number, since: number): void {
    for (const [n, e] of this.known.get(id)?.elements ?? []) if (n >= lo && n <= hi && e.retriedAt < since) e.canceledAt = this.world.steps;
  }

  saw(call: Call, echo: boolean): void {
    const { op, path, target, proc } = call;
    if (op === 'rename') this.renamed(proc, path, target!, echo);
    else if (op === 'link') this.linked(path);
    else if (op === 'append') this.wrote(path);
    else if (op === 'unlink') this.unlinked(path);
    else if (op === 'create') this.made(path);
  }

  private made(path: string): void {
    const m = /^runs\/.*\/([0-9a-z]+\.[\d-]+)\.a(\d+)\.retried$/.exec(path);
    if (m !== null) this.of(m[1]!)?.retried.push({ ...pieceOf(m[1]!)!, n: Number(m[2]) });
  }

  private linked(path: string): void {
    const gone = /^gone\/.*\/([0-9a-z]+)\.[a-z]+$/.exec(path);
    if (gone !== null) this.known.get(gone[1]!)!.removing = true;
    if (path.endsWith('.ndjson')) return this.wrote(path);
    const m = /^runs\/.*\/([0-9a-z]+\.\d+)\.a(\d+)\.json$/.exec(path);
    if (m === null) return;
    const { next } = JSON.parse(fs.readFileSync(this.world.absolute(path), 'utf8')) as Outcome; // as above
    const { lo } = pieceOf(m[1]!)!;
    const e = this.of(m[1]!)?.elements.get(lo);
    if (e !== undefined && isTerminal(next.state)) e.ended = next.state;
  }

  /** Lines in the journal of an entry: ends, unless whoever wrote them was given up before. */
  private wrote(path: string): void {
    const m = /\/([0-9a-z]+)\.(\d+)\.a(\d+)\.ndjson$/.exec(path);
    const a = m === null ? undefined : this.known.get(m[1]!);
    if (a === undefined) return;
    const [lo, n] = [Number(m![2]), Number(m![3])];
    for (const line of parseJournal(fs.readFileSync(this.world.absolute(path), 'utf8')).ended.values()) {
      const e = a.elements.get(line.n);
      if (e === undefined || line.state === 'again' || e.running?.condemned === true) continue;
      if (![...a.entries.values()].some((c) => c.lo === lo && c.n === n && line.n >= c.lo && line.n <= c.hi)) continue;
      e.ended = line.state;
    }
  }

  private unlinked(path: string): void {
    const a = this.at(path);
    const rest = path.startsWith('running/') ? parseRest(nameOf(path)) : undefined;
    if (a === undefined) return;
    if (rest !== undefined) for (const c of a.entries.values()) if (beside(c, path)) c.rest = undefined;
    a.entries.delete(path);
    this.check(a);
  }

  private renamed(proc: Proc, from: string, to: string, echo: boolean): void {
    const a = this.at(to) ?? this.at(from);
    if (a === undefined) return;
    const before = a.entries.get(from);
    const restOf = [...a.entries.values()].find((c) => beside(c, from));
    const owner = before?.session === undefined ? proc : this.sessions.owner(before.session);
    if (!echo && owner !== proc && owner?.status === 'runs' && !this.sessions.isCondemned(before!.session!))
      this.fail(`V3: ${proc.name} takes ${from} away from a live session`, a.id);
    a.entries.delete(from);
    if (restOf !== undefined) restOf.rest = undefined;
    const after = this.coveringAt(to);
    if (after !== undefined) {
      if (a.entries.has(to) && !from.endsWith('.new')) this.fail(`${from} is renamed over ${to}`, a.id);
      a.entries.set(to, after);
      if (!from.endsWith('.new')) this.checkMove(a, before, restOf, after);
    }
    this.check(a);
  }

  private checkMove(a: KnownArray, before: Covering | undefined, restOf: Covering | undefined, after: Covering): void {
    const source = before ?? restOf;
    for (const [n, e] of covered(a, after)) {
      if (after.state === 'running' && source?.session !== after.session) {
        if (after.n <= e.claimed) this.fail(`V2: ${after.path} is claimed, and element ${n} was as attempt ${e.claimed}`, a.id);
        e.claimed = after.n;
        if (!SET.test(after.session!)) e.claimedAt = this.world.steps;
      } else if (after.n < e.claimed) this.fail(`V2: ${after.path} comes back after attempt ${e.claimed} of element ${n}`, a.id);
      if (after.state === 'running' || source === undefined) continue;
      if (isTerminal(after.state)) {
        if (e.ended !== undefined && e.ended !== after.state) this.fail(`element ${n} ended ${e.ended} and goes to ${after.path}`, a.id);
        e.ended = after.state;
      } else if (isTerminal(source.state)) {
        if (!a.retried.some((r) => r.lo <= n && n <= r.hi && r.n >= source.n))
          this.fail(`V5: element ${n} leaves ${source.path} without a retry`, a.id);
        e.ended = undefined;
        e.canceledAt = undefined;
        e.retriedAt = this.world.steps;
      }
    }
  }

  /** V1: each element by exactly one. */
  private check(a: KnownArray): void {
    if (a.removing || (!a.acked && a.entries.size === 0)) return;
    for (const n of a.elements.keys()) {
      const by = [...a.entries.values()].filter(
        (c) => (c.lo <= n && n <= c.hi) || (c.rest !== undefined && c.rest.lo <= n && n <= c.rest.hi),
      );
      if (by.length !== 1) this.fail(`V1: element ${n} of ${a.id} is covered by ${by.length}: ${by.map((c) => c.path).join(', ')}`, a.id);
    }
    const state = this.stateOf(a.id);
    const ended = state !== undefined && isTerminal(state) && [...a.elements.keys()].every((n) => isTerminal(this.stateOfElement(a, n)!));
    const hook = state === undefined ? undefined : HOOKS[state];
    if (ended && !a.ended && hook !== undefined && a.task[hook] !== undefined) a.endings++;
    a.ended = ended;
  }

  /** D6: once for each ending of the whole, and only when it has come. */
  follows(cause: Cause, by: string): void {
    const a = this.known.get(cause.id);
    a?.followed.push(by);
    if (a !== undefined) a.followedAt = a.endings;
    if (a === undefined || a.followed.length > a.endings)
      this.fail(`${by} follows from an end of ${cause.id}: ${a?.followed.join(', ')} for ${a?.endings} endings`, cause.id);
  }

  /** An element begins for real. */
  start(session: string, id: string, attempt: number): void {
    const a = this.of(id)!;
    const { lo: n } = pieceOf(id)!;
    const e = a.elements.get(n)!;
    if (e.started.has(attempt)) this.fail(`${id}.a${attempt} starts a second time`, a.id);
    if (e.running !== undefined && !e.running.condemned)
      this.fail(`${id}.a${attempt} starts in ${session} while attempt ${e.running.n} runs in ${e.running.session}`, a.id);
    if (e.ended !== undefined) this.fail(`V5: ${id}.a${attempt} starts after it ended ${e.ended}`, a.id);
    if (e.canceledAt !== undefined && e.claimedAt > e.canceledAt && !this.isAsked(a.id, n))
      this.fail(`${id}.a${attempt} starts, was claimed at ${e.claimedAt}, and its cancel was promised at ${e.canceledAt}`, a.id);
    e.started.add(attempt);
    e.running = { session, n: attempt, condemned: false };
  }

  /** A request that is still to be carried on to where the element is now. */
  private isAsked(base: string, n: number): boolean {
    const running = this.world.absolute('running');
    const names = fs.readdirSync(running).flatMap((session) => fs.readdirSync(`${running}/${session}`));
    const requests = names.map(parseEntry).filter((e) => e?.cancel === true && baseId(e.id) === base);
    return requests.some((e) => pieceOf(e!.id)!.lo <= n && n <= pieceOf(e!.id)!.hi);
  }

  end(id: string): void {
    const e = this.of(id)?.elements.get(pieceOf(id)!.lo);
    if (e !== undefined) e.running = undefined;
  }

  /** What a session runs was ended by whoever gave it up; or, with its process, by itself. */
  condemn(session: string): void {
    for (const e of this.running(session)) e.running!.condemned = true;
  }

  died(proc: Proc): void {
    for (const a of this.known.values())
      for (const e of a.elements.values())
        if (e.running !== undefined && this.sessions.owner(e.running.session) === proc) e.running = undefined;
  }

  private running(session: string): Element[] {
    return [...this.known.values()].flatMap((a) => [...a.elements.values()].filter((e) => e.running?.session === session));
  }

  final(): void {
    for (const a of this.known.values()) {
      if (!a.acked || a.removing) continue;
      this.check(a);
      // An end that lasted a moment only may be taken for none: a retry that began before it came.
      const missed = this.isExact ? a.followed.length < a.endings : a.ended && a.followedAt < a.endings;
      if (missed) this.fail(`${a.id} ended ${a.endings} times, followed by ${a.followed.join(', ')}`, a.id);
      for (const [n, e] of a.elements) {
        if (e.running !== undefined) this.fail(`element ${n} of ${a.id} runs still`, a.id);
        const state = this.stateOfElement(a, n);
        if (state === undefined || (!isTerminal(state) && state !== 'held'))
          this.fail(`element ${n} of ${a.id} has not ended: ${state}`, a.id);
        if (e.ended !== undefined && e.ended !== state) this.fail(`element ${n} of ${a.id} ended ${e.ended} and is ${state}`, a.id);
      }
    }
  }

  private stateOfElement(a: KnownArray, n: number): State | undefined {
    const by = [...a.entries.values()].find((c) => (c.lo <= n && n <= c.hi) || (c.rest !== undefined && c.rest.lo <= n && n <= c.rest.hi));
    // What is being split is what it was.
    const home = by?.session === undefined ? undefined : SET.exec(by.session)?.[1];
    return (home as State | undefined) ?? by?.state;
  }

  /** The states of the elements in their order. */
  states(id: string): State[] {
    const a = this.known.get(id);
    return a === undefined || a.entries.size === 0 ? [] : [...a.elements.keys()].flatMap((n) => this.stateOfElement(a, n) ?? []);
  }

  /** The state of the whole. */
  stateOf(id: string): State | undefined {
    const counts: Counts = {};
    const states = this.states(id);
    for (const s of states) counts[s] = (counts[s] ?? 0) + 1;
    return states.length === 0 ? undefined : stateOfAll(counts);
  }

  /** Whether something of an array is runnable, or held by a session of this worker. */
  isBusy(worker: string): boolean {
    return [...this.known.values()].some((a) =>
      [...a.entries.values()].some((c) => c.state === 'queued' || c.session?.startsWith(`${worker}.`) === true),
    );
  }

  /** Arrays of which something can still go on. */
  open(): KnownArray[] {
    return [...this.known.values()].filter(
      (a) => a.acked && !a.removing && [...a.entries.values()].some((c) => !isTerminal(c.state) && c.state !== 'held'),
    );
  }

  paths(): string[] {
    return [...this.known.values()].flatMap((a) => [...a.entries.keys()]);
  }

  private of(id: string): KnownArray | undefined {
    return this.known.get(baseId(id));
  }

  private at(path: string): KnownArray | undefined {
    const id = idIn(path);
    return id === undefined ? undefined : this.of(id);
  }

  private coveringAt(path: string): Covering | undefined {
    const state = stateAt(path);
    const e = parseEntry(nameOf(path));
    const piece = e === undefined || e.cancel ? undefined : pieceOf(e.id);
    if (state === undefined || e === undefined || piece === undefined) return undefined;
    const { lo, hi } = piece;
    let rest: Covering['rest'];
    if (e.cut !== undefined) {
      const name = `${piece.base}.${e.cut}.a${e.n}.rest`;
      const [from = '', to = from] = e.cut.split('-');
      if (fs.existsSync(this.world.absolute(`${path.slice(0, path.lastIndexOf('/'))}/${name}`)))
        rest = { name, lo: Number(from), hi: Number(to) };
    }
    return { path, state, session: state === 'running' ? path.split('/')[1] : undefined, n: e.n, lo, hi, rest };
  }

  private fail(message: string, word: string): never {
    throw new Violation(`${message}\n${this.world.trace(word).join('\n')}`);
  }
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}

/** Whether the file at `path` is the part that was cut off this one. */
function beside(c: Covering, path: string): boolean {
  return c.rest !== undefined && path === `${c.path.slice(0, c.path.lastIndexOf('/'))}/${c.rest.name}`;
}

function covered(a: KnownArray, c: Covering): Array<[number, Element]> {
  return [...a.elements].filter(([n]) => c.lo <= n && n <= c.hi);
}

function stateAt(path: string): State | undefined {
  const top = path.slice(0, path.indexOf('/'));
  return (STATES as readonly string[]).includes(top) ? (top as State) : undefined;
}

/** The id that a path is about, with the part of an array that it names. */
function idIn(path: string): string | undefined {
  return /^([0-9a-z]{10,16}(?:\.\d+(?:-\d+)?)?)[.+]/.exec(`${nameOf(path)}.`)?.[1];
}
