/**
 * `tq result`: said by a task about itself.
 */
import { TqError } from '../errors.ts';
import { report } from './inside.ts';
import { readJson } from './json-word.ts';
import { defineCommand } from './spec.ts';

/** As much as a worker takes, bytes. */
const LARGEST = 1 << 20;

export const command = defineCommand({
  name: 'result',
  section: 'INSIDE A TASK',
  summary: 'give this task a result, for the tasks after it',
  description: 'The same as writing JSON to $TQ_RESULT_FILE.',
  examples: [{ command: `tq result '{"rows": 1200}'`, text: 'inside a running task' }],
  args: [{ name: 'JSON', required: true, help: 'the result, or - for standard input' }],
  flags: {},
  run(ctx) {
    const word = ctx.args[0]!;
    const text = word === '-' ? ctx.system.readStdin().toString('utf8') : word;
    readJson(text, 'JSON');
    if (Buffer.byteLength(text) > LARGEST) {
      throw new TqError('REFUSED', `tq result: ${Buffer.byteLength(text)} bytes, at most ${LARGEST} are kept`, {
        hint: 'write a file, and give its path as the result',
      });
    }
    report(ctx.system, 'TQ_RESULT_FILE', 'result', text);
    return 0;
  },
});
