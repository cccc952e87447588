/**
 * Claims the tasks of a queue four at a time, makes each one's log, reads it and records its success, by the worker's own functions and
 * starting nothing. Prints the CPU and wall time of a task, us, after the first WARM ones.
 */
import fs from 'node:fs';
import { claim, emptyWindow } from '../../src/queue/claim.ts';
import { randomText } from '../../src/queue/layout.ts';
import { openQueue } from '../../src/queue/open.ts';
import { readClaimed, settle, tallyBefore } from '../../src/queue/outcome.ts';
import { makeSession } from '../../src/queue/session.ts';
import type { Outcome } from '../../src/task/types.ts';
import { hostFacts } from '../../src/worker/facts.ts';

const SLOTS = 4;

async function main(dir: string, warm: number, count: number): Promise<void> {
  const q = await openQueue(dir);
  const session = makeSession('bench', hostFacts());
  fs.mkdirSync(q.lay.session(session), { recursive: true });
  const rules = { serves: () => true, leave: () => false };
  const window = emptyWindow();
  const made = new Set<string>();
  let [before, began] = [process.cpuUsage(), performance.now()];
  for (let k = 0; k < warm + count;) {
    const claimed = await claim(q, session, window, rules, SLOTS);
    if (claimed.length === 0) throw new Error(`${warm + count} tasks wanted, ${k} there`);
    for (const c of claimed) {
      if (k++ === warm) [before, began] = [process.cpuUsage(), performance.now()];
      const runs = q.lay.runs(c.id);
      if (!made.has(runs)) fs.mkdirSync(runs, { recursive: true });
      made.add(runs);
      const log = await q.fsx.openLog(q.lay.log(c.id, c.attempt));
      const task = (await readClaimed(q, c.file, c.id))!;
      const tally = await tallyBefore(q, c.id, c.attempt);
      fs.closeSync(log);
      const now = Date.now();
      const outcome: Outcome = {
        schema: 'tq.outcome/1',
        id: c.id,
        attempt: c.attempt,
        nonce: randomText(12),
        outcome: 'succeeded',
        started: true,
        worker: 'bench',
        session,
        host: 'bench',
        pid: process.pid,
        startedAt: now,
        endedAt: now,
        durationMs: 1,
        exitCode: 0,
        signal: null,
        cpuMs: 1,
        maxRssKb: 1,
        reason: null,
        next: { state: 'done' },
        tally,
      };
      await settle(q, session, outcome, task);
    }
  }
  const { user, system } = process.cpuUsage(before);
  const wallMs = performance.now() - began;
  process.stdout.write(`${JSON.stringify({ cpuUs: (user + system) / count, wallUs: (wallMs * 1000) / count })}\n`);
  process.exit(0);
}

const [dir, warm, count] = process.argv.slice(2);
void main(dir!, Number(warm), Number(count));
