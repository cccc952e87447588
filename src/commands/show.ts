/**
 * `tq show`: everything about a task, with all its attempts.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'show',
  section: 'LOOKING',
  summary: 'show everything about a task, all attempts',
  examples: [
    { command: 'tq show @last', text: 'the one that you submitted last' },
    { command: 'tq show --json 7k2p | jq .attempts', text: 'for a program; a prefix or suffix of an id will do' },
  ],
  args: SELECTOR,
  flags: FILTER_FLAGS,
  run: notWired,
});
