/**
 * Starts `true` COUNT times, SLOTS at once, by the worker's own door and with a log file as a worker gives it, and records nothing.
 * Prints the CPU time that this process itself used, and the wall time: what is left of a worker's is its bookkeeping.
 */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { spawnTask } from '../../src/worker/child.ts';

const count = Number(process.argv[2]);
const slots = Number(process.argv[3]);
const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-spawns-'));
const log = fs.openSync(path.join(dir, 'log'), 'a');
const env = { PATH: process.env['PATH'] ?? '' };

let left = count;
async function slot(): Promise<void> {
  while (left-- > 0) {
    const child = spawnTask({ argv: ['true'], cwd: dir, env, stdin: 'null', stdout: log, stderr: log });
    if (child.kind === 'rejected') throw new Error(child.reason);
    await child.exited;
  }
}

const before = process.cpuUsage();
const began = performance.now();
await Promise.all(Array.from({ length: slots }, slot));
const { user, system } = process.cpuUsage(before);
const wallMs = performance.now() - began;
fs.rmSync(dir, { recursive: true });
process.stdout.write(`${JSON.stringify({ cpuUs: user + system, wallMs })}\n`);
process.exit(0);
