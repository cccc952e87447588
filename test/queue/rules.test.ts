/**
 * Each rule of the disk protocol by itself: the situation that it is for, made by stopping processes at the calls between which
 * the trouble comes, and what the rule makes of it.
 */
import fs from 'node:fs';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { TqError } from '../../src/errors.ts';
import { newSubmission, publishSubmission, submitBulk } from '../../src/queue/bulk.ts';
import { bury } from '../../src/queue/bury.ts';
import { cancelTask, carryCancel, readCancel, without } from '../../src/queue/cancel.ts';
import { claim, emptyWindow, RevokedError, type Claimed } from '../../src/queue/claim.ts';
import { serverNow } from '../../src/queue/clock.ts';
import { holdTask, releaseTask, retryTask } from '../../src/queue/control.ts';
import { sweepWaiting, tryRelease } from '../../src/queue/depend.ts';
import { locate } from '../../src/queue/find.ts';
import { mkdirp } from '../../src/queue/fsx.ts';
import { carryOut, finishIntents, recordIntent, type Intent } from '../../src/queue/intent.ts';
import { makeId } from '../../src/queue/layout.ts';
import { sweepKeys } from '../../src/queue/keys.ts';
import { giveBack, removeLimit, setLimit, standing, sweepMutexes, takeShares, type Share, type Want } from '../../src/queue/limits.ts';
import { replaceLock } from '../../src/queue/lock.ts';
import { parseJournal } from '../../src/queue/pieces.ts';
import { publishOutcome, settle } from '../../src/queue/outcome.ts';
import { promoteDue } from '../../src/queue/promote.ts';
import { makeSession } from '../../src/queue/session.ts';
import { setTask } from '../../src/queue/set.ts';
import { spool } from '../../src/queue/spool.ts';
import { finishedSteps, recordStep, type FinishedStep } from '../../src/queue/step-record.ts';
import { move, replace } from '../../src/queue/steps.ts';
import { sweepTmp } from '../../src/queue/sweep.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import { manyOfArray } from '../../src/task/many.ts';
import { newTally } from '../../src/task/decide.ts';
import { STATES, type Next, type Outcome, type Task } from '../../src/task/types.ts';
import { cancel, dead, ended, given, stateOf, submit, type Stage } from './cases.ts';
import { draft, isMutation, type Call, type Job, type Proc, World, type WorldOptions } from './harness.ts';
import { keyDir, Oracle, type Known } from './oracle.ts';
import { beginChunk, beginSome, buryDead, keep, recover, runOne, runSome, work, workOff } from './sim-worker.ts';

beforeAll(() => replaceLock(async () => async () => undefined));
afterAll(() => replaceLock(undefined));

async function begin(options: WorldOptions = {}): Promise<Stage> {
  const world = await World.make(options);
  onTestFinished(() => world.remove());
  return { world, oracle: new Oracle(world), id: '', ids: {} };
}

const known = (s: Stage, id = s.id): Known => s.oracle.known(id);
/** Where the task lies, relative to the queue. */
const at = (s: Stage, id = s.id): string => [...known(s, id).spots.keys()].join(' and ');
const there = (s: Stage, file: string): boolean => fs.existsSync(s.world.absolute(file));
const namesIn = (s: Stage, dir: string): string[] => (there(s, dir) ? fs.readdirSync(s.world.absolute(dir)).toSorted() : []);
const runsOf = (s: Stage, id = s.id): string[] => namesIn(s, `runs/${id.slice(0, 4)}/${id.slice(4, 6)}`).filter((n) => n.startsWith(id));

const isMove =
  (from: string, to = ''): ((c: Call) => boolean) =>
  (c) =>
    c.op === 'rename' && c.path.startsWith(from) && c.target!.startsWith(to);

/** The one call in question is done and answers `code`; all others are as they should be. */
function lose(s: Stage, which: (c: Call) => boolean, code: string): void {
  let done = false;
  s.world.faults = (call) => {
    if (done || !which(call)) return undefined;
    done = true;
    return { kind: 'lost', code };
  };
}

/** Starts something and stops it before the call in question. */
async function stopAt<T>(s: Stage, name: string, what: (p: Proc) => Promise<T>, before: (c: Call) => boolean): Promise<Job<T>> {
  const job = await s.world.spawn(name, what);
  await s.world.finish(job, before);
  expect(s.world.nextCall(job.proc), `${name} comes to the call`).toBeDefined();
  return job;
}

/** The rest of something that was stopped. */
async function goOn<T>(s: Stage, job: Job<T>): Promise<T | undefined> {
  await s.world.finish(job);
  if (job.result.kind === 'error') throw job.result.error;
  return job.result.kind === 'value' ? job.result.value : undefined;
}

async function newSession(p: Proc): Promise<string> {
  const session = makeSession(p.name, p.facts, p.pid);
  await mkdirp(p.q.fsx, p.q.lay.session(session));
  return session;
}

const all = { serves: () => true, leave: () => false };

async function claimAll(p: Proc, session: string, most = 10): Promise<Claimed[]> {
  return claim(p.q, session, emptyWindow(), all, most);
}

function outcomeOf(id: string, attempt: number, next: Next, nonce = `nonce${next.state}`): Outcome {
  return {
    schema: 'tq.outcome/1',
    id,
    attempt,
    nonce,
    outcome: next.state === 'done' ? 'succeeded' : 'failed',
    started: true,
    worker: 'w',
    session: 's',
    host: '',
    pid: null,
    startedAt: null,
    endedAt: 0,
    durationMs: null,
    exitCode: null,
    signal: null,
    cpuMs: null,
    maxRssKb: null,
    reason: null,
    next,
    tally: newTally(),
  };
}

const done: Next = { state: 'done' };
const queued: Next = { state: 'queued' };
const failed: Next = { state: 'failed' };

/** A worker process that has claimed the task and goes on existing: its session. */
async function claimedBy(s: Stage, name: string): Promise<string> {
  const job = await stopAt(
    s,
    name,
    async (p) => {
      const session = await newSession(p);
      await claimAll(p, session);
      await p.q.fsx.stat(p.q.lay.config);
      return session;
    },
    (c) => c.path === 'tq.json',
  );
  return job.proc.status === 'runs' ? [...known(s).spots.values()][0]!.session! : '';
}

describe('move', () => {
  it('makes a target directory that is missing and renames once more', async () => {
    const s = await begin();
    s.id = await given(s);
    const from = s.world.absolute(at(s));
    expect(await s.world.alone('mover', (p) => move(p.q, from, p.q.lay.entry({ state: 'held' }, s.id, 0)))).toBe('moved');
    expect(at(s)).toMatch(/^held\//);
  });

  it.each(['ENOENT', 'EIO'])('knows a rename that was done and answered %s by what lies in the target', async (code) => {
    const s = await begin({ network: true });
    s.id = await given(s);
    const from = s.world.absolute(at(s));
    await s.world.alone('maker', (p) => mkdirp(p.q.fsx, p.q.lay.dir({ state: 'held' }, s.id)));
    lose(s, isMove('queued/', 'held/'), code);
    expect(await s.world.alone('mover', (p) => move(p.q, from, p.q.lay.entry({ state: 'held' }, s.id, 0)))).toBe('moved');
  });

  it('says gone when somebody else took the source', async () => {
    const s = await begin();
    s.id = await given(s);
    const from = s.world.absolute(at(s));
    await s.world.alone('other', (p) => holdTask(p.q, s.id, null));
    expect(await s.world.alone('mover', (p) => move(p.q, from, p.q.lay.entry({ state: 'canceled' }, s.id, 0)))).toBe('gone');
    expect(at(s)).toMatch(/^held\//);
  });

  it('never makes a directory under running: a missing one there means that the session was buried', async () => {
    const s = await begin();
    s.id = await given(s);
    const from = s.world.absolute(at(s));
    expect(await s.world.alone('mover', (p) => move(p.q, from, `${p.q.lay.session('buried')}/${s.id}.a1.json`))).toBe('revoked');
    expect(namesIn(s, 'running')).toEqual([]);
    expect(at(s)).toMatch(/^queued\//);
  });
});

describe('submit', () => {
  it('repeats its rename while the staging file is there, and makes the bucket again', async () => {
    const s = await begin();
    let renames = 0;
    const job = await stopAt(
      s,
      'submit',
      (p) => submit(s, p),
      (c) => isMove('tmp/', 'queued/')(c) && ++renames === 2,
    );
    for (const dir of ['queued/default/p00', 'queued/default']) fs.rmSync(s.world.absolute(dir), { recursive: true });
    s.id = (await goOn(s, job))!;
    expect(at(s)).toMatch(/^queued\//);
  });

  it('takes its staging file back from a sweeper', async () => {
    const s = await begin();
    const job = await stopAt(s, 'submit', (p) => submit(s, p), isMove('tmp/', 'queued/'));
    s.world.advance(1000);
    expect(await s.world.alone('sweeper', (p) => sweepTmp(p.q, 500))).toMatchObject({ swept: 1 });
    s.id = (await goOn(s, job))!;
    expect(at(s)).toMatch(/^queued\//);
    expect(namesIn(s, 'swept')).toEqual([]);
  });

  it('knows by the staging file being in neither place that it was submitted', async () => {
    const s = await begin();
    lose(s, isMove('tmp/', 'queued/'), 'ENOENT');
    await given(s);
    lose(s, isMove('tmp/', 'queued/'), 'ENOENT');
    s.id = await given(s);
    expect([...s.oracle.tasks.values()].map((k) => k.spots.size)).toEqual([1, 1]);
  });

  it('V6: prints an id only when the file was synced, then renamed, then its directory synced', async () => {
    const s = await begin();
    const sync = vi.spyOn(fs, 'fsyncSync');
    onTestFinished(() => sync.mockRestore());
    const steps: string[] = [];
    s.world.observers.push((c) => {
      if (c.op === 'create' && c.path.endsWith('.task')) steps.push(`create, synced ${sync.mock.calls.length}`);
      if (isMove('tmp/', 'queued/')(c)) steps.push('rename');
      if (c.op === 'fsyncDir') steps.push(`sync of ${c.path}`);
    });
    s.id = await given(s);
    expect(steps).toEqual(['create, synced 1', 'rename', `sync of ${path.dirname(at(s))}`]);
  });
});

describe('claim', () => {
  it('finds a claim whose reply was lost by a strong list of its own directory', async () => {
    const s = await begin({ network: true });
    s.id = await given(s);
    lose(s, isMove('queued/', 'running/'), 'ENOENT');
    const calls: string[] = [];
    s.world.observers.push((c) => calls.push(`${c.op} ${c.path.replace(/\/\.p\..*/, '/probe')}`));
    const claimed = await s.world.alone('w', async (p) => claimAll(p, await newSession(p)));
    expect(claimed!.map((c) => c.id)).toEqual([s.id]);
    const dir = `running/${[...known(s).spots.values()][0]!.session}`;
    const after = calls.slice(calls.findLastIndex((c) => c.startsWith('rename queued/')) + 1);
    expect(after.slice(0, 3)).toEqual([`mkdir ${dir}/probe`, `rmdir ${dir}/probe`, `list ${dir}`]);
  });

  it('takes nothing into a session that was buried, and does not make its directory again', async () => {
    const s = await begin();
    s.id = await given(s);
    await expect(s.world.alone('w', (p) => claimAll(p, 'w.1.0-0-0-0-0'))).rejects.toBeInstanceOf(RevokedError);
    expect(at(s)).toMatch(/a0\.json$/);
    expect(namesIn(s, 'running')).toEqual([]);
  });

  it('counts no task twice when, after a lost reply, a cached listing names what the session has already', async () => {
    const s = await begin({ network: true, seed: 3 });
    s.id = await given(s);
    lose(s, isMove('queued/', 'running/'), 'ENOENT');
    const mine: Claimed[] = [];
    const has = (id: string, attempt: number): boolean => mine.some((c) => c.id === id && c.attempt === attempt);
    const claims = await s.world.alone('w', async (p) => {
      const session = await newSession(p);
      const first = await claim(p.q, session, emptyWindow(), { ...all, has, taken: (c) => void mine.push(c) }, 10);
      p.world.faults = (c) => (c.op === 'list' && c.path.startsWith('queued/') ? { kind: 'stale' } : undefined);
      return [first, await claim(p.q, session, emptyWindow(), { ...all, has, taken: (c) => void mine.push(c) }, 10)];
    });
    expect(claims!.map((c) => c.length)).toEqual([1, 0]);
    expect(s.world.trace(s.id).some((l) => / list queued\/.*stale \[.*a0\.json/.test(l))).toBe(true);
  });

  it('raises the attempt, and handing back keeps it raised', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }));
    expect(at(s)).toMatch(/^queued\/.*\.a1\.json$/);
  });
});

describe('log and heartbeat', () => {
  it('does not begin an attempt whose log is there already; the next heartbeat gives it back', async () => {
    const s = await begin();
    s.id = await given(s);
    await s.world.alone('stranger', async (p) => {
      await mkdirp(p.q.fsx, p.q.lay.runs(s.id));
      await p.q.fsx.create(p.q.lay.log(s.id, 1), '');
    });
    await workOff(s.world, s.oracle);
    expect([...known(s).started]).toEqual([2]);
    expect(known(s).outcomes.get(1)).toMatchObject({ outcome: 'lost' });
    expect(stateOf(s)).toBe('done');
  });

  /** A living worker finds an entry in its directory that it knows nothing of. */
  async function unknownEntry(s: Stage, prepare: (p: Proc) => Promise<void>): Promise<void> {
    let turns = 0;
    const job = await stopAt(
      s,
      'w',
      (p) => work(p, s.oracle, { mood: () => (turns++ < 30 ? 'settle' : 'leave'), most: 4 }),
      (c) => c.op === 'list' && c.path.startsWith('running/'),
    );
    const session = s.world.nextCall(job.proc)!.path.slice('running/'.length);
    s.id = await given(s);
    await s.world.alone('stranger', async (p) => {
      await p.q.fsx.rename(s.world.absolute(at(s)), `${p.q.lay.session(session)}/${s.id}.a1.json`);
      await prepare(p);
    });
    await goOn(s, job);
  }

  it('publishes lost for an entry that the session neither runs nor is claiming, and makes its move', async () => {
    const s = await begin();
    await unknownEntry(s, async () => undefined);
    expect(known(s).outcomes.get(1)).toMatchObject({ outcome: 'lost', next: { state: 'queued' } });
    expect([[...known(s).started], stateOf(s)]).toEqual([[2], 'done']);
  });

  it('V5: takes the outcome that is published already for such an entry instead of running it again', async () => {
    const s = await begin();
    await unknownEntry(s, async (p) => {
      await mkdirp(p.q.fsx, p.q.lay.runs(s.id));
      const tmp = `${p.q.lay.tmp}/x`;
      await p.q.fsx.create(tmp, JSON.stringify(outcomeOf(s.id, 1, done)));
      await p.q.fsx.link(tmp, p.q.lay.outcome(s.id, 1));
    });
    expect([[...known(s).started], stateOf(s)]).toEqual([[], 'done']);
  });
});

describe('outcome', () => {
  it('knows its own by the nonce when the reply to its publication was lost', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    lose(s, (c) => c.op === 'link', 'EEXIST');
    s.oracle.condemn(session, await s.world.process('x'));
    const settled = await s.world.alone('finisher', (p) => settle(p.q, session, outcomeOf(s.id, 1, done, 'mine')));
    expect(settled).toMatchObject({ move: 'moved', outcome: { nonce: 'mine' } });
    expect([stateOf(s), s.oracle.published]).toEqual(['done', 1]);
  });

  it('discards its own when another was first, and makes the move that the other names', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    const first = await stopAt(s, 'first', (p) => settle(p.q, session, outcomeOf(s.id, 1, failed, 'first')), isMove('running/'));
    const settled = await s.world.alone('second', (p) => settle(p.q, session, outcomeOf(s.id, 1, done, 'second')));
    expect(settled).toMatchObject({ move: 'moved', outcome: { nonce: 'first' }, next: { state: 'failed' } });
    await goOn(s, first);
    expect([stateOf(s), s.oracle.published]).toEqual(['failed', 1]);
  });
});

describe('burial', () => {
  it('publishes lost before it moves anything, so that a finish in between is discarded', async () => {
    const s = await begin();
    s.id = await given(s);
    const worker = await stopAt(
      s,
      'w',
      (p) => runOne(p, s.oracle, 0),
      (c) => c.op === 'link',
    );
    const { session } = [...known(s).spots.values()][0]!;
    const undertaker = await s.world.process('undertaker');
    s.oracle.condemn(session!, undertaker);
    const burial = await s.world.start(undertaker, (p) => bury(p.q, session!, { proved: false, reason: 'no heartbeat' }));
    await s.world.finish(burial, isMove('running/'));
    expect(known(s).outcomes.get(1)).toMatchObject({ outcome: 'lost' });
    await goOn(s, worker);
    await goOn(s, burial);
    expect(at(s)).toMatch(/^queued\/.*\.a1\.json$/);
    await recover(s.world, s.oracle);
    expect([stateOf(s), [...known(s).started]]).toEqual(['done', [1, 2]]);
  });

  it('makes the move that a published outcome names, and never runs it again', async () => {
    const s = await begin();
    s.id = await given(s);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 0), isMove('running/', 'done/'));
    s.world.crash(worker.proc);
    await recover(s.world, s.oracle);
    expect([stateOf(s), [...known(s).started]]).toEqual(['done', [1]]);
  });

  it('of a suspect stops when it claimed something meanwhile: it lives', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    const burial = await stopAt(
      s,
      'undertaker',
      (p) => bury(p.q, session, { proved: false, reason: 'no heartbeat' }),
      (c) => c.op === 'rmdir',
    );
    s.ids['later'] = await given(s);
    await s.world.alone('w-again', (p) => claimAll(p, session));
    expect(await goOn(s, burial)).toBe('alive');
    expect(at(s, s.ids['later'])).toMatch(/^running\//);
  });

  it('takes a request to cancel for no sign of life', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    const burial = await stopAt(
      s,
      'undertaker',
      (p) => bury(p.q, session, { proved: false, reason: 'no heartbeat' }),
      (c) => c.op === 'rmdir',
    );
    await s.world.alone('by hand', async (p) => {
      s.oracle.wished(s.id, p);
      await p.q.fsx.create(`${p.q.lay.session(session)}/${s.id}.a1.cancel`, '');
    });
    expect(await goOn(s, burial)).toBe('buried');
    expect(stateOf(s)).toBe('canceled');
  });

  it('publishes what this machine kept for the session before it says lost', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    await s.world.alone('kept', async (p) => spool(p.q, session, outcomeOf(s.id, 1, done)));
    await recover(s.world, s.oracle);
    expect([stateOf(s), [...known(s).started]]).toEqual(['done', [1]]);
  });

  it('goes on although somebody died in the session while listing it', async () => {
    const s = await begin({ network: true });
    s.id = await given(s);
    const session = await dead(s, 1);
    fs.mkdirSync(s.world.absolute(`running/${session}/.p.leftover`));
    expect(await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }))).toBe('buried');
  });

  it('reads no log, however long it is', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    const read: string[] = [];
    s.world.observers.push((c) => void (c.op === 'read' && read.push(c.path)));
    await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }));
    expect(known(s).outcomes.get(1)).toMatchObject({ outcome: 'lost', started: true });
    expect(read.filter((name) => name.endsWith('.log'))).toEqual([]);
  });
});

describe('cancel', () => {
  /** X ran as attempt 1 and went back; then somebody's request for attempt 1 comes to where it was. The burial that will find it. */
  async function orphan(s: Stage): Promise<{ burial: Job<unknown>; request: () => Promise<void>; session: string }> {
    s.id = await given(s);
    const session = await dead(s, 1);
    const burial = await stopAt(
      s,
      'undertaker',
      (p) => bury(p.q, session, { proved: true, reason: 'died' }),
      (c) => c.op === 'rmdir',
    );
    const request = async (): Promise<void> => {
      await s.world.alone('late', async (p) => {
        s.oracle.wished(s.id, p);
        await p.q.fsx.create(`${p.q.lay.session(session)}/${s.id}.a1.cancel`, '');
      });
    };
    return { burial, request, session };
  }

  it('E2: a request that says something is there whole or not at all', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    const calls: Call[] = [];
    s.world.observers.push((c) => void (c.path.endsWith('.cancel') && c.op !== 'read' && calls.push(c)));
    await s.world.alone('person', async (p) => {
      s.oracle.wished(s.id, p);
      await cancelTask(p.q, s.id, { reason: 'enough', now: true, by: null });
    });
    // Whoever looks between a creation and its text would find a request that says nothing.
    expect(calls.map((c) => c.op)).toEqual(['link']);
    await s.world.alone('reader', async (p) => {
      expect(await readCancel(p.q, session, s.id, 1)).toEqual({ reason: 'enough', now: true, by: null });
    });
    expect(namesIn(s, 'tmp')).toEqual([]);
  });

  it('looks for the task again when the session is gone before the request could be made', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    const job = await stopAt(
      s,
      'cancel',
      (p) => cancel(s, p),
      (c) => c.path.endsWith('.cancel'),
    );
    await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }));
    await goOn(s, job);
    expect(stateOf(s)).toBe('canceled');
  });

  it('looks for the task again when it left the session before the request was made beside it', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    const job = await stopAt(
      s,
      'cancel',
      (p) => cancel(s, p),
      (c) => c.path.endsWith('.cancel'),
    );
    const burial = await stopAt(
      s,
      'undertaker',
      (p) => bury(p.q, session, { proved: true, reason: 'died' }),
      (c) => c.op === 'rmdir',
    );
    await goOn(s, job);
    expect(stateOf(s)).toBe('canceled');
    expect(await goOn(s, burial)).toBe('buried');
  });

  it('looks for the task again when an older request goes away while its own is being added to it', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    await s.world.alone('first', (p) => cancel(s, p));
    const job = await stopAt(
      s,
      'second',
      (p) => cancelTask(p.q, s.id, { reason: null, now: true, by: null }),
      (c) => c.op === 'write',
    );
    await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }));
    await expect(goOn(s, job)).rejects.toMatchObject({ code: 'WRONG_STATE' });
    expect([stateOf(s), namesIn(s, 'running')]).toEqual(['canceled', []]);
  });

  it('E2: a second request adds to the first: at once, and for the reason that was given', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await dead(s, 1);
    const request = { reason: 'a reason of some length', now: false, by: null };
    await s.world.alone('first', (p) => cancelTask(p.q, s.id, request));
    await s.world.alone('second', (p) => cancelTask(p.q, s.id, { reason: null, now: true, by: null }));
    expect(await s.world.alone('worker', (p) => readCancel(p.q, session, s.id, 1))).toEqual({ ...request, now: true });
    await s.world.alone('third', (p) => cancelTask(p.q, s.id, { reason: 'short', now: false, by: null }));
    expect(await s.world.alone('worker', (p) => readCancel(p.q, session, s.id, 1))).toEqual({ reason: 'short', now: true, by: null });
  });

  it('is carried on from a session that the task has left: canceled where it rests', async () => {
    const s = await begin();
    const { burial, request } = await orphan(s);
    await request();
    expect(await goOn(s, burial)).toBe('buried');
    expect(stateOf(s)).toBe('canceled');
  });

  it('is carried on to the attempt that runs elsewhere now', async () => {
    const s = await begin();
    const { burial, request } = await orphan(s);
    await request();
    const session = await dead(s, 1);
    await goOn(s, burial);
    expect(namesIn(s, `running/${session}`)).toEqual([`${s.id}.a2.cancel`, `${s.id}.a2.json`]);
    await recover(s.world, s.oracle);
    expect(stateOf(s)).toBe('canceled');
  });

  it('is dropped when the task has ended', async () => {
    const s = await begin();
    const { burial, request } = await orphan(s);
    await request();
    await s.world.alone('w2', (p) => runOne(p, s.oracle, 0));
    expect(await goOn(s, burial)).toBe('buried');
    expect(stateOf(s)).toBe('done');
  });

  it('is spent when a person has retried the task since', async () => {
    const s = await begin();
    const { burial, request } = await orphan(s);
    await request();
    await s.world.alone('w2', (p) => runOne(p, s.oracle, 1));
    await s.world.alone('retry', (p) => retryTask(p.q, s.id, { by: null }));
    expect(await goOn(s, burial)).toBe('buried');
    expect(at(s)).toMatch(/^queued\/.*\.a3\.json$/);
  });

  it('is not spent when only a change raised the attempt', async () => {
    const s = await begin();
    const { burial, request } = await orphan(s);
    await request();
    await s.world.alone('set', (p) => setTask(p.q, p.facts, s.id, { priority: 5 }));
    expect(await goOn(s, burial)).toBe('buried');
    expect(stateOf(s)).toBe('canceled');
  });

  it('keeps its request as long as the task keeps moving', async () => {
    const s = await begin();
    const { burial, request, session } = await orphan(s);
    await request();
    // Each time the request is about to be obeyed somebody else was faster.
    const carrier = await s.world.spawn('carrier', (p) => carryCancel(p.q, session, s.id, 1));
    let moves = 0;
    for (;;) {
      await s.world.finish(carrier, (c) => c.path === at(s) && isMove('', 'canceled/')(c));
      if (carrier.proc.status !== 'runs') break;
      if (moves++ % 2 === 0) await s.world.alone('person', (p) => holdTask(p.q, s.id, null));
      else await s.world.alone('person', async (p) => void (await releaseTask(p.q, s.id, null)));
    }
    expect(moves).toBeGreaterThan(2);
    expect(namesIn(s, `running/${session}`)).toEqual([`${s.id}.a1.cancel`]);
    await goOn(s, burial);
    expect(stateOf(s)).toBe('canceled');
  });

  it('wins over an outcome that is not final, and goes only when the task is in its place', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    await s.world.alone('cancel', (p) => cancel(s, p));
    const job = await stopAt(
      s,
      'finisher',
      (p) => settle(p.q, session, outcomeOf(s.id, 1, queued)),
      (c) => c.op === 'unlink' && c.path.endsWith('.cancel'),
    );
    expect(stateOf(s)).toBe('canceled');
    // Dead before it could unlink the request: whoever comes next drops it.
    s.world.crash(job.proc);
    expect(await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'died' }))).toBe('buried');
    expect(stateOf(s)).toBe('canceled');
  });

  it('does not win over a final outcome', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    await s.world.alone('cancel', (p) => cancel(s, p));
    await s.world.alone('finisher', (p) => settle(p.q, session, outcomeOf(s.id, 1, done)));
    await s.world.alone('undertaker', (p) => bury(p.q, session, { proved: true, reason: 'left' }));
    expect(stateOf(s)).toBe('done');
  });

  it('that comes between the look and the move of a finish is carried on at once', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    const finish = await stopAt(s, 'finisher', (p) => settle(p.q, session, outcomeOf(s.id, 1, queued)), isMove('running/', 'queued/'));
    await s.world.alone('cancel', (p) => cancel(s, p));
    await goOn(s, finish);
    expect(stateOf(s)).toBe('canceled');
  });

  it('is obeyed by whoever hands back what had not begun', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await claimedBy(s, 'w');
    s.oracle.condemn(session, await s.world.process('x'));
    await s.world.alone('cancel', (p) => cancel(s, p));
    await s.world.alone('finisher', (p) => settle(p.q, session, outcomeOf(s.id, 1, queued), undefined, false));
    expect(stateOf(s)).toBe('canceled');
  });
});

describe('retry', () => {
  it('records itself, then raises the attempt: the name under which the task ended never comes back', async () => {
    const s = await begin();
    s.id = await ended(s, 1);
    const old = at(s);
    const job = await stopAt(s, 'retry', (p) => retryTask(p.q, s.id, { by: null }), isMove('failed/'));
    expect(runsOf(s)).toContain(`${s.id}.a1.retried`);
    await goOn(s, job);
    expect(at(s)).toMatch(/^queued\/.*\.a2\.json$/);
    await recover(s.world, s.oracle);
    expect([...known(s).started]).toEqual([1, 3]);
    expect(there(s, old)).toBe(false);
  });

  it('by two at once begins one new life', async () => {
    const s = await begin();
    s.id = await ended(s, 1);
    const first = await stopAt(s, 'first', (p) => retryTask(p.q, s.id, { by: null }), isMove('failed/'));
    await s.world.alone('second', (p) => retryTask(p.q, s.id, { by: null }));
    await goOn(s, first).catch((error: unknown) => expect(error).toMatchObject({ code: 'WRONG_STATE' }));
    await recover(s.world, s.oracle);
    expect([...known(s).started]).toEqual([1, 3]);
  });

  it('counts the retries anew', async () => {
    const s = await begin();
    s.id = await ended(s, 1);
    await s.world.alone('retry', (p) => retryTask(p.q, s.id, { by: null }));
    await s.world.alone('w2', (p) => runOne(p, s.oracle, 1));
    expect(known(s).outcomes.get(3)!.tally.failures).toBe(1);
  });
});

describe('set', () => {
  it('raises the attempt, so that the claimed name does not come back', async () => {
    const s = await begin();
    s.id = await given(s);
    await s.world.alone('set', (p) => setTask(p.q, p.facts, s.id, { priority: 7 }));
    expect(at(s)).toMatch(/^queued\/default\/p07\/.*\.a1\.json$/);
    expect(runsOf(s)).toEqual([]);
  });

  it('that dies midway is buried like a worker, and the task goes back where it was', async () => {
    const s = await begin();
    s.id = await given(s, { delayMs: 60_000 });
    const before = path.dirname(at(s));
    const job = await stopAt(s, 'set', (p) => setTask(p.q, p.facts, s.id, { labels: { v: '1' } }), isMove('running/set.', 'delayed/'));
    s.world.crash(job.proc);
    await s.world.alone('keeper', keep);
    expect(at(s)).toBe(`${before}/${s.id}.a1.json`);
    expect(namesIn(s, 'running')).toEqual([]);
  });

  it('that was only stopped, and buried meanwhile, brings nothing back', async () => {
    const s = await begin();
    s.id = await given(s);
    const job = await stopAt(
      s,
      'set',
      (p) => setTask(p.q, p.facts, s.id, { labels: { v: '1' } }),
      (c) => c.op === 'rename' && c.path.endsWith('.new'),
    );
    const { session } = [...known(s).spots.values()][0]!;
    const undertaker = await s.world.process('undertaker');
    s.oracle.condemn(session!, undertaker);
    const burial = await s.world.start(undertaker, (p) => bury(p.q, session!, { proved: false, reason: 'no heartbeat' }));
    await s.world.finish(burial, (c) => c.op === 'rmdir');
    // The task has gone back and is taken by a worker before the set goes on.
    expect(at(s)).toMatch(/^queued\/.*\.a1\.json$/);
    const runner = await dead(s, 1);
    const going = goOn(s, job).catch((error: unknown) => expect(error).toBeInstanceOf(TqError));
    await going;
    await goOn(s, burial);
    expect(at(s)).toBe(`running/${runner}/${s.id}.a2.json`);
    expect(namesIn(s, 'running')).toEqual([runner]);
  });

  it('that meets a request to cancel moves the task to canceled', async () => {
    const s = await begin();
    s.id = await given(s);
    const job = await stopAt(
      s,
      'set',
      (p) => setTask(p.q, p.facts, s.id, { priority: 7 }),
      (c) => c.op === 'rename' && c.path.endsWith('.new'),
    );
    await s.world.alone('cancel', (p) => cancel(s, p));
    await goOn(s, job);
    expect(stateOf(s)).toBe('canceled');
    expect(namesIn(s, 'running')).toEqual([]);
  });

  it('leaves a task that waits to be held one that will be held', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    s.id = await given(s, { hold: true, after: [{ id: s.ids['parent'], kind: 'after' }] });
    await s.world.alone('set', (p) => setTask(p.q, p.facts, s.id, { priority: 7 }));
    await recover(s.world, s.oracle);
    expect([stateOf(s, s.ids['parent']), stateOf(s)]).toEqual(['done', 'held']);
  });

  it('does not let a delayed task with a key or parents pass them by when it is due meanwhile', async () => {
    const s = await begin();
    s.id = await given(s, { delayMs: 1000, key: 'k' });
    const job = await stopAt(
      s,
      'set',
      (p) => setTask(p.q, p.facts, s.id, { labels: { v: '1' } }),
      (c) => c.op === 'rename' && c.path.endsWith('.new'),
    );
    s.world.advance(5000);
    await goOn(s, job);
    expect(stateOf(s)).toBe('delayed');
    await s.world.alone('promoter', (p) => promoteDue(p.q));
    expect(stateOf(s)).toBe('queued');
  });
});

describe('dependants', () => {
  const after = (id: string): Partial<TaskDraft> => ({ after: [{ id, kind: 'after' }] });

  it('the child looks last: a parent that ended before the marker was made is seen', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    const job = await stopAt(
      s,
      'submit',
      (p) => submit(s, p, after(s.ids['parent']!)),
      (c) => c.op === 'create' && c.path.startsWith('after/'),
    );
    await s.world.alone('w', (p) => runOne(p, s.oracle, 0));
    s.id = (await goOn(s, job))!;
    expect(stateOf(s)).toBe('queued');
  });

  it('who ends the parent looks last: a child that was marked before the move is found', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 0), isMove('running/', 'done/'));
    s.id = await given(s, after(s.ids['parent']));
    expect(stateOf(s)).toBe('waiting');
    await goOn(s, worker);
    expect(stateOf(s)).toBe('queued');
  });

  it('a parent that is nowhere to be found has not ended', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    s.id = await given(s, after(s.ids['parent']));
    const from = at(s, s.ids['parent']);
    await s.world.alone('thief', (p) => p.q.fsx.rename(s.world.absolute(from), `${p.q.lay.tmp}/away`)).catch(() => undefined);
    expect(await s.world.alone('keeper', (p) => tryRelease(p.q, s.id, true))).toBe('waiting');
    expect(stateOf(s)).toBe('waiting');
  });

  it('a released child goes to waiting when its parent has not ended', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s, { delayMs: 60_000 });
    s.id = await given(s, { hold: true, ...after(s.ids['parent']) });
    await s.world.alone('hold', (p) => holdTask(p.q, s.id, null)).catch(() => undefined);
    known(s).released = true;
    await s.world.alone('release', (p) => releaseTask(p.q, s.id, null));
    expect(stateOf(s)).toBe('waiting');
    s.world.advance(61_000);
    await recover(s.world, s.oracle);
    expect(stateOf(s)).toBe('done');
  });

  it('a retried child goes to waiting when its parent has not ended again', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    s.id = await given(s, after(s.ids['parent']));
    await workOff(s.world, s.oracle);
    await s.world.alone('retry', (p) => retryTask(p.q, s.ids['parent']!, { by: null, delayMs: 60_000 }));
    await s.world.alone('retry2', (p) => retryTask(p.q, s.id, { by: null }));
    expect(stateOf(s)).toBe('waiting');
    s.world.advance(61_000);
    await recover(s.world, s.oracle);
    expect(stateOf(s)).toBe('done');
  });

  it('a delayed child goes to waiting when it is due and its parent was retried', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    s.id = await given(s, { delayMs: 30_000, ...after(s.ids['parent']) });
    await workOff(s.world, s.oracle);
    expect(stateOf(s)).toBe('delayed');
    await s.world.alone('retry', (p) => retryTask(p.q, s.ids['parent']!, { by: null, delayMs: 60_000 }));
    s.world.advance(31_000);
    await s.world.alone('promoter', (p) => promoteDue(p.q));
    expect(stateOf(s)).toBe('waiting');
  });

  it('the sweep of waiting reads the parents from the child itself, whoever died before it made its markers', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    const job = await stopAt(
      s,
      'submit',
      (p) => submit(s, p, after(s.ids['parent']!)),
      (c) => c.path.startsWith('after/'),
    );
    s.world.crash(job.proc);
    s.id = [...s.oracle.tasks.keys()].find((id) => id !== s.ids['parent'])!;
    await s.world.alone('w', (p) => runOne(p, s.oracle, 0));
    expect(stateOf(s)).toBe('waiting');
    await s.world.alone('keeper', (p) => sweepWaiting(p.q));
    expect(stateOf(s)).toBe('queued');
  });

  it('H2: a child that the sweep skipped for one who died before it made its markers is found by the retry of its parent', async () => {
    const s = await begin();
    s.ids['parent'] = await given(s);
    const job = await stopAt(
      s,
      'submit',
      (p) => submit(s, p, after(s.ids['parent']!)),
      (c) => c.path.startsWith('after/'),
    );
    s.world.crash(job.proc);
    s.id = [...s.oracle.tasks.keys()].find((id) => id !== s.ids['parent'])!;
    await s.world.alone('w', (p) => runOne(p, s.oracle, 1));
    await s.world.alone('keeper', (p) => sweepWaiting(p.q));
    expect(stateOf(s)).toBe('skipped');
    await s.world.alone('retry', (p) => retryTask(p.q, s.ids['parent']!, { by: null }));
    await recover(s.world, s.oracle);
    expect(stateOf(s)).toBe('done');
  });
});

describe('keys', () => {
  const keyed = { key: 'k' };
  const tokens = (s: Stage): string[] => namesIn(s, keyDir('k'));

  it('the task goes to waiting first and leaves it only as the owner of the token', async () => {
    const s = await begin();
    const job = await stopAt(s, 'submit', (p) => submit(s, p, keyed), isMove('waiting/', 'queued/'));
    s.id = [...s.oracle.tasks.keys()][0]!;
    expect(tokens(s)).toEqual([`g1.${s.id}`]);
    await goOn(s, job);
    expect(stateOf(s)).toBe('queued');
  });

  it('one that lost the race for the token takes its task back: its id was never printed', async () => {
    const s = await begin();
    const job = await stopAt(s, 'slow', (p) => submit(s, p, keyed), isMove(`${keyDir('k')}/g0.free`));
    const fast = await given(s, keyed);
    expect(await goOn(s, job)).toBe(fast);
    await recover(s.world, s.oracle);
    expect([...s.oracle.tasks.values()].filter((k) => k.started.size > 0)).toHaveLength(1);
  });

  it('a submit that died before it had the token is admitted by the sweep when the key is free, after a lease', async () => {
    const s = await begin();
    const job = await stopAt(s, 'submit', (p) => submit(s, p, keyed), isMove(`${keyDir('k')}/g0.free`));
    s.world.crash(job.proc);
    s.id = [...s.oracle.tasks.keys()][0]!;
    await s.world.alone('early', (p) => sweepWaiting(p.q));
    expect(stateOf(s)).toBe('waiting');
    s.world.advance(s.world.leaseMs + 1000);
    await s.world.alone('late', (p) => sweepWaiting(p.q));
    expect([stateOf(s), tokens(s)]).toEqual(['queued', [`g1.${s.id}`]]);
  });

  it('such a submit never runs when another has the key', async () => {
    const s = await begin();
    const job = await stopAt(
      s,
      'submit',
      (p) => submit(s, p, keyed),
      (c) => c.path.startsWith('keys/') && c.op === 'rename',
    );
    s.world.crash(job.proc);
    s.id = [...s.oracle.tasks.keys()][0]!;
    s.ids['other'] = await given(s, { ...keyed, delayMs: 100_000 });
    s.world.advance(s.world.leaseMs + 1000);
    await s.world.alone('late', (p) => sweepWaiting(p.q));
    expect(['canceled', undefined]).toContain(stateOf(s));
    expect(stateOf(s, s.ids['other'])).toBe('delayed');
  });

  it('the finisher frees exactly the token that it saw before its move: not that of a retry since', async () => {
    const s = await begin();
    s.id = await given(s, keyed);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 0), isMove(`${keyDir('k')}/g1.`));
    expect(stateOf(s)).toBe('done');
    await s.world.alone('retry', (p) => retryTask(p.q, s.id, { by: null }));
    expect(tokens(s)).toEqual([`g3.${s.id}`]);
    await goOn(s, worker);
    expect(tokens(s)).toEqual([`g3.${s.id}`]);
  });

  it('a holder that ended without freeing its token does not keep it', async () => {
    const s = await begin();
    const first = await given(s, keyed);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 0), isMove(`${keyDir('k')}/g1.`));
    s.world.crash(worker.proc);
    s.id = await given(s, keyed);
    expect([s.id === first, tokens(s)]).toEqual([false, [`g2.${s.id}`]]);
  });

  it('the directory of a new key is built aside and renamed into place: two at once make one token', async () => {
    const s = await begin();
    const slow = await stopAt(s, 'slow', (p) => submit(s, p, keyed), isMove('tmp/', keyDir('k')));
    expect(there(s, keyDir('k'))).toBe(false);
    const fast = await given(s, keyed);
    expect(await goOn(s, slow)).toBe(fast);
    expect(tokens(s)).toEqual([`g1.${fast}`]);
  });

  it('A7: a held task that has lost its key to another asks for it again when it is released', async () => {
    const s = await begin();
    s.id = await given(s, keyed);
    await s.world.alone('w', (p) => runOne(p, s.oracle, 1));
    const job = await stopAt(s, 'retry', (p) => retryTask(p.q, s.id, { by: null }), isMove(keyDir('k')));
    s.world.crash(job.proc);
    await s.world.alone('hold', (p) => holdTask(p.q, s.id, null));
    s.ids['other'] = await given(s, { ...keyed, delayMs: 100_000 });
    expect(await s.world.alone('release', (p) => releaseTask(p.q, s.id, null))).toBe('canceled');
    expect(known(s).started.size).toBe(1);
  });

  it('a printed task that has the key and waits for its parents is not taken back by who believes that another has it', async () => {
    const s = await begin();
    const parent = await given(s, { hold: true });
    const slow = await stopAt(
      s,
      'slow',
      (p) => submit(s, p, { ...keyed, after: [{ id: parent, kind: 'after' }] }),
      isMove(`${keyDir('k')}/g0.free`),
    );
    s.id = [...s.oracle.tasks.keys()].find((id) => id !== parent)!;
    const holder = await given(s, { ...keyed, hold: true });
    s.world.advance(s.world.leaseMs + 1000);
    const sweeper = await stopAt(s, 'sweep', (p) => sweepWaiting(p.q), isMove('waiting/', 'tmp/'));
    await s.world.alone('cancel', (p) => cancelTask(p.q, holder, { reason: null, now: false, by: null }));
    expect(await goOn(s, slow)).toBe(s.id);
    await goOn(s, sweeper);
    expect(stateOf(s)).toBe('waiting');
  });

  it('a submit whose task has the key and waits gives it a name that nobody knew when another had the key', async () => {
    const s = await begin();
    const parent = await given(s, { hold: true });
    s.id = await given(s, { ...keyed, after: [{ id: parent, kind: 'after' }] });
    expect([stateOf(s), at(s).endsWith('.a1.json'), tokens(s)]).toEqual(['waiting', true, [`g1.${s.id}`]]);
    await s.world.alone('release', (p) => releaseTask(p.q, parent, null, { value: 1 }));
    expect(stateOf(s)).toBe('queued');
  });

  it('E6: a retry for later of a task with a key has the key while it is delayed, and is due when it was said', async () => {
    const s = await begin();
    s.id = await given(s, keyed);
    await s.world.alone('w', (p) => runOne(p, s.oracle, 1));
    const job = await stopAt(s, 'retry', (p) => retryTask(p.q, s.id, { by: null, delayMs: 100_000 }), isMove(keyDir('k')));
    expect(stateOf(s)).toBe('waiting');
    s.world.crash(job.proc);
    await s.world.alone('sweep', (p) => sweepWaiting(p.q));
    expect([stateOf(s), tokens(s).map((name) => name.split('.')[1])]).toEqual(['delayed', [s.id]]);
    s.world.advance(90_000);
    await s.world.alone('early', (p) => promoteDue(p.q));
    expect(stateOf(s)).toBe('delayed');
    s.world.advance(10_100);
    await s.world.alone('due', (p) => promoteDue(p.q));
    expect(stateOf(s)).toBe('queued');
  });

  it('E5: a held task with a key goes back to its due time', async () => {
    const s = await begin();
    s.id = await given(s, { ...keyed, delayMs: 100_000 });
    await s.world.alone('hold', (p) => holdTask(p.q, s.id, null));
    expect(await s.world.alone('release', (p) => releaseTask(p.q, s.id, null))).toBe('delayed');
  });

  it('E8: a due time that is set while a task waits counts when it leaves waiting', async () => {
    const s = await begin();
    const parent = await given(s, { hold: true });
    s.id = await given(s, { after: [{ id: parent, kind: 'after' }] });
    await s.world.alone('set', (p) => setTask(p.q, p.facts, s.id, { delayMs: 100_000 }));
    expect(stateOf(s)).toBe('waiting');
    await s.world.alone('release', (p) => releaseTask(p.q, parent, null, { value: 1 }));
    expect(stateOf(s)).toBe('delayed');
  });

  it('L2: a key that nobody has had for a day is forgotten, unless somebody takes it at that moment', async () => {
    const s = await begin();
    const first = await given(s, keyed);
    await s.world.alone('w', (p) => runOne(p, s.oracle, 0));
    expect(tokens(s)).toEqual(['g2.free']);
    await s.world.alone('early', async (p) => sweepKeys(p.q, (await serverNow(p.q)) + 86_000_000));
    expect(tokens(s)).toEqual(['g2.free']);
    const submits = await stopAt(s, 'submit', (p) => submit(s, p, keyed), isMove(`${keyDir('k')}/g2.free`));
    const late = await stopAt(
      s,
      'gc',
      async (p) => sweepKeys(p.q, (await serverNow(p.q)) + 86_500_000),
      (c) => c.op === 'rmdir' && c.path === keyDir('k'),
    );
    expect(tokens(s)).toEqual([]);
    const second = await goOn(s, submits);
    await goOn(s, late);
    expect([second === first, tokens(s)]).toEqual([false, [`g1.${second}`]]);
  });

  it('L2: a key whose removal was cut short is made anew by the next task that has it', async () => {
    const s = await begin();
    await given(s, keyed);
    await s.world.alone('w', (p) => runOne(p, s.oracle, 0));
    const gc = await stopAt(
      s,
      'gc',
      async (p) => sweepKeys(p.q, (await serverNow(p.q)) + 86_500_000),
      (c) => c.op === 'unlink' && c.path.startsWith(keyDir('k')),
    );
    expect(tokens(s)).toEqual(['g3.retired']);
    s.world.crash(gc.proc);
    s.id = await given(s, keyed);
    expect(tokens(s)).toEqual([`g1.${s.id}`]);
  });

  it('A7: a retry that is overtaken by a submit with the same key is refused, and does not run', async () => {
    const s = await begin();
    s.id = await given(s, keyed);
    await s.world.alone('w', (p) => runOne(p, s.oracle, 1));
    const job = await stopAt(s, 'retry', (p) => retryTask(p.q, s.id, { by: null }), isMove('failed/'));
    s.ids['other'] = await given(s, keyed);
    await expect(goOn(s, job)).rejects.toMatchObject({ code: 'DUPLICATE_KEY' });
    expect([stateOf(s), stateOf(s, s.ids['other'])]).toEqual(['canceled', 'queued']);
  });
});

describe('shares', () => {
  const one: Want = { kind: 'mutex', name: 'm', n: 1 };
  const lic = (n: number): Want => ({ kind: 'limit', name: 'lic', n });
  const id = '6a2w0000000000';
  /** A session that has a running directory takes shares; what it got. */
  const taker =
    (wants: Want[], doubt: Share[] = [], task = id) =>
    async (p: Proc): Promise<Awaited<ReturnType<typeof takeShares>>> =>
      takeShares(p.q, wants, await newSession(p), task, doubt);
  const isTaking = (c: Call): boolean => c.op === 'rename' && /^(?:mutexes|limits)/.test(c.path) && c.target!.endsWith(id);
  const mutex = (s: Stage): string[] => namesIn(s, 'mutexes/m').map((name) => name.replace(/\.[^.]+\.\d+\.[^.]+-[^.]+\./, '.'));
  const held = (s: Stage): string[] => namesIn(s, 'limits/lic/max.0').filter((name) => !name.endsWith('.free'));
  const set = (s: Stage, max: number, rate: { n: number; perMs: number } | null = null): Promise<unknown> =>
    s.world.alone('set', (p) => setLimit(p.q, 'lic', { max, rate }));

  it('F10: of two that take a mutex at the same time one gets it, and the other learns who has it', async () => {
    const s = await begin();
    const slow = await stopAt(s, 'a', taker([one]), isTaking);
    expect(await s.world.alone('b', taker([one]))).toHaveLength(1);
    expect(await goOn(s, slow)).toMatchObject({ reason: 'held', by: [id] });
    expect(mutex(s)).toEqual([`0.g1.${id}`]);
  });

  it('F10: of two that make a mutex at the same time one does, and there is one token', async () => {
    const s = await begin();
    const slow = await stopAt(s, 'a', taker([one]), isMove('tmp/', 'mutexes/m'));
    expect(await s.world.alone('b', taker([one]))).toHaveLength(1);
    expect(await goOn(s, slow)).toMatchObject({ reason: 'held' });
    expect([mutex(s), namesIn(s, 'tmp')]).toEqual([[`0.g1.${id}`], []]);
  });

  it('L7: a mutex or limit whose name leads out of the queue is one that nobody has set', async () => {
    const s = await begin();
    const before = fs.readdirSync(path.dirname(s.world.dir));
    for (const kind of ['mutex', 'limit'] as const) {
      expect(await s.world.alone('a', taker([{ kind, name: '../../x', n: 1 }]))).toMatchObject({ reason: 'missing' });
    }
    expect(fs.readdirSync(path.dirname(s.world.dir))).toEqual(before);
  });

  it('F10: a share was taken though the reply got lost', async () => {
    const s = await begin();
    lose(s, isTaking, 'ENOENT');
    expect(await s.world.alone('a', taker([one]))).toHaveLength(1);
    expect(mutex(s)).toEqual([`0.g1.${id}`]);
  });

  it('F9: what may have been taken when the file system failed is in doubt, and given back frees it', async () => {
    const s = await begin();
    lose(s, isTaking, 'EIO');
    const doubt: Share[] = [];
    await expect(s.world.alone('a', taker([one], doubt))).rejects.toThrow('EIO');
    expect(doubt).toHaveLength(1);
    await s.world.alone('a', (p) => giveBack(p.q, doubt[0]!, null));
    expect(mutex(s)).toEqual(['0.g2.free']);
  });

  it('F9: a share that is given back late, after it was taken away, stays with who has it now', async () => {
    const s = await begin();
    const a = await s.world.spawn('a', taker([one]));
    await s.world.finish(a);
    const [share] = (await goOn(s, a)) as Share[];
    fs.rmSync(s.world.absolute('running'), { recursive: true });
    fs.mkdirSync(s.world.absolute('running'));
    expect(await s.world.alone('b', taker([one], [], '6a2w0000000001'))).toHaveLength(1);
    await s.world.alone('a', (p) => giveBack(p.q, share!, null));
    expect(mutex(s)).toEqual(['0.g3.6a2w0000000001']);
  });

  it('F9: the share of a session without a running directory comes back, that of one with a directory does not', async () => {
    const s = await begin();
    const a = await s.world.spawn('a', taker([one]));
    await s.world.finish(a);
    s.world.crash(a.proc);
    expect(await s.world.alone('b', taker([one]))).toMatchObject({ reason: 'held' });
    for (const session of namesIn(s, 'running')) fs.rmdirSync(s.world.absolute(`running/${session}`));
    expect(await s.world.alone('c', taker([one]))).toHaveLength(1);
    expect(mutex(s)).toEqual([`0.g3.${id}`]);
  });

  it('F9: all that is asked for or nothing; a task that asks for what nobody has takes nothing of the rest', async () => {
    const s = await begin();
    await set(s, 3);
    expect(await s.world.alone('a', taker([lic(2)]))).toHaveLength(2);
    expect(await s.world.alone('b', taker([one, lic(2)]))).toMatchObject({ reason: 'held', want: { name: 'lic', n: 2 } });
    expect([held(s).length, mutex(s)]).toEqual([2, ['0.g2.free']]);
    expect(await s.world.alone('c', taker([lic(4)]))).toMatchObject({ reason: 'small', most: 3 });
    expect(await s.world.alone('c', taker([lic(1)]))).toHaveLength(1);
  });

  it('F9: of two tasks that each take one of two shares before they see the other, neither keeps one alone', async () => {
    const s = await begin();
    await set(s, 2);
    let taken = 0;
    const slow = await stopAt(s, 'a', taker([lic(2)]), (c) => isTaking(c) && ++taken === 2);
    await s.world.alone('b', taker([lic(1)], [], '6a2w0000000001'));
    expect(await goOn(s, slow)).toMatchObject({ reason: 'held' });
    expect(held(s)).toHaveLength(1);
  });

  it('F9: two that set a limit at the same time make one set of tokens; one is in use already when the second comes', async () => {
    const s = await begin();
    const slow = await stopAt(s, 'set', (p) => setLimit(p.q, 'lic', { max: 2, rate: null }), isMove('tmp/', 'limits/lic/max.0'));
    await set(s, 1);
    expect(await s.world.alone('a', taker([lic(1)]))).toHaveLength(1);
    await goOn(s, slow);
    expect([namesIn(s, 'limits/lic/max.0').length, held(s).length, namesIn(s, 'tmp')]).toEqual([16, 1, []]);
    expect(await s.world.alone('b', taker([lic(1)]))).toHaveLength(1);
    expect(await s.world.alone('c', taker([lic(1)]))).toMatchObject({ reason: 'held' });
  });

  it('F9: a limit whose setting was cut short is not there yet; one that was removed keeps no task from giving back', async () => {
    const s = await begin();
    const cut = await stopAt(s, 'set', (p) => setLimit(p.q, 'lic', { max: 20, rate: null }), isMove('tmp/', 'limits/lic/limit.json'));
    s.world.crash(cut.proc);
    expect(await s.world.alone('a', taker([lic(1)]))).toMatchObject({ reason: 'missing' });
    await set(s, 1);
    const shares = (await s.world.alone('a', taker([lic(1)]))) as Share[];
    await s.world.alone('rm', (p) => removeLimit(p.q, 'lic'));
    await s.world.alone('a', (p) => giveBack(p.q, shares[0]!, null));
    expect(await s.world.alone('a', taker([lic(1)]))).toMatchObject({ reason: 'missing' });
    await set(s, 1);
    expect(await s.world.alone('a', taker([lic(1)]))).toHaveLength(1);
  });

  it('F9: a start counts from when it happened, and one that a dead session had from when it is taken away', async () => {
    const s = await begin();
    await set(s, 5, { n: 1, perMs: 1000 });
    const shares = (await s.world.alone('a', taker([lic(1)]))) as Share[];
    const began = (await s.world.alone('a', async (p) => {
      for (const share of shares) await giveBack(p.q, share, await serverNow(p.q));
      return serverNow(p.q);
    }))!;
    const lack = await s.world.alone('b', taker([lic(1)]));
    expect(lack).toMatchObject({ reason: 'rate' });
    expect((lack as { until: number }).until - began).toBeGreaterThan(900);
    s.world.advance(1100);
    expect(await s.world.alone('c', taker([lic(1)]))).toHaveLength(2);
    for (const session of namesIn(s, 'running')) fs.rmdirSync(s.world.absolute(`running/${session}`));
    expect(await s.world.alone('d', taker([lic(1)]))).toMatchObject({ reason: 'rate' });
    s.world.advance(1100);
    expect(await s.world.alone('d', taker([lic(1)]))).toHaveLength(2);
  });

  it('F9 F10: a burial gives back what the task held, when nothing more can come into its directory', async () => {
    const s = await begin();
    s.id = await given(s, { mutex: 'm' });
    const worker = await s.world.spawn('w', async (p) => {
      const session = await newSession(p);
      await takeShares(p.q, [one], session, s.id, []);
      await claimAll(p, session);
      return session;
    });
    await s.world.finish(worker);
    const session = (await goOn(s, worker))!;
    s.world.crash(worker.proc);
    const burial = await stopAt(
      s,
      'u',
      (p) => bury(p.q, session, { proved: true, reason: 'died' }),
      (c) => c.op === 'rmdir' && c.path === `running/${session}`,
    );
    expect([stateOf(s), mutex(s)]).toEqual(['queued', [`0.g1.${s.id}`]]);
    await goOn(s, burial);
    expect(mutex(s)).toEqual(['0.g2.free']);
  });

  it('L2: a mutex that nobody has had for a day is forgotten, unless somebody takes it at that moment', async () => {
    const s = await begin();
    const free = async (p: Proc): Promise<void> => giveBack(p.q, ((await taker([one])(p)) as Share[])[0]!, null);
    await s.world.alone('a', free);
    const sweep = async (p: Proc): Promise<void> => sweepMutexes(p.q, await serverNow(p.q));
    await s.world.alone('gc', sweep);
    expect(mutex(s)).toEqual(['0.g2.free']);
    s.world.advance(90_000_000);
    const job = await stopAt(s, 'gc', sweep, isMove('mutexes/m'));
    await s.world.alone('b', taker([one]));
    await goOn(s, job);
    expect(mutex(s)).toEqual([`0.g3.${id}`]);
    for (const session of namesIn(s, 'running')) fs.rmdirSync(s.world.absolute(`running/${session}`));
    await s.world.alone('gc', sweep);
    s.world.advance(90_000_000);
    const cut = await stopAt(s, 'gc', sweep, (c) => c.op === 'unlink' && c.path.startsWith('mutexes/m'));
    s.world.crash(cut.proc);
    expect(mutex(s)).toEqual(['0.g5.retired']);
    await s.world.alone('gc', sweep);
    expect(there(s, 'mutexes/m')).toBe(false);
    expect(await s.world.alone('c', taker([one]))).toHaveLength(1);
  });

  it('F10: a mutex whose removal was cut short is made anew by the next task that has it', async () => {
    const s = await begin();
    fs.mkdirSync(s.world.absolute('mutexes/m'), { recursive: true });
    fs.writeFileSync(s.world.absolute('mutexes/m/0.g5.retired'), '');
    expect(await s.world.alone('a', taker([one]))).toHaveLength(1);
    expect(await s.world.alone('a', (p) => standing(p.q, one))).toMatchObject({ shares: [{ number: 0, generation: 1 }] });
  });
});

describe('pieces of an array', () => {
  const many = manyOfArray('1-8', undefined);
  const array = async (s: Stage): Promise<void> => void (s.id = await given(s, { many }));
  const states = (s: Stage): string => s.oracle.arrays.states(s.id).join(' ');

  /** A worker ended one element of a chunk, began two, and died; it was buried. */
  async function deadChunk(s: Stage): Promise<void> {
    const job = await s.world.spawn('dead', (p) => beginChunk(p, s.oracle));
    await s.world.finish(job);
    s.world.crash(job.proc);
    await s.world.alone('undertaker', buryDead);
  }

  it('G11: what has ended is not run again when whoever took the piece up next died before it looked at its past', async () => {
    const s = await begin();
    await array(s);
    await deadChunk(s);
    const first = [...s.oracle.arrays.known.get(s.id)!.elements.values()].filter((e) => e.ended === 'done');
    expect(first).toHaveLength(1);
    const second = await stopAt(
      s,
      'second',
      async (p) => runSome(p, s.oracle, 'chunk', 0),
      (c) => c.op === 'create' && c.path.endsWith('.ndjson'),
    );
    s.world.crash(second.proc);
    await recover(s.world, s.oracle);
    expect(states(s)).toBe('done done done done done done done done');
    expect(first[0]!.started.size).toBe(1);
  });

  it('E2: a handed back piece of which some have ended is canceled but for those', async () => {
    const s = await begin();
    await array(s);
    await deadChunk(s);
    await s.world.alone('cancel', (p) => cancelTask(p.q, s.id, { reason: null, now: false, by: null }));
    await recover(s.world, s.oracle);
    expect(states(s)).toBe('done canceled canceled canceled canceled canceled canceled canceled');
  });

  it('V3: a cancel does not make the directory of a session that was buried in the same moment', async () => {
    const s = await begin();
    await array(s);
    const chunk = await s.world.spawn('dead', (p) => beginChunk(p, s.oracle));
    await s.world.finish(chunk);
    const job = await stopAt(
      s,
      'cancel',
      (p) => cancelTask(p.q, s.id, { reason: null, now: false, by: null }),
      (c) => c.op === 'link' && c.path.endsWith('.cancel'),
    );
    s.world.crash(chunk.proc);
    await s.world.alone('undertaker', buryDead);
    await goOn(s, job);
    expect(namesIn(s, 'running')).toEqual([]);
    await recover(s.world, s.oracle);
    expect(states(s)).toBe('done canceled canceled canceled canceled canceled canceled canceled');
  });

  it('E2: a request for some of a piece that is being cut reaches what is cut off', async () => {
    const s = await begin();
    await array(s);
    const worker = await stopAt(
      s,
      'worker',
      (p) => runSome(p, s.oracle, 'chunk', 0),
      (c) => c.op === 'rename' && c.target!.includes('+'),
    );
    await s.world.alone('cancel', (p) => cancelTask(p.q, `${s.id}.2-8`, { reason: null, now: false, by: null }));
    await goOn(s, worker);
    await recover(s.world, s.oracle);
    // Those of its own chunk it may have begun before it looked.
    expect(s.oracle.arrays.states(s.id).at(-1)).toBe('canceled');
  });

  it('E6: some elements that are retried after the whole was canceled run', async () => {
    const s = await begin();
    await array(s);
    await s.world.alone('cancel', (p) => cancelTask(p.q, s.id, { reason: null, now: false, by: null }));
    await s.world.alone('retry', (p) => retryTask(p.q, `${s.id}.3-5`, { by: null }));
    await recover(s.world, s.oracle);
    expect(states(s)).toBe('canceled canceled done done done canceled canceled canceled');
  });

  it('E6: a request to cancel that is carried on spares what was retried since', () => {
    expect(
      without(
        [1, 100],
        [
          [3, 5],
          [90, 200],
          [7, 7],
        ],
      ),
    ).toEqual([
      [1, 2],
      [6, 6],
      [8, 89],
    ]);
    expect(without([3, 5], [[1, 9]])).toEqual([]);
    expect(without([3, 5], [])).toEqual([[3, 5]]);
  });

  it('I11: the line after one that the disk took in part is read', () => {
    const line = '{"n":2,"outcome":"succeeded","state":"done","attempt":1,"worker":"w","endedAt":1}\n';
    const journal = parseJournal(`{"n":1,"begunAt":1,"attempt":1,"worker":"w"}\n{"n":2,"outc\n${line}`);
    expect([...journal.ended.keys()]).toEqual([2]);
  });

  it('I11: an error in the middle of a cut leaves nothing that a living worker does not finish', async () => {
    const s = await begin();
    await array(s);
    // The name with the `+` is there, and the part that was cut off cannot leave yet.
    let refusals = 0;
    s.world.faults = (c) =>
      c.path.endsWith('.rest') && c.op === 'rename' && refusals++ < 20 ? { kind: 'refuse', code: 'ENOSPC' } : undefined;
    let turns = 0;
    await s.world.alone('worker', (p) => work(p, s.oracle, { mood: () => (turns++ < 60 ? 'settle' : 'leave'), most: 2 }));
    expect(refusals).toBeGreaterThan(0);
    expect(states(s)).toBe('done done done done done done done done');
  });

  /** Tasks that the endings of the array have made. */
  function followUps(s: Stage): number {
    const isOfIt = (file: string): boolean => {
      const text =
        file.endsWith('.json') && fs.statSync(s.world.absolute(file)).isFile() ? fs.readFileSync(s.world.absolute(file), 'utf8') : '{}';
      return (JSON.parse(text) as Partial<Task>).cause?.id === s.id;
    };
    return STATES.flatMap((state) =>
      fs.readdirSync(s.world.absolute(state), { recursive: true }).map((name) => `${state}/${String(name)}`),
    ).filter(isOfIt).length;
  }

  it('D6: what follows from the end of the whole is made once for each ending, wherever a retry of some of it dies', async () => {
    for (let calls = 1, more = true; more; calls++) {
      const s = await begin();
      s.id = await given(s, { many, onSuccess: 'true' });
      await recover(s.world, s.oracle);
      const began = (): number => [...s.oracle.arrays.known.get(s.id)!.elements.values()].reduce((sum, e) => sum + e.started.size, 0);
      expect([began(), followUps(s)]).toEqual([8, 1]);
      let seen = 0;
      const retry = await s.world.spawn('retry', (p) => retryTask(p.q, `${s.id}.3-5`, { by: null }));
      await s.world.finish(retry, (c) => isMutation(c.op) && ++seen > calls);
      more = s.world.nextCall(retry.proc) !== undefined;
      if (more) s.world.crash(retry.proc);
      await recover(s.world, s.oracle);
      expect(followUps(s), `killed after ${calls} changes, ${began() - 8} run again`).toBe(began() > 8 ? 2 : 1);
    }
  });

  it('D6: what the end of the whole was to make is made though its last owner died and some of it is retried', async () => {
    const s = await begin();
    s.id = await given(s, { many, onSuccess: 'true', onFailure: 'true' });
    const worker = await stopAt(
      s,
      'worker',
      (p) => work(p, s.oracle, { mood: () => 'settle', most: 4 }),
      (c) => c.op === 'rename' && c.target!.startsWith('follow/'),
    );
    s.world.crash(worker.proc);
    await s.world.alone('retry', (p) => retryTask(p.q, `${s.id}.3-5`, { by: null }));
    expect(followUps(s)).toBe(1);
    await recover(s.world, s.oracle);
    expect(followUps(s)).toBe(2);
  });
});

describe('replace', () => {
  const file = 'runs/aaaa/bb/x.json';

  it('writes again what a sweeper took from under its hands', async () => {
    const s = await begin();
    const job = await stopAt(s, 'writer', (p) => replace(p.q, s.world.absolute(file), 'new'), isMove('tmp/', file));
    s.world.advance(1000);
    await s.world.alone('sweeper', (p) => sweepTmp(p.q, 500));
    await goOn(s, job);
    expect(fs.readFileSync(s.world.absolute(file), 'utf8')).toBe('new');
  });

  it('knows by the content that it was done when the reply was lost', async () => {
    const s = await begin();
    await s.world.alone('before', (p) => replace(p.q, s.world.absolute(file), 'old'));
    lose(s, isMove('tmp/', file), 'ENOENT');
    await s.world.alone('writer', (p) => replace(p.q, s.world.absolute(file), 'new'));
    expect([fs.readFileSync(s.world.absolute(file), 'utf8'), namesIn(s, 'tmp')]).toEqual(['new', []]);
  });
});

describe('looking for a task', () => {
  it('says that there is none only when every listing was a strong one', async () => {
    const s = await begin({ network: true, seed: 5 });
    const looker = await s.world.process('looker');
    const first = await s.world.start(looker, async (p) => {
      // The directories are known before the task comes.
      await locate(p.q, '6a2w0000000000');
      await p.q.fsx.stat(p.q.lay.config);
      return locate(p.q, s.id);
    });
    await s.world.finish(first, (c) => c.path === 'tq.json' && c.op === 'stat');
    s.id = await given(s);
    s.world.faults = (c) => (c.proc === looker && c.op === 'list' ? { kind: 'stale' } : undefined);
    expect(await goOn(s, first)).toMatchObject({ id: s.id, state: 'queued' });
  });

  it('a directory whose parent is tidied away under the hands of whoever makes it is made all the same', async () => {
    const s = await begin();
    const job = await stopAt(
      s,
      'maker',
      (p) => mkdirp(p.q.fsx, `${p.q.dir}/held/aaaa/bb`),
      (c) => c.op === 'mkdir' && c.path === 'held/aaaa/bb' && there(s, 'held/aaaa'),
    );
    fs.rmdirSync(s.world.absolute('held/aaaa'));
    await goOn(s, job);
    expect(there(s, 'held/aaaa/bb')).toBe(true);
  });

  it('a task that another process runs is found there, however often it moves', async () => {
    const s = await begin();
    s.id = await given(s);
    const session = await s.world.alone('w', (p) => beginSome(p, s.oracle, 1));
    expect(await s.world.alone('looker', (p) => locate(p.q, s.id))).toMatchObject({ state: 'running', place: { session } });
  });
});

describe('follow-ups', () => {
  const hooks = { onSuccess: 'true', onFailure: 'true', onCancel: 'true' };
  const ready = (s: Stage): string[] => namesIn(s, 'follow');
  const followed = (s: Stage): Array<[string, string | undefined]> =>
    [...known(s).followed].map(([ending, id]) => [ending, stateOf(s, id)]);

  it('the owner and its undertaker prepare at the same moment: the record decides, and one runs', async () => {
    const s = await begin();
    s.id = await given(s, hooks);
    const session = await claimedBy(s, 'w');
    const ends = (p: Proc): Promise<unknown> => settle(p.q, session, outcomeOf(s.id, 1, failed));
    const isRecord = (c: Call): boolean => c.op === 'link' && c.path.endsWith('.on-failure');
    const owner = await stopAt(s, 'owner', ends, isRecord);
    s.oracle.condemn(session, owner.proc);
    const other = await stopAt(s, 'undertaker', ends, isRecord);
    expect(ready(s)).toHaveLength(2);
    await goOn(s, owner);
    await goOn(s, other);
    expect(at(s)).toMatch(/^failed\//);
    expect(ready(s)).toEqual([]);
    expect(followed(s)).toEqual([['1 on-failure', 'queued']]);
  });

  it('what was prepared for a cancel that a claim was faster than is dropped, and the end makes its own', async () => {
    const s = await begin();
    s.id = await given(s, hooks);
    const canceler = await stopAt(s, 'cancel', (p) => cancel(s, p), isMove('queued/', 'canceled/'));
    expect(ready(s)).toHaveLength(1);
    await s.world.alone('sweeper', (p) => sweepWaiting(p.q));
    // It may still come: nothing has changed.
    expect(ready(s)).toHaveLength(1);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 0), isMove('running/', 'done/'));
    await s.world.alone('sweeper2', (p) => sweepWaiting(p.q));
    expect(ready(s)).toHaveLength(1);
    await goOn(s, worker);
    await goOn(s, canceler).catch(() => undefined);
    expect(ready(s)).toEqual([]);
    expect(followed(s)).toEqual([['1 on-success', 'queued']]);
  });

  it('is not let go before the terminal move, and by anybody after it', async () => {
    const s = await begin();
    s.id = await given(s, hooks);
    const worker = await stopAt(s, 'w', (p) => runOne(p, s.oracle, 1), isMove('running/', 'failed/'));
    await s.world.alone('sweeper', (p) => sweepWaiting(p.q));
    expect([ready(s).length, followed(s)]).toEqual([1, []]);
    await s.world.finish(worker, isMove('follow/'));
    s.world.crash(worker.proc);
    expect(at(s)).toMatch(/^failed\//);
    await s.world.alone('sweeper2', (p) => sweepWaiting(p.q));
    expect([ready(s).length, followed(s)]).toEqual([0, [['1 on-failure', 'queued']]]);
  });

  it('each ending of a task makes its own', async () => {
    const s = await begin();
    s.id = await ended(s, 1, hooks);
    for (let n = 0; n < 2; n++) {
      await s.world.alone('retry', (p) => retryTask(p.q, s.id, { by: null }));
      await s.world.alone(`w${n}`, async (p) => {
        const session = await newSession(p);
        for (const c of await claimAll(p, session)) {
          const next = c.id === s.id ? [done, failed][n]! : done;
          await settle(p.q, session, outcomeOf(c.id, c.attempt, next));
        }
      });
    }
    expect([...known(s).followed.keys()]).toEqual(['1 on-failure', '3 on-success', '5 on-failure']);
  });
});

describe('steps of an attempt', () => {
  const fact = (step: number, result?: unknown): FinishedStep => ({
    step,
    exitCode: 0,
    endedAt: 0,
    durationMs: 0,
    ...(result === undefined ? {} : { result }),
  });

  it('a record is kept whole whichever reply is lost, and read past a line that was torn', async () => {
    for (const code of ['EEXIST', 'EIO']) {
      const s = await begin();
      s.id = await given(s);
      lose(s, (c) => c.path.endsWith('.steps'), code);
      await s.world.alone('w', async (p) => {
        await recordStep(p.q, s.id, 1, fact(1, 'one')).catch(() => recordStep(p.q, s.id, 1, fact(1, 'one')));
        await recordStep(p.q, s.id, 1, fact(2));
        fs.appendFileSync(p.q.lay.steps(s.id, 1), '{"step":3,"exi');
        await recordStep(p.q, s.id, 1, fact(4));
      });
      const found = await s.world.alone('next', (p) => finishedSteps(p.q, s.id, 2));
      expect(found!.map((f) => [f.step, f.attempt, f.result])).toEqual([
        [1, 1, 'one'],
        [2, 1, undefined],
        [4, 1, undefined],
      ]);
    }
  });

  it('count over all attempts up to the last that succeeded', async () => {
    const s = await begin();
    s.id = await given(s);
    const steps = await s.world.alone('w', async (p) => {
      const finished = async (n: number): Promise<number[]> => (await finishedSteps(p.q, s.id, n)).map((f) => f.step);
      await recordStep(p.q, s.id, 1, fact(1));
      await publishOutcome(p.q, outcomeOf(s.id, 1, queued));
      await recordStep(p.q, s.id, 2, fact(2));
      const before = await finished(3);
      await publishOutcome(p.q, outcomeOf(s.id, 3, done));
      await recordStep(p.q, s.id, 5, fact(1));
      return [before, await finished(4), await finished(6)];
    });
    expect(steps).toEqual([[1, 2], [], [1]]);
  });
});

describe('submissions of many', () => {
  const seeds = Array.from({ length: 12 }, (_, i) => i + 1);

  /** Everything that was begun goes on, one call at a time as the seed says, until nobody has anything left to do. */
  async function interleave(s: Stage, jobs: ReadonlyArray<Job<unknown>>): Promise<void> {
    while (jobs.some((job) => job.result.kind === 'open')) await s.world.step();
    for (const { result } of jobs) if (result.kind === 'error') throw result.error;
  }

  it.each([false, true])('any number may publish one at the same time, and workers claim what is there (network %s)', async (network) => {
    for (const seed of seeds) {
      const s = await begin({ seed, network });
      const parent = await given(s);
      const jobs: Array<Job<unknown>> = [];
      const submitter = await stopAt(s, 'submitter', (p) => submitSome(s, p, parent), isMove('intents/'));
      jobs.push(submitter);
      // What is committed is submitted, whatever becomes of its submitter.
      const id = namesIn(s, 'intents')[0]!;
      for (const name of ['helper1', 'helper2']) jobs.push(await s.world.spawn(name, (p) => publishSubmission(p.q, id)));
      jobs.push(await s.world.spawn('worker', (p) => runOne(p, s.oracle, 0)));
      if (seed % 2 === 0) s.world.crash(submitter.proc);
      await interleave(
        s,
        jobs.filter((job) => job.proc.status !== 'crashed'),
      );
      expect(namesIn(s, 'intents')).toEqual([]);
      await recover(s.world, s.oracle);
      expect([1, 2, 3, 4].map((n) => stateOf(s, `${id}.${n}`))).toEqual(['done', 'done', 'held', 'done']);
    }
  });

  async function submitSome(s: Stage, p: Proc, parent: string): Promise<void> {
    const made = await newSubmission(p.q);
    const after = (id: string): TaskDraft => draft({ after: [{ id, kind: 'after' }] });
    const tasks = await submitBulk(p.q, made, [after(`${made.id}.2`), draft(), draft({ hold: true }), after(parent)]);
    for (const task of tasks) s.oracle.acked(task);
  }

  it('what must be made once is made once, however many are at it', async () => {
    for (const seed of seeds) {
      const s = await begin({ seed, network: seed % 2 === 0 });
      const make = async (p: Proc): Promise<void> => {
        const made = await newSubmission(p.q);
        await submitBulk(p.q, made, [draft({ name: 'once' })], { once: { name: 'groups/mark', data: `${made.id}\n` } });
      };
      const jobs = [await s.world.spawn('a', make), await s.world.spawn('b', make), await s.world.spawn('c', make)];
      if (seed % 3 === 0) {
        for (let n = 0; n < seed * 5; n++) await s.world.step();
        if (jobs[0]!.result.kind === 'open') s.world.crash(jobs[0]!.proc);
      }
      await interleave(
        s,
        jobs.filter((job) => job.proc.status !== 'crashed'),
      );
      await recover(s.world, s.oracle);
      const states = [...s.oracle.tasks.values()].flatMap((k) => stateOf(s, k.id) ?? []);
      expect(states).toEqual(['done']);
      expect(namesIn(s, 'intents')).toEqual([]);
    }
  });

  it('a tree whose beginning was swept is not committed', async () => {
    const s = await begin();
    const parent = await given(s);
    const submitter = await stopAt(
      s,
      'submitter',
      (p) => submitSome(s, p, parent),
      (c) => c.op === 'create' && c.path.endsWith('.3.a0.json'),
    );
    s.world.advance(2 * 3_600_000);
    await s.world.alone('sweeper', (p) => sweepTmp(p.q));
    await s.world.finish(submitter);
    expect(submitter.result.kind).toBe('error');
    expect([namesIn(s, 'intents'), s.oracle.tasks.size]).toEqual([[], 1]);
  });

  it('one that was swept whole before its commit is taken back', async () => {
    const s = await begin();
    const parent = await given(s);
    const submitter = await stopAt(s, 'submitter', (p) => submitSome(s, p, parent), isMove('tmp/', 'intents/'));
    s.world.advance(2 * 3_600_000);
    await s.world.alone('sweeper', (p) => sweepTmp(p.q));
    expect(namesIn(s, 'swept')).toHaveLength(1);
    await goOn(s, submitter);
    await recover(s.world, s.oracle);
    expect(s.oracle.tasks.size).toBe(5);
  });

  it('a change of a group is finished by others when its owner has died, and not before', async () => {
    const s = await begin();
    const ids = [await given(s, { group: 'g' }), await given(s, { group: 'g', hold: true }), await given(s, { group: 'g' })];
    const owner = await stopAt(
      s,
      'owner',
      async (p) => {
        for (const id of ids) s.oracle.wished(id, p);
        const intent: Intent = { action: 'cancel', group: 'g', reason: null, by: null, session: makeSession('group', p.facts, p.pid) };
        const id = makeId(await serverNow(p.q));
        await recordIntent(p.q, id, intent);
        await carryOut(p.q, id, intent);
      },
      isMove('queued/', 'canceled/'),
    );
    expect(await s.world.alone('early', (p) => finishIntents(p.q, p.facts))).toBe(0);
    s.world.crash(owner.proc);
    const later = await given(s, { group: 'g', hold: true });
    expect(await s.world.alone('helper', (p) => finishIntents(p.q, p.facts))).toBe(1);
    expect([...ids, later].map((id) => stateOf(s, id))).toEqual(['canceled', 'canceled', 'canceled', 'held']);
    expect(namesIn(s, 'intents')).toEqual([]);
  });
});
