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
  description:
    'The keys: arrows or hjkl move, enter shows details, l the log, / filters, c cancels, ? lists all. Each acting key does what the verb of ' +
    'that name does. In a pipe, with --once or on a dumb terminal: one plain frame.',
  examples: [
    { command: 'tq top', text: 'keys are shown with ?' },
    { command: 'tq top --readonly --interval 5s', text: 'on a wall' },
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
    const { intervalOf, isWatched, watch } = await import('./top-live.ts');
    const intervalMs = intervalOf(ctx.flags.interval);
    if (ctx.flags.once !== true && !ctx.json && isWatched(ctx as Ctx)) return watch(ctx as Ctx, intervalMs);
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
