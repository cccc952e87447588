/**
 * Shell patterns over names: `*`, `?`, `[a-z]`, `[!a]`, and `\` before a character that shall mean itself. A pattern covers the whole
 * name, upper and lower case differ, and `/` and a leading `.` are characters like any other.
 */

/** Whether a word is meant as a pattern rather than as one name. */
export function isGlob(text: string): boolean {
  return /[*?[]/.test(text);
}

/**
 * Each `*` takes as little as lets the next piece match and never gives it up again (a lookahead with a back reference). For shell
 * patterns that finds every match, and a pattern of many stars cannot take exponential time on a name that someone else chose.
 */
export function globToRegExp(glob: string): RegExp {
  const [first = '', ...others] = pieces(glob);
  const last = others.pop();
  if (last === undefined) return new RegExp(`^${first}$`, 'su');
  const middle = others.filter((piece) => piece !== '').map((piece, i) => `(?=(.*?${piece}))\\${i + 1}`);
  return new RegExp(`^${first}${middle.join('')}.*${last}$`, 'su');
}

/** What stands between the stars, as regular expressions. */
function pieces(glob: string): string[] {
  const chars = [...glob];
  const found = [''];
  const add = (source: string): void => {
    found[found.length - 1] += source;
  };
  for (let i = 0; i < chars.length; i += 1) {
    const char = chars[i]!;
    const set = char === '[' ? readSet(chars, i) : undefined;
    if (char === '*') found.push('');
    else if (char === '?') add('.');
    else if (set !== undefined) {
      add(set.source);
      i = set.end;
    } else if (char === '\\' && i + 1 < chars.length) {
      i += 1;
      add(literal(chars[i]!));
    } else add(literal(char));
  }
  return found;
}

/** The set that opens at `start`, or undefined when nothing closes it: then the bracket means itself. */
function readSet(chars: readonly string[], start: number): { source: string; end: number } | undefined {
  const negated = chars[start + 1] === '!' || chars[start + 1] === '^';
  const begin = start + (negated ? 2 : 1);
  const end = chars.indexOf(']', begin + 1); // a bracket right at the beginning is a member
  if (end < 0) return undefined;
  let members = '';
  for (let i = begin; i < end; i += 1) {
    const from = chars[i]!;
    const isRange = chars[i + 1] === '-' && i + 2 < end;
    const to = isRange ? chars[i + 2]! : from;
    if (isRange) i += 2;
    // A reversed range holds nothing, as in the shell.
    if (from.codePointAt(0)! <= to.codePointAt(0)!) members += `${literal(from)}-${literal(to)}`;
  }
  return { source: `[${negated ? '^' : ''}${members}]`, end };
}

/** A character that means itself, inside a set or out of it. */
function literal(char: string): string {
  return /[\^$\\.*+?()[\]{}|/-]/.test(char) ? `\\x${char.charCodeAt(0).toString(16).padStart(2, '0')}` : char;
}
