/** The one word for the farm. */
import { expect, it } from 'vitest';
import { statusWord, type WorkerCounts } from '../../src/commands/status.ts';
import type { State } from '../../src/task/types.ts';

const none = { waiting: 0, delayed: 0, held: 0, queued: 0, running: 0, done: 5, failed: 5, canceled: 5, skipped: 5 } satisfies Record<
  State,
  number
>;
const nobody: WorkerCounts = { awake: 0, asleep: 0, error: 0, starting: 0, notAlive: 2, offline: 2 };

it('J9: active while anything runs, whoever is awake', () => {
  expect(statusWord({ ...none, running: 1 }, nobody, false)).toBe('active');
  expect(statusWord({ ...none, queued: 1 }, { ...nobody, awake: 1 }, true)).toBe('active');
});

it('J9: waiting for work that no awake worker can take', () => {
  expect(statusWord({ ...none, queued: 1 }, nobody, false)).toBe('waiting');
  expect(statusWord({ ...none, queued: 1 }, { ...nobody, awake: 1 }, false)).toBe('waiting');
  expect(statusWord({ ...none, queued: 1 }, { ...nobody, asleep: 1 }, false)).toBe('waiting');
  expect(statusWord({ ...none, delayed: 1 }, { ...nobody, asleep: 1 }, false)).toBe('waiting');
  expect(statusWord({ ...none, held: 1 }, nobody, false)).toBe('waiting');
});

it('J9: idle when one is awake and there is only held or delayed work, or none', () => {
  expect(statusWord(none, { ...nobody, awake: 1 }, false)).toBe('idle');
  expect(statusWord({ ...none, held: 1, delayed: 1 }, { ...nobody, awake: 1, asleep: 1 }, false)).toBe('idle');
});

it('J9: asleep without work when all sleep, empty when nobody is there', () => {
  expect(statusWord(none, { ...nobody, asleep: 1 }, false)).toBe('asleep');
  expect(statusWord(none, nobody, false)).toBe('empty');
});
