/**
 * The journal, `journal/<hour>/<writer>.ndjson`: who changes something says so in a line, as soon as it is cheap. It is quick and not
 * sure: the truth is where a task's file lies and what its attempts left, from which a reader fills in what a crash kept from being
 * written. So nothing here fails or waits for anything. Each file has one writer: a worker, which writes what gathered in a while at once;
 * or, on a local disk only, where appending is safe for all, the commands of one host. Those on a network file system write nothing.
 */
import type { OtherEvent, Step } from '../task/event.ts';
import type { State } from '../task/types.ts';
import { mkdirp } from './fsx.ts';
import { baseOf, isPiece, parentOf, parseEntry } from './layout.ts';
import type { Queue } from './open.ts';

/** What a step says beside its states. */
export type About = Partial<
  Pick<Step, 'outcome' | 'exitCode' | 'signal' | 'reason' | 'by' | 'name' | 'queue' | 'group' | 'user' | 'dueAt'>
> & {
  worker?: string | null;
  /** False: it was claimed and never began, so that it only seemed to run. */
  ran?: boolean;
};

export interface Journal {
  step(step: Step): void;
  other(event: OtherEvent): void;
  /** A task's file was renamed. */
  moved(source: string, target: string, about?: About): void;
  flush(): Promise<void>;
}

/** `20300131T09`, UTC. */
export function hourOf(ms: number): string {
  const s = new Date(ms).toISOString();
  return `${s.slice(0, 4)}${s.slice(5, 7)}${s.slice(8, 10)}T${s.slice(11, 13)}`;
}

/** Reasons are cut to this many characters: a line stays below 4 KB. */
const REASON_CHARS = 300;

/** For a command: each line is written at once. Undefined on a network file system. */
export function commandJournal(q: Queue, host: string): Journal | undefined {
  if (q.network) return undefined;
  const writer = host.replaceAll(/[^A-Za-z0-9_-]/g, '-') || 'host';
  // The first line is written by the time that this returns, unless its directory has to be made.
  let writing = Promise.resolve();
  const made = makeJournal(q, Date.now, (text, at) => {
    const written = append(q, fileOf(q, at, writer), text);
    writing = writing.then(() => written);
  });
  return { ...made, flush: () => writing };
}

/** For a worker: lines gather until `flush`, which somebody calls in time. `told` is called when there is something to flush. */
export function workerJournal(q: Queue, now: () => number, session: () => string, told: () => void): Journal {
  let lines = '';
  let file = '';
  let fd: number | undefined;
  const close = (): void => {
    if (fd !== undefined) q.fsx.close(fd);
    fd = undefined;
  };
  const write = async (): Promise<void> => {
    if (lines === '' || session() === '') return;
    const text = lines;
    lines = '';
    try {
      const wanted = fileOf(q, now(), session());
      // A clock that goes back does not bring an hour back: its file is there already.
      if (file === '' || parentOf(wanted) > parentOf(file) || baseOf(wanted) !== baseOf(file)) {
        close();
        file = wanted;
        await mkdirp(q.fsx, parentOf(file));
        fd = await q.fsx.openLog(file);
      }
      if (fd !== undefined) await q.fsx.appendTo(fd, file, text, true);
    } catch {
      // Its readers find the same in the tasks' files. An hour whose file cannot be made is left out.
    }
  };
  let writing = Promise.resolve();
  const made = makeJournal(q, now, (text) => {
    if (lines === '') told();
    lines += text;
    // Nobody flushes: what nobody could write is not kept.
    if (lines.length > MOST_KEPT) lines = '';
  });
  return { ...made, flush: () => (writing = writing.then(write)) };
}

const MOST_KEPT = 8_388_608;

function fileOf(q: Queue, at: number, writer: string): string {
  return `${q.lay.journal}/${hourOf(at)}/${writer}.ndjson`;
}

async function append(q: Queue, file: string, text: string): Promise<void> {
  try {
    await q.fsx.append(file, text);
  } catch {
    try {
      await mkdirp(q.fsx, parentOf(file));
      await q.fsx.append(file, text);
    } catch {
      // Only a record: what it would have said follows from the task's files.
    }
  }
}

function makeJournal(q: Queue, now: () => number, write: (text: string, at: number) => void): Journal {
  const step = (s: Step): void => write(`${JSON.stringify(s)}\n`, s.at);
  return {
    step,
    other: (event) => write(`${JSON.stringify(event)}\n`, event.at),
    moved(source, target, about) {
      const s = stepOf(q, source, target, now(), about);
      if (s !== undefined) step(s);
    },
    flush: () => Promise.resolve(),
  };
}

/** What a rename of a task's file means; undefined: nothing that anybody would call a change of its state. */
function stepOf(q: Queue, source: string, target: string, now: number, about: About | undefined): Step | undefined {
  const from = stateIn(q, source);
  const to = stateIn(q, target);
  if (from === undefined || to === undefined || from === to || to === 'running') return undefined;
  const entry = parseEntry(baseOf(to === null ? source : target));
  if (entry === undefined || entry.cancel || entry.cut !== undefined) return undefined;
  const { ran, reason, worker, ...more } = about ?? {};
  // A range that a worker had for a moment. An element of one ends with its chunk's journal; only where it came to rest is told.
  const fromRunning = from === 'running';
  if (fromRunning && (isPiece(entry.id) || (about === undefined && (to === 'queued' || to === 'delayed' || to === 'waiting'))))
    return undefined;
  if (fromRunning && ran === false && to === 'queued') return undefined;
  return {
    at: Math.round(now),
    task: entry.id,
    from: fromRunning && ran === false ? 'queued' : from,
    to,
    attempt: entry.n,
    worker: worker ?? null,
    ...more,
    ...(reason === undefined ? {} : { reason: reason.slice(0, REASON_CHARS) }),
  };
}

const SET_SESSION = /^set\.([a-z]+)\./;

/** The state that a place shows; null: not there yet, or not any more. */
function stateIn(q: Queue, path: string): State | null | undefined {
  const { length } = q.dir;
  const end = path.indexOf('/', length + 1);
  const room = path.slice(length + 1, end);
  switch (room) {
    case 'running': {
      const m = SET_SESSION.exec(path.slice(end + 1));
      return m === null ? 'running' : (m[1] as State); // a session of `tq set`, whose name says it
    }
    case 'follow':
    case 'gone':
      return null;
    case 'queued':
    case 'waiting':
    case 'delayed':
    case 'held':
    case 'done':
    case 'failed':
    case 'canceled':
    case 'skipped':
      return room;
    default:
      return undefined;
  }
}
