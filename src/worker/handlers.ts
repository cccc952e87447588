/**
 * Handlers, seen from the worker: which named functions the modules of `--handlers DIR` have, and the program that runs one. The
 * worker itself never loads a module; a process of its own lists each, and one runs each task, so that nothing in them (an endless
 * loop, an exit, all memory used up) reaches the worker.
 */
import fs from 'node:fs';
import path from 'node:path';
import type { Task } from '../task/types.ts';
import { endTree, spawnTask } from './child.ts';
import type { Place } from './scratch.ts';
import type { Worker } from './worker.ts';

/** The hidden verb that loads modules. */
export const HANDLER_VERB = '__handler';

export interface HandlerOffer {
  /** By name: the file, and the name of the function in it. */
  handlers: Record<string, { file: string; export: string }>;
  /** Files, or names in them, that are not offered, and why. */
  broken: Array<{ file: string; reason: string }>;
}

/** What `__handler list` writes about a module. */
export type Listed = { exports: Record<string, string> } | { error: string };

/** What `__handler run` reads. */
export interface HandlerCall {
  file: string;
  export: string;
  name: string;
  data: unknown;
}

/** Modules in the directory itself; what begins with a dot or `_`, and types and tests, are none. */
const MODULE = /^(?![._])(?!.*\.(?:d|test|spec)\.)[^/]+\.(?:ts|mts|js|mjs)$/;
/** All modules must have been loaded in this time, ms. */
const LOAD_MS = 10_000;
/** So many are loaded at once. */
const LOAD_AT_ONCE = 2;

const offers = new WeakMap<Worker, HandlerOffer>();

/** What the directory has, read once per worker: new modules are taken up when it is started again. Ends within `LOAD_MS`. */
export async function offeredBy(w: Worker): Promise<HandlerOffer> {
  let offer = offers.get(w);
  if (offer === undefined) {
    offer = w.options.handlers === null ? { handlers: {}, broken: [] } : await discover(w, w.options.handlers);
    offers.set(w, offer);
    for (const { file, reason } of offer.broken) w.log(`handlers: ${file}: ${reason}`);
  }
  return offer;
}

async function discover(w: Worker, dir: string): Promise<HandlerOffer> {
  let files: string[];
  try {
    files = fs
      .readdirSync(dir)
      .filter((name) => MODULE.test(name))
      .toSorted();
  } catch (error) {
    return { handlers: {}, broken: [{ file: dir, reason: error instanceof Error ? error.message : String(error) }] };
  }
  const until = performance.now() + LOAD_MS;
  const listed = new Map<string, Listed>();
  const left = [...files];
  const next = async (): Promise<void> => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) listed.set(file, await list(w, dir, file, until));
  };
  await Promise.all(Array.from({ length: LOAD_AT_ONCE }, next));
  const offer: HandlerOffer = { handlers: Object.create(null) as HandlerOffer['handlers'], broken: [] };
  for (const file of files) {
    const found = listed.get(file)!;
    if ('error' in found) {
      offer.broken.push({ file, reason: found.error });
      continue;
    }
    for (const [name, what] of Object.entries(found.exports)) {
      const other = Object.hasOwn(offer.handlers, name) ? offer.handlers[name] : undefined;
      if (other === undefined) offer.handlers[name] = { file, export: what };
      else offer.broken.push({ file, reason: `${name} is in ${other.file} already` });
    }
  }
  return offer;
}

async function list(w: Worker, dir: string, file: string, until: number): Promise<Listed> {
  const left = until - performance.now();
  if (left <= 0) return { error: `not loaded: those before it took ${LOAD_MS / 1000} s` };
  const base = path.join(w.scratch, `load.${file}`);
  const [out, log] = [`${base}.json`, `${base}.log`];
  const fd = fs.openSync(log, 'w', 0o600);
  const child = spawnTask({
    argv: [...w.options.self, HANDLER_VERB, 'list', path.join(dir, file), out],
    cwd: dir,
    env: { ...(process.env as Record<string, string>), TQ_SESSION: w.session }, // no variable that is there is undefined
    stdin: 'null',
    stdout: fd,
    stderr: fd,
  });
  fs.closeSync(fd);
  if (child.kind === 'rejected') return { error: child.reason };
  const { promise: late, resolve } = Promise.withResolvers<'late'>();
  const timer = setTimeout(() => resolve('late'), left);
  const ended = await Promise.race([child.exited, late]);
  clearTimeout(timer);
  await endTree({ pid: child.pid, session: w.session, taskId: '', attempt: 0, graceMs: 0, now: 'now' }, child.exited);
  try {
    if (ended === 'late') return { error: `not loaded within ${LOAD_MS / 1000} s` };
    if (fs.existsSync(out)) return JSON.parse(fs.readFileSync(out, 'utf8')) as Listed; // written by handler-main.ts
    const last = fs.readFileSync(log, 'utf8').trim().split('\n').at(-1) ?? '';
    const how = ended.signal === null ? `ended the process with code ${ended.code}` : `was ended by ${ended.signal}`;
    return { error: `${how} while it was loaded${last === '' ? '' : `: ${last.slice(0, 300)}`}` };
  } finally {
    for (const made of [out, log]) fs.rmSync(made, { force: true });
  }
}

/** The argv that runs a task's handler; its data goes by a file, since it may be longer than a command line. */
export function handlerProgram(w: Worker, task: Task, place: Place): { argv: string[] } | { reason: string } {
  const known = offers.get(w)?.handlers;
  const found = known !== undefined && Object.hasOwn(known, task.handler!) ? known[task.handler!] : undefined;
  if (found === undefined || w.options.handlers === null) return { reason: `this worker has no handler ${task.handler}` };
  const call: HandlerCall = { file: path.join(w.options.handlers, found.file), export: found.export, name: task.handler!, data: task.data };
  const file = `${place.dir}/call`;
  fs.writeFileSync(file, JSON.stringify(call), { mode: 0o600 });
  return { argv: [...w.options.self, HANDLER_VERB, 'run', file] };
}
