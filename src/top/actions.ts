/**
 * What the live view can do to the queue, and what it reads of one task, as the interface that the command fills with the functions of
 * the verbs of the same name.
 */
import type { State } from '../task/types.ts';

/** Ids are of tasks, elements and arrays, or `@group`. */
export type Act =
  | { kind: 'cancel' | 'hold' | 'release'; ids: readonly string[] }
  /** Of those in `many`, arrays and groups, what failed runs again; of the others the task itself. */
  | { kind: 'retry'; ids: readonly string[]; many: readonly string[] }
  | { kind: 'priority'; ids: readonly string[]; priority: number }
  | { kind: 'sleep' | 'wake' | 'stop'; names: readonly string[] };

export interface Acted {
  /** How many it was done to. */
  done: number;
  /** One line each for those that refused, with the reason. */
  refusals: readonly string[];
}

export interface AttemptBar {
  attempt: number;
  /** `succeeded`, `failed`, ...; null while it runs. */
  outcome: string | null;
  startedAt: number | null;
  endedAt: number | null;
  worker: string;
  /** Exit code, signal, reason. */
  note: string;
}

/** What `tq show` and `tq why` say of a task. */
export interface Details {
  id: string;
  state: string;
  /** Lines of `tq show`, with their indent. */
  text: readonly string[];
  /** Lines of `tq why`, for one that is not running yet. */
  why: readonly string[];
  attempts: readonly AttemptBar[];
  /** Of an array: how many elements are in which state. */
  counts: Readonly<Partial<Record<State, number>>> | null;
}

export type Stream = 'both' | 'stdout' | 'stderr';

/** What came since the last read. */
export interface LogPart {
  /** In order; a new attempt begins with its number. */
  pieces: ReadonlyArray<{ attempt: number } | { stream: 'stdout' | 'stderr'; text: string }>;
  /** Attempts that have a log. */
  attempts: readonly number[];
  state: string;
  /** The two streams are apart. */
  isSplit: boolean;
  /** No more will come. */
  isOver: boolean;
}

export interface LogReader {
  read(): Promise<LogPart>;
}

export interface Actions {
  perform(act: Act): Promise<Acted>;
  /** Throws TqError when it is not there any more. */
  details(id: string): Promise<Details>;
  /** `attempt` null: the newest, and those that come. */
  openLog(id: string, attempt: number | null, stream: Stream): LogReader;
}
