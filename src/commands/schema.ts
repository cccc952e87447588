/**
 * `tq schema`: the JSON Schema of what tq reads and writes.
 */
import { usage } from '../errors.ts';
import { printJson } from '../print.ts';
import { nearest } from '../task/nearest.ts';
import { quoted } from '../task/visible.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'schema',
  section: 'THE QUEUE',
  summary: 'print the JSON schema of what tq reads and writes',
  description: 'Draft 2020-12. What tq prints may get more fields in later versions; what it takes may not hold unknown ones.',
  examples: [
    { command: 'tq schema', text: 'the names' },
    { command: 'tq schema task', text: 'one of them' },
    { command: 'tq schema workflow > workflow.schema.json', text: 'for an editor that checks workflow files' },
  ],
  args: [{ name: 'NAME', help: 'task, attempt, worker, event, outcome, error, task-object or workflow' }],
  flags: {},
  async run({ args, json, io }) {
    const { SCHEMA_NAMES, schemaOf } = await import('./schemas.ts');
    const [name] = args;
    if (name === undefined) {
      if (json) printJson(Object.fromEntries(SCHEMA_NAMES.map((each) => [each, schemaOf(each)])), io);
      else io.out(SCHEMA_NAMES.map((each) => `${each}\n`).join(''));
      return 0;
    }
    const schema = schemaOf(name);
    if (schema === undefined) {
      const near = nearest(name, SCHEMA_NAMES);
      throw usage(
        `NAME: no such schema: ${quoted(name)}`,
        near === undefined ? `there are ${SCHEMA_NAMES.join(', ')}` : `did you mean ${near}?`,
      );
    }
    printJson(schema, io);
    return 0;
  },
});
