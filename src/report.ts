/**
 * How the program says that something went wrong, and with which exit code it ends. What is not a TqError is either trouble of
 * the file system, which has its own codes, or a bug: one line, and the stack with TQ_DEBUG=1.
 */
import { errnoOf, EXIT, fsError, TqError } from './errors.ts';
import { printError, type Io } from './print.ts';

export interface ReportOptions {
  json: boolean;
  /** The verb passes on a task's own exit code, so tq's own trouble is 125. */
  passesCode: boolean;
  /** What was being done, `tq ls`. */
  doing: string;
  debug: boolean;
}

/** Prints the error and returns the exit code. */
export function report(thrown: unknown, io: Io, options: ReportOptions): number {
  const error = asTqError(thrown, options.doing);
  const exit = options.passesCode && error.code !== 'TIMEOUT' ? EXIT.own : error.exit;
  printError(error, exit, options.json, io);
  if (options.debug) io.err(stackOf(thrown));
  return exit;
}

function asTqError(thrown: unknown, doing: string): TqError {
  if (thrown instanceof TqError) return thrown;
  const code = errnoOf(thrown);
  if (code !== undefined && /^E[A-Z0-9]+$/.test(code) && thrown instanceof Error && 'syscall' in thrown) {
    const path = 'path' in thrown && typeof thrown.path === 'string' ? thrown.path : String(thrown.syscall);
    return fsError(thrown, doing, path);
  }
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new TqError('INTERNAL', `${doing}: unexpected: ${text.split('\n')[0]}`, {
    hint: 'this is a bug in tq; TQ_DEBUG=1 shows where',
    cause: thrown,
  });
}

function stackOf(thrown: unknown): string {
  if (!(thrown instanceof Error)) return String(thrown);
  const own = thrown.stack ?? thrown.message;
  return thrown.cause === undefined ? own : `${own}\ncaused by ${stackOf(thrown.cause)}`;
}
