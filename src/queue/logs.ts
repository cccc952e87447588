/**
 * Reading what attempts printed. A log is appended to while its attempt runs and never changes after it; it is read in pieces from
 * where the reader was, and opened anew for each look, which is what makes other machines' writes visible over NFS.
 */
import fs from 'node:fs';
import { isAttempt } from '../task/event.ts';
import { findElement, readArray } from './array.ts';
import { isGone, listOrEmpty } from './fsx.ts';
import { pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome } from './outcome.ts';
import type { Ended } from './pieces.ts';

const PIECE_BYTES = 262_144;

/**
 * The attempts of a task that have a log, ascending. Last is never one that was claimed and ended without a start (the deadline had
 * passed, say) where another one has been: what the task printed is there.
 */
export async function attemptsWithLogs(q: Queue, id: string): Promise<number[]> {
  const found: number[] = [];
  for (const name of await listOrEmpty(q.fsx, q.lay.runs(id))) {
    if (!name.startsWith(`${id}.a`)) continue;
    const m = /^(\d{1,9})\.log$/.exec(name.slice(id.length + 2));
    if (m !== null) found.push(Number(m[1]));
  }
  found.sort((a, b) => a - b);
  while (found.length > 1) {
    const outcome = await readOutcome(q, id, found.at(-1)!);
    if (outcome === undefined || isAttempt(outcome)) break;
    found.pop();
  }
  return found;
}

/**
 * Hands on what there is from `from` to the end that the file has now; the new position. A file that is not there has nothing.
 * Stops early when `take` answers false.
 */
export async function readFrom(path: string, from: number, take: (piece: Uint8Array) => boolean): Promise<number> {
  const file = await openIfThere(path);
  if (file === undefined) return from;
  let at = from;
  try {
    const { size } = await file.stat();
    while (at < size) {
      const { bytesRead, buffer } = await file.read(
        Buffer.allocUnsafe(Math.min(PIECE_BYTES, size - at)),
        0,
        Math.min(PIECE_BYTES, size - at),
        at,
      );
      if (bytesRead === 0) break;
      at += bytesRead;
      if (!take(buffer.subarray(0, bytesRead))) break;
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  } finally {
    await file.close();
  }
  return at;
}

/** Where the output of an element lies that ran as one of many: bytes in the log of its chunk. */
export interface Slice {
  path: string;
  from: number;
  bytes: number;
}

/** Undefined: it has no output there. */
export async function keptOutput(q: Queue, id: string): Promise<Slice | undefined> {
  const piece = pieceOf(id);
  const array = piece === undefined ? undefined : await readArray(q, piece.base);
  return array === undefined ? undefined : sliceOf(q, array.id, (await findElement(q, array, piece!.lo))?.line);
}

/** The output that the line of an element of array `id` tells of. */
export function sliceOf(q: Queue, id: string, line: Pick<Ended, 'log'> | undefined): Slice | undefined {
  const log = line?.log;
  return log === undefined || log.file.includes('/')
    ? undefined
    : { path: `${q.lay.runs(id)}/${log.file}`, from: log.from, bytes: log.bytes };
}

export async function readSlice({ path, from, bytes }: Slice, take: (piece: Uint8Array) => boolean): Promise<void> {
  let left = bytes;
  await readFrom(path, from, (piece) => {
    const part = piece.subarray(0, left);
    left -= part.length;
    return take(part) && left > 0;
  });
}

const NEWLINE = 0x0a;

/** Where the last `lines` lines of the file begin. A newline at the very end ends the last line and begins none. */
export async function lastLines(path: string, lines: number): Promise<number> {
  const file = await openIfThere(path);
  if (file === undefined) return 0;
  try {
    const { size } = await file.stat();
    if (lines === 0) return size;
    let left = lines;
    for (let end = size; end > 0;) {
      const begin = Math.max(0, end - PIECE_BYTES);
      const { buffer, bytesRead } = await file.read(Buffer.alloc(end - begin), 0, end - begin, begin);
      for (let i = Math.min(bytesRead, end - begin) - 1; i >= 0; i--) {
        if (buffer[i] !== NEWLINE || begin + i === size - 1) continue;
        if (--left === 0) return begin + i + 1;
      }
      end = begin;
    }
    return 0;
  } finally {
    await file.close();
  }
}

async function openIfThere(path: string): Promise<fs.promises.FileHandle | undefined> {
  try {
    return await fs.promises.open(path, 'r');
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}
