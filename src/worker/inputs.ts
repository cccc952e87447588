/**
 * `$TQ_INPUTS`: a directory among what belongs to the attempt, with the results of the tasks that this one came after, each as
 * `<id>.json` and, where its name can be a file's, as `<name>.json`. A parent without a result has no file.
 */
import fs from 'node:fs';
import { baseId } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { handedOn } from '../queue/result.ts';
import type { Task } from '../task/types.ts';

/** Makes the directory inside another one; its path. Throws when a result is there and cannot be read now. */
export async function layInputs(q: Queue, task: Task, inside: string): Promise<string> {
  const dir = `${inside}/inputs`;
  fs.mkdirSync(dir, { mode: 0o700 });
  const files = new Map<string, string>();
  const names = new Map<string, string>();
  const lists = new Map<string, unknown[]>();
  for (const { id } of task.after ?? []) {
    const handed = await handedOn(q, id);
    if (handed === undefined) continue;
    const text = `${JSON.stringify(handed.result)}\n`;
    files.set(id, text);
    if (handed.name === undefined || !isFileName(handed.name)) continue;
    // Of two parents with one name the later one has it; elements of one submission make a list, in their order.
    names.set(handed.name, text);
    if (!id.includes('.')) continue;
    const list = lists.get(`${baseId(id)} ${handed.name}`) ?? [];
    lists.set(`${baseId(id)} ${handed.name}`, [...list, handed.result]);
    if (list.length > 0) names.set(handed.name, `${JSON.stringify([...list, handed.result])}\n`);
  }
  for (const [name, text] of [...names, ...files]) fs.writeFileSync(`${dir}/${name}.json`, text);
  return dir;
}

/** Longest name in a directory, bytes, on every file system that matters. */
const MOST_BYTES = 255;

function isFileName(name: string): boolean {
  return name !== '' && !/[/\0]/.test(name) && !name.startsWith('.') && Buffer.byteLength(`${name}.json`) <= MOST_BYTES;
}
