/**
 * An element of an array that runs as an entry of its own: its item, and what an earlier owner left in a journal about it.
 */
import fs from 'node:fs';
import { readOutcome, settle } from '../queue/outcome.ts';
import { inherit, type Ended } from '../queue/pieces.ts';
import { pieceOf, randomText } from '../queue/layout.ts';
import { lostOutcome } from '../queue/bury.ts';
import type { Queue } from '../queue/open.ts';
import { newTally } from '../task/decide.ts';
import { elementOf, type Many } from '../task/many.ts';
import type { Outcome, Task } from '../task/types.ts';
import type { Run, Worker } from './worker.ts';

/** The task that one element is, with the variables that only elements have. */
export async function elementAt(q: Queue, task: Task, many: Many): Promise<{ task: Task; env: Record<string, string> }> {
  const { lo: n } = pieceOf(task.id)!;
  return elementOf(task, many, n, itemLine(q, many, n));
}

const OFFSET_BYTES = 8;

/** The line of element `n` of the items: where each begins is in the index beside them, one 8-byte number for each. */
export function itemLine(q: Queue, many: Many, n: number): string | undefined {
  if (many.items === undefined) return undefined;
  const path = q.lay.blob(many.items.blob);
  const index = fs.openSync(q.lay.blob(`${many.items.blob}.index`), 'r');
  const offsets = Buffer.alloc(2 * OFFSET_BYTES);
  try {
    fs.readSync(index, offsets, 0, offsets.length, (n - 1) * OFFSET_BYTES);
  } finally {
    fs.closeSync(index);
  }
  const from = offsets.readDoubleBE(0);
  const line = Buffer.alloc(offsets.readDoubleBE(OFFSET_BYTES) - from);
  const fd = fs.openSync(path, 'r');
  try {
    fs.readSync(fd, line, 0, line.length, from);
  } finally {
    fs.closeSync(fd);
  }
  return line.toString('utf8');
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
    await settle(q, w.session, outcomeOfLine(line, claimed.id, claimed.attempt, w.session), task);
    return true;
  }
  // What an outcome file says of that attempt was obeyed when the element came here.
  if (line !== undefined || (await readOutcome(q, claimed.id, claimed.n))?.started === true) return false;
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

/** An outcome file that says what a line of a journal says. */
export function outcomeOfLine(line: Ended, id: string, attempt: number, session: string): Outcome {
  return {
    schema: 'tq.outcome/1',
    id,
    attempt,
    nonce: randomText(12),
    outcome: line.outcome,
    started: line.startedAt !== undefined,
    worker: line.worker,
    session,
    host: line.host ?? '',
    pid: line.pid ?? null,
    startedAt: line.startedAt ?? null,
    endedAt: line.endedAt,
    durationMs: line.durationMs ?? null,
    exitCode: line.exitCode ?? null,
    signal: line.signal ?? null,
    cpuMs: line.cpuMs ?? null,
    maxRssKb: line.maxRssKb ?? null,
    reason: line.reason ?? null,
    ...(line.result === undefined ? {} : { result: line.result }),
    next: { state: line.state === 'again' ? 'queued' : line.state },
    tally: newTally(),
  };
}
