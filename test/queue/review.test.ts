/** Steps of the queue that met a crash, a stale answer or an odd file at the wrong moment: nothing is lost, stuck or said wrongly. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { bury } from '../../src/queue/bury.ts';
import { cancelTask } from '../../src/queue/cancel.ts';
import { claim, emptyWindow, type Claimed } from '../../src/queue/claim.ts';
import { serverNow } from '../../src/queue/clock.ts';
import { retryTask } from '../../src/queue/control.ts';
import { afterTerminal, sweepWaiting } from '../../src/queue/depend.ts';
import { locate } from '../../src/queue/find.ts';
import { mkdirp, type FaultHook } from '../../src/queue/fsx.ts';
import { setInboxReader, sweepInbox } from '../../src/queue/inbox.ts';
import { bucketOf, entryName, makeId, randomText } from '../../src/queue/layout.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { readOutcome, settle, tallyBefore } from '../../src/queue/outcome.ts';
import { promoteDue } from '../../src/queue/promote.ts';
import { clearWant, takeName } from '../../src/queue/registry.ts';
import { move } from '../../src/queue/steps.ts';
import { submitTask } from '../../src/queue/submit.ts';
import { sweepTmp } from '../../src/queue/sweep.ts';
import { newTally } from '../../src/task/decide.ts';
import type { Next, Outcome, OutcomeKind, Task } from '../../src/task/types.ts';
import { draft } from './harness.ts';

const homes: string[] = [];
afterEach(() => {
  for (const home of homes.splice(0)) fs.rmSync(home, { recursive: true, force: true });
});

/** A queue in a directory of its own; `fault` sees every call on it. */
async function queue(options: { fault?: FaultHook; network?: boolean; leaseMs?: number } = {}): Promise<Queue> {
  const home = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-review-'));
  homes.push(home);
  await initQueue(`${home}/q`, { shared: false, leaseMs: options.leaseMs ?? null }, { network: false });
  return open(`${home}/q`, options);
}

/** Another process's view of the same queue. */
function open(dir: string, options: { fault?: FaultHook; network?: boolean } = {}): Promise<Queue> {
  const { fault } = options;
  return openQueue(dir, { network: options.network ?? false, fault: fault ?? (() => undefined) });
}

const SESSION = 'w.1.0-0-0-0-test';

async function session(q: Queue, name = SESSION): Promise<string> {
  await mkdirp(q.fsx, q.lay.session(name));
  return name;
}

const ALL = { serves: () => true, leave: () => false };

async function claimOne(q: Queue, name = SESSION): Promise<Claimed> {
  await session(q, name);
  const [claimed] = await claim(q, name, emptyWindow(), ALL, 1);
  if (claimed === undefined) throw new Error('nothing to claim');
  return claimed;
}

function outcomeOf(c: Claimed, outcome: OutcomeKind, next: Next, name = SESSION): Outcome {
  return {
    schema: 'tq.outcome/1',
    id: c.id,
    attempt: c.attempt,
    nonce: randomText(12),
    outcome,
    started: true,
    worker: 'w',
    session: name,
    host: 'h',
    pid: 1,
    startedAt: 1,
    endedAt: 2,
    durationMs: 1,
    exitCode: null,
    signal: null,
    cpuMs: null,
    maxRssKb: null,
    reason: null,
    next,
    tally: newTally(),
  };
}

/** Claims the only queued task and ends it so. */
async function end(q: Queue, state: 'done' | 'failed'): Promise<Claimed> {
  const c = await claimOne(q);
  await settle(q, SESSION, outcomeOf(c, state === 'done' ? 'succeeded' : 'failed', { state }));
  return c;
}

async function stateOf(q: Queue, id: string): Promise<string | undefined> {
  return (await locate(q, id, true))?.state;
}

const listed = (dir: string): string[] => (fs.existsSync(dir) ? fs.readdirSync(dir, { recursive: true, encoding: 'utf8' }).toSorted() : []);

function write(file: string, text: string): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, text);
}

/** A guard against a loop without end: the call after so many fails. */
function atMost(calls: number, more: FaultHook = () => undefined): FaultHook {
  let left = calls;
  return (op, at, target, again) => (left-- > 0 ? more(op, at, target, again) : { kind: 'before', code: 'ELOOP' });
}

describe('claims', () => {
  it('I9: a listing that keeps naming a task that is gone ends the look, and what lies behind it is claimed', async () => {
    const q0 = await queue();
    const ghost = (await submitTask(q0, draft())).id;
    await end(q0, 'done');
    const { id } = await submitTask(q0, draft({ priority: -1 }));
    const bucket = `${q0.dir}/queued/default/p00/${bucketOf(ghost)}`;
    const stale: FaultHook = (op, at) => (op === 'list' && at === bucket ? { kind: 'answer', value: [entryName(ghost, 0)] } : undefined);
    const q = await open(q0.dir, { fault: atMost(1000, stale) });
    await session(q);
    const claimed = await claim(q, SESSION, emptyWindow(), ALL, 3);
    expect(claimed.map((c) => c.id)).toEqual([id]);
  });

  it('I9: a new task that a cached listing does not show is found within a minute, without anybody else touching the queue', async () => {
    const q0 = await queue();
    const bucket = (id: string): string => `${q0.dir}/queued/default/p00/${bucketOf(id)}`;
    const { id } = await submitTask(q0, draft());
    let probed = false;
    // As an NFSv3 client has it: only a change of its own makes it read the directory again.
    const cached: FaultHook = (op, at) => {
      if (op === 'mkdir' && at.startsWith(`${bucket(id)}/.p.`)) probed = true;
      return op === 'list' && at === bucket(id) && !probed ? { kind: 'answer', value: [] } : undefined;
    };
    const q = await open(q0.dir, { fault: cached, network: true });
    await session(q);
    const claimed = await claim(q, SESSION, emptyWindow(), ALL, 1);
    expect(claimed.map((c) => c.id)).toEqual([id]);
  });
});

describe('what claims leave', () => {
  it('C14: the lock of a claimer that died goes with its bucket, and no later look meets it', async () => {
    const q = await queue();
    const old = bucketOf(makeId(Date.now() - 100_000_000));
    fs.mkdirSync(`${q.dir}/queued/default/p00/${old}.lock`, { recursive: true });
    await session(q);
    expect(await claim(q, SESSION, emptyWindow(), ALL, 1)).toEqual([]);
    expect(listed(`${q.dir}/queued`)).toEqual([]);
  });
});

describe('lanes', () => {
  it('L3: what a lane asks for is written whole or not at all: a submit that dies or finds no space leaves no lane that nobody serves', async () => {
    const q0 = await queue();
    // The disk is full once the lane's file has its name.
    const full: FaultHook = async (op, at) => {
      if (op !== 'create' || !at.includes('/lanes/')) return undefined;
      fs.writeFileSync(at, '');
      return { kind: 'before', code: 'ENOSPC' };
    };
    const broken = await open(q0.dir, { fault: full });
    const asking = draft({ needs: { cpus: 2 } });
    await submitTask(broken, asking).catch(() => undefined);
    const made = await submitTask(await open(q0.dir), asking);
    const at = (await locate(q0, made.id))!;
    expect(at.place.state).toBe('queued');
    const lane = at.place.state === 'queued' ? at.place.lane : '';
    expect(JSON.parse(fs.readFileSync(q0.lay.lane(lane), 'utf8'))).toMatchObject({ queue: 'default', needs: { cpus: 2 } });
  });

  it('L3: one whose file was damaged is written again by the next submit', async () => {
    const q = await queue();
    const asking = draft({ needs: { cpus: 3 } });
    const first = await submitTask(q, asking);
    const at = (await locate(q, first.id))!;
    const file = q.lay.lane(at.place.state === 'queued' ? at.place.lane : '');
    fs.writeFileSync(file, '');
    await submitTask(await open(`${q.dir}/.`), asking);
    expect(JSON.parse(fs.readFileSync(file, 'utf8'))).toMatchObject({ needs: { cpus: 3 } });
  });
});

describe('delayed tasks', () => {
  it('C14: one that was canceled before its time leaves nothing that every later look has to read', async () => {
    const q0 = await queue();
    const { id } = await submitTask(q0, draft({ delayMs: 1 }));
    await cancelTask(q0, id, { reason: null, now: false, by: null });
    expect(await stateOf(q0, id)).toBe('canceled');
    const due = (await serverNow(q0)) + 200;
    while ((await serverNow(q0)) < due) await new Promise((resolve) => setTimeout(resolve, 20));
    await promoteDue(q0);
    let listings = 0;
    const q = await open(q0.dir, { fault: (op) => void (op === 'list' && listings++) });
    await promoteDue(q);
    expect(listings).toBe(1);
    expect(listed(`${q0.dir}/delayed`)).toEqual([]);
  });

  it('one that cannot be read does not keep the others back', async () => {
    const q = await queue();
    const bad = makeId(Date.now() - 60_000);
    fs.mkdirSync(q.lay.entry({ state: 'delayed', dueAt: Date.now() - 60_000 }, bad, 0), { recursive: true });
    const { id } = await submitTask(q, draft({ delayMs: 1 }));
    await new Promise((resolve) => setTimeout(resolve, 120));
    await promoteDue(q);
    expect(await stateOf(q, id)).toBe('queued');
  });
});

describe('keys', () => {
  it('A7: without the directories that an empty queue does not need, a key is taken all the same', async () => {
    const q0 = await queue();
    fs.rmSync(`${q0.dir}/keys`, { recursive: true });
    const q = await open(q0.dir, { fault: atMost(3000) });
    const { id } = await submitTask(q, draft({ key: 'k' }));
    expect(await stateOf(q0, id)).toBe('queued');
    expect(await submitTask(q, draft({ key: 'k' }))).toMatchObject({ id, existing: true });
  });

  it('A7: where no key can be made the submit says so instead of trying for ever, and nothing is submitted', async () => {
    const q0 = await queue();
    const denied: FaultHook = (op, _at, target) =>
      op === 'rename' && target?.includes('/keys/') === true ? { kind: 'before', code: 'EACCES' } : undefined;
    const q = await open(q0.dir, { fault: atMost(3000, denied) });
    await expect(submitTask(q, draft({ key: 'k' }))).rejects.toMatchObject({ code: 'PERMISSION' });
    expect(listed(`${q0.dir}/waiting`).filter((name) => name.endsWith('.json'))).toEqual([]);
  });

  it('A7: a retry with a delay holds its key meanwhile, or is refused: two unfinished tasks never share one', async () => {
    const q0 = await queue();
    const { id } = await submitTask(q0, draft({ key: 'k' }));
    await end(q0, 'failed');
    const other = await open(q0.dir);
    let second: string | undefined;
    // Right before the task leaves its terminal place somebody else submits with the same key.
    const racing: FaultHook = async (op, at) => {
      if (op === 'rename' && at.includes('/failed/') && second === undefined) {
        second = '';
        second = (await submitTask(other, draft({ key: 'k' }))).id;
      }
      return undefined;
    };
    const q = await open(q0.dir, { fault: racing });
    await retryTask(q, id, { by: null, delayMs: 50 }).catch(() => undefined);
    await new Promise((resolve) => setTimeout(resolve, 150));
    await promoteDue(q0);
    await sweepWaiting(q0);
    expect(await stateOf(q0, second!)).toBe('queued');
    expect(['canceled', 'failed']).toContain(await stateOf(q0, id));
  });

  it('V6: an id is not printed when the task was taken back meanwhile by somebody who held its submit for dead', async () => {
    const q0 = await queue({ leaseMs: 50 });
    const first = await submitTask(q0, draft({ key: 'k' }));
    const other = await open(q0.dir);
    let stopped = false;
    // The submit stands still before it takes the key: longer than a lease, and the other task ends meanwhile.
    const standing: FaultHook = async (op, at) => {
      if (stopped || op !== 'list' || !at.includes('/keys/') || listed(`${q0.dir}/waiting`).every((name) => !name.endsWith('.json')))
        return undefined;
      stopped = true;
      await new Promise((resolve) => setTimeout(resolve, 120));
      await sweepWaiting(other);
      await cancelTask(other, first.id, { reason: null, now: false, by: null });
      return undefined;
    };
    const q = await open(q0.dir, { fault: standing });
    // The key is free when the submit looks first: it stages its task, and then another one takes the key.
    const made = await submitTask(q, draft({ key: 'k', onDup: 'replace' })).catch((error: unknown) => error);
    expect(stopped).toBe(true);
    if (made instanceof TqError) return;
    expect(await stateOf(q0, (made as { id: string }).id)).toBe('queued');
  });

  it('A5: a task that was admitted keeps its script, whoever else tried to take it back', async () => {
    const q0 = await queue({ leaseMs: 50 });
    const first = await submitTask(q0, draft({ key: 'k' }));
    const other = await open(q0.dir);
    let mine = '';
    const q = await open(q0.dir, {
      fault: async (op, at) => {
        // The submit stands still in waiting for longer than a lease ...
        if (mine !== '' || op !== 'list' || !at.includes('/keys/')) return undefined;
        const name = listed(`${q0.dir}/waiting`).find((n) => n.endsWith('.json'));
        if (name === undefined) return undefined;
        mine = path.basename(name).split('.')[0]!;
        await new Promise((resolve) => setTimeout(resolve, 120));
        return undefined;
      },
    });
    let swept: Promise<unknown> = Promise.resolve();
    let goOn = (): void => undefined;
    // ... and a sweep that found the key taken is stopped before it takes the task back.
    const slow = await open(q0.dir, {
      fault: async (op, at) => {
        if (op === 'unlink' && at.includes('/waiting/')) await new Promise<void>((resolve) => (goOn = resolve));
        return undefined;
      },
    });
    const submitting = submitTask(q, draft({ key: 'k', onDup: 'replace', scriptText: 'echo hi\n' }));
    await new Promise((resolve) => setTimeout(resolve, 100));
    swept = sweepWaiting(slow);
    await new Promise((resolve) => setTimeout(resolve, 30));
    await cancelTask(other, first.id, { reason: null, now: false, by: null }).catch(() => undefined);
    const made = await submitting.catch((error: unknown) => error);
    goOn();
    await swept;
    if (made instanceof Error) return;
    const { id, task } = made as { id: string; task: Task };
    expect(await stateOf(q0, id)).toBe('queued');
    expect(fs.existsSync(q0.lay.blob(task.script!))).toBe(true);
  });
});

describe('locks on keys', () => {
  it('A8: a lock that a submit left which died before its task was there is forgotten after an hour', async () => {
    const q = await queue();
    const nobody = makeId(Date.now() - 7_200_000);
    write(`${q.lay.keylocks}/${nobody}`, '^db/');
    await submitTask(q, draft({ key: 'db/x' }));
    expect(listed(q.lay.keylocks)).toEqual([nobody]);
    const then = Date.now() / 1000 - 7200;
    fs.utimesSync(`${q.lay.keylocks}/${nobody}`, then, then);
    await submitTask(q, draft({ key: 'db/y' }));
    expect(listed(q.lay.keylocks)).toEqual([]);
  });
});

describe('requests', () => {
  it('C5: a request that comes while the one before is taken away is kept', async () => {
    const q0 = await queue();
    await mkdirp(q0.fsx, q0.lay.worker('w'));
    const want = `${q0.lay.worker('w')}/want`;
    fs.writeFileSync(want, 'asleep\n');
    const q = await open(q0.dir, {
      fault: (op, at) => {
        if ((op === 'unlink' || op === 'rename') && at === want) fs.writeFileSync(want, 'awake\n');
        return undefined;
      },
    });
    await clearWant(q, 'w', 'asleep\n');
    expect(fs.readFileSync(want, 'utf8')).toBe('awake\n');
    await clearWant(q0, 'w', 'awake\n');
    expect(listed(q0.lay.worker('w'))).toEqual([]);
    expect(listed(q0.lay.tmp)).toEqual([]);
  });
});

describe('names of workers', () => {
  it('C2: a name whose directory is removed under the hands of a start is taken all the same', async () => {
    const q0 = await queue();
    let once = true;
    const q = await open(q0.dir, {
      fault: atMost(500, (op, _at, target) => {
        if (op !== 'rename' || target?.endsWith('/workers/w/name') !== true || !once) return undefined;
        once = false;
        fs.rmSync(q0.lay.worker('w'), { recursive: true });
        return undefined;
      }),
    });
    expect(await takeName(q, 'w', 'me')).toBe('me');
  });
});

describe('submits', () => {
  it('A14: once its task lies in the queue a submit prints its id, whatever fails after', async () => {
    const q0 = await queue();
    const parent = await submitTask(q0, draft());
    const q = await open(q0.dir, {
      fault: (op, at) => (op === 'create' && at.includes('/after/') ? { kind: 'before', code: 'ENOSPC' } : undefined),
    });
    const { id } = await submitTask(q, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    expect(await stateOf(q0, id)).toBe('waiting');
    await end(q0, 'done');
    await sweepWaiting(q0);
    expect(await stateOf(q0, id)).toBe('queued');
  });
});

describe('a queue that vanishes', () => {
  it('I14: no step makes its directory anew', async () => {
    const q = await queue();
    const { id } = await submitTask(q, draft());
    const at = (await locate(q, id))!;
    fs.renameSync(q.dir, `${q.dir}.away`);
    await move(q, at.file, q.lay.entry({ state: 'held' }, id, 0)).catch(() => undefined);
    await takeName(q, 'w', 'me').catch(() => undefined);
    await mkdirp(q.fsx, q.lay.runs(id)).catch(() => undefined);
    expect(fs.existsSync(q.dir)).toBe(false);
    // As the empty directory that a share was mounted on.
    fs.mkdirSync(q.dir);
    await move(q, at.file, q.lay.entry({ state: 'held' }, id, 0)).catch(() => undefined);
    await mkdirp(q.fsx, q.lay.runs(id)).catch(() => undefined);
    expect(listed(q.dir)).toEqual([]);
  });
});

describe('the inbox', () => {
  const taken: string[] = [];
  const reading = (fail?: () => Error | undefined): void => {
    taken.length = 0;
    setInboxReader(async (_q, text) => {
      const error = fail?.();
      if (error !== undefined) throw error;
      taken.push(text);
    });
  };

  /** Submits what it reads, as a worker does, under the id that it is told. */
  const submitting = (): void => setInboxReader(async (q, _text, _owner, id) => void (await submitTask(q, draft(), id)));
  /** Only ends a test whose condition never comes. */
  const SOON = { timeout: 20_000, interval: 5 };
  const isTaken = (at: string): boolean => at.includes('.inbox.');
  const stop = (): Promise<never> => new Promise(() => undefined);
  const tasksIn = (q: Queue): string[] => listed(`${q.dir}/queued`).filter((name) => name.endsWith('.json'));

  it('L5: what a worker took and did not live to submit goes back to the inbox, and becomes one task', async () => {
    const q0 = await queue();
    submitting();
    write(`${q0.lay.inbox}/a.json`, '{"command":["true"]}');
    const dying = await open(q0.dir, { fault: (op, at) => (op === 'read' && isTaken(at) ? stop() : undefined) });
    void sweepInbox(dying, () => undefined);
    await vi.waitUntil(() => listed(q0.lay.inbox).length === 0, SOON);
    await vi.waitUntil(async () => (await sweepTmp(q0, 1, 1e9), listed(q0.lay.inbox).length === 1), SOON);
    await sweepInbox(q0, () => undefined);
    expect(tasksIn(q0)).toHaveLength(1);
    await vi.waitUntil(async () => (await sweepTmp(q0, 1, 1), listed(q0.lay.tmp).length === 0), SOON);
    expect(listed(q0.lay.quarantine)).toEqual([]);
    expect(tasksIn(q0)).toHaveLength(1);
  });

  it('L5: what a worker submitted before it died is not submitted again', async () => {
    const q0 = await queue();
    submitting();
    write(`${q0.lay.inbox}/a.json`, '{"command":["true"]}');
    const dying = await open(q0.dir, { fault: (op, at) => (op === 'unlink' && isTaken(at) ? stop() : undefined) });
    void sweepInbox(dying, () => undefined);
    await vi.waitUntil(() => tasksIn(q0).length === 1, SOON);
    await vi.waitUntil(async () => (await sweepTmp(q0, 1, 1e9), !listed(q0.lay.tmp).some(isTaken)), SOON);
    expect(listed(q0.lay.inbox)).toEqual([]);
    expect(listed(q0.lay.quarantine)).toEqual([]);
    expect(tasksIn(q0)).toHaveLength(1);
  });

  it.each([
    ['before it staged the task', 'create'],
    ['before it published the task', 'link'],
  ] as const)('L5: a worker that was stopped %s, and goes on when its file was given back, submits nothing', async (_when, where) => {
    const q0 = await queue();
    submitting();
    write(`${q0.lay.inbox}/a.json`, '{"command":["true"]}');
    let goOn: () => void = () => undefined;
    const stopped = new Promise<undefined>((resolve) => (goOn = () => resolve(undefined)));
    let reached = false;
    const slow = await open(q0.dir, {
      fault: (op, at, target) => {
        if (op !== where || !(op === 'link' ? target! : at).includes('/once.') || reached) return undefined;
        reached = true;
        return stopped;
      },
    });
    const late = sweepInbox(slow, () => undefined);
    await vi.waitUntil(() => reached, SOON);
    await vi.waitUntil(async () => (await sweepTmp(q0, 1, 1e9), listed(q0.lay.inbox).length === 1), SOON);
    await sweepInbox(q0, () => undefined);
    goOn();
    await late;
    expect(tasksIn(q0)).toHaveLength(1);
    expect(listed(q0.lay.quarantine)).toEqual([]);
  });

  it('L5: nor does one whose staged task was swept before its file was given back', async () => {
    const q0 = await queue();
    submitting();
    write(`${q0.lay.inbox}/a.json`, '{"command":["true"]}');
    let goOn: () => void = () => undefined;
    const stopped = new Promise<undefined>((resolve) => (goOn = () => resolve(undefined)));
    let staged = '';
    const slow = await open(q0.dir, {
      fault: (op, _at, target) => {
        if (op !== 'link' || target?.includes('/once.') !== true || staged !== '') return undefined;
        staged = target;
        return stopped;
      },
    });
    const late = sweepInbox(slow, () => undefined);
    await vi.waitUntil(() => staged !== '', SOON);
    fs.renameSync(staged, `${q0.lay.swept}/${path.basename(staged)}`);
    await vi.waitUntil(async () => (await sweepTmp(q0, 1, 1e9), listed(q0.lay.inbox).length === 1), SOON);
    await sweepInbox(q0, () => undefined);
    goOn();
    await late;
    expect(tasksIn(q0)).toHaveLength(1);
    expect(listed(q0.lay.quarantine)).toEqual([]);
  });

  it('L5: of two files of one name put there one after the other, what is submitted is what is taken away', async () => {
    const q0 = await queue();
    reading();
    write(`${q0.lay.inbox}/a.json`, '{"command":["one"]}');
    let put = false;
    const q = await open(q0.dir, {
      fault: (op, at) => {
        if (op === 'rename' && at.endsWith('/inbox/a.json') && !put) {
          put = true;
          write(`${q0.lay.inbox}/b`, '{"command":["two"]}');
          fs.renameSync(`${q0.lay.inbox}/b`, `${q0.lay.inbox}/a.json`);
        }
        return undefined;
      },
    });
    await sweepInbox(q, () => undefined);
    await sweepInbox(q, () => undefined);
    expect(taken).toContain('{"command":["two"]}');
  });

  it('I15: a file that cannot be submitted because the disk is full waits in the inbox', async () => {
    const q = await queue();
    let full = true;
    reading(() => (full ? new TqError('NO_SPACE', 'submit: no space left') : undefined));
    write(`${q.lay.inbox}/a.json`, '{"command":["true"]}');
    await sweepInbox(q, () => undefined).catch(() => undefined);
    expect(listed(q.lay.quarantine)).toEqual([]);
    full = false;
    await sweepInbox(q, () => undefined);
    expect(taken).toEqual(['{"command":["true"]}']);
    expect(listed(q.lay.inbox)).toEqual([]);
  });

  it('L5: one that cannot be read does not keep the others back', async () => {
    const q0 = await queue();
    reading();
    write(`${q0.lay.inbox}/a.json`, '{"command":["true"]}');
    write(`${q0.lay.inbox}/b.json`, '{"command":["false"]}');
    const q = await open(q0.dir, {
      fault: (op, at) => (op === 'read' && at.endsWith('/a.json') ? { kind: 'before', code: 'EACCES' } : undefined),
    });
    await sweepInbox(q, () => undefined).catch(() => undefined);
    expect(taken).toEqual(['{"command":["false"]}']);
  });
});

describe('dependants', () => {
  it('a look through many waiting tasks goes on where it stopped, and comes to the last one', async () => {
    const q0 = await queue();
    const first = await submitTask(q0, draft({ hold: true }));
    for (let i = 0; i < 40; i++) await submitTask(q0, draft({ after: [{ id: first.id, kind: 'after' }] }));
    const parent = await submitTask(q0, draft());
    const child = await submitTask(q0, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    const done = await claimOne(q0);
    // Its end is recorded, and whoever made it died before looking at its children.
    await move(q0, done.file, q0.lay.entry({ state: 'done' }, done.id, done.attempt));
    // Each look has time for a few of them only.
    const slow = await open(q0.dir, { fault: async (op) => (op === 'read' ? { kind: 'delay', ms: 2 } : undefined) });
    for (let i = 0; i < 30 && (await stateOf(q0, child.id)) === 'waiting'; i++) await sweepWaiting(slow, performance.now() + 12);
    expect(await stateOf(q0, child.id)).toBe('queued');
  });

  it('one that cannot be read does not keep the others back', async () => {
    const q = await queue();
    const bad = makeId(Date.now() - 60_000);
    fs.mkdirSync(q.lay.entry({ state: 'waiting' }, bad, 0), { recursive: true });
    const parent = await submitTask(q, draft());
    const child = await submitTask(q, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    const done = await claimOne(q);
    await move(q, done.file, q.lay.entry({ state: 'done' }, done.id, done.attempt));
    await sweepWaiting(q).catch(() => undefined);
    expect(await stateOf(q, child.id)).toBe('queued');
  });

  it('E6: a child that is skipped at the moment its parent is retried waits for it again', async () => {
    const q0 = await queue();
    const parent = await submitTask(q0, draft());
    const child = await submitTask(q0, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    const other = await open(q0.dir);
    let retried = false;
    const q = await open(q0.dir, {
      fault: async (op, at, target) => {
        if (op === 'rename' && at.includes('/waiting/') && target?.includes('/skipped/') === true && !retried) {
          retried = true;
          await retryTask(other, parent.id, { by: null });
        }
        return undefined;
      },
    });
    await end(q, 'failed');
    expect(retried).toBe(true);
    expect(await stateOf(q0, parent.id)).toBe('queued');
    await end(q0, 'done');
    expect(await stateOf(q0, child.id)).toBe('queued');
  });

  it('E6: a retry that died before it came to the skipped children is made good when the parent ends', async () => {
    const q0 = await queue();
    const parent = await submitTask(q0, draft());
    const child = await submitTask(q0, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    const grandchild = await submitTask(q0, draft({ after: [{ id: child.id, kind: 'after' }] }));
    await end(q0, 'failed');
    expect(await stateOf(q0, child.id)).toBe('skipped');
    expect(await stateOf(q0, grandchild.id)).toBe('skipped');
    let moved = false;
    const dying = await open(q0.dir, {
      fault: (op, at) => {
        if (moved) return { kind: 'before', code: 'EROFS' };
        if (op === 'rename' && at.includes('/failed/')) moved = true;
        return undefined;
      },
    });
    await retryTask(dying, parent.id, { by: null }).catch(() => undefined);
    expect(await stateOf(q0, parent.id)).toBe('queued');
    await end(q0, 'done');
    expect(await stateOf(q0, child.id)).toBe('queued');
    expect(await stateOf(q0, grandchild.id)).toBe('waiting');
  });

  it('a child stays skipped when its parent failed again', async () => {
    const q = await queue();
    const parent = await submitTask(q, draft());
    const child = await submitTask(q, draft({ after: [{ id: parent.id, kind: 'after' }] }));
    await end(q, 'failed');
    const before = (await locate(q, child.id))!;
    await afterTerminal(q, { id: parent.id });
    expect(await locate(q, child.id)).toEqual(before);
  });
});

describe('outcomes', () => {
  it('V5: an outcome that another published counts, though this machine still remembers that there was none', async () => {
    const q0 = await queue();
    const { id } = await submitTask(q0, draft());
    const c = await claimOne(q0);
    const theirs = outcomeOf(c, 'lost', { state: 'queued' });
    write(q0.lay.outcome(id, 1), `${JSON.stringify(theirs)}\n`);
    let probed = false;
    const dir = q0.lay.runs(id);
    const q = await open(q0.dir, {
      network: true,
      fault: (op, at) => {
        if (op === 'mkdir' && at.startsWith(`${dir}/.p.`)) probed = true;
        if (probed) return undefined;
        if (op === 'read' && at === q0.lay.outcome(id, 1)) return { kind: 'before', code: 'ENOENT' };
        return op === 'list' && at === dir ? { kind: 'answer', value: [] } : undefined;
      },
    });
    const settled = await settle(q, SESSION, outcomeOf(c, 'succeeded', { state: 'done' }));
    expect(settled.outcome.nonce).toBe(theirs.nonce);
    expect(await stateOf(q0, id)).toBe('queued');
  });

  it('D1: an undertaker counts the retries of the life that a person began, though its listing is old', async () => {
    const q0 = await queue();
    const { id } = await submitTask(q0, draft({ retries: 1 }));
    const c = await claimOne(q0);
    const failed = outcomeOf(c, 'failed', { state: 'failed' });
    failed.tally = { failures: 2, lost: 9, firstStartedAt: 1, rejectedBy: [] };
    await settle(q0, SESSION, failed);
    await retryTask(q0, id, { by: null });
    const dead = 'v.1.0-0-0-0-dead';
    const again = await claimOne(q0, dead);
    write(q0.lay.log(id, again.attempt), '');
    const dir = q0.lay.runs(id);
    let probed = false;
    const q = await open(q0.dir, {
      network: true,
      fault: (op, at) => {
        if (op === 'mkdir' && at.startsWith(`${dir}/.p.`)) probed = true;
        return op === 'list' && at === dir && !probed ? { kind: 'answer', value: [entryName(id, 1)] } : undefined;
      },
    });
    expect(await bury(q, dead, { proved: true, reason: 'died' })).toBe('buried');
    expect((await readOutcome(q0, id, again.attempt))?.tally.lost).toBe(1);
    expect((await tallyBefore(q0, id, again.attempt + 1)).failures).toBe(0);
    expect(await stateOf(q0, id)).toBe('queued');
  });
});

describe('burials', () => {
  it('L4: an entry that cannot be read does not keep the others of a dead session back, and goes to quarantine itself', async () => {
    const q = await queue();
    const dead = await session(q, 'v.1.0-0-0-0-dead');
    const bad = makeId(Date.now() - 60_000);
    fs.mkdirSync(`${q.lay.session(dead)}/${entryName(bad, 1)}`);
    const { id } = await submitTask(q, draft());
    await claimOne(q, dead);
    expect(await bury(q, dead, { proved: true, reason: 'died' })).toBe('buried');
    expect(await stateOf(q, id)).toBe('queued');
    expect(listed(q.lay.quarantine).some((name) => name.startsWith(bad))).toBe(true);
  });
});
