/**
 * All runs of the model: the rules of the protocol must explore to the end without a violation, and each naive reading, and each
 * rule left out, must show what goes wrong without it. `quick` ones are what the tests run.
 */
import { carveScenario, type CarveConfig } from './carve.ts';
import { claimScenario, type ClaimConfig } from './claim.ts';
import { dependScenario, type DependConfig } from './depend.ts';
import { dueScenario, type DueConfig } from './due.ts';
import type { Scenario } from './engine.ts';
import { keyScenario, type KeyConfig } from './key.ts';
import { keyedScenario, type KeyedConfig } from './keyed.ts';
import { limitScenario, type LimitConfig } from './limit.ts';
import { nameScenario, type NameConfig } from './name.ts';
import { reviveScenario, type ReviveConfig } from './revive.ts';
import { setScenario, type SetConfig } from './set.ts';

export interface Run {
  name: string;
  scenario: Scenario<unknown>;
  /** Undefined: nothing goes wrong. Else the kind of violation that must be found. */
  shows: string | undefined;
  quick: boolean;
  /** Too large to be explored: so many random runs instead. */
  samples?: number;
}

const runs: Run[] = [];

/** A family of runs: `ok` adds one of the rules as they are, `bad` one that must show a violation. */
function family<C>(
  title: string,
  make: (config: C) => Scenario<unknown>,
): { ok(name: string, config: C, size?: 'full'): void; bad(name: string, shows: string, config: C, size?: 'full'): void } {
  const add = (name: string, config: C, shows: string | undefined, size?: 'full'): void => {
    runs.push({ name: `${title}: ${name}`, scenario: make(config), shows, quick: size === undefined });
  };
  return {
    ok: (name, config, size) => add(name, config, undefined, size),
    bad: (name, shows, config, size) => add(name, config, shows, size),
  };
}

// --- claim, run, burial, cancel, hold, retry, submit

const claim = family<ClaimConfig>('claim', claimScenario);
const worker = (name: string, rounds = 1, batch = 1): { name: string; rounds: number; batch: number } => ({ name, rounds, batch });
const bury = (session: string, tries = 2): { session: string; tries: number } => ({ session, tries });
{
  const buried: ClaimConfig = { buries: [bury('a0')], budget: { crash: 1, lost: 1 }, fails: true };
  const staying: ClaimConfig = { stay: true, workers: [worker('a', 2)], buries: [bury('a0', 1)], budget: { stale: 1, lost: 1 } };
  const canceled: ClaimConfig = { buries: [bury('a0')], verbs: [['cancel', 't']], fails: true };
  const suspected: ClaimConfig = { workers: [worker('a'), worker('b')], buries: [bury('a0')], budget: { lost: 1 } };
  const cleaned: ClaimConfig = {
    workers: [worker('a', 2)],
    buries: [bury('a0')],
    budget: { crash: 1, lost: 1 },
    fails: true,
    cleaner: true,
  };
  const twice: ClaimConfig = {
    workers: [worker('a', 2)],
    verbs: [
      ['retry', 't'],
      ['cancel', 't'],
    ],
    budget: { dup: 1 },
    fails: true,
    attempts: 1,
  };
  const submitted: ClaimConfig = {
    submit: true,
    verbs: [
      ['submit', 't'],
      ['cancel', 't'],
    ],
    budget: { lost: 2, crash: 1 },
  };

  claim.ok('two workers, one task', { workers: [worker('a'), worker('b')], budget: { crash: 1, lost: 1 }, fails: true });
  claim.ok('a worker and its undertaker', buried);
  claim.bad('burial looks for an outcome, then moves', 'V5', { ...buried, rules: { lostFirst: 0 } });
  claim.bad('a naive burial', 'V5', { ...buried, naive: true });
  claim.ok('two undertakers', { buries: [bury('a0'), bury('a0')], budget: { crash: 1, lost: 1 } });
  claim.ok('a live session is buried', suspected);
  claim.bad('a suspected session goes on running', 'OVERLAP', { ...suspected, rules: { fenceStart: 0 } });
  claim.ok('stale listings', { workers: [worker('a', 2)], buries: [bury('a0', 1)], budget: { stale: 1, lost: 1 } });
  claim.ok('stale listings, two workers', { workers: [worker('a', 2), worker('b')], budget: { stale: 1, lost: 1 }, fails: true }, 'full');
  claim.ok('a live worker stays', staying);
  claim.bad('a live worker leaves what it does not run', 'STUCK-QUEUED', { ...staying, rules: { adopt: 0 } });
  claim.ok('cancel, with a crash', { ...canceled, budget: { crash: 1 } });
  claim.ok('cancel, with a lost reply', { ...canceled, budget: { lost: 1 } });
  claim.bad('a request is not carried on', 'CANCEL-LOST', { ...canceled, budget: { crash: 1 }, rules: { chase: 0 } });
  claim.bad('a request beside an entry does not win', 'CANCEL-LOST', { ...canceled, budget: { crash: 1 }, rules: { cancelWins: 0 } });
  claim.ok(
    'hold, release, set -p',
    {
      verbs: [
        ['hold', 't'],
        ['release', 't'],
        ['priority', 't'],
      ],
      budget: { lost: 1, crash: 1 },
    },
    'full',
  );
  claim.ok(
    'retry',
    {
      workers: [worker('a', 2)],
      buries: [bury('a0', 1)],
      verbs: [['retry', 't']],
      budget: { lost: 1, crash: 1 },
      fails: true,
      attempts: 1,
    },
    'full',
  );
  claim.ok('retry and cancel, calls sent twice', twice, 'full');
  claim.bad('a retry under the old name, calls sent twice', 'STALE-CANCEL', { ...twice, rules: { retryRaise: 0 } });
  claim.ok('claims sent twice', { workers: [worker('a', 2)], buries: [bury('a0', 1)], budget: { dup: 1, crash: 1 }, fails: true });
  claim.ok('holds sent twice', {
    verbs: [
      ['hold', 't'],
      ['release', 't'],
    ],
    budget: { dup: 1 },
  });
  claim.ok('submit', submitted);
  claim.ok('submit, its staging file swept', { ...submitted, verbs: [['submit', 't']], budget: { lost: 1 }, sweeper: 'moves' });
  claim.bad('submit, its staging file unlinked', 'V1', { ...submitted, verbs: [['submit', 't']], budget: {}, sweeper: 'unlinks' });
  claim.ok(
    'two tasks at once',
    { ids: ['t', 'v'], workers: [worker('a', 1, 2)], buries: [bury('a0')], budget: { lost: 1, crash: 1 } },
    'full',
  );
  claim.ok(
    'two tasks, two workers',
    { ids: ['t', 'v'], workers: [worker('a', 1, 2), worker('b')], buries: [bury('a0', 1)], budget: { lost: 1 } },
    'full',
  );
  claim.ok('the queue directory is removed', cleaned);
  claim.bad('the queue directory is removed and not made again', 'STUCK-RUNNING', { ...cleaned, rules: { remakeTarget: 0 } });
  runs.push({
    name: 'claim: everything at once, at random',
    scenario: claimScenario({
      ids: ['t', 'v', 'x'],
      workers: [worker('a', 3, 2), worker('b', 3)],
      buries: [bury('a0'), bury('b0'), bury('a0', 1)],
      verbs: [
        ['cancel', 't'],
        ['hold', 'v'],
        ['release', 'v'],
        ['priority', 'x'],
        ['retry', 't'],
        ['retry', 'v'],
        ['cancel', 'x'],
      ],
      budget: { lost: 3, stale: 3, crash: 2 },
      fails: true,
    }),
    shows: undefined,
    quick: true,
    samples: 1500,
  });
}

// --- dependants

const depend = family<DependConfig>('depend', dependScenario);
depend.ok('one parent, a lost reply', { budget: { lost: 1 } });
depend.bad('a crash, and nobody sweeps', 'CHILD-STUCK', { budget: { crash: 1 }, unswept: true });
depend.bad('stale listings, and nobody sweeps', 'CHILD-STUCK', { budget: { stale: 2 }, unswept: true });
depend.ok('two parents', { parents: ['p', 'r'], fails: true, budget: { crash: 1 } });
depend.ok('two parents, all faults', { parents: ['p', 'r'], fails: true, budget: { lost: 1, crash: 1, stale: 1 } }, 'full');
depend.ok('a parent handed back', { handedBack: true });
depend.bad('not found counts as ended', 'RELEASED-EARLY', { handedBack: true, absentIsEnded: true });
depend.ok('a parent retried', { retryParent: true, fails: true });
depend.ok('hold and release', { hold: true, budget: { lost: 1, crash: 1 } });
depend.bad('release straight to queued', 'RELEASED-EARLY', { hold: true, budget: { lost: 1 }, straight: true });
depend.ok('the child retried', { retryChild: true, fails: true, budget: { lost: 1, crash: 1 } });
depend.bad('the child retried straight to queued', 'RUN-DESPITE-FAILED', { retryChild: true, fails: true, straight: true });

// --- arrays

const carve = family<CarveConfig>('carve', carveScenario);
carve.bad('the rest is published first', 'ELEMENT-TWICE', { naive: true });
carve.bad('the rest is published first, and twice is let pass', 'RERUN', {
  naive: true,
  forgiving: true,
  buries: ['a0'],
  budget: { crash: 1 },
});
carve.ok('a worker and its undertaker', { rounds: 2, buries: ['a0'], budget: { crash: 1 } });
carve.ok('a worker and its undertaker, all faults', { rounds: 2, buries: ['a0'], budget: { crash: 1, lost: 1 } }, 'full');
carve.ok('two workers', { workers: ['a', 'b'], last: 1, buries: ['a0'], budget: { lost: 1, crash: 1 } }, 'full');
carve.ok('two undertakers', { buries: ['a0', 'a0'], budget: { crash: 1 } });
carve.ok('two undertakers, all faults', { buries: ['a0', 'a0'], budget: { lost: 1, crash: 1 } }, 'full');
carve.ok('two taken, one given back', { takes: 2, buries: ['a0'], budget: { crash: 1, lost: 1 } });
carve.ok('two taken, one given back, two undertakers', { takes: 2, buries: ['a0', 'a0'], budget: { crash: 1, lost: 1 } }, 'full');
carve.ok(
  'two taken, one given back, two workers',
  { takes: 2, workers: ['a', 'b'], last: 1, buries: ['a0'], budget: { crash: 1, lost: 1 } },
  'full',
);
carve.bad('a staged rest is unlinked without looking', 'ELEMENT-LOST', { blind: true, buries: ['a0', 'a0'], budget: { crash: 1 } });

// --- limits

const limit = family<LimitConfig>('limit', limitScenario);
limit.bad('a file, two undertakers', 'SHARE-LEAKED', { naive: true, workers: ['a', 'b'], buries: ['a0', 'a0'], budget: { crash: 1 } });
limit.bad('a file, and a sweep', 'LIMIT-EXCEEDED', {
  naive: true,
  workers: ['a', 'b', 'c'],
  buries: ['a0', 'a0'],
  budget: { crash: 1 },
  sweep: true,
});
limit.bad('a token, and nobody sweeps', 'SHARE-LEAKED', { workers: ['a', 'b'], buries: ['a0'], budget: { crash: 1, lost: 1 } });
limit.ok('a token', { workers: ['a', 'b'], buries: ['a0'], budget: { crash: 1, lost: 1 }, sweep: true });
limit.ok('a token, two undertakers', { workers: ['a', 'b'], buries: ['a0', 'a0'], budget: { crash: 1 }, sweep: true });
limit.ok('a token, three workers', { workers: ['a', 'b', 'c'], buries: ['a0', 'a0'], budget: { crash: 1, lost: 1 }, sweep: true }, 'full');
limit.ok(
  'two tokens, three workers',
  { shares: 2, workers: ['a', 'b', 'c'], buries: ['a0'], budget: { crash: 1, lost: 1 }, sweep: true },
  'full',
);

// --- keys, the idea

const key = family<KeyConfig>('key', keyScenario);
key.bad('a file', 'KEY-TWICE', { exclusive: true, ids: ['x', 'y'], old: true });
key.bad('a file that is read before it is unlinked', 'KEY-TWICE', { exclusive: true, checked: true, ids: ['x', 'y'], old: true });
key.bad('a file, a crash', 'KEY-HELD-FOR-EVER', { exclusive: true, checked: true, ids: ['x'], budget: { crash: 1 } });
key.bad('a file, a holder that is not found has ended', 'KEY-TWICE', {
  exclusive: true,
  checked: true,
  nowhere: true,
  ids: ['x', 'y'],
  budget: { crash: 1 },
});
key.bad('a retry straight to queued', 'KEY-TWICE', { retry: true, straight: true, old: true, ids: ['x'] });
key.bad('its own token is not raised', 'KEY-TWICE', { retry: true, exact: true, old: true, ids: ['x'] });
key.bad('whatever token is there is freed', 'KEY-TWICE', { retry: true, raise: true, old: true, ids: ['x', 'y'] });
key.ok('two submits', { raise: true, exact: true, ids: ['x', 'y'], budget: { crash: 1 } });
key.ok('a retry', { retry: true, raise: true, exact: true, old: true, ids: ['x'], budget: { crash: 1, lost: 1 } });
key.ok(
  'a retry that runs again',
  { retry: true, raise: true, exact: true, old: true, ids: ['x'], budget: { lost: 1 }, rerun: true },
  'full',
);
key.ok('two submits and an old holder', { ids: ['x', 'y'], budget: { crash: 1, lost: 1 }, old: true }, 'full');

// --- keys, step by step

const keyed = family<KeyedConfig>('keyed', keyedScenario);
{
  const swept: KeyedConfig = { submits: ['x'], old: 'runs', sweeps: 1, works: ['x'], budget: { crash: 1 } };
  const blocked: KeyedConfig = { submits: ['x'], blocked: ['x'], old: 'runs', sweeps: 1, budget: { crash: 1, lost: 1 } };
  const retried: KeyedConfig = { submits: ['x'], old: 'runs', retry: 'now', works: ['o'], budget: { crash: 1 } };
  const retrySwept: KeyedConfig = { submits: ['x'], old: 'runs', retry: 'now', sweeps: 1 };
  const retryBlocked: KeyedConfig = { submits: ['x'], blocked: ['o'], old: 'runs', retry: 'now', sweeps: 1 };
  const later: KeyedConfig = { submits: ['x'], old: 'runs', retry: 'later', budget: { crash: 1 } };
  const held: KeyedConfig = { submits: ['x', 'y'], hold: 'x' };

  keyed.ok('two submits', { submits: ['x', 'y'], budget: { crash: 1, lost: 1 } });
  keyed.ok('a duplicate and the sweep', swept);
  keyed.bad('a duplicate is put aside', 'PRINTED-LOST', { ...blocked, budget: {}, rules: { withdraws: 'aside', admitsByRename: false } });
  keyed.bad('a duplicate is unlinked', 'PHANTOM', { ...swept, rules: { withdraws: 'unlink' } });
  keyed.ok('a duplicate and two sweeps', { ...swept, sweeps: 2, works: [], budget: {} }, 'full');
  keyed.ok('two submits and the sweep', { submits: ['x', 'y'], sweeps: 1, works: ['x'] }, 'full');
  keyed.ok('a keyed task that waits for a parent', blocked);
  keyed.bad('what has the key and waits keeps its name', 'PRINTED-LOST', { ...blocked, rules: { admitsByRename: false } });
  keyed.ok('a retry', retried);
  keyed.ok('a retry, all faults', { ...retried, budget: { crash: 1, lost: 1 } }, 'full');
  keyed.bad('a retry does not raise its own token', 'KEY-TWICE', { ...retried, rules: { raisesOwn: false } });
  keyed.bad('whatever token is there is freed', 'KEY-TWICE', { ...retried, rules: { exact: false } });
  keyed.bad('a retry straight to queued', 'KEY-TWICE', { ...retried, rules: { throughWaiting: false } });
  keyed.ok('a retry and the sweep', retrySwept, 'full');
  keyed.bad('the sweep admits a retried task without raising its token', 'KEY-TWICE', { ...retrySwept, rules: { raisesLast: false } });
  keyed.ok('a retry that waits for a parent', retryBlocked, 'full');
  keyed.bad('a retry that has the key and waits keeps its name', 'WRONGLY-CANCELED', { ...retryBlocked, rules: { admitsByRename: false } });
  keyed.ok('a retry for later', later);
  keyed.bad('a retry for later straight to delayed', 'KEY-TWICE', { ...later, rules: { asksKey: 'straight' } });
  keyed.ok('hold and release before the key is there', { ...held, submits: ['x'] });
  keyed.ok('hold and release before the key is there, two submits', held, 'full');
  keyed.ok('hold and release before the key is there, a crash', { ...held, budget: { crash: 1 } }, 'full');
  keyed.bad('release straight to queued', 'KEY-TWICE', { ...held, rules: { asksKey: 'straight' } });
  keyed.ok('hold and release of a retried task', { submits: ['x'], hold: 'o', old: 'ended', retry: 'now' });
  keyed.bad('release looks whether the token names the task', 'KEY-TWICE', {
    submits: ['x'],
    hold: 'o',
    old: 'ended',
    retry: 'now',
    rules: { asksKey: 'looks' },
  });
}

// --- set

const set = family<SetConfig>('set', setScenario);
{
  const one: SetConfig = { sets: ['lane'], buries: ['s0'] };
  const two: SetConfig = { sets: ['lane', 'level'], buries: ['s0'] };
  set.ok('a claim, a burial, a crash', { ...one, worker: true, budget: { crash: 1 } });
  set.ok('a claim, a burial, all faults', { ...one, worker: true, budget: { crash: 1, lost: 1 } }, 'full');
  set.bad('the file is replaced where it lies', 'V1', { ...one, way: 'unclaimed', worker: true });
  set.bad('the new file comes from elsewhere', 'V1', { ...one, way: 'late', worker: true });
  set.bad('the new file comes from elsewhere, burial has read the old one', 'WRONG-LANE', { ...one, way: 'late' });
  set.bad('burial leaves the new file alone', 'V1', { ...one, keepsNew: true });
  set.ok('two undertakers', { ...one, buries: ['s0', 's0'] });
  set.ok('two undertakers, all faults', { ...one, buries: ['s0', 's0'], budget: { crash: 1, lost: 1 } }, 'full');
  set.ok('a second set', { ...two, budget: { crash: 1 } });
  set.ok('a second set, all faults', { ...two, budget: { crash: 1, lost: 1 } }, 'full');
  set.ok('a cancel, a crash', { sets: ['lane'], verbs: ['cancel'], budget: { crash: 1 } });
  set.ok('a cancel, a burial', { ...one, verbs: ['cancel'] }, 'full');
  set.ok('a cancel, a burial, a crash', { ...one, verbs: ['cancel'], budget: { crash: 1 } }, 'full');
  set.ok('a cancel, a lost reply', { ...one, verbs: ['cancel'], budget: { lost: 1 } }, 'full');
  set.ok('a cancel and a claim', { ...one, verbs: ['cancel'], worker: true }, 'full');
  set.bad('a request is left behind', 'CANCEL-LOST', { ...one, dropsCancel: true, verbs: ['cancel'] });
  set.ok('hold and release', { ...one, verbs: ['hold', 'release'], worker: true }, 'full');
  set.ok('of a held task', { ...one, verbs: ['release'], from: 'held', budget: { crash: 1, lost: 1 } });
  set.ok('calls sent twice', { ...one, worker: true, budget: { dup: 1 } }, 'full');
  set.ok('a due time', { sets: ['due', 'level'], from: 'd1', budget: { crash: 1, lost: 1 } });
  set.ok('a due time, a burial', { sets: ['due'], from: 'd1', buries: ['s0'], budget: { lost: 1 } });
  set.ok(
    'a due time, a burial, a second set, a crash',
    { sets: ['due', 'level'], from: 'd1', buries: ['s0'], budget: { crash: 1 } },
    'full',
  );
  set.ok('a due time, all faults', { sets: ['due', 'level'], from: 'd1', buries: ['s0'], budget: { crash: 1, lost: 1 } }, 'full');
  set.ok('a due time for a queued task', { sets: ['due'], buries: ['s0'], budget: { crash: 1, lost: 1 } });
  set.ok('a due time for a queued task, a second set', { sets: ['due', 'level'], buries: ['s0'] }, 'full');
  set.bad('the former due time is written over a new one', 'CHANGE-LOST', { dueFile: 'over', sets: ['due', 'level'], from: 'd1' });
  set.bad('the new due time is written after the content', 'CHANGE-LOST', { dueFile: 'late', sets: ['due'], from: 'd1', buries: ['s0'] });
}

// --- skipped -> waiting

const revive = family<ReviveConfig>('revive', reviveScenario);
{
  const failed: ReviveConfig = { fails: ['p.a1'], retries: ['p'] };
  const raced: ReviveConfig = { ...failed, reruns: ['p'] };
  revive.ok('a crash', { ...failed, budget: { crash: 1 } });
  revive.ok('a crash, no sweep over what is skipped', { ...failed, reruns: ['p'], sweep: 'waiting', budget: { crash: 1 } });
  revive.bad('a crash, and who ends the parent leaves skipped ones alone', 'SKIPPED-FOR-EVER', {
    ...raced,
    sweep: 'waiting',
    endRevives: false,
    budget: { crash: 1 },
  });
  revive.ok('two crashes', { ...raced, budget: { crash: 2 } });
  revive.bad('two crashes, no sweep over what is skipped', 'SKIPPED-FOR-EVER', { ...raced, sweep: 'waiting', budget: { crash: 2 } });
  revive.ok('the end of the parent is slow', { ...raced, sweep: 'waiting' });
  revive.bad('the end of the parent is slow, and nobody looks again', 'SKIPPED-FOR-EVER', {
    ...raced,
    sweep: 'waiting',
    looksAgain: 'not',
    endRevives: false,
  });
  revive.bad('who looks again asks only whether the parent is unended', 'SKIPPED-FOR-EVER', {
    ...raced,
    sweep: 'waiting',
    looksAgain: 'unended',
    budget: { crash: 1 },
  });
  revive.bad('children first', 'SKIPPED-FOR-EVER', {
    ...raced,
    sweep: 'waiting',
    looksAgain: 'not',
    endRevives: false,
    childrenFirst: true,
    sweeps: 1,
  });
  revive.bad('a child is skipped before it has markers', 'SKIPPED-FOR-EVER', {
    ...raced,
    submit: true,
    sweep: 'waiting',
    marksFirst: false,
    sweeps: 1,
  });
  revive.ok('the child is retried too', { ...failed, retries: ['p', 'c'], sweep: 'waiting', budget: { crash: 1 } });
  revive.ok(
    'the child is retried too, and the parent runs again',
    { ...raced, retries: ['p', 'c'], sweep: 'waiting', budget: { crash: 1 } },
    'full',
  );
  revive.ok('directories listed one by one', { ...raced, sweep: 'waiting', listed: true }, 'full');
  revive.ok('stale listings', { ...failed, listed: true, budget: { stale: 1 } });
  revive.ok('the sweep', { ...failed, sweeps: 1 });
  revive.ok('the sweep, and the parent runs again', { ...raced, sweeps: 1 }, 'full');
  revive.ok('a second retry', { ...failed, fails: ['p.a1', 'p.a2'], retries: ['p', 'p'], budget: { crash: 1 } });
  revive.ok('a second retry, and the parent runs again', { ...raced, fails: ['p.a1', 'p.a2'], retries: ['p', 'p'] }, 'full');
  revive.ok('a grandchild', { ...failed, grandchild: true, budget: { crash: 1 } });
  revive.ok('a grandchild, and the parent runs again', { ...raced, grandchild: true, budget: { crash: 1 } }, 'full');
  revive.ok('two parents, one retried', { parents: ['p', 'r'], fails: ['p.a1', 'r.a1'], retries: ['p'] });
  revive.ok(
    'two parents, one retried, a crash',
    { parents: ['p', 'r'], fails: ['p.a1', 'r.a1'], retries: ['p'], budget: { crash: 1 } },
    'full',
  );
  revive.ok('two parents, both retried', { parents: ['p', 'r'], fails: ['p.a1', 'r.a1'], retries: ['p', 'r'] }, 'full');
  revive.ok('while the child is submitted', { ...failed, submit: true, budget: { crash: 1 } });
  revive.ok('while the child is submitted, and the sweep', { ...failed, submit: true, sweeps: 1 }, 'full');
}

// --- names of workers

const name = family<NameConfig>('name', nameScenario);
{
  const two: NameConfig = { starters: ['a', 'b'] };
  const old: NameConfig = { ...two, old: 'directory', buries: ['o0'] };
  name.ok('two starters', { ...two, budget: { crash: 1, lost: 1 } });
  name.bad('the name before the running directory', 'NAME-TWICE', { ...two, first: 'name' });
  name.ok('a holder that is dead', { ...old, budget: { crash: 1 } });
  name.ok('a holder that is dead, all faults', { ...old, budget: { crash: 1, lost: 1 } }, 'full');
  name.bad('a file with O_EXCL', 'NAME-TWICE', { ...old, exclusive: true });
  name.bad('whatever token is there is freed', 'NAME-TWICE', { ...old, blind: true });
  name.ok('a burial that was cut short', { starters: ['a'], old: 'bare', buries: ['o0', 'o0'], budget: { crash: 1, lost: 1 } });
  name.ok('two undertakers, one late', { starters: ['a'], old: 'directory', buries: ['o0', 'o0'], budget: { lost: 1 } });
  name.ok('two undertakers, two starters', { ...old, buries: ['o0', 'o0'], budget: { lost: 1 } }, 'full');
  name.ok('a starter that is buried alive', { ...two, buries: ['a0'], budget: { lost: 1 } });
  name.bad('an undertaker writes the state file', 'STATE-OF-ANOTHER', { ...old, starters: ['a'], state: 'once', buries: ['o0', 'o0'] });
  name.ok('rm', { ...two, removes: 'token' });
  name.ok('rm, a crash', { ...two, removes: 'token', budget: { crash: 1 } }, 'full');
  name.ok('rm, a lost reply', { ...two, removes: 'token', budget: { lost: 1 } }, 'full');
  name.bad('rm looks, then removes', 'NAME-TWICE', { ...two, removes: 'look' });
}

// --- due times and expiry

const due = family<DueConfig>('due', dueScenario);
due.ok('two promoters and a claim', { promoters: 2, worker: true, budget: { crash: 1, lost: 1 } });
due.bad('a link and an unlink', 'V1', { promoters: 2, copies: true });
due.ok('hold and release', { verbs: ['hold', 'release'], worker: true, budget: { crash: 1, lost: 1 } });
due.ok('cancel', { promoters: 2, verbs: ['cancel'], worker: true, budget: { crash: 1 } });
due.ok('set', { verbs: ['set'], buries: 1, worker: true, budget: { crash: 1, lost: 1 } });
due.ok('set, cancel, hold', { verbs: ['set', 'cancel', 'hold'], buries: 1, budget: { crash: 1 } }, 'full');
due.ok('expiry, promotion and claim', { promoters: 2, expires: true, worker: true, budget: { crash: 1, lost: 1 } });
due.bad('expiry by a link and an unlink', 'V1', { promoters: 2, expires: true, copies: true });
due.ok('expiry and set', { promoters: 2, expires: true, verbs: ['set'], worker: true });
due.ok('expiry and set, a burial', { promoters: 2, expires: true, verbs: ['set'], buries: 1, worker: true, budget: { crash: 1 } }, 'full');
due.ok('expiry, calls sent twice', { promoters: 2, expires: true, worker: true, budget: { dup: 1 } });
due.ok('a parent', { promoters: 2, parent: true, verbs: ['hold'], budget: { crash: 1 } });
due.ok('a parent, all faults', { promoters: 2, parent: true, verbs: ['hold', 'release'], budget: { crash: 1, lost: 1 } }, 'full');
due.bad('straight to queued', 'RELEASED-EARLY', { parent: true, straight: true });

export const SUITE: readonly Run[] = runs;
