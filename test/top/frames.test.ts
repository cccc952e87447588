/** Frames of the live view as text: each size, each kind of queue; every line in its exact width, nothing that acts on a terminal. */
import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { MANY, paintLine, paintOf } from '../../src/top/paint.ts';
import { reduce, startUi, type Event, type Ui } from '../../src/top/state.ts';
import { textOf } from '../../src/top/text.ts';
import { drawFrame } from '../../src/top/view/frame.ts';
import { width } from '../../src/task/visible.ts';
import { broken, empty, huge, NOW, typical } from './queues.ts';
import type { Snapshot } from '../../src/top/model.ts';

process.env['TZ'] = 'UTC';

const SIZES = [
  [60, 15],
  [80, 24],
  [120, 40],
  [250, 80],
] as const;

const QUEUES: Readonly<Record<string, () => Snapshot>> = { typical, empty, huge, broken };

function start(columns: number, rows: number, snapshot: Snapshot | null): Ui {
  const ui = startUi(columns, rows, NOW, null);
  return snapshot === null ? ui : reduce(ui, { kind: 'snapshot', snapshot, now: NOW })[0];
}

function after(ui: Ui, ...events: readonly Event[]): Ui {
  return events.reduce((now, event) => reduce(now, event)[0], ui);
}

const keys = (...names: readonly string[]): Event[] => names.map((key) => ({ kind: 'key', key }));

/** The frame as text; fails for a line of another width, and for what a terminal might act on. */
function textual(ui: Ui): string {
  const { lines, zones } = drawFrame(ui);
  expect(lines).toHaveLength(ui.rows);
  const text = lines.map(textOf);
  for (const [y, line] of text.entries()) {
    expect(width(line), `line ${y}: ${line}`).toBe(ui.columns);
    expect(line).not.toMatch(/[\p{Cc}\u200b-\u200c\u202a-\u202e]/u);
  }
  for (const zone of zones) expect(zone.end).toBeLessThanOrEqual(ui.columns);
  return `${text.map((line) => line.trimEnd()).join('\n')}\n`;
}

describe('frames', () => {
  for (const [name, make] of Object.entries(QUEUES)) {
    for (const [columns, rows] of SIZES) {
      it(`${name} at ${columns}x${rows}`, async () => {
        await expect(textual(start(columns, rows, make()))).toMatchFileSnapshot(`frames/${name}-${columns}x${rows}.txt`);
      });
    }
  }

  it('details, log, help, a question, a prompt and the choice of columns', async () => {
    const ui = start(100, 32, typical());
    const details = after(ui, ...keys('enter'), {
      kind: 'details',
      id: '6d3dncwj4a0001',
      error: null,
      details: {
        id: '6d3dncwj4a0001',
        state: 'running',
        text: [
          '6d3dncwj4a0001 running',
          '  name     render-001',
          `  command  render ${'--frame 1 '.repeat(14)}`,
          '  attempts',
          '    #  OUTCOME  EXIT',
          '    1  failed   3',
        ],
        why: [],
        counts: null,
        attempts: [
          { attempt: 1, outcome: 'failed', startedAt: NOW - 300_000, endedAt: NOW - 200_000, worker: 'node3', note: 'exit 3' },
          { attempt: 2, outcome: null, startedAt: NOW - 83_000, endedAt: null, worker: 'node1', note: '' },
        ],
      },
    });
    await expect(textual(details)).toMatchFileSnapshot('frames/details.txt');
    const log = after(ui, ...keys('l'), {
      kind: 'log',
      reader: 1,
      part: {
        attempts: [1, 2],
        state: 'running',
        isSplit: true,
        isOver: false,
        pieces: [
          { stream: 'stdout', text: `first\tline\r\n${'long '.repeat(40)}\n\x1b[31mred\x1b[0m\n` },
          { attempt: 2 },
          { stream: 'stderr', text: 'no end' },
        ],
      },
    });
    await expect(textual(log)).toMatchFileSnapshot('frames/log.txt');
    await expect(textual(after(ui, ...keys('?')))).toMatchFileSnapshot('frames/help.txt');
    await expect(textual(after(ui, ...keys('space', 'space', 'space', 'c')))).toMatchFileSnapshot('frames/confirm.txt');
    await expect(textual(after(ui, ...keys('/', 'r', 'e', 'n')))).toMatchFileSnapshot('frames/filter.txt');
    await expect(textual(after(ui, ...keys('C', 'down')))).toMatchFileSnapshot('frames/columns.txt');
    await expect(textual(after(ui, ...keys('tab', 'down', 'enter')))).toMatchFileSnapshot('frames/worker.txt');
  });

  it('whatever the size and the keys, every line has its exact width', () => {
    const key = fc.constantFrom(
      ...'jkhlgGzoOCf*crHpswd/nNFe?yq[]1359'.split(''),
      'up',
      'down',
      'pgup',
      'pgdn',
      'home',
      'end',
      'enter',
      'esc',
      'tab',
      'shift-tab',
      'space',
      'left',
      'right',
      'backspace',
      '映',
      'ctrl-u',
    );
    const size = fc.tuple(fc.integer({ min: 1, max: 260 }), fc.integer({ min: 1, max: 90 }));
    const queue = fc.constantFrom(...Object.values(QUEUES));
    fc.assert(
      fc.property(size, queue, fc.array(fc.oneof(key, size), { maxLength: 30 }), ([columns, rows], make, steps) => {
        let ui = start(columns, rows, make());
        for (const step of steps) {
          const event: Event = typeof step === 'string' ? { kind: 'key', key: step } : { kind: 'resize', columns: step[0], rows: step[1] };
          ui = reduce(ui, event)[0];
          textual(ui);
        }
      }),
      { numRuns: 150 },
    );
  });

  it('nothing of a hostile queue reaches the terminal alive, with colours and in ASCII', () => {
    for (const env of [{ TERM: 'xterm-256color', LANG: 'en_US.UTF-8' }, { TERM: 'xterm', LANG: 'C' }, { NO_COLOR: '1' }]) {
      const paint = paintOf(env);
      const painted = drawFrame(start(120, 40, broken()))
        .lines.map((line) => paintLine(line, paint))
        .join('\n');
      expect(painted.replaceAll(/\x1b\[[0-9;]*m/g, '')).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]/);
      if (env.LANG !== 'en_US.UTF-8') expect(painted).toMatch(/^[\x00-\x7f]*$/);
    }
  });

  it('ASCII has the same columns', () => {
    for (const make of Object.values(QUEUES)) {
      for (const line of drawFrame(start(120, 40, make())).lines)
        expect(paintLine(line, { depth: 'none', ascii: true }).replaceAll(/\x1b\[[0-9;]*m/g, '')).toHaveLength(120);
    }
  });

  it('colours are told apart from a black and from a white background', () => {
    for (const [name, n] of Object.entries(MANY)) {
      const light = luminance(n);
      expect((light + 0.05) / 0.05, `${name} on black`).toBeGreaterThan(3.5);
      expect(1.05 / (light + 0.05), `${name} on white`).toBeGreaterThan(3.5);
    }
  });
});

/** Of a colour of the 256: the cube of 6x6x6 and the greys (xterm); relative luminance as in WCAG 2. */
function luminance(n: number): number {
  const step = (v: number): number => (v === 0 ? 0 : 55 + v * 40);
  const cube = n - 16;
  const rgb =
    n >= 232 ? Array.from({ length: 3 }, () => 8 + (n - 232) * 10) : [Math.floor(cube / 36), Math.floor(cube / 6) % 6, cube % 6].map(step);
  const [r, g, b] = rgb.map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
  return 0.2126 * r! + 0.7152 * g! + 0.0722 * b!;
}
