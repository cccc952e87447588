/**
 * The composition root: the real system, the verb that the first word names, and the exit code. What a submit does not need is
 * not loaded for a submit.
 */
import { usage } from './errors.ts';
import { execute, leadLength, type Outside } from './commands/execute.ts';
import type { CommandSpec } from './commands/spec.ts';
import { command as submit } from './commands/submit.ts';
import { ALIASES, HOT, VERBS, verbOf } from './commands/table.ts';
import { makeIo, printJson } from './print.ts';
import { report } from './report.ts';
import { expectWork, realSystem } from './system.ts';
import { nearest } from './task/nearest.ts';
import { quoted } from './task/visible.ts';

const system = realSystem();
const io = makeIo(system);

const outside: Outside = {
  system,
  io,
  help: async (spec) => {
    const { showHelp } = await import('./commands/shell.ts');
    return showHelp(spec, outside);
  },
};

/** The exit code. */
async function main(argv: readonly string[]): Promise<number> {
  if (argv.some((word) => word.includes('\uFFFD'))) (await import('./commands/raw-words.ts')).refuseMangled(argv);
  // `tq -D DIR ls` is `tq ls -D DIR`.
  const lead = leadLength(argv);
  const word = argv[lead];
  const words = [...argv.slice(0, lead), ...argv.slice(lead + 1)];
  const verb = word === undefined ? undefined : verbOf(word);
  // The one verb that is part of the program's first piece: loading another one would be a tenth of its time.
  if (verb === 'submit') return execute(submit, words, outside);
  expectWork();
  if (word === '__guardian') return guardian(words);
  if (word === '__handler') return handler(words);
  if (word === undefined || word === '--help' || word === '-h' || word === 'help') return help(words.slice(lead));
  if (word === '--version' || word === '-V') return showVersion(words.includes('--json'));
  if (verb === undefined) throw unknownVerb(word);
  const { command } = await VERBS[verb]();
  if (HOT.has(verb)) return execute(command, words, outside);
  const { runVerb } = await import('./commands/shell.ts');
  return runVerb(command, words, outside);
}

async function help(words: readonly string[]): Promise<number> {
  const names = words.filter((word) => !word.startsWith('-'));
  const { showHelp } = await import('./commands/shell.ts');
  if (names.length === 0) return showHelp(undefined, outside);
  const verb = verbOf(names[0]!);
  if (verb === undefined) throw unknownVerb(names[0]!);
  const { command }: { command: CommandSpec } = await VERBS[verb]();
  const sub = names[1] === undefined ? command : command.subs?.find((s) => s.name === `${command.name} ${names[1]}`);
  if (sub === undefined) throw usage(`tq help: there is no tq ${verb} ${quoted(names[1]!)}`, `tq help ${verb}`);
  return showHelp(sub, outside);
}

async function showVersion(json: boolean): Promise<number> {
  const { version } = await import('./version.ts');
  if (json) printJson({ version }, io);
  else io.out(`tq ${version}\n`);
  return 0;
}

function unknownVerb(word: string): Error {
  if (word === '-D' || word === '--dir') return usage('--dir needs a value', '--dir DIR');
  if (word.startsWith('-')) return usage(`unknown flag ${quoted(word)} before the verb`, 'tq VERB [flags]; tq --help lists the verbs');
  const near = nearest(word, [...Object.keys(VERBS), ...Object.keys(ALIASES), 'help']);
  return usage(`unknown verb ${quoted(word)}`, near === undefined ? 'tq --help lists the verbs' : `did you mean tq ${near}?`);
}

async function guardian(words: readonly string[]): Promise<number> {
  const { guardianMain } = await import('./worker/guardian-main.ts');
  return guardianMain(words);
}

async function handler(words: readonly string[]): Promise<number> {
  const { handlerMain } = await import('./worker/handler-main.ts');
  return handlerMain(words);
}

function lastWords(thrown: unknown): number {
  const argv = process.argv.slice(2);
  return report(thrown, io, {
    json: argv.includes('--json'),
    passesCode: argv[0] === 'run',
    doing: 'tq',
    debug: system.env['TQ_DEBUG'] === '1',
  });
}

// What escapes from a timer or a forgotten promise is said in the same way; a stack trace on a terminal helps nobody.
process.on('uncaughtException', (thrown) => process.exit(lastWords(thrown)));
process.on('unhandledRejection', (thrown) => process.exit(lastWords(thrown)));

// All output is written when main is done, and whatever still listens (a terminal, a pipe to a child) must not keep the process.
void main(process.argv.slice(2))
  .catch(lastWords)
  .then((code) => process.exit(code));
