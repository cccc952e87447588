/** The reducer of the live view: what each event makes of it, and what it asks for. */
import { describe, expect, it } from 'vitest';
import { appendLog, MOST_LINES, NO_LOG, shownText, topOfEnd } from '../../src/top/log-lines.ts';
import { askOf, reduce, startUi, taskRows, type Effect, type Event, type Ui } from '../../src/top/state.ts';
import { textOf } from '../../src/top/text.ts';
import { drawFrame } from '../../src/top/view/frame.ts';
import type { Snapshot } from '../../src/top/model.ts';
import { huge, NOW, row, snapshot, typical, worker } from './queues.ts';

function run(ui: Ui, ...events: ReadonlyArray<Event | string>): { ui: Ui; effects: Effect[] } {
  let now = ui;
  const effects: Effect[] = [];
  for (const event of events) {
    const [next, more] = reduce(now, typeof event === 'string' ? { kind: 'key', key: event } : event);
    now = next;
    effects.push(...more);
  }
  return { ui: now, effects };
}

const seen = (s: Snapshot): Event => ({ kind: 'snapshot', snapshot: s, now: s.at });
const start = (s: Snapshot, columns = 100, rows = 30, readonly: string | null = null): Ui =>
  run(startUi(columns, rows, NOW, readonly), seen(s)).ui;
const list = (...names: readonly string[]): Snapshot => snapshot({ rows: names.map((name) => row({ id: name, name })) });
const acts = (effects: readonly Effect[]): unknown[] => effects.flatMap((e) => (e.kind === 'act' ? [e.act] : []));

describe('moving', () => {
  it('the cursor keeps its task and its row on the screen while others come and go', () => {
    const before = run(start(list('a', 'b', 'c', 'd')), 'down', 'down').ui;
    expect(before.cursor).toBe('c');
    const after = run(before, seen(list('new', 'a', 'b', 'c', 'd'))).ui;
    expect([after.cursor, after.at]).toEqual(['c', 3]);
    const gone = run(after, seen(list('new', 'a', 'b', 'd'))).ui;
    expect([gone.cursor, gone.at]).toEqual(['d', 3]);
    expect(run(gone, seen(list('new'))).ui.cursor).toBe('new');
    expect(run(gone, seen(list())).ui.cursor).toBeNull();
  });

  it('at the top of an order that is still being found out the cursor stays at the top', () => {
    const sorted = run(start(list('a', 'b')), '2').ui;
    expect([sorted.sort, askOf(sorted).cursor]).toEqual(['id', 'a']);
    const forming = run(sorted, seen({ ...list('c', 'd'), isComplete: false })).ui;
    expect([forming.cursor, forming.at, askOf(forming).cursor]).toEqual(['c', 0, null]);
    const more = run(forming, seen({ ...list('a', 'b', 'c'), isComplete: false })).ui;
    expect([more.cursor, more.at]).toEqual(['a', 0]);
    const whole = run(more, seen(list('0', 'a', 'b', 'c'))).ui;
    expect([whole.cursor, whole.at, askOf(whole).cursor]).toEqual(['0', 0, '0']);
    expect(run(whole, seen(list('new', '0'))).ui.cursor).toBe('0');
    const moved = run(forming, 'down', seen({ ...list('a', 'c', 'd'), isComplete: false })).ui;
    expect([moved.cursor, moved.at]).toEqual(['d', 2]);
  });

  it('a window into a million asks for what it shows, a page more on either side', () => {
    const ui = start(huge(0, 120));
    const page = taskRows(ui);
    const end = run(ui, 'end');
    expect(end.ui.at).toBe(1_000_002);
    expect(end.effects).toEqual([{ kind: 'look' }]);
    const ask = askOf(end.ui);
    expect(ask.offset).toBe(1_000_003 - 2 * page);
    expect(ask.rows).toBe(3 * page);
    expect(end.ui.cursor).toBeNull();
    const there = run(end.ui, seen(huge(ask.offset, 2 * page)));
    expect(there.ui.cursor).not.toBeNull();
    expect(there.effects).toEqual([]);
    // What was read already costs no look.
    expect(run(ui, 'down', 'down').effects).toEqual([]);
  });

  it('left of what is unfolded is what it belongs to, right unfolds', () => {
    const ui = run(start(typical()), 'down', 'down', 'down').ui;
    expect(ui.cursor).toBe('6d3k2m0v1e5abc');
    const unfolded = run(ui, 'right');
    expect([...unfolded.ui.unfolded]).toEqual(['6d3k2m0v1e5abc']);
    expect(unfolded.effects).toEqual([{ kind: 'look' }]);
    const element = run(ui, 'down', 'down').ui;
    expect(run(element, 'h').ui.cursor).toBe(element.snapshot!.rows[4]!.id);
  });
});

describe('waiting', () => {
  it('a store that does not answer is said, and what was seen last stays', () => {
    const ui = run(start(list('a')), { kind: 'tick', now: NOW + 4000 }).ui;
    expect(drawFrame(ui).lines.map(textOf).join('\n')).not.toContain('no answer');
    const text = drawFrame(run(ui, { kind: 'tick', now: NOW + 12_000 }).ui)
      .lines.map(textOf)
      .join('\n');
    expect(text).toContain('no answer for 12s');
    expect(text).toContain('queued');
  });
});

describe('acting', () => {
  it('asks before it cancels, and anything but y changes nothing', () => {
    const ui = start(list('a', 'b'));
    const asked = run(ui, 'c');
    expect(acts(asked.effects)).toEqual([]);
    expect(asked.ui.modal).toMatchObject({ kind: 'confirm', title: 'cancel a a?' });
    for (const no of ['n', 'esc', 'q']) expect(run(asked.ui, no)).toMatchObject({ effects: [], ui: { modal: null } });
    expect(run(asked.ui, 'x').ui.modal).not.toBeNull();
    expect(acts(run(asked.ui, 'y').effects)).toEqual([{ kind: 'cancel', ids: ['a'] }]);
  });

  it('acts on all marked and takes the marks away', () => {
    const done = run(start(list('a', 'b', 'c')), 'space', 'space', 'c', 'y');
    expect(acts(done.effects)).toEqual([{ kind: 'cancel', ids: ['a', 'b'] }]);
    expect(done.ui.marked.size).toBe(0);
  });

  it('H releases what is held and holds the others', () => {
    const rows = [row({ id: 'a', state: 'held' }), row({ id: 'b' })];
    const ui = start(snapshot({ rows }));
    expect(acts(run(ui, 'H').effects)).toEqual([{ kind: 'release', ids: ['a'] }]);
    expect(acts(run(ui, 'down', 'H').effects)).toEqual([{ kind: 'hold', ids: ['b'] }]);
    expect(acts(run(ui, 'space', 'space', 'H').effects)).toEqual([{ kind: 'hold', ids: ['b'] }]);
  });

  it('a priority out of range is refused before anything is asked for', () => {
    const ui = start(list('a'));
    for (const bad of ['100', '-100', '1.5', 'x', '']) {
      const tried = run(ui, 'p', 'ctrl-u', ...bad, 'enter');
      expect(acts(tried.effects)).toEqual([]);
      expect(tried.ui.message).toMatchObject({ tone: 'bad' });
    }
    expect(acts(run(ui, 'p', 'ctrl-u', '-', '9', '9', 'enter').effects)).toEqual([{ kind: 'priority', ids: ['a'], priority: -99 }]);
  });

  it('readonly, and a queue that may not be written: the keys say so and ask for nothing', () => {
    for (const ui of [start(list('a'), 100, 30, 'started with --readonly'), start({ ...list('a'), isWritable: false })]) {
      for (const key of ['c', 'r', 'H', 'p']) {
        const tried = run(ui, key);
        expect(tried.effects).toEqual([]);
        expect(tried.ui.modal).toBeNull();
        expect(tried.ui.message?.text).toContain('nothing was changed');
      }
      expect(run(ui, 'tab', 's').ui.message?.text).toContain('nothing was changed');
    }
  });

  it('keys of workers act on workers only; stop asks', () => {
    const ui = start(snapshot({ workers: [worker({ name: 'n1' }), worker({ name: 'n2' })], rows: [row({ id: 'a' })] }));
    expect(run(ui, 's')).toMatchObject({ effects: [], ui: { message: { text: expect.stringContaining('workers pane') as string } } });
    expect(acts(run(ui, 'tab', 's').effects)).toEqual([{ kind: 'sleep', names: ['n1'] }]);
    const stop = run(ui, 'tab', 'space', 'space', 'd');
    expect(acts(stop.effects)).toEqual([]);
    expect(acts(run(stop.ui, 'y').effects)).toEqual([{ kind: 'stop', names: ['n1', 'n2'] }]);
  });

  it('a refusal is one line with the reason and how many more', () => {
    const { ui } = run(start(list('a')), {
      kind: 'acted',
      act: { kind: 'cancel', ids: ['a', 'b', 'c'] },
      acted: { done: 1, refusals: ['a is done', 'b is done'] },
    });
    expect(ui.message).toMatchObject({ tone: 'bad', text: 'cancel: asked for 1 task; a is done (and 1 more refused)' });
  });
});

describe('filter and sort', () => {
  it('narrows at each key, Enter keeps it, Esc clears', () => {
    const typing = run(start(list('a')), '/', 'x', 'y');
    expect(typing.effects).toEqual([{ kind: 'look' }, { kind: 'look' }]);
    expect(askOf(typing.ui).filter).toBe('xy');
    expect(run(typing.ui, 'enter').ui).toMatchObject({ filter: 'xy', modal: null });
    expect(run(typing.ui, 'esc').ui).toMatchObject({ filter: '', modal: null });
    expect(run(typing.ui, 'enter', 'esc').ui.filter).toBe('');
  });

  it('a digit sorts, again reverses, o goes on to the next and at last to none', () => {
    const once = run(start(list('a')), '1').ui;
    expect(once).toMatchObject({ sort: 'state', reverse: false });
    expect(run(once, '1').ui).toMatchObject({ sort: 'state', reverse: true });
    expect(run(once, 'o').ui.sort).toBe('id');
    expect(run(start(list('a')), ...'ooooooooooooo').ui.sort).not.toBe('state');
  });

  it('a line is edited as in a shell', () => {
    const typed = (...keys: string[]): string => run(start(list('a')), '/', ...keys).ui.filter;
    expect(typed('a', 'b', 'left', 'x')).toBe('axb');
    expect(typed('a', 'space', 'b', 'ctrl-w', 'c')).toBe('a c');
    expect(typed('a', 'b', 'home', 'delete')).toBe('b');
    expect(typed('映', 'b', 'left', 'backspace')).toBe('b');
  });
});

describe('a log', () => {
  const part = (text: string, more: Partial<Extract<Event, { kind: 'log' }>['part']> = {}): Event => ({
    kind: 'log',
    reader: 1,
    part: { pieces: [{ stream: 'stdout', text }], attempts: [1], state: 'running', isSplit: false, isOver: false, ...more },
  });
  const opened = (): Ui => run(start(list('a')), 'l', part(Array.from({ length: 200 }, (_, i) => `line ${i}\n`).join(''))).ui;

  it('follows; scrolled up it stays; at the end it follows again', () => {
    const ui = opened();
    expect(ui.side).toMatchObject({ kind: 'log', top: null });
    const up = run(ui, 'up', 'up').ui;
    const { top } = up.side as { top: number };
    expect(top).toBeGreaterThan(100);
    expect(run(up, part('more\n')).ui.side).toMatchObject({ top });
    expect(run(up, 'end').ui.side).toMatchObject({ top: null });
  });

  it('a search goes back from the end, n further, N returns', () => {
    const found = run(opened(), '/', ...'line 15', 'enter').ui;
    expect(found.side).toMatchObject({ match: 159 });
    expect(run(found, 'n').ui.side).toMatchObject({ match: 158 });
    expect(run(found, 'n', 'n', 'N').ui.side).toMatchObject({ match: 158 });
    expect(run(opened(), '/', ...'nowhere', 'enter').ui.message?.text).toBe('not found: nowhere');
  });

  it('what an older reader still brings is dropped', () => {
    const again = run(opened(), part('', { attempts: [1, 2] }), '[').ui;
    expect(again.side).toMatchObject({ kind: 'log', attempt: 1, reader: 2 });
    expect(run(again, part('late\n')).ui.side).toMatchObject({ log: NO_LOG });
  });

  it('lines are joined over pieces, streams apart, the oldest let go', () => {
    let log = appendLog(NO_LOG, [
      { stream: 'stdout', text: 'a' },
      { stream: 'stderr', text: 'E\n' },
      { stream: 'stdout', text: 'b\nc\n' },
    ]);
    expect(log.lines.map((l) => l.text)).toEqual(['ab', 'E', 'c']);
    log = appendLog(log, [{ stream: 'stdout', text: 'x\n'.repeat(MOST_LINES) }]);
    expect(log.lines).toHaveLength(MOST_LINES);
    expect(log.dropped).toBe(3);
  });

  it('control characters are shown, or left out when asked for', () => {
    const line = { text: '10%\r\x1b[32m100%\x1b[0m\tok\r', from: 'stdout' } as const;
    expect(shownText(line, true)).toMatch(/^10%\\r\\x1b\[32m100%\\x1b\[0m +ok$/);
    expect(shownText(line, false)).toBe('100%    ok');
    expect(
      topOfEnd(
        [
          { text: 'x'.repeat(50), from: 'stdout' },
          { text: 'y', from: 'stdout' },
        ],
        3,
        20,
        true,
        true,
      ),
    ).toBe(1);
  });
});
