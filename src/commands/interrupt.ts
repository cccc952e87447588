/**
 * Waiting for tasks, until somebody presses Ctrl-C: the command ends then, the tasks never do.
 */
import os from 'node:os';
import type { Ctx } from './spec.ts';

const SIGNALS = ['SIGINT', 'SIGTERM', 'SIGHUP'] as const;

/**
 * Does `work` with a signal that is aborted by Ctrl-C (or TERM, or a terminal that hung up). Then stderr says how to cancel the
 * tasks, and the exit code is that of a shell: 128 + the signal.
 */
export async function interruptible(
  ctx: Pick<Ctx, 'system' | 'io'>,
  ids: readonly string[],
  work: (signal: AbortSignal) => Promise<number>,
): Promise<number> {
  const abort = new AbortController();
  let came: (typeof SIGNALS)[number] | undefined;
  const off = ctx.system.onSignal(SIGNALS, (name) => {
    came ??= name as (typeof SIGNALS)[number]; // only these are asked for
    abort.abort();
  });
  try {
    const code = await work(abort.signal);
    if (came === undefined) return code;
  } finally {
    off();
  }
  if (ids.length === 1) ctx.io.err(`tq: ${ids[0]} goes on; to end it: tq cancel ${ids[0]}`);
  else ctx.io.err(`tq: ${ids.length} tasks go on; to end them: tq cancel ID...`);
  return 128 + os.constants.signals[came];
}
