/** Tasks in a few words, and the code that one leaves. */
import { expect, it } from 'vitest';
import { ownCode, progressText, relative } from '../../src/commands/describe.ts';
import type { TaskView } from '../../src/queue/read.ts';

function ended(state: string, outcome: string | null, exitCode: number | null, signal: string | null = null): TaskView {
  return { state, exitCode, signal, attempts: outcome === null ? [] : [{ outcome }] } as unknown as TaskView; // all that is looked at
}

it("M2: a task's own code", () => {
  expect(ownCode(ended('done', 'succeeded', 0))).toBe(0);
  expect(ownCode(ended('done', 'succeeded', 3))).toBe(3);
  expect(ownCode(ended('done', null, null))).toBe(0);
  expect(ownCode(ended('failed', 'failed', 7))).toBe(7);
  expect(ownCode(ended('failed', 'failed', 0))).toBe(1);
  expect(ownCode(ended('failed', 'signaled', null, 'SIGKILL'))).toBe(137);
  expect(ownCode(ended('failed', 'signaled', null, 'SIGTERM'))).toBe(143);
  expect(ownCode(ended('failed', 'rejected', 127))).toBe(127);
  expect(ownCode(ended('failed', 'rejected', null))).toBe(126);
});

it('M2: canceled, skipped, timeout, stalled and lost are 1', () => {
  expect(ownCode(ended('canceled', 'canceled', 143, 'SIGTERM'))).toBe(1);
  expect(ownCode(ended('skipped', null, null))).toBe(1);
  expect(ownCode(ended('failed', 'timeout', 143, 'SIGTERM'))).toBe(1);
  expect(ownCode(ended('failed', 'stalled', null, 'SIGKILL'))).toBe(1);
  expect(ownCode(ended('failed', 'lost', null))).toBe(1);
});

it('moments are told from now', () => {
  expect(relative(1_000_000, 1_000_500)).toBe('now');
  expect(relative(1_000_000, 1_180_000)).toBe('3m ago');
  expect(relative(8_200_000, 1_000_000)).toBe('in 2h');
});

it('progress is a percent, a text or both, and never alive', () => {
  expect(progressText(null)).toBe('');
  expect(progressText({ percent: 40, message: 'epoch\u001b[2J' })).toBe('40% epoch\\x1b[2J');
  expect(progressText({ percent: null, message: 'x' })).toBe('x');
});
