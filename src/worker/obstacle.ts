/**
 * The one thing that keeps a worker from a task. Pure. What lasts (a queue that it does not serve, an offer too small) is told
 * before what passes (asleep, no free slot), and what somebody can do something about comes in words.
 */
import type { Requirements } from '../queue/layout.ts';
import type { WorkerFile } from '../queue/registry.ts';
import { formatDuration } from '../task/duration.ts';
import { formatSize } from '../task/size.ts';
import { matchesOn, parseOn, type OnTerm } from '../task/on.ts';
import { visible } from '../task/visible.ts';
import type { Sight } from './sight.ts';

export type ObstacleKind =
  | 'offline'
  | 'not alive'
  | 'other worker'
  | 'queue'
  | 'label'
  | 'offer'
  | 'variable'
  | 'handler'
  | 'user'
  | 'time limit'
  | 'state'
  | 'request'
  | 'failed before'
  | 'paused'
  | 'limit'
  | 'mutex'
  | 'reserved'
  | 'blocked'
  | 'no free slot'
  | 'not enough free';

export interface Obstacle {
  kind: ObstacleKind;
  /** `offers 2 cpus, 4 are asked for` */
  text: string;
}

/** What is known of a task beyond what its lane asks for. */
export interface Past {
  /** Workers that could not start it. */
  rejectedBy: readonly string[];
  /** The worker where its newest attempt failed, while it is left to others. */
  failedOn: string | null;
}

/** Why this worker can never take such a task as long as it runs with these flags; undefined when it could. */
export function unable(
  file: Pick<WorkerFile, 'name' | 'queues' | 'labels' | 'offers' | 'settings'>,
  r: Requirements,
): Obstacle | undefined {
  if (r.worker !== undefined && r.worker !== file.name)
    return { kind: 'other worker', text: `the task is for worker ${visible(r.worker)}` };
  if (!file.queues.includes(r.queue) && !file.queues.includes('*')) {
    return { kind: 'queue', text: `does not serve queue ${r.queue} (serves ${file.queues.map(visible).join(', ')})` };
  }
  const label = r.on === undefined ? undefined : missingLabel(r.on, file.labels);
  if (label !== undefined) return { kind: 'label', text: label };
  for (const [what, asked] of Object.entries(r.needs ?? {})) {
    const offered = file.offers[what] ?? 0;
    if (asked !== undefined && asked > offered) {
      return { kind: 'offer', text: `offers ${amount(what, offered)}, ${amount(what, asked)} asked for` };
    }
  }
  const vars = namesIn(file.settings['vars']);
  const missing = vars === undefined ? undefined : r.vars?.find((name) => !vars.includes(name));
  if (missing !== undefined) return { kind: 'variable', text: `has no variable ${visible(missing)} (--var)` };
  const handlers = namesIn(file.settings['handlers']);
  if (r.handler !== undefined && handlers !== undefined && !handlers.includes(r.handler)) {
    return { kind: 'handler', text: `has no handler ${visible(r.handler)}${whyNot(file, r.handler)}` };
  }
  return undefined;
}

/** A module of that name may be there, and not load. */
function whyNot({ settings }: Pick<WorkerFile, 'settings'>, handler: string): string {
  const { brokenHandlers: broken } = settings;
  const list = Array.isArray(broken) ? (broken as Array<{ file: string; reason: string }>) : []; // as the worker wrote it
  const its = list.find(({ file }) => file.replace(/\.[^.]*$/, '') === handler);
  return its === undefined ? '' : `: ${visible(`${its.file}: ${its.reason}`)}`;
}

/** What is known of a queued task that is the same for every worker. */
export interface Everywhere {
  id: string;
  priority: number;
  /** Its queue is paused, or a limit or mutex has no room: it is the same on every worker. */
  keeps: Obstacle | undefined;
  /** How long it may take, and the file server's time, ms. */
  timeoutMs?: number | undefined;
  now?: number;
  /** On a queue that several users share: whose it is. */
  user?: string | undefined;
}

/** What keeps the worker from the task now; undefined when nothing does. */
export function obstacle(
  s: Sight,
  r: Requirements,
  past: Past,
  inUse: Readonly<Record<string, number>>,
  everywhere?: Everywhere,
): Obstacle | undefined {
  if (s.state === 'offline') return { kind: 'offline', text: s.said?.lost === true ? 'offline: it was lost' : 'offline' };
  if (!s.alive) return { kind: 'not alive', text: 'not alive' };
  const never = unable(s.file, r);
  if (never !== undefined) return never;
  if (s.state !== 'awake') {
    const { hours } = s.file.settings;
    const awakeAt = s.state === 'asleep' && typeof hours === 'string' ? ` (its hours: ${visible(hours)})` : '';
    const why = s.state === 'error' && s.said?.reason !== undefined && s.said.reason !== null ? `: ${visible(s.said.reason)}` : '';
    return {
      kind: 'state',
      text: `${s.state === 'error' ? 'in error' : s.state}${awakeAt}${why}${s.want === null ? '' : `, asked to be ${s.want}`}`,
    };
  }
  if (s.want !== null) return { kind: 'request', text: `asked to be ${s.want}: takes nothing more` };
  if (everywhere?.keeps?.kind === 'paused') return everywhere.keeps;
  const other = everywhere === undefined ? undefined : untimely(s, everywhere);
  if (other !== undefined) return other;
  if (past.rejectedBy.includes(s.file.name)) return { kind: 'failed before', text: 'could not start it before' };
  if (past.failedOn === s.file.name) return { kind: 'failed before', text: 'failed it before, leaves it to others for now' };
  if (s.said?.blocked !== undefined && s.said.blocked !== null) return { kind: 'blocked', text: visible(s.said.blocked) };
  if (everywhere?.keeps !== undefined) return everywhere.keeps;
  const kept = s.said?.reserved ?? null;
  if (kept !== null && everywhere !== undefined && kept.id !== everywhere.id && everywhere.priority <= kept.priority) {
    return { kind: 'reserved', text: `keeps its room for ${visible(kept.id)}, which has waited for long` };
  }
  if (s.running.length >= s.file.jobs) return { kind: 'no free slot', text: `no free slot (${s.running.length} of ${s.file.jobs} in use)` };
  for (const [what, asked] of Object.entries(r.needs ?? { cpus: 1 })) {
    const offered = s.file.offers[what] ?? 0;
    const free = offered - (inUse[what] ?? 0);
    if (asked !== undefined && asked > free) {
      return {
        kind: 'not enough free',
        text: `${amount(what, Math.max(0, free))} free of ${amount(what, offered)}, ${amount(what, asked)} asked for`,
      };
    }
  }
  return undefined;
}

/** What it takes neither now nor later, for reasons that are not in the lane. */
function untimely(s: Sight, { timeoutMs, now, user }: Everywhere): Obstacle | undefined {
  const { runUsers, timeLimitMs } = s.file.settings;
  if (user !== undefined && Array.isArray(runUsers) && !runUsers.includes(user)) {
    return {
      kind: 'user',
      text: `runs no tasks of ${visible(user)} (only of ${runUsers.map((name) => visible(String(name))).join(', ')})`,
    };
  }
  if (timeoutMs === undefined || now === undefined || typeof timeLimitMs !== 'number') return undefined;
  const rest = s.file.startedAt + timeLimitMs - now;
  if (timeoutMs <= rest) return undefined;
  return {
    kind: 'time limit',
    text: `its --time-limit is over in ${formatDuration(Math.max(0, rest))}, the task may take ${formatDuration(timeoutMs)}`,
  };
}

function missingLabel(on: string, labels: Readonly<Record<string, string>>): string | undefined {
  let failing: OnTerm | undefined;
  try {
    failing = parseOn(on, '--on').find((term) => !matchesOn([term], labels));
  } catch {
    return `its labels are not understood: ${visible(on)}`;
  }
  if (failing === undefined) return undefined;
  const name = visible(failing.label);
  switch (failing.kind) {
    case 'has':
      return `no label ${name}`;
    case 'hasNot':
      return `has the label ${name}, which the task does not want`;
    case 'is': {
      const there = labels[failing.label];
      return there === undefined
        ? `no label ${name}=${visible(failing.value)}`
        : `label ${name} is ${visible(there)}, not ${visible(failing.value)}`;
    }
    case 'isNot':
      return `label ${name} is ${visible(failing.value)}, which the task does not want`;
  }
}

export function amount(what: string, n: number): string {
  if (what === 'mem') return `${formatSize(n)} mem`;
  const name = visible(what);
  return `${n} ${n === 1 && name.endsWith('s') ? name.slice(0, -1) : name}`;
}

/** The names in a list, or the keys of a map; undefined for a worker that does not tell. */
function namesIn(value: unknown): string[] | undefined {
  if (Array.isArray(value)) return value.map(String);
  return typeof value === 'object' && value !== null ? Object.keys(value) : undefined;
}
