/** The live view from outside: the built binary on a terminal, driven by keys and the mouse. */
import fs from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { onTerminal, type Session, type SessionOptions } from '../helpers/terminal.ts';
import { makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

const FIRST_MODES = [7, 25];

function top(farm: Farm, flags = '', options: SessionOptions = {}): Session {
  return onTerminal(`exec ${TQ} top --interval 200ms ${flags}`, {
    cwd: farm.dir,
    ...options,
    env: { HOME: path.join(farm.dir, 'home'), TQ_DIR: farm.queue, ...options.env },
  });
}

/** The row of the screen that holds the text. */
function lineWith(session: Session, text: string): { line: string; y: number } {
  const y = session.emulator.lines().findIndex((line) => line.includes(text));
  return { line: session.emulator.lines()[y] ?? '', y };
}

function click(session: Session, x: number, y: number): void {
  session.type(`\x1b[<0;${x + 1};${y + 1}M\x1b[<0;${x + 1};${y + 1}m`);
}

const cursorOn = (name: string): RegExp => new RegExp(`▌.*${name}`);

describe('top', () => {
  it('K1: the farm in a word, counts, workers and tasks with age, worker and bar, running first, at 80x24', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--name', 'node1', '-j', '2']);
    const a = await farm.submit('-n', 'paint', '--', 'sh', '-c', '"$TQ" progress 40% "epoch 4"; sleep 1000');
    await farm.submit('-n', 'wait-a-lot', '--', 'sleep', '1000');
    await farm.submit('-n', 'rest', '--', 'true');
    await farm.reaches(a, 'running');
    const s = top(farm);
    await s.sees('epoch 4');
    await s.sees(/2 running · 1 queued/);
    expect(s.emulator.lines()[0]).toMatch(/^ tq {2}● active {2}/);
    const heads = lineWith(s, 'PROGRESS').line;
    for (const title of ['STATE', 'NAME', 'WORKER', 'AGE', 'TIME']) expect(heads).toContain(title);
    expect(lineWith(s, 'node1').line).toMatch(/node1 +awake +■■ 2\/2/);
    expect(lineWith(s, 'rest').y).toBeGreaterThan(lineWith(s, 'wait-a-lot').y);
    expect(lineWith(s, 'rest').line).toContain('○ queued');
    await s.sees(/Enter details .* \? help {2}q quit$/);
    expect(s.emulator.unknown).toEqual([]);
    s.type('q');
    expect(await s.ended).toBe(0);
    worker.signal('SIGTERM');
    worker.signal('SIGTERM');
  });

  it('K2: keys move the cursor, tab changes the pane, and the cursor stays on its task while others come and go', async () => {
    const farm = await makeFarm();
    const ids = [];
    for (let i = 1; i <= 40; i++) ids.push(await farm.submit('-n', `t${i}-`, '--', 'true'));
    const s = top(farm);
    await s.sees(cursorOn('t1-'));
    s.type('j\x1b[B');
    await s.sees(cursorOn('t3-'));
    s.type('k');
    await s.sees(cursorOn('t2-'));
    s.type('\x1b[F');
    await s.sees(cursorOn('t40-'));
    s.type('\x1b[5~');
    await s.misses(cursorOn('t40-'));
    s.type('g');
    await s.sees(cursorOn('t1-'));
    s.type('jjjjj');
    await s.sees(cursorOn('t6-'));
    await farm.ok(['cancel', ids[0]!, ids[2]!]);
    await s.misses(/t1-/);
    await s.sees(cursorOn('t6-'));
    s.type('\tj');
    await s.sees('no workers');
    await s.sees(/s sleep/);
    s.type('\t');
    await s.sees(/c cancel/);
    await s.sees(cursorOn('t6-'));
  });

  it('K3: / narrows while typing and says how many of all, Esc clears; digits, o and O sort', async () => {
    const farm = await makeFarm();
    for (const name of ['beta', 'alpha', 'gamma']) await farm.submit('-n', name, '-p', String(name.length), '--', 'true');
    const s = top(farm);
    await s.sees('gamma');
    s.type('/al');
    await s.misses('gamma');
    await s.sees(/tasks 1 of 3 {2}\/al/);
    await s.sees('alpha');
    s.type('\x7f\x7f-n gam*');
    await s.sees(/tasks 1 of 3/);
    await s.sees('gamma');
    s.type('\x1b');
    await s.sees(/tasks 3 /);
    const order = (): string[] => [...s.screen().matchAll(/\b(alpha|beta|gamma)\b/g)].map((m) => m[1]!);
    // NAME is the third column at this width, after STATE and ID.
    s.type('3');
    await s.sees('NAME▲');
    await until(
      () => order().join() === 'alpha,beta,gamma',
      () => `by name: ${order().join()}`,
    );
    s.type('O');
    await s.sees('NAME▼');
    await until(
      () => order().join() === 'gamma,beta,alpha',
      () => `by name, reversed: ${order().join()}`,
    );
    s.type('o');
    await s.sees(/[▲▼]/);
    await s.misses('NAME▼');
  });

  it('K4: c asks and cancels, the marked ones together; r, H and p do what the verbs do; a refusal is said', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'one', '--', 'true');
    const b = await farm.submit('-n', 'two', '--', 'true');
    const c = await farm.submit('-n', 'three', '--', 'true');
    const s = top(farm, '', { columns: 120, rows: 40 });
    await s.sees(cursorOn('one'));
    s.type('c');
    await s.sees(/cancel .*one\?/);
    s.type('n');
    await s.sees('nothing was changed');
    expect((await farm.show(a)).state).toBe('queued');
    s.type('H');
    await farm.reaches(a, 'held');
    await s.sees('held');
    await s.sees(/1 held/);
    await s.sees(cursorOn('one'));
    s.type('H');
    await farm.reaches(a, 'queued');
    await s.sees(cursorOn('one'));
    s.type('p\x1542\r');
    await until(
      async () => (await farm.show(a)).priority === 42,
      () => 'the priority is set',
    );
    await s.sees(/priority set/);
    s.type('p\x15high\r');
    await s.sees('priority: not a whole number from -99 to 99: high');
    s.type('g   ');
    await s.sees('3 marked');
    s.type('c');
    await s.sees(/cancel 3 tasks\?/);
    for (const name of ['one', 'two', 'three']) expect(s.screen()).toContain(name);
    s.type('y');
    for (const id of [a, b, c]) await farm.reaches(id, 'canceled');
    await s.sees(/cancel: asked for 3 tasks/);
    const failed = await farm.submit('-n', 'bad', '--', 'false');
    await (
      await farm.worker(['--until-empty'])
    ).ended;
    await farm.reaches(failed, 'failed');
    await s.sees(cursorOn('bad'));
    s.type('c');
    await s.sees(/cancel .*bad\?/);
    s.type('y');
    await s.sees(new RegExp(`${failed}.*failed`));
    s.type('r');
    await farm.reaches(failed, 'queued');
  });

  it('K5: enter shows what tq show says, l the log as it grows; raw escapes never reach the terminal', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['-j', '2']);
    const go = path.join(farm.dir, 'go');
    const id = await farm.submit(
      '-n',
      'talk\x1b]0;pwned\x07\u202e',
      '--',
      'sh',
      '-c',
      `printf 'first \\033[2J\\033[31mred\\r\\n'; until [ -e ${go} ]; do sleep 0.1; done; echo second line; exec sleep 1000`,
    );
    await farm.reaches(id, 'running');
    const s = top(farm, '', { rows: 30 });
    await s.sees('talk\\x1b]');
    s.type('\r');
    await s.sees(/command +sh -c/);
    await s.sees(/1 running/);
    s.type('l');
    await s.sees('first \\x1b[2J\\x1b[31mred');
    await s.sees('following');
    fs.writeFileSync(go, '');
    await s.sees('second line');
    s.type('/first\r');
    await s.sees(/\/first/);
    s.type('e');
    await s.sees(/^ ?.*first red/m);
    s.type('\x1b');
    await s.sees('PROGRESS');
    expect(s.written()).not.toMatch(/\x1b\]0;|\x1b\[31mred|\u202e/);
    expect(s.emulator.unknown).toEqual([]);
    worker.signal('SIGTERM');
    worker.signal('SIGTERM');
  });

  it('K5: other attempts and the two streams of a task, and the elements of an array', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '-n',
      'tries',
      '--split',
      '--retries',
      '1',
      '--backoff',
      'none',
      '--',
      'sh',
      '-c',
      'echo out-$TQ_ATTEMPT; echo err-$TQ_ATTEMPT >&2; exit 1',
    );
    await farm.submit('-n', 'many', '--array', '1-3', '--', 'sh', '-c', 'echo element $TQ_INDEX; exit 1');
    await (
      await farm.worker(['-j', '1', '--until-empty'])
    ).ended;
    await farm.reaches(id, 'failed');
    const s = top(farm, '', { columns: 120, rows: 30 });
    await s.sees('many');
    s.type('/tries\r');
    await s.sees(cursorOn('tries'));
    s.type('l');
    await s.sees(/attempt 2 \(of 1, 2\)/);
    await s.sees('err-2');
    expect(s.screen()).toContain('out-2');
    s.type('s');
    await s.misses('err-2');
    await s.sees('out-2');
    s.type('ss[');
    await s.sees(/attempt 1 \(of 1, 2\)/);
    await s.sees('out-1');
    s.type(']');
    await s.sees('out-2');
    s.type('\r');
    await s.sees(/retries +1/);
    await s.sees(/2 failed +.*━/);
    s.type('\x1b');
    await s.sees('tasks 1 of');
    s.type('\x1b');
    await s.sees(/▸ many/);
    s.type('/many\r');
    await s.sees(cursorOn('▸ many'));
    s.type('l');
    await s.sees(/▾ many/);
    s.type('jjl');
    await s.sees('element 2');
  });

  it('K6: s puts a worker to sleep, w wakes it, d asks and stops it', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--name', 'node1', '-j', '1']);
    const id = await farm.submit('--', 'sleep', '1000');
    await farm.reaches(id, 'running');
    const s = top(farm);
    await s.sees(/node1 +awake/);
    s.type('\ts');
    await s.sees(/awake → asleep/);
    s.type('w');
    await s.misses(/awake → asleep/);
    await s.sees(/node1 +awake/);
    await farm.ok(['cancel', id, '--now', '--wait']);
    s.type('s');
    await s.sees(/node1 +asleep/);
    s.type('d');
    await s.sees(/stop node1 when what it runs has ended\?/);
    s.type('y');
    expect((await worker.ended).code).toBe(0);
    await s.sees(/node1 +offline/);
    s.type('d');
    await s.sees(/stop node1/);
    s.type('y');
    await s.sees(/cannot stop node1: it is not alive/);
  });

  it('K7: ? lists the keys; q, Ctrl-C and TERM leave the terminal as it was', async () => {
    const farm = await makeFarm();
    for (const end of ['q', '\x03', 'TERM'] as const) {
      const s = onTerminal(`echo before; stty -g; ${TQ} top; echo "code $?"; stty -g`, {
        cwd: farm.dir,
        columns: 200,
        env: { TQ_DIR: farm.queue },
      });
      await s.sees('nothing to do');
      expect(s.emulator.isOther).toBe(true);
      expect(s.emulator.modes()).toEqual([1000, 1006, 1049]);
      s.type('?');
      await s.sees('MOVE');
      s.type('\x1b[F');
      await s.sees('selection of the terminal');
      s.type('\x1b');
      await s.misses('selection of the terminal');
      if (end === 'TERM') process.kill(s.pidOf(/tq top/), 'SIGTERM');
      else s.type(end);
      await s.ended;
      expect(s.emulator.modes()).toEqual(FIRST_MODES);
      const lines = s.emulator.lines().filter((line) => line !== '');
      expect(lines[0]).toBe('before');
      expect(lines[2]).toBe(`code ${end === 'TERM' ? 143 : 0}`);
      expect(lines[3]).toBe(lines[1]);
    }
  });

  it('K7: a crash leaves the terminal as it was, and what is said about it can be read', async () => {
    const program = fileURLToPath(new URL('../programs/top-crash.ts', import.meta.url));
    const s = onTerminal(`stty -g; ${process.execPath} ${program}; stty -g`, { columns: 200 });
    await s.ended;
    expect(s.written()).toContain('a frame');
    expect(s.emulator.modes()).toEqual(FIRST_MODES);
    const lines = s.emulator.lines().filter((line) => line !== '');
    expect(lines).toEqual([lines[0], 'said: a bug', lines[0]]);
  });

  it('K7: Ctrl-Z gives the shell its terminal, fg comes back', async () => {
    const farm = await makeFarm();
    await farm.submit('-n', 'there', '--', 'true');
    const s = onTerminal(`exec bash --norc -i`, { cwd: farm.dir, env: { TQ_DIR: farm.queue, HISTFILE: '' } });
    s.type(`bind 'set enable-bracketed-paste off'; ${TQ} top\r`);
    await s.sees('there');
    s.type('\x1a');
    await s.sees('Stopped');
    expect(s.emulator.modes()).toEqual(FIRST_MODES);
    s.type('fg\r');
    await s.sees('q quit');
    await s.sees('there');
    expect(s.emulator.modes()).toEqual([1000, 1006, 1049]);
    s.type('q');
    await s.misses('q quit');
    s.type('echo back-$((40+2)); exit\r');
    await s.sees('back-42');
    await s.ended;
  });

  it('K8: a click chooses, a second one opens, one on a column sorts, the wheel moves', async () => {
    const farm = await makeFarm();
    for (const name of ['aaa', 'ccc', 'bbb', 'ddd', 'eee', 'fff', 'ggg', 'hhh']) await farm.submit('-n', name, '--', 'true');
    const s = top(farm);
    await s.sees('hhh');
    click(s, 20, lineWith(s, 'bbb').y);
    await s.sees(cursorOn('bbb'));
    s.type(`\x1b[<65;20;${lineWith(s, 'bbb').y + 1}M`);
    await s.sees(cursorOn('fff'));
    s.type(`\x1b[<64;20;${lineWith(s, 'bbb').y + 1}M`);
    await s.sees(cursorOn('bbb'));
    click(s, lineWith(s, 'NAME').line.indexOf('NAME') + 1, lineWith(s, 'NAME').y);
    await s.sees('NAME▲');
    await until(
      () => lineWith(s, 'ccc').y > lineWith(s, 'bbb').y,
      () => 'sorted by name',
    );
    const { y } = lineWith(s, 'ccc');
    click(s, 20, y);
    await s.sees(cursorOn('ccc'));
    click(s, 20, y);
    await s.sees(/name +ccc/);
  });

  it('K9: the screen follows the size of the terminal, and says when it is too small', async () => {
    const farm = await makeFarm();
    for (let i = 1; i <= 60; i++) await farm.submit('-n', `task-${i}-of-many`, '--', 'true');
    const s = top(farm, '', { columns: 200, rows: 60 });
    await s.sees('task-1-of-many');
    await s.sees('╭─ tasks 60');
    for (const [columns, rows] of [
      [60, 15],
      [120, 40],
      [80, 24],
      [200, 60],
    ] as const) {
      s.resize(columns, rows);
      await until(
        () => s.emulator.lines().length === rows && (s.emulator.lines()[rows - 1] ?? '').includes('q quit'),
        () => `drawn at ${columns}x${rows}:\n${s.screen()}`,
      );
      expect(s.emulator.lines()[0]).toContain('tq  ● ');
      expect(s.screen().match(/q quit/g)).toHaveLength(1);
      expect(s.emulator.lines().every((line) => line.length <= columns)).toBe(true);
    }
    s.resize(30, 5);
    await s.sees('too small: 30x5');
    s.resize(80, 24);
    await s.sees('task-1-of-many');
  });

  it('K11: 40 of 100 fills 40 of 100, with its text; an array shows done, failed and running of its size', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['-j', '1']);
    const id = await farm.submit('-n', 'steps', '--', 'sh', '-c', '"$TQ" progress 40% "epoch 4"; exec sleep 1000');
    await farm.reaches(id, 'running');
    await farm.submit('-n', 'sweep', '--array', '1-8', '--', 'true');
    const s = top(farm, '', { columns: 140, rows: 30 });
    await s.sees('epoch 4');
    const [, full, left] = /(━+)(─+) +40% epoch 4/.exec(lineWith(s, 'epoch 4').line)!;
    expect(full!.length / (full!.length + left!.length)).toBeCloseTo(0.4, 1);
    expect(lineWith(s, 'sweep').line).toContain('0/8 done');
    worker.signal('SIGTERM');
    worker.signal('SIGTERM');
  });

  it('K12: NO_COLOR, 16 colours, ASCII, a dumb terminal and a pipe', async () => {
    const farm = await makeFarm();
    await farm.submit('-n', 'naïve 映画', '--', 'true');
    const colourful = top(farm);
    await colourful.sees('映画');
    expect(colourful.emulator.colours()).toBeGreaterThan(0);
    expect(colourful.written()).toContain('38;5;');
    const plain = top(farm, '', { env: { NO_COLOR: '1' } });
    await plain.sees('○ queued');
    expect(plain.emulator.colours()).toBe(0);
    const basic = top(farm, '', { env: { TERM: 'xterm' } });
    await basic.sees('○ queued');
    expect(basic.emulator.colours()).toBeGreaterThan(0);
    expect(basic.written()).not.toContain('38;5');
    const ascii = top(farm, '', { env: { LANG: 'C', LC_ALL: 'POSIX' } });
    await ascii.sees('o queued');
    await ascii.sees('na?ve');
    expect(ascii.written()).toMatch(/^[\x00-\x7f]*$/);
    const dumb = top(farm, '', { env: { TERM: 'dumb' } });
    expect(await dumb.ended).toBe(0);
    expect(dumb.written()).not.toContain('\x1b');
    expect(dumb.written()).toContain('queued');
    const piped = await farm.tq(['top']);
    expect(piped).toMatchObject({ code: 0, stderr: '' });
    expect(piped.stdout).not.toContain('\x1b');
  });

  it('K13: --readonly changes nothing; a queue that went away is said, and comes back', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', 'mine', '--', 'true');
    const s = top(farm, '--readonly');
    await s.sees('mine');
    await s.sees('read-only');
    for (const key of ['c', 'H', 'r', 'p']) {
      s.type(key);
      await s.sees(/nothing was changed: started with --readonly/);
    }
    expect((await farm.show(id)).state).toBe('queued');
    fs.renameSync(farm.queue, `${farm.queue}.away`);
    await s.sees('unreachable since');
    expect(s.screen()).toContain('mine');
    fs.renameSync(`${farm.queue}.away`, farm.queue);
    await s.misses('unreachable since');
    await s.sees('mine');
    for (const bad of ['x', '5ms', '-1']) {
      const ran = await farm.tq(['top', `--interval=${bad}`]);
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain('--interval');
      expect(ran.stderr).toContain(bad);
    }
  });

  it('a replay is watched, and its keys change nothing', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', 'past', '--', 'true');
    const s = top(farm, '--replay --speed 1000');
    await s.sees('past');
    s.type('c');
    await s.sees('nothing was changed: this is a replay');
    expect((await farm.show(id)).state).toBe('queued');
    s.type('q');
    expect(await s.ended).toBe(0);
  });

  it('writes what changed and never clears between frames', async () => {
    const farm = await makeFarm();
    await farm.submit('-n', 'alpha', '--', 'true');
    await farm.submit('-n', 'beta', '--', 'true');
    const s = top(farm);
    await s.sees('beta');
    await s.sees(cursorOn('alpha'));
    const before = s.written().length;
    s.type('j');
    await s.sees(cursorOn('beta'));
    const after = s.written().slice(before);
    expect(after).not.toMatch(/\x1b\[2J|\x1b\[3J|\x1b\[H/);
    // Two rows, and perhaps the clock: less than a third of the screen.
    expect(after.length).toBeLessThan((80 * 24) / 3);
  });
});
