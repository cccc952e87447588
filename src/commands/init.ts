/**
 * `tq init`: make a queue.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'init',
  section: 'THE QUEUE',
  summary: 'make a queue and print its path',
  description: 'On an existing queue it says so and changes nothing.',
  examples: [
    { command: 'tq init', text: 'in .tq, found from every directory below' },
    { command: 'tq init /nfs/team/tq --shared', text: 'for several users' },
  ],
  args: [{ name: 'DIR', help: 'the directory (default: .tq)' }],
  flags: {
    shared: { help: 'writable by the group, for several users' },
    lease: { value: 'D', help: 'how long a worker may be silent before it counts as dead (default: 30s, network 5m)' },
  },
  run: notWired,
});
