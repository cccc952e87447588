/**
 * `tq limit`: how many tasks may share something at once, or start in a time.
 */
import { TqError, usage } from '../errors.ts';
import { printJson, table, type Column } from '../print.ts';
import { limitNames, MOST_SHARES, readLimit, removeLimit, setLimit, standing, type Limit } from '../queue/limits.ts';
import type { Queue } from '../queue/open.ts';
import { parseSession } from '../queue/session.ts';
import { ring } from '../queue/signal.ts';
import { formatDuration, parseDuration } from '../task/duration.ts';
import { checkLimit } from '../task/names.ts';
import { quoted, visible } from '../task/visible.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { nowOf } from './look.ts';
import { defineCommand } from './spec.ts';

const NAME = [{ name: 'NAME', required: true, help: 'the limit' }] as const;

export const command = defineCommand({
  name: 'limit',
  section: 'THE QUEUE',
  summary: 'list and set counted and rate limits',
  description:
    'A task submitted with --limit NAME takes one share while it runs, --limit NAME=N takes N, on whatever machine. Until a limit of ' +
    'that name is set its tasks wait. A mutex (--mutex) needs no setting.',
  examples: [
    { command: 'tq limit set license --max 2', text: 'for tasks submitted with --limit license' },
    { command: 'tq limit set api --rate 5/1s', text: 'at most five of its tasks start in any second' },
    { command: 'tq limit ls', text: 'which are in use, and by whom' },
  ],
  flags: {},
  subs: [
    defineCommand({
      name: 'limit ls',
      summary: 'list the limits with who holds them',
      examples: [{ command: 'tq limit ls', text: '' }],
      args: [],
      flags: {},
      async run({ json, io, queue }) {
        const rows = await rowsOf(await queue());
        if (json) printJson(rows, io);
        else if (rows.length > 0) {
          const cells = rows.map((r) => [
            visible(r.name),
            r.max === null ? '-' : String(r.max),
            r.rate === null ? '-' : rateText(r.rate),
            String(r.inUse),
            visible(r.holders.map((h) => (h.shares === 1 ? h.id : `${h.id} (${h.shares})`)).join(' ')),
          ]);
          io.out(table(COLUMNS, cells, io));
        }
        return 0;
      },
    }),
    defineCommand({
      name: 'limit set',
      summary: 'make or change a limit',
      description:
        'What is not named stays as it is. A lower --max ends nothing: shares beyond it are not taken again once they come back.',
      examples: [
        { command: 'tq limit set license --max 2', text: 'two shares' },
        { command: 'tq limit set api --max 10 --rate 100/1m', text: 'ten at once, and a hundred starts a minute' },
        { command: 'tq limit set api --rate none', text: 'as many starts as there are shares' },
      ],
      args: NAME,
      flags: {
        max: { value: 'N', help: 'shares that may be held at once; none: any number' },
        rate: { value: 'N/D', help: 'starts in a time: 5/1s; none: any number' },
        ...DRY_RUN_FLAG,
      },
      async run({ args, flags, json, io, queue }) {
        const name = checkLimit(args[0]!, 'NAME');
        const max = flags.max === undefined ? undefined : parseMax(flags.max);
        const rate = flags.rate === undefined ? undefined : parseRate(flags.rate);
        if (max === undefined && rate === undefined) throw usage('neither --max nor --rate', 'tq limit set NAME --max N [--rate N/D]');
        const q = await queue();
        const before = await readLimit(q, name);
        const limit: Limit = {
          max: max === undefined ? (before?.max ?? null) : max,
          rate: rate === undefined ? (before?.rate ?? null) : rate,
        };
        if (limit.max === null && limit.rate === null) {
          throw usage(`--max and --rate would both be none: ${quoted(name)}`, `tq limit rm ${name} removes the limit; its tasks then wait`);
        }
        if (flags['dry-run'] === true) {
          printJson({ name, ...limit }, io);
          return 0;
        }
        await setLimit(q, name, limit);
        await ring(q);
        if (json) printJson({ name, ...limit }, io);
        return 0;
      },
    }),
    defineCommand({
      name: 'limit rm',
      summary: 'remove a limit',
      description: 'Tasks that run go on. Those that ask for it wait until it is set again.',
      examples: [{ command: 'tq limit rm license', text: '' }],
      args: NAME,
      flags: DRY_RUN_FLAG,
      async run({ args, flags, json, io, queue }) {
        const name = checkLimit(args[0]!, 'NAME');
        const q = await queue();
        const there = await readLimit(q, name);
        if (there !== undefined && flags['dry-run'] === true) {
          printJson({ name, ...there }, io);
          return 0;
        }
        if (there === undefined || !(await removeLimit(q, name))) {
          throw new TqError('NOT_FOUND', `no limit ${quoted(name)}`, { hint: 'tq limit ls' });
        }
        if (json) printJson({ name, ...there }, io);
        return 0;
      },
    }),
  ],
});

const COLUMNS: readonly Column[] = [
  { title: 'LIMIT' },
  { title: 'MAX', align: 'right' },
  { title: 'RATE', align: 'right' },
  { title: 'IN USE', align: 'right' },
  { title: 'HELD BY', shrinkTo: 16 },
];

function parseMax(text: string): number | null {
  if (text === 'none') return null;
  const n = /^\d{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (n <= MOST_SHARES) return n;
  throw usage(`--max: not a whole number from 0 to ${MOST_SHARES}: ${quoted(text)}`);
}

function parseRate(text: string): Limit['rate'] {
  if (text === 'none') return null;
  const [, digits, time] = /^(\d{1,9})\/(.+)$/s.exec(text) ?? [];
  const n = Number(digits);
  const perMs = time === undefined ? 0 : parseDuration(time, '--rate');
  if (n >= 1 && n <= MOST_SHARES && perMs > 0) return { n, perMs };
  throw usage(`--rate: not a number of starts and a time: ${quoted(text)}`, `such as 5/1s; from 1 to ${MOST_SHARES} starts`);
}

function rateText({ n, perMs }: { n: number; perMs: number }): string {
  return `${n}/${formatDuration(perMs)}`;
}

/** What `tq limit ls --json` prints of a limit. Fields are only ever added. */
interface LimitRow extends Limit {
  name: string;
  /** Shares that are held. */
  inUse: number;
  /** Starts within the time of the rate, those that are about to begin included. */
  starts: number;
  holders: Array<{ id: string; worker: string; shares: number }>;
}

async function rowsOf(q: Queue): Promise<LimitRow[]> {
  const rows: LimitRow[] = [];
  const now = await nowOf(q);
  for (const name of await limitNames(q)) {
    const { limit, shares, starts } = await standing(q, { kind: 'limit', name, n: 1 }, true);
    if (limit === undefined) continue;
    const holders = new Map<string, LimitRow['holders'][number]>();
    for (const { holder } of shares) {
      if (holder.kind !== 'held') continue;
      const h = holders.get(holder.id) ?? { id: holder.id, worker: parseSession(holder.session)?.owner ?? holder.session, shares: 0 };
      h.shares++;
      holders.set(holder.id, h);
    }
    const recent = starts.filter(({ holder }) => holder.kind === 'held' || (holder.kind === 'used' && holder.at + limit.rate!.perMs > now));
    const inUse = [...holders.values()].reduce((sum, h) => sum + h.shares, 0);
    rows.push({ name, ...limit, inUse, starts: recent.length, holders: [...holders.values()] });
  }
  return rows;
}
