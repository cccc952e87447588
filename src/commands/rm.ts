/**
 * `tq rm`: remove finished tasks with their logs.
 */
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR, YES_FLAG } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'rm',
  section: 'CHANGING',
  summary: 'remove finished tasks with their logs',
  examples: [{ command: 'tq rm -g old --dry-run', text: 'which ones that would be' }],
  args: SELECTOR,
  flags: {
    force: { help: 'cancel unfinished ones first' },
    ...YES_FLAG,
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run: notWired,
});
