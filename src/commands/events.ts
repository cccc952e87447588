/**
 * `tq events`: every change of state, one JSON object a line: what happened since then, or all that is known; with -f what happens from now
 * on. Each task's lines are in order and each of its steps is a legal one.
 */
import type { Facts, Told } from '../queue/history.ts';
import type { Queue } from '../queue/open.ts';
import { printError } from '../print.ts';
import { serverNowOrLocal } from '../queue/clock.ts';
import { baseId } from '../queue/layout.ts';
import { typeOf, type OtherEvent, type Step } from '../task/event.ts';
import { matcher, type Filters } from '../task/selector.ts';
import { STATES } from '../task/types.ts';
import { iso } from '../task/time.ts';
import { visibleJson } from '../task/visible.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { exitOfMissing, readFilters, select } from './select.ts';
import { defineCommand, type Ctx } from './spec.ts';

const FLAGS = {
  follow: { char: 'f', help: 'go on with what happens' },
  ...FILTER_FLAGS,
  state: { ...FILTER_FLAGS.state, help: 'steps to one of these states' },
  worker: { ...FILTER_FLAGS.worker, help: 'steps made by this worker' },
  failed: { help: 'steps to failed', group: FILTER_FLAGS.failed.group },
  since: { value: 'D|T', help: 'from then on: 1h (ago), 09:00' },
} as const;

export const command = defineCommand({
  name: 'events',
  section: 'LOOKING',
  summary: 'print changes of state, one JSON object a line',
  description:
    'Without -f: all that is known, or what happened --since. With -f alone: from now on. The type says what was done: ' +
    'submitted ready due delayed held released started ended retried removed; worker and queue for theirs. ' +
    '`inferred` marks a step that nobody wrote down: it was made by then.',
  examples: [
    { command: 'tq events -f', text: 'from now on' },
    { command: 'tq events --since 1h --failed', text: 'of the last hour' },
    { command: 'tq events -f -g nightly | jq -r \'select(.type == "ended") | .task + " " + .to\'', text: 'how the tasks of a group end' },
  ],
  args: SELECTOR,
  flags: FLAGS,
  run: events,
});

async function events(ctx: Ctx): Promise<number> {
  const { io, flags } = ctx;
  const q = await ctx.queue();
  // A look that does not touch the queue's clock file is all that a reader may be allowed.
  const filters = await readFilters(ctx, q);
  const since = filters?.since;
  const selection =
    ctx.args.length === 0 ? undefined : await select(ctx, { verb: 'events', words: ctx.args, none: 'all', filters: false, reach: STATES });
  for (const error of selection?.missing ?? []) printError(error, error.exit, ctx.json, io);
  const ids = selection?.tasks.map((s) => s.id);
  const wanted = makeWanted(filters, ids);
  const take = (told: Told): boolean => !wanted(told) || io.out(`${visibleJson(eventOf(told))}\n`);
  const exit = exitOfMissing(ids?.length ?? 1, selection?.missing ?? []);
  if (exit !== 0 && ids?.length === 0) return exit;
  if (flags['follow'] === true) return (await follow(ctx, q, since, ids, take)) ?? exit;
  const { replay } = await import('../queue/history.ts');
  for await (const told of replay(q, since ?? Number.NEGATIVE_INFINITY, Number.POSITIVE_INFINITY, ids === undefined ? {} : { ids })) {
    if (!take(told)) break;
  }
  return exit;
}

/** Until somebody ends it or nobody reads. */
async function follow(
  ctx: Ctx,
  q: Queue,
  since: number | undefined,
  ids: readonly string[] | undefined,
  take: (told: Told) => boolean,
): Promise<number | undefined> {
  const { followEvents } = await import('../queue/follow-events.ts');
  const abort = new AbortController();
  const off = ctx.system.onSignal(['SIGINT', 'SIGTERM', 'SIGHUP'], () => abort.abort());
  try {
    await followEvents(q, {
      since: since ?? (await serverNowOrLocal(q)),
      ...(ids === undefined ? {} : { ids }),
      take,
      signal: abort.signal,
      sleep: (ms) => ctx.system.sleep(ms, abort.signal),
    });
  } finally {
    off();
  }
  return undefined;
}

/** What a line says. Fields are only ever added. */
export function eventOf(told: Told): Record<string, unknown> {
  if ('other' in told) return otherOf(told.other);
  const { step, facts } = told;
  const { at, task, from, to, attempt, worker } = step;
  const event: Record<string, unknown> = { at: iso(at), task, type: typeOf(step), from, to, attempt, worker };
  if (facts.name !== null) event['name'] = facts.name;
  event['queue'] = facts.queue;
  if (facts.group !== null) event['group'] = facts.group;
  for (const key of MORE) if (step[key] !== undefined && step[key] !== null) event[key] = step[key];
  if (step.dueAt !== undefined && to === 'delayed') event['dueAt'] = iso(step.dueAt);
  if (step.inferred === true) event['inferred'] = true;
  return event;
}

const MORE = ['outcome', 'exitCode', 'signal', 'reason', 'by'] as const satisfies ReadonlyArray<keyof Step>;

function otherOf({ at, type, subject, from, to, worker, reason }: OtherEvent): Record<string, unknown> {
  const event: Record<string, unknown> = { at: iso(at), task: null, type, from, to, attempt: null, worker };
  if (type === 'queue') event['queue'] = subject;
  if (reason !== undefined) event['reason'] = reason;
  return event;
}

/** The filters on an event: those of a task on the task, state, worker and time on the step. */
function makeWanted(filters: Filters | undefined, ids: readonly string[] | undefined): (told: Told) => boolean {
  const chosen = ids === undefined ? undefined : new Set(ids);
  if (filters === undefined && chosen === undefined) return () => true;
  const { since, states, failed, worker, ...rest } = filters ?? {};
  const passes = matcher(rest);
  const known = new WeakMap<Facts, boolean>();
  return (told) => {
    if ('other' in told) {
      const { other } = told;
      if (chosen !== undefined || states !== undefined || failed === true || (since !== undefined && other.at < since)) return false;
      if (Object.keys(rest).length > 0) return other.type === 'queue' && rest.queue === other.subject && Object.keys(rest).length === 1;
      return worker === undefined || other.worker === worker;
    }
    const { step, facts } = told;
    if (since !== undefined && step.at < since) return false;
    if (states !== undefined && (step.to === null || !states.includes(step.to))) return false;
    if (failed === true && step.to !== 'failed') return false;
    if (worker !== undefined && step.worker !== worker) return false;
    if (chosen !== undefined && !chosen.has(step.task) && !chosen.has(baseId(step.task))) return false;
    let is = known.get(facts);
    if (is === undefined) {
      is = passes({ ...facts, state: step.to ?? 'done' });
      known.set(facts, is);
    }
    return is;
  };
}
