/** JSON given as a word of the command line. */
import { usage } from '../errors.ts';
import { quoted } from '../task/visible.ts';

/** Throws USAGE naming `flag` and the text. */
export function readJson(text: string, flag: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    throw usage(`${flag}: not JSON: ${quoted(text)}`, `a text needs quotes of its own: '"done"'`);
  }
}
