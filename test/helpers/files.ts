/**
 * Files of a queue as a test sees and makes them: everything below a directory with its content, and tasks that ended in the past.
 */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { bucketOf, makeId } from '../../src/queue/layout.ts';
import type { Outcome, Task, TerminalState } from '../../src/task/types.ts';
import type { Farm } from './tq.ts';

/** Every file with a digest of its content, every directory with `/`. */
export function treeOf(dir: string): Record<string, string> {
  const tree: Record<string, string> = {};
  for (const entry of fs.readdirSync(dir, { recursive: true, withFileTypes: true })) {
    const file = path.join(entry.parentPath, entry.name);
    const name = path.relative(dir, file);
    if (entry.isDirectory()) tree[name] = '/';
    else {
      const content = contentOf(file);
      if (content !== undefined) tree[name] = createHash('sha256').update(content).digest('hex');
    }
  }
  return tree;
}

/** Undefined for a file that has moved on meanwhile. */
function contentOf(file: string): Buffer | undefined {
  try {
    return fs.readFileSync(file);
  } catch {
    return undefined;
  }
}

/** Names of all files below a directory of the queue that begin with the id. */
export function filesWith(queue: string, id: string): string[] {
  return Object.keys(treeOf(queue))
    .filter((name) => path.basename(name).startsWith(id) || name.includes(`/${id}/`))
    .toSorted();
}

/** The task files of one id: where it is. */
export function placesOf(queue: string, id: string): string[] {
  const rooms = /^(?:queued|waiting|delayed|held|running|done|failed|canceled|skipped)\//;
  return filesWith(queue, id).filter((name) => rooms.test(name) && name.endsWith('.json'));
}

export interface Past {
  state: TerminalState;
  /** How long ago it was submitted and ended, ms. */
  agoMs: number;
  result?: unknown;
  script?: string;
  attempt?: number;
}

/** Puts a task into the queue that ended long ago, with a log, an outcome, a note and a state directory; its id. */
export function bury(farm: Farm, past: Past): string {
  const at = Date.now() - past.agoMs;
  const id = makeId(at, at);
  const n = past.attempt ?? 1;
  const task: Partial<Task> = {
    schema: 'tq.task/1',
    id,
    queue: 'default',
    priority: 0,
    command: ['true'],
    cwd: '/',
    submittedAt: at,
    submittedBy: { user: 'somebody', host: 'somewhere' },
  };
  if (past.script !== undefined) task.script = past.script;
  const outcome: Partial<Outcome> = {
    schema: 'tq.outcome/1',
    id,
    attempt: n,
    nonce: 'test',
    outcome: past.state === 'done' ? 'succeeded' : 'failed',
    started: true,
    worker: 'w',
    session: 'w.1.0-0-0-0-test',
    host: 'somewhere',
    startedAt: at,
    endedAt: at,
    exitCode: past.state === 'done' ? 0 : 1,
    reason: null,
    next: { state: past.state },
    tally: { failures: 0, lost: 0, firstStartedAt: at, rejectedBy: [] },
  };
  if (past.result !== undefined) outcome.result = past.result;
  put(farm, `${past.state}/${bucketOf(id)}/${id}.a${n}.json`, JSON.stringify(task));
  put(farm, `runs/${bucketOf(id)}/${id}.a${n}.json`, JSON.stringify(outcome));
  put(farm, `runs/${bucketOf(id)}/${id}.a${n}.log`, 'output\n');
  put(farm, `notes/${id}/1.json`, JSON.stringify({ at, by: { user: 'u', host: 'h' }, text: 'a note' }));
  put(farm, `state/${id}/checkpoint`, 'data');
  return id;
}

/** Writes a file of the queue, with the directories above it. */
export function put(farm: Farm, name: string, text: string): string {
  const file = path.join(farm.queue, name);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
  return file;
}

/** Makes a file look this old, ms. */
export function age(file: string, ms: number): void {
  const then = (Date.now() - ms) / 1000;
  fs.utimesSync(file, then, then);
}
