/**
 * `tq status`: one word for the farm, then counts.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'status',
  section: 'LOOKING',
  summary: 'say in one word how the farm is, then counts',
  description: 'active: something runs or could be taken. waiting: work, but no worker awake. asleep: no work, all asleep. idle: a worker awake, nothing to do. empty: neither.',
  examples: [{ command: 'tq status', text: 'active idle waiting asleep empty' }],
  args: [],
  flags: {},
  run: notWired,
});
