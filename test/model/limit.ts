/**
 * Limits: a share is a token that is only ever renamed, `<n>.g<G>.free` -> `<n>.g<G+1>.<session>` -> `<n>.g<G+2>.free`. The naive
 * reading is a file made with O_EXCL and unlinked after.
 */
import {
  act,
  create,
  forget,
  mkdir,
  pause,
  read,
  rename,
  rmdir,
  strong,
  tell,
  unlink,
  Violation,
  type Budget,
  type Proc,
  type Scenario,
} from './engine.ts';

export interface LimitConfig {
  workers: readonly string[];
  shares?: number;
  buries?: readonly string[];
  budget?: Partial<Budget>;
  /** Whoever looks gives back the tokens of sessions without a running directory. */
  sweep?: boolean;
  naive?: boolean;
}

interface Notes {
  running: string[];
  condemned: string[];
}

export function limitScenario(config: LimitConfig): Scenario<Notes> {
  const shares = config.shares ?? 1;
  const safe = config.naive !== true;

  function* acquire(session: string): Proc<string | undefined> {
    if (!safe) {
      for (let n = 0; n < shares; n++) if ((yield* create(`limit/${n}`, session)) === 'made') return String(n);
      return undefined;
    }
    for (const token of (yield* strong('limit'))!) {
      const m = /^(\d)\.g(\d+)\.free$/.exec(token);
      if (m === null) continue;
      const mine = `${m[1]}.g${Number(m[2]) + 1}.${session}`;
      if (yield* rename(`limit/${token}`, `limit/${mine}`)) return mine;
      if ((yield* strong('limit'))!.includes(mine)) return mine;
    }
    return undefined;
  }

  function* giveBack(token: string): Proc {
    if (!safe) yield* unlink(`limit/${token}`);
    else {
      const [n, generation] = token.split('.');
      yield* rename(`limit/${token}`, `limit/${n}.g${Number(generation!.slice(1)) + 1}.free`);
    }
  }

  function* worker(base: string): Proc {
    let session = `${base}0`;
    yield* forget(base);
    if ((yield* strong(`run/${session}`)) === undefined) {
      session = `${base}1`;
      yield* mkdir(`run/${session}`);
    }
    const token = yield* acquire(session);
    if (token !== undefined) {
      if (yield* act('start', session)) {
        yield* pause();
        yield* tell('end', session);
      }
      yield* giveBack(token);
    }
    yield* rmdir(`run/${session}`);
  }

  function* bury(session: string): Proc {
    yield* act('condemn', session);
    yield* rmdir(`run/${session}`);
    for (const token of (yield* strong('limit'))!) if ((yield* holderOf(token)) === session) yield* giveBack(token);
  }

  function* holderOf(token: string): Proc<string | undefined> {
    return safe ? token.split('.')[2] : yield* read(`limit/${token}`);
  }

  function* sweep(): Proc {
    for (const token of (yield* strong('limit'))!) {
      const holder = yield* holderOf(token);
      if (holder === undefined || holder === 'free' || (yield* strong(`run/${holder}`)) !== undefined) continue;
      yield* giveBack(token);
    }
  }

  return {
    dirs: ['limit', 'run', ...config.workers.map((w) => `run/${w}0`)],
    files: safe ? Array.from({ length: shares }, (_, n) => [`limit/${n}.g0.free`, ''] as const) : [],
    budget: config.budget ?? {},
    notes: { running: [], condemned: [] },
    processes: [
      ...config.workers.map((w) => ({ name: `w${w}`, run: () => worker(w) })),
      ...(config.buries ?? []).map((session, i) => ({ name: `u${i}`, run: () => bury(session) })),
    ],
    died({ notes }, name) {
      notes.running = notes.running.filter((session) => `w${session.slice(0, -1)}` !== name);
    },
    tell({ notes }, _, word, args) {
      const session = String(args[0]);
      if (word === 'condemn') notes.condemned.push(session);
      if (word === 'condemn' || word === 'end') notes.running = notes.running.filter((s) => s !== session);
      if (word !== 'start') return true;
      if (notes.condemned.includes(session)) return false;
      notes.running.push(session);
      if (notes.running.length > shares)
        throw new Violation('LIMIT-EXCEEDED', `${notes.running.join(' ')} run at once, the limit is ${shares}`);
      return true;
    },
    finish(world) {
      for (const session of world.ls('run')) world.run(`bury ${session}`, () => bury(session));
      if (config.sweep === true) world.run('sweep', sweep);
      const taken = world.ls('limit').filter((token) => !token.endsWith('.free'));
      if (taken.length > 0) throw new Violation('SHARE-LEAKED', taken.join(' '));
      if (safe && world.ls('limit').length !== shares) throw new Violation('TOKENS', world.ls('limit').join(' '));
    },
  };
}
