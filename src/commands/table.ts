/**
 * Every verb and where it is: the only list of them. Nothing is loaded before it is asked for, and no directory is ever
 * scanned.
 */
import type { CommandSpec } from './spec.ts';

type Load = () => Promise<{ command: CommandSpec }>;

/** In the order of the help. */
export const VERBS = {
  submit: () => import('./submit.ts'),
  run: () => import('./run.ts'),
  ls: () => import('./ls.ts'),
  show: () => import('./show.ts'),
  logs: () => import('./logs.ts'),
  wait: () => import('./wait.ts'),
  why: () => import('./why.ts'),
  graph: () => import('./graph.ts'),
  top: () => import('./top.ts'),
  events: () => import('./events.ts'),
  stats: () => import('./stats.ts'),
  status: () => import('./status.ts'),
  cancel: () => import('./cancel.ts'),
  retry: () => import('./retry.ts'),
  hold: () => import('./hold.ts'),
  release: () => import('./release.ts'),
  set: () => import('./set.ts'),
  rm: () => import('./rm.ts'),
  note: () => import('./note.ts'),
  group: () => import('./group.ts'),
  worker: () => import('./worker.ts'),
  progress: () => import('./progress.ts'),
  result: () => import('./result.ts'),
  snooze: () => import('./snooze.ts'),
  init: () => import('./init.ts'),
  queue: () => import('./queue.ts'),
  limit: () => import('./limit.ts'),
  cron: () => import('./cron.ts'),
  gc: () => import('./gc.ts'),
  doctor: () => import('./doctor.ts'),
  export: () => import('./export.ts'),
  import: () => import('./import.ts'),
  config: () => import('./config.ts'),
  completion: () => import('./completion.ts'),
  schema: () => import('./schema.ts'),
} as const satisfies Record<string, Load>;

export type Verb = keyof typeof VERBS;

export const ALIASES: Readonly<Record<string, Verb>> = { add: 'submit' };

/** Called by scripts in loops, so they start without the command framework. */
export const HOT: ReadonlySet<Verb> = new Set([
  'submit',
  'run',
  'ls',
  'show',
  'logs',
  'wait',
  'status',
  'cancel',
  'retry',
  'hold',
  'release',
  'set',
  'rm',
  'note',
  'worker',
  'progress',
  'result',
  'snooze',
]);

/** The verb that a word names, by its own name or an alias. */
export function verbOf(word: string): Verb | undefined {
  if (Object.hasOwn(VERBS, word)) return word as Verb;
  return Object.hasOwn(ALIASES, word) ? ALIASES[word] : undefined;
}

/** Every spec, in the order of the help. */
export async function allCommands(): Promise<CommandSpec[]> {
  return Promise.all(Object.values(VERBS as Record<string, Load>).map(async (load) => (await load()).command));
}
