/**
 * What happens from now on. The journal tells most of it at once; the rest is found by looking: new tasks by the names in the youngest
 * buckets, steps that a crash kept from the journal by the files of the tasks, as soon as a session ends without a word or a line does not
 * follow from what is known. A task's steps are told in order, each a legal one, none twice.
 */
import { fsError } from '../errors.ts';
import { arrange, withGap, type Found, type Known, type Step } from '../task/event.ts';
import { isTerminal, STATES, type State } from '../task/types.ts';
import { readArray } from './array.ts';
import { serverNowOrLocal } from './clock.ts';
import { sessions, type Located } from './find.ts';
import {
  chunkStep,
  factsFromLines,
  histories,
  history,
  historyAt,
  historiesOf,
  newHistoryCache,
  replay,
  type Facts,
  type History,
  type Told,
} from './history.ts';
import { baseId, idTime, isPiece, pieceOf } from './layout.ts';
import type { Queue } from './open.ts';
import { journalPath } from './pieces.ts';
import { bell } from './signal.ts';
import { isOther, openTail, type Line, type Tail } from './tail.ts';
import { walk } from './walk.ts';
import { readWhy } from './why.ts';

export interface FollowOptions {
  /** Server ms; what happened from then until now comes first. */
  since: number;
  ids?: readonly string[];
  /** False: nobody reads any more. */
  take(told: Told): boolean;
  signal: AbortSignal;
  sleep(ms: number): Promise<void>;
}

/** Looks at a local disk cost microseconds; over a network each is a few calls. */
const POLL_MS = 100;
const NETWORK_POLL_MS = 2000;
/** Names of new tasks are looked at when the bell rang, and at least so often. */
const LOOK_MS = 5000;
/** How far back a new task's id may lie: it was made when the submit began. */
const YOUNG_MS = 300_000;
/** Everything that changed of late is looked at anew so often: what was moved by hand has no line anywhere. */
const SWEEP_MS = 60_000;

interface Seen extends Known {
  facts: Facts;
}

interface Following {
  q: Queue;
  options: FollowOptions;
  tail: Tail;
  /** Of each task what was told last; ended ones are forgotten after a while. */
  known: Map<string, Seen>;
  began: number;
  open: boolean;
}

export async function followEvents(q: Queue, options: FollowOptions): Promise<void> {
  const began = await clock(q);
  const tail = await openTail(q, began);
  const f: Following = { q, options, tail, known: new Map(), began: options.since, open: true };
  // Opened before this is read: what happens meanwhile is in the first look, and told once.
  const looks: Looks = {
    rang: await bell(q),
    running: new Set(await sessions(q)),
    nextMs: performance.now() + LOOK_MS,
    sweptAt: began,
    sweepMs: 0,
  };
  await tellPast(f);
  looks.sweepMs = performance.now() + SWEEP_MS;
  while (f.open && !options.signal.aborted) {
    const now = await clock(q);
    await takeLines(f, await tail.read(now));
    await look(f, looks, now);
    if (!f.open) return;
    const poll = q.network ? NETWORK_POLL_MS : POLL_MS;
    await options.sleep(poll * (0.9 + 0.2 * Math.random()));
  }
}

interface Looks {
  rang: string;
  running: ReadonlySet<string>;
  /** When the next look is made at the latest, monotonic ms; one that took long is not made again at once. */
  nextMs: number;
  earliestMs?: number;
  /** Server ms of the last sweep; monotonic ms of the next. */
  sweptAt: number;
  sweepMs: number;
}

/** Looks take at most this part of the time. */
const DUTY = 10;

/** What the journal does not tell. */
async function look(f: Following, looks: Looks, now: number): Promise<void> {
  const { q } = f;
  const began = performance.now();
  const bellNow = await bell(q);
  if ((bellNow === looks.rang && began < looks.nextMs) || began < (looks.earliestMs ?? 0)) return;
  looks.rang = bellNow;
  await mustBeThere(q);
  await findNew(f, now);
  const there = new Set(await sessions(q));
  const ended = [...looks.running].some((session) => !there.has(session));
  looks.running = there;
  // A session is over: what it did and could not write down any more is in the tasks' files.
  if (ended || began >= looks.sweepMs) {
    await takeLines(f, await f.tail.read(now));
    const overlapMs = Math.max(SWEEP_MS, ended ? 2 * q.leaseMs : 0);
    await sweep(f, Math.max(f.began, looks.sweptAt - overlapMs));
    looks.sweptAt = now;
    looks.sweepMs = performance.now() + Math.max(SWEEP_MS, DUTY * (performance.now() - began));
    forgetEnded(f, now);
  }
  const ms = performance.now();
  looks.nextMs = ms + LOOK_MS;
  looks.earliestMs = ms + DUTY * (ms - began);
}

/** Where nothing can be read, nothing seems to happen: that is said instead. Throws NOT_A_QUEUE, or what the file system says. */
async function mustBeThere(q: Queue): Promise<void> {
  try {
    await q.fsx.stat(q.lay.config);
  } catch (error) {
    throw fsError(error, 'follow the queue', q.lay.config);
  }
}

function tell(f: Following, told: Told): void {
  f.open &&= f.options.take(told);
}

/** What happened since then, and where everything is that was there before. */
async function tellPast(f: Following): Promise<void> {
  const { q, options } = f;
  for await (const told of replay(q, options.since, Number.POSITIVE_INFINITY, options.ids === undefined ? {} : { ids: options.ids })) {
    if (!f.open) return;
    tell(f, told);
    if ('step' in told) note(f, told.step, told.facts);
  }
}

function note(f: Following, step: Step, facts: Facts): void {
  f.known.set(step.task, { state: step.to, attempt: step.attempt, at: step.at, dueAt: step.dueAt, facts });
}

async function takeLines(f: Following, lines: readonly Line[]): Promise<void> {
  const chosen = f.options.ids === undefined ? undefined : new Set(f.options.ids);
  for (const line of lines) {
    if (!f.open) return;
    if (isOther(line)) {
      if (line.type === 'chunk') followChunk(f, line.subject, line.attempt ?? 0);
      else if (line.at >= f.began) tell(f, { other: line });
    } else if (chosen === undefined || chosen.has(line.task) || chosen.has(baseId(line.task))) {
      if (isPiece(line.task)) await takeArray(f, baseId(line.task));
      else await takeStep(f, line);
    }
  }
}

/** A step of the journal: told if it follows from what is known, else with what lies between, as the task's files tell it. */
async function takeStep(f: Following, step: Step): Promise<void> {
  const { q, known } = f;
  let seen = known.get(step.task);
  if (seen === undefined && step.from !== null) {
    if (idTime(step.task) >= f.began || step.from === 'running' || step.task.includes('.')) {
      const h = await history(q, step.task, [step]);
      if (h !== undefined) return takeHistory(f, h);
    }
    // It was there before, and this is the first that is heard of it.
    const facts = (await history(q, step.task))?.facts ?? factsFromLines(step.task, [step]);
    seen = { state: step.from, attempt: step.from === 'running' ? step.attempt : Math.min(step.attempt, 0), at: 0, facts };
  }
  if (seen === undefined) seen = { state: null, attempt: 0, at: 0, facts: factsFromLines(step.task, [step]) };
  if (step.attempt < seen.attempt || isPast(seen, step)) return;
  // An attempt in between may be one whose worker died before it wrote a line of it.
  const isNext = step.attempt <= seen.attempt + (step.to === 'running' ? 1 : 0);
  if (seen.state !== step.from || !isNext) {
    const h = step.to === null ? undefined : await history(q, step.task, [step]);
    if (h !== undefined) return takeHistory(f, h, step);
  }
  for (const one of withGap(seen, step)) await tellStep(f, one, seen.facts);
}

/** It has been told, as far as can be seen: two who helped each other both saw it, or it was found in the files before. */
function isPast(seen: Seen, step: Step): boolean {
  // An attempt begins once, whatever the clocks said of its end.
  if (step.to === 'running' && seen.attempt > 0 && step.attempt <= seen.attempt) return true;
  if (seen.state === step.from && seen.at <= step.at) return false;
  return seen.attempt === step.attempt && (seen.state === step.to || seen.at >= step.at || isEnd(seen.state));
}

function isEnd(state: State | null): boolean {
  return state === null || isTerminal(state);
}

async function tellStep(f: Following, step: Step, facts: Facts): Promise<void> {
  let shown = step;
  if (step.to !== null && step.outcome === undefined && step.by === undefined && BY_HAND.has(step.to)) {
    const why = await readWhy(f.q, step.task, step.attempt, step.to).catch(() => undefined);
    const by = why?.by?.user;
    if (why !== undefined) shown = { ...step, ...(by === undefined ? {} : { by }), ...(why.reason === null ? {} : { reason: why.reason }) };
  }
  if (step.at >= f.began) tell(f, { step: shown, facts });
  note(f, step, facts);
}

const BY_HAND: ReadonlySet<State> = new Set(['held', 'canceled', 'skipped', 'done']);

/** Tells what of a history is newer than what is known of the task. */
async function takeHistory(f: Following, h: History, upTo?: Step): Promise<void> {
  const seen = f.known.get(h.facts.id);
  const steps = newer(h, seen, f.began);
  for (const step of steps) await tellStep(f, step, h.facts);
  if (upTo === undefined || f.known.get(h.facts.id)?.state === upTo.to) return;
  // The files were read later than the line was written: it is among what they told, and what followed from it is too.
  if (steps.some((step) => step.attempt === upTo.attempt && step.to === upTo.to)) return;
  const now = f.known.get(h.facts.id);
  if (now !== undefined && now.attempt === upTo.attempt && now.state !== upTo.to && !isEnd(now.state))
    for (const step of withGap(now, upTo)) await tellStep(f, step, h.facts);
}

/** The steps behind the one that was told last. */
function newer({ steps, sure }: History, seen: Known | undefined, began: number): Step[] {
  if (seen === undefined) return steps.filter((s) => s.at >= began);
  let at = steps.findLastIndex((s) => s.attempt === seen.attempt && s.to === seen.state && s.at <= seen.at);
  if (at < 0) at = steps.findLastIndex((s) => s.attempt === seen.attempt && s.to === seen.state);
  if (at < 0) at = steps.findLastIndex((s) => s.attempt < seen.attempt || (s.attempt === seen.attempt && s.at <= seen.at));
  // That it lies where it lay tells of no step: its number may have been raised for another reason.
  if (at + 1 >= sure && steps.at(-1)?.to === seen.state) return [];
  const rest: Found[] = steps.slice(at + 1).filter((s) => s.attempt >= seen.attempt);
  return arrange([], rest, seen);
}

/** Tasks whose names were not there at the last look. */
async function findNew(f: Following, now: number): Promise<void> {
  if (f.options.ids !== undefined) return;
  const since = Math.max(f.began, now - YOUNG_MS);
  const arrays = new Set<string>();
  const fresh: Located[] = [];
  for await (const batch of walk(f.q, { states: STATES, since })) {
    for (const at of batch) {
      if (idTime(at.id) < since || f.known.has(at.id) || f.known.has(baseId(at.id))) continue;
      fresh.push(at);
    }
  }
  const cache = newHistoryCache();
  for (const at of fresh.toSorted((a, b) => (a.id < b.id ? -1 : 1))) {
    if (!f.open) return;
    const base = baseId(at.id);
    if (arrays.has(base)) continue;
    const array = at.id.includes('.') ? await readArray(f.q, base) : undefined;
    if (array !== undefined) {
      arrays.add(base);
      await takeArray(f, base);
    } else {
      const h = (await historyAt(f.q, at, [], cache)) ?? (await history(f.q, at.id));
      if (h !== undefined) await takeHistory(f, h);
    }
  }
}

async function takeArray(f: Following, id: string): Promise<void> {
  const array = await readArray(f.q, id);
  if (array === undefined) return;
  for await (const h of historiesOf(f.q, array, new Map(), newHistoryCache())) {
    if (!f.open) return;
    await takeHistory(f, h);
  }
}

/** What changed since then, as the tasks' files tell it. */
async function sweep(f: Following, since: number): Promise<void> {
  const ids = f.options.ids === undefined ? undefined : new Set(f.options.ids);
  for await (const h of histories(f.q, since, new Map(), ids)) {
    if (!f.open) return;
    await takeHistory(f, h);
  }
}

/** Elements of a chunk are told in its own journal. */
function followChunk(f: Following, id: string, attempt: number): void {
  const piece = pieceOf(id);
  if (piece === undefined) return;
  const chosen = f.options.ids;
  if (chosen !== undefined && !chosen.some((one) => baseId(one) === piece.base)) return;
  const path = journalPath(f.q, piece, attempt);
  f.tail.follow(path, (text) => {
    const step = chunkStep(piece.base, attempt, text);
    if (step !== undefined) takeFound(f, step);
  });
}

function takeFound(f: Following, step: Found): void {
  if (f.options.ids !== undefined && !f.options.ids.includes(step.task) && !f.options.ids.includes(baseId(step.task))) return;
  const whole = f.known.get(baseId(step.task));
  const facts = whole === undefined ? factsFromLines(step.task, []) : { ...whole.facts, id: step.task };
  const seen = f.known.get(step.task) ?? { state: 'queued' as const, attempt: 0, at: 0, facts };
  if (step.attempt < seen.attempt || (step.attempt === seen.attempt && (seen.state === step.to || isEnd(seen.state)))) return;
  for (const one of withGap(seen, step)) {
    if (one.at >= f.began) tell(f, { step: one, facts });
    note(f, one, facts);
  }
}

/** What has ended long ago is not told again: its steps are older than any look back. */
function forgetEnded(f: Following, now: number): void {
  const before = now - 2 * YOUNG_MS - 4 * f.q.leaseMs;
  for (const [id, seen] of f.known) {
    if (isEnd(seen.state) && seen.at < before && idTime(id) < before) f.known.delete(id);
  }
}

/** Server ms; on a local disk that is this machine's clock, and asking it costs no file. */
async function clock(q: Queue): Promise<number> {
  return q.network ? serverNowOrLocal(q) : Date.now();
}
