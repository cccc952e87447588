/**
 * `tq graph`: what comes after what, with the states.
 */
import { EXIT, usage } from '../errors.ts';
import { printError, printJson } from '../print.ts';
import { arrayAt } from '../queue/array-view.ts';
import { findElement, readArray, type ArrayNow } from '../queue/array.ts';
import type { Located } from '../queue/find.ts';
import { followUpsOf } from '../queue/follow.ts';
import { baseId, inSubmitOrder, isPiece } from '../queue/layout.ts';
import type { Queue } from '../queue/open.ts';
import { elementsOf, locateMany } from '../queue/walk.ts';
import { endedState } from '../queue/depend.ts';
import { commandLine } from '../task/argv.ts';
import { dotOf, drawTree, mermaidOf, type Graph, type GraphEdge, type GraphNode } from '../task/graph.ts';
import { isUtf8 } from '../task/locale.ts';
import { stateOfAll, type Counts } from '../task/many.ts';
import { STATES, type FollowKind, type State, type Task } from '../task/types.ts';
import { stateStyle } from './describe.ts';
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { exitOfMissing, readTaskQuietly, select } from './select.ts';
import { defineCommand, type Ctx } from './spec.ts';

export const command = defineCommand({
  name: 'graph',
  section: 'LOOKING',
  summary: 'draw which task comes after which',
  description:
    'Without a selector: what is unfinished. With one, or filters: those tasks in every state. Tasks that they come after are drawn too. ' +
    'An array is one node; what an ending made, or is going to make, hangs below its task.',
  examples: [
    { command: 'tq graph -g nightly', text: 'a tree with states' },
    { command: 'tq graph -g nightly --dot | dot -Tsvg > nightly.svg', text: 'a picture' },
    { command: 'tq graph @last --mermaid', text: 'for a page in Markdown' },
  ],
  args: SELECTOR,
  flags: {
    dot: { help: 'for Graphviz' },
    mermaid: { help: 'for Mermaid' },
    ...FILTER_FLAGS,
  },
  async run(ctx) {
    if (ctx.flags.dot === true && ctx.flags.mermaid === true) throw usage('--dot and --mermaid: one of the two');
    const selection = await select(ctx, { verb: 'graph', words: ctx.args, none: 'unfinished', filters: true, reach: STATES });
    const q = await ctx.queue();
    const graph = await graphOf(
      q,
      selection.tasks.map((task) => task.at),
    );
    if (ctx.json) printJson(graph, ctx.io);
    else if (ctx.flags.dot === true) ctx.io.out(dotOf(graph));
    else if (ctx.flags.mermaid === true) ctx.io.out(mermaidOf(graph));
    else if (graph.nodes.length > 0) ctx.io.out(tree(graph, ctx));
    for (const error of selection.missing) printError(error, error.exit, ctx.json, ctx.io);
    return selection.missing.length === 0 ? EXIT.ok : exitOfMissing(selection.tasks.length, selection.missing);
  },
});

function tree(graph: Graph, { io, system }: Pick<Ctx, 'io' | 'system'>): string {
  return drawTree(graph, {
    ascii: !isUtf8(system.env),
    paint: (node, text) => {
      const style = stateStyle(node.state);
      return style === undefined ? text : io.paint(style, text);
    },
    heading: (text) => io.paint('bold', text),
  });
}

async function graphOf(q: Queue, found: readonly Located[]): Promise<Graph> {
  const nodes = new Map<string, GraphNode>();
  const edges: GraphEdge[] = [];
  const arrays = new Map<string, ArrayNow | undefined>();
  const arrayOf = async (id: string): Promise<ArrayNow | undefined> => {
    if (!arrays.has(id)) arrays.set(id, await readArray(q, id));
    return arrays.get(id);
  };
  const add = async (at: Located, isOutside: boolean): Promise<void> => {
    const array = at.part !== undefined || isPiece(at.id) ? await arrayOf(baseId(at.id)) : undefined;
    const task = array?.task ?? (await readTaskQuietly(q, at));
    if (task === undefined) return;
    const isArray = array !== undefined || task.many !== undefined;
    const id = isArray ? baseId(at.id) : at.id;
    if (nodes.has(id)) return;
    const whole = isArray ? await arrayOf(id) : undefined;
    nodes.set(id, {
      id,
      title: task.name ?? commandLine(task),
      state: whole?.state ?? at.state,
      note: whole === undefined ? '' : noteOf(whole.many.size, whole.counts),
      group: task.group,
      isOutside,
    });
    for (const parent of task.after ?? []) edges.push({ from: parent.id, to: id, kind: parent.kind });
    if (task.cause !== undefined) edges.push({ from: task.cause.id, to: id, kind: task.cause.kind });
    if (!isOutside) await addFollowUps(id, task, whole?.state ?? at.state);
  };
  /** What its endings made is found by its own id; what one is going to make has none yet. */
  const addFollowUps = async (id: string, task: Task, state: State): Promise<void> => {
    for (const made of await followUpsOf(q, { ...task, id })) followers.push(made.id);
    const ended = KIND_OF[state];
    for (const [kind, text] of HOOKS.map(([k, field]) => [k, task[field]] as const)) {
      if (text === undefined || ended !== undefined) continue;
      const planned = `${id} ${kind}`;
      nodes.set(planned, { id: planned, title: text, state: 'planned', note: '', group: task.group, isOutside: false });
      edges.push({ from: id, to: planned, kind });
    }
  };
  const followers: string[] = [];
  for (const at of found) await add(at, false);
  for (const at of (
    await locateMany(
      q,
      followers.filter((id) => !nodes.has(id)),
    )
  ).values())
    await add(at, false);
  // What the edges name and nobody asked for: a task, all tasks of a submission, or something that was removed.
  const outside = [...new Set(edges.flatMap(({ from, to }) => [from, to]))].filter((id) => !nodes.has(id));
  const located = await locateMany(q, outside);
  for (const id of outside) {
    // An element of an array is drawn as itself, whether it has an entry of its own or not.
    const at = id.includes('.') && (await arrayOf(baseId(id))) !== undefined ? undefined : located.get(id);
    if (at !== undefined) {
      // Only itself: what it comes after in turn was not asked for.
      const before = edges.length;
      await add(at, true);
      edges.length = before;
    }
    if (!nodes.has(id)) nodes.set(id, await wholeNode(q, id, arrayOf));
  }
  const ordered = [...nodes.values()].toSorted((a, b) => inSubmitOrder(a.id.split(' ')[0]!, b.id.split(' ')[0]!) || (a.id < b.id ? -1 : 1));
  // Children in their order, what is only planned last.
  const orders = new Map(ordered.map((node, i) => [node.id, node.state === 'planned' ? ordered.length + i : i]));
  const between = edges.filter(({ from, to }) => nodes.has(from) && nodes.has(to));
  between.sort((a, b) => orders.get(a.to)! - orders.get(b.to)! || orders.get(a.from)! - orders.get(b.from)!);
  return { nodes: ordered, edges: unique(between) };
}

/** An array or an element of it, or a submission of several tasks, by its id. */
async function wholeNode(q: Queue, id: string, arrayOf: (id: string) => Promise<ArrayNow | undefined>): Promise<GraphNode> {
  const base = { id, title: undefined, note: '', group: undefined, isOutside: true };
  const array = await arrayOf(baseId(id));
  if (array !== undefined) {
    const at = arrayAt(array);
    const title = array.task.name ?? commandLine(array.task);
    const element = id.includes('.') ? await findElement(q, array, Number(id.slice(id.indexOf('.') + 1))) : undefined;
    if (element !== undefined) return { ...base, title, state: element.state, group: array.task.group };
    return { ...base, title, state: at.state, note: noteOf(array.many.size, array.counts), group: array.task.group };
  }
  const parts = id.includes('.') ? [] : await elementsOf(q, id);
  if (parts.length > 0) {
    const counts: Counts = {};
    for (const { state } of parts) counts[state] = (counts[state] ?? 0) + 1;
    return { ...base, title: 'submission', state: stateOfAll(counts), note: noteOf(parts.length, counts) };
  }
  return { ...base, state: (await endedState(q, id)) ?? 'gone' };
}

const KIND_OF: Readonly<Partial<Record<State, FollowKind>>> = {
  done: 'on-success',
  failed: 'on-failure',
  canceled: 'on-cancel',
  skipped: 'on-cancel',
};
const HOOKS = [
  ['on-success', 'onSuccess'],
  ['on-failure', 'onFailure'],
  ['on-cancel', 'onCancel'],
] as const;

function noteOf(size: number, counts: Counts): string {
  const parts = STATES.filter((state) => (counts[state] ?? 0) > 0).map((state) => `${counts[state]} ${state}`);
  return `${size} tasks: ${parts.join(', ')}`;
}

function unique(edges: readonly GraphEdge[]): GraphEdge[] {
  return [...new Map(edges.map((edge) => [`${edge.from} ${edge.to} ${edge.kind}`, edge])).values()];
}
