/**
 * Pieces of an array: one file covers a range of elements, and whoever has it in its own running directory may cut it. The rest is
 * staged beside it (`.rest`, which covers nothing), the cut is one rename of the piece to a name that says what was cut off, then the
 * rest is renamed to its place and the piece gets a plain name. A crash before the commit leaves the whole, after it both parts;
 * burial publishes a committed rest first and drops one that was not committed. Only the owner cuts.
 *
 * What became of the elements of a piece is in its journal `runs/<bucket>/<id>.<lo>.a<N>.ndjson`, made with `O_EXCL` by the owner of
 * attempt N and appended to by it alone; a line is written before the piece moves. Whoever takes a piece up again as attempt N+1
 * makes the journal of attempt N first: if that works, nothing was begun and the old owner cannot begin any more; if it is there, what
 * has ended in it is not run again. A piece that goes back whole takes along what was known of it (`keepJournal`), so that the journal
 * of its number always tells everything.
 */
import { errnoOf } from '../errors.ts';
import { numbersIn } from '../task/array.ts';
import type { Many } from '../task/many.ts';
import type { OutcomeKind, TerminalState } from '../task/types.ts';
import { isGone, listOrEmpty, mkdirp, strongList } from './fsx.ts';
import { entryName, journalName, parentOf, parseRest, pieceId, pieceOf, restName, type Piece, type Place } from './layout.ts';
import type { Queue } from './open.ts';
import { move, publish, readIfThere, unlinkQuietly } from './steps.ts';

/** How an element of a piece ended: one line of a journal. Absent: nothing to say. Times in ms, by the file server's clock. */
export interface Ended {
  n: number;
  outcome: OutcomeKind;
  /** Where it came to rest; `again`: it goes on as an entry of its own, as its outcome file says. */
  state: TerminalState | 'again';
  attempt: number;
  worker: string;
  host?: string;
  pid?: number;
  startedAt?: number;
  endedAt: number;
  durationMs?: number;
  exitCode?: number;
  signal?: string;
  cpuMs?: number;
  maxRssKb?: number;
  reason?: string;
  result?: unknown;
  /** Where its output lies: a file in the same directory, and the bytes in it. */
  log?: { file: string; from: number; bytes: number };
}

/** A line that says that an element has begun. */
export interface Begun {
  n: number;
  attempt: number;
  begunAt: number;
  worker: string;
}

export interface Journal {
  begun: Map<number, Begun>;
  ended: Map<number, Ended>;
}

/** Reads a journal; a last line without its end was not written whole, and does not count. */
export function parseJournal(text: string): Journal {
  const journal: Journal = { begun: new Map(), ended: new Map() };
  for (const line of text.slice(0, text.lastIndexOf('\n') + 1).split('\n')) {
    if (line === '') continue;
    try {
      const raw = JSON.parse(line) as Partial<Ended> & Partial<Begun>; // written by `formatLine` alone
      if (typeof raw.n !== 'number') continue;
      if (typeof raw.outcome === 'string') journal.ended.set(raw.n, raw as Ended);
      else if (typeof raw.begunAt === 'number') journal.begun.set(raw.n, raw as Begun);
    } catch {
      continue;
    }
  }
  return journal;
}

export function formatLine(line: Begun | Ended): string {
  return `${JSON.stringify(line)}\n`;
}

export function journalPath(q: Queue, { base, lo }: Pick<Piece, 'base' | 'lo'>, n: number): string {
  return `${q.lay.runs(base)}/${journalName(base, lo, n)}`;
}

export async function readJournal(q: Queue, piece: Pick<Piece, 'base' | 'lo'>, n: number): Promise<Journal | undefined> {
  const text = await readIfThere(q, journalPath(q, piece, n));
  return text === undefined ? undefined : parseJournal(text);
}

/** Makes the journal of attempt `n` for the caller to append to; undefined: it was there, and nothing may be begun. */
export async function openJournal(q: Queue, piece: Piece, n: number): Promise<number | undefined> {
  const path = journalPath(q, piece, n);
  for (let look = 0; ; look++) {
    try {
      return await q.fsx.openLog(path);
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') return undefined;
      if (!isGone(error) || look > 0) throw error;
      await mkdirp(q.fsx, parentOf(path));
    }
  }
}

/**
 * For who takes a piece up as attempt `n` + 1: what was begun of it in attempt `n`. Undefined: nothing, and nothing of that attempt
 * will be.
 */
export async function inherit(q: Queue, piece: Piece, n: number): Promise<Journal | undefined> {
  const path = journalPath(q, piece, n);
  for (let look = 0; ; look++) {
    try {
      await q.fsx.create(path, '');
      return undefined;
    } catch (error) {
      if (errnoOf(error) === 'EEXIST') break;
      if (!isGone(error) || look > 0) throw error;
      await mkdirp(q.fsx, parentOf(path));
    }
  }
  const mine = linesOf(parseJournal(await readThere(q, path)), piece);
  return mine.begun.size + mine.ended.size === 0 ? undefined : mine;
}

/** What is there by the word of the file system, though a cache of this machine may still say that it is not. */
async function readThere(q: Queue, path: string): Promise<string> {
  let text = await readIfThere(q, path);
  if (text === undefined && q.network) {
    await strongList(q.fsx, parentOf(path));
    text = await readIfThere(q, path);
  }
  if (text === undefined) throw Object.assign(new Error(`EIO: cannot be read: ${path}`), { code: 'EIO', path });
  return text;
}

function linesOf(journal: Journal, piece: Piece): Journal {
  const inPiece = ({ n }: { n: number }): boolean => n >= piece.lo && n <= piece.hi;
  return {
    begun: new Map([...journal.begun].filter(([, line]) => inPiece(line))),
    ended: new Map([...journal.ended].filter(([, line]) => inPiece(line))),
  };
}

/**
 * Before a piece that was claimed as attempt `n` goes back whole: what was known of it before is its journal, unless it has one. Else
 * whoever takes it up next would find none, and begin anew what has ended. Of one element only its end counts: that it was begun is in
 * its outcomes.
 */
export async function keepJournal(q: Queue, id: string, n: number): Promise<void> {
  const piece = pieceOf(id);
  if (piece === undefined || n < 2) return;
  if (q.network) await listOrEmpty(q.fsx, q.lay.runs(piece.base), true);
  if ((await readJournal(q, piece, n)) !== undefined) return;
  const before = await readJournal(q, piece, n - 1);
  if (before === undefined) return;
  const mine = linesOf(before, piece);
  if (piece.lo === piece.hi) mine.begun.clear();
  await publishJournal(q, piece, n, mine);
}

/** How one element that was claimed as attempt `n` had ended before, as part of a chunk. */
export async function endedLine(q: Queue, id: string, n: number): Promise<Ended | undefined> {
  const piece = pieceOf(id)!;
  for (const attempt of [n, n - 1]) {
    const line = attempt < 1 ? undefined : (await readJournal(q, piece, attempt))?.ended.get(piece.lo);
    if (line !== undefined) return line.state === 'again' ? undefined : line;
  }
  return undefined;
}

/** Writes the lines of some elements as the journal of a piece that begins with `lo`, once. */
export async function publishJournal(q: Queue, piece: Piece, n: number, journal: Journal): Promise<void> {
  let text = '';
  for (const line of [...journal.begun.values(), ...journal.ended.values()]) {
    if (line.n >= piece.lo && line.n <= piece.hi) text += formatLine(line);
  }
  if (text !== '') await publish(q, journalPath(q, piece, n), text);
}

/**
 * Cuts a piece in the own running directory `dir`: `rest` (its last part) goes to `place`, the other part is returned. Undefined: the
 * piece was taken away, by a burial.
 */
export async function cut(
  q: Queue,
  dir: string,
  whole: Piece,
  n: number,
  keep: Piece,
  rest: Piece,
  place: Place,
): Promise<Piece | undefined> {
  const wholeFile = `${dir}/${entryName(idOf(whole), n)}`;
  const restFile = `${dir}/${restName(idOf(rest), n)}`;
  const committed = `${dir}/${cutName(keep, rest, n)}`;
  try {
    await q.fsx.link(wholeFile, restFile);
  } catch (error) {
    // Gone: taken away, unless this same cut was committed before and an error came then.
    if (isGone(error) && !(await listOrEmpty(q.fsx, dir, q.network)).includes(cutName(keep, rest, n))) return undefined;
    // One that is there was staged by an earlier try of this same owner, or its reply was lost.
    if (!isGone(error) && errnoOf(error) !== 'EEXIST') throw error;
  }
  if ((await move(q, wholeFile, committed)) !== 'moved') return undefined;
  const sent = await move(q, restFile, q.lay.entry(place, idOf(rest), n));
  // `gone` would also be the answer if a burial had published it: certain is that it is not staged any more.
  if (sent !== 'moved' && (await isStaged(q, dir, rest, n))) return undefined;
  return (await move(q, committed, `${dir}/${entryName(idOf(keep), n)}`)) === 'moved' ? keep : undefined;
}

async function isStaged(q: Queue, dir: string, rest: Piece, n: number): Promise<boolean> {
  try {
    return (await (q.network ? strongList(q.fsx, dir) : q.fsx.list(dir))).includes(restName(idOf(rest), n));
  } catch (error) {
    if (isGone(error)) return true;
    throw error;
  }
}

export function idOf(piece: Piece): string {
  return pieceId(piece.base, piece.lo, piece.hi);
}

/** `<id>.1-6+7-9.a<N>.json` */
function cutName(keep: Piece, rest: Piece, n: number): string {
  return `${idOf(keep)}+${rest.lo === rest.hi ? rest.lo : `${rest.lo}-${rest.hi}`}.a${n}.json`;
}

/** For burial: completes a committed cut. The piece has its plain name afterwards, or was moved by another. */
export async function completeCut(q: Queue, dir: string, id: string, cutOff: string, n: number, home: Place): Promise<void> {
  const [base = ''] = id.split('.');
  const [lo = '', hi = lo] = cutOff.split('-');
  const rest: Piece = { base, lo: Number(lo), hi: Number(hi) };
  await move(q, `${dir}/${restName(idOf(rest), n)}`, q.lay.entry(home, idOf(rest), n));
  if (await isStaged(q, dir, rest, n)) return;
  await move(q, `${dir}/${id}+${cutOff}.a${n}.json`, `${dir}/${entryName(id, n)}`);
}

/**
 * For burial, after everything else was moved: removes what was staged and not committed. Only when a new list shows neither the
 * whole nor a piece that it was cut off from: a cut may have been committed meanwhile.
 */
export async function dropStaged(q: Queue, dir: string, names: readonly string[]): Promise<void> {
  for (const name of names) {
    const rest = parseRest(name);
    if (rest === undefined) continue;
    const now = await listOrEmpty(q.fsx, dir, true);
    const part = rest.id.slice(rest.id.indexOf('.') + 1);
    const [lo = '', hi = lo] = part.split('-');
    const base = rest.id.slice(0, rest.id.indexOf('.'));
    const needed = now.some((other) => {
      const m = /^([0-9a-z]+)\.(\d+)(?:-(\d+))?(?:\+([\d-]+))?\.a(\d+)\.json$/.exec(other);
      if (m === null || m[1] !== base || Number(m[5]) !== rest.n) return false;
      if (m[4] !== undefined) return m[4] === part;
      return Number(m[3] ?? m[2]) === Number(hi) && Number(m[2]) < Number(lo);
    });
    if (!needed) await unlinkQuietly(q.fsx, `${dir}/${name}`);
  }
}

/** Where an element belongs, and whether it must lie there alone. */
export type Fate = { place: Place; alone: boolean };

/**
 * Cuts a piece of the own running directory into runs of elements with one fate and moves each to its place, the last first. Before
 * a run goes its lines are published as a journal of its own, so that a burial in the middle, which brings it back to where pieces
 * come from, makes nobody run it again. False: the piece was taken away.
 */
export async function scatter(
  q: Queue,
  dir: string,
  whole: Piece,
  n: number,
  many: Many,
  journal: Journal,
  hasJournal: boolean,
  fateOf: (element: number) => Fate,
  /** Elements of two sections never stay together. */
  sectionOf: (element: number) => number = () => 0,
): Promise<boolean> {
  const runs: Array<{ piece: Piece; fate: Fate; key: string }> = [];
  for (const number of numbersIn(many.numbers, whole.lo, whole.hi)) {
    const fate = fateOf(number);
    const key = `${sectionOf(number)} ${JSON.stringify(fate.place)}`;
    const last = runs.at(-1);
    if (last !== undefined && !last.fate.alone && !fate.alone && last.key === key) last.piece.hi = number;
    else runs.push({ piece: { base: whole.base, lo: number, hi: number }, fate, key });
  }
  let rest = whole;
  while (runs.length > 1) {
    const last = runs.pop()!;
    await publishJournal(q, last.piece, n, journal);
    const keep: Piece = { base: whole.base, lo: rest.lo, hi: runs.at(-1)!.piece.hi };
    const kept = await cut(q, dir, rest, n, keep, last.piece, last.fate.place);
    if (kept === undefined) return false;
    rest = kept;
  }
  // The first run's journal may be the piece's own, which is there.
  if (!hasJournal) await publishJournal(q, rest, n, journal);
  return (await move(q, `${dir}/${entryName(idOf(rest), n)}`, q.lay.entry(runs[0]!.fate.place, idOf(rest), n))) === 'moved';
}
