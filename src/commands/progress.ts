/**
 * `tq progress`: said by a task about itself.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'progress',
  section: 'INSIDE A TASK',
  summary: 'say how far this task is',
  description: 'The same as writing "40 epoch 4" to $TQ_PROGRESS_FILE.',
  examples: [{ command: 'tq progress 40% "epoch 4"', text: 'inside a running task' }],
  args: [
    { name: 'PERCENT', required: true, help: '0 to 100' },
    { name: 'MESSAGE', many: true, help: 'what it is doing' },
  ],
  flags: {},
  run: notWired,
});
