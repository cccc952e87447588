/**
 * The settings of a queue: one table of their keys, defaults and rules. What is kept is the text that a person wrote, in the form that
 * the flag of the same meaning takes, so that each value is checked by the parser that reads it later. Pure.
 */
import { TqError, usage } from '../errors.ts';
import { buildTask, type SubmitFlags } from './build.ts';
import { parseDuration } from './duration.ts';
import { nearest } from './nearest.ts';
import { quoted } from './visible.ts';

/** Who obeys a setting. `queue`: all that work on it. */
export type Obeys = 'queue' | 'worker' | 'gc' | 'submit';

export interface Setting {
  key: string;
  /** As a flag's value is called: `D`. */
  value: string;
  /** Without the setting; null: there is none. */
  byDefault: string | { local: string; network: string } | null;
  obeys: Obeys;
  help: string;
  /** Throws USAGE naming the key and the text. */
  check(text: string): void;
}

/** The shortest poll of a worker, and the shortest lease: a heartbeat is written eight times in it. */
const LEAST_POLL_MS = 10;
const LEAST_LEASE_MS = 1000;

export const SETTINGS: readonly Setting[] = [
  {
    key: 'lease',
    value: 'D',
    byDefault: { local: '30s', network: '5m' },
    obeys: 'queue',
    help: 'a worker that is silent for this long is dead; only while no worker is there',
    check: (text) => atLeast(text, 'lease', LEAST_LEASE_MS),
  },
  {
    key: 'poll',
    value: 'D',
    byDefault: { local: '1s', network: '5s' },
    obeys: 'worker',
    help: 'how often workers without --poll look',
    check: (text) => atLeast(text, 'poll', LEAST_POLL_MS),
  },
  {
    key: 'keep',
    value: 'D',
    byDefault: '7d',
    obeys: 'gc',
    help: 'how long tq gc keeps done tasks',
    check: (text) => duration(text, 'keep'),
  },
  {
    key: 'keep-failed',
    value: 'D',
    byDefault: '30d',
    obeys: 'gc',
    help: 'how long tq gc keeps failed, canceled and skipped tasks',
    check: (text) => duration(text, 'keep-failed'),
  },
  ofSubmit('queue', 'Q', 'default', 'the queue of tasks'),
  ofSubmit('priority', 'N', '0', 'their priority'),
  ofSubmit('retries', 'N', '0', 'how often they are tried again'),
  ofSubmit('backoff', 'B', 'exp:1s..5m', 'how long a retry waits'),
  ofSubmit('timeout', 'D', null, 'the longest that an attempt may take'),
  ofSubmit('stall', 'D', null, 'the longest that an attempt may be silent'),
  ofSubmit('grace', 'D', '10s', 'how long after TERM comes KILL'),
  ofSubmit('env-mode', 'all|min|none', 'min', 'which variables of the submitter they get'),
  ofSubmit('on-lost', 'requeue|hold|fail', 'requeue', 'what happens when their worker died'),
];

type SubmitKey = keyof SubmitFlags & string;

/** A default of a flag of `tq submit`: checked by making a task with it. */
function ofSubmit(key: SubmitKey, value: string, byDefault: string | null, help: string): Setting {
  const check = (text: string): void => void buildTask({ [key]: text }, { now: 0, cwd: '/', env: {}, user: '', host: '', argv: ['true'] });
  return { key, value, byDefault, obeys: 'submit', help: `${help}, without --${key}`, check };
}

function duration(text: string, key: string): number {
  return parseDuration(text, key);
}

function atLeast(text: string, key: string, least: number): void {
  if (duration(text, key) < least) throw usage(`${key}: must be at least ${least}ms: ${quoted(text)}`);
}

/** The setting of this key. Throws USAGE. */
export function settingOf(key: string): Setting {
  const found = SETTINGS.find((s) => s.key === key);
  if (found !== undefined) return found;
  const near = nearest(
    key,
    SETTINGS.map((s) => s.key),
  );
  throw usage(`KEY: no such setting: ${quoted(key)}`, near === undefined ? 'tq config ls lists them' : `did you mean ${near}?`);
}

export function defaultOf(s: Setting, network: boolean): string | null {
  return typeof s.byDefault === 'object' && s.byDefault !== null ? s.byDefault[network ? 'network' : 'local'] : s.byDefault;
}

/**
 * The text that was set, or undefined. Throws QUEUE_UNUSABLE for one that means nothing, which only an edit by hand can have left: it is
 * better said than taken for another value.
 */
export function textOf(settings: Readonly<Record<string, unknown>>, s: Setting): string | undefined {
  const value = settings[s.key];
  if (value === undefined || value === null) return undefined;
  const text = typeof value === 'number' ? String(value) : value;
  try {
    if (typeof text !== 'string') throw usage(`not a text: ${JSON.stringify(value)}`);
    s.check(text);
    return text;
  } catch (error) {
    throw new TqError('QUEUE_UNUSABLE', `tq.json: the setting ${s.key}: ${error instanceof Error ? error.message : String(error)}`, {
      hint: `tq config set ${s.key} default`,
      cause: error,
    });
  }
}

/** A setting of a duration in ms, where it was set. Throws QUEUE_UNUSABLE. */
export function durationSetting(settings: Readonly<Record<string, unknown>>, key: 'poll' | 'keep' | 'keep-failed'): number | undefined {
  const text = textOf(settings, settingOf(key));
  return text === undefined ? undefined : parseDuration(text, key);
}

/** The flags that a submit has without being given them. Throws QUEUE_UNUSABLE. */
export function submitDefaults(settings: Readonly<Record<string, unknown>>): SubmitFlags {
  const flags: Record<string, string> = {};
  for (const s of SETTINGS) {
    const text = s.obeys === 'submit' ? textOf(settings, s) : undefined;
    if (text !== undefined) flags[s.key] = text;
  }
  return flags as SubmitFlags;
}
