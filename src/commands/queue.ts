/**
 * `tq queue`: the named lanes of the queue directory.
 */
import { printJson, table, type Column } from '../print.ts';
import { entriesOf, lanes, sessions } from '../queue/find.ts';
import { queueOfLane } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { pausedQueues, pauseQueue, resumeQueue } from '../queue/pause.ts';
import { count } from '../queue/walk.ts';
import { checkQueue } from '../task/names.ts';
import { visible } from '../task/visible.ts';
import { sights } from '../worker/sight.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { readTaskQuietly } from './select.ts';
import { defineCommand, type Ctx, type FlagsOf } from './spec.ts';

const NAME = [{ name: 'NAME', required: true, help: 'the queue' }] as const;

export const command = defineCommand({
  name: 'queue',
  section: 'THE QUEUE',
  summary: 'list, pause and resume queues',
  examples: [{ command: 'tq queue ls', text: 'what is queued and running where, and who serves it' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'queue ls',
      summary: 'list the queues with their counts',
      examples: [{ command: 'tq queue ls', text: 'what is queued and running, and which living workers serve it' }],
      args: [],
      flags: {},
      async run({ json, io, queue }) {
        const rows = await queuesOf(await queue());
        if (json) printJson(rows, io);
        else if (rows.length > 0)
          io.out(
            table(
              COLUMNS,
              rows.map((r) => [
                visible(r.queue),
                r.paused ? 'paused' : '',
                String(r.queued),
                String(r.running),
                visible(r.workers.join(' ')),
              ]),
              io,
            ),
          );
        return 0;
      },
    }),
    defineCommand({
      name: 'queue pause',
      summary: 'start no more tasks of a queue',
      description: 'Those that run go on. Tasks may still be submitted; they wait.',
      examples: [{ command: 'tq queue pause nightly', text: 'until tq queue resume nightly' }],
      args: NAME,
      flags: DRY_RUN_FLAG,
      run: (ctx) => setPaused(ctx, true),
    }),
    defineCommand({
      name: 'queue resume',
      summary: 'start tasks of a queue again',
      examples: [{ command: 'tq queue resume nightly', text: '' }],
      args: NAME,
      flags: DRY_RUN_FLAG,
      run: (ctx) => setPaused(ctx, false),
    }),
  ],
});

/** Asking for what is so already changes nothing and is no error, as with workers. A queue exists by being named. */
async function setPaused(ctx: Ctx<FlagsOf<typeof DRY_RUN_FLAG>>, paused: boolean): Promise<number> {
  const queue = checkQueue(ctx.args[0]!, 'NAME');
  const q = await ctx.queue();
  const dry = ctx.flags['dry-run'] === true;
  const before = (await pausedQueues(q)).includes(queue);
  if (!dry && before !== paused) await (paused ? pauseQueue(q, queue) : resumeQueue(q, queue));
  if (dry || ctx.json) printJson({ queue, paused }, ctx.io);
  else if (before === paused) ctx.io.err(`tq: queue ${queue} is ${paused ? 'paused already' : 'not paused'}`);
  return 0;
}

const COLUMNS: readonly Column[] = [
  { title: 'QUEUE' },
  { title: '' },
  { title: 'QUEUED', align: 'right' },
  { title: 'RUNNING', align: 'right' },
  { title: 'WORKERS', shrinkTo: 16 },
];

interface QueueRow {
  queue: string;
  paused: boolean;
  queued: number;
  running: number;
  /** Living workers that serve it. */
  workers: string[];
}

/** Every queue that has tasks queued or running, or a living worker, or is paused; by name. What waits, is delayed or held has no queue in its path. */
async function queuesOf(q: Queue): Promise<QueueRow[]> {
  const rows = new Map<string, QueueRow>();
  const row = (queue: string): QueueRow => {
    let r = rows.get(queue);
    if (r === undefined) rows.set(queue, (r = { queue, paused: false, queued: 0, running: 0, workers: [] }));
    return r;
  };
  for (const name of new Set((await lanes(q)).map(({ lane }) => queueOfLane(lane)))) {
    const queued = (await count(q, { states: ['queued'], queue: name })).entries;
    if (queued > 0) row(name).queued = queued;
  }
  for (const session of await sessions(q)) {
    for await (const at of entriesOf(q, { state: 'running', session })) {
      const task = at.state === 'running' ? await readTaskQuietly(q, at) : undefined;
      if (task !== undefined) row(task.queue).running++;
    }
  }
  const living = (await sights(q)).filter((s) => s.alive);
  for (const s of living) for (const name of s.file.queues) if (name !== '*') row(name).workers.push(s.file.name);
  for (const name of await pausedQueues(q)) row(name).paused = true;
  return [...rows.values()].toSorted((a, b) => (a.queue < b.queue ? -1 : 1));
}
