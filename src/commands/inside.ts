/**
 * How a task says something about itself: by files that its worker named in the environment. Written aside and renamed, so that
 * the worker, which looks at them at any moment, never reads half of one.
 */
import fs from 'node:fs';
import { TqError } from '../errors.ts';
import type { System } from '../system.ts';

/** Throws REFUSED outside a task, and when the file cannot be written (the attempt has ended, its disk is full). */
export function report(system: System, variable: string, verb: string, text: string): void {
  const file = system.env[variable];
  if (file === undefined || file === '') {
    throw new TqError('REFUSED', `tq ${verb} works inside a running task only: $${variable} is not set`, {
      hint: `call it from the command of a task: tq help ${verb}`,
    });
  }
  const aside = `${file}.${system.pid}`;
  try {
    // Somebody who tries out a script may have named a terminal or /dev/null.
    const there = fs.statSync(file, { throwIfNoEntry: false });
    if (there !== undefined && !there.isFile()) return fs.writeFileSync(file, text);
    fs.writeFileSync(aside, text);
    fs.renameSync(aside, file);
  } catch (error) {
    fs.rmSync(aside, { force: true });
    throw new TqError('REFUSED', `tq ${verb}: cannot write $${variable}: ${error instanceof Error ? error.message : String(error)}`, {
      hint: 'the attempt that this process belongs to may have ended',
      cause: error,
    });
  }
}
