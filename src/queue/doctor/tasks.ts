/**
 * Every task, read: is it in one place, does it parse, and does it wait for something that will come? What may just be in motion is
 * looked at again after a pause before it is called wrong.
 */
import { isTerminal, TERMINAL, type Needs, type Task, type TerminalState } from '../../task/types.ts';
import { errnoOf } from '../../errors.ts';
import { formatDuration } from '../../task/duration.ts';
import { formatSize } from '../../task/size.ts';
import { serverNowOrLocal } from '../clock.ts';
import { confirmKey, dropKeyLock, isBeingSubmitted, settleKey } from '../keys.ts';
import { readArray } from '../array.ts';
import { locateAny } from '../array-view.ts';
import { afterTerminal, endedState, judge, parentState, reviveDependants, tryRelease } from '../depend.ts';
import { locate, shownState, type Located } from '../find.ts';
import { isGone, isOfEntry, listOrEmpty } from '../fsx.ts';
import {
  baseId,
  bucketOf,
  parseDueMinute,
  parseDueSecond,
  parseEntry,
  parseRest,
  parsePrio,
  queueOfLane,
  type Place,
  type Requirements,
} from '../layout.ts';
import type { Queue } from '../open.ts';
import { readOutcome } from '../outcome.ts';
import { promoteDue } from '../promote.ts';
import { quarantine } from '../quarantine.ts';
import { readState, readWorker, workerNames, type WorkerFile } from '../registry.ts';
import { isSetSession } from '../session.ts';
import { NEW } from '../set.ts';
import { move, readIfThere } from '../steps.ts';
import { defineLane } from '../submit.ts';
import { laneOf, parseTask, placeOfNext, queuedPlace } from '../task-file.ts';
import { readWhy } from '../why.ts';
import { fine, found, nothingSince, type Examination } from './finding.ts';
import { examineEnding } from './follow.ts';
import { examineShared } from './ground.ts';

/** How long a change that is under way may take before what it leaves is wrong, ms. */
const SETTLE_MS = 1000;
const SETTLE_NETWORK_MS = 5000;

export async function examineTasks(x: Examination): Promise<void> {
  const before = x.findings.length;
  const seen = await examineEntries(x);
  await examineDuplicates(x, seen.twice);
  await examineSuspects(x, seen.suspects);
  await examineDelayed(x, seen);
  await examineLanes(x, seen.lanes);
  await examineRuns(x, seen);
  await examineArrays(x, seen.arrays);
  await examineKeyLocks(x);
  const put = (await listOrEmpty(x.q.fsx, x.q.lay.quarantine)).filter((name) => !name.endsWith('.reason'));
  if (put.length > 0) {
    const message = `${put.length} ${put.length === 1 ? 'file lies' : 'files lie'} in quarantine/, each with its reason beside it`;
    await found(x, { level: 'warning', code: 'quarantine', message, file: x.q.lay.quarantine, fix: 'look, then remove them by hand' });
  }
  if (nothingSince(x, before)) fine(x, 'tasks', `${seen.ids.size} ${seen.ids.size === 1 ? 'task' : 'tasks'}, each in one place`);
}

interface Seen {
  ids: Set<string>;
  /** Submissions of many elements. */
  arrays: Set<string>;
  /** Ids that were met more than once. */
  twice: Set<string>;
  /** Tasks that wait for something that has happened, perhaps. */
  suspects: Located[];
  lanes: Map<string, { count: number; file: string }>;
  /** Delayed tasks that are long due. */
  overdue: Located[];
  nowMs: number;
}

/** Due for this long and still delayed, ms: nobody looks. */
const OVERDUE_MS = 60_000;

async function examineEntries(x: Examination): Promise<Seen> {
  const { q } = x;
  const seen: Seen = {
    ids: new Set(),
    arrays: new Set(),
    twice: new Set(),
    suspects: [],
    lanes: new Map(),
    overdue: [],
    nowMs: await serverNowOrLocal(q),
  };
  for (const room of ROOMS) {
    for await (const hit of filesOf(x, room, `${q.dir}/${room.base}`, [])) {
      if (hit.kind === 'entry') await examineEntry(x, seen, hit.at);
      else if (hit.kind === 'misplaced') await examineMisplaced(x, hit);
      else
        await found(
          x,
          { level: 'error', code: 'foreign', message: `not a task: ${short(q, hit.file)}`, file: hit.file, fix: 'moved to quarantine/' },
          async () => (await quarantine(q, hit.file, 'not the name of a task')) !== 'revoked',
        );
    }
  }
  return seen;
}

function short(q: Queue, file: string): string {
  return file.slice(q.dir.length + 1);
}

async function examineEntry(x: Examination, seen: Seen, at: Located): Promise<void> {
  const { q } = x;
  if (seen.ids.has(at.id)) seen.twice.add(at.id);
  seen.ids.add(at.id);
  const text = await textOf(x, at);
  if (text === undefined) return;
  const parsed = parseTask(text, at.id);
  if (!parsed.ok) {
    await found(
      x,
      {
        level: 'error',
        code: 'unreadable',
        message: `${short(q, at.file)} is not a task: ${parsed.reason}`,
        file: at.file,
        fix: 'moved to quarantine/',
      },
      async () => (await quarantine(q, at.file, parsed.reason)) !== 'revoked',
    );
    return;
  }
  const task = parsed.value;
  if (task.many !== undefined) seen.arrays.add(baseId(at.id));
  if (at.place.state === 'queued') {
    const lane = seen.lanes.get(at.place.lane);
    if (lane === undefined) seen.lanes.set(at.place.lane, { count: 1, file: at.file });
    else lane.count++;
  }
  if (at.place.state === 'delayed' && at.place.dueAt + OVERDUE_MS < seen.nowMs) seen.overdue.push(at);
  await examineEnding(x, at, task);
  if (isSuspect(at, task) || (await isUnmoved(q, at))) seen.suspects.push(at);
}

/** Undefined when it has moved on, or cannot be read (then it was reported). */
async function textOf(x: Examination, at: Located): Promise<string | undefined> {
  try {
    return await x.q.fsx.read(at.file);
  } catch (error) {
    if (isGone(error)) return undefined;
    if (!isOfEntry(error)) throw error;
    const code = errnoOf(error)!;
    const finding = {
      level: 'error',
      code: 'unreadable',
      message: `${short(x.q, at.file)} cannot be read: ${code}`,
      file: at.file,
    } as const;
    if (code === 'EISDIR') {
      await found(
        x,
        { ...finding, fix: 'moved to quarantine/' },
        async () => (await quarantine(x.q, at.file, 'it is a directory')) !== 'revoked',
      );
    } else await found(x, { ...finding, fix: 'as its owner: chmod g+r' });
    return undefined;
  }
}

/** Whether it needs a closer look once everything had time to settle. */
function isSuspect(at: Located, task: Task): boolean {
  return (
    at.state === 'waiting' || (at.state === 'skipped' && (task.after ?? []).length > 0) || (task.key !== undefined && !isTerminal(at.state))
  );
}

/** An ended attempt whose task still rests where it was before its end. */
async function isUnmoved(q: Queue, at: Located): Promise<boolean> {
  if (at.n === 0 || at.place.state === 'running' || isTerminal(at.state)) return false;
  const outcome = await readOutcome(q, at.id, at.n);
  return outcome !== undefined && isTerminal(outcome.next.state);
}

/** A task file at the wrong depth, or in a bucket that is not its own: nobody would find it. */
async function examineMisplaced(x: Examination, hit: { file: string; id: string; n: number; place: Place | undefined }): Promise<void> {
  const { q } = x;
  const finding = {
    level: 'error',
    code: 'misplaced',
    message: `${short(q, hit.file)} lies where no one looks for it`,
    file: hit.file,
    fix: 'moved to its bucket',
  } as const;
  await found(x, finding, async () => {
    const parsed = parseTask((await readIfThere(q, hit.file)) ?? '', hit.id);
    if (!parsed.ok) return (await quarantine(q, hit.file, parsed.reason)) !== 'revoked';
    const place = hit.place ?? queuedPlace(parsed.value);
    if (place.state === 'queued') await defineLane(q, parsed.value);
    if ((await locate(q, hit.id)) !== undefined) return (await quarantine(q, hit.file, 'a second file of a task')) !== 'revoked';
    return (await move(q, hit.file, q.lay.entry(place, hit.id, hit.n))) === 'moved';
  });
}

async function examineDuplicates(x: Examination, ids: ReadonlySet<string>): Promise<void> {
  const { q } = x;
  if (ids.size === 0) return;
  const entries = new Map<string, Located[]>([...ids].map((id) => [id, []]));
  for (const room of ROOMS) {
    for await (const hit of filesOf({ ...x, fix: false, findings: [] }, room, `${q.dir}/${room.base}`, [])) {
      if (hit.kind === 'entry') entries.get(hit.at.id)?.push(hit.at);
    }
  }
  for (const [id, all] of entries) {
    const there = await togetherThere(q, all);
    if (there.length < 2) continue;
    const last = Math.max(...there.map((at) => at.n));
    const outcome = await readOutcome(q, id, last);
    const kept = keeper(there, outcome?.next.state);
    for (const at of there) {
      if (at === kept) continue;
      const message = `${id} is in two places: ${short(q, kept.file)} and ${short(q, at.file)}`;
      await found(
        x,
        { level: 'error', code: 'twice', message, file: at.file, fix: 'the older one is moved to quarantine/' },
        async () => (await quarantine(q, at.file, `exists twice: kept ${short(q, kept.file)}`)) !== 'revoked',
      );
    }
  }
}

/** Those of the entries that exist at one moment. A name that has gone never comes back: present at the end means present all the time. */
async function togetherThere(q: Queue, all: readonly Located[]): Promise<Located[]> {
  const once: Located[] = [];
  for (const at of all) if (await exists(q, at.file)) once.push(at);
  const twice: Located[] = [];
  for (const at of once.toReversed()) if (await exists(q, at.file)) twice.push(at);
  return twice;
}

async function exists(q: Queue, file: string): Promise<boolean> {
  return (await listOrEmpty(q.fsx, file.slice(0, file.lastIndexOf('/')), true)).includes(file.slice(file.lastIndexOf('/') + 1));
}

/**
 * Which of several entries of one task counts: the one with the most attempts; of those where its last outcome sends it, else the one
 * that is being run, else one that has ended.
 */
export function keeper(entries: readonly Located[], sentTo: string | undefined): Located {
  const rank = (at: Located): number => (at.state === sentTo ? 0 : at.state === 'running' ? 1 : isTerminal(at.state) ? 2 : 3);
  return entries.toSorted((a, b) => b.n - a.n || rank(a) - rank(b))[0]!;
}

async function examineSuspects(x: Examination, suspects: readonly Located[]): Promise<void> {
  const { q } = x;
  const wrong: Located[] = [];
  for (const at of suspects) if ((await whatIsWrong(q, at)) !== undefined) wrong.push(at);
  if (wrong.length === 0) return;
  await new Promise((resolve) => setTimeout(resolve, q.network ? SETTLE_NETWORK_MS : SETTLE_MS));
  for (const at of wrong) {
    const what = await whatIsWrong(q, at);
    if (what !== undefined)
      await found(
        x,
        { level: 'error', code: what.code, message: what.message, file: at.file, ...(what.fix === undefined ? {} : { fix: what.fix }) },
        what.repair,
      );
  }
}

interface Wrong {
  code: string;
  message: string;
  fix?: string;
  repair?: () => Promise<boolean>;
}

/** Undefined: nothing, or it has moved on. */
async function whatIsWrong(q: Queue, at: Located): Promise<Wrong | undefined> {
  const parsed = parseTask((await readIfThere(q, at.file)) ?? '', at.id);
  if (!parsed.ok) return undefined;
  const task = parsed.value;
  if (await isUnmoved(q, at)) return unmoved(q, at, task);
  if (at.state === 'skipped') return forgotten(q, at, task);
  if (task.key !== undefined) {
    const holder = await keyHolderNow(q, task.key);
    if (holder !== at.id) return (await isBeingSubmitted(q, task, at)) ? undefined : keyNotHeld(q, at, task, holder);
  }
  return at.state === 'waiting' && at.place.state === 'waiting' ? stuck(q, at, task) : undefined;
}

async function unmoved(q: Queue, at: Located, task: Task): Promise<Wrong> {
  const outcome = await readOutcome(q, at.id, at.n);
  return {
    code: 'not-moved',
    message: `attempt ${at.n} of ${at.id} ended it ${outcome?.next.state}, but it is ${at.state}`,
    repair: async () => {
      if (outcome === undefined || (await move(q, at.file, q.lay.entry(placeOfNext(task, outcome.next), at.id, at.n))) !== 'moved')
        return false;
      await afterTerminal(q, task);
      return true;
    },
  };
}

/** The task that the key's newest token names, whatever its state. */
async function keyHolderNow(q: Queue, key: string): Promise<string | undefined> {
  let best = { generation: -1, holder: 'free' };
  for (const name of await listOrEmpty(q.fsx, q.lay.key(key), true)) {
    const m = /^g(\d+)\.([0-9a-z]+)$/.exec(name);
    if (m !== null && Number(m[1]) > best.generation) best = { generation: Number(m[1]), holder: m[2]! };
  }
  return best.holder === 'free' ? undefined : best.holder;
}

async function keyNotHeld(q: Queue, at: Located, task: Task, holder: string | undefined): Promise<Wrong> {
  const other = holder === undefined ? undefined : await locate(q, holder);
  const taken = other !== undefined && !isTerminal(other.state);
  const message = `${at.id} is unfinished but does not hold its key ${JSON.stringify(task.key)}${taken ? `: ${holder} does` : ''}`;
  if (at.place.state === 'waiting') {
    return {
      code: 'key-not-held',
      message,
      repair: async () => {
        await settleKey(q, task, at);
        return (await keyHolderNow(q, task.key!)) === at.id || !(await exists(q, at.file));
      },
    };
  }
  if (taken) return { code: 'key-twice', message, fix: 'cancel one of them' };
  return {
    code: 'key-not-held',
    message,
    repair: async () => {
      await confirmKey(q, task);
      return (await keyHolderNow(q, task.key!)) === at.id;
    },
  };
}

async function stuck(q: Queue, at: Located, task: Task): Promise<Wrong | undefined> {
  const parents = task.after ?? [];
  const states: Array<TerminalState | undefined> = [];
  for (const p of parents) states.push(await parentState(q, p, true));
  for (const [i, p] of parents.entries()) {
    if (states[i] !== undefined || (await locateAny(q, p.id, true)) !== undefined) continue;
    return { code: 'parent-missing', message: `${at.id} waits for ${p.id}, which is nowhere`, fix: `tq cancel ${at.id}` };
  }
  if (judge(parents, states).kind === 'wait') return undefined;
  const message = parents.length === 0 ? `${at.id} is waiting for nothing` : `${at.id} is waiting, though what it waits for has ended`;
  return {
    code: 'stuck',
    message,
    repair: async () => {
      await tryRelease(q, at.id, true);
      return !(await exists(q, at.file));
    },
  };
}

/** Skipped because of a parent that was retried since: whoever retried it died before it told this one. */
async function forgotten(q: Queue, at: Located, task: Task): Promise<Wrong | undefined> {
  const parent = (await readWhy(q, at.id, at.n, 'skipped'))?.parent;
  if (parent === undefined) return undefined;
  const states: Array<TerminalState | undefined> = [];
  for (const p of task.after ?? []) states.push(await parentState(q, p, true));
  if (judge(task.after ?? [], states).kind === 'skip') return undefined;
  return {
    code: 'forgotten',
    message: `${at.id} is skipped because of ${parent}, which was retried since`,
    repair: async () => {
      await reviveDependants(q, parent);
      return !(await exists(q, at.file));
    },
  };
}

/** Delayed tasks are moved by whoever looks next: where nobody does, their time passes. */
async function examineDelayed(x: Examination, seen: Seen): Promise<void> {
  if (seen.overdue.length === 0) return;
  const since = Math.min(...seen.overdue.map((at) => (at.place.state === 'delayed' ? at.place.dueAt : seen.nowMs)));
  const message = `${seen.overdue.length} delayed ${seen.overdue.length === 1 ? 'task is' : 'tasks are'} due for up to ${formatDuration(seen.nowMs - since)}: no worker looks`;
  await found(x, { level: 'warning', code: 'overdue', message, fix: 'start a worker' }, async () => void (await promoteDue(x.q)));
}

async function examineLanes(x: Examination, lanes: Seen['lanes']): Promise<void> {
  const { q } = x;
  const workers = await registered(q);
  for (const [lane, { count, file }] of lanes) {
    const queue = queueOfLane(lane);
    const text = lane === queue ? JSON.stringify({ queue }) : await readIfThere(q, q.lay.lane(lane));
    const requirements = text === undefined ? undefined : readRequirements(text);
    if (requirements === undefined) {
      const message = `what the tasks in queued/${lane}/ ask of a worker is not written down, so nobody takes them`;
      await found(x, { level: 'error', code: 'lane', message, file: q.lay.lane(lane), fix: 'written again from a task' }, async () => {
        const entry = parseEntry(file.slice(file.lastIndexOf('/') + 1));
        const parsed = parseTask((await readIfThere(q, file)) ?? '', entry?.id ?? '');
        if (!parsed.ok || laneOf(parsed.value) !== lane) return false;
        await defineLane(q, parsed.value);
        return true;
      });
      continue;
    }
    if (workers.length === 0 || workers.some((w) => x.serves(w, requirements))) continue;
    const { queue: name, ...rest } = requirements;
    const asked = Object.entries(rest).flatMap(([what, value]) =>
      what === 'needs' ? amounts(requirements.needs ?? {}) : [`${what} ${typeof value === 'string' ? value : JSON.stringify(value)}`],
    );
    const [tasks, ask] = count === 1 ? ['the task', 'asks'] : [`the ${count} tasks`, 'ask'];
    const message = `no worker can take ${tasks} of queue ${name}${asked.length === 0 ? '' : ` that ${ask} for ${asked.join(', ')}`}`;
    await found(x, { level: 'warning', code: 'nobody-serves', message, fix: 'tq why ID tells it worker by worker' });
  }
}

function amounts(needs: Partial<Needs>): string[] {
  return Object.entries(needs).flatMap(([what, n]) => (n === undefined ? [] : [`${what === 'mem' ? formatSize(n) : n} ${what}`]));
}

function readRequirements(text: string): Requirements | undefined {
  try {
    return JSON.parse(text) as Requirements; // written by defineLane; what it lacks is not asked for
  } catch {
    return undefined;
  }
}

/** Workers that are there, awake or not; one that left takes nothing any more. */
async function registered(q: Queue): Promise<WorkerFile[]> {
  const workers: WorkerFile[] = [];
  for (const name of await workerNames(q)) {
    const [file, state] = [await readWorker(q, name), await readState(q, name)];
    if (file !== undefined && state?.state !== 'offline') workers.push(file);
  }
  return workers;
}

/** What is recorded of attempts must belong to a task: one that is nowhere is lost. */
async function examineRuns(x: Examination, { ids, arrays }: Seen): Promise<void> {
  const { q } = x;
  const told = new Set<string>();
  const set = new Set((await listOrEmpty(q.fsx, q.lay.quarantine)).map((name) => name.split('.')[0]!));
  for (const a of await listOrEmpty(q.fsx, `${q.dir}/runs`)) {
    for (const b of await listOrEmpty(q.fsx, `${q.dir}/runs/${a}`)) {
      for (const name of await listOrEmpty(q.fsx, `${q.dir}/runs/${a}/${b}`)) {
        const id = /^([0-9a-z]{10,16}(?:\.\d{1,9}(?:-\d{1,9})?)?)\.a\d+\./.exec(name)?.[1];
        if (id === undefined || ids.has(id) || arrays.has(baseId(id)) || told.has(id) || set.has(id.split('.')[0]!)) continue;
        told.add(id);
        if ((await locate(q, id, true)) !== undefined || (await goneMark(q, id))) continue;
        await found(x, {
          level: 'error',
          code: 'task-missing',
          message: `attempts of ${id} are recorded, but the task is nowhere`,
          file: `${q.dir}/runs/${a}/${b}/${name}`,
          fix: 'restore its file, or remove what is recorded of it',
        });
      }
    }
  }
}

/** Every element of an array is covered by exactly one entry. What moves is looked at again before it is called wrong. */
async function examineArrays(x: Examination, arrays: ReadonlySet<string>): Promise<void> {
  for (const id of arrays) {
    const array = await readArray(x.q, id);
    if (array === undefined || array.isWhole) continue;
    const pieces = array.pieces.map((p) => p.at.id.slice(id.length + 1)).join(' ');
    await found(x, {
      level: 'error',
      code: 'array-cover',
      message: `the pieces of ${id} do not cover each of its ${array.many.size} elements once: ${pieces.slice(0, 200)}`,
      file: array.pieces[0]!.at.file,
      fix: 'look which file is missing or there twice',
    });
  }
}

async function goneMark(q: Queue, id: string): Promise<boolean> {
  return (await listOrEmpty(q.fsx, q.lay.gone(id), true)).some((name) => name.startsWith(`${id}.`));
}

async function examineKeyLocks(x: Examination): Promise<void> {
  const { q } = x;
  for (const id of await listOrEmpty(q.fsx, q.lay.keylocks)) {
    if ((await endedState(q, id)) === undefined) continue;
    await found(
      x,
      { level: 'warning', code: 'key-lock', message: `${id} has ended, and its lock on keys is left`, file: `${q.lay.keylocks}/${id}` },
      () => dropKeyLock(q, id),
    );
  }
}

/** A part of the queue that holds task files: how the directories on the way to them are called, and what place they make. */
interface Room {
  base: string;
  shapes: readonly RegExp[];
  place(parts: readonly string[]): Place | undefined;
}

const BUCKET = [/^[0-9a-z]{4}$/, /^[0-9a-z]{2}(?:\.[0-9a-z]{10,16}\.\d{6})?$/];

const ROOMS: readonly Room[] = [
  {
    base: 'queued',
    shapes: [/^[A-Za-z0-9_][A-Za-z0-9._~-]*$/, /^[pn]\d{2}$/, ...BUCKET],
    place: ([lane, prio]) =>
      lane === undefined || parsePrio(prio ?? '') === undefined ? undefined : { state: 'queued', lane, priority: parsePrio(prio!)! },
  },
  {
    base: 'delayed',
    shapes: [/^\d{8}T\d{4}$/, /^\d\d\.\d{3}$/, ...BUCKET],
    place: ([minute, second]) => {
      const [m, s] = [parseDueMinute(minute ?? ''), parseDueSecond(second ?? '')];
      return m === undefined || s === undefined ? undefined : { state: 'delayed', dueAt: m + s };
    },
  },
  { base: 'running', shapes: [/./], place: ([session]) => (session === undefined ? undefined : { state: 'running', session }) },
  ...(['waiting', 'held', ...TERMINAL] as const).map((state) => ({ base: state, shapes: BUCKET, place: () => ({ state }) as const })),
];

type Hit =
  | { kind: 'entry'; at: Located }
  | { kind: 'misplaced'; file: string; id: string; n: number; place: Place | undefined }
  | { kind: 'foreign'; file: string };

/** Everything below a room that is a file, or has no business there. Names with a leading dot and lockfiles are others' tools. */
async function* filesOf(x: Examination, room: Room, dir: string, parts: readonly string[]): AsyncGenerator<Hit> {
  const { q } = x;
  if (q.config.shared && parts.length > 0) await examineDirectory(x, dir);
  for (const name of (await listOrEmpty(q.fsx, dir)).toSorted()) {
    if (name.startsWith('.') || name.endsWith('.lock')) continue;
    const file = `${dir}/${name}`;
    const e = parseEntry(name);
    const place = room.place(parts);
    // What a tq set has staged beside its entry; left over, it goes with the session.
    if (place?.state === 'running' && name.endsWith(NEW) && isSetSession(place.session)) continue;
    if (place?.state === 'running' && parseRest(name) !== undefined) continue;
    if (parts.length < room.shapes.length) {
      if (e !== undefined && !e.cancel && !(await isDirectory(q, file))) yield { kind: 'misplaced', file, id: e.id, n: e.n, place };
      else if (e === undefined && room.shapes[parts.length]!.test(name) && (await isDirectory(q, file)))
        yield* filesOf(x, room, file, [...parts, name]);
      else yield { kind: 'foreign', file };
    } else if (e === undefined || (e.cancel && place?.state !== 'running')) yield { kind: 'foreign', file };
    else if (e.cancel) continue;
    else if (place?.state !== 'running' && parts.slice(-2).join('/') !== bucketOf(e.id))
      yield { kind: 'misplaced', file, id: e.id, n: e.n, place };
    else if (place !== undefined) yield { kind: 'entry', at: { id: e.id, n: e.n, state: shownState(place), place, file } };
  }
}

async function isDirectory(q: Queue, path: string): Promise<boolean> {
  try {
    return (await q.fsx.stat(path)).isDirectory;
  } catch (error) {
    if (isGone(error)) return true; // what went meanwhile is nothing foreign
    throw error;
  }
}

async function examineDirectory(x: Examination, dir: string): Promise<void> {
  try {
    await examineShared(x, dir, (await x.q.fsx.stat(dir)).mode);
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}
