/**
 * Rules for the names that people choose. A name that becomes part of a path is let through only if it can never leave its
 * directory or be taken for an option. Each check returns what it was given, or raises a usage error naming `flag` and the text.
 */
import { usage } from '../errors.ts';
import { quoted } from './visible.ts';

const FILE_NAME = /^(?!.*\.\.)[A-Za-z0-9_][A-Za-z0-9._-]{0,63}$/;
const FILE_NAME_HINT = '1 to 64 of A-Z a-z 0-9 . _ - that do not begin with . or - and hold no ..';

/** Most characters (code points) of a task name and of a label's value. */
const MAX_TEXT = 255;
const MAX_KEY = 1024;

export function checkQueue(name: string, flag: string): string {
  return checkFileName(name, flag, 'queue');
}

export function checkWorkerName(name: string, flag: string): string {
  return checkFileName(name, flag, 'worker');
}

export function checkGroup(name: string, flag: string): string {
  return checkFileName(name, flag, 'group');
}

export function checkMutex(name: string, flag: string): string {
  return checkFileName(name, flag, 'mutex');
}

export function checkLimit(name: string, flag: string): string {
  return checkFileName(name, flag, 'limit');
}

/** A task's name is shown and searched and is no file name: any text on one line. */
export function checkTaskName(name: string, flag: string): string {
  if (!/[\0\n\r]/.test(name) && [...name].length <= MAX_TEXT) return name;
  throw usage(`${flag}: not a task name: ${quoted(name)}`, `at most ${MAX_TEXT} characters on one line`);
}

export function checkKey(key: string, flag: string): string {
  if (key !== '' && !key.includes('\0') && [...key].length <= MAX_KEY) return key;
  throw usage(`${flag}: not a key: ${quoted(key)}`, `1 to ${MAX_KEY} characters`);
}

/** `k=v` in two; the value may be empty and may hold further `=`. */
export function checkLabel(text: string, flag: string): [key: string, value: string] {
  const at = text.indexOf('=');
  const [key, value] = [text.slice(0, at), text.slice(at + 1)];
  if (at > 0 && /^[A-Za-z0-9._/-]{1,64}$/.test(key) && !/\p{Cc}/u.test(value) && [...value].length <= MAX_TEXT) return [key, value];
  throw usage(
    `${flag}: not a label: ${quoted(text)}`,
    `key=value; the key is 1 to 64 of A-Z a-z 0-9 . _ / -, the value one line of at most ${MAX_TEXT}`,
  );
}

export function checkEnvName(name: string, flag: string): string {
  if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) return name;
  throw usage(`${flag}: not the name of an environment variable: ${quoted(name)}`, 'letters, digits and _, not beginning with a digit');
}

function checkFileName(name: string, flag: string, what: string): string {
  if (FILE_NAME.test(name)) return name;
  throw usage(`${flag}: not a ${what} name: ${quoted(name)}`, FILE_NAME_HINT);
}
