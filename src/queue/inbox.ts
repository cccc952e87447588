/**
 * The inbox: a task object (long flag names as keys) moved here by any program is submitted without the command line. The file is
 * claimed by a rename into `tmp/`, so that two workers never submit it twice.
 */
import { isGone, listOrEmpty } from './fsx.ts';
import type { Queue } from './open.ts';
import { quarantine } from './quarantine.ts';

/** What the sweep saw of a file that did not parse: it is called bad only after it stood still for two polls. */
const unready = new Map<string, string>();

/** Turns the text of an inbox file into submitted tasks. Set by the composition root, since queue knows no flags. */
export type InboxReader = (q: Queue, text: string, owner: number) => Promise<void>;
let reader: InboxReader | undefined;

export function setInboxReader(r: InboxReader): void {
  reader = r;
}

/** Submits what lies in the inbox; returns how many files were taken. */
export async function sweepInbox(q: Queue, log: (line: string) => void): Promise<number> {
  if (reader === undefined) return 0;
  let taken = 0;
  for (const name of await listOrEmpty(q.fsx, q.lay.inbox)) {
    if (name.startsWith('.') || name.endsWith('.tmp')) continue;
    const file = `${q.lay.inbox}/${name}`;
    try {
      const text = await q.fsx.read(file);
      try {
        JSON.parse(text);
      } catch {
        const s = await q.fsx.stat(file);
        const now = `${s.size} ${s.mtimeMs}`;
        if (unready.get(file) !== now) {
          unready.set(file, now);
          continue;
        }
      }
      unready.delete(file);
      const mine = `${q.lay.tmp}/${q.stem}.inbox.${name.replaceAll(/[^A-Za-z0-9._-]/g, '_').slice(0, 100)}`;
      const { uid } = await q.fsx.stat(file);
      await q.fsx.rename(file, mine);
      try {
        await reader(q, text, uid);
        await q.fsx.unlink(mine);
        taken++;
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        log(`inbox/${name}: ${reason}: moved to quarantine/`);
        await quarantine(q, mine, reason);
      }
    } catch (error) {
      if (!isGone(error)) throw error;
    }
  }
  return taken;
}
