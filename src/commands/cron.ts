/**
 * `tq cron`: tasks that are submitted again and again, once per tick.
 */
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { SUBMIT_FLAGS } from './flags/submit.ts';
import { defineCommand } from './spec.ts';

const IDS = [{ name: 'ID', required: true, many: true, help: 'as tq cron ls shows it, or 4 characters of its beginning or end' }] as const;

export const CRON_FLAGS = {
  tz: { value: 'Z', help: 'time zone, such as Europe/Berlin (default: that of this machine)' },
  overlap: {
    value: 'skip|queue',
    choices: ['skip', 'queue'],
    help: 'a tick while the task of the last one is unfinished (default: skip)',
  },
  catchup: { value: 'none|last', choices: ['none', 'last'], help: 'ticks while no worker was awake (default: none)' },
} as const;

export const command = defineCommand({
  name: 'cron',
  section: 'THE QUEUE',
  summary: 'submit a task again and again',
  description:
    'Each tick is fired by one of the workers that are awake, whoever sees it first; without a worker nothing is submitted. On days ' +
    'when clocks change each tick comes once.',
  examples: [
    { command: "tq cron add '0 3 * * *' --tz Europe/Berlin -- ./backup.sh", text: 'every night at three' },
    { command: "tq cron add '@hourly' --catchup last --overlap queue -c 'sync-mail >> mail.log'", text: 'every hour; made up for once' },
    { command: 'tq cron ls', text: 'when each comes next, and how the last one ended' },
  ],
  flags: {},
  subs: [
    defineCommand({
      name: 'cron ls',
      summary: 'list them with their next times',
      examples: [{ command: 'tq cron ls --json', text: 'for a script' }],
      args: [],
      flags: {},
      run: async (ctx) => (await import('./cron-verbs.ts')).list(ctx),
    }),
    defineCommand({
      name: 'cron add',
      summary: 'add one and print its id',
      examples: [
        { command: "tq cron add '*/15 8-18 * * mon-fri' -n poll --timeout 10m -- ./poll.sh", text: 'the flags are those of submit' },
      ],
      args: [{ name: 'EXPR', required: true, help: 'minute hour day month weekday, as in crontab; a sixth field before them is seconds' }],
      flags: { ...CRON_FLAGS, ...SUBMIT_FLAGS },
      tail: 'command',
      run: async (ctx) => (await import('./cron-verbs.ts')).add(ctx),
    }),
    defineCommand({
      name: 'cron rm',
      summary: 'remove them',
      description: 'The tasks that were submitted stay.',
      args: IDS,
      flags: DRY_RUN_FLAG,
      run: async (ctx) => (await import('./cron-verbs.ts')).remove(ctx),
    }),
    defineCommand({
      name: 'cron pause',
      summary: 'submit nothing until resumed',
      args: IDS,
      flags: DRY_RUN_FLAG,
      run: async (ctx) => (await import('./cron-verbs.ts')).pause(ctx),
    }),
    defineCommand({
      name: 'cron resume',
      summary: 'submit again',
      description: 'Ticks that passed meanwhile are not made up for.',
      args: IDS,
      flags: DRY_RUN_FLAG,
      run: async (ctx) => (await import('./cron-verbs.ts')).resume(ctx),
    }),
  ],
});
