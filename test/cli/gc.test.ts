/** `tq gc` from outside: what goes, what stays, and that it can be run at any moment. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { age, bury, filesWith, placesOf, put, treeOf, type Past } from '../helpers/files.ts';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

const DAY_MS = 86_400_000;
const lines = (text: string): string[] => text.split('\n').filter((line) => line !== '');

function ended(farm: Farm, state: Past['state'], days: number, more: Partial<Past> = {}): string {
  return bury(farm, { state, agoMs: days * DAY_MS, ...more });
}

describe('what goes', () => {
  it('L2: done tasks after a week, the others after a month, unless told otherwise', async () => {
    const farm = await makeFarm();
    const old = [ended(farm, 'done', 8), ended(farm, 'failed', 31), ended(farm, 'canceled', 31), ended(farm, 'skipped', 40)];
    const young = [
      ended(farm, 'done', 6),
      ended(farm, 'failed', 29),
      ended(farm, 'canceled', 8),
      ended(farm, 'skipped', 8),
      await farm.submit('--hold', '--', 'true'),
    ];
    const dry = lines(await farm.ok(['gc', '--dry-run']));
    expect(dry.toSorted()).toEqual(old.toSorted());
    for (const id of old) expect(placesOf(farm.queue, id)).toHaveLength(1);
    expect(lines(await farm.ok(['gc'])).toSorted()).toEqual(old.toSorted());
    for (const id of old) expect(filesWith(farm.queue, id)).toEqual([expect.stringMatching(/^gone\//)]);
    for (const id of young) expect(placesOf(farm.queue, id)).toHaveLength(1);
    expect(filesWith(farm.queue, young[0]!)).toHaveLength(7);
    expect(await farm.ok(['gc'])).toBe('');
  });

  it('L2: the journal of hours that are older than what is kept goes, the rest stays', async () => {
    const farm = await makeFarm();
    await farm.submit('--', 'true');
    for (const hour of ['20200131T09', '20200131T10', 'mine']) {
      fs.mkdirSync(`${farm.queue}/journal/${hour}`);
      fs.writeFileSync(`${farm.queue}/journal/${hour}/h.ndjson`, '');
    }
    const [young] = fs.readdirSync(`${farm.queue}/journal`).filter((hour) => hour > '2021');
    await farm.ok(['gc', '--dry-run']);
    expect(fs.readdirSync(`${farm.queue}/journal`)).toHaveLength(4);
    await farm.ok(['gc']);
    expect(fs.readdirSync(`${farm.queue}/journal`)).toEqual([young, 'mine']);
  });

  it('L2: --keep and --keep-failed say how long, and --json what went', async () => {
    const farm = await makeFarm();
    const [done, failed] = [ended(farm, 'done', 2), ended(farm, 'failed', 2)];
    expect(lines(await farm.ok(['gc', '--keep', '1d', '--dry-run']))).toEqual([done]);
    expect(lines(await farm.ok(['gc', '--keep', '3d', '--keep-failed', '1d']))).toEqual([failed]);
    expect(JSON.parse(await farm.ok(['gc', '--keep', '1h', '--json']))).toMatchObject({ removed: [done], needed: [] });
    for (const flag of ['--keep', '--keep-failed']) {
      const ran = await farm.tq(['gc', flag, '5x']);
      expect([ran.code, ran.stderr]).toEqual([2, expect.stringContaining(`${flag}: not a duration: '5x'`)]);
    }
  });

  it('L2: a task is as old as its end, not as its submit', async () => {
    const farm = await makeFarm();
    const id = ended(farm, 'done', 30);
    const file = path.join(
      farm.queue,
      filesWith(farm.queue, id).find((name) => name.startsWith('runs/') && name.endsWith('.json'))!,
    );
    const outcome = JSON.parse(fs.readFileSync(file, 'utf8')) as { endedAt: number };
    fs.writeFileSync(file, JSON.stringify({ ...outcome, endedAt: Date.now() - DAY_MS }));
    expect(await farm.ok(['gc'])).toBe('');
    expect(await farm.ok(['gc', '--keep', '12h'])).toBe(`${id}\n`);
  });

  it('L2: the state and the result stay known', async () => {
    const farm = await makeFarm();
    const id = ended(farm, 'done', 8, { result: { k: [1] } });
    await farm.ok(['gc']);
    const [mark] = filesWith(farm.queue, id);
    expect(mark).toMatch(new RegExp(`/${id}\\.done$`));
    expect(JSON.parse(fs.readFileSync(path.join(farm.queue, mark!), 'utf8'))).toEqual({ result: { k: [1] } });
    const child = await farm.submit('--after', id, '--', 'true');
    expect((await farm.show(child)).state).toBe('queued');
  });
});

describe('what stays', () => {
  it('L2: a parent that an unfinished task comes after, and why is said', async () => {
    const farm = await makeFarm();
    const parent = ended(farm, 'done', 8);
    const event = await farm.submit('--hold', '--', 'true');
    const child = await farm.submit('--after', `${parent},${event}`, '--', 'true');
    for (const how of ['with its marker', 'without']) {
      const ran = await farm.tq(['gc']);
      expect([ran.code, ran.stdout], `${how}`).toEqual([0, '']);
      expect(ran.stderr, `${how}`).toContain(`${parent} stays: ${child}`);
      // A crash may have come before the marker was written: the child's own file tells then.
      fs.rmSync(path.join(farm.queue, 'after', parent), { recursive: true, force: true });
    }
    await farm.ok(['hold', child]);
    expect(await farm.ok(['gc'])).toBe('');
    await farm.ok(['cancel', child]);
    expect(await farm.ok(['gc'])).toBe(`${parent}\n`);
  });

  it('L2: scripts and inputs of every task that is there, however old; those of nobody go', async () => {
    const farm = await makeFarm();
    const id = (await farm.ok(['submit', '--hold', '--script', '-'], { input: 'echo held\n' })).trim();
    const mine = fs.readdirSync(path.join(farm.queue, 'blobs'));
    expect(mine).toHaveLength(1);
    const kept = ended(farm, 'failed', 3, { script: '6d0000000000aa.script' });
    const went = ended(farm, 'failed', 33, { script: '6d0000000000bb.script' });
    for (const name of ['6d0000000000aa.script', '6d0000000000bb.script', '6d0000000000cc.script', '6d0000000000dd.stdin'])
      age(put(farm, `blobs/${name}`, 'x'), 3 * DAY_MS);
    put(farm, 'blobs/6d0000000000ee.script', 'of a submit that is still at it');
    age(path.join(farm.queue, 'blobs', mine[0]!), 40 * DAY_MS);
    // A task that lies in quarantine may be put back by hand.
    put(farm, 'quarantine/x.json', JSON.stringify({ script: '6d0000000000dd.stdin' }));
    expect(await farm.ok(['gc'])).toBe(`${went}\n`);
    expect(fs.readdirSync(path.join(farm.queue, 'blobs')).toSorted()).toEqual(
      [...mine, '6d0000000000aa.script', '6d0000000000dd.stdin', '6d0000000000ee.script'].toSorted(),
    );
    for (const there of [id, kept]) expect(placesOf(farm.queue, there)).toHaveLength(1);
  });

  it('L2: emptied buckets and stale staging files go, what is in use stays', async () => {
    const farm = await makeFarm();
    const id = ended(farm, 'failed', 3);
    fs.mkdirSync(path.join(farm.queue, 'done/6000/aa'), { recursive: true });
    fs.mkdirSync(path.join(farm.queue, 'held/6000/aa'), { recursive: true });
    fs.mkdirSync(path.join(farm.queue, 'runs/6000/aa'), { recursive: true });
    age(put(farm, 'tmp/old.task', 'x'), 2 * 3_600_000);
    put(farm, 'tmp/new.task', 'x');
    await farm.ok(['gc']);
    for (const place of ['done', 'held', 'runs']) expect(fs.existsSync(path.join(farm.queue, place, '6000'))).toBe(false);
    expect(fs.readdirSync(path.join(farm.queue, 'tmp'))).toEqual(['new.task']);
    expect(fs.readdirSync(path.join(farm.queue, 'swept'))).toEqual(['old.task']);
    expect(placesOf(farm.queue, id)).toHaveLength(1);
  });

  it('L2: workers that left long ago are forgotten, others are not', async () => {
    const farm = await makeFarm();
    for (const name of ['old', 'young', 'alive']) {
      const w = await farm.worker(['--name', name]);
      if (name !== 'alive') await w.stop();
    }
    age(path.join(farm.queue, 'workers/old/state.json'), 31 * DAY_MS);
    expect(JSON.parse(await farm.ok(['gc', '--json']))).toMatchObject({ workers: ['old'] });
    expect(fs.readdirSync(path.join(farm.queue, 'workers')).toSorted()).toEqual(['alive', 'young']);
    await (await farm.worker(['--name', 'old'])).stop();
  });

  it('L4: an ended task whose file is damaged goes to quarantine and nowhere else', async () => {
    const farm = await makeFarm();
    const id = ended(farm, 'done', 8);
    const [place] = placesOf(farm.queue, id);
    fs.writeFileSync(path.join(farm.queue, place!), '{"half":');
    expect(await farm.ok(['gc'])).toBe('');
    const aside = fs.readdirSync(path.join(farm.queue, 'quarantine'));
    expect(aside.filter((name) => name.startsWith(id))).toHaveLength(2);
  });
});

describe('at any moment', () => {
  it('L2: beside busy workers every task runs once and ends', async () => {
    const farm = await makeFarm();
    for (const name of ['w1', 'w2']) await farm.worker(['--name', name, '-j', '2']);
    const work = { over: false };
    const cleaning = (async () => {
      const went: string[] = [];
      while (!work.over) went.push(...lines(await farm.ok(['gc', '--keep', '0', '--keep-failed', '0'])));
      return went;
    })();
    const ids: string[] = [];
    for (let i = 0; i < 40; i++)
      ids.push(await farm.submit('--retries', '1', '--backoff', 'none', '--', 'sh', '-c', `echo ${i} >> ran; exit ${i % 2}`));
    await until(
      async () => (await farm.ok(['ls', '--count'])).trim() === '0',
      () => 'all have ended',
    );
    work.over = true;
    const went = [...(await cleaning), ...lines(await farm.ok(['gc', '--keep', '0', '--keep-failed', '0']))];
    expect(went.toSorted()).toEqual(ids.toSorted());
    const ran = lines(fs.readFileSync(path.join(farm.dir, 'ran'), 'utf8')).map(Number);
    for (let i = 0; i < 40; i++)
      expect(
        ran.filter((n) => n === i),
        `task ${i}`,
      ).toHaveLength(i % 2 === 0 ? 1 : 2);
    expect((await farm.tq(['doctor'])).code).toBe(0);
    expect(filesWith(farm.queue, ids[0]!)).toEqual([expect.stringMatching(/^gone\//)]);
  });

  it('L2: racing a retry, a task is either removed or runs again with all that belongs to it', async () => {
    const farm = await makeFarm();
    for (let round = 0; round < 20; round++) {
      const id = ended(farm, 'failed', 40 + round);
      const [gc, retry] = await Promise.all([farm.tq(['gc']), farm.tq(['retry', id])]);
      expect([gc.code, [0, 3].includes(retry.code)], `${gc.stderr}${retry.stderr}`).toEqual([0, true]);
      const files = filesWith(farm.queue, id);
      const state = {
        places: placesOf(farm.queue, id).map((name) => name.split('/')[0]),
        logs: files.filter((name) => name.endsWith('.a1.log')).length,
        marks: files.filter((name) => name.startsWith('gone/')).length,
        said: lines(gc.stdout),
      };
      const retried = { places: ['queued'], logs: 1, marks: 0, said: [] };
      const removed = { places: [], logs: 0, marks: 1, said: [id] };
      expect(state).toEqual(retry.code === 0 ? retried : removed);
    }
  });

  it('L2: killed at any file call, the next one finishes and nothing is half there', async () => {
    for (let call = 1, code = 137; code !== 0; call++) {
      const farm = await makeFarm();
      const ids = [ended(farm, 'done', 8, { result: 1 }), ended(farm, 'failed', 33)];
      const held = await farm.submit('--hold', '--', 'true');
      ({ code } = await farm.tq(['gc'], { env: { TQ_FAULT: `die-after:${call}` } }));
      await farm.ok(['gc']);
      for (const id of ids) expect(filesWith(farm.queue, id), `killed after call ${call}`).toEqual([expect.stringMatching(/^gone\//)]);
      expect(placesOf(farm.queue, held)).toHaveLength(1);
      await farm.close();
      expect(call).toBeLessThan(120);
    }
  });

  it('L8: a newer format is refused untouched', async () => {
    const farm = await makeFarm();
    ended(farm, 'done', 100);
    put(farm, 'tq.json', JSON.stringify({ format: 99 }));
    const before = treeOf(farm.queue);
    for (const verb of [['gc'], ['doctor', '--fix'], ['rm', '@all'], ['cancel', '@all'], ['init', farm.queue]]) {
      const ran = await farm.tq(verb);
      expect([ran.code, ran.stderr], `tq ${verb.join(' ')}`).toEqual([4, expect.stringContaining('format 99')]);
    }
    expect(treeOf(farm.queue)).toEqual(before);
  });
});
