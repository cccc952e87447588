/**
 * The neutral form of a verb: what it is called, which words and flags it takes, and the function that does it. One such object
 * per verb drives the small parser, the help, the completions and the manual, so that they cannot disagree.
 */
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
import type { Io } from '../print.ts';

export interface FlagSpec {
  /** `p` for `-p`. */
  char?: string;
  /** What its value is called in the help; a flag without it is a switch. */
  value?: string;
  /**
   * It may be given several times and every value counts, in order. In a `map` (`k=v`) a later value of a key wins. Without
   * this the last one given wins.
   */
  many?: 'list' | 'map';
  /** Its value may begin with `-` even where that spells a flag: `--sort -startedAt`. */
  dash?: true;
  /** The only values accepted. */
  choices?: readonly string[];
  /** One line. */
  help: string;
  /** Heading in the help. */
  group?: string;
}

export type FlagTable = Readonly<Record<string, FlagSpec>>;

/** What the parser makes of a table: an absent flag is absent. */
export type FlagsOf<T extends FlagTable> = string extends keyof T
  ? Record<string, string | string[] | true>
  : { -readonly [K in keyof T]?: T[K] extends { value: string } ? (T[K] extends { many: string } ? string[] : string) : true };

/** Accepted by every verb. */
export const GLOBAL_FLAGS = {
  dir: { char: 'D', value: 'DIR', help: 'the queue directory', group: 'FLAGS OF EVERY VERB' },
  json: { help: 'print JSON, errors too', group: 'FLAGS OF EVERY VERB' },
  help: { char: 'h', help: 'show help', group: 'FLAGS OF EVERY VERB' },
} as const satisfies FlagTable;

export type GlobalFlags = FlagsOf<typeof GLOBAL_FLAGS>;

export interface ArgSpec {
  /** As in the usage line: `SELECTOR`. */
  name: string;
  required?: boolean;
  /** Takes all words that are left. */
  many?: boolean;
  help: string;
}

export type Section = 'SUBMITTING' | 'LOOKING' | 'CHANGING' | 'WORKERS' | 'INSIDE A TASK' | 'THE QUEUE';

export interface Example {
  command: string;
  text: string;
}

/** What a verb gets to work with. */
export interface Ctx<F = Record<string, string | string[] | true>> {
  readonly flags: F & GlobalFlags;
  /** Words that are not flags. For a verb without `tail`, those after `--` too. */
  readonly args: string[];
  /** The words after `--`, untouched, for a verb with a `tail`; undefined when there was no `--`. */
  readonly command: string[] | undefined;
  readonly json: boolean;
  readonly io: Io;
  readonly system: System;
  /**
   * The queue that `-D`, `$TQ_DIR` and the working directory name; opened once. `check` throws what is wrong with the words: it is
   * called before the default queue is made.
   */
  queue(check?: () => Promise<unknown>): Promise<Queue>;
}

export interface CommandSpec<F extends FlagTable = FlagTable> {
  /** `submit`, or `queue pause` for a verb below another. */
  name: string;
  aliases?: readonly string[];
  /** One line, lower case, without a full stop. */
  summary: string;
  description?: string;
  examples?: readonly Example[];
  args?: readonly ArgSpec[];
  flags: F;
  /** The verb takes a command after `--`. */
  tail?: 'command';
  /** Verbs below this one; the first word chooses. */
  subs?: readonly CommandSpec[];
  /**
   * Always, or with one of these flags, the exit code is the task's own, and tq's own trouble is said with 125.
   */
  passesCode?: true | readonly string[];
  /** Not in the list of verbs. */
  hidden?: boolean;
  /** Under which heading of the list of verbs it stands. */
  section?: Section;
  /** The exit code. Absent: the verb only has verbs below it. */
  run?(ctx: Ctx<FlagsOf<F>>): Promise<number> | number;
}

/** Checks a spec against its own flag table and forgets the table's exact type. */
export function defineCommand<const F extends FlagTable>(spec: CommandSpec<F>): CommandSpec {
  return spec as unknown as CommandSpec;
}

/** The flags of a verb with those that every verb takes. */
export function allFlags(spec: CommandSpec): FlagTable {
  return { ...spec.flags, ...GLOBAL_FLAGS };
}
