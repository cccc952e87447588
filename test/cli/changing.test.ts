/** The verbs that change tasks, from outside: in every state, racing workers and each other, and without any worker. */
import { execFileSync, spawn, spawnSync } from 'node:child_process';
import fs from 'node:fs';
import path from 'node:path';
import { text as textOf } from 'node:stream/consumers';
import { describe, expect, it } from 'vitest';
import { filesWith, placesOf, put, treeOf } from '../helpers/files.ts';
import { isThere, makeFarm, TQ, until, type Farm } from '../helpers/tq.ts';

const DAY = '24h';
/** A task that runs until its file is there. */
const gate = (name: string): string[] => ['--', 'sh', '-c', `echo $$ > ${name}.pid; until [ -e ${name} ]; do sleep 0.02; done`];
const open = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

async function isState(farm: Farm, id: string, state: string): Promise<void> {
  expect((await farm.show(id)).state).toBe(state);
}

/** One task in each state, with a worker that keeps the running one. */
async function oneOfEach(farm: Farm): Promise<Record<string, string>> {
  const ids: Record<string, string> = {};
  const w = await farm.worker(['-q', 'here', '-j', '4']);
  ids['running'] = await farm.submit('-q', 'here', ...gate('never'));
  ids['done'] = await farm.submit('-q', 'here', '--', 'true');
  ids['failed'] = await farm.submit('-q', 'here', '--', 'false');
  ids['held'] = await farm.submit('--hold', '--', 'true');
  ids['delayed'] = await farm.submit('--in', DAY, '--', 'true');
  ids['queued'] = await farm.submit('-q', 'elsewhere', '--', 'true');
  ids['waiting'] = await farm.submit('--after', ids['held'], '--', 'true');
  ids['canceled'] = await farm.submit('--hold', '--', 'true');
  await farm.ok(['cancel', ids['canceled']]);
  ids['skipped'] = await farm.submit('--after', ids['canceled'], '--', 'true');
  for (const state of ['running', 'done', 'failed', 'skipped']) await farm.reaches(ids[state]!, state);
  expect(w.child.exitCode).toBeNull();
  return ids;
}

describe('cancel', () => {
  it('E1: a task that does not run is canceled at once and never starts', async () => {
    const farm = await makeFarm();
    const held = await farm.submit('--hold', '--', 'touch', 'ran');
    const queued = await farm.submit('--', 'touch', 'ran');
    const waiting = await farm.submit('--after', held, '--', 'touch', 'ran');
    const delayed = await farm.submit('--in', '10ms', '--', 'touch', 'ran');
    const ids = [held, queued, waiting, delayed];
    expect(lines(await farm.ok(['cancel', ...ids]))).toEqual(ids);
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect(fs.existsSync(path.join(farm.dir, 'ran'))).toBe(false);
    for (const id of ids) {
      expect(placesOf(farm.queue, id)).toHaveLength(1);
      await isState(farm, id, 'canceled');
    }
  });

  it('E1: between two tries it is canceled and the next try is never made', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--retries', '3', '--backoff', `fixed:${DAY}`, '--', 'false');
    await farm.reaches(id, 'delayed');
    await farm.ok(['cancel', id]);
    const view = await farm.show(id);
    expect(view.state).toBe('canceled');
    expect(view.attempts).toHaveLength(1);
  });

  it('E1: a finished one is refused with 5 and nothing changes', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    await farm.ok(['cancel', id]);
    const before = treeOf(farm.queue);
    const again = await farm.tq(['cancel', id]);
    expect(again.code).toBe(5);
    expect(again.stdout).toBe('');
    expect(again.stderr).toContain(`${id} is canceled already`);
    expect(treeOf(farm.queue)).toEqual(before);
  });

  it('E2: a running one ends canceled with its processes gone, and the reason is shown', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--grace', '5s', ...gate('g'));
    await farm.reaches(id, 'running');
    await until(
      () => fs.existsSync(path.join(farm.dir, 'g.pid')),
      () => 'the task has begun',
    );
    const pid = Number(fs.readFileSync(path.join(farm.dir, 'g.pid'), 'utf8'));
    expect(await farm.ok(['cancel', '--wait', '--reason', 'wrong input', id])).toBe(`${id}\n`);
    expect(isThere(pid)).toBe(false);
    const view = await farm.show(id);
    expect(view.state).toBe('canceled');
    expect(view.reason).toContain('wrong input');
    expect(view.attempts.at(-1)?.outcome).toBe('canceled');
  });

  it('E2: --now does not wait for the grace', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--grace', '10m', '--', 'sh', '-c', "trap '' TERM; while :; do sleep 0.05; done");
    await farm.reaches(id, 'running');
    expect(await farm.ok(['cancel', '--now', '--wait', id])).toBe(`${id}\n`);
    await isState(farm, id, 'canceled');
  });

  it('E2: a .cancel file made by hand beside its entry does the same', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--grace', '100ms', ...gate('g'));
    const { file } = await farm.reaches(id, 'running');
    fs.writeFileSync(file.replace(/\.json$/, '.cancel'), '');
    await farm.reaches(id, 'canceled');
    await until(
      () => !filesWith(farm.queue, id).some((name) => name.endsWith('.cancel')),
      () => 'the request is gone',
    );
    expect((await farm.show(id)).attempts.at(-1)?.outcome).toBe('canceled');
  });

  it('E2 I15: on a full disk a running task can be canceled still; what does not fit is refused as a whole', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--grace', '100ms', ...gate('g'));
    await farm.reaches(id, 'running');
    const now = await farm.tq(['cancel', '--now', id], { env: { TQ_FAULT: 'fail:ENOSPC:create:1' } });
    expect([now.code, now.stdout]).toEqual([4, '']);
    expect(now.stderr).toMatch(/no space left: \/.+/);
    await isState(farm, id, 'running');
    expect(await farm.ok(['cancel', '--wait', id], { env: { TQ_FAULT: 'fail-some:ENOSPC:create:1:1' } })).toBe(`${id}\n`);
    await isState(farm, id, 'canceled');
  });

  it('E2 I15: a request or a note that could not be written in full is not there at all', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--grace', '100ms', ...gate('g'));
    const { file } = await farm.reaches(id, 'running');
    const before = filesWith(farm.queue, id);
    for (const verb of [
      ['cancel', id],
      ['note', id, 'a remark'],
    ]) {
      // Files can be made, and nothing be written to them.
      const line = `trap '' XFSZ; ulimit -f 0; "$0" "$@" 2>&1`;
      const ran = spawnSync('sh', ['-c', line, TQ, ...verb], { env: { ...process.env, TQ_DIR: farm.queue }, encoding: 'utf8' });
      expect(ran.stdout).toMatch(/EFBIG: \//);
    }
    // An empty directory of notes says nothing.
    expect(filesWith(farm.queue, id).filter((name) => name !== `notes/${id}`)).toEqual(before);
    expect(fs.existsSync(file)).toBe(true);
    expect((await farm.show(id)).notes).toEqual([]);
  });

  it('E2: --wait of a task that ends otherwise exits 5', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    // A worker of another machine has it, and finishes it before it sees the request.
    const { file } = await farm.show(id);
    const entry = put(farm, `running/far.1.0-aaaaaaa-bbbbb-ccccc-dddd/${id}.a1.json`, fs.readFileSync(file, 'utf8'));
    fs.unlinkSync(file);
    const waiting = farm.start(['cancel', '--wait', id]);
    await until(
      () => fs.existsSync(entry.replace(/json$/, 'cancel')),
      () => 'it was asked',
    );
    put(farm, `done/${id.slice(0, 4)}/${id.slice(4, 6)}/x`, '');
    fs.renameSync(entry, path.join(farm.queue, `done/${id.slice(0, 4)}/${id.slice(4, 6)}/${id}.a1.json`));
    const ran = await waiting.ended;
    expect([ran.code, ran.stdout]).toEqual([5, '']);
    // By whether it had looked once more before it waited.
    expect(ran.stderr).toMatch(new RegExp(`${id} (?:ended done|is done already)`));
  });

  it('E2: --wait asks all of them before it waits for one', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '3']);
    const stubborn = (name: string): string[] => [
      '--grace',
      '3s',
      '--',
      'sh',
      '-c',
      `trap '' TERM; echo > ${name}; while :; do sleep 0.05; done`,
    ];
    const ids: string[] = [];
    for (const name of ['a', 'b', 'c']) ids.push(await farm.submit(...stubborn(name)));
    for (const name of ['a', 'b', 'c'])
      await until(
        () => fs.existsSync(path.join(farm.dir, name)),
        () => `${name} has begun`,
      );
    expect(lines(await farm.ok(['cancel', '--wait', ...ids]))).toEqual(ids);
    const views = await Promise.all(ids.map((id) => farm.show(id)));
    // The last was asked before the first had ended: their ends lie closer together than one grace.
    const ends = views.map((v) => Date.parse(v.endedAt!));
    expect(views.map((v) => v.state)).toEqual(['canceled', 'canceled', 'canceled']);
    expect(Math.max(...ends) - Math.min(...ends)).toBeLessThan(3000);
  });

  it('E3: racing the end, a task has one end, one file and one outcome', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2']);
    for (let round = 0; round < 25; round++) {
      const id = await farm.submit('--', 'true');
      const [a, b] = await Promise.all([farm.tq(['cancel', id]), farm.tq(['cancel', id])]);
      await until(
        async () => ['done', 'canceled'].includes((await farm.show(id)).state),
        () => `${id} has ended`,
      );
      const places = placesOf(farm.queue, id);
      expect(places, `${id}`).toHaveLength(1);
      expect(places[0]).toMatch(/^(?:done|canceled)\//);
      for (const ran of [a, b]) expect([0, 5], `${ran.stderr}`).toContain(ran.code);
    }
    // A request that came too late is taken away at a heartbeat.
    await until(
      () => !Object.keys(treeOf(farm.queue)).some((name) => name.endsWith('.cancel')),
      () => 'no request is left',
    );
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('E3: of two cancels at once of a task that does not run exactly one says so', async () => {
    const farm = await makeFarm();
    for (let round = 0; round < 10; round++) {
      const id = await farm.submit('--hold', '--', 'true');
      const both = await Promise.all([farm.tq(['cancel', id]), farm.tq(['cancel', id])]);
      expect(both.map((r) => [r.code, r.stdout]).toSorted()).toEqual([
        [0, `${id}\n`],
        [5, ''],
      ]);
      expect(both.find((r) => r.code === 5)!.stderr).toContain('canceled already');
      expect(placesOf(farm.queue, id)).toEqual([expect.stringMatching(/^canceled\//)]);
    }
  });
});

describe('every verb in every state', () => {
  const legal: Record<string, readonly string[]> = {
    hold: ['waiting', 'delayed', 'queued'],
    release: ['held'],
    retry: ['done', 'failed', 'canceled', 'skipped'],
    rm: ['done', 'failed', 'canceled', 'skipped'],
    cancel: ['waiting', 'delayed', 'queued', 'held', 'running'],
    set: ['waiting', 'delayed', 'queued', 'held'],
  };

  it('E4: what a state does not allow exits 5 and changes nothing', async () => {
    const farm = await makeFarm();
    const ids = await oneOfEach(farm);
    for (const [verb, states] of Object.entries(legal)) {
      for (const [state, id] of Object.entries(ids)) {
        if (states.includes(state)) continue;
        const places = filesWith(farm.queue, id);
        const ran = await farm.tq([verb, id, ...(verb === 'set' ? ['-p', '5'] : [])]);
        expect(ran.code, `${verb} of ${state}: ${ran.stderr}`).toBe(5);
        expect(ran.stdout).toBe('');
        expect(ran.stderr, `${verb} of ${state}`).toContain(state);
        expect(filesWith(farm.queue, id), `${verb} of ${state}`).toEqual(places);
      }
    }
  });

  it('E4: what it allows is done, and the id is printed', async () => {
    for (const [verb, states] of Object.entries(legal)) {
      const farm = await makeFarm();
      const ids = await oneOfEach(farm);
      // A parent that ends takes its child along, so the child comes first.
      for (const state of states.toSorted((a) => (a === 'waiting' || a === 'skipped' ? -1 : 1))) {
        const id = ids[state]!;
        const ran = await farm.tq([verb, id, ...(verb === 'set' ? ['-p', '5'] : [])]);
        expect([ran.code, ran.stdout], `${verb} of ${state}: ${ran.stderr}`).toEqual([0, `${id}\n`]);
      }
      await farm.close();
    }
  });

  it('E4: of three tasks with one finished the other two are done, one error line, exit 5', async () => {
    const farm = await makeFarm();
    const [a, b, c] = [
      await farm.submit('--hold', '--', 'true'),
      await farm.submit('--hold', '--', 'true'),
      await farm.submit('--', 'true'),
    ];
    await farm.ok(['cancel', b]);
    const ran = await farm.tq(['cancel', a, b, c]);
    expect(ran.code).toBe(5);
    expect(lines(ran.stdout)).toEqual([a, c]);
    expect(lines(ran.stderr).filter((line) => line.includes('tq:'))).toEqual([expect.stringContaining(b)]);
    const json = await farm.tq(['cancel', '--json', a, b, c]);
    expect(json.code).toBe(5);
    for (const line of lines(json.stderr)) {
      expect((JSON.parse(line) as { error: object }).error).toMatchObject({
        code: 'WRONG_STATE',
        exit: 5,
        message: expect.any(String) as string,
        hint: expect.any(String) as string,
      });
    }
  });
});

describe('hold and release', () => {
  it('E5: queued, waiting and delayed are held, not taken, and go back where they were', async () => {
    const farm = await makeFarm();
    const parent = await farm.submit('--hold', '-n', 'parent', '--', 'true');
    const queued = await farm.submit('--', 'touch', 'ran');
    const waiting = await farm.submit('--after', parent, '--', 'true');
    const delayed = await farm.submit('--in', DAY, '--', 'true');
    const due = await farm.show(delayed);
    await farm.ok(['hold', queued, waiting, delayed]);
    for (const id of [queued, waiting, delayed]) await isState(farm, id, 'held');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect(fs.existsSync(path.join(farm.dir, 'ran'))).toBe(false);
    await farm.ok(['release', queued, waiting, delayed]);
    await isState(farm, queued, 'queued');
    await isState(farm, waiting, 'waiting');
    await isState(farm, delayed, 'delayed');
    // Due moments are kept to a twentieth of a second.
    expect(Math.abs(Date.parse((await farm.show(delayed)).notBefore!) - Date.parse(due.notBefore!))).toBeLessThan(100);
  });

  it('E5: a released task has its old place in the order', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 4; i++) ids.push(await farm.submit('--', 'sh', '-c', `echo ${i} >> order`));
    await farm.ok(['hold', ids[1]!]);
    await farm.ok(['release', ids[1]!]);
    await farm.ok(['worker', '-j', '1', '--until-empty', '--poll', '50ms']);
    expect(lines(fs.readFileSync(path.join(farm.dir, 'order'), 'utf8'))).toEqual(['0', '1', '2', '3']);
  });

  it('E5: what is due meanwhile is queued, what is not keeps its back-off, also after parents', async () => {
    const farm = await makeFarm();
    const due = await farm.submit('--in', '50ms', '--', 'true');
    await farm.ok(['hold', due]);
    await until(
      async () => Date.now() > Date.parse((await farm.show(due)).notBefore!) + 100,
      () => 'its time has come',
    );
    await farm.ok(['release', due]);
    await isState(farm, due, 'queued');

    const parent = await farm.submit('--', 'true');
    const child = await farm.submit('--after', parent, '--retries', '1', '--backoff', `fixed:${DAY}`, '--', 'false');
    await farm.worker();
    await farm.reaches(child, 'delayed');
    await farm.ok(['hold', child]);
    await farm.ok(['release', child]);
    expect((await farm.show(child)).state).toBe('delayed');
  });

  it('E13: a held parent is an outside event: released its child runs, canceled its child is skipped', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const [go, no] = [await farm.submit('--hold', '-n', 'ok', '--', 'true'), await farm.submit('--hold', '-n', 'ok', '--', 'true')];
    const [after, never] = [await farm.submit('--after', go, '--', 'true'), await farm.submit('--after', no, '--', 'true')];
    await isState(farm, after, 'waiting');
    await farm.ok(['release', go]);
    await farm.ok(['cancel', no]);
    await farm.reaches(after, 'done');
    expect((await farm.reaches(never, 'skipped')).reason).toContain(no);
  });

  it('E13: released with a result it is done without running, and its child goes on', async () => {
    const farm = await makeFarm();
    const asked = await farm.submit('--hold', '--', 'touch', 'ran');
    const child = await farm.submit('--after', asked, '--', 'true');
    const bad = await farm.tq(['release', asked, '--result', '{k:1}']);
    expect(bad.code).toBe(2);
    expect(bad.stderr).toContain("--result: not JSON: '{k:1}'");
    await isState(farm, asked, 'held');
    await farm.ok(['release', asked, '--result', '{"k":1}']);
    const view = await farm.show(asked);
    expect([view.state, view.result, view.attempts]).toEqual(['done', { k: 1 }, []]);
    await isState(farm, child, 'queued');
    await farm.ok(['worker', '--until-empty', '--poll', '50ms']);
    expect(fs.existsSync(path.join(farm.dir, 'ran'))).toBe(false);
  });
});

describe('retry', () => {
  it('E6: one finished task runs again as its next attempt, with fresh retries', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--retries', '1', '--backoff', 'none', '--', 'false');
    const other = await farm.submit('--', 'true');
    await farm.reaches(id, 'failed');
    const before = await farm.reaches(other, 'done');
    await farm.ok(['retry', id]);
    await until(
      async () => (await farm.show(id)).attempts.length === 4,
      () => 'it has tried twice more',
    );
    expect((await farm.reaches(id, 'failed')).attempts.map((a) => a.outcome)).toEqual(['failed', 'failed', 'failed', 'failed']);
    expect((await farm.show(other)).endedAt).toBe(before.endedAt);
  });

  it('E6: --in delays it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    await farm.ok(['cancel', id]);
    const asked = Date.now();
    await farm.ok(['retry', '--in', '5m', id]);
    const view = await farm.show(id);
    expect(view.state).toBe('delayed');
    expect(Date.parse(view.notBefore!)).toBeGreaterThanOrEqual(asked + 299_000);
  });

  it('E7: a worker that failed it may take it again at once, while another one could but is busy', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w2', '-j', '1']);
    const busy = await farm.submit('--worker', 'w2', ...gate('g'));
    await farm.reaches(busy, 'running');
    await farm.worker(['--name', 'w1', '-j', '1']);
    const id = await farm.submit('-g', 'G', '--', 'test', '-e', 'ok');
    await farm.reaches(id, 'failed');
    open(farm, 'ok');
    await farm.ok(['retry', '-g', 'G', '--failed']);
    // Sooner than the minute for which a retry of its own would leave it to others.
    expect((await farm.reaches(id, 'done')).attempts.map((a) => a.worker)).toEqual(['w1', 'w1']);
    open(farm, 'g');
  });

  it('E7: by group and --failed, done ones keep their end', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const good = await farm.submit('-g', 'g', '--', 'true');
    const bad = [await farm.submit('-g', 'g', '--', 'test', '-e', 'fixed'), await farm.submit('-g', 'g', '--', 'test', '-e', 'fixed')];
    const stranger = await farm.submit('--', 'false');
    const ended = (await farm.reaches(good, 'done')).endedAt;
    for (const id of [...bad, stranger]) await farm.reaches(id, 'failed');
    open(farm, 'fixed');
    expect(lines(await farm.ok(['retry', '-g', 'g', '--failed'])).toSorted()).toEqual(bad.toSorted());
    for (const id of bad) await farm.reaches(id, 'done');
    expect((await farm.show(good)).endedAt).toBe(ended);
    await isState(farm, stranger, 'failed');
    expect((await farm.tq(['retry', '-g', 'g', '--failed'])).code).toBe(3);
  });

  it('H2: dependants that were skipped go back to waiting and run', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const a = await farm.submit('--', 'test', '-e', 'fixed');
    const b = await farm.submit('--after', a, '--', 'true');
    const c = await farm.submit('--after', b, '--', 'true');
    await farm.reaches(c, 'skipped');
    open(farm, 'fixed');
    await farm.ok(['retry', a]);
    for (const id of [a, b, c]) expect((await farm.reaches(id, 'done')).attempts.at(-1)?.outcome).toBe('succeeded');
  });

  it('A7: a task whose key another unfinished one holds is refused', async () => {
    const farm = await makeFarm();
    const first = await farm.submit('--hold', '--key', 'k', '--', 'true');
    await farm.ok(['cancel', first]);
    const second = await farm.submit('--hold', '--key', 'k', '--', 'true');
    expect(second).not.toBe(first);
    const refused = await farm.tq(['retry', first]);
    expect(refused.code).toBe(5);
    expect(refused.stderr).toContain(second);
    expect((await farm.tq(['retry', '--dry-run', first])).code).toBe(5);
    await farm.ok(['cancel', second]);
    await farm.ok(['retry', first]);
  });

  it('M3: what ls prints is taken by retry, and an empty list is nothing to do', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const bad = await farm.submit('--', 'false');
    await farm.reaches(bad, 'failed');
    const listed = await farm.ok(['ls', '--failed', '-o', 'id', '--no-header']);
    expect(await farm.ok(['retry', '-'], { input: listed })).toBe(`${bad}\n`);
    for (const verb of ['retry', 'cancel', 'hold', 'release', 'rm']) expect(await farm.ok([verb, '-'], { input: '' })).toBe('');
  });
});

describe('set', () => {
  it('E8: priority, queue, time, timeout and labels change, and the next claim goes by them', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 3; i++) ids.push(await farm.submit('-l', 'a=1', '--', 'sh', '-c', `echo ${i} >> order`));
    await farm.ok(['set', ids[2]!, '-p', '90', '--timeout', '1h', '-l', 'b=2', '-l', 'a=3']);
    const view = await farm.show(ids[2]!);
    expect([view.priority, view.timeoutMs, view.labels, view.state, view.attempts]).toEqual([
      90,
      3_600_000,
      { a: '3', b: '2' },
      'queued',
      [],
    ]);
    await farm.ok(['set', ids[1]!, '-q', 'other']);
    expect((await farm.show(ids[1]!)).queue).toBe('other');
    await farm.ok(['worker', '-j', '1', '--until-empty', '--poll', '50ms']);
    expect(lines(fs.readFileSync(path.join(farm.dir, 'order'), 'utf8'))).toEqual(['2', '0']);
    await farm.ok(['set', ids[1]!, '--in', DAY]);
    await isState(farm, ids[1]!, 'delayed');
    // It was claimed by the verb, never run.
    expect(await farm.ok(['why', ids[1]!])).toMatch(/is delayed until .*, not before then\n/);
    expect((await farm.tq(['doctor'])).code).toBe(0);
  });

  it('E8: a held task keeps being held, and its new time counts when it is released', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--in', DAY, '--', 'true');
    await farm.ok(['hold', id]);
    await farm.ok(['set', id, '--in', '1h', '-p', '-5']);
    await isState(farm, id, 'held');
    await farm.ok(['release', id]);
    const view = await farm.show(id);
    expect([view.state, view.priority]).toEqual(['delayed', -5]);
    expect(Date.parse(view.notBefore!) - Date.now()).toBeLessThan(3_700_000);
  });

  it('E8: racing a claim it changes the task before the start, or exits 5', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2', '-q', 'default']);
    for (let round = 0; round < 15; round++) {
      const id = await farm.submit('--', 'true');
      const ran = await farm.tq(['set', id, '-l', 'changed=yes']);
      const view = await farm.reaches(id, 'done');
      expect([0, 5], `${ran.stderr}`).toContain(ran.code);
      expect(view.labels['changed']).toBe(ran.code === 0 ? 'yes' : undefined);
      expect(view.attempts).toHaveLength(1);
      expect(placesOf(farm.queue, id)).toHaveLength(1);
    }
    expect(fs.readdirSync(path.join(farm.queue, 'running')).filter((name) => name.startsWith('set.'))).toEqual([]);
  });

  it('E8: a set that is killed at any file call leaves the task in one place, as it was or as it was to be', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-q', 'q', '--', 'true');
    const ended = new Set<number>();
    for (let call = 1; !ended.has(0); call++) {
      const ran = await farm.tq(['set', id, '-p', String(call)], { env: { TQ_FAULT: `die-before:${call}` } });
      ended.add(ran.code);
      // The next one finds what the killed one left, and so does the doctor.
      if (call % 2 === 0) await farm.ok(['doctor', '--fix']);
      else await farm.ok(['set', id, '-l', 'a=b']);
      expect(placesOf(farm.queue, id), `killed before call ${call}`).toHaveLength(1);
      expect((await farm.show(id)).state).toBe('queued');
      expect(call).toBeLessThan(60);
    }
    expect(ended).toEqual(new Set([137, 0]));
  });

  it('E8: a set that fails with the task in its hands puts it back', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-p', '3', '--', 'true');
    let failed = 0;
    for (let call = 1; call < 9; call++) {
      const ran = await farm.tq(['set', id, '-p', '9'], { env: { TQ_FAULT: `fail:ENOSPC:rename:${call}` } });
      failed += ran.code === 4 ? 1 : 0;
      await farm.ok(['doctor', '--fix']);
      expect(placesOf(farm.queue, id)).toEqual([expect.stringMatching(/^queued\//)]);
      expect(fs.readdirSync(path.join(farm.queue, 'running'))).toEqual([]);
    }
    expect(failed).toBeGreaterThan(1);
  });

  it('E8: it takes ids only, and one change at least', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    const nothing = await farm.tq(['set', id]);
    expect([nothing.code, nothing.stderr]).toEqual([2, expect.stringContaining('what to change is missing')]);
    expect((await farm.tq(['set', '@all', '-p', '5'])).code).toBe(2);
    expect((await farm.tq(['set', '-p', '5'])).code).toBe(2);
    expect(await farm.ok(['set', '@last', '-p', '5'])).toBe(`${id}\n`);
    expect(await farm.ok(['set', '-', '-p', '6'], { input: `${id}\n` })).toBe(`${id}\n`);
  });

  it("E8: another user's task is refused with 6", async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    const { file } = await farm.show(id);
    const root = process.getuid?.() === 0;
    if (root) fs.chownSync(file, 12_345, 12_345);
    for (const flags of [['--dry-run'], []]) {
      const ran = await farm.tq(['set', id, '-p', '5', ...flags]);
      // Who is not root cannot give a file away; then it is his own, and may be set.
      expect([ran.code, ran.stderr.includes("another user's task")]).toEqual(root ? [6, true] : [0, false]);
    }
    expect((await farm.show(id)).priority).toBe(root ? 0 : 5);
  });

  it('L8: fields that this version does not know survive', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--hold', '--', 'true');
    const { file } = await farm.show(id);
    fs.writeFileSync(file, JSON.stringify({ ...(JSON.parse(fs.readFileSync(file, 'utf8')) as object), fromTheFuture: { a: [1] } }));
    await farm.ok(['set', id, '-p', '7']);
    const view = await farm.show(id);
    expect([view.priority, view['fromTheFuture']]).toEqual([7, { a: [1] }]);
  });
});

describe('rm', () => {
  it('E9: a finished task goes with all that belongs to it, an unfinished one is refused', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('--script', '-', '--', 'x');
    const held = await farm.submit('--hold', '--', 'true');
    await farm.reaches(id, 'done').catch(() => undefined);
    await until(
      async () => ['done', 'failed'].includes((await farm.show(id)).state),
      () => 'it has ended',
    );
    await farm.ok(['note', id, 'remember']);
    expect(await farm.ok(['rm', id])).toBe(`${id}\n`);
    expect(filesWith(farm.queue, id).filter((name) => !name.startsWith('gone/'))).toEqual([]);
    expect(fs.readdirSync(path.join(farm.queue, 'blobs'))).toEqual([]);
    expect((await farm.tq(['show', id])).code).toBe(3);
    const refused = await farm.tq(['rm', held]);
    expect([refused.code, refused.stderr]).toEqual([5, expect.stringContaining('held')]);
    await isState(farm, held, 'held');
  });

  it('E9: --force cancels first, also what runs', async () => {
    const farm = await makeFarm();
    await farm.worker(['-j', '2']);
    const [held, running] = [await farm.submit('--hold', '--', 'true'), await farm.submit('--grace', '100ms', ...gate('g'))];
    await until(
      () => fs.existsSync(path.join(farm.dir, 'g.pid')),
      () => 'the task has begun',
    );
    const pid = Number(fs.readFileSync(path.join(farm.dir, 'g.pid'), 'utf8'));
    expect(lines(await farm.ok(['rm', '--force', held, running]))).toEqual([held, running]);
    expect(isThere(pid)).toBe(false);
    for (const id of [held, running]) expect(placesOf(farm.queue, id)).toEqual([]);
  });

  it('L2: later dependencies find the outcome of what was removed', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const [good, bad] = [await farm.submit('--', 'true'), await farm.submit('--', 'false')];
    await farm.reaches(good, 'done');
    await farm.reaches(bad, 'failed');
    await farm.ok(['rm', good, bad]);
    const [goes, skipped] = [await farm.submit('--after', good, '--', 'true'), await farm.submit('--after', bad, '--', 'true')];
    await farm.reaches(goes, 'done');
    expect((await farm.reaches(skipped, 'skipped')).reason).toContain(bad);
  });

  it('E9: killed at any file call it leaves a task or none, and a second one finishes', async () => {
    const farm = await makeFarm();
    for (let call = 1, code = 137; code !== 0; call++) {
      const id = await farm.submit('--hold', '--', 'true');
      await farm.ok(['note', id, 'a note']);
      await farm.ok(['release', id, '--result', '{"k":1}']);
      ({ code } = await farm.tq(['rm', id], { env: { TQ_FAULT: `die-after:${call}` } }));
      const shown = await farm.tq(['show', id]);
      expect([0, 3]).toContain(shown.code);
      if (shown.code === 0) await farm.ok(['rm', id]);
      else await farm.ok(['gc']);
      expect(filesWith(farm.queue, id), `killed after call ${call}`).toEqual([expect.stringMatching(new RegExp(`^gone/.*/${id}.done$`))]);
      expect(JSON.parse(fs.readFileSync(path.join(farm.queue, filesWith(farm.queue, id)[0]!), 'utf8'))).toEqual({ result: { k: 1 } });
      expect(call).toBeLessThan(60);
    }
  });
});

describe('note', () => {
  it('E10: it shows with time and user, also while running, and several machines keep theirs', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit(...gate('g'));
    await farm.reaches(id, 'running');
    const texts = Array.from({ length: 8 }, (_, i) => `note ${i}`);
    await Promise.all(texts.map((text) => farm.ok(['note', id, ...text.split(' ')])));
    open(farm, 'g');
    const view = await farm.reaches(id, 'done');
    expect(view.notes.map((n) => n.text).toSorted()).toEqual(texts);
    for (const note of view.notes) {
      expect(note.by.user).not.toBe('');
      expect(Math.abs(Date.parse(note.at) - Date.now())).toBeLessThan(60_000);
    }
    const empty = await farm.tq(['note', id, ' ']);
    expect(empty.code).toBe(2);
  });
});

describe('selecting', () => {
  it('E12: filters choose, the ids are printed, and no pipe is ever asked', async () => {
    const farm = await makeFarm();
    const wanted: string[] = [];
    for (let i = 0; i < 22; i++) wanted.push(await farm.submit('-l', 'x=1', '--', 'true'));
    const held = await farm.submit('-l', 'x=1', '--hold', '--', 'true');
    const other = await farm.submit('-l', 'x=2', '--', 'true');
    expect(lines(await farm.ok(['cancel', '-s', 'queued', '-l', 'x=1'], { input: 'n\n' })).toSorted()).toEqual(wanted);
    await isState(farm, held, 'held');
    await isState(farm, other, 'queued');
    expect(lines(await farm.ok(['rm', '-l', 'x=1'])).toSorted()).toEqual(wanted);
    const none = await farm.tq(['retry', '@all']);
    expect([none.code, none.stdout, none.stderr]).toEqual([3, '', expect.stringContaining('tq retry: no task matches')]);
  });

  it('E12: on a terminal many are asked about, and only a yes does it', async () => {
    const farm = await makeFarm();
    const ids: string[] = [];
    for (let i = 0; i < 22; i++) ids.push(await farm.submit('-l', 'x=1', '--', 'true'));
    const onTerminal = (command: string, input: string): { status: number | null; stdout: string } =>
      // Its input is what is typed; its output has both streams of the command.
      spawnSync('script', ['-qec', command, '/dev/null'], {
        input,
        cwd: farm.dir,
        env: { ...process.env, TQ, TQ_DIR: farm.queue },
        encoding: 'utf8',
        timeout: 60_000,
      });
    const no = onTerminal('"$TQ" cancel -l x=1', 'n\n');
    expect(no.stdout).toContain('22 tasks. Go on? y/N');
    expect(no.status).toBe(5);
    expect(no.stdout).toContain('nothing was done');
    expect(Number(await farm.ok(['ls', '-s', 'queued', '--count']))).toBe(22);
    const yes = onTerminal('"$TQ" cancel -l x=1', 'y\n');
    expect(yes.status).toBe(0);
    expect(yes.stdout).toContain(ids[0]);
    expect(Number(await farm.ok(['ls', '-s', 'canceled', '--count']))).toBe(22);
    const unasked = onTerminal('"$TQ" rm -y -l x=1', '');
    expect(unasked.status).toBe(0);
    expect(unasked.stdout).not.toContain('Go on?');
    expect(Number(await farm.ok(['ls', '-a', '--count']))).toBe(0);
  });

  it('E12: an ambiguous prefix does nothing', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--hold', '--', 'true'), await farm.submit('--hold', '--', 'true')];
    const before = treeOf(farm.queue);
    const ran = await farm.tq(['cancel', a.slice(0, 5)]);
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain(a);
    expect(ran.stderr).toContain(b);
    expect(treeOf(farm.queue)).toEqual(before);
  });
});

describe('dry run', () => {
  it('A6: cancel, retry, hold, release, set, note, rm and gc leave the directory byte-identical', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-q', 'here']);
    const running = await farm.submit('-q', 'here', ...gate('g'));
    await farm.reaches(running, 'running');
    w.signal('SIGSTOP');
    const queued = await farm.submit('--', 'true');
    const held = await farm.submit('--hold', '--', 'true');
    const ended = await farm.submit('--hold', '--key', 'k', '--', 'true');
    await farm.ok(['release', ended, '--result', '1']);
    const before = treeOf(farm.queue);
    const shows = async (args: string[]): Promise<Record<string, unknown>> =>
      JSON.parse(await farm.ok([...args, '--dry-run'])) as Record<string, unknown>;
    expect(await shows(['cancel', queued, '--reason', 'r'])).toMatchObject({
      id: queued,
      state: 'canceled',
      reason: 'r',
      command: ['true'],
    });
    expect(await shows(['cancel', running])).toMatchObject({ id: running, state: 'running', request: { now: false } });
    expect(await shows(['hold', queued])).toMatchObject({ id: queued, state: 'held', file: expect.stringContaining('/held/') as string });
    expect(await shows(['release', held])).toMatchObject({ id: held, state: 'queued' });
    expect(await shows(['release', held, '--result', '{"a":1}'])).toMatchObject({ id: held, state: 'done', result: { a: 1 } });
    expect(await shows(['retry', ended])).toMatchObject({
      id: ended,
      state: 'queued',
      file: expect.stringMatching(/\.a1\.json$/) as string,
    });
    expect(await shows(['retry', ended, '--in', '1h'])).toMatchObject({ id: ended, state: 'delayed' });
    expect(await shows(['set', queued, '-p', '9', '-l', 'a=b'])).toMatchObject({ id: queued, priority: 9, labels: { a: 'b' } });
    expect(await shows(['note', queued, 'hello'])).toMatchObject({ id: queued, text: 'hello' });
    expect(await shows(['hold', queued, queued])).toMatchObject({ id: queued });
    expect(JSON.parse(await farm.ok(['cancel', queued, held, '--dry-run']))).toMatchObject([{ id: queued }, { id: held }]);
    expect(await farm.ok(['rm', ended, '--dry-run'])).toBe(`${ended}\n`);
    expect(lines(await farm.ok(['rm', '--force', ended, held, '--dry-run']))).toEqual([ended, held]);
    expect(await farm.ok(['gc', '--keep', '0', '--dry-run'])).toBe(`${ended}\n`);
    for (const refused of [
      ['cancel', ended],
      ['hold', held],
      ['retry', queued],
      ['release', queued],
      ['rm', held],
      ['set', ended, '-p', '1'],
    ]) {
      expect((await farm.tq([...refused, '--dry-run'])).code, `tq ${refused.join(' ')}`).toBe(5);
    }
    expect(treeOf(farm.queue)).toEqual(before);
    w.signal('SIGCONT');
    open(farm, 'g');
    await farm.reaches(running, 'done');
  });
});

describe('inside a task', () => {
  it('H7: a result is shown, and only JSON is one', async () => {
    const farm = await makeFarm();
    await farm.worker();
    const id = await farm.submit('-c', `"$TQ" result '{"k":1}' && echo '{"k":2}' | "$TQ" result - && ! "$TQ" result '{k:1}'`);
    expect((await farm.reaches(id, 'done')).result).toEqual({ k: 2 });
  });

  it('B14 H7 D4: outside a task progress, result and snooze say so and exit 5', async () => {
    const farm = await makeFarm();
    for (const args of [
      ['progress', '40%', 'x'],
      ['result', '1'],
      ['snooze', '10m'],
    ]) {
      const ran = await farm.tq(args);
      expect([ran.code, ran.stdout]).toEqual([5, '']);
      expect(ran.stderr).toContain('inside a running task only');
    }
  });

  it('B14: what is written is the number and the text on one line', async () => {
    const farm = await makeFarm();
    const file = path.join(farm.dir, 'p');
    await farm.ok(['progress', '40%', 'epoch\n4'], { env: { TQ_PROGRESS_FILE: file } });
    expect(fs.readFileSync(file, 'utf8')).toBe('40 epoch 4\n');
    await farm.ok(['progress', '99.5'], { env: { TQ_PROGRESS_FILE: file } });
    expect(fs.readFileSync(file, 'utf8')).toBe('99.5\n');
    for (const word of ['101', '-1', 'half', '40%%']) {
      const ran = await farm.tq(['progress', word], { env: { TQ_PROGRESS_FILE: file } });
      expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(word)]);
    }
    expect(fs.readdirSync(farm.dir).filter((name) => name.startsWith('p'))).toEqual(['p']);
    expect((await farm.tq(['snooze', 'soon'], { env: { TQ_SNOOZE_FILE: file } })).code).toBe(2);
    const pipe = path.join(farm.dir, 'pipe');
    execFileSync('mkfifo', [pipe]);
    const reader = spawn('cat', [pipe], { stdio: ['ignore', 'pipe', 'inherit'] });
    const read = textOf(reader.stdout);
    await farm.ok(['progress', '7'], { env: { TQ_PROGRESS_FILE: pipe } });
    expect(await read).toBe('7\n');
    expect(fs.statSync(pipe).isFIFO()).toBe(true);
  });
});

describe('all machines off', () => {
  it('A13: everything but running works, and a worker started later finds it so', async () => {
    const farm = await makeFarm();
    await (await farm.worker(['--name', 'w1'])).stop();
    const [a, b, c, d] = [
      await farm.submit('--', 'sh', '-c', 'echo a >> ran'),
      await farm.submit('--', 'sh', '-c', 'echo b >> ran'),
      await farm.submit('--', 'true'),
      await farm.submit('--in', DAY, '--', 'true'),
    ];
    await farm.ok(['hold', a]);
    await farm.ok(['release', a]);
    await farm.ok(['set', b, '-p', '50']);
    await farm.ok(['cancel', c]);
    await farm.ok(['retry', c]);
    await farm.ok(['cancel', c]);
    await farm.ok(['note', d, 'later']);
    await farm.ok(['why', a]);
    await farm.ok(['show', a]);
    expect(await farm.ok(['top', '--once'])).toContain(a);
    expect(await farm.ok(['queue', 'ls'])).toMatch(/default\s+2\s+0/);
    expect(await farm.ok(['worker', 'sleep', 'w1'])).toBe('w1\n');
    const w = await farm.worker(['--name', 'w1', '-j', '1']);
    await until(
      async () => (await farm.ok(['worker', 'ls'])).includes('asleep'),
      () => 'it was found asleep',
    );
    await isState(farm, a, 'queued');
    await farm.ok(['worker', 'wake', 'w1']);
    await farm.reaches(a, 'done');
    expect(fs.readFileSync(path.join(farm.dir, 'ran'), 'utf8')).toBe('b\na\n');
    await isState(farm, c, 'canceled');
    await isState(farm, d, 'delayed');
    await w.stop();
  });

  it('A13: top in a pipe is one plain frame', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('-n', '\u001b[31mred', '--', 'true');
    const frame = await farm.ok(['top'], { env: { FORCE_COLOR: '1' } });
    expect(frame).toContain('waiting');
    expect(frame).toContain(id);
    expect(frame).not.toContain('\u001b');
    expect(JSON.parse(await farm.ok(['top', '--json']))).toMatchObject({ status: { status: 'waiting' }, workers: [], tasks: [{ id }] });
  });
});
