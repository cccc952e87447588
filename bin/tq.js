#!/usr/bin/env node
/**
 * What npm puts on the PATH. A Node that is new enough runs the bundle in this process; an older one hands over to the compiled
 * program when it is there. Plain old JavaScript, so that an old Node comes far enough to say what is missing.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';

/** The first Node with all that the program uses. */
const NEEDS = [22, 22];
/** Sent to one process, so passed on. */
const PASSED_ON = ['SIGTERM', 'SIGUSR1', 'SIGUSR2'];
/** Sent by a terminal to the program too: passing them on would make two of one, and a second one means more to a worker. */
const SHARED = ['SIGINT', 'SIGQUIT', 'SIGHUP'];

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
const bundle = path.join(root, 'dist/tq.mjs');
const source = path.join(root, 'src/main.ts');
const program = path.join(root, 'dist/tq');

if (isNewEnough(process.versions.node)) {
  // In a checkout that was never built the source itself runs; below node_modules Node would refuse its types.
  const entry = existsSync(bundle) ? bundle : source;
  await import(pathToFileURL(entry).href);
} else if (existsSync(program)) {
  handOver(program);
} else {
  process.stderr.write(`tq: Node ${NEEDS.join('.')} or newer is needed, this is ${process.versions.node} (${process.execPath})\n`);
  process.stderr.write('    install a newer Node, or use the compiled program, which needs none\n');
  process.exit(125);
}

function isNewEnough(version) {
  const [major, minor] = version.split('.').map(Number);
  return major > NEEDS[0] || (major === NEEDS[0] && minor >= NEEDS[1]);
}

/** Runs the program in our place: same descriptors, signals passed on, and the same end. */
function handOver(file) {
  // The program may run, and be signalled, before spawn returns here.
  const running = { child: undefined };
  for (const signal of PASSED_ON) process.on(signal, () => running.child?.kill(signal));
  for (const signal of SHARED) process.on(signal, () => {});
  const child = spawn(file, process.argv.slice(2), { stdio: 'inherit' });
  running.child = child;
  child.on('error', (error) => {
    process.stderr.write(`tq: cannot start ${file}: ${error.message}\n`);
    process.exit(125);
  });
  child.on('exit', (code, signal) => {
    if (signal === null) process.exit(code);
    // Die of the same signal, so that a shell sees what it would have seen.
    for (const name of [...PASSED_ON, ...SHARED]) process.removeAllListeners(name);
    process.kill(process.pid, signal);
  });
}
