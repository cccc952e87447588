/**
 * One random run: workers and people doing everything at once on one queue while calls fail, replies get lost and processes die;
 * then a calm in which all that is left is settled, and the last look. The seed decides all of it.
 */
import fs from 'node:fs';
import { TqError } from '../../src/errors.ts';
import { bury } from '../../src/queue/bury.ts';
import { cancelTask } from '../../src/queue/cancel.ts';
import { holdTask, releaseTask, removeTask, retryTask } from '../../src/queue/control.ts';
import { sweepWaiting } from '../../src/queue/depend.ts';
import { sessions } from '../../src/queue/find.ts';
import { replaceLock } from '../../src/queue/lock.ts';
import { setLimit } from '../../src/queue/limits.ts';
import { promoteDue } from '../../src/queue/promote.ts';
import { setTask, type Change } from '../../src/queue/set.ts';
import { submitTask } from '../../src/queue/submit.ts';
import { pieceId, pieceOf } from '../../src/queue/layout.ts';
import { manyOfArray } from '../../src/task/many.ts';
import type { TaskDraft } from '../../src/task/build.ts';
import { sweepTmp } from '../../src/queue/sweep.ts';
import { isTerminal, type AfterKind, type Parent, type Task } from '../../src/task/types.ts';
import { draft, type Faults, isMutation, type Job, lostCodes, makeRng, type Proc, refusals, Violation, World } from './harness.ts';
import { keyDir, type Known, Oracle } from './oracle.ts';
import { buryDead, keep, lookAtEnds, rethrowUnexpected, work, type WorkerWishes } from './sim-worker.ts';

export interface Rates {
  refuse: number;
  lost: number;
  twice: number;
  echo: number;
  crash: number;
  stale: number;
}

const CALM: Rates = { refuse: 0, lost: 0, twice: 0, echo: 0, crash: 0, stale: 0 };
/** What may go wrong, from nothing but the order of things to everything at once. */
const PROFILES: ReadonlyArray<{ name: string; network: boolean; rates: Rates }> = [
  { name: 'order alone', network: false, rates: CALM },
  { name: 'deaths', network: false, rates: { ...CALM, crash: 0.004 } },
  { name: 'lost replies', network: false, rates: { ...CALM, lost: 0.03, twice: 0.01, crash: 0.001 } },
  { name: 'errors', network: false, rates: { ...CALM, refuse: 0.03, crash: 0.001 } },
  { name: 'everything', network: false, rates: { refuse: 0.01, lost: 0.01, twice: 0.005, echo: 0.003, crash: 0.002, stale: 0 } },
  { name: 'stale caches', network: true, rates: { ...CALM, stale: 0.2, lost: 0.01, crash: 0.001 } },
];

export function faultsOf(world: World, rates: Rates): Faults {
  const { rng } = world;
  return (call) => {
    const { op } = call;
    if (op === 'list' && rng.chance(rates.stale)) return { kind: 'stale' };
    if (rng.chance(rates.refuse)) return { kind: 'refuse', code: rng.pick(refusals(op, world.network)) };
    if (!isMutation(op)) return undefined;
    if (rng.chance(rates.lost)) return { kind: 'lost', code: rng.pick(lostCodes(op)) };
    if (rng.chance(rates.crash)) return { kind: 'crash', when: rng.chance(0.5) ? 'before' : 'after' };
    if (!['rename', 'link', 'unlink', 'mkdir', 'rmdir'].includes(op)) return undefined;
    if (rng.chance(rates.twice)) return { kind: 'twice' };
    return rng.chance(rates.echo) ? { kind: 'echo' } : undefined;
  };
}

export interface Played {
  profile: string;
  verbs: number;
  calls: number;
  /** How many tasks ended in each state. */
  ends: Map<string, number>;
  deaths: number;
}

interface Run {
  world: World;
  oracle: Oracle;
  verbs: Array<Job<unknown>>;
  workers: Array<Job<void>>;
  mood: 'work' | 'settle' | 'leave';
  sets: Map<string, Array<{ from: number; to: number; value: string }>>;
  ids: string[];
  /** Arrays. */
  arrays: string[];
  count: number;
  deaths: number;
  /** No fault is injected. */
  orderly: boolean;
}

const KEYS = ['k1', 'k2'];
const LIMIT = 'lim';
const MAX = 2;
/** Calls after which a verb counts as one that waits. */
const PATIENCE = 500;

/** Throws a `Violation` that tells what must not be and the calls that led to it. */
export async function play(seed: number, verbs: number, about: 'all' | 'arrays' = 'all'): Promise<Played> {
  const profile = PROFILES[seed % PROFILES.length]!;
  const world = await World.make({ seed, network: profile.network });
  // Nothing may depend on the lock: here everybody always gets it at once.
  replaceLock(async () => async () => undefined);
  try {
    const oracle = new Oracle(world);
    oracle.arrays.isExact = false;
    const run: Run = {
      world,
      oracle,
      verbs: [],
      workers: [],
      mood: 'work',
      sets: new Map(),
      ids: [],
      arrays: [],
      count: 0,
      deaths: 0,
      orderly: profile.rates === CALM,
    };
    world.mourners.push(() => run.deaths++);
    const rng = makeRng(seed ^ 0x5bd1e995);
    world.faults = faultsOf(world, profile.rates);
    world.pauses = rng.pick([0, 0.002, 0.01]);
    world.sticky = rng.pick([0, 0.5, 0.9]);
    await world.alone('limit', (p) => setLimit(p.q, LIMIT, { max: MAX, rate: null }), { spared: true });
    oracle.limit(LIMIT, MAX);
    const crew = 1 + rng.int(3);
    const crowd = 1 + rng.int(5);
    for (let i = 0; i < crew; i++) await hire(run);
    while (run.count < verbs) {
      await check(run);
      if (run.workers.filter((w) => w.proc.status === 'runs').length < crew && rng.chance(0.05)) await hire(run);
      // One that waits for what only others can do does not keep them out.
      if (run.verbs.filter((v) => v.proc.calls < PATIENCE).length < crowd && rng.chance(0.1)) await spawnVerb(run, about);
      else await world.step();
    }
    await settleDown(run);
    const ends = new Map<string, number>();
    const states = [...oracle.tasks.values()].flatMap((k) => [...k.spots.values()].map((s) => s.state));
    for (const id of oracle.arrays.known.keys()) states.push(...oracle.arrays.states(id));
    for (const state of states) ends.set(state, (ends.get(state) ?? 0) + 1);
    return { profile: profile.name, verbs: run.count, calls: world.steps, ends, deaths: run.deaths };
  } catch (error) {
    if (error instanceof Error) error.message = `TQ_SEED=${seed} (${profile.name}): ${error.message}`;
    throw error;
  } finally {
    replaceLock(undefined);
    world.remove();
  }
}

async function hire(run: Run): Promise<void> {
  const { world, oracle } = run;
  const wishes: WorkerWishes = { mood: () => run.mood, most: 1 + world.rng.int(4) };
  const host = world.rng.pick(['h1', 'h1', 'h2']);
  run.workers.push(await world.spawn(`w${run.workers.length}`, (p) => work(p, oracle, wishes), { host }));
}

/** Nobody may fail in a way that is no answer. */
async function check(run: Run): Promise<void> {
  for (const list of [run.verbs, run.workers as Array<Job<unknown>>]) {
    for (let i = list.length - 1; i >= 0; i--) {
      const job = list[i]!;
      if (job.proc.status === 'runs') continue;
      if (list === run.verbs) list.splice(i, 1);
      if (job.result.kind === 'error') rethrowUnexpected(job.result.error);
      if (job.result.kind === 'error' && run.orderly) answersOnly(job);
    }
  }
}

/** Where nothing goes wrong a verb fails only because of the state of things. */
function answersOnly(job: Job<unknown>): void {
  const error = job.result.kind === 'error' ? job.result.error : undefined;
  if (
    error instanceof TqError &&
    (['WRONG_STATE', 'NOT_FOUND', 'DUPLICATE_KEY'].includes(error.code) || error.message.includes('taken back'))
  )
    return;
  throw new Violation(
    `${job.proc.name} fails where nothing went wrong: ${String(error)}\n${job.proc.world.trace(job.proc.name).slice(-60).join('\n')}`,
  );
}

type Verb = (run: Run, p: Proc) => Promise<void>;

type Weighed = ReadonlyArray<readonly [weight: number, name: string, what: Verb]>;

const KEEPERS: Weighed = [
  [5, 'promote', async (_run, p) => void (await promoteDue(p.q))],
  [4, 'sweep', async (_run, p) => void (await sweepWaiting(p.q))],
  [4, 'bury the dead', async (_run, p) => buryDead(p)],
  [6, 'bury a suspect', buryOne],
  // Far too early: what it takes away under the hands of the living is tried again or said.
  [2, 'sweep tmp', async (run, p) => void (await sweepTmp(p.q, run.orderly ? 3_600_000 : 5))],
  [2, 'time passes', async (run) => run.world.advance(run.world.rng.pick([5, 50, 500, run.world.leaseMs + 1000]))],
];

const ARRAY_VERBS: Weighed = [
  [5, 'submit an array', submitArray],
  [
    2,
    'cancel elements',
    onElements(async (run, p, id, part) => {
      const since = run.world.steps;
      await cancelTask(p.q, part, { reason: null, now: false, by: null });
      const { lo, hi } = pieceOf(part) ?? { lo: 0, hi: 999_999_999 };
      run.oracle.arrays.canceled(id, lo, hi, since);
    }),
  ],
  [2, 'hold elements', onElements(async (_run, p, _id, part) => holdTask(p.q, part, null))],
  [2, 'release elements', onElements(async (_run, p, _id, part) => void (await releaseTask(p.q, part, null)))],
  [2, 'set elements', onElements((run, p, _id, part) => setTask(p.q, p.facts, part, { priority: run.world.rng.int(9) }))],
  [
    3,
    'retry elements',
    onElements((run, p, _id, part) =>
      retryTask(p.q, part, {
        by: null,
        ...(run.world.rng.chance(0.3) ? { failed: true } : {}),
        ...(run.world.rng.chance(0.2) ? { delayMs: 20 } : {}),
      }),
    ),
  ],
  [1, 'rm an array', onElements(async (_run, p, id) => removeTask(p.q, id, { force: false, by: null }))],
];

const VERBS: Weighed = [
  [30, 'submit', submit],
  [
    8,
    'cancel',
    onOne(async (run, p, k) => {
      const since = run.world.steps;
      run.oracle.wished(k.id, p);
      await cancelTask(p.q, k.id, { reason: null, now: run.world.rng.chance(0.3), by: null });
      run.oracle.canceled(k.id, since);
    }),
  ],
  [6, 'hold', onOne((_run, p, k) => holdTask(p.q, k.id, null))],
  [
    8,
    'release',
    onOne(async (_run, p, k) => {
      k.released = true;
      await releaseTask(p.q, k.id, null);
    }),
  ],
  [9, 'set', onOne(set)],
  [8, 'retry', onOne((run, p, k) => retryTask(p.q, k.id, run.world.rng.chance(0.2) ? { by: null, delayMs: 20 } : { by: null }))],
  [
    3,
    'rm',
    onOne(async (run, p, k) => {
      const force = run.world.rng.chance(0.1);
      if (force) run.oracle.wished(k.id, p);
      await removeTask(p.q, k.id, { force, by: null });
      run.oracle.removed(k.id);
    }),
  ],
  ...KEEPERS,
  ...ARRAY_VERBS,
];

async function spawnVerb(run: Run, about: 'all' | 'arrays'): Promise<void> {
  const { rng } = run.world;
  const verbs = about === 'all' ? VERBS : [...KEEPERS, ...ARRAY_VERBS];
  let at = rng.int(verbs.reduce((sum, [weight]) => sum + weight, 0));
  const verb = verbs.find(([weight]) => (at -= weight) < 0)!;
  const name = `${verb[1].replaceAll(' ', '-')}${run.count++}`;
  run.verbs.push(await run.world.spawn(name, (p) => verb[2](run, p), { host: rng.pick(['h1', 'h1', 'h2']) }));
}

/** A verb on a task that chance picks, the newest ones first of all. */
function onOne(what: (run: Run, p: Proc, k: Known) => Promise<void>): Verb {
  return async (run, p) => {
    if (run.ids.length === 0) return;
    const { rng } = run.world;
    const id = rng.chance(0.6) ? run.ids.at(-1 - rng.int(Math.min(4, run.ids.length)))! : rng.pick(run.ids);
    const k = run.oracle.known(id);
    const there = k.acked && !k.removing;
    try {
      await what(run, p, k);
    } catch (error) {
      if (error instanceof TqError && error.code === 'NOT_FOUND' && there && !k.removing)
        throw new Violation(
          `${p.name}: ${id} is not found and lies in ${[...k.spots.keys()].join()}\n${run.world.trace(p.name).join('\n')}`,
        );
      throw error;
    }
  };
}

async function submitArray(run: Run, p: Proc): Promise<void> {
  const { rng } = run.world;
  const many = manyOfArray(rng.pick(['1-9', '1-14', '2-20:3', '1-4', '3,7,9,12,40']), undefined);
  const over: Partial<TaskDraft> = { many, retries: rng.int(2), priority: rng.pick([0, 0, 5]) };
  if (rng.chance(0.1)) over.hold = true;
  if (rng.chance(0.1)) over.delayMs = 1 + rng.int(60);
  if (rng.chance(0.5)) Object.assign(over, HOOKS);
  over.onLost = rng.pick(['requeue', 'requeue', 'hold', 'fail']);
  const made = await submitTask(p.q, draft(over));
  run.arrays.push(made.id);
  run.oracle.acked(made.task);
}

/** A verb on an array that chance picks: on all of it, one of its elements, or some. */
function onElements(what: (run: Run, p: Proc, id: string, part: string) => Promise<void>): Verb {
  return async (run, p) => {
    if (run.arrays.length === 0) return;
    const { rng } = run.world;
    const id = rng.chance(0.6) ? run.arrays.at(-1)! : rng.pick(run.arrays);
    const numbers = [...run.oracle.arrays.known.get(id)!.elements.keys()];
    const [x, y] = [rng.pick(numbers), rng.pick(numbers)];
    const part = rng.chance(0.4) ? id : pieceId(id, Math.min(x, y), rng.chance(0.4) ? Math.min(x, y) : Math.max(x, y));
    const removing = run.oracle.arrays.known.get(id)!.removing;
    try {
      await what(run, p, id, part);
    } catch (error) {
      if (error instanceof TqError && error.code === 'NOT_FOUND' && !removing && !run.oracle.arrays.known.get(id)!.removing)
        throw new Violation(`${p.name}: ${part} is not found\n${run.world.trace(id).join('\n')}`);
      throw error;
    }
  };
}

const HOOKS = { onSuccess: 'true', onFailure: 'true', onCancel: 'true' };

async function submit(run: Run, p: Proc): Promise<void> {
  const { rng } = run.world;
  const over: Partial<TaskDraft> = {
    priority: rng.pick([0, 0, 5]),
    retries: rng.int(3),
    backoff: { kind: 'fixed', baseMs: rng.pick([0, 10]) },
  };
  if (rng.chance(0.3)) {
    over.key = rng.pick(KEYS);
    over.onDup = rng.pick(['ignore', 'ignore', 'error', 'replace']);
  }
  if (rng.chance(0.3) && run.ids.length > 0) {
    const parents = new Map<string, Parent>();
    for (let i = 0; i < 1 + rng.int(2); i++) {
      const id = run.ids.at(-1 - rng.int(Math.min(5, run.ids.length)))!;
      parents.set(id, { id, kind: rng.pick<AfterKind>(['after', 'after', 'after-any', 'after-notok']) });
    }
    over.after = [...parents.values()];
  }
  if (rng.chance(0.1)) over.hold = true;
  if (rng.chance(0.15)) over.delayMs = 1 + rng.int(60);
  if (rng.chance(0.05)) over.expireMs = 20 + rng.int(100);
  if (rng.chance(0.25)) Object.assign(over, HOOKS);
  if (rng.chance(0.1)) over.fallback = 'true';
  if (rng.chance(0.25)) over.limits = [{ name: LIMIT, n: rng.pick([1, 1, 2]) }];
  over.onLost = rng.pick(['requeue', 'requeue', 'hold', 'fail']);
  const made = await submitTask(p.q, draft(over));
  if (made.existing === true) return;
  run.ids.push(made.id);
  run.oracle.acked(made.task);
}

async function set(run: Run, p: Proc, k: Known): Promise<void> {
  const { rng, steps } = run.world;
  const value = String(run.count);
  const change: Change = { labels: { v: value } };
  if (rng.chance(0.5)) change.priority = rng.int(10);
  if (rng.chance(0.2)) {
    change.delayMs = rng.int(40);
    k.changed = true;
  }
  await setTask(p.q, p.facts, k.id, change);
  const list = run.sets.get(k.id) ?? [];
  list.push({ from: steps, to: run.world.steps, value });
  run.sets.set(k.id, list);
}

async function buryOne(run: Run, p: Proc): Promise<void> {
  const there = await sessions(p.q);
  if (there.length === 0) return;
  const { rng } = run.world;
  const sets = there.filter((name) => name.startsWith('set.'));
  const session = rng.pick(sets.length > 0 && rng.chance(0.7) ? sets : there);
  run.oracle.condemn(session, p);
  try {
    await bury(p.q, session, { proved: false, reason: 'no heartbeat' });
  } finally {
    run.oracle.buried(session, p);
  }
}

/** Rounds of calm after which everything must have come to rest. */
const ROUNDS = 60;

async function settleDown(run: Run): Promise<void> {
  const { world, oracle } = run;
  await world.calm();
  run.mood = 'settle';
  if (!run.workers.some((w) => w.proc.status === 'runs')) await hire(run);
  for (let round = 0; run.verbs.length > 0; round++) {
    if (round >= ROUNDS) throw new Violation(`${run.verbs[0]!.proc.name} does not end\n${world.trace().slice(-60).join('\n')}`);
    await keepAll(run, `first${round}`);
    for (let i = 0; i < 500; i++) await world.step();
    await check(run);
  }
  for (let round = 0; ; round++) {
    if (round >= ROUNDS)
      throw new Violation(
        `it does not come to rest: ${[...open(oracle).flatMap((k) => [...k.spots.keys()]), ...oracle.arrays.open().flatMap((a) => [...a.entries.keys()])].join('\n')}\n${world.trace(open(oracle)[0]?.id ?? oracle.arrays.open()[0]?.id).join('\n')}`,
      );
    await keepAll(run, String(round));
    for (let i = 0; i < 200; i++) await world.step();
    await check(run);
    if (round >= 6 && open(oracle).length === 0 && oracle.arrays.open().length === 0) break;
    world.advance(round < 4 ? 70 : world.leaseMs + 1000);
  }
  run.mood = 'leave';
  await until(run, () => run.workers.every((w) => w.proc.status !== 'runs'), 'the workers leave');
  // A session that its worker could not make is empty and nobody's: gone with its process.
  for (const host of ['h1', 'h2']) await world.alone(`last-${host}`, buryDead, { host });
  oracle.final();
  await world.alone('looker', (p) => lookAtEnds(p, oracle));
  // A probe of somebody who died while listing is nobody's session.
  const left = fs.readdirSync(`${world.dir}/running`).filter((name) => !name.startsWith('.p.'));
  if (left.length > 0) {
    const holds = left.map((name) => `${name}: ${fs.readdirSync(`${world.dir}/running/${name}`).join()}`);
    throw new Violation(`running/ holds ${holds.join('; ')}\n${world.trace(left[0]).join('\n')}`);
  }
  for (const key of KEYS) await probeKey(run, key);
  checkSets(run);
}

/** What living workers do for others, on each machine, to its end; whoever else is at work goes on meanwhile. */
async function keepAll(run: Run, name: string): Promise<void> {
  const keepers: Array<Job<void>> = [];
  for (const host of ['h1', 'h2']) keepers.push(await run.world.spawn(`keeper-${host}-${name}`, keep, { host }));
  await until(run, () => keepers.every((k) => k.proc.status !== 'runs'), 'the keepers end');
  for (const k of keepers) if (k.result.kind === 'error') throw k.result.error;
}

/** Tasks that have not come to rest. */
function open(oracle: Oracle): Known[] {
  return [...oracle.tasks.values()].filter((k) => {
    const s = [...k.spots.values()][0];
    if (s === undefined || isTerminal(s.state) || s.state === 'held') return false;
    return s.state !== 'waiting' || !(k.task?.after ?? []).some((a) => restsUnfinished(oracle, a.id, new Set()));
  });
}

function restsUnfinished(oracle: Oracle, id: string, seen: Set<string>): boolean {
  if (seen.has(id)) return false;
  seen.add(id);
  const k = oracle.tasks.get(id);
  const s = k === undefined ? undefined : [...k.spots.values()][0];
  if (s === undefined) return false;
  return s.state === 'held' || (s.state === 'waiting' && (k!.task?.after ?? []).some((a) => restsUnfinished(oracle, a.id, seen)));
}

async function until(run: Run, done: () => boolean, what: string): Promise<void> {
  for (let n = 0; ; n++) {
    await check(run);
    if (done()) return;
    if (n > 300_000 || !(await run.world.step()))
      throw new Violation(`${what}: not after ${n} calls\n${run.world.trace().slice(-60).join('\n')}`);
  }
}

/** A key is free unless its holder is unfinished. */
async function probeKey(run: Run, key: string): Promise<void> {
  const { world, oracle } = run;
  const tokens = fs.existsSync(`${world.dir}/${keyDir(key)}`) ? fs.readdirSync(`${world.dir}/${keyDir(key)}`) : [];
  // One that is held without the key asks for it when it is released.
  const holder = [...oracle.tasks.values()].find(
    (k) => tokens.some((t) => t.endsWith(`.${k.id}`)) && [...k.spots.values()].some((s) => !isTerminal(s.state)),
  );
  const made = await world.alone('probe', (p) => submitTask(p.q, draft({ key })));
  if (made!.existing === true && holder === undefined)
    throw new Violation(`the key ${key} is held by ${made!.id} at the end, which is not unfinished\n${world.trace(key).join('\n')}`);
  if (made!.existing !== true && holder !== undefined)
    throw new Violation(`the key ${key} was given to another although ${holder.id} is unfinished\n${world.trace(holder.id).join('\n')}`);
}

/** The last change that was promised is in the file. */
function checkSets(run: Run): void {
  for (const [id, list] of run.sets) {
    const k = run.oracle.known(id);
    const spot = [...k.spots.values()][0];
    if (k.removing || spot === undefined) continue;
    const { labels } = JSON.parse(fs.readFileSync(run.world.absolute(spot.path), 'utf8')) as Task; // written by the code under test
    const mine = list.find((s) => s.value === labels?.['v']);
    const after = mine === undefined ? list : list.filter((s) => s.from > mine.to);
    // A set that failed may have been made all the same; one that was promised and overtaken by nobody must be there.
    if (after.length > 0 && mine !== undefined)
      throw new Violation(`${id} has the label of an older set\n${run.world.trace(id).join('\n')}`);
    if (mine === undefined && labels?.['v'] === undefined)
      throw new Violation(`${id} has lost what was set\n${run.world.trace(id).join('\n')}`);
  }
}
