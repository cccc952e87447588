/**
 * `tq config`: the settings of the queue.
 */
import { printJson, table, type Column } from '../print.ts';
import type { Queue } from '../queue/open.ts';
import { changeSetting } from '../queue/settings.ts';
import { formatDuration } from '../task/duration.ts';
import { defaultOf, settingOf, SETTINGS, type Setting } from '../task/settings.ts';
import { visible } from '../task/visible.ts';
import { hostFacts } from '../worker/facts.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

const KEY = { name: 'KEY', required: true, help: 'as tq config ls shows it' } as const;
/** The word that takes a setting away. */
const DEFAULT = 'default';

export const command = defineCommand({
  name: 'config',
  section: 'THE QUEUE',
  summary: 'list and change the settings of the queue',
  description:
    'They hold for all who use the queue, where a flag does not say otherwise. Workers take a new one up within a poll; tasks that were ' +
    'submitted before keep what they have.',
  examples: [
    { command: 'tq config ls', text: 'all of them, with their defaults' },
    { command: 'tq config set retries 2', text: 'for tasks that are submitted without --retries' },
    { command: 'tq config set poll 2s', text: 'for workers without --poll, also for those that run' },
  ],
  flags: {},
  subs: [
    defineCommand({
      name: 'config ls',
      summary: 'list all settings',
      examples: [{ command: 'tq config ls', text: '' }],
      args: [],
      flags: {},
      async run({ json, io, queue }) {
        const q = await queue();
        const rows = SETTINGS.map((s) => rowOf(q, s));
        if (json) printJson(rows, io);
        else
          io.out(
            table(
              COLUMNS,
              rows.map((r) => [r.key, visible(r.value ?? '-'), r.set ? visible(r.default ?? '-') : '', r.obeys, r.help]),
              io,
            ),
          );
        return 0;
      },
    }),
    defineCommand({
      name: 'config get',
      summary: 'print one setting',
      description: 'Its default where it was not set; nothing where it has none.',
      examples: [{ command: 'tq config get poll', text: '' }],
      args: [KEY],
      flags: {},
      async run({ args, json, io, queue }) {
        const setting = settingOf(args[0]!);
        const row = rowOf(await queue(), setting);
        if (json) printJson(row, io);
        else if (row.value !== null) io.out(`${visible(row.value)}\n`);
        return 0;
      },
    }),
    defineCommand({
      name: 'config set',
      summary: 'change one setting',
      description: `The word ${DEFAULT} takes the setting away. The lease cannot change while a worker is alive: all must count with the same one.`,
      examples: [
        { command: 'tq config set timeout 2h', text: 'for tasks that are submitted without --timeout' },
        { command: 'tq config set timeout default', text: 'as if it had never been set' },
      ],
      args: [KEY, { name: 'VALUE', required: true, help: `the new value, or ${DEFAULT}` }],
      flags: DRY_RUN_FLAG,
      async run({ args, flags, json, io, queue }) {
        const setting = settingOf(args[0]!);
        const value = args[1]!;
        if (value !== DEFAULT) setting.check(value);
        const q = await queue();
        const dryRun = flags['dry-run'] === true;
        const now = await changeSetting(q, setting.key, value === DEFAULT ? null : value, { dryRun, facts: hostFacts() });
        if (dryRun) printJson(now, io);
        else if (json) printJson(rowOf({ network: q.network, config: { ...q.config, ...now } as Queue['config'] }, setting), io);
        return 0;
      },
    }),
  ],
});

const COLUMNS: readonly Column[] = [
  { title: 'KEY' },
  { title: 'VALUE' },
  { title: 'DEFAULT' },
  { title: 'FOR' },
  { title: '', shrinkTo: 24 },
];

interface Row {
  key: string;
  /** What holds now. */
  value: string | null;
  default: string | null;
  set: boolean;
  obeys: string;
  help: string;
}

function rowOf(q: Pick<Queue, 'network' | 'config'>, s: Setting): Row {
  const byDefault = defaultOf(s, q.network);
  const text = s.key === 'lease' ? leaseText(q.config.leaseMs) : kept(q.config.settings[s.key]);
  return { key: s.key, value: text ?? byDefault, default: byDefault, set: text !== undefined, obeys: s.obeys, help: s.help };
}

function leaseText(ms: number | null): string | undefined {
  return ms === null ? undefined : formatDuration(ms);
}

/** As it lies there, also where it means nothing: this is where one looks for it. */
function kept(value: unknown): string | undefined {
  if (value === undefined || value === null) return undefined;
  return typeof value === 'string' ? value : JSON.stringify(value);
}
