/** `tq graph`: what comes after what, as a tree, for Graphviz and for Mermaid. */
import { writeFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { makeFarm } from '../helpers/tq.ts';

interface Parsed {
  labels: Map<string, string>;
  clusters: Map<string, string[]>;
  edges: Array<{ from: string; to: string; label: string }>;
}

const STRING = /"((?:[^"\\]|\\.)*)"/.source;
const ATTRIBUTES = new RegExp(`^ \\[(?:\\w+=(?:${STRING}|[\\w#]+)(?:, )?)+\\]$`);

/** The part of the DOT language that is written, and nothing else: a line that is not of it throws. */
function parseDot(text: string): Parsed {
  const parsed: Parsed = { labels: new Map(), clusters: new Map(), edges: [] };
  const lines = text.trimEnd().split('\n');
  if (lines.shift() !== 'digraph tq {' || lines.pop() !== '}') throw new Error('no digraph');
  let cluster: string[] | undefined;
  for (const line of lines.map((l) => l.trim())) {
    const m =
      /^subgraph (cluster_\d+) \{$/.exec(line) ??
      /^(\})$/.exec(line) ??
      /^(rankdir)=LR;$/.exec(line) ??
      new RegExp(`^(label)=${STRING};$`).exec(line) ??
      /^(\w+)( \[.*\])?;$/.exec(line) ??
      /^(\w+) -> (\w+)( \[.*\])?;$/.exec(line);
    if (m === null) throw new Error(`not DOT: ${line}`);
    const attributes = m.find((part, i) => i > 0 && part?.startsWith(' [') === true);
    if (attributes !== undefined && !ATTRIBUTES.test(attributes)) throw new Error(`not attributes: ${attributes}`);
    const label = attributes === undefined ? '' : (new RegExp(`label=${STRING}`).exec(attributes)?.[1] ?? '');
    if (m[1]!.startsWith('cluster_')) cluster = [];
    else if (m[1] === '}') cluster = undefined;
    else if (m[1] === 'label' && cluster !== undefined) parsed.clusters.set(m[2]!, cluster);
    else if (/^\w+ -> /.test(line)) parsed.edges.push({ from: m[1]!, to: m[2]!, label });
    else if (m[1] !== 'node' && m[1] !== 'rankdir') {
      parsed.labels.set(m[1]!, label);
      cluster?.push(m[1]!);
    }
  }
  for (const { from, to } of parsed.edges)
    if (!parsed.labels.has(from) || !parsed.labels.has(to)) throw new Error(`an edge to nowhere: ${from} ${to}`);
  return parsed;
}

describe('graph', () => {
  it('J8: a tree with states, each task below the last that it comes after', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'a', '-g', 'g', '--on-failure', 'mail me', '--', 'true');
    const b = await farm.submit('-n', 'b', '-g', 'g', '--after', a, '--', 'true');
    const c = await farm.submit('-n', 'c', '-g', 'g', '--after-any', `${a},${b}`, '--', 'true');
    const d = await farm.submit('-n', 'd', '-g', 'g', '--after', a, '--array', '1-5', '--', 'true');
    await farm.submit('-n', 'elsewhere', '--', 'true');
    expect(await farm.ok(['graph', '-g', 'g'])).toBe(
      [
        `${a}  queued  a`,
        `├─ ${b}  waiting  b`,
        `│  └─ ${c}  waiting  c (after-any)`,
        `├─ (${c}) (after-any)`,
        `├─ ${d}  waiting  d  5 tasks: 5 waiting`,
        '└─ planned  mail me (on-failure)',
        '',
      ].join('\n'),
    );
    const plain = await farm.ok(['graph', a, b], { env: { LANG: 'C' } });
    expect(plain).toMatch(/^[\x20-\x7e\n]*$/);
    expect(plain).toContain(`|- ${b}  waiting  b`);
  });

  it('J8: a follow-up hangs below the task whose ending made it, and parents that nobody asked for are there', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('--on-success', 'true', '--', 'true');
    const b = await farm.submit('-n', 'b', '--after', a, '--', 'true');
    await farm.ok(['worker', '--until-empty', '--poll', '20ms']);
    const made = (await farm.show(a)) as unknown as { followUps: Array<{ id: string }> };
    expect(await farm.ok(['graph', a])).toBe(`${a}  done  true\n└─ ${made.followUps[0]!.id}  done  true (on-success)\n`);
    expect(await farm.ok(['graph', b])).toBe(`${a}  done  true\n└─ ${b}  done  b\n`);
  });

  it('J8: --dot is of the language of Graphviz whatever the names, groups are clusters', async () => {
    const farm = await makeFarm();
    const hostile = 'say "x" \\n \\" ] ; } -> \u001b[31m %<b>';
    const a = await farm.submit('-n', hostile, '-g', 'first', '--', 'true');
    const b = await farm.submit('-n', 'b', '-g', 'second', '--after-notok', a, '--', 'true');
    const dot = parseDot(await farm.ok(['graph', '--dot']));
    expect(dot.labels.size).toBe(2);
    expect([...dot.clusters.keys()]).toEqual(['first', 'second']);
    expect(dot.edges).toEqual([{ from: 'n0', to: 'n1', label: 'after-notok' }]);
    expect(dot.labels.get('n0')).toBe(`say \\"x\\" \\\\n \\\\\\" ] ; } -> \\\\x1b[31m %<b>\\n${a}\\nqueued`);
    expect(dot.labels.get('n1')).toContain(b);
  });

  it('J8: --mermaid is a flowchart in which no name can be markup', async () => {
    const farm = await makeFarm();
    const a = await farm.submit('-n', 'x"] --> end;%%{<script>#quot;`', '--', 'true');
    const b = await farm.submit('-n', 'b', '--after', a, '--', 'true');
    const lines = (await farm.ok(['graph', '--mermaid'])).trimEnd().split('\n');
    expect(lines[0]).toBe('flowchart LR');
    const form =
      /^ {2}(?:n\d+\["[\p{L}\p{N} .,:/@%+=_#;-]*(?:<br\/>[\p{L}\p{N} .,:/@%+=_#;-]*)*"\]:::\w+|n\d+ -->(?:\|"[\w-]+"\|)? n\d+|classDef \w+ [\w:#,-]+)$/u;
    expect(lines.slice(1).filter((line) => !form.test(line))).toEqual([]);
    expect(lines.filter((line) => line.includes('-->'))).toEqual(['  n0 --> n1']);
    expect(lines.find((line) => line.includes(b))).toContain('b<br/>');
  });

  it('J8: a thousand tasks in a chain are drawn, each once', async () => {
    const farm = await makeFarm();
    const tasks = Array.from({ length: 1000 }, (_, i) => ({
      id: `t${i}`,
      command: ['true'],
      ...(i === 0 ? {} : { after: [`t${i - 1}`] }),
    }));
    writeFileSync(`${farm.dir}/flow.json`, JSON.stringify({ name: 'chain', tasks }));
    await farm.submit('-f', 'flow.json');
    const lines = (await farm.ok(['graph', '-g', 'chain'])).trimEnd().split('\n');
    expect(lines.length).toBe(1000);
    expect(parseDot(await farm.ok(['graph', '--dot', '-g', 'chain'])).edges.length).toBe(999);
  });

  it('J8: nothing to draw is empty; a wrong word, two forms and an unknown id are refused', async () => {
    const farm = await makeFarm();
    expect(await farm.tq(['graph', '-g', 'none'])).toMatchObject({ code: 0, stdout: '' });
    expect(await farm.tq(['graph'])).toMatchObject({ code: 0, stdout: '' });
    expect(await farm.tq(['graph', '--dot', '--mermaid'])).toMatchObject({ code: 2, stdout: '' });
    expect(await farm.tq(['graph', '6d3dt2up3jj1xm'])).toMatchObject({ code: 3, stdout: '' });
    expect((await farm.tq(['graph', '../x'])).code).toBe(2);
  });
});
