/**
 * `tq init`: make a queue.
 */
import fs from 'node:fs';
import path from 'node:path';
import { TqError, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import { initQueue } from '../queue/open.ts';
import { parseDuration } from '../task/duration.ts';
import { quoted, visible } from '../task/visible.ts';
import { defineCommand } from './spec.ts';

/** Below this a worker on a busy machine would be taken for dead. */
const SHORTEST_LEASE_MS = 250;

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
  async run(ctx) {
    const { flags, io } = ctx;
    const leaseMs = flags.lease === undefined ? null : leaseOf(flags.lease);
    const dir = path.resolve(ctx.system.cwd(), ctx.args[0] ?? flags.dir ?? '.tq');
    if (fs.statSync(dir, { throwIfNoEntry: false })?.isDirectory() === false) {
      throw new TqError('REFUSED', `cannot make a queue in ${visible(dir)}: it is not a directory`, {
        hint: 'name a new or an empty directory',
      });
    }
    const made = await initQueue(dir, { shared: flags.shared === true, leaseMs });
    if (!made) io.err(`a queue already: ${visible(dir)}; nothing was changed`);
    if (ctx.json) printJson({ dir, made }, io);
    else io.out(`${dir}\n`);
    return 0;
  },
});

function leaseOf(text: string): number {
  const ms = parseDuration(text, '--lease');
  if (ms < SHORTEST_LEASE_MS)
    throw usage(`--lease: too short: ${quoted(text)}`, `at least ${SHORTEST_LEASE_MS}ms; 30s is usual on one machine, 5m on a network`);
  return ms;
}
