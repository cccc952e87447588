/**
 * Faults asked for by the environment, for tests that drive the built program: `TQ_FAULT=die-before:17` kills the process
 * instead of its 17th mutating file call, `die-after:17` right after it, `fail:ENOSPC:rename:3` fails renames from the
 * third on, `fail-some:ENOSPC:create:3:9` creations 3 to 9, `fail-some:EIO:append@/runs/:3:9` what is appended to files below `runs/`,
 * `lose:ENOENT:rename:3` does the third and says that it failed.
 * Without the variable nothing here runs.
 */
import type { Fault, FaultHook, FsOp } from './fsx.ts';

const LOOKS: ReadonlySet<FsOp> = new Set(['read', 'list', 'stat']);

export function faultsFromEnv(env: Record<string, string | undefined>): FaultHook | undefined {
  const text = env['TQ_FAULT'];
  if (text === undefined || text === '') return undefined;
  const [kind, a, b, c] = text.split(':');
  let seen = 0;
  if (kind === 'die-before' || kind === 'die-after') {
    const at = Number(a);
    return (op): Fault | undefined => {
      if (LOOKS.has(op) || ++seen !== at) return undefined;
      return { kind: kind === 'die-before' ? 'dieBefore' : 'dieAfter' };
    };
  }
  if (kind === 'fail-some') {
    const [from, to] = [Number(c), Number(text.split(':')[4])];
    const [wanted, part = ''] = (b ?? '').split('@');
    return (op, path): Fault | undefined =>
      op === wanted && path.includes(part) && ++seen >= from && seen <= to ? { kind: 'before', code: a ?? 'EIO' } : undefined;
  }
  if (kind === 'fail' || kind === 'lose') {
    const from = Number(c ?? '1');
    return (op): Fault | undefined => {
      if (b !== undefined && b !== '*' && op !== b) return undefined;
      if (b === '*' && LOOKS.has(op)) return undefined;
      if (++seen < from) return undefined;
      if (kind === 'lose' && seen > from) return undefined;
      return { kind: kind === 'fail' ? 'before' : 'after', code: a ?? 'EIO' };
    };
  }
  return undefined;
}
