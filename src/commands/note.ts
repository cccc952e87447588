/**
 * `tq note`: write a remark on a task.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'note',
  section: 'CHANGING',
  summary: 'write a remark on a task',
  examples: [{ command: 'tq note 7k2p "input was fixed, see mail"', text: 'shown by tq show, with time and user' }],
  args: [
    { name: 'ID', required: true, help: 'an id, or @last' },
    { name: 'TEXT', required: true, many: true, help: 'the remark' },
  ],
  flags: DRY_RUN_FLAG,
  run: notWired,
});
