/**
 * The names in a queue directory: where everything lies, how ids, entries, buckets, lanes and sessions are spelt, and how they
 * are read back. Pure text; nothing here touches a file.
 */
import type { FollowKind, Needs, Parent, State, Task } from '../task/types.ts';

/** Id = 9 characters of time in 100 microsecond units since the epoch, base 36 (good until 2291), then 5 random ones. */
const ID_TIME_CHARS = 9;
const ID_RANDOM_CHARS = 5;
export const ID_LENGTH = ID_TIME_CHARS + ID_RANDOM_CHARS;
const ID = '[0-9a-z]{10,16}';
const RANGE = '\\d{1,9}(?:-\\d{1,9})?';
const ENTRY_RE = new RegExp(`^(${ID}(?:\\.${RANGE})?)(?:\\+(${RANGE}))?\\.a(\\d{1,9})\\.(json|cancel|rest)$`);

export interface Entry {
  id: string;
  /** Attempts used so far; in `running/` the number of the attempt. */
  n: number;
  /** The file name. */
  name: string;
  cancel: boolean;
  /** Of a piece of an array that has just been cut: the part that was cut off, `7-9`, in `<id>.1-6+7-9.a<N>.json`. */
  cut?: string;
}

/** Reads `<id>.a<N>.json` or `.cancel`; undefined for anything else, also for a part that is about to be cut off. */
export function parseEntry(name: string): Entry | undefined {
  const m = ENTRY_RE.exec(name);
  if (m === null || m[4] === 'rest') return undefined;
  const entry: Entry = { id: m[1]!, n: Number(m[3]), name, cancel: m[4] === 'cancel' };
  if (m[2] !== undefined) entry.cut = m[2];
  return entry;
}

/** Reads `<id>.<lo>-<hi>.a<N>.rest`: a part that is staged to be cut off, which covers nothing before the cut is committed. */
export function parseRest(name: string): { id: string; n: number } | undefined {
  const m = ENTRY_RE.exec(name);
  return m === null || m[4] !== 'rest' ? undefined : { id: m[1]!, n: Number(m[3]) };
}

export function restName(id: string, n: number): string {
  return `${id}.a${n}.rest`;
}

/** Elements `lo` to `hi` of a submission, all numbers between them that it has. */
export interface Piece {
  base: string;
  lo: number;
  hi: number;
}

/** What `<id>.7` or `<id>.1-100` covers; undefined for the id of one task. */
export function pieceOf(id: string): Piece | undefined {
  const dot = id.indexOf('.');
  if (dot < 0) return undefined;
  const [lo = '', hi = lo] = id.slice(dot + 1).split('-');
  return { base: id.slice(0, dot), lo: Number(lo), hi: Number(hi) };
}

/** Whether this is the id of several elements. */
export function isPiece(id: string): boolean {
  return id.includes('-');
}

export function pieceId(base: string, lo: number, hi = lo): string {
  return lo === hi ? `${base}.${lo}` : `${base}.${lo}-${hi}`;
}

/** The submission that an element or a piece belongs to; of one task its own id. */
export function baseId(id: string): string {
  const dot = id.indexOf('.');
  return dot < 0 ? id : id.slice(0, dot);
}

/** Where the children of a task have their markers: of an element of an array with those of the whole, whose every end asks all of them. */
export function markedUnder(parent: Pick<Parent, 'id' | 'many'>): string {
  return parent.many === true ? baseId(parent.id) : parent.id;
}

/** What an array's element 7 of attempt 2 was cut from is called: the journal of the piece that begins with 7. */
export function journalName(base: string, lo: number, n: number): string {
  return `${base}.${lo}.a${n}.ndjson`;
}

export function entryName(id: string, n: number): string {
  return `${id}.a${n}.json`;
}

export function cancelName(id: string, n: number): string {
  return `${id}.a${n}.cancel`;
}

export function isId(text: string): boolean {
  return /^[0-9a-z]{10,16}$/.test(text);
}

/** The id of a submission, of one of its elements (`<id>.<number>`) or of a run of them (`<id>.<first>-<last>`). */
export function isTaskId(text: string): boolean {
  return /^[0-9a-z]{10,16}(?:\.\d{1,9}(?:-\d{1,9})?)?$/.test(text);
}

/** Submit order: by time, then by number. Names sort otherwise: `10` before `2`. */
export function inSubmitOrder(a: string, b: string): number {
  const [base, other] = [baseId(a), baseId(b)];
  if (base !== other) return base < other ? -1 : 1;
  return Number(a.slice(base.length + 1)) - Number(b.slice(other.length + 1));
}

let lastTicks = 0;

/**
 * A new id for a file whose mtime is `serverMs`. Where this machine's clock agrees with the server to within one timestamp
 * tick (10 ms at HZ=100, doubled), its finer reading orders ids within the tick; otherwise the server's time stands.
 */
export function makeId(serverMs: number, localMs = performance.timeOrigin + performance.now()): string {
  const ms = Math.abs(serverMs - localMs) <= 20 ? localMs : serverMs;
  let ticks = Math.floor(ms * 10);
  if (ticks <= lastTicks && lastTicks - ticks < 10_000) ticks = lastTicks + 1;
  lastTicks = ticks;
  return ticks.toString(36).padStart(ID_TIME_CHARS, '0') + randomText(ID_RANDOM_CHARS);
}

/** The server time in an id made by `makeId`, ms. */
export function idTime(id: string): number {
  return Number.parseInt(id.slice(0, ID_TIME_CHARS), 36) / 10;
}

/**
 * `n` random characters of `0-9a-z`. Uniqueness is all that is asked of them (the generator is seeded by the system at each start);
 * loading the secure one would cost a submit a twentieth of its time.
 */
export function randomText(n: number): string {
  let out = '';
  while (out.length < n) out += Math.floor(Math.random() * 36).toString(36);
  return out;
}

/**
 * Two levels: 4 characters are 1.7 hours, 2 more are 4.7 seconds of submits; so no directory grows without bound. Elements of one
 * submission have buckets of their own, a thousand numbers in each: `6d3a/x6.6d3ax6u1g9c37h.000012`.
 */
export function bucketOf(id: string): string {
  const base = `${id.slice(0, 4)}/${id.slice(4, 6)}`;
  const dot = id.indexOf('.');
  if (dot < 0 || id.includes('-')) return base;
  return `${base}.${id.slice(0, dot)}.${String(Math.floor(Number(id.slice(dot + 1)) / ELEMENTS_IN_BUCKET)).padStart(6, '0')}`;
}

const ELEMENTS_IN_BUCKET = 1000;

/** The bucket in one name, `aaaabb`. */
export function flatBucket(id: string): string {
  return bucketOf(id).replace('/', '');
}

const BUCKET_OF_ELEMENTS = /^[0-9a-z]{2}\.[0-9a-z]{10,16}\.\d+$/;

/** Whether a name can be that of a bucket of the second level. */
export function isBucket(name: string): boolean {
  return name.length === 2 ? name[0] !== '.' : BUCKET_OF_ELEMENTS.test(name);
}

/**
 * Newest first, for buckets as paths (`aaaa/bb`): of the same seconds first the one of tasks that are alone, then submissions of many,
 * each in its own order.
 */
export function newestBucketFirst(a: string, b: string): number {
  const [base = '', id = '', part = ''] = a.split('.');
  const [otherBase = '', otherId = '', otherPart = ''] = b.split('.');
  if (base !== otherBase) return base < otherBase ? 1 : -1;
  if (id === '' || otherId === '') return id.length - otherId.length;
  if (id !== otherId) return id < otherId ? 1 : -1;
  return part < otherPart ? -1 : Number(part > otherPart);
}

/** The last moment, ms, whose ids belong to a bucket (`aaaa/bb`). */
export function bucketEnd(bucket: string): number {
  return idTime(`${bucket.slice(0, 4)}${bucket.slice(5, 7)}zzz`);
}

/** `p00` is priority 0, `p90` 90, `n05` -5. */
export function prioName(priority: number): string {
  return (priority < 0 ? 'n' : 'p') + String(Math.abs(priority)).padStart(2, '0');
}

export function parsePrio(name: string): number | undefined {
  const m = /^([pn])(\d{1,2})$/.exec(name);
  if (m === null) return undefined;
  return m[1] === 'p' ? Number(m[2]) : -Number(m[2]);
}

/** What a worker must offer to serve a lane. Default: one cpu and nothing else. */
export interface Requirements {
  queue: string;
  needs?: Needs;
  on?: string;
  worker?: string;
  mutex?: string;
  limits?: Array<{ name: string; n: number }>;
  handler?: string;
  vars?: string[];
  /** A user's number: only a worker that runs the tasks of that user. */
  user?: number;
}

export function requirementsOf(
  task: Pick<Task, 'queue' | 'needs' | 'on' | 'worker' | 'mutex' | 'limits' | 'handler' | 'command' | 'steps' | 'fallback' | 'cause'>,
): Requirements {
  const r: Requirements = { queue: task.queue };
  if (task.needs !== undefined && !isDefaultNeeds(task.needs)) r.needs = task.needs;
  if (task.on !== undefined) r.on = task.on;
  if (task.worker !== undefined) r.worker = task.worker;
  if (task.mutex !== undefined) r.mutex = task.mutex;
  if (task.limits !== undefined && task.limits.length > 0) r.limits = task.limits;
  if (task.handler !== undefined) r.handler = task.handler;
  const vars = varsIn([...task.command, ...(task.steps ?? []), task.fallback ?? '']);
  if (vars.length > 0) r.vars = vars;
  if (task.cause?.owner !== undefined) r.user = task.cause.owner;
  return r;
}

function isDefaultNeeds(needs: Needs): boolean {
  return Object.entries(needs).every(([k, v]) => (k === 'cpus' ? v === 1 : v === undefined || v === 0));
}

function varsIn(command: readonly string[]): string[] {
  const found = new Set<string>();
  for (const word of command) {
    if (!word.includes('{var:')) continue;
    for (const m of word.matchAll(/\{var:([A-Za-z0-9_]{1,64})\}/g)) found.add(m[1]!);
  }
  return [...found].toSorted();
}

/** The lane's directory name: the queue's name, and a hash of the requirements where they are not the default ones. */
export function laneName(r: Requirements): string {
  const rest = Object.entries(r).filter(([k]) => k !== 'queue');
  if (rest.length === 0) return r.queue;
  const text = JSON.stringify(rest.toSorted(([a], [b]) => (a < b ? -1 : 1)));
  return `${r.queue}~${digest(text).slice(0, 10)}`;
}

export function queueOfLane(lane: string): string {
  const at = lane.indexOf('~');
  return at < 0 ? lane : lane.slice(0, at);
}

/** Due times are rounded up to this many ms, so that a minute's directory stays small. */
export const DUE_QUANTUM_MS = 50;

/** `20261121T0739/46.150`: a minute, then the second within it, rounded up to the quantum; never before `dueMs`. */
export function duePath(dueMs: number): string {
  const ms = Math.ceil(dueMs / DUE_QUANTUM_MS) * DUE_QUANTUM_MS;
  const s = new Date(ms).toISOString();
  return `${s.slice(0, 4)}${s.slice(5, 7)}${s.slice(8, 10)}T${s.slice(11, 13)}${s.slice(14, 16)}/${s.slice(17, 23)}`;
}

export function parseDueMinute(name: string): number | undefined {
  const m = /^(\d{4})(\d\d)(\d\d)T(\d\d)(\d\d)$/.exec(name);
  if (m === null) return undefined;
  return Date.UTC(Number(m[1]), Number(m[2]) - 1, Number(m[3]), Number(m[4]), Number(m[5]));
}

export function parseDueSecond(name: string): number | undefined {
  const m = /^(\d\d)\.(\d{3})$/.exec(name);
  return m === null ? undefined : Number(m[1]) * 1000 + Number(m[2]);
}

/** Where a task waits or rests; everything that a path needs and nothing else. */
export type Place =
  | { state: 'queued'; lane: string; priority: number }
  | { state: 'delayed'; dueAt: number }
  | { state: 'running'; session: string }
  | { state: Exclude<State, 'queued' | 'delayed' | 'running'> };

export interface Layout {
  readonly root: string;
  readonly config: string;
  readonly signal: string;
  readonly tmp: string;
  readonly swept: string;
  readonly quarantine: string;
  readonly running: string;
  readonly workers: string;
  readonly inbox: string;
  readonly keylocks: string;
  readonly cron: string;
  readonly intents: string;
  readonly groups: string;
  readonly journal: string;
  /** The directory of a place, bucket included. */
  dir(place: Place, id: string): string;
  /** The file of a task at attempt `n` in a place. */
  entry(place: Place, id: string, n: number): string;
  session(session: string): string;
  worker(name: string): string;
  runs(id: string): string;
  log(id: string, n: number): string;
  errLog(id: string, n: number): string;
  outcome(id: string, n: number): string;
  retried(id: string, n: number): string;
  /** What attempt `n` finished of a task with steps. */
  steps(id: string, n: number): string;
  /** Which task follows from the ending of `id` at attempt `n`. */
  followed(id: string, n: number, kind: FollowKind): string;
  /** A follow-up task before the ending that makes it. */
  follow(id: string): string;
  /** Why a task was put into a state without an attempt: `<id>.a<N>.<state>.json`. */
  why(id: string, n: number, state: State): string;
  gone(id: string): string;
  after(id: string): string;
  key(key: string): string;
  /** The directories of a limit's and a mutex's tokens. */
  limit(name: string): string;
  mutex(name: string): string;
  /** The flag of a queue that is paused. */
  paused(queue: string): string;
  notes(id: string): string;
  state(id: string): string;
  blob(name: string): string;
  lane(lane: string): string;
}

/** Top-level directories that `init` makes; what is missing later is made when needed. */
export const TOP_DIRS = [
  'queued',
  'waiting',
  'delayed',
  'held',
  'running',
  'done',
  'failed',
  'canceled',
  'skipped',
  'runs',
  'workers',
  'keys',
  'keylocks',
  'limits',
  'mutexes',
  'paused',
  'intents',
  'groups',
  'lanes',
  'arrays',
  'after',
  'follow',
  'gone',
  'state',
  'notes',
  'blobs',
  'cron',
  'inbox',
  'journal',
  'imports',
  'tmp',
  'swept',
  'quarantine',
] as const;

export function makeLayout(root: string): Layout {
  const dir = (place: Place, id: string): string => {
    switch (place.state) {
      case 'queued':
        return `${root}/queued/${place.lane}/${prioName(place.priority)}/${bucketOf(id)}`;
      case 'delayed':
        return `${root}/delayed/${duePath(place.dueAt)}/${bucketOf(id)}`;
      case 'running':
        return `${root}/running/${place.session}`;
      default:
        return `${root}/${place.state}/${bucketOf(id)}`;
    }
  };
  const runs = (id: string): string => `${root}/runs/${bucketOf(id)}`;
  return {
    root,
    config: `${root}/tq.json`,
    signal: `${root}/signal`,
    tmp: `${root}/tmp`,
    swept: `${root}/swept`,
    quarantine: `${root}/quarantine`,
    running: `${root}/running`,
    workers: `${root}/workers`,
    inbox: `${root}/inbox`,
    keylocks: `${root}/keylocks`,
    cron: `${root}/cron`,
    intents: `${root}/intents`,
    groups: `${root}/groups`,
    journal: `${root}/journal`,
    dir,
    entry: (place, id, n) => `${dir(place, id)}/${entryName(id, n)}`,
    session: (session) => `${root}/running/${session}`,
    worker: (name) => `${root}/workers/${name}`,
    runs,
    log: (id, n) => `${runs(id)}/${id}.a${n}.log`,
    errLog: (id, n) => `${runs(id)}/${id}.a${n}.err`,
    outcome: (id, n) => `${runs(id)}/${id}.a${n}.json`,
    retried: (id, n) => `${runs(id)}/${id}.a${n}.retried`,
    steps: (id, n) => `${runs(id)}/${id}.a${n}.steps`,
    followed: (id, n, kind) => `${runs(id)}/${id}.a${n}.${kind}`,
    follow: (id) => `${root}/follow/${id}.json`,
    why: (id, n, state) => `${runs(id)}/${id}.a${n}.${state}.json`,
    gone: (id) => `${root}/gone/${bucketOf(id)}`,
    after: (id) => `${root}/after/${id}`,
    key: (key) => `${root}/keys/${digest(key).slice(0, 24)}`,
    limit: (name) => `${root}/limits/${name}`,
    mutex: (name) => `${root}/mutexes/${name}`,
    paused: (queue) => `${root}/paused/${queue}`,
    notes: (id) => `${root}/notes/${id}`,
    state: (id) => `${root}/state/${id}`,
    blob: (name) => `${root}/blobs/${name}`,
    lane: (lane) => `${root}/lanes/${lane}.json`,
  };
}

/** sha256 in hex. The module is loaded on first use: most submits need no hash, and loading it costs a tenth of their time. */
export function digest(text: string): string {
  const { createHash } = process.getBuiltinModule('node:crypto');
  return createHash('sha256').update(text).digest('hex');
}

export function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

export function baseOf(path: string): string {
  return path.slice(path.lastIndexOf('/') + 1);
}
