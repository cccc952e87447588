/**
 * `tq why`: why a task is not running, worker by worker.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'why',
  section: 'LOOKING',
  summary: 'say why a task is not running, worker by worker',
  examples: [{ command: 'tq why 7k2p', text: 'what it waits for' }],
  args: SELECTOR,
  flags: FILTER_FLAGS,
  run: notWired,
});
