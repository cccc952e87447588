/**
 * Runs a few lines in a process of their own whose local time zone is the one named, because a running process cannot be trusted to
 * take up another zone. The lines see the exports of one module of `src/task` as `m` and end by returning plain data.
 */
import { execFileSync } from 'node:child_process';

export function inZone(zone: string, module: string, body: string): unknown {
  const url = new URL(`../../src/task/${module}.ts`, import.meta.url).href;
  const program = `import * as m from ${JSON.stringify(url)}; const at = (text) => Date.parse(text);
    const run = () => { ${body} }; process.stdout.write(JSON.stringify(run()));`;
  const env = { ...process.env, TZ: zone, NODE_NO_WARNINGS: '1' };
  return JSON.parse(execFileSync(process.execPath, ['--input-type=module', '-e', program], { env, encoding: 'utf8' }));
}
