/**
 * `tq release`: put held tasks back where they were.
 */
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'release',
  section: 'CHANGING',
  summary: 'put held tasks back where they were',
  examples: [
    { command: 'tq release 7k2p', text: 'in its old place in the order' },
    { command: `tq release 7k2p --result '{"approved": true}'`, text: 'done without running, with that result' },
  ],
  args: SELECTOR,
  flags: {
    result: { value: 'JSON', help: 'end it done with this result, without running it' },
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run: notWired,
});
