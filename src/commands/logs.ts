/**
 * `tq logs`: what a task printed, byte for byte.
 */
import { EXIT, TqError, usage } from '../errors.ts';
import { printError, printJson } from '../print.ts';
import { elementAt } from '../queue/array-view.ts';
import { elementsIn, findElement, readArray } from '../queue/array.ts';
import type { Located } from '../queue/find.ts';
import { attemptsWithLogs, keptOutput, readSlice } from '../queue/logs.ts';
import type { Queue } from '../queue/open.ts';
import { quoted } from '../task/visible.ts';
import { IDS } from './flags/filter.ts';
import { followArray } from './follow-array.ts';
import { follow, newReader, pathOf, type FollowOptions, type Stream } from './follow.ts';
import { interruptible } from './interrupt.ts';
import { plain, prefixed, type Prefixed } from './prefixed.ts';
import { exitOfMissing, readTaskQuietly, select } from './select.ts';
import { defineCommand, type Ctx, type FlagsOf } from './spec.ts';

const FLAGS = {
  follow: { char: 'f', help: 'go on as it grows, until the task ends' },
  lines: { char: 'n', value: 'N', help: 'begin N lines before the end' },
  stderr: { help: 'stderr only (of a task with --split)' },
  stdout: { help: 'stdout only (of a task with --split)' },
  attempt: { value: 'N', help: 'of this attempt' },
  path: { help: 'print the name of the file instead' },
} as const;

type Flags = FlagsOf<typeof FLAGS>;

export const command = defineCommand({
  name: 'logs',
  section: 'LOOKING',
  summary: 'print the output of tasks',
  description:
    'Of the newest attempt, unless told otherwise. To a pipe or a file it is byte-exact. What a task with --split wrote to stderr ' +
    'goes to stderr, unless one of the two is asked for.',
  examples: [
    { command: 'tq logs -f @last', text: 'wait for the start, end with the task' },
    { command: 'tq ls -g nightly -o id --no-header | tq logs - -f', text: 'of several, each line with its task' },
  ],
  args: IDS,
  flags: FLAGS,
  run: logs,
});

async function logs(ctx: Ctx<Flags>): Promise<number> {
  const { flags, io } = ctx;
  if (flags.stdout === true && flags.stderr === true)
    throw usage('--stdout and --stderr exclude each other', 'without either both are printed');
  if (flags.path === true && flags.follow === true) throw usage('--path and --follow exclude each other');
  const lines = number(flags.lines, '--lines', 0);
  const attempt = number(flags.attempt, '--attempt', 1);
  const selection = await select(ctx, { verb: 'logs', words: ctx.args, none: 'usage', filters: false });
  const q = await ctx.queue();
  for (const error of selection.missing) printError(error, error.exit, ctx.json, io);
  // Followed, an array is one: elements begin while it is.
  const tasks =
    flags.follow === true
      ? selection.tasks.map((s) => s.at)
      : (await Promise.all(selection.tasks.map((s) => elementsWithLogs(q, s.at)))).flat();
  const alone = selection.tasks.length + selection.missing.length === 1 && tasks.every((at) => at.part !== 'array') && tasks.length <= 1;
  const asked: Stream | undefined = flags.stderr === true ? 'stderr' : flags.stdout === true ? 'stdout' : undefined;
  const options = {
    ...(lines === undefined ? {} : { lines }),
    ...(attempt === undefined ? {} : { attempt }),
  };

  if (flags.path === true) return exitOf(await printPaths(q, ctx, tasks, asked ?? 'stdout', attempt), selection, alone);
  let failures = 0;
  const one = async (at: Located, go: (streams: readonly Stream[]) => Promise<void>): Promise<void> => {
    try {
      await go(await streamsOf(q, at, asked));
    } catch (error) {
      if (alone || !(error instanceof TqError)) throw error;
      failures++;
      printError(error, error.exit, ctx.json, io);
    }
  };
  const sinkFor = (at: Located): Prefixed => (alone ? plain(asked) : prefixed(`${at.id} | `, asked));

  if (flags.follow !== true) {
    for (const at of tasks) {
      let closed = false;
      await one(at, async (streams) => {
        const { sink, finish } = sinkFor(at);
        await checkAttempt(q, at, attempt);
        const there = await attemptsWithLogs(q, at.id);
        const kept = there.length === 0 ? await keptOutput(q, at.id) : undefined;
        if (kept !== undefined) {
          await readSlice(kept, (piece) => ((closed = !sink('stdout', piece)), !closed));
          finish();
          return;
        }
        if (there.length === 0) io.err(`tq: ${at.id} is ${at.state} and has not begun`);
        closed = !(await newReader(q, at.id, { ...options, streams, sink }).read(Number.POSITIVE_INFINITY));
        finish();
      });
      if (closed) break;
    }
    return exitOf(failures, selection, alone);
  }

  return interruptible(
    ctx,
    tasks.map((at) => at.id),
    async (signal) => {
      await Promise.all(
        tasks.map((at) =>
          one(at, async (streams) => {
            if (at.part === 'array') {
              await followArray(q, at.id, ctx.system, { ...options, streams, sinkOf: (id) => prefixed(`${id} | `, asked), signal });
              return;
            }
            const { sink, finish } = sinkFor(at);
            const followed: FollowOptions = { ...options, streams, sink, between: finish, signal, together: tasks.length };
            const end = await follow(q, at.id, ctx.system, followed);
            finish();
            if (end !== 'aborted' && end !== 'closed' && attempt !== undefined) await checkAttempt(q, at, attempt);
          }),
        ),
      );
      return exitOf(failures, selection, alone);
    },
  );
}

/** An array as those of its elements that have begun; anything else as it is. */
async function elementsWithLogs(q: Queue, at: Located): Promise<Located[]> {
  const array = at.part === 'array' ? await readArray(q, at.id) : undefined;
  if (array === undefined) return [at];
  const found: Located[] = [];
  for (const { n } of elementsIn(array)) {
    const element = await findElement(q, array, n);
    if (element !== undefined && (element.piece.at.n > 0 || element.state === 'running')) found.push(elementAt(array, n, element));
  }
  return found;
}

function exitOf(failures: number, selection: Awaited<ReturnType<typeof select>>, alone: boolean): number {
  if (failures > 0) return alone ? EXIT.notFound : EXIT.refused;
  return exitOfMissing(selection.tasks.length, selection.missing);
}

/** Which of its streams are read; throws for one that it does not have apart. */
async function streamsOf(q: Queue, at: Located, asked: Stream | undefined): Promise<readonly Stream[]> {
  const split = (await readTaskQuietly(q, at))?.split ?? (asked === undefined || (await hasErrLog(q, at.id)));
  if (asked === undefined) return split ? ['stdout', 'stderr'] : ['stdout'];
  if (split) return [asked];
  throw new TqError('REFUSED', `--${asked}: ${at.id} was submitted without --split, both streams are in one log`, {
    hint: `tq logs ${at.id} prints it`,
  });
}

/** For a task that moved while it was looked at. */
async function hasErrLog(q: Queue, id: string): Promise<boolean> {
  const newest = (await attemptsWithLogs(q, id)).at(-1);
  if (newest === undefined) return false;
  return q.fsx.stat(q.lay.errLog(id, newest)).then(
    () => true,
    () => false,
  );
}

async function checkAttempt(q: Queue, at: Located, attempt: number | undefined): Promise<void> {
  if (attempt === undefined) return;
  const there = await attemptsWithLogs(q, at.id);
  if (there.includes(attempt)) return;
  const hint = there.length === 0 ? `tq show ${at.id}` : `there is ${there.join(', ')}`;
  throw new TqError('NOT_FOUND', `${at.id} has no attempt ${attempt}`, { hint });
}

/** The number of tasks that have no such file. */
async function printPaths(
  q: Queue,
  ctx: Ctx<Flags>,
  tasks: readonly Located[],
  stream: Stream,
  attempt: number | undefined,
): Promise<number> {
  const paths: string[] = [];
  let failures = 0;
  for (const at of tasks) {
    try {
      if (stream === 'stderr') await streamsOf(q, at, stream);
      await checkAttempt(q, at, attempt);
      const n = attempt ?? (await attemptsWithLogs(q, at.id)).at(-1);
      if (n === undefined)
        throw new TqError('NOT_FOUND', `${at.id} is ${at.state} and has not begun: it has no log`, {
          hint: `tq logs -f ${at.id} waits for it`,
        });
      paths.push(pathOf(q, at.id, n, stream));
    } catch (error) {
      if (!(error instanceof TqError) || tasks.length === 1) throw error;
      failures++;
      printError(error, error.exit, ctx.json, ctx.io);
    }
  }
  if (ctx.json) printJson(paths, ctx.io);
  else for (const path of paths) ctx.io.out(`${path}\n`);
  return failures;
}

function number(text: string | undefined, flag: string, least: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d{1,9}$/.test(text) && Number(text) >= least) return Number(text);
  throw usage(`${flag}: not a whole number${least > 0 ? ` of at least ${least}` : ''}: ${quoted(text)}`);
}
