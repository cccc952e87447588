/**
 * A worker without its processes and timers: it claims, makes logs, starts, beats and finishes by the rules of the protocol, one
 * of these at a time in an order that chance decides, and tells the oracle what really runs.
 */
import fs from 'node:fs';
import { errnoOf, TqError } from '../../src/errors.ts';
import { bury, finishCut, settleLost } from '../../src/queue/bury.ts';
import { carryCancel } from '../../src/queue/cancel.ts';
import { sweepWaiting } from '../../src/queue/depend.ts';
import { sessions } from '../../src/queue/find.ts';
import { sweepGroups } from '../../src/queue/groups.ts';
import { finishIntents } from '../../src/queue/intent.ts';
import { promoteDue } from '../../src/queue/promote.ts';
import { claim, emptyWindow, RevokedError, type Candidate, type Claimed } from '../../src/queue/claim.ts';
import { serverNow } from '../../src/queue/clock.ts';
import { isGone, mkdirp, strongList } from '../../src/queue/fsx.ts';
import { baseId, entryName, isPiece, parseEntry, randomText } from '../../src/queue/layout.ts';
import { giveBackAll, takeShares, wantsOf, type Share } from '../../src/queue/limits.ts';
import { readOutcome, readTaskAt, settle, tallyBefore } from '../../src/queue/outcome.ts';
import { judgeSession, makeSession } from '../../src/queue/session.ts';
import { writeWhy } from '../../src/queue/why.ts';
import { classify, decideNext, newTally, type Ended } from '../../src/task/decide.ts';
import type { Next, Outcome, Tally, Task } from '../../src/task/types.ts';
import { findElement, readArray } from '../../src/queue/array.ts';
import { cancelOfChunk, dropChunks, giveBackChunks, hasNext, keyOf, openPiece, runNext } from '../../src/worker/chunk.ts';
import { wasEnded } from '../../src/worker/element.ts';
import type { Result } from '../../src/worker/run-task.ts';
import { newRun, type Run, type Worker } from '../../src/worker/worker.ts';
import { type Proc, Violation, type World } from './harness.ts';
import type { Oracle } from './oracle.ts';

export interface WorkerWishes {
  /** As long as it answers `work`; `settle`: everything succeeds and nothing is left to chance; `leave`: it ends cleanly. */
  mood(): 'work' | 'settle' | 'leave';
  /** At most so many tasks are claimed at once. */
  most: number;
}

interface Single {
  claimed: Claimed;
  task: Task;
  tally: Tally;
  canceled: boolean;
  /** The outcome that could not be settled yet. */
  kept: Outcome | undefined;
}

/** A claim, and when it was made. */
type Taken = Claimed & { atStep: number };

/** An element of a chunk that runs. */
interface ElementRun {
  run: Run;
  finish(result: Result | 'revoked'): void;
  done: Promise<void>;
}

interface SimWorker {
  p: Proc;
  /** What the code about pieces needs of a worker. */
  real: Worker;
  /** How it takes the elements of an array; undefined: as chance decides. */
  takes: 'chunk' | 'singles' | undefined;
  /** Shares by the attempt that they are for; and those to be given back. */
  shares: Map<string, Share[]>;
  doubt: Share[];
  elements: Map<string, ElementRun>;
  oracle: Oracle;
  session: string;
  window: ReturnType<typeof emptyWindow>;
  pending: Taken[];
  runs: Map<string, Single>;
}

const newWorker = (p: Proc, oracle: Oracle): SimWorker => ({
  p,
  real: realWorker(p),
  takes: undefined,
  shares: new Map(),
  doubt: [],
  elements: new Map(),
  oracle,
  session: '',
  window: emptyWindow(),
  pending: [],
  runs: new Map(),
});

/** Slots of a worker for the elements of its chunks. */
const JOBS = 2;

function realWorker(p: Proc): Worker {
  const scratch = `${p.world.dir}-scratch.${p.pid}`;
  fs.mkdirSync(scratch, { recursive: true });
  const real: Partial<Worker> = {
    q: p.q,
    facts: p.facts,
    log: () => undefined,
    session: '',
    options: { name: p.name, jobs: JOBS, maxTasks: null } as Worker['options'],
    runs: new Map(),
    chunks: [],
    closing: new Set(),
    elementMs: new Map(),
    unbegun: new Set(),
    rejections: [],
    started: 0,
    claimEpoch: 0,
    lookAtDueAt: 0,
    stopping: false,
    scratch,
    woken: false,
    sleeper: null,
  };
  return real as Worker; // all that the code about pieces and elements asks for
}

const nameOf = (c: { id: string; attempt: number }): string => `${c.id}.a${c.attempt}`;

/** Works until it is to leave; then its session is settled and removed. */
export async function work(p: Proc, oracle: Oracle, wishes: WorkerWishes): Promise<void> {
  const w = newWorker(p, oracle);
  for (;;) {
    const mood = wishes.mood();
    try {
      if (mood === 'leave') {
        if (await leave(w)) return;
      } else if (w.session === '') await begin(w);
      else if (!(await turn(w, wishes, mood))) await pause(mood === 'settle' ? 50 : 5);
    } catch (error) {
      rethrowUnexpected(error);
      if (error instanceof RevokedError) await rise(w);
    }
  }
}

/** Burials by proof, due tasks, waiting ones: what each living worker does for all. */
export async function keep(p: Proc): Promise<void> {
  await buryDead(p);
  await finishIntents(p.q, p.facts);
  await sweepGroups(p.q, 'keeper');
  await promoteDue(p.q);
  await sweepWaiting(p.q);
}

export async function buryDead(p: Proc): Promise<void> {
  for (const session of await sessions(p.q)) {
    if (judgeSession(session, p.facts) === 'dead') await bury(p.q, session, { proved: true, reason: 'its process is gone' });
  }
}

/** Rounds of keeping and working after which a queue without trouble has come to rest. */
const ROUNDS = 6;

/**
 * What happens by itself after a crash: living workers keep and work until nothing is left to do. Then the last look, and
 * nothing may be left under running.
 */
export async function recover(world: World, oracle: Oracle): Promise<void> {
  await world.calm();
  for (let round = 0; round < ROUNDS; round++) {
    await world.alone(`keeper${round}`, keep);
    await workOff(world, oracle);
    // Long enough for every back-off and snooze, in the end for the lease that a half-made submit is given.
    world.advance(round < 3 ? 120_000 : world.leaseMs + 1000);
  }
  oracle.final();
  await world.alone('looker', (p) => lookAtEnds(p, oracle));
  const left = fs.readdirSync(`${world.dir}/running`).filter((name) => !name.startsWith('.p.'));
  if (left.length > 0) throw new Violation(`running/ holds ${left.join(' ')}\n${world.trace(left[0]).join('\n')}`);
}

/** Whoever looks at an element that has ended finds how. */
export async function lookAtEnds(p: Proc, oracle: Oracle): Promise<void> {
  for (const known of oracle.arrays.known.values()) {
    if (known.removing || known.entries.size === 0) continue;
    const array = await readArray(p.q, known.id);
    if (array?.isWhole !== true) throw new Violation(`${known.id} is not whole when it is read at rest`);
    for (const n of known.elements.keys()) {
      const at = await findElement(p.q, array, n);
      if (at?.state !== 'done' && at?.state !== 'failed') continue;
      const { id, n: attempt } = at.piece.at;
      const outcome = at.line === undefined ? await readOutcome(p.q, id, attempt) : undefined;
      if (at.line?.state !== at.state && outcome?.next.state !== at.state)
        throw new Violation(
          `element ${n} lies in ${at.piece.at.file}, and nothing says how it ended\n${p.world.trace(known.id).join('\n')}`,
        );
    }
  }
}

/** A worker that does all there is, successfully, and leaves. */
export async function workOff(world: World, oracle: Oracle, name = 'worker'): Promise<void> {
  let turns = 0;
  const busy = (): boolean =>
    [...oracle.tasks.values()].some((k) =>
      [...k.spots.values()].some((s) => s.state === 'queued' || s.session?.startsWith(`${name}.`) === true),
    ) || oracle.arrays.isBusy(name);
  await world.alone(name, (p) => work(p, oracle, { mood: () => (busy() && turns++ < 100 ? 'settle' : 'leave'), most: 4 }));
}

/** Looks that may be answered as if nothing were there before a worker gives up. */
const LOOKS = 10;

/** Claims one task, runs it to this exit code, and leaves. */
export async function runOne(p: Proc, oracle: Oracle, code: 0 | 1): Promise<void> {
  const w = newWorker(p, oracle);
  await begin(w);
  // A directory that is called stale is read as an empty one: the next poll looks again.
  for (let look = 0; look < LOOKS && w.pending.length === 0; look++) {
    w.window = emptyWindow();
    await claimSome(w, 1);
  }
  if (w.pending.length > 0) await startOne(w);
  for (const name of [...w.runs.keys()]) await finishOne(w, name, code === 0 ? 'succeed' : 'fail');
  await leave(w);
}

/** Claims what there is, begins the first of it, and does nothing more: for whoever is to find it so. */
export async function beginSome(p: Proc, oracle: Oracle, most: number): Promise<string> {
  const w = newWorker(p, oracle);
  await begin(w);
  await claimSome(w, most);
  if (w.pending.length > 0) await startOne(w);
  return w.session;
}

/** Takes some elements of an array, runs them to this exit code, and leaves. */
export async function runSome(p: Proc, oracle: Oracle, takes: 'chunk' | 'singles', code: 0 | 1): Promise<void> {
  const w = newWorker(p, oracle);
  w.takes = takes;
  try {
    await begin(w);
    const busy = (): boolean => w.pending.length > 0 || w.real.chunks.length > 0;
    for (let look = 0; look < LOOKS && !busy(); look++) {
      w.window = emptyWindow();
      await claimSome(w, 1);
    }
    while (w.pending.length > 0) await startOne(w);
    for (const name of [...w.runs.keys()]) await finishOne(w, name, code === 0 ? 'succeed' : 'fail');
    while (w.elements.size > 0 || canBeginElement(w)) {
      if (w.elements.size < JOBS && canBeginElement(w)) await startElement(w);
      else await finishElement(w, [...w.elements.keys()][0]!, code === 0 ? 'succeed' : 'fail');
    }
    await leave(w);
  } finally {
    // An error ends it, and with it what it ran.
    for (const run of w.runs.values()) oracle.end(run.claimed.id, run.claimed.attempt);
    for (const e of w.elements.values()) oracle.arrays.end(e.run.claimed.id);
  }
}

/** Takes a chunk, ends its first element and begins two more, and does nothing more. */
export async function beginChunk(p: Proc, oracle: Oracle): Promise<string> {
  const w = newWorker(p, oracle);
  w.takes = 'chunk';
  await begin(w);
  await claimSome(w, 1);
  await startElement(w);
  await finishElement(w, [...w.elements.keys()][0]!, 'succeed');
  for (let i = 0; i < JOBS; i++) await startElement(w);
  return w.session;
}

/** Trouble of the file system is what it is tested with; anything else is a mistake. */
export function rethrowUnexpected(error: unknown): void {
  if (error instanceof Violation || !(error instanceof RevokedError || error instanceof TqError || errnoOf(error) !== undefined))
    throw error;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

async function begin(w: SimWorker): Promise<void> {
  const session = makeSession(w.p.name, w.p.facts, w.p.pid);
  await mkdirp(w.p.q.fsx, w.p.q.lay.session(session));
  w.session = session;
  w.real.session = session;
}

/** One thing to do. False: there was nothing. */
async function turn(w: SimWorker, wishes: WorkerWishes, mood: 'work' | 'settle'): Promise<boolean> {
  const { rng } = w.p.world;
  if (mood === 'settle') {
    const busy = await beat(w);
    if (w.session === '') return true;
    if (w.pending.length === 0 && w.runs.size === 0 && w.real.chunks.length === 0) {
      w.window = emptyWindow();
      await claimSome(w, wishes.most);
    }
    const some = w.pending.length > 0 || w.runs.size > 0 || w.real.chunks.length > 0;
    while (w.pending.length > 0 && w.session !== '') await startOne(w);
    for (const name of [...w.runs.keys()]) await finishOne(w, name, 'succeed');
    while (w.elements.size > 0 || canBeginElement(w)) {
      if (w.elements.size < JOBS && canBeginElement(w)) await startElement(w);
      else await finishElement(w, [...w.elements.keys()][0]!, 'succeed');
      if (w.session === '') break;
    }
    return busy || some;
  }
  if (w.real.chunks.length > 0 && rng.chance(0.5)) {
    if (rng.chance(0.15)) await giveBackChunks(w.real, true);
    else if (canBeginElement(w) && w.elements.size < JOBS && rng.chance(0.6)) await startElement(w);
    else if (w.elements.size > 0) await finishElement(w, rng.pick([...w.elements.keys()]), 'chance');
    return true;
  }
  const dice = rng.int(10);
  if (dice < 2) await beat(w);
  else if (dice < 5 && w.pending.length > 0) await startOne(w);
  else if (dice < 7 && w.runs.size > 0) await finishOne(w, rng.pick([...w.runs.keys()]), 'chance');
  else if (w.pending.length + w.runs.size < wishes.most) return claimSome(w, 1 + rng.int(wishes.most - w.pending.length - w.runs.size));
  else if (dice < 8 && w.pending.length > 0) await handBack(w);
  return w.pending.length + w.runs.size > 0;
}

async function claimSome(w: SimWorker, most: number): Promise<boolean> {
  if (w.p.world.rng.chance(0.3)) w.window = emptyWindow();
  const atStep = w.p.world.steps;
  const has = (id: string, attempt: number): boolean =>
    w.runs.has(nameOf({ id, attempt })) ||
    w.real.chunks.some((c) => keyOf(c) === nameOf({ id, attempt })) ||
    w.pending.some((c) => c.id === id && c.attempt === attempt);
  await returnIdle(w);
  const opening: Claimed[] = [];
  const taken = (c: Claimed): void => void (isPiece(c.id) ? opening.push(c) : w.pending.push({ ...c, atStep }));
  const claimed = await claim(w.p.q, w.session, w.window, { serves: () => true, leave: (c) => lacksShares(w, c), has, taken }, most);
  for (const c of opening) {
    // Short or long: as a chunk of a few, or one by one.
    const { rng } = w.p.world;
    w.real.elementMs.delete(baseId(c.id));
    if (w.takes === undefined ? rng.chance(0.6) : w.takes === 'chunk') w.real.elementMs.set(baseId(c.id), rng.pick([100, 200, 150]));
    for (const single of await openPiece(w.real, c, 1 + rng.int(3))) w.pending.push({ ...single, atStep });
  }
  return claimed.length > 0;
}

/** Takes what a candidate asks for, before the claim. True: there is none free. */
async function lacksShares(w: SimWorker, c: Candidate): Promise<boolean> {
  const { q } = w.p;
  const task = await readTaskAt(q, `${c.dir}/${entryName(c.id, c.n)}`, c.id);
  const wants = task === undefined ? [] : wantsOf(task);
  if (wants.length === 0) return false;
  const taken = await takeShares(q, wants, w.session, c.id, w.doubt);
  if (!Array.isArray(taken)) return true;
  w.shares.set(nameOf({ id: c.id, attempt: c.n + 1 }), taken);
  return false;
}

/** What is neither claimed nor running any more gives back what it had. */
async function returnIdle(w: SimWorker): Promise<void> {
  for (const [name, shares] of w.shares) {
    if (w.runs.has(name) || w.pending.some((c) => nameOf(c) === name)) continue;
    w.shares.delete(name);
    w.doubt.push(...shares);
  }
  const doubt = w.doubt.splice(0);
  await giveBackAll(w.p.q, doubt, 'unused', w.doubt);
}

function canBeginElement(w: SimWorker): boolean {
  return w.session !== '' && w.real.chunks.some(hasNext);
}

/** Begins the next element of a chunk; comes back when it runs, or was found not to run. */
async function startElement(w: SimWorker): Promise<void> {
  const chunk = w.real.chunks.find(hasNext)!;
  const runs = Promise.withResolvers<void>();
  const end = Promise.withResolvers<Result | 'revoked'>();
  const { session } = w;
  let key = '';
  chunk.run = async (_w, run, _task, tally, sink) => {
    // A start asks for a heartbeat that was confirmed lately.
    if (!w.oracle.mayStart(session)) {
      await w.p.q.fsx.list(w.p.q.lay.session(session)).catch(() => undefined);
      if (!w.oracle.mayStart(session) || w.session !== session) {
        w.real.unbegun.add(run.key);
        return;
      }
    }
    if (run.cause !== null || w.session !== session) {
      if (run.cause !== 'revoked' && w.session === session)
        await sink.settle({ ended: { how: 'cause', kind: 'canceled' }, started: false, info: null, tally });
      return;
    }
    w.oracle.arrays.start(session, run.claimed.id, run.claimed.attempt);
    run.begun = true;
    run.startedAt = Math.round(w.p.world.nowMs);
    run.end = (cause) => void (run.cause ??= cause);
    runs.resolve();
    const result = await end.promise;
    run.finishing = true;
    if (result === 'revoked' || run.cause === 'revoked') return;
    await sink.settle({ ...result, tally });
  };
  const made = (run: Run): void => {
    key = run.key;
    w.real.runs.set(key, run);
    w.elements.set(key, { run, finish: end.resolve, done });
  };
  let failed: { error: unknown } | undefined;
  const gate = Promise.withResolvers<void>();
  const done: Promise<void> = gate.promise;
  void (async () => {
    try {
      await runNext(w.real, chunk, 0, made);
    } catch (error) {
      failed = { error };
    }
    w.elements.delete(key);
    w.real.runs.delete(key);
    runs.resolve();
    gate.resolve();
  })();
  await runs.promise;
  if (failed !== undefined) throw failed.error;
}

async function finishElement(w: SimWorker, key: string, how: 'chance' | 'succeed' | 'fail' | 'hand back' | 'revoke'): Promise<void> {
  const e = w.elements.get(key);
  if (e === undefined) return;
  const { rng } = w.p.world;
  let ended: Ended = { how: 'exited', code: 0 };
  if (e.run.cause === 'canceled') ended = { how: 'cause', kind: 'canceled' };
  else if (how === 'fail') ended = { how: 'exited', code: 1 };
  else if (how === 'hand back') ended = { how: 'cause', kind: 'preempted' };
  else if (how === 'chance')
    ended = rng.pick<Ended>([ended, ended, { how: 'exited', code: 1 }, { how: 'exited', code: 75 }, { how: 'cause', kind: 'preempted' }]);
  w.oracle.arrays.end(e.run.claimed.id);
  e.finish(how === 'revoke' ? 'revoked' : { ended, started: true, info: null, tally: newTally() });
  await e.done;
}

async function startOne(w: SimWorker): Promise<void> {
  const { q } = w.p;
  const c = w.pending.shift()!;
  const fd = await openLog(w, c);
  if (fd === undefined) return;
  fs.closeSync(fd);
  const task = await readTaskAt(q, c.file, c.id);
  if (task === undefined) return;
  if (task.many !== undefined && (await wasEnded(w.real, newRun(c, 0), task))) return;
  const tally = await tallyBefore(q, c.id, c.attempt);
  const run: Single = { claimed: c, task, tally, canceled: false, kept: undefined };
  const now = await serverNow(q);
  if (task.expiresAt !== undefined && now >= task.expiresAt && tally.firstStartedAt === null) {
    await writeWhy(q, c.id, c.attempt, 'skipped', { at: now, by: null, reason: 'expired' });
    run.kept = await outcomeOf(w, run, { how: 'rejected', reason: 'expired', exitCode: null }, false, {
      state: 'skipped',
      reason: 'expired',
    });
    await settleRun(w, run);
    return;
  }
  // A start asks for a heartbeat that was confirmed lately: then nobody has given this session up.
  if (!w.oracle.mayStart(w.session)) {
    w.runs.set(nameOf(c), run);
    await beat(w);
    if (w.session === '' || !w.runs.delete(nameOf(c))) return;
  }
  // Who was silent for a lease since the claim may have been given up meanwhile, as far as the outcome.
  if (w.oracle.wasCondemned(w.session, c.atStep) && (await readOutcome(q, c.id, c.attempt)) !== undefined) return;
  if (!w.oracle.mayStart(w.session)) return;
  w.oracle.start(w.p, w.session, c.id, c.attempt);
  w.runs.set(nameOf(c), run);
}

async function openLog(w: SimWorker, c: Claimed): Promise<number | undefined> {
  const { q } = w.p;
  for (let look = 0; ; look++) {
    try {
      return await q.fsx.openLog(q.lay.log(c.id, c.attempt));
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return undefined;
      if (!isGone(error) || look > 0) throw error;
      await mkdirp(q.fsx, q.lay.runs(c.id));
    }
  }
}

async function finishOne(w: SimWorker, name: string, how: 'chance' | 'succeed' | 'fail' | 'hand back'): Promise<void> {
  const run = w.runs.get(name)!;
  if (run.kept === undefined) {
    const { rng } = w.p.world;
    let ended: Ended = { how: 'exited', code: 0 };
    if (run.canceled) ended = { how: 'cause', kind: 'canceled' };
    else if (how === 'fail') ended = { how: 'exited', code: 1 };
    else if (how === 'hand back') ended = { how: 'cause', kind: 'preempted' };
    else if (how === 'chance')
      ended = rng.pick<Ended>([ended, ended, { how: 'exited', code: 1 }, { how: 'exited', code: 75 }, { how: 'cause', kind: 'preempted' }]);
    run.kept = await outcomeOf(w, run, ended, true);
    w.oracle.end(run.claimed.id, run.claimed.attempt);
  }
  await settleRun(w, run);
}

/** What cannot be settled now is kept in its list and tried again. */
async function settleRun(w: SimWorker, run: Single): Promise<void> {
  w.runs.set(nameOf(run.claimed), run);
  await settle(w.p.q, w.session, run.kept!, run.task);
  w.runs.delete(nameOf(run.claimed));
}

async function outcomeOf(w: SimWorker, run: Single, ended: Ended, started: boolean, next?: Next): Promise<Outcome> {
  const { task, tally: before, claimed } = run;
  const endedAt = Math.round(await serverNow(w.p.q));
  const { outcome, reason } = classify(task, ended);
  const decided = decideNext({
    task,
    ended,
    tally: before,
    worker: w.p.name,
    started,
    startedAt: started ? endedAt : null,
    endedAt,
    snoozeMs: 20,
    random: Math.random,
  });
  return {
    schema: 'tq.outcome/1',
    id: task.id,
    attempt: claimed.attempt,
    nonce: randomText(12),
    outcome,
    started,
    worker: w.p.name,
    session: w.session,
    host: w.p.host,
    pid: null,
    startedAt: started ? endedAt : null,
    endedAt,
    durationMs: 0,
    exitCode: ended.how === 'exited' ? ended.code : null,
    signal: null,
    cpuMs: null,
    maxRssKb: null,
    reason,
    next: next ?? decided.next,
    tally: decided.tally,
  };
}

/** The heartbeat's look at the own directory. True: something was found to do. */
async function beat(w: SimWorker): Promise<boolean> {
  const { q } = w.p;
  const before = new Set([...w.runs.keys(), ...w.pending.map(nameOf), ...w.real.chunks.map(keyOf)]);
  let names: string[];
  try {
    names = await q.fsx.list(q.lay.session(w.session));
  } catch (error) {
    if (!isGone(error)) throw error;
    await rise(w);
    return true;
  }
  const entries = names.map(parseEntry).filter((e) => e !== undefined);
  const there = new Set(entries.filter((e) => !e.cancel).map((e) => `${e.id}.a${e.n}`));
  if (!(await dropMissing(w, before, there))) return true;
  let busy = false;
  for (const e of entries) {
    if (!e.cancel) continue;
    const name = `${e.id}.a${e.n}`;
    const run = w.runs.get(name);
    if (run !== undefined) run.canceled = true;
    else if (await cancelOfChunk(w.real, e)) busy = true;
    else if (!there.has(name) && w.real.closing.size === 0) {
      busy = true;
      await carryCancel(q, w.session, e.id, e.n);
    }
  }
  for (const e of entries) {
    const name = `${e.id}.a${e.n}`;
    if (e.cancel || before.has(name) || w.real.closing.size > 0 || w.real.chunks.some((c) => keyOf(c) === name)) continue;
    busy = true;
    if (e.cut !== undefined) await finishCut(q, w.session, e.id, e.cut, e.n);
    await settleLost(
      q,
      w.session,
      e.id,
      e.n,
      'claimed, but never started',
      entries.some((c) => c.cancel && c.id === e.id && c.n === e.n),
    );
  }
  return busy;
}

/** What is not there any more was given away: its processes end. False: the session is gone. */
async function dropMissing(w: SimWorker, before: ReadonlySet<string>, there: ReadonlySet<string>): Promise<boolean> {
  if ([...before].every((name) => there.has(name))) {
    w.oracle.confirm(w.session);
    return true;
  }
  let again: Set<string>;
  try {
    again = new Set(await strongList(w.p.q.fsx, w.p.q.lay.session(w.session)));
  } catch (error) {
    if (!isGone(error)) throw error;
    await rise(w);
    return false;
  }
  for (const name of before) {
    if (again.has(`${name}.json`)) continue;
    const run = w.runs.get(name);
    if (run !== undefined) w.oracle.end(run.claimed.id, run.claimed.attempt);
    w.runs.delete(name);
    w.pending = w.pending.filter((c) => nameOf(c) !== name);
    for (const [key, element] of w.elements) if (keyOf(element.run.chunk!) === name) await finishElement(w, key, 'revoke');
    w.real.chunks = w.real.chunks.filter((c) => keyOf(c) !== name);
  }
  w.oracle.confirm(w.session);
  return true;
}

/** Buried: what it ran is ended, and a new session begins. */
async function rise(w: SimWorker): Promise<void> {
  for (const run of w.runs.values()) w.oracle.end(run.claimed.id, run.claimed.attempt);
  w.runs.clear();
  w.pending = [];
  w.window = emptyWindow();
  w.session = '';
  // What it held is for others to take back, its directory being gone.
  w.shares.clear();
  w.doubt = [];
  for (const key of w.elements.keys()) await finishElement(w, key, 'revoke');
  dropChunks(w.real);
}

/** What was claimed but not begun goes back. */
async function handBack(w: SimWorker): Promise<void> {
  const c = w.pending.shift()!;
  await settleLost(w.p.q, w.session, c.id, c.attempt, 'handed back before it began', false);
}

async function leave(w: SimWorker): Promise<boolean> {
  if (w.session === '') return true;
  await giveBackChunks(w.real, true);
  for (const key of w.elements.keys()) await finishElement(w, key, 'hand back');
  while (w.pending.length > 0) await handBack(w);
  for (const name of [...w.runs.keys()]) await finishOne(w, name, 'hand back');
  await beat(w);
  if (w.session === '') return true;
  await returnIdle(w);
  return (await bury(w.p.q, w.session, { proved: true, reason: 'left' })) === 'buried';
}
