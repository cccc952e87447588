/**
 * `tq set`: change a task that is not running.
 */
import { DRY_RUN_FLAG, IDS } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'set',
  section: 'CHANGING',
  summary: 'change a task that is not running',
  examples: [{ command: 'tq set 7k2p -p 90', text: 'to be next' }],
  args: IDS,
  flags: {
    priority: { char: 'p', value: 'N', help: '-99..99, higher first' },
    queue: { char: 'q', value: 'Q', help: 'into this queue' },
    in: { value: 'D', help: 'not before this long from now' },
    timeout: { value: 'D', help: 'longest time of one attempt' },
    label: { char: 'l', value: 'k=v', many: 'map', help: 'a label' },
    ...DRY_RUN_FLAG,
  },
  run: notWired,
});
