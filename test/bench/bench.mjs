#!/usr/bin/env node
/**
 * `npm run bench`: what tq costs on this machine, as a table, each number next to something that everybody has. It asserts
 * nothing. Words choose parts (`npm run bench -- submit dispatch`), `--write` puts the table into results.md beside this file,
 * `--dir DIR` makes the queues in another directory (on another file system, say).
 */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { performance } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const here = path.dirname(fileURLToPath(import.meta.url));
const root = path.resolve(here, '../..');
const tq = path.join(root, 'dist/tq');

const SUBMITS = 200;
const TASKS = 3000;
/** Of these, before anything is counted: a worker runs for days. */
const WARM = 1000;
const SLOTS = 4;
const REPEATS = 3;
const FINISHED = 10_000;
const STARTS = 20;
const IDLE_MS = 10_000;
const DEPENDANTS = 100_000;

const words = process.argv.slice(2);
const dirAt = words.indexOf('--dir');
const base = dirAt < 0 ? os.tmpdir() : path.resolve(words.splice(dirAt, 2)[1]);
const parts = words.filter((word) => !word.startsWith('--'));
const write = words.includes('--write');
const home = fs.mkdtempSync(path.join(base, 'tq-bench-'));
const env = { ...process.env, TMPDIR: home, HOME: home };
delete env.TQ_DIR;
const rows = [];
const children = new Set();
/** Queues that several parts use. */
let filled;
let finished;

const PARTS = { submit, dispatch, bookkeeping, start, idle, look, release };

try {
  if (!fs.existsSync(tq)) must('node', [path.join(root, 'bin/build.mjs')]);
  for (const [name, part] of Object.entries(PARTS)) {
    if (parts.length > 0 && !parts.includes(name)) continue;
    note(`${name} ...`);
    await part();
  }
  report();
} finally {
  for (const child of children) child.kill('SIGKILL');
  fs.rmSync(home, { recursive: true, force: true });
}

/** A whole `tq submit` against a program that does nothing, in turns. */
async function submit() {
  const empty = path.join(home, 'empty');
  compile('empty.ts', empty);
  const dir = newQueue('submit');
  const times = { tq: [], empty: [] };
  for (let i = -10; i < SUBMITS; i++) {
    for (const [name, file, args] of [
      ['tq', tq, ['submit', '-D', dir, '--', 'true']],
      ['empty', empty, []],
    ]) {
      const began = performance.now();
      const { status } = spawnSync(file, args, { env, stdio: 'ignore' });
      if (status !== 0) throw new Error(`${file} exited ${status}`);
      if (i >= 0) times[name].push(performance.now() - began);
    }
  }
  const ours = median(times.tq);
  const nothing = median(times.empty);
  row('`tq submit -- true`, whole process, fsynced', ms(ours), `median of ${SUBMITS}, 90%: ${ms(quantile(times.tq, 0.9))}`);
  row('an empty program, compiled the same way', ms(nothing), `in turns with it, 90%: ${ms(quantile(times.empty, 0.9))}`);
  row('submit / empty', `${(ours / nothing).toFixed(2)} times`, '');
}

/** Tasks that do nothing, through one worker, and through what people use without a queue. */
async function dispatch() {
  const full = filledQueue();
  const numbers = path.join(home, 'numbers');
  fs.writeFileSync(numbers, Array.from({ length: TASKS }, (_, i) => `${i}\n`).join(''));
  const contest = {
    tq: () => {
      const dir = copyOf(full);
      const took = timed(tq, ['worker', '-D', dir, '--name', 'bench', '-j', String(SLOTS), '--until-empty']);
      const done = count(path.join(dir, 'done'));
      if (done !== TASKS) throw new Error(`${TASKS} tasks, ${done} done`);
      return took;
    },
    xargs: () => timed('sh', ['-c', `xargs -P${SLOTS} -n1 true < ${numbers}`]),
    ...(has('parallel') ? { parallel: () => timed('sh', ['-c', `parallel -j${SLOTS} true :::: ${numbers}`]) } : {}),
  };
  const times = Object.fromEntries(Object.keys(contest).map((name) => [name, []]));
  for (let i = 0; i < REPEATS; i++) for (const [name, run] of Object.entries(contest)) times[name].push(run());
  const names = {
    tq: `\`tq worker -j${SLOTS} --until-empty\`, ${TASKS} times \`true\``,
    xargs: `\`xargs -P${SLOTS} -n1 true\`, as many`,
    parallel: `\`parallel -j${SLOTS} true\`, as many`,
  };
  for (const [name, took] of Object.entries(times)) {
    const each = (wallMs) => `${Math.round((TASKS / wallMs) * 1000)}/s`;
    row(names[name], each(Math.min(...took)), `best of ${REPEATS}, median ${each(median(took))}`);
  }
}

/** The CPU time of claiming and finishing alone, then all that a worker uses for a task, and what starting a process costs any program. */
async function bookkeeping() {
  const [keeping, spawns] = [path.join(home, 'bookkeeping'), path.join(home, 'spawns')];
  compile('bookkeeping.ts', keeping);
  compile('spawns.ts', spawns);
  const kept = [];
  const used = [];
  const bare = [];
  const full = filledQueue();
  for (let i = 0; i < REPEATS; i++) {
    const counts = [String(WARM), String(TASKS - WARM)];
    kept.push(JSON.parse(execFileSync(keeping, [copyOf(full), ...counts], { env, encoding: 'utf8' })).cpuUs);
    const dir = copyOf(full);
    const worker = await startWorker(dir, ['-j', String(SLOTS)]);
    await until(() => count(path.join(dir, 'done')) === TASKS);
    used.push((cpuMs(worker.pid) * 1000) / TASKS);
    await stop(worker);
    bare.push(JSON.parse(execFileSync(spawns, [String(TASKS), String(SLOTS)], { env, encoding: 'utf8' })).cpuUs / TASKS);
  }
  row(
    'claim + finish bookkeeping, CPU per task',
    `${median(kept).toFixed(0)} us`,
    `claim, log, reading, outcome and move, nothing started; median of ${REPEATS} times ${TASKS - WARM} after ${WARM}`,
  );
  row(
    'CPU of a whole worker per task',
    `${median(used).toFixed(0)} us`,
    `user + system, its start included, without its children; median of ${REPEATS} times ${TASKS}`,
  );
  row('CPU of bare starts per task', `${median(bare).toFixed(0)} us`, 'a program that only starts `true` by the same door');
}

/** From the end of a submit to the first breath of the task, with a worker that has nothing to do. */
async function start() {
  const dir = newQueue('start');
  const worker = await startWorker(dir, ['-j', '1']);
  const times = [];
  for (let i = -2; i < STARTS; i++) {
    const stamp = path.join(home, `stamp.${i}`);
    await sleep(300);
    must(tq, ['submit', '-D', dir, '--', 'touch', stamp]);
    const submitted = Date.now();
    await until(() => fs.existsSync(stamp), 1);
    if (i >= 0) times.push(Math.max(0, fs.statSync(stamp).mtimeMs - submitted));
  }
  await stop(worker);
  row(
    'submit returned to task at work, idle worker',
    ms(median(times)),
    `median of ${STARTS}, 90%: ${ms(quantile(times, 0.9))}; file times are 4 to 10 ms coarse`,
  );
}

/** What a worker costs that has nothing to do, beside many finished tasks. */
async function idle() {
  const dir = finishedQueue();
  const worker = await startWorker(dir, ['-j', '1']);
  await sleep(3000);
  const before = cpuMs(worker.pid);
  const beatsBefore = heartbeat(dir);
  await sleep(IDLE_MS);
  const cpu = cpuMs(worker.pid) - before;
  const polls = heartbeat(dir) - beatsBefore;
  row(
    'idle worker, CPU',
    `${((100 * cpu) / IDLE_MS).toFixed(2)} %`,
    `of a core over ${IDLE_MS / 1000} s, ${polls} polls, ${FINISHED} finished tasks beside it`,
  );
  if (has('strace')) {
    const file = path.join(home, 'strace');
    const from = heartbeat(dir);
    const tracer = spawn('strace', ['-f', '-o', file, '-p', String(worker.pid)], { stdio: 'ignore' });
    children.add(tracer);
    await sleep(IDLE_MS);
    const seen = heartbeat(dir) - from;
    await stop(tracer, 'SIGINT');
    const lines = fs
      .readFileSync(file, 'utf8')
      .split('\n')
      .filter((line) => /^\d+ +[a-z]/.test(line));
    const onFiles = lines.filter((line) => line.includes(dir));
    row(
      'idle worker, system calls per poll',
      `${Math.round(lines.length / seen)}`,
      `${Math.round(onFiles.length / seen)} of them name a path in the queue`,
    );
  } else row('idle worker, system calls per poll', 'not measured', 'no strace here');
  await stop(worker);
}

/** Looking at a queue with a past. */
async function look() {
  const dir = finishedQueue();
  for (const args of [['status'], ['ls'], ['ls', '-a', '--count'], ['ls', '-a', '--limit', '20']]) {
    const times = [];
    for (let i = 0; i < 10; i++) times.push(timed(tq, [args[0], '-D', dir, ...args.slice(1)]));
    row(
      `\`tq ${args.join(' ')}\`, ${FINISHED} finished tasks`,
      ms(median(times)),
      `median of ${times.length}, 90%: ${ms(quantile(times, 0.9))}`,
    );
  }
}

/** A parent with very many dependants: their submit, and how long and with what memory a worker lets them all go. */
async function release() {
  const dir = newQueue('release');
  const parent = execFileSync(tq, ['submit', '-D', dir, '--', 'true'], { env, encoding: 'utf8' }).trim();
  const input = `${JSON.stringify({ command: ['true'], after: [parent] })}\n`.repeat(DEPENDANTS);
  let began = performance.now();
  execFileSync(tq, ['submit', '-D', dir, '--batch', '-'], { env, input, stdio: ['pipe', 'ignore', 'inherit'] });
  row(`submit of ${DEPENDANTS} dependants of one task, one batch`, ms(performance.now() - began), 'all fsynced');
  began = performance.now();
  const worker = spawn(tq, ['worker', '-D', dir, '--name', 'bench', '--max-tasks', '1'], { env, stdio: 'ignore' });
  children.add(worker);
  let peakKb = 0;
  while (worker.exitCode === null) {
    const status = fs.existsSync(`/proc/${worker.pid}/status`) ? fs.readFileSync(`/proc/${worker.pid}/status`, 'utf8') : '';
    peakKb = Math.max(peakKb, Number(/VmHWM:\s*(\d+)/.exec(status)?.[1] ?? 0));
    await sleep(20);
  }
  children.delete(worker);
  const took = performance.now() - began;
  const queued = count(path.join(dir, 'queued/default/p00'));
  if (queued !== DEPENDANTS) throw new Error(`${DEPENDANTS} dependants, ${queued} released`);
  row(`${DEPENDANTS} dependants released`, ms(took), `a worker that runs the parent and leaves; at most ${Math.round(peakKb / 1024)} MiB`);
}

function compile(entry, outfile) {
  must('node', [path.join(root, 'bin/build.mjs'), path.join(here, entry), outfile]);
}

function newQueue(name) {
  const dir = path.join(home, `${name}.${fs.readdirSync(home).length}`);
  must(tq, ['init', dir]);
  return dir;
}

/** A queue with TASKS tasks that do nothing; made once, copied for each use. */
function filledQueue() {
  if (filled !== undefined) return filled;
  filled = newQueue('filled');
  must('sh', ['-c', `seq ${TASKS} | xargs -P4 -n1 "${tq}" submit -D "${filled}" -- true > /dev/null`]);
  return filled;
}

/** Kept until the end: ext4 without a journal searches for a free inode the longer, the more were freed in the last minutes. */
function copyOf(dir) {
  const copy = path.join(home, `copy.${performance.now()}`);
  must('cp', ['-a', dir, copy]);
  // What is still to be written from the copying must not be waited for by whoever is measured next.
  must('sync', []);
  return copy;
}

/** A queue with FINISHED done tasks: one that tq ran, and as many more written after its pattern, spread over a day of submits. */
function finishedQueue() {
  if (finished !== undefined) return finished;
  const dir = newQueue('finished');
  const id = execFileSync(tq, ['submit', '-D', dir, '--', 'true'], { env, encoding: 'utf8' }).trim();
  must(tq, ['worker', '-D', dir, '--name', 'bench', '-j', '1', '--until-empty']);
  const task = fs.readFileSync(`${dir}/done/${bucket(id)}/${id}.a1.json`, 'utf8');
  const outcome = fs.readFileSync(`${dir}/runs/${bucket(id)}/${id}.a1.json`, 'utf8');
  const ticks = Number.parseInt(id.slice(0, 9), 36);
  for (let i = 1; i < FINISHED; i++) {
    const other = (ticks - i * 86_400).toString(36) + id.slice(9);
    for (const place of ['done', 'runs']) fs.mkdirSync(`${dir}/${place}/${bucket(other)}`, { recursive: true });
    fs.writeFileSync(`${dir}/done/${bucket(other)}/${other}.a1.json`, task.replaceAll(id, other));
    fs.writeFileSync(`${dir}/runs/${bucket(other)}/${other}.a1.json`, outcome.replaceAll(id, other));
    fs.writeFileSync(`${dir}/runs/${bucket(other)}/${other}.a1.log`, '');
  }
  must('sync', []);
  finished = dir;
  return dir;
}

/** Where an id's files lie below a state's directory. */
function bucket(id) {
  return `${id.slice(0, 4)}/${id.slice(4, 6)}`;
}

/** A worker that has announced itself. */
async function startWorker(dir, args) {
  const child = spawn(tq, ['worker', '-D', dir, '--name', 'bench', ...args], { env, stdio: ['ignore', 'pipe', 'ignore'] });
  children.add(child);
  await new Promise((resolve, reject) => {
    child.stdout.once('data', resolve);
    child.once('exit', (code) => reject(new Error(`tq worker exited ${code}`)));
  });
  return child;
}

async function stop(child, signal = 'SIGTERM') {
  const gone = new Promise((resolve) => child.once('exit', resolve));
  child.kill(signal);
  await gone;
  children.delete(child);
}

/** User and system time of a process without its children, ms: fields 14 and 15 of proc(5) stat, in 10 ms ticks. */
function cpuMs(pid) {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

function heartbeat(dir) {
  return Number(fs.readFileSync(`${dir}/workers/bench/heartbeat`, 'utf8').split(' ')[0]);
}

/** Files two directories down: the tasks of a state. */
function count(dir) {
  let n = 0;
  for (const a of fs.readdirSync(dir)) for (const b of fs.readdirSync(`${dir}/${a}`)) n += fs.readdirSync(`${dir}/${a}/${b}`).length;
  return n;
}

async function until(condition, everyMs = 20) {
  const end = performance.now() + 120_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error('nothing came of it in two minutes');
    await sleep(everyMs);
  }
}

/** Wall time of a process, ms. */
function timed(command, args) {
  const began = performance.now();
  must(command, args);
  return performance.now() - began;
}

function must(command, args) {
  const { status, error, stderr } = spawnSync(command, args, { env, stdio: ['ignore', 'ignore', 'pipe'] });
  if (status !== 0) throw new Error(`${command} ${args.join(' ')}: ${error?.message ?? `exit ${status}`}\n${stderr}`);
}

function has(program) {
  return spawnSync('sh', ['-c', `command -v ${program}`], { stdio: 'ignore' }).status === 0;
}

function median(list) {
  return quantile(list, 0.5);
}

function quantile(list, q) {
  const sorted = list.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];
}

function ms(value) {
  return `${value.toFixed(value < 100 ? 1 : 0)} ms`;
}

function row(what, value, how) {
  rows.push([what, value, how]);
}

function note(line) {
  process.stderr.write(`${line}\n`);
}

function report() {
  const fsType = execFileSync('df', ['--output=fstype', home], { encoding: 'utf8' }).trim().split('\n').at(-1);
  const version = execFileSync(tq, ['--version'], { encoding: 'utf8' }).trim();
  const about = `${version}, ${os.cpus().length} cpus (${os.cpus()[0]?.model.trim()}), Linux ${os.release()}, queue on ${fsType}, ${new Date().toISOString().slice(0, 10)}`;
  const lines = [
    '# Measured',
    '',
    `By \`npm run bench\` on ${about}. Compare the rows with each other; another machine has other numbers.`,
    '',
    '| what | | how |',
    '|---|---|---|',
    ...rows.map((cells) => `| ${cells.join(' | ')} |`),
    '',
  ];
  process.stdout.write(lines.join('\n'));
  if (write) fs.writeFileSync(path.join(here, 'results.md'), lines.join('\n'));
}
