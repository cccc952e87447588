/**
 * Commands as text for people: quoted for a POSIX shell, so that what is shown can be pasted. Nothing is run from this text. Control
 * characters are still in it: whoever prints it to a terminal passes it through `visible`.
 */
import type { Task } from './types.ts';

/** Words that mean themselves to sh anywhere in a command. */
const SAFE = /^[A-Za-z0-9_@%+=:,./-]+$/;
/** `A=b` in front of a command sets a variable. */
const ASSIGNMENT = /^[A-Za-z_][A-Za-z0-9_]*=/;
/** Alphabetical keywords, special only as the first word; `!`, `{` and `[[` are not in SAFE anyway. */
const KEYWORDS = new Set('case coproc do done elif else esac fi for function if in select then time until while'.split(' '));

/** One line that a POSIX shell splits into exactly these words. */
export function shellQuote(words: readonly string[]): string {
  return words.map((word, i) => (isPlain(word, i === 0) ? word : `'${word.replaceAll("'", "'\\''")}'`)).join(' ');
}

function isPlain(word: string, first: boolean): boolean {
  return SAFE.test(word) && !ASSIGNMENT.test(word) && !(first && KEYWORDS.has(word));
}

/** What a task runs, on one line. A script or handler, which no shell would find, stands in parentheses. */
export function commandLine(task: Pick<Task, 'command' | 'shell' | 'script' | 'handler' | 'steps'>): string {
  if (task.steps !== undefined && task.steps.length > 0) return task.steps.join(' && ');
  if (task.handler !== undefined) return `(handler ${task.handler})`;
  if (task.script !== undefined) return `(script)${task.command.map((word) => ` ${shellQuote([word])}`).join('')}`;
  if (task.shell === undefined) return shellQuote(task.command);
  const [text = ''] = task.command;
  return task.shell === '/bin/sh' ? text : shellQuote([task.shell, '-c', text]);
}
