/**
 * From the file that `-f` names to a workflow: JSON, YAML and TOML are read, a program is run with its settings. What comes out is
 * data; the file may change or go afterwards.
 */
import fs from 'node:fs';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { errnoOf, TqError, usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';
import { readSettings } from './settings.ts';
import { readWorkflow, type Workflow } from './workflow.ts';

const PROGRAM = /\.[cm]?[jt]s$/;

/** `file` as it was given, `cwd` where it is looked for, `given` the words of `--set`. Throws usage errors that name the file. */
export async function loadWorkflow(file: string, cwd: string, given: readonly string[]): Promise<Workflow> {
  const at = path.resolve(cwd, file);
  if (PROGRAM.test(at)) return readWorkflow(await compile(at, file, given), file);
  if (given.length > 0) throw usage(`--set ${quoted(given[0]!)} goes with a .ts or .js workflow; ${file} takes no settings`);
  return readWorkflow(await parse(readText(at, file), file), file);
}

function readText(at: string, file: string): string {
  try {
    return fs.readFileSync(at, 'utf8');
  } catch (error) {
    throw cannotRead(file, error);
  }
}

function cannotRead(file: string, error: unknown): TqError {
  return new TqError('USAGE', `--file: cannot read ${quoted(file)}: ${errnoOf(error) ?? String(error)}`, { cause: error });
}

async function parse(text: string, file: string): Promise<unknown> {
  const ending = path.extname(file);
  try {
    switch (ending) {
      case '.json':
        return JSON.parse(text);
      case '.yaml':
      case '.yml':
        return (await import('yaml')).parse(text);
      case '.toml':
        return (await import('smol-toml')).parse(text);
      default:
    }
  } catch (error) {
    throw new TqError('USAGE', `${file}: does not parse: ${firstLine(error)}`, { cause: error });
  }
  throw usage(`--file: what ${quoted(file)} is written in cannot be told from its name`, '.json, .yaml, .toml, .ts or .js');
}

/** Runs a program: its default export with its settings. What it prints goes to standard error. */
async function compile(at: string, file: string, given: readonly string[]): Promise<unknown> {
  try {
    fs.accessSync(at, fs.constants.R_OK);
  } catch (error) {
    throw cannotRead(file, error);
  }
  const { console: terminal } = globalThis;
  const { log } = terminal;
  terminal.log = terminal.error;
  const { exit } = process;
  // A program that ended the process would look like a submit that has nothing to say.
  process.exit = (() => {
    throw usage(`${file}: it ends the process`, 'it returns a workflow, or throws');
  }) as typeof exit;
  try {
    let program: { default?: unknown; settings?: unknown };
    try {
      program = (await import(pathToFileURL(at).href)) as typeof program; // whatever it exports is looked at below
    } catch (error) {
      if (error instanceof TqError) throw error;
      throw new TqError('USAGE', `${file}: cannot be loaded: ${firstLine(error)}`, { cause: error });
    }
    if (typeof program.default !== 'function')
      throw usage(`${file}: its default export is not a function`, 'export default (settings) => ({tasks: [...]})');
    const settings = readSettings(program.settings, given, file);
    try {
      return await (program.default as (settings: object) => unknown)(settings);
    } catch (error) {
      if (error instanceof TqError) throw error;
      throw new TqError('USAGE', `${file}: threw: ${firstLine(error)}`, { cause: error });
    }
  } finally {
    terminal.log = log;
    process.exit = exit;
  }
}

function firstLine(error: unknown): string {
  return (error instanceof Error ? error.message : String(error)).split('\n', 1)[0]!.replace(/:$/, '');
}
