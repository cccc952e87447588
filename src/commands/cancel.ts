/**
 * `tq cancel`: end tasks that are unfinished.
 */
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR, YES_FLAG } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'cancel',
  section: 'CHANGING',
  summary: 'end unfinished tasks, running ones too',
  description: 'Returns when they were asked to end; with --wait when they have.',
  examples: [
    { command: 'tq cancel 7k2p --reason "wrong input"', text: 'one task' },
    { command: 'tq cancel -g nightly -s queued', text: 'what has not started' },
  ],
  args: SELECTOR,
  flags: {
    reason: { value: 'S', help: 'shown by tq show' },
    now: { help: 'KILL at once, without the grace' },
    wait: { help: 'until they are gone' },
    ...YES_FLAG,
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run: notWired,
});
