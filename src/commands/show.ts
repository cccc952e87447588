/**
 * `tq show`: everything about a task, with all its attempts.
 */
import { printError, printJson, table, type Column, type Io } from '../print.ts';
import { readArray } from '../queue/array.ts';
import { dependants, endedState } from '../queue/depend.ts';
import { locateAny } from '../queue/array-view.ts';
import type { Located } from '../queue/find.ts';
import type { Queue } from '../queue/open.ts';
import { baseId } from '../queue/layout.ts';
import { readLimit } from '../queue/limits.ts';
import { newCache, type AttemptView, type StepView, type TaskView } from '../queue/read.ts';
import { arrayLimit } from '../queue/submit.ts';
import { readWhy } from '../queue/why.ts';
import { formatDuration } from '../task/duration.ts';
import { formatSize } from '../task/size.ts';
import { STATES } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import { clockTime, commandOf, progressText, relative, stateStyle } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { look, nowOf } from './look.ts';
import { exitOfMissing, noSuchTask, select } from './select.ts';
import { defineCommand, type Ctx } from './spec.ts';

export const command = defineCommand({
  name: 'show',
  section: 'LOOKING',
  summary: 'show everything about a task, all attempts',
  examples: [
    { command: 'tq show @last', text: 'the one that you submitted last' },
    { command: 'tq show --json 7k2p | jq .attempts', text: 'for a program; a prefix or suffix of an id will do' },
  ],
  args: SELECTOR,
  flags: FILTER_FLAGS,
  run: show,
});

async function show(ctx: Ctx): Promise<number> {
  const { io } = ctx;
  const selection = await select(ctx, { verb: 'show', words: ctx.args, none: 'usage', filters: true });
  const q = await ctx.queue();
  const cache = newCache();
  const alone = selection.tasks.length + selection.missing.length === 1;
  const views: TaskView[] = [];
  const missing = [...selection.missing];
  for (const { id, at: seen } of selection.tasks) {
    const looked = await look(q, seen, cache);
    if (looked === undefined) {
      missing.push(noSuchTask(id));
      continue;
    }
    views.push(looked.view);
    if (!ctx.json && !io.out((views.length > 1 ? '\n' : '') + (await page(q, looked.view, looked.at, io)))) break;
  }
  if (ctx.json && alone && views.length === 1) printJson(views[0], io);
  else if (ctx.json && !(alone && views.length === 0)) printJson(views, io);
  for (const error of missing) printError(error, error.exit, ctx.json, io);
  return exitOfMissing(views.length, missing);
}

/** One task for people. */
export async function page(q: Queue, view: TaskView, at: Located, io: Pick<Io, 'paint' | 'columns'>): Promise<string> {
  const now = await nowOf(q);
  const moment = (text: string | null): string =>
    text === null ? '' : `${clockTime(Date.parse(text), now)} (${relative(Date.parse(text), now)})`;
  const style = stateStyle(view.state);
  const state = style === undefined ? view.state : io.paint(style, view.state);
  const lines: Array<readonly [string, string]> = [
    ['name', visible(view.name ?? '')],
    ['command', commandOf(view)],
    ['data', view.data === null || view.data === undefined ? '' : visible(JSON.stringify(view.data))],
    ['cwd', visible(view.cwd)],
    ['queue', `${visible(view.queue)}, priority ${view.priority}`],
    ['group', visible(view.group ?? '')],
    ['labels', visible(pairs(view.labels))],
    ['comment', visible(view.comment ?? '')],
    ['elements', await elementsText(q, view)],
    ['needs', needsText(view)],
    ['key', visible(view.key ?? '')],
    ['submitted', `${moment(view.submittedAt)} by ${visible(view.submittedBy.user)} on ${visible(view.submittedBy.host)}`],
    ['not before', view.state === 'delayed' || view.attempt === 0 ? moment(view.notBefore) : ''],
    ['expires', view.attempt === 0 ? moment(view.expiresAt) : ''],
    ['held', view.state === 'held' ? await heldText(q, at, now) : ''],
    ['started', moment(view.startedAt)],
    ['ended', moment(view.endedAt)],
    ['worker', visible(view.worker ?? '')],
    ['retries', retriesText(view)],
    ['ok codes', codesText(view['ok'])],
    ['limits', limitsText(view)],
    ['when lost', view['onLost'] === 'hold' || view['onLost'] === 'fail' ? view['onLost'] : ''],
    ['progress', progressText(view.progress)],
    ['stopped at', stoppedAt(view)],
    ['result', view.result === null || view.result === undefined ? '' : visible(JSON.stringify(view.result))],
    ['fallback', typeof view['fallback'] === 'string' ? visible(view['fallback']) : ''],
    ...HOOKS.map(([title, field]): [string, string] => [title, typeof view[field] === 'string' ? visible(view[field]) : '']),
    ['follows from', view.cause === null ? '' : `${view.cause.kind} of ${visible(view.cause.id)} (${view.cause.outcome})`],
    ['followed by', await followUpsText(q, view)],
    ['waits for', await parentsText(q, view)],
    ['waited for by', await childrenText(q, view.id)],
    ['file', visible(view.file)],
  ];
  const wide = Math.max(...lines.map(([title]) => title.length));
  const reason = view.reason === null || view.reason === '' ? '' : `: ${visible(view.reason)}`;
  let text = `${io.paint('bold', view.id)} ${state}${reason}\n`;
  for (const [title, value] of lines) if (value !== '') text += `  ${io.paint('dim', title.padEnd(wide))}  ${value}\n`;
  if (view.steps.length > 0) text += section('steps', table(STEPS, view.steps.map(stepCells), io), io);
  if (view.attempts.length > 0)
    text += section(
      'attempts',
      table(
        ATTEMPTS,
        view.attempts.map((a) => attemptCells(a, now)),
        io,
      ),
      io,
    );
  if (view.notes.length > 0) {
    text += section('notes', view.notes.map((n) => `${moment(n.at)} ${visible(n.by.user)}: ${visible(n.text)}\n`).join(''), io);
  }
  return text;
}

function section(title: string, body: string, io: Pick<Io, 'paint'>): string {
  return `  ${io.paint('dim', title)}\n${body.replaceAll(/^(?=.)/gm, '    ')}`;
}

function pairs(map: Readonly<Record<string, string>>): string {
  return Object.entries(map)
    .map(([k, v]) => `${k}=${v}`)
    .join(' ');
}

/** Of an array how many are in which state, and of it and its elements how many may run at a time. */
async function elementsText(q: Queue, { id, array, limits }: TaskView): Promise<string> {
  const counts = array === null ? undefined : (await readArray(q, id))?.counts;
  const there = STATES.filter((state) => (counts?.[state] ?? 0) > 0).map((state) => `${counts![state]} ${state}`);
  const parts = array === null ? [] : [`${array.size}${there.length === 0 ? '' : `: ${there.join(', ')}`}`];
  const own = arrayLimit(baseId(id));
  if (limits.some((limit) => limit.name === own)) {
    const limit = await readLimit(q, own);
    if (limit !== undefined) parts.push(`at most ${limit.max} at a time`);
  }
  return parts.join('; ');
}

function needsText({ id, needs, on, mutex, limits }: TaskView): string {
  const parts: string[] = [];
  for (const [what, n] of Object.entries(needs)) {
    if (n === undefined || n === 0 || (what === 'cpus' && n === 1)) continue;
    parts.push(what === 'mem' ? `${formatSize(n)} mem` : `${n} ${visible(what)}`);
  }
  if (on !== null) parts.push(`worker with ${visible(on)}`);
  if (mutex !== null) parts.push(`mutex ${visible(mutex)}`);
  const own = arrayLimit(baseId(id));
  for (const limit of limits) if (limit.name !== own) parts.push(`limit ${visible(limit.name)}${limit.n === 1 ? '' : `=${limit.n}`}`);
  return parts.join(', ');
}

/** Commands that are submitted when it ends so. */
const HOOKS = [
  ['on success', 'onSuccess'],
  ['on failure', 'onFailure'],
  ['on cancel', 'onCancel'],
] as const;

function retriesText(view: TaskView): string {
  if (view.retries === 0) return '';
  const codes = codesText(view['retryOn']);
  return `${view.retries}, backoff ${visible(view.backoff)}${codes === '' ? '' : `, after exit codes ${codes}`}`;
}

/** `0,3-5`, of ranges in a task file. */
function codesText(ranges: unknown): string {
  if (!Array.isArray(ranges)) return '';
  return ranges.map((range) => (Array.isArray(range) ? [...new Set(range.map(Number))].join('-') : '')).join(',');
}

function limitsText({ timeoutMs, deadlineMs, stallMs }: TaskView): string {
  const parts: string[] = [];
  if (timeoutMs !== null) parts.push(`timeout ${formatDuration(timeoutMs)}`);
  if (deadlineMs !== null) parts.push(`deadline ${formatDuration(deadlineMs)}`);
  if (stallMs !== null) parts.push(`stall ${formatDuration(stallMs)}`);
  return parts.join(', ');
}

async function heldText(q: Queue, at: Located, now: number): Promise<string> {
  const why = await readWhy(q, at.id, at.n, 'held');
  if (why === undefined) return at.n === 0 ? 'since it was submitted' : '';
  return `${clockTime(why.at, now)} (${relative(why.at, now)})${why.by === null ? '' : ` by ${visible(why.by.user)}`}`;
}

async function parentsText(q: Queue, view: TaskView): Promise<string> {
  const parts: string[] = [];
  for (const { id, kind } of view.after) {
    const how = kind === 'after' ? '' : `${kind.slice('after-'.length)}, `;
    parts.push(`${visible(id)} (${how}${await stateOf(q, id)})`);
  }
  return parts.join(', ');
}

/** The step that did not end well. */
function stoppedAt({ steps }: TaskView): string {
  const at = steps.find((s) => s.state === 'failed' || s.state === 'canceled');
  return at === undefined ? '' : `step ${at.step} of ${steps.length}: ${visible(at.command)}`;
}

async function followUpsText(q: Queue, view: TaskView): Promise<string> {
  const parts: string[] = [];
  for (const { id, kind } of view.followUps) parts.push(`${visible(id)} (${kind}, ${await stateOf(q, id)})`);
  return parts.join(', ');
}

/** More are counted, not looked at. */
const MOST_CHILDREN = 50;

async function childrenText(q: Queue, id: string): Promise<string> {
  const children = await dependants(q, id);
  const parts: string[] = [];
  for (const child of children.slice(0, MOST_CHILDREN)) parts.push(`${visible(child)} (${await stateOf(q, child)})`);
  if (children.length > MOST_CHILDREN) parts.push(`and ${children.length - MOST_CHILDREN} more`);
  return parts.join(', ');
}

/** Where a task is, or how it ended before it was removed. */
export async function stateOf(q: Queue, id: string): Promise<string> {
  return (await locateAny(q, id))?.state ?? (await endedState(q, id)) ?? 'gone';
}

const STEPS: readonly Column[] = [
  { title: '#', align: 'right' },
  { title: 'STATE', paint: stateStyle },
  { title: 'EXIT' },
  { title: 'TIME' },
  { title: 'RESULT', shrinkTo: 16 },
  { title: 'COMMAND', shrinkTo: 16 },
];

function stepCells(s: StepView): string[] {
  return [
    String(s.step),
    s.state,
    s.exitCode === null ? '' : String(s.exitCode),
    s.durationMs === null ? '' : formatDuration(s.durationMs),
    s.result === null ? '' : visible(JSON.stringify(s.result)),
    visible(s.command),
  ];
}

const ATTEMPTS: readonly Column[] = [
  { title: '#', align: 'right' },
  { title: 'OUTCOME', paint: outcomeStyle },
  { title: 'EXIT' },
  { title: 'STARTED' },
  { title: 'TIME' },
  { title: 'CPU' },
  { title: 'MEM' },
  { title: 'WORKER' },
  { title: 'PID' },
  { title: 'REASON', shrinkTo: 16 },
];

const FALLBACK = ' (fallback)';

function outcomeStyle(cell: string): ReturnType<typeof stateStyle> {
  const text = cell.replace(FALLBACK, '');
  if (text === 'succeeded') return 'green';
  if (text === 'running') return 'cyan';
  return text === 'canceled' || text === 'snoozed' || text === 'preempted' ? 'yellow' : 'red';
}

function attemptCells(a: AttemptView, now: number): string[] {
  const started = a.startedAt === null ? undefined : Date.parse(a.startedAt);
  const took = a.durationMs ?? (started === undefined ? undefined : (a.endedAt === null ? now : Date.parse(a.endedAt)) - started);
  return [
    String(a.attempt),
    (a.outcome ?? 'running') + (a.fallback ? FALLBACK : ''),
    a.signal ?? (a.exitCode === null ? '' : String(a.exitCode)),
    started === undefined ? '' : clockTime(started, now),
    took === undefined ? '' : formatDuration(took),
    a.cpuMs === null ? '' : formatDuration(a.cpuMs),
    a.maxRssKb === null ? '' : formatSize(a.maxRssKb * 1024),
    visible(a.worker) + (a.host === null || a.host === a.worker ? '' : ` on ${visible(a.host)}`),
    a.pid === null ? '' : String(a.pid),
    visible(a.reason ?? ''),
  ];
}
