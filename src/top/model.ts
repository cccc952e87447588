/**
 * What the live view shows: plain data that the store fills from the queue and the view draws.
 */
import type { StatusWord } from '../task/farm.ts';
import type { State } from '../task/types.ts';
import type { WorkerState } from '../queue/registry.ts';

/** One line of the tasks pane: a task, an array or another submission of many (a group) with its bar, or one of its tasks. */
export interface Row {
  kind: 'task' | 'array' | 'element' | 'group';
  id: string;
  state: State;
  /** Null until the file has been read; only what is shown is read. */
  name: string | null;
  queue: string | null;
  group: string | null;
  priority: number | null;
  user: string | null;
  worker: string | null;
  attempt: number;
  /** Ms since the epoch. */
  submittedAt: number;
  startedAt: number | null;
  endedAt: number | null;
  /** Why it is in its state: exit code, due time, what it waits for. */
  info: string;
  /** 0 to 100. */
  percent: number | null;
  message: string | null;
  /** Of arrays and groups: how many tasks are in which state. */
  counts: Readonly<Partial<Record<State, number>>> | null;
  /** How deep it stands below what is unfolded. */
  depth: 0 | 1 | 2;
  isFolded: boolean | null;
}

/** What is known of a row before anything is. */
export const EMPTY_ROW = {
  name: null,
  queue: null,
  group: null,
  priority: null,
  user: null,
  worker: null,
  attempt: 0,
  startedAt: null,
  endedAt: null,
  info: '',
  percent: null,
  message: null,
  counts: null,
  depth: 0,
  isFolded: null,
} as const;

export interface WorkerRow {
  name: string;
  host: string;
  state: WorkerState;
  /** What it was asked to be and is not yet. */
  want: string | null;
  alive: boolean;
  /** Alive, but its last beats are missing. */
  suspected: boolean;
  jobs: number;
  running: readonly string[];
  /** Load average of its machine over a minute; null: it does not say. */
  load: number | null;
  lastSeenAt: number | null;
  queues: readonly string[];
  labels: Readonly<Record<string, string>>;
  /** What keeps it from taking tasks, or why it is in error. */
  reason: string | null;
}

export type Column = 'id' | 'state' | 'name' | 'queue' | 'group' | 'priority' | 'user' | 'worker' | 'age' | 'time' | 'info';

/** What the view asks the store for. */
export interface Ask {
  /** In the language of selectors and filters, or a part of a name; empty: everything unfinished and what failed of late. */
  filter: string;
  sort: Column | null;
  reverse: boolean;
  /** First row and number of rows that are shown. */
  offset: number;
  rows: number;
  /** Stays in sight while rows come and go: `offset` follows it. */
  cursor: string | null;
  unfolded: ReadonlySet<string>;
}

export interface Snapshot {
  /** Ms since the epoch, of what is shown; in a replay a time of the past. */
  at: number;
  dir: string;
  word: StatusWord;
  counts: Readonly<Record<State, number>>;
  /** Tasks that ended per interval, oldest first, for the sparkline. */
  throughput: readonly number[];
  /** Tasks that ended per second, of late. */
  rate: number;
  /** Ms until all that is queued is done at this rate; null: not known. */
  etaMs: number | null;
  workers: readonly WorkerRow[];
  /** Rows from `offset` on. */
  rows: readonly Row[];
  offset: number;
  /** Rows that the filter leaves, and rows without it. */
  matching: number;
  total: number;
  /** So many of those that match can be scrolled to: where a filter or an order leaves very many, the first ones. */
  reach: number;
  /** False while the filter is still being looked through. */
  isComplete: boolean;
  /** The queue's directory cannot be read since then, ms; what is shown is what was seen last. */
  unreachableSince: number | null;
  /** Whether this user may change anything. */
  isWritable: boolean;
  /** The filter cannot be understood. */
  filterError: string | null;
}

/** Where the view gets its data from: the queue itself, or its journal played back. */
export interface Store {
  /** Looks at the queue as far as something changed, and answers. Never throws for what the file system does. */
  look(ask: Ask): Promise<Snapshot>;
  close(): Promise<void>;
}
