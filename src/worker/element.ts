/**
 * An element of an array that runs as an entry of its own: its item, and what an earlier owner left in a journal about it.
 */
import { readOutcome, settle } from '../queue/outcome.ts';
import { outcomeOfLine } from '../queue/array-view.ts';
import { itemLine } from '../queue/items.ts';
import { inherit } from '../queue/pieces.ts';
import { pieceOf, randomText } from '../queue/layout.ts';
import { lostOutcome } from '../queue/bury.ts';
import type { Queue } from '../queue/open.ts';
import { elementOf, type Many } from '../task/many.ts';
import { isTerminal, type Task } from '../task/types.ts';
import type { Run, Worker } from './worker.ts';

/** The task that one element is, with the variables that only elements have. */
export async function elementAt(q: Queue, task: Task, many: Many): Promise<{ task: Task; env: Record<string, string> }> {
  const { lo: n } = pieceOf(task.id)!;
  return elementOf(task, many, n, itemLine(q, many, n));
}

/**
 * For a single element that was claimed before: whether it has ended already, in its outcome file or in the journal of a chunk that it
 * was part of. Then it is settled here, and not run again.
 */
export async function wasEnded(w: Worker, run: Run, task: Task): Promise<boolean> {
  const { q } = w;
  const { claimed } = run;
  if (claimed.n === 0 || claimed.known === true) return false;
  const piece = pieceOf(claimed.id)!;
  const journal = await inherit(q, piece, claimed.n);
  if (journal === undefined) return false;
  const line = journal.ended.get(piece.lo);
  if (line !== undefined && line.state !== 'again') {
    await settle(q, w.session, { ...outcomeOfLine(line, claimed.id, claimed.attempt, w.session), nonce: randomText(12) }, task);
    return true;
  }
  const told = await readOutcome(q, claimed.id, claimed.n);
  if (told !== undefined && isTerminal(told.next.state)) {
    // Who published it died before the element came to its end.
    await settle(q, w.session, { ...told, attempt: claimed.attempt, nonce: randomText(12) }, task);
    return true;
  }
  // What it says else was obeyed when the element came here.
  if (line !== undefined || told?.started === true) return false;
  const begun = journal.begun.get(piece.lo);
  if (begun === undefined) return false;
  const lost = await lostOutcome(q, w.session, task, claimed.attempt, {
    reason: `worker ${begun.worker} died`,
    started: true,
    canceled: false,
  });
  await settle(q, w.session, { ...lost, worker: begun.worker, startedAt: begun.begunAt }, task);
  return true;
}
