/** What does not parse or exists twice is moved aside under a name that tells why; tq never deletes it. */
import { baseOf } from './layout.ts';
import type { Queue } from './open.ts';
import { createOnce, move, stagingPath, type MoveResult } from './steps.ts';

/** `lay`: where people know it from, if it was taken from there before. `quarantine/<name>.<n>`, beside it `<name>.<n>.reason`; a name of its own for each file, or the second of one name would replace the first. */
export async function quarantine(q: Queue, file: string, reason: string, lay = file): Promise<MoveResult> {
  const name = `${baseOf(lay)
    .replaceAll(/[^A-Za-z0-9._-]/g, '_')
    .slice(0, 120)}.${baseOf(stagingPath(q))}`;
  await createOnce(q, `${q.lay.quarantine}/${name}.reason`, `${JSON.stringify({ file: lay, reason, at: new Date().toISOString() })}\n`);
  return move(q, file, `${q.lay.quarantine}/${name}`);
}
