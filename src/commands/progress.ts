/**
 * `tq progress`: said by a task about itself.
 */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';
import { report } from './inside.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'progress',
  section: 'INSIDE A TASK',
  summary: 'say how far this task is',
  description: 'The same as writing "40 epoch 4" to $TQ_PROGRESS_FILE.',
  examples: [{ command: 'tq progress 40% "epoch 4"', text: 'inside a running task' }],
  args: [
    { name: 'PERCENT', required: true, help: '0 to 100' },
    { name: 'MESSAGE', many: true, help: 'what it is doing' },
  ],
  flags: {},
  run(ctx) {
    const [percent, ...words] = ctx.args;
    const message = words.join(' ').replaceAll(/\s+/g, ' ').trim();
    report(ctx.system, 'TQ_PROGRESS_FILE', 'progress', `${readPercent(percent!)}${message === '' ? '' : ` ${message}`}\n`);
    return 0;
  },
});

/** The number without its sign. */
function readPercent(text: string): string {
  const number = /^(\d{1,3}(?:\.\d+)?)%?$/.exec(text)?.[1];
  if (number !== undefined && Number(number) <= 100) return number;
  throw usage(`PERCENT: not a number from 0 to 100: ${quoted(text)}`, 'tq progress 40% "epoch 4"');
}
