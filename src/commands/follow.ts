/**
 * Following a task: its output as it grows, from attempt to attempt, until it has ended. The entry's place says whether there is
 * more to come, and it moves only after the output is complete.
 */
import type { Located } from '../queue/find.ts';
import { locateAny } from '../queue/array-view.ts';
import { attemptsWithLogs, keptOutput, lastLines, readFrom, readSlice } from '../queue/logs.ts';
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
import { isTerminal } from '../task/types.ts';
import { expire, stays } from './look.ts';
import { readTaskQuietly } from './select.ts';

export type Stream = 'stdout' | 'stderr';

/** Takes a piece of output; false: nobody reads any more. */
export type Sink = (stream: Stream, piece: Uint8Array) => boolean;

export interface FollowOptions {
  /** Only this attempt. */
  attempt?: number;
  /** Begin so many lines before the end of what there is. */
  lines?: number;
  /** Begin at the first attempt, not at the newest: for a task that was just submitted. */
  all?: boolean;
  streams: readonly Stream[];
  sink: Sink;
  /** Called between two attempts. */
  between?: () => void;
  signal: AbortSignal;
  /** Tasks that are followed at the same time: each is looked at less often. */
  together?: number;
}

/** `ended`: so has the task, or the one attempt. `closed`: nobody reads. `gone`: the task was removed. */
export type Followed = 'ended' | 'closed' | 'aborted' | 'gone';

/** Polls of a local disk grow from the first to the longest, ms; over NFS each is some calls to the server. */
const FIRST_MS = 5;
const LONGEST_MS = 50;
const NETWORK_MS = 1000;

export async function follow(q: Queue, id: string, system: Pick<System, 'sleep'>, options: FollowOptions): Promise<Followed> {
  const reader = newReader(q, id, options);
  const together = Math.max(1, options.together ?? 1);
  for (let round = 0; ; round++) {
    const at = await locateAny(q, id, round > 0);
    if (at === undefined) return (await reader.read(Number.POSITIVE_INFINITY)) ? 'gone' : 'closed';
    if (!(await reader.read(at.n))) return 'closed';
    if (isOver(at, options.attempt)) {
      const kept = at.id.includes('.') && reader.taken() === 0 ? await keptOutput(q, id) : undefined;
      if (kept !== undefined) await readSlice(kept, (piece) => options.sink('stdout', piece));
      return 'ended';
    }
    const expires = !isTerminal(at.state) && (await readTaskQuietly(q, at))?.expiresAt !== undefined;
    const longest = Math.max(q.network ? NETWORK_MS : LONGEST_MS, 2 * together);
    for (let ms = q.network ? NETWORK_MS : FIRST_MS; await stays(q, at); ms = Math.min(longest, ms * 1.5)) {
      if (options.signal.aborted) return 'aborted';
      const before = reader.taken();
      if (!(await reader.read(at.n))) return 'closed';
      if (reader.taken() > before) ms = q.network ? NETWORK_MS : FIRST_MS;
      if (expires && (await expire(q, at))) break;
      await system.sleep(ms * (0.9 + 0.2 * Math.random()), options.signal);
    }
    if (options.signal.aborted) return 'aborted';
  }
}

/** Whether no more output will come of what is followed. */
function isOver(at: Located, attempt: number | undefined): boolean {
  if (isTerminal(at.state)) return true;
  if (attempt === undefined) return false;
  return at.n > attempt || (at.n === attempt && at.place.state !== 'running');
}

export interface Reader {
  /** Hands on what is new of all attempts up to `newest`; false when nobody reads any more. */
  read(newest: number): Promise<boolean>;
  /** Bytes handed on so far. */
  taken(): number;
}

/** Reads a task's logs, each byte once, attempt after attempt. */
export function newReader(q: Queue, id: string, { attempt, lines, all, streams, sink, between }: Omit<FollowOptions, 'signal'>): Reader {
  let current: number | undefined = attempt;
  let begun = false;
  let taken = 0;
  let open = true;
  const position: Record<Stream, number> = { stdout: 0, stderr: 0 };

  const begin = async (n: number, tail: number | undefined): Promise<void> => {
    current = n;
    begun = true;
    for (const stream of streams) position[stream] = tail === undefined ? 0 : await lastLines(pathOf(q, id, n, stream), tail);
  };
  const more = async (): Promise<void> => {
    for (const stream of streams) {
      position[stream] = await readFrom(pathOf(q, id, current!, stream), position[stream], (piece) => {
        taken += piece.length;
        open &&= sink(stream, piece);
        return open;
      });
    }
  };
  return {
    taken: () => taken,
    async read(newest) {
      if (begun) await more();
      // A later attempt has a higher number; until there is one no directory is listed.
      if (begun && (attempt !== undefined || newest <= current!)) return open;
      const there = (await attemptsWithLogs(q, id)).filter((n) => n <= newest);
      if (!begun) {
        const first = attempt ?? (all === true ? there[0] : there.at(-1));
        if (first === undefined || !there.includes(first)) return open;
        await begin(first, lines);
        await more();
      }
      for (const n of attempt === undefined ? there.filter((later) => later > current!) : []) {
        if (!open) return false;
        between?.();
        await begin(n, undefined);
        await more();
      }
      return open;
    },
  };
}

export function pathOf(q: Queue, id: string, attempt: number, stream: Stream): string {
  return stream === 'stdout' ? q.lay.log(id, attempt) : q.lay.errLog(id, attempt);
}
