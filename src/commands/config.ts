/**
 * `tq config`: the settings of the queue.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'config',
  section: 'THE QUEUE',
  summary: 'list and change the settings of the queue',
  examples: [{ command: 'tq config ls', text: 'with their defaults' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'config ls',
      summary: 'list all settings',
      args: [],
      flags: {},
      run: notYet('config ls'),
    }),
    defineCommand({
      name: 'config get',
      summary: 'print one setting',
      args: [{ name: 'KEY', required: true, help: 'as tq config ls shows it' }],
      flags: {},
      run: notYet('config get'),
    }),
    defineCommand({
      name: 'config set',
      summary: 'change one setting',
      args: [
        { name: 'KEY', required: true, help: 'as tq config ls shows it' },
        { name: 'VALUE', required: true, help: 'the new value' },
      ],
      flags: DRY_RUN_FLAG,
      run: notYet('config set'),
    }),
  ],
});
