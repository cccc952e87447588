/**
 * What the changing verbs share: who does it, doing it to each selected task, and showing instead what would be done.
 */
import { printJson } from '../print.ts';
import type { By } from '../queue/control.ts';
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
import type { State } from '../task/types.ts';
import { confirmMany, forEachTask, select, type Selected, type Selection } from './select.ts';
import type { Ctx } from './spec.ts';

export function byOf(system: System): By {
  return { user: system.user(), host: system.host() };
}

export interface ChangeOptions {
  verb: string;
  /** By default all words. */
  words?: readonly string[];
  /** Whether the verb takes filter flags. */
  filters: boolean;
  /** States that a filter reaches; by default those that the verb is for. */
  reach?: readonly State[];
  /** Whether many found by a filter are worth a question. */
  asks: boolean;
  /** For `--dry-run`: what would be written, or nothing where the ids say it all. Refuses what the verb would refuse. */
  rehearse(q: Queue, task: Selected): Promise<object | undefined>;
  /** Called before the first task, for what can be begun for all of them together. */
  begin?(q: Queue, tasks: readonly Selected[]): Promise<void>;
  change(q: Queue, task: Selected): Promise<void>;
}

/** The exit code, as `forEachTask` has it. */
export async function changeEach(ctx: Ctx, options: ChangeOptions): Promise<number> {
  const { verb, words = ctx.args, filters, reach } = options;
  const q = await ctx.queue();
  const selection = await select(ctx, { verb, words, none: 'usage', filters, ...(reach === undefined ? {} : { reach }) });
  if (ctx.flags['dry-run'] === true) return rehearseEach(ctx, selection, (task) => options.rehearse(q, task));
  if (options.asks) await confirmMany(ctx, verb, selection.tasks, selection.byFilter);
  await options.begin?.(q, selection.tasks);
  return forEachTask(ctx, selection, (task) => options.change(q, task));
}

/** One document: an object for one task, an array for several; ids as the verb itself would print them. */
async function rehearseEach(ctx: Ctx, selection: Selection, one: (task: Selected) => Promise<object | undefined>): Promise<number> {
  const documents: object[] = [];
  const ids: string[] = [];
  const mute: Ctx = { ...ctx, io: { ...ctx.io, out: () => true } };
  const code = await forEachTask(mute, selection, async (task) => {
    const document = await one(task);
    if (document === undefined) ids.push(task.id);
    else documents.push(document);
  });
  if (documents.length > 0) printJson(selection.tasks.length === 1 ? documents[0] : documents, ctx.io);
  else printIds(ctx, ids);
  return code;
}

/** As every verb prints the ids that it did something to. */
export function printIds(ctx: Ctx, ids: readonly string[]): void {
  if (ctx.json) printJson(ids, ctx.io);
  else ctx.io.out(ids.map((id) => `${id}\n`).join(''));
}
