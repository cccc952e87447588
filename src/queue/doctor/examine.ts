/**
 * Is the queue whole, and is its file system fit for it? Looks at everything, changes nothing unless asked to repair; a repair is one of
 * the steps that workers take themselves, or a move to `quarantine/`, so nothing is lost by it.
 */
import { examineFollowUps } from './follow.ts';
import { examineGround } from './ground.ts';
import { examineIntents } from './intents.ts';
import { examineRecords } from './records.ts';
import { examineSessions } from './sessions.ts';
import { examineTasks } from './tasks.ts';
import type { Examination, Finding } from './finding.ts';

/** Everything that was found, and `ok` for what was examined and is well. Throws what keeps the queue from being read at all. */
export async function examine(options: Omit<Examination, 'findings'>): Promise<Finding[]> {
  const x: Examination = { ...options, findings: [] };
  await examineGround(x);
  await examineIntents(x);
  // First what the dead hold: with `--fix` their tasks are back before the tasks are examined.
  await examineSessions(x);
  await examineFollowUps(x);
  await examineRecords(x);
  await examineTasks(x);
  return x.findings;
}
