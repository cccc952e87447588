/**
 * The flags that choose tasks by what they are, for every verb that takes a SELECTOR.
 */
import type { ArgSpec, FlagTable } from '../spec.ts';

const GROUP = 'WHICH TASKS';

export const FILTER_FLAGS = {
  state: { char: 's', value: 'S[,S]', many: 'list', help: 'in one of these states', group: GROUP },
  queue: { char: 'q', value: 'Q', help: 'in this queue', group: GROUP },
  group: { char: 'g', value: 'G', help: 'of this group', group: GROUP },
  label: { char: 'l', value: 'k=v', many: 'map', help: 'with this label', group: GROUP },
  name: { char: 'n', value: 'GLOB', help: 'whose name matches', group: GROUP },
  user: { value: 'U', help: 'submitted by this user', group: GROUP },
  worker: { value: 'W', help: 'whose newest attempt is on this worker', group: GROUP },
  failed: { help: 'that ended failed', group: GROUP },
  since: { value: 'D|T', help: 'submitted since then: 2h (ago), 09:00, 2030-01-31T09:00', group: GROUP },
} as const satisfies FlagTable;

/** Asked for by the destructive verbs when a filter or @all hits many. */
export const YES_FLAG = { yes: { char: 'y', help: 'do not ask, however many there are' } } as const satisfies FlagTable;

export const DRY_RUN_FLAG = { 'dry-run': { help: 'print what would be written, write nothing' } } as const satisfies FlagTable;

export const SELECTOR: readonly ArgSpec[] = [
  {
    name: 'SELECTOR',
    many: true,
    help: 'ids, prefixes or suffixes of 4 and more, ID.N, ID.A-B, @last, @all, - (ids from standard input), or filter flags',
  },
];

/** For the verbs that take ids only. */
export const IDS: readonly ArgSpec[] = [{ name: 'ID', many: true, required: true, help: 'ids, @last, or - (ids from standard input)' }];
