/**
 * Task objects: what a batch, a workflow file and the inbox hold instead of words. Keys are the long flags of `tq submit`, from the same
 * table; what comes out is what the parser would have made of the words. Pure.
 */
import { usage } from '../errors.ts';
import type { SubmitFlags } from '../task/build.ts';
import { nearest } from '../task/nearest.ts';
import { quoted, quotedValue } from '../task/visible.ts';
import { TASK_FLAGS } from './flags/submit.ts';
import type { FlagSpec } from './spec.ts';

export interface TaskObject {
  flags: SubmitFlags;
  /** The words of a `command` that is a list. */
  argv: string[] | undefined;
}

/** Throws USAGE naming `where` and the key. */
export function readTaskObject(raw: unknown, where: string): TaskObject {
  if (typeof raw !== 'object' || raw === null || Array.isArray(raw)) throw usage(`${where}: not a JSON object`);
  const flags: Record<string, string | string[] | true> = {};
  let argv: string[] | undefined;
  for (const [key, value] of Object.entries(raw)) {
    const spec: FlagSpec | undefined = Object.hasOwn(TASK_FLAGS, key) ? TASK_FLAGS[key as keyof typeof TASK_FLAGS] : undefined;
    if (spec === undefined) {
      const near = nearest(key, Object.keys(TASK_FLAGS));
      throw usage(
        `${where}: unknown key ${quoted(key)}`,
        near === undefined ? 'keys are the long flags of tq submit' : `did you mean ${near}?`,
      );
    }
    if (key === 'command' && Array.isArray(value)) {
      argv = value.map((word) => scalar(word, where, key));
      continue;
    }
    const flag = flagValue(spec, value, where, key);
    if (flag !== undefined) flags[key] = flag;
  }
  return { flags: flags as SubmitFlags, argv };
}

function flagValue(spec: FlagSpec, value: unknown, where: string, key: string): string | string[] | true | undefined {
  if (spec.value === undefined) {
    if (typeof value !== 'boolean') throw usage(`${where}: ${key}: not true or false: ${quotedValue(value)}`);
    return value || undefined;
  }
  if (key === 'data') return jsonOf(value, where, key);
  if (key === 'array' && Array.isArray(value)) return value.map((n) => scalar(n, where, key)).join(',');
  if (spec.many === 'map' && typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return Object.entries(value).map(([k, v]) => `${k}=${scalar(v, where, `${key}.${k}`)}`);
  }
  if (spec.many !== undefined) return (Array.isArray(value) ? value : [value]).map((word) => scalar(word, where, key));
  const text = scalar(value, where, key);
  if (spec.choices !== undefined && !spec.choices.includes(text))
    throw usage(`${where}: ${key}: ${quoted(text)} is not one of ${spec.choices.join(', ')}`);
  return text;
}

/** A workflow program may return anything. */
function jsonOf(value: unknown, where: string, key: string): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // It holds itself, or a number that JSON does not know.
  }
  if (text === undefined) throw usage(`${where}: ${key}: not JSON: ${quotedValue(value)}`);
  return text;
}

function scalar(value: unknown, where: string, key: string): string {
  if (typeof value === 'string') return value;
  if (typeof value === 'number' && Number.isFinite(value)) return String(value);
  throw usage(`${where}: ${key}: not a string or a number: ${quotedValue(value)}`);
}
