/**
 * Keys and the mouse: from the bytes that a terminal sends to events with a name, and the one table of what each key does, which
 * drives the view, the line of keys at its foot and the help. Pure.
 */

export type Input = { kind: 'key'; key: string } | { kind: 'mouse'; what: 'click' | 'up' | 'down'; x: number; y: number };

/** Sequences after ESC, as xterm, rxvt, the Linux console and tmux send them. */
const SEQUENCES: Readonly<Record<string, string>> = {
  '[A': 'up',
  '[B': 'down',
  '[C': 'right',
  '[D': 'left',
  OA: 'up',
  OB: 'down',
  OC: 'right',
  OD: 'left',
  '[H': 'home',
  '[F': 'end',
  OH: 'home',
  OF: 'end',
  '[1~': 'home',
  '[7~': 'home',
  '[4~': 'end',
  '[8~': 'end',
  '[5~': 'pgup',
  '[6~': 'pgdn',
  '[2~': 'insert',
  '[3~': 'delete',
  '[Z': 'shift-tab',
  OM: 'enter',
};

const CONTROL: Readonly<Record<string, string>> = {
  '\r': 'enter',
  '\n': 'enter',
  '\t': 'tab',
  '\x7f': 'backspace',
  '\b': 'backspace',
  ' ': 'space',
};

/** One event, and how many characters it took; undefined: more of it must come first. */
interface Taken {
  input: Input | undefined;
  length: number;
}

/** Longest sequence that is waited for: what is longer is none of ours and dropped. */
const LONGEST = 64;

/**
 * Reads what a terminal sent. An ESC at the very end may be the key, or the begin of a sequence whose rest comes next: `flush` says that
 * nothing came within a moment, so that it was the key.
 */
export function newInputReader(): (text: string, flush?: boolean) => Input[] {
  let rest = '';
  return (text, flush = false) => {
    rest += text;
    const found: Input[] = [];
    while (rest !== '') {
      const taken = take(rest, flush);
      if (taken === undefined) break;
      rest = rest.slice(taken.length);
      if (taken.input !== undefined) found.push(taken.input);
    }
    return found;
  };
}

function take(text: string, flush: boolean): Taken | undefined {
  const first = text[0]!;
  if (first !== '\x1b') return plainKey(text);
  if (text.length === 1) return flush ? key('esc', 1) : undefined;
  const second = text[1]!;
  if (second === '\x1b') return key('esc', 1);
  if (second !== '[' && second !== 'O') return { input: undefined, length: 1 + String.fromCodePoint(text.codePointAt(1)!).length };
  const mouse = /^\x1b\[<(\d+);(\d+);(\d+)([Mm])/.exec(text);
  if (mouse !== null)
    return { input: mouseEvent(Number(mouse[1]), Number(mouse[2]), Number(mouse[3]), mouse[4]!), length: mouse[0].length };
  const whole = second === 'O' ? /^\x1bO[ -~]/.exec(text) : /^\x1b\[[0-?]*[ -/]*[@-~]/.exec(text);
  if (whole === null) {
    if (text.length > LONGEST) return { input: undefined, length: text.length };
    return flush ? { input: undefined, length: text.length } : undefined;
  }
  const name = SEQUENCES[whole[0].slice(1)] ?? SEQUENCES[whole[0].slice(1).replace(/1;\d+(?=[A-Z]$)|;\d+(?=~$)/, '')];
  return { input: name === undefined ? undefined : { kind: 'key', key: name }, length: whole[0].length };
}

function plainKey(text: string): Taken {
  const char = String.fromCodePoint(text.codePointAt(0)!);
  const named = CONTROL[char];
  if (named !== undefined) return key(named, char.length);
  if (char < ' ') return key(`ctrl-${String.fromCodePoint(char.codePointAt(0)! + 96)}`, 1);
  // C1 controls are no keys.
  return /[\x80-\x9f]/.test(char) ? { input: undefined, length: char.length } : key(char, char.length);
}

function key(name: string, length: number): Taken {
  return { input: { kind: 'key', key: name }, length };
}

/** Of mode 1006; columns and rows from 0. Only the left button and the wheel mean something, and not with shift. */
function mouseEvent(code: number, column: number, row: number, end: string): Input | undefined {
  if (end === 'm' || (code & 32) !== 0) return undefined;
  const at = { x: column - 1, y: row - 1 };
  const button = code & ~(4 | 8 | 16);
  if (button === 0) return { kind: 'mouse', what: 'click', ...at };
  if (button === 64) return { kind: 'mouse', what: 'up', ...at };
  if (button === 65) return { kind: 'mouse', what: 'down', ...at };
  return undefined;
}

export type Command =
  | 'up'
  | 'down'
  | 'page-up'
  | 'page-down'
  | 'first'
  | 'last'
  | 'in'
  | 'out'
  | 'open'
  | 'logs'
  | 'back'
  | 'next-pane'
  | 'previous-pane'
  | 'zoom'
  | 'mark'
  | 'mark-all'
  | 'filter'
  | 'sort-by'
  | 'sort-next'
  | 'reverse'
  | 'columns'
  | 'fold-all'
  | 'cancel'
  | 'retry'
  | 'hold'
  | 'priority'
  | 'sleep'
  | 'wake'
  | 'stop'
  | 'follow'
  | 'wrap'
  | 'stream'
  | 'escapes'
  | 'earlier-attempt'
  | 'later-attempt'
  | 'search'
  | 'next-match'
  | 'previous-match'
  | 'left'
  | 'right'
  | 'help'
  | 'redraw'
  | 'suspend'
  | 'quit';

export type Where = 'tasks' | 'workers' | 'details' | 'log';

export interface Binding {
  keys: readonly string[];
  does: Command;
  /** Where it means this; absent: everywhere. */
  where?: readonly Where[];
  /** In the help. */
  help: string;
  /** At the foot of the screen: a word. */
  hint?: string;
}

const LISTS: readonly Where[] = ['tasks', 'workers'];
const TASK: readonly Where[] = ['tasks', 'details', 'log'];

export const SORT_KEYS = ['1', '2', '3', '4', '5', '6', '7', '8', '9'] as const;

/** The first that fits the key and the place counts. */
export const BINDINGS: ReadonlyArray<Binding & { group: string }> = [
  { group: 'MOVE', keys: ['up', 'k'], does: 'up', help: 'up' },
  { group: 'MOVE', keys: ['down', 'j'], does: 'down', help: 'down' },
  { group: 'MOVE', keys: ['pgup', 'ctrl-b'], does: 'page-up', help: 'a page up' },
  { group: 'MOVE', keys: ['pgdn', 'ctrl-f'], does: 'page-down', help: 'a page down' },
  { group: 'MOVE', keys: ['home', 'g'], does: 'first', help: 'to the top' },
  { group: 'MOVE', keys: ['end', 'G'], does: 'last', help: 'to the end; in a log: follow it' },
  { group: 'MOVE', keys: ['right'], does: 'in', where: LISTS, help: 'unfold a group or an array' },
  { group: 'MOVE', keys: ['left', 'h'], does: 'out', where: LISTS, help: 'fold it' },
  { group: 'MOVE', keys: ['tab'], does: 'next-pane', help: 'the next pane', hint: 'pane' },
  { group: 'MOVE', keys: ['shift-tab'], does: 'previous-pane', help: 'the pane before' },
  {
    group: 'MOVE',
    keys: ['enter'],
    does: 'open',
    where: ['tasks', 'workers', 'log'],
    help: 'details of a task or worker; folds a group',
    hint: 'details',
  },
  {
    group: 'MOVE',
    keys: ['l'],
    does: 'logs',
    where: ['tasks', 'details'],
    help: 'the output of the task; unfolds what is folded',
    hint: 'logs',
  },
  { group: 'MOVE', keys: ['esc'], does: 'back', help: 'back: closes a pane, clears filter, then marks' },
  { group: 'MOVE', keys: ['z'], does: 'zoom', help: 'details or log on the whole screen, and back' },

  {
    group: 'CHOOSE',
    keys: ['/'],
    does: 'filter',
    where: LISTS,
    help: 'filter: part of a name or id, or -s failed -g G',
    hint: 'filter',
  },
  { group: 'CHOOSE', keys: SORT_KEYS, does: 'sort-by', where: LISTS, help: 'sort by that column; again: reverse' },
  { group: 'CHOOSE', keys: ['o'], does: 'sort-next', where: LISTS, help: 'sort by the next column' },
  { group: 'CHOOSE', keys: ['O'], does: 'reverse', where: LISTS, help: 'reverse the order' },
  { group: 'CHOOSE', keys: ['C'], does: 'columns', where: LISTS, help: 'choose the columns' },
  { group: 'CHOOSE', keys: ['f'], does: 'fold-all', where: LISTS, help: 'fold or unfold what is in sight' },
  { group: 'CHOOSE', keys: ['space'], does: 'mark', where: LISTS, help: 'mark: the keys below then act on all marked', hint: 'mark' },
  { group: 'CHOOSE', keys: ['*'], does: 'mark-all', where: LISTS, help: 'mark what is in sight, or unmark all' },

  { group: 'ON TASKS', keys: ['c'], does: 'cancel', where: TASK, help: 'cancel (asks)', hint: 'cancel' },
  { group: 'ON TASKS', keys: ['r'], does: 'retry', where: TASK, help: 'run again, as the next attempt', hint: 'retry' },
  { group: 'ON TASKS', keys: ['H'], does: 'hold', where: TASK, help: 'hold, or release what is held', hint: 'hold' },
  { group: 'ON TASKS', keys: ['p'], does: 'priority', where: TASK, help: 'set the priority', hint: 'priority' },

  { group: 'ON WORKERS', keys: ['s'], does: 'sleep', where: ['workers'], help: 'sleep: finish what runs, take nothing new', hint: 'sleep' },
  { group: 'ON WORKERS', keys: ['w'], does: 'wake', where: ['workers'], help: 'wake', hint: 'wake' },
  { group: 'ON WORKERS', keys: ['d'], does: 'stop', where: ['workers'], help: 'drain and stop (asks)', hint: 'stop' },

  { group: 'IN A LOG', keys: ['F'], does: 'follow', where: ['log'], help: 'follow', hint: 'follow' },
  { group: 'IN A LOG', keys: ['/'], does: 'search', where: ['log', 'details'], help: 'search', hint: 'search' },
  { group: 'IN A LOG', keys: ['n'], does: 'next-match', where: ['log', 'details'], help: 'next match: in a log the one before it in time' },
  { group: 'IN A LOG', keys: ['N'], does: 'previous-match', where: ['log', 'details'], help: 'back again' },
  { group: 'IN A LOG', keys: ['w'], does: 'wrap', where: ['log', 'details'], help: 'wrap long lines, or cut them', hint: 'wrap' },
  { group: 'IN A LOG', keys: ['right'], does: 'right', where: ['log', 'details'], help: 'to the right, when not wrapped' },
  { group: 'IN A LOG', keys: ['left', 'h'], does: 'left', where: ['log', 'details'], help: 'to the left' },
  { group: 'IN A LOG', keys: ['s'], does: 'stream', where: ['log'], help: 'both streams, stdout, stderr (with --split)', hint: 'stream' },
  { group: 'IN A LOG', keys: ['['], does: 'earlier-attempt', where: ['log'], help: 'attempt before', hint: 'attempt' },
  { group: 'IN A LOG', keys: [']'], does: 'later-attempt', where: ['log'], help: 'next attempt' },
  { group: 'IN A LOG', keys: ['e'], does: 'escapes', where: ['log'], help: 'show control characters, or leave them out' },

  { group: 'ALSO', keys: ['?'], does: 'help', help: 'this help', hint: 'help' },
  { group: 'ALSO', keys: ['q', 'ctrl-c'], does: 'quit', help: 'quit', hint: 'quit' },
  { group: 'ALSO', keys: ['ctrl-z'], does: 'suspend', help: 'suspend; fg comes back' },
  { group: 'ALSO', keys: ['ctrl-l'], does: 'redraw', help: 'draw the screen anew' },
];

/** These change the queue. */
export const CHANGING: ReadonlySet<Command> = new Set(['cancel', 'retry', 'hold', 'priority', 'sleep', 'wake', 'stop']);

export function bindingOf(name: string, where: Where): Binding | undefined {
  return BINDINGS.find((b) => b.keys.includes(name) && (b.where === undefined || b.where.includes(where)));
}

const SHOWN: Readonly<Record<string, string>> = {
  up: '↑',
  down: '↓',
  left: '←',
  right: '→',
  pgup: 'PgUp',
  pgdn: 'PgDn',
  home: 'Home',
  end: 'End',
  enter: 'Enter',
  esc: 'Esc',
  tab: 'Tab',
  'shift-tab': 'Shift-Tab',
  space: 'Space',
};

/** A key as people read it: `↑`, `^C`, `PgUp`. */
export function keyLabel(name: string): string {
  if (name.startsWith('ctrl-')) return `^${name.slice(5).toUpperCase()}`;
  return SHOWN[name] ?? name;
}
