/**
 * `tq limit`: how many tasks may share something at once, or start in a time.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'limit',
  section: 'THE QUEUE',
  summary: 'list and set counted and rate limits',
  examples: [{ command: 'tq limit set license --max 2', text: 'for tasks submitted with --limit license' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'limit ls',
      summary: 'list the limits with who holds them',
      args: [],
      flags: {},
      run: notYet('limit ls'),
    }),
    defineCommand({
      name: 'limit set',
      summary: 'make or change a limit',
      args: [{ name: 'NAME', required: true, help: 'the limit' }],
      flags: {
        max: { value: 'N', help: 'shares that may be held at once' },
        rate: { value: 'N/D', help: 'starts in a time: 5/1s' },
        ...DRY_RUN_FLAG,
      },
      run: notYet('limit set'),
    }),
    defineCommand({
      name: 'limit rm',
      summary: 'remove a limit',
      args: [{ name: 'NAME', required: true, help: 'the limit' }],
      flags: DRY_RUN_FLAG,
      run: notYet('limit rm'),
    }),
  ],
});
