import * as fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { buildTask, type BuildContext, type SubmitFlags } from '../../src/task/build.ts';

const NOW = Date.UTC(2030, 0, 31, 12, 0, 0);

const ctx = (more: Partial<BuildContext> = {}): BuildContext => ({
  now: NOW,
  cwd: '/home/u/work',
  env: { PATH: '/bin', HOME: '/home/u', SECRET: 's3', LC_ALL: 'C', LANG: undefined },
  user: 'u',
  host: 'h',
  argv: ['echo', 'hi'],
  ...more,
});

const build = (flags: SubmitFlags, more: Partial<BuildContext> = {}): ReturnType<typeof buildTask> => buildTask(flags, ctx(more));

function refusal(flags: SubmitFlags, more: Partial<BuildContext> = {}): TqError {
  try {
    build(flags, more);
  } catch (error) {
    if (error instanceof TqError) return error;
    throw error;
  }
  throw new Error('nothing was thrown');
}

function attempt(act: () => object): object {
  try {
    return act();
  } catch (error) {
    if (error instanceof TqError) return error;
    throw error;
  }
}

describe('a task from flags', () => {
  it('A1: has the defaults of the command line and no field that was not asked for', () => {
    expect(build({})).toEqual({
      queue: 'default',
      priority: 0,
      command: ['echo', 'hi'],
      cwd: '/home/u/work',
      env: { PATH: '/bin', HOME: '/home/u', LC_ALL: 'C' },
      envMode: 'min',
      submittedBy: { user: 'u', host: 'h' },
      submitDir: '/home/u/work',
      retries: 0,
      backoff: { kind: 'exp', baseMs: 1000, maxMs: 300_000 },
      jitter: true,
      graceMs: 10_000,
      onLost: 'requeue',
      split: false,
    });
  });

  it('A2: keeps an argv as it is and puts a -c string into a shell', () => {
    const argv = ['printf', '%s.', 'a b', '*', '$HOME', ''];
    expect(build({}, { argv }).command).toEqual(argv);
    expect(build({}, { argv }).shell).toBeUndefined();
    expect(build({ command: 'echo a; exit 3' }, { argv: undefined })).toMatchObject({ command: ['echo a; exit 3'], shell: '/bin/sh' });
    expect(build({ command: 'x', shell: '/bin/bash' }, { argv: undefined }).shell).toBe('/bin/bash');
  });

  it('A5: a script takes the words after -- as its arguments', () => {
    expect(build({ script: 's.sh' }, { scriptText: 'echo', argv: ['a', 'b'] })).toMatchObject({ command: ['a', 'b'], scriptText: 'echo' });
    expect(build({ script: 's.sh' }, { scriptText: 'echo', argv: undefined }).command).toEqual([]);
  });

  it.each<[string, SubmitFlags, Partial<BuildContext>]>([
    ['nothing', {}, { argv: undefined }],
    ['-- alone', {}, { argv: [] }],
  ])('A10: %s is no command', (_, flags, more) => {
    expect(refusal(flags, more)).toMatchObject({ exit: 2, message: 'no command' });
  });

  it.each<[SubmitFlags, Partial<BuildContext>, string]>([
    [{ command: 'a' }, {}, '-c'],
    [{ command: 'a', step: ['b'] }, { argv: undefined }, '--step'],
    [{ handler: 'f' }, {}, '--handler'],
    [{ command: 'a' }, { argv: undefined, scriptText: 'x' }, '--script'],
    [{ step: ['a'] }, {}, '--step'],
  ])('A10: %j runs two things and is refused by name', (flags, more, name) => {
    const error = refusal(flags, more);
    expect(error.exit).toBe(2);
    expect(error.message).toContain(name);
    expect(error.message).toContain('exclude each other');
  });

  it.each<[SubmitFlags, string, string]>([
    [{ priority: '100' }, '--priority', '100'],
    [{ priority: '-100' }, '--priority', '-100'],
    [{ priority: '1.5' }, '--priority', '1.5'],
    [{ priority: '' }, '--priority', "''"],
    [{ retries: '-1' }, '--retries', '-1'],
    [{ retries: '1e3' }, '--retries', '1e3'],
    [{ timeout: '5x' }, '--timeout', '5x'],
    [{ timeout: '0' }, '--timeout', '0'],
    [{ deadline: '' }, '--deadline', "''"],
    [{ stall: '-1s' }, '--stall', '-1s'],
    [{ grace: 'soon' }, '--grace', 'soon'],
    [{ mem: '8Q' }, '--mem', '8Q'],
    [{ cpus: '-1' }, '--cpus', '-1'],
    [{ cpus: 'Infinity' }, '--cpus', 'Infinity'],
    [{ gpus: '0.5' }, '--gpus', '0.5'],
    [{ resource: ['disk'] }, '--resource', 'disk'],
    [{ resource: ['disk=x'] }, '--resource disk', 'x'],
    [{ resource: ['mem=1'] }, '--resource', 'mem=1'],
    [{ queue: '../x' }, '--queue', '../x'],
    [{ group: 'a/b' }, '--group', 'a/b'],
    [{ worker: '..' }, '--worker', '..'],
    [{ mutex: 'a b' }, '--mutex', 'a b'],
    [{ limit: ['lic=0'] }, '--limit lic', '0'],
    [{ limit: ['=1'] }, '--limit', "''"],
    [{ label: ['=v'] }, '--label', '=v'],
    [{ label: ['k'] }, '--label', "'k'"],
    [{ env: ['1A=b'] }, '--env', '1A'],
    [{ env: ['NOT_SET_HERE'] }, '--env', 'NOT_SET_HERE'],
    [{ 'env-mode': 'some' }, '--env-mode', 'some'],
    [{ backoff: 'exp' }, '--backoff', 'exp'],
    [{ 'retry-on': '300' }, '--retry-on', '300'],
    [{ ok: 'x' }, '--ok', "'x'"],
    [{ at: 'noon' }, '--at', 'noon'],
    [{ in: 'later' }, '--in', 'later'],
    [{ expires: '0s' }, '--expires', '0s'],
    [{ after: ['no/such'] }, '--after', 'no/such'],
    [{ 'after-any': [''] }, '--after-any', "''"],
    [{ on: 'os=' }, '--on', 'os='],
    [{ on: 'a b' }, '--on', 'a b'],
    [{ 'lock-keys': '(' }, '--lock-keys', "'('"],
    [{ key: '' }, '--key', "''"],
    [{ 'on-dup': 'error' }, '--on-dup', 'error'],
    [{ 'on-lost': 'cry' }, '--on-lost', 'cry'],
    [{ data: '{}' }, '--data', '{}'],
    [{ shell: '/bin/sh' }, '--shell', '/bin/sh'],
    [{ fallback: ' ' }, '--fallback', "' '"],
    [{ array: '5-1' }, '--array', '5-1'],
    [{ array: '1-x' }, '--array', '1-x'],
    [{ chunk: '4' }, '--chunk', '4'],
    [{ 'max-fails': '101%' }, '--max-fails', '101%'],
    [{ 'max-fails': '0' }, '--max-fails', '0'],
    [{ param: ['lr'] }, '--param', 'lr'],
    [{ 'max-fails': '3' }, '--max-fails', '3'],
    [{ name: 'a\nb' }, '--name', 'a\\nb'],
  ])('A10: %j is refused with exit 2, naming the flag and the text', (flags, flag, text) => {
    const error = refusal(flags);
    expect(error).toMatchObject({ code: 'USAGE', exit: 2 });
    expect(error.message).toContain(flag);
    expect(error.message).toContain(text);
  });

  it('A10: --at and --in exclude each other, and both are named', () => {
    expect(refusal({ at: '09:00', in: '1h' }).message).toMatch(/--at '09:00'.*--in '1h'/);
  });

  it('A10: a NUL in an argument, a value or a variable is refused and shown', () => {
    expect(refusal({}, { argv: ['a', 'b\0c'] }).message).toContain("word 2 of the command holds a NUL character: 'b\\x00c'");
    expect(refusal({ comment: 'a\0' }).message).toContain('--comment');
    expect(refusal({ env: ['A=\0'] }).message).toContain('--env');
  });

  it('A3: resolves -C against the working directory, whether it exists or not', () => {
    expect(build({ cwd: '../other/not-there' }).cwd).toBe('/home/u/other/not-there');
    expect(build({ cwd: '/abs' }).cwd).toBe('/abs');
    expect(build({ cwd: '/abs' }).submitDir).toBe('/home/u/work');
  });

  it('A3: takes little, all or nothing of the environment, and -e always', () => {
    const env = { PATH: '/bin', SECRET: 's3', TQ: '/bin/tq', TQ_TASK_ID: 'x', _: '/bin/tq', LC_TIME: 'C', TZ: 'UTC' };
    const of = (flags: SubmitFlags): Record<string, string> => build(flags, { env }).env;
    expect(of({})).toEqual({ PATH: '/bin', LC_TIME: 'C', TZ: 'UTC' });
    expect(of({ 'env-mode': 'all' })).toEqual({ PATH: '/bin', SECRET: 's3', LC_TIME: 'C', TZ: 'UTC' });
    expect(of({ 'env-mode': 'none' })).toEqual({});
    expect(of({ 'env-mode': 'none', env: ['SECRET', 'A=', 'B=x=y', 'PATH=/opt'] })).toEqual({
      SECRET: 's3',
      A: '',
      B: 'x=y',
      PATH: '/opt',
    });
    expect(of({ env: ['PATH=/opt'] })['PATH']).toBe('/opt');
  });

  it('keeps variables and labels whose names mean something to JavaScript', () => {
    const draft = build({ env: ['__proto__=x', 'constructor=y'], label: ['__proto__=z'], 'env-mode': 'none' });
    expect(Object.entries(draft.env)).toEqual([
      ['__proto__', 'x'],
      ['constructor', 'y'],
    ]);
    expect(Object.entries(draft.labels!)).toEqual([['__proto__', 'z']]);
  });

  it('A4: puts name, labels, group and comment down', () => {
    expect(build({ name: 'n', label: ['k=v', 'k=w', 'x='], group: 'g', comment: 'c' })).toMatchObject({
      name: 'n',
      labels: { k: 'w', x: '' },
      group: 'g',
      comment: 'c',
    });
  });

  it('A9: says when it may start and until when', () => {
    expect(build({ in: '2s', expires: '1m' })).toMatchObject({ delayMs: 2000, expireMs: 60_000 });
    expect(build({ at: '2030-02-01T00:00:00Z' }).notBefore).toBe(Date.UTC(2030, 1, 1));
    expect(build({ at: 'now+2h' }).notBefore).toBe(NOW + 7_200_000);
    expect(build({ hold: true }).hold).toBe(true);
  });

  it('A7: puts a key down with what to do about a second one', () => {
    expect(build({ key: 'k' })).toMatchObject({ key: 'k', onDup: 'ignore' });
    expect(build({ key: 'k', 'on-dup': 'replace' })).toMatchObject({ onDup: 'replace' });
    expect(build({ 'lock-keys': '^db/' }).lockKeys).toBe('^db/');
  });

  it('puts retries, waits, codes and times down', () => {
    expect(
      build({
        retries: '3',
        backoff: 'fib:1s..1m',
        'no-jitter': true,
        'retry-on': '64-78',
        ok: '0,3',
        timeout: '1h30m',
        deadline: '2d',
        stall: '90',
        grace: '0',
        'on-lost': 'hold',
        split: true,
      }),
    ).toMatchObject({
      retries: 3,
      backoff: { kind: 'fib', baseMs: 1000, maxMs: 60_000 },
      jitter: false,
      retryOn: [[64, 78]],
      ok: [
        [0, 0],
        [3, 3],
      ],
      timeoutMs: 5_400_000,
      deadlineMs: 172_800_000,
      stallMs: 90_000,
      graceMs: 0,
      onLost: 'hold',
      split: true,
    });
  });

  it('puts what it needs of a worker down, one cpu unless told otherwise', () => {
    expect(build({}).needs).toBeUndefined();
    expect(build({ mem: '512M', gpus: '2', resource: ['disk=0.5', 'disk=1'] }).needs).toEqual({ cpus: 1, mem: 2 ** 29, gpus: 2, disk: 1 });
    expect(build({ cpus: '1.5' }).needs).toEqual({ cpus: 1.5 });
    expect(build({ on: ' gpu && os==linux ', worker: 'w', mutex: 'm', limit: ['lic', 'net=2', 'lic=3'] })).toMatchObject({
      on: 'gpu && os==linux',
      worker: 'w',
      mutex: 'm',
      limits: [
        { name: 'lic', n: 3 },
        { name: 'net', n: 2 },
      ],
    });
  });

  it('H1: puts the parents down by kind, each once', () => {
    const id = '6d39kbolt91ko2';
    expect(build({ after: [`${id},abcd`, id], 'after-any': ['@last'], 'after-each': [`${id}.3`] }).after).toEqual([
      { id, kind: 'after' },
      { id: 'abcd', kind: 'after' },
      { id: '@last', kind: 'after-any' },
      { id: `${id}.3`, kind: 'after-each' },
    ]);
  });

  it('puts steps, handlers and follow-ups down', () => {
    const none = { argv: undefined };
    expect(build({ step: ['a', 'exit 3'] }, none)).toMatchObject({ command: [], steps: ['a', 'exit 3'] });
    expect(build({ handler: 'resize', data: '{"w":2}' }, none)).toMatchObject({ command: [], handler: 'resize', data: { w: 2 } });
    expect(refusal({ handler: 'resize', data: '{w}' }, none).message).toContain("--data: not JSON: '{w}'");
    expect(build({ fallback: 'f', 'on-success': 's', 'on-failure': 'x', 'on-cancel': 'c', 'no-inputs': true })).toMatchObject({
      fallback: 'f',
      onSuccess: 's',
      onFailure: 'x',
      onCancel: 'c',
      noInputs: true,
    });
  });

  it('M8: continues a trace that it was called in, and no malformed one', () => {
    const trace = '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01';
    expect(build({}, { env: { TRACEPARENT: trace } }).traceparent).toBe(trace);
    for (const bad of ['', '00-0-0-01', trace.toUpperCase(), `${trace}-x`, `00-${'0'.repeat(32)}-00f067aa0ba902b7-01`]) {
      expect(build({}, { env: { TRACEPARENT: bad } })).not.toHaveProperty('traceparent');
    }
  });

  it('either makes a task or refuses with a usage error, whatever the text', () => {
    const text = fc.string({ unit: 'binary', maxLength: 12 });
    const one = fc.record(
      Object.fromEntries(
        'priority queue name group comment cwd env-mode at in expires key retries backoff retry-on ok timeout grace on-lost cpus mem gpus on worker mutex lock-keys fallback'
          .split(' ')
          .map((name) => [name, text]),
      ),
      { requiredKeys: [] },
    );
    fc.assert(
      fc.property(one, (flags) => {
        const made = attempt(() => build(flags as SubmitFlags));
        const want = made instanceof TqError ? { exit: 2 } : JSON.parse(JSON.stringify(made));
        expect(made).toMatchObject(want);
      }),
      { numRuns: 2000 },
    );
  });
});
