/**
 * Words that are not UTF-8. The runtime puts U+FFFD in the place of what it cannot read, so a command would quietly become another
 * one; the words as they were given are in `/proc`, and where that tells it they are refused.
 */
import fs from 'node:fs';
import { usage } from '../errors.ts';

/** Throws USAGE for the first of `argv` that is not UTF-8. Where the system does not show the words as given, none is. */
export function refuseMangled(argv: readonly string[]): void {
  let raw: Buffer;
  try {
    raw = fs.readFileSync('/proc/self/cmdline');
  } catch {
    return;
  }
  const words = split(raw).slice(-argv.length);
  for (const [i, word] of words.entries()) {
    if (argv[i]?.includes('\uFFFD') !== true || Buffer.from(word.toString('utf8')).equals(word)) continue;
    throw usage(
      `word ${i + 1} is not UTF-8: '${spelt(word)}'`,
      'a task is a JSON file and cannot hold such bytes: put the command into a file, and submit that with --script',
    );
  }
}

function split(raw: Buffer): Buffer[] {
  const words: Buffer[] = [];
  for (let at = 0; at < raw.length;) {
    const end = raw.indexOf(0, at);
    words.push(raw.subarray(at, end < 0 ? raw.length : end));
    at = end < 0 ? raw.length : end + 1;
  }
  return words;
}

/** What is not ASCII as `\xe9`. */
function spelt(word: Buffer): string {
  return [...word]
    .map((byte) => (byte >= 0x20 && byte < 0x7f ? String.fromCodePoint(byte) : `\\x${byte.toString(16).padStart(2, '0')}`))
    .join('');
}
