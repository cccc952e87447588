/**
 * `tq gc`: remove what finished long ago.
 */
import { printJson } from '../print.ts';
import { collect } from '../queue/gc.ts';
import { parseDuration } from '../task/duration.ts';
import { durationSetting } from '../task/settings.ts';
import { hostFacts } from '../worker/facts.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

const KEEP_MS = 7 * 86_400_000;
const KEEP_FAILED_MS = 30 * 86_400_000;

export const command = defineCommand({
  name: 'gc',
  section: 'THE QUEUE',
  summary: 'remove what finished long ago, with its logs',
  description: 'What is left of a task (state and result) stays known to later dependencies. Safe beside workers.',
  examples: [{ command: 'tq gc --keep 1d --keep-failed 7d --dry-run', text: 'which ones that would be' }],
  args: [],
  flags: {
    keep: { value: 'D', help: 'keep done tasks this long (default: 7d)' },
    'keep-failed': { value: 'D', help: 'keep failed, canceled and skipped ones this long (default: 30d)' },
    ...DRY_RUN_FLAG,
  },
  async run(ctx) {
    const { flags, io } = ctx;
    const asked = flags.keep === undefined ? undefined : parseDuration(flags.keep, '--keep');
    const askedFailed = flags['keep-failed'] === undefined ? undefined : parseDuration(flags['keep-failed'], '--keep-failed');
    const dryRun = flags['dry-run'] === true;
    const q = await ctx.queue();
    const keepMs = asked ?? durationSetting(q.config.settings, 'keep') ?? KEEP_MS;
    const keepFailedMs = askedFailed ?? durationSetting(q.config.settings, 'keep-failed') ?? KEEP_FAILED_MS;
    const removed = (id: string): void => void (ctx.json || io.out(`${id}\n`));
    const report = await collect(q, { keepMs, keepFailedMs, dryRun, facts: hostFacts(), removed });
    if (ctx.json) printJson(report, io);
    else for (const { id, by } of report.needed) io.err(`${id} stays: ${by} comes after it and has not ended`);
    return 0;
  },
});
