/**
 * Output of several tasks on one stdout: each line with the task that printed it, never two mixed within a line.
 */
import { writeAll } from '../print.ts';
import type { Sink, Stream } from './follow.ts';

export interface Prefixed {
  sink: Sink;
  /** Hands on what is left of a last line without its end. */
  finish(): void;
}

/** A stream that was asked for goes to stdout, whichever it is. */
export function plain(asked: Stream | undefined): Prefixed {
  return { sink: (stream, piece) => writeAll(fdOf(stream, asked), piece), finish: () => undefined };
}

function fdOf(stream: Stream, asked: Stream | undefined): 1 | 2 {
  return stream === 'stderr' && asked === undefined ? 2 : 1;
}

const NEWLINE = 0x0a;
/** A line that does not end is cut there, so that a program that never writes one is seen, too. */
const LONGEST_LINE_BYTES = 1_048_576;

/** Whole lines, each with its task: a line that comes in two pieces is joined first. */
export function prefixed(prefix: string, asked: Stream | undefined): Prefixed {
  const head = Buffer.from(prefix);
  const rest: Record<Stream, Buffer> = { stdout: Buffer.alloc(0), stderr: Buffer.alloc(0) };
  const write = (stream: Stream, whole: Buffer): boolean => {
    const parts: Uint8Array[] = [];
    for (let at = 0; at < whole.length;) {
      const newline = whole.indexOf(NEWLINE, at);
      const end = newline < 0 ? whole.length : newline + 1;
      parts.push(head, whole.subarray(at, end));
      at = end;
    }
    return parts.length === 0 || writeAll(fdOf(stream, asked), Buffer.concat(parts));
  };
  return {
    sink(stream, piece) {
      const all = Buffer.concat([rest[stream], piece]);
      const end = all.lastIndexOf(NEWLINE) + 1;
      rest[stream] = all.subarray(end);
      const open = write(stream, all.subarray(0, end));
      if (rest[stream].length < LONGEST_LINE_BYTES) return open;
      const long = Buffer.concat([rest[stream], Buffer.of(NEWLINE)]);
      rest[stream] = Buffer.alloc(0);
      return write(stream, long) && open;
    },
    finish() {
      for (const stream of ['stdout', 'stderr'] as const) {
        const last = rest[stream];
        rest[stream] = Buffer.alloc(0);
        if (last.length > 0) write(stream, Buffer.concat([last, Buffer.of(NEWLINE)]));
      }
    },
  };
}
