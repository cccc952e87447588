/**
 * The live view at work: events in, the reducer, what it asks for done, frames out. Ink draws a frame when lines of it have changed, on
 * a paper that hands them to the screen. Nothing else of the program knows Ink.
 */
import { EventEmitter } from 'node:events';
import { Box, render, Text, Transform } from 'ink';
import type { ReactElement } from 'react';
import { TqError } from '../errors.ts';
import type { System } from '../system.ts';
import { visible } from '../task/visible.ts';
import type { Act, Acted, Actions, LogReader } from './actions.ts';
import { newInputReader, type Input } from './keys.ts';
import type { Snapshot, Store } from './model.ts';
import { paintLine, type Paint } from './paint.ts';
import { leaveAtEnd, openScreen, type Screen, type Terminal } from './screen.ts';
import { askOf, reduce, startUi, type Effect, type Event, type Target, type Ui } from './state.ts';
import { drawFrame, hit, type Frame } from './view/frame.ts';

export interface TopOptions {
  store: Store;
  actions: Actions;
  system: Pick<System, 'now' | 'monotonic' | 'onSignal'>;
  terminal: Terminal;
  paint: Paint;
  /** Between two looks, ms. */
  intervalMs: number;
  /** Between two reads of a log that is open, ms. */
  logMs: number;
  /** The least time between two reads of the details that are shown, ms. */
  detailsMs: number;
  /** Why the acting keys do nothing; null: they act. */
  readonly: string | null;
}

/** An ESC that nothing follows for this long is the key, ms. */
const ESC_MS = 40;
/** Two clicks within this are one double click, ms. */
const AGAIN_MS = 400;
/** A log whose task has ended is looked at this much less often. */
const OVER_FACTOR = 8;
/** Until the next look while what is shown is not all there yet, ms; each time a little longer. */
const SOON_MS = 20;
const TICK_MS = 1000;
/** A store that is silent for longer, as a file server can make it, is said to be, ms. */
const LEAST_PATIENCE_MS = 5000;
/** Without a snapshot after this long the frame says that it is looked for, ms. */
const PATIENCE_MS = 150;

const SIGNALS = { SIGHUP: 129, SIGINT: 130, SIGQUIT: 131, SIGTERM: 143 } as const;

/** Runs until it is quit; the exit code. The terminal is then as it was. */
export function runTop(options: TopOptions): Promise<number> {
  const { store, actions, system, terminal, paint, intervalMs, logMs, detailsMs } = options;
  const screen = openScreen(terminal);
  const size = terminal.size();
  let ui: Ui = startUi(size.columns, size.rows, system.now(), options.readonly, Math.max(LEAST_PATIENCE_MS, 4 * intervalMs));
  let frame: Frame = { lines: [], zones: [] };
  const canvas = openCanvas(screen, size);
  const undo: Array<() => void> = [];
  const signals: Array<() => void> = [];
  const done = Promise.withResolvers<number>();
  const over = new AbortController();

  const finish = (code: number): void => {
    if (over.signal.aborted) return;
    over.abort();
    for (const one of undo) one();
    canvas.close();
    screen.leave();
    void store
      .close()
      .catch(() => undefined)
      .finally(() => {
        // Ink's own listener would otherwise take itself for the last one, and the signal for deadly.
        for (const one of signals) one();
        done.resolve(code);
      });
  };

  // Drawing: at most once for all events that came together.
  let isDue = false;
  const due = (): void => {
    if (isDue || over.signal.aborted) return;
    isDue = true;
    setImmediate(() => {
      isDue = false;
      draw();
    });
  };
  const draw = (): void => {
    if (over.signal.aborted) return;
    frame = drawFrame(ui);
    canvas.draw(
      frame.lines.map((line) => paintLine(line, paint)),
      { columns: ui.columns, rows: ui.rows },
    );
  };
  const dispatch = (event: Event): void => {
    if (over.signal.aborted) return;
    const [next, effects] = reduce(ui, event);
    ui = next;
    for (const effect of effects) perform(effect);
    due();
  };

  // Looking: one look at a time; what was asked for meanwhile is one more look.
  let isLooking = false;
  let isAgain = false;
  let soonMs = SOON_MS;
  let soonTimer: NodeJS.Timeout | undefined;
  const look = async (): Promise<void> => {
    clearTimeout(soonTimer);
    isAgain = true;
    if (isLooking) return;
    isLooking = true;
    try {
      while (isAgain && !over.signal.aborted) {
        isAgain = false;
        const snapshot = await store.look(askOf(ui));
        dispatch({ kind: 'snapshot', snapshot, now: system.now() });
        soonMs = isPart(snapshot) ? Math.min(soonMs * 1.5, intervalMs) : SOON_MS;
        if (isPart(snapshot)) soonTimer = setTimeout(() => void look(), soonMs);
      }
    } catch (error) {
      dispatch({ kind: 'trouble', text: said(error) });
    } finally {
      isLooking = false;
    }
  };

  let isReadingDetails = false;
  let detailsAt = Number.NEGATIVE_INFINITY;
  const readDetails = async (id: string): Promise<void> => {
    if (isReadingDetails) return;
    isReadingDetails = true;
    detailsAt = system.monotonic();
    try {
      dispatch({ kind: 'details', id, details: await actions.details(id), error: null });
    } catch (error) {
      dispatch({ kind: 'details', id, details: null, error: said(error) });
    } finally {
      isReadingDetails = false;
    }
    // The cursor went on meanwhile.
    if (ui.side?.kind === 'details' && ui.side.id !== id && !over.signal.aborted) void readDetails(ui.side.id);
  };

  let logTimer: NodeJS.Timeout | undefined;
  const readLog = async (log: LogReader, reader: number): Promise<void> => {
    const isWanted = (): boolean => !over.signal.aborted && ui.side?.kind === 'log' && ui.side.reader === reader;
    if (!isWanted()) return;
    let pauseMs = logMs;
    try {
      const part = await log.read();
      if (part.isOver) pauseMs *= OVER_FACTOR;
      dispatch({ kind: 'log', reader, part });
    } catch (error) {
      pauseMs *= OVER_FACTOR;
      dispatch({ kind: 'trouble', text: said(error) });
    }
    if (isWanted()) logTimer = setTimeout(() => void readLog(log, reader), pauseMs);
  };
  undo.push(
    () => clearTimeout(logTimer),
    () => clearTimeout(soonTimer),
  );

  const act = async (one: Act): Promise<void> => {
    let acted: Acted;
    try {
      acted = await actions.perform(one);
    } catch (error) {
      acted = { done: 0, refusals: [said(error)] };
    }
    dispatch({ kind: 'acted', act: one, acted });
  };

  const perform = (effect: Effect): void => {
    switch (effect.kind) {
      case 'look':
        return void look();
      case 'act':
        return void act(effect.act);
      case 'details':
        return void readDetails(effect.id);
      case 'details-again':
        return system.monotonic() - detailsAt < detailsMs ? undefined : void readDetails(effect.id);
      case 'log':
        clearTimeout(logTimer);
        return void readLog(actions.openLog(effect.id, effect.attempt, effect.stream), effect.reader);
      case 'redraw':
        return canvas.forget();
      case 'suspend':
        return suspend();
      case 'quit':
        return finish(0);
    }
  };

  const suspend = (): void => {
    screen.leave();
    process.kill(process.pid, 'SIGSTOP');
  };
  const resume = (): void => {
    // Whoever had the terminal meanwhile left it as it likes.
    screen.leave();
    screen.enter();
    resized();
  };
  const resized = (): void => {
    const now = terminal.size();
    canvas.forget();
    dispatch({ kind: 'resize', columns: now.columns, rows: now.rows });
  };

  // Input.
  const read = newInputReader();
  let escTimer: NodeJS.Timeout | undefined;
  let last: { on: Target; at: number } | undefined;
  const take = (inputs: readonly Input[]): void => {
    for (const input of inputs) {
      if (input.kind === 'key') dispatch({ kind: 'key', key: input.key });
      else if (input.what === 'click') click(input.x, input.y);
      else dispatch({ kind: 'wheel', over: paneAt(frame, input.x, input.y), by: input.what === 'up' ? -1 : 1 });
    }
  };
  const click = (x: number, y: number): void => {
    const on = hit(frame, x, y);
    if (on === undefined) return;
    const at = system.monotonic();
    const isDouble = last !== undefined && at - last.at < AGAIN_MS && isSame(last.on, on);
    last = isDouble ? undefined : { on, at };
    dispatch({ kind: 'click', on: on.kind === 'row' || on.kind === 'worker' ? { ...on, again: isDouble } : on });
  };

  screen.enter();
  undo.push(
    terminal.onInput(
      (text) => {
        clearTimeout(escTimer);
        take(read(text));
        escTimer = setTimeout(() => take(read('', true)), ESC_MS);
      },
      () => finish(0),
    ),
    () => clearTimeout(escTimer),
    terminal.onResize(resized),
    leaveAtEnd(screen),
    every(TICK_MS, () => dispatch({ kind: 'tick', now: system.now() })),
    every(intervalMs, () => void look()),
  );
  signals.push(
    system.onSignal(Object.keys(SIGNALS) as Array<keyof typeof SIGNALS>, (name) => finish(SIGNALS[name as keyof typeof SIGNALS])),
    system.onSignal(['SIGTSTP'], suspend),
    system.onSignal(['SIGCONT'], resume),
  );
  const patience = setTimeout(due, PATIENCE_MS);
  undo.push(() => clearTimeout(patience));
  void look();
  return done.promise;
}

/** The store goes on in the background: what is missing comes with the next looks. */
function isPart(snapshot: Snapshot): boolean {
  return snapshot.unreachableSince === null && (!snapshot.isComplete || snapshot.rows.some((row) => row.name === null));
}

function every(ms: number, one: () => void): () => void {
  const timer = setInterval(one, ms);
  return () => clearInterval(timer);
}

function said(error: unknown): string {
  if (error instanceof TqError) return visible(error.message);
  return visible(error instanceof Error ? error.message : String(error));
}

function isSame(a: Target, b: Target): boolean {
  return (a.kind === 'row' || a.kind === 'worker') && a.kind === b.kind && a.at === (b as typeof a).at;
}

function paneAt(frame: Frame, x: number, y: number): Ui['focus'] | null {
  const on = frame.zones.find((zone) => zone.y === y && x >= zone.x && x < zone.end && zone.on.kind === 'pane')?.on;
  return on?.kind === 'pane' ? on.focus : null;
}

interface Canvas {
  draw(lines: readonly string[], size: { columns: number; rows: number }): void;
  forget(): void;
  close(): void;
}

/**
 * Ink in its debug mode writes what it renders whole and moves no cursor: on paper. It is given the lines that changed, and the screen
 * gets what it made of them; Ink by itself renders every line each time, and clears a terminal that is full.
 */
function openCanvas(screen: Screen, size: { columns: number; rows: number }): Canvas {
  let asked: readonly string[] = [];
  let drawn: string[] = [];
  let changed: number[] = [];
  const paper = new Paper(size, (text) => {
    const made = text.split('\n');
    for (const [i, y] of changed.entries()) drawn[y] = made[i] ?? '';
    screen.draw(drawn);
  });
  let instance: ReturnType<typeof render> | undefined;
  return {
    draw(lines, now) {
      changed = [...lines.keys()].filter((y) => lines[y] !== asked[y]);
      drawn = drawn.slice(0, lines.length);
      asked = lines;
      if (changed.length === 0) {
        // Costs nothing, unless the terminal has forgotten.
        screen.draw(drawn);
        return;
      }
      paper.columns = now.columns;
      paper.rows = now.rows;
      const sheet = <Sheet lines={changed.map((y) => lines[y]!)} />;
      if (instance === undefined) {
        instance = render(sheet, {
          stdout: paper as unknown as NodeJS.WriteStream, // what Ink uses of one
          stdin: process.stdin,
          debug: true,
          exitOnCtrlC: false,
          patchConsole: false,
          isScreenReaderEnabled: false,
        });
      } else instance.rerender(sheet);
    },
    forget: () => screen.forget(),
    close() {
      instance?.unmount();
    },
  };
}

class Paper extends EventEmitter {
  readonly isTTY = false;
  columns: number;
  rows: number;
  private readonly take: (text: string) => void;

  constructor({ columns, rows }: { columns: number; rows: number }, take: (text: string) => void) {
    super();
    this.columns = columns;
    this.rows = rows;
    this.take = take;
  }

  write(text: string): boolean {
    this.take(text);
    return true;
  }
}

/**
 * A line comes by a transformation of a text that never changes: Ink keeps the measures of every text that it has ever seen, and a view
 * may run for months.
 */
function Sheet({ lines }: { lines: readonly string[] }): ReactElement {
  return (
    <Box flexDirection="column">
      {lines.map((line, i) => (
        <Transform key={i} transform={() => line}>
          <Text>-</Text>
        </Transform>
      ))}
    </Box>
  );
}
