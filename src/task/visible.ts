/**
 * Text that others wrote, made fit for a terminal: what could move the cursor, change a colour, reorder or hide characters is
 * shown as an escape, ordinary text of any script stays as it is. Also how many columns a text takes, and cutting it to fit.
 */

/**
 * Control characters, format characters (bidi, zero width, tags and what is reserved beside them, soft hyphen), line and paragraph
 * separators, lone surrogates.
 * The number signs of Arabic, Syriac and Kaithi are format characters by class, yet are seen and harmless.
 */
const UNSAFE = /(?![\u0600-\u0605\u06dd\u070f\u0890\u0891\u08e2\u{110bd}\u{110cd}])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}\u{e0000}-\u{e00ff}]/gu;

/** Enough to recognise any text by. */
const QUOTED_COLUMNS = 120;
const SHORT: Record<string, string> = { '\n': '\\n', '\r': '\\r', '\t': '\\t' };

/** The same text with everything that a terminal might act on, or not show, written as `\n`, `\x1b`, `\u202e` or `\u{e0001}`. */
export function visible(text: string): string {
  return text.replace(UNSAFE, (char) => {
    const code = char.codePointAt(0)!;
    const hex = code.toString(16);
    return SHORT[char] ?? (code < 0x100 ? `\\x${hex.padStart(2, '0')}` : code < 0x10000 ? `\\u${hex.padStart(4, '0')}` : `\\u{${hex}}`);
  });
}

/** As `JSON.stringify`; what a terminal might act on is escaped in JSON's own way, so that every reader gets the same value. */
export function visibleJson(value: unknown, indent?: number): string {
  const text = JSON.stringify(value, null, indent);
  if (text === undefined || PLAIN_JSON.test(text)) return text;
  return text.replace(UNSAFE, (char) =>
    // Its own line breaks; all others are escaped already.
    char === '\n' ? char : char.replace(/[^]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`),
  );
}

const PLAIN_JSON = /^[\n\x20-\x7e]*$/;

/** A hostile or mistaken text as it appears in an error message: visible, in quotes, and never a screenful. */
export function quoted(text: string): string {
  return `'${fit(visible(text), QUOTED_COLUMNS)}'`;
}

/** As `quoted`, of a value that is no text: as JSON where it can be. */
export function quotedValue(value: unknown): string {
  try {
    return quoted(JSON.stringify(value) ?? String(value));
  } catch {
    // It holds itself, or a number that JSON does not know.
    return quoted(String(value));
  }
}

const PLAIN = /^[\x20-\x7e]*$/;
/** Marks that sit on the character before them, the medial and final letters of Hangul syllables, and what `visible` escapes. */
const ZERO = /^[\p{Mn}\p{Me}\p{Cc}\p{Cf}\u1160-\u11ff\ud7b0-\ud7ff]/u;
/**
 * First and last code points of East Asian Wide and Fullwidth (Unicode 16, UAX #11), with the unassigned ones between them; emoji are
 * told by their own class.
 */
const WIDE = [
  0x1100, 0x115f, 0x2329, 0x2329, 0x232a, 0x232a, 0x2630, 0x2637, 0x268a, 0x268f, 0x2e80, 0x303e, 0x3041, 0xa4cf, 0xa960, 0xa97c, 0xac00,
  0xd7a3, 0xf900, 0xfaff, 0xfe10, 0xfe19, 0xfe30, 0xfe6b, 0xff01, 0xff60, 0xffe0, 0xffe6, 0x16fe0, 0x16ff1, 0x17000, 0x18d08, 0x1aff0,
  0x1b2fb, 0x1d300, 0x1d356, 0x1d360, 0x1d376, 0x1f200, 0x1f265, 0x20000, 0x2fffd, 0x30000, 0x3fffd,
];
const EMOJI = /^(?!\p{Regional_Indicator})\p{Emoji_Presentation}/u;
/** Asks for the two-column picture of the character before it, as in a red heart. */
const PICTURE = '\ufe0f';

/** Columns that a text takes on a terminal. Call it on what `visible` returned: control characters count nothing here. */
export function width(text: string): number {
  if (PLAIN.test(text)) return text.length;
  let columns = 0;
  let before = 0;
  for (const char of text) {
    const own = columnsOf(char, before);
    columns += own;
    if (own > 0) before = char === PICTURE ? 2 : own;
  }
  return columns;
}

/** The text if it takes at most `columns`, else its beginning and `…`, together at most `columns`. */
export function fit(text: string, columns: number): string {
  if (columns < 1) return '';
  if (width(text) <= columns) return text;
  let taken = 0;
  let before = 0;
  let end = 0;
  for (const char of text) {
    const own = columnsOf(char, before);
    if (taken + own > columns - 1) break;
    taken += own;
    end += char.length;
    if (own > 0) before = char === PICTURE ? 2 : own;
  }
  return `${text.slice(0, end)}…`;
}

/** Columns that one code point adds after a character of `before` columns. */
function columnsOf(char: string, before: number): number {
  if (char === PICTURE) return before === 1 ? 1 : 0;
  if (ZERO.test(char)) return 0;
  return isWide(char.codePointAt(0)!) || EMOJI.test(char) ? 2 : 1;
}

function isWide(code: number): boolean {
  for (let i = 0; i < WIDE.length && WIDE[i]! <= code; i += 2) if (code <= WIDE[i + 1]!) return true;
  return false;
}
