/** Submissions of many elements: ranges, lists of items, single elements, thresholds, what comes after what, and workers that die. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, until, type Farm, type TestWorker } from '../helpers/tq.ts';
import type { TaskView } from '../../src/queue/read.ts';

const sh = (line: string): string[] => ['--', 'sh', '-c', line];

async function drain(farm: Farm, ...args: string[]): Promise<void> {
  await farm.ok(['worker', '--until-empty', '--poll', '50ms', ...args]);
}

const arrayOf = (task: TaskView): NonNullable<TaskView['array']> => task.array!;
const linesIn = (file: string): string[] => (fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trimEnd().split('\n') : []);

/** Files below a directory of the queue, by their names. */
function namesIn(farm: Farm, dir: string): string[] {
  const found: string[] = [];
  for (const entry of fs.readdirSync(path.join(farm.queue, dir), { recursive: true, withFileTypes: true }))
    if (entry.isFile()) found.push(entry.name);
  return found.toSorted();
}

describe('ranges', () => {
  it('G1: --array 1-10:3 has the numbers 1 4 7 10, TQ_INDEX and TQ_ARRAY_SIZE, and one id', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-10:3', ...sh('echo $TQ_INDEX $TQ_ARRAY_SIZE {}'));
    expect(id).toMatch(/^[0-9a-z]{14}$/);
    await drain(farm);
    expect(await farm.ok(['logs', id])).toBe([1, 4, 7, 10].map((n) => `${id}.${n} | ${n} 4 ${n}\n`).join(''));
    expect(arrayOf(await farm.show(id))).toEqual({ size: 4, queued: 0, running: 0, done: 4, failed: 0, canceled: 0 });
    expect((await farm.tq(['show', `${id}.2`])).code).toBe(3);
  });

  it('G1: a list has the numbers that are in it, and --chunk puts several into one element', async () => {
    const farm = await makeFarm();
    const list = await farm.submit('--array', '9,3,7', '--', 'echo', '{}');
    const chunks = await farm.submit('--array', '1-10', '--chunk', '4', ...sh('echo $TQ_INDEX/$TQ_ARRAY_SIZE {}'));
    await drain(farm);
    expect(await farm.ok(['logs', list])).toBe([3, 7, 9].map((n) => `${list}.${n} | ${n}\n`).join(''));
    expect(await farm.ok(['logs', chunks])).toBe(`${chunks}.1 | 1/3 1-4\n${chunks}.2 | 2/3 5-8\n${chunks}.3 | 3/3 9-10\n`);
  });

  it.each([['5-1'], ['1-x'], ['1,1'], ['1-5:0'], ['']])('G1: --array %s is wrong usage, and nothing is submitted', async (text) => {
    const farm = await makeFarm();
    const ran = await farm.tq(['submit', '--array', text, '--', 'true']);
    expect([ran.code, ran.stdout]).toEqual([2, '']);
    expect(ran.stderr).toContain('--array');
    expect(await farm.ok(['ls', '-a'])).not.toContain('true');
  });

  it('G2: a million elements are one file and one row', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-1000000', '--', 'true');
    expect(namesIn(farm, 'queued')).toEqual([`${id}.1-1000000.a0.json`]);
    expect((await farm.ok(['ls', '--no-header'])).trim().split('\n')).toHaveLength(1);
    expect(await farm.ok(['ls', '--count'])).toBe('1\n');
    expect(arrayOf(await farm.show(id)).queued).toBe(1_000_000);
    expect(await farm.ok(['cancel', id])).toBe(`${id}\n`);
    expect(namesIn(farm, 'canceled')).toEqual([`${id}.1-1000000.a0.json`]);
  });

  it('F8: a task of higher priority starts before any element that is not yet claimed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-10000', ...sh('echo a >> order; sleep 0.05'));
    const w = await farm.worker(['-j', '1']);
    await until(
      () => linesIn(path.join(farm.dir, 'order')).length > 2,
      () => 'some have run',
    );
    await farm.ok(['submit', '-p', '1', '--wait', ...sh('echo b >> order')]);
    const order = linesIn(path.join(farm.dir, 'order'));
    expect(order.indexOf('b')).toBeGreaterThan(0);
    expect(order.length).toBeLessThan(10_000);
    await farm.ok(['cancel', id, '--wait']);
    await w.stop();
  });
});

describe('at most so many at once', () => {
  it('G3: --array 1-30%2 on three workers: two run, never three, also when a worker is killed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '--array',
      '1-30%2',
      ...sh('mkdir -p now; : > now/{}; n=$(ls now | wc -l); echo $n >> most; sleep 0.05; rm -f now/{}; echo {} >> ran'),
    );
    const workers = await Promise.all([1, 2, 3].map((n) => farm.worker(['--name', `w${n}`, '-j', '4'])));
    await until(
      () => linesIn(path.join(farm.dir, 'ran')).length >= 6,
      () => 'some have run',
    );
    workers[0]!.signal('SIGKILL');
    await workers[0]!.ended;
    fs.rmSync(path.join(farm.dir, 'now'), { recursive: true, force: true });
    await farm.reaches(id, 'done');
    expect(Math.max(...linesIn(path.join(farm.dir, 'most')).map(Number))).toBe(2);
    expect(new Set(linesIn(path.join(farm.dir, 'ran'))).size).toBe(30);
    expect(await farm.ok(['limit', 'ls'])).not.toContain(id);
    await Promise.all(workers.slice(1).map((w) => w.stop()));
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('F8: %MAX leaves the other slots to others', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-4%1', ...sh('while [ ! -e go ]; do sleep 0.02; done'));
    const w = await farm.worker(['-j', '2']);
    await farm.reaches(id, 'running');
    await farm.ok(['submit', '--wait', '--', 'true']);
    expect(arrayOf(await farm.show(id)).running).toBe(1);
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(id, 'done');
    await w.stop();
  });
});

describe('items', () => {
  it('G4: --each has one element a line, as one word that nothing evaluates, also in TQ_ITEM', async () => {
    const farm = await makeFarm();
    const lines = ['1', 'a b $(x) "', "it's", '*'];
    const id = (
      await farm.ok(['submit', '--each', '-', '--', 'printf', '%s|%s\\n', '{}', 'end'], { input: `${lines.join('\n')}\n` })
    ).trim();
    const shell = (
      await farm.ok(['submit', '--each', '-', '-c', 'printf "%s|%s\\n" {} "$TQ_ITEM"'], { input: `${lines.join('\n')}\n` })
    ).trim();
    await drain(farm);
    for (const [i, line] of lines.entries()) {
      expect(await farm.ok(['logs', `${id}.${i + 1}`])).toBe(`${line}|end\n`);
      expect(await farm.ok(['logs', `${shell}.${i + 1}`])).toBe(`${line}|${line}\n`);
    }
  });

  it('G4: a file without a line makes nothing, exit 5', async () => {
    const farm = await makeFarm();
    const ran = await farm.tq(['submit', '--each', '-', '--', 'true'], { input: '\n' });
    expect([ran.code, ran.stdout]).toEqual([5, '']);
    expect(ran.stderr).toContain('--each');
    expect(namesIn(farm, 'blobs')).toEqual([]);
    expect((await farm.tq(['submit', '--each', 'nosuch', '--', 'true'])).code).toBe(2);
  });

  it('G5: --each-json has {k} and TQ_P_K; other braces stay', async () => {
    const farm = await makeFarm();
    const input = '{"k":"v 1","n":2}\n{"k":"w","n":{"x":1}}\n';
    const id = (
      await farm.ok(
        ['submit', '--each-json', '-', '--', 'sh', '-c', 'echo "$1|$TQ_P_K|$TQ_P_N"; echo x y | awk \'{print $2}\'', 'sh', '{k}-{n}-{z}'],
        { input },
      )
    ).trim();
    await drain(farm);
    expect(await farm.ok(['logs', `${id}.1`])).toBe('v 1-2-{z}|v 1|2\ny\n');
    expect(await farm.ok(['logs', `${id}.2`])).toBe('w-{"x":1}-{z}|w|{"x":1}\ny\n');
    const bad = await farm.tq(['submit', '--each-json', '-', '--', 'true'], { input: '{}\n{oops\n' });
    expect([bad.code, bad.stdout]).toEqual([2, '']);
    expect(bad.stderr).toContain('line 2');
  });

  it('G5: --each-csv takes names from the header and keeps quoted commas and newlines', async () => {
    const farm = await makeFarm();
    const id = (
      await farm.ok(['submit', '--each-csv', '-', '--', 'printf', '%s/%s', '{name}', '{text}'], {
        input: 'name,text\r\na,"x, y\nz"\r\nb,"say ""hi"""\r\n',
      })
    ).trim();
    await drain(farm);
    expect(await farm.ok(['logs', `${id}.1`])).toBe('a/x, y\nz');
    expect(await farm.ok(['logs', `${id}.2`])).toBe('b/say "hi"');
    const ragged = await farm.tq(['submit', '--each-csv', '-', '--', 'true'], { input: 'a,b\n1,2\n3\n' });
    expect(ragged.code).toBe(2);
    expect(ragged.stderr).toMatch(/line 3/);
  });

  it('G5: --param makes all combinations, each once', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--param', 'lr=0.1,0.01', '--param', 'seed=1,2,3', ...sh('echo {lr} {seed} $TQ_P_LR $TQ_P_SEED'));
    await drain(farm);
    const lines = (await farm.ok(['logs', id]))
      .trim()
      .split('\n')
      .map((line) => line.split(' | ')[1]!);
    expect(new Set(lines).size).toBe(6);
    expect(lines).toContain('0.01 3 0.01 3');
  });
});

describe('single elements', () => {
  it('G7: ID.7 and ID.3-5 work in show, logs, cancel, retry and wait; ls --expand has a row each', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-10', ...sh('echo out {}; exit $(( {} == 4 ))'));
    expect(await farm.ok(['cancel', `${id}.7`, `${id}.9-10`])).toBe(`${id}.7\n${id}.9\n${id}.10\n`);
    expect((await farm.show(`${id}.7`)).state).toBe('canceled');
    expect((await farm.show(`${id}.6`)).state).toBe('queued');
    await drain(farm);
    expect(await farm.ok(['logs', `${id}.3`])).toBe('out 3\n');
    const failed = await farm.show(`${id}.4`);
    expect([failed.state, failed.exitCode, failed.attempts.length, failed.reason]).toEqual(['failed', 1, 1, 'out 4']);
    expect((await farm.tq(['wait', `${id}.3-5`])).code).toBe(1);
    expect((await farm.tq(['wait', `${id}.1-3`])).code).toBe(0);
    expect((await farm.tq(['wait', id])).code).toBe(1);
    const rows = (await farm.ok(['ls', '-a', '--expand', '-o', 'id,state', '--no-header'])).trim().split('\n');
    expect(rows).toHaveLength(10);
    expect(rows.filter((row) => row.includes('canceled'))).toHaveLength(3);
    expect(await farm.ok(['retry', `${id}.4`])).toBe(`${id}.4\n`);
    expect((await farm.tq(['cancel', `${id}.3`])).code).toBe(5);
    expect((await farm.tq(['retry', `${id}.11`])).code).toBe(3);
    await drain(farm);
    const again = await farm.show(`${id}.4`);
    expect(again.attempts.map((a) => a.outcome)).toEqual(['failed', 'failed']);
    expect(arrayOf(await farm.show(id))).toEqual({ size: 10, queued: 0, running: 0, done: 6, failed: 1, canceled: 3 });
  });

  it('G10: retry --failed runs only what failed; hold lets the running ones end, release goes on', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-40', ...sh('echo {} >> ran; sleep 0.03; [ -e fixed ] || [ $(( {} % 10 )) -ne 0 ]'));
    const w = await farm.worker(['-j', '2']);
    await until(
      () => linesIn(path.join(farm.dir, 'ran')).length >= 5,
      () => 'some have run',
    );
    await farm.ok(['hold', id]);
    await until(
      async () => arrayOf(await farm.show(id)).running === 0,
      () => 'the running ones have ended',
    );
    const before = linesIn(path.join(farm.dir, 'ran')).length;
    expect(before).toBeLessThan(40);
    await farm.ok(['submit', '--wait', '--', 'true']);
    expect(linesIn(path.join(farm.dir, 'ran')).length).toBe(before);
    expect((await farm.show(id)).state).toBe('held');
    await farm.ok(['release', id]);
    const task = await farm.reaches(id, 'failed');
    expect([arrayOf(task).done, arrayOf(task).failed]).toEqual([36, 4]);
    fs.writeFileSync(path.join(farm.dir, 'fixed'), '');
    fs.rmSync(path.join(farm.dir, 'ran'));
    expect(await farm.ok(['retry', id, '--failed'])).toBe(`${id}\n`);
    await farm.reaches(id, 'done');
    expect(linesIn(path.join(farm.dir, 'ran')).toSorted()).toEqual(['10', '20', '30', '40']);
    expect((await farm.tq(['doctor'])).code).toBe(0);
    await w.stop();
  });

  it('D1: an element has retries of its own', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '--array',
      '1-30',
      '--retries',
      '2',
      '--backoff',
      'none',
      ...sh('[ $(( {} % 7 )) -ne 0 ] || [ $TQ_ATTEMPT -ge 3 ] || { echo x >> $TQ_STATE_DIR/f; [ $(cat $TQ_STATE_DIR/f | wc -l) -ge 3 ]; }'),
    );
    await drain(farm, '-j', '4');
    expect(arrayOf(await farm.show(id)).done).toBe(30);
    const seven = await farm.show(`${id}.7`);
    expect(seven.attempts.length).toBeGreaterThan(1);
    expect(seven.attempts.at(-1)!.outcome).toBe('succeeded');
  });

  it('E2: cancel of a whole array ends what runs and takes what does not, also what a worker has claimed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-2000', ...sh('sleep 0.01'));
    const w = await farm.worker(['-j', '4']);
    await until(
      async () => arrayOf(await farm.show(id)).done > 20,
      () => 'some are done',
    );
    await farm.ok(['cancel', id, '--reason', 'enough', '--wait']);
    const task = await farm.show(id);
    expect([task.state, arrayOf(task).queued, arrayOf(task).running]).toEqual(['canceled', 0, 0]);
    expect((await farm.show(`${id}.2000`)).reason).toBe('enough');
    expect((await farm.tq(['cancel', id])).code).toBe(5);
    await w.stop();
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('E8: tq set -p changes what has not begun', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-9', '--', 'true');
    await farm.ok(['set', id, '-p', '7']);
    expect(
      fs.readdirSync(path.join(farm.queue, 'queued', 'default')).filter((p) => namesIn(farm, `queued/default/${p}`).length > 0),
    ).toEqual(['p07']);
    await drain(farm);
    expect((await farm.tq(['set', id, '-p', '8'])).code).toBe(5);
  });

  it('E9: an element goes with the whole alone, also one with an entry of its own, and --force does not cancel it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-4', '--', 'sh', '-c', 'test $TQ_INDEX != 2');
    await farm.ok(['cancel', `${id}.4`]);
    await farm.ok(['hold', `${id}.3`]);
    for (const args of [[`${id}.4`], [`${id}.1`], ['--force', `${id}.3`], ['--force', '--dry-run', `${id}.3`]]) {
      const ran = await farm.tq(['rm', ...args]);
      expect([ran.code, ran.stdout]).toEqual([5, '']);
      expect(ran.stderr).toContain(`it is part of ${id}`);
      expect(ran.stderr).toContain(`tq rm ${id}`);
    }
    expect((await farm.show(`${id}.3`)).state).toBe('held');
    await farm.ok(['release', id]);
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect((await farm.tq(['rm', `${id}.2`])).code).toBe(5);
    expect((await farm.show(id)).state).toBe('failed');
    expect((await farm.tq(['doctor'])).code).toBe(0);
    await farm.ok(['rm', id]);
    expect(await farm.ok(['ls', '-a'])).not.toContain(id);
  });

  it('E9: rm removes all of it and leaves its state', async () => {
    const farm = await makeFarm();
    const id = (await farm.ok(['submit', '--each', '-', '--', 'echo', '{}'], { input: 'a\nb\nc\n' })).trim();
    expect((await farm.tq(['rm', id])).code).toBe(5);
    await drain(farm);
    await farm.ok(['rm', id]);
    expect((await farm.tq(['show', id])).code).toBe(3);
    expect([...namesIn(farm, 'done'), ...namesIn(farm, 'runs'), ...namesIn(farm, 'blobs')]).toEqual([]);
    expect(namesIn(farm, 'gone')).toEqual([`${id}.done`]);
    const child = await farm.submit('--after', id, '--', 'true');
    expect((await farm.show(child)).state).toBe('queued');
  });
});

describe('keys', () => {
  it('A7: --lock-keys of an array holds until the last element has ended; --key of many is refused', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--lock-keys', '^a', '--array', '1-3', ...sh('[ {} -lt 3 ] || while [ ! -e go ]; do sleep 0.02; done'));
    const w = await farm.worker(['-j', '2']);
    await until(
      async () => arrayOf(await farm.show(id)).done === 2,
      () => 'one is left',
    );
    const locked = await farm.tq(['submit', '--key', 'abc', '--', 'true']);
    expect([locked.code, locked.stderr]).toEqual([5, expect.stringContaining(id)]);
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(id, 'done');
    await until(
      () => namesIn(farm, 'keylocks').length === 0,
      () => 'the lock goes',
    );
    await farm.submit('--key', 'abc', '--', 'true');
    const many = await farm.tq(['submit', '--key', 'k', '--array', '1-3', '--', 'true']);
    expect([many.code, many.stdout, many.stderr]).toEqual([5, '', expect.stringContaining('--key is for a single task')]);
    await w.stop();
  });
});

describe('thresholds', () => {
  it.each([
    ['10%', 100, 10, 'stopped'],
    ['10%', 100, 9, 'goes on'],
    ['10%', 10, 1, 'stopped'],
    ['10%', 11, 1, 'goes on'],
    ['10%', 11, 2, 'stopped'],
    ['3', 50, 3, 'stopped'],
    ['3', 50, 2, 'goes on'],
  ])('G8: --max-fails %s of %i: with %i failures it %s', async (maxFails, size, failures, what) => {
    const farm = await makeFarm();
    // The failures come first; the last one waits until it is known whether it may run.
    const id = await farm.submit(
      '--array',
      `1-${size}`,
      '--max-fails',
      maxFails,
      ...sh(`[ {} -gt ${failures} ] || exit 1; [ {} -lt ${size} ] || sleep 0.2; echo {} >> ran`),
    );
    await drain(farm, '-j', '1');
    const task = await farm.show(id);
    expect(arrayOf(task).failed).toBe(failures);
    expect(task.state).toBe('failed');
    if (what === 'goes on') expect(arrayOf(task).done).toBe(size - failures);
    else {
      expect(arrayOf(task).canceled).toBeGreaterThan(0);
      expect((await farm.show(`${id}.${size}`)).reason).toContain(`${failures} of ${size}`);
    }
  });
});

describe('what comes after', () => {
  it('H1: a task after an array waits for all of it, and is skipped when an element fails', async () => {
    const farm = await makeFarm();
    const good = await farm.submit('--array', '1-20', ...sh('sleep 0.02'));
    const bad = await farm.submit('--array', '1-20', ...sh('[ {} -ne 13 ] || [ -e fixed ]'));
    const after = await farm.submit('--after', good, '--', 'true');
    const skipped = await farm.submit('--after', bad, '--', 'true');
    const w = await farm.worker(['-j', '4']);
    await farm.reaches(after, 'done');
    expect((await farm.reaches(skipped, 'skipped')).reason).toContain(bad);
    expect(Date.parse((await farm.show(after)).startedAt!)).toBeGreaterThanOrEqual(Date.parse((await farm.show(good)).endedAt!) - 20);
    fs.writeFileSync(path.join(farm.dir, 'fixed'), '');
    await farm.ok(['retry', bad, '--failed']);
    await farm.reaches(skipped, 'done');
    await w.stop();
  });

  it('H1: a task after one element waits for that alone, is skipped with it, and is handed its result', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '-n',
      'part',
      '--array',
      '1-6',
      ...sh('[ {} -ne 5 ] || while [ ! -e go ]; do sleep 0.02; done; [ {} -ne 4 ] || [ -e fixed ] || exit 1; echo {}00 > $TQ_RESULT_FILE'),
    );
    const [two, four, five] = [
      await farm.submit('--after', `${id}.2`, ...sh('cat $TQ_INPUTS/part.json $TQ_INPUTS/*.2.json')),
      await farm.submit('--after', `${id}.4`, '--', 'true'),
      await farm.submit('--after', `${id}.5`, '--after-any', `${id}.4`, ...sh('cat $TQ_INPUTS/part.json')),
    ];
    expect(await farm.tq(['submit', '--after', `${id}.7`, '--', 'true'])).toMatchObject({
      code: 3,
      stderr: expect.stringContaining(`--after: no such task: ${id}.7`) as unknown,
    });
    expect(await farm.tq(['submit', '--array', '1-2', '--after-each', `${id}.2`, '--', 'true'])).toMatchObject({ code: 2 });
    const w = await farm.worker(['-j', '3']);
    await farm.reaches(two, 'done');
    expect((await farm.reaches(four, 'skipped')).reason).toBe(`parent ${id}.4 ended failed`);
    expect((await farm.show(five)).state).toBe('waiting');
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(five, 'done');
    expect(await farm.ok(['logs', two])).toBe('200\n200\n');
    expect(await farm.ok(['logs', five])).toBe('500\n');
    const late = await farm.submit('--after', `${id}.2`, '--', 'true');
    await farm.reaches(late, 'done');
    expect(await farm.ok(['graph', four])).toMatch(new RegExp(`^${id}\\.4 +failed`));
    fs.writeFileSync(path.join(farm.dir, 'fixed'), '');
    await farm.ok(['retry', `${id}.4`]);
    await farm.reaches(four, 'done');
    await w.stop();
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('D6: on-success and on-failure follow once from the end of the whole, not from that of each element', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '--array',
      '1-20',
      '--on-success',
      'echo ok >> after',
      '--on-failure',
      'echo $TQ_PARENT_ID $TQ_PARENT_ERROR >> after',
      ...sh('[ {} -ne 5 ] || [ -e fixed ]'),
    );
    await drain(farm, '-j', '4');
    await drain(farm);
    expect(linesIn(path.join(farm.dir, 'after'))).toEqual([`${id} 1 of 20 failed`]);
    fs.writeFileSync(path.join(farm.dir, 'fixed'), '');
    await farm.ok(['retry', id, '--failed']);
    await drain(farm);
    await drain(farm);
    expect(linesIn(path.join(farm.dir, 'after'))).toEqual([`${id} 1 of 20 failed`, 'ok']);
  });

  it('H7: of an array parent the results come as one JSON array, in the order of its elements', async () => {
    const farm = await makeFarm();
    const id = await farm.submit(
      '-n',
      'squares',
      '--array',
      '1-12',
      ...sh('sleep 0.0$(( 9 - {} % 9 )); echo $(( {} * {} )) > $TQ_RESULT_FILE'),
    );
    const sum = await farm.submit('--after', id, ...sh('cat $TQ_INPUTS/squares.json'));
    await drain(farm, '-j', '4');
    expect(JSON.parse(await farm.ok(['logs', sum]))).toEqual(Array.from({ length: 12 }, (_, i) => (i + 1) ** 2));
    expect((await farm.show(id)).result).toEqual(Array.from({ length: 12 }, (_, i) => (i + 1) ** 2));
  });

  it('H3: with --after-each each element waits for its own: 3 starts while 4 runs, and only 2 is skipped', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('--array', '1-5', ...sh('case {} in 2) exit 1;; 4) while [ ! -e go ]; do sleep 0.02; done;; esac'));
    const b = await farm.submit('--array', '1-5', '--after-each', a, ...sh('echo {} >> ran'));
    expect((await farm.show(b)).state).toBe('waiting');
    const w = await farm.worker(['-j', '6']);
    await farm.reaches(`${b}.3`, 'done');
    await farm.reaches(`${b}.2`, 'skipped');
    expect((await farm.show(`${a}.4`)).state).toBe('running');
    expect((await farm.show(`${b}.4`)).state).toBe('waiting');
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(`${b}.4`, 'done');
    await until(
      async () => arrayOf(await farm.show(b)).done === 4,
      () => 'four have run',
    );
    expect(linesIn(path.join(farm.dir, 'ran')).toSorted()).toEqual(['1', '3', '4', '5']);
    await w.stop();
  });

  it('H3: --after-each of something without such elements is wrong usage', async () => {
    const farm = await makeFarm();
    const one = await farm.submit('--hold', '--', 'true');
    const five = await farm.submit('--array', '1-5', '--hold', '--', 'true');
    for (const args of [
      ['--array', '1-5', '--after-each', one],
      ['--array', '1-6', '--after-each', five],
      ['--after-each', five],
    ]) {
      const ran = await farm.tq(['submit', ...args, '--', 'true']);
      expect([ran.code, ran.stdout], args.join(' ')).toEqual([2, '']);
      expect(ran.stderr).toContain('--after-each');
    }
  });
});

describe('state and recovery', () => {
  it('G9: the counts add up to the size at every moment of a run', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-1500', ...sh('exit $(( {} % 100 == 0 ))'));
    const workers = await Promise.all([1, 2].map((n) => farm.worker(['--name', `w${n}`, '-j', '2'])));
    const q = await farm.open();
    const { readArray } = await import('../../src/queue/array.ts');
    let reads = 0;
    for (;;) {
      const array = (await readArray(q, id))!;
      expect(Object.values(array.counts).reduce((sum, n) => sum + n, 0)).toBe(1500);
      reads++;
      if (array.state === 'failed') break;
      expect(['queued', 'running', 'failed']).toContain(array.state);
    }
    expect(reads).toBeGreaterThan(20);
    expect(arrayOf(await farm.show(id))).toEqual({ size: 1500, queued: 0, running: 0, done: 1485, failed: 15, canceled: 0 });
    await Promise.all(workers.map((w) => w.stop()));
  });

  it('G11: workers killed again and again: every element ends once, and none runs in two workers at once', async () => {
    const farm = await makeFarm();
    // Each leaves its process number while it runs; one that was killed leaves that of none, or of a zombie.
    const command =
      'grep -q "^State:.[^ZX]" /proc/$(cat pid.{} 2>/dev/null)/status 2>/dev/null && echo {} >> overlap; echo $$ > pid.{}; echo {} >> ran; sleep 0.005; rm -f pid.{}';
    const id = await farm.submit('--array', '1-1500', ...sh(command));
    let workers: TestWorker[] = await Promise.all([1, 2, 3, 4].map((n) => farm.worker(['--name', `w${n}`, '-j', '2'])));
    for (let kill = 0; kill < 12; kill++) {
      const before = linesIn(path.join(farm.dir, 'ran')).length;
      await until(
        () => linesIn(path.join(farm.dir, 'ran')).length > before + 10,
        () => 'some more have run',
      );
      const victim = workers[kill % 4]!;
      victim.signal('SIGKILL');
      await victim.ended;
      workers = workers.with(kill % 4, await farm.worker(['--name', victim.name, '-j', '2']));
    }
    const task = await farm.reaches(id, 'done');
    expect(arrayOf(task)).toEqual({ size: 1500, queued: 0, running: 0, done: 1500, failed: 0, canceled: 0 });
    expect(new Set(linesIn(path.join(farm.dir, 'ran'))).size).toBe(1500);
    expect(linesIn(path.join(farm.dir, 'overlap'))).toEqual([]);
    // Again at most what was running when its worker was killed, or had just ended and was not written down.
    expect(linesIn(path.join(farm.dir, 'ran')).length).toBeLessThanOrEqual(1500 + 12 * 4);
    await Promise.all(workers.map((w) => w.stop()));
    const checked = await farm.tq(['doctor']);
    expect(checked.code, checked.stdout).toBe(0);
  });

  it('I2: a worker that stands still with a chunk past its lease loses it: what has ended is not run again, nothing overlaps', async () => {
    const farm = await makeFarm({ lease: 2000 });
    const w1 = await farm.worker(['--name', 'w1', '-j', '2']);
    const command = 'exec 9>lock.{}; flock -n 9 || echo {} >> overlap; echo {} >> ran; sleep 0.01; echo {} >> ended';
    const id = await farm.submit('--array', '1-400', ...sh(command));
    await until(
      () => linesIn(path.join(farm.dir, 'ended')).length > 60,
      () => 'chunks run',
    );
    w1.signal('SIGSTOP');
    const w2 = await farm.worker(['--name', 'w2', '-j', '2']);
    await until(
      async () => (arrayOf(await farm.show(id)).done ?? 0) > 300,
      () => 'the other one goes on',
    );
    w1.signal('SIGCONT');
    const task = await farm.reaches(id, 'done');
    expect(arrayOf(task)).toEqual({ size: 400, queued: 0, running: 0, done: 400, failed: 0, canceled: 0 });
    expect(linesIn(path.join(farm.dir, 'overlap'))).toEqual([]);
    // Again at most what ran when it was stopped, or had ended and was not written down yet.
    expect(linesIn(path.join(farm.dir, 'ran')).length).toBeLessThanOrEqual(400 + 4);
    await Promise.all([w1.stop(), w2.stop()]);
    const checked = await farm.tq(['doctor']);
    expect(checked.code, checked.stdout).toBe(0);
  });

  it('I8: an element whose end cannot be written down by a worker that leaves is kept on its disk, and not run again', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--array', '1-80', ...sh('echo {} >> ran'));
    // With one slot begin and end take turns in a journal: from some end on nothing can be written any more.
    const w = await farm.worker(['--name', 'w', '-j', '1'], { env: { TQ_FAULT: 'fail-some:EIO:append@/runs/:40:999999' } });
    await until(
      () => w.stderr().includes('cannot be recorded'),
      () => 'an end cannot be written',
    );
    w.signal('SIGTERM');
    w.signal('SIGTERM');
    await w.ended;
    await drain(farm, '-j', '2', '--name', 'w');
    expect(arrayOf(await farm.reaches(id, 'done')).done).toBe(80);
    expect(linesIn(path.join(farm.dir, 'ran')).toSorted()).toEqual(Array.from({ length: 80 }, (_, i) => String(i + 1)).toSorted());
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('F11: two idle workers share the elements of an array at once', async () => {
    const farm = await makeFarm();
    const workers = await Promise.all([1, 2].map((n) => farm.worker(['--name', `w${n}`, '-j', '4'])));
    const id = await farm.submit('--array', '1-8', ...sh('while [ ! -e go ]; do sleep 0.05; done'));
    await until(
      async () => arrayOf(await farm.show(id)).running === 8,
      () => 'all run',
    );
    fs.writeFileSync(path.join(farm.dir, 'go'), '');
    await farm.reaches(id, 'done');
    await Promise.all(workers.map((w) => w.stop()));
  });
});
