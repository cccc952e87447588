/**
 * What was begun for many tasks at once and not finished: submissions that are committed and not all published, changes of a group.
 */
import { listOrEmpty } from '../fsx.ts';
import { finishIntents } from '../intent.ts';
import { found, type Examination } from './finding.ts';

/** Somebody may just be at it, ms. */
const SETTLE_MS = 1000;

/** With `fix` they are finished before the tasks are examined. */
export async function examineIntents(x: Examination): Promise<void> {
  const { q } = x;
  const before = new Set(await listOrEmpty(q.fsx, q.lay.intents));
  if (before.size === 0) return;
  if (!x.fix) await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (const name of await listOrEmpty(q.fsx, q.lay.intents)) {
    if (!before.has(name)) continue;
    const message = name.endsWith('.json')
      ? `the change of a group that ${name} asks for is not finished`
      : `the submission ${name} is committed, and not all of it is in its place`;
    const finding = { level: 'warning', code: 'intent', message, file: `${q.lay.intents}/${name}` } as const;
    await found(x, finding, async () => {
      await finishIntents(q, x.facts);
      return !(await listOrEmpty(q.fsx, q.lay.intents)).includes(name);
    });
  }
}
