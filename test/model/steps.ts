/** The steps that several scenarios share, call by call as src/queue makes them. */
import { baseOf, dirOf, rename, strong, type Proc } from './engine.ts';

/** How often an ambiguous answer is looked at again. */
const LOOKS = 2;

/**
 * The only way a task changes place. After an error the rename is tried once more (making the target directory in between is of
 * no matter here: those of this model are always there), then both directories are listed strongly.
 */
export function* move(source: string, target: string): Proc<'moved' | 'gone' | 'revoked'> {
  const intoRunning = dirOf(target).startsWith('run/');
  for (let look = 0; look < LOOKS; look++) {
    if (yield* rename(source, target)) return 'moved';
    if (!intoRunning && (yield* rename(source, target))) return 'moved';
    const there = yield* strong(dirOf(target));
    if (there === undefined) return 'revoked';
    if (there.includes(baseOf(target))) return 'moved';
    const here = yield* strong(dirOf(source));
    if (here?.includes(baseOf(source)) !== true) return 'gone';
  }
  return 'gone';
}

/** `<id>.a<N>`, or a request `<id>.a<N>.c`; undefined for anything else. */
export function parseEntry(name: string): { id: string; n: number; cancel: boolean } | undefined {
  const m = /^([a-z]+)\.a(\d+)(\.c)?$/.exec(name);
  return m === null ? undefined : { id: m[1]!, n: Number(m[2]), cancel: m[3] !== undefined };
}

export const entryName = (id: string, n: number): string => `${id}.a${n}`;
