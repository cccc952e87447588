/**
 * Which workers a task wants, by their labels: `gpu && os==linux && !laptop`. Pure. A label without a value (`gpu`) is there or
 * not; `os!=mac` also holds for a worker that has no `os`.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

export type OnTerm =
  | { kind: 'has'; label: string }
  | { kind: 'hasNot'; label: string }
  | { kind: 'is'; label: string; value: string }
  | { kind: 'isNot'; label: string; value: string };

const TERM = /^(!?)\s*([A-Za-z0-9._/-]{1,64})$/;
const COMPARISON = /^([A-Za-z0-9._/-]{1,64})\s*(==|!=)\s*([^\s&|!=<>()'"\p{Cc}]{1,255})$/u;

/** The terms, all of which must hold; a malformed text is a usage error naming `flag`. */
export function parseOn(text: string, flag: string): OnTerm[] {
  return text.split('&&').map((part) => {
    const word = part.trim();
    const compared = COMPARISON.exec(word);
    if (compared !== null) return { kind: compared[2] === '==' ? 'is' : 'isNot', label: compared[1]!, value: compared[3]! };
    const named = TERM.exec(word);
    if (named !== null) return { kind: named[1] === '!' ? 'hasNot' : 'has', label: named[2]! };
    const there = word === '' ? ': a term is empty' : ` at ${quoted(word)}`;
    throw usage(
      `${flag}: not a label expression: ${quoted(text)}${word === text.trim() ? '' : there}`,
      "terms joined by &&, each one of gpu, !laptop, os==linux, os!=linux: --on 'gpu && os==linux'",
    );
  });
}

/** Whether a worker with these labels is wanted; no terms want any worker. */
export function matchesOn(terms: readonly OnTerm[], labels: Readonly<Record<string, string>>): boolean {
  return terms.every((term) => {
    const has = Object.hasOwn(labels, term.label);
    switch (term.kind) {
      case 'has':
        return has;
      case 'hasNot':
        return !has;
      case 'is':
        return has && labels[term.label] === term.value;
      case 'isNot':
        return !has || labels[term.label] !== term.value;
    }
  });
}
