import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { afterEach, beforeEach, expect, test } from 'vitest';
import {
  bootClockMs,
  bootId,
  cpuMsOf,
  hostName,
  isSameProcess,
  killAll,
  killGroup,
  leftovers,
  leftoversOfAttempt,
  leftoverTasks,
  livingGroups,
  machineId,
  peakRssKb,
  pidNamespace,
  startTimeOf,
} from '../../src/worker/proc.ts';
import { makePlace, pidsIn, until, type Place } from './drive.ts';

let place: Place;
let children: ChildProcess[] = [];
beforeEach(() => {
  place = makePlace();
});
afterEach(async () => {
  for (const child of children) child.kill('SIGKILL');
  children = [];
  await place.end();
});

function start(argv: string[], env: Record<string, string> = place.env()): number {
  const [program = '', ...args] = argv;
  const child = spawn(program, args, { cwd: place.dir, env, detached: true, stdio: 'ignore' });
  children.push(child);
  return child.pid!;
}

test('the facts of this machine are told, and the same each time', () => {
  for (const fact of [hostName, machineId, bootId, pidNamespace]) {
    expect(fact()).not.toBe('');
    expect(fact()).toBe(fact());
  }
  expect(pidNamespace()).toMatch(/^\d+$/);
});

test('the boot clock is one for all processes and never goes back', async () => {
  const before = bootClockMs()!;
  start(['sh', '-c', 'cut -d " " -f 1 /proc/uptime > clock']);
  await until('it is written', () => fs.existsSync(`${place.dir}/clock`) && fs.readFileSync(`${place.dir}/clock`, 'utf8').endsWith('\n'));
  const between = Number(fs.readFileSync(`${place.dir}/clock`, 'utf8')) * 1000;
  expect(between).toBeGreaterThanOrEqual(before);
  expect(bootClockMs()!).toBeGreaterThanOrEqual(between);
});

test('a process is known by number and start, and is gone as soon as it is a zombie', async () => {
  const mine = startTimeOf(process.pid)!;
  expect(mine).toMatch(/^\d+$/);
  expect(isSameProcess({ pid: process.pid, start: mine })).toBe(true);
  expect(isSameProcess({ pid: process.pid, start: `${mine}1` })).toBe(false);
  expect(startTimeOf(2 ** 30)).toBeNull();
  // The shell that was there became a sleep, which never waits for the child it got.
  const parent = start(['sh', '-c', 'sleep 0.3 & echo $! > pids; exec sleep 1000']);
  const [zombie = 0] = await pidsIn(`${place.dir}/pids`, 1);
  await until('it is a zombie', () => fs.readFileSync(`/proc/${zombie}/stat`, 'utf8').includes(') Z '));
  expect(startTimeOf(zombie)).toBeNull();
  expect(startTimeOf(parent)).not.toBeNull();
});

test('a program name with blanks and parentheses does not confuse', async () => {
  const odd = `${place.dir}/a) R 1 (b`;
  fs.copyFileSync('/bin/sleep', odd);
  fs.chmodSync(odd, 0o755);
  const pid = start([odd, '1000']);
  await until('it runs', () => fs.readFileSync(`/proc/${pid}/comm`, 'utf8') === 'a) R 1 (b\n');
  expect(startTimeOf(pid)).toMatch(/^\d+$/);
  expect(livingGroups([pid])).toEqual([pid]);
});

test('what carries the mark of a session is found wherever it went, and nothing else', async () => {
  const shell = start(['sh', '-c', "echo $$ >> pids; setsid sh -c 'echo $$ >> pids; exec sleep 1000' & wait"]);
  const pids = await pidsIn(`${place.dir}/pids`, 2);
  start(['sleep', '1000'], { TQ_SESSION: `${place.session}1` });
  start(['sleep', '1000'], { TQ_SESSION: place.session.slice(0, -1) });
  start(['sleep', '1000'], { X_TQ_SESSION: place.session, TQ_SESSION: 'other' });
  start(['sleep', '1000'], { NOTE: `TQ_SESSION=${place.session}` });
  await until('all run', () => children.every((child) => fs.readFileSync(`/proc/${child.pid!}/environ`).length > 0));
  expect(leftovers(place.session).toSorted()).toEqual(pids.toSorted());
  expect(pids).toContain(shell);
  killAll(leftovers(place.session), 'SIGKILL');
  await until('none is left', () => leftovers(place.session).length === 0);
});

test('the leftovers of one attempt are told from those of another', async () => {
  const first = start(['sleep', '1000']);
  const second = start(['sleep', '1000'], place.env({ TQ_ATTEMPT: '2' }));
  const element = start(['sleep', '1000'], place.env({ TQ_TASK_ID: 'task1.7' }));
  const plain = start(['sleep', '1000'], { TQ_SESSION: place.session });
  await until('all run', () => leftovers(place.session).length === 4);
  expect(leftoversOfAttempt(place.session, 'task1', 1)).toEqual([first]);
  expect(leftoversOfAttempt(place.session, 'task1', 2)).toEqual([second]);
  expect(leftoversOfAttempt(place.session, 'task1.7', 1)).toEqual([element]);
  expect(leftoverTasks(place.session).find((one) => one.pid === plain)).toEqual({ pid: plain, taskId: null, attempt: null });
});

test('the asking process itself is never among the leftovers', async () => {
  const program = `import('${import.meta.resolve('../../src/worker/proc.ts')}').then((p) => console.log(p.leftovers('${place.session}').length))`;
  const child = spawn(process.execPath, ['-e', program], { env: { ...process.env, ...place.env() }, stdio: ['ignore', 'pipe', 'inherit'] });
  let text = '';
  child.stdout.on('data', (bytes: Buffer) => (text += bytes.toString()));
  await new Promise((resolve) => child.on('close', resolve));
  expect(text).toBe('0\n');
});

test('a group lives as long as one member can run, and not for its zombies', async () => {
  // The group's leader ends and is reaped by us; its child stays in the group and has a zombie there.
  const leader = start(['sh', '-c', "sh -c 'true & echo $$ $! > pids; exec sleep 1000' & exit"]);
  const [member = 0, zombie = 0] = await pidsIn(`${place.dir}/pids`, 2);
  await until('the leader is gone', () => startTimeOf(leader) === null);
  expect(livingGroups([leader, 2 ** 30])).toEqual([leader]);
  process.kill(member, 'SIGSTOP');
  expect(livingGroups([leader])).toEqual([leader]);
  expect(startTimeOf(zombie)).toBeNull();
  expect(killGroup(leader, 'SIGKILL')).toBe(true);
  await until('the group is gone', () => livingGroups([leader]).length === 0);
  await until('the number is free', () => !killGroup(leader, 'SIGKILL'));
});

test('signalling what is gone, or everybody, does nothing', () => {
  killAll([2 ** 30, 0, 1, -1], 'SIGKILL');
  expect(killGroup(0, 'SIGKILL')).toBe(false);
  expect(killGroup(1, 'SIGKILL')).toBe(false);
  expect(killGroup(2 ** 30, 'SIGKILL')).toBe(false);
});

test('what a process has used is told while it lives', () => {
  expect(peakRssKb('self')).toBeGreaterThan(10_000);
  expect(cpuMsOf(process.pid)).toBeGreaterThanOrEqual(10);
  expect(peakRssKb(2 ** 30)).toBeNull();
  expect(cpuMsOf(2 ** 30)).toBeNull();
});
