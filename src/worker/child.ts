/**
 * Starts programs, and ends them with everything that they started. A task gets its own session and process group (its number
 * is the program's), default signals, and no descriptor of the worker but the three it is given. What cannot be started is a
 * value that says why and with which exit code; nothing here throws.
 */
import { spawn, type ChildProcess } from 'node:child_process';
import fs from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { errnoOf } from '../errors.ts';
import { cpuMsOf, factsAreCheap, killAll, killGroup, leftoverTasks, livingGroups, peakRssKb, type Leftover } from './proc.ts';

export interface SpawnSpec {
  /** The program and its arguments. The program is looked for as execvp does: along `env.PATH`, or from `cwd` if it has a slash. */
  argv: string[];
  cwd: string;
  /** The whole environment of the child. */
  env: Record<string, string>;
  /** Open descriptors of the caller, who closes them after the call. */
  stdin: number | 'null';
  stdout: number;
  stderr: number;
}

export interface ExitInfo {
  /** Exit code, or null when a signal ended it. */
  code: number | null;
  /** `SIGKILL`, or null when it exited. */
  signal: string | null;
  /** Processor time, of all descendants that were waited for; null when it ended before anyone could look. */
  cpuMs: number | null;
  /** Peak memory of its largest process; null when it ended before anyone could look. */
  maxRssKb: number | null;
  durationMs: number;
}

export interface SpawnedTask {
  kind: 'spawned';
  /** Also the number of its process group and session. */
  pid: number;
  exited: Promise<ExitInfo>;
  /** Signals the whole group; nothing happens when it is gone. */
  kill(signal: NodeJS.Signals): void;
}

export interface SpawnRejection {
  kind: 'rejected';
  /** One line for people: what was missing, and where it was looked for. */
  reason: string;
  /** As a shell has it: 127 not found, 126 cannot be run; null: this machine's or worker's own trouble, the task is not to blame. */
  exitCode: 127 | 126 | null;
  errno: string | null;
}

export function spawnTask(spec: SpawnSpec): SpawnedTask | SpawnRejection {
  const [name = ''] = spec.argv;
  const found = findProgram(name, spec);
  if (found === null) return explain('ENOENT', name, spec);
  const first = tryStart(found.path, spec.argv, spec);
  if (first.kind === 'spawned') return first;
  if (found.remembered) {
    // It was there a moment ago. It may have gone, or stand elsewhere in the PATH now.
    forgetProgram(name, spec);
    return spawnTask(spec);
  }
  if (first.errno === 'ENOEXEC' && isText(inDirectory(spec.cwd, found.path))) {
    // A script without `#!`: execvp gives it to the shell, so do we.
    const viaShell = tryStart('/bin/sh', ['/bin/sh', found.path, ...spec.argv.slice(1)], spec);
    return viaShell.kind === 'spawned' ? viaShell : explain(viaShell.errno, '/bin/sh', spec);
  }
  return explain(first.errno, name, spec);
}

export interface Tree {
  pid: number;
  session: string;
  taskId: string;
  attempt: number;
  /** Between TERM and KILL. */
  graceMs: number;
  /** KILL at once. */
  now?: 'now';
}

/**
 * Ends a task: TERM to its group, KILL after the grace, KILL to what left the group but still carries the attempt's mark.
 * Resolves when all of it is gone. A process that even then cannot end (it hangs in the kernel, on a dead mount) is waited for
 * half a minute: it has its KILL and will never run an instruction of its program again.
 */
export async function endTree(tree: Tree, exited: Promise<unknown>): Promise<void> {
  const leader = { gone: false };
  const gone = exited.then(() => void (leader.gone = true));
  if (tree.now === undefined && tree.graceMs > 0 && killGroup(tree.pid, 'SIGTERM')) {
    // A stopped process would see its TERM only when someone continues it.
    killGroup(tree.pid, 'SIGCONT');
    const until = performance.now() + tree.graceMs;
    await within(gone, tree.graceMs);
    while (performance.now() < until && stands(tree.pid)) await sleep(LOOK_AGAIN_MS);
  }
  const giveUpAt = performance.now() + UNKILLABLE_MS;
  for (let pauseMs = LOOK_AGAIN_MS; ; pauseMs = Math.min(pauseMs * 2, LOOK_AGAIN_AT_LEAST_MS)) {
    killGroup(tree.pid, 'SIGKILL');
    await within(gone, pauseMs);
    const marked = (await marksOf(tree.session).catch(() => null))?.filter(
      (one) => one.taskId === tree.taskId && one.attempt === tree.attempt,
    );
    killAll(marked?.map((one) => one.pid) ?? [], 'SIGKILL');
    if (leader.gone && marked?.length === 0 && !stands(tree.pid)) return;
    if (performance.now() > giveUpAt) return;
    if (leader.gone) await sleep(pauseMs);
  }
}

/** Whether the group has a living member. A machine without a descriptor left cannot tell: then it has. */
function stands(group: number): boolean {
  try {
    return livingGroups([group]).length > 0;
  } catch {
    return true;
  }
}

/**
 * Ends what a finished program left behind in its own group. Costs one system call when there is nothing, which is the rule.
 * True when there was something; it has been sent KILL.
 */
export function sweepGroup(pid: number): boolean {
  return killGroup(pid, 'SIGKILL');
}

/**
 * A helper process of ours, in its own session, that reads from us: not a task, and not counted as one. `log` is a descriptor
 * for its output.
 */
export function spawnHelper(command: readonly string[], env: NodeJS.ProcessEnv, log: number | 'ignore'): ChildProcess {
  const [program = '', ...args] = command;
  // Away from any mount that may hang. (Bun's own spawn would do, but an error on its pipe ends the process.)
  return spawn(program, args, { cwd: '/', env, detached: true, stdio: ['pipe', log, log] });
}

const LOOK_AGAIN_MS = 20;
const LOOK_AGAIN_AT_LEAST_MS = 500;
const UNKILLABLE_MS = 30_000;

// ---- starting -----------------------------------------------------------------------------------------------------------

/** The part of Bun that is used here: its spawn costs a third of its own node:child_process. */
interface BunDoor {
  spawn(
    argv: string[],
    options: {
      argv0: string;
      cwd: string;
      env: Record<string, string>;
      stdio: [number | 'ignore', number, number];
      detached: true;
      onExit(child: BunChild, code: number | null, signal: string | number | null): void;
    },
  ): BunChild;
}

interface BunChild {
  readonly pid: number;
  resourceUsage(): { maxRSS: number; cpuTime: { total: bigint } } | undefined;
}

const bun = (globalThis as { Bun?: BunDoor }).Bun;

type Started = SpawnedTask | { kind: 'refused'; errno: string | null };

const tryStart: (path: string, argv: string[], spec: SpawnSpec) => Started = bun === undefined ? startWithNode : startWithBun;

function startWithBun(path: string, argv: string[], spec: SpawnSpec): Started {
  const { promise, resolve } = Promise.withResolvers<ExitInfo>();
  const startedAt = performance.now();
  let watched: Watched | null = null;
  try {
    const child = bun!.spawn([path, ...argv.slice(1)], {
      argv0: argv[0] ?? '',
      cwd: spec.cwd,
      env: spec.env,
      stdio: [spec.stdin === 'null' ? 'ignore' : spec.stdin, spec.stdout, spec.stderr],
      detached: true,
      onExit(ended, code, signal) {
        const durationMs = Math.round(performance.now() - startedAt);
        const usage = ended.resourceUsage();
        if (watched !== null) watched.alive = false;
        resolve({
          code,
          signal: typeof signal === 'number' ? `SIG${signal}` : signal,
          cpuMs: usage === undefined ? null : Math.round(Number(usage.cpuTime.total) / 1000),
          maxRssKb: believablePeak(usage === undefined ? 0 : Math.round(usage.maxRSS / 1024), watched?.maxRssKb ?? null),
          durationMs,
        });
      },
    });
    watched = watchUse(child.pid, startedAt);
    return spawned(child.pid, promise);
  } catch (error) {
    return { kind: 'refused', errno: errnoOf(error) ?? null };
  }
}

function startWithNode(path: string, argv: string[], spec: SpawnSpec): Started {
  const { promise, resolve } = Promise.withResolvers<ExitInfo>();
  const startedAt = performance.now();
  try {
    const child = spawn(path, argv.slice(1), {
      argv0: argv[0] ?? '',
      cwd: spec.cwd,
      env: spec.env,
      stdio: [spec.stdin === 'null' ? 'ignore' : spec.stdin, spec.stdout, spec.stderr],
      detached: true,
    });
    // The reason comes later, as an event; `explain` finds it by itself.
    child.on('error', () => {});
    if (child.pid === undefined) return { kind: 'refused', errno: null };
    const watched = watchUse(child.pid, startedAt);
    child.on('exit', (code, signal) => {
      watched.alive = false;
      const durationMs = Math.round(performance.now() - startedAt);
      resolve({ code, signal, cpuMs: watched.cpuMs, maxRssKb: watched.maxRssKb, durationMs });
    });
    return spawned(child.pid, promise);
  } catch (error) {
    return { kind: 'refused', errno: errnoOf(error) ?? null };
  }
}

function spawned(pid: number, exited: Promise<ExitInfo>): SpawnedTask {
  let gone = false;
  return {
    kind: 'spawned',
    pid,
    exited,
    kill(signal) {
      // Once the group was found empty its number may be given out again, and is no longer ours to signal.
      if (!gone) gone = !killGroup(pid, signal);
    },
  };
}

// ---- what it used -------------------------------------------------------------------------------------------------------

/**
 * What a living child has used so far, for the two things that are not told at its end: Node tells nothing, and the peak
 * memory that the kernel tells is never below the worker's own, because the child was the worker for an instant
 * (exec hands the old memory's peak on). One timer serves all children.
 */
interface Watched {
  pid: number;
  startedAt: number;
  alive: boolean;
  cpuMs: number | null;
  maxRssKb: number | null;
}

const FIRST_LOOK_MS = 50;
const NEXT_LOOK_MS = 1000;

/** In order of start; most end before the first look. */
let young: Watched[] = [];
let old: Watched[] = [];
let oldSeenAt = 0;
let looking: NodeJS.Timeout | undefined;

function watchUse(pid: number, startedAt: number): Watched {
  const watched: Watched = { pid, startedAt, alive: true, cpuMs: null, maxRssKb: null };
  if (factsAreCheap) {
    // The timer may be in the slow pace of the old ones. (At most once a look: after this, there are young ones.)
    if (young.push(watched) === 1) lookIn(FIRST_LOOK_MS);
  }
  return watched;
}

function lookAtChildren(): void {
  const now = performance.now();
  const due = young.findIndex((one) => one.startedAt > now - FIRST_LOOK_MS);
  const grown = (due < 0 ? young : young.slice(0, due)).filter((one) => one.alive);
  young = due < 0 ? [] : young.slice(due);
  if (now - oldSeenAt >= NEXT_LOOK_MS) {
    oldSeenAt = now;
    old = old.filter((one) => one.alive);
    old.forEach(noteUse);
  }
  grown.forEach(noteUse);
  old.push(...grown);
  if (young.length > 0) lookIn(FIRST_LOOK_MS);
  else if (old.length > 0) lookIn(NEXT_LOOK_MS);
}

function lookIn(ms: number): void {
  clearTimeout(looking);
  looking = setTimeout(lookAtChildren, ms).unref();
}

function noteUse(one: Watched): void {
  one.maxRssKb = peakRssKb(one.pid) ?? one.maxRssKb;
  if (bun === undefined) one.cpuMs = cpuMsOf(one.pid) ?? one.cpuMs;
}

/** The worker's own peak when last read; it only grows. */
let ownPeakKb = 0;
/** The kernel counts pages per processor and adds them up late. */
const PEAK_SLACK_KB = 1024;

function believablePeak(toldKb: number, seenKb: number | null): number | null {
  if (toldKb > ownPeakKb + PEAK_SLACK_KB) ownPeakKb = peakRssKb('self') ?? 0;
  return toldKb > ownPeakKb + PEAK_SLACK_KB ? toldKb : seenKb;
}

// ---- finding the program ------------------------------------------------------------------------------------------------

/** What execvp takes for an environment without PATH. */
const DEFAULT_PATH = '/bin:/usr/bin';
/** A program that was found is believed for so long; when it has gone since, the start fails and it is looked for again. */
const REMEMBER_MS = 1000;
const REMEMBER_AT_MOST = 1000;

interface Found {
  path: string;
  remembered: boolean;
}

const programs = new Map<string, Map<string, { path: string; at: number }>>();

/** The path for exec, always with a slash (a bare name would make the runtime search by rules of its own); null: there is none. */
function findProgram(name: string, spec: SpawnSpec): Found | null {
  if (name.includes('/')) return { path: name, remembered: false };
  const searchPath = spec.env['PATH'] ?? DEFAULT_PATH;
  const known = programs.get(searchPath)?.get(name);
  const now = performance.now();
  if (known !== undefined && now - known.at < REMEMBER_MS) return { path: known.path, remembered: true };
  const looked = searchFor(name, searchPath, spec.cwd);
  if (looked.kind === 'missing') return null;
  // What was found by a relative entry of the PATH holds for this directory only.
  if (looked.kind === 'found' && !/(^|:)(?!\/)/.test(searchPath)) rememberProgram(searchPath, name, looked.path, now);
  return { path: looked.path, remembered: false };
}

type Looked = { kind: 'found'; path: string } | { kind: 'denied'; path: string } | { kind: 'missing' };

function searchFor(name: string, searchPath: string, cwd: string): Looked {
  let denied: string | null = null;
  if (name !== '' && !name.includes('\0')) {
    for (const directory of searchPath.split(':')) {
      const path = `${directory === '' ? '.' : directory}/${name}`;
      const state = programAt(inDirectory(cwd, path));
      if (state === 'runs') return { kind: 'found', path };
      if (state === 'denied') denied ??= path;
    }
  }
  return denied === null ? { kind: 'missing' } : { kind: 'denied', path: denied };
}

function programAt(path: string): 'runs' | 'denied' | 'missing' {
  try {
    if (!fs.statSync(path).isFile()) return 'denied';
    fs.accessSync(path, fs.constants.X_OK);
    return 'runs';
  } catch (error) {
    return errnoOf(error) === 'EACCES' ? 'denied' : 'missing';
  }
}

function rememberProgram(searchPath: string, name: string, path: string, at: number): void {
  let names = programs.get(searchPath);
  if (names === undefined) {
    if (programs.size >= REMEMBER_AT_MOST) programs.clear();
    programs.set(searchPath, (names = new Map()));
  }
  if (names.size >= REMEMBER_AT_MOST) names.clear();
  names.set(name, { path, at });
}

function forgetProgram(name: string, spec: SpawnSpec): void {
  programs.get(spec.env['PATH'] ?? DEFAULT_PATH)?.delete(name);
}

/** Not normalised: `..` behind a symbolic link means what the kernel says. */
function inDirectory(cwd: string, path: string): string {
  return path.startsWith('/') ? path : `${cwd}/${path}`;
}

// ---- why it could not be started ----------------------------------------------------------------------------------------

/**
 * Looks again at everything that the errno may have meant: ENOENT alone stands for a missing program, a missing interpreter
 * and a missing working directory. `errno` is null when the runtime did not say.
 */
function explain(errno: string | null, name: string, spec: SpawnSpec): SpawnRejection {
  const withNul = nulIn(spec);
  if (withNul !== null) return rejection(`a NUL byte in ${withNul}`, 126, errno === 'ERR_INVALID_ARG_VALUE' ? null : errno);
  if (errno === 'E2BIG') return rejection(`argument list too long: the command and its environment have ${sizeOf(spec)} bytes`, 126, errno);
  if (errno !== null && OWN_TROUBLE.has(errno)) return rejection(`this machine could not start another process (${errno})`, null, errno);
  return directoryTrouble(spec.cwd) ?? programTrouble(errno, name, spec);
}

/** Errors of a start that another try, a moment later, may not meet. */
const OWN_TROUBLE: ReadonlySet<string> = new Set(['EAGAIN', 'ENOMEM', 'EMFILE', 'ENFILE']);

function directoryTrouble(cwd: string): SpawnRejection | null {
  try {
    if (!fs.statSync(cwd).isDirectory()) return rejection(`the working directory is not a directory: ${cwd}`, 126, 'ENOTDIR');
    fs.accessSync(cwd, fs.constants.X_OK);
    return null;
  } catch (error) {
    const errno = errnoOf(error) ?? null;
    if (errno === 'ENOENT') return rejection(`the working directory does not exist: ${cwd}`, 126, errno);
    return rejection(`the working directory cannot be entered (${errno ?? 'unknown error'}): ${cwd}`, 126, errno);
  }
}

function programTrouble(errno: string | null, name: string, spec: SpawnSpec): SpawnRejection {
  const hasSlash = name.includes('/');
  const searchPath = spec.env['PATH'] ?? DEFAULT_PATH;
  const looked: Looked = hasSlash ? lookedAt(name, spec.cwd) : searchFor(name, searchPath, spec.cwd);
  if (looked.kind === 'missing') {
    const where = name.startsWith('/') ? '' : hasSlash ? ` (from ${spec.cwd})` : ` (PATH: ${searchPath})`;
    return rejection(`program not found: ${name === '' ? "''" : name}${where}`, 127, 'ENOENT');
  }
  if (looked.kind === 'denied') return rejection(`not executable: ${looked.path}`, 126, 'EACCES');
  const path = looked.path;
  if (errno === 'ENOEXEC') return rejection(`not a program that this machine can run: ${path}`, 126, errno);
  const interpreter = interpreterOf(inDirectory(spec.cwd, path));
  if (errno === 'ENOENT' || (errno === null && interpreter !== null && programAt(inDirectory(spec.cwd, interpreter)) === 'missing')) {
    const what = interpreter === null ? 'the loader or a library' : `the interpreter ${spelt(interpreter)}`;
    return rejection(`${what} that ${path} asks for does not exist`, 126, 'ENOENT');
  }
  if (errno === 'EACCES' || (errno === null && interpreter !== null && programAt(inDirectory(spec.cwd, interpreter)) === 'denied')) {
    const why = interpreter === null ? 'the file system may be mounted noexec' : `its interpreter is ${spelt(interpreter)}`;
    return rejection(`not executable: ${path} (${why})`, 126, 'EACCES');
  }
  // Everything is in its place: what is left of the errors that Node keeps for later is a system at its limits.
  if (errno === null) {
    const limit = descriptorTrouble() ?? 'EAGAIN';
    return rejection(`this machine could not start another process (${limit})`, null, limit);
  }
  return rejection(`cannot run ${path} (${errno})`, 126, errno);
}

function lookedAt(name: string, cwd: string): Looked {
  const state = programAt(inDirectory(cwd, name));
  return state === 'missing' ? { kind: 'missing' } : { kind: state === 'runs' ? 'found' : 'denied', path: name };
}

function descriptorTrouble(): string | null {
  try {
    fs.closeSync(fs.openSync('/dev/null', 'r'));
    return null;
  } catch (error) {
    return errnoOf(error) ?? null;
  }
}

function nulIn(spec: SpawnSpec): string | null {
  const word = spec.argv.findIndex((one) => one.includes('\0'));
  if (word >= 0) return word === 0 ? 'the name of the program' : `argument ${word}`;
  if (spec.cwd.includes('\0')) return 'the working directory';
  const entry = Object.entries(spec.env).find(([key, value]) => key.includes('\0') || value.includes('\0'));
  return entry === undefined ? null : `the environment variable ${entry[0].replaceAll('\0', '\\0')}`;
}

function sizeOf(spec: SpawnSpec): number {
  const words = [...spec.argv, ...Object.entries(spec.env).map(([key, value]) => `${key}=${value}`)];
  return words.reduce((sum, word) => sum + Buffer.byteLength(word) + 1, 0);
}

/** A carriage return is a part of the name to the kernel, and nothing to the eye. */
function spelt(interpreter: string): string {
  return interpreter.endsWith('\r') ? `${interpreter.slice(0, -1)}\\r (its first line ends in CR LF)` : interpreter;
}

/** The program that a `#!` line names, as the kernel reads it. */
function interpreterOf(path: string): string | null {
  return /^#![ \t]*([^ \t\n]+)/.exec(headOf(path))?.[1] ?? null;
}

/** As the shells judge: a NUL in the first line means that it is no script. */
function isText(path: string): boolean {
  return !(headOf(path).split('\n')[0] ?? '').includes('\0');
}

function headOf(path: string): string {
  let fd: number | null = null;
  try {
    fd = fs.openSync(path, 'r');
    const bytes = Buffer.alloc(256);
    return bytes.toString('latin1', 0, fs.readSync(fd, bytes));
  } catch {
    return '';
  } finally {
    if (fd !== null) fs.closeSync(fd);
  }
}

function rejection(reason: string, exitCode: SpawnRejection['exitCode'], errno: string | null): SpawnRejection {
  return { kind: 'rejected', reason, exitCode, errno };
}

// ---- ending -------------------------------------------------------------------------------------------------------------

const scans = new Map<string, Promise<Leftover[]>>();

/** A look at the whole machine that begins after the call; trees that end in the same moment share it. */
function marksOf(session: string): Promise<Leftover[]> {
  let scan = scans.get(session);
  if (scan === undefined) {
    scan = sleep(1).then(() => {
      scans.delete(session);
      return leftoverTasks(session);
    });
    scans.set(session, scan);
  }
  return scan;
}

/** Waits for the promise, but no longer than so many ms. */
async function within(promise: Promise<unknown>, ms: number): Promise<void> {
  const bound = new AbortController();
  await Promise.race([promise, sleep(ms, undefined, { signal: bound.signal }).catch(() => {})]);
  bound.abort();
}
