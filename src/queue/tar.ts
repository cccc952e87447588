/**
 * Files in one file, as POSIX calls `ustar` and `pax` (IEEE 1003.1, pax Interchange Format), so that any tar can list and unpack it.
 * Both ways are streams: neither the number of files nor their size is held in memory. Reading believes nothing: a length or a check
 * sum that is wrong, and an end that comes too early, is an error.
 */
import { TqError } from '../errors.ts';

export interface Member {
  /** As in the archive, with `/`. */
  path: string;
  bytes: number;
  kind?: 'file' | 'directory';
  /** Permission bits. */
  mode?: number;
  mtimeMs?: number;
}

const BLOCK = 512;
/** The most that eleven octal digits hold. */
const MOST_IN_OCTAL = 8 ** 11 - 1;
/** No name and no comment of a member is longer. */
const MOST_META_BYTES = 1_048_576;

/** The header of a member; its bytes follow, then `padding`. */
export function header(m: Member): Buffer {
  const plain = asUstar(m.path);
  if (plain !== undefined && m.bytes <= MOST_IN_OCTAL) return block(plain, m, m.kind === 'directory' ? '5' : '0');
  const records = Buffer.concat([
    ...(plain === undefined ? [record('path', m.path)] : []),
    ...(m.bytes > MOST_IN_OCTAL ? [record('size', String(m.bytes))] : []),
  ]);
  const about = { path: 'pax', bytes: records.length };
  const short = plain ?? { name: 'long', prefix: '' };
  return Buffer.concat([
    block({ name: 'pax', prefix: '' }, about, 'x'),
    records,
    padding(records.length),
    block(short, { ...m, bytes: Math.min(m.bytes, MOST_IN_OCTAL) }, '0'),
  ]);
}

/** Fills up to a whole block. */
export function padding(bytes: number): Buffer {
  return Buffer.alloc((BLOCK - (bytes % BLOCK)) % BLOCK);
}

export const END: Buffer = Buffer.alloc(2 * BLOCK);

/** A name of at most 100 characters, and a prefix of at most 155; undefined: it does not fit. */
function asUstar(path: string): { name: string; prefix: string } | undefined {
  // eslint-disable-next-line no-control-regex
  if (!/^[\x20-\x7e]+$/.test(path)) return undefined;
  if (path.length <= 100) return { name: path, prefix: '' };
  const at = path.indexOf('/', path.length - 101);
  return at < 1 || at > 155 ? undefined : { name: path.slice(at + 1), prefix: path.slice(0, at) };
}

function block({ name, prefix }: { name: string; prefix: string }, m: Member, type: string): Buffer {
  const b = Buffer.alloc(BLOCK);
  const octal = (n: number, at: number, digits: number): void => void b.write(`${n.toString(8).padStart(digits, '0')}\0`, at, 'latin1');
  b.write(name, 0, 100, 'latin1');
  octal((m.mode ?? (type === '5' ? 0o755 : 0o644)) % 0o10000, 100, 7);
  octal(0, 108, 7);
  octal(0, 116, 7);
  octal(m.bytes, 124, 11);
  octal(Math.max(0, Math.floor((m.mtimeMs ?? 0) / 1000)), 136, 11);
  b.write('        ', 148, 'latin1');
  b.write(type, 156, 'latin1');
  b.write('ustar\u000000', 257, 'latin1');
  b.write(prefix, 345, 155, 'latin1');
  b.write(`${sumOf(b).toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return b;
}

/** `<length> <key>=<value>\n`, the length counting itself. */
function record(key: string, value: string): Buffer {
  const rest = Buffer.byteLength(` ${key}=${value}\n`);
  let length = rest + String(rest).length;
  if (rest + String(length).length !== length) length = rest + String(length).length;
  return Buffer.from(`${length} ${key}=${value}\n`);
}

/** The sum of the bytes, those of the check sum itself counting as blanks. */
function sumOf(b: Buffer): number {
  let sum = 0;
  for (let i = 0; i < BLOCK; i++) sum += i >= 148 && i < 156 ? 32 : b[i]!;
  return sum;
}

export interface ReadMember {
  path: string;
  kind: 'file' | 'directory' | 'other';
  bytes: number;
  mode: number;
  /** Its bytes; what is not read of them is passed over. */
  body: AsyncIterable<Buffer>;
}

/** The members of an archive in their order. Throws NOT_A_QUEUE for what is no archive or ends too early. */
export async function* members(input: AsyncIterable<Uint8Array>): AsyncGenerator<ReadMember> {
  const source = reader(input);
  let long: { path?: string; size?: number } = {};
  for (;;) {
    const b = await source.take(BLOCK, 'a header');
    if (b.every((byte) => byte === 0)) return;
    if (numberIn(b, 148, 8) !== sumOf(b)) throw broken('a header has a wrong check sum');
    const type = String.fromCharCode(b[156]!);
    const size = long.size ?? numberIn(b, 124, 12);
    if (type === 'x' || type === 'g' || type === 'L' || type === 'K') {
      if (size > MOST_META_BYTES) throw broken('a header is too long');
      const text = (await source.take(size, 'a header')).toString('utf8');
      await source.take(padding(size).length, 'a header');
      if (type === 'x') long = { ...long, ...recordsIn(text) };
      if (type === 'L') long.path = text.replace(/\0.*$/s, '');
      continue;
    }
    const prefix = b.toString('latin1', 257, 262) === 'ustar' ? textIn(b, 345, 155) : '';
    const path = long.path ?? (prefix === '' ? textIn(b, 0, 100) : `${prefix}/${textIn(b, 0, 100)}`);
    long = {};
    const left = { bytes: size };
    yield {
      path,
      kind: type === '0' || type === '\0' ? 'file' : type === '5' ? 'directory' : 'other',
      bytes: size,
      mode: numberIn(b, 100, 8) % 0o1000,
      body: source.upTo(left, path),
    };
    for await (const _ of source.upTo(left, path));
    await source.take(padding(size).length, path);
  }
}

function textIn(b: Buffer, at: number, length: number): string {
  return b.toString('utf8', at, at + length).replace(/\0.*$/s, '');
}

/** Octal digits, or with the highest bit set a number of 8 bytes at the end of the field. */
function numberIn(b: Buffer, at: number, length: number): number {
  const n = (b[at]! & 0x80) !== 0 ? Number(b.readBigUInt64BE(at + length - 8)) : Number.parseInt(textIn(b, at, length).trim() || '0', 8);
  if (!Number.isSafeInteger(n) || n < 0) throw broken('a header has a number that is none');
  return n;
}

function recordsIn(text: string): { path?: string; size?: number } {
  const found: { path?: string; size?: number } = {};
  let bytes = Buffer.from(text);
  while (bytes.length > 0) {
    const length = Number(/^\d{1,9}(?= )/.exec(bytes.toString('latin1', 0, 10))?.[0] ?? 0);
    if (length < 5 || length > bytes.length) throw broken('an extended header is malformed');
    const [, key, value] = /^\d+ ([^=]+)=(.*)\n$/s.exec(bytes.toString('utf8', 0, length)) ?? [];
    if (key === 'path') found.path = value!;
    if (key === 'size') found.size = Number(value);
    bytes = bytes.subarray(length);
  }
  if (found.size !== undefined && !Number.isSafeInteger(found.size)) throw broken('an extended header is malformed');
  return found;
}

interface Source {
  /** Exactly so many bytes. */
  take(bytes: number, of: string): Promise<Buffer>;
  /** What is left of `left`, piece by piece, taken off it. */
  upTo(left: { bytes: number }, of: string): AsyncGenerator<Buffer>;
}

function reader(input: AsyncIterable<Uint8Array>): Source {
  const chunks = input[Symbol.asyncIterator]();
  let kept: Buffer = Buffer.alloc(0);
  const more = async (of: string): Promise<void> => {
    const next = await chunks.next();
    if (next.done === true) throw broken(`it ends in the middle of ${of}`);
    kept = Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
  };
  async function* upTo(left: { bytes: number }, of: string): AsyncGenerator<Buffer> {
    while (left.bytes > 0) {
      if (kept.length === 0) await more(of);
      const piece = kept.subarray(0, left.bytes);
      kept = kept.subarray(piece.length);
      left.bytes -= piece.length;
      if (piece.length > 0) yield piece;
    }
  }
  return {
    upTo,
    async take(bytes, of) {
      const pieces: Buffer[] = [];
      for await (const piece of upTo({ bytes }, of)) pieces.push(piece);
      return pieces.length === 1 ? pieces[0]! : Buffer.concat(pieces);
    },
  };
}

/** What cannot be read as an archive of this program. */
export function broken(what: string): TqError {
  return new TqError('NOT_A_QUEUE', `not a file of tq export: ${what}`, { hint: 'nothing was imported' });
}
