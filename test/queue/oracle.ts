/**
 * What must hold at every moment and at the end, watched from the calls that took effect: one entry for each task, names that
 * never come back, sessions that are left alone until they are condemned, logs before starts, outcomes before ends and written
 * once, one admitted task for each key, nothing before its time. The oracle knows more than any process: what was promised to
 * whom, and which attempts really run.
 */
import fs from 'node:fs';
import { isTerminal, STATES, type FollowKind, type Outcome, type State, type Task } from '../../src/task/types.ts';
import { baseId, digest, parseDueMinute, parseDueSecond, parseEntry } from '../../src/queue/layout.ts';
import { ArrayOracle } from './array-oracle.ts';
import { type Call, type Proc, Violation, type World } from './harness.ts';

/** A task file in a place. */
export interface Spot {
  path: string;
  state: State;
  /** Of a task in running. */
  session: string | undefined;
  n: number;
}

/** What is known of one task. */
export interface Known {
  id: string;
  /** As it was written. */
  task: Task | undefined;
  /** Its id was printed. */
  acked: boolean;
  /** A removal has taken it out of its terminal place; and was reported. */
  removing: boolean;
  removed: boolean;
  spots: Map<string, Spot>;
  /** The highest attempt that any session had. */
  claimed: number;
  /** Attempts at which it ended, and for which a retry was recorded. */
  ended: Map<number, State>;
  retried: Set<number>;
  started: Set<number>;
  outcomes: Map<number, Outcome>;
  /** Attempts beside which a request to cancel was made. */
  asked: Set<number>;
  /** Attempts whose request came too late to end the task. */
  late: Set<number>;
  /** Steps at which a cancel that was promised had begun, and at which a retry last took the task out of its end. */
  cancels: number[];
  retryAt: number;
  /** Who wanted it canceled, and when that one was done; undefined: not yet. */
  wishes: Array<{ by: Proc; toStep: number | undefined }>;
  released: boolean;
  changed: boolean;
  /** The follow-ups that its endings have made, by attempt and kind. */
  followed: Map<string, string>;
}

interface Running {
  id: string;
  n: number;
  session: string;
  /** Its session was condemned since: whoever did that has ended its processes. */
  condemned: boolean;
}

const HOOKS: Partial<Record<State, { kind: FollowKind; field: 'onSuccess' | 'onFailure' | 'onCancel' }>> = {
  done: { kind: 'on-success', field: 'onSuccess' },
  failed: { kind: 'on-failure', field: 'onFailure' },
  canceled: { kind: 'on-cancel', field: 'onCancel' },
};

const SET = /^set\.(queued|waiting|delayed|held)\./;

export class Oracle {
  readonly world: World;
  readonly tasks = new Map<string, Known>();
  readonly running = new Map<string, Running>();
  readonly arrays: ArrayOracle;
  private readonly limits = new Map<string, number>();
  /** Published outcomes that were made so far, for tests that count them. */
  published = 0;
  private readonly logs = new Map<string, Proc>();
  private readonly owners = new Map<string, Proc>();
  private readonly condemned = new Set<string>();
  private readonly condemnedAt = new Map<string, number>();
  /** Burials under way of sessions that may live. */
  private readonly burials = new Map<string, Set<Proc>>();

  constructor(world: World) {
    this.world = world;
    this.arrays = new ArrayOracle(world, {
      owner: (session) => this.owners.get(session),
      isCondemned: (session) => this.condemned.has(session),
    });
    world.observers.push((call, _value, echo) => this.saw(call, echo));
    world.mourners.push((proc) => this.died(proc));
  }

  known(id: string): Known {
    let k = this.tasks.get(id);
    if (k === undefined) {
      k = {
        id,
        task: undefined,
        acked: false,
        removing: false,
        removed: false,
        spots: new Map(),
        claimed: 0,
        ended: new Map(),
        retried: new Set(),
        started: new Set(),
        outcomes: new Map(),
        asked: new Set(),
        late: new Set(),
        cancels: [],
        retryAt: -1,
        wishes: [],
        released: false,
        changed: false,
        followed: new Map(),
      };
      this.tasks.set(id, k);
    }
    return k;
  }

  /** From now on at most `max` tokens of this limit may have a holder, and as many shares run. */
  limit(name: string, max: number): void {
    this.world.observers.push(({ op, target }) => {
      if (op !== 'rename' || !target!.startsWith(`limits/${name}/max.`)) return;
      const tokens = fs.readdirSync(this.world.absolute(`limits/${name}/max.0`)).filter((token) => !token.startsWith('.'));
      const held = tokens.filter((token) => !token.endsWith('.free'));
      if (held.length > max) this.fail(`${held.join(' ')} are held at once, and the limit is ${max}`, name);
      if (new Set(tokens.map((token) => token.split('.')[0])).size !== tokens.length)
        this.fail(`a token is there twice: ${tokens.join(' ')}`, name);
    });
    this.limits.set(name, max);
  }

  /** An id was printed. */
  acked(task: Task): void {
    if (task.many !== undefined) return this.arrays.acked(task);
    const k = this.known(task.id);
    k.acked = true;
    k.task ??= task;
    this.checkOne(k);
  }

  removed(id: string): void {
    const k = this.known(id);
    k.removed = true;
    if (k.spots.size > 0) this.fail(`${id} was reported as removed and lies in ${where(k)}`, id);
  }

  /** Somebody begins to cancel the task. */
  wished(id: string, by: Proc): void {
    this.known(id).wishes.push({ by, toStep: undefined });
  }

  canceled(id: string, sinceStep: number): void {
    this.known(id).cancels.push(sinceStep);
  }

  /** A burial on suspicion begins: what the session runs is ended first, as its guardian does for a silent worker. */
  condemn(session: string, by: Proc): void {
    this.condemned.add(session);
    this.condemnedAt.set(session, this.world.steps);
    const there = this.burials.get(session) ?? new Set();
    there.add(by);
    this.burials.set(session, there);
    for (const r of this.running.values()) if (r.session === session) r.condemned = true;
    this.arrays.condemn(session);
  }

  buried(session: string, by: Proc): void {
    this.burials.get(session)?.delete(by);
  }

  /** The session's own heartbeat was seen after any burial of it: it may start tasks again. */
  confirm(session: string): void {
    for (const by of this.burials.get(session) ?? []) if (by.status === 'runs') return;
    this.condemned.delete(session);
  }

  mayStart(session: string): boolean {
    return !this.condemned.has(session);
  }

  /** Somebody gave the session up since `step`. */
  wasCondemned(session: string, step: number): boolean {
    return (this.condemnedAt.get(session) ?? -1) >= step;
  }

  /** An attempt begins for real. */
  start(proc: Proc, session: string, id: string, n: number): void {
    if (this.arrays.known.has(baseId(id))) {
      if (this.logs.get(`${id}.a${n}`) !== proc)
        this.fail(`V4: ${id}.a${n} is started by ${proc.name}, and its log was made by another`, id);
      return this.arrays.start(session, id, n);
    }
    const k = this.known(id);
    const name = `${id}.a${n}`;
    if (k.started.has(n)) this.fail(`${name} starts a second time`, id);
    if (this.logs.get(name) !== proc)
      this.fail(`V4: ${name} is started by ${proc.name}, its log was made by ${this.logs.get(name)?.name ?? 'nobody'}`, id);
    if (k.removed) this.fail(`${name} starts and was removed`, id);
    for (const r of this.running.values()) {
      if (r.id === id && !r.condemned) this.fail(`${name} starts in ${session} while ${id}.a${r.n} runs in ${r.session}`, id);
    }
    for (const [m, o] of k.outcomes) {
      if (m < n && isTerminal(o.next.state) && !retriedSince(k, m, n))
        this.fail(`V5: ${name} starts after ${id}.a${m} ended ${o.next.state}`, id);
      if (m === n && !this.condemned.has(session)) this.fail(`${name} starts after its outcome ${o.outcome} was published`, id);
    }
    const t = k.task;
    if (t !== undefined && !k.changed && k.retried.size === 0) {
      if (t.notBefore !== undefined && this.world.nowMs < t.notBefore)
        this.fail(`${name} starts ${t.notBefore - this.world.nowMs} ms before its time`, id);
      if (t.expiresAt !== undefined && this.world.nowMs > t.expiresAt + 1000 && !this.beganBefore(id, n))
        this.fail(`${name} starts after it expired`, id);
    }
    if (t?.hold === true && !k.released && k.retried.size === 0)
      this.fail(`${name} was submitted held and starts without having been released`, id);
    for (const { name: limit, n: shares } of k.task?.limits ?? []) {
      const others = [...this.running.values()].filter((r) => !r.condemned).map((r) => this.known(r.id).task?.limits ?? []);
      const used = others.flat().reduce((sum, l) => sum + (l.name === limit ? l.n : 0), shares);
      if (used > (this.limits.get(limit) ?? used)) this.fail(`${name} starts as ${used} shares of ${limit}`, id);
    }
    k.started.add(n);
    this.running.set(name, { id, n, session, condemned: false });
  }

  /** An earlier attempt has left a log: for all that can be known it had begun. */
  private beganBefore(id: string, n: number): boolean {
    for (let m = 0; m < n; m++) if (this.logs.has(`${id}.a${m}`)) return true;
    return false;
  }

  /** An attempt's processes are gone. */
  end(id: string, n: number): void {
    this.arrays.end(id);
    this.running.delete(`${id}.a${n}`);
  }

  /** A process died, and everything that it ran with it. */
  private died(proc: Proc): void {
    this.arrays.died(proc);
    for (const [name, r] of this.running) if (this.owners.get(r.session) === proc) this.running.delete(name);
  }

  private saw(call: Call, echo: boolean): void {
    const { op, path, target, proc } = call;
    if (this.arrays.owns(path) || this.arrays.owns(target) || (op === 'rename' && this.arrays.meet(target!))) {
      // Their logs are told apart by who made them, as all are.
      if (op === 'open') this.made(proc, path);
      return this.arrays.saw(call, echo);
    }
    if (op === 'rename') this.renamed(proc, path, target!, echo);
    else if (op === 'unlink') this.unlinked(path);
    else if (op === 'link') this.linked(path);
    else if (op === 'create' || op === 'open') this.made(proc, path);
    else if (op === 'mkdir' && /^running\/[^./][^/]*$/.test(path)) this.opened(proc, path.slice('running/'.length), echo);
  }

  /** A session begins, or a directory comes back that was removed to revoke it. */
  private opened(proc: Proc, session: string, echo: boolean): void {
    if (this.owners.has(session) && !echo) this.fail(`${proc.name} makes running/${session} again`, session);
    if (!this.owners.has(session)) this.owners.set(session, proc);
  }

  private made(proc: Proc, path: string): void {
    const m = /^runs\/.*\/([0-9a-z]+(?:\.\d+)?)\.a(\d+)\.(log|retried)$/.exec(path);
    if (m !== null) {
      if (m[3] === 'log') this.logs.set(`${m[1]}.a${m[2]}`, proc);
      else this.known(m[1]!).retried.add(Number(m[2]));
      return;
    }
    this.requested(path);
    const e = parseEntry(path.slice(path.lastIndexOf('/') + 1));
    if (e?.cancel === false && stateOf(path) !== undefined) this.fail(`${proc.name} makes ${path} out of nothing`, e.id);
  }

  private requested(path: string): void {
    const e = path.startsWith('running/') ? parseEntry(path.slice(path.lastIndexOf('/') + 1)) : undefined;
    if (e?.cancel === true) this.known(e.id).asked.add(e.n);
  }

  private linked(path: string): void {
    this.requested(path);
    const m = /^runs\/.*\/([0-9a-z]+(?:\.\d+)?)\.a(\d+)\.json$/.exec(path);
    if (m === null) return;
    const k = this.known(m[1]!);
    this.published++;
    k.outcomes.set(Number(m[2]), JSON.parse(fs.readFileSync(this.world.absolute(path), 'utf8')) as Outcome);
  }

  private unlinked(path: string): void {
    const e = path.startsWith('running/') ? parseEntry(path.slice(path.lastIndexOf('/') + 1)) : undefined;
    if (e?.cancel === true) {
      // A request that is carried to a task which has ended meanwhile came too late.
      const k = this.known(e.id);
      if ([...k.spots.values()].some((s) => isTerminal(s.state))) k.late.add(e.n);
    }
    const spot = spotAt(path);
    if (spot === undefined) return;
    const k = this.known(spot.id);
    k.spots.delete(path);
    this.checkOne(k);
  }

  /** A directory takes what is in it along. */
  private renamed(proc: Proc, from: string, to: string, echo: boolean): void {
    const at = this.world.absolute(to);
    if (!/^(?:tmp|intents)\//.test(from) || !fs.existsSync(at) || !fs.statSync(at).isDirectory()) return this.moved(proc, from, to, echo);
    for (const e of fs.readdirSync(at, { recursive: true, withFileTypes: true })) {
      if (e.isDirectory()) continue;
      const name = `${e.parentPath}/${e.name}`.slice(at.length);
      this.moved(proc, `${from}${name}`, `${to}${name}`, echo);
    }
  }

  private moved(proc: Proc, from: string, to: string, echo: boolean): void {
    const a = spotAt(from);
    const b = spotAt(to);
    if (/^runs\/.*\.a\d+\.json$/.test(to)) this.fail(`the outcome ${to} is replaced`, to);
    if (a === undefined && b === undefined) return;
    const k = this.known((a ?? b)!.id);
    if (a !== undefined) {
      const owner = a.session === undefined ? proc : this.owners.get(a.session);
      if (!echo && owner !== proc && owner?.status === 'runs' && !this.condemned.has(a.session!)) {
        this.fail(`V3: ${proc.name} takes ${from} away from a live session`, k.id);
      }
      k.spots.delete(from);
      if (to.startsWith('gone/')) k.removing = true;
    }
    if (b !== undefined) {
      const changing = a === undefined && b.session !== undefined && SET.test(b.session);
      if (changing !== k.spots.has(to)) this.fail(changing ? `${from} brings ${to} back` : `${from} is renamed over ${to}`, k.id);
      k.spots.set(to, { path: to, state: b.state, session: b.session, n: b.n });
      k.task ??= this.read(to, k.id);
      if (!changing) this.checkMove(k, a, b);
      if (from.startsWith('follow/')) this.checkFollowUp(k);
    }
    this.checkOne(k);
  }

  private checkMove(k: Known, a: Found | undefined, b: Found): void {
    const { id } = k;
    if (b.state === 'running') {
      if (b.n <= k.claimed) this.fail(`V2: attempt ${b.n} of ${id} is claimed, and ${k.claimed} was before`, id);
      k.claimed = b.n;
    } else if (b.n < k.claimed) this.fail(`V2: ${b.path} comes back after attempt ${k.claimed} was claimed`, id);
    if (b.state === 'canceled') this.checkWish(k);
    if (isTerminal(b.state)) k.ended.set(b.n, b.state);
    else {
      for (const m of k.ended.keys()) {
        if (b.n <= m) this.fail(`V2: ${id} ended as attempt ${m} and is ${b.path} now`, id);
        if (!retriedSince(k, m, b.n)) this.fail(`V5: ${id} ended as attempt ${m} and is ${b.path} now without a retry`, id);
      }
      if (a !== undefined && isTerminal(a.state)) {
        k.retryAt = this.world.steps;
        for (const wish of k.wishes) if (wish.by.status !== 'runs') wish.toStep ??= this.world.steps - 1;
      }
    }
    if (a?.state === 'running' && isTerminal(b.state) && !SET.test(a.session!)) {
      const o = k.outcomes.get(b.n);
      if (o === undefined) this.fail(`V5: ${b.path} ended before an outcome was published`, id);
      if (o!.next.state !== b.state && !(b.state === 'canceled' && !isTerminal(o!.next.state)))
        this.fail(`${b.path} went against its outcome, which says ${o!.next.state}`, id);
    }
    if (a?.state === 'running' && !isTerminal(b.state) && !SET.test(a.session!)) {
      const o = k.outcomes.get(b.n);
      if (o === undefined) this.fail(`V5: ${b.path} was handed back before an outcome was published`, id);
      if (o!.next.state !== b.state) this.fail(`${b.path} went against its outcome, which says ${o!.next.state}`, id);
    }
    if (a?.state === 'delayed' && (b.state === 'queued' || b.state === 'waiting') && this.world.nowMs < a.dueAt! - 1)
      this.fail(`${a.path} leaves before its time`, id);
    if (
      b.state === 'queued' &&
      a !== undefined &&
      a.state !== 'waiting' &&
      a.state !== 'running' &&
      a.state !== 'queued' &&
      (k.task?.after ?? []).length > 0
    ) {
      this.fail(`${id} has parents and goes from ${a.state} to queued without asking them`, id);
    }
    if (a?.state === 'waiting' && (b.state === 'queued' || b.state === 'delayed')) {
      for (const p of k.task?.after ?? []) {
        const parent = this.tasks.get(p.id);
        if (parent !== undefined && parent.ended.size === 0 && !parent.removing)
          this.fail(`${id} is released and its parent ${p.id} never ended`, id);
      }
    }
  }

  /** One for each ending, and only when it has come. From then on it is promised like any other task. */
  private checkFollowUp(k: Known): void {
    k.acked = true;
    const { cause } = k.task!;
    if (cause === undefined) this.fail(`${k.id} was in follow/ and follows from nothing`, k.id);
    if (cause!.many === true) return this.arrays.follows(cause!, k.id);
    const parent = this.known(cause!.id);
    const ending = `${cause!.attempt} ${cause!.kind}`;
    const ended = parent.ended.get(cause!.attempt);
    if (ended === undefined || HOOKS[ended]?.kind !== cause!.kind)
      this.fail(`${k.id} may run as ${cause!.kind} of ${cause!.id}.a${cause!.attempt}, which is ${ended ?? 'no ending'}`, cause!.id);
    const other = parent.followed.get(ending);
    if (other !== undefined) this.fail(`${cause!.id}.a${ending} is followed by ${other} and by ${k.id}`, cause!.id);
    parent.followed.set(ending, k.id);
  }

  /** What lies ready at the end is for a task that may still end so. */
  private checkReady(name: string): void {
    const { id, cause } = JSON.parse(fs.readFileSync(this.world.absolute(`follow/${name}`), 'utf8')) as Task; // written by the code under test
    if (cause!.many === true) this.fail(`${id} lies ready for the end of ${cause!.id}, which had come before`, cause!.id);
    const at = [...this.known(cause!.id).spots.values()][0];
    if (at === undefined || isTerminal(at.state) || at.n > cause!.attempt)
      this.fail(`${id} lies ready for ${cause!.kind} of ${cause!.id}.a${cause!.attempt}, which is ${at?.path ?? 'gone'}`, cause!.id);
  }

  /** Every ending has made what it was to make, and nothing lies ready for one that did not come. */
  private checkFollowed(k: Known): void {
    for (const [n, state] of k.ended) {
      const hook = HOOKS[state];
      if (hook === undefined || k.task?.[hook.field] === undefined) continue;
      if (!k.followed.has(`${n} ${hook.kind}`)) this.fail(`${k.id} ended ${state} as attempt ${n}, and nothing follows`, k.id);
    }
  }

  /** A request is for the task as it was, not for what a person wants of it later. Keys cancel too, by their own rules. */
  private checkWish(k: Known): void {
    if (k.task?.key !== undefined) return;
    if (!k.wishes.some((w) => w.toStep === undefined || w.toStep >= k.retryAt))
      this.fail(`${k.id} is canceled by a request from before its retry, or by none`, k.id);
  }

  /** V1, and the key of the task. */
  private checkOne(k: Known): void {
    const n = k.spots.size;
    if (n > 1) this.fail(`V1: ${k.id} has ${n} entries: ${where(k)}`, k.id);
    if (n === 0 && k.acked && !k.removing) this.fail(`V1: ${k.id} has no entry`, k.id);
    const key = k.task?.key;
    if (key === undefined) return;
    const admitted = [...this.tasks.values()].filter((o) => o.task?.key === key && [...o.spots.values()].some(isAdmitted));
    if (admitted.length > 1) this.fail(`the key ${key} is held by ${admitted.map((o) => where(o)).join(' and ')}`, k.id);
  }

  private read(path: string, id: string): Task | undefined {
    try {
      return JSON.parse(fs.readFileSync(this.world.absolute(path), 'utf8')) as Task; // written by the code under test
    } catch {
      this.fail(`${path} is no task file`, id);
    }
  }

  /** What must hold once nothing moves any more, nobody runs and no fault is left. */
  final(): void {
    this.compareWithDisk();
    this.arrays.final();
    for (const name of fs.readdirSync(this.world.absolute('follow')).filter((n) => !n.startsWith('.p.'))) this.checkReady(name);
    for (const k of this.tasks.values()) {
      this.checkFollowed(k);
      if (!k.acked || k.removing) continue;
      const spot = [...k.spots.values()][0];
      if (spot === undefined) this.fail(`V1: ${k.id} has no entry`, k.id);
      const held = spot!.state === 'held' || this.waitsForHeld(k, new Set());
      if (!isTerminal(spot!.state) && !held) this.fail(`${k.id} has not ended: ${spot!.path}`, k.id);
      this.checkCancels(k, spot!);
      this.checkParents(k, spot!);
    }
    for (const r of this.running.values()) this.fail(`${r.id}.a${r.n} runs still`, r.id);
  }

  /** Waits for a task that is held, or for one that does. */
  private waitsForHeld(k: Known, seen: Set<string>): boolean {
    if (seen.has(k.id)) return false;
    seen.add(k.id);
    return (k.task?.after ?? []).some((p) => {
      const parent = this.tasks.get(p.id);
      const at = parent === undefined ? undefined : [...parent.spots.values()][0];
      return (
        at !== undefined &&
        [...k.spots.values()].some((s) => s.state === 'waiting') &&
        (at.state === 'held' || this.waitsForHeld(parent!, seen))
      );
    });
  }

  private checkCancels(k: Known, spot: Spot): void {
    if (k.cancels.length === 0 || spot.state === 'canceled') return;
    const last = Math.max(...k.cancels);
    if (k.retryAt >= last) return;
    // The request came beside an attempt that ended for good by itself.
    const final = k.outcomes.get(spot.n);
    if (final !== undefined && isTerminal(final.next.state) && (k.asked.has(spot.n) || k.late.size > 0)) return;
    this.fail(`the cancel of ${k.id} was promised and it is ${spot.path}`, k.id);
  }

  private checkParents(k: Known, spot: Spot): void {
    if (spot.state !== 'skipped') return;
    const parents = k.task?.after ?? [];
    if (parents.length === 0 || k.task?.expiresAt !== undefined) return;
    const good = parents.every((p) => {
      const parent = this.tasks.get(p.id);
      const at = parent === undefined ? undefined : [...parent.spots.values()][0];
      return (
        at !== undefined &&
        (p.kind === 'after-any' || (p.kind === 'after' && at.state === 'done') || (p.kind === 'after-notok' && at.state !== 'done'))
      );
    });
    if (good) this.fail(`${k.id} stays skipped although its parents ended as it wished`, k.id);
  }

  /** What the oracle believes is what lies there. */
  compareWithDisk(): void {
    const onDisk = new Set<string>();
    const walk = (dir: string): void => {
      for (const e of fs.readdirSync(this.world.absolute(dir), { withFileTypes: true })) {
        const path = `${dir}/${e.name}`;
        if (e.isDirectory()) walk(path);
        else if (spotAt(path) !== undefined) onDisk.add(path);
      }
    };
    for (const state of STATES) walk(state);
    if (fs.existsSync(this.world.absolute('intents'))) walk('intents');
    const believed = new Set([...this.tasks.values()].flatMap((k) => [...k.spots.keys()]).concat(this.arrays.paths()));
    for (const path of onDisk) if (!believed.has(path)) throw new Violation(`${path} is there and nobody moved it there`);
    for (const path of believed) if (!onDisk.has(path)) throw new Violation(`${path} is not there and nobody moved it away`);
  }

  fail(message: string, word: string): never {
    throw new Violation(`${message}\n${this.world.trace(word).join('\n')}`);
  }
}

interface Found extends Spot {
  id: string;
  dueAt: number | undefined;
}

/** What is committed and not yet published counts as where it will be. */
const COMMITTED = /^intents\/[^/]+\//;

function stateOf(path: string): State | undefined {
  const top = path.slice(0, path.indexOf('/'));
  return (STATES as readonly string[]).includes(top) ? (top as State) : undefined;
}

/** A path as a task's entry, or undefined. */
export function spotAt(path: string): Found | undefined {
  const place = path.replace(COMMITTED, '');
  const state = stateOf(place);
  if (state === undefined) return undefined;
  const parts = place.split('/');
  const e = parseEntry(parts.at(-1)!);
  if (e === undefined || e.cancel) return undefined;
  const dueAt = state === 'delayed' ? parseDueMinute(parts[1]!)! + parseDueSecond(parts[2]!)! : undefined;
  return { id: e.id, n: e.n, path, state, session: state === 'running' ? parts[1] : undefined, dueAt };
}

function where(k: Known): string {
  return [...k.spots.keys()].join(', ');
}

function retriedSince(k: Known, from: number, to: number): boolean {
  for (let n = from; n < to; n++) if (k.retried.has(n)) return true;
  return false;
}

/** Counts against its key: it may run without asking anybody. What is held or delayed asks on its way out. */
function isAdmitted(s: Spot): boolean {
  if (s.state === 'running') return !SET.test(s.session!) || s.session!.startsWith('set.queued.');
  return s.state === 'queued';
}

export function keyDir(key: string): string {
  return `keys/${digest(key).slice(0, 24)}`;
}
