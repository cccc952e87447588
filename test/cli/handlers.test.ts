/** Named functions of workers, from outside: what they return and throw, how they are ended, and what a module cannot do to its worker. */
import { createHash } from 'node:crypto';
import fs from 'node:fs';
import path from 'node:path';
import { describe, expect, it } from 'vitest';
import { isThere, makeFarm, until, type Farm } from '../helpers/tq.ts';

/** Writes modules into a directory of the farm; its path. */
function modules(farm: Farm, files: Record<string, string>): string {
  const dir = path.join(farm.dir, 'handlers');
  fs.mkdirSync(dir, { recursive: true });
  for (const [name, text] of Object.entries(files)) {
    fs.mkdirSync(path.dirname(path.join(dir, name)), { recursive: true });
    fs.writeFileSync(path.join(dir, name), text);
  }
  return dir;
}

const MODULES = {
  'math.ts': `
    import { twice } from './lib/twice.ts';
    export const version: string = '1';
    export function double({ n }: { n: number }): { n: number } { console.log('doubling', n); return { n: twice(n) }; }
    export const nothing = (): void => {};
    export async function shout(text: string, ctx: any): Promise<string> {
      ctx.progress(50, 'half');
      return \`\${text.toUpperCase()} \${ctx.id} \${ctx.attempt} \${process.cwd()} \${process.env.WHO}\`;
    }
    export class Thing {}
  `,
  'lib/twice.ts': 'export const twice = (n: number): number => 2 * n;\n',
  'greet.mjs': 'export default (data) => `hello ${data.name}`;\n',
  'ends.js': `
    export function throws() { throw new Error('no such picture'); }
    export function throwsLater() { setTimeout(() => { throw new Error('thrown later'); }, 1); return new Promise(() => setInterval(() => {}, 1000)); }
    export function rejects() { Promise.reject(new Error('nobody waits')); return new Promise(() => setInterval(() => {}, 1000)); }
    export function exits() { process.exit(3); }
    export function loops() { for (;;); }
    export function never() { return new Promise(() => {}); }
    export function bigint() { return 1n; }
    export function huge() { return 'x'.repeat(2 ** 21); }
    export function dies() { process.kill(process.pid, 'SIGKILL'); return new Promise(() => {}); }
    export function final(data, ctx) { ctx.fail('not a picture at all'); }
    export function later(data, ctx) { if (ctx.attempt < 3) ctx.retryLater('50ms', 'not yet'); return ctx.attempt; }
    export function aborted(data, ctx) {
      return new Promise((resolve) => ctx.signal.addEventListener('abort', () => { console.log('tidied up'); resolve(1); }, { once: true }));
    }
    export function waits(data, ctx) { ctx.signal; console.log('waits'); return new Promise((r) => { const t = setInterval(() => {}, 10); ctx.signal.addEventListener('abort', () => { clearInterval(t); console.log('tidied up'); r(1); }); }); }
  `,
  '_draft.ts': 'this is no module',
  'types.d.ts': 'export declare function typed(): void;\n',
};

describe('a handler', () => {
  it('H13: what it returns is the result of its task', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--handlers', modules(farm, MODULES)]);
    const double = await farm.submit('--handler', 'double', '--data', '{"n": 21}');
    expect(await farm.reaches(double, 'done')).toMatchObject({ result: { n: 42 }, handler: 'double', data: { n: 21 }, command: [] });
    expect(await farm.ok(['logs', double])).toBe('doubling 21\n');
    const greet = await farm.submit('--handler', 'greet', '--data', '{"name": "you"}');
    expect((await farm.reaches(greet, 'done')).result).toBe('hello you');
    const nothing = await farm.submit('--handler', 'nothing');
    expect((await farm.reaches(nothing, 'done')).result).toBe(null);
    const shout = await farm.submit('--handler', 'shout', '--data', '"a"', '-e', 'WHO=me', '-C', '/');
    const view = await farm.reaches(shout, 'done');
    expect(view.result).toBe(`A ${shout} 1 / me`);
    expect(view.progress).toEqual({ percent: 50, message: 'half' });
    expect((await worker.stop()).code).toBe(0);
  });

  it('H13: what it throws is why its task failed, whatever it does the worker stays', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--handlers', modules(farm, MODULES), '-j', '4']);
    const reasons: Record<string, string> = {
      throws: 'no such picture',
      throwsLater: 'thrown later',
      rejects: 'nobody waits',
      never: 'never waits for something that never comes',
      huge: 'huge returned more than 1048576 bytes: write them to a file',
      final: 'not a picture at all',
    };
    for (const [name, reason] of Object.entries(reasons)) {
      const view = await farm.reaches(await farm.submit('--handler', name), 'failed');
      expect({ name, reason: view.reason }).toEqual({ name, reason });
    }
    expect((await farm.reaches(await farm.submit('--handler', 'bigint'), 'failed')).reason).toMatch(/BigInt/);
    expect(await farm.reaches(await farm.submit('--handler', 'exits'), 'failed')).toMatchObject({ exitCode: 3 });
    expect(await farm.reaches(await farm.submit('--handler', 'dies'), 'failed')).toMatchObject({ signal: 'SIGKILL' });
    const loops = await farm.reaches(await farm.submit('--handler', 'loops', '--timeout', '300ms', '--grace', '100ms'), 'failed');
    expect(loops).toMatchObject({ attempts: [{ outcome: 'timeout' }] });
    const waits = await farm.submit('--handler', 'waits');
    await until(
      async () => (await farm.ok(['logs', waits])) !== '',
      () => 'it has begun',
    );
    await farm.ok(['cancel', '--wait', waits]);
    expect(await farm.ok(['logs', waits])).toBe('waits\ntidied up\n');
    expect(isThere(worker.pid)).toBe(true);
    expect((await farm.reaches(await farm.submit('--handler', 'greet', '--data', '{"name":"all"}'), 'done')).result).toBe('hello all');
  });

  it('H13: a handler that uses up its memory leaves the worker alive', async () => {
    const farm = await makeFarm();
    // Ended as the kernel ends it, but before the machine has nothing left.
    const dir = modules(farm, {
      'eats.js': `
        import { readFileSync } from 'node:fs';
        const kb = () => Number(/VmRSS:\\s+(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
        export function eats() {
          for (const all = []; ; all.push(Buffer.alloc(1 << 22, 1))) if (kb() > 400_000) process.kill(process.pid, 'SIGKILL');
        }
      `,
    });
    const worker = await farm.worker(['--handlers', dir]);
    const view = await farm.reaches(await farm.submit('--handler', 'eats'), 'failed');
    expect(view.attempts).toMatchObject([{ outcome: 'signaled', signal: 'SIGKILL' }]);
    expect(isThere(worker.pid)).toBe(true);
  });

  it('H13: retryLater is a snooze, fail is final, a throw uses up a retry', async () => {
    const farm = await makeFarm();
    await farm.worker(['--handlers', modules(farm, MODULES)]);
    const later = await farm.reaches(await farm.submit('--handler', 'later'), 'done');
    expect(later).toMatchObject({ result: 3, attempts: [{ outcome: 'snoozed' }, { outcome: 'snoozed' }, { outcome: 'succeeded' }] });
    const final = await farm.reaches(await farm.submit('--handler', 'final', '--retries', '3', '--backoff', 'none'), 'failed');
    expect(final.attempts).toHaveLength(1);
    const throws = await farm.reaches(await farm.submit('--handler', 'throws', '--retries', '2', '--backoff', 'none'), 'failed');
    expect(throws.attempts).toHaveLength(3);
    expect(await farm.ok(['logs', throws.id])).toContain('ends.js');
  });
});

describe('which worker has it', () => {
  it('H14: no worker has it: it stays queued, why and doctor name it; one that has it takes it', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'without']);
    const id = await farm.submit('--handler', 'double', '--data', '{"n": 1}');
    const why = await farm.tq(['why', id]);
    expect(why.stdout).toContain('has no handler double');
    const doctor = await farm.tq(['doctor']);
    expect(doctor.stdout).toContain('double');
    const worker = await farm.worker(['--name', 'until', '--until-empty']);
    expect((await worker.ended).code).toBe(0);
    expect((await farm.show(id)).state).toBe('queued');
    expect((await farm.show(id)).attempts).toEqual([]);
    await farm.worker(['--name', 'with', '--handlers', modules(farm, MODULES)]);
    expect(await farm.reaches(id, 'done')).toMatchObject({ result: { n: 2 }, worker: 'with' });
  });

  it('H14: a worker that leaves a task for its handler does not look at it again and again', async () => {
    const farm = await makeFarm();
    const worker = await farm.worker(['--name', 'without', '--poll', '1s']);
    await farm.submit('--handler', 'double');
    const ticks = (): number => {
      const stat = fs.readFileSync(`/proc/${worker.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
      return Number(stat[11]) + Number(stat[12]);
    };
    const beat = (): string => fs.readFileSync(path.join(farm.queue, 'workers/without/heartbeat'), 'utf8');
    const [cpu, first] = [ticks(), Number(beat().slice(0, 12))];
    await until(
      () => Number(beat().slice(0, 12)) >= first + 3,
      () => 'three polls',
    );
    // In hundredths of a second, of about three.
    expect(ticks() - cpu).toBeLessThan(60);
  });

  it('H13: a module that does not load is told, the others are offered, and the worker runs', async () => {
    const farm = await makeFarm();
    const dir = modules(farm, {
      'good.js': 'export const good = () => 1;\n',
      'syntax.ts': 'export function (\n',
      'throws.js': "throw new Error('no database');\n",
      'exits.js': 'process.exit(7);\n',
      'empty.js': 'export const number = 1;\n',
      'missing.ts': "import './nowhere.ts';\nexport const f = () => 1;\n",
      'twice.js': 'export const good = () => 2;\nexport const toString = () => 3;\n',
      'open.js': 'setInterval(() => {}, 1000);\nexport const open = () => 4;\n',
    });
    await farm.worker(['--name', 'w', '--handlers', dir]);
    const view = JSON.parse(await farm.ok(['worker', 'show', 'w', '--json'])) as {
      state: string;
      handlers: string[];
      brokenHandlers: Array<{ file: string; reason: string }>;
    };
    expect(view.handlers).toEqual(['good', 'open', 'toString']);
    const broken = Object.fromEntries(view.brokenHandlers.map(({ file, reason }) => [file, reason]));
    expect(broken).toMatchObject({
      'throws.js': 'no database',
      'exits.js': expect.stringContaining('code 7') as unknown,
      'empty.js': 'it exports no function',
      'missing.ts': expect.stringContaining('nowhere') as unknown,
      'twice.js': 'good is in good.js already',
    });
    expect(Object.keys(broken)).toContain('syntax.ts');
    const shown = await farm.ok(['worker', 'show', 'w']);
    expect(shown).toContain('throws.js: no database');
    const wanting = await farm.submit('--handler', 'throws');
    expect(await farm.ok(['why', wanting])).toContain('w: has no handler throws: throws.js: no database');
    const greedy = await farm.submit('--mem', '1000T', '-q', 'huge', '--', 'true');
    const { stdout } = await farm.tq(['doctor']);
    expect(stdout).toContain('no worker can take the task of queue default that asks for handler throws');
    expect(stdout).toContain('no worker can take the task of queue huge that asks for 1 cpus, 1000T mem');
    await farm.ok(['cancel', greedy, wanting]);
    for (const [name, result] of [
      ['good', 1],
      ['open', 4],
      ['toString', 3],
    ] as const) {
      expect((await farm.reaches(await farm.submit('--handler', name), 'done')).result).toBe(result);
    }
  });

  it('H13: new modules are taken up when the worker is started again', async () => {
    const farm = await makeFarm();
    const dir = modules(farm, { 'a.js': 'export const a = () => 1;\n' });
    const first = await farm.worker(['--name', 'w', '--handlers', dir]);
    modules(farm, { 'b.js': 'export const b = () => 2;\n' });
    const id = await farm.submit('--handler', 'b');
    expect((await farm.reaches(await farm.submit('--handler', 'a'), 'done')).result).toBe(1);
    expect((await farm.show(id)).state).toBe('queued');
    await first.stop();
    await farm.worker(['--name', 'w', '--handlers', dir]);
    expect((await farm.reaches(id, 'done')).result).toBe(2);
  });

  it('H13: on Node as in the compiled program', async () => {
    const farm = await makeFarm();
    const dir = modules(farm, MODULES);
    // The worker is the bundle on Node; --until-empty ends it.
    const id = await farm.submit('--handler', 'double', '--data', '{"n": 4}');
    const bundle = path.resolve(import.meta.dirname, '../../dist/tq.mjs');
    const script = await farm.submit('-c', `exec '${process.execPath}' '${bundle}' worker --name onnode --handlers '${dir}' --until-empty`);
    await farm.worker(['--name', 'outer']);
    expect(await farm.reaches(id, 'done')).toMatchObject({ result: { n: 8 }, worker: 'onnode' });
    await farm.reaches(script, 'done');
  });
});

describe('the examples', () => {
  it('H13: examples/handlers load and do what they say', async () => {
    const farm = await makeFarm();
    await farm.worker(['--name', 'w', '--handlers', path.resolve(import.meta.dirname, '../../examples/handlers')]);
    const shown = JSON.parse(await farm.ok(['worker', 'show', 'w', '--json'])) as { handlers: string[]; brokenHandlers: unknown[] };
    expect(shown).toMatchObject({ handlers: ['digest', 'lines'], brokenHandlers: [] });
    const file = path.join(farm.dir, 'some.txt');
    fs.writeFileSync(file, 'a\nb\nc\n');
    const data = JSON.stringify({ file });
    const digest = await farm.reaches(await farm.submit('--handler', 'digest', '--data', data), 'done');
    expect(digest.result).toEqual({ sha256: createHash('sha256').update('a\nb\nc\n').digest('hex'), bytes: 6 });
    expect(digest.progress).toMatchObject({ percent: 100 });
    expect((await farm.reaches(await farm.submit('--handler', 'lines', '--data', data), 'done')).result).toBe(3);
    const many = await farm.submit('--handler', 'lines', '--data', JSON.stringify({ file, most: 2 }), '--retries', '2');
    expect(await farm.reaches(many, 'failed')).toMatchObject({ reason: `${file} has 3 lines, more than 2`, attempts: [{ attempt: 1 }] });
    const missing = await farm.submit('--handler', 'digest', '--data', '{"file": "/nowhere"}');
    expect(await farm.reaches(missing, 'delayed')).toMatchObject({ attempts: [{ outcome: 'snoozed' }] });
  });
});

describe('bad input', () => {
  it('H14: --data that is no JSON, without a handler, and a directory that is none: exit 2', async () => {
    const farm = await makeFarm();
    const bad: Array<[string[], string]> = [
      [['submit', '--handler', 'f', '--data', '{w:2}'], "--data: not JSON: '{w:2}'"],
      [['submit', '--data', '{}', '--', 'true'], '--data'],
      [['submit', '--handler', 'f', '--', 'true'], '--handler'],
      [['submit', '--handler', '../f'], "'../f'"],
      [['worker', '--handlers', '/nowhere'], "--handlers: not a directory: '/nowhere'"],
      [['worker', '--handlers', process.execPath], '--handlers'],
    ];
    for (const [args, said] of bad) {
      const { code, stdout, stderr } = await farm.tq(args);
      expect({ args, code, stdout }).toEqual({ args, code: 2, stdout: '' });
      expect(stderr).toContain(said);
    }
    expect(await farm.ok(['ls', '--count'])).toBe('0\n');
  });
});
