/**
 * Following an array: the output of each of its elements as it grows, from whichever begin, until the last one has ended. One look at
 * the array tells which have begun; what has ended is read to its end once and not looked at again.
 */
import { findElement, readArray, type ArrayNow, type PieceAt } from '../queue/array.ts';
import { pieceId } from '../queue/layout.ts';
import { readSlice, sliceOf } from '../queue/logs.ts';
import type { Queue } from '../queue/open.ts';
import type { System } from '../system.ts';
import { numbersIn } from '../task/array.ts';
import { isTerminal } from '../task/types.ts';
import { newReader, type Followed, type FollowOptions, type Reader } from './follow.ts';
import type { Prefixed } from './prefixed.ts';

export interface ArrayFollowOptions extends Pick<FollowOptions, 'attempt' | 'lines' | 'all' | 'streams' | 'signal'> {
  /** Where the output of an element goes. */
  sinkOf(id: string): Prefixed;
}

/** Between two looks, ms; the pause grows with what a look takes. */
const LOCAL_MS = 50;
const NETWORK_MS = 1000;
const DUTY = 10;

export async function followArray(
  q: Queue,
  id: string,
  system: Pick<System, 'sleep' | 'monotonic'>,
  options: ArrayFollowOptions,
): Promise<Followed> {
  const elements = new Map<number, { reader: Reader; out: Prefixed }>();
  const told = new Set<number>();
  const toldPieces = new Set<string>();
  const slices = new Set<string>();
  for (;;) {
    const began = system.monotonic();
    const array = await readArray(q, id);
    if (array === undefined) return 'gone';
    for (const piece of array.pieces) {
      if (toldPieces.has(piece.at.file) || !hasBegun(array, piece)) continue;
      let allTold = isTerminal(piece.at.state);
      for (const n of numbersIn(array.many.numbers, piece.lo, piece.hi)) {
        if (told.has(n)) continue;
        if (options.signal.aborted) return 'aborted';
        const end = await handOn(array, n);
        if (end === 'closed') return 'closed';
        if (end === 'ended') told.add(n);
        else allTold = false;
      }
      if (allTold) toldPieces.add(piece.at.file);
    }
    if (array.isWhole && isTerminal(array.state)) return 'ended';
    await system.sleep(Math.max(q.network ? NETWORK_MS : LOCAL_MS, DUTY * (system.monotonic() - began)), options.signal);
    if (options.signal.aborted) return 'aborted';
  }

  /** Hands on what is new of an element. */
  async function handOn(array: ArrayNow, n: number): Promise<'ended' | 'goes on' | 'closed'> {
    const found = await findElement(q, array, n);
    if (found === undefined) return 'goes on';
    const { at } = found.piece;
    const over = isTerminal(found.state);
    if (at.n === 0) return over ? 'ended' : 'goes on';
    let element = elements.get(n);
    if (element === undefined) {
      if (!over && found.begunAt === undefined && found.line === undefined && found.piece.lo !== found.piece.hi) return 'goes on';
      const out = options.sinkOf(pieceId(id, n, n));
      element = { out, reader: newReader(q, pieceId(id, n, n), { ...options, sink: out.sink, between: out.finish }) };
      elements.set(n, element);
    }
    let open = await element.reader.read(at.n);
    // What ran as one of many has no log of its own, and its output is there when it has ended.
    const slice = sliceOf(q, id, found.line);
    const { out } = element;
    if (slice !== undefined && !slices.has(`${slice.path} ${slice.from}`)) {
      slices.add(`${slice.path} ${slice.from}`);
      await readSlice(slice, (bytes) => (open = out.sink('stdout', bytes)));
      out.finish();
    }
    if (!over) return open ? 'goes on' : 'closed';
    out.finish();
    elements.delete(n);
    return open ? 'ended' : 'closed';
  }
}

/** Of what nobody has taken up there is nothing to read. */
function hasBegun(array: ArrayNow, { at, lo, hi }: PieceAt): boolean {
  if (at.n === 0) return false;
  return lo === hi || isTerminal(at.state) || array.journals.has(at.file);
}
