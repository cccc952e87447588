/**
 * `tq run`: submit, show the output as it comes, exit with the task's own code. Also what `submit --follow` and `--wait` do after
 * the submit.
 */
import { EXIT, TqError } from '../errors.ts';
import { writeAll } from '../print.ts';
import { locateAny } from '../queue/array-view.ts';
import type { Queue } from '../queue/open.ts';
import { viewTask } from '../queue/read.ts';
import { submitTask } from '../queue/submit.ts';
import { requirementsOf } from '../queue/layout.ts';
import type { TaskDraft } from '../task/build.ts';
import { formatDuration } from '../task/duration.ts';
import { isTerminal, type Task } from '../task/types.ts';
import { unable } from '../worker/obstacle.ts';
import { isAwake, sights } from '../worker/sight.ts';
import { ownCode, stateAndReason } from './describe.ts';
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { follow, type Followed } from './follow.ts';
import { interruptible } from './interrupt.ts';
import { wholeParents } from './parents.ts';
import type { Prefixed } from './prefixed.ts';
import { defineCommand, type Ctx } from './spec.ts';
import { draftOf, queueFor, rehearse, submitterTo } from './submit.ts';
import { untilEnded } from './wait.ts';

export const command = defineCommand({
  name: 'run',
  section: 'SUBMITTING',
  summary: 'submit, show the output, exit with the code of the task',
  description:
    'Its stdout and stderr come apart, over all retries, until the task ends. Ctrl-C leaves the task running and says how to cancel it. ' +
    'Trouble of tq itself is exit code 125.',
  examples: [
    { command: 'tq run -- make test', text: 'as if it ran here' },
    { command: 'tq run --here -- ./report.sh', text: 'with no worker to take it, run it in this process' },
  ],
  args: [],
  flags: {
    ...SUBMIT_FLAGS,
    here: { help: 'if no awake worker can take it, be one for it', group: 'WHERE' },
  },
  tail: 'command',
  passesCode: true,
  async run(ctx) {
    const queue = await queueFor(ctx, () => draftOf(ctx.flags, ctx.command, ctx.system));
    const draft = await draftOf(ctx.flags, ctx.command, await submitterTo(queue, ctx.system));
    if (draft.after !== undefined) draft.after = await wholeParents(ctx, draft.after);
    if (ctx.flags['dry-run'] === true) {
      await rehearse(ctx, queue, { ...draft, split: true });
      return EXIT.ok;
    }
    return submitAndFollow(ctx, queue, draft, ctx.flags.here === true);
  },
});

/** Submits with split output, hands both streams on until the task has ended, and returns its own code. */
export async function submitAndFollow(ctx: Pick<Ctx, 'system' | 'io'>, q: Queue, draft: TaskDraft, here = false): Promise<number> {
  const { id, task, existing } = await submitTask(q, { ...draft, split: true });
  if (task.needs !== undefined || task.limits !== undefined) await (await import('./remarks.ts')).remarkOn(q, task, ctx.io);
  if (existing === true) ctx.io.err(`tq: ${id} has this key already: following it`);
  const able = await someoneCan(q, task);
  if (here && able !== 'yes') return runItHere(ctx, q, id, task.many !== undefined);
  if (able !== 'yes' && (await waits(q, id))) ctx.io.err(`tq: ${id} waits for a worker: ${able}`);
  return interruptible(ctx, [id], async (signal) => {
    const streams = task.split ? (['stdout', 'stderr'] as const) : (['stdout'] as const);
    if (task.many !== undefined) return (await handOnElements(q, id, ctx.system, signal)) === 'aborted' ? EXIT.no : codeOf(ctx, q, id);
    const waiting = await whileItWaits(ctx, q, id);
    const sink: typeof handOn = (stream, piece) => {
      waiting?.end();
      return handOn(stream, piece);
    };
    const end = await follow(q, id, ctx.system, { streams, all: existing !== true, sink, signal }).finally(() => waiting?.end());
    return end === 'aborted' ? EXIT.no : codeOf(ctx, q, id);
  });
}

/** How often a terminal is told that the task still waits, ms. */
const WAITS_MS = 500;

/** On a terminal: a line that says so as long as the task does not run, gone before its first output. */
async function whileItWaits(ctx: Pick<Ctx, 'system'>, q: Queue, id: string): Promise<{ end(): void } | undefined> {
  if (!ctx.system.isTerminal(2)) return undefined;
  const { liveLine } = await import('./live-line.ts');
  const line = liveLine(ctx);
  if (line === undefined) return undefined;
  const began = ctx.system.monotonic();
  const told = new AbortController();
  const end = (): void => {
    told.abort();
    line.clear();
  };
  const tell = async (): Promise<void> => {
    for (;;) {
      await ctx.system.sleep(WAITS_MS, told.signal);
      const at = await locateAny(q, id);
      if (told.signal.aborted) return;
      if (at === undefined || at.state === 'running' || isTerminal(at.state)) return line.clear();
      line.show(`${id} is ${at.state} for ${formatDuration(ctx.system.monotonic() - began)}`);
    }
  };
  // What the line cannot be told of the follower says.
  tell().catch(end);
  return { end };
}

/** Waits for a task that was just submitted; its own code. */
export async function waitForIt(ctx: Pick<Ctx, 'system' | 'io'>, q: Queue, id: string): Promise<number> {
  return interruptible(ctx, [id], async (signal) => {
    const at = await locateAny(q, id);
    if (at === undefined) return codeOf(ctx, q, id);
    await untilEnded(q, [{ id, at }], ctx, { signal });
    return signal.aborted ? EXIT.no : codeOf(ctx, q, id);
  });
}

/** A worker for this one task, in this process; Ctrl-C is the worker's. */
async function runItHere(ctx: Pick<Ctx, 'system' | 'io'>, q: Queue, id: string, many: boolean): Promise<number> {
  const { runHere } = await import('./worker.ts');
  const left = new AbortController();
  const following = many
    ? handOnElements(q, id, ctx.system, left.signal)
    : follow(q, id, ctx.system, { streams: ['stdout', 'stderr'], all: true, sink: handOn, signal: left.signal });
  await runHere(q, id, ctx.system, ctx.io);
  const at = await locateAny(q, id);
  if (at !== undefined && !isTerminal(at.state)) {
    // The worker was told to leave, or the task waits for something that it does not wait for.
    left.abort();
    await following;
    throw new TqError('REFUSED', `${id} has not ended: it is ${at.state} and goes on when a worker takes it`, {
      hint: `tq why ${id}; to end it: tq cancel ${id}`,
    });
  }
  await following;
  return codeOf(ctx, q, id);
}

/** The output of all elements of an array, each line with its element. */
async function handOnElements(q: Queue, id: string, system: Ctx['system'], signal: AbortSignal): Promise<Followed> {
  const [{ followArray }, { prefixed }] = await Promise.all([import('./follow-array.ts'), import('./prefixed.ts')]);
  const sinkOf = (element: string): Prefixed => prefixed(`${element} | `, undefined);
  return followArray(q, id, system, { streams: ['stdout', 'stderr'], all: true, sinkOf, signal });
}

/** A reader that went away ends the output, not the waiting: the task's code is what the caller asked for. */
function handOn(stream: 'stdout' | 'stderr', piece: Uint8Array): boolean {
  writeAll(stream === 'stdout' ? 1 : 2, piece);
  return true;
}

/** The task's own code; where it was tq that ended it, or nothing ran, the reason is nowhere in its output and is said here. */
async function codeOf({ io }: Pick<Ctx, 'io'>, q: Queue, id: string): Promise<number> {
  const view = await viewTask(q, id);
  if (view === undefined) throw new TqError('NOT_FOUND', `${id} was removed before its end was seen`);
  const own = view.state === 'done' || (view.state === 'failed' && OWN_ENDS.has(view.attempts.at(-1)?.outcome ?? ''));
  if (view.array === null && !own) io.err(`tq: ${id} ${stateAndReason(view)}`);
  return ownCode(view);
}

/** The ends of an attempt that the task itself has made, or its system. */
const OWN_ENDS: ReadonlySet<string> = new Set(['succeeded', 'failed', 'signaled']);

/** Whether some awake worker could take it; otherwise why not, in a few words. */
async function someoneCan(q: Queue, task: Task): Promise<string> {
  const all = await sights(q);
  const awake = all.filter(isAwake);
  if (awake.length === 0) return all.some((s) => s.alive) ? 'none is awake (tq worker wake W)' : 'there is none (tq worker starts one)';
  const r = requirementsOf(task);
  return awake.some((s) => unable(s.file, r) === undefined) ? 'yes' : `none that is awake can take it (tq why ${task.id})`;
}

/** Held, delayed or waiting for others it does not wait for a worker yet. */
async function waits(q: Queue, id: string): Promise<boolean> {
  return (await locateAny(q, id))?.state === 'queued';
}
