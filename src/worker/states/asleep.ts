/** asleep: runs nothing, beats on, until woken by a request, by its hours or by the time it was told. */
import { acknowledge, type StateModule } from '../machine.ts';
import { heartbeat } from '../heartbeat.ts';
import { jittered, pause } from '../worker.ts';

export const asleep: StateModule = {
  name: 'asleep',
  async run(w) {
    w.base = 'asleep';
    await heartbeat(w);
    for (;;) {
      const r = w.request;
      if (r !== null) {
        if (r.to === 'restart' && w.options.restartExitCode === null) {
          w.log('restart was asked, but this worker has no --restart-exit-code: ignored');
          await acknowledge(w);
          continue;
        }
        await acknowledge(w);
        if (r.to === 'asleep') {
          w.baseUntil = r.until ?? w.baseUntil;
          continue;
        }
        if (r.to === 'awake') w.baseUntil = r.until ?? null;
        return r.to;
      }
      if (w.options.hours === null && w.baseUntil !== null && Date.now() >= w.baseUntil) {
        w.baseUntil = null;
        return 'awake';
      }
      if (w.options.timeLimitMs !== null && performance.now() - w.startedMs >= w.options.timeLimitMs) return 'offline';
      const left = w.baseUntil === null ? w.options.pollMs : Math.max(10, w.baseUntil - Date.now());
      await pause(w, Math.min(jittered(w.options.pollMs), left));
    }
  },
};
