/** The journal as it is written and read: whole lines only, each once, nothing that does not parse; and what its failures do not touch. */
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { commandJournal, hourOf, workerJournal } from '../../src/queue/journal.ts';
import { initQueue, openQueue, type Queue } from '../../src/queue/open.ts';
import { openTail, parseLine, readJournalOf, type Line } from '../../src/queue/tail.ts';
import type { Step } from '../../src/task/event.ts';

async function newQueue(): Promise<Queue> {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tq-tail-'));
  onTestFinished(() => fs.rmSync(dir, { recursive: true, force: true }));
  await initQueue(`${dir}/q`, { shared: false, leaseMs: null });
  return openQueue(`${dir}/q`);
}

const ID = '6d39o5h8zf9c15';
const step = (at: number, more: Partial<Step> = {}): Step => ({
  at,
  task: ID,
  from: 'queued',
  to: 'running',
  attempt: 1,
  worker: 'w',
  ...more,
});

const all = async (q: Queue, from = Number.NEGATIVE_INFINITY, to = Number.POSITIVE_INFINITY): Promise<Line[]> => {
  const lines: Line[] = [];
  await readJournalOf(q, from, to, (line) => lines.push(line));
  return lines;
};

describe('the journal', () => {
  it('of a command has a line as soon as something was said; of a worker when it is flushed', async () => {
    const q = await newQueue();
    const now = Date.now();
    commandJournal(q, 'a host/..')!.step(step(now));
    const command = commandJournal(q, 'a host/..')!;
    command.step(step(now, { attempt: 2 }));
    await command.flush();
    expect(fs.readdirSync(`${q.dir}/journal/${hourOf(now)}`)).toEqual(['a-host---.ndjson']);
    let told = 0;
    const worker = workerJournal(
      q,
      () => now,
      () => 'w.1.a-b-c-d-e',
      () => told++,
    );
    worker.step(step(now, { attempt: 3 }));
    worker.step(step(now, { attempt: 4 }));
    expect(told).toBe(1);
    expect(await all(q)).toHaveLength(2);
    await worker.flush();
    worker.step(step(now, { attempt: 5 }));
    await worker.flush();
    expect((await all(q)).map((line) => (line as Step).attempt).toSorted()).toEqual([1, 2, 3, 4, 5]);
  });

  it('goes into the next hour, and never back into one that is over', async () => {
    const q = await newQueue();
    const hour = Date.UTC(2030, 0, 31, 9);
    let now = hour;
    const worker = workerJournal(
      q,
      () => now,
      () => 'w.1.a-b-c-d-e',
      () => undefined,
    );
    for (const at of [hour, hour + 3_600_000, hour + 10, hour + 2 * 3_600_000]) {
      now = at;
      worker.step(step(at));
      await worker.flush();
    }
    const lines = fs
      .readdirSync(`${q.dir}/journal`)
      .map((name) => [name, fs.readFileSync(`${q.dir}/journal/${name}/w.1.a-b-c-d-e.ndjson`, 'utf8').trim().split('\n').length]);
    expect(lines).toEqual([
      ['20300131T09', 1],
      ['20300131T10', 2],
      ['20300131T11', 1],
    ]);
    // A line that came late is found by its own time.
    expect(await all(q, hour, hour + 20)).toHaveLength(2);
  });

  it('says of a rename what it means, and nothing of one that only passes something on', async () => {
    const q = await newQueue();
    const said: Step[] = [];
    const journal = commandJournal(q, 'h')!;
    const session = 'w.10.1-a-b-c-d';
    const set = 'set.held.10.1-a-b-c-d';
    const b = '6d39/o5';
    const moves: Array<[string, string]> = [
      [`queued/default/p00/${b}/${ID}.a0.json`, `held/${b}/${ID}.a0.json`],
      [`held/${b}/${ID}.a0.json`, `running/${set}/${ID}.a1.json`],
      [`running/${set}/${ID}.a1.json`, `held/${b}/${ID}.a1.json`],
      [`queued/default/p00/${b}/${ID}.1-9.a0.json`, `running/${session}/${ID}.1-9.a1.json`],
      [`running/${session}/${ID}.1-9.a1.json`, `queued/default/p00/${b}/${ID}.1-9.a1.json`],
      [`running/${session}/${ID}.1-4.a1.json`, `running/${session}/${ID}.1-4+5-9.a1.json`],
      [`inbox/x`, `tmp/x`],
      [`canceled/${b}/${ID}.a1.json`, `gone/${b}/${ID}.canceled`],
      [`follow/${ID}.json`, `queued/default/p00/${b}/${ID}.a0.json`],
    ];
    for (const [from, to] of moves) journal.moved(`${q.dir}/${from}`, `${q.dir}/${to}`);
    journal.moved(`${q.dir}/running/${session}/${ID}.a3.json`, `${q.dir}/queued/default/p00/${b}/${ID}.a3.json`, { ran: false });
    await journal.flush();
    for (const line of await all(q)) said.push(line as Step);
    expect(said.map((s) => [s.from, s.to, s.attempt])).toEqual([
      ['queued', 'held', 0],
      ['canceled', null, 1],
      [null, 'queued', 0],
    ]);
  });

  it('that cannot be written keeps nobody from anything', async () => {
    const q = await newQueue();
    fs.rmSync(`${q.dir}/journal`, { recursive: true });
    fs.writeFileSync(`${q.dir}/journal`, 'in the way');
    const command = commandJournal(q, 'h')!;
    command.step(step(Date.now()));
    await command.flush();
    const worker = workerJournal(
      q,
      Date.now,
      () => 'w.1.a-b-c-d-e',
      () => undefined,
    );
    worker.step(step(Date.now()));
    await worker.flush();
    expect(await all(q)).toEqual([]);
    expect(await (await openTail(q, Date.now())).read(Date.now())).toEqual([]);
  });
});

describe('a tail', () => {
  it('reads what is new, each line once, and half a line when the rest of it is there', async () => {
    const q = await newQueue();
    const now = Date.now();
    const file = `${q.dir}/journal/${hourOf(now)}/x.ndjson`;
    fs.mkdirSync(path.dirname(file), { recursive: true });
    fs.writeFileSync(file, `${JSON.stringify(step(now))}\n`);
    const tail = await openTail(q, now);
    const read = async (): Promise<number[]> => (await tail.read(now)).map((line) => (line as Step).attempt);
    expect(await read()).toEqual([]);
    const text = `${JSON.stringify(step(now, { attempt: 2, reason: 'ü€😀' }))}\n`;
    const bytes = Buffer.from(text);
    for (const cut of [1, bytes.indexOf(0xf0) + 1, bytes.length - 1]) {
      fs.appendFileSync(file, bytes.subarray(0, cut));
      expect(await read()).toEqual([]);
      fs.appendFileSync(file, bytes.subarray(cut));
      expect(await read()).toEqual([2]);
    }
    fs.writeFileSync(`${q.dir}/journal/${hourOf(now)}/y.ndjson`, `garbage\n${text}{"half`);
    expect(await read()).toEqual([2]);
    expect(await read()).toEqual([]);
  });
});

describe('a line', () => {
  it.each([
    ['', '{', '[]', '7', 'null', '{"at":1}'],
    [
      { ...step(1), at: Number.MAX_VALUE },
      { ...step(1), task: '../../x' },
      { ...step(1), to: 'flying' },
      { ...step(1), attempt: 1.5 },
    ],
    [
      { ...step(1), from: null, to: null },
      { ...step(1), outcome: 'nice' },
      { ...step(1), worker: 7 },
    ],
    [{ at: 1, type: 'weather', subject: 'x', from: null, to: null, worker: null }],
  ])('that means nothing is none: %#', (...lines) => {
    for (const line of lines) expect(parseLine(typeof line === 'string' ? line : JSON.stringify(line))).toBeUndefined();
  });
});
