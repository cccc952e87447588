/**
 * The rows of `tq ls --at`: tasks as they were then. The filters ask what was so then too.
 */
import type { Queue } from '../queue/open.ts';
import { rewound } from '../queue/rewind.ts';
import { matcher } from '../task/selector.ts';
import { STATES } from '../task/types.ts';
import type { Rows, Source } from './ls.ts';
import { readFilters } from './select.ts';
import type { Ctx } from './spec.ts';

export async function* rowsThen(ctx: Ctx<object>, q: Queue, then: number, source: Source, full: boolean): Rows {
  const filters = (await readFilters(ctx as Ctx, q)) ?? {};
  const passes = matcher(filters);
  const { ids } = source;
  const states = ids === undefined ? source.states : STATES;
  const some = ids === undefined ? {} : { only: ids };
  for await (const row of rewound(q, then, { states, ...some, expand: source.expand, brief: !full })) {
    const { view } = row;
    const { queue, group, labels, name, state } = view;
    const worker = view.worker ?? view.attempts.at(-1)?.worker ?? null;
    const asked = { state, queue, group, labels, name, user: view.submittedBy.user, worker, submittedAt: Date.parse(view.submittedAt) };
    // Some elements may have failed while others ran.
    const failed = filters.failed === true && (view.array?.failed ?? 0) > 0;
    if (passes(failed ? { ...asked, state: 'failed' } : asked)) yield row;
  }
}

export async function countRows(rows: Rows): Promise<number> {
  let n = 0;
  for (let row = await rows.next(); row.done !== true; row = await rows.next()) n++;
  return n;
}
