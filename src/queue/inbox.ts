/**
 * The inbox: a task object (long flag names as keys) moved here by any program is submitted without the command line. The file is
 * claimed by a rename into `tmp/`, so that two workers never submit it twice. The new name says what the task will be called: by that
 * the sweep of `tmp/` tells whether a worker that died there had submitted it, and puts it back if not.
 */
import { errnoOf, EXIT, TqError } from '../errors.ts';
import { serverNow } from './clock.ts';
import { endedState } from './depend.ts';
import { locate } from './find.ts';
import { isGone, isOfEntry, listOrEmpty } from './fsx.ts';
import { baseOf, makeId } from './layout.ts';
import type { Queue } from './open.ts';
import { quarantine } from './quarantine.ts';
import { move, stagingPath, unlinkQuietly } from './steps.ts';
import { onceStaged } from './submit.ts';

/** What the sweep saw of a file that did not parse: it is called bad only after it stood still for two polls. */
const unready = new Map<string, string>();

/** Turns the text of an inbox file into submitted tasks. Set by the composition root, since queue knows no flags. */
export type InboxReader = (q: Queue, text: string, owner: number, id: string) => Promise<void>;
let reader: InboxReader | undefined;

export function setInboxReader(r: InboxReader): void {
  reader = r;
}

/** What was said of a file, so that the same is not said at every poll. */
const told = new Map<string, string>();

/** How the staging name of a file goes on that was taken from the inbox. */
export const FROM_INBOX = '.inbox.';
const TAKEN = /\.inbox\.([0-9a-z]{14})\.(.+)$/;

/** Submits what lies in the inbox; returns how many files were taken. */
export async function sweepInbox(q: Queue, log: (line: string) => void): Promise<number> {
  if (reader === undefined) return 0;
  let taken = 0;
  for (const name of await listOrEmpty(q.fsx, q.lay.inbox)) {
    if (name.startsWith('.') || name.endsWith('.tmp')) continue;
    const say = (line: string): void => {
      if (told.get(name) !== line) log(`inbox/${name}: ${line}`);
      told.set(name, line);
    };
    try {
      if (await take(q, name, reader, say)) taken++;
    } catch (error) {
      if (isGone(error)) continue;
      // One that cannot be read does not keep the others back.
      if (!isOfEntry(error)) throw error;
      say(`cannot be read: ${errnoOf(error)}`);
    }
  }
  return taken;
}

async function take(q: Queue, name: string, read: InboxReader, say: (line: string) => void): Promise<boolean> {
  const file = `${q.lay.inbox}/${name}`;
  if (!(await isReady(q, file))) return false;
  const id = makeId(await serverNow(q));
  const mine = stagingPath(q, `${FROM_INBOX}${id}.${name.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 100)}`);
  if ((await move(q, file, mine)) !== 'moved') return false;
  // Read here: until now another file could come under the name.
  const text = await q.fsx.read(mine);
  const { uid } = await q.fsx.stat(mine);
  try {
    await read(q, text, uid, id);
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error);
    if (error instanceof TqError && error.exit === EXIT.queue) {
      say(`${reason}: tried again`);
      await giveBack(q, mine, file);
      return false;
    }
    say(`${reason}: moved to quarantine/`);
    await quarantine(q, mine, reason, file);
    return false;
  }
  await unlinkQuietly(q.fsx, mine);
  told.delete(name);
  return true;
}

/**
 * What became of a file that was taken and lies in `tmp/` still. Its worker may be dead, or only slow: so first its submit is made
 * impossible, by taking the name that it is staged under. `submitted`: it is a task. `back`: it never will be, and lies in the inbox
 * again. `unknown`: only a person can tell.
 */
export async function recoverTaken(q: Queue, taken: string): Promise<'submitted' | 'back' | 'unknown'> {
  const m = TAKEN.exec(taken);
  if (m === null) return 'unknown';
  const [, id, name] = m as unknown as [string, string, string];
  // One at a time: of two that gave it back the second could do so when it was taken again already.
  const mine = stagingPath(q, `${FROM_INBOX}${id}.${name}`);
  if ((await move(q, `${q.lay.tmp}/${taken}`, mine)) !== 'moved') return 'back';
  await fence(q, onceStaged(q, id));
  if ((await locate(q, id, true)) !== undefined || (await endedState(q, id, true)) !== undefined) {
    await unlinkQuietly(q.fsx, mine);
    return 'submitted';
  }
  await giveBack(q, mine, `${q.lay.inbox}/${name}`);
  return 'back';
}

/**
 * Afterwards what is staged under this name has been published, or never will be. A staged task is moved away; where there is none a
 * directory takes its place, which a late worker can neither create nor link. A crash in between leaves what the next one finds.
 */
async function fence(q: Queue, staged: string): Promise<void> {
  const away = (): string => `${q.lay.swept}/${baseOf(stagingPath(q, '.task'))}`;
  for (;;) {
    // Where a late worker would take it back from.
    await move(q, `${q.lay.swept}/${baseOf(staged)}`, away());
    try {
      await q.fsx.mkdir(staged);
      return;
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error;
    }
    const there = away();
    // Gone: published meanwhile. A file: it was staged. Else the fence of an earlier look, which is put up again.
    if ((await move(q, staged, there)) === 'moved' && !(await q.fsx.stat(there)).isDirectory) return;
  }
}

/** Whether it parses, or has stood still for two polls although it does not. */
async function isReady(q: Queue, file: string): Promise<boolean> {
  const text = await q.fsx.read(file);
  try {
    JSON.parse(text);
  } catch {
    const s = await q.fsx.stat(file);
    const now = `${s.size} ${s.mtimeMs}`;
    if (unready.get(file) !== now) {
      unready.set(file, now);
      return false;
    }
  }
  unready.delete(file);
  return true;
}

/** Back under its name, unless another file has come there meanwhile: then the sweep of `tmp/` comes to it later. */
async function giveBack(q: Queue, mine: string, file: string): Promise<void> {
  try {
    await q.fsx.link(mine, file);
    await unlinkQuietly(q.fsx, mine);
  } catch {
    // It stays in tmp/.
  }
}
