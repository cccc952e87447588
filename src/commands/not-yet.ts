/**
 * What a verb does that this version does not have: it says so, and changes nothing.
 */
import { TqError } from '../errors.ts';

export function notYet(verb: string): () => never {
  return () => {
    throw new TqError('REFUSED', `this version of tq does not have ${verb} yet`, { hint: 'tq --help lists the verbs' });
  };
}
