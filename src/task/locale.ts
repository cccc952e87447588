/** What the locale says of the terminal. */

/** Whether letters beyond ASCII can be shown, as POSIX has it: the first of these that is set and not empty counts. */
export function isUtf8(env: Readonly<Record<string, string | undefined>>): boolean {
  return /utf-?8/i.test(env['LC_ALL'] || env['LC_CTYPE'] || env['LANG'] || '');
}
