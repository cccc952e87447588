/**
 * Groups as a whole: counts and words, changes that are finished whoever dies, how many may fail, and what is made at the end.
 */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import type { TaskView } from '../../src/queue/read.ts';
import { treeOf } from '../helpers/files.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

interface Summary {
  group: string;
  word: string;
  percent: number;
  size: number;
  counts: Record<string, number>;
}

async function group(farm: Farm, name = 'g'): Promise<Summary> {
  return JSON.parse(await farm.ok(['group', 'show', name, '--json'])) as Summary;
}

/** Submits `n` commands as one batch of group g; the id of the submission. */
async function batch(farm: Farm, commands: readonly string[], ...flags: string[]): Promise<string> {
  const input = commands.map((command) => `${JSON.stringify({ command })}\n`).join('');
  return (await farm.ok(['submit', '--batch', '-', '-g', 'g', ...flags], { input })).split('.')[0]!;
}

const times = (n: number, command: string): string[] => Array.from({ length: n }, () => command);

async function runAll(farm: Farm, jobs = '1'): Promise<void> {
  await farm.worker(['-j', jobs, '--until-empty']).then((w) => w.ended);
}

async function flow(farm: Farm, workflow: object): Promise<string> {
  const file = path.join(farm.dir, 'flow.json');
  fs.writeFileSync(file, JSON.stringify(workflow));
  return (await farm.ok(['submit', '-f', file])).trim();
}

function lines(farm: Farm, name: string): string[] {
  const file = path.join(farm.dir, name);
  return fs.existsSync(file) ? fs.readFileSync(file, 'utf8').trim().split('\n') : [];
}

describe('G8: how many elements may fail', () => {
  it.each([
    { failing: 10, size: 100, limit: '10%', canceled: 90, word: 'failed' },
    { failing: 9, size: 100, limit: '10%', canceled: 0, word: 'completed' },
    { failing: 1, size: 10, limit: '10%', canceled: 9, word: 'failed' },
    { failing: 1, size: 11, limit: '10%', canceled: 0, word: 'completed' },
    { failing: 2, size: 11, limit: '10%', canceled: 9, word: 'failed' },
    { failing: 3, size: 8, limit: '3', canceled: 5, word: 'failed' },
    { failing: 2, size: 8, limit: '3', canceled: 0, word: 'completed' },
  ])('G8: $failing of $size with $limit', async ({ failing, size, limit, canceled, word }) => {
    const farm = await makeFarm();
    await batch(farm, [...times(failing, 'false'), ...times(size - failing, 'true')], '--max-fails', limit);
    await runAll(farm);
    const { counts, ...rest } = await group(farm);
    expect(counts).toMatchObject({ failed: failing, canceled, done: size - failing - canceled });
    expect(rest).toMatchObject({ word, percent: 100, size });
  });

  it('G8: a number counts elements and not their attempts, and what runs is ended with the rest', async () => {
    const farm = await makeFarm();
    await batch(farm, ['false', 'false', 'exec sleep 600', ...times(5, 'true')], '--max-fails', '2', '--retries', '2', '--backoff', 'none');
    const worker = await farm.worker(['-j', '3']);
    await until(
      async () => (await group(farm)).percent === 100,
      () => 'all have ended',
    );
    expect(await group(farm)).toMatchObject({ word: 'failed', counts: { failed: 2 } });
    const [first] = JSON.parse(await farm.ok(['ls', '-s', 'failed', '--json'])) as TaskView[];
    expect(first!.attempts).toHaveLength(3);
    const sleeper = (JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[]).find((v) => v.command[0] === 'exec sleep 600');
    expect(sleeper).toMatchObject({ state: 'canceled' });
    await worker.stop();
  });

  it('G8: a retried element counts when its last attempt failed', async () => {
    const farm = await makeFarm();
    const ok = path.join(farm.dir, 'ok');
    const id = await flow(farm, {
      name: 'g',
      'max-fails': 2,
      tasks: [{ command: `test -f ${ok}` }, { command: 'false', hold: true }, { command: 'true', hold: true }],
    });
    await runAll(farm);
    expect((await group(farm)).counts).toMatchObject({ failed: 1, held: 2 });
    fs.writeFileSync(ok, '');
    await farm.ok(['retry', `${id}.1`]);
    await runAll(farm);
    await farm.ok(['release', `${id}.2`]);
    await runAll(farm);
    // One failed before and one now, but never two together.
    expect(await group(farm)).toMatchObject({ word: 'paused', counts: { done: 1, failed: 1, held: 1 } });
    fs.rmSync(ok);
    await farm.ok(['retry', `${id}.1`]);
    await runAll(farm);
    expect(await group(farm)).toMatchObject({ word: 'failed', counts: { failed: 2, canceled: 1 } });
  });

  it('G8: a malformed threshold is named', async () => {
    const farm = await makeFarm();
    for (const text of ['0', '101%', '-1', 'x', '5%%']) {
      const ran = await farm.tq(['submit', '--batch', '-', `--max-fails=${text}`], { input: '{"command":["true"]}\n' });
      expect(ran).toMatchObject({ code: 2, stdout: '' });
      expect(ran.stderr).toContain(`'${text}'`);
    }
  });
});

describe('H11: a group as a whole', () => {
  it('H11: ls and show have counts, percent and one word', async () => {
    const farm = await makeFarm();
    await batch(farm, ['true', 'false', 'true', 'true']);
    await farm.submit('-g', 'other', '--hold', '--', 'true');
    await farm.submit('--', 'true');
    expect(await group(farm)).toEqual({
      group: 'g',
      word: 'active',
      percent: 0,
      size: 4,
      counts: { waiting: 0, delayed: 0, held: 0, queued: 4, running: 0, done: 0, failed: 0, canceled: 0, skipped: 0 },
    });
    expect(await group(farm, 'other')).toMatchObject({ word: 'paused', percent: 0 });
    await runAll(farm);
    expect(await farm.ok(['group', 'show', 'g'])).toBe('g: failed, 100% of 4 tasks\ndone      3\nfailed    1\n');
    expect((await farm.ok(['group', 'ls'])).split('\n').map((line) => line.trim().split(/\s+/))).toEqual([
      ['GROUP', 'STATE', 'ENDED', 'TASKS', 'LEFT', 'FAILED'],
      ['g', 'failed', '100%', '4', '0', '1'],
      ['other', 'paused', '0%', '1', '1', '0'],
      [''],
    ]);
    expect((await farm.tq(['wait', '-g', 'g'])).code).toBe(1);
    await farm.ok(['cancel', '-g', 'other']);
    expect((await group(farm, 'other')).word).toBe('canceled');
  });

  it('H11: hold lets what runs end and holds the rest, release goes on, cancel works then', async () => {
    const farm = await makeFarm();
    const go = path.join(farm.dir, 'go');
    const id = await batch(farm, [`while ! test -f ${go}; do sleep 0.05; done`, 'true', 'true']);
    const child = await farm.submit('-g', 'g', '--after', `${id}.1`, '--', 'true');
    const worker = await farm.worker(['-j', '1']);
    await farm.reaches(`${id}.1`, 'running');
    const held = (await farm.ok(['group', 'hold', 'g'])).trim().split('\n');
    expect(held.toSorted()).toEqual([child, `${id}.2`, `${id}.3`].toSorted());
    fs.writeFileSync(go, '');
    await farm.reaches(`${id}.1`, 'done');
    expect(await group(farm)).toMatchObject({ word: 'paused', percent: 25, counts: { done: 1, held: 3 } });
    await farm.ok(['group', 'release', 'g']);
    await farm.reaches(child, 'done');
    await until(
      async () => (await group(farm)).word === 'completed',
      () => 'all is done',
    );
    await worker.stop();
    expect((await farm.tq(['wait', '-g', 'g'])).code).toBe(0);

    await batch(farm, ['true', 'true']);
    await farm.ok(['group', 'hold', 'g']);
    await farm.ok(['group', 'cancel', 'g', '--reason', 'not needed']);
    expect(await group(farm)).toMatchObject({ word: 'canceled', counts: { done: 4, canceled: 2 } });
    const [canceled] = JSON.parse(await farm.ok(['ls', '-s', 'canceled', '--json'])) as TaskView[];
    expect(canceled).toMatchObject({ reason: 'not needed' });
  });

  it('H11: cancel ends what runs; parents and children are both canceled', async () => {
    const farm = await makeFarm();
    const id = await flow(farm, {
      name: 'g',
      tasks: [
        { id: 'last', after: 'first', command: 'true' },
        { id: 'first', command: 'exec sleep 600' },
      ],
    });
    const worker = await farm.worker();
    await farm.reaches(`${id}.2`, 'running');
    await farm.ok(['group', 'cancel', 'g']);
    await farm.reaches(`${id}.2`, 'canceled');
    expect(await group(farm)).toMatchObject({ word: 'canceled', counts: { canceled: 2 } });
    await worker.stop();
  });

  it('H11: no such group is 3, nothing to do is 3, a wrong name is 2; --dry-run changes nothing', async () => {
    const farm = await makeFarm();
    await batch(farm, ['true']);
    expect((await farm.tq(['group', 'show', 'nosuch'])).code).toBe(3);
    expect((await farm.tq(['group', 'cancel', 'nosuch'])).code).toBe(3);
    expect((await farm.tq(['group', 'release', 'g'])).code).toBe(3);
    for (const verb of ['show', 'cancel', 'hold', 'release']) {
      const ran = await farm.tq(['group', verb, 'a/b']);
      expect(ran.code).toBe(2);
      expect(ran.stderr).toContain("'a/b'");
      expect((await farm.tq(['group', verb])).code).toBe(2);
    }
    const before = treeOf(farm.queue);
    for (const verb of ['cancel', 'hold']) {
      expect(JSON.parse(await farm.ok(['group', verb, 'g', '--dry-run']))).toMatchObject({ state: verb === 'hold' ? 'held' : 'canceled' });
    }
    expect(treeOf(farm.queue)).toEqual(before);
  });
});

describe('I13: a change of a group that stops half-way', () => {
  const states = (farm: Farm): Record<string, number> => {
    const counts: Record<string, number> = {};
    for (const name of Object.keys(treeOf(farm.queue))) {
      const state = /^(queued|held|waiting|canceled)\/.*\.json$/.exec(name)?.[1];
      if (state !== undefined) counts[state] = (counts[state] ?? 0) + 1;
    }
    return counts;
  };

  /** A thousand tasks, and a cancel of them that dies somewhere in the middle. */
  async function halfCanceled(): Promise<Farm> {
    const farm = await makeFarm();
    await batch(farm, times(1000, 'true'));
    const ran = await farm.tq(['group', 'cancel', 'g', '--reason', 'stop'], { env: { TQ_FAULT: 'die-after:1500' } });
    expect(ran.code).toBe(137);
    const { queued = 0, canceled = 0 } = states(farm);
    expect(queued + canceled).toBe(1000);
    expect(queued).toBeGreaterThan(0);
    expect(canceled).toBeGreaterThan(0);
    return farm;
  }

  it('I13: the next command does the rest', async () => {
    const farm = await halfCanceled();
    await farm.ok(['ls']);
    expect(states(farm)).toEqual({ canceled: 1000 });
    expect(fs.readdirSync(path.join(farm.queue, 'intents'))).toEqual([]);
    const views = JSON.parse(await farm.ok(['ls', '-a', '--json'])) as TaskView[];
    expect(new Set(views.map((v) => v.reason))).toEqual(new Set(['stop']));
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('I13: or a worker does, which runs none of them', async () => {
    const farm = await halfCanceled();
    const later = await farm.submit('-g', 'g', '--hold', '--', 'true');
    await farm.worker(['-q', 'nothing']);
    await until(
      () => states(farm)['canceled'] === 1000,
      () => 'all are canceled',
    );
    // What came into the group afterwards was not meant.
    expect((await farm.show(later)).state).toBe('held');
  });
});

describe('H10: what is made at the end of a group', () => {
  const tell = (kind: string): string => `echo ${kind} $TQ_PARENT_ID $TQ_PARENT_OUTCOME >> told`;
  const callbacks = { 'on-success': tell('success'), 'on-failure': tell('failure'), 'on-cancel': tell('cancel') };

  it('H10: on-failure once however many fail; after a retry that succeeds the join runs once, and on-success', async () => {
    const farm = await makeFarm();
    const ok = path.join(farm.dir, 'ok');
    const members = Array.from({ length: 5 }, (_, i) => ({ id: `m${i}`, command: i < 3 ? `test -f ${ok}` : 'true' }));
    const join = { id: 'join', after: members.map((m) => m.id), command: 'echo joined >> joined' };
    const id = await flow(farm, { name: 'g', tasks: [join, ...members], ...callbacks });
    await runAll(farm, '4');
    expect(await group(farm)).toMatchObject({ word: 'failed', counts: { failed: 3, done: 2, skipped: 1 } });
    expect(lines(farm, 'told')).toEqual([`failure ${id} failed`]);
    fs.writeFileSync(ok, '');
    await farm.ok(['retry', '-g', 'g', '--failed']);
    await runAll(farm, '4');
    expect(lines(farm, 'joined')).toEqual(['joined']);
    expect(lines(farm, 'told')).toEqual([`failure ${id} failed`, `success ${id} succeeded`]);
    expect(await group(farm)).toMatchObject({ word: 'completed', size: 6 });
    await runAll(farm);
    await farm.ok(['rm', `${id}.2`]);
    await runAll(farm);
    expect(lines(farm, 'told')).toHaveLength(2);
  });

  it('H10: on-cancel when the group is canceled, whoever cancels the last of it', async () => {
    const farm = await makeFarm();
    const id = await flow(farm, { name: 'g', tasks: [{ command: 'true' }, { command: 'true', hold: true }], ...callbacks });
    await runAll(farm);
    expect(lines(farm, 'told')).toEqual([]);
    await farm.ok(['cancel', `${id}.2`]);
    await runAll(farm);
    expect(lines(farm, 'told')).toEqual([`cancel ${id} canceled`]);
  });

  it('H10: a worker killed at any file call of the last end: exactly one is made', async () => {
    for (let call = 20; call < 80; call += 3) {
      const farm = await makeFarm({ keep: true });
      try {
        const id = await flow(farm, { name: 'g', tasks: [{ command: 'true' }, { command: 'true' }], ...callbacks });
        const worker = await farm.worker(['--once', '-j', '1']);
        await worker.ended;
        const dying = farm.start(['worker', '--poll', '50ms', '--until-empty', '--name', 'dies'], {
          env: { TQ_FAULT: `die-after:${call}` },
        });
        await dying.ended;
        await runAll(farm);
        // One task, which may have been begun twice: by the worker that died and by the next.
        const made = JSON.parse(await farm.ok(['ls', '-a', '-n', 'on-*', '--json'])) as TaskView[];
        expect(
          made.map((v) => [v.name, v.state]),
          `killed after call ${call}`,
        ).toEqual([['on-success', 'done']]);
        expect(new Set(lines(farm, 'told'))).toEqual(new Set([`success ${id} succeeded`]));
      } finally {
        await farm.close();
      }
    }
  });

  it('H11: a deadline ends the group, from the first start on', async () => {
    const farm = await makeFarm();
    const tasks = [{ command: 'exec sleep 600' }, { command: 'true', hold: true }, { command: 'true' }];
    const id = await flow(farm, { name: 'g', deadline: '300ms', tasks, ...callbacks });
    const worker = await farm.worker(['-j', '2']);
    await until(
      () => lines(farm, 'told').length > 0,
      () => 'it is told',
    );
    expect(lines(farm, 'told')).toEqual([`failure ${id} failed`]);
    expect(await group(farm)).toMatchObject({ word: 'failed', counts: { canceled: 2, done: 1 } });
    expect((await farm.show(`${id}.2`)).reason).toBe('deadline');
    await worker.stop();
  });
});
