/**
 * `tq note`: write a remark on a task.
 */
import { usage } from '../errors.ts';
import { addNote } from '../queue/control.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'note',
  section: 'CHANGING',
  summary: 'write a remark on a task',
  examples: [{ command: 'tq note 7k2p "input was fixed, see mail"', text: 'shown by tq show, with time and user' }],
  args: [
    { name: 'ID', required: true, help: 'an id, or @last' },
    { name: 'TEXT', required: true, many: true, help: 'the remark' },
  ],
  flags: DRY_RUN_FLAG,
  run(ctx) {
    const [id = '', ...words] = ctx.args;
    const text = words.join(' ');
    if (text.trim() === '') throw usage('tq note: TEXT is empty', 'tq note ID "what is to be known of it"');
    if (id === '@all') throw usage('tq note takes one id, @last or -');
    const by = byOf(ctx.system);
    return changeEach(ctx, {
      verb: 'note',
      words: [id],
      filters: false,
      asks: false,
      rehearse: (_q, task) => Promise.resolve({ id: task.id, at: ctx.system.now(), by, text }),
      change: (q, task) => addNote(q, task.id, by, text),
    });
  },
});
