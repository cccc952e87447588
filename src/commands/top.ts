/**
 * `tq top`: the queue and its workers on one screen, live.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'top',
  section: 'LOOKING',
  summary: 'watch and work on the queue on one screen',
  description: 'In a pipe, or with --once: one plain frame.',
  examples: [
    { command: 'tq top', text: 'keys are shown with ?' },
    { command: 'tq top --once', text: 'one frame, for a script' },
  ],
  args: [],
  flags: {
    once: { help: 'one plain frame, then exit' },
    readonly: { help: 'the acting keys change nothing' },
    interval: { value: 'D', help: 'how often to look' },
    replay: { help: 'play back what happened' },
    speed: { value: 'N', help: 'with --replay: N times as fast' },
  },
  run: notWired,
});
