/**
 * `tq set`: change a task that is not running.
 */
import { usage } from '../errors.ts';
import { rehearseSet } from '../queue/rehearse.ts';
import { setTask, type Change } from '../queue/set.ts';
import { parseDuration } from '../task/duration.ts';
import { checkLabel, checkQueue } from '../task/names.ts';
import { quoted } from '../task/visible.ts';
import { changeEach } from './changing.ts';
import { DRY_RUN_FLAG, IDS } from './flags/filter.ts';
import { defineCommand, type FlagsOf, type FlagTable } from './spec.ts';

const FLAGS = {
  priority: { char: 'p', value: 'N', help: '-99..99, higher first' },
  queue: { char: 'q', value: 'Q', help: 'into this queue' },
  in: { value: 'D', help: 'not before this long from now' },
  timeout: { value: 'D', help: 'longest time of one attempt' },
  label: { char: 'l', value: 'k=v', many: 'map', help: 'a label' },
  ...DRY_RUN_FLAG,
} as const satisfies FlagTable;

export const command = defineCommand({
  name: 'set',
  section: 'CHANGING',
  summary: 'change a task that is not running',
  examples: [{ command: 'tq set 7k2p -p 90', text: 'to be next' }],
  args: IDS,
  flags: FLAGS,
  async run(ctx) {
    const change = changeOf(ctx.flags);
    if (Object.keys(change).length === 0) throw usage('tq set: what to change is missing', 'one or several of -p, -q, --in, --timeout, -l');
    if (ctx.args.includes('@all')) throw usage('tq set takes ids, @last or -', 'tq ls -o id --no-header | tq set - ...');
    const { hostFacts } = await import('../worker/facts.ts');
    return changeEach(ctx, {
      verb: 'set',
      filters: false,
      asks: false,
      rehearse: (q, { at }) => rehearseSet(q, at, change),
      change: (q, { id }) => setTask(q, hostFacts(), id, change),
    });
  },
});

/** Throws USAGE naming the flag and the text. */
function changeOf(flags: FlagsOf<typeof FLAGS>): Change {
  const change: Change = {};
  if (flags.priority !== undefined) change.priority = priorityOf(flags.priority);
  if (flags.queue !== undefined) change.queue = checkQueue(flags.queue, '--queue');
  if (flags.in !== undefined) change.delayMs = parseDuration(flags.in, '--in');
  if (flags.timeout !== undefined) change.timeoutMs = parseDuration(flags.timeout, '--timeout');
  if (flags.label !== undefined) change.labels = Object.fromEntries(flags.label.map((pair) => checkLabel(pair, '--label')));
  return change;
}

function priorityOf(text: string): number {
  const n = /^[+-]?\d{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (Math.abs(n) <= 99) return n;
  throw usage(`--priority: not a whole number from -99 to 99: ${quoted(text)}`);
}
