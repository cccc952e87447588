#!/usr/bin/env node
/**
 * `node test/bench/top-scale.mjs`: looking at a very large queue. Makes one (1,000,000 queued tasks, 100,000 finished, 200 workers, unless
 * `--queued`, `--finished`, `--workers` say otherwise) in a memory file system, written in the layout of the disk format, and prints what
 * `tq status`, `tq ls` and `tq top --once` take on it, cold and with what they remember, and what the store behind `tq top` costs while
 * nothing changes and while workers run. It asserts nothing. `--dir DIR` puts the queue elsewhere, `--keep` leaves it there.
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const root = path.resolve(path.dirname(fileURLToPath(import.meta.url)), '../..');
const tq = path.join(root, 'dist/tq');

const words = process.argv.slice(2);
const given = (name, otherwise) => (words.includes(name) ? words[words.indexOf(name) + 1] : otherwise);
const [QUEUED, FINISHED, WORKERS] = [
  Number(given('--queued', 1_000_000)),
  Number(given('--finished', 100_000)),
  Number(given('--workers', 200)),
];
/** Submits come at this pace, so that a bucket of 4.7 seconds holds a thousand. */
const TICKS_BETWEEN = 47;
const WATCHED_MS = Number(given('--watch', 30)) * 1000;
const base = given('--dir', fs.existsSync('/dev/shm') ? '/dev/shm' : os.tmpdir());
const home = fs.mkdtempSync(path.join(base, 'tq-top-'));
const dir = path.join(home, 'q');
const env = { ...process.env, HOME: home, TQ_DIR: dir, XDG_CACHE_HOME: path.join(home, 'cache') };
const rows = [];

try {
  if (!fs.existsSync(tq)) execFileSync('node', [path.join(root, 'bin/build.mjs')], { stdio: 'inherit' });
  execFileSync(tq, ['init', dir], { env, stdio: 'ignore' });
  const began = performance.now();
  fill();
  console.error(`${QUEUED} queued, ${FINISHED} finished, ${WORKERS} workers in ${dir}: made in ${seconds(performance.now() - began)}`);
  listing();
  await watching();
  const width = Math.max(...rows.map(([what]) => what.length));
  for (const [what, value] of rows) console.log(`${what.padEnd(width)}  ${value}`);
} finally {
  if (words.includes('--keep')) console.error(`left in ${home}`);
  else fs.rmSync(home, { recursive: true, force: true });
}

/** What one command takes, the first time and again. */
function listing() {
  const wanted = [['status'], ['ls', '--count'], ['ls', '--limit', '20'], ['top', '--once']];
  for (const command of wanted) {
    fs.rmSync(env.XDG_CACHE_HOME, { recursive: true, force: true });
    for (const how of ['nothing remembered', 'again']) {
      const { ms, rssMb, stdout } = timed(command);
      rows.push([`tq ${command.join(' ')}, ${how}`, `${Math.round(ms)} ms, ${rssMb} MB, ${stdout.split('\n').length - 1} lines`]);
    }
  }
}

function timed(args) {
  const began = performance.now();
  const ran = spawnSync('/usr/bin/env', ['time', '-f', '%M', tq, ...args], { env, encoding: 'utf8', maxBuffer: 2 ** 28 });
  const ms = performance.now() - began;
  if (ran.status !== 0) throw new Error(`tq ${args.join(' ')}: ${ran.stderr}`);
  return { ms, rssMb: Math.round(Number(ran.stderr.trim().split('\n').at(-1)) / 1024), stdout: ran.stdout };
}

/** A store that is asked once a second, in a process of its own. */
async function watching() {
  const watcher = path.join(root, 'test/bench/watch-top.mjs');
  const run = (ms) => {
    const child = spawn(path.join(root, 'node_modules/.bin/bun'), [watcher, dir, String(ms)], {
      env,
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    let text = '';
    child.stdout.on('data', (part) => (text += part));
    return new Promise((resolve, reject) =>
      child.on('close', (code) => (code === 0 ? resolve(JSON.parse(text)) : reject(new Error(`the watcher ended with ${code}`)))),
    );
  };
  const say = (when, w) => {
    rows.push([`store, ${when}: first answer`, `${w.firstMs} ms`]);
    rows.push([`store, ${when}: all is known after`, `${w.completeMs} ms`]);
    rows.push([`store, ${when}: longest answer to a key`, `${w.slowestMs} ms of ${w.looks}`]);
    rows.push([`store, ${when}: longest time that nothing else ran`, `${w.blockedMs} ms`]);
    rows.push([`store, ${when}: calls of a refresh, mean and most`, `${w.callsMean}, ${w.callsMost}`]);
    rows.push([`store, ${when}: processor`, `${w.cpuPercent}%`]);
    rows.push([`store, ${when}: memory`, `${w.rssMb} MB`]);
  };
  say('nothing changes', await run(WATCHED_MS));
  const workers = Array.from({ length: 4 }, (_, i) => spawn(tq, ['worker', '--name', `live${i}`, '-j', '2'], { env, stdio: 'ignore' }));
  await sleep(2000);
  say('four workers run', await run(WATCHED_MS));
  for (const w of workers) w.kill('SIGTERM');
  await Promise.all(workers.map((w) => new Promise((resolve) => w.on('close', resolve))));
}

function fill() {
  const made = new Set();
  const now = Date.now() * 10;
  const task = (id, i) =>
    JSON.stringify({
      schema: 'tq.task/1',
      id,
      name: `task-${i}`,
      command: ['true'],
      cwd: '/',
      env: {},
      envMode: 'min',
      queue: 'default',
      priority: 0,
      submittedAt: 0,
      submittedBy: { user: 'u', host: 'h' },
      submitDir: '/',
      retries: 0,
      backoff: { kind: 'exp', baseMs: 1000, maxMs: 300_000 },
      jitter: true,
      graceMs: 10_000,
      onLost: 'requeue',
      split: false,
    });
  const put = (place, id, n, i) => {
    const bucket = `${dir}/${place}/${id.slice(0, 4)}/${id.slice(4, 6)}`;
    if (!made.has(bucket)) {
      fs.mkdirSync(bucket, { recursive: true });
      made.add(bucket);
    }
    fs.writeFileSync(`${bucket}/${id}.a${n}.json`, `${task(id, i)}\n`);
  };
  const id = (ticks, i) => ticks.toString(36).padStart(9, '0') + i.toString(36).padStart(5, '0').slice(-5);
  const first = now - (QUEUED + FINISHED) * TICKS_BETWEEN;
  for (let i = 0; i < FINISHED; i++) put(i % 50 === 0 ? 'failed' : 'done', id(first + i * TICKS_BETWEEN, i), 1, i);
  for (let i = FINISHED; i < FINISHED + QUEUED; i++) put('queued/default/p00', id(first + i * TICKS_BETWEEN, i), 0, i);
  for (let i = 0; i < WORKERS; i++) registered(`w${String(i).padStart(3, '0')}`);
}

/** A worker that says that it is awake; nobody is there. */
function registered(name) {
  const session = `${name}.1.0-0-0-0-xxxxxxxx`;
  const at = `${dir}/workers/${name}`;
  fs.mkdirSync(at, { recursive: true });
  const worker = {
    name,
    session,
    host: name,
    pid: 1,
    startedAt: Date.now(),
    version: '0',
    jobs: 4,
    queues: ['elsewhere'],
    labels: {},
    offers: { cpus: 4 },
    heartbeatMs: 3_600_000,
    restartExitCode: null,
    settings: {},
  };
  const state = {
    session,
    state: 'awake',
    want: null,
    base: 'awake',
    reason: null,
    badWant: null,
    running: [],
    changedAt: Date.now(),
    blocked: null,
    lastSession: null,
    lost: false,
  };
  fs.mkdirSync(`${dir}/running/${session}`, { recursive: true });
  fs.writeFileSync(`${at}/worker.json`, JSON.stringify(worker));
  fs.writeFileSync(`${at}/state.json`, JSON.stringify(state));
  fs.writeFileSync(`${at}/heartbeat`, `000000000001 ${session}\n`);
}

function seconds(ms) {
  return `${(ms / 1000).toFixed(1)} s`;
}
