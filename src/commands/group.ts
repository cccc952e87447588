/**
 * `tq group`: all tasks of one group as a whole. What changes them is written as an intent first, so that it does not stop half-way.
 */
import { EXIT, TqError } from '../errors.ts';
import { printJson, table, type Column } from '../print.ts';
import { isOver, readGroup, type GroupFile } from '../queue/groups.ts';
import { APPLIES, carryOut, recordIntent, type Intent } from '../queue/intent.ts';
import { makeId, baseId } from '../queue/layout.ts';
import { serverNow } from '../queue/clock.ts';
import type { Queue } from '../queue/open.ts';
import { rehearseCancel, rehearseHold, rehearseRelease } from '../queue/rehearse.ts';
import { makeSession } from '../queue/session.ts';
import { walk } from '../queue/walk.ts';
import { percentOf, total, wordOf, type GroupWord } from '../task/group-word.ts';
import { checkGroup } from '../task/names.ts';
import { STATES, UNFINISHED, type State } from '../task/types.ts';
import { visible } from '../task/visible.ts';
import { hostFacts } from '../worker/facts.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, YES_FLAG } from './flags/filter.ts';
import { readTaskQuietly } from './select.ts';
import { defineCommand, type Ctx } from './spec.ts';

const GROUP = [{ name: 'G', required: true, help: 'the group' }] as const;

export const command = defineCommand({
  name: 'group',
  section: 'CHANGING',
  summary: 'show or change a group as a whole',
  description:
    'A group is what -g or the name of a workflow file says. Its word is active, paused (what is left is held), completed, failed or canceled; ' +
    'failures within --max-fails are allowed. A change that is interrupted is finished by the next command or worker.',
  examples: [
    { command: 'tq group show nightly', text: 'counts per state, percent, one word' },
    { command: 'tq group hold nightly', text: 'let what runs end, start nothing more' },
    { command: 'tq group cancel nightly --reason "wrong input"', text: 'end all that is unfinished' },
  ],
  flags: {},
  subs: [
    defineCommand({
      name: 'group ls',
      summary: 'list the groups',
      args: [],
      flags: {},
      run: list,
    }),
    defineCommand({
      name: 'group show',
      summary: 'show counts, percent and a word for a group',
      args: GROUP,
      flags: {},
      run: show,
    }),
    defineCommand({
      name: 'group cancel',
      summary: 'end what is unfinished in a group',
      args: GROUP,
      flags: {
        reason: { value: 'S', help: 'shown by tq show' },
        ...YES_FLAG,
        ...DRY_RUN_FLAG,
      },
      run: (ctx) => change(ctx as Ctx, 'cancel', ctx.flags.reason ?? null),
    }),
    defineCommand({
      name: 'group hold',
      summary: 'let running tasks end, hold the rest',
      args: GROUP,
      flags: DRY_RUN_FLAG,
      run: (ctx) => change(ctx as Ctx, 'hold', null),
    }),
    defineCommand({
      name: 'group release',
      summary: 'release what is held in a group',
      args: GROUP,
      flags: DRY_RUN_FLAG,
      run: (ctx) => change(ctx as Ctx, 'release', null),
    }),
  ],
});

/** One intent for all that is in the group now. */
async function change(ctx: Ctx, action: Intent['action'], reason: string | null): Promise<number> {
  const group = checkGroup(ctx.args[0]!, 'G');
  const by = byOf(ctx.system);
  const done = new Set<string>();
  const filtered: Ctx = { ...ctx, args: [], flags: { ...ctx.flags, group } };
  return changeEach(filtered, {
    verb: `group ${action}`,
    reach: APPLIES[action],
    words: [],
    filters: true,
    asks: action === 'cancel',
    rehearse: (queue, { at }) => {
      if (action === 'cancel') return rehearseCancel(queue, at, { reason, now: false, by });
      return action === 'hold' ? rehearseHold(queue, at) : rehearseRelease(queue, at, undefined);
    },
    async begin(queue, tasks) {
      if (tasks.length === 0) return;
      const id = makeId(await serverNow(queue));
      const intent: Intent = { action, group, reason, by, session: makeSession('group', hostFacts()) };
      await recordIntent(queue, id, intent);
      await carryOut(queue, id, intent, (task) => void done.add(task));
    },
    async change(_queue, { id, at }) {
      if (done.has(id)) return;
      throw new TqError('WRONG_STATE', `cannot ${action} ${id}: it was ${at.state} and has moved on`, { hint: `tq show ${id}` });
    },
  });
}

const COLUMNS: readonly Column[] = [
  { title: 'GROUP' },
  { title: 'STATE' },
  { title: 'ENDED', align: 'right' },
  { title: 'TASKS', align: 'right' },
  { title: 'LEFT', align: 'right' },
  { title: 'FAILED', align: 'right' },
];

interface Summary {
  group: string;
  word: GroupWord;
  percent: number;
  size: number;
  counts: Record<State, number>;
}

async function list(ctx: Ctx): Promise<number> {
  const groups = await summaries(await ctx.queue());
  if (ctx.json) printJson(groups, ctx.io);
  else if (groups.length > 0) {
    ctx.io.out(
      table(
        COLUMNS,
        groups.map(({ group, word, percent, size, counts }) => [
          visible(group),
          word,
          `${percent}%`,
          String(size),
          String(total(counts, UNFINISHED)),
          String(counts.failed),
        ]),
        ctx.io,
      ),
    );
  }
  return EXIT.ok;
}

async function show(ctx: Ctx): Promise<number> {
  const name = checkGroup(ctx.args[0]!, 'G');
  const [summary] = await summaries(await ctx.queue(), name);
  if (summary === undefined) throw noGroup(name);
  if (ctx.json) {
    printJson(summary, ctx.io);
    return EXIT.ok;
  }
  const { io } = ctx;
  const plural = summary.size === 1 ? 'task' : 'tasks';
  io.out(`${visible(name)}: ${summary.word}, ${summary.percent}% of ${summary.size} ${plural}\n`);
  for (const state of STATES) if (summary.counts[state] > 0) io.out(`${state.padEnd(8)}  ${summary.counts[state]}\n`);
  return EXIT.ok;
}

function noGroup(name: string): TqError {
  return new TqError('NOT_FOUND', `no such group: ${visible(name)}`, { hint: 'tq group ls lists the groups' });
}

/** Every group, or the one, in the order of their names. */
async function summaries(q: Queue, only?: string): Promise<Summary[]> {
  const groups = new Map<string, { counts: Record<State, number>; failedIn: Map<string, number> }>();
  const seen = new Set<string>();
  for await (const batch of walk(q, { states: STATES })) {
    for (const at of batch) {
      if (seen.has(at.id)) continue;
      const task = await readTaskQuietly(q, at);
      if (task?.group === undefined || (only !== undefined && task.group !== only)) continue;
      seen.add(at.id);
      let there = groups.get(task.group);
      if (there === undefined) {
        there = { counts: Object.fromEntries(STATES.map((state) => [state, 0])) as Record<State, number>, failedIn: new Map() };
        groups.set(task.group, there);
      }
      there.counts[at.state]++;
      const part = task.submission ?? baseId(at.id);
      there.failedIn.set(part, (there.failedIn.get(part) ?? 0) + (at.state === 'failed' ? 1 : 0));
    }
  }
  const found: Summary[] = [];
  for (const [group, { counts, failedIn }] of [...groups].toSorted(([a], [b]) => (a < b ? -1 : 1))) {
    const size = total(counts, STATES);
    found.push({ group, word: wordOf(counts, await failuresCount(q, failedIn)), percent: percentOf(counts), size, counts });
  }
  return found;
}

/** Whether failures count: in a submission that allows none, or has more than it allows. */
async function failuresCount(q: Queue, failedIn: ReadonlyMap<string, number>): Promise<boolean> {
  for (const [id, failed] of failedIn) {
    const file: GroupFile | undefined = await readGroup(q, id);
    if (file !== undefined && (await isOver(q, file))) return true;
    if (failed > 0 && file?.maxFails === undefined) return true;
  }
  return false;
}
