/**
 * What a running worker takes up of the queue's settings: `poll`, unless it was given one. It looks once a poll, and reads the file only
 * when that has changed.
 */
import { isGone } from '../queue/fsx.ts';
import { openQueue, type Queue } from '../queue/open.ts';
import { writeWorker } from '../queue/registry.ts';
import { formatDuration } from '../task/duration.ts';
import { durationSetting } from '../task/settings.ts';
import { heartbeatMs } from './machine.ts';
import { sayOnce, wake, type Worker } from './worker.ts';

/** Over a network a look costs calls to the server: it is made when somebody has rung, as `tq config set` does, and now and then. */
const LOOK_EVERY_BEATS = 12;
/** How often a worker looks that nobody told, ms. */
const POLL_LOCAL_MS = 1000;
const POLL_NETWORK_MS = 5000;

/** The stamp of the `tq.json` that a worker has read last. */
const seen = new WeakMap<Worker, string>();

/** How often a worker without `--poll` looks, ms. Throws QUEUE_UNUSABLE for a setting that means nothing. */
export function pollOf(q: Pick<Queue, 'network'>, settings: Readonly<Record<string, unknown>>): number {
  return durationSetting(settings, 'poll') ?? (q.network ? POLL_NETWORK_MS : POLL_LOCAL_MS);
}

/** One look. A setting that means nothing is said, and the one before stays. */
export async function takeSettings(w: Worker, rang: boolean): Promise<void> {
  if (w.options.pollAsSet !== true || w.file === null) return;
  if (w.q.network && !rang && w.counter % LOOK_EVERY_BEATS !== 0) return;
  try {
    const { ino, mtimeMs } = await w.q.fsx.stat(w.q.lay.config);
    const stamp = `${ino}.${mtimeMs}`;
    if (seen.get(w) === stamp) return;
    await takePoll(w, pollOf(w.q, (await openQueue(w.q.dir, { network: w.q.network })).config.settings));
    seen.set(w, stamp);
  } catch (error) {
    if (!isGone(error)) sayOnce(w, 'the settings', error);
  }
}

/** Others judge by what `worker.json` says how often it beats: before it beats less often they are told. */
async function takePoll(w: Worker, pollMs: number): Promise<void> {
  if (pollMs === w.options.pollMs || w.file === null) return;
  const file = { ...w.file, heartbeatMs: heartbeatMs(w.q, pollMs) };
  await writeWorker(w.q, file);
  w.file = file;
  w.options.pollMs = pollMs;
  w.log(`the poll is ${formatDuration(pollMs)} from now on`);
  wake(w);
}
