/**
 * Keys, the idea alone: at most one unfinished task per key. The naive reading is a file made with O_EXCL and unlinked at the end;
 * the protocol's is a token that is only renamed, taken by a task that lies in waiting. (How the steps are built, attempt numbers
 * and all, is in keyed.ts.)
 */
import { create, read, rename, strong, unlink, Violation, type Budget, type Proc, type Process, type Scenario } from './engine.ts';

export interface KeyConfig {
  ids: readonly string[];
  budget?: Partial<Budget>;
  /** A task `old` holds the key and runs when everything begins. */
  old?: boolean;
  /** `old` is retried by hand. */
  retry?: boolean;
  /** And somebody runs it again. */
  rerun?: boolean;
  /** Naive: a file with O_EXCL. `checked`: who ends reads it before unlinking it. `nowhere`: a holder that is not found has ended. */
  exclusive?: boolean;
  checked?: boolean;
  nowhere?: boolean;
  /** A token that is mine already is raised when the task is admitted. */
  raise?: boolean;
  /** Who ends a task frees the very token that it read before its move, and only if the move was its own. */
  exact?: boolean;
  /** Naive: a retry leads straight to queued. */
  straight?: boolean;
}

export function keyScenario(config: KeyConfig): Scenario<null> {
  const tokens = config.exclusive !== true;
  const raised = (token: string, holder: string): string => `g${Number(/^g(\d+)/.exec(token)![1]) + 1}.${holder}`;

  function* placeOf(id: string): Proc<string | undefined> {
    for (const dir of ['waiting', 'queued', 'running', 'done']) if ((yield* strong(dir))!.includes(id)) return dir;
    return undefined;
  }

  function* submit(id: string): Proc {
    if (tokens) {
      yield* rename(`tmp/${id}`, `waiting/${id}`);
      yield* settle(id);
      return;
    }
    for (let k = 0; k < 2; k++) {
      if ((yield* create('keys/file', id)) === 'made') {
        yield* rename(`tmp/${id}`, `queued/${id}`);
        return;
      }
      const holder = yield* read('keys/file');
      if (holder === undefined) continue;
      const place = yield* placeOf(holder);
      if (place !== 'done' && !(place === undefined && config.nowhere === true)) return;
      yield* unlink('keys/file');
    }
  }

  /** Anyone may do this for a task in waiting. */
  function* settle(id: string): Proc {
    for (let k = 0; k < 3; k++) {
      const token = (yield* strong('keys'))![0];
      if (token === undefined) continue;
      const holder = token.slice(token.indexOf('.') + 1);
      if (holder === id) {
        if (config.raise === true && !(yield* rename(`keys/${token}`, `keys/${raised(token, id)}`))) {
          if (!(yield* strong('keys'))!.includes(raised(token, id))) continue;
        }
        yield* rename(`waiting/${id}`, `queued/${id}`);
        return;
      }
      if (holder !== 'free') {
        const place = yield* placeOf(holder);
        if (place === undefined) continue;
        if (place !== 'done') {
          yield* rename(`waiting/${id}`, `withdrawn/${id}`);
          return;
        }
      }
      yield* rename(`keys/${token}`, `keys/${raised(token, id)}`);
    }
  }

  function* tokensOf(id: string): Proc<string[]> {
    return (yield* strong('keys'))!.filter((token) => token.endsWith(`.${id}`));
  }

  function* end(id: string): Proc {
    const before = tokens && config.exact === true ? yield* tokensOf(id) : [];
    const moved = yield* rename(`running/${id}`, `done/${id}`);
    if (!tokens) {
      if (config.checked !== true || (yield* read('keys/file')) === id) yield* unlink('keys/file');
      return;
    }
    if (config.exact === true && !moved) return;
    for (const token of config.exact === true ? before : yield* tokensOf(id))
      yield* rename(`keys/${token}`, `keys/${raised(token, 'free')}`);
  }

  function* work(id: string): Proc {
    if (!(yield* rename(`queued/${id}`, `running/${id}`)) && !(yield* strong('running'))!.includes(id)) return;
    yield* end(id);
  }

  function* endOld(): Proc {
    yield* end('old');
  }

  function* retry(id: string): Proc {
    if (yield* rename(`done/${id}`, config.straight === true ? `queued/${id}` : `waiting/${id}`))
      if (config.straight !== true) yield* settle(id);
  }

  function* sweep(ids: readonly string[]): Proc {
    for (const id of ids) if ((yield* strong('waiting'))!.includes(id)) yield* settle(id);
  }

  function* letEnd(id: string): Proc {
    yield* rename(`running/${id}`, `done/${id}`);
  }

  const processes: Process[] = config.ids.map((id) => ({ name: `submit ${id}`, run: () => submit(id) }));
  if (config.old === true) processes.push({ name: 'end old', run: endOld });
  if (config.retry === true) processes.push({ name: 'retry old', run: () => retry('old'), immortal: true });
  else for (const id of config.ids) processes.push({ name: `work ${id}`, run: () => work(id) });
  if (config.rerun === true) processes.push({ name: 'work old', run: () => work('old') });

  const files: Array<[string, string]> = config.ids.map((id) => [`tmp/${id}`, '']);
  if (config.old === true) files.push(['running/old', ''], tokens ? ['keys/g1.old', ''] : ['keys/file', 'old']);
  else if (tokens) files.push(['keys/g0.free', '']);

  return {
    dirs: ['keys', 'tmp', 'waiting', 'queued', 'running', 'done', 'withdrawn'],
    files,
    budget: config.budget ?? {},
    notes: null,
    processes,
    tell() {},
    check(world) {
      const unfinished = [...world.files.keys()].filter((path) => /^(queued|running)\//.test(path));
      if (unfinished.length > 1) throw new Violation('KEY-TWICE', `${unfinished.join(' ')}: unfinished with one key`);
    },
    finish(world) {
      const ids = [...config.ids, ...(config.retry === true ? ['old'] : [])];
      if (tokens) world.run('sweep', () => sweep(ids));
      for (let k = 0; k < 3; k++) {
        for (const id of ids) world.run(`last work ${id}`, () => work(id));
        for (const id of [...ids, 'old']) world.run(`let ${id} end`, () => letEnd(id));
        if (tokens) world.run('sweep', () => sweep(ids));
      }
      if (world.ls('waiting').length > 0) throw new Violation('WAITING-STUCK', world.ls('waiting').join(' '));
      world.put('tmp/new', '');
      world.run('submit new', () => submit('new'));
      if (!world.files.has('queued/new')) throw new Violation('KEY-HELD-FOR-EVER', world.ls('keys').join(' '));
    },
  };
}
