/** The environment of a task: what it was submitted with, what the worker passes on, and the `TQ_*` variables. */
import type { Ending, Task } from '../task/types.ts';
import { giveGpus, gpusHere } from './resources.ts';
import type { Place } from './scratch.ts';
import type { Run, Worker } from './worker.ts';

export function taskEnv(
  w: Worker,
  run: Run,
  task: Task,
  place: Place,
  stateDir: string,
  /** Of a fallback: how the task itself had failed. */
  failure: Ending | null,
): Record<string, string> {
  const env: Record<string, string> = { ...task.env };
  for (const name of w.options.passEnv) {
    const value = process.env[name];
    if (value !== undefined) env[name] = value;
  }
  env['TQ'] = w.options.self.at(-1)!;
  env['TQ_DIR'] = w.q.dir;
  env['TQ_TASK_ID'] = task.id;
  if (task.name !== undefined) env['TQ_TASK_NAME'] = task.name;
  env['TQ_ATTEMPT'] = String(run.claimed.attempt);
  if (task.group !== undefined) env['TQ_GROUP'] = task.group;
  env['TQ_QUEUE'] = task.queue;
  env['TQ_WORKER'] = w.options.name;
  env['TQ_SESSION'] = w.session;
  env['TQ_SLOT'] = String(run.slot);
  env['TQ_CPUS'] = String(task.needs?.cpus ?? 1);
  const gpus = gpuNames(w, giveGpus(w, run, task.needs?.gpus ?? 0));
  if (gpus !== null) env['TQ_GPUS'] = env['CUDA_VISIBLE_DEVICES'] = gpus;
  env['TQ_SUBMIT_DIR'] = task.submitDir;
  env['TQ_STATE_DIR'] = stateDir;
  env['TQ_TMPDIR'] = place.tmp;
  env['TQ_RESULT_FILE'] = place.result;
  env['TQ_PROGRESS_FILE'] = place.progress;
  env['TQ_ERROR_FILE'] = place.error;
  env['TQ_SNOOZE_FILE'] = place.snooze;
  const parent = failure === null ? task.cause : { id: task.id, ...failure };
  if (parent !== undefined) {
    env['TQ_PARENT_ID'] = parent.id;
    env['TQ_PARENT_OUTCOME'] = parent.outcome;
    if (parent.exitCode !== null) env['TQ_PARENT_EXIT'] = String(parent.exitCode);
    if (parent.error !== null) env['TQ_PARENT_ERROR'] = parent.error;
  }
  if (task.traceparent !== undefined) env['TRACEPARENT'] = task.traceparent;
  for (const [k, v] of Object.entries(w.options.vars)) env[`TQ_VAR_${k.toUpperCase()}`] = v;
  return env;
}

/** As this worker may call them: a worker that was given some of the machine's GPUs has indices into those. Null for none. */
function gpuNames(w: Worker, indices: readonly number[]): string | null {
  if (indices.length === 0) return null;
  const names = process.env['CUDA_VISIBLE_DEVICES'] === undefined ? [] : gpusHere(process.env);
  return (names.length >= (w.options.offers['gpus'] ?? 0) ? indices.map((i) => names[i]!) : indices).join(',');
}
