/**
 * What the attempts of a task with `--step` have finished: `runs/<bucket>/<id>.a<N>.steps`, one line of JSON for each step of attempt
 * N that ended well, written before the next one begins. Made with O_EXCL and appended to by the attempt's owner alone; the next
 * attempt begins after the last step that any line names. A crash between the end of a step and its line makes that step run again;
 * after the line it never does. A line that a power cut tore is no line.
 */
import { errnoOf } from '../errors.ts';
import { isGone, listOrEmpty, mkdirp } from './fsx.ts';
import { baseOf, parentOf } from './layout.ts';
import type { Queue } from './open.ts';
import { readOutcome } from './outcome.ts';
import { readIfThere } from './steps.ts';

export interface FinishedStep {
  /** From 1. */
  step: number;
  exitCode: number | null;
  endedAt: number;
  durationMs: number;
  /** What it left in `$TQ_RESULT_FILE`. */
  result?: unknown;
}

/** Adds a line; also after a reply that was lost, since a step named twice is one. */
export async function recordStep(q: Queue, id: string, n: number, fact: FinishedStep): Promise<void> {
  const path = q.lay.steps(id, n);
  const line = `${JSON.stringify(fact)}\n`;
  try {
    await q.fsx.create(path, line);
  } catch (error) {
    if (isGone(error)) {
      await mkdirp(q.fsx, parentOf(path));
      await q.fsx.create(path, line);
    } else if (errnoOf(error) === 'EEXIST') {
      // Behind a line that was torn, this one would be part of it.
      await q.fsx.append(path, `\n${line}`);
    } else throw error;
  }
}

/**
 * The steps that are finished as attempt `n` begins, in their order; with `including`, those of attempt `n` too. After an attempt that
 * succeeded (and was run again by a person) all of them begin anew.
 */
export async function finishedSteps(
  q: Queue,
  id: string,
  n: number,
  including = false,
): Promise<Array<FinishedStep & { attempt: number }>> {
  const names = await listOrEmpty(q.fsx, q.lay.runs(id), true);
  const attempts = names.flatMap((name) => attemptOf(name, id) ?? []).toSorted((a, b) => a - b);
  if (attempts.length === 0) return [];
  let anew = 0;
  const there = new Set(names);
  for (let m = n - 1; m >= attempts[0]! && anew === 0; m--) {
    if (!there.has(baseOf(q.lay.outcome(id, m)))) continue;
    const o = await readOutcome(q, id, m);
    if (o?.outcome === 'succeeded' && o.fallback !== true) anew = m;
  }
  const found = new Map<number, FinishedStep & { attempt: number }>();
  for (const m of attempts) {
    if (m <= anew || m > n || (m === n && !including)) continue;
    for (const line of ((await readIfThere(q, q.lay.steps(id, m))) ?? '').split('\n')) {
      const fact = parseLine(line);
      if (fact !== undefined) found.set(fact.step, { ...fact, attempt: m });
    }
  }
  return [...found.values()].toSorted((a, b) => a.step - b.step);
}

function attemptOf(name: string, id: string): number | undefined {
  if (!name.startsWith(`${id}.a`) || !name.endsWith('.steps')) return undefined;
  const n = Number(name.slice(id.length + 2, -'.steps'.length));
  return Number.isInteger(n) ? n : undefined;
}

function parseLine(line: string): FinishedStep | undefined {
  try {
    const fact = JSON.parse(line) as FinishedStep; // written by recordStep, checked below as far as it is relied on
    return Number.isInteger(fact.step) && fact.step > 0 ? fact : undefined;
  } catch {
    return undefined;
  }
}
