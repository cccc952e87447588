/**
 * `tq stats`: counts, waiting times and run times.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'stats',
  section: 'LOOKING',
  summary: 'count tasks, with waiting and run times',
  examples: [
    { command: 'tq stats --since 1d --by name', text: 'of the last day, by name' },
    { command: 'tq stats --failures', text: 'what fails, by code, last line and worker' },
  ],
  args: SELECTOR,
  flags: {
    by: { value: 'FIELD', help: 'one row for each value of this field' },
    failures: { help: 'failed ones by code, last error line and worker' },
    prom: { help: 'in the text format of Prometheus' },
    ...FILTER_FLAGS,
  },
  run: notYet('stats'),
});
