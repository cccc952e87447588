/** To whom shares are left: to one that asks for several and has not got them for long, for a while. */
import { describe, expect, it } from 'vitest';
import { leftTo, type Starved } from '../../src/worker/shares.ts';

const starved = (id: string, over: Partial<Starved> = {}): Starved => ({
  id,
  priority: 0,
  name: 'lic',
  lane: `lane of ${id}`,
  sinceMs: 0,
  ...over,
});

describe('shares of a limit that others take one by one', () => {
  it('F9: are left to a task that asks for several after twenty seconds, by tasks of its priority and below', () => {
    const list = [starved('a')];
    const to = (lane: string, priority: number, nowMs: number, name = 'lic'): string | undefined =>
      leftTo(list, name, lane, priority, nowMs)?.id;
    expect(to('other', 0, 19_999)).toBeUndefined();
    expect(to('other', 0, 20_000)).toBe('a');
    expect(to('other', -1, 20_000)).toBe('a');
    expect(to('other', 1, 20_000)).toBeUndefined();
    expect(to('lane of a', 0, 20_000)).toBeUndefined();
    expect(to('other', 0, 20_000, 'another limit')).toBeUndefined();
  });

  it('F9: are not left for ever to a task that something else keeps', () => {
    const list = [starved('a')];
    expect(leftTo(list, 'lic', 'other', 0, 79_999)?.id).toBe('a');
    expect(leftTo(list, 'lic', 'other', 0, 80_000)).toBeUndefined();
    expect(leftTo(list, 'lic', 'other', 0, 100_001)?.id).toBe('a');
  });

  it('F9: are left to the most important one, then to the oldest', () => {
    const list = [starved('b'), starved('a'), starved('c', { priority: 2 })];
    expect(leftTo(list, 'lic', 'other', 0, 30_000)?.id).toBe('c');
    expect(leftTo(list.slice(0, 2), 'lic', 'other', 0, 30_000)?.id).toBe('a');
  });
});
