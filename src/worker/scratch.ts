/**
 * The local directory of a worker's running attempts: `$TQ_TMPDIR`, and the files by which a task reports (result, progress,
 * error, snooze). On the local disk, so a thousand progress reports a second never reach the share. Named by session, so that
 * the next worker on this machine removes what a dead one left.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { TqError } from '../errors.ts';
import type { Queue } from '../queue/open.ts';
import type { HostFacts } from '../queue/session.ts';
import { judgeSession } from '../queue/session.ts';
import type { Progress } from '../task/types.ts';

/** What a task may hand back at most, bytes. */
export const MAX_REPORT = 1 << 20;

export function scratchRoot(q: Queue): string {
  return path.join(os.tmpdir(), `tq-${process.getuid?.() ?? 0}`, q.config.id);
}

export function openScratch(q: Queue, session: string): string {
  const root = scratchRoot(q);
  fs.mkdirSync(root, { recursive: true, mode: 0o700 });
  // In a directory for everybody the name may have been taken by somebody who wants to put words into our tasks' mouths.
  const { uid } = fs.lstatSync(path.dirname(root));
  if (uid !== (process.geteuid?.() ?? uid))
    throw new TqError('PERMISSION', `${path.dirname(root)} belongs to another user`, {
      hint: 'remove it, or set TMPDIR to a directory of your own',
    });
  const mine = path.join(root, session);
  fs.mkdirSync(mine, { mode: 0o700 });
  return mine;
}

export function closeScratch(dir: string): void {
  remove(dir);
}

/** Removes what a task may have made hard to remove; what stays all the same is tried again by the next worker of this machine. */
function remove(dir: string): void {
  try {
    fs.rmSync(dir, { recursive: true, force: true });
  } catch {
    try {
      unlock(dir);
      fs.rmSync(dir, { recursive: true, force: true });
    } catch {
      // Nothing that the worker or its tasks depend on.
    }
  }
}

/** Directories that their owner may not write (caches of build tools are like that) keep what is in them. */
function unlock(dir: string): void {
  fs.chmodSync(dir, 0o700);
  for (const entry of fs.readdirSync(dir, { withFileTypes: true })) if (entry.isDirectory()) unlock(path.join(dir, entry.name));
}

/** Removes the directories of sessions of this machine that are proved dead. */
export function sweepScratch(q: Queue, facts: HostFacts): void {
  let names: string[];
  try {
    names = fs.readdirSync(scratchRoot(q));
  } catch {
    return;
  }
  for (const name of names) {
    if (judgeSession(name, facts) === 'dead') remove(path.join(scratchRoot(q), name));
  }
}

export interface Place {
  dir: string;
  tmp: string;
  result: string;
  progress: string;
  error: string;
  snooze: string;
}

let spares: string[] = [];
let made = 0;

/**
 * A directory for one attempt. Emptied ones are renamed and used again: on ext4 two renames cost a third of making and
 * removing two directories.
 */
export function takePlace(scratch: string, key: string): Place {
  const dir = path.join(scratch, key);
  const spare = spares.pop();
  let renamed = false;
  if (spare !== undefined) {
    try {
      fs.renameSync(spare, dir);
      renamed = true;
    } catch {
      // Somebody cleaned /tmp: made anew below.
    }
  }
  if (!renamed) {
    fs.mkdirSync(dir, { recursive: true, mode: 0o700 });
    fs.mkdirSync(path.join(dir, 'tmp'), { recursive: true, mode: 0o700 });
  }
  return { dir, tmp: `${dir}/tmp`, result: `${dir}/result`, progress: `${dir}/progress`, error: `${dir}/error`, snooze: `${dir}/snooze` };
}

/** What a task left in its directory: names only. */
export function leftIn(place: Place): { reports: Set<string>; clean: boolean } {
  try {
    const names = fs.readdirSync(place.dir);
    if (names.length === 1 && names[0] === 'tmp') return { reports: NONE, clean: fs.readdirSync(place.tmp).length === 0 };
    return { reports: new Set(names), clean: false };
  } catch {
    return { reports: NONE, clean: false };
  }
}

const NONE: Set<string> = new Set();

export function givePlaceBack(scratch: string, place: Place, clean: boolean): void {
  if (clean && spares.length < 64) {
    const spare = path.join(scratch, `spare.${(made++).toString(36)}`);
    try {
      fs.renameSync(place.dir, spare);
      spares.push(spare);
      return;
    } catch {
      // Removed below.
    }
  }
  remove(place.dir);
}

/** Forgets kept directories, for a new session's scratch. */
export function dropSpares(): void {
  spares = [];
}

/** Reads a small report; undefined when there is none. Longer ones are cut, so a task cannot fill the worker's memory. */
export function readReport(file: string): string | undefined {
  let fd: number;
  try {
    // Without waiting: a task may have put a pipe there.
    fd = fs.openSync(file, fs.constants.O_RDONLY | fs.constants.O_NONBLOCK);
  } catch {
    return undefined;
  }
  try {
    const size = Math.min(fs.fstatSync(fd).size, MAX_REPORT);
    const buffer = Buffer.alloc(size);
    const n = fs.readSync(fd, buffer, 0, size, 0);
    return buffer.toString('utf8', 0, n);
  } catch {
    return undefined;
  } finally {
    fs.closeSync(fd);
  }
}

/** JSON as it is; anything else as a string. */
export function parseResult(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text.replace(/\n$/, '');
  }
}

/** `40 epoch 4`, `40% epoch 4`, `40`, or a message alone. */
export function parseProgress(text: string): Progress | null {
  const line = text.trim().split('\n').at(-1)?.trim() ?? '';
  if (line === '') return null;
  const m = /^(\d{1,3}(?:\.\d+)?)%?(?:\s+(.*))?$/.exec(line);
  if (m === null || Number(m[1]) > 100) return { percent: null, message: line.slice(0, 1000) };
  return { percent: Number(m[1]), message: m[2] === undefined || m[2] === '' ? null : m[2].slice(0, 1000) };
}

export function readProgress(file: string): Progress | null {
  const text = readReport(file);
  return text === undefined ? null : parseProgress(text);
}
