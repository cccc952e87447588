/**
 * The tasks that a submit comes after, as people name them: a whole id is taken as it is, a part of one or @last is looked up.
 */
import { ID_LENGTH, parseSelector } from '../task/selector.ts';
import type { Parent } from '../task/types.ts';
import { TqError } from '../errors.ts';
import { locate } from '../queue/find.ts';
import type { Queue } from '../queue/open.ts';
import { orThrow, select } from './select.ts';
import type { Ctx } from './spec.ts';

/** The same parents by their whole ids. Throws NOT_FOUND and AMBIGUOUS for parts of ids. */
export async function wholeParents(ctx: Ctx, parents: readonly Parent[]): Promise<Parent[]> {
  const whole: Parent[] = [];
  for (const parent of parents) {
    const selector = parseSelector(parent.id);
    if (selector.kind === 'element' && selector.id.length === ID_LENGTH) {
      whole.push(parent);
      continue;
    }
    if (selector.kind === 'id') {
      const elements = await elementsIfMany(await ctx.queue(), parent);
      whole.push(...(elements.length === 0 ? [parent] : elements.map((id) => ({ ...parent, id }))));
      continue;
    }
    const tasks = orThrow(await select(ctx, { verb: 'submit', words: [parent.id], none: 'usage', filters: false }));
    whole.push(...tasks.map(({ id }) => ({ ...parent, id })));
  }
  return whole;
}

/** A child keeps its parents in its own file, and each of them is asked for by itself. */
const MOST_PARENTS = 1000;

/** The tasks of a submission that has no entry of its own; none for a task, for an array, or for what is not there. */
async function elementsIfMany(q: Queue, parent: Parent): Promise<string[]> {
  if ((await locate(q, parent.id)) !== undefined || (await (await import('../queue/each.ts')).isArray(q, parent.id))) return [];
  const { elementsOf } = await import('../queue/walk.ts');
  const elements = (await elementsOf(q, parent.id)).map((at) => at.id);
  if (elements.length <= MOST_PARENTS) return elements;
  throw new TqError(
    'REFUSED',
    `--${parent.kind}: ${parent.id} has ${elements.length} tasks, and a task comes after at most ${MOST_PARENTS}`,
    {
      hint: 'put both into one workflow with -f, or wait for it: tq wait',
    },
  );
}
