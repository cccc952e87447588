/**
 * The task files behind the rows that are shown: read when a row needs them, a few thousand remembered, and never twice while nothing
 * changed. What a file is not there for any more, or may not be read, is simply not known.
 */
import type { Entry } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { readOutcome } from '../queue/outcome.ts';
import { readIfThere } from '../queue/steps.ts';
import { parseTask } from '../queue/task-file.ts';
import { readWhy } from '../queue/why.ts';
import { commandLine } from '../task/argv.ts';
import { isTerminal, type State, type Task } from '../task/types.ts';
import type { Leaf } from './tree.ts';

/** What is kept of a task. */
export interface Known {
  /** Its name, or else what it runs. */
  title: string;
  name: string | undefined;
  queue: string;
  group: string | undefined;
  priority: number;
  user: string;
  labels: Readonly<Record<string, string>> | undefined;
  submittedAt: number;
  /** What it waits for. */
  waitsFor: string;
}

/** How it came into its state. */
export interface Past {
  worker: string | null;
  startedAt: number | null;
  endedAt: number | null;
  /** Held: by whom. */
  by: string | null;
  heldAt: number | null;
  reason: string | null;
}

export interface Files {
  /** Undefined: not read yet. Null: it cannot be read. */
  known(id: string, n: number): Known | null | undefined;
  past(id: string, n: number, state: State): Past | null | undefined;
  /** It was looked for in vain, and nothing new is known of its directory. */
  isGone(leaf: Leaf, e: Pick<Entry, 'name'>): boolean;
  read(leaf: Leaf, e: Pick<Entry, 'id' | 'n' | 'name'>): Promise<void>;
  readPast(id: string, n: number, state: State): Promise<void>;
}

const MOST = 6000;

export function makeFiles(q: Queue): Files {
  const tasks = newCache<{ n: number; known: Known | null }>();
  /** What was not there any more when it was to be read, by the version of the listing that had it. */
  const gone = newCache<number>();
  const pasts = newCache<Past | null>();
  return {
    known(id, n) {
      const there = tasks.get(id);
      return there?.n === n ? there.known : undefined;
    },
    past: (id, n, state) => pasts.get(`${id}.a${n}.${state}`),
    isGone: (leaf, e) => gone.get(`${leaf.dir}/${e.name}`) === leaf.version,
    async read(leaf, e) {
      const text = await readIfThere(q, `${leaf.dir}/${e.name}`).catch(() => null);
      // It moved on: a newer listing says where to.
      if (text === undefined) return void gone.set(`${leaf.dir}/${e.name}`, leaf.version);
      const task = text === null ? undefined : parseTask(text, e.id);
      tasks.set(e.id, { n: e.n, known: task?.ok === true ? knownOf(task.value) : null });
    },
    async readPast(id, n, state) {
      let past: Past | null = null;
      try {
        past = await pastOf(q, id, n, state);
      } catch {
        past = null;
      }
      pasts.set(`${id}.a${n}.${state}`, past);
    },
  };
}

async function pastOf(q: Queue, id: string, n: number, state: State): Promise<Past> {
  const o = n > 0 ? await readOutcome(q, id, n) : undefined;
  const why =
    state === 'held' || state === 'canceled' || state === 'skipped' || o === undefined ? await readWhy(q, id, n, state) : undefined;
  const ended = isTerminal(state);
  return {
    worker: o?.worker ?? null,
    startedAt: o?.startedAt ?? null,
    endedAt: ended ? (why?.at ?? o?.endedAt ?? null) : null,
    by: why?.by?.user ?? null,
    heldAt: state === 'held' ? (why?.at ?? null) : null,
    reason: why?.reason ?? (state === 'done' ? null : (o?.next.reason ?? o?.reason ?? null)),
  };
}

function knownOf(task: Task): Known {
  return {
    title: task.name ?? commandLine(task),
    name: task.name,
    queue: task.queue,
    group: task.group,
    priority: task.priority,
    user: task.submittedBy.user,
    labels: task.labels,
    submittedAt: task.submittedAt,
    waitsFor:
      task.after !== undefined && task.after.length > 0
        ? `for ${task.after.map((p) => p.id).join(', ')}`
        : task.key === undefined
          ? ''
          : `for its key ${task.key}`,
  };
}

/** The ones used last are kept. */
function newCache<T>(): { get(key: string): T | undefined; set(key: string, value: T): void } {
  const map = new Map<string, T>();
  return {
    get(key) {
      const value = map.get(key);
      if (value !== undefined) {
        map.delete(key);
        map.set(key, value);
      }
      return value;
    },
    set(key, value) {
      map.delete(key);
      map.set(key, value);
      if (map.size > MOST) map.delete(map.keys().next().value!);
    },
  };
}
