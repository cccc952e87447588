/**
 * `tq ls`: the tasks of the queue, newest unfinished first. Rows are read as they are printed, so a long queue begins to show at
 * once and ends when nobody reads any more; only a sort needs them all.
 */
import { EXIT, usage, type TqError } from '../errors.ts';
import { printError, table, type Column } from '../print.ts';
import { elementAt } from '../queue/array-view.ts';
import { serverNowOrLocal } from '../queue/clock.ts';
import { elementsIn, findElement, readArray } from '../queue/array.ts';
import type { Located } from '../queue/find.ts';
import { inSubmitOrder } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { newCache, type TaskView } from '../queue/read.ts';
import { count } from '../queue/walk.ts';
import { readWhy } from '../queue/why.ts';
import type { Filters } from '../task/selector.ts';
import { parseTime } from '../task/time.ts';
import { STATES, UNFINISHED, type State } from '../task/types.ts';
import { quoted, visible, visibleJson, width } from '../task/visible.ts';
import { sights } from '../worker/sight.ts';
import { age, clockTime, commandOf, progressText, relative, runTime, stateStyle, titleOf } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { look, nowOf, type Looked } from './look.ts';
import { exitOfMissing, folded, isRefusal, matching, mayNotRead, namesSuffice, readFilters, select, statesOf } from './select.ts';
import { defineCommand, type Ctx, type FlagsOf } from './spec.ts';

const FLAGS = {
  all: { char: 'a', help: 'finished tasks too (also with ids, --state, --failed and --since)' },
  output: { char: 'o', value: 'FIELD[,FIELD]', help: 'these columns, by their JSON names: id,state,name' },
  sort: { value: '[-]FIELD', dash: true, help: 'sort by a JSON name; with - the largest first' },
  limit: { value: 'N', help: 'at most N rows' },
  count: { help: 'print how many there are' },
  expand: { help: 'one row for each element of an array' },
  'no-header': { help: 'without the line of titles' },
  at: { value: 'T', help: 'as it was then' },
  ndjson: { help: 'one JSON object a line' },
  ...FILTER_FLAGS,
} as const;

type Flags = FlagsOf<typeof FLAGS>;

export const command = defineCommand({
  name: 'ls',
  section: 'LOOKING',
  summary: 'list tasks, the unfinished ones unless told otherwise',
  examples: [
    { command: 'tq ls', text: 'what is not finished, newest first' },
    { command: 'tq ls -a --since 1d --sort -startedAt', text: 'everything of the last day, last started first' },
    { command: 'tq ls --failed -o id --no-header | tq retry -', text: 'run again what failed' },
    { command: 'tq ls -g nightly --json', text: 'for a program' },
  ],
  args: SELECTOR,
  flags: FLAGS,
  run: list,
});

async function list(ctx: Ctx<Flags>): Promise<number> {
  const { flags, io } = ctx;
  const limit = flags.limit === undefined ? Number.POSITIVE_INFINITY : wholeNumber(flags.limit, '--limit');
  const fields = flags.output === undefined ? undefined : parseFields(flags.output);
  const order = flags.sort === undefined ? undefined : parseOrder(flags.sort);
  if (flags.count === true && fields !== undefined)
    throw usage(`--count prints a number, not the columns of --output ${quoted(flags.output!)}`);
  const q = await ctx.queue();
  const then = flags.at === undefined ? undefined : parseTime(flags.at, '--at', { now: await serverNowOrLocal(q), look: 'back' });
  const source = await sourceOf(ctx, q);
  const full = ctx.json || flags.ndjson === true;
  const { rowsThen, countRows } = then === undefined ? { rowsThen: undefined, countRows: undefined } : await import('./ls-at.ts');
  const all = (): Rows => (then === undefined ? rowsOf(q, source, full) : rowsThen!(ctx, q, then, source, full));
  if (flags.count === true) {
    io.out(`${then === undefined ? await source.count() : await countRows!(all())}\n`);
  } else {
    const rows = takeSome(order === undefined ? all() : sorted(all(), order, limit), limit);
    if (flags.ndjson === true) await printLines(rows, ctx);
    else if (ctx.json) await printArray(rows, ctx);
    else await printTable(q, rows, fields, flags['no-header'] !== true, ctx, then);
  }
  for (const error of source.missing) printError(error, error.exit, ctx.json, io);
  return source.exit;
}

/** Where the rows come from: ids that were given, or a walk through the states. */
export interface Source {
  /** Those that were given. */
  ids?: Located[];
  batches(): AsyncIterable<Located[]> | Iterable<Located[]>;
  count(): Promise<number>;
  /** A task that moved while it was looked at still belongs in the list in these states. */
  states: readonly State[];
  missing: TqError[];
  exit: number;
  /** One row for each element. */
  expand: boolean;
}

async function sourceOf(ctx: Ctx<Flags>, q: Queue): Promise<Source> {
  if (ctx.args.length > 0) {
    const selection = await select(ctx, { verb: 'ls', words: ctx.args, none: 'all', filters: true, reach: STATES });
    const found = selection.tasks.map((s) => s.at);
    return {
      ids: found,
      batches: () => [found],
      count: async () => (ctx.flags.expand === true ? countExpanded(q, STATES, [found]) : found.length),
      states: STATES,
      missing: selection.missing,
      exit: exitOfMissing(found.length, selection.missing),
      expand: ctx.flags.expand === true,
    };
  }
  const filters = await readFilters(ctx, q);
  const all = ctx.flags.all === true || filters?.since !== undefined;
  const states = statesOf(filters ?? {}, all ? STATES : UNFINISHED);
  return {
    batches: () => matching(q, states, filters),
    count: () => (ctx.flags.expand === true ? countExpanded(q, states, matching(q, states, filters)) : countMatching(q, states, filters)),
    states,
    missing: [],
    exit: 0,
    expand: ctx.flags.expand === true,
  };
}

async function countMatching(q: Queue, states: readonly State[], filters: Filters | undefined): Promise<number> {
  let n = 0;
  if (filters === undefined || (filters.since === undefined && namesSuffice(filters, states))) {
    return (await count(q, { states, queue: filters?.queue })).tasks;
  }
  for await (const batch of folded(q, matching(q, states, filters))) n += batch.filter((at) => states.includes(at.state)).length;
  return n;
}

/** Each element of an array by itself, by its state. */
async function countExpanded(q: Queue, states: readonly State[], batches: AsyncIterable<Located[]> | Iterable<Located[]>): Promise<number> {
  let n = 0;
  for await (const batch of folded(q, batches)) {
    for (const at of batch) {
      const array = at.part === 'array' ? await readArray(q, at.id) : undefined;
      if (array === undefined) n += states.includes(at.state) ? 1 : 0;
      else for (const state of states) n += array.counts[state] ?? 0;
    }
  }
  return n;
}

/** Arrays as their elements, in order. */
async function* expanded(q: Queue, batches: AsyncIterable<Located[]> | Iterable<Located[]>): AsyncGenerator<Located[]> {
  for await (const batch of folded(q, batches)) {
    for (const at of batch) {
      const array = at.part === 'array' ? await readArray(q, at.id) : undefined;
      if (array === undefined) {
        yield [at];
        continue;
      }
      for (const { n } of elementsIn(array)) {
        const found = await findElement(q, array, n);
        if (found !== undefined) yield [elementAt(array, n, found)];
      }
    }
  }
}

export type Rows = AsyncGenerator<Looked>;

/** `full` for JSON, with all that a task has. */
async function* rowsOf(q: Queue, source: Source, full: boolean): Rows {
  const cache = newCache();
  const moved = new Set<string>();
  for await (const batch of source.expand ? expanded(q, source.batches()) : folded(q, source.batches())) {
    for (const seen of batch) {
      if (moved.has(seen.id)) continue;
      let looked: Looked | undefined;
      try {
        looked = await look(q, seen, cache, !full);
      } catch (error) {
        if (!isRefusal(error)) throw error;
        source.missing.push(mayNotRead(seen));
        source.exit = EXIT.permission;
      }
      if (looked === undefined || !source.states.includes(looked.at.state)) continue;
      // What moved may be met again further on.
      if (looked.at.file !== seen.file) moved.add(seen.id);
      yield looked;
    }
  }
}

async function* takeSome(rows: Rows, limit: number): Rows {
  let left = limit;
  if (left <= 0) return;
  for await (const row of rows) {
    yield row;
    if (--left <= 0) return;
  }
}

async function printLines(rows: Rows, { io }: Ctx<Flags>): Promise<void> {
  for await (const { view } of rows) if (!io.out(`${visibleJson(view)}\n`)) return;
}

async function printArray(rows: Rows, { io }: Ctx<Flags>): Promise<void> {
  let before = '[\n';
  for await (const { view } of rows) {
    if (!io.out(before + visibleJson(view))) return;
    before = ',\n';
  }
  io.out(before === '[\n' ? '[]\n' : '\n]\n');
}

/** Rows to measure columns by before the first is printed; later ones come in larger parts. */
const FIRST_ROWS = 100;
const MORE_ROWS = 1000;

async function printTable(
  q: Queue,
  rows: Rows,
  fields: readonly string[] | undefined,
  header: boolean,
  ctx: Ctx<Flags>,
  then: number | undefined,
): Promise<void> {
  const { io } = ctx;
  const columns = fields === undefined ? COLUMNS : fields.map(columnOf);
  const cells =
    fields === undefined
      ? await cellsForPeople(q, then)
      : async ({ view }: Looked): Promise<string[]> => fields.map((field) => fieldText(view, field));
  const widths = columns.map((c) => (header ? width(c.title) : 0));
  let part: string[][] = [];
  let parts = 0;
  const flush = (): boolean => {
    // A column that is never cut keeps its width from one part to the next.
    for (const row of part) columns.forEach((c, i) => (widths[i] = c.shrinkTo === undefined ? Math.max(widths[i]!, width(row[i]!)) : 0));
    const padded = part.map((row) =>
      row.map((text, i) => (columns.length > 1 ? text + ' '.repeat(Math.max(0, widths[i]! - width(text))) : text)),
    );
    const text = table(columns, padded, io, { header: header && parts === 0 });
    parts++;
    part = [];
    return io.out(text);
  };
  for await (const row of rows) {
    part.push(await cells(row));
    if (part.length >= (parts === 0 ? FIRST_ROWS : MORE_ROWS) && !flush()) return;
  }
  if (part.length > 0) flush();
}

const COLUMNS: readonly Column[] = [
  { title: 'ID' },
  { title: 'STATE', paint: (text) => stateStyle(text.trim()) },
  { title: 'AGE' },
  { title: 'TIME' },
  { title: 'WORKER', shrinkTo: 10 },
  { title: 'NAME', shrinkTo: 10 },
  { title: 'INFO', shrinkTo: 10, paint: () => 'dim' },
];

/** What the columns for people say of a row; ages are counted from `then`, where it was so then. */
async function cellsForPeople(q: Queue, then: number | undefined): Promise<(row: Looked) => Promise<string[]>> {
  const now = then ?? (await nowOf(q));
  let living: Promise<ReadonlySet<string>> | undefined;
  return async ({ view, at }) => {
    let info: string;
    if (view.state === 'running') {
      living ??= then === undefined ? livingSessions(q) : undefined;
      const alive = living === undefined || (at.place.state === 'running' && (await living).has(at.place.session));
      info = join([alive ? '' : 'worker is not alive', progressText(view.progress), view.attempt > 1 ? `attempt ${view.attempt}` : '']);
    } else info = await waitText(q, view, at, now);
    return [view.id, view.state, age(view.submittedAt, now), runTime(view, now), visible(view.worker ?? ''), titleOf(view), info];
  };
}

async function livingSessions(q: Queue): Promise<ReadonlySet<string>> {
  return new Set((await sights(q)).filter((s) => s.alive).map((s) => s.file.session));
}

/** Until when, for whom, by whom; or why it ended so. */
async function waitText(q: Queue, view: TaskView, at: Located, now: number): Promise<string> {
  const reason = visible(view.reason ?? '');
  switch (view.state) {
    case 'delayed': {
      const due = at.place.state === 'delayed' ? at.place.dueAt : Date.parse(view.notBefore ?? '');
      return join([Number.isNaN(due) ? '' : `until ${clockTime(due, now)} (${relative(due, now)})`, reason]);
    }
    case 'waiting':
      return view.after.length > 0
        ? `for ${view.after.map((p) => visible(p.id)).join(', ')}`
        : view.key === null
          ? reason
          : `for its key ${visible(view.key)}`;
    case 'held': {
      const why = await readWhy(q, at.id, at.n, 'held');
      return join([why === undefined ? '' : `${why.by === null ? '' : `by ${visible(why.by.user)} `}${relative(why.at, now)}`, reason]);
    }
    default:
      return reason;
  }
}

function join(parts: readonly string[]): string {
  return parts.filter((part) => part !== '').join(', ');
}

/** The JSON names of a task, as `-o` and `--sort` take them; `labels.k` and `progress.percent` go one level down. */
const FIELDS = (
  'id name state reason queue group priority command shell script handler data cwd env labels needs after notBefore submittedAt submittedBy ' +
  'startedAt endedAt retries timeoutMs exitCode signal result progress worker attempt attempts array comment notes key mutex limits on steps ' +
  'backoff expiresAt deadlineMs stallMs file'
).split(' ');

function parseField(text: string, flag: string): string {
  if (FIELDS.includes(text.split('.')[0]!)) return text;
  throw usage(`${flag}: no such field: ${quoted(text)}`, `one of ${FIELDS.join(' ')}`);
}

function parseFields(text: string): string[] {
  return text.split(',').map((field) => parseField(field, '--output'));
}

interface Order {
  field: string;
  down: boolean;
}

function parseOrder(text: string): Order {
  const down = text.startsWith('-');
  return { field: parseField(down ? text.slice(1) : text, '--sort'), down };
}

/** At least so many are kept before those beyond the limit are dropped. */
const DROP_AT = 1000;

/** Tasks that lack the field come last either way; equal ones stay newest first. No more are kept than will be shown. */
async function* sorted(rows: Rows, { field, down }: Order, limit: number): Rows {
  const all: Array<{ row: Looked; key: string | number | null }> = [];
  const sort = (): void => {
    all.sort((a, b) => {
      if (a.key === null || b.key === null) return a.key === b.key ? 0 : a.key === null ? 1 : -1;
      const words = field === 'id' ? inSubmitOrder : compare;
      const up = typeof a.key === 'number' && typeof b.key === 'number' ? a.key - b.key : words(String(a.key), String(b.key));
      return down ? -up : up;
    });
    if (all.length > limit) all.length = limit;
  };
  for await (const row of rows) {
    all.push({ row, key: sortKey(valueOf(row.view, field)) });
    if (all.length >= 2 * limit + DROP_AT) sort();
  }
  sort();
  for (const { row } of all) yield row;
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}

function sortKey(value: unknown): string | number | null {
  if (value === null || value === undefined) return null;
  return typeof value === 'string' || typeof value === 'number' ? value : Array.isArray(value) ? value.length : JSON.stringify(value);
}

function valueOf(view: TaskView, field: string): unknown {
  let value: unknown = view;
  const [first = '', ...rest] = field.split('.');
  // A label's key may hold dots itself.
  for (const name of first === 'labels' && rest.length > 1 ? [first, rest.join('.')] : [first, ...rest]) {
    if (typeof value !== 'object' || value === null || !Object.hasOwn(value, name)) return null;
    value = (value as Record<string, unknown>)[name];
  }
  return value;
}

function columnOf(field: string): Column {
  const title = field.toUpperCase();
  if (field === 'state') return { title, paint: (text) => stateStyle(text.trim()) };
  return field === 'command' || field === 'name' || field === 'reason' || field === 'result' ? { title, shrinkTo: 16 } : { title };
}

/** One cell; `-` for nothing, so that a column stays a word to awk. */
function fieldText(view: TaskView, field: string): string {
  if (field === 'command') return commandOf(view);
  if (field === 'progress') return progressText(view.progress) || NOTHING;
  const value = valueOf(view, field);
  if (value === null || value === undefined || value === '') return NOTHING;
  if (typeof value !== 'object') return visible(String(value));
  if (field === 'after') return listText(view.after.map((p) => p.id));
  if (field === 'labels') return listText(Object.entries(view.labels).map(([k, v]) => `${k}=${v}`));
  if (field === 'submittedBy') return visible(`${view.submittedBy.user}@${view.submittedBy.host}`);
  return Array.isArray(value) && value.length === 0 ? NOTHING : visible(JSON.stringify(value));
}

const NOTHING = '-';

function listText(words: readonly string[]): string {
  return words.length === 0 ? NOTHING : visible(words.join(','));
}

function wholeNumber(text: string, flag: string): number {
  if (/^\d{1,15}$/.test(text)) return Number(text);
  throw usage(`${flag}: not a whole number: ${quoted(text)}`);
}
