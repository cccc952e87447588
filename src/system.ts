/**
 * The outside as one small interface: clock, environment, who and where we are, standard input, terminals, signals. The real
 * one is made in main; a test passes its own. Nothing here is read before it is asked for.
 */
import fs from 'node:fs';
import os from 'node:os';
import { TqError } from './errors.ts';

export interface System {
  /** Wall clock of this machine, ms since the epoch. */
  now(): number;
  /** Milliseconds that never go back. */
  monotonic(): number;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Throws TqError when the working directory is gone. */
  cwd(): string;
  /** The login name of the user that this process acts as. */
  user(): string;
  host(): string;
  readonly pid: number;
  /** Whether the descriptor is a terminal. */
  isTerminal(fd: 0 | 1 | 2): boolean;
  /** Columns of the terminal on standard output; undefined when it is none. */
  columns(): number | undefined;
  /** Everything on standard input; the same again when it is asked for again. */
  readStdin(): Buffer;
  /** Calls `handler` at each such signal, instead of dying, until the returned function is called. */
  onSignal(names: readonly NodeJS.Signals[], handler: (name: NodeJS.Signals) => void): () => void;
  sleep(ms: number, signal?: AbortSignal): Promise<void>;
}

export function realSystem(): System {
  let input: Buffer | undefined;
  return {
    now: () => Date.now(),
    monotonic: () => performance.now(),
    env: process.env,
    cwd: workingDirectory,
    user: () => userName(process.env),
    host: () => os.hostname(),
    pid: process.pid,
    isTerminal,
    columns: () => (isTerminal(1) ? process.stdout.columns || undefined : undefined),
    readStdin: () => (input ??= readAll(0)),
    onSignal(names, handler) {
      for (const name of names) process.on(name, handler);
      return () => {
        for (const name of names) process.off(name, handler);
      };
    },
    sleep,
  };
}

function workingDirectory(): string {
  try {
    return process.cwd();
  } catch (error) {
    throw new TqError('QUEUE_UNUSABLE', 'the working directory does not exist any more', {
      hint: 'cd to another one, or name it with -C',
      cause: error,
    });
  }
}

/**
 * The name that the user id has in /etc/passwd: the environment can say anything, and is only asked for users from elsewhere
 * (LDAP, a container without an entry).
 */
function userName(env: Readonly<Record<string, string | undefined>>): string {
  const uid = String(process.geteuid?.() ?? process.getuid?.() ?? '');
  return passwdName(uid) ?? (env['LOGNAME'] || env['USER'] || uid || 'unknown');
}

/** The login name of a user id, or the number where /etc/passwd does not know it. */
export function userOf(uid: number): string {
  return passwdName(String(uid)) ?? String(uid);
}

function passwdName(uid: string): string | undefined {
  try {
    for (const line of fs.readFileSync('/etc/passwd', 'utf8').split('\n')) {
      const fields = line.split(':');
      if (fields[2] === uid && fields[0] !== undefined && fields[0] !== '') return fields[0];
    }
  } catch {
    // No such file.
  }
  return undefined;
}

/**
 * Pipes and files are told from terminals by one fstat; the terminal library, which takes longer to load than a submit takes,
 * is asked about character devices alone.
 */
function isTerminal(fd: 0 | 1 | 2): boolean {
  try {
    if (!fs.fstatSync(fd).isCharacterDevice()) return false;
  } catch {
    return false;
  }
  return process.getBuiltinModule('node:tty').isatty(fd);
}

const READ_BYTES = 65_536;
const RETRY_MS = 5;

/** Reads to the end; a descriptor that another process made non-blocking is asked again until it has something. */
function readAll(fd: number): Buffer {
  const parts: Buffer[] = [];
  for (;;) {
    const part = Buffer.allocUnsafe(READ_BYTES);
    try {
      const n = fs.readSync(fd, part, 0, READ_BYTES, null);
      if (n === 0) return Buffer.concat(parts);
      parts.push(part.subarray(0, n));
    } catch (error) {
      const code = (error as NodeJS.ErrnoException).code;
      if (code === 'EOF') return Buffer.concat(parts);
      if (code !== 'EAGAIN') {
        throw new TqError('USAGE', `standard input cannot be read: ${code ?? String(error)}`, {
          hint: 'give it by a pipe or a file',
          cause: error,
        });
      }
      pause(RETRY_MS);
    }
  }
}

/** Blocks this thread. */
export function pause(ms: number): void {
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, ms);
}

function sleep(ms: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal?.aborted === true) return resolve();
    const done = (): void => {
      clearTimeout(timer);
      signal?.removeEventListener('abort', done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal?.addEventListener('abort', done, { once: true });
  });
}

/**
 * Called before anything that may compute for longer than a blink. The compiled program is told at build time to leave its code
 * uncompiled for long, since starting the compiler's threads would take a twentieth of a submit; this takes that back. Elsewhere
 * it does nothing.
 */
export function expectWork(): void {
  const bun = (globalThis as { Bun?: { unsafe?: { setJITPolicy?(scale: number): void } } }).Bun;
  bun?.unsafe?.setJITPolicy?.(1);
}

/**
 * Gives back memory that nothing needs any more, in a few milliseconds: left alone, the compiled program lets it grow with the size of the
 * machine. Elsewhere it does nothing.
 */
export function giveMemoryBack(): void {
  (globalThis as { Bun?: { gc?(isSync: boolean): void } }).Bun?.gc?.(true);
}
