/**
 * Who holds running tasks: sessions that are proved dead, sessions that nobody has heard of for a lease, and what a living one has
 * left undone. Silence is never a ground to act: whoever may only be cut off is watched for a whole lease first.
 */
import { formatDuration } from '../../task/duration.ts';
import { settleLost } from '../bury.ts';
import { carryCancel } from '../cancel.ts';
import { serverNowOrLocal } from '../clock.ts';
import { sessions } from '../find.ts';
import { isGone, listOrEmpty, type FileInfo } from '../fsx.ts';
import { parseEntry, type Entry } from '../layout.ts';
import type { Queue } from '../open.ts';
import { holderOf, pulse, readWorker, workerNames } from '../registry.ts';
import { isSetSession, judgeSession, parseSession } from '../session.ts';
import { publishSpool, spooledSessions } from '../spool.ts';
import { newObserver, observe, undertake } from '../undertake.ts';
import { fine, found, nothingSince, type Examination, type Finding } from './finding.ts';

export async function examineSessions(x: Examination): Promise<void> {
  const { q } = x;
  const before = x.findings.length;
  const there = await allSessions(q);
  const silent: Silent[] = [];
  for (const session of there) {
    const verdict = judgeSession(session, x.facts);
    if (verdict === 'dead') {
      await examineDead(x, session);
      continue;
    }
    const why = verdict === 'unknown' ? await whySilent(q, session) : undefined;
    if (why === undefined) await examineLiving(x, session);
    else
      silent.push({
        session,
        finding: {
          level: (await entriesIn(q, session)).length > 0 ? 'error' : 'warning',
          code: why.code,
          message: `${whoIs(session)} ${why.text}${await holding(q, session)}`,
          file: q.lay.session(session),
        },
      });
  }
  await examineSilent(x, silent);
  await examineSpool(x, there);
  if (nothingSince(x, before))
    fine(x, 'sessions', there.length === 0 ? 'nobody holds a task' : `${there.length} in use, none of them dead`);
}

/** Sessions with a running directory, and holders of a worker's name whose directory is gone (a burial that was cut short). */
async function allSessions(q: Queue): Promise<string[]> {
  const there = new Set(await sessions(q));
  for (const name of await workerNames(q)) {
    const holder = await holderOf(q, name);
    if (holder !== undefined) there.add(holder);
  }
  return [...there].toSorted();
}

function whoIs(session: string): string {
  if (isSetSession(session)) return 'a tq set';
  return `worker ${parseSession(session)?.owner ?? session}`;
}

/** What the session has in its directory, for a message. */
async function holding(q: Queue, session: string): Promise<string> {
  const tasks = (await entriesIn(q, session)).filter((e) => !e.cancel);
  if (tasks.length === 0) return '';
  const ids = tasks.slice(0, MOST_SHOWN).map((e) => e.id);
  return ` and holds ${tasks.length === 1 ? 'a task' : `${tasks.length} tasks`}: ${ids.join(' ')}${tasks.length > MOST_SHOWN ? ' ...' : ''}`;
}

const MOST_SHOWN = 5;

async function entriesIn(q: Queue, session: string): Promise<Entry[]> {
  return (await listOrEmpty(q.fsx, q.lay.session(session), true)).map(parseEntry).filter((e) => e !== undefined);
}

async function examineDead(x: Examination, session: string): Promise<void> {
  const { q } = x;
  const busy = (await entriesIn(q, session)).length > 0;
  const message = `${whoIs(session)} died on this machine${await holding(q, session)}`;
  await found(x, { level: busy ? 'error' : 'warning', code: 'dead-session', message, file: q.lay.session(session) }, async () => {
    x.endLeftovers(session);
    return (await undertake(q, session, { proved: true, reason: `${whoIs(session)} died` })) === 'buried';
  });
}

/** Why a session that this machine cannot judge is worth a watch; undefined: it gives signs of life. */
async function whySilent(q: Queue, session: string): Promise<{ code: string; text: string } | undefined> {
  const now = await serverNowOrLocal(q);
  const owner = parseSession(session)?.owner;
  const p = owner === undefined || isSetSession(session) ? undefined : await pulse(q, owner);
  if (p?.session === session) {
    const silentMs = now - p.mtimeMs;
    return silentMs > q.leaseMs ? { code: 'silent-worker', text: `has given no sign of life for ${formatDuration(silentMs)}` } : undefined;
  }
  // A worker that just starts has its directory before its registration.
  const age = now - (await lastClaimIn(q, session, now));
  if (age <= q.leaseMs) return undefined;
  const registered = owner !== undefined && (await readWorker(q, owner))?.session === session;
  return registered
    ? { code: 'silent-worker', text: `has given no sign of life for ${formatDuration(age)}` }
    : { code: 'unknown-session', text: `(session ${session}) is not registered` };
}

/** When the newest entry came into its directory. The directory's own times tell nothing: every careful look at it changes them. */
async function lastClaimIn(q: Queue, session: string, otherwise: number): Promise<number> {
  const times: number[] = [];
  for (const e of await entriesIn(q, session)) {
    const info = await statOf(q, `${q.lay.session(session)}/${e.name}`);
    if (info !== undefined) times.push(info.ctimeMs);
  }
  if (times.length > 0) return Math.max(...times);
  // Without entries it holds nothing, and when it was made is good enough; where that is not told, it is old.
  return (await statOf(q, q.lay.session(session)))?.birthtimeMs ?? otherwise;
}

async function mtimeOf(q: Queue, path: string, otherwise: number): Promise<number> {
  return (await statOf(q, path))?.mtimeMs ?? otherwise;
}

async function statOf(q: Queue, path: string): Promise<FileInfo | undefined> {
  try {
    return await q.fsx.stat(path);
  } catch (error) {
    if (isGone(error)) return undefined;
    throw error;
  }
}

interface Silent {
  session: string;
  finding: Finding;
}

/** Reports them, or with `--fix` watches all of them together for a lease and buries those that stayed silent. */
async function examineSilent(x: Examination, silent: readonly Silent[]): Promise<void> {
  const lease = formatDuration(x.q.leaseMs);
  const fix = `tq doctor --fix watches it for ${lease} and hands its tasks back`;
  if (silent.length === 0) return;
  if (!x.fix) {
    for (const { finding } of silent) await found(x, { ...finding, fix });
    return;
  }
  x.say(`watching ${silent.map((s) => whoIs(s.session)).join(', ')} for ${lease}: death cannot be proved from here`);
  const ends = await watchForALease(
    x.q,
    silent.map((s) => s.session),
  );
  for (const { session, finding } of silent) {
    const end = ends.get(session);
    if (end === 'moved') fine(x, 'sessions', `${whoIs(session)} has given a sign of life: it keeps its tasks`);
    else await found(x, { ...finding, fix: `watched for ${lease}` }, async () => end === 'buried');
  }
}

/** Never less than an observer's six polls, never a slower look than a worker's own, ms. */
const SLOWEST_LOOK_MS = 1000;

async function watchForALease(q: Queue, suspects: readonly string[]): Promise<Map<string, 'buried' | 'moved' | 'left'>> {
  const ends = new Map<string, 'buried' | 'moved' | 'left'>();
  const first = new Map<string, string>();
  const observer = newObserver();
  const pollMs = Math.min(SLOWEST_LOOK_MS, q.leaseMs / 10);
  // Gaps of our own start the watch anew; after four leases something keeps us from watching at all.
  for (const until = performance.now() + 4 * q.leaseMs + 10 * pollMs; performance.now() < until && ends.size < suspects.length;) {
    const overdue = new Set(await observe(q, observer, null, pollMs));
    for (const session of suspects) {
      if (ends.has(session)) continue;
      const token = observer.seen.get(session)?.token;
      if (token === undefined) {
        // Not there any more: somebody else buried it, or it left.
        ends.set(session, 'buried');
        continue;
      }
      const before = first.get(session);
      first.set(session, before ?? token);
      if (before !== undefined && before !== token) ends.set(session, 'moved');
      else if (overdue.has(session)) {
        const result = await undertake(q, session, { proved: false, reason: `no heartbeat for ${Math.round(q.leaseMs / 1000)} s` });
        ends.set(session, result === 'buried' ? 'buried' : result === 'alive' ? 'moved' : 'left');
      }
    }
    if (ends.size < suspects.length) await new Promise((resolve) => setTimeout(resolve, pollMs));
  }
  for (const session of suspects) if (!ends.has(session)) ends.set(session, 'left');
  return ends;
}

/** Older than a lease, and still there: a living session has had every chance to do it. */
async function examineLiving(x: Examination, session: string): Promise<void> {
  const { q } = x;
  const now = await serverNowOrLocal(q);
  const entries = await entriesIn(q, session);
  const keys = new Set(entries.filter((e) => !e.cancel).map((e) => `${e.id}.a${e.n}`));
  for (const e of entries) {
    const file = `${q.lay.session(session)}/${e.name}`;
    if (e.cancel) {
      if (keys.has(`${e.id}.a${e.n}`) || now - (await mtimeOf(q, file, now)) <= q.leaseMs) continue;
      await found(
        x,
        { level: 'warning', code: 'orphan-cancel', message: `a request to cancel ${e.id} lies where the task is not any more`, file },
        () => carryCancel(q, session, e.id, e.n),
      );
    } else if (now - (await mtimeOf(q, q.lay.outcome(e.id, e.n), now)) > q.leaseMs) {
      const message = `attempt ${e.n} of ${e.id} has ended, but ${whoIs(session)} has not moved it on`;
      await found(x, { level: 'error', code: 'half-done', message, file }, async () => {
        const canceled = entries.some((c) => c.cancel && c.id === e.id && c.n === e.n);
        await settleLost(q, session, e.id, e.n, 'never moved on', canceled);
        return !(await listOrEmpty(q.fsx, q.lay.session(session), true)).includes(e.name);
      });
    }
  }
}

/** Outcomes that a worker of this machine kept while the queue was away, and that nobody has published since. */
async function examineSpool(x: Examination, there: readonly string[]): Promise<void> {
  for (const session of spooledSessions(x.q)) {
    if (there.includes(session) && judgeSession(session, x.facts) !== 'dead') continue;
    const message = `${whoIs(session)} kept outcomes on this machine's disk that were never published`;
    await found(x, { level: 'error', code: 'kept-outcome', message }, async () => void (await publishSpool(x.q, session)));
  }
}
