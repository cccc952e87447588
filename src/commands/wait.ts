/**
 * `tq wait`: until tasks have ended; whether they did well is the exit code.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'wait',
  section: 'LOOKING',
  summary: 'wait until tasks have ended; exit 0 if all ended done',
  description: 'Without a selector: for everything that is unfinished now. Exit 1: some task ended otherwise. Exit 124: --timeout passed, the tasks go on.',
  examples: [
    { command: 'tq wait $(tq submit -- make) && echo built', text: 'one task' },
    { command: 'tq wait -g nightly --progress --timeout 8h', text: 'a group, with its progress on stderr' },
  ],
  args: SELECTOR,
  flags: {
    any: { help: 'until one of them has ended' },
    timeout: { value: 'D', help: 'no longer than this; then exit 124' },
    progress: { help: 'show how far they are, on stderr' },
    'exit-code': { help: "exit with the one task's own code; trouble of tq itself is 125" },
    ...FILTER_FLAGS,
  },
  passesCode: ['exit-code'],
  run: notWired,
});
