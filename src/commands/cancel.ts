/**
 * `tq cancel`: end tasks that are unfinished.
 */
import { TqError } from '../errors.ts';
import type { Io } from '../print.ts';
import { cancelTask, type CancelRequest, type CancelResult } from '../queue/cancel.ts';
import { endedState } from '../queue/depend.ts';
import { locateAny } from '../queue/array-view.ts';
import type { Queue } from '../queue/open.ts';
import { rehearseCancel } from '../queue/rehearse.ts';
import { parseSession } from '../queue/session.ts';
import { byId } from '../queue/walk.ts';
import { isTerminal } from '../task/types.ts';
import type { System } from '../system.ts';
import { byOf, changeEach } from './changing.ts';
import { DRY_RUN_FLAG, FILTER_FLAGS, SELECTOR, YES_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'cancel',
  section: 'CHANGING',
  summary: 'end unfinished tasks, running ones too',
  description: 'Returns when they were asked to end; with --wait when they have.',
  examples: [
    { command: 'tq cancel 7k2p --reason "wrong input"', text: 'one task' },
    { command: 'tq cancel -g nightly -s queued', text: 'what has not started' },
  ],
  args: SELECTOR,
  flags: {
    reason: { value: 'S', help: 'shown by tq show' },
    now: { help: 'KILL at once, without the grace' },
    wait: { help: 'until they are gone' },
    ...YES_FLAG,
    ...DRY_RUN_FLAG,
    ...FILTER_FLAGS,
  },
  run(ctx) {
    const { flags, system, io } = ctx;
    const request: CancelRequest = { reason: flags.reason ?? null, now: flags.now === true, by: byOf(system) };
    const asked = new Map<string, CancelResult | TqError>();
    return changeEach(ctx, {
      verb: 'cancel',
      filters: true,
      asks: true,
      rehearse: (q, { at }) => rehearseCancel(q, at, request),
      begin: async (q, tasks) => {
        // With --wait all are asked before the first is waited for, or the graces would add up. And the newest goes first: what comes
        // after a task is newer, and would otherwise be skipped because of it before its own turn.
        const order = tasks.map((task) => task.id).toSorted(byId);
        if (flags.wait === true || order.some((id, i) => id !== tasks[i]!.id)) {
          for (const id of order) asked.set(id, await cancelOrError(q, id, request));
        }
      },
      change: async (q, { id }) => {
        const result = asked.get(id) ?? (await cancelTask(q, id, request));
        if (result instanceof TqError) throw result;
        if (flags.wait === true && result === 'asked') await untilCanceled(q, id, request, system, io);
      },
    });
  },
});

async function cancelOrError(q: Queue, id: string, request: CancelRequest): Promise<CancelResult | TqError> {
  try {
    return await cancelTask(q, id, request);
  } catch (error) {
    if (error instanceof TqError) return error;
    throw error;
  }
}

/** First and longest pause between two looks, ms. */
const FIRST_MS = 20;
const LONGEST_MS = 250;
const NETWORK_MS = 500;
/** A request is made again after this long: the worker that got it may have been buried. */
const AGAIN_MS = 5000;
/** After this long people are told what they wait for. */
const TELL_MS = 15_000;

/** Waits for the end; asks again as long as it takes. Throws WRONG_STATE when it ended otherwise. */
async function untilCanceled(q: Queue, id: string, request: CancelRequest, system: System, io: Io): Promise<void> {
  const began = system.monotonic();
  let askedAt = began;
  let told = false;
  for (let pauseMs = q.network ? NETWORK_MS : FIRST_MS; ; pauseMs = Math.min(pauseMs * 1.5, Math.max(pauseMs, LONGEST_MS))) {
    await system.sleep(pauseMs);
    const at = await locateAny(q, id, true);
    const state = at?.state ?? (await endedState(q, id, true));
    if (state === undefined) throw new TqError('NOT_FOUND', `no such task any more: ${id}`, { hint: 'it was removed' });
    if (state === 'canceled') return;
    if (isTerminal(state)) throw new TqError('WRONG_STATE', `${id} ended ${state} before it could be canceled`, { hint: `tq show ${id}` });
    const now = system.monotonic();
    if (state !== 'running' || now - askedAt >= AGAIN_MS) {
      askedAt = now;
      const result = await cancelOrError(q, id, request);
      if (result === 'canceled') return;
      if (result instanceof TqError && result.code !== 'WRONG_STATE') throw result;
    }
    if (!told && now - began >= TELL_MS && at?.place.state === 'running') {
      told = true;
      io.err(`${id} still runs on ${parseSession(at.place.session)?.owner ?? at.place.session}; the request stands when you stop waiting`);
    }
  }
}
