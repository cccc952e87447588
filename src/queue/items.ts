/** The items of `--each`: one JSON text a line in a blob, found by the index beside it. */
import fs from 'node:fs';
import type { Many } from '../task/many.ts';
import type { Queue } from './open.ts';

/** Where each line begins is an 8-byte number in the index; one more tells where the last one ends. */
const OFFSET_BYTES = 8;

/** The line of element `n`; undefined: the array has no items. Throws what the file system says when they cannot be read. */
export function itemLine(q: Queue, many: Many, n: number): string | undefined {
  if (many.items === undefined) return undefined;
  const path = q.lay.blob(many.items.blob);
  const offsets = readAt(`${path}.index`, (n - 1) * OFFSET_BYTES, 2 * OFFSET_BYTES);
  const from = offsets.readDoubleBE(0);
  return readAt(path, from, offsets.readDoubleBE(OFFSET_BYTES) - 1 - from).toString('utf8');
}

function readAt(path: string, from: number, bytes: number): Buffer {
  const buffer = Buffer.alloc(bytes);
  const fd = fs.openSync(path, 'r');
  try {
    fs.readSync(fd, buffer, 0, bytes, from);
  } finally {
    fs.closeSync(fd);
  }
  return buffer;
}
