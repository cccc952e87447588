/**
 * Two handlers, for a worker that is started with `tq worker --handlers examples/handlers`:
 *
 *     tq submit --handler digest --data '{"file": "/data/big.iso"}'
 *     tq submit --handler lines --data '{"file": "/data/list.txt", "most": 1000}' --retries 2
 *
 * What a handler returns is the result of its task; `tq show` has it.
 */
import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { readFile, stat } from 'node:fs/promises';

/** The part of what a handler is given that is used here. */
interface Context {
  readonly signal: AbortSignal;
  progress(percent: number, message?: string): void;
  retryLater(after?: string | number, reason?: string): never;
  fail(message: string): never;
}

/** The SHA-256 of a file, with progress while it is read; run again in a minute while the file is not there yet. */
export async function digest({ file }: { file: string }, ctx: Context): Promise<{ sha256: string; bytes: number }> {
  const { size } = await stat(file).catch(() => ctx.retryLater('1m', `${file} is not there yet`));
  const hash = createHash('sha256');
  let bytes = 0;
  for await (const part of createReadStream(file, { signal: ctx.signal })) {
    hash.update(part as Buffer);
    bytes += (part as Buffer).length;
    ctx.progress(Math.min(100, (100 * bytes) / size), file);
  }
  return { sha256: hash.digest('hex'), bytes };
}

/** How many lines a file has. More than `most` is a failure that no retry makes good. */
export async function lines({ file, most = Number.POSITIVE_INFINITY }: { file: string; most?: number }, ctx: Context): Promise<number> {
  const n = (await readFile(file, 'utf8')).split('\n').length - 1;
  if (n > most) ctx.fail(`${file} has ${n} lines, more than ${most}`);
  return n;
}
