/**
 * What a verb does whose function is not connected.
 */
import { TqError } from '../errors.ts';

export function notWired(): never {
  throw new TqError('INTERNAL', 'not wired');
}
