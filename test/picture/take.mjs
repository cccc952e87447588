/**
 * Takes the pictures of the README: a real run of a few workers and some hundred tasks, watched by `tq top` in tmux, with keys pressed.
 * Writes `examples/top.svg` and `examples/top-session.svg`. Needs tmux and `npm run build`.
 */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { movie, still } from './svg.mjs';

const root = path.resolve(import.meta.dirname, '../..');
const tq = path.join(root, 'dist/tq');
const [COLS, ROWS] = [120, 34];
const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-picture-'));
const dir = '/tmp/film';
const socket = path.join(home, 'tmux');
const env = {
  ...process.env,
  HOME: home,
  TMPDIR: home,
  LANG: 'C.UTF-8',
  LC_ALL: 'C.UTF-8',
  TERM: 'xterm-256color',
  USER: 'ada',
  LOGNAME: 'ada',
};
delete env.TQ_DIR;
delete env.NO_COLOR;
const children = [];

const run = (...words) => execFileSync(tq, words, { env, cwd: home, encoding: 'utf8' }).trim();
const submit = (...words) => run('submit', '-D', dir, ...words);
const tmux = (...words) => execFileSync('tmux', ['-S', socket, '-f', '/dev/null', ...words], { env, encoding: 'utf8' });
const shot = () => tmux('capture-pane', '-p', '-e', '-t', 'top');

if (fs.existsSync(dir)) throw new Error(`${dir} is there already: it is shown in the picture, and made and removed for it`);
try {
  run('init', dir);
  fill();
  for (const [name, jobs, labels] of [
    ['mill-1', 4, ['gpu']],
    ['mill-2', 4, ['gpu']],
    ['attic', 2, []],
    ['laptop', 1, []],
  ]) {
    const words = ['worker', '-D', dir, '--name', name, '-j', String(jobs), ...labels.flatMap((l) => ['-l', l])];
    children.push(spawn(tq, words, { env, cwd: home, stdio: 'ignore' }));
  }
  await sleep(9000);
  tmux('new-session', '-d', '-s', 'top', '-x', String(COLS), '-y', String(ROWS), tq, 'top', '-D', dir);
  tmux('set', '-g', 'status', 'off');
  await sleep(2500);
  fs.writeFileSync(path.join(root, 'examples/top.svg'), still(shot(), COLS, ROWS, 'tq top'));
  const frames = [];
  const take = (ms) => frames.push({ screen: shot(), ms });
  const press = async (keys, ms) => {
    for (const key of keys) {
      tmux('send-keys', '-t', 'top', key);
      await sleep(250);
      take(250);
    }
    await sleep(500);
    take(ms);
  };
  for (let i = 0; i < 4; i++) {
    take(700);
    await sleep(700);
  }
  await press(['Down', 'Down', 'Enter'], 2500);
  await press(['Escape', 'l'], 2000);
  await press(['Escape', '/', 'g', 'r', 'a', 'd', 'e'], 2000);
  await press(['Escape', 'Tab', 's'], 2500);
  await press(['?'], 2500);
  await press(['Escape'], 800);
  fs.writeFileSync(path.join(root, 'examples/top-session.svg'), movie(frames, COLS, ROWS, 'a session of tq top'));
} finally {
  try {
    tmux('kill-server');
  } catch {
    // It has not begun.
  }
  for (const child of children) child.kill('SIGTERM');
  await Promise.all(children.map((c) => (c.exitCode === null ? new Promise((resolve) => c.on('exit', resolve)) : undefined)));
  for (const made of [home, dir]) fs.rmSync(made, { recursive: true, force: true });
}

/** A film's worth of work: done, failed, running and waiting. */
function fill() {
  const slow = (least, most) =>
    `n=$(( ${least} + $(od -An -N2 -tu2 /dev/urandom) % ${most - least} )); i=0; while [ $i -lt $n ]; do i=$((i+1)); echo "sample $i of $n"; echo "$((100*i/n)) sample $i of $n" > $TQ_PROGRESS_FILE; sleep 0.5; done`;
  const frames = submit('-n', 'render', '-g', 'film', '--array', '1-240', '--on', 'gpu', '-c', slow(4, 16));
  submit('-n', 'encode', '-g', 'film', '--after', frames, '--', 'sleep', '5');
  for (const scene of ['river', 'forge', 'storm', 'attic', 'harbour']) {
    const grade = submit('-n', `grade ${scene}`, '-g', 'film', '--priority', scene === 'storm' ? '5' : '0', '-c', slow(10, 40));
    submit('-n', `mix ${scene}`, '-g', 'film', '--after', grade, '--', 'sleep', '2');
  }
  for (let i = 1; i <= 30; i++) submit('-n', `proxy ${i}`, '-c', 'sleep 0.2');
  submit('-n', 'upload takes', '--retries', '3', '--backoff', 'fixed:20s', '-c', 'echo "connection refused: media.example" >&2; exit 7');
  submit('-n', 'transcribe', '-c', 'echo "no model for language xx" >&2; exit 3');
  submit('-n', 'sync archive', '--in', '2h', '--', 'rsync', '-a', 'takes/', 'archive:/takes/');
  submit('-n', 'publish', '--hold', '--', './publish.sh');
}
