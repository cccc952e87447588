/**
 * The verbs as oclif commands: an explicit table, made from the specs. oclif finds and starts what is not called in loops, and
 * writes the help; the words of every verb are read by the one parser of this program.
 */
import { Command, CommandHelp, Config, Flags, Help, type Interfaces } from '@oclif/core';
import { colourWanted } from '../print.ts';
import { version } from '../version.ts';
import { execute, leadLength, type Outside } from './execute.ts';
import { allFlags, type CommandSpec, type FlagTable, type Section } from './spec.ts';
import { allCommands } from './table.ts';

const DESCRIPTION = 'a task queue in a shared directory: no server, nothing lost, nothing run twice at once';

const SECTIONS: readonly Section[] = ['SUBMITTING', 'LOOKING', 'CHANGING', 'WORKERS', 'INSIDE A TASK', 'THE QUEUE'];

/** Runs one verb as an oclif command; its exit code. */
export async function runVerb(spec: CommandSpec, words: readonly string[], outside: Outside): Promise<number> {
  const config = await makeConfig([spec], outside);
  const at = leadLength(words);
  const sub = spec.subs?.find((s) => s.name === `${spec.name} ${words[at]}`);
  const argv = sub === undefined ? [...words] : words.toSpliced(at, 1);
  return config.runCommand<number>(idOf(sub ?? spec), argv);
}

/** Shows the list of verbs, or the help of one; the exit code. */
export async function showHelp(spec: CommandSpec | undefined, outside: Outside): Promise<number> {
  const specs = await allCommands();
  const config = await makeConfig(specs, outside);
  const plain = !colourWanted(outside.system.env, () => outside.system.isTerminal(1));
  const help = new TqHelp(config, specs, outside, { flagSortOrder: 'none', hideCommandSummaryInDescription: true, stripAnsi: plain });
  await help.showHelp(spec === undefined ? [] : spec.name.split(' '));
  return 0;
}

/** Description before flags, and a group of flags under its own name. */
class VerbHelp extends CommandHelp {
  protected override sections(): ReturnType<CommandHelp['sections']> {
    const order = ['USAGE', 'DESCRIPTION', 'ARGUMENTS', 'FLAGS', 'ALIASES', 'EXAMPLES'];
    const sections = super.sections().filter((s) => order.includes(s.header));
    return sections.toSorted((a, b) => order.indexOf(a.header) - order.indexOf(b.header));
  }

  override section(header: string, body: Parameters<CommandHelp['section']>[1]): string {
    return super.section(header.replace(/(?<=.) FLAGS$/, ''), body);
  }

  // The base class trims what it returns, and with it the place that the letter of the first flag would have.
  override renderList(...[input, options]: Parameters<CommandHelp['renderList']>): string {
    const indent = /^ */.exec(input[0]?.[0] ?? '')![0];
    return indent + super.renderList(input, options);
  }
}

class TqHelp extends Help {
  override CommandHelpClass = VerbHelp;
  private readonly specs: readonly CommandSpec[];
  private readonly outside: Outside;

  constructor(config: Config, specs: readonly CommandSpec[], outside: Outside, options: Partial<Interfaces.HelpOptions>) {
    super(config, options);
    this.specs = specs;
    this.outside = outside;
  }

  protected override log(...lines: string[]): void {
    this.outside.io.out(`${lines.join('\n')}\n`);
  }

  protected override showRootHelp(): Promise<void> {
    const { paint } = this.outside.io;
    this.log(`tq ${version}: ${DESCRIPTION}`, '');
    this.log(this.section('USAGE', '$ tq VERB [SELECTOR...] [flags] [-- CMD ARGS...]'), '');
    const shown = this.specs.filter((s) => s.hidden !== true);
    const width = Math.max(...shown.map((s) => s.name.length));
    for (const section of SECTIONS) {
      const lines = shown.filter((s) => s.section === section).map((s) => `${paint('cyan', s.name.padEnd(width))}  ${s.summary}`);
      if (lines.length > 0) this.log(this.section(section, lines.join('\n')), '');
    }
    this.log('tq help VERB, or tq VERB --help, shows its flags with examples.');
    return Promise.resolve();
  }
}

/** A configuration that holds just these commands; oclif reads no package.json and looks for no plugins. */
async function makeConfig(specs: readonly CommandSpec[], outside: Outside): Promise<Config> {
  const commands = specs.flatMap((spec) => [spec, ...(spec.subs ?? [])]).map((spec) => loadable(spec, outside));
  const pjson = {
    name: 'tq',
    version,
    description: DESCRIPTION,
    oclif: { bin: 'tq', topicSeparator: ' ' },
  } as Interfaces.PJSON;
  const plugin: Interfaces.Plugin = {
    _base: '',
    alias: 'tq',
    commandIDs: commands.map((c) => c.id),
    commands,
    commandsDir: undefined,
    findCommand: async (id: string) => (await commands.find((c) => c.id === id)?.load())!,
    hasManifest: true,
    hooks: {},
    isRoot: true,
    load: () => Promise.resolve(),
    moduleType: 'module',
    name: 'tq',
    options: { root: ROOT },
    pjson,
    root: ROOT,
    topics: specs.filter((s) => s.subs !== undefined).map((s) => ({ name: s.name, description: s.summary })),
    type: 'core',
    valid: true,
    version,
  };
  return Config.load({ root: ROOT, pjson, plugins: new Map([['tq', plugin]]), devPlugins: false, userPlugins: false });
}

/** Nothing is read from there. */
const ROOT = '/';

function loadable(spec: CommandSpec, outside: Outside): Command.Loadable {
  const id = idOf(spec);
  class Verb extends Command {
    static override readonly id = id;
    static override readonly strict = false;
    // `execute` reads the words; without this oclif warns on stderr that nobody did.
    override parsed = true;

    /** The exit code. */
    override run(): Promise<number> {
      return execute(spec, this.argv, outside);
    }
  }
  return {
    id,
    aliases: [...(spec.aliases ?? [])],
    hiddenAliases: [],
    hidden: spec.hidden ?? false,
    summary: spec.summary,
    ...(spec.description === undefined ? {} : { description: spec.description }),
    examples: (spec.examples ?? []).map((e) => ({ command: e.command, description: e.text })),
    usage: usageOf(spec),
    args: Object.fromEntries(
      (spec.args ?? []).map((a) => [
        a.name,
        { name: a.name, description: a.help, required: a.required ?? false, multiple: a.many ?? false, ignoreStdin: true },
      ]),
    ) as Command.Loadable['args'],
    flags: oclifFlags(allFlags(spec)) as unknown as Command.Loadable['flags'],
    strict: true,
    pluginName: 'tq',
    pluginAlias: 'tq',
    pluginType: 'core',
    load: () => Promise.resolve(Verb),
  } as Command.Loadable;
}

function idOf(spec: CommandSpec): string {
  return spec.name.replaceAll(' ', ':');
}

function usageOf(spec: CommandSpec): string {
  const args = (spec.args ?? []).map((a) => {
    const name = a.many === true ? `${a.name}...` : a.name;
    return a.required === true ? name : `[${name}]`;
  });
  if (spec.run === undefined && spec.subs !== undefined) args.push(spec.subs.map((s) => s.name.slice(spec.name.length + 1)).join('|'));
  return [spec.name, ...args, '[flags]', ...(spec.tail === 'command' ? ['-- CMD ARGS...'] : [])].join(' ');
}

/** The flag table in oclif's terms; what its help shows, and what its parser would make of the same words. */
export function oclifFlags(table: FlagTable): Interfaces.FlagInput {
  const flags: Interfaces.FlagInput = {};
  for (const [name, flag] of Object.entries(table)) {
    const common = {
      summary: flag.help,
      ...(flag.char === undefined ? {} : { char: flag.char as 'a' }), // oclif's type is the list of letters
      ...(flag.group === undefined ? {} : { helpGroup: flag.group }),
    };
    if (flag.value === undefined) {
      flags[name] = Flags.boolean(common);
      continue;
    }
    const option = { ...common, helpValue: flag.value, ...(flag.choices === undefined ? {} : { options: [...flag.choices] }) };
    flags[name] = flag.many === undefined ? Flags.string(option) : Flags.string({ ...option, multiple: true, multipleNonGreedy: true });
  }
  return flags;
}
