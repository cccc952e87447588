/**
 * `tq retry`: run finished tasks again.
 */
import { retryTask } from '../queue/control.ts';
import { rehearseRetry } from '../queue/rehearse.ts';
import { parseDuration } from '../task/duration.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR, YES_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'retry',
  section: 'CHANGING',
  summary: 'run finished tasks again, as their next attempt',
  description: 'With fresh retries. What was skipped because of them goes back to waiting.',
  examples: [
    { command: 'tq retry 7k2p', text: 'one task' },
    { command: 'tq retry -g nightly --failed --in 10m', text: 'what failed in a group, in ten minutes' },
  ],
  args: SELECTOR,
  flags: {
    in: { value: 'D', help: 'not before this long from now' },
    ...YES_FLAG,
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run(ctx) {
    const delayMs = ctx.flags.in === undefined ? undefined : parseDuration(ctx.flags.in, '--in');
    return changeEach(ctx, {
      verb: 'retry',
      filters: true,
      asks: true,
      rehearse: (q, { at }) => rehearseRetry(q, at, delayMs),
      change: (q, { id }) =>
        retryTask(q, id, { by: byOf(ctx.system), failed: ctx.flags.failed === true, ...(delayMs === undefined ? {} : { delayMs }) }),
    });
  },
});
