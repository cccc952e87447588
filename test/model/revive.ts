/**
 * skipped -> waiting: a child is skipped as soon as one parent ended badly, and comes back when that parent is retried. Who retries
 * marks the attempt, moves the parent, then revives the children that its markers name; sweeps, the parent's next end, a second
 * retry and the child's own come in between, and anybody may die.
 */
import {
  act,
  baseOf,
  choose,
  create,
  dirOf,
  list,
  rename,
  strong,
  tell,
  Violation,
  type Budget,
  type Proc,
  type Process,
  type Scenario,
  type World,
} from './engine.ts';
import { entryName, move, parseEntry } from './steps.ts';

export interface ReviveConfig {
  parents?: readonly string[];
  /** Attempts that fail, as `p.a1`; every other one ends done. Else each end is chosen. */
  fails?: readonly string[];
  /** The child is submitted when everything begins; else it is waiting with its markers. */
  submit?: boolean;
  /** A grandchild waits for the child. */
  grandchild?: boolean;
  /** Retries of tasks, by name, each a process. */
  retries?: readonly string[];
  /** Who runs a parent again. */
  reruns?: readonly string[];
  /** Sweeps of waiting while all this goes on. */
  sweeps?: number;
  /** `waiting`: the sweep looks at what waits alone, not at what was skipped for a parent's sake. */
  sweep?: 'all' | 'waiting';
  /** Who has skipped a child looks again: `judges` all parents anew, or only whether the parent is `unended` now, or `not` at all. */
  looksAgain?: 'judges' | 'unended' | 'not';
  /** False: who ends a parent leaves alone the children that are not in waiting. */
  endRevives?: boolean;
  /** False: a child may be skipped without a marker under its parents. */
  marksFirst?: boolean;
  /** The retry moves the children first, the parent then. */
  childrenFirst?: boolean;
  /** A task's state is found by listing one directory after the other, instead of at a glance. */
  listed?: boolean;
  budget?: Partial<Budget>;
}

const TERMINAL = ['done', 'failed', 'skipped'];
const PLACES = ['waiting', 'queued', 'running', ...TERMINAL];

interface Notes {
  /** Retries that were reported. */
  reported: string[];
}

export function reviveScenario(config: ReviveConfig): Scenario<Notes> {
  const parents = config.parents ?? ['p'];
  const parentsOf: Record<string, readonly string[]> = { c: parents, d: ['c'] };
  const looksAgain = config.looksAgain ?? 'judges';
  const children = config.grandchild === true ? ['c', 'd'] : ['c'];

  // --- as in src/queue/depend.ts

  function* ended(id: string, look: typeof list): Proc<string | undefined> {
    if (config.listed !== true) {
      const dir = dirOf(String(yield* act('where', id)));
      return TERMINAL.includes(dir) ? dir : undefined;
    }
    for (const dir of TERMINAL) if ((yield* look(dir))!.some((name) => parseEntry(name)?.id === id)) return dir;
    return undefined;
  }

  /** `skip` as soon as one parent ended badly; `wait` while one is unfinished. */
  function* judge(child: string, look: typeof list): Proc<'go' | 'wait' | 'skip'> {
    let wait = false;
    for (const p of parentsOf[child]!) {
      const state = yield* ended(p, look);
      if (state === undefined) wait = true;
      else if (state !== 'done') return 'skip';
    }
    return wait ? 'wait' : 'go';
  }

  /** False: it is not in waiting, or was moved meanwhile. */
  function* tryRelease(child: string, look: typeof list = list): Proc<boolean> {
    const name = (yield* look('waiting'))!.find((entry) => parseEntry(entry)?.id === child);
    if (name === undefined) return false;
    const verdict = yield* judge(child, look);
    if (verdict === 'wait') return true;
    if (verdict === 'skip' && config.marksFirst !== false) for (const p of parentsOf[child]!) yield* create(`after/${p}/${child}`);
    if ((yield* move(`waiting/${name}`, `${verdict === 'go' ? 'queued' : 'skipped'}/${name}`)) !== 'moved') return false;
    if (verdict === 'go') return true;
    yield* afterEnd(child, look);
    if (looksAgain === 'judges' || (looksAgain === 'unended' && (yield* unended(child, look)))) yield* unskip(child);
    return true;
  }

  function* unended(child: string, look: typeof list): Proc<boolean> {
    for (const p of parentsOf[child]!) if ((yield* ended(p, look)) === undefined) return true;
    return false;
  }

  function* afterEnd(parent: string, look: typeof list = list): Proc {
    for (const child of (yield* look(`after/${parent}`)) ?? []) {
      if (!(yield* tryRelease(child, look)) && config.endRevives !== false) yield* unskip(child);
    }
  }

  /** A child that was skipped goes back to waiting when its parents do not ask for that any more. */
  function* unskip(child: string): Proc {
    const name = (yield* list('skipped'))!.find((entry) => parseEntry(entry)?.id === child);
    if (name !== undefined && (yield* judge(child, strong)) !== 'skip') yield* reviveOne(child, name);
  }

  function* revive(parent: string): Proc {
    for (const child of (yield* list(`after/${parent}`)) ?? []) {
      const name = (yield* list('skipped'))!.find((entry) => parseEntry(entry)?.id === child);
      if (name !== undefined) yield* reviveOne(child, name);
    }
  }

  function* reviveOne(child: string, name: string): Proc {
    yield* create(`mark/${name}.retried`);
    if ((yield* move(`skipped/${name}`, `waiting/${entryName(child, parseEntry(name)!.n + 1)}`)) !== 'moved') return;
    yield* revive(child);
    yield* tryRelease(child);
  }

  // --- processes

  function* submit(): Proc {
    yield* rename('tmp/c.a0', 'waiting/c.a0');
    for (const p of parents) yield* create(`after/${p}/c`);
    yield* tryRelease('c');
  }

  /** Runs a task to its end, and tells those that wait for it. */
  function* run(id: string, from: string): Proc {
    const at = String(yield* act('where', id));
    if (dirOf(at) !== from) return;
    const n = parseEntry(baseOf(at))!.n;
    const entry = entryName(id, from === 'running' ? n : n + 1);
    if (from !== 'running' && !(yield* rename(at, `running/${entry}`))) return;
    const bad = config.fails === undefined ? (yield* choose(2)) === 1 : config.fails.includes(entry);
    if ((yield* move(`running/${entry}`, `${bad ? 'failed' : 'done'}/${entry}`)) === 'moved') yield* afterEnd(id);
  }

  function* retry(id: string): Proc {
    const at = String(yield* act('where', id));
    if (!TERMINAL.includes(dirOf(at))) return;
    const { n } = parseEntry(baseOf(at))!;
    yield* create(`mark/${baseOf(at)}.retried`);
    if (config.childrenFirst === true) yield* revive(id);
    const place = parentsOf[id] === undefined ? 'queued' : 'waiting';
    if ((yield* move(at, `${place}/${entryName(id, n + 1)}`)) !== 'moved') return;
    if (config.childrenFirst !== true) yield* revive(id);
    if (place === 'waiting') yield* tryRelease(id);
    yield* tell('reported', id);
  }

  function* sweep(): Proc {
    for (const name of (yield* strong('waiting'))!) yield* tryRelease(parseEntry(name)!.id, strong);
    if (config.sweep === 'waiting') return;
    for (const name of (yield* strong('skipped'))!) yield* unskip(parseEntry(name)!.id);
  }

  // --- what must hold

  function placesOf(world: World<Notes>, id: string): string[] {
    return [...world.files.keys()].filter((path) => PLACES.includes(dirOf(path)) && parseEntry(baseOf(path))?.id === id);
  }

  const processes: Process[] = parents.map((p) => ({ name: `run ${p}`, run: () => run(p, 'running') }));
  if (config.submit === true) processes.unshift({ name: 'submit c', run: submit });
  for (const [i, id] of (config.retries ?? []).entries()) processes.push({ name: `retry ${id} ${i}`, run: () => retry(id) });
  for (const id of config.reruns ?? []) processes.push({ name: `run ${id} again`, run: () => run(id, 'queued') });
  for (let i = 0; i < (config.sweeps ?? 0); i++) processes.push({ name: `sweep ${i}`, run: sweep });

  const files: Array<[string, string]> = parents.map((p) => [`running/${p}.a1`, '']);
  if (config.submit === true) files.push(['tmp/c.a0', '']);
  else files.push(['waiting/c.a0', ''], ...parents.map((p): [string, string] => [`after/${p}/c`, '']));
  if (config.grandchild === true) files.push(['waiting/d.a0', ''], ['after/c/d', '']);

  return {
    dirs: ['tmp', ...PLACES, 'mark', 'after', ...parents.map((p) => `after/${p}`), 'after/c'],
    files,
    budget: config.budget ?? {},
    notes: { reported: [] },
    processes,
    tell(world, _, word, args) {
      const id = String(args[0]);
      if (word === 'where') return placesOf(world, id)[0] ?? 'nowhere/';
      world.notes.reported.push(id);
      return null;
    },
    check(world) {
      for (const id of [...parents, ...children]) {
        const places = placesOf(world, id);
        if (places.length > 1) throw new Violation('V1', places.join(' '));
        if (places.length === 0 && !world.files.has(`tmp/${id}.a0`)) throw new Violation('V1', `${id} is nowhere`);
      }
    },
    finish(world) {
      // What a dead process left of the parents' attempts is completed; then everything runs to its end.
      const rest = function* (id: string): Proc {
        const at = String(yield* act('where', id));
        const { n } = parseEntry(baseOf(at))!;
        if (dirOf(at) === 'running') yield* rename(at, `${config.fails?.includes(baseOf(at)) === true ? 'failed' : 'done'}/${baseOf(at)}`);
        else if (dirOf(at) === 'queued') yield* rename(at, `done/${entryName(id, n + 1)}`);
        else return;
        yield* afterEnd(id, strong);
      };
      for (let pass = 0; pass < 4; pass++) {
        for (const p of parents) world.run(`rest of ${p}`, () => rest(p));
        if (placesOf(world, 'c').some((path) => path.startsWith('queued/'))) world.run('rest of c', () => rest('c'));
        world.run('last sweep', sweep);
      }
      for (const child of children) {
        const [at] = placesOf(world, child);
        if (at === undefined) continue; // its submit died before
        const ends = parentsOf[child]!.map((p) => dirOf(placesOf(world, p)[0] ?? 'running/'));
        const bad = ends.some((end) => end === 'failed' || end === 'skipped');
        if (dirOf(at) === 'waiting') throw new Violation('CHILD-STUCK', `${at}, its parents ended: ${ends.join(' ')}`);
        const unprinted = child === 'c' && config.submit === true && world.isDead('submit c');
        if (dirOf(at) === 'skipped' && !bad && !unprinted)
          throw new Violation('SKIPPED-FOR-EVER', `${at}, its parents ended: ${ends.join(' ')}`);
      }
    },
  };
}
