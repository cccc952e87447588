/**
 * `tq logs`: what a task printed, byte for byte.
 */
import { IDS } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'logs',
  section: 'LOOKING',
  summary: 'print the output of tasks',
  description: 'Of the newest attempt, unless told otherwise. To a pipe or a file it is byte-exact.',
  examples: [
    { command: 'tq logs -f @last', text: 'wait for the start, end with the task' },
    { command: 'tq ls -g nightly -o id --no-header | tq logs - -f', text: 'of several, each line with its task' },
  ],
  args: IDS,
  flags: {
    follow: { char: 'f', help: 'go on as it grows, until the task ends' },
    lines: { char: 'n', value: 'N', help: 'begin N lines before the end' },
    stderr: { help: 'stderr only (of a task with --split)' },
    stdout: { help: 'stdout only (of a task with --split)' },
    attempt: { value: 'N', help: 'of this attempt' },
    path: { help: 'print the name of the file instead' },
  },
  run: notWired,
});
