/**
 * `tq top`: the queue and its workers on one screen. Where nobody watches, one plain frame: what `tq status`, `tq worker ls` and `tq ls`
 * say at this moment.
 */
import { TqError } from '../errors.ts';
import { printJson } from '../print.ts';
import { defineCommand, type CommandSpec, type Ctx } from './spec.ts';

export const command = defineCommand({
  name: 'top',
  section: 'LOOKING',
  summary: 'watch and work on the queue on one screen',
  description: 'In a pipe, or with --once: one plain frame.',
  examples: [
    { command: 'tq top', text: 'keys are shown with ?' },
    { command: 'tq top --once', text: 'one frame, for a script' },
  ],
  args: [],
  flags: {
    once: { help: 'one plain frame, then exit' },
    readonly: { help: 'the acting keys change nothing' },
    interval: { value: 'D', help: 'how often to look' },
    replay: { help: 'play back what happened' },
    speed: { value: 'N', help: 'with --replay: N times as fast' },
  },
  async run(ctx) {
    if (ctx.flags.replay === true) throw new TqError('REFUSED', 'this version of tq does not have top --replay yet');
    if (ctx.flags.once !== true && ctx.io.terminal && !ctx.json) {
      throw new TqError('REFUSED', 'this version of tq does not have the live view yet', { hint: 'tq top --once prints one frame' });
    }
    await printFrame(ctx);
    return 0;
  },
});

/** Rows of tasks in a frame, of the running ones and of the others each. */
const MOST = '20';

async function printFrame(ctx: Ctx): Promise<void> {
  const [{ command: status }, { command: ls }, { list: workers }] = await Promise.all([
    import('./status.ts'),
    import('./ls.ts'),
    import('./worker-look.ts'),
  ]);
  const part = (run: NonNullable<CommandSpec['run']>, flags: Record<string, string | string[] | true> = {}): Promise<string> =>
    printed(ctx, run, flags);
  const parts = [
    await part((c) => status.run!(c)),
    await part(workers),
    await part((c) => ls.run!(c), { state: ['running'], limit: MOST }),
    await part((c) => ls.run!(c), { state: ['queued', 'delayed', 'waiting', 'held'], limit: MOST }),
  ] as const;
  if (!ctx.json) {
    ctx.io.out(parts.filter((text) => text !== '').join('\n'));
    return;
  }
  const [said, seen, running, others] = parts.map((text) => JSON.parse(text) as unknown);
  printJson({ status: said, workers: seen, tasks: [...(running as unknown[]), ...(others as unknown[])] }, ctx.io);
}

/** What another verb would print, without colours. */
async function printed(ctx: Ctx, run: NonNullable<CommandSpec['run']>, flags: Record<string, string | string[] | true>): Promise<string> {
  let text = '';
  const io: Ctx['io'] = {
    ...ctx.io,
    out(data) {
      text += typeof data === 'string' ? data : Buffer.from(data).toString();
      return true;
    },
    paint: (_style, plain) => plain,
  };
  await run({ ...ctx, args: [], flags: flags as Ctx['flags'], io });
  return text;
}
