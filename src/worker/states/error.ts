/**
 * error: something is wrong here: the queue cannot be used, or tasks cannot be started that others could start. Takes nothing,
 * lets running tasks go on, and tries again by itself after growing pauses; a request to wake up tries at once.
 */
import { acknowledge, type StateModule } from '../machine.ts';
import { heartbeat, queueIsThere } from '../heartbeat.ts';
import { emptyWindow } from '../../queue/claim.ts';
import { mkdirp } from '../../queue/fsx.ts';
import { stagingPath, unlinkQuietly } from '../../queue/steps.ts';
import { endRun, jittered, pause, type Worker } from '../worker.ts';
import { atTimeLimit, handBackPending } from './awake.ts';

/** First and longest pause before the queue is tried again, ms. */
const FIRST_MS = 1000;
const LONGEST_MS = 10_000;
/** After rejections nothing can be probed, so the first pause is longer. */
const FIRST_AFTER_REJECTIONS_MS = 30_000;
const LONGEST_AFTER_REJECTIONS_MS = 600_000;

let recent = { atMs: Number.NEGATIVE_INFINITY, pauseMs: 0 };

export const error: StateModule = {
  name: 'error',
  async run(w) {
    const queueTrouble = w.reason?.startsWith('the queue cannot be used') === true;
    w.log(`error: ${w.reason ?? 'unknown'}`);
    w.blocked = null;
    // Nothing that was claimed ahead waits here. Where the queue is in trouble, the heartbeat gives it back when it can.
    if (queueTrouble) w.pending = [];
    else await handBackPending(w);
    const longestMs = queueTrouble ? LONGEST_MS : LONGEST_AFTER_REJECTIONS_MS;
    let pauseMs = queueTrouble ? FIRST_MS : FIRST_AFTER_REJECTIONS_MS;
    // Back in error soon after it was left: go on where the pauses had grown to.
    if (performance.now() - recent.atMs < 2 * recent.pauseMs + 10_000) pauseMs = Math.min(longestMs, Math.max(pauseMs, recent.pauseMs * 2));
    await heartbeat(w);
    for (;;) {
      const until = performance.now() + jittered(pauseMs);
      while (performance.now() < until) {
        const { timeLimitMs } = w.options;
        if (timeLimitMs !== null && performance.now() - w.startedMs >= timeLimitMs) atTimeLimit(w);
        const r = w.request;
        if (r !== null && r.to === 'awake') {
          await acknowledge(w);
          break;
        }
        if (r !== null && r.to !== 'restart' && (r.to === 'asleep' || w.runs.size === 0 || r.now)) {
          if (r.now) for (const run of w.runs.values()) endRun(run, 'preempted');
          if (w.runs.size === 0) {
            await acknowledge(w);
            return r.to;
          }
        }
        await pause(w, Math.min(Math.max(20, until - performance.now()), w.options.pollMs));
      }
      if (await usable(w)) {
        recent = { atMs: performance.now(), pauseMs };
        w.log('trying again');
        w.reason = null;
        w.blocked = null;
        w.window = emptyWindow();
        return w.base;
      }
      pauseMs = Math.min(longestMs, pauseMs * 2);
    }
  },
};

/** Whether the queue can be read and written now. */
async function usable(w: Worker): Promise<boolean> {
  try {
    if (!(await queueIsThere(w))) return false;
    await mkdirp(w.q.fsx, w.q.lay.tmp);
    const probe = stagingPath(w.q, '.probe');
    await w.q.fsx.create(probe, 'x'.repeat(4096));
    await unlinkQuietly(w.q.fsx, probe);
    return (await heartbeat(w)) !== 'away';
  } catch (problem) {
    w.reason = `the queue cannot be used: ${problem instanceof Error ? problem.message : String(problem)}`;
    return false;
  }
}
