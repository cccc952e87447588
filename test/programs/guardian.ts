/** The guardian as a program: `session leaseMs clock report-file`. The report is a line: the reason, and how many marked processes still live. */
import fs from 'node:fs';
import { runGuardian } from '../../src/worker/guardian.ts';
import { leftovers } from '../../src/worker/proc.ts';

const [session = '', leaseMs = '', clock = 'boot', file = ''] = process.argv.slice(2);
await runGuardian(process.stdin, {
  session,
  leaseMs: Number(leaseMs),
  clock: clock === 'awake' ? 'awake' : 'boot',
  report: async (why) => fs.appendFileSync(file, `${why} ${leftovers(session).length}\n`),
});
process.exit(0);
