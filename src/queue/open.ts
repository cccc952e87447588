/**
 * Finding, making and opening a queue. A directory that somebody named is never created by accident: an unmounted share must
 * not be taken for an empty queue.
 */
import type { Journal } from './journal.ts';
import type { HostFacts } from './session.ts';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { errnoOf, fsError, TqError, usage } from '../errors.ts';
import { makeFsx, mkdirp, type Fsx, type FsxOptions } from './fsx.ts';
import { makeLayout, randomText, TOP_DIRS, type Layout } from './layout.ts';
import { faultsFromEnv } from './faults.ts';

/** The format this program reads and writes; a directory with a higher number is refused untouched. */
export const FORMAT = 1;
/** Lease on a local disk and on a network file system (as Slurm's SlurmdTimeout), ms. */
export const LEASE_LOCAL_MS = 30_000;
export const LEASE_NETWORK_MS = 300_000;

export interface QueueConfig {
  format: number;
  /** Random, names the queue in local spools. */
  id: string;
  createdAt: string;
  /** Null: by kind of file system. */
  leaseMs: number | null;
  shared: boolean;
  settings: Record<string, unknown>;
}

export interface Queue {
  /** Absolute path. */
  readonly dir: string;
  readonly fsx: Fsx;
  readonly lay: Layout;
  readonly config: QueueConfig;
  readonly network: boolean;
  readonly leaseMs: number;
  /** The process's umask before a shared queue changed it: the one for tasks. */
  readonly umask: number;
  /** How the next name of a staging file begins; the rest is a counter. */
  readonly stem: string;
  /** What proves that this process lives, for verbs that have a task in their hands for a moment. */
  facts?: () => Promise<HostFacts>;
  /** Where this process says what it changes. */
  journal?: Journal | undefined;
}

export interface Found {
  dir: string;
  source: 'flag' | 'env' | 'upward' | 'default';
}

/** Which directory: `-D`, then `$TQ_DIR`, then the nearest `.tq` upward, then the user's default queue. */
export function findQueue(options: { flag?: string | undefined; env: Record<string, string | undefined>; cwd: string }): Found {
  // An empty variable after -D must not lead to another queue.
  if (options.flag === '') throw usage("--dir: empty: ''", 'leave the flag out for $TQ_DIR, the nearest .tq or the default queue');
  if (options.flag !== undefined) return { dir: path.resolve(options.cwd, options.flag), source: 'flag' };
  const named = options.env['TQ_DIR'];
  if (named !== undefined && named !== '') return { dir: path.resolve(options.cwd, named), source: 'env' };
  for (let at = options.cwd; ; at = path.dirname(at)) {
    if (fs.existsSync(`${at}/.tq/tq.json`) || isDirectory(`${at}/.tq`)) return { dir: path.join(at, '.tq'), source: 'upward' };
    if (path.dirname(at) === at) break;
  }
  const home = options.env['HOME'] || os.homedir();
  const data = options.env['XDG_DATA_HOME'];
  const base = data !== undefined && data.startsWith('/') ? data : path.join(home, '.local/share');
  return { dir: path.join(base, 'tq', 'default'), source: 'default' };
}

/** Opens a queue that was found; only the default one is made on first use (mode 0700), unless `check` throws. */
export async function openFound(found: Found, options: FsxOptions = {}, check?: () => Promise<unknown>): Promise<Queue> {
  if (found.source === 'default' && !fs.existsSync(`${found.dir}/tq.json`)) {
    await check?.();
    await initQueue(found.dir, { shared: false, leaseMs: null }, options);
  }
  return openQueue(found.dir, options);
}

/** Opens the queue in `dir`. Throws NOT_A_QUEUE, NEWER_FORMAT (exit 4) or PERMISSION (6); touches nothing. */
export async function openQueue(dir: string, options: FsxOptions = {}): Promise<Queue> {
  const network = options.network ?? isNetwork(dir);
  const fault = options.fault ?? faultsFromEnv(process.env);
  const fsx = makeFsx(fault === undefined ? { network, root: dir } : { network, root: dir, fault });
  const lay = makeLayout(dir);
  let text: string;
  try {
    text = await fsx.read(lay.config);
  } catch (error) {
    const code = errnoOf(error);
    if (code === 'ENOENT' || code === 'ENOTDIR') {
      throw new TqError('NOT_A_QUEUE', `not a queue: ${dir} has no tq.json`, {
        hint: `make one: tq init ${dir} (or is a share not mounted?)`,
        cause: error,
      });
    }
    throw fsError(error, 'open the queue', lay.config);
  }
  const config = parseConfig(text, lay.config);
  const umask = config.shared ? process.umask(0o002) : process.umask();
  const leaseMs = config.leaseMs ?? (network ? LEASE_NETWORK_MS : LEASE_LOCAL_MS);
  return { dir, fsx, lay, config, network, leaseMs, umask, stem: `${process.pid.toString(36)}.${randomText(6)}` };
}

function isPositive(v: unknown): boolean {
  return typeof v === 'number' && v >= 1;
}

function parseConfig(text: string, file: string): QueueConfig {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (error) {
    throw new TqError('NOT_A_QUEUE', `not a queue: ${file} does not parse as JSON`, {
      hint: 'restore the file, or make a new queue: tq init',
      cause: error,
    });
  }
  if (typeof raw !== 'object' || raw === null || !isPositive((raw as { format?: unknown }).format)) {
    throw new TqError('NOT_A_QUEUE', `not a queue: ${file} has no format number`, {
      hint: 'restore the file, or make a new queue: tq init',
    });
  }
  const c = raw as Partial<QueueConfig> & { format: number };
  if (c.format > FORMAT) {
    throw new TqError('NEWER_FORMAT', `${file} has format ${c.format}, this tq knows up to ${FORMAT}`, {
      hint: 'use a newer tq; nothing was changed',
    });
  }
  return {
    format: c.format,
    id: typeof c.id === 'string' ? c.id : 'unknown',
    createdAt: typeof c.createdAt === 'string' ? c.createdAt : '',
    leaseMs: typeof c.leaseMs === 'number' && c.leaseMs > 0 ? c.leaseMs : null,
    shared: c.shared === true,
    settings: typeof c.settings === 'object' && c.settings !== null ? c.settings : {},
  };
}

/** Makes a queue in `dir`; on an existing one changes nothing and answers false. */
export async function initQueue(
  dir: string,
  options: { shared: boolean; leaseMs: number | null },
  fsxOptions: FsxOptions = {},
): Promise<boolean> {
  const fsx = makeFsx(fsxOptions);
  const lay = makeLayout(dir);
  if (fs.existsSync(lay.config)) {
    await openQueue(dir, fsxOptions);
    return false;
  }
  const entries = await fsx.list(dir).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return [];
    throw fsError(error, 'make a queue', dir);
  });
  const foreign = entries.filter((name) => !(TOP_DIRS as readonly string[]).includes(name) && name !== 'signal' && name !== 'tmp');
  if (foreign.length > 0) {
    throw new TqError('REFUSED', `cannot make a queue in ${dir}: it holds other files (${foreign.slice(0, 3).join(', ')})`, {
      hint: 'name a new or an empty directory',
    });
  }
  try {
    if (options.shared) process.umask(0o002);
    await mkdirp(fsx, dir);
    fs.chmodSync(dir, options.shared ? 0o2775 : 0o700);
    for (const name of TOP_DIRS) {
      await mkdirp(fsx, `${dir}/${name}`);
      if (options.shared) fs.chmodSync(`${dir}/${name}`, 0o2775);
    }
    await fsx.touch(lay.signal);
    const config: QueueConfig = {
      format: FORMAT,
      id: randomText(12),
      createdAt: new Date().toISOString(),
      leaseMs: options.leaseMs,
      shared: options.shared,
      settings: {},
    };
    // The config comes last, by link: a directory without it is not a queue yet, and two inits at once make one.
    const staged = `${lay.tmp}/init.${randomText(8)}`;
    await fsx.create(staged, `${JSON.stringify(config, null, 2)}\n`, { fsync: true });
    try {
      await fsx.link(staged, lay.config);
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    await fsx.unlink(staged);
    await fsx.fsyncDir(dir);
  } catch (error) {
    throw fsError(error, 'make a queue', dir);
  }
  return true;
}

/** File systems whose caches other machines can make stale, as the kernel's mount table and as statfs(2) name them. */
const NETWORK_TYPE = /^(nfs4?|cifs|smb3|smbfs|fuse(\..*)?|lustre|ceph|9p|virtiofs|afs|beegfs|gpfs)$/;
const NETWORK_MAGIC = new Set([
  0x6969, 0xff534d42, 0xfe534d42, 0x65735546, 0x0bd00bd0, 0x00c36400, 0x01021997, 0x19830326, 0x517b, 0x5346414f, 0x6a656a63,
]);

/** Whether `dir` lies on a network file system; `$TQ_NETWORK` (`0` or `1`) overrides. */
export function isNetwork(dir: string): boolean {
  const forced = process.env['TQ_NETWORK'];
  if (forced === '1') return true;
  if (forced === '0') return false;
  try {
    const type = mountedType(fs.statSync(dir).dev);
    return type === undefined ? NETWORK_MAGIC.has(Number(fs.statfsSync(dir).type) >>> 0) : NETWORK_TYPE.test(type);
  } catch {
    return false;
  }
}

/**
 * The type of the file system with this device number, without a word to its server, as statfs would cost one; undefined where
 * there is no table to tell.
 */
function mountedType(dev: number): string | undefined {
  // Linux: a file system without a disk of its own has the major number 0.
  if (process.platform !== 'linux') return undefined;
  if (Math.floor(dev / 2 ** 8) % 2 ** 12 !== 0) return 'disk';
  const minor = (dev % 2 ** 8) + Math.floor(dev / 2 ** 20) * 2 ** 8;
  const type = new RegExp(`^\\d+ \\d+ 0:${minor} .* - (\\S+) `, 'm').exec(fs.readFileSync('/proc/self/mountinfo', 'utf8'))?.[1];
  return type === 'autofs' ? undefined : type;
}

function isDirectory(file: string): boolean {
  try {
    return fs.statSync(file).isDirectory();
  } catch {
    return false;
  }
}
