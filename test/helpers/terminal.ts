/**
 * A terminal for tests from outside: a real pseudo-terminal (by `script` of util-linux) and a small emulator that knows what `tq top` and
 * shells send. What it does not know is an error, so that no sequence goes unseen.
 */
import { execFileSync, spawn } from 'node:child_process';
import fs from 'node:fs';
import { onTestFinished } from 'vitest';
import { width } from '../../src/task/visible.ts';
import { until } from './tq.ts';

export interface Emulator {
  feed(text: string): void;
  /** Lines of the screen that is shown, without spaces at their ends. */
  lines(): string[];
  /** Private modes that are set, such as 1049 (other screen), 1000 (mouse). */
  modes(): number[];
  readonly isOther: boolean;
  /** Sequences that it does not know. */
  readonly unknown: readonly string[];
  /** Cells with a colour on them. */
  colours(): number;
  resize(columns: number, rows: number): void;
}

/** What is written while this mode is set is shown at once at its end. */
const TOGETHER = 2026;

interface Cell {
  char: string;
  colour: boolean;
}

export function newEmulator(columns: number, rows: number): Emulator {
  let size = { columns, rows };
  const blank = (): Cell[][] =>
    Array.from({ length: size.rows }, () => Array.from({ length: size.columns }, () => ({ char: ' ', colour: false })));
  let main = blank();
  let other = blank();
  let saved = { x: 0, y: 0 };
  let isOther = false;
  let x = 0;
  let y = 0;
  let colour = false;
  // 7 (wrap) and 25 (cursor) are set in a new terminal.
  const modes = new Set([7, 25]);
  const unknown: string[] = [];
  let rest = '';
  const screen = (): Cell[][] => (isOther ? other : main);
  let shown: string[] = [];
  const texts = (): string[] =>
    screen().map((row) =>
      row
        .map((c) => c.char)
        .join('')
        .trimEnd(),
    );
  const newline = (): void => {
    if (y < size.rows - 1) y += 1;
    else {
      screen().shift();
      screen().push(Array.from({ length: size.columns }, () => ({ char: ' ', colour: false })));
    }
  };
  const put = (char: string): void => {
    const wide = width(char);
    if (wide === 0) return;
    if (x + wide > size.columns) {
      if (modes.has(7)) {
        x = 0;
        newline();
      } else x = size.columns - wide;
    }
    screen()[y]![x] = { char, colour };
    if (wide === 2) screen()[y]![x + 1] = { char: '', colour };
    x += wide;
  };
  const erase = (row: Cell[], from: number, to: number): void => {
    for (let i = from; i < to; i++) row[i] = { char: ' ', colour: false };
  };
  const csi = (params: string, end: string): void => {
    const n = params
      .replace('?', '')
      .split(';')
      .map((p) => (p === '' ? 0 : Number(p)));
    if (params.startsWith('?') && (end === 'h' || end === 'l')) {
      for (const mode of n) {
        if (mode === TOGETHER && end === 'h') shown = texts();
        if (end === 'h') modes.add(mode);
        else modes.delete(mode);
        if (mode !== 1049) continue;
        if (end === 'h') {
          saved = { x, y };
          other = blank();
        } else ({ x, y } = saved);
        isOther = end === 'h';
      }
      return;
    }
    if (end === 'H') [y, x] = [within((n[0] ?? 1) - 1, size.rows), within((n[1] ?? 1) - 1, size.columns)];
    else if (end === 'J' && n[0] === 2) for (const row of screen()) erase(row, 0, size.columns);
    else if (end === 'J') for (let row = y; row < size.rows; row++) erase(screen()[row]!, row === y ? x : 0, size.columns);
    else if (end === 'K') erase(screen()[y]!, x, size.columns);
    else if (end === 'm') colour = /(?:^|;)(?:3[1-8]|4[1-8])/.test(params) || (colour && !n.includes(0) && !n.includes(39));
    else if (end === 'C') x = Math.min(size.columns - 1, x + Math.max(1, n[0] ?? 1));
    else unknown.push(`CSI ${params}${end}`);
  };
  return {
    get isOther() {
      return isOther;
    },
    unknown,
    modes: () => [...modes].filter((mode) => mode !== TOGETHER).toSorted((a, b) => a - b),
    lines: () => (modes.has(TOGETHER) ? shown : texts()),
    colours: () =>
      screen()
        .flat()
        .filter((c) => c.colour).length,
    resize(wide, high) {
      size = { columns: wide, rows: high };
      main = blank();
      other = blank();
      [x, y] = [0, 0];
    },
    feed(text) {
      rest += text;
      while (rest !== '') {
        const escape = /^\x1b(?:\[([0-?]*)[ -/]*([@-~])|\][^\x07\x1b]*(?:\x07|\x1b\\)|([()][A-Z0-9])|([=>78cM]))/.exec(rest);
        if (escape !== null) {
          rest = rest.slice(escape[0].length);
          if (escape[2] !== undefined) csi(escape[1]!, escape[2]);
          else unknown.push(JSON.stringify(escape[0]));
          continue;
        }
        // The end of it comes with the next piece.
        if (rest.startsWith('\x1b')) return;
        const char = String.fromCodePoint(rest.codePointAt(0)!);
        rest = rest.slice(char.length);
        if (char === '\r') x = 0;
        else if (char === '\n') newline();
        else if (char === '\b') x = Math.max(0, x - 1);
        else if (char === '\t') x = Math.min(size.columns - 1, x + 8 - (x % 8));
        else if (char >= ' ' && char !== '\x7f') put(char);
        else if (char !== '\x07') unknown.push(JSON.stringify(char));
      }
    },
  };
}

export interface Session {
  readonly emulator: Emulator;
  /** All that was written to the terminal. */
  written(): string;
  type(text: string): void;
  /** Waits until the screen holds it. */
  sees(what: string | RegExp): Promise<string>;
  /** Waits until the screen does not hold it. */
  misses(what: string | RegExp): Promise<void>;
  screen(): string;
  resize(columns: number, rows: number): void;
  /** Of the process whose command line matches, below this terminal. */
  pidOf(command: RegExp): number;
  ended: Promise<number>;
}

export interface SessionOptions {
  columns?: number;
  rows?: number;
  env?: Record<string, string | undefined>;
  cwd?: string;
}

/** A shell command on a terminal of its own. */
export function onTerminal(command: string, { columns = 80, rows = 24, env = {}, cwd }: SessionOptions = {}): Session {
  const emulator = newEmulator(columns, rows);
  const child = spawn('script', ['-qfec', `stty cols ${columns} rows ${rows}; ${command}`, '/dev/null'], {
    cwd,
    env: { PATH: process.env['PATH'], TERM: 'xterm-256color', LANG: 'C.UTF-8', PS1: '$ ', ...env } as NodeJS.ProcessEnv,
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  let written = '';
  child.stdout.setEncoding('utf8');
  child.stdout.on('data', (text: string) => {
    written += text;
    emulator.feed(text);
  });
  child.stdin.on('error', () => undefined);
  const ended = new Promise<number>((resolve) => child.on('close', (code) => resolve(code ?? -1)));
  onTestFinished(async () => {
    for (const pid of below(child.pid!)) kill(pid);
    child.kill('SIGKILL');
    await ended;
  });
  const screen = (): string => emulator.lines().join('\n');
  const has = (what: string | RegExp): boolean => (typeof what === 'string' ? screen().includes(what) : what.test(screen()));
  return {
    emulator,
    written: () => written,
    type: (text) => void child.stdin.write(text),
    screen,
    ended,
    async sees(what) {
      await until(
        () => has(what),
        () => `the screen shows ${String(what)}:\n${screen()}`,
      );
      return screen();
    },
    misses: (what) =>
      until(
        () => !has(what),
        () => `the screen does not show ${String(what)}:\n${screen()}`,
      ),
    resize(wide, high) {
      emulator.resize(wide, high);
      const pid = below(child.pid!)[0]!;
      execFileSync('stty', ['-F', fs.readlinkSync(`/proc/${pid}/fd/0`), 'cols', String(wide), 'rows', String(high)]);
    },
    pidOf(pattern) {
      const pid = below(child.pid!).findLast((one) => pattern.test(commandOf(one)));
      if (pid === undefined) throw new Error(`no process on the terminal is ${String(pattern)}`);
      return pid;
    },
  };
}

/** A frame for the size before may still come. */
function within(n: number, size: number): number {
  return Math.max(0, Math.min(n, size - 1));
}

function kill(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch {
    // It has ended.
  }
}

function commandOf(pid: number): string {
  try {
    return fs.readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' ');
  } catch {
    return '';
  }
}

/** All processes that descend from one, the nearest first. */
function below(pid: number): number[] {
  const rows = execFileSync('ps', ['-A', '-o', 'pid=,ppid='], { encoding: 'utf8' }).trim().split('\n');
  const pairs = rows.map((row) => row.trim().split(/\s+/).map(Number));
  const found: number[] = [];
  for (let layer = [pid]; layer.length > 0;) {
    layer = pairs.flatMap(([child, parent]) => (layer.includes(parent!) ? [child!] : []));
    found.push(...layer);
  }
  return found;
}
