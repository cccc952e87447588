/**
 * `tq doctor`: is the queue whole, and is its file system fit for it?
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'doctor',
  section: 'THE QUEUE',
  summary: 'check the queue and its file system',
  description: 'Exit 1 when an error was found.',
  examples: [{ command: 'tq doctor --fix', text: 'repair what can be repaired; nothing is lost' }],
  args: [],
  flags: { fix: { help: 'repair' } },
  run: notWired,
});
