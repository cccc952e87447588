/**
 * Several simulated processes over one real queue in a temp directory. Each has a queue object of its own, and each of its file
 * calls waits until the scheduler lets it go on, so that exactly one process proceeds at a time and the seed alone decides the
 * order, the faults, the clock and every random number: the same seed is the same run. The scheduler may make a call fail, do it
 * and lose the reply, do it twice (the second time much later), answer a listing from a stale cache, or end the process there.
 */
import { AsyncLocalStorage } from 'node:async_hooks';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import type { FileInfo, Fault, FsOp } from '../../src/queue/fsx.ts';
import { makeId } from '../../src/queue/layout.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import type { HostFacts } from '../../src/queue/session.ts';
import type { TaskDraft } from '../../src/task/build.ts';

/** The first moment of every world; the start of a bucket, so that each run lays its ids out alike. 100 us units, see `makeId`. */
const EPOCH_MS = (36 ** 5 * 293_000) / 10;
/** How far the clock goes on with each file call, ms, and the tick of the simulated server's timestamps. */
const CALL_MS = 0.05;
const TICK_MS = 4;
/** A sleep of at most this long may be over while others are at work, ms. */
const NAP_MS = 1000;
/** Turns of the event loop in which a process must get to its next call; a module that is loaded takes thousands. */
const MOST_TURNS = 2_000_000;

export interface Rng {
  /** 0 up to but not including 1. */
  next(): number;
  /** 0 up to but not including `n`. */
  int(n: number): number;
  chance(p: number): boolean;
  pick<T>(list: readonly T[]): T;
}

/** mulberry32. */
export function makeRng(seed: number): Rng {
  let a = seed >>> 0;
  const next = (): number => {
    a = (a + 0x6d2b79f5) >>> 0;
    let t = a;
    t = Math.imul(t ^ (t >>> 15), t | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 4_294_967_296;
  };
  return {
    next,
    int: (n) => Math.floor(next() * n),
    chance: (p) => p > 0 && next() < p,
    pick: (list) => list[Math.floor(next() * list.length)]!,
  };
}

/** A file call as the scheduler and its observers see it. Paths are relative to the queue. */
export interface Call {
  proc: Proc;
  op: FsOp;
  path: string;
  /** rename: where to; link: what exists. */
  target: string | undefined;
}

/** What is done to one call. `lost`: done, and the code comes back. */
export type Injection =
  | { kind: 'refuse'; code: string }
  | { kind: 'lost'; code: string }
  | { kind: 'crash'; when: 'before' | 'after' }
  | { kind: 'twice' }
  | { kind: 'echo' }
  | { kind: 'stale' };

/** Decides what happens to a call; called once for each, in order. */
export type Faults = (call: Call) => Injection | undefined;

/** Told of every call that took effect, also when its caller is told otherwise. */
export type Observer = (call: Call, value: unknown, echo: boolean) => void;

export interface Proc {
  readonly world: World;
  readonly name: string;
  readonly pid: number;
  readonly host: string;
  readonly facts: HostFacts;
  readonly q: Queue;
  status: 'runs' | 'ended' | 'crashed';
  /** No faults for this one. */
  spared: boolean;
  /** File calls so far; those that change something; those that it waits for now. */
  calls: number;
  mutations: number;
  waits: number;
  /** Not before this step. */
  pausedUntil: number;
  /** What it changed last in a directory: its listings are never older than that. */
  readonly own: Map<string, number>;
}

/** A process and what became of its work. */
export interface Job<T> {
  readonly proc: Proc;
  result: { kind: 'open' } | { kind: 'value'; value: T } | { kind: 'error'; error: unknown };
}

interface Wait extends Call {
  kind: 'call';
  again: () => Promise<unknown>;
  resolve: (fault: Fault | undefined) => void;
  reject: (error: unknown) => void;
}

interface Sleep {
  kind: 'sleep';
  proc: Proc;
  dueMs: number;
  fire: () => void;
  handle: object;
}

export interface WorldOptions {
  seed?: number;
  network?: boolean;
  leaseMs?: number;
}

/** Something that must never be; ends the run. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

const LOOKS: ReadonlySet<FsOp> = new Set(['read', 'list', 'stat', 'fsyncDir']);

export function isMutation(op: FsOp): boolean {
  return !LOOKS.has(op);
}

/** The codes that a call which was done may answer: after a lost reply NFS says EEXIST or ENOENT, a soft mount EIO. */
export function lostCodes(op: FsOp): readonly string[] {
  switch (op) {
    case 'rename':
    case 'unlink':
    case 'rmdir':
      return ['ENOENT', 'EIO'];
    case 'mkdir':
    case 'link':
      return ['EEXIST', 'EIO'];
    // An exclusive create knows its own retransmission by the verifier, and a file that is written is not moved.
    default:
      return ['EIO'];
  }
}

/** The codes with which a call may be refused before it is done, when everything is in order with its names. */
export function refusals(op: FsOp, network: boolean): readonly string[] {
  const stale = network ? ['ESTALE'] : [];
  return LOOKS.has(op) || op === 'unlink' || op === 'rmdir' ? ['EIO', ...stale] : ['EIO', 'ENOSPC', ...stale];
}

const current = new AsyncLocalStorage<Proc>();

export class World {
  readonly dir: string;
  readonly rng: Rng;
  readonly network: boolean;
  readonly leaseMs: number;
  steps = 0;
  nowMs = EPOCH_MS;
  faults: Faults = () => undefined;
  readonly observers: Observer[] = [];
  /** Told of every process that dies. */
  readonly mourners: Array<(proc: Proc) => void> = [];
  readonly jobs: Array<Job<unknown>> = [];
  /** How readily a process is left alone for a long time, and how readily the one that ran goes on. */
  pauses = 0;
  sticky = 0;
  private readonly waits: Array<Wait | Sleep> = [];
  private readonly echoes: Array<{ call: Call; again: () => Promise<unknown> }> = [];
  private readonly versions = new Map<string, string[][]>();
  private readonly times = new Map<number, { born: number; changed: number }>();
  private readonly living = new Map<number, string>();
  private last: Proc | undefined;
  private nextPid = 100;
  private readonly lines: string[] = [];

  private constructor(dir: string, options: WorldOptions) {
    this.dir = dir;
    this.rng = makeRng(options.seed ?? 1);
    this.network = options.network ?? false;
    this.leaseMs = options.leaseMs ?? 30_000;
  }

  /** A fresh queue in a directory of its own. */
  static async make(options: WorldOptions = {}): Promise<World> {
    patch();
    const dir = fs.mkdtempSync(path.join(tempRoot(), 'tq-sim-'));
    const world = new World(`${dir}/q`, options);
    process.env['XDG_STATE_HOME'] = `${dir}/local`;
    await initQueue(world.dir, { shared: false, leaseMs: world.leaseMs }, { network: false });
    if (world.network) await patchHandles(world.dir);
    // Ids count on from the last one of this process, unless that is far away.
    makeId(0, 0);
    return world;
  }

  remove(): void {
    fs.rmSync(path.dirname(this.dir), { recursive: true, force: true });
  }

  /** A new process; it does nothing until `run` gives it something to do. */
  async process(name: string, options: { host?: string; spared?: boolean } = {}): Promise<Proc> {
    const pid = this.nextPid++;
    const host = options.host ?? 'h1';
    const start = String(pid * 7);
    this.living.set(pid, start);
    const facts: HostFacts = {
      host,
      machine: `machine of ${host}`,
      boot: `boot of ${host}`,
      pidNamespace: `processes of ${host}`,
      startOf: (of) => (of < 100 || Number(this.living.get(of) ?? -1) < 0 ? null : this.living.get(of)!),
    };
    const made: { proc?: Proc } = {};
    const q = await openQueue(this.dir, {
      network: this.network,
      fault: (op, at, target, again) => {
        const proc = made.proc;
        // Outside the simulation (a test that looks around) a call passes.
        if (proc === undefined || current.getStore() !== proc) return undefined;
        return new Promise<Fault | undefined>((resolve, reject) => {
          proc.waits++;
          const to = target === undefined ? undefined : this.relative(target);
          this.waits.push({
            kind: 'call',
            proc,
            op,
            path: this.relative(at),
            target: to,
            again: () => current.run(proc, again),
            resolve,
            reject,
          });
        });
      },
    });
    const stem = `${pid.toString(36)}.s`;
    const proc: Proc = {
      world: this,
      name,
      pid,
      host,
      facts,
      q: { ...q, stem, facts: async () => facts },
      status: 'runs',
      spared: options.spared ?? false,
      calls: 0,
      mutations: 0,
      waits: 0,
      pausedUntil: 0,
      own: new Map(),
    };
    made.proc = proc;
    return proc;
  }

  /** Lets a process begin `work`; it proceeds as the scheduler steps. It is over when `work` is. */
  async start<T>(proc: Proc, work: (p: Proc) => Promise<T>): Promise<Job<T>> {
    const job: Job<T> = { proc, result: { kind: 'open' } };
    this.jobs.push(job as Job<unknown>);
    const end = (result: Job<T>['result']): void => {
      if (proc.status === 'crashed') return;
      job.result = result;
      proc.status = 'ended';
      this.forget(proc);
    };
    current.run(proc, () => {
      void work(proc).then(
        (value) => end({ kind: 'value', value }),
        (error: unknown) => end({ kind: 'error', error }),
      );
    });
    await this.rest(proc);
    return job;
  }

  /** A new process that does one thing. */
  async spawn<T>(name: string, work: (p: Proc) => Promise<T>, options: { host?: string; spared?: boolean } = {}): Promise<Job<T>> {
    return this.start(await this.process(name, options), work);
  }

  /** Runs one thing alone and to its end, with nobody else moving; throws what it throws. A crash answers undefined. */
  async alone<T>(name: string, work: (p: Proc) => Promise<T>, options: { host?: string; spared?: boolean } = {}): Promise<T | undefined> {
    const job = await this.spawn(name, work, options);
    await this.finish(job);
    if (job.result.kind === 'error') throw job.result.error;
    return job.result.kind === 'value' ? job.result.value : undefined;
  }

  /** Steps one process alone until it has ended, crashed, or its next call is one that `until` stops. */
  async finish(job: Job<unknown>, until: (call: Call) => boolean = () => false): Promise<void> {
    for (let n = 0; job.proc.status === 'runs'; n++) {
      if (n > 100_000) throw new Violation(`${job.proc.name} does not come to an end`);
      const wait = this.waits.find((w) => w.proc === job.proc);
      if (wait === undefined) throw new Violation(`${job.proc.name} waits for nothing`);
      if (wait.kind === 'call' && until(wait)) return;
      await this.take(wait);
    }
  }

  /** The call that a process is about to make. */
  nextCall(proc: Proc): Call | undefined {
    const w = this.waits.find((x) => x.proc === proc && x.kind === 'call');
    return w?.kind === 'call' ? w : undefined;
  }

  get idle(): boolean {
    return this.waits.length === 0;
  }

  /** One call of one process, as the seed decides. False: nobody waits for anything. */
  async step(): Promise<boolean> {
    if (this.echoes.length > 0 && this.rng.chance(0.01)) {
      await this.echo(this.rng.int(this.echoes.length));
      return true;
    }
    const wait = this.choose();
    if (wait === undefined) return false;
    await this.take(wait);
    return true;
  }

  /** No more faults, pauses or echoes that are still under way. */
  async calm(): Promise<void> {
    this.faults = () => undefined;
    this.pauses = 0;
    for (const w of this.waits) w.proc.pausedUntil = 0;
    while (this.echoes.length > 0) await this.echo(0);
    this.versions.clear();
  }

  /** Ends a process where it is. */
  crash(proc: Proc): void {
    proc.status = 'crashed';
    this.forget(proc);
    this.note(`${proc.name} dies`);
    for (const m of this.mourners) m(proc);
  }

  /** Its calls and timers go with it. */
  private forget(proc: Proc): void {
    this.living.delete(proc.pid);
    for (let i = this.waits.length - 1; i >= 0; i--) if (this.waits[i]!.proc === proc) this.waits.splice(i, 1);
    proc.waits = 0;
  }

  advance(ms: number): void {
    this.nowMs += ms;
  }

  /** The last calls, oldest first; only those about `word`, if given. */
  trace(word?: string): string[] {
    if (word === undefined) return this.lines.slice(-200);
    const about = this.lines.filter((l) => l.includes(word) || l.endsWith('dies')).slice(-200);
    // Of a listing only what it says about the word.
    return about.map((l) =>
      l.replace(
        / \[(.*)\]$/,
        (_all, names: string) =>
          ` [${names
            .split(' ')
            .filter((n) => n.includes(word))
            .join(' ')}]`,
      ),
    );
  }

  note(line: string): void {
    this.lines.push(`${this.steps} ${line}`);
    if (this.lines.length > 20_000) this.lines.splice(0, 10_000);
  }

  relative(p: string): string {
    return p.startsWith(`${this.dir}/`) ? p.slice(this.dir.length + 1) : p === this.dir ? '' : p;
  }

  absolute(p: string): string {
    return p === '' ? this.dir : `${this.dir}/${p}`;
  }

  /** For the patched globals: a timer of a process is a wait like any other. */
  sleep(proc: Proc, fire: () => void, ms: number): object {
    const handle = { unref: (): object => handle, ref: (): object => handle, hasRef: (): boolean => true, refresh: (): object => handle };
    proc.waits++;
    this.waits.push({ kind: 'sleep', proc, dueMs: this.nowMs + ms, fire, handle });
    return handle;
  }

  cancelSleep(handle: unknown): boolean {
    const i = this.waits.findIndex((w) => w.kind === 'sleep' && w.handle === handle);
    if (i < 0) return false;
    this.waits[i]!.proc.waits--;
    this.waits.splice(i, 1);
    return true;
  }

  /** The simulated server's timestamp: a coarse clock. */
  stampMs(): number {
    return Math.floor(this.nowMs / TICK_MS) * TICK_MS;
  }

  private choose(): Wait | Sleep | undefined {
    const { waits, rng } = this;
    if (waits.length === 0) return undefined;
    if (this.last !== undefined && rng.chance(this.sticky)) {
      const same = waits.find((w) => w.proc === this.last && w.kind === 'call');
      if (same !== undefined) return same;
    }
    const calls = waits.filter((w) => w.kind === 'call' && w.proc.pausedUntil <= this.steps);
    const sleeps = waits.filter((w): w is Sleep => w.kind === 'sleep' && w.proc.pausedUntil <= this.steps);
    const first = sleeps.length === 0 ? undefined : sleeps.reduce((a, b) => (a.dueMs <= b.dueMs ? a : b));
    // Whoever sleeps a little may be faster than whoever calls; a long sleep ends when it is time, or when nobody does anything.
    if (
      first !== undefined &&
      (calls.length === 0 || first.dueMs <= this.nowMs || (first.dueMs <= this.nowMs + NAP_MS && rng.chance(0.05)))
    )
      return first;
    return calls.length > 0 ? rng.pick(calls) : rng.pick(waits);
  }

  private async take(wait: Wait | Sleep): Promise<void> {
    const { proc } = wait;
    this.waits.splice(this.waits.indexOf(wait), 1);
    proc.waits--;
    this.steps++;
    this.last = proc;
    if (this.rng.chance(this.pauses)) proc.pausedUntil = this.steps + 1 + this.rng.int(400);
    if (wait.kind === 'sleep') {
      this.nowMs = Math.max(this.nowMs, wait.dueMs);
      current.run(proc, wait.fire);
    } else {
      this.nowMs += CALL_MS;
      await this.perform(wait);
    }
    await this.rest(proc);
  }

  private async perform(wait: Wait): Promise<void> {
    const { proc, op } = wait;
    proc.calls++;
    if (isMutation(op)) proc.mutations++;
    const injection = proc.spared ? undefined : this.faults(wait);
    switch (injection?.kind) {
      case 'refuse':
        this.tell(wait, `refused ${injection.code}`);
        wait.resolve({ kind: 'before', code: injection.code });
        return;
      case 'stale': {
        const names = this.staleListing(wait);
        if (names === undefined) break;
        this.tell(wait, `stale [${names.join(' ')}]`);
        wait.resolve({ kind: 'answer', value: names });
        return;
      }
      case 'crash':
        if (injection.when === 'after') await this.execute(wait).catch(() => undefined);
        this.crash(proc);
        return;
      default:
    }
    let value: unknown;
    try {
      value = await this.execute(wait, injection?.kind === 'lost');
    } catch (error) {
      if (error instanceof Violation) throw error;
      this.tell(wait, (error as NodeJS.ErrnoException).code ?? String(error));
      wait.reject(error);
      return;
    }
    if (injection?.kind === 'lost') {
      if (typeof value === 'number' && op === 'open') fs.closeSync(value);
      this.tell(wait, `done, answered ${injection.code}`);
      wait.reject(Object.assign(new Error(`${injection.code}: reply lost, ${op} '${wait.path}'`), { code: injection.code }));
      return;
    }
    this.tell(wait, Array.isArray(value) ? `[${value.join(' ')}]` : 'ok');
    if (injection?.kind === 'echo') this.echoes.push({ call: wait, again: wait.again });
    if (injection?.kind === 'twice') {
      try {
        this.told(wait, await wait.again(), true);
      } catch (error) {
        if (error instanceof Violation) throw error;
      }
    }
    wait.resolve({ kind: 'answer', value });
  }

  /** Does the call and tells the observers; throws what the file system says. */
  private async execute(wait: Wait, lost = false): Promise<unknown> {
    const dirs = this.network && isMutation(wait.op) ? this.directoriesOf(wait) : [];
    for (const dir of dirs) if (!this.versions.has(dir)) this.versions.set(dir, [this.listNow(dir)]);
    let value = await wait.again();
    for (const dir of dirs) {
      const known = this.versions.get(dir)!;
      known.push(this.listNow(dir));
      if (!lost) wait.proc.own.set(dir, known.length - 1);
    }
    if (wait.op === 'create' || wait.op === 'open' || wait.op === 'touch' || wait.op === 'write') this.stamp(wait.path);
    // In an order of its own a file system would decide what the seed should.
    if (wait.op === 'list') (value as string[]).sort();
    if (wait.op === 'stat' && value !== undefined) value = this.withTimes(value as FileInfo);
    if (wait.op === 'create' && typeof value === 'number') value = this.stampMs();
    if (wait.op === 'write') value = this.stampMs();
    this.told(wait, value, false);
    return value;
  }

  private told(call: Call, value: unknown, echo: boolean): void {
    for (const o of this.observers) o(call, value, echo);
  }

  private async echo(i: number): Promise<void> {
    const [e] = this.echoes.splice(i, 1);
    this.steps++;
    try {
      const value = await e!.again();
      this.tell(e!.call, 'done once more');
      this.told(e!.call, value, true);
    } catch (error) {
      if (error instanceof Violation) throw error;
    }
  }

  private directoriesOf(call: Call): string[] {
    const dirs = [path.posix.dirname(call.path)];
    if (call.op === 'rename') dirs.push(path.posix.dirname(call.target!));
    return dirs.map((d) => (d === '.' ? '' : d));
  }

  private listNow(dir: string): string[] {
    try {
      return fs.readdirSync(this.absolute(dir));
    } catch {
      return [];
    }
  }

  private staleListing(call: Call): string[] | undefined {
    const known = this.versions.get(call.path);
    if (!this.network || call.op !== 'list' || known === undefined || !fs.existsSync(this.absolute(call.path))) return undefined;
    const oldest = Math.max(call.proc.own.get(call.path) ?? 0, known.length - 4, 0);
    if (oldest >= known.length - 1) return undefined;
    return known[oldest + this.rng.int(known.length - 1 - oldest)];
  }

  private stamp(p: string): void {
    try {
      const { ino } = fs.statSync(this.absolute(p));
      const now = this.stampMs();
      this.times.set(ino, { born: this.times.get(ino)?.born ?? now, changed: now });
    } catch {
      // Gone again, or the disk says so itself.
    }
  }

  private withTimes(info: FileInfo): FileInfo {
    const t = this.times.get(info.ino) ?? { born: EPOCH_MS, changed: EPOCH_MS };
    return { ...info, mtimeMs: t.changed, ctimeMs: t.changed, birthtimeMs: t.born };
  }

  /** Until the process waits for a call or a timer, or is over. */
  private async rest(proc: Proc): Promise<void> {
    for (let turns = 0; ; turns++) {
      await new Promise<void>((resolve) => setImmediate(resolve));
      if (proc.status !== 'runs' || proc.waits > 0) return;
      if (turns > MOST_TURNS)
        throw new Violation(`${proc.name} waits for something that is no file call and no timer\n${this.trace().slice(-40).join('\n')}`);
    }
  }

  private tell(call: Call, answer: string): void {
    this.note(`${call.proc.name} ${call.op} ${call.path}${call.target === undefined ? '' : ` -> ${call.target}`}: ${answer}`);
  }
}

function tempRoot(): string {
  try {
    fs.accessSync('/dev/shm', fs.constants.W_OK);
    return '/dev/shm';
  } catch {
    return os.tmpdir();
  }
}

let patched = false;

/** Clock, timers and random numbers of a simulated process are its world's; everybody else's are the real ones. */
function patch(): void {
  if (patched) return;
  patched = true;
  const real = {
    setTimeout: globalThis.setTimeout,
    clearTimeout: globalThis.clearTimeout,
    now: performance.now.bind(performance),
    dateNow: Date.now,
    random: Math.random,
    getRandomValues: crypto.getRandomValues.bind(crypto),
    fstatSync: fs.fstatSync,
  };
  globalThis.setTimeout = ((fn: (...a: unknown[]) => void, ms?: number, ...args: unknown[]) => {
    const proc = current.getStore();
    return proc === undefined ? real.setTimeout(fn, ms, ...args) : proc.world.sleep(proc, () => fn(...args), ms ?? 0);
  }) as typeof setTimeout; // the handle of a simulated timer has what its users call
  globalThis.clearTimeout = ((handle: unknown) => {
    if (current.getStore()?.world.cancelSleep(handle) === true) return;
    real.clearTimeout(handle as NodeJS.Timeout); // a real one then
  }) as typeof clearTimeout;
  const own = (object: object, name: string, value: unknown): void => {
    Object.defineProperty(object, name, { value, configurable: true, writable: true });
  };
  own(performance, 'now', () => {
    const proc = current.getStore();
    return proc === undefined ? real.now() : proc.world.nowMs - performance.timeOrigin;
  });
  const { pid } = process;
  Object.defineProperty(process, 'pid', { get: () => current.getStore()?.pid ?? pid, configurable: true });
  own(Date, 'now', () => current.getStore()?.world.nowMs ?? real.dateNow());
  own(Math, 'random', () => current.getStore()?.world.rng.next() ?? real.random());
  own(crypto, 'getRandomValues', (array: Uint8Array) => {
    const rng = current.getStore()?.world.rng;
    if (rng === undefined) return real.getRandomValues(array as Uint8Array<ArrayBuffer>);
    for (let i = 0; i < array.length; i++) array[i] = rng.int(252);
    return array;
  });
  own(fs, 'fstatSync', (fd: number) => {
    const s = real.fstatSync(fd);
    const proc = current.getStore();
    if (proc !== undefined) s.mtimeMs = proc.world.stampMs();
    return s;
  });
}

let handlesPatched = false;

/** The same for the handles that the pooled calls use. */
async function patchHandles(dir: string): Promise<void> {
  if (handlesPatched) return;
  handlesPatched = true;
  const h = await fs.promises.open(dir, 'r');
  const proto = Object.getPrototypeOf(h) as { stat: (this: unknown) => Promise<fs.Stats> }; // FileHandle is not exported
  await h.close();
  const real = proto.stat;
  proto.stat = async function stat(this: unknown): Promise<fs.Stats> {
    const s = await real.call(this);
    const proc = current.getStore();
    if (proc !== undefined) s.mtimeMs = proc.world.stampMs();
    return s;
  };
}

/** A task that runs `true`; what a test cares about is said by `over`. */
export function draft(over: Partial<TaskDraft> = {}): TaskDraft {
  return {
    queue: 'default',
    priority: 0,
    command: ['true'],
    cwd: '/',
    env: {},
    envMode: 'min',
    submittedBy: { user: 'u', host: 'h' },
    submitDir: '/',
    retries: 0,
    backoff: { kind: 'none' },
    jitter: false,
    graceMs: 10_000,
    onLost: 'requeue',
    split: false,
    ...over,
  };
}

/** The seed of a run: `TQ_SEED`, else always the same one, so that a failure can be played again. */
export function seedOf(): number {
  const given = process.env['TQ_SEED'];
  return given === undefined || given === '' ? 20_261_121 : Number(given);
}
