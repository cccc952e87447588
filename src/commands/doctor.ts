/**
 * `tq doctor`: is the queue whole, and is its file system fit for it?
 */
import fs from 'node:fs';
import { EXIT } from '../errors.ts';
import { printJson, type Io, type Style } from '../print.ts';
import { examine } from '../queue/doctor/examine.ts';
import type { Finding, Machine } from '../queue/doctor/finding.ts';
import { visible } from '../task/visible.ts';
import { hostFacts } from '../worker/facts.ts';
import { unable } from '../worker/obstacle.ts';
import { endLeftovers } from '../worker/recover.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'doctor',
  section: 'THE QUEUE',
  summary: 'check the queue and its file system',
  description: 'Exit 1 when an error was found.',
  examples: [{ command: 'tq doctor --fix', text: 'repair what can be repaired; nothing is lost' }],
  args: [],
  flags: { fix: { help: 'repair' } },
  async run(ctx) {
    const { io } = ctx;
    const q = await ctx.queue();
    const findings = await examine({
      q,
      facts: hostFacts(),
      fix: ctx.flags.fix === true,
      machine,
      say: io.err,
      endLeftovers,
      serves: (worker, wanted) => unable(worker, wanted) === undefined,
    });
    if (ctx.json) printJson(findings, io);
    else for (const finding of findings) printFinding(finding, io);
    return findings.some((f) => f.level === 'error' && f.fixed !== true) ? EXIT.no : EXIT.ok;
  },
});

const machine: Machine = {
  realPath: fs.realpathSync,
  exists: fs.existsSync,
  mounts() {
    try {
      return fs.readFileSync('/proc/self/mounts', 'utf8');
    } catch {
      return ''; // Not Linux: nothing is known of the options.
    }
  },
  chmod: fs.chmodSync,
};

const STYLES: Record<Finding['level'], Style> = { error: 'red', warning: 'yellow', ok: 'green' };
const WIDTH = 'warning'.length;

function printFinding(f: Finding, io: Io): void {
  io.out(
    `${io.paint(f.fixed === true ? 'green' : STYLES[f.level], (f.fixed === true ? 'fixed' : f.level).padEnd(WIDTH))}  ${f.code}: ${visible(f.message)}\n`,
  );
  if (f.level === 'ok' || f.fixed === true) return;
  if (f.file !== undefined) io.out(`${' '.repeat(WIDTH)}  ${visible(f.file)}\n`);
  if (f.fix !== undefined) io.out(`${' '.repeat(WIDTH)}  ${io.paint('dim', visible(f.fix))}\n`);
}
