/**
 * The only door to the queue directory: every file call of tq on the queue goes through an `Fsx`. On a local disk the calls are
 * synchronous underneath (a system call costs microseconds, a thread hop costs more), and many in a row leave the timers their
 * turn; on a network file system they run on the thread pool, so that a hung server never stops a worker's timers. Faults can be injected at each call, which is how the
 * tests reach every crash point.
 */
import fs from 'node:fs';
import { errnoOf } from '../errors.ts';

export type FsOp =
  | 'rename'
  | 'link'
  | 'unlink'
  | 'mkdir'
  | 'rmdir'
  | 'create'
  | 'open'
  | 'write'
  | 'fsync'
  | 'fsyncDir'
  | 'read'
  | 'list'
  | 'stat'
  | 'touch'
  | 'append';

/** What a fault does to one call. `before` throws without doing it, `after` does it and then throws the code. */
export type Fault =
  | { kind: 'before' | 'after'; code: string }
  | { kind: 'dieBefore' | 'dieAfter' }
  | { kind: 'delay'; ms: number }
  | { kind: 'duplicate' }
  | { kind: 'answer'; value: unknown };

/** Called before each call with its paths; `again` repeats the raw call (for delayed duplicates). */
export type FaultHook = (
  op: FsOp,
  path: string,
  target: string | undefined,
  again: () => Promise<unknown>,
) => Fault | undefined | Promise<Fault | undefined>;

export interface FileInfo {
  isDirectory: boolean;
  size: number;
  /** By the file server's clock. */
  mtimeMs: number;
  ctimeMs: number;
  birthtimeMs: number;
  ino: number;
  uid: number;
  gid: number;
  mode: number;
  nlink: number;
}

export interface Fsx {
  /** True where caches of other machines may be stale: strong lists probe, calls are asynchronous. */
  readonly network: boolean;
  /** The queue's directory: nothing outside of it is probed. */
  readonly root: string | undefined;
  rename(from: string, to: string): Promise<void>;
  link(existing: string, path: string): Promise<void>;
  unlink(path: string): Promise<void>;
  /** One level; EEXIST when it is there. */
  mkdir(path: string): Promise<void>;
  rmdir(path: string): Promise<void>;
  /** Creates with O_EXCL, writes, optionally fsyncs. */
  create(path: string, data: string | Uint8Array, options?: CreateOptions): Promise<void>;
  /** As `create`; returns the file's mtime (ms, server clock). */
  createTimed(path: string, data: string | Uint8Array, options?: CreateOptions): Promise<number>;
  /** The same; `fill` gets the server's mtime (ms) and returns what to write. */
  createWith(path: string, fill: (mtimeMs: number) => string, options?: CreateOptions): Promise<void>;
  /** As `create`, from a stream of any length; `runnable`: with permission to run it. */
  createFrom(path: string, body: AsyncIterable<Uint8Array>, runnable: boolean): Promise<void>;
  /** Opens with O_EXCL|O_APPEND and returns the descriptor, which the caller closes with `fs.closeSync`. */
  openLog(path: string): Promise<number>;
  fsyncDir(path: string): Promise<void>;
  read(path: string): Promise<string>;
  readBytes(path: string): Promise<Buffer>;
  /** Opens a directory for what that does to a network client's caches: what it believes of the names in it is asked for anew. */
  refresh(path: string): Promise<void>;
  /** Names in a directory, unsorted; `.nfs*` leftovers and the probe's own names are left out unless `all` are wanted. */
  list(path: string, all?: boolean): Promise<string[]>;
  /** As `list`, but by the thread pool on a local disk too: for many large directories, several at a time. */
  listAside(path: string): Promise<string[]>;
  stat(path: string): Promise<FileInfo>;
  /** What lies there, a link not followed; undefined: nothing. */
  kindOf(path: string): Promise<'file' | 'directory' | 'other' | undefined>;
  /** Changes the file's times, creating it when missing. */
  touch(path: string): Promise<void>;
  /** Overwrites a small file in place (one writer); returns the server's mtime. */
  overwrite(path: string, data: string): Promise<number>;
  append(path: string, data: string): Promise<void>;
  /** Writes at the end of a file that `openLog` opened; `through`: over NFS others see it when it returns. */
  appendTo(fd: number, path: string, data: string | Uint8Array, through?: boolean): Promise<void>;
  /** Closes what `openLog` opened; quietly, whatever the file system says. */
  close(fd: number): void;
}

export interface CreateOptions {
  fsync?: boolean;
  /** The name is random and nobody else's: over NFS O_EXCL is left out, since it costs another call to set the attributes. */
  staging?: boolean;
}

export interface FsxOptions {
  network?: boolean;
  root?: string;
  fault?: FaultHook;
}

function createSync(path: string, data: string | Uint8Array, o: CreateOptions, timed: boolean): number {
  return filledSync(path, (fd) => {
    writeAll(fd, data);
    if (o.fsync === true) fs.fsyncSync(fd);
    return timed ? fs.fstatSync(fd).mtimeMs : 0;
  });
}

function createAsync(path: string, data: string | Uint8Array, o: CreateOptions, timed: boolean): Promise<number> {
  return filled(path, o.staging === true ? 'w' : 'wx', 0o666, async (h) => {
    // Before the write: the reply to the creation brought the attributes, after it they would be asked for.
    const mtimeMs = timed ? (await h.stat()).mtimeMs : 0;
    await h.writeFile(data);
    if (o.fsync === true) await h.sync();
    return mtimeMs;
  });
}

/** A new file. One that cannot be filled (the disk is full) is removed again: its being there would say something already. */
function filledSync<T>(path: string, fill: (fd: number) => T): T {
  const fd = fs.openSync(path, 'wx', 0o666);
  try {
    return fill(fd);
  } catch (error) {
    try {
      fs.unlinkSync(path);
    } catch {
      // What kept it from being filled is the one to report.
    }
    throw error;
  } finally {
    fs.closeSync(fd);
  }
}

async function filled<T>(path: string, flags: 'w' | 'wx', mode: number, fill: (h: fs.promises.FileHandle) => Promise<T>): Promise<T> {
  const h = await fs.promises.open(path, flags, mode);
  try {
    return await fill(h).finally(() => h.close());
  } catch (error) {
    await fs.promises.unlink(path).catch(() => undefined);
    throw error;
  }
}

/** Longer than this calls that do not wait for anything never keep the process from its timers and its children, ms. */
const BREATHLESS_MS = 50;
let turnedMs = performance.now();
let turning: Promise<void> | undefined;

/** Everybody's calls wait for it: others that went on would keep the turn from coming. */
function nextTurn(): Promise<void> | undefined {
  if (turning === undefined && performance.now() - turnedMs > BREATHLESS_MS) {
    turning = new Promise((resolve) => {
      setImmediate(() => {
        turnedMs = performance.now();
        turning = undefined;
        resolve();
      });
    });
  }
  return turning;
}

const PROBE = '.p.';
/** A named pipe that somebody put in the place of a file is empty, and not waited for. */
const READ = fs.constants.O_RDONLY | fs.constants.O_NONBLOCK;
/** How often a directory is made again whose parent goes away under its feet. */
const MKDIR_LOOKS = 8;

export function makeFsx(options: FsxOptions = {}): Fsx {
  const network = options.network ?? false;
  const fault = options.fault;

  /** Runs one call under the fault hook. `sync` is the local form, `slow` the pooled one. */
  async function call<T>(
    op: FsOp,
    path: string,
    target: string | undefined,
    sync: () => T | Promise<T>,
    slow: () => Promise<T>,
  ): Promise<T> {
    const run = async (): Promise<T> => {
      try {
        return await (network ? slow() : sync());
      } catch (error) {
        throw located(error, path);
      }
    };
    if (fault === undefined) {
      const turn = network ? undefined : nextTurn();
      if (turn !== undefined) await turn;
      return run();
    }
    const f = await fault(op, path, target, run);
    if (f === undefined) return run();
    switch (f.kind) {
      case 'before':
        throw errno(f.code, op, path);
      case 'after':
        await run();
        throw errno(f.code, op, path);
      case 'dieBefore':
        return die();
      case 'dieAfter':
        await run().catch(() => undefined);
        return die();
      case 'delay':
        await new Promise((resolve) => setTimeout(resolve, f.ms));
        return run();
      case 'duplicate': {
        const result = await run();
        await run().catch(() => undefined);
        return result;
      }
      case 'answer':
        return f.value as T;
    }
  }

  // Loading the pooled calls takes longer than a submit's own work, and a local disk needs none of them.
  const p = network ? fs.promises : (undefined as never);
  const listOnce = (path: string): Promise<string[]> =>
    call(
      'list',
      path,
      undefined,
      () => fs.readdirSync(path),
      () => p.readdir(path),
    );
  const listOnceAside = (path: string): Promise<string[]> => {
    const slow = (): Promise<string[]> => fs.promises.readdir(path);
    return call('list', path, undefined, slow, slow);
  };
  const refresh = async (dir: string): Promise<void> => {
    if (network)
      await call(
        'stat',
        dir,
        undefined,
        () => undefined,
        async () => (await p.open(dir, 'r')).close(),
      );
  };
  const listBy = async (once: (path: string) => Promise<string[]>, path: string, all: boolean): Promise<string[]> => {
    let names: string[];
    try {
      names = await once(path);
    } catch (error) {
      if (!network || errnoOf(error) !== 'ENOENT') throw error;
      // That a name was missing is believed for half a minute, unless the directory above was opened since.
      await openAgain(parentOf(path));
      names = await once(path);
    }
    return !all && names.some(isJunk) ? names.filter((n) => !isJunk(n)) : names;
  };
  /** Opens a directory for nothing but what that does to the caches; one that seems missing after the one above it. */
  const openAgain = async (dir: string): Promise<void> => {
    try {
      await refresh(dir);
    } catch (error) {
      if (errnoOf(error) !== 'ENOENT' || parentOf(dir) === '') throw error;
      await openAgain(parentOf(dir));
      await refresh(dir);
    }
  };
  return {
    network,
    root: options.root,
    refresh,
    rename: (from, to) =>
      call(
        'rename',
        from,
        to,
        () => fs.renameSync(from, to),
        () => p.rename(from, to),
      ),
    link: (existing, path) =>
      call(
        'link',
        path,
        existing,
        () => fs.linkSync(existing, path),
        () => p.link(existing, path),
      ),
    unlink: (path) =>
      call(
        'unlink',
        path,
        undefined,
        () => fs.unlinkSync(path),
        () => p.unlink(path),
      ),
    mkdir: (path) =>
      call(
        'mkdir',
        path,
        undefined,
        () => void fs.mkdirSync(path),
        async () => void (await p.mkdir(path)),
      ),
    rmdir: (path) =>
      call(
        'rmdir',
        path,
        undefined,
        () => fs.rmdirSync(path),
        () => p.rmdir(path),
      ),
    create: (path, data, o = {}) =>
      call(
        'create',
        path,
        undefined,
        () => void createSync(path, data, o, false),
        async () => void (await createAsync(path, data, o, false)),
      ),
    createTimed: (path, data, o = {}) =>
      call(
        'create',
        path,
        undefined,
        () => createSync(path, data, o, true),
        () => createAsync(path, data, o, true),
      ),
    createWith: (path, fill, o = {}) =>
      call(
        'create',
        path,
        undefined,
        () =>
          filledSync(path, (fd) => {
            writeAll(fd, fill(fs.fstatSync(fd).mtimeMs));
            if (o.fsync === true) fs.fsyncSync(fd);
          }),
        () =>
          filled(path, o.staging === true ? 'w' : 'wx', 0o666, async (h) => {
            await h.writeFile(fill((await h.stat()).mtimeMs));
            if (o.fsync === true) await h.sync();
          }),
      ),
    createFrom: (path, body, runnable) => {
      const fill = (): Promise<void> =>
        filled(path, 'wx', runnable ? 0o777 : 0o666, async (h) => {
          for await (const part of body) await h.writeFile(part);
        });
      // A stream takes its time on a local disk too.
      return call('create', path, undefined, fill, fill);
    },
    openLog: (path) =>
      call(
        'open',
        path,
        undefined,
        () => fs.openSync(path, 'ax', 0o666),
        () => new Promise<number>((resolve, reject) => fs.open(path, 'ax', 0o666, (e, fd) => (e === null ? resolve(fd) : reject(e)))),
      ),
    fsyncDir: (path) =>
      call(
        'fsyncDir',
        path,
        undefined,
        () => {
          if (network) return;
          const fd = fs.openSync(path, 'r');
          try {
            fs.fsyncSync(fd);
          } finally {
            fs.closeSync(fd);
          }
        },
        // On NFS a rename is stable when it returns, and fsync of a directory does nothing.
        async () => undefined,
      ),
    read: (path) =>
      call(
        'read',
        path,
        undefined,
        () => fs.readFileSync(path, { encoding: 'utf8', flag: READ }),
        () => p.readFile(path, { encoding: 'utf8', flag: READ }),
      ),
    readBytes: (path) =>
      call(
        'read',
        path,
        undefined,
        () => fs.readFileSync(path, { flag: READ }),
        () => p.readFile(path, { flag: READ }),
      ),
    list: (path, all = false) => listBy(listOnce, path, all),
    listAside: (path) => listBy(listOnceAside, path, false),
    stat: (path) =>
      call(
        'stat',
        path,
        undefined,
        () => info(fs.statSync(path)),
        async () => {
          // open + fstat asks the server; a bare stat may be answered from the cache for a minute.
          const h = await p.open(path, 'r');
          try {
            return info(await h.stat());
          } finally {
            await h.close();
          }
        },
      ),
    kindOf: (path) =>
      call(
        'stat',
        path,
        undefined,
        () => kindIn(fs.lstatSync(path, { throwIfNoEntry: false })),
        async () => {
          try {
            return kindIn(await p.lstat(path));
          } catch (error) {
            if (isGone(error)) return undefined;
            throw error;
          }
        },
      ),
    touch: (path) =>
      call(
        'touch',
        path,
        undefined,
        () => {
          const fd = openOrCreate(path);
          try {
            // A write of nothing leaves mtime alone; one byte is stamped with the server's own time.
            fs.writeSync(fd, '\n', 0);
          } finally {
            fs.closeSync(fd);
          }
        },
        async () => {
          try {
            // One call instead of three. The owner alone may do it, and the time is this machine's: only that it changed counts.
            const now = Date.now() / 1000 + Math.random() / 1000;
            return await p.utimes(path, now, now);
          } catch (error) {
            const code = errnoOf(error);
            if (code !== 'ENOENT' && code !== 'EPERM' && code !== 'EACCES') throw error;
          }
          const h = await p.open(path, fs.constants.O_WRONLY | fs.constants.O_CREAT, 0o666);
          try {
            await h.write('\n', 0);
            await h.datasync();
          } finally {
            await h.close();
          }
        },
      ),
    overwrite: (path, data) =>
      call(
        'write',
        path,
        undefined,
        () => {
          const fd = openOrCreate(path);
          try {
            fs.writeSync(fd, data, 0);
            return fs.fstatSync(fd).mtimeMs;
          } finally {
            fs.closeSync(fd);
          }
        },
        async () => {
          const h = await p.open(path, fs.constants.O_WRONLY | fs.constants.O_CREAT, 0o666);
          try {
            await h.write(data, 0);
            await h.datasync();
            return (await h.stat()).mtimeMs;
          } finally {
            await h.close();
          }
        },
      ),
    append: (path, data) =>
      call(
        'append',
        path,
        undefined,
        () => fs.appendFileSync(path, data),
        () => p.appendFile(path, data),
      ),
    appendTo: (fd, path, data, through = false) =>
      call(
        'append',
        path,
        undefined,
        () => fs.appendFileSync(fd, data),
        () =>
          new Promise((resolve, reject) => {
            const done = (error: Error | null): void => (error === null ? resolve() : reject(error));
            fs.appendFile(fd, data, (error) => (error === null && through ? fs.fdatasync(fd, done) : done(error)));
          }),
      ),
    close: (fd) => fs.close(fd, () => undefined),
  };
}

/**
 * `mkdir -p`, through the door, one level at a time from the first one that is missing. Never the queue's own directory, and nothing
 * in one that has no `tq.json`: that is where a share was mounted, or what another took away.
 */
export async function mkdirp(fsx: Fsx, path: string): Promise<void> {
  if (fsx.root !== undefined && parentOf(path) === fsx.root) await fsx.stat(`${fsx.root}/tq.json`);
  for (let look = 0; ; look++) {
    try {
      await fsx.mkdir(path);
      return;
    } catch (error) {
      const code = errnoOf(error);
      // Perhaps it only exists in this machine's memory, and was removed and made anew since.
      if (code === 'EEXIST' && (await isRefreshed(fsx, parentOf(path)))) return;
      // The one above is missing, or was there and was tidied away as empty a moment ago.
      if ((code !== 'ENOENT' && code !== 'EEXIST') || parentOf(path) === '' || look >= MKDIR_LOOKS) throw error;
    }
    await mkdirp(fsx, parentOf(path));
  }
}

/** False: it is gone, and what was in it too. */
async function isRefreshed(fsx: Fsx, dir: string): Promise<boolean> {
  try {
    await fsx.refresh(dir);
    return true;
  } catch (error) {
    if (errnoOf(error) !== 'ENOENT') throw error;
    return false;
  }
}

/** Whether a client's word that a directory is missing is checked in the directories above. */
export type Absence = 'checked' | 'believed';

/**
 * A list that no cache of this machine can spoil: own changes to a directory always invalidate the client's copy of its
 * listing, so a probe directory is made and removed first (measured on NFSv3: 188 of 200 listings stale without, 0 with).
 * Throws ENOENT when the directory is gone; with `checked` not before the directories above were probed as well. What nobody
 * looked for on this machine before is asked for anyway, and then the absence may be `believed`.
 */
export async function strongList(fsx: Fsx, path: string, absence: Absence = 'checked'): Promise<string[]> {
  if (fsx.network) {
    try {
      await probe(fsx, path);
    } catch (error) {
      if (absence === 'believed' || !isGone(error)) throw error;
      await probeAbove(fsx, path);
      await probe(fsx, path);
    }
  }
  return fsx.list(path);
}

/** Makes a directory in `dir` and removes it. Throws only what keeps the listing from being read. */
async function probe(fsx: Fsx, dir: string): Promise<void> {
  const path = `${dir}/${PROBE}${Math.random().toString(36).slice(2, 10)}`;
  try {
    await fsx.mkdir(path);
  } catch (error) {
    const code = errnoOf(error);
    if (code !== 'EACCES' && code !== 'EROFS' && code !== 'EPERM' && code !== 'EEXIST') throw error;
  }
  try {
    await fsx.rmdir(path);
  } catch {
    // ENOENT is a lost reply or a reader without write permission: the listing is what matters.
  }
}

/** Probes the directory above, below it the ones that seem missing too; nothing outside the queue. */
async function probeAbove(fsx: Fsx, path: string): Promise<void> {
  const above = parentOf(path);
  if (fsx.root === undefined || !`${above}/`.startsWith(`${fsx.root}/`)) return;
  try {
    await probe(fsx, above);
  } catch (error) {
    if (!isGone(error)) throw error;
    await probeAbove(fsx, above);
    await probe(fsx, above);
  }
}

/** Removes the probes that processes left which died while they listed; that of a living one is removed by itself anyway. */
export async function removeProbes(fsx: Fsx, path: string): Promise<void> {
  for (const name of await fsx.list(path, true)) {
    if (name.startsWith(PROBE)) await fsx.rmdir(`${path}/${name}`).catch(() => undefined);
  }
}

function parentOf(path: string): string {
  return path.slice(0, path.lastIndexOf('/'));
}

/** As `list`, with a missing directory read as an empty one. */
export async function listOrEmpty(fsx: Fsx, path: string, strong = false, absence: Absence = 'checked'): Promise<string[]> {
  try {
    return strong ? await strongList(fsx, path, absence) : await fsx.list(path);
  } catch (error) {
    if (isGone(error)) return [];
    throw error;
  }
}

/** True for the errors that mean "no such name (any more)". */
export function isGone(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'ENOENT' || code === 'ESTALE' || code === 'ENOTDIR';
}

/** True for the errors that are one file's own: it may not be read, or it is no file. The queue itself is in order. */
export function isOfEntry(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'EACCES' || code === 'EPERM' || code === 'EISDIR';
}

function isJunk(name: string): boolean {
  return name.charCodeAt(0) === 46 && (name.startsWith('.nfs') || name.startsWith(PROBE));
}

function openOrCreate(path: string): number {
  return fs.openSync(path, fs.constants.O_WRONLY | fs.constants.O_CREAT, 0o666);
}

/** What went wrong with an open file does not say with which one. */
function located(error: unknown, path: string): unknown {
  if (errnoOf(error) !== undefined && !('path' in (error as Error))) Object.assign(error as Error, { path });
  return error;
}

function writeAll(fd: number, data: string | Uint8Array): void {
  const bytes = typeof data === 'string' ? Buffer.from(data) : data;
  let at = 0;
  while (at < bytes.length) at += fs.writeSync(fd, bytes, at, bytes.length - at);
}

function kindIn(s: fs.Stats | undefined): 'file' | 'directory' | 'other' | undefined {
  if (s === undefined) return undefined;
  return s.isFile() ? 'file' : s.isDirectory() ? 'directory' : 'other';
}

function info(s: fs.Stats): FileInfo {
  return {
    isDirectory: s.isDirectory(),
    size: s.size,
    mtimeMs: s.mtimeMs,
    ctimeMs: s.ctimeMs,
    birthtimeMs: s.birthtimeMs,
    ino: s.ino,
    uid: s.uid,
    gid: s.gid,
    mode: s.mode,
    nlink: s.nlink,
  };
}

function errno(code: string, op: string, path: string): Error {
  return Object.assign(new Error(`${code}: injected, ${op} '${path}'`), { code, syscall: op, path });
}

function die(): never {
  process.kill(process.pid, 'SIGKILL');
  // SIGKILL of oneself is delivered before the call returns; this line is for the type checker.
  throw new Error('unreachable');
}
