/**
 * `tq export`: the whole queue in one file.
 */
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'export',
  section: 'THE QUEUE',
  summary: 'write the whole queue into one file',
  examples: [{ command: 'tq export backup.tq', text: 'tasks, states, attempts and logs' }],
  args: [{ name: 'FILE', required: true, help: 'the file to write' }],
  flags: {},
  run: notYet('export'),
});
