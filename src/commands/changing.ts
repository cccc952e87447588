/**
 * What the changing verbs share: who does it, doing it to each selected task, and showing instead what would be written.
 */
import { printJson } from '../print.ts';
import type { By } from '../queue/control.ts';
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
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
  /** Whether many found by a filter are worth a question. */
  asks: boolean;
  /** What would be written; called for `--dry-run`. */
  rehearse(q: Queue, task: Selected): Promise<object>;
  /** Called once before the first task, for what can be begun for all of them together. */
  begin?(q: Queue, tasks: readonly Selected[]): Promise<void>;
  change(q: Queue, task: Selected): Promise<void>;
}

/** The exit code, as `forEachTask` has it. */
export async function changeEach(ctx: Ctx, options: ChangeOptions): Promise<number> {
  const q = await ctx.queue();
  const selection = await select(ctx, { verb: options.verb, words: options.words ?? ctx.args, none: 'usage', filters: options.filters });
  if (ctx.flags['dry-run'] === true) return rehearseEach(ctx, selection, (task) => options.rehearse(q, task));
  if (options.asks) await confirmMany(ctx, options.verb, selection.tasks, selection.byFilter);
  await options.begin?.(q, selection.tasks);
  return forEachTask(ctx, selection, (task) => options.change(q, task));
}

/** One object for one task, an array for several; refusals as the verb itself would say them. */
async function rehearseEach(ctx: Ctx, selection: Selection, one: (task: Selected) => Promise<object>): Promise<number> {
  const documents: object[] = [];
  const mute: Ctx = { ...ctx, io: { ...ctx.io, out: () => true } };
  const code = await forEachTask(mute, selection, async (task) => void documents.push(await one(task)));
  if (documents.length > 0) printJson(selection.tasks.length === 1 ? documents[0] : documents, ctx.io);
  return code;
}
