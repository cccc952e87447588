/**
 * What `npm test` and `npm run demo` need on a fresh clone: the dependencies, among them the two runtimes (bun compiles the
 * program, the newest Node runs the tests). Runs in Node 20 without any dependency; does nothing where all is there.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';

export const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const bin = path.join(root, 'node_modules/.bin');

/** Their packages put the runtimes in place by install scripts, which npm may have been told not to run. */
const RUNTIMES = ['bun', 'node'];

/** Path of a tool that the dev dependencies bring. */
export function tool(name) {
  return path.join(bin, name);
}

/** Runs a program in the project's directory with the tools of the dependencies first on its PATH; its exit code. */
export function run(command, args, options = {}) {
  const env = { ...process.env, ...options.env, PATH: `${bin}${path.delimiter}${process.env.PATH ?? ''}` };
  const { status, error } = spawnSync(command, args, { cwd: root, stdio: 'inherit', ...options, env });
  if (error !== undefined) console.error(`cannot start ${command}: ${error.message}`);
  return status ?? 1;
}

/** Installs what is missing. Ends the process with a sentence when that fails. */
export function install() {
  if (!isInstalled()) {
    console.log('installing the dependencies: npm ci');
    if (run('npm', ['ci']) !== 0) give('npm ci failed');
  }
  if (RUNTIMES.every(starts)) return;
  run('npm', ['rebuild', '--ignore-scripts=false', ...RUNTIMES]);
  for (const name of RUNTIMES) {
    if (!starts(name)) give(`node_modules/.bin/${name} does not start: npm rebuild ${name} puts it in place`);
  }
}

function give(reason) {
  console.error(reason);
  process.exit(1);
}

/** Whether every package of the lock file that this platform needs is there in its version. */
function isInstalled() {
  const hidden = path.join(root, 'node_modules/.package-lock.json');
  if (!existsSync(hidden)) return false;
  const wanted = JSON.parse(readFileSync(path.join(root, 'package-lock.json'), 'utf8')).packages;
  const there = JSON.parse(readFileSync(hidden, 'utf8')).packages;
  return Object.entries(wanted).every(([at, entry]) => {
    if (at === '') return true;
    return there[at] === undefined ? entry.optional === true : there[at].version === entry.version;
  });
}

function starts(name) {
  return existsSync(tool(name)) && spawnSync(tool(name), ['--version'], { stdio: 'ignore' }).status === 0;
}
