/** Which tasks a command line means: ids and parts of them, @last, @all, -, filters, and the exit codes when nothing is meant. */
import { describe, expect, it } from 'vitest';
import { makeFarm, type Farm } from '../helpers/tq.ts';

async function ids(farm: Farm, ...args: string[]): Promise<string[]> {
  return (await farm.ok(['ls', '-o', 'id', '--no-header', ...args])).split('\n').filter((line) => line !== '');
}

describe('selectors', () => {
  it('E12: a unique suffix or prefix of at least 4 characters names a task', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    expect(await ids(farm, a.slice(-5))).toEqual([a]);
    expect(await ids(farm, b.slice(0, 13))).toEqual([b]);
    expect(await ids(farm, b.slice(-5), a)).toEqual([b, a]);
    expect(await ids(farm, a, a.slice(-5))).toEqual([a]);
    expect((await farm.tq(['show', a.slice(-3)])).code).toBe(2);
    expect((await farm.tq(['show', '../../etc/passwd'])).code).toBe(2);
  });

  it('E12: an ambiguous prefix does nothing and lists the matches', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--hold', '--', 'true'), await farm.submit('--hold', '--', 'true')];
    const ran = await farm.tq(['cancel', a, a.slice(0, 4)]);
    expect(ran).toMatchObject({ code: 2, stdout: '' });
    expect(ran.stderr).toContain(a);
    expect(ran.stderr).toContain(b);
    expect((await farm.show(a)).state).toBe('held');
    expect(JSON.parse((await farm.tq(['show', '--json', a.slice(0, 4)])).stderr)).toMatchObject({ error: { code: 'AMBIGUOUS', exit: 2 } });
  });

  it('E12: @last is the newest of your own', async () => {
    const farm = await makeFarm();
    expect((await farm.tq(['show', '@last'])).code).toBe(3);
    await farm.submit('--', 'true');
    const last = await farm.submit('--hold', '--', 'true');
    expect(await ids(farm, '@last')).toEqual([last]);
  });

  it('E12: - takes ids from standard input, and nothing from an empty one', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--hold', '--', 'true'), await farm.submit('--hold', '--', 'true')];
    await farm.submit('--hold', '--', 'true');
    expect(await farm.ok(['cancel', '-'], { input: `${a}\n${b}\n` })).toBe(`${a}\n${b}\n`);
    expect(await farm.tq(['cancel', '-'], { input: '\n' })).toMatchObject({ code: 0, stdout: '', stderr: '' });
    expect((await ids(farm)).length).toBe(1);
  });

  it('E12 M3: a filter of a changing verb prints what it did, and matching nothing is 3', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('-l', 'x=1', '--', 'true'), await farm.submit('-l', 'x=1', '--hold', '--', 'true')];
    const other = await farm.submit('-l', 'x=2', '--', 'true');
    expect(await farm.ok(['cancel', '-s', 'queued', '-l', 'x=1'])).toBe(`${a}\n`);
    expect((await farm.ok(['cancel', '-l', 'x=1'])).trim()).toBe(b);
    expect(await farm.tq(['cancel', '-l', 'x=1'])).toMatchObject({ code: 3, stdout: '' });
    expect(await farm.tq(['cancel', '-l', 'x=3'])).toMatchObject({ code: 3, stdout: '' });
    expect(await farm.tq(['cancel'])).toMatchObject({ code: 2, stdout: '' });
    expect(await ids(farm)).toEqual([other]);
  });

  it('E12 E4: several words of which one names nothing do the rest and exit 5', async () => {
    const farm = await makeFarm();
    const [a, b] = [await farm.submit('--', 'true'), await farm.submit('--', 'true')];
    const ran = await farm.tq(['cancel', a, 'nosuchtask1234', b]);
    expect(ran).toMatchObject({ code: 5, stdout: `${a}\n${b}\n` });
    expect(ran.stderr).toContain('no such task: nosuchtask1234');
    expect((await farm.tq(['cancel', 'nosuchtask1234'])).code).toBe(3);
    expect((await farm.tq(['cancel', a])).code).toBe(5);
  });

  it('M3: failed tasks go from ls to retry', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const [bad, good] = [await farm.submit('--', 'false'), await farm.submit('--', 'true')];
    await Promise.all([farm.reaches(bad, 'failed'), farm.reaches(good, 'done')]);
    await w.stop();
    expect(await farm.ok(['retry', '-'], { input: await farm.ok(['ls', '--failed', '-o', 'id', '--no-header']) })).toBe(`${bad}\n`);
    expect((await farm.show(bad)).state).toBe('queued');
  });

  it('E12: more than 20 of a filter are done without a question in a pipe', async () => {
    const farm = await makeFarm();
    for (let i = 0; i < 21; i++) await farm.submit('--hold', '--', 'true');
    expect((await farm.ok(['cancel', '@all'])).split('\n').length).toBe(22);
  });

  it('--worker finds what runs or ran there', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['--name', 'w1']);
    const id = await farm.submit('--', 'true');
    await farm.reaches(id, 'done');
    await w.stop();
    await farm.submit('--', 'true');
    expect(await ids(farm, '-a', '--worker', 'w1')).toEqual([id]);
    expect(await ids(farm, '-a', '--worker', 'w2')).toEqual([]);
  });
});
