/**
 * `set`: the verb makes a session of its own, claims the task there, replaces the file and puts it back one attempt higher. It may
 * die at any step, be buried while it lives, and meet a worker's claim, a cancel, a hold and another `set`.
 *
 * The task's content says which lane it belongs to (`lane=`), how urgent it is (`level=`), and not before when (`due=`); directories
 * q1, q2 are lanes, d1, d2 due times.
 */
import {
  act,
  baseOf,
  create,
  dirOf,
  forget,
  link,
  list,
  mkdir,
  read,
  rename,
  replace,
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

export type Change = 'lane' | 'level' | 'due';

export interface SetConfig {
  /** What each `set` changes. */
  sets: readonly Change[];
  /**
   * How the file is replaced. `early`: the new content lies in the session as `.new` before the claim, burial unlinks it before it
   * moves the entry. `late`: staged in tmp and renamed over the claimed file. `unclaimed`: renamed over the task where it lies.
   */
  way?: 'early' | 'late' | 'unclaimed';
  /** Burial leaves a `.new` alone (only with `early`). */
  keepsNew?: boolean;
  /**
   * The due time that the task goes back to lies in a file of the coming attempt. `early`: the former one is written once, if none
   * is there, and a new one before the content is replaced. `late`: a new one after. `over`: so, and the former one over any other.
   */
  dueFile?: 'early' | 'late' | 'over';
  /** 0: the claim does not raise the attempt number. */
  raise?: boolean;
  /** A request that the entry leaves behind is dropped. */
  dropsCancel?: boolean;
  /** Undertakers, by the beginning of the session's name (`s0`: the first session of the first `set`). */
  buries?: readonly string[];
  worker?: boolean;
  verbs?: ReadonlyArray<'cancel' | 'hold' | 'release'>;
  from?: 'q1' | 'held' | 'd1';
  budget?: Partial<Budget>;
}

const ID = 'x';
const PLACES = ['q1', 'q2', 'held', 'd1', 'd2', 'canceled', 'done'];
const STATE_OF: Record<string, string> = { q1: 'queued', q2: 'queued', held: 'held', d1: 'delayed', d2: 'delayed' };
const SESSIONS = 'st';

interface Notes {
  /** Changes that were reported as made. */
  reported: Change[];
  /** Cancels that were accepted with a request. */
  requests: number;
  /** Requests that came too late, or reached an attempt. */
  late: number;
  running: string;
}

function field(content: string, name: string): string | undefined {
  return new RegExp(`\\b${name}=(\\w+)`).exec(content)?.[1];
}

function changed(content: string, what: Change): string {
  if (what === 'lane') return content.replace('lane=q1', 'lane=q2');
  if (what === 'level') return content.replace('level=0', 'level=1');
  return `${content.replace(/ due=\w+/, '')} due=d2`;
}

export function setScenario(config: SetConfig): Scenario<Notes> {
  const way = config.way ?? 'early';
  const up = config.raise === false ? 0 : 1;
  const from = config.from ?? 'q1';
  const dueFile = config.dueFile ?? 'early';

  // --- the verb

  function* set(what: Change, letter: string): Proc {
    for (let round = 0; round < 2; round++) {
      yield* forget(`${letter} ${round}`);
      const at = String(yield* act('where'));
      const state = STATE_OF[dirOf(at)];
      if (way === 'unclaimed' && state !== undefined) {
        const content = yield* read(at);
        if (content === undefined) continue;
        yield* link(`tmp/${letter}`, changed(content, what));
        yield* replace(`tmp/${letter}`, at);
        yield* tell('reported', what);
        return;
      }
      if (state === undefined) {
        if (isSetSession(dirOf(at))) continue;
        return;
      }
      const session = `run/${letter}${round}.${state}`;
      yield* mkdir(session);
      const ok = yield* change(what, at, session);
      for (const name of (yield* list(session)) ?? []) if (parseEntry(name)?.cancel === true) yield* carry(session, name);
      yield* rmdir(session);
      if (!ok) continue;
      yield* tell('reported', what);
      return;
    }
  }

  function* change(what: Change, at: string, session: string): Proc<boolean> {
    const n = parseEntry(baseOf(at))!.n + up;
    const mine = `${session}/${entryName(ID, n)}`;
    const due = `due/${entryName(ID, n)}`;
    const newDue = what === 'due' && dirOf(at) !== 'held';
    if (dirOf(at).startsWith('d')) {
      if (dueFile === 'over') yield* act('write', due, dirOf(at));
      else yield* link(due, dirOf(at));
    }
    if (way === 'early') {
      const content = yield* read(at);
      if (content === undefined || (yield* create(`${mine}.new`, changed(content, what))) !== 'made') return false;
    }
    if ((yield* move(at, mine)) !== 'moved') {
      if (way === 'early') yield* unlink(`${mine}.new`);
      return false;
    }
    if (newDue && dueFile === 'early') yield* act('write', due, 'd2');
    if (!(yield* way === 'early' ? takeNew(mine, what) : takeLate(mine, what))) return false;
    if (newDue && dueFile !== 'early') yield* act('write', due, 'd2');
    yield* putBack(session, n);
    return true;
  }

  /** The content was staged beside the entry before the claim: without it, this session was buried meanwhile. */
  function* takeNew(mine: string, what: Change): Proc<boolean> {
    if (yield* replace(`${mine}.new`, mine)) return true;
    // The reply was lost, or burial took the staged file away: the content tells.
    const content = yield* read(mine);
    if (content !== undefined && content === changed(content, what)) return true;
    if (content !== undefined) yield* putBack(dirOf(mine), parseEntry(baseOf(mine))!.n);
    return false;
  }

  /** As `late`: staged elsewhere, renamed over what was claimed. */
  function* takeLate(mine: string, what: Change): Proc<boolean> {
    const content = yield* read(mine);
    if (content === undefined) return false;
    const staged = `tmp/${baseOf(dirOf(mine))}`;
    yield* link(staged, changed(content, what));
    if (yield* replace(staged, mine)) return true;
    if ((yield* strong(dirOf(mine)))?.includes(baseOf(mine)) === true) return true;
    return false;
  }

  // --- put back, by the verb or by whoever buries it

  function* putBack(session: string, n: number): Proc {
    const entry = entryName(ID, n);
    const content = yield* read(`${session}/${entry}`);
    if (content === undefined) return;
    // Whoever moves an entry with a request beside it moves it to canceled; one that comes later is carried after it.
    const request = `${session}/${entry}.c`;
    if (config.dropsCancel !== true && (yield* read(request)) !== undefined) {
      if ((yield* move(`${session}/${entry}`, `canceled/${entry}`)) === 'moved') yield* unlink(request);
      else yield* carry(session, `${entry}.c`);
      return;
    }
    const place = yield* formerPlace(session, content, n);
    if ((yield* move(`${session}/${entry}`, `${place}/${entry}`)) !== 'moved') return;
    if ((yield* read(request)) !== undefined) yield* carry(session, `${entry}.c`);
  }

  function* formerPlace(session: string, content: string, n: number): Proc<string> {
    if (session.endsWith('.held')) return 'held';
    return (yield* read(`due/${entryName(ID, n)}`)) ?? field(content, 'due') ?? field(content, 'lane')!;
  }

  function* bury(prefix: string): Proc {
    const name = (yield* strong('run'))!.find((session) => session.startsWith(prefix));
    if (name === undefined) return;
    const session = `run/${name}`;
    for (let round = 0; round < 3; round++) {
      const names = yield* strong(session);
      if (names === undefined) return;
      if (config.keepsNew !== true) for (const staged of names) if (staged.endsWith('.new')) yield* unlink(`${session}/${staged}`);
      const entries = names.map(parseEntry).filter((e) => e !== undefined);
      for (const e of entries) if (!e.cancel) yield* putBack(session, e.n);
      for (const e of entries) {
        if (!e.cancel || entries.some((other) => !other.cancel && other.n === e.n)) continue;
        yield* carry(session, `${entryName(ID, e.n)}.c`);
      }
      if (yield* rmdir(session)) return;
      if (config.keepsNew === true) for (const staged of names) if (staged.endsWith('.new')) yield* unlink(`${session}/${staged}`);
    }
  }

  /** A request whose entry has left this session. */
  function* carry(session: string, request: string): Proc {
    const { n } = parseEntry(request)!;
    let settled = config.dropsCancel === true;
    for (let round = 0; round < 3 && !settled; round++) {
      const at = String(yield* act('where'));
      const dir = dirOf(at);
      if (at === `${session}/${entryName(ID, n)}`) return;
      if (dir === 'canceled' || dir === 'done') {
        settled = true;
        yield* tell('late');
      } else if (dir.startsWith('run/')) settled = yield* ask(at, false);
      else settled = (yield* move(at, `canceled/${baseOf(at)}`)) === 'moved';
    }
    if (settled) yield* unlink(`${session}/${request}`);
  }

  /** True: the request lies beside the entry. */
  function* ask(at: string, first: boolean): Proc<boolean> {
    if ((yield* create(`${at}.c`)) === 'gone') return false;
    if ((yield* list(dirOf(at)))?.includes(baseOf(at)) !== true) return false;
    if (!isSetSession(dirOf(at))) yield* tell('late');
    else if (first) yield* tell('requested');
    return true;
  }

  // --- others

  function* cancel(): Proc {
    for (let round = 0; round < 3; round++) {
      const at = String(yield* act('where'));
      const dir = dirOf(at);
      if (dir === 'canceled' || dir === 'done') return;
      if (dir.startsWith('run/') ? yield* ask(at, true) : (yield* move(at, `canceled/${baseOf(at)}`)) === 'moved') return;
    }
  }

  function* hold(): Proc {
    for (let round = 0; round < 2; round++) {
      const at = String(yield* act('where'));
      if (STATE_OF[dirOf(at)] === undefined) {
        if (isSetSession(dirOf(at))) continue;
        return;
      }
      if (dirOf(at) === 'held' || (yield* move(at, `held/${baseOf(at)}`)) === 'moved') return;
    }
  }

  function* release(): Proc {
    const at = String(yield* act('where'));
    if (dirOf(at) !== 'held') return;
    const content = yield* read(at);
    if (content !== undefined) yield* move(at, `${field(content, 'lane')!}/${baseOf(at)}`);
  }

  function* worker(session: string, rounds: number): Proc {
    const run = `run/${session}`;
    for (let round = 0; round < rounds; round++) {
      yield* forget(`${session} ${round}`);
      for (const lane of ['q1', 'q2']) {
        for (const name of (yield* list(lane))!) {
          const entry = entryName(ID, parseEntry(name)!.n + 1);
          if (!(yield* rename(`${lane}/${name}`, `${run}/${entry}`)) && (yield* strong(run))?.includes(entry) !== true) continue;
          if ((yield* create(`log/${entry}`, session)) !== 'made') throw new Error('the log of a claimed attempt is there');
          yield* act('start', entry, lane);
          const asked = (yield* read(`${run}/${entry}.c`)) !== undefined;
          yield* tell('end', entry);
          yield* move(`${run}/${entry}`, `${asked ? 'canceled' : 'done'}/${entry}`);
        }
      }
      for (const name of (yield* strong(run))!) if (parseEntry(name)?.cancel === true) yield* carry(run, name);
    }
  }

  // --- what must hold

  function isSetSession(dir: string): boolean {
    return /^run\/[a-z]\d\./.test(dir);
  }

  function placesOf(world: World<Notes>): string[] {
    return [...world.files.keys()].filter((path) => parseEntry(baseOf(path))?.cancel === false && !/^(tmp|due|log)\//.test(path));
  }

  const processes: Process[] = config.sets.map((what, i) => ({ name: `set ${what}`, run: () => set(what, SESSIONS[i]!) }));
  for (const [i, session] of (config.buries ?? []).entries()) processes.push({ name: `undertaker ${i}`, run: () => bury(session) });
  if (config.worker === true) processes.push({ name: 'worker', run: () => worker('w', 2), immortal: true });
  const people = { cancel, hold, release };
  for (const verb of config.verbs ?? []) processes.push({ name: verb, run: people[verb], immortal: true });

  return {
    dirs: [...PLACES, 'run', 'run/w', 'run/z', 'tmp', 'due', 'log'],
    files: [[`${from}/${entryName(ID, 0)}`, 'lane=q1 level=0']],
    budget: config.budget ?? {},
    notes: { reported: [], requests: 0, late: 0, running: '' },
    processes,
    tell(world, _, word, args) {
      const { notes } = world;
      const [a, b] = [String(args[0]), String(args[1])];
      switch (word) {
        case 'where':
          return placesOf(world)[0] ?? '';
        case 'write':
          world.put(a, b);
          break;
        case 'reported':
          notes.reported.push(a as Change); // told by `set`, which was given it
          break;
        case 'requested':
          notes.requests++;
          break;
        case 'late':
          notes.late++;
          break;
        case 'start':
          if (notes.running !== '') throw new Violation('OVERLAP', `${a} starts while ${notes.running} runs`);
          notes.running = a;
          break;
        case 'end':
          notes.running = '';
          break;
      }
      return null;
    },
    check(world) {
      const places = placesOf(world);
      if (places.length !== 1) throw new Violation('V1', `${places.length} entries: ${places.join(' ')}`);
      const lane = dirOf(places[0]!);
      const content = world.files.get(places[0]!)!;
      if (lane.startsWith('q') && field(content, 'lane') !== lane) throw new Violation('WRONG-LANE', `${places[0]} holds ${content}`);
    },
    finish(world) {
      for (const name of world.ls('run')) if (isSetSession(`run/${name}`)) world.run(`last burial of ${name}`, () => bury(name));
      const [place = ''] = placesOf(world);
      if (isSetSession(dirOf(place))) throw new Violation('STUCK', place);
      const content = world.files.get(place)!;
      for (const what of world.notes.reported) {
        if (changed(content, what) !== content)
          throw new Violation('CHANGE-LOST', `set ${what} reported success: ${place} holds ${content}`);
        if (what === 'due' && dirOf(place) === 'd1') throw new Violation('CHANGE-LOST', `set due reported success: ${place}`);
      }
      world.run('last worker w', () => worker('w', 2));
      world.run('last worker z', () => worker('z', 2));
      const { requests, late } = world.notes;
      const [end = ''] = placesOf(world);
      if (requests > 0 && late === 0 && dirOf(end) !== 'canceled')
        throw new Violation('CANCEL-LOST', `a cancel was accepted, and it ends as ${end}`);
      for (const name of world.ls('run'))
        if (isSetSession(`run/${name}`)) throw new Violation('DIRECTORY-LEFT', `run/${name}: ${world.ls(`run/${name}`).join(' ')}`);
    },
  };
}
