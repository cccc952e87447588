/**
 * `tq wait`: until tasks have ended; whether they did well is the exit code.
 */
import { EXIT, TqError, usage } from '../errors.ts';
import { printError, printJson } from '../print.ts';
import { locatePart } from '../queue/array-view.ts';
import { arrayEnded } from '../queue/array.ts';
import { endedState } from '../queue/depend.ts';
import { locate } from '../queue/find.ts';
import type { Queue } from '../queue/open.ts';
import { newCache, viewTask, type TaskView } from '../queue/read.ts';
import { endedOf, locateMany } from '../queue/walk.ts';
import { parseDuration } from '../task/duration.ts';
import { isTerminal, type State } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import { ownCode, progressText, stateAndReason } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { interruptible } from './interrupt.ts';
import { bar, liveLine } from './live-line.ts';
import { expire, nowOf } from './look.ts';
import { readTaskQuietly, select, type Selected } from './select.ts';
import { defineCommand, type Ctx, type FlagsOf } from './spec.ts';

const FLAGS = {
  any: { help: 'until one of them has ended' },
  timeout: { value: 'D', help: 'no longer than this; then exit 124' },
  progress: { help: 'show how far they are, on stderr' },
  'exit-code': { help: "exit with the one task's own code; trouble of tq itself is 125" },
  ...FILTER_FLAGS,
} as const;

type Flags = FlagsOf<typeof FLAGS>;

export const command = defineCommand({
  name: 'wait',
  section: 'LOOKING',
  summary: 'wait until tasks have ended; exit 0 if all ended done',
  description:
    'Without a selector: for everything that is unfinished now. Exit 1: some task ended otherwise. Exit 124: --timeout passed, the tasks go on.',
  examples: [
    { command: 'tq wait $(tq submit -- make) && echo built', text: 'one task' },
    { command: 'tq wait -g nightly --progress --timeout 8h', text: 'a group, with its progress on stderr' },
  ],
  args: SELECTOR,
  flags: FLAGS,
  passesCode: ['exit-code'],
  run: wait,
});

async function wait(ctx: Ctx<Flags>): Promise<number> {
  const { flags } = ctx;
  const timeoutMs = flags.timeout === undefined ? undefined : parseDuration(flags.timeout, '--timeout');
  const began = ctx.system.monotonic();
  const { tasks, missing } = await select(ctx, { verb: 'wait', words: ctx.args, none: 'unfinished', filters: true });
  if (flags['exit-code'] === true && tasks.length + missing.length !== 1) {
    throw usage(
      `--exit-code takes one task, here ${tasks.length + missing.length === 0 ? 'is none' : `are ${tasks.length + missing.length}`}`,
      'tq wait --exit-code ID',
    );
  }
  if (missing.length > 0 && tasks.length === 0) throw alone(missing);
  for (const error of missing) printError(error, error.exit, ctx.json, ctx.io);
  const q = await ctx.queue();
  return interruptible(
    ctx,
    tasks.map((s) => s.id),
    async (signal) => {
      const rest = timeoutMs === undefined ? undefined : timeoutMs - (ctx.system.monotonic() - began);
      const progress = flags.progress === true ? newProgress(q, ctx, tasks) : undefined;
      const ended = await untilEnded(q, tasks, ctx, {
        signal,
        any: flags.any === true,
        ...(rest === undefined ? {} : { timeoutMs: rest }),
        ...(progress === undefined ? {} : { progress: progress.tell }),
      }).finally(() => progress?.end());
      if (signal.aborted) return EXIT.no;
      if (ended === 'timeout') throw timedOut(tasks.length, flags.timeout!);
      return verdict(q, ctx, ended, missing);
    },
  );
}

/** Every word named nothing: the first says it, the rest is printed. */
function alone([first, ...others]: readonly TqError[]): TqError {
  if (others.length === 0) return first!;
  return new TqError(
    'NOT_FOUND',
    [first!, ...others].map((e) => e.message).join('; '),
    first!.hint === undefined ? {} : { hint: first!.hint },
  );
}

function timedOut(tasks: number, text: string): TqError {
  return new TqError('TIMEOUT', `not ended within ${visible(text)}; ${tasks === 1 ? 'the task goes on' : 'the tasks go on'}`, {
    hint: 'tq why ID tells what a task waits for',
  });
}

/** How a task ended; the view is missing when it was removed meanwhile. */
export interface End {
  id: string;
  state: State;
}

export interface WaitOptions {
  signal: AbortSignal;
  any?: boolean;
  timeoutMs?: number;
  /** Told after each look which have ended. */
  progress?: (ended: ReadonlyMap<string, End>) => Promise<void>;
}

/** Looks grow from the first pause to the longest, ms, and take at most a tenth of the time. */
const FIRST_MS = 20;
const LONGEST_MS = 250;
const NETWORK_MS = 1000;
const DUTY = 10;
/** After so many looks those that are left are looked for everywhere: they may have been removed. */
const LOOKS_BETWEEN_SEARCHES = 8;

/**
 * Waits until all of the tasks (with `any` one of them) have ended; how. One look lists the terminal directories of the buckets
 * in question, each once.
 */
export async function untilEnded(
  q: Queue,
  tasks: readonly Selected[],
  ctx: Pick<Ctx, 'system'>,
  options: WaitOptions,
): Promise<Map<string, End> | 'timeout'> {
  const { system } = ctx;
  const ended = new Map<string, End>();
  const left = new Set<string>();
  for (const { id, at } of tasks) {
    if (isTerminal(at.state)) ended.set(id, { id, state: at.state });
    else left.add(id);
  }
  const missed = new Set<string>();
  // These have no entry of their own.
  const parts = tasks.filter(({ at }) => at.part !== undefined).map(({ id }) => id);
  const mayExpire = await expiring(q, tasks);
  const deadline = options.timeoutMs === undefined ? Number.POSITIVE_INFINITY : system.monotonic() + options.timeoutMs;
  let pauseMs = q.network ? NETWORK_MS : FIRST_MS;
  for (let looks = 1; ; looks++) {
    await options.progress?.(ended);
    if (left.size === 0 || (options.any === true && ended.size > 0)) return ended;
    const now = system.monotonic();
    if (now >= deadline) return 'timeout';
    await system.sleep(Math.min(pauseMs * (0.9 + 0.2 * Math.random()), deadline - now), options.signal);
    if (options.signal.aborted) return ended;
    const search = looks % LOOKS_BETWEEN_SEARCHES === 0 || missed.size > 0;
    const began = system.monotonic();
    for (const [id, expiresAt] of mayExpire) {
      if (left.has(id) && (await nowOf(q)) < expiresAt) continue;
      const at = left.has(id) ? await locate(q, id) : undefined;
      if (at === undefined || at.n > 0 || (await expire(q, at))) mayExpire.delete(id);
    }
    const before = left.size;
    for (const [id, at] of await endedOf(q, left, search)) {
      ended.set(id, { id, state: at.state });
      left.delete(id);
    }
    for (const id of parts) {
      if (!left.has(id)) continue;
      const state = await endOfPart(q, id);
      if (state === undefined) continue;
      ended.set(id, { id, state });
      left.delete(id);
    }
    if (search) await findRemoved(q, left, missed, ended);
    pauseMs = left.size < before ? FIRST_MS : pauseMs * 1.5;
    pauseMs = Math.max(q.network ? NETWORK_MS : Math.min(LONGEST_MS, pauseMs), DUTY * (system.monotonic() - began));
  }
}

/** How an array or an element of one ended; undefined while it has not. */
async function endOfPart(q: Queue, id: string): Promise<State | undefined> {
  if (!id.includes('.')) return arrayEnded(q, id);
  const at = await locatePart(q, id);
  return at !== undefined && isTerminal(at.state) ? at.state : undefined;
}

/** Tasks that are skipped if nobody starts them in time. More are left to the workers. */
const MOST_EXPIRING = 1000;

async function expiring(q: Queue, tasks: readonly Selected[]): Promise<Map<string, number>> {
  const found = new Map<string, number>();
  for (const { id, at } of tasks.slice(0, MOST_EXPIRING)) {
    if (isTerminal(at.state) || at.n > 0 || at.place.state === 'running') continue;
    const expiresAt = (await readTaskQuietly(q, at))?.expiresAt;
    if (expiresAt !== undefined) found.set(id, expiresAt);
  }
  return found;
}

/**
 * What was removed ended as its remains say; what left none ended some way that nobody can call done. It has to be missing in
 * two searches: a task may be on its way in one.
 */
async function findRemoved(q: Queue, left: Set<string>, missed: Set<string>, ended: Map<string, End>): Promise<void> {
  const there = await locateMany(q, [...left]);
  for (const id of left) {
    if (there.has(id) || (await locatePart(q, id)) !== undefined) {
      missed.delete(id);
    } else if (!missed.has(id)) {
      missed.add(id);
    } else {
      ended.set(id, { id, state: (await endedState(q, id, true)) ?? 'canceled' });
      left.delete(id);
      missed.delete(id);
    }
  }
}

/** Most failures that are told of one by one. */
const MOST_TOLD = 10;

async function verdict(q: Queue, ctx: Ctx<Flags>, ended: ReadonlyMap<string, End>, missing: readonly TqError[]): Promise<number> {
  const { io } = ctx;
  const views = new Map<string, TaskView>();
  const cache = newCache();
  const bad = [...ended.values()].filter((e) => e.state !== 'done');
  for (const id of ctx.json || ctx.flags['exit-code'] === true ? ended.keys() : bad.slice(0, MOST_TOLD).map((e) => e.id)) {
    const view = await viewTask(q, id, cache);
    if (view !== undefined) views.set(id, view);
  }
  if (ctx.json) printJson(ended.size === 1 ? [...views.values()][0] : [...views.values()], io);
  for (const { id, state } of bad.slice(0, MOST_TOLD)) {
    const view = views.get(id);
    io.err(`tq: ${id} ${view === undefined ? state : stateAndReason(view)}`);
  }
  if (bad.length > MOST_TOLD) io.err(`tq: and ${bad.length - MOST_TOLD} more did not end done`);
  if (ctx.flags['exit-code'] === true) {
    const [end] = ended.values();
    const view = end === undefined ? undefined : views.get(end.id);
    return view === undefined ? (end?.state === 'done' ? EXIT.ok : EXIT.no) : ownCode(view);
  }
  if (missing.length > 0) return EXIT.refused;
  return bad.length === 0 ? EXIT.ok : EXIT.no;
}

/** Shown again at most this often, ms; on a terminal, where it is one line that moves, more often. */
const PROGRESS_MS = 1000;
const LIVE_MS = 200;

/** How far they are, on stderr: on a terminal one line with a bar, elsewhere a line whenever something changed. */
function newProgress(q: Queue, ctx: Ctx<Flags>, tasks: readonly Selected[]): { tell: NonNullable<WaitOptions['progress']>; end(): void } {
  const { io, system } = ctx;
  const line = liveLine(ctx);
  let told = '';
  let toldMs = Number.NEGATIVE_INFINITY;
  return {
    async tell(ended) {
      if (ended.size < tasks.length && system.monotonic() - toldMs < (line === undefined ? PROGRESS_MS : LIVE_MS)) return;
      toldMs = system.monotonic();
      const { text, percent } = tasks.length === 1 ? await oneFar(q, tasks[0]!.id) : allFar(ended, tasks.length);
      if (text === told || text === '') return;
      told = text;
      if (line === undefined) io.err(text);
      else line.show(percent === null ? text : `${bar(percent, ctx)} ${text}`);
    },
    end: () => line?.keep(),
  };
}

interface Far {
  text: string;
  percent: number | null;
}

async function oneFar(q: Queue, id: string): Promise<Far> {
  const view = await viewTask(q, id);
  if (view === undefined) return { text: '', percent: null };
  const { array, progress } = view;
  const ended = array === null ? '' : `${array.done + array.failed + array.canceled} of ${array.size} ended`;
  const failed = array === null || array.failed === 0 ? '' : `${array.failed} failed`;
  const how = isTerminal(view.state)
    ? stateAndReason(view)
    : array === null
      ? [view.state, progressText(progress)].filter((part) => part !== '').join(' ')
      : [view.state, [ended, failed].filter((part) => part !== '').join(', ')].join(' ');
  return { text: `${id} ${how}`, percent: progress?.percent ?? null };
}

function allFar(ended: ReadonlyMap<string, End>, total: number): Far {
  const bad = [...ended.values()].filter((e) => e.state !== 'done').length;
  return { text: `${ended.size} of ${total} ended${bad === 0 ? '' : `, ${bad} not done`}`, percent: (100 * ended.size) / total };
}
