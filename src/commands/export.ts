/**
 * `tq export`: the whole queue in one file.
 */
import fs from 'node:fs';
import path from 'node:path';
import { TqError, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import { pieces, type Piece } from '../queue/export.ts';
import { readFrom } from '../queue/logs.ts';
import { END, header, padding } from '../queue/tar.ts';
import { quoted, visible } from '../task/visible.ts';
import { version } from '../version.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'export',
  section: 'THE QUEUE',
  summary: 'write the whole queue into one file',
  description:
    'The file is a tar archive of the queue directory without what belongs to machines, so tar can list and unpack it. Each task is ' +
    'as it was at one moment; what ran then is queued again when it is imported, its attempt lost.',
  examples: [
    { command: 'tq export backup.tar', text: 'tasks, states, attempts and logs' },
    { command: 'tq export - | ssh other tq -D /srv/q import -', text: 'into a queue on another machine' },
  ],
  args: [{ name: 'FILE', required: true, help: 'the file to write, or - for standard output' }],
  flags: {},
  async run(ctx) {
    const { io, json } = ctx;
    const file = ctx.args[0]!;
    if (file === '-' && process.stdout.isTTY) throw usage("FILE: '-' is a terminal", 'give a file, or a pipe');
    const q = await ctx.queue();
    let tasks = 0;
    const told = {
      task: () => void tasks++,
      leftOut: (what: string) => io.err(`tq: left out: ${visible(what)}`),
    };
    if (file === '-') {
      const bytes = await write(pieces(q, version, told), (chunk) => io.out(chunk));
      if (bytes !== undefined) io.err(`tq: ${tasks} ${tasks === 1 ? 'task' : 'tasks'} exported`);
      return 0;
    }
    const { target, isFile } = destination(path.resolve(ctx.system.cwd(), file));
    // Written aside and renamed: what was there stays until the new one is whole. A device or a pipe is written to and stays what it is.
    const aside = isFile ? `${target}.${process.pid}.part` : target;
    let fd: number | undefined;
    try {
      fd = fs.openSync(aside, isFile ? 'wx' : 'w', 0o600);
      const into = fd;
      const bytes = await write(pieces(q, version, told), (chunk) => writeAll(into, chunk));
      if (isFile) fs.fsyncSync(fd);
      fs.closeSync(fd);
      fd = undefined;
      if (isFile) fs.renameSync(aside, target);
      if (json) printJson({ file: target, tasks, bytes }, io);
      else io.err(`tq: ${tasks} ${tasks === 1 ? 'task' : 'tasks'} exported to ${visible(file)}`);
      return 0;
    } catch (error) {
      if (fd !== undefined) fs.closeSync(fd);
      if (isFile) fs.rmSync(aside, { force: true });
      throw error instanceof TqError ? error : cannotWrite(file, error);
    }
  },
});

/** Where a symlink leads to counts, and what is there: `/dev/stdout`, a named pipe. */
function destination(given: string): { target: string; isFile: boolean } {
  const there = fs.statSync(given, { throwIfNoEntry: false });
  if (there === undefined) return { target: given, isFile: true };
  if (!there.isFile() && !there.isDirectory()) return { target: given, isFile: false };
  return { target: fs.realpathSync(given), isFile: true };
}

function cannotWrite(file: string, error: unknown): unknown {
  const code = error instanceof Error && 'code' in error ? String(error.code) : undefined;
  const named = error instanceof Error && 'path' in error ? String(error.path) : '';
  if (code === undefined || (named !== '' && !named.endsWith('.part'))) return error;
  if (code === 'EACCES' || code === 'EPERM')
    return new TqError('PERMISSION', `permission denied: cannot write ${quoted(file)}`, { cause: error });
  if (code === 'ENOENT' || code === 'ENOTDIR' || code === 'EISDIR') return usage(`FILE: cannot write ${quoted(file)}: ${code}`);
  return new TqError(code === 'ENOSPC' || code === 'EDQUOT' ? 'NO_SPACE' : 'QUEUE_UNUSABLE', `cannot write ${quoted(file)}: ${code}`, {
    cause: error,
  });
}

function writeAll(fd: number, data: Uint8Array): boolean {
  for (let at = 0; at < data.length;) at += fs.writeSync(fd, data, at, data.length - at);
  return true;
}

/** Small pieces are put together before they are written. */
const BATCH_BYTES = 262_144;

/** Writes the archive; how many bytes. Undefined: nobody reads on. */
async function write(from: AsyncIterable<Piece>, sink: (chunk: Uint8Array) => boolean): Promise<number | undefined> {
  let batch: Uint8Array[] = [];
  let inBatch = 0;
  let total = 0;
  const flush = (): boolean => {
    const chunk = Buffer.concat(batch);
    [batch, inBatch] = [[], 0];
    total += chunk.length;
    return chunk.length === 0 || sink(chunk);
  };
  const put = (bytes: Uint8Array): boolean => {
    batch.push(bytes);
    inBatch += bytes.length;
    return inBatch < BATCH_BYTES || flush();
  };
  for await (const piece of from) {
    if ('directory' in piece) {
      if (!put(header({ path: piece.path, bytes: 0, kind: 'directory', mtimeMs: Date.now() }))) return undefined;
      continue;
    }
    if ('data' in piece) {
      const data = Buffer.from(piece.data);
      if (!put(header({ path: piece.path, bytes: data.length, mtimeMs: Date.now() })) || !put(data) || !put(padding(data.length)))
        return undefined;
      continue;
    }
    if (!put(header(piece))) return undefined;
    let left = piece.bytes;
    let open = true;
    if (left > 0) {
      await readFrom(piece.file, 0, (bytes) => {
        const part = bytes.subarray(0, left);
        left -= part.length;
        // The reader's buffer is used again.
        open = put(Buffer.from(part)) && open;
        return open && left > 0;
      });
    }
    // It was removed since its size was read: what is missing of it is nothing.
    for (; open && left > 0; left -= Math.min(left, BATCH_BYTES)) open = put(Buffer.alloc(Math.min(left, BATCH_BYTES)));
    if (!open || !put(padding(piece.bytes))) return undefined;
  }
  return put(END) && flush() ? total : undefined;
}
