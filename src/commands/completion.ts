/**
 * `tq completion`: what a shell needs to complete command lines, made from the same specs as the help. Ids, queues and workers are asked
 * of the queue itself at the moment.
 */
import { usage } from '../errors.ts';
import { STATES } from '../task/types.ts';
import { quoted } from '../task/visible.ts';
import { allFlags, defineCommand, type CommandSpec } from './spec.ts';

export const command = defineCommand({
  name: 'completion',
  section: 'THE QUEUE',
  summary: 'print the completions for a shell',
  examples: [{ command: 'source <(tq completion bash)', text: 'in ~/.bashrc; zsh likewise; tq completion fish | source' }],
  args: [{ name: 'SHELL', required: true, help: 'bash, zsh or fish' }],
  flags: {},
  async run(ctx) {
    const [shell = ''] = ctx.args;
    const script = Object.hasOwn(SHELLS, shell) ? SHELLS[shell] : undefined;
    if (script === undefined) throw usage(`SHELL: ${quoted(shell)} is not one of bash, zsh, fish`);
    const { allCommands } = await import('./table.ts');
    ctx.io.out(script((await allCommands()).filter((spec) => spec.hidden !== true)));
    return 0;
  },
});

const SHELLS: Record<string, (specs: readonly CommandSpec[]) => string> = {
  bash,
  zsh: (specs) => `autoload -U +X bashcompinit && bashcompinit\n${bash(specs)}`,
  fish,
};

/** What a word of a verb may be, and the command that lists it. */
const LISTS = {
  ids: 'tq ls -a -o id --no-header --limit 100',
  queues: "tq queue ls | awk 'NR > 1 { print $1 }'",
  workers: "tq worker ls | awk 'NR > 1 { print $1 }'",
} as const;

function listOf(spec: CommandSpec): keyof typeof LISTS | undefined {
  const name = spec.args?.[0]?.name;
  if (name === 'SELECTOR' || name === 'ID') return 'ids';
  if (name === 'W') return 'workers';
  return spec.name.startsWith('queue ') && name === 'NAME' ? 'queues' : undefined;
}

function lastWord(spec: CommandSpec): string {
  return spec.name.slice(spec.name.lastIndexOf(' ') + 1);
}

function flagWords(spec: CommandSpec): string[] {
  return Object.keys(allFlags(spec)).map((name) => `--${name}`);
}

function bash(specs: readonly CommandSpec[]): string {
  const caseOf = (spec: CommandSpec, pattern: string): string => {
    const list = listOf(spec);
    const words = [...(spec.subs ?? []).map(lastWord), ...flagWords(spec)].join(' ');
    return `      ${pattern}) words='${words}'${list === undefined ? '' : `; list="${LISTS[list].replaceAll('$', '\\$')}"`} ;;`;
  };
  const cases = specs.flatMap((spec) => [
    ...(spec.subs ?? []).map((sub) => caseOf(sub, `'${sub.name}'`)),
    caseOf(spec, `'${spec.name} '*`),
  ]);
  return `_tq() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} words='' list=''
  if [ "$COMP_CWORD" -eq 1 ]; then
    words='${specs.map((spec) => spec.name).join(' ')} help'
  else
    case "\${COMP_WORDS[1]} \${COMP_WORDS[2]}" in
${cases.join('\n')}
    esac
    case "$before" in
      -s|--state) words='${STATES.join(' ')}'; list='' ;;
      -q|--queue) words=''; list="${LISTS.queues.replaceAll('$', '\\$')}" ;;
      --worker) words=''; list="${LISTS.workers.replaceAll('$', '\\$')}" ;;
      --) words=''; list='' ;;
    esac
    case "$current" in
      -*) list='' ;;
    esac
    [ -n "$list" ] && words="$words $(eval "$list" 2>/dev/null)"
  fi
  COMPREPLY=($(compgen -W "$words" -- "$current"))
}
complete -o default -F _tq tq
`;
}

function fish(specs: readonly CommandSpec[]): string {
  const lines = ['complete -c tq -f'];
  for (const spec of specs) {
    lines.push(`complete -c tq -n __fish_use_subcommand -a ${spec.name} -d ${fishQuote(spec.summary)}`);
    for (const one of [spec, ...(spec.subs ?? [])]) {
      const [verb, sub] = one.name.split(' ');
      const here = `'__fish_seen_subcommand_from ${verb}${sub === undefined ? '' : `; and __fish_seen_subcommand_from ${sub}`}'`;
      if (sub === undefined)
        for (const s of one.subs ?? []) lines.push(`complete -c tq -n ${here} -a ${lastWord(s)} -d ${fishQuote(s.summary)}`);
      const list = listOf(one);
      if (list !== undefined) lines.push(`complete -c tq -n ${here} -a ${fishQuote(`(${LISTS[list]} 2>/dev/null)`)}`);
      for (const [name, flag] of Object.entries(allFlags(one))) {
        const short = flag.char === undefined ? '' : ` -s ${flag.char}`;
        const value = flag.value === undefined ? '' : ` -x${name === 'state' ? ` -a '${STATES.join(' ')}'` : ''}`;
        lines.push(`complete -c tq -n ${here}${short} -l ${name}${value} -d ${fishQuote(flag.help)}`);
      }
    }
  }
  return `${lines.join('\n')}\n`;
}

function fishQuote(text: string): string {
  return `'${text.replaceAll('\\', '\\\\').replaceAll("'", "\\'")}'`;
}
