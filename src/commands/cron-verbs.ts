/**
 * The verbs below `tq cron`: making entries, showing when they come, pausing and removing them.
 */
import { EXIT, TqError, usage } from '../errors.ts';
import { printError, printJson, table, type Column } from '../print.ts';
import {
  addCron,
  cronEntry,
  cronNames,
  cronNotes,
  nextOf,
  pauseCron,
  readCron,
  removeCron,
  resumeCron,
  type CronEntry,
} from '../queue/cron.ts';
import type { Queue } from '../queue/open.ts';
import { commandLine } from '../task/argv.ts';
import { checkSchedule, type Catchup, type Overlap } from '../task/cron.ts';
import { iso } from '../task/time.ts';
import { quoted, visible } from '../task/visible.ts';
import { byOf } from './changing.ts';
import type { CRON_FLAGS } from './cron.ts';
import { clockTime, relative } from './describe.ts';
import type { SubmitWords } from './flags/submit.ts';
import { nowOf } from './look.ts';
import type { Ctx, FlagsOf } from './spec.ts';
import { draftOf, queueFor, submitterTo } from './submit.ts';

/** What `cron ls --json` says of one. Fields are only ever added. */
interface CronView {
  id: string;
  expr: string;
  tz: string;
  state: 'active' | 'paused';
  overlap: Overlap;
  catchup: Catchup;
  /** Null while it is paused, and when it never comes again. */
  next: string | null;
  /** The last tick that was fired. */
  last: string | null;
  lastTask: string | null;
  /** The last tick that was not: the task of the one before was unfinished, or the submit was refused. */
  lastSkipped: string | null;
  lastSkippedReason: string | null;
  name: string | null;
  command: string[];
  shell: string | null;
  createdAt: string;
  createdBy: { user: string; host: string };
}

/** `tq cron add` */
export async function add(ctx: Ctx<FlagsOf<typeof CRON_FLAGS> & SubmitWords>): Promise<number> {
  const { tz, overlap = 'skip', catchup = 'none', ...flags } = ctx.flags;
  const [expr = ''] = ctx.args;
  for (const flag of ['follow', 'wait', 'file', 'batch', 'at'] as const) {
    if (flags[flag] !== undefined) throw usage(`--${flag} does not go with tq cron add`, HINTS[flag]);
  }
  const schedule = checkSchedule(expr, tz ?? Intl.DateTimeFormat().resolvedOptions().timeZone, ctx.system.now());
  const q = await queueFor(ctx, () => draftOf(flags, ctx.command, ctx.system));
  const draft = await draftOf(flags, ctx.command, await submitterTo(q, ctx.system));
  // Each of its tasks begins a trace of its own.
  delete draft.traceparent;
  if (draft.after !== undefined) {
    const { wholeParents } = await import('./parents.ts');
    draft.after = await wholeParents(ctx, draft.after);
  }
  const what = { ...schedule, overlap: overlap as Overlap, catchup: catchup as Catchup, draft, by: byOf(ctx.system) }; // choices of the flags
  if (ctx.flags['dry-run'] === true) {
    printJson(cronEntry(what, ctx.system.now()), ctx.io);
    return EXIT.ok;
  }
  const entry = await addCron(q, what);
  if (ctx.json) printJson(await viewOf(q, entry, false), ctx.io);
  else ctx.io.out(`${entry.id}\n`);
  return EXIT.ok;
}

const HINTS = {
  follow: 'tq cron ls shows the last task; tq logs -f follows it',
  wait: 'tq cron ls shows the last task; tq wait waits for it',
  file: 'let it submit the workflow: tq cron add EXPR -- tq submit -f FLOW',
  batch: 'let it submit the batch: tq cron add EXPR -c "tq submit --batch - < FILE"',
  at: '--in D delays each of its tasks',
} as const;

/** `tq cron ls` */
export async function list(ctx: Ctx): Promise<number> {
  const q = await ctx.queue();
  const names = await cronNames(q);
  const views: CronView[] = [];
  for (const id of names.ids) {
    const entry = await readCron(q, id);
    if (entry !== undefined) views.push(await viewOf(q, entry, names.paused.has(id)));
  }
  if (ctx.json) printJson(views, ctx.io);
  else if (views.length > 0) {
    const now = await nowOf(q);
    ctx.io.out(
      table(
        COLUMNS,
        views.map((v) => cells(v, now)),
        ctx.io,
      ),
    );
  }
  return EXIT.ok;
}

const COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'EXPR' },
  { title: 'ZONE' },
  { title: 'STATE', paint: (text) => (text === 'active' ? 'green' : 'yellow') },
  { title: 'NEXT' },
  { title: 'LAST' },
  { title: 'TASK', shrinkTo: 14 },
  { title: 'COMMAND', shrinkTo: 12 },
];

function cells(v: CronView, now: number): string[] {
  const moment = (at: string | null): string => (at === null ? '' : `${clockTime(Date.parse(at), now)} (${relative(Date.parse(at), now)})`);
  const skipped = v.lastSkipped !== null && (v.last === null || v.lastSkipped > v.last);
  return [
    v.id,
    visible(v.expr),
    visible(v.tz),
    v.state,
    moment(v.next),
    skipped ? `${moment(v.lastSkipped)} skipped` : moment(v.last),
    v.lastTask ?? '',
    v.name === null ? visible(commandLine({ command: v.command, ...(v.shell === null ? {} : { shell: v.shell }) })) : visible(v.name),
  ];
}

async function viewOf(q: Queue, entry: CronEntry, paused: boolean): Promise<CronView> {
  const notes = await cronNotes(q, entry.id);
  const fired = notes.findLast((n) => n.task !== undefined);
  const skipped = notes.findLast((n) => n.skippedFor !== undefined || n.refused !== undefined);
  const next = paused ? null : await nextOf(q, entry, await nowOf(q));
  return {
    id: entry.id,
    expr: entry.expr,
    tz: entry.tz,
    state: paused ? 'paused' : 'active',
    overlap: entry.overlap,
    catchup: entry.catchup,
    next: next === null ? null : iso(next),
    last: fired === undefined ? null : iso(fired.tick),
    lastTask: fired?.task ?? null,
    lastSkipped: skipped === undefined ? null : iso(skipped.tick),
    lastSkippedReason: skipped?.refused ?? (skipped === undefined ? null : `${skipped.skippedFor} was unfinished`),
    name: entry.draft.name ?? null,
    command: entry.draft.command,
    shell: entry.draft.shell ?? null,
    createdAt: iso(entry.createdAt),
    createdBy: entry.createdBy,
  };
}

/** `tq cron rm` */
export async function remove(ctx: Ctx): Promise<number> {
  return forEachEntry(ctx, async (q, id) => void (await removeCron(q, id)));
}

/** `tq cron pause` */
export async function pause(ctx: Ctx): Promise<number> {
  return forEachEntry(ctx, async (q, id) => void (await pauseCron(q, id)));
}

/** `tq cron resume` */
export async function resume(ctx: Ctx): Promise<number> {
  return forEachEntry(ctx, async (q, id) => void (await resumeCron(q, id)));
}

/** Prints the ids it did something to, an error line for each word that names none. */
async function forEachEntry(ctx: Ctx, change: (q: Queue, id: string) => Promise<void>): Promise<number> {
  const q = await ctx.queue();
  const { ids } = await cronNames(q);
  const done: string[] = [];
  const errors: TqError[] = [];
  for (const word of ctx.args) {
    try {
      const id = chosen(ids, word);
      if (done.includes(id)) continue;
      if (ctx.flags['dry-run'] !== true) await change(q, id);
      done.push(id);
    } catch (error) {
      if (!(error instanceof TqError)) throw error;
      errors.push(error);
    }
  }
  if (errors.length === 1 && ctx.args.length === 1) throw errors[0]!;
  if (ctx.json) printJson(done, ctx.io);
  else ctx.io.out(done.map((id) => `${id}\n`).join(''));
  for (const error of errors) printError(error, error.exit, ctx.json, ctx.io);
  if (errors.length === 0) return EXIT.ok;
  return done.length === 0 ? errors[0]!.exit : EXIT.refused;
}

const LEAST_WORD = 4;

/** As ids of tasks are named: whole, or by a beginning or an end that no other has. */
function chosen(ids: readonly string[], word: string): string {
  if (ids.includes(word)) return word;
  const hits = word.length < LEAST_WORD ? [] : ids.filter((id) => id.startsWith(word) || id.endsWith(word));
  if (hits.length > 1) throw new TqError('AMBIGUOUS', `${quoted(word)} means several entries: ${hits.join(', ')}`);
  if (hits[0] === undefined) throw new TqError('NOT_FOUND', `no such cron entry: ${quoted(word)}`, { hint: 'tq cron ls lists them' });
  return hits[0];
}
