/** The worker's side of its guardian: started with the session, told of each child, started anew when it is lost. */
import { startGuardian, type Guardian } from './guardian.ts';
import type { Worker } from './worker.ts';

export function startGuardianOf(w: Worker): Guardian {
  const { q, session } = w;
  const guardian = startGuardian({
    command: [...w.options.self, '__guardian', q.dir, session, String(q.leaseMs), w.scratch, q.network ? '1' : '0'],
    session,
    leaseMs: q.leaseMs,
    onLost: () => {
      if (w.stopping || w.session !== session) return;
      w.log('the guardian is gone: a new one is started');
      w.guardian = startGuardianOf(w);
      for (const run of w.runs.values()) if (run.pid !== null) w.guardian.watch(run.pid, run.claimed.id, run.claimed.attempt);
    },
  });
  return guardian;
}
