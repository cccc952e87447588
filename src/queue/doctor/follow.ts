/**
 * What follows from the endings of tasks: follow-ups that lie ready although their ending has come or never will, and endings whose
 * follow-up is missing.
 */
import { isTerminal, type Task } from '../../task/types.ts';
import { dutyOf, hasFollowed, prepareFollowUp, releaseFollowUp, settleFollowUp } from '../follow.ts';
import { locate, type Located } from '../find.ts';
import { listOrEmpty } from '../fsx.ts';
import { isId } from '../layout.ts';
import { readOutcome } from '../outcome.ts';
import { readWhy } from '../why.ts';
import { found, type Examination } from './finding.ts';

/** Whoever made an ending lets its follow-up go right after it, ms. */
const SETTLE_MS = 1000;

const SAID = {
  due: 'the ending that it follows from has come, and it was not let go',
  never: 'the ending that it follows from will not come any more',
  foreign: 'it follows from nothing',
};

export async function examineFollowUps(x: Examination): Promise<void> {
  const { q } = x;
  const ids = (): Promise<string[]> =>
    listOrEmpty(q.fsx, `${q.dir}/follow`, q.network).then((names) =>
      names.filter((name) => name.endsWith('.json') && isId(name.slice(0, -'.json'.length))).map((name) => name.slice(0, -'.json'.length)),
    );
  const before = new Set(await ids());
  if (before.size === 0) return;
  await new Promise((resolve) => setTimeout(resolve, SETTLE_MS));
  for (const id of await ids()) {
    const known = before.has(id) ? await dutyOf(q, id) : undefined;
    if (known === undefined || known.duty === 'early') continue;
    const file = q.lay.follow(id);
    await found(x, { level: 'warning', code: 'follow-up', message: `the follow-up ${id}: ${SAID[known.duty]}`, file }, async () => {
      await settleFollowUp(q, id);
      return !(await ids()).includes(id);
    });
  }
}

/** The record is written before a task comes to its end, so that there is no moment without it. */
export async function examineEnding(x: Examination, at: Located, task: Task): Promise<void> {
  const { q } = x;
  if (!isTerminal(at.state) || (await hasFollowed(q, task, at))) return;
  const message = `${at.id} is ${at.state}, and what was to follow from that was not made`;
  await found(x, { level: 'error', code: 'not-followed', message, file: at.file }, async () => {
    const now = await locate(q, at.id, true);
    if (now === undefined || now.n !== at.n || now.state !== at.state) return;
    const o = at.n === 0 ? undefined : await readOutcome(q, at.id, at.n);
    const id = await prepareFollowUp(q, task, at.n, at.file, at.state, async () => ({
      outcome: o?.outcome ?? (at.state === 'canceled' ? 'canceled' : 'succeeded'),
      exitCode: o?.exitCode ?? null,
      error: o?.reason ?? (await readWhy(q, at.id, at.n, at.state))?.reason ?? null,
    }));
    if (id !== undefined) await releaseFollowUp(q, id);
    return hasFollowed(q, task, at);
  });
}
