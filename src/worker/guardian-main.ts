/**
 * The hidden verb of the guardian: waits for its worker's end, kills what it left, and then, the death being proved by its own
 * eyes, buries the session so that the tasks go back at once.
 */
import fs from 'node:fs';
import { commandJournal } from '../queue/journal.ts';
import { openQueue } from '../queue/open.ts';
import { undertake } from '../queue/undertake.ts';
import { runGuardian } from './guardian.ts';
import { hostName } from './proc.ts';
import { closeScratch } from './scratch.ts';

/** `args`: the queue's directory, the session, the lease in ms, the scratch directory, `1` on a network file system. */
export async function guardianMain(args: readonly string[]): Promise<number> {
  const [dir, session, lease, scratch, network] = args;
  if (dir === undefined || session === undefined || lease === undefined || scratch === undefined) return 2;
  await runGuardian(process.stdin, {
    session,
    leaseMs: Number(lease),
    // On a local directory everybody who could take over sleeps with us.
    clock: network === '1' ? 'boot' : 'awake',
    report: async () => {
      if (scratch !== '' && fs.existsSync(scratch)) closeScratch(scratch);
      const q = await openQueue(dir);
      q.journal = commandJournal(q, hostName());
      await undertake(q, session, { proved: true, reason: `worker ${session.split('.')[0] ?? session} died` });
    },
  });
  return 0;
}
