/**
 * Claim, run, publish, move, burial, cancel, hold, retry and submit: the way of a task through a worker, with everybody who may
 * touch it meanwhile. Each rule of `RULES` can be dropped; then a trace shows what it was for.
 */
import {
  act,
  baseOf,
  choose,
  create,
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

/** 1: as in the protocol; 0: dropped. */
export interface Rules {
  /** Burial publishes `lost` first, then moves to what the outcome names; without: it looks for an outcome, then moves. */
  lostFirst: number;
  /** After an ambiguous claim the own directory is listed strongly. */
  strongRelist: number;
  /** An entry that a worker finds in its own directory and does not run is given back. */
  adopt: number;
  /** Who finds a foreign outcome makes its move all the same. */
  eexistComplete: number;
  /** A cancel request without its entry is carried to where the task is now. */
  chase: number;
  /** Whoever moves an entry with a request beside it moves it to canceled, and drops the request only after that. */
  cancelWins: number;
  /** A missing target directory is made, and the rename tried again. */
  remakeTarget: number;
  /** A retry raises the attempt number and leaves a mark. */
  retryRaise: number;
  /** A session that is suspected dead starts nothing and its children are killed (heartbeat and guardian). */
  fenceStart: number;
  /** Burial lists strongly. */
  buryAgain: number;
}

export const RULES: Rules = {
  lostFirst: 1,
  strongRelist: 1,
  adopt: 1,
  eexistComplete: 1,
  chase: 1,
  cancelWins: 1,
  remakeTarget: 1,
  retryRaise: 1,
  fenceStart: 1,
  buryAgain: 1,
};

export const NAIVE: Rules = {
  ...RULES,
  lostFirst: 0,
  strongRelist: 0,
  adopt: 0,
  eexistComplete: 0,
  chase: 0,
  cancelWins: 0,
  remakeTarget: 0,
  retryRaise: 0,
  buryAgain: 0,
};

export interface ClaimConfig {
  rules?: Partial<Rules>;
  naive?: boolean;
  ids?: readonly string[];
  workers?: ReadonlyArray<{ name: string; rounds: number; batch: number }>;
  /** Undertakers: which session, how often each tries. */
  buries?: ReadonlyArray<{ session: string; tries: number }>;
  verbs?: ReadonlyArray<readonly [verb: string, id: string]>;
  budget?: Partial<Budget>;
  /** Attempts may fail. */
  fails?: boolean;
  /** Attempts before a failing task is failed for good. */
  attempts?: number;
  /** Tasks begin in tmp and are submitted. */
  submit?: boolean;
  /** Somebody takes the staging file for a leftover: renames it to `swept`, or unlinks it. */
  sweeper?: 'moves' | 'unlinks';
  /** Somebody removes the empty queue directory. */
  cleaner?: boolean;
  /** Live workers stay when nothing moves any more, instead of leaving. */
  stay?: boolean;
}

const STATES = ['q0', 'q1', 'held', 'done', 'failed', 'canceled'];
const TERMINAL = ['done', 'failed', 'canceled'];

interface Entry {
  id: string;
  n: number;
  cancel: boolean;
}

function parse(name: string): Entry | undefined {
  const m = /^([a-z]+)\.a(\d+)(\.c)?$/.exec(name);
  return m === null ? undefined : { id: m[1]!, n: Number(m[2]), cancel: m[3] !== undefined };
}

/** How an attempt ended, where its task goes, and who says so; the content of an outcome file. */
interface Outcome {
  result: string;
  next: string;
  by: string;
}

const textOf = (o: Outcome): string => `${o.result} ${o.next} ${o.by}`;
function outcomeOf(text: string): Outcome {
  const [result = '', next = '', by = ''] = text.split(' ');
  return { result, next, by };
}

interface Notes {
  /** Entry that runs -> session. */
  running: Record<string, string>;
  submitted: string[];
  /** Sessions that somebody takes for dead. */
  condemned: string[];
  started: string[];
  retried: string[];
  /** Cancel requests that were accepted, as entry names. */
  requests: string[];
  /** Requests that came too late or went on to a later attempt. */
  late: string[];
  /** The last wish of a person: `c` cancel, `r` retry. */
  last: string;
  /** Worker -> its present session. */
  sessions: Record<string, string>;
}

export function claimScenario(config: ClaimConfig): Scenario<Notes> {
  const rules: Rules = { ...(config.naive === true ? NAIVE : RULES), ...config.rules };
  const ids = config.ids ?? ['t'];
  const workers = config.workers ?? [{ name: 'a', rounds: 1, batch: 1 }];
  const attempts = config.attempts ?? 2;

  // --- steps that several make

  function* complete(session: string, entry: string, next: string): Proc<boolean> {
    if (yield* rename(`run/${session}/${entry}`, `${next}/${entry}`)) return true;
    if (config.cleaner !== true || rules.remakeTarget === 0) return false;
    yield* mkdir(next);
    return yield* rename(`run/${session}/${entry}`, `${next}/${entry}`);
  }

  /** Write-once; the outcome that counts comes back. */
  function* publish(entry: string, mine: Outcome): Proc<Outcome> {
    if ((yield* link(`out/${entry}`, textOf(mine))) === 'made') return mine;
    return outcomeOf((yield* read(`out/${entry}`))!);
  }

  function* giveBack(session: string, entry: string, canceled: boolean, by: string): Proc {
    let outcome: Outcome = canceled ? { result: 'canceled', next: 'canceled', by } : { result: 'lost', next: 'q0', by };
    if (rules.lostFirst === 0) {
      const there = yield* read(`out/${entry}`);
      if (there !== undefined) yield* complete(session, entry, outcomeOf(there).next);
      else if (yield* rename(`run/${session}/${entry}`, `${outcome.next}/${entry}`)) yield* link(`out/${entry}`, textOf(outcome));
      return;
    }
    outcome = yield* publish(entry, outcome);
    const wins = rules.cancelWins === 1 && canceled && !TERMINAL.includes(outcome.next);
    const moved = yield* complete(session, entry, wins ? 'canceled' : outcome.next);
    if (rules.cancelWins === 0 || !canceled) return;
    if (moved) yield* unlink(`run/${session}/${entry}.c`);
    else yield* carry(session, `${entry}.c`);
  }

  /** A request whose entry has left: carried to where the task is now. */
  function* carry(session: string, request: string): Proc {
    const { id, n } = parse(request)!;
    const entry = `${id}.a${n}`;
    const drop = unlink(`run/${session}/${request}`);
    for (let k = 0; k < 4; k++) {
      for (const dir of ['q0', 'q1', 'held']) {
        if (!(yield* rename(`${dir}/${entry}`, `canceled/${entry}`))) continue;
        yield* tell('carried', id);
        yield* drop;
        return;
      }
      const at = yield* locate(id);
      if (at === undefined) continue;
      if (rules.retryRaise === 1 && (yield* retriedSince(id, n, at.n))) {
        yield* tell('late', entry);
        yield* drop;
        return;
      }
      if (at.dir.startsWith('run/')) {
        if (at.dir === `run/${session}` && at.name === entry) return;
        if ((yield* create(`${at.dir}/${at.name}.c`)) === 'gone') continue;
        yield* tell('carried', id);
        yield* tell('late', entry);
        yield* tell('requested', id, at.n);
      } else if (TERMINAL.includes(at.dir)) yield* tell('late', entry);
      else if (yield* rename(`${at.dir}/${at.name}`, `canceled/${at.name}`)) yield* tell('carried', id);
      else continue;
      yield* drop;
      return;
    }
  }

  function* retriedSince(id: string, from: number, to: number): Proc<boolean> {
    for (let n = from; n < to; n++) if ((yield* read(`out/${id}.a${n}.retried`)) !== undefined) return true;
    return false;
  }

  function* locate(id: string, look = strong): Proc<{ dir: string; name: string; n: number } | undefined> {
    const sessions = (yield* look('run')) ?? [];
    for (const dir of [...STATES, ...sessions.map((s) => `run/${s}`)]) {
      for (const name of (yield* look(dir)) ?? []) {
        const e = parse(name);
        if (e !== undefined && !e.cancel && e.id === id) return { dir, name, n: e.n };
      }
    }
    return undefined;
  }

  /** What lies in a session's directory and is not run: entries go back, requests without an entry are carried. */
  function* settleAll(session: string, names: readonly string[], by: string): Proc {
    for (const name of names) {
      const e = parse(name);
      if (e !== undefined && !e.cancel) yield* giveBack(session, name, rules.chase === 1 && names.includes(`${name}.c`), by);
    }
    for (const name of names) {
      if (parse(name)?.cancel !== true) continue;
      const beside = names.includes(name.slice(0, -2));
      if (!beside && rules.chase === 1) yield* carry(session, name);
      else if (!beside || rules.cancelWins === 0) yield* unlink(`run/${session}/${name}`);
    }
  }

  // --- a worker

  function* worker(base: string, rounds: number, batch: number, leftover?: string): Proc {
    const alone = leftover !== undefined;
    const look = alone ? strong : list;
    let generation = 0;
    let session = leftover ?? `${base}0`;
    if (config.stay === true && !alone) yield* tell('session', base, session);
    for (let round = 0; round < rounds; round++) {
      yield* forget(`${base}${generation} ${round}`);
      let own = yield* look(`run/${session}`);
      if (own === undefined) {
        session = `${base}${++generation}`;
        yield* tell('session', base, session);
        yield* mkdir(`run/${session}`);
        own = [];
      }
      if (rules.adopt === 1 && own.length > 0) yield* settleAll(session, own, session);
      for (const entry of yield* claim(session, batch, look)) yield* attempt(session, entry, look, alone);
    }
    if (config.stay === true && !alone) return;
    for (let k = 0; k < 3; k++) {
      const own = yield* strong(`run/${session}`);
      if (own === undefined) return;
      yield* settleAll(session, own, session);
      if (yield* rmdir(`run/${session}`)) return;
    }
  }

  function* claim(session: string, batch: number, look: typeof list): Proc<string[]> {
    const claimed: string[] = [];
    for (const queue of ['q0', 'q1']) {
      if (claimed.length >= batch) break;
      for (const name of (yield* look(queue)) ?? []) {
        if (claimed.length >= batch) break;
        const e = parse(name)!;
        const mine = `${e.id}.a${e.n + 1}`;
        if (yield* rename(`${queue}/${name}`, `run/${session}/${mine}`)) {
          claimed.push(mine);
          continue;
        }
        const own = yield* (rules.strongRelist === 1 ? strong : look)(`run/${session}`);
        if (own === undefined) return claimed;
        if (own.includes(mine) && !claimed.includes(mine)) claimed.push(mine);
      }
    }
    return claimed;
  }

  function* attempt(session: string, entry: string, look: typeof list, alone: boolean): Proc {
    const { id, n } = parse(entry)!;
    const run = `run/${session}`;
    if ((yield* create(`log/${entry}`, session)) !== 'made') {
      if (rules.adopt === 1) yield* giveBack(session, entry, false, session);
      return;
    }
    if (!(yield* act('start', session, id, n))) {
      if (rules.adopt === 1) yield* giveBack(session, entry, false, session);
      return;
    }
    let result: string | undefined;
    const own = yield* look(run); // the heartbeat
    if (own === undefined || !own.includes(entry)) {
      yield* tell('end', id, n);
      if (rules.adopt === 1 && own !== undefined) yield* giveBack(session, entry, false, session);
      return;
    }
    if (own.includes(`${entry}.c`)) result = 'canceled';
    result ??= config.fails === true && (yield* choose(2)) === 1 ? 'failed' : 'ok';
    yield* tell('end', id, n);
    const next = result === 'ok' ? 'done' : result === 'canceled' ? 'canceled' : n >= attempts ? 'failed' : 'q0';
    let outcome: Outcome = { result, next, by: session };
    if ((yield* link(`out/${entry}`, textOf(outcome))) !== 'made') {
      outcome = outcomeOf((yield* read(`out/${entry}`))!);
      if (outcome.by !== session && rules.eexistComplete === 0) return;
    }
    yield* complete(session, entry, outcome.next);
    if (!alone) return;
    const left = yield* strong(run);
    if (left === undefined || rules.chase === 0) return;
    for (const name of left) if (name.endsWith('.c') && !left.includes(name.slice(0, -2))) yield* carry(session, name);
  }

  // --- burial, people

  function* bury(session: string, by: string, tries: number, always = false): Proc {
    yield* act('condemn', session);
    for (let k = 0; k < tries; k++) {
      const names = yield* (always || rules.buryAgain === 1 ? strong : list)(`run/${session}`);
      if (names === undefined) return;
      yield* settleAll(session, names, by);
      if (yield* rmdir(`run/${session}`)) return;
    }
  }

  function* verb(what: string, id: string, me: string): Proc {
    for (let k = 0; k < 3; k++) {
      yield* forget(`${me} ${what} ${k}`);
      if (what === 'submit') {
        if (yield* submit(id)) return;
        continue;
      }
      const at = yield* locate(id, list);
      if (at !== undefined && (yield* change(what, id, at))) return;
    }
  }

  /** False: try again. */
  function* submit(id: string): Proc<boolean> {
    const name = `${id}.a0`;
    if (!(yield* rename(`tmp/${name}`, `q0/${name}`))) {
      if ((yield* strong('tmp'))!.includes(name)) return false;
      if (config.sweeper !== undefined) {
        if (yield* rename(`swept/${name}`, `tmp/${name}`)) return false;
        if ((yield* strong('tmp'))!.includes(name)) return false;
      }
    }
    yield* tell('submitted', id);
    return true;
  }

  function* change(what: string, id: string, at: { dir: string; name: string; n: number }): Proc<boolean> {
    const file = `${at.dir}/${at.name}`;
    switch (what) {
      case 'cancel':
        if (TERMINAL.includes(at.dir)) return true;
        if (!at.dir.startsWith('run/')) return yield* rename(file, `canceled/${at.name}`);
        if ((yield* create(`${file}.c`)) === 'gone') return false;
        yield* tell('requested', id, at.n);
        return true;
      case 'hold':
        return at.dir.startsWith('q') && (yield* rename(file, `held/${at.name}`));
      case 'release':
        return at.dir === 'held' && (yield* rename(file, `q0/${at.name}`));
      case 'priority':
        return at.dir === 'q0' && (yield* rename(file, `q1/${at.name}`));
      default: {
        if (!TERMINAL.includes(at.dir)) return false;
        yield* tell('retry', id, at.n);
        if (rules.retryRaise === 1) yield* create(`out/${at.name}.retried`);
        if (!(yield* rename(file, rules.retryRaise === 1 ? `q0/${id}.a${at.n + 1}` : `q0/${at.name}`))) return false;
        yield* tell('retryDone', id);
        return true;
      }
    }
  }

  function* sweepTmp(): Proc {
    if (config.sweeper === 'moves') yield* rename('tmp/t.a0', 'swept/t.a0');
    else yield* unlink('tmp/t.a0');
  }

  function* removeQueue(): Proc {
    yield* rmdir('q0');
  }

  // --- what must hold

  function placesOf(world: World<Notes>, id: string): string[] {
    const places: string[] = [];
    for (const path of world.files.keys()) {
      const e = parse(baseOf(path));
      if (e !== undefined && !e.cancel && e.id === id && !/^(out|log|tmp|swept)\//.test(path)) places.push(path);
    }
    return places;
  }

  function start(world: World<Notes>, session: string, id: string, n: number): boolean {
    const { notes } = world;
    const entry = `${id}.a${n}`;
    if (rules.fenceStart === 1 && notes.condemned.includes(session)) return false;
    if (notes.started.includes(entry)) throw new Violation('STARTED-TWICE', entry);
    if (world.files.get(`log/${entry}`) !== session)
      throw new Violation('V4', `${entry} started by ${session}, its log is of ${world.files.get(`log/${entry}`)}`);
    for (const [other, by] of Object.entries(notes.running)) {
      if (parse(other)!.id === id && !notes.condemned.includes(by))
        throw new Violation('OVERLAP', `${entry} starts in ${session} while ${other} runs in ${by}`);
    }
    const before = world.files.get(`out/${id}.a${n - 1}`);
    if (before !== undefined && TERMINAL.includes(outcomeOf(before).next) && !notes.retried.includes(`${id}.a${n - 1}`)) {
      throw new Violation('V5', `${entry} starts although the outcome before it is: ${before}`);
    }
    notes.started.push(entry);
    notes.running[entry] = session;
    return true;
  }

  function ownerOf(session: string): string {
    return `w${session.slice(0, -1)}`;
  }

  const processes: Process[] = [
    ...workers.map((w) => ({ name: `w${w.name}`, run: () => worker(w.name, w.rounds, w.batch) })),
    ...(config.buries ?? []).map((b, i) => ({ name: `u${i}`, run: () => bury(b.session, `u${i}`, b.tries) })),
    ...(config.sweeper === undefined ? [] : [{ name: 'sweeper', immortal: true, run: sweepTmp }]),
    ...(config.cleaner === true ? [{ name: 'cleaner', immortal: true, run: removeQueue }] : []),
    ...(config.verbs ?? []).map(([what, id], i) => ({ name: `person${i}`, immortal: true, run: () => verb(what, id, String(i)) })),
  ];

  return {
    dirs: [...STATES, 'run', 'out', 'log', 'tmp', 'swept', ...workers.map((w) => `run/${w.name}0`)],
    files: ids.map((id) => [config.submit === true ? `tmp/${id}.a0` : `q0/${id}.a0`, id] as const),
    budget: config.budget ?? {},
    notes: {
      running: {},
      submitted: config.submit === true ? [] : [...ids],
      condemned: [],
      started: [],
      retried: [],
      requests: [],
      late: [],
      last: '',
      sessions: {},
    },
    processes,
    died({ notes }, name) {
      for (const [entry, session] of Object.entries(notes.running)) if (ownerOf(session) === name) delete notes.running[entry];
    },
    tell(world, _, word, args) {
      const { notes } = world;
      const [a, b, c] = [String(args[0]), String(args[1]), String(args[2])];
      switch (word) {
        case 'submitted':
          notes.submitted.push(a);
          break;
        case 'condemn':
          // A session that is cut off: its guardian has killed its children by now.
          if (!notes.condemned.includes(a)) notes.condemned.push(a);
          if (rules.fenceStart === 1)
            for (const [entry, session] of Object.entries(notes.running)) if (session === a) delete notes.running[entry];
          break;
        case 'start':
          return start(world, a, b, Number(c));
        case 'end':
          delete notes.running[`${a}.a${b}`];
          break;
        case 'retry':
          notes.retried.push(`${a}.a${b}`);
          break;
        case 'retryDone':
          notes.last = 'r';
          break;
        case 'session':
          notes.sessions[a] = b;
          break;
        case 'carried':
          if (notes.last === 'r' && ids.length === 1)
            throw new Violation('STALE-CANCEL', 'an old request cancels a task that was retried since');
          break;
        case 'late':
          notes.late.push(a);
          break;
        case 'requested':
          notes.last = 'c';
          notes.requests.push(`${a}.a${b}`);
          break;
        default:
          throw new Error(word);
      }
      return true;
    },
    check(world) {
      for (const id of world.notes.submitted) {
        const places = placesOf(world, id);
        if (places.length !== 1) throw new Violation('V1', `${id} has ${places.length} entries: ${places.join(' ')}`);
        const dir = places[0]!.slice(0, places[0]!.indexOf('/'));
        if (dir !== 'done' && dir !== 'failed') continue;
        const outcome = world.files.get(`out/${baseOf(places[0]!)}`);
        if (outcome === undefined || outcomeOf(outcome).next !== dir)
          throw new Violation('V5', `${places[0]} but its outcome is ${outcome}`);
      }
    },
    finish(world) {
      const deadOwner = (session: string): boolean => {
        const owner = ownerOf(session);
        const known = workers.some((w) => `w${w.name}` === owner);
        return !known || world.isDead(owner) || world.isOver(owner);
      };
      if (config.stay === true) {
        // Live workers go on with the session that they have; nobody buries them, only the dead ones. A suspicion that was not
        // followed by a burial is over.
        const alive = (s: string): boolean =>
          workers.some((w) => `w${w.name}` === ownerOf(s)) && !world.isDead(ownerOf(s)) && world.notes.sessions[s.slice(0, -1)] === s;
        for (const s of world.ls('run')) if (!alive(s)) world.run(`bury ${s}`, () => bury(s, 'last', 4, true));
        world.remember({ ...world.notes, condemned: world.notes.condemned.filter((s) => !world.dirs.has(`run/${s}`)) });
        const left = workers.filter((w) => !world.isDead(`w${w.name}`));
        for (const w of left) {
          const session = world.notes.sessions[w.name]!;
          world.run(`on ${session}`, () => worker(w.name, 8, 1, session));
        }
        if (left.length === 0) {
          world.addDir('run/z0');
          world.run('last worker', () => worker('z', 8, 1, 'z0'));
        }
      } else {
        for (const pass of ['y', 'z']) {
          for (const s of world.ls('run')) if (deadOwner(s)) world.run(`bury ${s}`, () => bury(s, 'last', 4, true));
          world.addDir(`run/${pass}0`);
          world.run(`last worker ${pass}`, () => worker(pass, 8, 1, `${pass}0`));
        }
      }
      this.check!(world);
      for (const id of world.notes.submitted) {
        const [place = ''] = placesOf(world, id);
        if (place.startsWith('run')) throw new Violation('STUCK-RUNNING', place);
        if (place.startsWith('q')) throw new Violation('STUCK-QUEUED', place);
      }
      const { notes } = world;
      for (const request of notes.requests) {
        if (notes.retried.length > 0 || notes.late.includes(request)) continue;
        const outcome = world.files.get(`out/${request}`);
        if (outcome !== undefined && TERMINAL.includes(outcomeOf(outcome).next)) continue;
        const places = placesOf(world, parse(request)!.id);
        if (!places.some((p) => p.startsWith('canceled/')))
          throw new Violation('CANCEL-LOST', `${request} was asked to cancel; it ended in ${places.join(' ')}`);
      }
      for (const s of world.ls('run')) throw new Violation('DIRECTORY-LEFT', `run/${s}: ${world.ls(`run/${s}`).join(' ')}`);
    },
  };
}
