/**
 * `tq status`: one word for the farm, then counts. Names are counted; no task file is opened.
 */
import { EXIT } from '../errors.ts';
import { printJson } from '../print.ts';
import { entriesOf, lanes } from '../queue/find.ts';
import { queueOfLane, type Requirements } from '../queue/layout.ts';
import { lackOf, wantsOf } from '../queue/limits.ts';
import type { Queue } from '../queue/open.ts';
import { pausedQueues } from '../queue/pause.ts';
import { count } from '../queue/walk.ts';
import type { StatusWord } from '../task/farm.ts';
import { STATES, type State } from '../task/types.ts';
import { readRequirements } from '../worker/others.ts';
import { unable } from '../worker/obstacle.ts';
import { isAwake, sights, type Sight } from '../worker/sight.ts';
import { stateStyle } from './describe.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'status',
  section: 'LOOKING',
  summary: 'say in one word how the farm is, then counts',
  description:
    'active: something runs or could be taken. waiting: work, but no worker awake that could take it. asleep: no work, all asleep. ' +
    'idle: a worker awake, nothing to do. empty: neither.',
  examples: [{ command: 'tq status', text: 'active idle waiting asleep empty' }],
  args: [],
  flags: {},
  async run(ctx) {
    const q = await ctx.queue();
    const tasks = Object.fromEntries((await count(q, { states: STATES })).states) as Record<State, number>; // one entry for each state
    const seen = await sights(q);
    const workers = countWorkers(seen);
    const status = statusWord(tasks, workers, tasks.queued > 0 && (await someCanBeTaken(q, seen)));
    if (ctx.json) {
      printJson({ status, tasks, workers }, ctx.io);
      return EXIT.ok;
    }
    const { io } = ctx;
    const shown = STATES.filter((state) => tasks[state] > 0).map((state) => io.paint(stateStyle(state)!, `${tasks[state]} ${state}`));
    const there = (Object.keys(workers) as Array<keyof WorkerCounts>)
      .filter((word) => workers[word] > 0)
      .map((word) => `${workers[word]} ${WORDS[word]}`);
    io.out(`${io.paint('bold', status)}\n`);
    io.out(`tasks: ${shown.length === 0 ? 'none' : shown.join(', ')}\n`);
    io.out(`workers: ${there.length === 0 ? 'none' : there.join(', ')}\n`);
    return EXIT.ok;
  },
});

/** Those that are alive by their state, those that died, and those that left. */
export interface WorkerCounts {
  awake: number;
  asleep: number;
  error: number;
  starting: number;
  notAlive: number;
  offline: number;
}

const WORDS: Readonly<Record<keyof WorkerCounts, string>> = {
  awake: 'awake',
  asleep: 'asleep',
  error: 'in error',
  starting: 'starting',
  notAlive: 'not alive',
  offline: 'offline',
};

export function countWorkers(seen: readonly Sight[]): WorkerCounts {
  const counts: WorkerCounts = { awake: 0, asleep: 0, error: 0, starting: 0, notAlive: 0, offline: 0 };
  for (const s of seen) {
    if (s.state === 'offline') counts.offline++;
    else if (!s.alive) counts.notAlive++;
    else if (s.state === 'restart') counts.starting++;
    else counts[s.state]++;
  }
  return counts;
}

/**
 * Pure. `takeable`: an awake worker could take something that is queued.
 *
 * | runs or takeable | unfinished        | a worker awake | a worker alive | word    |
 * |------------------|-------------------|----------------|----------------|---------|
 * | yes              |                   |                |                | active  |
 * | no               | queued, or any    | no             |                | waiting |
 * | no               | queued            | yes            |                | waiting |
 * | no               | others, or none   | yes            |                | idle    |
 * | no               | none              | no             | yes            | asleep  |
 * | no               | none              | no             | no             | empty   |
 */
export function statusWord(tasks: Readonly<Record<State, number>>, workers: WorkerCounts, takeable: boolean): StatusWord {
  if (tasks.running > 0 || takeable) return 'active';
  const awake = workers.awake + workers.starting > 0;
  const work = tasks.queued + tasks.waiting + tasks.delayed + tasks.held;
  if (tasks.queued > 0 || (work > 0 && !awake)) return 'waiting';
  if (awake) return 'idle';
  return workers.asleep + workers.error > 0 ? 'asleep' : 'empty';
}

/** Whether an awake worker offers what some lane with tasks asks for. */
export async function someCanBeTaken(q: Queue, seen: readonly Sight[]): Promise<boolean> {
  const awake = seen.filter(isAwake);
  if (awake.length === 0) return false;
  const judged = new Map<string, boolean>();
  const paused = new Set(await pausedQueues(q));
  for (const place of await lanes(q)) {
    let able = judged.get(place.lane);
    if (able === undefined) {
      const r = await readRequirements(q, place.lane);
      able = !paused.has(queueOfLane(place.lane)) && awake.some((s) => unable(s.file, r) === undefined) && (await hasShares(q, r));
      judged.set(place.lane, able);
    }
    // The directory of a lane stays for a while when it is empty.
    if (able) for await (const _ of entriesOf(q, { state: 'queued', ...place })) return true;
  }
  return false;
}

/** Whether the limits that are asked for have so many shares at all. What others have will be given back. */
async function hasShares(q: Queue, r: Requirements): Promise<boolean> {
  const lack = await lackOf(q, wantsOf(r), true);
  return lack === undefined || lack.reason === 'held' || lack.reason === 'rate';
}
