/** The first task of a lane, for who cannot take it now and must know whether it is there and how long it has been. */
import { listOrEmpty } from './fsx.ts';
import { isBucket, parseEntry, parsePrio } from './layout.ts';
import type { Queue } from './open.ts';

export interface Head {
  id: string;
  priority: number;
}

/** The oldest task of the best priority; a few listings however long the lane is, unless buckets were left empty. */
export async function headOf(q: Queue, lane: string): Promise<Head | undefined> {
  const base = `${q.dir}/queued/${lane}`;
  const priorities = (await listOrEmpty(q.fsx, base)).flatMap((name) => {
    const priority = parsePrio(name);
    return priority === undefined ? [] : [{ name, priority }];
  });
  for (const { name, priority } of priorities.toSorted((a, b) => b.priority - a.priority)) {
    for (const first of (await listOrEmpty(q.fsx, `${base}/${name}`)).filter((a) => a.length === 4).toSorted()) {
      for (const second of (await listOrEmpty(q.fsx, `${base}/${name}/${first}`)).filter(isBucket).toSorted()) {
        const ids = (await listOrEmpty(q.fsx, `${base}/${name}/${first}/${second}`)).flatMap((entry) => {
          const e = parseEntry(entry);
          return e === undefined || e.cancel ? [] : [e.id];
        });
        if (ids.length > 0) return { id: ids.toSorted()[0]!, priority };
      }
    }
  }
  return undefined;
}
