/**
 * `tq schema`: the JSON Schema of what tq reads and writes.
 */
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'schema',
  section: 'THE QUEUE',
  summary: 'print the JSON schema of what tq reads and writes',
  examples: [{ command: 'tq schema task', text: 'one of them; without a name their names' }],
  args: [{ name: 'NAME', help: 'which one' }],
  flags: {},
  run: notYet('schema'),
});
