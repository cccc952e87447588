/**
 * `tq snooze`: said by a task that wants to be run later.
 */
import { parseDuration, spellDuration } from '../task/duration.ts';
import { report } from './inside.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'snooze',
  section: 'INSIDE A TASK',
  summary: 'say how much later exit code 75 runs this task again',
  examples: [{ command: 'tq snooze 10m; exit 75', text: 'inside a running task: again in ten minutes, no retry used' }],
  args: [{ name: 'DURATION', required: true, help: 'such as 10m' }],
  flags: {},
  run(ctx) {
    const ms = parseDuration(ctx.args[0]!, 'DURATION');
    report(ctx.system, 'TQ_SNOOZE_FILE', 'snooze', `${spellDuration(ms)}\n`);
    return 0;
  },
});
