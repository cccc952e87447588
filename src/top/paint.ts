/**
 * From lines to what a terminal is sent: colours as far as it has them, and plain ASCII where its locale has nothing else. Pure.
 */
import { colourWanted } from '../print.ts';
import { isUtf8 } from '../task/locale.ts';
import { width } from '../task/visible.ts';
import type { Colour, Line, Style } from './text.ts';

/** `none` keeps bold and inverse, which are no colours. */
export type Depth = 'none' | 'basic' | 'many';

export interface Paint {
  depth: Depth;
  ascii: boolean;
}

type Env = Readonly<Record<string, string | undefined>>;

export function paintOf(env: Env): Paint {
  return { depth: depthOf(env), ascii: !isUtf8(env) };
}

function depthOf(env: Env): Depth {
  if (!colourWanted(env, () => true)) return 'none';
  return /256color|direct|kitty|alacritty|ghostty/.test(env['TERM'] ?? '') || (env['COLORTERM'] ?? '') !== '' ? 'many' : 'basic';
}

/**
 * Colours of middling lightness: each is at least 3.5 times as light or as dark as a black and as a white background (WCAG 2 contrast).
 * Numbers of the 256-colour palette (xterm).
 */
export const MANY: Readonly<Record<Colour, number>> = {
  red: 160,
  green: 28,
  yellow: 130,
  blue: 32,
  magenta: 133,
  cyan: 30,
  grey: 244,
};

/** Foregrounds that every terminal has; the user's own theme says how they look. Grey is SGR 2, since bright black may be invisible. */
const BASIC: Readonly<Record<Colour, string>> = {
  red: '31',
  green: '32',
  yellow: '33',
  blue: '34',
  magenta: '35',
  cyan: '36',
  grey: '2',
};

/** One line for the terminal; ends with everything switched off. */
export function paintLine(line: Line, { depth, ascii }: Paint): string {
  let text = '';
  let before = '';
  for (const s of line) {
    if (s.text === '') continue;
    const codes = codesOf(s.style, depth);
    if (codes !== before) {
      text += `\x1b[0${codes === '' ? '' : `;${codes}`}m`;
      before = codes;
    }
    text += ascii ? toAscii(s.text) : s.text;
  }
  return before === '' ? text : `${text}\x1b[0m`;
}

function codesOf(style: Style, depth: Depth): string {
  const codes: string[] = [];
  if (style.bold === true) codes.push('1');
  if (style.underline === true) codes.push('4');
  if (style.inverse === true) codes.push('7');
  if (style.fg !== undefined && depth !== 'none') codes.push(depth === 'many' ? `38;5;${MANY[style.fg]}` : BASIC[style.fg]);
  return codes.join(';');
}

const ASCII: Readonly<Record<string, string>> = {
  '─': '-',
  '━': '#',
  '╌': '.',
  '│': '|',
  '╭': '+',
  '╮': '+',
  '╰': '+',
  '╯': '+',
  '├': '+',
  '┤': '+',
  '…': '~',
  '·': '.',
  '●': '*',
  '○': 'o',
  '◇': '?',
  '◌': '@',
  '‖': '=',
  '✓': '+',
  '✗': 'x',
  '⊘': '-',
  '»': '/',
  '▸': '>',
  '▾': 'v',
  '▌': '>',
  '■': '#',
  '□': '.',
  '▲': '^',
  '▼': 'v',
  '▁': '_',
  '▂': '.',
  '▃': ':',
  '▄': '-',
  '▅': '=',
  '▆': '+',
  '▇': '*',
  '█': '#',
  '╍': '=',
  '×': 'x',
  '→': '>',
  '↑': '^',
  '↓': 'v',
  '←': '<',
};

/** The same number of columns in ASCII. */
export function toAscii(text: string): string {
  if (/^[\x20-\x7e]*$/.test(text)) return text;
  let plain = '';
  for (const char of text) {
    const code = char.codePointAt(0)!;
    plain += code >= 0x20 && code < 0x7f ? char : (ASCII[char] ?? '?'.repeat(width(char)));
  }
  return plain;
}
