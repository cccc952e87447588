/**
 * The terminal: its other screen while the view is on it, and everything as it was when the view leaves, however it leaves. A frame is
 * written as the lines that changed, in one piece, so that nothing flickers; lines never wrap.
 */
import { writeAll } from '../print.ts';
import { width } from '../task/visible.ts';

/** What the view needs of a terminal; a test gives its own. */
export interface Terminal {
  size(): { columns: number; rows: number };
  write(text: string): void;
  /** Keys one by one, without echo, signals by keys being keys. */
  setRaw(on: boolean): void;
  onInput(take: (text: string) => void, end: () => void): () => void;
  onResize(changed: () => void): () => void;
}

/** Other screen; no cursor; no wrapping at the edge; clicks and wheel (1000) as SGR (1006); clean. */
const ENTER = '\x1b[?1049h\x1b[?25l\x1b[?7l\x1b[?1000h\x1b[?1006h\x1b[0m\x1b[2J';
const LEAVE = '\x1b[?1006l\x1b[?1000l\x1b[?7h\x1b[0m\x1b[?25h\x1b[?1049l';
/** What is between them a terminal that knows it shows at once; others ignore them. */
const BEGIN = '\x1b[?2026h';
const END = '\x1b[?2026l';

export interface Screen {
  enter(): void;
  /** Safe to call at any time, any number of times. */
  leave(): void;
  /** Painted lines from the top; those that are the same as before cost nothing. */
  draw(lines: readonly string[]): void;
  /** The next draw writes everything. */
  forget(): void;
}

export function openScreen(terminal: Terminal): Screen {
  let isOn = false;
  let before: readonly string[] = [];
  let isClean = false;
  return {
    enter() {
      if (isOn) return;
      isOn = true;
      before = [];
      isClean = true;
      terminal.setRaw(true);
      terminal.write(ENTER);
    },
    leave() {
      if (!isOn) return;
      isOn = false;
      terminal.write(LEAVE);
      terminal.setRaw(false);
    },
    draw(lines) {
      if (!isOn) return;
      const { columns, rows } = terminal.size();
      let text = isClean ? '' : '\x1b[0m\x1b[2J';
      for (let y = 0; y < Math.min(rows, Math.max(lines.length, before.length)); y++) {
        const line = lines[y] ?? '';
        if (isClean && line === (before[y] ?? '')) continue;
        text += `\x1b[${y + 1};1H${line}${isShort(line, columns) ? '\x1b[K' : ''}`;
      }
      before = [...lines];
      isClean = true;
      if (text !== '') terminal.write(BEGIN + text + END);
    },
    forget() {
      isClean = false;
    },
  };
}

/** Whether something of the line before may be left to its right. Behind a full line nothing is erased: that would take its last sign. */
function isShort(line: string, columns: number): boolean {
  return width(line.replaceAll(/\x1b\[[0-9;]*m/g, '')) < columns;
}

/** Before anything is said about a bug, and whatever ends the process: the terminal is as it was. */
export function leaveAtEnd(screen: Screen): () => void {
  const leave = (): void => screen.leave();
  process.prependListener('uncaughtException', leave);
  process.prependListener('unhandledRejection', leave);
  process.on('exit', leave);
  return () => {
    process.off('uncaughtException', leave);
    process.off('unhandledRejection', leave);
    process.off('exit', leave);
  };
}

/** The terminal that this process was started on. */
export function realTerminal(input: NodeJS.ReadStream, output: NodeJS.WriteStream): Terminal {
  return {
    size() {
      const [columns, rows] = output.getWindowSize();
      return { columns: columns || 80, rows: rows || 24 };
    },
    write: (text) => void writeAll(1, text),
    setRaw(on) {
      try {
        input.setRawMode(on);
      } catch {
        // It hung up: there is nothing to restore.
      }
    },
    onInput(take, end) {
      const onData = (data: Buffer | string): void => take(typeof data === 'string' ? data : data.toString('utf8'));
      input.setEncoding('utf8');
      input.on('data', onData);
      input.on('end', end);
      input.on('error', end);
      input.resume();
      return () => {
        input.off('data', onData);
        input.pause();
      };
    },
    onResize(changed) {
      process.on('SIGWINCH', changed);
      return () => void process.off('SIGWINCH', changed);
    },
  };
}
