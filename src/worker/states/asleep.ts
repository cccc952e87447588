/** asleep: runs nothing, beats on, until woken by a request, by its hours or by the time it was told. */
import { acknowledge, holdsUntil, type StateModule } from '../machine.ts';
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
        if (r.from === 'want' && (r.to === 'awake' || r.to === 'asleep')) w.baseUntil = holdsUntil(w, r.until);
        if (r.to === 'asleep') continue;
        return r.to;
      }
      if (w.options.timeLimitMs !== null && performance.now() - w.startedMs >= w.options.timeLimitMs) return 'offline';
      await pause(w, jittered(w.options.pollMs));
    }
  },
};
