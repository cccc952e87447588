/**
 * `tq hold`: keep tasks from being taken.
 */
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'hold',
  section: 'CHANGING',
  summary: 'keep tasks from starting until they are released',
  examples: [{ command: 'tq hold -q gpu', text: 'what has not started in a queue' }],
  args: SELECTOR,
  flags: {
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run: notWired,
});
