/** For whom room is kept: who has been passed over for long enough, the most important first. */
import { describe, expect, it } from 'vitest';
import { decideReservation, type Passed } from '../../src/worker/reserve.ts';

const passed = (id: string, o: Partial<Passed> = {}): Passed => ({
  id,
  lane: `lane of ${id}`,
  priority: 0,
  sinceMs: 0,
  elsewhere: false,
  ...o,
});

describe('room for a task that asks for much', () => {
  it('F8: is kept for nobody before the time is over', () => {
    expect(decideReservation([], 1000, 100)).toBeNull();
    expect(decideReservation([passed('a', { sinceMs: 950 })], 1000, 100)).toBeNull();
    expect(decideReservation([passed('a', { sinceMs: 900 })], 1000, 100)?.id).toBe('a');
  });

  it('F8: is kept for the best priority, and of equal ones for the oldest task', () => {
    const list = [passed('b'), passed('c', { priority: 5 }), passed('a'), passed('d', { priority: 9, sinceMs: 990 })];
    expect(decideReservation(list, 1000, 100)?.id).toBe('c');
    expect(decideReservation([passed('b'), passed('a')], 1000, 100)?.id).toBe('a');
  });

  it('F8: is left to the worker that keeps it already, but not for ever', () => {
    expect(decideReservation([passed('a', { elsewhere: true })], 299, 100)).toBeNull();
    expect(decideReservation([passed('a', { elsewhere: true })], 300, 100)?.id).toBe('a');
    expect(decideReservation([passed('a', { elsewhere: true }), passed('b')], 200, 100)?.id).toBe('b');
  });
});
