/** The live view put together, on a terminal and a store of the test's own. */
import { expect, it } from 'vitest';
import type { Act, Actions } from '../../src/top/actions.ts';
import { runTop } from '../../src/top/app.tsx';
import type { Snapshot, Store } from '../../src/top/model.ts';
import type { Terminal } from '../../src/top/screen.ts';
import { newEmulator, type Emulator } from '../helpers/terminal.ts';
import { until } from '../helpers/tq.ts';
import { fakeStore, NOW, row, snapshot, typical } from './queues.ts';

interface Stage {
  emulator: Emulator;
  writes: string[];
  raw: boolean[];
  acts: Act[];
  type(text: string): void;
  resize(columns: number, rows: number): void;
  signal(name: NodeJS.Signals): void;
  sees(what: string | RegExp): Promise<void>;
  ended: Promise<number>;
}

function play(store: Store, perform: Actions['perform'] = async () => ({ done: 1, refusals: [] }), intervalMs = 20): Stage {
  let size = { columns: 100, rows: 24 };
  const emulator = newEmulator(size.columns, size.rows);
  const writes: string[] = [];
  const raw: boolean[] = [];
  const acts: Act[] = [];
  let take: (text: string) => void = () => undefined;
  let changed: () => void = () => undefined;
  const handlers = new Map<NodeJS.Signals, (name: NodeJS.Signals) => void>();
  const terminal: Terminal = {
    size: () => size,
    write(text) {
      writes.push(text);
      emulator.feed(text);
    },
    setRaw: (on) => void raw.push(on),
    onInput(given) {
      take = given;
      return () => undefined;
    },
    onResize(given) {
      changed = given;
      return () => undefined;
    },
  };
  const ended = runTop({
    store,
    actions: {
      perform(act) {
        acts.push(act);
        return perform(act);
      },
      details: async () => {
        throw new Error('not asked for');
      },
      openLog: () => ({ read: async () => ({ pieces: [], attempts: [], state: 'queued', isSplit: false, isOver: false }) }),
    },
    system: {
      now: () => NOW,
      monotonic: () => performance.now(),
      onSignal(names, handler) {
        for (const name of names) handlers.set(name, handler);
        return () => undefined;
      },
    },
    terminal,
    paint: { depth: 'none', ascii: false },
    intervalMs,
    logMs: 20,
    detailsMs: 20,
    readonly: null,
  });
  const screen = (): string => emulator.lines().join('\n');
  return {
    emulator,
    writes,
    raw,
    acts,
    ended,
    type: (text) => take(text),
    signal: (name) => handlers.get(name)?.(name),
    resize(columns, rows) {
      size = { columns, rows };
      emulator.resize(columns, rows);
      changed();
    },
    sees: (what) =>
      until(
        () => (typeof what === 'string' ? screen().includes(what) : what.test(screen())),
        () => `the screen shows ${String(what)}:\n${screen()}`,
      ),
  };
}

it('takes the terminal, draws, and gives it back', async () => {
  const stage = play(fakeStore(typical));
  await stage.sees('render-001');
  expect(stage.raw).toEqual([true]);
  stage.type('q');
  expect(await stage.ended).toBe(0);
  expect(stage.raw).toEqual([true, false]);
  expect(stage.emulator.modes()).toEqual([7, 25]);
  expect(stage.emulator.unknown).toEqual([]);
});

it('a frame that is the same writes nothing; a key writes its two rows; a new size draws everything once', async () => {
  const store = fakeStore(typical);
  const stage = play(store);
  await stage.sees('render-001');
  const before = stage.writes.length;
  const looks = store.asked.length;
  await until(
    () => store.asked.length > looks + 5,
    () => 'five more looks',
  );
  expect(stage.writes.length).toBe(before);
  stage.type('j');
  await stage.sees(/▌ ● running .*render-002/);
  const written = stage.writes.slice(before).join('');
  expect(written.match(/\x1b\[\d+;1H/g)).toHaveLength(2);
  expect(written).not.toContain('\x1b[2J');
  const resized = stage.writes.length;
  stage.resize(60, 15);
  await stage.sees(/render-002/);
  expect(
    stage.writes
      .slice(resized)
      .join('')
      .match(/\x1b\[2J/g),
  ).toHaveLength(1);
  expect(stage.emulator.lines()).toHaveLength(15);
  stage.type('q');
  await stage.ended;
});

it('keys are answered while the store is silent', async () => {
  const stage = play({ look: () => new Promise(() => undefined), close: async () => undefined });
  await stage.sees('looking at the queue');
  stage.type('?');
  await stage.sees('MOVE');
  stage.type('?q');
  expect(await stage.ended).toBe(0);
});

it('a store that fails is said, and asked again', async () => {
  let tries = 0;
  const store = fakeStore(typical);
  const stage = play({
    ...store,
    async look(ask) {
      if (++tries === 1) throw new Error('bad \x1b[31mluck');
      return store.look(ask);
    },
  });
  await stage.sees('bad \\x1b[31mluck');
  await stage.sees('render-001');
  stage.type('q');
  await stage.ended;
});

it('what is asked for is done, and a refusal or a failure is said', async () => {
  let all: Snapshot = snapshot({ rows: [row({ id: 'a1', name: 'one' }), row({ id: 'b2', name: 'two' })] });
  const stage = play(
    fakeStore(() => all),
    async (act) => {
      if (act.kind === 'hold') throw new Error('no space left');
      return { done: 0, refusals: ['cannot cancel a1: it is done'] };
    },
  );
  await stage.sees(/▌.*one/);
  stage.type('cy');
  await stage.sees('cannot cancel a1: it is done');
  stage.type('H');
  await stage.sees('no space left');
  expect(stage.acts).toEqual([
    { kind: 'cancel', ids: ['a1'] },
    { kind: 'hold', ids: ['a1'] },
  ]);
  all = snapshot({ rows: [row({ id: 'b2', name: 'two' })] });
  await stage.sees(/▌.*two/);
  stage.type('q');
  await stage.ended;
});

it('signals end it with their code', async () => {
  for (const [name, code] of [
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    const stage = play(fakeStore(typical));
    await stage.sees('render-001');
    stage.signal(name);
    expect(await stage.ended).toBe(code);
    expect(stage.emulator.modes()).toEqual([7, 25]);
  }
});
