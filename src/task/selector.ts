/**
 * Which tasks a command is about: one positional word as a union, and the filter flags as a test over rows. Whether a word names
 * a task that exists is for whoever looks into the queue.
 */
import { usage } from '../errors.ts';
import { globToRegExp } from './glob.ts';
import { STATES, type State } from './types.ts';
import { quoted } from './visible.ts';

/** `id` is a whole id, `text` a prefix or suffix of one; the `id` of an element or a range may be either. Ranges are inclusive. */
export type Selector =
  | { kind: 'all' }
  | { kind: 'last' }
  | { kind: 'stdin' }
  | { kind: 'id'; id: string }
  | { kind: 'element'; id: string; n: number }
  | { kind: 'range'; id: string; from: number; to: number }
  | { kind: 'part'; text: string };

/** Characters of a whole id. */
export const ID_LENGTH = 14;

const SIGNS: Record<string, Selector> = { '@all': { kind: 'all' }, '@last': { kind: 'last' }, '-': { kind: 'stdin' } };
/** Element numbers of up to 15 digits are exact. */
const WORD = new RegExp(`^([0-9a-z]{4,${ID_LENGTH}})(?:\\.(\\d{1,15})(?:-(\\d{1,15}))?)?$`);

/** Reads one positional word; what cannot name a task is a usage error. */
export function parseSelector(word: string): Selector {
  const sign = Object.hasOwn(SIGNS, word) ? SIGNS[word] : undefined;
  if (sign !== undefined) return { ...sign };
  const [, id, first, last] = WORD.exec(word) ?? [];
  if (id === undefined) {
    throw usage(`not a task: ${quoted(word)}`, 'an id, a prefix or suffix of at least 4 characters, ID.N, ID.A-B, @last, @all or -');
  }
  if (first === undefined) return id.length === ID_LENGTH ? { kind: 'id', id } : { kind: 'part', text: id };
  if (last === undefined) return { kind: 'element', id, n: Number(first) };
  const [from, to] = [Number(first), Number(last)];
  if (from > to) throw usage(`not a range of elements: ${quoted(word)}`, `the smaller number comes first: ${id}.${to}-${from}`);
  return { kind: 'range', id, from, to };
}

/** `queued,running`, each state once. */
export function parseStates(text: string, flag: string): State[] {
  const states = text.split(',').map((word) => {
    const state = STATES.find((known) => known === word);
    if (state === undefined) throw usage(`${flag}: not a state: ${quoted(word)}`, `one or several of ${STATES.join(',')}`);
    return state;
  });
  return [...new Set(states)];
}

/** The filter flags, already checked; a row has to satisfy each one that is there. */
export interface Filters {
  states?: readonly State[] | undefined;
  queue?: string | undefined;
  group?: string | undefined;
  /** Every pair must be on the task. */
  labels?: ReadonlyArray<readonly [key: string, value: string]> | undefined;
  /** Shell pattern over the whole name. */
  name?: string | undefined;
  user?: string | undefined;
  worker?: string | undefined;
  /** Only those that ended `failed`. */
  failed?: boolean | undefined;
  /** Submitted at this moment or later. */
  since?: number | undefined;
}

/** What the filters look at, whatever else a row holds. */
export interface FilterRow {
  state: State;
  queue: string;
  group?: string | null | undefined;
  labels?: Readonly<Record<string, string>> | null | undefined;
  name?: string | null | undefined;
  user: string;
  worker?: string | null | undefined;
  submittedAt: number;
}

export function matches(filters: Filters, row: FilterRow): boolean {
  return matcher(filters)(row);
}

/** `matches` for many rows: the pattern is compiled once. */
export function matcher(filters: Filters): (row: FilterRow) => boolean {
  const { states, queue, group, labels = [], user, worker, failed, since } = filters;
  const name = filters.name === undefined ? undefined : globToRegExp(filters.name);
  return (row) =>
    (states === undefined || states.includes(row.state)) &&
    (failed !== true || row.state === 'failed') &&
    (queue === undefined || row.queue === queue) &&
    (group === undefined || row.group === group) &&
    (user === undefined || row.user === user) &&
    (worker === undefined || row.worker === worker) &&
    (since === undefined || row.submittedAt >= since) &&
    (name === undefined || (typeof row.name === 'string' && name.test(row.name))) &&
    labels.every(([key, value]) => row.labels?.[key] === value);
}
