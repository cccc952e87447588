/**
 * Keys as they are built (src/queue/keys.ts): a task goes to waiting, takes the token, goes on; a duplicate that was never printed
 * is withdrawn; a retry comes back through waiting; a sweep settles what lies there, and may come at any time. Tasks carry attempt
 * numbers, and everybody may be late with what it has concluded.
 */
import {
  act,
  baseOf,
  dirOf,
  list,
  rename,
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

/** True: as it should be; false: dropped. */
export interface KeyedRules {
  /** A token that is the taker's own already is raised. */
  raisesOwn: boolean;
  /** A retried task raises its token once more right before it leaves waiting, whoever moves it. */
  raisesLast: boolean;
  /** Who ends a task frees the very token that it read before its move. */
  exact: boolean;
  /**
   * How a duplicate is withdrawn. `rename`: into gone/, and its submit looks who won. `aside`: by its submit with an unlink; by
   * others out of the way first, and back again if it has the key now. `unlink`: by all.
   */
  withdraws: 'rename' | 'aside' | 'unlink';
  /** A submit or retry that has the key and must wait for parents raises the task's name before it says so. */
  admitsByRename: boolean;
  /**
   * `release`, and a retry for later. `through`: they go through waiting, under a name that was never there. `looks`: release does
   * so unless the token names the task, a retry takes the key when it is in delayed. `straight`: they do not ask.
   */
  asksKey: 'through' | 'looks' | 'straight';
  /** A retry goes through waiting. */
  throughWaiting: boolean;
}

export const KEYED: KeyedRules = {
  raisesOwn: true,
  raisesLast: true,
  exact: true,
  withdraws: 'rename',
  admitsByRename: true,
  asksKey: 'through',
  throughWaiting: true,
};

export interface KeyedConfig {
  rules?: Partial<KeyedRules>;
  /** Submits of new tasks. */
  submits?: readonly string[];
  /** Tasks that wait for a parent, until everything else is over. */
  blocked?: readonly string[];
  /** Task `o`, which has the key: it runs and is ended by a process, or it has ended and its token was not freed. */
  old?: 'runs' | 'ended';
  /** `o` is retried; `later`: with `--in`. */
  retry?: 'now' | 'later';
  sweeps?: number;
  /** Workers for these. */
  works?: readonly string[];
  /** `hold` and `release` of this task. */
  hold?: string;
  budget?: Partial<Budget>;
}

const UNFINISHED = ['waiting', 'queued', 'delayed', 'held', 'running'];
const PLACES = [...UNFINISHED, 'done', 'canceled'];

interface Notes {
  printed: string[];
  /** Submits that were told that another task stands for theirs. */
  existing: string[];
  retried: boolean;
  unblocked: boolean;
}

interface Token {
  file: string;
  generation: number;
  holder: string;
}

export function keyedScenario(config: KeyedConfig): Scenario<Notes> {
  const rules = { ...KEYED, ...config.rules };

  // --- the token

  function* token(): Proc<Token> {
    const file = (yield* strong('keys'))![0]!;
    const m = /^g(\d+)\.(\w+)$/.exec(file)!;
    return { file, generation: Number(m[1]), holder: m[2]! };
  }

  function* raise(t: Token, holder: string): Proc<boolean> {
    const to = `g${t.generation + 1}.${holder}`;
    if (yield* rename(`keys/${t.file}`, `keys/${to}`)) return true;
    return (yield* strong('keys'))!.includes(to);
  }

  /** True: the key is the task's now. False: an unfinished task has it. */
  function* takeKey(id: string): Proc<boolean> {
    for (;;) {
      const t = yield* token();
      if (t.holder === id && !rules.raisesOwn) return true;
      if (t.holder !== 'free' && t.holder !== id && UNFINISHED.includes(dirOf(String(yield* act('where', t.holder))))) return false;
      if (yield* raise(t, id)) return true;
    }
  }

  function* tokensOf(id: string): Proc<string[]> {
    return (yield* strong('keys'))!.filter((file) => file.endsWith(`.${id}`));
  }

  function* free(files: readonly string[]): Proc {
    for (const file of files) yield* rename(`keys/${file}`, `keys/g${Number(/^g(\d+)/.exec(file)![1]) + 1}.free`);
  }

  // --- waiting

  function* tryRelease(id: string): Proc {
    const name = (yield* list('waiting'))!.find((entry) => parseEntry(entry)?.id === id);
    if (name === undefined) return;
    if ((yield* token()).holder === id) yield* leaveWaiting(id, name);
    else yield* settleKey(id, name);
  }

  function* leaveWaiting(id: string, name: string): Proc {
    if (yield* act('blocked', id)) return;
    if (rules.raisesLast && parseEntry(name)!.n > 0 && !(yield* takeKey(id))) return;
    const later = config.retry === 'later' && id === 'o';
    yield* move(`waiting/${name}`, `${later ? 'delayed' : 'queued'}/${name}`);
  }

  function* settleKey(id: string, name: string): Proc {
    if (yield* takeKey(id)) {
      if (!(yield* act('blocked', id))) yield* leaveWaiting(id, name);
      return;
    }
    if (parseEntry(name)!.n === 0) yield* withdraw(id, name);
    else if ((yield* move(`waiting/${name}`, `canceled/${name}`)) === 'moved') yield* tell('canceled', id);
  }

  /** Takes back what was never printed; by others than its submit. */
  function* withdraw(id: string, name: string): Proc {
    if (rules.withdraws === 'rename') yield* move(`waiting/${name}`, `gone/${name}`);
    else if (rules.withdraws === 'unlink') yield* unlink(`waiting/${name}`);
    else if ((yield* move(`waiting/${name}`, `tmp/${name}`)) === 'moved') {
      if ((yield* token()).holder === id) yield* move(`tmp/${name}`, `waiting/${name}`);
      else yield* unlink(`tmp/${name}`);
    }
  }

  // --- verbs

  function* submit(id: string): Proc {
    const name = entryName(id, 0);
    yield* rename(`tmp/${name}`, `waiting/${name}`);
    for (;;) {
      if (yield* takeKey(id)) {
        if (yield* admit(id)) yield* tell('printed', id);
        return;
      }
      const mine = yield* withdrawMine(id);
      if (mine === 'moves') continue;
      yield* tell(mine === 'withdrawn' ? 'existing' : 'printed', id);
      return;
    }
  }

  /** Of the submit itself, wherever its task is by now. `stays`: it was given the key meanwhile. `moves`: ask again. */
  function* withdrawMine(id: string): Proc<'withdrawn' | 'stays' | 'moves'> {
    if (rules.withdraws !== 'rename') {
      yield* unlink(`waiting/${entryName(id, 0)}`);
      return 'withdrawn';
    }
    const at = String(yield* act('where', id));
    if (dirOf(at) === '' || dirOf(at) === 'canceled') return 'withdrawn';
    if (dirOf(at) !== 'waiting' && dirOf(at) !== 'held') return 'stays';
    return (yield* move(at, `gone/${baseOf(at)}`)) === 'moved' ? 'withdrawn' : 'moves';
  }

  /** The key is mine: on to where the task belongs. False: it was withdrawn or canceled before it had come so far. */
  function* admit(id: string): Proc<boolean> {
    if (!(yield* act('blocked', id))) yield* tryRelease(id);
    if (!rules.admitsByRename) return (yield* act('where', id)) !== '';
    for (;;) {
      const at = String(yield* act('where', id));
      if (dirOf(at) !== 'waiting') return dirOf(at) !== '' && dirOf(at) !== 'canceled';
      if ((yield* move(at, `waiting/${entryName(id, parseEntry(baseOf(at))!.n + 1)}`)) === 'moved') return true;
    }
  }

  function* retry(): Proc {
    const at = String(yield* act('where', 'o'));
    if (dirOf(at) !== 'done') return;
    const { holder } = yield* token();
    if (holder !== 'free' && holder !== 'o' && UNFINISHED.includes(dirOf(String(yield* act('where', holder))))) return;
    const name = entryName('o', parseEntry(baseOf(at))!.n + 1);
    const later = config.retry === 'later' && rules.asksKey !== 'through';
    const place = later ? 'delayed' : rules.throughWaiting ? 'waiting' : 'queued';
    if ((yield* move(at, `${place}/${name}`)) !== 'moved') return;
    const mine = yield* takeKey('o');
    if (place !== 'waiting') {
      if (!mine && rules.asksKey === 'looks') yield* move(`${place}/${name}`, `canceled/${name}`);
      else yield* tell('retried');
      return;
    }
    if (!mine && rules.admitsByRename) yield* move(`waiting/${name}`, `canceled/${name}`);
    else if (yield* admit('o')) yield* tell('retried');
  }

  function* hold(id: string): Proc {
    const at = String(yield* act('where', id));
    if (['waiting', 'queued', 'delayed'].includes(dirOf(at))) yield* move(at, `held/${baseOf(at)}`);
  }

  function* release(id: string): Proc {
    const at = String(yield* act('where', id));
    if (dirOf(at) !== 'held') return;
    const straight = rules.asksKey === 'straight' || (rules.asksKey === 'looks' && (yield* token()).holder === id);
    if (straight) yield* move(at, `queued/${baseOf(at)}`);
    else if ((yield* move(at, `waiting/${entryName(id, parseEntry(baseOf(at))!.n + 1)}`)) === 'moved') yield* tryRelease(id);
  }

  // --- the rest of the machinery

  function* end(id: string, name: string): Proc {
    const before = rules.exact ? yield* tokensOf(id) : [];
    if ((yield* move(`running/${name}`, `done/${name}`)) !== 'moved') return;
    yield* free(rules.exact ? before : yield* tokensOf(id));
  }

  function* work(id: string): Proc {
    const at = String(yield* act('where', id));
    if (dirOf(at) !== 'queued') return;
    const name = entryName(id, parseEntry(baseOf(at))!.n + 1);
    if (yield* rename(at, `running/${name}`)) yield* end(id, name);
  }

  function* promote(): Proc {
    for (const name of (yield* list('delayed'))!) yield* move(`delayed/${name}`, `queued/${name}`);
  }

  function* sweep(): Proc {
    for (const name of (yield* strong('waiting'))!) yield* tryRelease(parseEntry(name)!.id);
  }

  // --- what must hold

  function placesOf(world: World<Notes>, id: string): string[] {
    return [...world.files.keys()].filter((path) => PLACES.includes(dirOf(path)) && parseEntry(baseOf(path))?.id === id);
  }

  const processes: Process[] = (config.submits ?? []).map((id) => ({ name: `submit ${id}`, run: () => submit(id) }));
  if (config.old === 'runs') processes.push({ name: 'end o', run: () => end('o', 'o.a1') });
  if (config.retry !== undefined) processes.push({ name: 'retry o', run: retry });
  for (let i = 0; i < (config.sweeps ?? 0); i++) processes.push({ name: `sweep ${i}`, run: sweep });
  for (const id of config.works ?? []) processes.push({ name: `work ${id}`, run: () => work(id), immortal: true });
  if (config.retry === 'later') processes.push({ name: 'promote', run: promote, immortal: true });
  if (config.hold !== undefined) {
    const id = config.hold;
    processes.push(
      { name: `hold ${id}`, run: () => hold(id), immortal: true },
      { name: `release ${id}`, run: () => release(id), immortal: true },
    );
  }

  const files: Array<[string, string]> = (config.submits ?? []).map((id) => [`tmp/${id}.a0`, '']);
  if (config.old !== undefined) files.push([`${config.old === 'runs' ? 'running' : 'done'}/o.a1`, ''], ['keys/g1.o', '']);
  else files.push(['keys/g0.free', '']);

  return {
    dirs: ['tmp', 'keys', 'gone', ...PLACES],
    files,
    budget: config.budget ?? {},
    notes: { printed: [], existing: [], retried: false, unblocked: false },
    processes,
    tell(world, _, word, args) {
      const { notes } = world;
      const id = String(args[0]);
      switch (word) {
        case 'where':
          return placesOf(world, id)[0] ?? '';
        case 'blocked':
          return config.blocked?.includes(id) === true && !notes.unblocked;
        case 'printed':
          notes.printed.push(id);
          break;
        case 'existing':
          notes.existing.push(id);
          break;
        case 'retried':
          notes.retried = true;
          break;
        case 'canceled':
          if (notes.printed.includes(id) || (id === 'o' && notes.retried))
            throw new Violation('WRONGLY-CANCELED', `${id}: its verb has said that all is well`);
          break;
      }
      return null;
    },
    check(world) {
      const { notes } = world;
      const admitted = [...world.files.keys()].filter((path) => /^(queued|delayed|running)\//.test(path));
      if (admitted.length > 1) throw new Violation('KEY-TWICE', `${admitted.join(' ')}: unfinished with one key`);
      for (const id of notes.printed)
        if (placesOf(world, id).length === 0) throw new Violation('PRINTED-LOST', `${id} was printed and is nowhere`);
      for (const id of notes.existing) {
        const [at] = placesOf(world, id);
        if (at !== undefined && dirOf(at) !== 'canceled')
          throw new Violation('PHANTOM', `${at}, though its submit said that another task stands for it`);
      }
    },
    finish(world) {
      const ids = [...(config.submits ?? []), 'o'];
      const letEnd = function* (id: string): Proc {
        const at = String(yield* act('where', id));
        if (dirOf(at) === 'running') yield* rename(at, `done/${baseOf(at)}`);
      };
      world.remember({ ...world.notes, unblocked: true });
      for (let pass = 0; pass < 4; pass++) {
        world.run('last sweep', sweep);
        world.run('last promote', promote);
        for (const id of ids) {
          world.run(`last release of ${id}`, () => release(id));
          world.run(`last work of ${id}`, () => work(id));
          world.run(`let ${id} end`, () => letEnd(id));
        }
      }
      if (world.ls('waiting').length > 0) throw new Violation('WAITING-STUCK', world.ls('waiting').join(' '));
      world.put('tmp/n.a0', '');
      world.run('submit n', () => submit('n'));
      if (!world.files.has('queued/n.a0')) throw new Violation('KEY-HELD-FOR-EVER', world.ls('keys').join(' '));
    },
  };
}
