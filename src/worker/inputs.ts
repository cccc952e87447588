/**
 * `$TQ_INPUTS`: a directory among what belongs to the attempt, with the results of the tasks that this one came after, each as
 * `<id>.json` and, where its name can be a file's, as `<name>.json`. A parent without a result has no file.
 */
import fs from 'node:fs';
import type { Queue } from '../queue/open.ts';
import { handedOn } from '../queue/result.ts';
import type { Task } from '../task/types.ts';

/** Makes the directory inside another one; its path. Throws when a result is there and cannot be read now. */
export async function layInputs(q: Queue, task: Task, inside: string): Promise<string> {
  const dir = `${inside}/inputs`;
  fs.mkdirSync(dir, { mode: 0o700 });
  const files = new Map<string, string>();
  const names = new Map<string, string>();
  for (const { id } of task.after ?? []) {
    const handed = await handedOn(q, id);
    if (handed === undefined) continue;
    const text = `${JSON.stringify(handed.result)}\n`;
    files.set(id, text);
    // Of two parents with one name the later one has it.
    if (handed.name !== undefined && isFileName(handed.name)) names.set(handed.name, text);
  }
  for (const [name, text] of [...names, ...files]) fs.writeFileSync(`${dir}/${name}.json`, text);
  return dir;
}

/** Longest name in a directory, bytes, on every file system that matters. */
const MOST_BYTES = 255;

function isFileName(name: string): boolean {
  return name !== '' && !/[/\0]/.test(name) && !name.startsWith('.') && Buffer.byteLength(`${name}.json`) <= MOST_BYTES;
}
