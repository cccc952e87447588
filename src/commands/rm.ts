/**
 * `tq rm`: remove finished tasks with their logs.
 */
import { TqError } from '../errors.ts';
import { cancelTask } from '../queue/cancel.ts';
import { refuseElement, removeTask, wrongState } from '../queue/control.ts';
import { isTerminal, STATES, TERMINAL } from '../task/types.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR, YES_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'rm',
  section: 'CHANGING',
  summary: 'remove finished tasks with their logs',
  examples: [{ command: 'tq rm -g old --dry-run', text: 'which ones that would be' }],
  args: SELECTOR,
  flags: {
    force: { help: 'cancel unfinished ones first' },
    ...YES_FLAG,
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run(ctx) {
    const force = ctx.flags.force === true;
    const by = byOf(ctx.system);
    return changeEach(ctx, {
      verb: 'rm',
      filters: true,
      reach: force ? STATES : TERMINAL,
      asks: true,
      rehearse: async (q, { id, at }) => {
        await refuseElement(q, at);
        if (!force && !isTerminal(at.state)) throw wrongState(id, at.state, 'remove');
        return undefined;
      },
      begin: async (q, tasks) => {
        // All are asked to end before the first is waited for.
        for (const { id, at } of tasks)
          if (force && !isTerminal(at.state))
            await quietly(refuseElement(q, at).then(() => cancelTask(q, id, { reason: 'removed', now: false, by })));
      },
      change: (q, { id }) => removeTask(q, id, { force, by }),
    });
  },
});

/** What is refused here is said when the task's own turn comes. */
async function quietly(work: Promise<unknown>): Promise<void> {
  try {
    await work;
  } catch (error) {
    if (!(error instanceof TqError)) throw error;
  }
}
