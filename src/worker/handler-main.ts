/**
 * The hidden verb of the handlers: a process of its own that loads one module, and lists its functions or calls one with a task's
 * data. What it returns is the task's result, what it throws is why the task failed.
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseDuration } from '../task/duration.ts';
import type { HandlerCall, Listed } from './handlers.ts';
import { MAX_REPORT } from './scratch.ts';

/** What a handler is given beside its data. */
export interface HandlerContext {
  /** Id of the task, `ID.N` of an element. */
  readonly id: string;
  readonly attempt: number;
  /** The results of the tasks that this one came after, by id and by name. */
  readonly inputs: Readonly<Record<string, unknown>>;
  /** Aborted when the task is to end (canceled, timed out). Who asks for it is expected to end by it, within the grace. */
  readonly signal: AbortSignal;
  /** 0 to 100, and what it is doing. */
  progress(percent: number, message?: string): void;
  /** Throws: the task is run again after this long (`'10m'`, or seconds), which uses up no retry. */
  retryLater(after?: string | number, reason?: string): never;
  /** Throws: the task has failed for good, whatever retries are left. */
  fail(message: string): never;
}

/** As for any program that a task runs. */
const FAILED = 1;
const SNOOZE = 75;
const FINAL = 78;

/** How a handler ends that does not return. */
class Ending extends Error {
  override readonly name = 'Ending';
  readonly code: number;
  constructor(code: number, message: string) {
    super(message);
    this.code = code;
  }
}

/** `list MODULE OUT`, or `run CALL`. The exit code. */
export async function handlerMain(words: readonly string[]): Promise<number> {
  const [what, file, out] = words;
  if (what === 'list' && file !== undefined && out !== undefined) return listModule(file, out);
  if (what === 'run' && file !== undefined) return runHandler(JSON.parse(fs.readFileSync(file, 'utf8')) as HandlerCall); // written by handlers.ts
  return 2;
}

async function listModule(file: string, out: string): Promise<number> {
  let listed: Listed;
  try {
    listed = { exports: functionsOf(await load(file), file) };
    if (Object.keys(listed.exports).length === 0) listed = { error: 'it exports no function' };
  } catch (error) {
    listed = { error: oneLine(textOf(error)) };
  }
  write(out, JSON.stringify(listed));
  return 0;
}

type Module = Record<string, unknown>;

async function load(file: string): Promise<Module> {
  return (await import(pathToFileURL(file).href)) as Module; // any module is a record of what it exports
}

/** Name of a handler to name of its export; the default one is called as the file is. */
function functionsOf(module: Module, file: string): Record<string, string> {
  // Without a prototype, whose names are names like any other here.
  const found = Object.create(null) as Record<string, string>;
  for (const [key, value] of Object.entries(module)) {
    const name = key === 'default' ? path.basename(file).replace(/\.[^.]+$/, '') : key;
    if (typeof value !== 'function' || /^class\b/.test(Function.prototype.toString.call(value))) continue;
    if (/^[A-Za-z_][A-Za-z0-9_.-]{0,63}$/.test(name)) found[name] ??= key;
  }
  return found;
}

type Handler = (data: unknown, ctx: HandlerContext) => unknown;

async function runHandler(call: HandlerCall): Promise<number> {
  // It may await something that never comes, with nothing left that could wake the process.
  process.on('beforeExit', () => process.exit(end(new Error(`${call.name} waits for something that never comes`))));
  for (const event of ['uncaughtException', 'unhandledRejection'] as const) {
    process.removeAllListeners(event);
    process.on(event, (error: unknown) => process.exit(end(error)));
  }
  try {
    const handler = (await load(call.file))[call.export];
    if (typeof handler !== 'function') throw new Error(`${path.basename(call.file)} has no function ${call.export}`);
    const value: unknown = await (handler as Handler)(call.data, context());
    if (value !== undefined) giveResult(call.name, value);
    return 0;
  } catch (error) {
    return end(error);
  }
}

function giveResult(name: string, value: unknown): void {
  const text: string | undefined = JSON.stringify(value);
  if (text === undefined) throw new Error(`${name} returned what is not JSON: a ${typeof value}`);
  if (Buffer.byteLength(text) > MAX_REPORT) throw new Error(`${name} returned more than ${MAX_REPORT} bytes: write them to a file`);
  report('TQ_RESULT_FILE', text);
}

/** Says how it ended; the exit code. */
function end(error: unknown): number {
  if (!(error instanceof Ending)) process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : textOf(error)}\n`);
  if (textOf(error) !== '') report('TQ_ERROR_FILE', textOf(error));
  return error instanceof Ending ? error.code : FAILED;
}

function textOf(error: unknown): string {
  if (error instanceof Error) return error.message === '' ? error.name : error.message;
  return typeof error === 'string' ? error : (JSON.stringify(error) ?? String(error));
}

function oneLine(text: string): string {
  return text.replaceAll(/\s+/g, ' ').trim().slice(0, 300);
}

function context(): HandlerContext {
  const abort = new AbortController();
  let listening = false;
  let inputs: Record<string, unknown> | undefined;
  return {
    id: process.env['TQ_TASK_ID'] ?? '',
    attempt: Number(process.env['TQ_ATTEMPT'] ?? 1),
    get inputs() {
      return (inputs ??= readInputs(process.env['TQ_INPUTS']));
    },
    get signal() {
      // Who does not ask for it is ended by the signal itself.
      if (!listening) process.on('SIGTERM', () => abort.abort(new Error('the task is to end')));
      listening = true;
      return abort.signal;
    },
    progress(percent, message = '') {
      if (!(percent >= 0 && percent <= 100)) throw new TypeError(`progress: not a number from 0 to 100: ${percent}`);
      report('TQ_PROGRESS_FILE', `${percent} ${oneLine(message)}\n`);
    },
    retryLater(after, reason = 'later') {
      if (after !== undefined) {
        parseDuration(String(after), 'retryLater');
        report('TQ_SNOOZE_FILE', `${after}\n`);
      }
      throw new Ending(SNOOZE, reason);
    },
    fail(message) {
      throw new Ending(FINAL, message);
    },
  };
}

function readInputs(dir: string | undefined): Record<string, unknown> {
  const found: Record<string, unknown> = {};
  if (dir === undefined || !fs.existsSync(dir)) return found;
  for (const name of fs.readdirSync(dir)) {
    if (!name.endsWith('.json')) continue;
    const text = fs.readFileSync(path.join(dir, name), 'utf8');
    try {
      found[name.slice(0, -5)] = JSON.parse(text);
    } catch {
      found[name.slice(0, -5)] = text;
    }
  }
  return found;
}

function report(variable: string, text: string): void {
  const file = process.env[variable];
  if (file !== undefined && file !== '') write(file, text);
}

/** Aside and renamed: whoever reads it never sees half of it. */
function write(file: string, text: string): void {
  const aside = `${file}.${process.pid}`;
  fs.writeFileSync(aside, text);
  fs.renameSync(aside, file);
}
