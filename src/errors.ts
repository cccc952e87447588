/**
 * The one error type that tq raises on purpose. It says what was attempted, on what, what was found, and what to do next;
 * anything else that reaches the top of the program is a bug.
 */

/** Exit codes of the command line; the table in the manual gives their meaning. */
export const EXIT = {
  ok: 0,
  no: 1,
  usage: 2,
  notFound: 3,
  queue: 4,
  refused: 5,
  permission: 6,
  timeout: 124,
  own: 125,
} as const;

export type ErrorCode =
  | 'USAGE'
  | 'AMBIGUOUS'
  | 'NOT_FOUND'
  | 'NOT_A_QUEUE'
  | 'NEWER_FORMAT'
  | 'QUEUE_UNUSABLE'
  | 'NO_SPACE'
  | 'READ_ONLY'
  | 'REFUSED'
  | 'DUPLICATE_KEY'
  | 'KEY_LOCKED'
  | 'NAME_TAKEN'
  | 'WRONG_STATE'
  | 'PERMISSION'
  | 'TIMEOUT'
  | 'FAILED'
  | 'PARTIAL'
  | 'INTERNAL';

const EXIT_OF: Record<ErrorCode, number> = {
  USAGE: EXIT.usage,
  AMBIGUOUS: EXIT.usage,
  NOT_FOUND: EXIT.notFound,
  NOT_A_QUEUE: EXIT.queue,
  NEWER_FORMAT: EXIT.queue,
  QUEUE_UNUSABLE: EXIT.queue,
  NO_SPACE: EXIT.queue,
  READ_ONLY: EXIT.queue,
  REFUSED: EXIT.refused,
  DUPLICATE_KEY: EXIT.refused,
  KEY_LOCKED: EXIT.refused,
  NAME_TAKEN: EXIT.refused,
  WRONG_STATE: EXIT.refused,
  PARTIAL: EXIT.refused,
  PERMISSION: EXIT.permission,
  TIMEOUT: EXIT.timeout,
  FAILED: EXIT.no,
  INTERNAL: EXIT.own,
};

export class TqError extends Error {
  override readonly name = 'TqError';
  readonly code: ErrorCode;
  /** What to do next, one line; printed after the message. */
  readonly hint: string | undefined;
  /** Exit code of the process when this error ends it. */
  readonly exit: number;

  constructor(code: ErrorCode, message: string, options: { hint?: string; cause?: unknown; exit?: number } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.hint = options.hint;
    this.exit = options.exit ?? EXIT_OF[code];
  }

  toJSON(): { error: { code: string; exit: number; message: string; hint: string | null } } {
    return { error: { code: this.code, exit: this.exit, message: this.message, hint: this.hint ?? null } };
  }
}

/** A usage error (exit 2) that names the flag or word and the text that was wrong. */
export function usage(message: string, hint?: string): TqError {
  return new TqError('USAGE', message, hint === undefined ? {} : { hint });
}

/** The errno name of a file system error (`ENOENT`), or undefined for anything else. */
export function errnoOf(error: unknown): string | undefined {
  if (error instanceof Error && 'code' in error && typeof error.code === 'string') return error.code;
  return undefined;
}

/** Turns an errno from the queue directory into the TqError that the command line's exit table asks for. */
export function fsError(error: unknown, doing: string, path: string): TqError {
  if (error instanceof TqError) return error;
  const code = errnoOf(error);
  switch (code) {
    case 'EACCES':
    case 'EPERM':
      return new TqError('PERMISSION', `${doing}: permission denied: ${path}`, {
        hint: 'ask the owner of the queue, or make it with `tq init --shared`',
        cause: error,
      });
    case 'EROFS':
      return new TqError('READ_ONLY', `${doing}: the file system is read-only: ${path}`, {
        hint: 'mount it read-write, or use another queue with -D',
        cause: error,
      });
    case 'ENOSPC':
    case 'EDQUOT':
      return new TqError('NO_SPACE', `${doing}: ${code === 'ENOSPC' ? 'no space left' : 'disk quota exceeded'}: ${path}`, {
        hint: 'free space (tq gc removes old finished tasks) and try again; nothing was changed',
        cause: error,
      });
    default:
      return new TqError('QUEUE_UNUSABLE', `${doing}: ${code ?? (error instanceof Error ? error.message : String(error))}: ${path}`, {
        hint: 'check that the directory is mounted and whole: tq doctor',
        cause: error,
      });
  }
}
