/**
 * `tq submit`: flags, script and standard input become a task, the task goes into the queue, its id goes to stdout.
 */
import fs from 'node:fs';
import { TqError, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import type { Queue } from '../queue/open.ts';
import { preview, submitTask } from '../queue/submit.ts';
import type { System } from '../system.ts';
import { buildTask, type SubmitFlags, type TaskDraft } from '../task/build.ts';
import { quoted } from '../task/visible.ts';
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { defineCommand, type Ctx } from './spec.ts';

export const command = defineCommand({
  name: 'submit',
  section: 'SUBMITTING',
  aliases: ['add'],
  summary: 'put a task into the queue and print its id',
  description:
    'The words after -- are an argv and are run exactly as they are; a shell is used only with -c, --step or --script. ' +
    'stdout is the id and nothing else: one for an array or a workflow, one per line for --batch.',
  examples: [
    { command: 'id=$(tq submit -- make -j4 all)', text: 'a command' },
    { command: "tq submit -c 'sort big.txt | uniq -c > counts.txt'", text: 'a line of shell' },
    { command: 'tq submit --retries 3 --timeout 2h --mem 8G -- ./train.sh', text: 'tried up to four times, on a worker with 8G to spare' },
    { command: 'tq submit --after $id --in 10m -- ./publish.sh', text: 'when that one is done, and not before ten minutes from now' },
    { command: "tq submit --step './fetch' --step './train' --step './publish'", text: 'a retry begins after the last finished step' },
    {
      command: "tq submit --fallback ./slow.sh --on-failure 'mail -s $TQ_PARENT_ID me' -- ./fast.sh",
      text: 'the last try, and a task for when that fails too',
    },
    { command: 'tq submit --batch - < tasks.ndjson', text: 'many tasks, one object with these flags a line; all of them or none' },
    { command: "tq submit --array 1-100%4 -- ./frame.sh '{}'", text: 'a hundred elements of one submission, four at once' },
    { command: 'tq submit --each-worker -- ./clean-scratch.sh', text: 'once on each worker that is alive' },
    { command: 'tq submit -f render.ts --set frames=1-100', text: 'a workflow, made by a program with settings' },
    { command: 'tq submit --script job.sh -- input.csv', text: 'a script with its own #TQ lines, and its argument' },
  ],
  args: [],
  flags: SUBMIT_FLAGS,
  tail: 'command',
  passesCode: ['wait', 'follow'],
  async run(ctx) {
    if (MANY_TASKS.some((name) => ctx.flags[name] !== undefined)) {
      return (await import('./many.ts')).submitMany(ctx);
    }
    const queue = await queueFor(ctx, () => draftOf(ctx.flags, ctx.command, ctx.system));
    const draft = await draftOf(ctx.flags, ctx.command, await submitterTo(queue, ctx.system));
    if (draft.after !== undefined) {
      const { wholeParents } = await import('./parents.ts');
      draft.after = await wholeParents(ctx, draft.after);
    }
    if (ctx.flags['dry-run'] === true) {
      await rehearse(ctx, queue, draft);
      return 0;
    }
    if (ctx.flags.follow === true) return (await import('./run.ts')).submitAndFollow(ctx, queue, draft);
    const { id, task } = await submitTask(queue, draft);
    if (task.needs !== undefined || task.limits !== undefined) await (await import('./remarks.ts')).remarkOn(queue, task, ctx.io);
    if (ctx.json) {
      const { viewTask } = await import('../queue/read.ts');
      printJson((await viewTask(queue, id)) ?? task, ctx.io);
    } else {
      ctx.io.out(`${id}\n`);
    }
    return ctx.flags.wait === true ? (await import('./run.ts')).waitForIt(ctx, queue, id) : 0;
  },
});

/** `--dry-run`: the refusals of a submit, else the task as it would lie in the queue. */
export async function rehearse({ io }: Pick<Ctx, 'io'>, q: Queue, draft: TaskDraft): Promise<void> {
  const holder = draft.key === undefined ? undefined : await (await import('../queue/keys.ts')).rehearseKeyed(q, draft);
  if (holder !== undefined)
    io.err(`tq: ${holder} has this key: ${draft.onDup === 'replace' ? 'it would be canceled first' : 'it would stand for this task'}`);
  printJson(await preview(q, draft), io);
}

/** The outside as one who submits has it: with what the settings of the queue say where a flag was not given. */
export type Submitter = System & { readonly defaults?: SubmitFlags };

/** The queue, whose settings have a say in what the flags mean. Where it cannot be opened, what is wrong with the flags is said first. */
export async function queueFor(ctx: Pick<Ctx, 'queue'>, check: () => Promise<unknown>): Promise<Queue> {
  try {
    return await ctx.queue(check);
  } catch (error) {
    await check();
    throw error;
  }
}

/** Most queues have no settings, and pay nothing for them. */
export async function submitterTo(queue: Queue, system: System): Promise<Submitter> {
  if (Object.keys(queue.config.settings).length === 0) return system;
  const { submitDefaults } = await import('../task/settings.ts');
  return { ...system, defaults: submitDefaults(queue.config.settings) };
}

/** What makes one submission of many tasks. */
const MANY_TASKS = ['batch', 'file', 'set', 'each-worker'] as const;

/** The task that these flags describe. Reads the files that they name; writes nothing. */
export async function draftOf(given: SubmitFlags, argv: readonly string[] | undefined, system: Submitter): Promise<TaskDraft> {
  const bulk = (['batch', 'file', 'set'] as const).find((name) => given[name] !== undefined);
  if (bulk !== undefined) throw usage(`--${bulk} goes with tq submit: it makes many tasks`);
  let flags = given;
  const scriptText = flags.script === undefined ? undefined : readNamed(flags.script, '--script', system);
  if (scriptText !== undefined) {
    const { mergeFlags, scriptFlags } = await import('./script-flags.ts');
    const own = scriptFlags(scriptText.toString('utf8'), flags.script === '-' ? '--script' : flags.script!);
    flags = mergeFlags(own, { ...flags }, SUBMIT_FLAGS) as SubmitFlags;
  }
  const readers = READERS.filter((name) => flags[name] === '-').map((name) => `--${name} '-'`);
  if (readers.length > 1) throw usage(`${readers[0]} and ${readers[1]} cannot both read standard input`);
  const stdinData = flags.stdin === undefined ? undefined : readNamed(flags.stdin, '--stdin', system);
  const many = manyFlags(flags) ? (await import('./items.ts')).manyOf(flags, system) : undefined;
  const draft = buildTask(flags, {
    now: system.now(),
    cwd: system.cwd(),
    env: system.env,
    user: system.user(),
    host: system.host(),
    argv,
    ...(scriptText === undefined ? {} : { scriptText }),
    ...(stdinData === undefined ? {} : { stdinData }),
    ...(system.defaults === undefined ? {} : { defaults: system.defaults }),
  });
  if (many !== undefined) {
    if (draft.key !== undefined)
      throw new TqError('REFUSED', '--key is for a single task: it cannot go with many elements', { hint: 'nothing was submitted' });
    draft.many = many.many;
    if (many.items !== undefined) draft.items = many.items;
  }
  return draft;
}

/** Whether this is a submission of many elements, or says something of one. */
function manyFlags(flags: SubmitFlags): boolean {
  return MANY_FLAGS.some((name) => flags[name] !== undefined);
}

const MANY_FLAGS = ['array', 'each', 'each-json', 'each-csv', 'param', 'each-worker', 'max-fails'] as const;

/** There is one standard input. */
const READERS = ['script', 'stdin', 'each', 'each-json', 'each-csv'] as const;

function readNamed(file: string, flag: string, system: System): Buffer {
  if (file === '-') return system.readStdin();
  try {
    return fs.readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new TqError('USAGE', `${flag}: cannot read ${quoted(file)}: ${code}`, { cause: error });
  }
}
