/**
 * `tq ls`: the tasks of the queue, newest unfinished first.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'ls',
  section: 'LOOKING',
  summary: 'list tasks, the unfinished ones unless told otherwise',
  examples: [
    { command: 'tq ls', text: 'what is not finished, newest first' },
    { command: 'tq ls -a --since 1d --sort -startedAt', text: 'everything of the last day, last started first' },
    { command: 'tq ls --failed -o id --no-header | tq retry -', text: 'run again what failed' },
    { command: 'tq ls -g nightly --json', text: 'for a program' },
  ],
  args: SELECTOR,
  flags: {
    all: { char: 'a', help: 'finished tasks too (also with ids, --state, --failed and --since)' },
    output: { char: 'o', value: 'FIELD[,FIELD]', help: 'these columns, by their JSON names: id,state,name' },
    sort: { value: '[-]FIELD', help: 'sort by a JSON name; with - the largest first' },
    limit: { value: 'N', help: 'at most N rows' },
    count: { help: 'print how many there are' },
    expand: { help: 'one row for each element of an array' },
    'no-header': { help: 'without the line of titles' },
    at: { value: 'T', help: 'as it was then' },
    ndjson: { help: 'one JSON object a line' },
    ...FILTER_FLAGS,
  },
  run: notWired,
});
