/**
 * `tq release`: put held tasks back where they were.
 */
import { releaseTask } from '../queue/control.ts';
import { rehearseRelease } from '../queue/rehearse.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { readJson } from './json-word.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'release',
  section: 'CHANGING',
  summary: 'put held tasks back where they were',
  examples: [
    { command: 'tq release 7k2p', text: 'in its old place in the order' },
    { command: `tq release 7k2p --result '{"approved": true}'`, text: 'done without running, with that result' },
  ],
  args: SELECTOR,
  flags: {
    result: { value: 'JSON', help: 'end it done with this result, without running it' },
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run(ctx) {
    const result = ctx.flags.result === undefined ? undefined : { value: readJson(ctx.flags.result, '--result') };
    return changeEach(ctx, {
      verb: 'release',
      filters: true,
      asks: false,
      rehearse: (q, { at }) => rehearseRelease(q, at, result),
      change: async (q, { id }) => void (await releaseTask(q, id, byOf(ctx.system), result)),
    });
  },
});
