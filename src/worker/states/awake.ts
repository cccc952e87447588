/** awake: claims tasks and runs them, until something else is asked and the running ones are done. */
import fs from 'node:fs';
import os from 'node:os';
import { claim, distrustListings, emptyWindow, RevokedError, type Candidate, type Claimed } from '../../queue/claim.ts';
import { entriesOf, dues } from '../../queue/find.ts';
import { isTrue } from '../../queue/follow.ts';
import { sweepWaiting } from '../../queue/depend.ts';
import { sweepGroups } from '../../queue/groups.ts';
import { finishIntents } from '../../queue/intent.ts';
import { promoteDue } from '../../queue/promote.ts';
import { readOutcome, readTaskAt } from '../../queue/outcome.ts';
import { serverNow } from '../../queue/clock.ts';
import { settleLost } from '../../queue/bury.ts';
import { laneOf } from '../../queue/task-file.ts';
import { isGone } from '../../queue/fsx.ts';
import { headOf } from '../../queue/head.ts';
import { baseId, entryName, isPiece, queueOfLane } from '../../queue/layout.ts';
import { pausedQueues } from '../../queue/pause.ts';
import { formatSize } from '../../task/size.ts';
import { userOf } from '../../system.ts';
import { acknowledge, holdsUntil, type StateModule } from '../machine.ts';
import { canServe, couldTake, readRequirements } from '../others.ts';
import { heartbeat, publishState, readRequest } from '../heartbeat.ts';
import { giveBackChunks, hasNext, keyOf, openPiece, runNext, type Chunk } from '../chunk.ts';
import { runAttempt } from '../run-task.ts';
import { admits, considerRoom, noteRoom, reservedFor } from '../reserve.ts';
import { freeMemory } from '../resources.ts';
import { beginLook, endLook, laneHasShares, lanesInWait, passShares, returnIdle, takeFor } from '../shares.ts';
import { spawnTask, sweepGroup } from '../child.ts';
import { endRun, freeSlots, jittered, newRun, pause, sayOnce, wake, type Run, type Worker } from '../worker.ts';
import type { WorkerState } from '../../queue/registry.ts';
import type { Needs } from '../../task/types.ts';

/** Rejections within this time that send a worker to `error`. */
const REJECTIONS = 5;
const REJECTION_WINDOW_MS = 300_000;
/** Not more than this much work is claimed ahead of a free slot, ms, and not more tasks. */
const AHEAD_MS = 100;
const MOST_AHEAD = 64;
/** What was claimed ahead goes back when no attempt has begun or ended for so long, ms. */
const HOARDED_MS = 5 * AHEAD_MS;
/** Due tasks that are moved before the next look at anything else. */
const PROMOTED_AT_ONCE = 1000;
/** How long the last look through what waits may take, ms. */
const LAST_SWEEP_MS = 2000;
/** How long a failed task is left for others, ms from when it was due. */
const AVOID_MS = 60_000;

export const awake: StateModule = {
  name: 'awake',
  async run(w) {
    w.base = 'awake';
    w.lastBusyMs = performance.now();
    await heartbeat(w);
    for (;;) {
      const next = await turn(w);
      if (next !== null) return next;
    }
  },
};

/** One round: obey, leave, claim, start, sleep. Null: stay awake. */
async function turn(w: Worker): Promise<WorkerState | null> {
  await returnIdle(w);
  if (w.blocked === 'error') return 'error';
  if (!w.q.network) await readRequest(w).catch(() => undefined);
  const asked = await obey(w);
  if (asked !== null) return asked;
  if (w.request !== null) {
    await sleepUntilSomething(w);
    return null;
  }
  let took = 0;
  try {
    if (await tooManyRejections(w)) return 'error';
    if (await leaving(w)) return 'offline';
    await promote(w);
    took = await fill(w);
    if (took === 0 && w.runs.size === 0 && w.closing.size === 0 && w.options.untilEmpty && w.blocked === null && (await nothingLeft(w)))
      return 'offline';
  } catch (error) {
    if (error instanceof RevokedError) {
      await pause(w, jittered(Math.min(1000, w.options.pollMs)));
      return null;
    }
    w.reason = `the queue cannot be used: ${error instanceof Error ? error.message : String(error)}`;
    return 'error';
  }
  if (freeSlots(w) > 0 && (took > 0 || hasPending(w))) return null;
  await giveBackChunks(w, false);
  // Claimed ahead of slots that then stayed busy: others may have one free.
  if (w.pending.length > 0 && performance.now() - w.lastBusyMs >= HOARDED_MS) await handBackPending(w);
  await sleepUntilSomething(w);
  return null;
}

/** Carries a request out as far as it can be now; the state to go to when it is done. */
async function obey(w: Worker): Promise<WorkerState | null> {
  const r = w.request;
  if (r === null) return null;
  if (r.to === 'awake') {
    if (r.from === 'want') w.baseUntil = holdsUntil(w, r.until);
    await acknowledge(w);
    return null;
  }
  if (r.to === 'restart' && w.options.restartExitCode === null) {
    w.log('restart was asked, but this worker has no --restart-exit-code: ignored');
    await acknowledge(w);
    return null;
  }
  await handBackPending(w);
  if (r.now) for (const run of w.runs.values()) endRun(run, 'preempted');
  await publishState(w).catch(() => undefined);
  if (w.runs.size > 0) return null;
  if (r.to === 'asleep' && r.from === 'want') w.baseUntil = holdsUntil(w, r.until);
  await acknowledge(w);
  return r.to;
}

/** When each worker looked at `delayed/` last, monotonic ms. */
const lookedAtDue = new WeakMap<Worker, number>();

/** Moves due tasks, as soon as the first of them is due and at least once a poll (which comes up to a tenth early). */
async function promote(w: Worker): Promise<void> {
  const since = performance.now() - (lookedAtDue.get(w) ?? Number.NEGATIVE_INFINITY);
  if (since < 0.85 * w.options.pollMs && (await serverNow(w.q)) < w.lookAtDueAt) return;
  lookedAtDue.set(w, performance.now());
  const { promoted, nextDueAt } = await promoteDue(w.q, PROMOTED_AT_ONCE);
  w.lookAtDueAt = nextDueAt ?? Number.POSITIVE_INFINITY;
  if (promoted > 0) w.window = emptyWindow();
}

async function sleepUntilSomething(w: Worker): Promise<void> {
  const poll = jittered(w.options.pollMs);
  // While a request is pending nothing that comes due is taken: waking for it would be a busy loop.
  if (w.request !== null) return pause(w, poll);
  const now = performance.now();
  let ms = Math.min(poll, Math.max(1, w.lookAtDueAt - (await serverNow(w.q).catch(() => 0))));
  if (w.options.idleMs !== null && w.runs.size === 0) ms = Math.min(ms, Math.max(10, w.lastBusyMs + w.options.idleMs - now));
  if (hasPending(w)) ms = Math.min(ms, HOARDED_MS);
  if (w.options.timeLimitMs !== null) ms = Math.min(ms, Math.max(10, w.startedMs + w.options.timeLimitMs - now));
  await pause(w, ms);
}

/** Reasons of its own to leave. The time limit hands the running tasks back; the others wait for them. */
async function leaving(w: Worker): Promise<boolean> {
  const { options } = w;
  const now = performance.now();
  if (options.timeLimitMs !== null && now - w.startedMs >= options.timeLimitMs) {
    atTimeLimit(w);
    return false;
  }
  if (options.maxTasks !== null && w.started >= options.maxTasks && w.pending.length === 0) {
    w.request = { to: 'offline', now: false, until: null, from: 'limit', text: '' };
    return w.runs.size === 0;
  }
  return options.idleMs !== null && w.runs.size === 0 && w.pending.length === 0 && now - w.lastBusyMs >= options.idleMs;
}

/** Hands back what runs. An outcome that cannot be published by now is left on the local disk. */
export function atTimeLimit(w: Worker): void {
  w.request = { to: 'offline', now: true, until: null, from: 'limit', text: '' };
  w.stopping = true;
}

/** Claims for the free slots and a little ahead, and starts what fits. Returns how many were started. */
async function fill(w: Worker): Promise<number> {
  let started = startPending(w);
  const free = freeSlots(w);
  if (free > 0 && !hasPending(w)) {
    if (!(await allowed(w))) return started;
    await claimMore(w, free);
    started += startPending(w);
  }
  return started;
}

async function claimMore(w: Worker, free: number): Promise<void> {
  let want = free + ahead(w);
  if (w.options.maxTasks !== null) want = Math.min(want, w.options.maxTasks - w.started);
  if (w.options.only !== null) want = Math.min(want, 1);
  if (want <= 0) return;
  w.claiming = true;
  w.claimEpoch++;
  w.leftForOthers = 0;
  try {
    await heedPauses(w);
    await beginLook(w);
    if (await considerRoom(w, (lane) => fits(w, lane))) await publishState(w).catch(() => undefined);
    const rules = {
      // A lane for which nothing is free now is not even listed: it may be long.
      serves: async (lane: string) => (await serves(w, lane)) && (await hasRoom(w, lane)) && (await laneHasShares(w, lane)),
      admits: (lane: string, priority: number) => admits(w, lane, priority),
      leave: async (c: Candidate) => (await leaveIt(w, c)) || !(await takeFor(w, c)),
      has: (id: string, attempt: number) =>
        w.runs.has(`${id}.a${attempt}`) ||
        w.chunks.some((c) => keyOf(c) === `${id}.a${attempt}`) ||
        w.pending.some((c) => c.id === id && c.attempt === attempt),
      // A slot that gets free meanwhile takes what is pending: never a range that was not cut yet.
      taken: (c: Claimed) => void (isPiece(c.id) ? w.opening : w.pending).push(c),
    };
    await claim(w.q, w.session, w.window, rules, want);
    await openPieces(w, free);
  } finally {
    w.claiming = false;
    w.claimEpoch++;
    await endLook(w);
  }
}

/** Of a range of elements only what can begin now is kept. */
async function openPieces(w: Worker, free: number): Promise<void> {
  while (w.opening.length > 0) {
    const c = w.opening[0]!;
    try {
      const singles = await openPiece(w, c, Math.max(1, free - w.pending.length));
      if (singles.length === 1) passShares(w, `${c.id}.a${c.attempt}`, `${singles[0]!.id}.a${c.attempt}`);
      w.pending.push(...singles);
    } finally {
      w.opening.shift();
    }
  }
}

/** A queue that is paused by now: nothing more of it is listed, and what was claimed ahead goes back. */
async function heedPauses(w: Worker): Promise<void> {
  const before = paused.get(w);
  const now = performance.now();
  // Over a network a look is strong, and so only made when somebody has rung, as who pauses does; by hand it takes longer.
  if (w.q.network && before !== undefined && before.bell === w.bell && now - before.atMs < PAUSES_KEPT_MS) return;
  const { bell } = w;
  const names = await pausedQueues(w.q);
  paused.set(w, { names, bell, atMs: now });
  if (names.join('/') === (before?.names ?? []).join('/')) return;
  w.window = emptyWindow();
  if (w.pending.some((c) => isPaused(w, c.lane))) await handBackPending(w);
}

const PAUSES_KEPT_MS = 30_000;
const paused = new WeakMap<Worker, { names: string[]; bell: string; atMs: number }>();

function isPaused(w: Worker, lane: string): boolean {
  const names = paused.get(w)?.names ?? [];
  return names.length > 0 && names.includes(queueOfLane(lane));
}

async function hasRoom(w: Worker, lane: string): Promise<boolean> {
  const there = await fits(w, lane);
  if (!there || (await readRequirements(w.q, lane)).needs !== undefined) noteRoom(w, lane, there);
  return there;
}

/** How many tasks the slots get through in `AHEAD_MS`; none until it is known how fast they end. */
function ahead(w: Worker): number {
  if (w.averageMs === null || w.options.gate !== null) return 0;
  const inTime = Math.floor((w.options.jobs * AHEAD_MS) / Math.max(1, w.averageMs));
  return Math.max(0, Math.min(MOST_AHEAD, inTime - w.options.jobs));
}

/** A worker for one task takes nothing else; of an array all elements. */
function isWanted(w: Worker, id: string): boolean {
  return w.options.only === null || id === w.options.only || baseId(id) === w.options.only;
}

async function serves(w: Worker, lane: string): Promise<boolean> {
  const r = await readRequirements(w.q, lane);
  return w.file !== null && !isPaused(w, lane) && canServe(w.file, r) && (r.user === undefined || runsFor(w, r.user));
}

function runsFor(w: Worker, uid: number): boolean {
  const { runUsers } = w.options;
  if (runUsers === 'any') return true;
  return runUsers === null ? uid === process.getuid?.() : runUsers.includes(userOf(uid));
}

/** Whether to leave a candidate for now: it failed or was rejected here and others could take it, or it does not fit the time. */
async function leaveIt(w: Worker, c: Candidate): Promise<boolean> {
  if (!isWanted(w, c.id)) return true;
  if (!(await hasRoom(w, c.lane))) return true;
  if (w.options.timeLimitMs !== null && !(await fitsTimeLimit(w, c))) return true;
  if (w.q.config.shared && !(await mayRun(w, c))) return true;
  if (c.n === 0) return false;
  const o = await readOutcome(w.q, c.id, c.n);
  if (o === undefined) return false;
  const rejectedHere = o.tally.rejectedBy.includes(w.options.name);
  const failedHere =
    o.worker === w.options.name &&
    (o.outcome === 'failed' || o.outcome === 'signaled' || o.outcome === 'timeout' || o.outcome === 'stalled');
  if (!rejectedHere && !failedHere) return false;
  const others = await couldTake(w, c.lane);
  if (rejectedHere) {
    if (others.some((name) => !o.tally.rejectedBy.includes(name))) {
      w.leftForOthers++;
      return true;
    }
    return false;
  }
  const dueAt = o.next.state === 'delayed' ? o.next.dueAt : o.endedAt;
  if (others.length === 0 || (await serverNow(w.q)) > dueAt + AVOID_MS) return false;
  w.leftForOthers++;
  return true;
}

/** Whether what the lane asks for is free here now: what runs and what is claimed for it has been taken off. */
async function fits(w: Worker, lane: string): Promise<boolean> {
  const asked = (await readRequirements(w.q, lane)).needs ?? ONE_CPU;
  const offers = w.file?.offers ?? {};
  const taken = [...[...w.runs.values()].map((r) => r.claimed.lane), ...w.pending.map((c) => c.lane)];
  // The rule: every task takes one cpu, and there are as many as slots. (A lane that asks for more has `~` in its name.)
  if (asked === ONE_CPU && (offers['cpus'] ?? 0) >= w.options.jobs && !taken.some((name) => name.includes('~'))) return true;
  const used: Record<string, number> = {};
  for (const name of taken) {
    for (const [what, n] of Object.entries((await readRequirements(w.q, name)).needs ?? ONE_CPU)) used[what] = (used[what] ?? 0) + (n ?? 0);
  }
  for (const [what, n] of Object.entries(asked)) if ((n ?? 0) > (offers[what] ?? 0) - (used[what] ?? 0) + 1e-9) return false;
  return true;
}

const ONE_CPU: Needs = { cpus: 1 };

/** On a queue that others can write to, a task is run only for the users that `--run-users` names, by default the worker's own. */
async function mayRun(w: Worker, c: Candidate): Promise<boolean> {
  if (w.options.runUsers === 'any') return true;
  const file = `${c.dir}/${entryName(c.id, c.n)}`;
  try {
    const { user } = await readRequirements(w.q, c.lane);
    if (user === undefined) return runsFor(w, (await w.q.fsx.stat(file)).uid);
    // Made by another user, in the name of one whose tasks are run here: it must say what that one's task says.
    const task = await readTaskAt(w.q, file, c.id);
    return task === undefined || (task.cause?.owner === user && (await isTrue(w.q, task)));
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

async function fitsTimeLimit(w: Worker, c: Candidate): Promise<boolean> {
  const task = await readTaskAt(w.q, `${c.dir}/${entryName(c.id, c.n)}`, c.id);
  if (task?.timeoutMs === undefined) return true;
  return performance.now() - w.startedMs + task.timeoutMs <= w.options.timeLimitMs!;
}

/** Gate, load and memory: asked before each claim. */
async function allowed(w: Worker): Promise<boolean> {
  if (w.blocked === 'error') return false;
  const { options } = w;
  const before = w.blocked;
  w.blocked = null;
  const closed = options.gate !== null && !(await gateIsOpen(w, options.gate));
  if (closed) w.blocked = `gate: ${options.gate}`;
  if (options.maxLoad !== null && os.loadavg()[0]! > options.maxLoad)
    w.blocked = `load is ${os.loadavg()[0]!.toFixed(2)}, --max-load ${options.maxLoad}`;
  if (options.minFreeMem !== null && freeMemory() < options.minFreeMem)
    w.blocked = `less than ${formatSize(options.minFreeMem)} of memory is free (--min-free-mem)`;
  if (w.blocked !== before) await publishState(w).catch(() => undefined);
  return w.blocked === null;
}

/** Asked while everything else goes on, the heartbeat above all; who wants the worker to leave does not wait for the answer. */
async function gateIsOpen(w: Worker, gate: string): Promise<boolean> {
  const sink = fs.openSync('/dev/null', 'r+');
  const env = { ...process.env, TQ_DIR: w.q.dir, TQ_WORKER: w.options.name } as Record<string, string>; // no variable that is there is undefined
  const child = spawnTask({ argv: ['/bin/sh', '-c', gate], cwd: workingDirectory(), env, stdin: 'null', stdout: sink, stderr: sink });
  fs.closeSync(sink);
  if (child.kind === 'rejected') return false;
  w.guardian?.watch(child.pid, 'gate', 0);
  const impatient = setInterval(() => {
    if (w.request !== null && w.request.to !== 'awake') child.kill('SIGKILL');
  }, 50);
  const { code } = await child.exited;
  clearInterval(impatient);
  sweepGroup(child.pid);
  w.guardian?.unwatch(child.pid);
  return code === 0;
}

/** Somebody may have removed it. */
function workingDirectory(): string {
  try {
    return process.cwd();
  } catch {
    return '/';
  }
}

function startPending(w: Worker): number {
  let n = 0;
  while (freeSlots(w) > 0) {
    const chunk = w.chunks.find(hasNext);
    if (w.pending.length > 0) start(w, w.pending.shift()!);
    else if (chunk !== undefined) startElement(w, chunk);
    else break;
    n++;
  }
  return n;
}

/** Whether something is claimed that has not begun. */
function hasPending(w: Worker): boolean {
  return w.pending.length > 0 || w.chunks.some(hasNext);
}

function startElement(w: Worker, chunk: Chunk): void {
  inSlot(w, chunk.piece.base, async (slot, made) => runNext(w, chunk, slot, made));
}

function start(w: Worker, claimed: Claimed): void {
  inSlot(w, claimed.id.includes('.') ? baseId(claimed.id) : null, async (slot, made) => {
    const run = newRun(claimed, slot);
    made(run);
    await runAttempt(w, run);
  });
}

/** Takes a slot for as long as something runs in it. `array`: whose elements' times it counts for. */
function inSlot(w: Worker, array: string | null, work: (slot: number, made: (run: Run) => void) => Promise<void>): void {
  const slot = w.slots.indexOf(false);
  w.slots[slot] = true;
  w.started++;
  w.lastBusyMs = performance.now();
  const began = performance.now();
  let run: Run | undefined;
  const settled = (async () => {
    try {
      await work(slot, (made) => {
        run = made;
        w.runs.set(made.key, made);
      });
    } catch (error) {
      const said = error instanceof Error ? error.message : String(error);
      w.log(`${run?.key ?? 'an element'}: could not be run: ${said}`);
      w.reason = `the queue cannot be used: ${said}`;
      w.blocked = 'error';
    }
    if (run !== undefined) w.runs.delete(run.key);
    w.slots[slot] = false;
    await returnIdle(w);
    const ms = performance.now() - began;
    w.averageMs = average(w.averageMs, ms);
    if (array !== null) w.elementMs.set(array, average(w.elementMs.get(array) ?? null, ms));
    w.lastBusyMs = performance.now();
    // The slot is filled again at once from what is claimed already; only when that is used up the loop is woken.
    if (w.state === 'awake' && w.request === null && w.blocked === null && hasPending(w)) startPending(w);
    else wake(w);
    if (!hasPending(w)) wake(w);
  })();
  if (run !== undefined) run.settled = settled;
}

function average(before: number | null, ms: number): number {
  return before === null ? ms : before * 0.8 + ms * 0.2;
}

/** What was claimed but not begun goes back where it was. */
export async function handBackPending(w: Worker): Promise<void> {
  await giveBackChunks(w, true);
  while (w.pending.length > 0) {
    const c = w.pending.shift()!;
    await settleLost(w.q, w.session, c.id, c.attempt, 'handed back before it began', false).catch((error: unknown) =>
      w.log(`${c.id}: ${String(error)}`),
    );
  }
  await returnIdle(w);
}

async function tooManyRejections(w: Worker): Promise<boolean> {
  const now = performance.now();
  w.rejections = w.rejections.filter((at) => now - at < REJECTION_WINDOW_MS);
  if (w.rejections.length < REJECTIONS) return false;
  const others = await couldTake(w, w.options.queues[0]!);
  if (others.length === 0) return false;
  w.reason = `${w.rejections.length} tasks could not be started here in ${REJECTION_WINDOW_MS / 60_000} minutes`;
  w.rejections = [];
  return true;
}

/** For `--until-empty`: nothing in the served lanes, nothing left for others, and none of them in back-off or snooze. */
async function nothingLeft(w: Worker): Promise<boolean> {
  const { q } = w;
  w.window = emptyWindow();
  distrustListings(q);
  try {
    await finishIntents(q, w.facts, w.session);
    await sweepGroups(q, w.session);
  } catch (error) {
    sayOnce(w, 'finishing what others began', error);
  }
  await promoteDue(q);
  // What a crash left half released is found here at the latest: nobody may come after this worker.
  await sweepWaiting(q, performance.now() + LAST_SWEEP_MS);
  await claimMore(w, 1);
  if (hasPending(w) || w.leftForOthers > 0 || reservedFor(w) !== null) return false;
  // Whoever has the share now gives it back.
  for (const lane of lanesInWait(w)) if ((await headOf(q, lane)) !== undefined) return false;
  for (const dueAt of await dues(q, q.network)) {
    for await (const at of entriesOf(q, { state: 'delayed', dueAt })) {
      if (at.n === 0 || !isWanted(w, at.id)) continue;
      const task = await readTaskAt(q, at.file, at.id);
      if (task === undefined || !(await serves(w, laneOf(task)))) continue;
      // A retry asked by a person with --in is a delay like at submit; a back-off or a snooze has an outcome.
      if ((await readOutcome(q, at.id, at.n)) !== undefined) return false;
    }
  }
  return true;
}
