/**
 * `tq import`: what `tq export` wrote, into this queue.
 */
import fs from 'node:fs';
import { TqError, usage } from '../errors.ts';
import { printJson } from '../print.ts';
import { importArchive } from '../queue/import.ts';
import { quoted, visible } from '../task/visible.ts';
import { syncFileSystem } from '../worker/proc.ts';
import { DRY_RUN_FLAG } from './flags/filter.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'import',
  section: 'THE QUEUE',
  summary: 'read what tq export wrote into this queue',
  description:
    'All of it or nothing: a file that is damaged or ends too early changes nothing (exit 4). Ids that are here already are skipped and ' +
    'named. The settings of this queue stay; limits that it has keep what they say.',
  examples: [
    { command: 'tq init new && tq -D new import backup.tar', text: 'the same ids, states, attempts and logs' },
    { command: 'tq import --dry-run backup.tar', text: 'the ids that would come' },
  ],
  args: [{ name: 'FILE', required: true, help: 'the file to read, or - for standard input' }],
  flags: DRY_RUN_FLAG,
  async run(ctx) {
    const { io, json } = ctx;
    const file = ctx.args[0]!;
    if (file === '-' && process.stdin.isTTY) throw usage("FILE: '-' is a terminal", 'give a file, or a pipe');
    const input = file === '-' ? process.stdin : await openFile(file);
    const q = await ctx.queue();
    const dryRun = ctx.flags['dry-run'] === true;
    const said = await importArchive(q, input, { dryRun, sync: () => syncFileSystem(q.dir) });
    if (json) printJson({ imported: said.ids, known: said.known, leftOut: said.leftOut }, io);
    else io.out(said.ids.map((id) => `${id}\n`).join(''));
    for (const id of said.known) io.err(`tq: ${id} is here already: skipped`);
    for (const what of said.leftOut) io.err(`tq: left out: ${visible(what)}`);
    return 0;
  },
});

const PIECE_BYTES = 1_048_576;

async function openFile(file: string): Promise<AsyncIterable<Uint8Array>> {
  try {
    const handle = await fs.promises.open(file, 'r');
    if (!(await handle.stat()).isDirectory()) return handle.createReadStream({ highWaterMark: PIECE_BYTES });
    await handle.close();
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    if (code === 'EACCES') throw new TqError('PERMISSION', `permission denied: cannot read ${quoted(file)}`, { cause: error });
    throw new TqError('USAGE', `FILE: cannot read ${quoted(file)}: ${code}`, { cause: error });
  }
  throw usage(`FILE: ${quoted(file)} is a directory`, 'a queue that rests is copied with cp -a');
}
