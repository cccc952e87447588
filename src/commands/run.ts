/**
 * `tq run`: submit, show the output as it comes, exit with the task's own code.
 */
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'run',
  section: 'SUBMITTING',
  summary: 'submit, show the output, exit with the code of the task',
  description:
    'Its stdout and stderr come apart, over all retries, until the task ends. Ctrl-C leaves the task running and says how to cancel it. ' +
    'Trouble of tq itself is exit code 125.',
  examples: [
    { command: 'tq run -- make test', text: 'as if it ran here' },
    { command: 'tq run --here -- ./report.sh', text: 'with no worker to take it, run it in this process' },
  ],
  args: [],
  flags: {
    ...SUBMIT_FLAGS,
    here: { help: 'if no awake worker can take it, be one for it', group: 'WHERE' },
  },
  tail: 'command',
  passesCode: true,
  run: notWired,
});
