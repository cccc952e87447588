/**
 * What is written beside the tasks: outcomes, workers, cron entries, limits, what holds for a submission. One that is damaged counts as
 * absent wherever it is read, so somebody has to say that it is there.
 */
import { errnoOf } from '../../errors.ts';
import { isGone, isOfEntry, listOrEmpty } from '../fsx.ts';
import { quarantine } from '../quarantine.ts';
import { readIfThere } from '../steps.ts';
import { found, type Examination } from './finding.ts';

/** Where they lie below the queue's directory, a level of names for each pattern, and what is amiss without one. */
const RECORDS: ReadonlyArray<{ base: string; names: readonly RegExp[]; without: string }> = [
  { base: 'runs', names: [/^[0-9a-z]{4}$/, /./, /\.a\d+\.json$/], without: 'how that attempt ended is not known' },
  { base: 'workers', names: [/^[^.]/, /^(?:worker|state)\.json$/], without: 'what is known of that worker is not shown' },
  { base: 'cron', names: [/^[0-9a-z]+\.json$/], without: 'it fires no more' },
  { base: 'groups', names: [/^[0-9a-z]+\.json$/], without: 'what holds for the whole submission does not hold' },
  { base: 'limits', names: [/^[^.]/, /^limit\.json$/], without: 'tasks that ask for a share of it wait' },
];

export async function examineRecords(x: Examination): Promise<void> {
  for (const { base, names, without } of RECORDS) {
    for await (const file of filesBelow(x, `${x.q.dir}/${base}`, names)) {
      const what = await damageOf(x, file);
      if (what === undefined) continue;
      const message = `${file.slice(x.q.dir.length + 1)} ${what}: ${without}`;
      await found(
        x,
        { level: 'error', code: 'unreadable', message, file, fix: 'moved to quarantine/' },
        async () => (await quarantine(x.q, file, what)) !== 'revoked',
      );
    }
  }
}

async function* filesBelow(x: Examination, dir: string, [name, ...below]: readonly RegExp[]): AsyncGenerator<string> {
  for (const there of (await listOrEmpty(x.q.fsx, dir)).toSorted()) {
    if (!name!.test(there)) continue;
    if (below.length === 0) yield `${dir}/${there}`;
    else yield* filesBelow(x, `${dir}/${there}`, below);
  }
}

/** Undefined: it is whole, or gone. */
async function damageOf(x: Examination, file: string): Promise<string | undefined> {
  let text: string | undefined;
  try {
    text = await readIfThere(x.q, file);
  } catch (error) {
    if (isGone(error)) return undefined;
    if (isOfEntry(error)) return `cannot be read (${errnoOf(error)})`;
    throw error;
  }
  if (text === undefined) return undefined;
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? undefined : 'is no record';
  } catch {
    return 'is damaged';
  }
}
