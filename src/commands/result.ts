/**
 * `tq result`: said by a task about itself.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'result',
  section: 'INSIDE A TASK',
  summary: 'give this task a result, for the tasks after it',
  description: 'The same as writing JSON to $TQ_RESULT_FILE.',
  examples: [{ command: `tq result '{"rows": 1200}'`, text: 'inside a running task' }],
  args: [{ name: 'JSON', required: true, help: 'the result, or - for standard input' }],
  flags: {},
  run: notWired,
});
