/**
 * `tq cron`: tasks that are submitted again and again, once per tick.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'cron',
  section: 'THE QUEUE',
  summary: 'submit a task again and again',
  examples: [{ command: "tq cron add '0 3 * * *' --tz Europe/Berlin -- ./backup.sh", text: 'every night at three' }],
  flags: {},
  subs: [
    defineCommand({
      name: 'cron ls',
      summary: 'list them with their next times',
      args: [],
      flags: {},
      run: notYet('cron ls'),
    }),
    defineCommand({
      name: 'cron add',
      summary: 'add one and print its id',
      args: [{ name: 'EXPR', required: true, help: 'five or six fields, as in crontab' }],
      flags: {
        tz: { value: 'Z', help: 'time zone, such as Europe/Berlin' },
        overlap: { value: 'skip|queue', choices: ['skip', 'queue'], help: 'a tick while the last one is unfinished (default: skip)' },
        catchup: { value: 'none|last', choices: ['none', 'last'], help: 'ticks that no worker saw (default: none)' },
        ...SUBMIT_FLAGS,
      },
      tail: 'command',
      run: notYet('cron add'),
    }),
    defineCommand({
      name: 'cron rm',
      summary: 'remove them',
      args: [{ name: 'ID', required: true, many: true, help: 'as tq cron ls shows it' }],
      flags: DRY_RUN_FLAG,
      run: notYet('cron rm'),
    }),
    defineCommand({
      name: 'cron pause',
      summary: 'submit nothing until resumed',
      args: [{ name: 'ID', required: true, many: true, help: 'as tq cron ls shows it' }],
      flags: DRY_RUN_FLAG,
      run: notYet('cron pause'),
    }),
    defineCommand({
      name: 'cron resume',
      summary: 'submit again',
      args: [{ name: 'ID', required: true, many: true, help: 'as tq cron ls shows it' }],
      flags: DRY_RUN_FLAG,
      run: notYet('cron resume'),
    }),
  ],
});
