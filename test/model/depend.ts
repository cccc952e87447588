/**
 * Who waits for whom: a child under one or two parents. Its submit writes it to waiting, then the markers, then looks; who ends a
 * parent moves it, then reads the markers; hold, release and retries come in between.
 */
import { choose, create, list, rename, strong, tell, Violation, type Budget, type Proc, type Process, type Scenario } from './engine.ts';

export interface DependConfig {
  parents?: readonly string[];
  budget?: Partial<Budget>;
  /** Parents may fail. */
  fails?: boolean;
  /** A parent is given back to the queue and runs once more. */
  handedBack?: boolean;
  retryParent?: boolean;
  retryChild?: boolean;
  hold?: boolean;
  /** Without the sweep of waiting at the end. */
  unswept?: boolean;
  /** Naive: release and retry lead straight to queued. */
  straight?: boolean;
  /** Naive: a parent that is not found counts as ended. */
  absentIsEnded?: boolean;
}

const TERMINAL = ['done', 'failed', 'canceled', 'skipped'];
const PLACES = ['queued', 'waiting', 'held', 'running', ...TERMINAL];

interface Notes {
  submitted: string[];
  retried: string[];
  released: boolean;
}

export function dependScenario(config: DependConfig): Scenario<Notes> {
  const parents = config.parents ?? ['p'];

  function* ended(id: string, look: typeof list): Proc<string | undefined> {
    for (const dir of TERMINAL) if ((yield* look(dir))!.includes(id)) return dir;
    if (config.absentIsEnded !== true) return undefined;
    for (const dir of PLACES) if ((yield* look(dir))!.includes(id)) return undefined;
    return 'done';
  }

  /** Only when every parent has ended. */
  function* tryRelease(look: typeof list = list): Proc {
    let skip = false;
    for (const p of parents) {
      const state = yield* ended(p, look);
      if (state === undefined) return;
      if (state !== 'done') skip = true;
    }
    if (yield* rename('waiting/c', skip ? 'skipped/c' : 'queued/c')) yield* tell('moved');
  }

  function* submit(): Proc {
    yield* rename('tmp/c', 'waiting/c');
    for (const p of parents) yield* create(`after/${p}/c`);
    yield* tell('submitted', 'c');
    yield* tryRelease();
  }

  function* end(parent: string): Proc {
    const state = config.fails === true && (yield* choose(2)) === 1 ? 'failed' : 'done';
    yield* rename(`running/${parent}`, `${state}/${parent}`);
    for (const _ of (yield* list(`after/${parent}`))!) yield* tryRelease();
  }

  function* retryParent(): Proc {
    for (const dir of TERMINAL) {
      if (!(yield* rename(`${dir}/p`, 'running/p'))) continue;
      yield* tell('retried', 'p');
      return;
    }
  }

  function* retryChild(): Proc {
    for (const dir of TERMINAL) if (yield* back(`${dir}/c`)) return;
  }

  function* back(from: string): Proc<boolean> {
    if (config.straight === true) return yield* rename(from, 'queued/c');
    if (!(yield* rename(from, 'waiting/c'))) return false;
    yield* tryRelease();
    return true;
  }

  function* release(): Proc {
    yield* back('held/c');
  }

  function* hold(): Proc {
    yield* rename('waiting/c', 'held/c');
  }

  function* handBack(): Proc {
    yield* rename('running/p', 'queued/p');
    yield* rename('queued/p', 'running/p');
    yield* rename('running/p', 'done/p');
  }

  function* sweep(): Proc {
    for (const _ of (yield* strong('waiting'))!) yield* tryRelease(strong);
  }

  /** Burial ends what is left of the parents, and tells nobody. */
  function* buryParents(): Proc {
    for (const p of parents) yield* rename(`running/${p}`, `done/${p}`);
  }

  const people: Array<[boolean | undefined, string, () => Proc]> = [
    [config.handedBack, 'undertaker', handBack],
    [config.retryParent, 'retry p', retryParent],
    [config.hold, 'hold', hold],
    [config.hold, 'release', release],
    [config.retryChild, 'retry c', retryChild],
  ];
  const processes: Process[] = [
    { name: 'submit', run: submit },
    ...parents.map((p) => ({ name: `end ${p}`, run: () => end(p) })),
    ...people.filter(([wanted]) => wanted === true).map(([, name, run]) => ({ name, run, immortal: true })),
  ];

  return {
    dirs: ['tmp', ...PLACES, 'after', ...parents.map((p) => `after/${p}`)],
    files: [['tmp/c', ''], ...parents.map((p) => [`running/${p}`, ''] as const)],
    budget: config.budget ?? {},
    notes: { submitted: [], retried: [], released: false },
    processes,
    tell({ notes }, _, word, args) {
      if (word === 'submitted') notes.submitted.push(String(args[0]));
      else if (word === 'retried') notes.retried.push(String(args[0]));
    },
    check(world) {
      const { files, notes } = world;
      if (!files.has('queued/c') || notes.released) return;
      world.remember({ ...notes, released: true });
      for (const p of parents) {
        const unfinished = files.has(`running/${p}`) || files.has(`queued/${p}`);
        if (unfinished && !notes.retried.includes(p)) throw new Violation('RELEASED-EARLY', `c is queued while ${p} is unfinished`);
        if (!unfinished && !files.has(`done/${p}`) && config.retryParent !== true)
          throw new Violation('RUN-DESPITE-FAILED', `c is queued although ${p} failed`);
      }
    },
    finish(world) {
      world.run('burial', buryParents);
      if (world.files.has('waiting/c') && config.unswept === true && world.notes.submitted.length > 0) {
        throw new Violation('CHILD-STUCK', 'all parents have ended, c waits, nobody looks');
      }
      world.run('sweep', sweep);
      if (world.files.has('waiting/c')) throw new Violation('CHILD-STUCK-AFTER-SWEEP', 'c');
    },
  };
}
