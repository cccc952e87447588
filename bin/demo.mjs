#!/usr/bin/env node
/**
 * `npm run demo`: installs and builds what is missing, then shows the main job with the real program on a queue in a temporary
 * directory: submit, look, run a worker, read the results; at last a part of examples/checksum-tree.sh. Everything below a `$` line is
 * what that command printed.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { install, root, run, tool } from './install.mjs';

/** Files of node_modules that the last part takes. */
const FILES = '200';

install();
if (run(tool('node'), ['bin/build.mjs']) !== 0) process.exit(1);

const home = mkdtempSync(path.join(os.tmpdir(), 'tq-demo-'));
const env = { ...process.env, HOME: home, TQ_DIR: '', PATH: `${path.join(root, 'dist')}${path.delimiter}${process.env.PATH}` };
try {
  say('A queue is a directory. No server, no account.');
  show('tq init');
  say('A command given as words is run as it is; -c is for a line of shell. What comes back is the id.');
  const sum = show(`tq submit --name sum -c 'seq 1 100 | awk "{ s += \\$1 } END { print s }"'`);
  const flaky = show("tq submit --name flaky --retries 2 --backoff none -c 'echo try $TQ_ATTEMPT; test $TQ_ATTEMPT -gt 1'");
  show(`tq submit --name report --after ${sum},${flaky} -c 'tq result "{\\"ready\\": true}"; echo all there'`);
  show('tq ls');
  say('A worker takes what it can. Any number of them may run, on any machine that sees the directory.');
  show('tq worker --name demo -j 2 --until-empty');
  show('tq ls -a');
  show(`tq show ${flaky}`);
  show(`tq logs ${sum}`);
  show(`tq logs ${flaky} --attempt 1`);
  say('A task is a file; its state is the directory that it is in.');
  show("find .tq -name '*.json' -path '*done*'");
  say(`And now ${FILES} of them: a task per file, two workers side by side, each sum checked.`);
  show(`${path.join(root, 'examples/checksum-tree.sh')} ${path.join(root, 'node_modules')} ${FILES}`);
} catch (error) {
  console.error(error.message);
  process.exitCode = 1;
} finally {
  rmSync(home, { recursive: true, force: true });
}

function say(line) {
  console.log(`\n# ${line}`);
}

/** Runs a line of shell in the demo's directory and prints it with its output; ends the demo when it fails. The output. */
function show(line) {
  console.log(`$ ${line.replaceAll(root, '.')}`);
  const { status, stdout, error } = spawnSync('sh', ['-c', line], {
    cwd: home,
    env,
    encoding: 'utf8',
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  process.stdout.write(stdout);
  if (status === 0) return stdout.trim();
  throw new Error(`demo: exit ${status ?? error?.message}: ${line}`);
}
