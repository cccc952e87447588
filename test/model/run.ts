/**
 * The model from the command line: `node test/model/run.ts [quick | all | part of a name] [seconds for each] [-q]`. Prints what was
 * explored and, for what goes wrong, a shortest trace; exits 1 when a run does not come out as the suite says.
 */
import { explore, sample, traceOf } from './engine.ts';
import { SUITE, type Run } from './suite.ts';

const words = process.argv.slice(2).filter((word) => word !== '-q');
const quiet = process.argv.includes('-q');
const which = words[0] ?? 'quick';
const ms = Number(words[1] ?? 600) * 1000;

function wanted(run: Run): boolean {
  return which === 'all' || (which === 'quick' ? run.quick : run.name.includes(which));
}

let wrong = 0;
for (const run of SUITE.filter(wanted)) {
  const bounds = run.shows === undefined ? { ms } : { ms, until: run.shows };
  const r =
    run.samples === undefined
      ? explore(run.scenario, bounds)
      : sample(run.scenario, { ms, runs: which === 'all' ? run.samples * 25 : run.samples, seed: Number(process.env['SEED'] ?? 1) });
  const found = [...r.violations].map(([kind, v]) => `${kind} (${v.times})`).join(', ');
  const asSaid =
    run.shows === undefined ? r.violations.size === 0 && (r.complete || run.samples !== undefined) : r.violations.has(run.shows);
  if (!asSaid) wrong++;
  const what =
    run.samples === undefined ? `${r.states} states, ${r.edges} edges, depth ${r.depth}${r.complete ? '' : ', cut'}` : `${r.states} runs`;
  console.log(`${asSaid ? 'ok  ' : 'BAD '} ${run.name}: ${what}, ${(r.ms / 1000).toFixed(1)} s; ${found === '' ? 'no violation' : found}`);
  if (quiet) continue;
  for (const [kind, v] of r.violations) {
    console.log(`     ${kind}: ${v.message}`);
    for (const line of traceOf(run.scenario, v)) console.log(`       ${line}`);
  }
}
process.exitCode = wrong === 0 ? 0 : 1;
