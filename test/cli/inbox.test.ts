/** A queue used without the command line: task objects moved into `inbox/`, task files moved by hand. */
import fs from 'node:fs';
import path from 'node:path';
import { expect, it } from 'vitest';
import { makeFarm, until, type Farm } from '../helpers/tq.ts';

/** As another program does it: written elsewhere on the same file system, then moved. */
function drop(farm: Farm, name: string, text: string): void {
  const staged = path.join(farm.dir, `staged-${name}`);
  fs.writeFileSync(staged, text);
  fs.renameSync(staged, path.join(farm.queue, 'inbox', name));
}

const inbox = (farm: Farm): string[] => fs.readdirSync(path.join(farm.queue, 'inbox')).toSorted();

interface Aside {
  file: string;
  reason: string;
  text: string;
}

/** What lies in quarantine, by the name that it had. */
function quarantined(farm: Farm): Map<string, Aside> {
  const dir = path.join(farm.queue, 'quarantine');
  const found = new Map<string, Aside>();
  for (const name of fs.readdirSync(dir)) {
    if (!name.endsWith('.reason')) continue;
    const said = JSON.parse(fs.readFileSync(path.join(dir, name), 'utf8')) as { file: string; reason: string };
    const kept = path.join(dir, name.slice(0, -'.reason'.length));
    // The reason is written first.
    if (fs.existsSync(kept)) found.set(path.basename(said.file), { ...said, text: fs.readFileSync(kept, 'utf8') });
  }
  return found;
}

it('L5 L7: a task object moved into inbox/ is run; a bad or hostile one goes to quarantine with its name and reason, others pass', async () => {
  const farm = await makeFarm();
  const BAD: Record<string, [text: string, reason: RegExp]> = {
    'words.json': ['nonsense', /JSON/],
    'empty.json': ['', /JSON/],
    'half.json': ['{"command": ["true"', /JSON/],
    'list.json': ['[{"command":["true"]}]', /not a JSON object/],
    'key.json': ['{"command":["true"],"kolor":1}', /unknown key 'kolor'/],
    'forged.json': ['{"command":["true"],"id":"../../../etc/x"}', /unknown key 'id'/],
    'queue.json': ['{"command":["true"],"queue":"../x"}', /--queue: .*'\.\.\/x'/],
    'group.json': ['{"command":["true"],"group":"a/b"}', /--group: .*'a\/b'/],
    'priority.json': ['{"command":["true"],"priority":100}', /--priority: .*100/],
    'nothing.json': ['{}', /command/],
  };
  for (const [name, [text]] of Object.entries(BAD)) drop(farm, name, text);
  drop(farm, 'argv.json', '{"command":["sh","-c","echo $1 > argv","sh","a b"],"name":"argv"}');
  drop(farm, 'line.json', '{"command":"echo $((1+1)) > line","name":"line"}');
  drop(farm, 'writing.tmp', '{"command":["true"]}');
  drop(farm, '.hidden.json', '{"command":["true"]}');
  await farm.worker(['--name', 'w1']);
  await until(
    () => quarantined(farm).size === Object.keys(BAD).length && inbox(farm).length === 2,
    () => `all were looked at: ${inbox(farm).join(' ')}`,
  );
  expect(inbox(farm)).toEqual(['.hidden.json', 'writing.tmp']);
  const aside = quarantined(farm);
  for (const [name, [text, reason]] of Object.entries(BAD)) {
    expect(aside.get(name), name).toEqual({
      file: path.join(farm.queue, 'inbox', name),
      reason: expect.stringMatching(reason),
      at: expect.any(String),
      text,
    });
  }
  await until(
    async () => (await farm.ok(['ls', '--count', '-s', 'done'])) === '2\n',
    () => 'both tasks have run',
  );
  const tasks = JSON.parse(await farm.ok(['ls', '-a', '--json'])) as Array<{ id: string; name: string; cwd: string }>;
  expect(tasks.map((t) => t.name).toSorted()).toEqual(['argv', 'line']);
  for (const t of tasks) expect(t.id).toMatch(/^[0-9a-z]{14}$/);
  expect(fs.readFileSync(path.join(tasks[0]!.cwd, 'argv'), 'utf8')).toBe('a b\n');
  expect(fs.readFileSync(path.join(tasks[0]!.cwd, 'line'), 'utf8')).toBe('2\n');
});

it('L5: one that is still being written is left alone until it parses', async () => {
  const farm = await makeFarm();
  await farm.worker(['--name', 'w1', '--poll', '1s']);
  const file = path.join(farm.queue, 'inbox/slow.json');
  const text = JSON.stringify({ command: ['true'], name: 'slow', comment: 'x'.repeat(50) });
  // It grows from poll to poll, so it never stands still for two of them.
  for (let end = 1; end <= text.length; end++) {
    fs.writeFileSync(file, text.slice(0, end));
    await new Promise((resolve) => setTimeout(resolve, 40));
  }
  await until(
    async () => (await farm.ok(['ls', '--count', '-s', 'done'])) === '1\n',
    () => 'it has run',
  );
  expect(quarantined(farm).size).toBe(0);
});

it('L5: mv of a task file to held/ holds it, and tq release lets it go', async () => {
  const farm = await makeFarm();
  const id = await farm.submit('--', 'true');
  const { file } = await farm.show(id);
  fs.renameSync(file, path.join(farm.queue, 'held', path.basename(file)));
  expect(await farm.show(id)).toMatchObject({ state: 'held' });
  await farm.ok(['worker', '--until-empty', '--poll', '20ms']);
  expect(await farm.show(id)).toMatchObject({ state: 'held', attempt: 0 });
  expect(await farm.ok(['release', id])).toBe(`${id}\n`);
  await farm.ok(['worker', '--until-empty', '--poll', '20ms']);
  expect(await farm.show(id)).toMatchObject({ state: 'done' });
});
