/**
 * `tq import`: what `tq export` wrote, into this queue.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'import',
  section: 'THE QUEUE',
  summary: 'read what tq export wrote into this queue',
  examples: [{ command: 'tq import backup.tq', text: 'ids that are there already are skipped and named' }],
  args: [{ name: 'FILE', required: true, help: 'the file to read' }],
  flags: DRY_RUN_FLAG,
  run: notYet('import'),
});
