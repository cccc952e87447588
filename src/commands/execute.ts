/**
 * One verb from its words to its exit code: parse by its table, check, run, and say what went wrong. Every verb goes through
 * here, however it was found.
 */
import { TqError } from '../errors.ts';
import type { Io } from '../print.ts';
import { listOrEmpty } from '../queue/fsx.ts';
import { commandJournal } from '../queue/journal.ts';
import { findQueue, openFound, openQueue, type Queue } from '../queue/open.ts';
import { report } from '../report.ts';
import type { System } from '../system.ts';
import { checkArgs, parseWords, type Words } from './parse.ts';
import { allFlags, type CommandSpec, type Ctx } from './spec.ts';

export interface Outside {
  system: System;
  io: Io;
  /** Shows the help of a verb. */
  help(spec: CommandSpec): Promise<number>;
}

/** Never throws: trouble is printed and becomes the exit code. */
export async function execute(spec: CommandSpec, words: readonly string[], outside: Outside): Promise<number> {
  const { sub, rest } = chooseSub(spec, words);
  try {
    const place = sub.tail === 'command' ? { verb: sub.name, most: sub.args?.length ?? 0 } : undefined;
    const parsed = parseWords(rest, allFlags(sub), place);
    if (parsed.flags['help'] === true) return await outside.help(sub);
    if (sub.run === undefined) throw missingSub(sub, parsed);
    checkArgs(sub, parsed);
    const { ctx, told } = makeCtx(sub, parsed, outside);
    try {
      return await sub.run(ctx);
    } finally {
      await told();
    }
  } catch (error) {
    return report(error, outside.io, {
      json: hasSwitch(rest, 'json'),
      passesCode: sub.passesCode === true || (sub.passesCode ?? []).some((name) => hasSwitch(rest, name)),
      doing: `tq ${sub.name}`,
      debug: outside.system.env['TQ_DEBUG'] === '1',
    });
  }
}

/** The verb below `spec` that the first word names; flags that every verb takes may stand before it. */
function chooseSub(spec: CommandSpec, words: readonly string[]): { sub: CommandSpec; rest: readonly string[] } {
  if (spec.subs === undefined) return { sub: spec, rest: words };
  const at = leadLength(words);
  const sub = spec.subs.find((s) => s.name === `${spec.name} ${words[at]}`);
  return sub === undefined ? { sub: spec, rest: words } : { sub, rest: words.toSpliced(at, 1) };
}

/** How many words at the beginning are `-D DIR` and `--json`. */
export function leadLength(words: readonly string[]): number {
  let at = 0;
  for (;;) {
    const word = words[at];
    if (word === '--json' || (word?.startsWith('--dir=') ?? false) || /^-D./s.test(word ?? '')) at += 1;
    else if ((word === '-D' || word === '--dir') && words[at + 1] !== undefined) at += 2;
    else return at;
  }
}

function missingSub(spec: CommandSpec, parsed: Words): TqError {
  const names = (spec.subs ?? []).map((s) => s.name.slice(spec.name.length + 1)).join('|');
  const [word] = parsed.args;
  const message =
    word === undefined ? `tq ${spec.name}: what to do with it is missing` : `tq ${spec.name}: unknown word ${JSON.stringify(word)}`;
  return new TqError('USAGE', message, { hint: `tq ${spec.name} ${names}` });
}

/** `told` resolves when the journal has what the verb had to say. */
function makeCtx(spec: CommandSpec, parsed: Words, { system, io }: Outside): { ctx: Ctx; told: () => Promise<void> } {
  let opened: Promise<Queue> | undefined;
  const dir = parsed.flags['dir'];
  const ctx: Ctx = {
    flags: parsed.flags as Ctx['flags'],
    args: spec.tail === 'command' ? parsed.args : [...parsed.args, ...(parsed.rest ?? [])],
    command: spec.tail === 'command' ? parsed.rest : undefined,
    json: parsed.flags['json'] === true,
    io,
    system,
    queue(check) {
      opened ??= open(
        typeof dir === 'string' ? dir : undefined,
        system,
        parsed.flags['dry-run'] === true,
        HELPERS.has(spec.name.split(' ')[0]!),
        check,
      );
      return opened;
    },
  };
  const told = async (): Promise<void> => {
    const q = await opened?.catch(() => undefined);
    await q?.journal?.flush();
  };
  return { ctx, told };
}

/** Verbs that first finish what another process began and did not live to end, so that they see and change all of it. */
const HELPERS: ReadonlySet<string> = new Set(
  'ls show wait why graph stats status cancel retry hold release set rm group queue limit gc export'.split(' '),
);

async function open(
  flag: string | undefined,
  system: System,
  dryRun: boolean,
  helps: boolean,
  check?: () => Promise<unknown>,
): Promise<Queue> {
  const found = findQueue({ flag, env: system.env, cwd: system.cwd() });
  // The default queue is made on first use; a dry run is no use.
  const q = await (dryRun ? openQueue(found.dir) : openFound(found, {}, check));
  q.facts = async () => (await import('../worker/facts.ts')).hostFacts();
  if (!dryRun) q.journal = commandJournal(q, system.host());
  if (helps && !dryRun) await help(q);
  return q;
}

/** Costs one listing when there is nothing to do. What cannot be finished by this user is left to others. */
async function help(q: Queue): Promise<void> {
  try {
    if ((await listOrEmpty(q.fsx, q.lay.intents)).length === 0) return;
    const { finishIntents } = await import('../queue/intent.ts');
    const { hostFacts } = await import('../worker/facts.ts');
    await finishIntents(q, hostFacts());
  } catch {
    // The verb itself says what is wrong with the queue.
  }
}

/** For errors in the words themselves, when no parse says what they mean. */
function hasSwitch(words: readonly string[], name: string): boolean {
  const end = words.indexOf('--');
  return (end < 0 ? words : words.slice(0, end)).includes(`--${name}`);
}
