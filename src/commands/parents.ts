/**
 * The tasks that a submit comes after, as people name them: a whole id is taken as it is, a part of one or @last is looked up.
 */
import { ID_LENGTH, parseSelector } from '../task/selector.ts';
import type { Parent } from '../task/types.ts';
import { orThrow, select } from './select.ts';
import type { Ctx } from './spec.ts';

/** The same parents by their whole ids. Throws NOT_FOUND and AMBIGUOUS for parts of ids. */
export async function wholeParents(ctx: Ctx, parents: readonly Parent[]): Promise<Parent[]> {
  const whole: Parent[] = [];
  for (const parent of parents) {
    const selector = parseSelector(parent.id);
    if (selector.kind === 'id' || (selector.kind === 'element' && selector.id.length === ID_LENGTH)) {
      whole.push(parent);
      continue;
    }
    const tasks = orThrow(await select(ctx, { verb: 'submit', words: [parent.id], none: 'usage', filters: false }));
    whole.push(...tasks.map(({ id }) => ({ ...parent, id })));
  }
  return whole;
}
