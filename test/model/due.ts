/**
 * What time does to a task: a delayed one is promoted when it is due, or skipped when it has expired; a claimed one may have expired
 * too. Promoters, hold, release, cancel, `set` and a claim come together; whoever looks later sees a later time.
 */
import {
  act,
  baseOf,
  choose,
  create,
  dirOf,
  forget,
  link,
  list,
  mkdir,
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
import { entryName, move, parseEntry } from './steps.ts';

export interface DueConfig {
  promoters?: number;
  verbs?: ReadonlyArray<'hold' | 'release' | 'cancel' | 'set'>;
  buries?: number;
  worker?: boolean;
  /** The task may expire: whoever looks may find that it has. */
  expires?: boolean;
  /** It has a parent that still runs. */
  parent?: boolean;
  /** Naive: linked into its new place, then unlinked from the old one. */
  copies?: boolean;
  /** Naive: out of delayed straight to queued, whatever its parents do. */
  straight?: boolean;
  budget?: Partial<Budget>;
}

const TERMINAL = ['skipped', 'canceled', 'done'];
const PLACES = ['delayed', 'waiting', 'queued', 'held', ...TERMINAL];
const SESSION = 'run/s0';

interface Notes {
  /** Somebody has found that it has expired, and has skipped it. */
  skipped: boolean;
  parentEnded: boolean;
}

export function dueScenario(config: DueConfig): Scenario<Notes> {
  function* moveOn(at: string, to: string): Proc<boolean> {
    if (config.copies !== true) return (yield* move(at, to)) === 'moved';
    if ((yield* link(to, '')) !== 'made') return false;
    yield* unlink(at);
    return true;
  }

  // --- time

  function* expired(): Proc<boolean> {
    return config.expires === true && (yield* choose(2)) === 1;
  }

  function* promote(): Proc {
    for (const name of (yield* list('delayed'))!) yield* promoteOne(name);
  }

  function* promoteOne(name: string): Proc {
    if ((yield* read(`delayed/${name}`)) === undefined) return;
    if (parseEntry(name)!.n === 0 && (yield* expired())) {
      if (yield* moveOn(`delayed/${name}`, `skipped/${name}`)) yield* tell('skipped');
      return;
    }
    const place = config.parent === true && config.straight !== true ? 'waiting' : 'queued';
    if ((yield* moveOn(`delayed/${name}`, `${place}/${name}`)) && place === 'waiting') yield* tryRelease();
  }

  function* tryRelease(look: typeof list = list): Proc {
    const [name] = (yield* look('waiting'))!;
    if (name !== undefined && (yield* act('parentEnded'))) yield* move(`waiting/${name}`, `queued/${name}`);
  }

  function* endParent(): Proc {
    yield* act('endParent');
    yield* tryRelease();
  }

  function* sweep(): Proc {
    yield* tryRelease(strong);
  }

  // --- people

  function* hold(): Proc {
    for (let round = 0; round < 2; round++) {
      const at = String(yield* act('where'));
      if (!['delayed', 'waiting', 'queued'].includes(dirOf(at)) || (yield* moveOn(at, `held/${baseOf(at)}`))) return;
    }
  }

  function* release(): Proc {
    const at = String(yield* act('where'));
    if (dirOf(at) !== 'held') return;
    const place = config.parent === true ? 'waiting' : 'queued';
    if ((yield* moveOn(at, `${place}/${baseOf(at)}`)) && place === 'waiting') yield* tryRelease();
  }

  function* cancel(): Proc {
    for (let round = 0; round < 3; round++) {
      const at = String(yield* act('where'));
      if (TERMINAL.includes(dirOf(at)) || dirOf(at).startsWith('run/')) return;
      if (yield* moveOn(at, `canceled/${baseOf(at)}`)) return;
    }
  }

  /** `set`, of which only the way there and back matters here. */
  function* set(): Proc {
    const at = String(yield* act('where'));
    if (dirOf(at) !== 'delayed') return;
    yield* mkdir(SESSION);
    const entry = entryName('x', parseEntry(baseOf(at))!.n + 1);
    if ((yield* move(at, `${SESSION}/${entry}`)) === 'moved') yield* move(`${SESSION}/${entry}`, `delayed/${entry}`);
    yield* rmdir(SESSION);
  }

  function* bury(): Proc {
    for (let round = 0; round < 3; round++) {
      const names = yield* strong(SESSION);
      if (names === undefined) return;
      for (const name of names) yield* move(`${SESSION}/${name}`, `delayed/${name}`);
      if (yield* rmdir(SESSION)) return;
    }
  }

  // --- a worker

  function* worker(session: string): Proc {
    const run = `run/${session}`;
    for (let round = 0; round < 2; round++) {
      yield* forget(`${session} ${round}`);
      for (const name of (yield* list('queued'))!) {
        const entry = entryName('x', parseEntry(name)!.n + 1);
        if (!(yield* rename(`queued/${name}`, `${run}/${entry}`)) && (yield* strong(run))?.includes(entry) !== true) continue;
        if ((yield* create(`log/${entry}`, session)) !== 'made') continue;
        if (yield* expired()) {
          yield* link(`out/${entry}`, 'skipped');
          if ((yield* move(`${run}/${entry}`, `skipped/${entry}`)) === 'moved') yield* tell('skipped');
          continue;
        }
        yield* act('start', entry);
        yield* link(`out/${entry}`, 'done');
        yield* move(`${run}/${entry}`, `done/${entry}`);
      }
    }
  }

  // --- what must hold

  function placesOf(world: World<Notes>): string[] {
    return [...world.files.keys()].filter((path) => parseEntry(baseOf(path)) !== undefined && !/^(out|log)\//.test(path));
  }

  const processes: Process[] = [];
  for (let i = 0; i < (config.promoters ?? 1); i++) processes.push({ name: `promote ${i}`, run: promote });
  const people = { hold, release, cancel, set };
  for (const verb of config.verbs ?? []) processes.push({ name: verb, run: people[verb] });
  for (let i = 0; i < (config.buries ?? 0); i++) processes.push({ name: `undertaker ${i}`, run: bury });
  if (config.parent === true) processes.push({ name: 'end parent', run: endParent });
  if (config.worker === true) processes.push({ name: 'worker', run: () => worker('w'), immortal: true });

  return {
    dirs: [...PLACES, 'run', 'run/w', 'run/z', 'out', 'log'],
    files: [['delayed/x.a0', '']],
    budget: config.budget ?? {},
    notes: { skipped: false, parentEnded: config.parent !== true },
    processes,
    tell(world, _, word, args) {
      const { notes } = world;
      switch (word) {
        case 'where':
          return placesOf(world)[0] ?? 'nowhere/';
        case 'parentEnded':
          return notes.parentEnded;
        case 'endParent':
          notes.parentEnded = true;
          break;
        case 'skipped':
          notes.skipped = true;
          break;
        case 'start':
          if (notes.skipped) throw new Violation('RUNS-THOUGH-SKIPPED', String(args[0]));
          break;
      }
      return null;
    },
    check(world) {
      const places = placesOf(world);
      if (places.length !== 1) throw new Violation('V1', `${places.length} entries: ${places.join(' ')}`);
      if (dirOf(places[0]!) === 'queued' && !world.notes.parentEnded)
        throw new Violation('RELEASED-EARLY', `${places[0]} while its parent runs`);
    },
    finish(world) {
      world.run('last burial', bury);
      world.remember({ ...world.notes, parentEnded: true });
      world.run('last release', release);
      world.run('last promote', promote);
      world.run('last sweep', sweep);
      world.run('last worker w', () => worker('w'));
      world.run('last worker z', () => worker('z'));
      const [place = ''] = placesOf(world);
      if (!TERMINAL.includes(dirOf(place))) throw new Violation('STUCK', place);
    },
  };
}
