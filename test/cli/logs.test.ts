/** What tasks printed, from outside: byte for byte, as it grows, of one task and of several. */
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

const touch = (farm: Farm, name: string): void => fs.writeFileSync(path.join(farm.dir, name), '');

describe('logs', () => {
  it('B6: output comes back byte for byte', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const bytes = Buffer.alloc(1_500_000);
    for (let i = 0; i < bytes.length; i++) bytes[i] = (i * 7 + (i >> 8)) & 255;
    fs.writeFileSync(path.join(farm.dir, 'in'), bytes);
    const id = await farm.submit('--', 'cat', 'in');
    await farm.reaches(id, 'done');
    expect((await farm.tq(['logs', id])).bytes.equals(bytes)).toBe(true);
    expect((await farm.tq(['logs', '-f', id])).bytes.equals(bytes)).toBe(true);
    await w.stop();
  });

  it('B7: -n begins so many lines back, with or without a newline at the end', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const a = await farm.submit('--', 'printf', '1\\n2\\n3\\n');
    const b = await farm.submit('--', 'printf', '1\\n2\\n3');
    await Promise.all([farm.reaches(a, 'done'), farm.reaches(b, 'done')]);
    expect(await farm.ok(['logs', '-n', '2', a])).toBe('2\n3\n');
    expect(await farm.ok(['logs', '-n', '2', b])).toBe('2\n3');
    expect(await farm.ok(['logs', '-n', '0', a])).toBe('');
    expect(await farm.ok(['logs', '-n', '9', a])).toBe('1\n2\n3\n');
    expect(await farm.ok(['logs', '-n', '1', '-f', b])).toBe('3');
    expect((await farm.tq(['logs', '-n', '-1', a])).code).toBe(2);
    await w.stop();
  });

  it('B7: -n counts lines back over more than one piece of a large log', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit('--', 'seq', '1', '200000');
    await farm.reaches(id, 'done');
    const tail = (await farm.ok(['logs', '-n', '100000', id])).split('\n');
    expect([tail.length, tail[0], tail.at(-2)]).toEqual([100_001, '100001', '200000']);
    await w.stop();
  });

  it('B7: -f on a queued task waits for its start and ends with it', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'sh', '-c', 'echo begun; while [ ! -e go ]; do sleep 0.02; done; printf over');
    const following = farm.start(['logs', '-f', id]);
    const w = await farm.worker();
    await until(
      () => following.stdout() === 'begun\n',
      () => `the first line comes while it runs: ${following.stdout()}`,
    );
    touch(farm, 'go');
    expect(await following.ended).toMatchObject({ code: 0, stdout: 'begun\nover' });
    await w.stop();
  });

  it('B7: -f goes on over retries and ends 0 for a task that failed', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--retries', '2', '--backoff', 'fixed:50ms', '-c', 'echo attempt $TQ_ATTEMPT; exit 1');
    const following = farm.start(['logs', '-f', id]);
    const w = await farm.worker();
    expect(await following.ended).toMatchObject({ code: 0, stdout: 'attempt 1\nattempt 2\nattempt 3\n' });
    expect(await farm.ok(['logs', id])).toBe('attempt 3\n');
    expect(await farm.ok(['logs', '--attempt', '1', id])).toBe('attempt 1\n');
    expect(await farm.ok(['logs', '-f', '--attempt', '2', id])).toBe('attempt 2\n');
    expect(await farm.tq(['logs', '--attempt', '4', id])).toMatchObject({ code: 3, stdout: '' });
    await w.stop();
  });

  it('B7: -f ends when the task is canceled before its start', async () => {
    const farm = await makeFarm();
    const id = await farm.submit('--', 'true');
    const following = farm.start(['logs', '-f', id]);
    await farm.ok(['cancel', id]);
    expect(await following.ended).toMatchObject({ code: 0, stdout: '' });
  });

  it('B7: --path names the file, and a task that has not begun has none', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit('--', 'echo', 'hi');
    await farm.reaches(id, 'done');
    const file = (await farm.ok(['logs', '--path', id])).trimEnd();
    expect(fs.readFileSync(file, 'utf8')).toBe('hi\n');
    await w.stop();
    const queued = await farm.submit('--', 'true');
    expect(await farm.tq(['logs', '--path', queued])).toMatchObject({ code: 3, stdout: '' });
    const none = await farm.tq(['logs', queued]);
    expect(none).toMatchObject({ code: 0, stdout: '' });
    expect(none.stderr).toContain('has not begun');
  });

  it('B6: with --split the streams come apart; without it they are one', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const split = await farm.submit('--split', '-c', 'echo o; echo e >&2');
    const one = await farm.submit('-c', 'echo o; echo e >&2; echo p');
    await Promise.all([farm.reaches(split, 'done'), farm.reaches(one, 'done')]);
    expect(await farm.ok(['logs', '--stdout', split])).toBe('o\n');
    expect(await farm.ok(['logs', '--stderr', split])).toBe('e\n');
    expect(await farm.tq(['logs', split])).toMatchObject({ code: 0, stdout: 'o\n', stderr: 'e\n' });
    expect(fs.readFileSync((await farm.ok(['logs', '--path', '--stderr', split])).trim(), 'utf8')).toBe('e\n');
    expect(await farm.ok(['logs', one])).toBe('o\ne\np\n');
    expect(await farm.tq(['logs', '--stderr', one])).toMatchObject({ code: 5, stdout: '' });
    await w.stop();
  });

  it('J4: of several tasks each line tells its task, and no line is mixed of two', async () => {
    const farm = await makeFarm();
    const w = await farm.worker(['-j', '3']);
    const program = 'i=0; while [ $i -lt 40 ]; do printf "$1"; sleep 0.003; printf "$1\\n"; i=$((i+1)); done; printf last$1';
    const tasks = new Map<string, string>();
    for (const word of ['aaa', 'bbb', 'ccc']) tasks.set(await farm.submit('-g', 'g', '--', 'sh', '-c', program, 'sh', word), word);
    const list = await farm.ok(['ls', '-a', '-g', 'g', '-o', 'id', '--no-header']);
    const ran = await farm.tq(['logs', '-', '-f'], { input: list });
    expect(ran.code).toBe(0);
    const lines = ran.stdout.trimEnd().split('\n');
    for (const [id, word] of tasks) {
      const own = lines.filter((line) => line.startsWith(`${id} | `)).map((line) => line.slice(id.length + 3));
      expect(own).toEqual([...Array.from({ length: 40 }, () => word + word), `last${word}`]);
    }
    expect(lines.length).toBe(3 * 41);
    await w.stop();
  });

  it('J4: an id that is unknown among several is named, and the exit code is 5', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit('--', 'echo', 'hi');
    await farm.reaches(id, 'done');
    const ran = await farm.tq(['logs', id, 'nosuchtask1234']);
    expect(ran).toMatchObject({ code: 5, stdout: `${id} | hi\n` });
    expect(ran.stderr).toContain('nosuchtask1234');
    expect((await farm.tq(['logs', 'nosuchtask1234'])).code).toBe(3);
    await w.stop();
  });

  it('Ctrl-C while following leaves the task alone and says how to cancel it', async () => {
    const farm = await makeFarm();
    const w = await farm.worker();
    const id = await farm.submit('-c', 'echo begun; while [ ! -e go ]; do sleep 0.02; done');
    const following = farm.start(['logs', '-f', id]);
    await until(
      () => following.stdout() !== '',
      () => 'it follows',
    );
    following.signal('SIGINT');
    const ran = await following.ended;
    expect(ran.code).toBe(130);
    expect(ran.stderr).toContain(`tq cancel ${id}`);
    touch(farm, 'go');
    await farm.reaches(id, 'done');
    await w.stop();
  });
});
