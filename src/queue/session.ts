/**
 * Sessions: the names under `running/`. A worker's is `<name>.<pid>.<proof>`, a `tq set`'s is `set.<state>.<pid>.<proof>`; the
 * proof is `<start>-<machine>-<boot>-<pid namespace>-<random>`, enough for any process of the same machine to tell whether the owner lives,
 * without reading another file. Never reused.
 */
import { digest, randomText } from './layout.ts';

/** Facts about this machine and its processes that burial needs. */
export interface HostFacts {
  host: string;
  /** Unique per machine; empty when this machine has no identity that can be trusted. */
  machine: string;
  /** Unique per boot. */
  boot: string;
  /** Processes see each other only within one pid namespace. */
  pidNamespace: string;
  /** Start of a living process in units of its kernel, null when it is gone or a zombie. */
  startOf(pid: number): string | null;
}

export interface SessionParts {
  /** Worker name, or `set.<state>`. */
  owner: string;
  pid: number;
  start: string;
  machine: string;
  boot: string;
  namespace: string;
}

export function makeSession(owner: string, facts: HostFacts, pid = process.pid): string {
  const start = BigInt(facts.startOf(pid) ?? '0').toString(36);
  return `${owner}.${pid}.${start}-${machineMark(facts)}-${mark(facts.boot)}-${mark(facts.pidNamespace)}-${randomText(4)}`;
}

export function parseSession(session: string): SessionParts | undefined {
  const m = /^(.+)\.(\d+)\.([0-9a-z]+)-([0-9a-z]+)-([0-9a-z]+)-([0-9a-z]+)-[0-9a-z]+$/.exec(session);
  if (m === null) return undefined;
  return { owner: m[1]!, pid: Number(m[2]), start: m[3]!, machine: m[4]!, boot: m[5]!, namespace: m[6]! };
}

function machineMark(facts: HostFacts): string {
  if (facts.machine === '' || facts.host === 'localhost') return '0';
  return digest(`${facts.machine} ${facts.host}`).slice(0, 7);
}

function mark(text: string): string {
  return text === '' ? '0' : digest(text).slice(0, 5);
}

/**
 * `alive` and `dead` are proofs, anything else is unknown and takes a lease. Same boot and pid namespace: the process table
 * tells. Same machine under another boot: every process of that boot is over.
 */
export function judgeSession(session: string, facts: HostFacts): 'alive' | 'dead' | 'unknown' {
  const s = parseSession(session);
  if (s === undefined || s.boot === '0') return 'unknown';
  if (s.boot === mark(facts.boot)) {
    if (s.namespace !== mark(facts.pidNamespace)) return 'unknown';
    const start = facts.startOf(s.pid);
    return start !== null && BigInt(start).toString(36) === s.start ? 'alive' : 'dead';
  }
  return s.machine !== '0' && s.machine === machineMark(facts) ? 'dead' : 'unknown';
}

export function isSetSession(session: string): boolean {
  return session.startsWith('set.');
}
