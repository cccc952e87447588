/**
 * A workflow as it was written, whatever in: its tasks with their local names, what holds for all of them, and that nothing in it
 * refers to what is not there or to itself. Pure. What a task object's own keys mean is not known here.
 */
import { usage } from '../errors.ts';
import type { AfterKind } from '../task/types.ts';
import { quoted, quotedValue } from '../task/visible.ts';
import { nearest } from '../task/nearest.ts';

export interface Workflow {
  /** The group. */
  name: string | undefined;
  /** A task object under every task. */
  defaults: Record<string, unknown>;
  /** What holds for the whole: `max-fails`, `deadline`, `on-...`, as they were written. */
  rules: Rules;
  tasks: FlowTask[];
}

export const RULES = ['max-fails', 'deadline', 'on-success', 'on-failure', 'on-cancel'] as const;
export type Rules = Partial<Record<(typeof RULES)[number], string>>;

export interface FlowTask {
  /** For messages: the file and the task. */
  where: string;
  /** Its local name. */
  local: string | undefined;
  /** The task object without its `id` and its parents. */
  object: Record<string, unknown>;
  /** Positions of tasks in this workflow, or ids of others. */
  parents: Array<{ kind: AfterKind; to: { local: number } | { id: string } }>;
}

const KINDS: readonly AfterKind[] = ['after', 'after-any', 'after-notok', 'after-each'];
const TOP = ['name', 'tasks', 'defaults', ...RULES] as const;
const LOCAL = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;
/** A whole id of a task that is there already. */
const OTHER = /^[0-9a-z]{14}(?:\.\d{1,9})?$/;

/** Throws a usage error naming file, task and key. */
export function readWorkflow(raw: unknown, file: string): Workflow {
  if (!isObject(raw)) throw usage(`${file}: not a workflow: it is not an object`, 'name: ..., tasks: [...]');
  const { name, tasks, defaults = {}, ...rest } = raw;
  for (const key of Object.keys(rest)) if (!(TOP as readonly string[]).includes(key)) throw unknownKey(file, key, TOP);
  if (name !== undefined && typeof name !== 'string') throw usage(`${file}: name: not a string: ${quotedValue(name)}`);
  if (!Array.isArray(tasks)) throw usage(`${file}: tasks: ${tasks === undefined ? 'missing' : `not a list: ${quotedValue(tasks)}`}`);
  if (!isObject(defaults)) throw usage(`${file}: defaults: not a task object: ${quotedValue(defaults)}`);
  for (const key of ['id', ...KINDS]) {
    if (Object.hasOwn(defaults, key)) throw usage(`${file}: defaults: ${key} is for a single task`);
  }
  const places = new Map<string, number>();
  const locals = tasks.map((task: unknown, i) => localOf(task, i, file, places));
  const flow = tasks.map((task, i) => readTask(task as Record<string, unknown>, i, locals[i], file, places)); // localOf has looked
  refuseCircles(flow);
  return { name, defaults, rules: readRules(rest, file), tasks: flow };
}

function readRules(rest: Record<string, unknown>, file: string): Rules {
  const rules: Rules = {};
  for (const key of RULES) {
    const value = rest[key];
    if (value === undefined) continue;
    if (typeof value !== 'string' && typeof value !== 'number') throw usage(`${file}: ${key}: not a string: ${quotedValue(value)}`);
    rules[key] = String(value);
  }
  return rules;
}

function localOf(task: unknown, i: number, file: string, places: Map<string, number>): string | undefined {
  if (!isObject(task)) throw usage(`${file}: task ${i + 1}: not a task object: ${quotedValue(task)}`);
  const { id } = task;
  if (id === undefined) return undefined;
  const local = typeof id === 'number' ? String(id) : id;
  if (typeof local !== 'string' || !LOCAL.test(local)) {
    throw usage(`${file}: task ${i + 1}: id: not a local name: ${quotedValue(id)}`, '1 to 64 of A-Z a-z 0-9 . _ -');
  }
  if (places.has(local)) throw usage(`${file}: task ${local}: id: there are two of this name`);
  places.set(local, i);
  return local;
}

function readTask(
  task: Record<string, unknown>,
  i: number,
  local: string | undefined,
  file: string,
  places: ReadonlyMap<string, number>,
): FlowTask {
  const where = `${file}: task ${local ?? i + 1}`;
  const object = { ...task };
  delete object['id'];
  const parents: FlowTask['parents'] = [];
  for (const kind of KINDS) {
    const value = object[kind];
    delete object[kind];
    if (value === undefined) continue;
    for (const word of wordsOf(value, where, kind)) {
      const at = places.get(word);
      if (at === undefined && !OTHER.test(word)) {
        const near = nearest(word, places.keys());
        throw usage(
          `${where}: ${kind}: there is no task ${quoted(word)}`,
          near === undefined ? 'an id of this file, or a whole id' : `did you mean ${near}?`,
        );
      }
      parents.push({ kind, to: at === undefined ? { id: word } : { local: at } });
    }
  }
  return { where, local, object, parents };
}

function wordsOf(value: unknown, where: string, key: string): string[] {
  const words = (Array.isArray(value) ? value : [value]).flatMap((word: unknown) => {
    if (typeof word !== 'string' && typeof word !== 'number') throw usage(`${where}: ${key}: not the id of a task: ${quotedValue(word)}`);
    return String(word).split(',');
  });
  return words.map((word) => word.trim());
}

/** Throws for a task that would wait for itself, by way of others or not. */
function refuseCircles(tasks: readonly FlowTask[]): void {
  const state = new Uint8Array(tasks.length);
  const nameOf = (i: number): string => tasks[i]!.local ?? String(i + 1);
  for (const start of tasks.keys()) {
    // By hand: a chain may be longer than the stack is deep.
    const path: Array<{ i: number; next: number }> = [{ i: start, next: 0 }];
    if (state[start] !== 0) continue;
    state[start] = 1;
    for (let top = path.at(-1); top !== undefined; top = path.at(-1)) {
      const parent = tasks[top.i]!.parents[top.next++];
      if (parent === undefined) {
        state[top.i] = 2;
        path.pop();
        continue;
      }
      if (!('local' in parent.to)) continue;
      const to = parent.to.local;
      if (state[to] === 1) {
        const circle = [...path.slice(path.findIndex((p) => p.i === to)).map((p) => nameOf(p.i)), nameOf(to)];
        throw usage(`${tasks[top.i]!.where}: ${parent.kind}: waits for itself: ${circle.join(' after ')}`);
      }
      if (state[to] === 0) {
        state[to] = 1;
        path.push({ i: to, next: 0 });
      }
    }
  }
}

function unknownKey(where: string, key: string, known: readonly string[]): Error {
  const near = nearest(key, known);
  return usage(`${where}: unknown key ${quoted(key)}`, near === undefined ? `the keys are ${known.join(', ')}` : `did you mean ${near}?`);
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
