/** What a worker can be asked to become, and how the words in `want` are read. */
import { usage } from '../errors.ts';

export type Target = 'awake' | 'asleep' | 'offline' | 'restart';

export interface Request {
  to: Target;
  /** Do not let the running tasks finish. */
  now: boolean;
  /** For asleep and awake: until this moment, epoch ms of the worker's machine. */
  until: number | null;
  from: 'want' | 'signal' | 'hours' | 'limit';
  /** The text of the request file, to take it away when it is done. */
  text: string;
}

const WORDS: Record<string, Target> = { awake: 'awake', asleep: 'asleep', offline: 'offline', restart: 'restart' };

export type ParsedWant = { kind: 'none' } | { kind: 'request'; request: Request } | { kind: 'bad'; text: string };

/** Reads `awake|asleep|offline|restart`, then optionally ` now` and ` until TIME` (ISO 8601). Torn or empty text is none. */
export function parseWant(text: string): ParsedWant {
  const words = text
    .trim()
    .split(/\s+/)
    .filter((w) => w !== '');
  if (words.length === 0) return { kind: 'none' };
  const to = Object.hasOwn(WORDS, words[0]!) ? WORDS[words[0]!] : undefined;
  const request: Request = { to: to ?? 'awake', now: false, until: null, from: 'want', text };
  let bad = to === undefined;
  for (let i = 1; i < words.length && !bad; i++) {
    if (words[i] === 'now') request.now = true;
    else if (words[i] === 'until' && i + 1 < words.length) {
      const ms = Date.parse(words[++i]!);
      if (Number.isNaN(ms)) bad = true;
      else request.until = ms;
    } else bad = true;
  }
  return bad ? { kind: 'bad', text: text.slice(0, 200) } : { kind: 'request', request };
}

/** What the verbs write; the same as `echo` by hand. */
export function formatWant(to: Target, options: { now?: boolean; until?: number | null } = {}): string {
  if (options.until !== undefined && options.until !== null && to !== 'asleep' && to !== 'awake') throw usage(`${to} takes no time`);
  const until = options.until === undefined || options.until === null ? '' : ` until ${new Date(options.until).toISOString()}`;
  return `${to}${options.now === true ? ' now' : ''}${until}`;
}
