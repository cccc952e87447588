/**
 * `tq queue`: the named lanes of the queue directory.
 */
import { printJson, table, type Column } from '../print.ts';
import { entriesOf, lanes, sessions } from '../queue/find.ts';
import { queueOfLane } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { count } from '../queue/walk.ts';
import { visible } from '../task/visible.ts';
import { sights } from '../worker/sight.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { readTaskQuietly } from './select.ts';
import { defineCommand } from './spec.ts';

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
              rows.map((r) => [visible(r.queue), String(r.queued), String(r.running), visible(r.workers.join(' '))]),
              io,
            ),
          );
        return 0;
      },
    }),
    defineCommand({
      name: 'queue pause',
      summary: 'start no more tasks of a queue',
      args: [{ name: 'NAME', required: true, help: 'the queue' }],
      flags: DRY_RUN_FLAG,
      run: notYet('queue pause'),
    }),
    defineCommand({
      name: 'queue resume',
      summary: 'start tasks of a queue again',
      args: [{ name: 'NAME', required: true, help: 'the queue' }],
      flags: DRY_RUN_FLAG,
      run: notYet('queue resume'),
    }),
  ],
});

const COLUMNS: readonly Column[] = [
  { title: 'QUEUE' },
  { title: 'QUEUED', align: 'right' },
  { title: 'RUNNING', align: 'right' },
  { title: 'WORKERS', shrinkTo: 16 },
];

interface QueueRow {
  queue: string;
  queued: number;
  running: number;
  /** Living workers that serve it. */
  workers: string[];
}

/** Every queue that has tasks queued or running, or a living worker; by name. What waits, is delayed or held has no queue in its path. */
async function queuesOf(q: Queue): Promise<QueueRow[]> {
  const rows = new Map<string, QueueRow>();
  const row = (queue: string): QueueRow => {
    let r = rows.get(queue);
    if (r === undefined) rows.set(queue, (r = { queue, queued: 0, running: 0, workers: [] }));
    return r;
  };
  for (const name of new Set((await lanes(q)).map(({ lane }) => queueOfLane(lane)))) {
    const queued = (await count(q, { states: ['queued'], queue: name })).tasks;
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
  return [...rows.values()].toSorted((a, b) => (a.queue < b.queue ? -1 : 1));
}
