/**
 * The checker: processes as generators of single file calls over a file system in memory, every interleaving of them explored,
 * with budgets of crashes, lost replies, stale listings and delayed duplicates. Breadth first, so the trace of what goes wrong is
 * a shortest one. What it promises: `complete` means that every reachable state was seen (two states count as one when a 53-bit
 * hash of files, directories, notes, budgets and of where each process stands is the same).
 */

export type Errno = 'ENOENT' | 'EEXIST' | 'ENOTEMPTY';
export type Word = string | number | boolean | null;

/** One call of a process: to the file system, or to the scenario (`tell` at once, `act` as a step of its own). */
export type Op =
  | { op: 'rename' | 'replace'; path: string; to: string }
  | { op: 'link' | 'create'; path: string; content: string }
  | { op: 'publishDir'; path: string; file: string; content: string }
  | { op: 'unlink' | 'mkdir' | 'rmdir' | 'read' | 'list' | 'strong'; path: string }
  | { op: 'tell' | 'act'; word: string; args: readonly Word[] }
  | { op: 'choose'; ways: number }
  | { op: 'pause' }
  | { op: 'forget'; label: string };

export interface Reply {
  error?: Errno;
  names?: readonly string[];
  content?: string;
  answer?: Word;
}

export type Proc<T = void> = Generator<Op, T, Reply>;

export interface Budget {
  /** Calls that are done and answered with an error. */
  lost: number;
  /** Listings that show an older state of their directory. */
  stale: number;
  crash: number;
  /** Calls that are done a second time, later. */
  dup: number;
}

export interface Process {
  name: string;
  run: () => Proc;
  /** Takes no crash: its death in the middle is of no interest to the scenario. */
  immortal?: boolean;
}

export interface Scenario<N> {
  dirs: readonly string[];
  files?: ReadonlyArray<readonly [path: string, content: string]>;
  budget?: Partial<Budget>;
  /** What the scenario remembers beside the files; plain JSON data. */
  notes: N;
  processes: readonly Process[];
  /** A process says or asks something; may change the notes and throw a violation. */
  tell(world: World<N>, process: string, word: string, args: readonly Word[]): Word | void;
  /** A process has died. */
  died?(world: World<N>, process: string): void;
  /** What must hold after every step. */
  check?(world: World<N>): void;
  /** Nothing moves any more: the rest of the machinery is run without faults, then what must hold in the end is checked. */
  finish(world: World<N>): void;
}

export class Violation extends Error {
  readonly kind: string;
  constructor(kind: string, message: string) {
    super(message);
    this.kind = kind;
  }
}

export const dirOf = (path: string): string => path.slice(0, path.lastIndexOf('/'));
export const baseOf = (path: string): string => path.slice(path.lastIndexOf('/') + 1);

// --- the calls, as processes make them

/** True: it was done, and the answer said so. */
export function* rename(path: string, to: string): Proc<boolean> {
  return (yield { op: 'rename', path, to }).error === undefined;
}

/** A rename that may overwrite its target. */
export function* replace(path: string, to: string): Proc<boolean> {
  return (yield { op: 'replace', path, to }).error === undefined;
}

export type Made = 'made' | 'there' | 'gone';

function made(reply: Reply): Made {
  return reply.error === undefined ? 'made' : reply.error === 'ENOENT' ? 'gone' : 'there';
}

/** Write-once: a staged file linked to its name. A lost reply looks like `there`. */
export function* link(path: string, content: string): Proc<Made> {
  return made(yield { op: 'link', path, content });
}

/** Exclusive create, whose answer is always true. */
export function* create(path: string, content = ''): Proc<Made> {
  return made(yield { op: 'create', path, content });
}

/** A directory with one file, renamed into place: onto nothing or onto an empty directory. */
export function* publishDir(path: string, file: string, content = ''): Proc<boolean> {
  return (yield { op: 'publishDir', path, file, content }).error === undefined;
}

export function* unlink(path: string): Proc<boolean> {
  return (yield { op: 'unlink', path }).error === undefined;
}

export function* mkdir(path: string): Proc<Made> {
  return made(yield { op: 'mkdir', path });
}

/** True: the directory is not there any more. */
export function* rmdir(path: string): Proc<boolean> {
  return (yield { op: 'rmdir', path }).error !== 'ENOTEMPTY';
}

export function* read(path: string): Proc<string | undefined> {
  return (yield { op: 'read', path }).content;
}

/** A listing that may be stale; undefined: no such directory. */
export function* list(path: string): Proc<readonly string[] | undefined> {
  return (yield { op: 'list', path }).names;
}

/** A listing after a probe in the directory, which no cache can spoil. */
export function* strong(path: string): Proc<readonly string[] | undefined> {
  return (yield { op: 'strong', path }).names;
}

/** Says something to the scenario within the same step. */
export function* tell(word: string, ...args: Word[]): Proc<Word> {
  return (yield { op: 'tell', word, args }).answer ?? null;
}

/** Something outside the file system, as a step of its own. */
export function* act(word: string, ...args: Word[]): Proc<Word> {
  return (yield { op: 'act', word, args }).answer ?? null;
}

export function* choose(ways: number): Proc<number> {
  return Number((yield { op: 'choose', ways }).answer);
}

export function* pause(): Proc {
  yield { op: 'pause' };
}

/** From here on nothing matters but the label: what the process learnt before is over. Keeps loops finite. */
export function* forget(label: string): Proc {
  yield { op: 'forget', label };
}

// --- processes, unfolded once

/** Where a process stands: what it has been answered so far decides what it does next, so each such point is made only once. */
interface Point {
  id: number;
  /** Undefined: the process has ended. */
  op: Op | undefined;
  next: Map<string, Point>;
  root: Root;
  before: Point | undefined;
  reply: Reply | undefined;
  /** A generator that stands here, until somebody goes on with it. */
  live: Proc | undefined;
}

interface Root {
  run: () => Proc;
  forgotten: Map<string, Point>;
  start: Point;
}

class Unfolding {
  readonly #roots = new Map<string, Root>();
  #points = 0;

  start(name: string, run: () => Proc): Point {
    const known = this.#roots.get(name);
    if (known !== undefined) return known.start;
    const root: Root = { run, forgotten: new Map(), start: undefined as unknown as Point }; // filled in two lines below
    const live = run();
    root.start = this.#arrive(root, undefined, undefined, live, live.next());
    this.#roots.set(name, root);
    return root.start;
  }

  go(from: Point, reply: Reply): Point {
    const key = `${reply.error ?? ''} ${reply.content ?? ''} ${reply.answer ?? ''} ${reply.names?.join('/') ?? '-'}`;
    const known = from.next.get(key);
    if (known !== undefined) return known;
    const live = from.live ?? this.#again(from);
    from.live = undefined;
    const point = this.#arrive(from.root, from, reply, live, live.next(reply));
    from.next.set(key, point);
    return point;
  }

  #arrive(root: Root, before: Point | undefined, reply: Reply | undefined, live: Proc, step: IteratorResult<Op, void>): Point {
    const point: Point = {
      id: this.#points++,
      op: step.done === true ? undefined : step.value,
      next: new Map(),
      root,
      before,
      reply,
      live,
    };
    if (point.op?.op !== 'forget') return point;
    const label = point.op.label;
    const known = root.forgotten.get(label);
    if (known !== undefined) return known;
    const after = this.#arrive(root, point, {}, live, live.next({}));
    root.forgotten.set(label, after);
    return after;
  }

  /** A fresh generator, led to a point by the answers that lead there. */
  #again(point: Point): Proc {
    const replies: Reply[] = [];
    for (let at: Point = point; at.before !== undefined; at = at.before) replies.push(at.reply!);
    const live = point.root.run();
    live.next();
    for (const reply of replies.toReversed()) live.next(reply);
    return live;
  }
}

// --- the world

/** What a directory looked like lately, and how often it has changed. */
interface Views {
  changes: number;
  last: ReadonlyArray<readonly string[]>;
}

const KEPT_VIEWS = 3;

/** A state: files, directories, notes, what is left of the budgets, and where every process stands. */
export class World<N> {
  files = new Map<string, string>();
  dirs = new Set<string>();
  notes: N;
  budget: Budget;
  /** True while `finish` runs the rest of the machinery. */
  draining = false;
  points: Point[] = [];
  dead: boolean[] = [];
  late: Op[] = [];
  views = new Map<string, Views>();
  marks: Array<Record<string, number>> = [];
  h1 = 0;
  h2 = 0;
  readonly #scenario: Scenario<N>;
  readonly #unfolding: Unfolding;
  #notesText: string;
  /** Where steps are written down, for a trace. */
  log: string[] | undefined;

  private constructor(scenario: Scenario<N>, unfolding: Unfolding, notes: N, notesText: string, budget: Budget) {
    this.#scenario = scenario;
    this.#unfolding = unfolding;
    this.notes = notes;
    this.#notesText = notesText;
    this.budget = budget;
  }

  /** The initial state. */
  static begin<N>(scenario: Scenario<N>, unfolding: Unfolding, log?: string[]): World<N> {
    const text = JSON.stringify(scenario.notes);
    const w = new World<N>(scenario, unfolding, JSON.parse(text) as N, text, { lost: 0, stale: 0, crash: 0, dup: 0, ...scenario.budget });
    w.log = log;
    for (const dir of scenario.dirs) w.addDir(dir);
    for (const [path, content] of scenario.files ?? []) w.put(path, content);
    for (const p of scenario.processes) {
      w.dead.push(false);
      w.marks.push({});
      w.points.push(unfolding.start(p.name, p.run));
    }
    for (const i of scenario.processes.keys()) w.#hear(i);
    return w;
  }

  fork(): World<N> {
    const w = new World(this.#scenario, this.#unfolding, this.notes, this.#notesText, this.budget);
    w.files = new Map(this.files);
    w.dirs = this.dirs;
    w.points = [...this.points];
    w.dead = this.dead;
    w.late = this.late;
    w.views = this.views;
    w.marks = this.marks;
    w.h1 = this.h1;
    w.h2 = this.h2;
    return w;
  }

  // Files. Everything below copies before it writes: states share what they have in common.

  put(path: string, content: string): void {
    const before = this.files.get(path);
    if (before !== undefined) this.#toggle(`${path}=${before}`);
    this.files.set(path, content);
    this.#toggle(`${path}=${content}`);
    this.#changed(dirOf(path));
  }

  drop(path: string): void {
    this.#toggle(`${path}=${this.files.get(path)}`);
    this.files.delete(path);
    this.#changed(dirOf(path));
  }

  addDir(dir: string): void {
    this.dirs = new Set(this.dirs).add(dir);
    this.#toggle(`${dir}/`);
    if (this.budget.stale > 0) this.views = new Map(this.views).set(dir, { changes: 0, last: [[]] });
    this.#changed(dirOf(dir));
  }

  dropDir(dir: string): void {
    this.dirs = new Set(this.dirs);
    this.dirs.delete(dir);
    this.#toggle(`${dir}/`);
    this.#changed(dirOf(dir));
  }

  /** Names in a directory, sorted. */
  ls(dir: string): string[] {
    const prefix = `${dir}/`;
    const names: string[] = [];
    for (const path of this.files.keys())
      if (path.startsWith(prefix) && path.indexOf('/', prefix.length) < 0) names.push(path.slice(prefix.length));
    for (const path of this.dirs)
      if (path.startsWith(prefix) && path.indexOf('/', prefix.length) < 0) names.push(path.slice(prefix.length));
    return names.toSorted();
  }

  #toggle(text: string): void {
    this.h1 ^= hash(17, text);
    this.h2 ^= hash(71, text);
  }

  #changed(dir: string): void {
    if (this.budget.stale === 0 || !this.dirs.has(dir)) return;
    const v = this.views.get(dir);
    const last = [...(v?.last ?? []), this.ls(dir)].slice(-KEPT_VIEWS - 1);
    this.views = new Map(this.views).set(dir, { changes: (v?.changes ?? 0) + 1, last });
  }

  /** A process never sees a directory older than its own last change of it. */
  #own(i: number, ...dirs: string[]): void {
    if (this.budget.stale === 0 || i < 0) return;
    this.marks = [...this.marks];
    this.marks[i] = { ...this.marks[i] };
    for (const dir of dirs) this.marks[i]![dir] = this.views.get(dir)?.changes ?? 0;
  }

  #spend(what: keyof Budget): void {
    this.budget = { ...this.budget, [what]: this.budget[what] - 1 };
  }

  // Steps.

  /** What may happen next: a process's index and how its call goes. */
  steps(): Step[] {
    const steps: Step[] = [];
    for (const [i, p] of this.#scenario.processes.entries()) {
      const op = this.points[i]!.op;
      if (this.dead[i] === true || op === undefined) continue;
      if (op.op === 'choose') for (let way = 0; way < op.ways; way++) steps.push({ process: i, how: 'choice', nth: way });
      else {
        steps.push({ process: i, how: 'plain', nth: 0 });
        if (this.budget.lost > 0 && this.#canBeLost(op)) steps.push({ process: i, how: 'lost', nth: 0 });
        if (this.budget.dup > 0 && DUPLICATED.has(op.op)) steps.push({ process: i, how: 'dup', nth: 0 });
        if (this.budget.stale > 0 && op.op === 'list')
          for (const nth of this.#staleViews(i, op.path)) steps.push({ process: i, how: 'stale', nth });
      }
      if (this.budget.crash > 0 && p.immortal !== true) steps.push({ process: i, how: 'crash', nth: 0 });
    }
    for (const nth of this.late.keys()) steps.push({ process: -1, how: 'late', nth });
    return steps;
  }

  #canBeLost(op: Op): boolean {
    switch (op.op) {
      case 'rename':
      case 'replace':
        return this.files.has(op.path) && this.dirs.has(dirOf(op.to));
      case 'link':
        return this.dirs.has(dirOf(op.path)) && !this.files.has(op.path);
      case 'unlink':
        return this.files.has(op.path);
      case 'rmdir':
        return this.dirs.has(op.path) && this.ls(op.path).length === 0;
      case 'publishDir':
        return this.dirs.has(dirOf(op.path)) && !(this.dirs.has(op.path) && this.ls(op.path).length > 0);
      default:
        return false;
    }
  }

  #staleViews(i: number, dir: string): number[] {
    const v = this.views.get(dir);
    if (v === undefined) return [];
    const seen = new Set([this.dirs.has(dir) ? this.ls(dir).join('/') : '-']);
    const found: number[] = [];
    for (let back = 0; back < KEPT_VIEWS && back < v.last.length; back++) {
      if (v.changes - back < (this.marks[i]?.[dir] ?? 0)) break;
      const text = v.last[v.last.length - 1 - back]!.join('/');
      if (!seen.has(text)) found.push(back);
      seen.add(text);
    }
    return found;
  }

  /** Makes one step in this very world. Throws the violation that it amounts to. */
  take(step: Step): void {
    const { process: i, how } = step;
    if (how === 'late') {
      const op = this.late[step.nth]!;
      this.late = this.late.toSpliced(step.nth, 1);
      const reply = this.#call(-1, op);
      this.log?.push(`(again): ${textOfOp(op)} -> ${textOfReply(reply)}`);
      this.#scenario.check?.(this);
      return;
    }
    const name = this.#scenario.processes[i]!.name;
    if (how === 'crash') {
      this.#spend('crash');
      this.dead = this.dead.with(i, true);
      this.log?.push(`${name}: CRASH`);
      if (this.#scenario.died !== undefined) this.#noting(() => this.#scenario.died!(this, name));
      return;
    }
    const op = this.points[i]!.op!;
    if (how === 'dup') {
      this.#spend('dup');
      this.late = [...this.late, op];
    }
    let reply: Reply;
    if (how === 'choice') reply = { answer: step.nth };
    else if (how === 'stale') reply = { names: this.views.get((op as { path: string }).path)!.last.at(-1 - step.nth)! };
    else reply = this.#call(i, op, how === 'lost');
    if (how === 'stale') this.#spend('stale');
    if (how === 'lost') {
      this.#spend('lost');
      reply = { error: op.op === 'link' || op.op === 'mkdir' ? 'EEXIST' : 'ENOENT' };
    }
    const note =
      how === 'plain'
        ? ''
        : how === 'choice'
          ? ` <${step.nth}>`
          : ` <${how === 'lost' ? 'REPLY LOST' : how === 'stale' ? 'STALE' : 'SENT TWICE'}>`;
    this.log?.push(`${name}: ${textOfOp(op)}${note} -> ${textOfReply(reply)}`);
    this.points[i] = this.#unfolding.go(this.points[i]!, reply);
    this.#hear(i);
    this.#scenario.check?.(this);
  }

  /** What process `i` tells within its step. */
  #hear(i: number): void {
    const { name } = this.#scenario.processes[i]!;
    for (let op = this.points[i]!.op; op?.op === 'tell'; op = this.points[i]!.op) {
      this.points[i] = this.#unfolding.go(this.points[i]!, { answer: this.#ask(name, op) });
    }
  }

  #ask(name: string, op: Extract<Op, { word: string }>): Word {
    let answer: Word = null;
    this.#noting(() => (answer = this.#scenario.tell(this, name, op.word, op.args) ?? null));
    if (op.op === 'tell') this.log?.push(`${name}: [${[op.word, ...op.args].join(' ')}${answer === null ? '' : ` -> ${answer}`}]`);
    return answer;
  }

  #noting(work: () => void): void {
    this.notes = JSON.parse(this.#notesText) as N;
    work();
    this.remember(this.notes);
  }

  /** New notes, for `finish`. */
  remember(notes: N): void {
    this.notes = notes;
    this.#notesText = JSON.stringify(notes);
  }

  #call(i: number, op: Op, lost = false): Reply {
    const { files, dirs } = this;
    switch (op.op) {
      case 'mkdir':
        if (dirs.has(op.path) || files.has(op.path)) return { error: 'EEXIST' };
        if (op.path.includes('/') && !dirs.has(dirOf(op.path))) return { error: 'ENOENT' };
        this.addDir(op.path);
        return {};
      case 'rmdir':
        if (!dirs.has(op.path)) return { error: 'ENOENT' };
        if (this.ls(op.path).length > 0) return { error: 'ENOTEMPTY' };
        this.dropDir(op.path);
        return {};
      case 'rename':
      case 'replace': {
        const content = files.get(op.path);
        if (content === undefined || !dirs.has(dirOf(op.to))) return { error: 'ENOENT' };
        if (op.op === 'rename' && files.has(op.to)) throw new Violation('OVERWRITE', `${op.path} renamed onto ${op.to}, which is there`);
        this.drop(op.path);
        this.put(op.to, content);
        if (!lost) this.#own(i, dirOf(op.path), dirOf(op.to));
        return {};
      }
      case 'publishDir':
        if (!dirs.has(dirOf(op.path))) return { error: 'ENOENT' };
        if (dirs.has(op.path) && this.ls(op.path).length > 0) return { error: 'ENOTEMPTY' };
        if (!dirs.has(op.path)) this.addDir(op.path);
        this.put(`${op.path}/${op.file}`, op.content);
        return {};
      case 'link':
      case 'create':
        if (!dirs.has(dirOf(op.path))) return { error: 'ENOENT' };
        if (files.has(op.path)) return { error: 'EEXIST' };
        this.put(op.path, op.content);
        if (!lost) this.#own(i, dirOf(op.path));
        return {};
      case 'unlink':
        if (!files.has(op.path)) return { error: 'ENOENT' };
        this.drop(op.path);
        this.#own(i, dirOf(op.path));
        return {};
      case 'read': {
        const content = files.get(op.path);
        return content === undefined ? { error: 'ENOENT' } : { content };
      }
      case 'list':
      case 'strong':
        return dirs.has(op.path) ? { names: this.ls(op.path) } : { error: 'ENOENT' };
      case 'act':
      case 'tell':
        return { answer: this.#ask(i < 0 ? '' : (this.#scenario.processes[i]?.name ?? ''), op) };
      case 'choose':
        return { answer: 0 };
      case 'pause':
      case 'forget':
        return {};
    }
  }

  /** Runs one more process to its end, alone and without faults. Its name stands for what it does. */
  run(name: string, run: () => Proc, most = 4000): void {
    this.budget = { lost: 0, stale: 0, crash: 0, dup: 0 };
    this.draining = true;
    let at = this.#unfolding.start(name, run);
    for (let n = 0; at.op !== undefined; n++) {
      if (n > most) throw new Violation('LIVELOCK', `${name} does not end`);
      const { op } = at;
      const reply = op.op === 'tell' || op.op === 'act' ? { answer: this.#ask(name, op) } : this.#call(-1, op);
      if (op.op !== 'tell') this.log?.push(`${name}: ${textOfOp(op)} -> ${textOfReply(reply)}`);
      at = this.#unfolding.go(at, reply);
      this.#scenario.check?.(this);
    }
  }

  /** Whether the process has died, or come to its end. */
  isDead(name: string): boolean {
    return this.dead[this.#index(name)] === true;
  }

  isOver(name: string): boolean {
    return this.points[this.#index(name)]?.op === undefined;
  }

  #index(name: string): number {
    return this.#scenario.processes.findIndex((p) => p.name === name);
  }

  key(): number {
    let a = this.h1;
    let b = this.h2;
    let text = `${this.#notesText}|${this.budget.lost},${this.budget.stale},${this.budget.crash},${this.budget.dup}`;
    for (const [i, p] of this.points.entries()) {
      const id = this.dead[i] === true ? -1 : p.op === undefined ? -2 : p.id;
      a = mix(a, id);
      b = mix(b, id * 31 + 7);
    }
    for (const op of this.late) text += `;${textOfOp(op)}`;
    if (this.budget.stale > 0) {
      for (const [dir, v] of this.views) {
        text += `;${dir}:${v.last
          .slice(-KEPT_VIEWS)
          .map((names) => names.join('/'))
          .join(':')}`;
        for (const mark of this.marks) text += `,${Math.min(v.changes - (mark[dir] ?? 0), KEPT_VIEWS)}`;
      }
    }
    a = hash(a, text);
    b = hash(b, text);
    return (a >>> 0) * 2 ** 21 + (b >>> 11);
  }
}

const DUPLICATED: ReadonlySet<string> = new Set(['rename', 'replace', 'unlink', 'link', 'rmdir', 'mkdir']);

export interface Step {
  process: number;
  how: 'plain' | 'lost' | 'dup' | 'stale' | 'crash' | 'choice' | 'late';
  /** Which choice, which older view, which delayed duplicate. */
  nth: number;
}

function textOfOp(op: Op): string {
  switch (op.op) {
    case 'rename':
    case 'replace':
      return `${op.op} ${op.path} ${op.to}`;
    case 'link':
    case 'create':
      return `${op.op} ${op.path}${op.content === '' ? '' : ` (${op.content})`}`;
    case 'publishDir':
      return `publish ${op.path}/${op.file}`;
    case 'tell':
    case 'act':
      return [op.word, ...op.args].join(' ');
    case 'choose':
      return 'choose';
    case 'pause':
      return 'pause';
    case 'forget':
      return '';
    default:
      return `${op.op} ${op.path}`;
  }
}

function textOfReply(r: Reply): string {
  return (
    r.error ??
    r.content ??
    (r.names === undefined ? undefined : `[${r.names.join(' ')}]`) ??
    (r.answer === undefined || r.answer === null ? 'ok' : String(r.answer))
  );
}

function hash(seed: number, text: string): number {
  let x = seed | 0;
  for (let i = 0; i < text.length; i++) {
    x = Math.imul(x ^ text.charCodeAt(i), 0x01000193);
    x ^= x >>> 13;
  }
  return mix(x, text.length);
}

function mix(x: number, y: number): number {
  let h = Math.imul(x ^ y, 0x85ebca6b);
  h ^= h >>> 15;
  h = Math.imul(h, 0xc2b2ae35);
  return h ^ (h >>> 13);
}

// --- searching

export interface Found {
  message: string;
  times: number;
  /** The steps that lead there. */
  path: readonly Step[];
}

export interface Result {
  states: number;
  edges: number;
  ends: number;
  depth: number;
  /** Everything reachable was seen. */
  complete: boolean;
  ms: number;
  violations: Map<string, Found>;
}

export interface Bounds {
  states?: number;
  ms?: number;
  /** Stop as soon as a violation of this kind is found. */
  until?: string;
}

interface Trail {
  before: Trail | undefined;
  step: Step;
}

function pathOf(trail: Trail | undefined): Step[] {
  const steps: Step[] = [];
  for (let at = trail; at !== undefined; at = at.before) steps.push(at.step);
  return steps.toReversed();
}

/** Every interleaving, breadth first. */
export function explore<N>(scenario: Scenario<N>, bounds: Bounds = {}): Result {
  const began = performance.now();
  const most = bounds.states ?? Number.POSITIVE_INFINITY;
  const until = began + (bounds.ms ?? Number.POSITIVE_INFINITY);
  const violations = new Map<string, Found>();
  const note = (error: unknown, trail: Trail | undefined): void => {
    if (!(error instanceof Violation)) throw error;
    const known = violations.get(error.kind);
    if (known === undefined) violations.set(error.kind, { message: error.message, times: 1, path: pathOf(trail) });
    else known.times++;
  };
  const first = World.begin(scenario, new Unfolding());
  const seen = new Set([first.key()]);
  let level: Array<{ world: World<N>; trail: Trail | undefined }> = [{ world: first, trail: undefined }];
  let edges = 0;
  let ends = 0;
  let depth = 0;
  let complete = true;
  for (; level.length > 0 && complete; depth++) {
    const next: typeof level = [];
    for (const { world, trail } of level) {
      if (seen.size > most || performance.now() > until || (bounds.until !== undefined && violations.has(bounds.until))) {
        complete = false;
        break;
      }
      const steps = world.steps();
      if (!steps.some((s) => s.how !== 'crash' && s.how !== 'late')) {
        ends++;
        try {
          scenario.finish(world.fork());
        } catch (error) {
          note(error, trail);
        }
      }
      for (const step of steps) {
        edges++;
        const after = world.fork();
        try {
          after.take(step);
          const key = after.key();
          if (seen.has(key)) continue;
          seen.add(key);
          next.push({ world: after, trail: { before: trail, step } });
        } catch (error) {
          note(error, { before: trail, step });
        }
      }
    }
    level = next;
  }
  return { states: seen.size, edges, ends, depth, complete, ms: performance.now() - began, violations };
}

/** Random runs, for scenarios that are too large to be explored: mostly the next call of some process, now and then a fault. */
export function sample<N>(scenario: Scenario<N>, bounds: Bounds & { runs?: number; seed?: number; length?: number } = {}): Result {
  const began = performance.now();
  const until = began + (bounds.ms ?? Number.POSITIVE_INFINITY);
  const most = bounds.runs ?? Number.POSITIVE_INFINITY;
  const random = randomOf(bounds.seed ?? 1);
  const violations = new Map<string, Found>();
  const unfolding = new Unfolding();
  let runs = 0;
  let edges = 0;
  for (; runs < most && performance.now() < until; runs++) {
    const world = World.begin(scenario, unfolding);
    const path: Step[] = [];
    const sticky = random(3);
    let last = -2;
    try {
      for (let n = 0; n < (bounds.length ?? 600); n++) {
        const steps = world.steps();
        const plain = steps.filter((s) => s.how === 'plain' || s.how === 'choice');
        if (plain.length === 0) break;
        const same = plain.filter((s) => s.process === last);
        const stay = sticky > 0 && same.length > 0 && random(4) <= sticky;
        const from = random(100) < 8 ? steps : stay ? same : plain;
        const step = from[random(from.length)]!;
        last = step.process;
        path.push(step);
        edges++;
        world.take(step);
      }
      scenario.finish(world);
    } catch (error) {
      if (!(error instanceof Violation)) throw error;
      const known = violations.get(error.kind);
      if (known === undefined || path.length < known.path.length)
        violations.set(error.kind, { message: error.message, times: (known?.times ?? 0) + 1, path });
      else known.times++;
    }
  }
  return { states: runs, edges, ends: runs, depth: 0, complete: false, ms: performance.now() - began, violations };
}

/** xorshift32; the same seed gives the same runs. */
function randomOf(seed: number): (n: number) => number {
  let x = Math.imul(seed, 2654435761) >>> 0 || 1;
  return (n) => {
    x ^= x << 13;
    x >>>= 0;
    x ^= x >>> 17;
    x ^= x << 5;
    x >>>= 0;
    return x % n;
  };
}

/** The trace of a violation, a line for each step, what `finish` did included. */
export function traceOf<N>(scenario: Scenario<N>, found: Found): string[] {
  const log: string[] = [];
  const world = World.begin(scenario, new Unfolding(), log);
  try {
    for (const step of found.path) world.take(step);
    log.push('--- nothing moves any more; the rest of the machinery runs');
    scenario.finish(world);
  } catch (error) {
    log.push(`!!! ${error instanceof Violation ? `${error.kind}: ` : ''}${error instanceof Error ? error.message : String(error)}`);
  }
  return log;
}
