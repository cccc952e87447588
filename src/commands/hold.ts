/**
 * `tq hold`: keep tasks from being taken.
 */
import { holdTask } from '../queue/control.ts';
import { rehearseHold } from '../queue/rehearse.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'hold',
  section: 'CHANGING',
  summary: 'keep tasks from starting until they are released',
  examples: [{ command: 'tq hold -q gpu', text: 'what has not started in a queue' }],
  args: SELECTOR,
  flags: {
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run: (ctx) =>
    changeEach(ctx, {
      verb: 'hold',
      filters: true,
      asks: false,
      rehearse: (q, { at }) => rehearseHold(q, at),
      change: (q, { id }) => holdTask(q, id, byOf(ctx.system)),
    }),
});
