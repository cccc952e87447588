/**
 * `tq queue`: the named lanes of the queue directory.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'queue',
  section: 'THE QUEUE',
  summary: 'list, pause and resume queues',
  examples: [{ command: 'tq queue pause gpu', text: 'running tasks end, no other one starts' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'queue ls',
      summary: 'list the queues with their counts',
      args: [],
      flags: {},
      run: notWired,
    }),
    defineCommand({
      name: 'queue pause',
      summary: 'start no more tasks of a queue',
      args: [{ name: 'NAME', required: true, help: 'the queue' }],
      flags: DRY_RUN_FLAG,
      run: notWired,
    }),
    defineCommand({
      name: 'queue resume',
      summary: 'start tasks of a queue again',
      args: [{ name: 'NAME', required: true, help: 'the queue' }],
      flags: DRY_RUN_FLAG,
      run: notWired,
    }),
  ],
});
