/**
 * `tq submit --batch`: many task objects in one submission, all or none, from outside.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeId } from '../../src/queue/layout.ts';
import type { TaskView } from '../../src/queue/read.ts';
import { treeOf } from '../helpers/files.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

const lines = (tasks: readonly unknown[]): string => tasks.map((task) => `${JSON.stringify(task)}\n`).join('');

async function batch(farm: Farm, tasks: readonly unknown[], ...flags: string[]): Promise<string[]> {
  const out = await farm.ok(['submit', '--batch', '-', ...flags], { input: lines(tasks) });
  return out.split('\n').filter((line) => line !== '');
}

const baseOf = (id: string): string => id.split('.')[0]!;

/** Files below queued, waiting and the like. */
function taskFiles(queue: string): string[] {
  return Object.keys(treeOf(queue)).filter((name) => /^(?:queued|waiting|held|delayed|intents)\/.*\.json$/.test(name));
}

describe('G6: a batch', () => {
  it('G6: prints ID.N for line N, and each line is a task of its own', async () => {
    const farm = await makeFarm();
    const ids = await batch(farm, [
      { command: ['printf', '%s.', 'a b', '*'], name: 'first', label: { k: 'v' } },
      { command: 'echo two; exit 3', ok: '3', priority: 9 },
      { command: ['true'], hold: true, env: { A: '1' } },
    ]);
    const id = baseOf(ids[0]!);
    expect(ids).toEqual([`${id}.1`, `${id}.2`, `${id}.3`]);
    expect(await farm.show(ids[0]!)).toMatchObject({
      state: 'queued',
      name: 'first',
      labels: { k: 'v' },
      command: ['printf', '%s.', 'a b', '*'],
    });
    expect(await farm.show(ids[1]!)).toMatchObject({ shell: '/bin/sh', priority: 9 });
    expect(await farm.show(ids[2]!)).toMatchObject({ state: 'held', env: { A: '1' } });
    await farm.worker(['--until-empty']).then((w) => w.ended);
    expect(await farm.ok(['logs', ids[0]!])).toBe('a b.*.');
    expect((await farm.show(ids[1]!)).state).toBe('done');
    expect((await farm.show(ids[2]!)).state).toBe('held');
    expect((await farm.tq(['wait', `${id}.1-2`])).code).toBe(0);
  });

  it('G6: runs in the order of its lines, and no directory holds more than a thousand', async () => {
    const farm = await makeFarm();
    const log = path.join(farm.dir, 'order');
    const ids = await batch(
      farm,
      Array.from({ length: 1203 }, (_, i) =>
        i < 12 ? { command: ['sh', '-c', `echo ${i + 1} >> ${log}`] } : { command: ['true'], hold: true },
      ),
    );
    expect(ids).toHaveLength(1203);
    for (const place of ['queued', 'held']) {
      for (const dir of fs.readdirSync(path.join(farm.queue, place), { recursive: true, withFileTypes: true })) {
        if (!dir.isDirectory()) continue;
        expect(fs.readdirSync(path.join(dir.parentPath, dir.name)).length).toBeLessThanOrEqual(1000);
      }
    }
    await farm.worker(['-j', '1', '--until-empty']).then((w) => w.ended);
    expect(fs.readFileSync(log, 'utf8').trim().split('\n').map(Number)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]);
    expect((await farm.ok(['ls', '-s', 'held', '--count'])).trim()).toBe('1191');
  });

  it('G6: a bad line is named with its key, and nothing is submitted', async () => {
    const farm = await makeFarm();
    const before = treeOf(farm.queue);
    const good = Array.from({ length: 6 }, () => JSON.stringify({ command: ['true'] }));
    for (const [bad, said] of [
      ['{"command": ["true"], "timeout": "5x"}', /line 7: timeout: .*'5x'/],
      ['{"comand": ["true"]}', /line 7: unknown key 'comand'/],
      ['{"command": ["true"], "retries": -1}', /line 7: retries: .*'-1'/],
      ['{"command": ["true"]', /line 7: not JSON/],
      ['["true"]', /line 7: not a JSON object/],
      ['{}', /line 7: no command/],
      ['', /line 7: not JSON/],
      ['{"command": ["true"], "array": "5-1"}', /line 7: array: the range is reversed: '5-1'/],
    ] as const) {
      const ran = await farm.tq(['submit', '--batch', '-'], { input: [...good, bad, ...good].join('\n') });
      expect(ran, bad).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toMatch(said);
    }
    const keyed = await farm.tq(['submit', '--batch', '-'], { input: lines([{ command: ['true'] }, { command: ['true'], key: 'k' }]) });
    expect(keyed).toMatchObject({ code: 5, stdout: '', stderr: expect.stringContaining('line 2: key is for a single task') as string });
    const ran = await farm.tq(['submit', '--batch', '-'], { input: lines([{ command: ['true'], after: ['zzzzzzzzzzzzzz'] }]) });
    expect(ran).toMatchObject({ code: 3, stdout: '' });
    expect(treeOf(farm.queue)).toEqual(before);
  });

  it('G6: flags that are for one task, or for none, are refused', async () => {
    const farm = await makeFarm();
    const input = lines([{ command: ['true'] }]);
    for (const flags of [
      ['-c', 'x'],
      ['--stdin', '-'],
      ['-f', 'x.yaml'],
      ['--set', 'a=b'],
      ['--array', '1-3'],
      ['--max-fails', '0'],
    ]) {
      const ran = await farm.tq(['submit', '--batch', '-', ...flags], { input });
      expect(ran, flags.join(' ')).toMatchObject({ code: 2, stdout: '' });
    }
    expect((await farm.tq(['submit', '--batch', '-', '--follow'], { input })).code).toBe(125);
    expect((await farm.tq(['submit', '--batch', 'file'], { input })).stderr).toContain("'file'");
    expect((await farm.tq(['submit', '--batch', '-', '--', 'true'], { input })).code).toBe(2);
    expect((await farm.tq(['run', '--batch', '-'], { input })).code).toBe(125);
    expect((await farm.tq(['submit', '--max-fails', '3', '--', 'true'])).code).toBe(2);
    expect(taskFiles(farm.queue)).toEqual([]);
  });

  it('G6: the command line gives what a line does not say; --dry-run and --json show tasks', async () => {
    const farm = await makeFarm();
    const tasks = [{ command: ['true'] }, { command: ['true'], queue: 'own', label: { b: '2' } }];
    const before = treeOf(farm.queue);
    const dry = await farm.ok(['submit', '--batch', '-', '--dry-run', '-q', 'gpu'], { input: lines(tasks) });
    expect((JSON.parse(dry) as TaskView[]).map((task) => task.queue)).toEqual(['gpu', 'own']);
    expect(treeOf(farm.queue)).toEqual(before);
    const json = await farm.ok(['submit', '--batch', '-', '--json', '-q', 'gpu', '-l', 'a=1', '-g', 'both'], { input: lines(tasks) });
    const views = JSON.parse(json) as TaskView[];
    expect(views.map((v) => [v.queue, v.labels, v.group])).toEqual([
      ['gpu', { a: '1' }, 'both'],
      ['own', { a: '1', b: '2' }, 'both'],
    ]);
    expect(await farm.ok(['submit', '--batch', '-'], { input: '' })).toBe('');
  });

  it('G6: --wait is 0 when all end done and 1 otherwise', async () => {
    const farm = await makeFarm();
    await farm.worker();
    expect(
      (await farm.tq(['submit', '--batch', '-', '--wait'], { input: lines([{ command: ['true'] }, { command: ['true'] }]) })).code,
    ).toBe(0);
    expect(
      (await farm.tq(['submit', '--batch', '-', '--wait'], { input: lines([{ command: ['true'] }, { command: ['false'] }]) })).code,
    ).toBe(1);
  });

  it('G6: killed at any file call, a batch is there as a whole or not at all', async () => {
    const outcomes = new Set<number>();
    for (let call = 1, code = -1; code !== 0; call++) {
      const farm = await makeFarm({ keep: true });
      try {
        const parent = await farm.submit('--hold', '--', 'true');
        const input = lines([
          { command: ['true'] },
          { command: ['true'], after: [parent] },
          { command: ['true'], hold: true },
          { command: ['true'], cpus: 2 },
        ]);
        const ran = await farm.tq(['submit', '--batch', '-'], { input, env: { TQ_FAULT: `die-after:${call}` } });
        ({ code } = ran);
        // A half-published one is finished by the next command, whatever it is.
        const there = Number((await farm.ok(['ls', '--count'])).trim()) - 1;
        expect(code === 0 ? [4] : [0, 4], `killed after call ${call}`).toContain(there);
        outcomes.add(there);
        expect(fs.readdirSync(path.join(farm.queue, 'intents'))).toEqual([]);
        expect(taskFiles(farm.queue)).toHaveLength(there + 1);
        const doctor = await farm.tq(['doctor']);
        expect(doctor.code, doctor.stdout).toBe(0);
      } finally {
        await farm.close();
      }
    }
    expect(outcomes).toEqual(new Set([0, 4]));
  }, 180_000);

  it('G6: a worker publishes and runs what a killed submit had committed', async () => {
    for (let call = 1; ; call++) {
      const farm = await makeFarm({ keep: true });
      try {
        const done = path.join(farm.dir, 'done');
        const ran = await farm.tq(['submit', '--batch', '-'], {
          input: lines([{ command: ['touch', done] }]),
          env: { TQ_FAULT: `die-after:${call}` },
        });
        expect(ran.code, 'one of the calls is the commit').not.toBe(0);
        if (fs.readdirSync(path.join(farm.queue, 'intents')).length === 0) continue;
        await farm.worker();
        await until(
          () => fs.existsSync(done),
          () => 'the task runs',
        );
        return;
      } finally {
        await farm.close();
      }
    }
  });

  it('F3: tasks submitted before and after a batch within the same seconds run before and after it', async () => {
    const farm = await makeFarm();
    const log = path.join(farm.dir, 'order');
    const say = (word: string): string => `echo ${word} >> ${log}`;
    await farm.submit('-c', say('before'));
    await batch(farm, [{ command: say('one') }, { command: say('two') }]);
    await farm.submit('-c', say('between'));
    const last = await batch(farm, [{ command: say('three') }]);
    await farm.submit('-c', say('after'));
    await farm.worker(['-j', '1', '--until-empty']).then((w) => w.ended);
    expect(fs.readFileSync(log, 'utf8').trim().split('\n')).toEqual(['before', 'one', 'two', 'between', 'three', 'after']);
    expect(last).toHaveLength(1);
  });

  it('G6: @last is the whole of it, a submission is a parent, and ls shows it in its order', async () => {
    const farm = await makeFarm();
    const ids = await batch(
      farm,
      Array.from({ length: 1100 }, () => ({ command: ['true'], hold: true })),
    );
    const id = baseOf(ids[0]!);
    expect(
      (await farm.ok(['ls', '-o', 'id', '--no-header']))
        .trim()
        .split('\n')
        .map((line) => line.trim()),
    ).toEqual(ids);
    expect((await farm.ok(['cancel', '@last'])).trim().split('\n').toSorted()).toEqual(ids.toSorted());
    expect((await farm.tq(['submit', '--after', id, '--', 'true'])).stderr).toContain('1100 tasks');
    const few = baseOf((await batch(farm, [{ command: ['true'] }, { command: ['true'] }]))[0]!);
    const child = await farm.submit('--after', few, '--', 'true');
    expect((await farm.show(child)).after.map((p) => p.id)).toEqual([`${few}.1`, `${few}.2`]);
    await farm.worker(['--until-empty']).then((w) => w.ended);
    expect((await farm.show(child)).state).toBe('done');
  });

  it('H1: lines come after an array, an element of it, a task and another submission', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('--array', '1-3', '--', 'sh', '-c', '[ {} -ne 3 ]');
    const one = await farm.submit('--', 'true');
    const other = await batch(farm, [{ command: ['true'] }, { command: ['true'] }]);
    const parents = [array, `${array}.2`, `${array}.3`, one, baseOf(other[0]!), other[1]!];
    const ids = await batch(
      farm,
      ['after', 'after-any', 'after-notok'].flatMap((kind) => parents.map((parent) => ({ command: ['true'], [kind]: [parent] }))),
    );
    for (const id of ids) expect((await farm.show(id)).state).toBe('waiting');
    const w = await farm.worker(['-j', '4']);
    await farm.ok(['wait', '--timeout', '30', ...ids]).catch(() => undefined);
    const states = await Promise.all(ids.map(async (id) => (await farm.show(id)).state));
    expect(states).toEqual([
      ...['skipped', 'done', 'skipped', 'done', 'done', 'done'],
      ...['done', 'done', 'done', 'done', 'done', 'done'],
      ...['done', 'skipped', 'done', 'skipped', 'skipped', 'skipped'],
    ]);
    // Ended before as well.
    const [late, never] = await batch(farm, [
      { command: ['true'], 'after-any': array },
      { command: ['true'], after: [array, one] },
    ]);
    await farm.reaches(late!, 'done');
    await farm.reaches(never!, 'skipped');
    await w.stop();
  });

  it('H4: a parent that is not there is told with its line, and nothing is submitted', async () => {
    const farm = await makeFarm();
    const array = await farm.submit('--array', '1-3', '--', 'true');
    const before = treeOf(farm.queue);
    const nosuch = makeId(Date.now());
    for (const [task, code, said] of [
      [{ after: [nosuch] }, 3, `line 2: after: no such task: ${nosuch}`],
      [{ after: [`${array}.4`] }, 3, `line 2: after: no such task: ${array}.4`],
      [{ after: ['zzzz'] }, 3, 'line 2: '],
      [{ 'after-each': [array] }, 2, `line 2: after-each ${array}: this is one task, not an array`],
      [{ key: 'k' }, 5, 'line 2: key is for a single task'],
    ] as const) {
      const ran = await farm.tq(['submit', '--batch', '-'], { input: lines([{ command: ['true'] }, { command: ['true'], ...task }]) });
      expect(ran).toMatchObject({ code, stdout: '' });
      expect(ran.stderr).toContain(said);
    }
    expect(Object.keys(treeOf(farm.queue))).toEqual(Object.keys(before));
  });

  it('G6: doctor tells of a submission that is committed and not published, and --fix publishes it', async () => {
    for (let call = 1; ; call++) {
      const farm = await makeFarm({ keep: true });
      try {
        const input = lines([{ command: ['true'] }, { command: ['true'], hold: true }]);
        const ran = await farm.tq(['submit', '--batch', '-'], { input, env: { TQ_FAULT: `die-after:${call}` } });
        expect(ran.code, 'one of the calls is the commit').not.toBe(0);
        if (fs.readdirSync(path.join(farm.queue, 'intents')).length === 0) continue;
        const told = await farm.tq(['doctor']);
        expect(told).toMatchObject({
          code: 0,
          stdout: expect.stringMatching(/warning\s+intent: .*not all of it is in its place/) as string,
        });
        expect(fs.readdirSync(path.join(farm.queue, 'intents'))).toHaveLength(1);
        expect(await farm.ok(['doctor', '--fix'])).toMatch(/fixed\s+intent/);
        expect(taskFiles(farm.queue).filter((name) => !name.startsWith('intents/'))).toHaveLength(2);
        return;
      } finally {
        await farm.close();
      }
    }
  });

  it('G6: gc takes the rules of a submission with the last of its tasks', async () => {
    const farm = await makeFarm();
    const rules = ['--max-fails', '1', '--on-failure', 'true'];
    const ids = await batch(farm, [{ command: ['false'] }, { command: ['true'] }], ...rules);
    await farm.worker(['-j', '1', '--until-empty']).then((w) => w.ended);
    const id = baseOf(ids[0]!);
    const left = (): string[] => Object.keys(treeOf(farm.queue)).filter((name) => name.startsWith(`groups/${id}`));
    expect(left().length).toBeGreaterThan(2);
    await farm.ok(['rm', ...ids]);
    await farm.ok(['gc']);
    // Young ones are kept: their submission may still be on its way.
    expect(left().length).toBeGreaterThan(2);
    const at = Date.now() - 10 * 86_400_000;
    const older = makeId(at, at);
    for (const name of ['', '.json'])
      fs.renameSync(path.join(farm.queue, `groups/${id}${name}`), path.join(farm.queue, `groups/${older}${name}`));
    await farm.ok(['gc']);
    expect(fs.readdirSync(path.join(farm.queue, 'groups')).filter((name) => name.startsWith(older))).toEqual([]);
  });
});
