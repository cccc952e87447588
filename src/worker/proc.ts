/**
 * Facts about the processes of this machine: who is alive, since when, in which group, and which of them carry a session's
 * mark in their environment. Read from /proc; where there is none (macOS) from `ps`, and then slower. A process that is only
 * a zombie counts as gone: it holds a number, but will never run an instruction again.
 */
import fs from 'node:fs';
import os from 'node:os';
import { errnoOf } from '../errors.ts';

/** A process as it can be named for ever: the number alone is given out again. */
export interface ProcessRef {
  pid: number;
  /** What `startTimeOf` said of it. */
  start: string;
}

/** A process that carries the mark of a session. */
export interface Leftover {
  pid: number;
  taskId: string | null;
  attempt: number | null;
}

/** Whether facts cost microseconds (files in /proc) or a `ps` each. */
export const factsAreCheap: boolean = fs.existsSync('/proc/self/stat');

export function hostName(): string {
  return os.hostname();
}

/** The same for every start of this installation; two containers of one image may share it, so it is never proof on its own. */
export function machineId(): string {
  return readText('/etc/machine-id') || readText('/var/lib/dbus/machine-id') || os.hostname();
}

/** The hardware addresses of this machine's own network cards (not of bridges or containers); '' where there is none. */
export function networkCards(): string {
  if (!factsAreCheap) return os.networkInterfaces()['en0']?.[0]?.mac ?? '';
  try {
    const cards = fs.readdirSync('/sys/class/net').filter((name) => fs.existsSync(`/sys/class/net/${name}/device`));
    return cards
      .map((name) => readText(`/sys/class/net/${name}/address`))
      .toSorted()
      .join(' ');
  } catch {
    return '';
  }
}

/** Has all that was written to the file system of `dir` put on its disk. False: this machine has no way to. */
export function syncFileSystem(dir: string): boolean {
  try {
    const { execFileSync } = process.getBuiltinModule('node:child_process');
    execFileSync('sync', ['-f', dir], { stdio: 'ignore' });
    return true;
  } catch {
    return false;
  }
}

/** Changes with every boot of the kernel; '' where that cannot be told, which equals nothing. */
export function bootId(): string {
  return readText('/proc/sys/kernel/random/boot_id') || (factsAreCheap ? '' : run('sysctl', ['-n', 'kern.bootsessionuuid']).trim());
}

/** Inside which set of process numbers this process counts: containers of one kernel share a boot id, but not their numbers. */
export function pidNamespace(): string {
  try {
    return /\d+/.exec(fs.readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';
  } catch {
    return '';
  }
}

/**
 * Milliseconds since the boot, time asleep included, the same for all processes of the machine; null where only `ps` knows
 * the processes. (The runtimes' own monotonic clocks begin with the process in one and with the boot in the other.)
 */
export function bootClockMs(): number | null {
  const seconds = Number.parseFloat(readText('/proc/uptime'));
  return Number.isFinite(seconds) ? seconds * 1000 : null;
}

/** When the process began, in a form good for comparison on this boot only; null when it is gone or a zombie. */
export function startTimeOf(pid: number): string | null {
  return lookAt(pid)?.start ?? null;
}

export function isSameProcess(ref: ProcessRef): boolean {
  return startTimeOf(ref.pid) === ref.start;
}

/** Which of these process groups still have a member that can run. One pass over the process table whatever their number. */
export function livingGroups(groups: Iterable<number>): number[] {
  const signalable = [...groups].filter(groupAnswers);
  if (signalable.length === 0 || !factsAreCheap) return signalable;
  // A group of zombies answers to signals as well, and nobody may ever reap them (a container without an init).
  const living = new Set<number>();
  for (const pid of allPids()) {
    const facts = lookAt(pid);
    if (facts !== null) living.add(facts.group);
  }
  return signalable.filter((group) => living.has(group));
}

/**
 * Processes that carry the session's mark, wherever they went (setsid, double fork), except this one and the machine's
 * first. A process that we may not look into, or that overwrote its environment, is not found.
 */
export function leftoverTasks(session: string): Leftover[] {
  const found: Leftover[] = [];
  for (const [pid, environment] of factsAreCheap ? environmentsFromProc(session) : environmentsFromPs(session)) {
    if (pid === process.pid || pid === 1) continue;
    const attempt = Number(valueIn(environment, 'TQ_ATTEMPT') ?? Number.NaN);
    found.push({ pid, taskId: valueIn(environment, 'TQ_TASK_ID'), attempt: Number.isInteger(attempt) ? attempt : null });
  }
  return found;
}

export function leftovers(session: string): number[] {
  return leftoverTasks(session).map((one) => one.pid);
}

export function leftoversOfAttempt(session: string, taskId: string, attempt: number): number[] {
  return leftoverTasks(session)
    .filter((one) => one.taskId === taskId && one.attempt === attempt)
    .map((one) => one.pid);
}

/** Signals each; one that is gone or not ours is passed over. */
export function killAll(pids: Iterable<number>, signal: NodeJS.Signals): void {
  for (const pid of pids) if (pid > 1) signalQuietly(pid, signal);
}

/** Signals a whole process group. False when there is no such group any more. */
export function killGroup(group: number, signal: NodeJS.Signals): boolean {
  return group > 1 && signalQuietly(-group, signal);
}

/** Highest resident memory in KiB that the process itself has had since it began its program; null when not known. */
export function peakRssKb(pid: number | 'self'): number | null {
  const line = /^VmHWM:\s+(\d+)/m.exec(readText(`/proc/${pid}/status`));
  return line === null ? null : Number(line[1]);
}

/** Processor time in ms of the process and of the children that it has waited for, in steps of 10 ms; null when not known. */
export function cpuMsOf(pid: number): number | null {
  const fields = statFields(pid);
  if (fields === null) return null;
  // utime, stime, cutime, cstime in clock ticks, of which Linux shows programs 100 a second on every architecture.
  const ticks = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0);
  return Number.isFinite(ticks) ? ticks * 10 : null;
}

interface Facts {
  start: string;
  group: number;
}

function lookAt(pid: number): Facts | null {
  if (!factsAreCheap) return lookWithPs(pid);
  const fields = statFields(pid);
  if (fields === null) return null;
  const [state, , group] = fields;
  const start = fields[19];
  if (state === 'Z' || state === 'X' || start === undefined) return null;
  return { start, group: Number(group) };
}

/** /proc/<pid>/stat from its third field (the state) on: the second, the program's name, may hold blanks and parentheses. */
function statFields(pid: number): string[] | null {
  const text = readText(`/proc/${pid}/stat`);
  const end = text.lastIndexOf(')');
  return end < 0 ? null : text.slice(end + 2).split(' ');
}

function lookWithPs(pid: number): Facts | null {
  const line = /^\s*(\S+)\s+(\d+)\s+(\S.*?)\s*$/m.exec(run('ps', ['-o', 'state=,pgid=,lstart=', '-p', String(pid)]));
  if (line === null || line[1]?.startsWith('Z') || line[2] === undefined || line[3] === undefined) return null;
  return { group: Number(line[2]), start: line[3] };
}

function* allPids(): Generator<number> {
  for (const name of fs.readdirSync('/proc')) {
    const pid = Number(name);
    if (pid > 0) yield pid;
  }
}

function* environmentsFromProc(session: string): Generator<[number, string]> {
  const mark = `TQ_SESSION=${session}\0`;
  for (const pid of allPids()) {
    let environment: Buffer;
    try {
      environment = fs.readFileSync(`/proc/${pid}/environ`);
    } catch {
      continue; // Gone, or another user's.
    }
    if (!environment.includes(mark)) continue;
    // The hit need not begin an entry (X_TQ_SESSION=...): the parsed text decides.
    const text = environment.toString('utf8');
    if (valueIn(text, 'TQ_SESSION') === session) yield [pid, text];
  }
}

/** `ps` writes the environment behind the command, separated by blanks: good enough for the marks, which hold none. */
function* environmentsFromPs(session: string): Generator<[number, string]> {
  for (const line of run('ps', ['-axEww', '-o', 'pid=,command=']).split('\n')) {
    const words = line.trim().split(' ');
    if (words.includes(`TQ_SESSION=${session}`)) yield [Number(words[0]), words.join('\0')];
  }
}

/** The value of a variable in a block of `NAME=value` entries that end in NUL. The first entry counts, as in getenv. */
function valueIn(environment: string, name: string): string | null {
  const block = `\0${environment}`;
  const at = block.indexOf(`\0${name}=`);
  if (at < 0) return null;
  const from = at + name.length + 2;
  const end = block.indexOf('\0', from);
  return block.slice(from, end < 0 ? undefined : end);
}

function groupAnswers(group: number): boolean {
  if (group <= 1) return false;
  try {
    process.kill(-group, 0);
    return true;
  } catch (error) {
    // EPERM: there are members, but they changed their user.
    return errnoOf(error) === 'EPERM';
  }
}

function signalQuietly(pid: number, signal: NodeJS.Signals): boolean {
  try {
    process.kill(pid, signal);
    return true;
  } catch (error) {
    return errnoOf(error) === 'EPERM';
  }
}

function readText(path: string): string {
  try {
    return fs.readFileSync(path, 'utf8').trim();
  } catch {
    return '';
  }
}

/** Output of a system program, '' when it fails. Only reached without /proc, so its module is loaded only there. */
function run(program: string, args: string[]): string {
  try {
    const { execFileSync } = process.getBuiltinModule('node:child_process');
    return execFileSync(program, args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'], maxBuffer: 64 << 20 });
  } catch {
    return '';
  }
}
