/**
 * Submissions of many elements: `--array`, `--each`, `--each-json`, `--each-csv`, `--param`. The files that they name are read here,
 * checked whole, and become one JSON text for each element; nothing is written before every line is understood.
 */
import fs from 'node:fs';
import { TqError, usage } from '../errors.ts';
import { manyOfArray, manyOfParams, MOST, parseMaxFails, type Many } from '../task/many.ts';
import { oneTo } from '../task/array.ts';
import type { SubmitFlags } from '../task/build.ts';
import { quoted } from '../task/visible.ts';
import type { System } from '../system.ts';
import { parseCsv } from './csv.ts';

export interface ManyDraft {
  many: Many;
  /** One JSON text for each element, for `many.items`. */
  items?: string[];
}

const WAYS = ['array', 'each', 'each-json', 'each-csv', 'param', 'each-worker'] as const;

/** Undefined: one task. Throws USAGE naming flag, file and line; REFUSED for a file without elements. */
export function manyOf(flags: SubmitFlags, system: System): ManyDraft | undefined {
  const ways = WAYS.filter((way) => flags[way] !== undefined);
  if (ways.length > 1)
    throw usage(`${ways.map((way) => `--${way}`).join(' and ')} exclude each other`, 'one submission has one kind of elements');
  const [way] = ways;
  if (flags['max-fails'] !== undefined && way === undefined && flags.batch === undefined && flags.file === undefined) {
    throw usage(`--max-fails ${quoted(flags['max-fails'])} goes with --array, --each, --param, --batch or -f`);
  }
  if (way === undefined) return undefined;
  const draft = elements(way, flags, system);
  if (flags['max-fails'] !== undefined) draft.many.maxFails = parseMaxFails(flags['max-fails']);
  return draft;
}

function elements(way: (typeof WAYS)[number], flags: SubmitFlags, system: System): ManyDraft {
  switch (way) {
    case 'array':
      return { many: manyOfArray(flags.array!, flags.chunk === undefined ? undefined : Number(flags.chunk)) };
    case 'param':
      return { many: manyOfParams(flags.param!) };
    case 'each-worker':
      throw usage('--each-worker goes with tq submit: it is for the workers that are alive at that moment');
    case 'each':
      return withItems(
        'lines',
        '--each',
        flags.each!,
        linesOf(text(flags.each!, '--each', system)).map((line) => JSON.stringify(line)),
      );
    case 'each-json':
      return withItems('json', '--each-json', flags['each-json']!, jsonOf(text(flags['each-json']!, '--each-json', system)));
    default: {
      const rows = parseCsv(text(flags['each-csv']!, '--each-csv', system), '--each-csv', flags['each-csv']!);
      return withItems(
        'csv',
        '--each-csv',
        flags['each-csv']!,
        rows.map((row) => JSON.stringify(row)),
      );
    }
  }
}

function withItems(of: NonNullable<Many['items']>['of'], flag: string, file: string, items: string[]): ManyDraft {
  if (items.length === 0) throw new TqError('REFUSED', `${flag}: there is nothing in ${quoted(file)}`, { hint: 'nothing was submitted' });
  if (items.length > MOST) throw usage(`${flag}: ${items.length} elements are more than ${MOST}`);
  return { many: { numbers: oneTo(items.length), size: items.length, items: { blob: '', of } }, items };
}

function text(file: string, flag: string, system: System): string {
  let bytes: Buffer;
  try {
    bytes = file === '-' ? system.readStdin() : fs.readFileSync(file);
  } catch (error) {
    const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
    throw new TqError('USAGE', `${flag}: cannot read ${quoted(file)}: ${code}`, { cause: error });
  }
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: false }).decode(bytes);
  } catch {
    throw usage(`${flag}: ${quoted(file)} is not UTF-8`);
  }
}

/** Lines with something in them; the carriage return of files from Windows is no part of one. */
function linesOf(whole: string): string[] {
  const lines = whole.split('\n').map((line) => (line.endsWith('\r') ? line.slice(0, -1) : line));
  const at = lines.findIndex((line) => line.includes('\0'));
  if (at >= 0) throw usage(`--each: line ${at + 1} holds a NUL character`);
  return lines.filter((line) => line !== '');
}

/** One array, or one value a line. */
function jsonOf(whole: string): string[] {
  if (whole.trimStart().startsWith('[')) {
    try {
      const list = JSON.parse(whole) as unknown;
      if (Array.isArray(list)) return list.map((value) => JSON.stringify(value));
    } catch {
      // A line may be an array, too: then each is read by itself.
    }
  }
  const items: string[] = [];
  for (const [i, line] of whole.split('\n').entries()) {
    if (line.trim() === '') continue;
    try {
      items.push(JSON.stringify(JSON.parse(line)));
    } catch (error) {
      throw usage(
        `--each-json: line ${i + 1} is not JSON: ${quoted(line.slice(0, 80))}`,
        error instanceof Error ? error.message : undefined,
      );
    }
  }
  return items;
}
