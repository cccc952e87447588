/**
 * `tq gc`: remove what finished long ago.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'gc',
  section: 'THE QUEUE',
  summary: 'remove what finished long ago, with its logs',
  description: 'What is left of a task (state and result) stays known to later dependencies. Safe beside workers.',
  examples: [{ command: 'tq gc --keep 1d --keep-failed 7d --dry-run', text: 'which ones that would be' }],
  args: [],
  flags: {
    keep: { value: 'D', help: 'keep done tasks this long (default: 7d)' },
    'keep-failed': { value: 'D', help: 'keep failed, canceled and skipped ones this long (default: 30d)' },
    ...DRY_RUN_FLAG,
  },
  run: notWired,
});
