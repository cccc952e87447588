/**
 * One submission of many elements: what differs from element to element, how it comes into the command and the environment, and how
 * the states of the elements make the state of the whole. Pure; where the items of `--each` lie is the caller's business.
 */
import { usage } from '../errors.ts';
import { countIn, formatNumbers, numberAt, numbersIn, oneTo, parseArray, sorted, type Numbers } from './array.ts';
import { isTerminal, type State, type Task } from './types.ts';
import { quoted } from './visible.ts';

/** What a task file of many elements says of them. `ID.N` and `TQ_INDEX` are the numbers. */
export interface Many {
  numbers: Numbers;
  size: number;
  /** At most so many at once. */
  max?: number;
  /** Each element is so many of these numbers. */
  chunk?: { of: Numbers; by: number };
  /** The items lie in a blob, one JSON text a line; `of`: what they are. */
  items?: { blob: string; of: 'lines' | 'json' | 'csv' };
  /** All combinations of these values, the last one changing fastest. */
  params?: Array<{ name: string; values: string[] }>;
  /** The rest is canceled after so many failures, or so many percent of all. */
  maxFails?: { n: number } | { percent: number };
}

/** What an element has of its own: the text of `{}`, and named values for `{k}` and `TQ_P_<K>`. */
export interface Item {
  text: string;
  values: Readonly<Record<string, string>>;
  /** Whether `TQ_ITEM` says the text. */
  isItem: boolean;
}

/** From `--array` and `--chunk`. */
export function manyOfArray(text: string, chunk: number | undefined): Many {
  const spec = parseArray(text, '--array');
  const numbers = sorted(spec.numbers);
  const max = spec.max === undefined ? {} : { max: spec.max };
  if (chunk === undefined) return { numbers, size: spec.size, ...max };
  const size = Math.ceil(spec.size / chunk);
  return { numbers: oneTo(size), size, chunk: { of: numbers, by: chunk }, ...max };
}

/** From `--param name=v1,v2` flags. */
export function manyOfParams(words: readonly string[]): Many {
  const params = words.map((word) => {
    const at = word.indexOf('=');
    return { name: word.slice(0, at), values: word.slice(at + 1).split(',') };
  });
  const twice = params.find((p, i) => params.findIndex((q) => q.name === p.name) !== i);
  if (twice !== undefined) throw usage(`--param: ${quoted(twice.name)} is there twice`, `--param ${twice.name}=v1,v2 takes several values`);
  const size = params.reduce((n, p) => n * p.values.length, 1);
  if (size > MOST) throw usage(`--param: ${size} combinations are more than ${MOST}`);
  return { numbers: oneTo(size), size, params };
}

/** Numbers in file names have nine digits. */
export const MOST = 999_999_999;

/** `3` or `10%`, checked before. */
export function parseMaxFails(text: string): NonNullable<Many['maxFails']> {
  return text.endsWith('%') ? { percent: Number(text.slice(0, -1)) } : { n: Number(text) };
}

/** Whether so many failed elements are too many: 10 of 100 are 10%, 1 of 11 is not. */
export function isTooMany(maxFails: NonNullable<Many['maxFails']>, failed: number, size: number): boolean {
  return failed > 0 && ('n' in maxFails ? failed >= maxFails.n : failed * 100 >= maxFails.percent * size);
}

/** What element `n` is; `line` is its line of the items. */
export function itemOf(many: Many, n: number, line: string | undefined): Item {
  if (many.chunk !== undefined) {
    const values: number[] = [];
    for (let i = 0; i < many.chunk.by; i++) {
      const value = numberAt(many.chunk.of, (n - 1) * many.chunk.by + i);
      if (value !== undefined) values.push(value);
    }
    return { text: formatNumbers(values), values: {}, isItem: true };
  }
  if (many.params !== undefined) {
    const values: Record<string, string> = {};
    let left = n - 1;
    for (const p of many.params.toReversed()) {
      values[p.name] = p.values[left % p.values.length]!;
      left = Math.floor(left / p.values.length);
    }
    const text = many.params.map((p) => `${p.name}=${values[p.name]}`).join(' ');
    return { text, values, isItem: true };
  }
  if (many.items !== undefined) {
    const value: unknown = JSON.parse(line ?? 'null');
    if (typeof value === 'string') return { text: value, values: {}, isItem: true };
    return { text: JSON.stringify(value), values: namedValues(value), isItem: true };
  }
  return { text: String(n), values: {}, isItem: false };
}

/** The members of an object, strings as they are and anything else as JSON. */
function namedValues(value: unknown): Record<string, string> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return {};
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, typeof v === 'string' ? v : JSON.stringify(v)]));
}

/**
 * Puts an item into the words of a command: `{}` and `{name}` of a known name; other braces stay. In a line for a shell it is quoted,
 * so that it arrives as one word and nothing in it is evaluated.
 */
export function fill(words: readonly string[], item: Item, shell: boolean): string[] {
  const put = (text: string): string => (shell ? quoteForShell(text) : text);
  return words.map((word) =>
    word.includes('{')
      ? word.replaceAll(/\{([A-Za-z0-9_.-]*)\}/g, (whole, name: string) => {
          if (name === '') return put(item.text);
          return Object.hasOwn(item.values, name) ? put(item.values[name]!) : whole;
        })
      : word,
  );
}

function quoteForShell(text: string): string {
  return /^[A-Za-z0-9_.,:=@%+/-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

/** `TQ_INDEX`, `TQ_ARRAY_SIZE`, `TQ_ITEM`, `TQ_P_<K>`. */
export function envOf(many: Many, n: number, item: Item): Record<string, string> {
  const env: Record<string, string> = { TQ_INDEX: String(n), TQ_ARRAY_SIZE: String(many.size) };
  if (item.isItem && !item.text.includes('\0')) env['TQ_ITEM'] = item.text;
  for (const [k, v] of Object.entries(item.values)) {
    if (!v.includes('\0')) env[`TQ_P_${k.toUpperCase().replaceAll(/[^A-Z0-9_]/g, '_')}`] = v;
  }
  return env;
}

/** The task that an element is: the command with its item in it. */
export function elementOf(task: Task, many: Many, n: number, line: string | undefined): { task: Task; env: Record<string, string> } {
  const item = itemOf(many, n, line);
  const filled: Task = { ...task, command: fill(task.command, item, task.shell !== undefined) };
  if (task.steps !== undefined) filled.steps = fill(task.steps, item, true);
  return { task: filled, env: envOf(many, n, item) };
}

/** How many elements are in each state. */
export type Counts = Partial<Record<State, number>>;

/** The state of the whole: while anything is left the liveliest there is, then failed before canceled before skipped before done. */
export function stateOfAll(counts: Counts): State {
  for (const state of ['running', 'queued', 'delayed', 'waiting', 'held', 'failed', 'canceled', 'skipped'] as const) {
    if ((counts[state] ?? 0) > 0) return state;
  }
  return 'done';
}

export interface ArrayCounts {
  size: number;
  queued: number;
  running: number;
  done: number;
  failed: number;
  canceled: number;
}

/** The `array` of the Task JSON: what is neither running nor ended counts as queued, what was skipped as canceled. */
export function arrayView(size: number, counts: Counts): ArrayCounts {
  const sum = (...states: State[]): number => states.reduce((n, state) => n + (counts[state] ?? 0), 0);
  return {
    size,
    queued: sum('queued', 'waiting', 'delayed', 'held'),
    running: sum('running'),
    done: sum('done'),
    failed: sum('failed'),
    canceled: sum('canceled', 'skipped'),
  };
}

/** Numbers of a piece, at most so many. */
export function someOf(many: Many, lo: number, hi: number, most: number): number[] {
  const found: number[] = [];
  for (const n of numbersIn(many.numbers, lo, hi)) {
    if (found.length >= most) break;
    found.push(n);
  }
  return found;
}

export function isEnded(counts: Counts): boolean {
  return Object.entries(counts).every(([state, n]) => n === 0 || isTerminal(state as State));
}

export function countOf(many: Many, lo: number, hi: number): number {
  return countIn(many.numbers, lo, hi);
}
