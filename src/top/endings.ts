/**
 * How many tasks ended of late, from counts that are taken now and then. Pure; the moments are those of a clock that never goes back.
 */

/** Points of the sparkline; each an interval of this length, ms. */
const POINTS = 60;
const POINT_MS = 1000;

/** How many ended when: what was counted before says nothing, and what was removed took nothing back. */
export interface Endings {
  tasks(n: number, ms: number): void;
  array(id: string, n: number): void;
  points(ms: number): number[];
  /** A second. */
  rate(ms: number): number;
}

export function newEndings(): Endings {
  const arrays = new Map<string, number>();
  const points = new Map<number, number>();
  let before: number | undefined;
  let fresh = 0;
  let began: number | undefined;
  return {
    tasks(n, ms) {
      began ??= ms;
      const more = (before === undefined ? 0 : Math.max(0, n - before)) + fresh;
      before = n;
      fresh = 0;
      if (more > 0) points.set(slot(ms), (points.get(slot(ms)) ?? 0) + more);
      for (const at of points.keys()) if (at <= slot(ms) - POINTS) points.delete(at);
    },
    array(id, n) {
      const known = arrays.get(id);
      arrays.set(id, n);
      if (known !== undefined) fresh += Math.max(0, n - known);
    },
    points(ms) {
      if (began === undefined) return [];
      const first = Math.max(slot(began), slot(ms) - POINTS + 1);
      return Array.from({ length: slot(ms) - first + 1 }, (_, i) => points.get(first + i) ?? 0);
    },
    rate(ms) {
      if (began === undefined || ms <= began) return 0;
      let sum = 0;
      for (const [at, n] of points) if (at > slot(ms) - POINTS) sum += n;
      return (sum * 1000) / Math.max(POINT_MS, Math.min(ms - began, POINTS * POINT_MS));
    },
  };
}

function slot(ms: number): number {
  return Math.floor(ms / POINT_MS);
}
