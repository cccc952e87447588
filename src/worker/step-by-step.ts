/**
 * The steps of an attempt: where it begins, what each finished one leaves, and how far it is. A step that is finished is recorded on
 * the queue before the next one begins, however long that takes (a full disk), so that no later attempt runs it again.
 */
import fs from 'node:fs';
import type { Queue } from '../queue/open.ts';
import { finishedSteps, recordStep } from '../queue/step-record.ts';
import { classify } from '../task/decide.ts';
import type { Progress, Task } from '../task/types.ts';
import type { ExitInfo } from './child.ts';
import { parseResult, readReport, type Place } from './scratch.ts';
import type { Run, Worker } from './worker.ts';

/** How far a task with steps has come, in this attempt and the ones before it. */
export interface StepsSoFar {
  /** The step that runs now, from 1; one more than there are when all are finished. */
  now: number;
  readonly total: number;
  /** The newest result of a finished step. */
  result: { value: unknown } | undefined;
  /** Where the output of this step begins in the log, bytes. */
  outputFrom: number;
}

/** Where attempt `attempt` begins: after the last step that was finished. */
export async function stepsSoFar(q: Queue, task: Task, attempt: number): Promise<StepsSoFar> {
  const finished = attempt > 1 ? await finishedSteps(q, task.id, attempt) : [];
  const has = new Set(finished.map((f) => f.step));
  const total = task.steps!.length;
  let now = 1;
  while (now <= total && has.has(now)) now++;
  const last = finished.findLast((f) => f.step < now && f.result !== undefined);
  return { now, total, result: last === undefined ? undefined : { value: last.result }, outputFrom: 0 };
}

export function progressOf(steps: StepsSoFar): Progress {
  return { percent: Math.floor((100 * (steps.now - 1)) / steps.total), message: null };
}

/** After the end of a step: whether there is another one to run. False when it was the last, failed, or the attempt is to end. */
export async function goesOn(
  w: Worker,
  run: Run,
  task: Task,
  steps: StepsSoFar,
  info: ExitInfo,
  place: Place,
  endedAt: number,
): Promise<boolean> {
  if (run.cause !== null || info.signal !== null) return false;
  if (classify(task, { how: 'exited', code: info.code ?? 0 }).outcome !== 'succeeded') return false;
  const text = readReport(place.result);
  if (text !== undefined) steps.result = { value: parseResult(text) };
  const fact = {
    step: steps.now,
    exitCode: info.code,
    endedAt,
    durationMs: Math.round(info.durationMs),
    ...(text === undefined ? {} : { result: parseResult(text) }),
  };
  if (!(await insist(w, run, `step ${steps.now} cannot be recorded`, () => recordStep(w.q, task.id, run.claimed.attempt, fact))))
    return false;
  steps.now++;
  if (steps.now > steps.total) return false;
  // What one step said of itself is not the next one's.
  fs.rmSync(place.result, { force: true });
  fs.rmSync(place.progress, { force: true });
  run.progress = progressOf(steps);
  return true;
}

/** Tries until it works; false: the attempt is to end before. */
export async function insist(w: Worker, run: Run, what: string, act: () => Promise<void>): Promise<boolean> {
  for (let tries = 0; run.cause === null; tries++) {
    try {
      await act();
      return run.cause === null;
    } catch (error) {
      if (tries === 0) w.log(`${run.key}: ${what} (${error instanceof Error ? error.message : String(error)}): tried again`);
      await new Promise((resolve) => setTimeout(resolve, Math.min(5000, 100 * 2 ** Math.min(tries, 6)) * (0.9 + 0.2 * Math.random())));
    }
  }
  return false;
}
