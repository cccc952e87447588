/**
 * The name of a worker: a token `g<G>.<session|free>` that is only renamed. Starters, undertakers that are late or wrong, a holder
 * that has died, and `worker rm` meet. A session is alive in the name while it has its running directory.
 */
import {
  act,
  choose,
  create,
  forget,
  list,
  mkdir,
  pause,
  publishDir,
  read,
  rename,
  rmdir,
  strong,
  tell,
  unlink,
  Violation,
  type Budget,
  type Proc,
  type Process,
  type Scenario,
  type World,
} from './engine.ts';

export interface NameConfig {
  starters: readonly string[];
  /** A holder `o0` that is dead: with its running directory, or without it (a burial that was cut short). */
  old?: 'directory' | 'bare';
  /** Undertakers, by session; also of one that lives. */
  buries?: readonly string[];
  /** `directory`: a starter makes its running directory, then takes the name; `name`: the other way round. */
  first?: 'directory' | 'name';
  /**
   * The state file. `checked`: its session writes it, and again when a heartbeat finds another's words in it. `once`: its session
   * writes it when it has something new to say, and who buries it writes `offline`.
   */
  state?: 'checked' | 'once';
  /** `worker rm`: takes the token, then removes; or looks whether it is free, then removes. */
  removes?: 'token' | 'look';
  /** Naive: a file with O_EXCL. */
  exclusive?: boolean;
  /** Naive: whoever buries frees the token that is there, whoever's it is. */
  blind?: boolean;
  budget?: Partial<Budget>;
}

interface Notes {
  /** Sessions that work under the name. */
  awake: string[];
}

interface Token {
  file: string;
  generation: number;
  holder: string;
}

export function nameScenario(config: NameConfig): Scenario<Notes> {
  const first = config.first ?? 'directory';

  function* token(): Proc<Token | undefined> {
    let best: Token | undefined;
    for (const file of (yield* strong('worker/name')) ?? []) {
      const m = /^g(\d+)\.(.+)$/.exec(file);
      if (m !== null && (best === undefined || Number(m[1]) > best.generation)) best = { file, generation: Number(m[1]), holder: m[2]! };
    }
    return best;
  }

  function* raise(t: Token, holder: string): Proc<boolean> {
    const to = `g${t.generation + 1}.${holder}`;
    if (yield* rename(`worker/name/${t.file}`, `worker/name/${to}`)) return true;
    return (yield* strong('worker/name'))?.includes(to) === true;
  }

  /** Takes the name if nobody has it; the holder comes back. */
  function* take(session: string): Proc<string> {
    for (let k = 0; k < 4; k++) {
      if (config.exclusive === true) {
        if ((yield* create('worker/name/file', session)) === 'made') return session;
        const holder = yield* read('worker/name/file');
        if (holder !== undefined) return holder;
        continue;
      }
      const t = yield* token();
      if (t === undefined) {
        yield* publishDir('worker/name', 'g0.free');
        continue;
      }
      if (t.holder !== 'free') return t.holder;
      if (yield* raise(t, session)) return session;
    }
    return '';
  }

  function* free(session: string): Proc {
    if (config.exclusive === true) {
      if ((yield* read('worker/name/file')) === session) yield* unlink('worker/name/file');
      return;
    }
    const t = yield* token();
    if (t !== undefined && (t.holder === session || (config.blind === true && t.holder !== 'free'))) yield* raise(t, 'free');
  }

  function* starter(base: string): Proc {
    for (let k = 0; k < 2; k++) {
      yield* forget(`${base} ${k}`);
      const session = `${base}${k}`;
      if (first === 'directory') yield* mkdir(`run/${session}`);
      const holder = yield* take(session);
      if (holder === session) {
        if (first === 'name') yield* mkdir(`run/${session}`);
        yield* act('write', 'state', session);
        yield* tell('awake', session);
        yield* pause();
        if ((yield* list(`run/${session}`)) !== undefined) return;
        yield* tell('asleep', session);
        continue;
      }
      if (first === 'directory') yield* rmdir(`run/${session}`);
      // The holder is alive, as far as can be told: leave. Or it is silent for a lease, rightly or wrongly.
      if (holder === '' || (yield* choose(2)) === 0) return;
      yield* undertake(holder);
    }
  }

  /** An undertaker knows of a session by its running directory or by the name that it holds. */
  function* suspect(session: string): Proc {
    if ((yield* strong('run'))!.includes(session) || (yield* token())?.holder === session) yield* undertake(session);
  }

  function* undertake(session: string): Proc {
    if (!(yield* rmdir(`run/${session}`))) return;
    if (config.state === 'once' && (yield* read('worker/state')) === session) yield* act('write', 'state', `offline ${session}`);
    yield* free(session);
  }

  function* beat(session: string): Proc {
    if ((yield* read('worker/state')) !== session) yield* act('write', 'state', session);
  }

  function* remove(): Proc {
    const t = yield* token();
    if (t === undefined || t.holder !== 'free') return;
    if (config.removes === 'token') {
      if (!(yield* raise(t, 'm0'))) return;
      yield* unlink('worker/state');
      yield* unlink(`worker/name/g${t.generation + 1}.m0`);
    } else {
      yield* unlink('worker/state');
      for (const file of (yield* list('worker/name')) ?? []) yield* unlink(`worker/name/${file}`);
    }
    yield* rmdir('worker/name');
  }

  function holderOf(world: World<Notes>): string {
    const file = config.exclusive === true ? world.files.get('worker/name/file') : world.ls('worker/name')[0];
    return file === undefined ? 'free' : file.replace(/^g\d+\./, '');
  }

  function alive(world: World<Notes>): string[] {
    return world.notes.awake.filter((session) => world.dirs.has(`run/${session}`));
  }

  const processes: Process[] = config.starters.map((base) => ({ name: `start ${base}`, run: () => starter(base) }));
  for (const [i, session] of (config.buries ?? []).entries())
    processes.push({ name: `undertaker ${i}`, run: () => (config.exclusive === true ? undertake(session) : suspect(session)) });
  if (config.removes !== undefined) processes.push({ name: 'remove', run: remove });

  const files: Array<[string, string]> = [];
  if (config.exclusive === true) files.push(...(config.old === undefined ? [] : [['worker/name/file', 'o0'] as [string, string]]));
  else files.push([`worker/name/${config.old === undefined ? 'g0.free' : 'g1.o0'}`, '']);
  if (config.old !== undefined) files.push(['worker/state', 'o0']);

  return {
    dirs: ['worker', 'worker/name', 'run', ...(config.old === 'directory' ? ['run/o0'] : [])],
    files,
    budget: config.budget ?? {},
    notes: { awake: [] },
    processes,
    died({ notes }, name) {
      notes.awake = notes.awake.filter((session) => `start ${session[0]}` !== name);
    },
    tell(world, _, word, args) {
      const session = String(args[0]);
      if (word === 'write') world.put('worker/state', String(args[1]));
      else if (word === 'awake') world.notes.awake.push(session);
      else world.notes.awake = world.notes.awake.filter((s) => s !== session);
    },
    check(world) {
      const both = alive(world);
      if (both.length > 1) throw new Violation('NAME-TWICE', `${both.join(' and ')} work under one name`);
    },
    finish(world) {
      // What is dead is buried; a holder without a running directory has lost the name.
      for (const session of [...world.ls('run'), holderOf(world)]) {
        if (session !== 'free' && !alive(world).includes(session)) world.run(`last burial of ${session}`, () => undertake(session));
      }
      const [one] = alive(world);
      if (one === undefined) {
        world.run('start n', () => starter('n'));
        if (!alive(world).includes('n0'))
          throw new Violation('NAME-STUCK', `nobody has the name, and nobody can take it: ${world.ls('worker/name').join(' ')}`);
        return;
      }
      if (holderOf(world) !== one) throw new Violation('NAME-LOST', `${one} works, the name says ${holderOf(world)}`);
      if (config.state !== 'once') world.run(`beat ${one}`, () => beat(one));
      const state = world.files.get('worker/state');
      if (state !== one) throw new Violation('STATE-OF-ANOTHER', `${one} works, the state file says: ${state}`);
    },
  };
}
