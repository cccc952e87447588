/**
 * How the live view sees the workers: each as `tq worker ls` shows it, and the word of `tq status` for all of them.
 */
import { workerNames } from '../queue/registry.ts';
import type { Queue } from '../queue/open.ts';
import type { Eyes } from '../top/store.ts';
import { sightOf, type Sight } from '../worker/sight.ts';
import { countWorkers, someCanBeTaken, statusWord } from './status.ts';

/** Heartbeats missed before a worker is suspected; a few more, and it counts as not alive. */
const SUSPECTED_BEATS = 3;
const LEAST_SILENCE_MS = 2000;

export function makeEyes(q: Queue): Eyes {
  const sights = new Map<string, Sight>();
  return {
    async names() {
      const names = await workerNames(q);
      const there = new Set(names);
      for (const name of sights.keys()) if (!there.has(name)) sights.delete(name);
      return names;
    },
    async look(name, now) {
      const s = await sightOf(q, name, now);
      if (s === undefined) {
        sights.delete(name);
        return undefined;
      }
      sights.set(name, s);
      const silent = s.lastSeenAt === null ? 0 : now - s.lastSeenAt;
      return {
        session: s.file.session,
        running: s.said?.running ?? [],
        row: {
          name: s.file.name,
          host: s.file.host,
          state: s.state,
          want: s.want,
          alive: s.alive,
          suspected: s.alive && silent > Math.max(LEAST_SILENCE_MS, SUSPECTED_BEATS * s.file.heartbeatMs),
          jobs: s.file.jobs,
          running: s.running,
          load: s.load,
          lastSeenAt: s.lastSeenAt,
          queues: s.file.queues,
          labels: s.file.labels,
          reason: s.said?.reason ?? (s.said?.blocked === 'error' ? null : (s.said?.blocked ?? null)),
        },
      };
    },
    async word(counts) {
      const seen = [...sights.values()];
      return statusWord(counts, countWorkers(seen), counts.queued > 0 && counts.running === 0 && (await someCanBeTaken(q, seen)));
    },
  };
}
