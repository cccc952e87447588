/**
 * `tq stats`: how many tasks are in which state, how those of a time ended, how long they waited and ran, what failed alike.
 */
import { EXIT } from '../errors.ts';
import { printJson, table, type Column, type Io } from '../print.ts';
import { serverNowOrLocal } from '../queue/clock.ts';
import { readArray } from '../queue/array.ts';
import { measure, MEASURED_BY, type Cluster, type Group, type Measured, type MeasuredBy } from '../queue/measure.ts';
import type { Queue } from '../queue/open.ts';
import { count } from '../queue/walk.ts';
import { formatDuration } from '../task/duration.ts';
import { matcher, type Filters } from '../task/selector.ts';
import { bounded, promText, spread, type Metric, type Spread } from '../task/stats.ts';
import { iso } from '../task/time.ts';
import { isTerminal, STATES, UNFINISHED, type State } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import { relative, stateStyle } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { folded, matching, readFilters, select, statesOf } from './select.ts';
import { defineCommand, type Ctx, type FlagsOf } from './spec.ts';

const FLAGS = {
  by: { value: 'FIELD', choices: MEASURED_BY, help: `one row for each: ${MEASURED_BY.join(' ')}` },
  failures: { help: 'failed attempts by code, last error line and worker' },
  prom: { help: 'in the text format of Prometheus' },
  ...FILTER_FLAGS,
  since: { value: 'D|T', help: 'what ended since then: 1h (ago), 09:00; 1d unless said' },
} as const;

type Flags = FlagsOf<typeof FLAGS>;

export const command = defineCommand({
  name: 'stats',
  section: 'LOOKING',
  summary: 'count tasks, with waiting and run times',
  description: 'Unfinished tasks as they are now; ended ones, attempts and times of the last day, or --since.',
  examples: [
    { command: 'tq stats --since 1h --by name', text: 'of the last hour, by name' },
    { command: 'tq stats --failures', text: 'what fails, by code, last line and worker' },
    { command: 'tq stats --prom > tq.prom', text: 'for the textfile collector of a node exporter' },
  ],
  args: SELECTOR,
  flags: FLAGS,
  run: stats,
});

const DAY_MS = 86_400_000;

interface Counted {
  /** Unfinished ones as they are now, ended ones of the time. */
  tasks: Record<State, number>;
  measured: Measured;
  since: number;
  until: number;
}

async function stats(ctx: Ctx<Flags>): Promise<number> {
  const { flags, io } = ctx;
  const q = await ctx.queue();
  const until = await serverNowOrLocal(q);
  const { since = until - DAY_MS, ...filters } = (await readFilters(ctx as unknown as Ctx, q)) ?? {};
  const ids = ctx.args.length === 0 ? undefined : await chosen(ctx as unknown as Ctx);
  const by = flags.by as MeasuredBy | undefined; // one of the choices
  const { states, failed, worker, ...rest } = filters;
  const passes = matcher(rest);
  const wanted = failed === true || states !== undefined ? statesOf(filters, STATES) : undefined;
  const measured = await measure(q, since, until, {
    ...(by === undefined ? {} : { by }),
    ...(worker === undefined ? {} : { worker }),
    ...(wanted === undefined ? {} : { states: wanted }),
    where: (facts) => (ids === undefined || ids.has(facts.id) || ids.has(facts.id.split('.')[0]!)) && passes({ ...facts, state: 'done' }),
  });
  const unfinished = await countUnfinished(q, filters, ids);
  const tasks = Object.fromEntries(
    STATES.map((state) => [state, isTerminal(state) ? (measured.total.ended[state] ?? 0) : (unfinished.get(state) ?? 0)]),
  ) as Record<State, number>; // one entry for each state
  const counted: Counted = { tasks, measured, since, until };
  if (flags.prom === true) io.out(promText(await metrics(q, counted, by)));
  else if (ctx.json) printJson(document(counted, by, flags.failures === true), io);
  else if (flags.failures === true) io.out(failuresText(counted, io));
  else io.out(pageOf(counted, by, io));
  return EXIT.ok;
}

async function chosen(ctx: Ctx): Promise<ReadonlySet<string>> {
  const { orThrow } = await import('./select.ts');
  return new Set(
    orThrow(await select(ctx, { verb: 'stats', words: ctx.args, none: 'all', filters: false, reach: STATES })).map((s) => s.id),
  );
}

/** Elements of arrays one by one. By names alone where nothing else is asked. */
async function countUnfinished(q: Queue, filters: Filters, ids: ReadonlySet<string> | undefined): Promise<Map<State, number>> {
  const counts = new Map<State, number>();
  const states: readonly State[] = statesOf(filters, UNFINISHED).filter((state) => !isTerminal(state));
  if (states.length === 0) return counts;
  const all = Object.keys(filters).length === 0 && ids === undefined;
  if (all) {
    const counted = await count(q, { states });
    if (counted.arrays === 0) return counted.states;
  }
  const add = (state: State, n: number): void => void counts.set(state, (counts.get(state) ?? 0) + n);
  // Of an array that is under way some elements may be in any state.
  const { states: _states, ...others } = filters;
  for await (const batch of folded(q, matching(q, UNFINISHED, all ? undefined : others))) {
    for (const at of batch) {
      if (ids !== undefined && !ids.has(at.id) && !ids.has(at.id.split('.')[0]!)) continue;
      const array = at.part === 'array' ? await readArray(q, at.id) : undefined;
      if (array === undefined) {
        if (states.includes(at.state)) add(at.state, 1);
      } else for (const state of states) if ((array.counts[state] ?? 0) > 0) add(state, array.counts[state]!);
    }
  }
  return counts;
}

/** Rows for which there is something to say, the largest first. */
function groupsOf({ measured }: Counted): Array<[string, Group]> {
  return [...measured.groups].toSorted((a, b) => b[1].attempts - a[1].attempts || (a[0] < b[0] ? -1 : 1));
}

function numbersOf(group: Group): Record<string, unknown> {
  return {
    tasks: group.ended,
    attempts: group.attempts,
    outcomes: group.outcomes,
    waitMs: spread(group.waitMs),
    runMs: spread(group.runMs),
  };
}

function document(c: Counted, by: MeasuredBy | undefined, failures: boolean): Record<string, unknown> {
  const { measured } = c;
  return {
    since: iso(c.since),
    until: iso(c.until),
    ...numbersOf(measured.total),
    tasks: c.tasks,
    overheadMs: spread(measured.gapMs),
    endedLastMinute: measured.lastMinute,
    endedLastHour: measured.lastHour,
    ...(by === undefined
      ? {}
      : { by, groups: groupsOf(c).map(([key, group]) => ({ [by]: key === '' ? null : key, ...numbersOf(group) })) }),
    ...(failures ? { failures: measured.failures.map((f) => ({ ...f, lastAt: iso(f.lastAt) })) } : {}),
  };
}

const time = (ms: number | null): string => (ms === null ? '' : formatDuration(ms));

const TIMES: readonly Column[] = [
  { title: '' },
  { title: 'COUNT', align: 'right' },
  { title: 'P50', align: 'right' },
  { title: 'P90', align: 'right' },
  { title: 'P99', align: 'right' },
  { title: 'MAX', align: 'right' },
];

function timesRow(title: string, s: Spread): string[] {
  return [title, String(s.count), time(s.p50), time(s.p90), time(s.p99), time(s.max)];
}

function pageOf(c: Counted, by: MeasuredBy | undefined, io: Pick<Io, 'paint' | 'columns'>): string {
  const { measured, tasks } = c;
  const shown = STATES.filter((state) => tasks[state] > 0).map((state) => io.paint(stateStyle(state)!, `${tasks[state]} ${state}`));
  let text = `tasks: ${shown.length === 0 ? 'none' : shown.join(', ')}\n`;
  text += io.paint('dim', `ended ones and times: since ${iso(c.since)} (${relative(c.since, c.until)})\n`);
  text += `ended: ${measured.lastMinute} in the last minute, ${measured.lastHour} in the last hour\n\n`;
  if (by === undefined) {
    const rows = [
      timesRow('waited', spread(measured.total.waitMs)),
      timesRow('ran', spread(measured.total.runMs)),
      timesRow('between two', spread(measured.gapMs)),
    ];
    return text + table(TIMES, rows, io);
  }
  const columns: Column[] = [
    { title: by.toUpperCase(), shrinkTo: 16 },
    ...['DONE', 'FAILED', 'ATTEMPTS', 'WAITED P50', 'MAX', 'RAN P50', 'P90', 'MAX'].map((title) => ({ title, align: 'right' as const })),
  ];
  const rows = groupsOf(c).map(([key, group]) => {
    const [wait, run] = [spread(group.waitMs), spread(group.runMs)];
    const counts = [group.ended.done ?? 0, group.ended.failed ?? 0, group.attempts].map(String);
    return [key === '' ? '-' : visible(key), ...counts, time(wait.p50), time(wait.max), time(run.p50), time(run.p90), time(run.max)];
  });
  return text + table(columns, rows, io);
}

const FAILURES: readonly Column[] = [
  { title: 'COUNT', align: 'right' },
  { title: 'HOW' },
  { title: 'WORKER' },
  { title: 'LAST' },
  { title: 'TASKS', shrinkTo: 16 },
  { title: 'LAST LINE', shrinkTo: 24 },
];

function failuresText({ measured, until }: Counted, io: Pick<Io, 'paint' | 'columns'>): string {
  return table(
    FAILURES,
    measured.failures.map((f) => [
      String(f.count),
      visible(how(f)),
      visible(f.worker ?? ''),
      relative(f.lastAt, until),
      f.tasks.join(' '),
      visible(f.reason ?? ''),
    ]),
    io,
  );
}

/** `exit 3`, `SIGKILL`, `lost`. */
function how({ signal, exitCode, outcome }: Cluster): string {
  if (signal !== null) return signal;
  return exitCode === null ? outcome : `${outcome === 'failed' ? 'exit' : outcome} ${exitCode}`;
}

/** Values of a label that are told apart; the rest is `other`. */
const MOST_LABELS = 50;

async function metrics(q: Queue, c: Counted, by: MeasuredBy | undefined): Promise<Metric[]> {
  const { sights } = await import('../worker/sight.ts');
  const { measured } = c;
  const window = `in the last ${Math.round((c.until - c.since) / 1000)} seconds`;
  const groups: Array<[Record<string, string>, Group]> =
    by === undefined
      ? [[{}, measured.total]]
      : [...bounded(measured.groups, MOST_LABELS, (g) => g.attempts, together)].map(([k, g]) => [{ [by]: k }, g]);
  const workers = new Map<string, number>();
  for (const s of await sights(q)) {
    const state = s.alive || s.state === 'offline' ? s.state : 'dead';
    workers.set(state, (workers.get(state) ?? 0) + 1);
  }
  const summary = (name: string, help: string, values: (g: Group) => readonly number[]): Metric => ({
    name,
    help,
    type: 'summary',
    samples: groups.flatMap(([labels, g]) => summarySamples(labels, values(g))),
  });
  return [
    {
      name: 'tq_tasks',
      help: `Tasks by state: unfinished ones now, ended ones ${window}.`,
      type: 'gauge',
      samples: STATES.map((state) => ({ labels: { state }, value: c.tasks[state] })),
    },
    {
      name: 'tq_ended_tasks',
      help: `Tasks that ended ${window}.`,
      type: 'gauge',
      samples: groups.flatMap(([labels, g]) => Object.entries(g.ended).map(([state, value]) => ({ labels: { ...labels, state }, value }))),
    },
    {
      name: 'tq_attempts',
      help: `Attempts that ended ${window}, by outcome.`,
      type: 'gauge',
      samples: groups.flatMap(([labels, g]) =>
        Object.entries(g.outcomes).map(([outcome, value]) => ({ labels: { ...labels, outcome }, value })),
      ),
    },
    summary('tq_wait_seconds', `From when tasks could run to when they did, ${window}.`, (g) => g.waitMs),
    summary('tq_run_seconds', `How long attempts ran, ${window}.`, (g) => g.runMs),
    {
      name: 'tq_overhead_seconds',
      help: `How long slots of workers stood empty between two tasks, ${window}.`,
      type: 'summary',
      samples: summarySamples({}, measured.gapMs),
    },
    {
      name: 'tq_workers',
      help: 'Workers by state.',
      type: 'gauge',
      samples: [...workers].map(([state, value]) => ({ labels: { state }, value })),
    },
  ];
}

function summarySamples(labels: Record<string, string>, ms: readonly number[]): Metric['samples'] {
  const s = spread(ms);
  const quantiles = [
    ['0.5', s.p50],
    ['0.9', s.p90],
    ['0.99', s.p99],
  ] as const;
  return [
    ...quantiles.flatMap(([quantile, v]) => (v === null ? [] : [{ labels: { ...labels, quantile }, value: v / 1000 }])),
    { labels, value: ms.reduce((sum, v) => sum + v, 0) / 1000, suffix: '_sum' as const },
    { labels, value: s.count, suffix: '_count' as const },
  ];
}

/** Two groups as one. */
function together(into: Group | undefined, one: Group): Group {
  if (into === undefined) return one;
  return {
    ended: addUp(into.ended, one.ended),
    outcomes: addUp(into.outcomes, one.outcomes),
    attempts: into.attempts + one.attempts,
    waitMs: [...into.waitMs, ...one.waitMs],
    runMs: [...into.runMs, ...one.runMs],
  };
}

function addUp<K extends string>(a: Partial<Record<K, number>>, b: Partial<Record<K, number>>): Partial<Record<K, number>> {
  const added = { ...a };
  for (const k of Object.keys(b) as K[]) added[k] = (added[k] ?? 0) + (b[k] ?? 0);
  return added;
}
