/**
 * `tq group`: all tasks of one group as a whole.
 */
import { DRY_RUN_FLAG, YES_FLAG } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'group',
  section: 'CHANGING',
  summary: 'show or change a group as a whole',
  examples: [{ command: 'tq group show nightly', text: 'counts per state, percent, one word' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'group ls',
      summary: 'list the groups',
      args: [],
      flags: {},
      run: notYet('group ls'),
    }),
    defineCommand({
      name: 'group show',
      summary: 'show counts, percent and a word for a group',
      args: [{ name: 'G', required: true, help: 'the group' }],
      flags: {},
      run: notYet('group show'),
    }),
    defineCommand({
      name: 'group cancel',
      summary: 'end what is unfinished in a group',
      args: [{ name: 'G', required: true, help: 'the group' }],
      flags: {
        reason: { value: 'S', help: 'shown by tq show' },
        ...YES_FLAG,
        ...DRY_RUN_FLAG,
      },
      run: notYet('group cancel'),
    }),
    defineCommand({
      name: 'group hold',
      summary: 'let running tasks end, hold the rest',
      args: [{ name: 'G', required: true, help: 'the group' }],
      flags: DRY_RUN_FLAG,
      run: notYet('group hold'),
    }),
    defineCommand({
      name: 'group release',
      summary: 'release what is held in a group',
      args: [{ name: 'G', required: true, help: 'the group' }],
      flags: DRY_RUN_FLAG,
      run: notYet('group release'),
    }),
  ],
});
