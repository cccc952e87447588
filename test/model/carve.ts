/**
 * Taking ranges off an array: the names say what is covered. `A.lo-hi.aN` covers a range; `A.lo-hi.aN.rest` beside it is staged and
 * covers nothing; `A.lo-lo+from-hi.aN` is the commit: from then on the rest counts beside it.
 */
import {
  act,
  create,
  forget,
  link,
  mkdir,
  read,
  rename,
  rmdir,
  strong,
  tell,
  unlink,
  baseOf,
  dirOf,
  Violation,
  type Budget,
  type Proc,
  type Scenario,
  type World,
} from './engine.ts';

export interface CarveConfig {
  workers?: readonly string[];
  rounds?: number;
  /** The last index; the first is 0. */
  last?: number;
  buries?: readonly string[];
  budget?: Partial<Budget>;
  /** Naive: the rest is published first, then the whole is cut. `forgiving`: covered twice in between is let pass. */
  naive?: boolean;
  forgiving?: boolean;
  /** Naive: burial unlinks a staged rest without looking again. */
  blind?: boolean;
  /** Elements that are taken at first; all but one of them are given back before it runs. */
  takes?: number;
}

interface Range {
  lo: number;
  hi: number;
  /** Where the rest begins and ends, in a name that has committed a cut. */
  from: number | undefined;
  to: number | undefined;
  n: number;
  rest: boolean;
}

function parse(name: string): Range | undefined {
  const m = /^A\.(\d)-(\d)(?:\+(\d)-(\d))?\.a(\d+)(\.rest)?$/.exec(name);
  if (m === null) return undefined;
  const num = (text: string | undefined): number | undefined => (text === undefined ? undefined : Number(text));
  return { lo: Number(m[1]), hi: Number(m[2]), from: num(m[3]), to: num(m[4]), n: Number(m[5]), rest: m[6] !== undefined };
}

const nameOf = (lo: number, hi: number, n: number): string => `A.${lo}-${hi}.a${n}`;

interface Notes {
  /** Element -> session. */
  running: Record<string, string>;
  condemned: string[];
}

export function carveScenario(config: CarveConfig): Scenario<Notes> {
  const workers = config.workers ?? ['a'];
  const last = config.last ?? 2;
  const safe = config.naive !== true;

  function* worker(base: string, rounds: number): Proc {
    let generation = 0;
    let session = `${base}0`;
    for (let round = 0; round < rounds; round++) {
      yield* forget(`${base}${generation} ${round}`);
      const own = yield* strong(`run/${session}`);
      if (own === undefined) {
        session = `${base}${++generation}`;
        yield* mkdir(`run/${session}`);
      } else if (safe && own.length > 0) yield* handBack(session, own);
      else for (const name of own) yield* rename(`run/${session}/${name}`, `q/${name}`);
      for (const name of (yield* strong('q'))!) {
        const range = parse(name);
        if (range === undefined) continue;
        yield* runFirst(session, name, range);
        break;
      }
    }
  }

  /** Takes an entry and runs its first element. */
  function* runFirst(session: string, name: string, { lo, hi, n: before }: Range): Proc {
    const n = before + 1;
    const run = `run/${session}`;
    const whole = nameOf(lo, hi, n);
    if (!(yield* rename(`q/${name}`, `${run}/${whole}`)) && (yield* strong(run))?.includes(whole) !== true) return;
    let mine: string | undefined = whole;
    let end = hi;
    if (hi > lo && safe) {
      for (const keep of [Math.min(hi, lo + (config.takes ?? 1) - 1), lo]) {
        if (keep >= end || mine === undefined) continue;
        mine = yield* cut(run, lo, keep, end, n);
        end = keep;
      }
    } else if (hi > lo) mine = yield* cutNaively(run, lo, hi, n);
    if (mine === undefined || (yield* create(`log/A.${lo}.a${n}`, session)) !== 'made') return;
    if (!(yield* act('start', session, lo))) return;
    yield* tell('end', session, lo);
    yield* link(`out/A.${lo}.a${n}`, 'ok');
    yield* rename(`${run}/${mine}`, `done/${nameOf(lo, lo, n)}`);
  }

  /** Stage, commit by one rename, publish by one rename; when the rest is out for certain, mine gets a plain name. */
  function* cut(run: string, lo: number, end: number, hi: number, n: number): Proc<string | undefined> {
    const rest = nameOf(end + 1, hi, n);
    const mine = `A.${lo}-${end}+${end + 1}-${hi}.a${n}`;
    if ((yield* link(`${run}/${rest}.rest`, '')) === 'gone') return undefined;
    if (!(yield* rename(`${run}/${nameOf(lo, hi, n)}`, `${run}/${mine}`)) && (yield* strong(run))?.includes(mine) !== true)
      return undefined;
    if (!(yield* rename(`${run}/${rest}.rest`, `q/${rest}`))) {
      const now = yield* strong(run);
      if (now === undefined || now.includes(`${rest}.rest`)) return undefined;
    }
    return yield* plain(run, mine, nameOf(lo, end, n));
  }

  function* plain(run: string, mine: string, name: string): Proc<string | undefined> {
    if (yield* rename(`${run}/${mine}`, `${run}/${name}`)) return name;
    return (yield* strong(run))?.includes(name) === true ? name : undefined;
  }

  function* cutNaively(run: string, lo: number, hi: number, n: number): Proc<string | undefined> {
    const mine = nameOf(lo, lo, n);
    yield* link(`q/${nameOf(lo + 1, hi, n)}`, '');
    if ((yield* link(`${run}/${mine}`, '')) === 'gone') return undefined;
    yield* unlink(`${run}/${nameOf(lo, hi, n)}`);
    return mine;
  }

  function* handBack(session: string, names: readonly string[]): Proc {
    const run = `run/${session}`;
    for (const name of names) {
      const { lo, hi, from, to, n, rest } = parse(name)!;
      if (rest) continue;
      if (from !== undefined && to !== undefined) {
        yield* rename(`${run}/${nameOf(from, to, n)}.rest`, `q/${nameOf(from, to, n)}`);
        if ((yield* strong(run))?.includes(`${nameOf(from, to, n)}.rest`) !== false) continue;
        yield* plain(run, name, nameOf(lo, hi, n));
      }
      let place = 'q';
      if (lo === hi && (yield* link(`out/A.${lo}.a${n}`, 'lost')) !== 'made' && (yield* read(`out/A.${lo}.a${n}`)) === 'ok') place = 'done';
      yield* rename(`${run}/${nameOf(lo, hi, n)}`, `${place}/${nameOf(lo, hi, n)}`);
    }
    for (const name of names) {
      const rest = parse(name)!;
      if (!rest.rest) continue;
      if (config.blind !== true) {
        const now = yield* strong(run);
        if (now === undefined || now.some((other) => needs(parse(other), rest))) continue;
      }
      yield* unlink(`${run}/${name}`);
    }
  }

  /** Whether a name is the whole that a staged rest belongs to, or its commit. */
  function needs(range: Range | undefined, rest: Range): boolean {
    if (range === undefined || range.rest || range.n !== rest.n) return false;
    return range.from === rest.lo || (range.hi === rest.hi && range.lo < rest.lo);
  }

  function* bury(session: string, tries: number): Proc {
    yield* act('condemn', session);
    for (let k = 0; k < tries; k++) {
      const names = yield* strong(`run/${session}`);
      if (names === undefined) return;
      if (safe) yield* handBack(session, names);
      else for (const name of names) yield* rename(`run/${session}/${name}`, `q/${name}`);
      if (yield* rmdir(`run/${session}`)) return;
    }
  }

  /** How often each element is covered. */
  function coverage(paths: readonly string[]): number[] {
    const covered = Array.from({ length: last + 1 }, () => 0);
    for (const path of paths) {
      const range = parse(baseOf(path));
      if (range === undefined) continue;
      const committed = paths.some((other) => {
        const o = parse(baseOf(other));
        return dirOf(other) === dirOf(path) && o?.from === range.lo && o.to === range.hi && o.n === range.n;
      });
      if (range.rest && !committed) continue;
      for (let i = range.lo; i <= range.hi; i++) covered[i]!++;
    }
    return covered;
  }

  function checkCover(world: World<Notes>, forgiving: boolean): void {
    const paths = [...world.files.keys()].filter((path) => /^(q|run|done)\//.test(path));
    for (const [i, times] of coverage(paths).entries()) {
      if (times === 1 || (times > 1 && forgiving)) continue;
      throw new Violation(times === 0 ? 'ELEMENT-LOST' : 'ELEMENT-TWICE', `element ${i} is covered ${times} times: ${paths.join(' ')}`);
    }
  }

  return {
    dirs: ['q', 'run', 'done', 'out', 'log', ...workers.map((w) => `run/${w}0`)],
    files: [[`q/${nameOf(0, last, 0)}`, '']],
    budget: config.budget ?? {},
    notes: { running: {}, condemned: [] },
    processes: [
      ...workers.map((w) => ({ name: `w${w}`, run: () => worker(w, config.rounds ?? 1) })),
      ...(config.buries ?? []).map((session, i) => ({ name: `u${i}`, run: () => bury(session, 2) })),
    ],
    died({ notes }, name) {
      for (const [element, session] of Object.entries(notes.running))
        if (`w${session.slice(0, -1)}` === name) delete notes.running[element];
    },
    tell({ notes, files }, _, word, args) {
      const session = String(args[0]);
      const element = String(args[1]);
      if (word === 'condemn') {
        if (!notes.condemned.includes(session)) notes.condemned.push(session);
        for (const [e, by] of Object.entries(notes.running)) if (by === session) delete notes.running[e];
      } else if (word === 'start') {
        if (notes.condemned.includes(session)) return false;
        if (notes.running[element] !== undefined) throw new Violation('OVERLAP', `element ${element} runs twice`);
        for (const [path, content] of files) {
          if (path.startsWith(`out/A.${element}.`) && content === 'ok')
            throw new Violation('RERUN', `element ${element} runs again, ${path} is ok`);
        }
        notes.running[element] = session;
      } else if (notes.running[element] === session) delete notes.running[element];
      return true;
    },
    check: (world) => checkCover(world, config.forgiving === true),
    finish(world) {
      for (const pass of ['y', 'z']) {
        for (const session of world.ls('run')) world.run(`bury ${session}`, () => bury(session, 4));
        world.addDir(`run/${pass}0`);
        world.run(`last worker ${pass}`, () => worker(pass, last + 3));
      }
      checkCover(world, false);
      for (const path of world.files.keys()) if (/^(q|run)\//.test(path)) throw new Violation('STUCK', path);
    },
  };
}
