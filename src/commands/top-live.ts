/**
 * `tq top` on a terminal: the store, the verbs as actions and the terminal put together. Loaded only then, since the view brings Ink.
 */
import { usage } from '../errors.ts';
import { parseDuration } from '../task/duration.ts';
import type { Store } from '../top/model.ts';
import { quoted } from '../task/visible.ts';
import type { Ctx } from './spec.ts';
import { actionsOf } from './top-actions.ts';

/** Between two looks, ms: of a local disk and of one over the network. */
const LOCAL_MS = 1000;
const NETWORK_MS = 2000;
/** What a task waits for is asked of every worker. */
const DETAILS_NETWORK_MS = 10_000;
/** Faster than this nobody reads. */
const LEAST_MS = 100;
/** Between two looks at a log that is shown, ms. */
const LOG_MS = 250;

/** Until it is quit; the exit code. */
export async function watch(ctx: Ctx, store: Store, intervalMs: number | undefined): Promise<number> {
  const q = await ctx.queue();
  const [{ runTop }, { paintOf }, { realTerminal }] = await Promise.all([
    import('../top/app.tsx'),
    import('../top/paint.ts'),
    import('../top/screen.ts'),
  ]);
  return runTop({
    store,
    actions: actionsOf(ctx),
    system: ctx.system,
    terminal: realTerminal(process.stdin, process.stdout),
    paint: paintOf(ctx.system.env),
    intervalMs: intervalMs ?? (q.network ? NETWORK_MS : LOCAL_MS),
    detailsMs: q.network ? DETAILS_NETWORK_MS : LOCAL_MS,
    logMs: q.network ? NETWORK_MS : LOG_MS,
    readonly: ctx.flags['replay'] === true ? 'this is a replay' : ctx.flags['readonly'] === true ? 'started with --readonly' : null,
  });
}

/** Whether somebody watches who can be drawn for: keys come and the cursor can be moved. */
export function isWatched({ io, system }: Ctx): boolean {
  return io.terminal && system.isTerminal(0) && (system.env['TERM'] ?? '') !== '' && system.env['TERM'] !== 'dumb';
}

/** Throws USAGE. */
export function intervalOf(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const ms = parseDuration(text, '--interval');
  if (ms < LEAST_MS) throw usage(`--interval: shorter than ${LEAST_MS}ms: ${quoted(text)}`);
  return ms;
}
