/**
 * Numbers about many attempts: percentiles, groups, clusters of failures, and the text format of Prometheus. Pure. Memory grows by a few
 * numbers for each attempt, whatever the tasks are.
 */

/** ms; null where there is nothing to measure. */
export interface Spread {
  count: number;
  p50: number | null;
  p90: number | null;
  p99: number | null;
  max: number | null;
  mean: number | null;
}

/** The nearest-rank percentiles of what was measured. */
export function spread(values: readonly number[]): Spread {
  const sorted = Float64Array.from(values).toSorted();
  const rank = (p: number): number | null => (sorted.length === 0 ? null : sorted[Math.max(0, Math.ceil((p / 100) * sorted.length) - 1)]!);
  const mean = sorted.length === 0 ? null : Math.round((sorted.reduce((sum, v) => sum + v, 0) / sorted.length) * 1000) / 1000;
  return { count: sorted.length, p50: rank(50), p90: rank(90), p99: rank(99), max: rank(100), mean };
}

/**
 * How long slots of a worker stood empty between two tasks although the next was there. `spans` are its attempts; an attempt begins in the
 * slot that got free last.
 */
export function gapsOf(spans: ReadonlyArray<{ readyAt: number; from: number; to: number }>): number[] {
  const gaps: number[] = [];
  /** Ends of slots that are free, ascending, and of those that are not. */
  const free: number[] = [];
  const busy: number[] = [];
  for (const span of spans.toSorted((a, b) => a.from - b.from || a.to - b.to)) {
    while (busy.length > 0 && busy[0]! <= span.from) free.push(busy.shift()!);
    const last = free.pop();
    // One that came later than the slot got free was not waited for by the worker but by the queue.
    if (last !== undefined && span.readyAt <= last) gaps.push(span.from - last);
    let at = busy.length;
    while (at > 0 && busy[at - 1]! > span.to) at--;
    busy.splice(at, 0, span.to);
  }
  return gaps;
}

/** What failures have in common: numbers, hex, ids and quoted words in their last line are left out. */
export function normalised(line: string): string {
  return line
    .replaceAll(/\b0x[0-9a-f]+\b/gi, 'N')
    .replaceAll(/\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b/gi, 'N')
    .replaceAll(/\b(?=[0-9a-f]*\d)[0-9a-f]{7,}\b/gi, 'N')
    .replaceAll(/\d+(?:\.\d+)*/g, 'N')
    .replaceAll(/\s+/g, ' ')
    .trim()
    .slice(0, 200);
}

/** One metric of the Prometheus text format, version 0.0.4. */
export interface Metric {
  name: string;
  help: string;
  type: 'gauge' | 'counter' | 'summary';
  samples: ReadonlyArray<{ labels: Readonly<Record<string, string>>; value: number; suffix?: '_sum' | '_count' }>;
}

export function promText(metrics: readonly Metric[]): string {
  let text = '';
  for (const { name, help, type, samples } of metrics) {
    text += `# HELP ${name} ${help.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')}\n# TYPE ${name} ${type}\n`;
    for (const { labels, value, suffix = '' } of samples) {
      const pairs = Object.entries(labels).map(([k, v]) => `${k}="${escaped(v)}"`);
      text += `${name}${suffix}${pairs.length === 0 ? '' : `{${pairs.join(',')}}`} ${String(value)}\n`;
    }
  }
  return text;
}

/** A label's value; control characters and what is no text would make a scraper refuse the page. */
function escaped(value: string): string {
  return value
    .toWellFormed()
    .replaceAll(/[\u0000-\u0009\u000b-\u001f\u007f]/g, ' ')
    .slice(0, LONGEST_LABEL)
    .replaceAll('\\', '\\\\')
    .replaceAll('"', String.raw`\"`)
    .replaceAll('\n', String.raw`\n`);
}

const LONGEST_LABEL = 120;

/** At most so many values of a label: the largest keep their name, the rest is `other`. */
export function bounded<T>(
  groups: ReadonlyMap<string, T>,
  most: number,
  size: (t: T) => number,
  add: (into: T | undefined, one: T) => T,
): Map<string, T> {
  const sorted = [...groups].toSorted((a, b) => size(b[1]) - size(a[1]) || (a[0] < b[0] ? -1 : 1));
  const kept = new Map<string, T>();
  for (const [i, [name, t]] of sorted.entries()) {
    const to = i < most ? name : 'other';
    kept.set(to, kept.has(to) || i >= most ? add(kept.get(to), t) : t);
  }
  return kept;
}
