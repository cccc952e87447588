/**
 * `tq top`: the queue and its workers on one screen. Where nobody watches, one plain frame: what `tq status`, `tq worker ls` and `tq ls`
 * say at this moment.
 */
import { EXIT, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import { quoted } from '../task/visible.ts';
import type { Snapshot, Store } from '../top/model.ts';
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
    { command: 'tq top --replay --since 8h --speed 600', text: 'what happened last night, ten minutes each second' },
  ],
  args: [],
  flags: {
    once: { help: 'one plain frame, then exit' },
    readonly: { help: 'the acting keys change nothing' },
    interval: { value: 'D', help: 'how often to look' },
    replay: { help: 'play back what happened; acting keys change nothing' },
    speed: { value: 'N', help: 'with --replay: N times as fast' },
    since: { value: 'D|T', help: 'with --replay: from then on; otherwise from the first task on' },
  },
  async run(ctx) {
    const { intervalOf, isWatched, watch } = await import('./top-live.ts');
    const intervalMs = intervalOf(ctx.flags.interval);
    const speed = speedOf(ctx.flags.speed);
    for (const flag of ['speed', 'since'] as const)
      if (ctx.flags[flag] !== undefined && ctx.flags.replay !== true) throw usage(`--${flag} is only for --replay`);
    if (ctx.json && ctx.flags.replay === true) throw usage('--replay has no --json', 'tq events --json tells what happened');
    if (ctx.json) {
      await printObjects(ctx as Ctx);
      return EXIT.ok;
    }
    const store = ctx.flags.replay === true ? await replayOf(ctx as Ctx, ctx.flags.since, speed) : await liveOf(ctx as Ctx);
    if (ctx.flags.once !== true && isWatched(ctx as Ctx)) return watch(ctx as Ctx, store, intervalMs);
    await printFrame(ctx as Ctx, store);
    return EXIT.ok;
  },
});

async function liveOf(ctx: Ctx): Promise<Store> {
  const [{ openStore }, { makeEyes }] = await Promise.all([import('../top/store.ts'), import('./eyes.ts')]);
  const q = await ctx.queue();
  return openStore(q, ctx.system, makeEyes(q));
}

async function replayOf(ctx: Ctx, since: string | undefined, speed: number): Promise<Store> {
  const [{ openReplay }, { serverNowOrLocal }, { parseSince }] = await Promise.all([
    import('../top/replay.ts'),
    import('../queue/clock.ts'),
    import('../task/time.ts'),
  ]);
  const q = await ctx.queue();
  const from = since === undefined ? undefined : parseSince(since, '--since', await serverNowOrLocal(q));
  return openReplay(q, ctx.system, from, speed);
}

/** Throws USAGE. */
function speedOf(text: string | undefined): number {
  if (text === undefined) return 1;
  const speed = /^\d{1,6}(?:\.\d{1,3})?$/.test(text) ? Number(text) : 0;
  if (speed <= 0) throw usage(`--speed: not a number above 0: ${quoted(text)}`, 'such as 60: a minute each second');
  return speed;
}

/** Rows of tasks in a frame. */
const ROWS = 40;
/** Of the running ones and of the others each, with `--json`. */
const MOST = '20';
/** A frame of a queue that takes longer to count says so, ms. */
const FRAME_MS = 200;

async function printFrame(ctx: Ctx, store: Store): Promise<void> {
  const { plainFrame } = await import('../top/frame.ts');
  const began = ctx.system.monotonic();
  const ask = { filter: '', sort: null, reverse: false, offset: 0, rows: ROWS, cursor: null, unfolded: new Set<string>() };
  let seen = await store.look(ask);
  while (isUnfinished(seen) && ctx.system.monotonic() - began < FRAME_MS) {
    await ctx.system.sleep(1);
    seen = await store.look(ask);
  }
  ctx.io.out(plainFrame(seen));
  await store.close();
}

function isUnfinished(s: Snapshot): boolean {
  return s.unreachableSince === null && (!s.isComplete || s.rows.some((row) => row.name === null));
}

async function printObjects(ctx: Ctx): Promise<void> {
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
