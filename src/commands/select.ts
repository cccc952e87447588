/**
 * From the words and filter flags of a command line to tasks. An id costs a look into a few directories, a part of one a listing of
 * names, a filter as many task files as it needs. Nothing is done before every word is understood: an ambiguous one ends the command.
 */
import fs from 'node:fs';
import { errnoOf, EXIT, TqError, usage } from '../errors.ts';
import { printError, printJson } from '../print.ts';
import { serverNowOrLocal } from '../queue/clock.ts';
import type { Located } from '../queue/find.ts';
import { arrayAt, elementAt, locatePart } from '../queue/array-view.ts';
import { findElement, readArray } from '../queue/array.ts';
import { baseId, bucketEnd, bucketOf, idTime, isPiece, queueOfLane } from '../queue/layout.ts';
import { numbersIn } from '../task/array.ts';
import type { Queue } from '../queue/open.ts';
import { readTaskAt } from '../queue/outcome.ts';
import { newCache, viewLocated } from '../queue/read.ts';
import { parseSession } from '../queue/session.ts';
import { elementsOf, locateMany, walk } from '../queue/walk.ts';
import { checkGroup, checkLabel, checkQueue, checkWorkerName } from '../task/names.ts';
import { ID_LENGTH, matcher, parseSelector, parseStates, type FilterRow, type Filters, type Selector } from '../task/selector.ts';
import { parseSince } from '../task/time.ts';
import { STATES, TERMINAL, UNFINISHED, type State, type Task } from '../task/types.ts';
import { quoted, visible } from '../task/visible.ts';
import type { FILTER_FLAGS } from './flags/filter.ts';
import type { Ctx, FlagsOf } from './spec.ts';

export interface Selected {
  id: string;
  /** Where it was found. It may have moved since. */
  at: Located;
}

export interface Selection {
  /** In the order of the words; what a filter or `@all` found newest first. */
  tasks: Selected[];
  /** One error for each word that named nothing; one for a filter that matched nothing, where that is an error. */
  missing: TqError[];
  /** By a filter or `@all`, not one by one. */
  byFilter: boolean;
}

export interface SelectOptions {
  /** For messages, and for which states a filter reaches. */
  verb: string;
  words: readonly string[];
  /** What is meant when there is neither a word nor a filter. */
  none: 'unfinished' | 'all' | 'usage';
  /** Whether the verb takes filter flags. */
  filters: boolean;
  /** States that a filter or `@all` reaches when no `--state` is given; otherwise by verb. */
  reach?: readonly State[];
}

/** What a filter reaches unless `--state` says otherwise: the tasks to which the verb can be done. */
const REACH: Readonly<Record<string, readonly State[]>> = {
  cancel: UNFINISHED,
  hold: ['waiting', 'delayed', 'queued'],
  release: ['held'],
  retry: TERMINAL,
  rm: TERMINAL,
  why: UNFINISHED,
  ls: UNFINISHED,
};

/** For these an empty answer is an answer. */
const MAY_BE_EMPTY: ReadonlySet<string> = new Set(['ls', 'stats', 'events', 'graph']);

/**
 * Finds the tasks. Throws USAGE for a word that cannot name one, AMBIGUOUS for a part of several ids. What is not there is in
 * `missing`, for the caller to report: `forEachTask` does, `orThrow` makes it the command's error.
 */
export async function select(ctx: Ctx, options: SelectOptions): Promise<Selection> {
  const { verb } = options;
  const words = expandStdin(ctx, options.words);
  const selectors = words.map((word) => ({ word, selector: parseSelector(word) }));
  const q = await ctx.queue();
  const filters = options.filters ? await readFilters(ctx, q) : undefined;
  if (options.words.length === 0 && filters === undefined && options.none === 'usage') {
    throw usage(
      `tq ${verb}: which tasks?`,
      `ids, @last, - for ids from standard input${options.filters ? ', @all or filter flags' : ''}: tq help ${verb}`,
    );
  }
  const mayBeEmpty = MAY_BE_EMPTY.has(verb);
  if (options.words.length === 0) {
    const states = filters === undefined ? (options.none === 'unfinished' ? UNFINISHED : STATES) : reachOf(options, filters);
    const tasks = await everything(q, states, filters, !mayBeEmpty);
    const missing = tasks.length === 0 && filters !== undefined && !mayBeEmpty ? [nothingMatches(verb)] : [];
    return { tasks, missing, byFilter: filters !== undefined };
  }
  const found = await resolve(ctx, q, selectors, options, filters);
  if (filters === undefined) return found;
  const tasks: Selected[] = [];
  for (const task of found.tasks) if (await passes(q, filters, task.at)) tasks.push(task);
  const emptied = tasks.length === 0 && found.tasks.length > 0 && !mayBeEmpty;
  return { tasks, missing: emptied ? [...found.missing, nothingMatches(verb)] : found.missing, byFilter: true };
}

/** For a verb that cannot do a part: the first word that named nothing is the command's error. */
export function orThrow(selection: Selection): Selected[] {
  const [first] = selection.missing;
  if (first !== undefined) throw first;
  return selection.tasks;
}

/** The exit code when some words named nothing: 3 when nothing was found at all, 5 when the rest was. */
export function exitOfMissing(found: number, missing: readonly TqError[]): number {
  if (missing.length === 0) return EXIT.ok;
  return found === 0 ? missing[0]!.exit : EXIT.refused;
}

const MANY = 20;

/**
 * Asks on a terminal before something is done to many tasks that nobody named one by one; without a terminal, or with -y, never.
 * Throws REFUSED unless the answer is yes.
 */
export async function confirmMany(
  ctx: Ctx,
  verb: string,
  tasks: readonly Selected[],
  byFilter: boolean,
  answer: () => string = readAnswer,
): Promise<void> {
  if (!byFilter || tasks.length <= MANY || ctx.flags['yes'] === true || !ctx.system.isTerminal(0)) return;
  ctx.io.err(`tq ${verb}: ${tasks.length} tasks. Go on? y/N`);
  if (/^y(es)?$/i.test(answer().trim())) return;
  throw new TqError('REFUSED', `tq ${verb}: not confirmed, nothing was done`, { hint: '-y does not ask' });
}

/**
 * Does something to each task. Each id that it was done to goes to stdout (with `--json` all of them as one array), each that it
 * could not be done to is an error line. The exit code: of one task alone its own; of several 5 when some could not.
 */
export async function forEachTask(ctx: Ctx, selection: Selection, one: (s: Selected) => Promise<void>): Promise<number> {
  const failures: TqError[] = [...selection.missing];
  for (const error of failures) printError(error, error.exit, ctx.json, ctx.io);
  const done: string[] = [];
  try {
    for (const task of selection.tasks) {
      try {
        await one(task);
      } catch (error) {
        // Anything else is trouble with the queue itself, and would come again with the next task.
        if (!(error instanceof TqError)) throw error;
        failures.push(error);
        printError(error, error.exit, ctx.json, ctx.io);
        continue;
      }
      done.push(task.id);
      if (!ctx.json) ctx.io.out(`${task.id}\n`);
    }
  } finally {
    if (ctx.json && (done.length > 0 || failures.length === 0)) printJson(done, ctx.io);
  }
  if (failures.length === 0) return EXIT.ok;
  const alone = selection.tasks.length + selection.missing.length === 1;
  return alone || (selection.tasks.length === 0 && failures.every((e) => e.exit === failures[0]!.exit)) ? failures[0]!.exit : EXIT.refused;
}

/** The filter flags, checked; undefined when none was given. */
export async function readFilters(ctx: Ctx, q: Queue): Promise<Filters | undefined> {
  const flags = ctx.flags as FlagsOf<typeof FILTER_FLAGS>;
  const filters: Filters = {};
  if (flags.state !== undefined) filters.states = [...new Set(flags.state.flatMap((list) => parseStates(list, '--state')))];
  if (flags.queue !== undefined) filters.queue = checkQueue(flags.queue, '--queue');
  if (flags.group !== undefined) filters.group = checkGroup(flags.group, '--group');
  if (flags.label !== undefined) filters.labels = [...new Map(flags.label.map((pair) => checkLabel(pair, '--label')))];
  if (flags.name !== undefined) filters.name = flags.name;
  if (flags.user !== undefined) filters.user = flags.user;
  if (flags.worker !== undefined) filters.worker = checkWorkerName(flags.worker, '--worker');
  if (flags.failed === true) filters.failed = true;
  // Ids carry the file server's time, so it is that clock from which one looks back.
  if (flags.since !== undefined) filters.since = parseSince(flags.since, '--since', await serverNowOrLocal(q));
  return Object.keys(filters).length === 0 ? undefined : filters;
}

/** The states in which a filter can find anything. */
export function statesOf(filters: Filters, otherwise: readonly State[]): readonly State[] {
  if (filters.failed === true) return filters.states === undefined || filters.states.includes('failed') ? ['failed'] : [];
  return filters.states ?? otherwise;
}

/** Tasks in these states that the filters let through, newest first, bucket by bucket. */
export async function* matching(q: Queue, states: readonly State[], filters: Filters | undefined): AsyncGenerator<Located[]> {
  for await (const batch of walk(q, { states, queue: filters?.queue, since: filters?.since })) {
    if (filters === undefined) {
      yield batch;
      continue;
    }
    const passed: Located[] = [];
    for (const at of batch) if (await passes(q, filters, at)) passed.push(at);
    if (passed.length > 0) yield passed;
  }
}

/** The pieces of an array become one row, the first time that one of them is met; tasks of a batch stay what they are. */
export async function* folded(q: Queue, batches: AsyncIterable<Located[]> | Iterable<Located[]>): AsyncGenerator<Located[]> {
  const arrays = new Map<string, boolean>();
  for await (const batch of batches) {
    if (!batch.some((at) => at.id.includes('.') && at.part === undefined)) {
      yield batch;
      continue;
    }
    const rows: Located[] = [];
    for (const at of batch) {
      if (!at.id.includes('.') || at.part !== undefined) {
        rows.push(at);
        continue;
      }
      const id = baseId(at.id);
      const known = arrays.get(id);
      if (known === true) continue;
      const is: boolean = known ?? (isPiece(at.id) || (await readTaskQuietly(q, at))?.many !== undefined);
      arrays.set(id, is);
      const array = is ? await readArray(q, id) : undefined;
      if (!is) rows.push(at);
      else if (array !== undefined) rows.push(arrayAt(array));
    }
    if (rows.length > 0) yield rows;
  }
}

/** Whether the names alone tell what these filters ask. */
export function namesSuffice(filters: Filters, states: readonly State[]): boolean {
  if (filters.group !== undefined || filters.labels !== undefined || filters.name !== undefined || filters.user !== undefined) return false;
  return filters.worker === undefined && (filters.queue === undefined || states.every((state) => state === 'queued'));
}

/** The filters on one task; its files are read only when its name does not decide. */
export async function passes(q: Queue, filters: Filters, at: Located): Promise<boolean> {
  const row: FilterRow = {
    state: at.state,
    queue: at.place.state === 'queued' ? queueOfLane(at.place.lane) : '',
    user: '',
    submittedAt: idTime(at.id),
  };
  const { states, failed, since } = filters;
  // Some of its elements may have failed while others run.
  if (failed === true && at.part === 'array' && ((await readArray(q, at.id))?.counts.failed ?? 0) > 0) row.state = 'failed';
  if (!matcher({ states, failed, since })(row)) return false;
  if (namesSuffice(filters, [at.state])) return matcher(filters)(row);
  const task = await readTaskQuietly(q, at.part === undefined ? at : await fileOf(q, at));
  if (task === undefined) return false;
  Object.assign(row, { queue: task.queue, group: task.group, labels: task.labels, name: task.name, user: task.submittedBy.user });
  if (!matcher({ ...filters, worker: undefined })(row)) return false;
  return filters.worker === undefined || filters.worker === (await workerOf(q, at));
}

/** The entry whose file tells of an array or of an element. */
async function fileOf(q: Queue, at: Located): Promise<Located> {
  const array = await readArray(q, baseId(at.id));
  return array === undefined ? at : array.pieces[0]!.at;
}

/** The task in an entry; undefined when it moved on, does not parse, or may not be read: one among many keeps none of the others back. */
export async function readTaskQuietly(q: Queue, at: Located): Promise<Task | undefined> {
  try {
    return await readTaskAt(q, at.file, at.id);
  } catch (error) {
    if (isRefusal(error)) return undefined;
    throw error;
  }
}

/** Whether a refusal is about the file itself. Otherwise the file is no task, and this reader may not move it aside. */
export async function isUnreadable(q: Queue, at: Located, error: unknown): Promise<boolean> {
  if (!isRefusal(error)) return true;
  try {
    await q.fsx.read(at.file);
  } catch (cause) {
    if (errnoOf(cause) !== 'EISDIR') throw cause;
  }
  return false;
}

/** Errors of somebody who may read the queue but not write it. */
export function isRefusal(error: unknown): boolean {
  const code = errnoOf(error);
  return code === 'EACCES' || code === 'EPERM' || code === 'EROFS';
}

/** The worker of the newest attempt. */
async function workerOf(q: Queue, at: Located): Promise<string | undefined> {
  if (at.place.state === 'running' && at.state === 'running') return parseSession(at.place.session)?.owner;
  if (at.n === 0) return undefined;
  return (await viewLocated(q, at, newCache(), true))?.attempts.at(-1)?.worker;
}

function reachOf(options: SelectOptions, filters: Filters): readonly State[] {
  return statesOf(filters, options.reach ?? REACH[options.verb] ?? STATES);
}

function nothingMatches(verb: string): TqError {
  return new TqError('NOT_FOUND', `tq ${verb}: no task matches`, { hint: 'tq ls with the same flags lists what would match' });
}

/** A task of which others than its owner may not know more than its id. */
export function mayNotRead(at: Located): TqError {
  return new TqError('PERMISSION', `no permission to read task ${visible(at.id)}: ${visible(at.file)}`, { hint: 'its owner: chmod g+r' });
}

export function noSuchTask(word: string): TqError {
  return new TqError('NOT_FOUND', `no such task: ${visible(word)}`, { hint: 'tq ls -a lists all tasks' });
}

function noneOf(user: string): TqError {
  return new TqError('NOT_FOUND', `@last: no task here was submitted by ${visible(user)}`, { hint: 'tq ls -a lists all tasks' });
}

/** `-` replaced by the words on standard input. */
function expandStdin(ctx: Ctx, words: readonly string[]): string[] {
  if (!words.includes('-')) return [...words];
  const given = ctx.system
    .readStdin()
    .toString('utf8')
    .split(/\s+/)
    .filter((word) => word !== '');
  const nested = given.find((word) => word === '-');
  if (nested !== undefined) throw usage(`not a task: ${quoted(nested)} on standard input`, 'one id a line');
  const at = words.indexOf('-');
  return words.flatMap((word, i) => (word !== '-' ? [word] : i === at ? given : []));
}

/** Everything in these states. For a change the names are listed twice: a task that moved from a place not yet read to one read before is in the second. */
async function everything(q: Queue, states: readonly State[], filters: Filters | undefined, twice: boolean): Promise<Selected[]> {
  const tasks: Selected[] = [];
  const seen = new Set<string>();
  for (let pass = 0; pass < (twice ? 2 : 1); pass++) {
    for await (const batch of folded(q, walk(q, { states, queue: filters?.queue, since: filters?.since }))) {
      for (const at of batch) {
        if (seen.has(at.id) || !states.includes(at.state)) continue;
        seen.add(at.id);
        if (filters === undefined || (await passes(q, filters, at))) tasks.push({ id: at.id, at });
      }
    }
  }
  return tasks;
}

interface Word {
  word: string;
  selector: Selector;
}

/** Each word to its tasks, no task twice. */
async function resolve(
  ctx: Ctx,
  q: Queue,
  words: readonly Word[],
  options: SelectOptions,
  filters: Filters | undefined,
): Promise<Selection> {
  const parts = words.map(({ selector }) => textOf(selector)).filter((text) => text !== undefined && text.length !== ID_LENGTH);
  const like = parts.length === 0 ? [] : await idsLike(q, new Set(parts as string[]));
  // Ambiguity ends the command before anything is looked up.
  const ids = words.map(({ word, selector }) => wholeId(textOf(selector), like, word));
  const located = await locateMany(
    q,
    words.flatMap(({ selector }, i) => (ids[i] === undefined ? [] : [entryId(ids[i], selector)])),
  );
  const found = new Map<string, Selected>();
  const missing: TqError[] = [];
  let byFilter = false;
  for (const [i, { word, selector }] of words.entries()) {
    let hits: Located[] = [];
    switch (selector.kind) {
      case 'all':
        byFilter = true;
        hits = (await everything(q, reachOf(options, filters ?? {}), undefined, true)).map((s) => s.at);
        if (hits.length === 0 && MAY_BE_EMPTY.has(options.verb)) continue;
        break;
      case 'last':
        hits = await newestOf(q, ctx.system.user());
        break;
      case 'range':
        if (ids[i] !== undefined) hits = await withinRange(q, ids[i], selector.from, selector.to);
        break;
      default: {
        const at = ids[i] === undefined ? undefined : located.get(entryId(ids[i], selector));
        if (at !== undefined) hits = [await asElement(q, at)];
        else if (ids[i] !== undefined) hits = await partsOf(q, entryId(ids[i], selector));
      }
    }
    if (hits.length === 0)
      missing.push(
        selector.kind === 'last' ? noneOf(ctx.system.user()) : selector.kind === 'all' ? nothingMatches(options.verb) : noSuchTask(word),
      );
    for (const at of hits) if (!found.has(at.id)) found.set(at.id, { id: at.id, at });
  }
  return { tasks: [...found.values()], missing, byFilter };
}

/** The id, or the part of one, in a word. */
function textOf(selector: Selector): string | undefined {
  switch (selector.kind) {
    case 'id':
    case 'element':
    case 'range':
      return selector.id;
    case 'part':
      return selector.text;
    default:
      return undefined;
  }
}

function entryId(id: string, selector: Selector): string {
  return selector.kind === 'element' ? `${id}.${selector.n}` : id;
}

/** An entry of one number is an element of an array, or a task of a batch. */
async function asElement(q: Queue, at: Located): Promise<Located> {
  return at.id.includes('.') && (await readTaskQuietly(q, at))?.many !== undefined ? { ...at, part: 'element' } : at;
}

/** What an id leads to that has no entry of its own: an array, one of its elements, or all tasks of a batch. */
async function partsOf(q: Queue, id: string): Promise<Located[]> {
  const part = await locatePart(q, id);
  if (part !== undefined) return [part];
  return id.includes('.') ? [] : elementsOf(q, id);
}

/** Elements of an array, or tasks of a batch. */
async function withinRange(q: Queue, id: string, from: number, to: number): Promise<Located[]> {
  const array = await readArray(q, id);
  if (array === undefined) return (await elementsOf(q, id)).filter((at) => isWithin(at, from, to));
  const hits: Located[] = [];
  for (const n of numbersIn(array.many.numbers, from, to)) {
    const found = await findElement(q, array, n);
    if (found !== undefined) hits.push(elementAt(array, n, found));
  }
  return hits;
}

function isWithin(at: Located, from: number, to: number): boolean {
  const n = Number(at.id.split('.')[1] ?? Number.NaN);
  return n >= from && n <= to;
}

/** The ids of submissions that begin or end with one of the texts, by names alone; looked for twice, as something may be moving. */
async function idsLike(q: Queue, texts: ReadonlySet<string>): Promise<string[]> {
  const lengths = [...new Set([...texts].map((text) => text.length))];
  const found = new Set<string>();
  for (let pass = 0; pass < 2; pass++) {
    for await (const batch of walk(q, { states: STATES })) {
      for (const at of batch) {
        const id = at.id.split('.')[0]!;
        if (lengths.some((n) => texts.has(id.slice(0, n)) || texts.has(id.slice(-n)))) found.add(id);
      }
    }
    const ids = [...found];
    if ([...texts].every((text) => ids.some((id) => id.startsWith(text) || id.endsWith(text)))) break;
  }
  return [...found];
}

/** The one id that this is, or is a prefix or suffix of. */
function wholeId(text: string | undefined, like: readonly string[], word: string): string | undefined {
  if (text === undefined || text.length === ID_LENGTH || like.includes(text)) return text;
  const ids = like.filter((id) => id.startsWith(text) || id.endsWith(text));
  if (ids.length <= 1) return ids[0];
  const shown = ids.slice(0, MOST_SHOWN).join(' ') + (ids.length > MOST_SHOWN ? ` and ${ids.length - MOST_SHOWN} more` : '');
  throw new TqError('AMBIGUOUS', `${visible(word)} is ambiguous, ${ids.length} tasks match: ${shown}`, {
    hint: 'give more of the id; nothing was done',
  });
}

const MOST_SHOWN = 20;

/** The newest task that this user submitted. */
async function newestOf(q: Queue, user: string): Promise<Located[]> {
  let newest: Located | undefined;
  for await (const batch of walk(q, { states: STATES })) {
    // Only within the same seconds may something newer come in a later batch.
    if (newest !== undefined && bucketEnd(bucketOf(newest.id)) !== bucketEnd(bucketOf(batch[0]!.id))) break;
    for (const at of batch) {
      if (newest !== undefined && baseId(at.id) <= baseId(newest.id)) continue;
      if ((await readTaskQuietly(q, at))?.submittedBy.user === user) newest = at;
    }
  }
  if (newest === undefined) return [];
  const id = baseId(newest.id);
  return id === newest.id ? [newest] : elementsOf(q, id);
}

/** One line from the terminal. */
function readAnswer(): string {
  const bytes = Buffer.alloc(256);
  try {
    return bytes.toString('utf8', 0, fs.readSync(0, bytes, 0, bytes.length, null));
  } catch {
    return '';
  }
}
