/**
 * One attempt from its claim to its end: the log (the second fence), the processes, the limits on them, the outcome. Nothing
 * here decides where the task goes next; that is `task/decide.ts`, and the move is `queue/outcome.ts`.
 */
import fs from 'node:fs';
import { errnoOf } from '../errors.ts';
import { retriedBetween } from '../queue/cancel.ts';
import type { Claimed } from '../queue/claim.ts';
import { serverNow } from '../queue/clock.ts';
import { settleLost } from '../queue/bury.ts';
import { noteStart } from '../queue/groups.ts';
import { mkdirp, isGone, isOfEntry } from '../queue/fsx.ts';
import { baseId, cancelName, randomText } from '../queue/layout.ts';
import { nameIsThere, readClaimed, settle, tallyBefore } from '../queue/outcome.ts';
import { spool, unspool } from '../queue/spool.ts';
import { writeWhy } from '../queue/why.ts';
import { classify, deadlineAt, decideNext, type Ended } from '../task/decide.ts';
import { parseDuration } from '../task/duration.ts';
import type { Next, Outcome, Tally, Task } from '../task/types.ts';
import { endTree, spawnTask, sweepGroup, type ExitInfo, type SpawnedTask, type SpawnRejection, type SpawnSpec } from './child.ts';
import { afterFailure } from './chunk.ts';
import { handlerProgram } from './handlers.ts';
import { everyoneElseRejected } from './others.ts';
import { heartbeat, queueIsThere } from './heartbeat.ts';
import { heartbeatMs } from './machine.ts';
import { bootClockMs } from './proc.ts';
import { layInputs } from './inputs.ts';
import { givePlaceBack, leftIn, parseProgress, parseResult, readReport, takePlace, type Place } from './scratch.ts';
import { goesOn, insist, progressOf, stepsSoFar, type StepsSoFar } from './step-by-step.ts';
import { noteBegun } from './shares.ts';
import { closeStateDir, openStateDir } from './state-dir.ts';
import { taskEnv } from './task-env.ts';
import { elementAt, wasEnded } from './element.ts';
import type { Cause, Run, Worker } from './worker.ts';

/** How the start of an attempt ended when no outcome came of it. */
export type NotRun = 'fenced' | 'gone';

/** Runs a claimed attempt to its end. Resolves when its entry has been settled or was found to be somebody else's. Throws file system errors of the start; then nothing ran. */
export async function runAttempt(w: Worker, run: Run): Promise<void> {
  const { q } = w;
  const { id, attempt } = run.claimed;
  const logFd = await openLog(w, run.claimed);
  if (logFd === undefined) return;
  let errFd: number | undefined;
  try {
    const task = await readClaimed(q, run.claimed.file, id);
    if (task === undefined) return;
    if (task.submission !== undefined && (await endedWithOthers(w, run, task.submission))) return;
    if (await expired(w, run, task)) return;
    if (task.many !== undefined && (await wasEnded(w, run, task))) return;
    const element = task.many === undefined ? undefined : await elementAt(q, task, task.many);
    const tally = await tallyBefore(q, id, attempt);
    if (await pastDeadline(w, run, task, tally)) return;
    if (task.split) errFd = await q.fsx.openLog(q.lay.errLog(id, attempt));
    await runOwn(w, run, element?.task ?? task, tally, logFd, errFd, element?.env ?? {});
  } catch (error) {
    // The next heartbeat gives it back, and must not take its log for a start.
    if (!run.begun) w.unbegun.add(run.key);
    throw error;
  } finally {
    fs.closeSync(logFd);
    if (errFd !== undefined) fs.closeSync(errFd);
  }
}

/** The second fence: the log is created with O_EXCL. Undefined: it was there, so this attempt is not run here. */
async function openLog(w: Worker, c: Claimed): Promise<number | undefined> {
  const path = w.q.lay.log(c.id, c.attempt);
  for (let look = 0; ; look++) {
    try {
      return await w.q.fsx.openLog(path);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') {
        w.log(`${c.id}.a${c.attempt}: its log exists already: not run`);
        return undefined;
      }
      if (!isGone(error) || look > 0) throw error;
      await mkdirp(w.q.fsx, w.q.lay.runs(c.id));
    }
  }
}

/** One whose submission was ended by others since it was claimed does not begin. Otherwise the submission has begun, at the latest now. */
async function endedWithOthers(w: Worker, run: Run, submission: string): Promise<boolean> {
  const { q } = w;
  const { id, attempt } = run.claimed;
  if (await nameIsThere(q, q.lay.session(w.session), cancelName(id, attempt))) {
    await settleLost(q, w.session, id, attempt, 'canceled before it began', true, false);
    return true;
  }
  await noteStart(q, submission);
  return false;
}

/** A task that was not to be started any more is skipped instead. */
async function expired(w: Worker, run: Run, task: Task): Promise<boolean> {
  if (task.expiresAt === undefined) return false;
  const { q } = w;
  const now = await serverNow(q);
  const tally = await tallyBefore(q, task.id, run.claimed.attempt);
  if (now < task.expiresAt || tally.firstStartedAt !== null) return false;
  // Who runs it again by hand wants it now.
  if (await retriedBetween(q, task.id, 0, run.claimed.attempt)) return false;
  const reason = `expired: not started by ${new Date(task.expiresAt).toISOString()}`;
  await writeWhy(q, task.id, run.claimed.attempt, 'skipped', { at: now, by: null, reason });
  await settleWith(w, run, task, {
    ended: { how: 'rejected', reason, exitCode: null },
    started: false,
    info: null,
    tally,
    next: { state: 'skipped', reason },
  });
  return true;
}

/** A task whose deadline came while it waited ends here, without another attempt. */
async function pastDeadline(w: Worker, run: Run, task: Task, tally: Tally): Promise<boolean> {
  const deadline = deadlineAt(task, tally);
  if (deadline === null || (await serverNow(w.q)) < deadline) return false;
  await settleWith(w, run, task, { ended: { how: 'cause', kind: 'deadline' }, started: false, info: null, tally });
  return true;
}

/** Right before a start, with no call of the queue in between: a heartbeat confirmed within a third of the lease, else confirm first. */
async function confirmed(w: Worker): Promise<boolean> {
  // On a network file system the others go on while this machine sleeps.
  const boot = w.q.network && w.confirmedBootMs !== null ? bootClockMs() : null;
  const ageMs = Math.max(performance.now() - w.confirmedMs, boot === null ? 0 : boot - w.confirmedBootMs!);
  if (ageMs <= w.q.leaseMs / 3) return true;
  return (await heartbeat(w)) === 'ok';
}

/** What an attempt came to. */
export interface Result {
  ended: Ended;
  started: boolean;
  info: ExitInfo | null;
  tally: Tally;
  /** Instead of what `decideNext` says. */
  next?: Next;
  place?: Place;
  reports?: ReadonlySet<string>;
  /** The file whose last line tells what went wrong. */
  output?: string;
  /** Of a task with steps: how far it came. */
  steps?: StepsSoFar;
}

/** Where an attempt's output, state and outcome go. */
export interface Sink {
  logFd: number;
  errFd: number | undefined;
  /** The file whose last line tells what went wrong. */
  output: string;
  stateDir: string;
  /** Variables beside those that every task has. */
  env: Record<string, string>;
  /** Called with what it came to, unless the attempt was taken away. */
  settle(result: Result): Promise<void>;
}

async function runOwn(
  w: Worker,
  run: Run,
  task: Task,
  tally: Tally,
  logFd: number,
  errFd: number | undefined,
  env: Record<string, string>,
): Promise<void> {
  const { q } = w;
  const stateDir = q.lay.state(task.id);
  await openStateDir(q, stateDir);
  const output = task.split ? q.lay.errLog(task.id, run.claimed.attempt) : q.lay.log(task.id, run.claimed.attempt);
  const close = async (result: Result): Promise<void> => {
    // Before the entry moves: afterwards it may be the next attempt's.
    await closeStateDir(q, stateDir);
    await settleWith(w, run, task, result);
  };
  await runTask(w, run, task, tally, { logFd, errFd, output, stateDir, env, settle: close });
}

/** Runs the processes of an attempt and hands on what it came to. */
export async function runTask(w: Worker, run: Run, task: Task, tally: Tally, sink: Sink): Promise<void> {
  const { q } = w;
  const place = takePlace(w.scratch, run.key);
  run.progressFile = place.progress;
  const startedAt = await serverNow(q);
  let result: Result | 'unconfirmed';
  try {
    const env = { ...taskEnv(w, run, task, place, sink.stateDir, tally.fallback ?? null), ...sink.env };
    if (!(task.noInputs ?? false) && (task.after ?? []).length > 0) env['TQ_INPUTS'] ??= await layInputs(q, task, place.dir);
    result = await execute(w, run, task, tally, env, place, startedAt, sink.logFd, sink.errFd);
  } catch (error) {
    givePlaceBack(w.scratch, place, false);
    throw error;
  }
  if (result === 'unconfirmed') {
    w.unbegun.add(run.key);
    givePlaceBack(w.scratch, place, false);
    return;
  }
  run.finishing = true;
  const left = leftIn(place);
  if (run.cause === 'revoked') w.log(`${run.key}: ended and discarded`);
  else await sink.settle({ ...result, place, reports: left.reports, output: sink.output });
  givePlaceBack(w.scratch, place, left.clean);
  run.finishing = false;
}

async function execute(
  w: Worker,
  run: Run,
  task: Task,
  tally: Tally,
  env: Record<string, string>,
  place: Place,
  startedAt: number,
  logFd: number,
  errFd: number | undefined,
): Promise<Result | 'unconfirmed'> {
  const base = { tally, started: false, info: null };
  if (w.options.pre !== null) {
    if (!(await confirmed(w))) return 'unconfirmed';
    if (run.cause !== null) return { ...base, ended: byCause(w, run.cause) };
    const pre = await hook(w, run, task, w.options.pre, 'before', env, logFd, errFd);
    if (!pre.ok)
      return {
        ...base,
        ended: run.cause === null ? { how: 'rejected', reason: `pre hook: ${pre.reason}`, exitCode: 126 } : byCause(w, run.cause),
      };
  }
  const steps = task.steps !== undefined && tally.fallback === undefined ? await stepsSoFar(w.q, task, run.claimed.attempt) : undefined;
  const program = await prepare(w, task, place, tally, steps);
  if ('reason' in program) return { ...base, ended: { how: 'rejected', reason: program.reason, exitCode: 126 } };
  if (steps !== undefined) run.progress = progressOf(steps);
  const input = await openInput(w, task);
  if (typeof input === 'object') return { ...base, ended: { how: 'rejected', reason: input.reason, exitCode: input.exitCode } };
  const sure = await confirmed(w);
  if (!sure || run.cause !== null) {
    closeInput(input);
    return run.cause === null ? 'unconfirmed' : { ...base, ended: byCause(w, run.cause) };
  }
  run.begun = true;
  if (program.argv === undefined) {
    closeInput(input);
    // Its worker died after the last step, before it could say so.
    run.startedAt = startedAt;
    return { started: true, info: NOTHING_DONE, tally, ended: { how: 'exited', code: 0 }, steps: steps! };
  }
  const spec = { cwd: task.cwd, stdout: logFd, stderr: errFd ?? logFd };
  const envNow = (): Record<string, string> => (steps === undefined ? env : { ...env, TQ_STEP: String(steps.now) });
  const child = spawnFor(w, { ...spec, argv: program.argv, env: envNow(), stdin: input });
  if (child.kind === 'rejected') {
    await post(w, run, task, env, logFd, errFd);
    return { ...base, ended: { how: 'rejected', reason: child.reason, exitCode: child.exitCode } };
  }
  run.startedAt = startedAt;
  noteBegun(w, run);
  tellBegun(w, run, task.id, startedAt);
  // Why the next step could not be started, if it could not.
  let rejected: SpawnRejection | undefined;
  const following = async (ended: ExitInfo): Promise<SpawnedTask | null> => {
    if (steps === undefined || !(await goesOn(w, run, task, steps, ended, place, Math.round(await serverNowQuiet(w))))) return null;
    const again = await openInput(w, task);
    if (typeof again === 'object') {
      rejected = again;
      return null;
    }
    if (!(await insist(w, run, 'the next step waits for a heartbeat', () => mustBeConfirmed(w)))) {
      closeInput(again);
      return null;
    }
    // What it says begins here.
    steps.outputFrom = fs.fstatSync(spec.stderr).size;
    const next = spawnFor(w, { ...spec, argv: stepArgv(w, task, steps.now), env: envNow(), stdin: again });
    if (next.kind === 'spawned') return next;
    rejected = next;
    return null;
  };
  const info = await supervise(w, run, task, tally, startedAt, child, logFd, errFd, place, following);
  const ended: Ended =
    rejected !== undefined && run.cause === null
      ? { how: 'rejected', reason: rejected.reason, exitCode: rejected.exitCode }
      : endedBy(w, run, info);
  await post(w, run, task, env, logFd, errFd);
  return { started: true, info, tally, ended, ...(steps === undefined ? {} : { steps }) };
}

/** What runs in a chunk is told by that one's own journal. */
function tellBegun({ q, options }: Worker, run: Run, task: string, startedAt: number): void {
  if (run.chunk !== undefined) return;
  const { attempt } = run.claimed;
  q.journal?.step({ at: Math.round(startedAt), task, from: 'queued', to: 'running', attempt, worker: options.name });
}

const NOTHING_DONE: ExitInfo = { code: 0, signal: null, cpuMs: 0, maxRssKb: null, durationMs: 0 };

async function mustBeConfirmed(w: Worker): Promise<void> {
  if (!(await confirmed(w))) throw new Error('not confirmed');
}

/** The task's standard input, from its beginning. */
async function openInput(w: Worker, task: Task): Promise<number | 'null' | SpawnRejection> {
  if (task.stdin === undefined) return 'null';
  const path = w.q.lay.blob(task.stdin);
  try {
    return fs.openSync(path, 'r');
  } catch (error) {
    if (!(await isMissing(w, error))) throw error;
    const errno = errnoOf(error) ?? null;
    return { kind: 'rejected', reason: `standard input cannot be opened: ${path}: ${errno ?? String(error)}`, exitCode: 126, errno };
  }
}

function closeInput(input: number | 'null'): void {
  if (input !== 'null') fs.closeSync(input);
}

function spawnFor(w: Worker, spec: SpawnSpec): SpawnedTask | SpawnRejection {
  // Only a shared queue has a umask of its own.
  const inUmask = w.q.config.shared ? process.umask(w.options.umask) : undefined;
  const child = spawnTask(spec);
  if (inUmask !== undefined) process.umask(inUmask);
  closeInput(spec.stdin);
  return child;
}

function stepArgv(w: Worker, task: Task, step: number): string[] {
  return [task.shell ?? DEFAULT_SHELL, '-c', withVars(task.steps![step - 1]!, w.options.vars)];
}

const DEFAULT_SHELL = '/bin/sh';

/** A blob that is not there, or not for us, is the task's trouble; anything else is the queue's. */
async function isMissing(w: Worker, error: unknown): Promise<boolean> {
  return isOfEntry(error) || (errnoOf(error) === 'ENOENT' && (await queueIsThere(w)));
}

/**
 * The argv of a task: the command, `shell -c`, the stored script made executable in the scratch directory, the fallback, or the step
 * with which this attempt begins; undefined when all steps are finished.
 */
async function prepare(
  w: Worker,
  task: Task,
  place: Place,
  tally: Tally,
  steps: StepsSoFar | undefined,
): Promise<{ argv: string[] | undefined } | { reason: string }> {
  if (task.handler !== undefined && tally.fallback === undefined) return handlerProgram(w, task, place);
  if (tally.fallback !== undefined && task.fallback !== undefined)
    return { argv: [task.shell ?? DEFAULT_SHELL, '-c', withVars(task.fallback, w.options.vars)] };
  if (steps !== undefined) return { argv: steps.now > steps.total ? undefined : stepArgv(w, task, steps.now) };
  if (task.script !== undefined) {
    let text: Buffer;
    try {
      text = fs.readFileSync(w.q.lay.blob(task.script));
    } catch (error) {
      if (!(await isMissing(w, error))) throw error;
      return { reason: `the script cannot be read: ${w.q.lay.blob(task.script)}: ${errnoOf(error) ?? String(error)}` };
    }
    const file = `${place.dir}/script`;
    fs.writeFileSync(file, text, { mode: 0o700 });
    const hasBang = text.length > 2 && text[0] === 0x23 && text[1] === 0x21;
    return { argv: hasBang ? [file, ...task.command] : ['/bin/sh', file, ...task.command] };
  }
  const words = task.command.map((word) => withVars(word, w.options.vars));
  if (task.shell !== undefined) return { argv: [task.shell, '-c', ...words] };
  if (words.length === 0) return { reason: 'the task has no command' };
  return { argv: words };
}

/** `{var:store}` is what this worker was told with `--var store=...`; a task whose variables it lacks never comes here. */
function withVars(word: string, vars: Readonly<Record<string, string>>): string {
  return word.includes('{var:') ? word.replaceAll(/\{var:([A-Za-z0-9_]{1,64})\}/g, (whole, name: string) => vars[name] ?? whole) : word;
}

/** `when`: what ends a hook before the command is the attempt's end; after it the attempt has ended, and only a leaving worker ends the hook. */
async function hook(
  w: Worker,
  run: Run,
  task: Task,
  command: string,
  when: 'before' | 'after',
  env: Record<string, string>,
  logFd: number,
  errFd: number | undefined,
): Promise<{ ok: boolean; reason: string }> {
  const child = spawnTask({
    argv: ['/bin/sh', '-c', command],
    cwd: fs.existsSync(task.cwd) ? task.cwd : '/',
    env,
    stdin: 'null',
    stdout: logFd,
    stderr: errFd ?? logFd,
  });
  if (child.kind === 'rejected') return { ok: false, reason: child.reason };
  run.pid = child.pid;
  w.guardian?.watch(child.pid, task.id, run.claimed.attempt);
  let asked = false;
  run.end = (cause, o = {}) => {
    if (when === 'after' && cause === 'canceled') return;
    if (asked && o.now !== true) return;
    asked = true;
    if (when === 'before') {
      run.cause ??= cause;
      run.causeReason ??= o.reason ?? null;
    }
    void endTree(
      {
        pid: child.pid,
        session: w.session,
        taskId: task.id,
        attempt: run.claimed.attempt,
        graceMs: task.graceMs,
        ...(o.now === true ? { now: 'now' as const } : {}),
      },
      child.exited,
    );
  };
  const info = await child.exited;
  run.end = null;
  sweepGroup(child.pid);
  w.guardian?.unwatch(child.pid);
  return { ok: info.code === 0, reason: info.signal === null ? `exit code ${info.code}` : `killed by ${info.signal}` };
}

/** The post hook runs after every attempt; its own failure changes nothing but the log. */
async function post(w: Worker, run: Run, task: Task, env: Record<string, string>, logFd: number, errFd: number | undefined): Promise<void> {
  if (w.options.post === null) return;
  const r = await hook(w, run, task, w.options.post, 'after', env, logFd, errFd);
  if (!r.ok) w.log(`${run.key}: post hook: ${r.reason}`);
}

/**
 * Waits for the end of the child, and of those that `following` starts after it, ending them at the limits of the attempt or when asked
 * to. What they used is added up; how it ended is the last one's.
 */
async function supervise(
  w: Worker,
  run: Run,
  task: Task,
  tally: Tally,
  startedAt: number,
  first: SpawnedTask,
  logFd: number,
  errFd: number | undefined,
  place: Place,
  following: (info: ExitInfo) => Promise<SpawnedTask | null>,
): Promise<ExitInfo> {
  const timers: NodeJS.Timeout[] = [];
  let ending: Promise<void> | undefined;
  // Null between two: then there is nothing to end, and nothing more is started.
  let child: SpawnedTask | null = first;
  run.end = (cause, o = {}) => {
    const again = run.cause !== null;
    if (again && o.now !== true) return;
    run.cause ??= cause;
    run.causeReason ??= o.reason ?? null;
    if (child === null) return;
    const tree = {
      pid: child.pid,
      session: w.session,
      taskId: task.id,
      attempt: run.claimed.attempt,
      graceMs: task.graceMs,
      ...(o.now === true ? { now: 'now' as const } : {}),
    };
    ending = Promise.all([ending, endTree(tree, child.exited)]).then(() => undefined);
  };
  const limit = (ms: number, cause: Cause): void => {
    // In laps, for limits of many weeks.
    const at = performance.now() + ms;
    const lap = (): void => {
      const left = at - performance.now();
      if (left <= 0) run.end?.(cause);
      else timers.push(setTimeout(lap, Math.min(left, MAX_TIMER_MS)));
    };
    timers.push(setTimeout(lap, 0));
  };
  if (task.timeoutMs !== undefined) limit(task.timeoutMs, 'timeout');
  const deadline = deadlineAt(task, { firstStartedAt: tally.firstStartedAt ?? startedAt });
  if (deadline !== null) limit(deadline - startedAt, 'deadline');
  if (task.stallMs !== undefined) timers.push(watchForStall(run, task.stallMs, [logFd, errFd], place.progress));
  try {
    let used: ExitInfo | undefined;
    for (let at = first; ; at = child) {
      run.pid = at.pid;
      w.guardian?.watch(at.pid, task.id, run.claimed.attempt);
      const info = await at.exited;
      await ending;
      child = null;
      sweepGroup(at.pid);
      w.guardian?.unwatch(at.pid);
      used = used === undefined ? info : addUp(used, info);
      child = await following(info);
      if (child === null) return used;
    }
  } finally {
    for (const t of timers) clearTimeout(t);
    run.end = null;
  }
}

function addUp(before: ExitInfo, last: ExitInfo): ExitInfo {
  return {
    code: last.code,
    signal: last.signal,
    cpuMs: before.cpuMs === null || last.cpuMs === null ? (last.cpuMs ?? before.cpuMs) : before.cpuMs + last.cpuMs,
    maxRssKb: before.maxRssKb === null && last.maxRssKb === null ? null : Math.max(before.maxRssKb ?? 0, last.maxRssKb ?? 0),
    durationMs: before.durationMs + last.durationMs,
  };
}

/** setTimeout's longest, ms. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** Ends an attempt that neither wrote nor reported progress for `stallMs`. */
function watchForStall(run: Run, stallMs: number, fds: ReadonlyArray<number | undefined>, progressFile: string): NodeJS.Timeout {
  let last = '';
  let since = performance.now();
  return setInterval(
    () => {
      let now = '';
      try {
        for (const fd of fds) if (fd !== undefined) now += `${fs.fstatSync(fd).size} `;
        const s = fs.statSync(progressFile);
        now += `${s.mtimeMs} ${s.size}`;
      } catch {
        // No report yet, or the log cannot be asked now.
      }
      if (now !== last) {
        last = now;
        since = performance.now();
      } else if (performance.now() - since >= stallMs) run.end?.('stalled');
    },
    Math.max(20, Math.min(1000, stallMs / 10)),
  );
}

function byCause(w: Worker, cause: Cause): Ended {
  switch (cause) {
    case 'cut off':
      return { how: 'lost', reason: `cut off: no heartbeat of ${w.options.name} for two thirds of the lease` };
    case 'revoked':
      return { how: 'lost', reason: `worker ${w.options.name} was buried` };
    default:
      return { how: 'cause', kind: cause };
  }
}

function endedBy(w: Worker, run: Run, info: ExitInfo): Ended {
  if (run.cause !== null) return byCause(w, run.cause);
  if (info.signal === null) return { how: 'exited', code: info.code ?? 0 };
  // A KILL nobody asked for, after a silence in which the guardian must kill: that was the guardian.
  const silentMs = performance.now() - w.confirmedMs;
  if (info.signal === 'SIGKILL' && silentMs >= (w.q.leaseMs * 2) / 3 - 2 * heartbeatMs(w.q, w.options.pollMs) - 100)
    return byCause(w, 'cut off');
  return { how: 'signaled', signal: info.signal };
}

/** Publishes the outcome and makes its move; what cannot be published now is kept, on the local disk too, and tried again. */
export async function settleWith(w: Worker, run: Run, task: Task, r: Result): Promise<void> {
  const { q } = w;
  const outcome = await outcomeOf(w, run, task, r);
  run.kept = outcome;
  for (let failures = 0; ; failures++) {
    try {
      const s = await settle(q, w.session, outcome, task);
      if (s.outcome.nonce !== outcome.nonce) w.log(`${run.key}: its outcome was published by another before: mine is discarded`);
      run.kept = null;
      if (s.next.state === 'failed' && task.many !== undefined && s.move === 'moved') await afterFailure(w, baseId(task.id), task.many);
      if (s.next.state === 'delayed') w.lookAtDueAt = Math.min(w.lookAtDueAt, s.next.dueAt);
      if (failures > 0) {
        unspool(q, w.session, outcome);
        w.log(`${run.key}: outcome published`);
      }
      return;
    } catch (error) {
      if (failures === 0) {
        const why = error instanceof Error ? error.message : String(error);
        try {
          spool(q, w.session, outcome);
          w.log(`${run.key}: outcome cannot be published (${why}): kept on the local disk, tried again`);
        } catch (second) {
          w.log(`${run.key}: outcome cannot be published (${why}), nor kept on the local disk (${String(second)}): tried again`);
        }
      }
      if (w.stopping && failures > 3) return;
      await new Promise((resolve) => setTimeout(resolve, Math.min(10_000, 100 * 2 ** Math.min(failures, 7)) * (0.9 + 0.2 * Math.random())));
    }
  }
}

export async function outcomeOf(w: Worker, run: Run, task: Task, r: Result): Promise<Outcome> {
  const endedAt = Math.round(await serverNowQuiet(w));
  const startedAt = r.started && run.startedAt !== null ? Math.round(run.startedAt) : null;
  const { outcome, reason } = classify(task, r.ended);
  const said = saidBy(run, r, outcome);
  const { next, tally } = decideNext({
    task,
    ended: r.ended,
    tally: r.tally,
    worker: w.options.name,
    started: r.started,
    startedAt,
    endedAt,
    said,
    snoozeMs: outcome === 'snoozed' ? snoozeOf(r) : null,
    // Not known is no: then it is tried again.
    everyoneRejected:
      outcome === 'rejected' ? await everyoneElseRejected(w, run.claimed.lane, r.tally.rejectedBy).catch(() => false) : false,
    random: Math.random,
  });
  if (outcome === 'rejected' && r.next === undefined) w.rejections.push(performance.now());
  const text = r.place !== undefined && r.reports?.has('result') === true ? readReport(r.place.result) : undefined;
  const progress = r.place !== undefined && r.reports?.has('progress') === true ? parseProgress(readReport(r.place.progress) ?? '') : null;
  const o: Outcome = {
    schema: 'tq.outcome/1',
    id: task.id,
    attempt: run.claimed.attempt,
    nonce: randomText(12),
    outcome,
    started: r.started,
    worker: w.options.name,
    session: w.session,
    host: w.facts.host,
    pid: run.pid,
    startedAt,
    endedAt,
    durationMs: r.info === null ? null : Math.round(r.info.durationMs),
    exitCode: r.ended.how === 'rejected' ? r.ended.exitCode : (r.info?.code ?? null),
    signal: r.info?.signal ?? null,
    cpuMs: r.info?.cpuMs ?? null,
    maxRssKb: r.info?.maxRssKb ?? null,
    reason: outcome === 'succeeded' ? null : (said ?? reason),
    next: r.next ?? next,
    tally,
  };
  if (text !== undefined) o.result = parseResult(text);
  else if (r.steps?.result !== undefined) o.result = r.steps.result.value;
  if (progress !== null) o.progress = progress;
  else if (r.steps !== undefined) o.progress = progressOf(r.steps);
  if (r.steps !== undefined) o.step = Math.min(r.steps.now, r.steps.total);
  if (r.tally.fallback !== undefined) o.fallback = true;
  return o;
}

async function serverNowQuiet(w: Worker): Promise<number> {
  try {
    return await serverNow(w.q);
  } catch {
    return Date.now();
  }
}

function snoozeOf(r: Result): number | null {
  const text = r.place !== undefined && r.reports?.has('snooze') === true ? readReport(r.place.snooze) : undefined;
  if (text === undefined) return null;
  try {
    return parseDuration(text.trim(), 'tq snooze');
  } catch {
    return null;
  }
}

/** Why it ended so, in the task's own words: the error file, else the last line of what it wrote. */
function saidBy(run: Run, r: Result, outcome: string): string | null {
  if (outcome === 'canceled') return run.causeReason;
  if (!r.started || (outcome !== 'failed' && outcome !== 'signaled')) return null;
  const text = r.place !== undefined && r.reports?.has('error') === true ? readReport(r.place.error)?.trim() : undefined;
  if (text !== undefined && text !== '') return text.slice(0, 500);
  return r.output === undefined ? null : lastLine(r.output, r.steps?.outputFrom ?? 0);
}

const TAIL_BYTES = 4096;

/** The last line that is not empty in the last 4 KB of a file, behind its first `from` bytes, at most 500 characters. */
function lastLine(path: string, from: number): string | null {
  try {
    const fd = fs.openSync(path, 'r');
    try {
      const { size } = fs.fstatSync(fd);
      const buffer = Buffer.alloc(Math.min(Math.max(0, size - from), TAIL_BYTES));
      const n = fs.readSync(fd, buffer, 0, buffer.length, size - buffer.length);
      const line = buffer.toString('utf8', 0, n).trimEnd().split('\n').at(-1)?.trim() ?? '';
      return line === '' ? null : line.slice(0, 500);
    } finally {
      fs.closeSync(fd);
    }
  } catch {
    return null;
  }
}
