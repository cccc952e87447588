/**
 * `tq events`: every change of state, one JSON object a line.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'events',
  section: 'LOOKING',
  summary: 'print changes of state, one JSON object a line',
  examples: [
    { command: 'tq events -f', text: 'from now on' },
    { command: 'tq events --since 1h --failed', text: 'of the last hour' },
  ],
  args: SELECTOR,
  flags: {
    follow: { char: 'f', help: 'go on with what happens' },
    ...FILTER_FLAGS,
    since: { value: 'D|T', help: 'from then on: 1h (ago), 09:00' },
  },
  run: notYet('events'),
});
