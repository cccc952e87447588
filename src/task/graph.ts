/**
 * Which task comes after which, drawn: as a tree for people, as DOT for Graphviz, as a flowchart for Mermaid. Pure; what came from a task
 * is shown, never obeyed, in each of the three.
 */
import type { State } from './types.ts';
import { visible } from './visible.ts';

export interface GraphNode {
  id: string;
  /** What it is called or runs; undefined: nothing is known but the id. */
  title: string | undefined;
  /** `planned`: a task that an ending is going to make. `gone`: removed without a trace. */
  state: State | 'planned' | 'gone';
  /** More in a few words: how many elements of an array are done, say. */
  note: string;
  group: string | undefined;
  /** It was not asked for, and is there because something else names it. */
  isOutside: boolean;
}

/** `kind`: how the second waits for the first, or which ending of the first makes the second. */
export interface GraphEdge {
  from: string;
  to: string;
  kind: string;
}

export interface Graph {
  /** In submit order. */
  nodes: readonly GraphNode[];
  edges: readonly GraphEdge[];
}

/** What `--after` says by itself needs no word. */
const PLAIN = 'after';

export interface TreeStyle {
  ascii: boolean;
  paint(node: GraphNode, text: string): string;
  heading(text: string): string;
}

interface Branches {
  middle: string;
  last: string;
  down: string;
  none: string;
}

const LINES: Branches = { middle: '├─ ', last: '└─ ', down: '│  ', none: '   ' };
const ASCII: Branches = { middle: '|- ', last: '`- ', down: '|  ', none: '   ' };

/**
 * Each task below the last of those that it comes after, so that it stands once where all of them are above it; below the others it is
 * named in parentheses. Groups have a heading where there are several.
 */
export function drawTree(graph: Graph, style: TreeStyle): string {
  const lines = style.ascii ? ASCII : LINES;
  const nodes = new Map(graph.nodes.map((node) => [node.id, node]));
  const below = new Map<string, GraphEdge[]>();
  const home = new Map<string, string>();
  const depths = depthsOf(graph);
  for (const edge of graph.edges) {
    below.set(edge.from, [...(below.get(edge.from) ?? []), edge]);
    const before = home.get(edge.to);
    if (before === undefined || (depths.get(edge.from) ?? 0) >= (depths.get(before) ?? 0)) home.set(edge.to, edge.from);
  }
  let text = '';
  const drawn = new Set<string>();
  const draw = (root: string): void => {
    // Not by recursion: a chain of many thousand tasks is one.
    const todo: Array<{ id: string; lead: string; next: string; kind: string; isHere: boolean }> = [
      { id: root, lead: '', next: '', kind: PLAIN, isHere: true },
    ];
    for (;;) {
      const at = todo.pop();
      if (at === undefined) return;
      const node = nodes.get(at.id)!;
      const isHere = at.isHere && !drawn.has(at.id);
      text += `${at.lead}${lineOf(node, at.kind, isHere, style)}\n`;
      if (!isHere) continue;
      drawn.add(at.id);
      const edges = below.get(at.id) ?? [];
      for (const [i, edge] of edges.entries().toArray().toReversed()) {
        const isLast = i === edges.length - 1;
        todo.push({
          id: edge.to,
          lead: at.next + (isLast ? lines.last : lines.middle),
          next: at.next + (isLast ? lines.none : lines.down),
          kind: edge.kind,
          isHere: home.get(edge.to) === at.id,
        });
      }
    }
  };
  const roots = graph.nodes.filter((node) => !home.has(node.id));
  const groups = new Set(roots.map((node) => node.group));
  for (const group of groups) {
    if (groups.size > 1) text += `${text === '' ? '' : '\n'}${style.heading(group === undefined ? 'no group' : visible(group))}\n`;
    for (const node of roots) if (node.group === group) draw(node.id);
  }
  // A circle has no root. There is none among tasks, but files can say anything.
  for (const node of graph.nodes) if (!drawn.has(node.id)) draw(node.id);
  return text;
}

function lineOf(node: GraphNode, kind: string, isHere: boolean, style: TreeStyle): string {
  const how = kind === PLAIN ? '' : ` (${kind})`;
  if (!isHere) return `(${node.id})${how}`;
  const title = node.title === undefined ? '' : `  ${visible(node.title)}`;
  const note = node.note === '' ? '' : `  ${visible(node.note)}`;
  const id = node.state === 'planned' ? '' : `${node.id}  `;
  return `${id}${style.paint(node, node.state)}${title}${note}${how}`;
}

/** The longest way from a root to each. */
function depthsOf({ nodes, edges }: Graph): Map<string, number> {
  const depths = new Map(nodes.map((node) => [node.id, 0]));
  const above = new Map<string, number>();
  const below = new Map<string, string[]>();
  for (const { from, to } of edges) {
    above.set(to, (above.get(to) ?? 0) + 1);
    below.set(from, [...(below.get(from) ?? []), to]);
  }
  const ready = nodes.filter((node) => !above.has(node.id)).map((node) => node.id);
  for (let i = 0; i < ready.length; i++) {
    const id = ready[i]!;
    for (const to of below.get(id) ?? []) {
      depths.set(to, Math.max(depths.get(to) ?? 0, depths.get(id)! + 1));
      above.set(to, above.get(to)! - 1);
      if (above.get(to) === 0) ready.push(to);
    }
  }
  return depths;
}

/** Fill colours that black text can be read on. */
const FILLS: Readonly<Record<GraphNode['state'], string>> = {
  waiting: '#e6d7f5',
  delayed: '#e6d7f5',
  held: '#fdf1c7',
  queued: '#d6e4fb',
  running: '#c9f1f5',
  done: '#d3f2d0',
  failed: '#f9d0cf',
  canceled: '#fde3c4',
  skipped: '#e8e8e8',
  planned: '#ffffff',
  gone: '#ffffff',
};

function labelOf(node: GraphNode): string[] {
  const id = node.state === 'planned' ? [] : [node.id];
  return [
    ...(node.title === undefined ? [] : [visible(node.title)]),
    ...id,
    `${node.state}${node.note === '' ? '' : ` ${visible(node.note)}`}`,
  ];
}

/** Nodes by their group; those of none first. */
function clusters(graph: Graph): Map<string | undefined, GraphNode[]> {
  const found = new Map<string | undefined, GraphNode[]>([[undefined, []]]);
  for (const node of graph.nodes) found.set(node.group, [...(found.get(node.group) ?? []), node]);
  return found;
}

/** After graphviz.org/doc/info/lang.html: in a quoted string a quote is escaped, and labels have escapes of their own. */
export function dotOf(graph: Graph): string {
  const names = new Map(graph.nodes.map((node, i) => [node.id, `n${i}`]));
  let text = 'digraph tq {\n  rankdir=LR;\n  node [shape=box, style=filled, fontname="sans-serif"];\n';
  let n = 0;
  for (const [group, nodes] of clusters(graph)) {
    const lead = group === undefined ? '  ' : '    ';
    if (group !== undefined) text += `  subgraph cluster_${n++} {\n    label="${dotText(visible(group))}";\n`;
    for (const node of nodes) {
      const outside = node.isOutside || node.state === 'planned' ? ', style="filled,dashed"' : '';
      text += `${lead}${names.get(node.id)} [label="${labelOf(node).map(dotText).join('\\n')}", fillcolor="${FILLS[node.state]}"${outside}];\n`;
    }
    if (group !== undefined) text += '  }\n';
  }
  for (const { from, to, kind } of graph.edges)
    text += `  ${names.get(from)} -> ${names.get(to)}${kind === PLAIN ? '' : ` [label="${dotText(kind)}"]`};\n`;
  return `${text}}\n`;
}

function dotText(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('"', '\\"');
}

/** After mermaid.js.org/syntax/flowchart.html: a label stands in quotes, and what could end it or mean markup is written as an entity. */
export function mermaidOf(graph: Graph): string {
  const names = new Map(graph.nodes.map((node, i) => [node.id, `n${i}`]));
  let text = 'flowchart LR\n';
  let n = 0;
  for (const [group, nodes] of clusters(graph)) {
    const lead = group === undefined ? '  ' : '    ';
    if (group !== undefined) text += `  subgraph g${n++}["${mermaidText(visible(group))}"]\n`;
    for (const node of nodes) text += `${lead}${names.get(node.id)}["${labelOf(node).map(mermaidText).join('<br/>')}"]:::${node.state}\n`;
    if (group !== undefined) text += '  end\n';
  }
  for (const { from, to, kind } of graph.edges)
    text += `  ${names.get(from)} -->${kind === PLAIN ? '' : `|"${mermaidText(kind)}"|`} ${names.get(to)}\n`;
  for (const state of new Set(graph.nodes.map((node) => node.state))) {
    const dashes = state === 'planned' || state === 'gone' ? ',stroke-dasharray:4' : '';
    text += `  classDef ${state} fill:${FILLS[state]},stroke:#555,color:#000${dashes}\n`;
  }
  return text;
}

/** Letters, digits and a few harmless signs stay; everything else becomes the entity of its code. */
function mermaidText(text: string): string {
  return text.replaceAll(/[^\p{L}\p{N} .,:/@%+=_-]/gu, (char) => `#${char.codePointAt(0)!};`);
}
