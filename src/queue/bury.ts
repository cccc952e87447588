/**
 * Burial: what a session that is over leaves under `running/` is settled, then its directory is removed, which revokes it (a
 * late rename into it finds no directory). Every step may be repeated by another undertaker.
 */
import { TqError } from '../errors.ts';
import type { Outcome, Task } from '../task/types.ts';
import { decideNext, type Ended } from '../task/decide.ts';
import { carryCancel, readCancel } from './cancel.ts';
import { serverNow } from './clock.ts';
import { sweepFollowUps } from './follow.ts';
import { isGone, listOrEmpty, removeProbes, strongList } from './fsx.ts';
import { returnSharesOf, wantsOf, type Want } from './limits.ts';
import { baseId, baseOf, entryName, isPiece, parseEntry, pieceOf, parseRest, randomText } from './layout.ts';
import type { Queue } from './open.ts';
import { readClaimed, readOutcome, settle, tallyBefore } from './outcome.ts';
import { completeCut, dropStaged, endedLine, keepJournal, readJournal } from './pieces.ts';
import { isSetSession, parseSession } from './session.ts';
import { publishSpool } from './spool.ts';
import { move, rmdirIfEmpty, unlinkQuietly } from './steps.ts';
import { homeOf, NEW, putBack } from './set.ts';
import { ring } from './signal.ts';
import { placeOfNext, queuedPlace } from './task-file.ts';

/** How sure the undertaker is. A lease that ran out is a suspicion: a new entry proves life and stops the burial. */
export type Death = { proved: true; reason: string } | { proved: false; reason: string };

/** `buried`: nothing of the session is left. `alive`: it claimed something meanwhile. `pending`: what is left could not go yet. */
export type Burial = 'buried' | 'alive' | 'pending';

const TRIES = 5;

export async function bury(q: Queue, session: string, death: Death): Promise<Burial> {
  await publishSpool(q, session);
  const dir = q.lay.session(session);
  const seen = new Set<string>();
  const wants: Want[] = [];
  for (let round = 0; round < TRIES; round++) {
    let names: string[];
    try {
      names = await strongList(q.fsx, dir);
    } catch (error) {
      if (isGone(error)) return 'buried';
      throw error;
    }
    const entries = names.map(parseEntry).filter((e) => e !== undefined);
    const tasks = entries.filter((e) => !e.cancel);
    // A `.cancel` is no sign of life; an entry that was not there before is.
    if (round > 0 && !death.proved && tasks.some((e) => !seen.has(e.name))) return 'alive';
    // What a `tq set` has staged goes first: it must not replace a file that it has no more.
    if (isSetSession(session)) for (const name of names) if (name.endsWith(NEW)) await unlinkQuietly(q.fsx, `${dir}/${name}`);
    const cancels = new Set(entries.filter((e) => e.cancel).map((e) => `${e.id}.a${e.n}`));
    const failed: unknown[] = [];
    for (const e of tasks) {
      seen.add(e.name);
      try {
        if (e.cut !== undefined) await finishCut(q, session, e.id, e.cut, e.n);
        if (isSetSession(session)) await putBack(q, session, e.id, e.n);
        else {
          const task = await settleLost(q, session, e.id, e.n, death.reason, cancels.has(`${e.id}.a${e.n}`));
          if (task !== undefined) wants.push(...wantsOf(task));
        }
      } catch (error) {
        // What is wrong with one does not keep the others back.
        failed.push(error);
      }
    }
    if (failed.length > 0) throw failed[0];
    await dropStaged(q, dir, names);
    for (const e of entries) {
      if (!e.cancel || tasks.some((t) => t.id === e.id && t.n === e.n)) continue;
      try {
        await carryCancel(q, session, e.id, e.n);
      } catch (error) {
        // For elements that are in the hands of another who died: it keeps, and the burial is gone on with later.
        if (!(error instanceof TqError)) throw error;
      }
    }
    if (await rmdirIfEmpty(q.fsx, dir)) {
      // Only now: what it claims too late has no directory to come into. Shares of what it never claimed are found by who needs them.
      if (wants.length > 0) await returnSharesOf(q, session, wants);
      // What its last endings were to make; the slow sweep comes to it too.
      await sweepFollowUps(q).catch(() => undefined);
      await ring(q);
      return 'buried';
    }
    for (const name of names) {
      // What is no entry is nobody's: a stray file may be removed.
      if (parseEntry(name) === undefined && parseRest(name) === undefined) await q.fsx.unlink(`${dir}/${name}`).catch(() => undefined);
    }
    if (q.network) await removeProbes(q.fsx, dir).catch(() => undefined);
  }
  return 'pending';
}

/** A piece of an array whose owner was kept from finishing its cut: the part that was cut off goes where the whole came from. */
export async function finishCut(q: Queue, session: string, id: string, cutOff: string, n: number): Promise<void> {
  const task = await readClaimed(q, `${q.lay.session(session)}/${id}+${cutOff}.a${n}.json`, id);
  if (task === undefined) return;
  const restId = `${baseId(id)}.${cutOff}`;
  const outcome = await readOutcome(q, restId, n);
  const home = isSetSession(session)
    ? await homeOf(q, session, task, n)
    : outcome === undefined
      ? queuedPlace(task)
      : placeOfNext(task, outcome.next);
  await completeCut(q, q.lay.session(session), id, cutOff, n, home);
}

/** A piece goes back whole: its journal tells who takes it next what was begun of it. */
async function handBackPiece(q: Queue, file: string, task: Task, n: number): Promise<void> {
  await keepJournal(q, task.id, n);
  if ((await move(q, file, q.lay.entry(queuedPlace(task), task.id, n))) === 'moved') await ring(q);
}

/**
 * Publishes `lost` for an entry that its session does not run any more (what is there already counts) and makes the move that
 * the outcome names. Never look, then move. `began`: whether its command did, where the caller knows; else its log tells.
 */
export async function settleLost(
  q: Queue,
  session: string,
  id: string,
  n: number,
  reason: string,
  canceled: boolean,
  began?: boolean,
): Promise<Task | undefined> {
  const file = `${q.lay.session(session)}/${entryName(id, n)}`;
  const task = await readClaimed(q, file, id);
  if (task === undefined) return undefined;
  if (task.many !== undefined && isPiece(id)) {
    await handBackPiece(q, file, task, n);
    return task;
  }
  if (task.many !== undefined) {
    // What ended as part of a chunk goes to its end, however it came here.
    const line = await endedLine(q, id, n);
    if (line !== undefined) {
      const { outcomeOfLine } = await import('./array-view.ts');
      await settle(q, session, { ...outcomeOfLine(line, id, n, session), nonce: randomText(12) }, task);
      return task;
    }
    // The last element of a chunk: its owner writes into the journal, and an outcome file would contradict it. One that is there counts.
    if ((await readJournal(q, pieceOf(id)!, n)) !== undefined && (await readOutcome(q, id, n)) === undefined) {
      await handBackPiece(q, file, task, n);
      return task;
    }
  }
  const started = began ?? (await logExists(q, id, n));
  const lost = await lostOutcome(q, session, task, n, { reason, started, canceled });
  const { next, move: moved } = await settle(q, session, lost, task, canceled);
  if (next.state === 'failed' && moved === 'moved' && task.many?.maxFails !== undefined) {
    // Its worker would have looked whether it is one too many.
    const { checkFailures } = await import('./array.ts');
    await checkFailures(q, baseId(id), task.many);
  }
  return task;
}

export async function lostOutcome(
  q: Queue,
  session: string,
  task: Task,
  n: number,
  how: { reason: string; started: boolean; canceled: boolean },
): Promise<Outcome> {
  const now = await serverNow(q);
  const before = await tallyBefore(q, task.id, n, true);
  const parts = parseSession(session);
  const owner = parts?.owner ?? session;
  const startedAt = how.started ? await logTime(q, task.id, n) : null;
  const ended: Ended = how.canceled ? { how: 'cause', kind: 'canceled' } : { how: 'lost', reason: how.reason };
  const { next, tally } = decideNext({
    task,
    ended,
    tally: before,
    worker: owner,
    started: how.started,
    startedAt,
    endedAt: Math.round(now),
    random: Math.random,
  });
  const reason = how.canceled ? ((await readCancel(q, session, task.id, n)).reason ?? 'canceled') : how.reason;
  return {
    schema: 'tq.outcome/1',
    id: task.id,
    attempt: n,
    nonce: randomText(12),
    outcome: how.canceled ? 'canceled' : 'lost',
    started: how.started,
    worker: owner,
    session,
    host: '',
    pid: null,
    startedAt,
    endedAt: Math.round(now),
    durationMs: startedAt === null ? null : Math.max(0, Math.round(now - startedAt)),
    exitCode: null,
    signal: null,
    cpuMs: null,
    maxRssKb: null,
    reason,
    next,
    tally,
    ...(before.fallback === undefined ? {} : { fallback: true as const }),
  };
}

/** Whether the attempt had begun. A log may be huge: only its name is looked at. */
async function logExists(q: Queue, id: string, n: number): Promise<boolean> {
  const log = q.lay.log(id, n);
  try {
    await q.fsx.stat(log);
    return true;
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return q.network && (await listOrEmpty(q.fsx, q.lay.runs(id), true)).includes(baseOf(log));
}

/** When the log was made: the start of the attempt by the server's clock. */
async function logTime(q: Queue, id: string, n: number): Promise<number | null> {
  try {
    const s = await q.fsx.stat(q.lay.log(id, n));
    return Math.round(s.birthtimeMs > 0 ? s.birthtimeMs : s.mtimeMs);
  } catch {
    return null;
  }
}
