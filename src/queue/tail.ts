/**
 * Reading the journal: all of a time, or only what is new since the last look. Lines that are not whole are left for the next look,
 * lines that say nothing are passed over. Nothing is believed but what parses: other programs and older versions write here too.
 */
import { OTHER_TYPES, type OtherEvent, type Step } from '../task/event.ts';
import { OUTCOMES, STATES } from '../task/types.ts';
import { listOrEmpty } from './fsx.ts';
import { hourOf } from './journal.ts';
import { isTaskId } from './layout.ts';
import { readFrom } from './logs.ts';
import type { Queue } from './open.ts';

/** What a line of the journal tells. */
export type Line = Step | OtherEvent;

export function isOther(line: Line): line is OtherEvent {
  return 'subject' in line;
}

/** Undefined: nothing that this version understands. */
export function parseLine(text: string): Line | undefined {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch {
    return undefined;
  }
  if (typeof raw !== 'object' || raw === null) return undefined;
  const l = raw as Partial<Step> & Partial<OtherEvent>; // field by field below
  if (typeof l.at !== 'number' || !Number.isFinite(l.at) || Math.abs(l.at) > LAST_MOMENT || !isTextOrNull(l.worker)) return undefined;
  if (l.type !== undefined) {
    const known = (OTHER_TYPES as readonly string[]).includes(l.type) && typeof l.subject === 'string';
    return known && isTextOrNull(l.from) && isTextOrNull(l.to) ? (l as OtherEvent) : undefined;
  }
  if (typeof l.task !== 'string' || !isTaskId(l.task) || !isState(l.from) || !isState(l.to)) return undefined;
  if (!Number.isInteger(l.attempt) || (l.from === null && l.to === null)) return undefined;
  if (l.outcome !== undefined && !(OUTCOMES as readonly string[]).includes(l.outcome)) return undefined;
  return l as Step;
}

/** Of a Date. */
const LAST_MOMENT = 8.64e15;

function isTextOrNull(v: unknown): boolean {
  return v === null || typeof v === 'string';
}

function isState(v: unknown): boolean {
  return v === null || (STATES as readonly unknown[]).includes(v);
}

/** Lines of an hour are looked for in the hour before and after too: not everybody's clock is right. */
const HOUR_MS = 3_600_000;

/** All that was written down from one moment to another, in no order. */
export async function readJournalOf(q: Queue, from: number, to: number, take: (line: Line) => void): Promise<void> {
  const first = Number.isFinite(from) ? hourOf(from - HOUR_MS) : '';
  const last = Number.isFinite(to) ? hourOf(to + HOUR_MS) : '~';
  for (const hour of (await listOrEmpty(q.fsx, q.lay.journal)).toSorted()) {
    if (hour < first || hour > last || hour.startsWith('.')) continue;
    for (const name of await listOrEmpty(q.fsx, `${q.lay.journal}/${hour}`)) {
      if (!name.endsWith(SUFFIX)) continue;
      await readLines(`${q.lay.journal}/${hour}/${name}`, newPosition(), (text) => {
        const line = parseLine(text);
        if (line !== undefined && line.at >= from && line.at <= to) take(line);
      });
    }
  }
}

const SUFFIX = '.ndjson';

interface Position {
  at: number;
  decoder: InstanceType<typeof TextDecoder>;
  rest: string;
}

function newPosition(at = 0): Position {
  return { at, decoder: new TextDecoder(), rest: '' };
}

/** A line longer than this is nobody's. */
const LONGEST = 65_536;

async function readLines(path: string, p: Position, take: (text: string) => void): Promise<void> {
  p.at = await readFrom(path, p.at, (piece) => {
    const text = p.rest + p.decoder.decode(piece, { stream: true });
    const lines = text.split('\n');
    p.rest = lines.pop()!;
    if (p.rest.length > LONGEST) p.rest = '';
    for (const line of lines) if (line !== '') take(line);
    return true;
  });
}

export interface Tail {
  /** What was written since the last look, by time. `now`: server ms. */
  read(now: number): Promise<Line[]>;
  /** Follows this file of lines too, from its beginning, until nothing has come for a while. */
  follow(path: string, take: (text: string) => void): void;
}

/** Follows the journal from its end; what lies there already is passed over. A look lists two hours, and reads what has grown. */
export async function openTail(q: Queue, now: number): Promise<Tail> {
  const positions = new Map<string, Position>();
  const others = new Map<string, { position: Position; take: (text: string) => void; grewMs: number }>();
  const files = async (moment: number): Promise<string[]> => {
    const found: string[] = [];
    for (const hour of new Set([hourOf(moment - LATE_MS), hourOf(moment + LATE_MS)])) {
      const dir = `${q.lay.journal}/${hour}`;
      // What another machine made there is not in a listing that was kept.
      await q.fsx.refresh(dir).catch(() => undefined);
      for (const name of await listOrEmpty(q.fsx, dir)) if (name.endsWith(SUFFIX)) found.push(`${dir}/${name}`);
    }
    return found;
  };
  for (const path of await files(now)) positions.set(path, newPosition(await sizeOf(q, path)));
  return {
    async read(moment) {
      const lines: Line[] = [];
      const there = new Set(await files(moment));
      for (const path of positions.keys()) if (!there.has(path)) positions.delete(path);
      for (const path of there) {
        let p = positions.get(path);
        if (p === undefined) positions.set(path, (p = newPosition()));
        await readLines(path, p, (text) => {
          const line = parseLine(text);
          if (line !== undefined) lines.push(line);
        });
      }
      for (const [path, other] of others) {
        const before = other.position.at;
        await readLines(path, other.position, other.take);
        if (other.position.at > before) other.grewMs = performance.now();
        else if (performance.now() - other.grewMs > SILENT_MS) others.delete(path);
      }
      return lines.toSorted((a, b) => a.at - b.at);
    },
    follow(path, take) {
      if (!others.has(path)) others.set(path, { position: newPosition(), take, grewMs: performance.now() });
    },
  };
}

/** A file that somebody asked to follow is over after this, ms. */
const SILENT_MS = 120_000;

/** An hour is read for so long after its end, and before its beginning. */
const LATE_MS = 600_000;

async function sizeOf(q: Queue, path: string): Promise<number> {
  return q.fsx.stat(path).then(
    (s) => s.size,
    () => 0,
  );
}
