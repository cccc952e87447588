/**
 * Outcomes: how an attempt ended, written once, and the move that it names. Whoever finds a published outcome makes the same
 * move, so a finish that was cut short is completed by whoever comes next and never run again.
 */
import { errnoOf } from '../errors.ts';
import { newTally } from '../task/decide.ts';
import { isAttempt } from '../task/event.ts';
import { isTerminal, type Ending, type Next, type Outcome, type Tally, type Task } from '../task/types.ts';
import { afterTerminal } from './depend.ts';
import { prepareFollowUp, releaseFollowUp, settleFollowUp } from './follow.ts';
import { isGone, isOfEntry, listOrEmpty, strongList } from './fsx.ts';
import { freeTokens, tokensOf } from './keys.ts';
import type { About } from './journal.ts';
import { cancelName, entryName } from './layout.ts';
import type { Queue } from './open.ts';
import { quarantine } from './quarantine.ts';
import { ring } from './signal.ts';
import { move, publish, readIfThere, unlinkQuietly, type MoveResult } from './steps.ts';
import { carryCancel } from './cancel.ts';
import { parseOutcome, parseTask, placeOfNext } from './task-file.ts';

export async function readOutcome(q: Queue, id: string, n: number): Promise<Outcome | undefined> {
  const text = await readIfThere(q, q.lay.outcome(id, n));
  return text === undefined ? undefined : parseOutcome(text);
}

/**
 * What is carried into attempt `n`: the tally of the newest attempt before it, or a fresh one after a `tq retry`. `strong`: for who
 * has not made a file there just before, which is what makes a listing fresh.
 */
export async function tallyBefore(q: Queue, id: string, n: number, strong = false): Promise<Tally> {
  if (n <= 1) return newTally();
  const names = new Set(await listOrEmpty(q.fsx, q.lay.runs(id), strong));
  for (let m = n - 1; m >= 0; m--) {
    if (names.has(`${id}.a${m}.retried`)) return newTally();
    if (!names.has(entryName(id, m))) continue;
    const o = await readOutcome(q, id, m);
    if (o !== undefined) return o.tally;
  }
  return newTally();
}

/**
 * Publishes an outcome; the answer is the one that counts: mine, or the one that was there (a foreign one means that mine is
 * discarded). A crash after it leaves a running entry with an outcome, which burial or the owner's next heartbeat completes.
 */
export async function publishOutcome(q: Queue, mine: Outcome): Promise<Outcome> {
  const path = q.lay.outcome(mine.id, mine.attempt);
  if (await publish(q, path, `${JSON.stringify(mine)}\n`)) return mine;
  const there = await readOutcome(q, mine.id, mine.attempt);
  if (there !== undefined || !q.network) return there ?? mine;
  // There is one, the link has told; only this machine's caches still say that there is none.
  await strongList(q.fsx, q.lay.runs(mine.id));
  return (await readOutcome(q, mine.id, mine.attempt)) ?? mine;
}

export interface Settled {
  /** The outcome that counts. */
  outcome: Outcome;
  /** Where the entry went, and whether this call moved it. */
  move: MoveResult;
  next: Next;
}

/**
 * Ends attempt `mine.attempt` of the entry in `running/<session>/`: publish, then the move that the outcome in force names. A
 * `.cancel` beside the entry turns any move that is not terminal into one to canceled, and is unlinked only after the entry
 * reached a terminal place by this call. A moved-away entry (`gone`) was settled by somebody else.
 */
export async function settle(q: Queue, session: string, mine: Outcome, task?: Task, canceled?: boolean): Promise<Settled> {
  const { id, attempt } = mine;
  const outcome = await publishOutcome(q, mine);
  let next = outcome.next;
  const dir = q.lay.session(session);
  const file = `${dir}/${entryName(id, attempt)}`;
  const cancel = `${dir}/${cancelName(id, attempt)}`;
  const asked = canceled === true || (!isTerminal(next.state) && (await nameIsThere(q, dir, cancelName(id, attempt))));
  if (asked && !isTerminal(next.state)) next = { state: 'canceled', reason: 'canceled' };
  const known = task ?? (await readClaimed(q, file, id));
  if (known === undefined) {
    return { outcome, next, move: 'gone' };
  }
  const terminal = isTerminal(next.state);
  const follow = terminal ? await prepareFollowUp(q, known, attempt, file, next.state, () => endingOf(outcome, next)) : undefined;
  const tokens = terminal && known.key !== undefined ? await tokensOf(q, known.key, id) : [];
  if (terminal && known.submission !== undefined) {
    const { beforeEnd } = await import('./groups.ts');
    await beforeEnd(q, known, attempt, next, session);
  }
  const moved = await move(
    q,
    file,
    q.lay.entry(placeOfNext(known, next), id, attempt),
    q.journal === undefined ? undefined : told(outcome, next),
  );
  if (moved === 'moved' && terminal) {
    await freeTokens(q, tokens);
    if (follow !== undefined) await releaseFollowUp(q, follow);
    await afterTerminal(q, known);
  } else if (follow !== undefined) await settleFollowUp(q, follow);
  if (moved === 'moved' && next.state === 'queued') await ring(q);
  if (asked) {
    if (moved === 'moved') await unlinkQuietly(q.fsx, cancel);
    else await carryCancel(q, session, id, attempt);
  } else if (!terminal && moved === 'moved' && (await nameIsThere(q, dir, cancelName(id, attempt)))) {
    // It came between the look and the move: carried on now, not only at the next heartbeat, when another attempt may be over.
    await carryCancel(q, session, id, attempt);
  }
  return { outcome, next, move: moved };
}

/** What the journal says of the end of an attempt. */
function told(o: Outcome, next: Next): About {
  const about: About = { outcome: o.outcome, exitCode: o.exitCode, worker: o.worker, ran: isAttempt(o) };
  if (o.signal !== null) about.signal = o.signal;
  const reason = next.reason ?? o.reason;
  if (reason !== null && next.state !== 'done') about.reason = reason;
  if (next.state === 'delayed') about.dueAt = next.dueAt;
  return about;
}

/** What follows from it is told how the attempt ended; a cancel between two tries is one. */
function endingOf(outcome: Outcome, next: Next): Ending {
  return {
    outcome: next.state === 'canceled' ? 'canceled' : outcome.outcome,
    exitCode: outcome.exitCode,
    error: outcome.reason ?? next.reason ?? null,
  };
}

/** Reads the task in an entry; one that does not parse is quarantined and undefined comes back, as when it is gone. */
export async function readTaskAt(q: Queue, file: string, id: string): Promise<Task | undefined> {
  let text: string | undefined;
  try {
    text = await readIfThere(q, file);
  } catch (error) {
    // A directory under the name of a task is no more than a file with nonsense.
    if (errnoOf(error) !== 'EISDIR') throw error;
    await quarantine(q, file, 'it is a directory');
    return undefined;
  }
  if (text === undefined) return undefined;
  const parsed = parseTask(text, id);
  if (parsed.ok) return parsed.value;
  await quarantine(q, file, parsed.reason);
  return undefined;
}

/**
 * As `readTaskAt`, for the entry of a session that the caller acts for. What cannot be read is quarantined like what does not parse:
 * nobody else may move it, and whoever met it again would fail again.
 */
export async function readClaimed(q: Queue, file: string, id: string): Promise<Task | undefined> {
  try {
    return await readTaskAt(q, file, id);
  } catch (error) {
    if (!isOfEntry(error)) throw error;
    await quarantine(q, file, `it cannot be read: ${errnoOf(error)}`);
    return undefined;
  }
}

/** Whether a name that another machine may just have made is there: on a network file system only a listing tells. */
export async function nameIsThere(q: Queue, dir: string, name: string): Promise<boolean> {
  if (q.network) return (await listOrEmpty(q.fsx, dir)).includes(name);
  try {
    await q.fsx.stat(`${dir}/${name}`);
    return true;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
