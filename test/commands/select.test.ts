/** What a verb does with the tasks that it was given: asking, one after the other, the exit code. */
import { describe, expect, it } from 'vitest';
import { confirmMany, forEachTask, type Selected, type Selection } from '../../src/commands/select.ts';
import type { Ctx } from '../../src/commands/spec.ts';
import { TqError } from '../../src/errors.ts';

function fake(options: { terminal?: boolean; json?: boolean; yes?: boolean } = {}): { ctx: Ctx; out: string[]; err: string[] } {
  const out: string[] = [];
  const err: string[] = [];
  const ctx = {
    flags: options.yes === true ? { yes: true } : {},
    json: options.json ?? false,
    io: {
      out: (text: string) => (out.push(text), true),
      err: (line: string) => err.push(line),
      paintErr: (_: string, text: string) => text,
    },
    system: { isTerminal: () => options.terminal ?? false },
  } as unknown as Ctx; // all that is used here
  return { ctx, out, err };
}

const some = (n: number): Selected[] => Array.from({ length: n }, (_, i) => ({ id: `id${i}` }) as Selected); // only ids are looked at
const selection = (n: number, missing: TqError[] = []): Selection => ({ tasks: some(n), missing, byFilter: false });
const unknown = new TqError('NOT_FOUND', 'no such task: x');
const refuse =
  (...bad: string[]) =>
  async ({ id }: Selected): Promise<void> => {
    if (bad.includes(id)) throw new TqError('WRONG_STATE', `${id} is done already`);
  };

describe('asking', () => {
  it('E12: more than 20 by filter are asked about on a terminal, and anything but a yes is a no', async () => {
    for (const word of ['', 'n\n', 'what?\n']) {
      const { ctx, err } = fake({ terminal: true });
      await expect(confirmMany(ctx, 'cancel', some(21), true, () => word)).rejects.toMatchObject({ code: 'REFUSED', exit: 5 });
      expect(err[0]).toContain('21 tasks');
    }
    await expect(confirmMany(fake({ terminal: true }).ctx, 'cancel', some(21), true, () => 'y\n')).resolves.toBeUndefined();
  });

  it('E12: never without a terminal, with -y, for 20, or for tasks that were named', async () => {
    const never = (): string => {
      throw new Error('asked');
    };
    const asking = [
      confirmMany(fake().ctx, 'cancel', some(1000), true, never),
      confirmMany(fake({ terminal: true, yes: true }).ctx, 'cancel', some(1000), true, never),
      confirmMany(fake({ terminal: true }).ctx, 'cancel', some(20), true, never),
      confirmMany(fake({ terminal: true }).ctx, 'cancel', some(1000), false, never),
    ];
    await expect(Promise.all(asking)).resolves.toHaveLength(4);
  });
});

describe('one after the other', () => {
  it('prints what it did and says what it could not, and exits 5', async () => {
    const { ctx, out, err } = fake();
    expect(await forEachTask(ctx, selection(3), refuse('id1'))).toBe(5);
    expect(out).toEqual(['id0\n', 'id2\n']);
    expect(err).toEqual(['tq: id1 is done already']);
  });

  it('of one task alone the exit code is its own', async () => {
    expect(await forEachTask(fake().ctx, selection(1), refuse())).toBe(0);
    expect(await forEachTask(fake().ctx, selection(1), async () => Promise.reject(new TqError('PERMISSION', 'no')))).toBe(6);
    expect(await forEachTask(fake().ctx, selection(0, [unknown]), refuse())).toBe(3);
  });

  it('some unknown is 5, all unknown 3, none at all 0', async () => {
    expect(await forEachTask(fake().ctx, selection(1, [unknown]), refuse())).toBe(5);
    expect(await forEachTask(fake().ctx, selection(0, [unknown, unknown]), refuse())).toBe(3);
    expect(await forEachTask(fake().ctx, selection(0), refuse())).toBe(0);
  });

  it('with --json the ids are one array, and nothing done of one task is no document', async () => {
    const { ctx, out, err } = fake({ json: true });
    expect(await forEachTask(ctx, selection(3), refuse('id1'))).toBe(5);
    expect(JSON.parse(out.join(''))).toEqual(['id0', 'id2']);
    expect(JSON.parse(err[0]!)).toMatchObject({ error: { code: 'WRONG_STATE', exit: 5 } });
    const alone = fake({ json: true });
    await forEachTask(alone.ctx, selection(1), refuse('id0'));
    expect(alone.out).toEqual([]);
  });

  it('trouble with the queue itself ends the command, after what was done is said', async () => {
    const { ctx, out } = fake({ json: true });
    const gone = Object.assign(new Error('EIO'), { code: 'EIO' });
    await expect(forEachTask(ctx, selection(2), async ({ id }) => (id === 'id1' ? Promise.reject(gone) : undefined))).rejects.toBe(gone);
    expect(JSON.parse(out.join(''))).toEqual(['id0']);
  });
});
