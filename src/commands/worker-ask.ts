/**
 * Asking something of workers: one word in the worker's request file, the same as `echo` by hand. What it was asked is seen within a
 * poll; nothing here waits for it.
 */
import { EXIT, TqError, usage } from '../errors.ts';
import { printError, printJson } from '../print.ts';
import { forgetWorker } from '../queue/gc.ts';
import type { Queue } from '../queue/open.ts';
import { clearWant, readState, readWant, workerNames, writeWant, type StateFile, type WorkerFile } from '../queue/registry.ts';
import { judgeSession } from '../queue/session.ts';
import { parseDuration } from '../task/duration.ts';
import { globToRegExp, isGlob } from '../task/glob.ts';
import { checkWorkerName } from '../task/names.ts';
import { visible } from '../task/visible.ts';
import { hostFacts } from '../worker/facts.ts';
import { formatWant, parseWant, type Target } from '../worker/requests.ts';
import { sights } from '../worker/sight.ts';
import { printIds } from './changing.ts';
import type { Ctx } from './spec.ts';

interface Asked {
  name: string;
  /** Undefined: it never finished starting. */
  file: WorkerFile | undefined;
  state: StateFile | undefined;
  /** By its heartbeat, and not known to be dead. */
  alive: boolean;
}

/** What a verb is about to do to one worker. */
interface Plan {
  /** The word for its request file; null: no request is left. Undefined: it is not about a request. */
  want?: string | null;
  act: () => Promise<void>;
}

export function wake(ctx: Ctx): Promise<number> {
  return forEachWorker(
    ctx,
    () => true,
    (q, w) => askToBe(q, w, 'awake', {}),
  );
}

export function sleep(ctx: Ctx): Promise<number> {
  const { flags } = ctx;
  const until = typeof flags['for'] === 'string' ? ctx.system.now() + parseDuration(flags['for'], '--for') : null;
  return forEachWorker(
    ctx,
    () => true,
    (q, w) => askToBe(q, w, 'asleep', { now: flags['now'] === true, until }),
  );
}

export function stop(ctx: Ctx): Promise<number> {
  return forEachWorker(
    ctx,
    (w) => w.alive,
    async (q, w) => {
      mustLive(w, 'stop');
      return asking(q, w, formatWant('offline', { now: ctx.flags['now'] === true }));
    },
  );
}

export function restart(ctx: Ctx): Promise<number> {
  return forEachWorker(
    ctx,
    (w) => w.alive,
    async (q, w) => {
      mustLive(w, 'restart');
      if (w.file?.restartExitCode === undefined || w.file.restartExitCode === null) {
        throw new TqError('REFUSED', `cannot restart ${w.name}: it was started without --restart-exit-code`, {
          hint: `tq worker stop ${w.name}, then start it by hand`,
        });
      }
      return asking(q, w, formatWant('restart', { now: ctx.flags['now'] === true }));
    },
  );
}

export function remove(ctx: Ctx): Promise<number> {
  return forEachWorker(
    ctx,
    (w) => !w.alive,
    async (q, w) => {
      if (w.alive) throw new TqError('WRONG_STATE', `cannot remove ${w.name}: it is alive`, { hint: `tq worker stop ${w.name}` });
      const act = async (): Promise<void> => {
        if (await forgetWorker(q, hostFacts(), w.name)) return;
        throw new TqError('WRONG_STATE', `cannot remove ${w.name}: it died and is not buried yet`, {
          hint: 'any other worker buries it, or tq doctor --fix',
        });
      };
      return { act };
    },
  );
}

/** Asking for what it is already takes back what was asked before and not done yet. */
async function askToBe(q: Queue, w: Asked, to: Target, options: { now?: boolean; until?: number | null }): Promise<Plan> {
  const is = w.alive ? w.state?.state : (w.state?.base ?? 'awake');
  const until = options.until ?? null;
  if (is !== to || until !== null) return asking(q, w, formatWant(to, options));
  const pending = await readWant(q, w.name);
  if (parseWant(pending).kind === 'none' && (w.state?.want ?? null) === null) return { want: null, act: async () => undefined };
  // A living worker is told, since it may be carrying the request out; nobody reads the file of another one before its start.
  return w.alive ? asking(q, w, formatWant(to)) : { want: null, act: () => clearWant(q, w.name, pending) };
}

function asking(q: Queue, w: Asked, want: string): Plan {
  return { want, act: () => writeWant(q, w.name, want) };
}

function mustLive(w: Asked, verb: string): void {
  if (!w.alive) throw new TqError('WRONG_STATE', `cannot ${verb} ${w.name}: it is not alive`, { hint: 'tq worker ls shows who is' });
}

/**
 * Each worker that the words name. A pattern or `--all` means those of them to which the verb can be done (`fits`), a name means that
 * one. Prints the names it was done to, one error line for each it could not.
 */
async function forEachWorker(ctx: Ctx, fits: (w: Asked) => boolean, planFor: (q: Queue, w: Asked) => Promise<Plan>): Promise<number> {
  const all = ctx.flags['all'] === true;
  if (ctx.args.length === 0 && !all) throw usage('which worker?', 'its name, a pattern, or --all');
  for (const word of ctx.args) if (!isGlob(word)) checkWorkerName(word, 'W');
  const q = await ctx.queue();
  const known = await workersOf(q);
  const failures: TqError[] = [];
  const chosen = new Map<string, Asked>();
  for (const word of all ? ['*'] : ctx.args) {
    const hits = isGlob(word) ? known.filter((w) => globToRegExp(word).test(w.name)) : known.filter((w) => w.name === word);
    const able = isGlob(word) ? hits.filter(fits) : hits;
    // When none of many is fit, each says why.
    for (const w of able.length > 0 ? able : hits) chosen.set(w.name, w);
    if (hits.length === 0) failures.push(new TqError('NOT_FOUND', `no such worker: ${visible(word)}`, { hint: 'tq worker ls' }));
  }
  const words = chosen.size + failures.length;
  const dry = ctx.flags['dry-run'] === true;
  const done: string[] = [];
  const requests: Array<{ worker: string; want: string | null }> = [];
  for (const w of chosen.values()) {
    try {
      const { want, act } = await planFor(q, w);
      if (!dry) await act();
      else if (want !== undefined) requests.push({ worker: w.name, want });
      done.push(w.name);
    } catch (error) {
      if (!(error instanceof TqError)) throw error;
      failures.push(error);
    }
  }
  for (const error of failures) printError(error, error.exit, ctx.json, ctx.io);
  if (requests.length > 0) printJson(requests, ctx.io);
  else if (!ctx.json || done.length > 0 || failures.length === 0) printIds(ctx, done);
  if (failures.length === 0) return EXIT.ok;
  return words === 1 || (failures.length === words && failures.every((e) => e.exit === failures[0]!.exit))
    ? failures[0]!.exit
    : EXIT.refused;
}

/** Everybody with a directory, with whether they are alive: by the heartbeat, unless this machine can tell that they are dead. */
async function workersOf(q: Queue): Promise<Asked[]> {
  const seen = new Map((await sights(q)).map((s) => [s.file.name, s]));
  const facts = hostFacts();
  const found: Asked[] = [];
  for (const name of await workerNames(q)) {
    const s = seen.get(name);
    const alive = s?.alive === true && judgeSession(s.file.session, facts) !== 'dead';
    found.push({ name, file: s?.file, state: await readState(q, name), alive });
  }
  return found;
}
