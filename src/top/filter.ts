/**
 * The words that narrow what the live view shows: the filters of `tq ls` (`-s failed`, `--queue q`, or shorter `state=failed`, `queue=q`), a
 * state, a label `k=v`, `@group`, and otherwise a part of a name or an id. Pure.
 */
import { TqError } from '../errors.ts';
import { matcher, parseStates, type FilterRow, type Filters } from '../task/selector.ts';
import { STATES, type State } from '../task/types.ts';
import { parseSince } from '../task/time.ts';

export interface Filter {
  filters: Filters;
  /** Each has to be a part of the name or of the id; in lower case. */
  texts: readonly string[];
  /** The task's file has to be read to know. */
  needsFile: boolean;
}

/** Flags and words before `=` that mean a filter; any other word there is a label's name. */
const KEYS: Readonly<Record<string, keyof Filters>> = {
  '-s': 'states',
  '--state': 'states',
  state: 'states',
  '-q': 'queue',
  '--queue': 'queue',
  queue: 'queue',
  '-g': 'group',
  '--group': 'group',
  group: 'group',
  '-l': 'labels',
  '--label': 'labels',
  label: 'labels',
  '-n': 'name',
  '--name': 'name',
  name: 'name',
  '--user': 'user',
  user: 'user',
  '--worker': 'worker',
  worker: 'worker',
  '--since': 'since',
  since: 'since',
};

/** Reads the words. `error`: why they cannot be understood; one that is only begun is left out. */
export function parseFilter(text: string, now: number): { filter: Filter } | { error: string } {
  const filters: Filters = {};
  const texts: string[] = [];
  const words = text.split(/\s+/).filter((word) => word !== '');
  try {
    for (let i = 0; i < words.length; i++) {
      const word = words[i]!;
      if (word === '--failed') {
        filters.failed = true;
        continue;
      }
      if (word === '@all') continue;
      if (word.startsWith('@')) {
        if (word.length > 1) filters.group = word.slice(1);
        continue;
      }
      const at = word.indexOf('=');
      const key = at > 0 ? word.slice(0, at) : word;
      if (word.startsWith('-') && Object.hasOwn(KEYS, key)) {
        const value = at > 0 ? word.slice(at + 1) : words[++i];
        if (value !== undefined && value !== '') put(filters, KEYS[key]!, value, now);
      } else if (at > 0) {
        const value = word.slice(at + 1);
        if (Object.hasOwn(KEYS, key)) {
          if (value !== '') put(filters, KEYS[key]!, value, now);
        } else put(filters, 'labels', word, now);
      } else if ((STATES as readonly string[]).includes(word)) {
        filters.states = [...(filters.states ?? []), word as State];
      } else texts.push(word.toLowerCase());
    }
  } catch (error) {
    if (!(error instanceof TqError)) throw error;
    return { error: error.message };
  }
  const { queue, group, labels, name, user, worker } = filters;
  const needsFile = texts.length > 0 || [queue, group, labels, name, user, worker].some((value) => value !== undefined);
  return { filter: { filters, texts, needsFile } };
}

function put(filters: Filters, key: keyof Filters, value: string, now: number): void {
  switch (key) {
    case 'states':
      filters.states = [...(filters.states ?? []), ...parseStates(value, 'state')];
      break;
    case 'labels': {
      const at = value.indexOf('=');
      filters.labels = [...(filters.labels ?? []), at < 0 ? [value, ''] : [value.slice(0, at), value.slice(at + 1)]];
      break;
    }
    case 'since':
      filters.since = parseSince(value, 'since', now);
      break;
    case 'failed':
      filters.failed = true;
      break;
    default:
      filters[key] = value;
  }
}

/** A row before its file is read passes if what its name tells does not speak against it. */
export function passesByName({ filters, texts, needsFile }: Filter, id: string, row: FilterRow): boolean {
  const { states, failed, since } = filters;
  if (!matcher({ states, failed, since })(row)) return false;
  return needsFile || texts.every((text) => id.includes(text));
}

export function passesAll({ filters, texts }: Filter, id: string, row: FilterRow): boolean {
  if (!matcher(filters)(row)) return false;
  const name = (row.name ?? '').toLowerCase();
  return texts.every((text) => id.includes(text) || name.includes(text));
}
