/**
 * Looking at workers: `tq worker ls` and `tq worker show`. What is said here is a report; nothing acts on it.
 */
import { printError, printJson, table, type Column } from '../print.ts';
import { workerNames } from '../queue/registry.ts';
import { EXIT, TqError } from '../errors.ts';
import { globToRegExp, isGlob } from '../task/glob.ts';
import { formatSize } from '../task/size.ts';
import { iso } from '../task/time.ts';
import { visible } from '../task/visible.ts';
import { sightOf, sights, type Sight } from '../worker/sight.ts';
import { clockTime, progressText, relative } from './describe.ts';
import { nowOf } from './look.ts';
import type { Ctx } from './spec.ts';

/** The Worker JSON of `worker ls --json`. Fields are only ever added. */
export interface WorkerView {
  name: string;
  state: string;
  want: string | null;
  host: string;
  pid: number;
  alive: boolean;
  jobs: number;
  /** Ids. */
  running: string[];
  labels: Record<string, string>;
  offers: Record<string, number>;
  startedAt: string;
  lastSeenAt: string | null;
  /** Load average of its machine over a minute. */
  load: number | null;
  queues: string[];
  /** Why it is in error, or was lost. */
  reason: string | null;
  /** What keeps it from taking tasks although it is awake. */
  blocked: string | null;
  /** The task that it keeps room for. */
  reserved: string | null;
  /** Words in its request file that mean nothing. */
  badWant: string | null;
  version: string;
  session: string;
  /** Names. */
  handlers: string[];
  /** Modules, or functions in them, that it could not take, and why. */
  brokenHandlers: Array<{ file: string; reason: string }>;
}

/** `tq worker ls` */
export async function list(ctx: Ctx): Promise<number> {
  const { io } = ctx;
  const q = await ctx.queue();
  const found = await sights(q);
  if (ctx.json) {
    printJson(found.map(workerView), io);
    return EXIT.ok;
  }
  if (found.length === 0) return EXIT.ok;
  const now = await nowOf(q);
  io.out(
    table(
      COLUMNS,
      found.map((s) => cells(s, now)),
      io,
    ),
  );
  return EXIT.ok;
}

/** `tq worker show W` */
export async function show(ctx: Ctx): Promise<number> {
  const { io } = ctx;
  const q = await ctx.queue();
  const now = await nowOf(q);
  const { names, missing } = chooseWorkers(await workerNames(q), ctx.args);
  const found: Sight[] = [];
  for (const name of names) {
    const seen = await sightOf(q, name, now);
    if (seen === undefined) missing.push(noSuchWorker(name));
    else found.push(seen);
  }
  const alone = found.length + missing.length === 1;
  if (ctx.json && alone && found.length === 1) printJson(workerView(found[0]!), io);
  else if (ctx.json && !alone) printJson(found.map(workerView), io);
  else if (!ctx.json) io.out(found.map((s) => page(s, now, io)).join('\n'));
  for (const error of missing) printError(error, error.exit, ctx.json, io);
  if (missing.length === 0) return EXIT.ok;
  return found.length === 0 ? EXIT.notFound : EXIT.refused;
}

/** The names that words and globs mean, in order, none twice; an error for each word that means none. */
export function chooseWorkers(known: readonly string[], words: readonly string[]): { names: string[]; missing: TqError[] } {
  const names = new Set<string>();
  const missing: TqError[] = [];
  for (const word of words) {
    const hits = known.filter((name) => name === word);
    if (hits.length === 0 && isGlob(word)) {
      const pattern = globToRegExp(word);
      hits.push(...known.filter((name) => pattern.test(name)));
    }
    if (hits.length === 0) missing.push(noSuchWorker(word));
    for (const name of hits) names.add(name);
  }
  return { names: [...names], missing };
}

export function workerView(s: Sight): WorkerView {
  return {
    name: s.file.name,
    state: s.state,
    want: s.want,
    host: s.file.host,
    pid: s.file.pid,
    alive: s.alive,
    jobs: s.file.jobs,
    running: s.running,
    labels: s.file.labels,
    offers: s.file.offers,
    startedAt: iso(s.file.startedAt),
    lastSeenAt: s.lastSeenAt === null ? null : iso(s.lastSeenAt),
    queues: s.file.queues,
    reason: s.said?.reason ?? null,
    blocked: s.said?.blocked ?? null,
    reserved: s.said?.reserved?.id ?? null,
    load: s.load,
    badWant: s.badWant,
    version: s.file.version,
    session: s.file.session,
    handlers: handlersOf(s),
    brokenHandlers: brokenOf(s),
  };
}

function handlersOf(s: Sight): string[] {
  const { handlers } = s.file.settings;
  return typeof handlers === 'object' && handlers !== null ? Object.keys(handlers) : [];
}

function brokenText(broken: { file: string; reason: string }): string {
  return visible(`${broken.file}: ${broken.reason}`);
}

function brokenOf(s: Sight): Array<{ file: string; reason: string }> {
  const { brokenHandlers: broken } = s.file.settings;
  return Array.isArray(broken) ? (broken as Array<{ file: string; reason: string }>) : []; // as the worker wrote it
}

function noSuchWorker(word: string): TqError {
  return new TqError('NOT_FOUND', `no such worker: ${visible(word)}`, { hint: 'tq worker ls lists the workers' });
}

const COLUMNS: readonly Column[] = [
  { title: 'NAME', shrinkTo: 16 },
  { title: 'STATE', paint: stateStyle },
  { title: 'RUNNING', align: 'right' },
  { title: 'HOST', shrinkTo: 6 },
  { title: 'SEEN' },
  { title: 'QUEUES', shrinkTo: 6 },
  { title: 'LABELS', shrinkTo: 6 },
  { title: 'INFO', shrinkTo: 8 },
];

function stateStyle(text: string): 'green' | 'red' | 'yellow' | 'dim' {
  if (text.startsWith('error') || text.endsWith(NOT_ALIVE)) return 'red';
  if (text === 'awake') return 'green';
  return text === 'offline' ? 'dim' : 'yellow';
}

const NOT_ALIVE = '(not alive)';

/** `awake`, `awake -> asleep` while a request is pending, `awake (not alive)` until a dead one is buried. */
export function stateText(s: Sight): string {
  const state = s.want === null ? s.state : `${s.state} -> ${s.want}`;
  return s.alive || s.state === 'offline' ? state : `${state} ${NOT_ALIVE}`;
}

function cells(s: Sight, now: number): string[] {
  return [
    visible(s.file.name),
    stateText(s),
    s.state === 'offline' ? '' : `${s.running.length}/${s.file.jobs}`,
    visible(s.file.host),
    s.lastSeenAt === null ? '' : relative(s.lastSeenAt, now),
    visible(s.file.queues.join(',')),
    visible(labelsText(s.file.labels)),
    infoText(s),
  ];
}

function infoText({ said, badWant }: Sight): string {
  const parts: string[] = [];
  if (said?.reason !== undefined && said.reason !== null) parts.push(visible(said.reason));
  if (said?.blocked !== undefined && said.blocked !== null && said.blocked !== 'error') parts.push(visible(said.blocked));
  if (said?.reserved !== undefined && said.reserved !== null) parts.push(`keeps room for ${visible(said.reserved.id)}`);
  if (badWant !== null) parts.push(`request not understood: ${visible(badWant)}`);
  return parts.join(', ');
}

function labelsText(labels: Readonly<Record<string, string>>): string {
  return Object.entries(labels)
    .map(([k, v]) => (v === '' ? k : `${k}=${v}`))
    .join(',');
}

function page(s: Sight, now: number, io: Ctx['io']): string {
  const { file, said } = s;
  const moment = (at: number): string => `${clockTime(at, now)} (${relative(at, now)})`;
  const offers = Object.entries(file.offers).map(([what, n]) => (what === 'mem' ? `${formatSize(n)} mem` : `${n} ${visible(what)}`));
  const lines: Array<readonly [string, string]> = [
    ['host', `${visible(file.host)}, pid ${file.pid}`],
    ['queues', visible(file.queues.join(', '))],
    ['labels', visible(labelsText(file.labels))],
    ['offers', offers.join(', ')],
    ['running', s.state === 'offline' ? '' : `${s.running.length} of ${file.jobs}`],
    ['started', moment(file.startedAt)],
    ['last seen', s.lastSeenAt === null ? '' : moment(s.lastSeenAt)],
    ['load', s.load === null ? '' : String(s.load)],
    ['reason', visible(said?.reason ?? '')],
    ['blocked', said?.blocked === 'error' ? '' : visible(said?.blocked ?? '')],
    ['keeps room for', visible(said?.reserved?.id ?? '')],
    ['request', s.badWant === null ? '' : `not understood: ${visible(s.badWant)}`],
    ['gate', visible(typeof file.settings['gate'] === 'string' ? file.settings['gate'] : '')],
    ['handlers', visible(handlersOf(s).join(' '))],
    ['not loaded', brokenOf(s).map(brokenText).join('; ')],
    ['restarts', file.restartExitCode === null ? '' : `with exit code ${file.restartExitCode}`],
    ['version', visible(file.version)],
    ['session', visible(file.session)],
  ];
  const wide = Math.max(...lines.map(([title]) => title.length));
  let text = `${io.paint('bold', visible(file.name))} ${io.paint(stateStyle(stateText(s)), stateText(s))}\n`;
  for (const [title, value] of lines) if (value !== '') text += `  ${io.paint('dim', title.padEnd(wide))}  ${value}\n`;
  for (const id of s.running) {
    const run = said?.running.find((r) => r.id === id);
    const since = run === undefined ? '' : ` since ${moment(run.startedAt)}, slot ${run.slot}`;
    const progress = progressText(run?.progress ?? null);
    text += `    ${visible(id)}${since}${progress === '' ? '' : `, ${progress}`}\n`;
  }
  return text;
}
