/** The worker's side of its guardian: started with the session, told of each child, started anew when it is lost. */
import { startGuardian, type Guardian } from './guardian.ts';
import type { Worker } from './worker.ts';

export function startGuardianOf(w: Worker): Guardian {
  const { q, session } = w;
  const startedAt = performance.now();
  const guardian = startGuardian({
    command: [...w.options.self, '__guardian', q.dir, session, String(q.leaseMs), w.scratch, q.network ? '1' : '0'],
    session,
    leaseMs: q.leaseMs,
    onLost: () => {
      w.log('the guardian is gone: a new one is started');
      // One that does not last is not started over and over.
      if (performance.now() - startedAt < TRY_AGAIN_MS) setTimeout(() => replace(w, session), TRY_AGAIN_MS).unref();
      else replace(w, session);
    },
  });
  return guardian;
}

/** Before another one is tried where none could be started, ms. */
const TRY_AGAIN_MS = 1000;

function replace(w: Worker, session: string): void {
  if (w.session !== session || w.state === 'offline' || w.state === 'restart') return;
  try {
    w.guardian = startGuardianOf(w);
  } catch (error) {
    w.log(error instanceof Error ? error.message : String(error));
    setTimeout(() => replace(w, session), TRY_AGAIN_MS).unref();
    return;
  }
  for (const run of w.runs.values()) if (run.pid !== null) w.guardian.watch(run.pid, run.claimed.id, run.claimed.attempt);
}
