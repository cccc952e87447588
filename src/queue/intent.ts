/**
 * Changes of many tasks that shall not stop in the middle: a group is canceled, held or released by an intent that is written
 * first. Whoever finds one whose owner is gone does the rest; every single step is that of the verb for one task.
 */
import { TqError } from '../errors.ts';
import { isTerminal, UNFINISHED, type State } from '../task/types.ts';
import { publishSubmission } from './bulk.ts';
import { cancelTask } from './cancel.ts';
import { serverNow } from './clock.ts';
import { holdTask, releaseTask, type By } from './control.ts';
import type { Located } from './find.ts';
import { isGone, isOfEntry, listOrEmpty } from './fsx.ts';
import { inSubmitOrder, isId, baseId } from './layout.ts';
import type { Queue } from './open.ts';
import { readTaskAt } from './outcome.ts';
import { judgeSession, type HostFacts } from './session.ts';
import { publish, readIfThere, unlinkQuietly } from './steps.ts';
import { elementsOf, walk } from './walk.ts';

export interface Intent {
  action: 'cancel' | 'hold' | 'release';
  /** Its elements; or all tasks of a group that were submitted before the intent. */
  submission?: string;
  group?: string;
  reason: string | null;
  by: By | null;
  /** Who carries it out, as a session. */
  session: string;
}

const pathOf = (q: Queue, id: string): string => `${q.lay.intents}/${id}.json`;

/** Writes an intent once; one of this id that is there already stands for it. */
export async function recordIntent(q: Queue, id: string, intent: Intent): Promise<void> {
  await publish(q, pathOf(q, id), `${JSON.stringify({ schema: 'tq.intent/1', id, ...intent })}\n`, { fsync: true });
}

export async function intentOf(q: Queue, id: string): Promise<Intent | undefined> {
  const text = await readIfThere(q, pathOf(q, id));
  if (text === undefined) return undefined;
  try {
    return JSON.parse(text) as Intent; // linked whole by recordIntent
  } catch {
    return undefined;
  }
}

const carried = new WeakMap<Queue, Set<string>>();

/** Whether this process is at it: the ends that it makes must not begin it again. */
export function isCarriedOut(q: Queue, id: string): boolean {
  return carried.get(q)?.has(id) === true;
}

/** Tasks that are changed before others of this process have their turn, a worker's heartbeat above all. */
const AT_ONCE = 32;
/** What moved while it was listed is found by the next look. */
const LOOKS = 4;

/**
 * Does to every task what the intent says, then removes it. What cannot be done to a task because of its state is left; `done` is
 * told of the others. A crash leaves the intent, and it is gone through again: what was done then is in the right state.
 */
export async function carryOut(q: Queue, id: string, intent: Intent, done: (id: string) => void = () => undefined): Promise<void> {
  const mine = carried.get(q) ?? new Set<string>();
  carried.set(q, mine);
  if (mine.has(id)) return;
  mine.add(id);
  try {
    const asked = new Set<string>();
    for (let look = 0; look < LOOKS; look++) {
      const todo = (await members(q, id, intent)).filter((at) => APPLIES[intent.action].includes(at.state) && !asked.has(at.id));
      if (todo.length === 0 && look > 0) break;
      let n = 0;
      for (const at of todo) {
        asked.add(at.id);
        if (await apply(q, intent, at.id)) done(at.id);
        if (++n % AT_ONCE === 0) await new Promise((resolve) => setImmediate(resolve));
      }
    }
    await unlinkQuietly(q.fsx, pathOf(q, id));
  } finally {
    mine.delete(id);
  }
  if (intent.submission !== undefined) {
    const { memberEnded } = await import('./groups.ts');
    await memberEnded(q, intent.submission);
  }
}

/** The states in which something can be done. */
export const APPLIES: Readonly<Record<Intent['action'], readonly State[]>> = {
  cancel: UNFINISHED,
  hold: ['waiting', 'delayed', 'queued'],
  release: ['held'],
};

/** Children before their parents, whose end would skip them; of equals the newest first. */
const ORDER: readonly State[] = ['waiting', 'held', 'delayed', 'queued', 'running'];

async function members(q: Queue, id: string, intent: Intent): Promise<Located[]> {
  const found: Located[] = [];
  if (intent.submission !== undefined) {
    for (const at of await elementsOf(q, intent.submission)) if (!isTerminal(at.state)) found.push(at);
  } else {
    for await (const batch of walk(q, { states: UNFINISHED })) {
      for (const at of batch) {
        // What came into the group afterwards was not meant.
        if (baseId(at.id) <= id && (await groupOf(q, at)) === intent.group) found.push(at);
      }
    }
  }
  return found.toSorted((a, b) => ORDER.indexOf(a.state) - ORDER.indexOf(b.state) || inSubmitOrder(b.id, a.id));
}

async function groupOf(q: Queue, at: Located): Promise<string | undefined> {
  try {
    return (await readTaskAt(q, at.file, at.id))?.group;
  } catch (error) {
    if (isOfEntry(error)) return undefined;
    throw error;
  }
}

async function apply(q: Queue, intent: Intent, id: string): Promise<boolean> {
  try {
    if (intent.action === 'cancel') await cancelTask(q, id, { reason: intent.reason, now: false, by: intent.by });
    else if (intent.action === 'hold') await holdTask(q, id, intent.by);
    else await releaseTask(q, id, intent.by);
    return true;
  } catch (error) {
    // It moved on by itself, which is as good.
    if (error instanceof TqError && (error.code === 'WRONG_STATE' || error.code === 'NOT_FOUND')) return false;
    throw error;
  }
}

/**
 * Finishes what others left in `intents/`: submissions, which any number may publish at once, and intents whose owner is proved
 * dead, is this session itself, or has had a lease for it. How many were finished.
 */
export async function finishIntents(q: Queue, facts: HostFacts, session = ''): Promise<number> {
  let n = 0;
  let trouble: { error: unknown } | undefined;
  for (const name of await listOrEmpty(q.fsx, q.lay.intents)) {
    try {
      if (await finishOne(q, name, facts, session)) n++;
    } catch (error) {
      // One that cannot be finished now does not keep the others back.
      trouble ??= { error };
    }
  }
  if (trouble !== undefined) throw trouble.error;
  return n;
}

async function finishOne(q: Queue, name: string, facts: HostFacts, session: string): Promise<boolean> {
  if (isId(name)) {
    await publishSubmission(q, name);
    return true;
  }
  const id = name.endsWith('.json') ? name.slice(0, -'.json'.length) : '';
  const intent = isId(id) && !isCarriedOut(q, id) ? await intentOf(q, id) : undefined;
  if (intent === undefined || !(await isLeft(q, id, intent, facts, session))) return false;
  await carryOut(q, id, intent);
  return true;
}

async function isLeft(q: Queue, id: string, intent: Intent, facts: HostFacts, session: string): Promise<boolean> {
  if (intent.session === session || judgeSession(intent.session, facts) === 'dead') return true;
  try {
    return (await serverNow(q)) - (await q.fsx.stat(pathOf(q, id))).mtimeMs > q.leaseMs;
  } catch (error) {
    if (isGone(error)) return false;
    throw error;
  }
}
