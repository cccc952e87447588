/**
 * What an examination of the queue finds, and what it needs for it. A finding that can be repaired brings its repair along, which is
 * done at once when that was asked.
 */
import type { Requirements } from '../layout.ts';
import type { Queue } from '../open.ts';
import type { WorkerFile } from '../registry.ts';
import type { HostFacts } from '../session.ts';

export interface Finding {
  level: 'error' | 'warning' | 'ok';
  /** One word for scripts. */
  code: string;
  message: string;
  /** What it is about. */
  file?: string;
  /** What to do about it, or what was done. */
  fix?: string;
  /** With `--fix`: whether it is repaired. */
  fixed?: boolean;
}

export interface Examination {
  readonly q: Queue;
  readonly facts: HostFacts;
  /** Repair what can be repaired. */
  readonly fix: boolean;
  readonly findings: Finding[];
  readonly machine: Machine;
  /** For people who wait. */
  say(line: string): void;
  /** Ends what a dead session of this machine left running; only then may its tasks go back. */
  endLeftovers(session: string): void;
  /** Whether a worker could take tasks with these requirements at all. */
  serves(worker: WorkerFile, requirements: Requirements): boolean;
}

/** Of this machine, what is not reached through the queue's own door. */
export interface Machine {
  /** Without symbolic links. */
  realPath(path: string): string;
  exists(path: string): boolean;
  /** The text of /proc/self/mounts; empty where there is none. */
  mounts(): string;
  chmod(path: string, mode: number): void;
}

/** False: it could not be done. */
export type Repair = () => Promise<boolean | void>;

export async function found(x: Examination, finding: Finding, repair?: Repair): Promise<void> {
  if (!x.fix || repair === undefined) {
    x.findings.push(repair === undefined || finding.fix !== undefined ? finding : { ...finding, fix: 'tq doctor --fix' });
    return;
  }
  try {
    const fixed = (await repair()) !== false;
    x.findings.push({ ...finding, fixed });
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    x.findings.push({ ...finding, fixed: false, message: `${finding.message}; could not be repaired: ${why}` });
  }
}

export function fine(x: Examination, code: string, message: string): void {
  x.findings.push({ level: 'ok', code, message });
}

/** Whether anything but `ok` was found since there were `before` findings. */
export function nothingSince(x: Examination, before: number): boolean {
  return x.findings.slice(before).every((f) => f.level === 'ok');
}
