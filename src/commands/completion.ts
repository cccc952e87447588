/**
 * `tq completion`: what a shell needs to complete command lines.
 */
import { notWired } from './not-wired.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'completion',
  section: 'THE QUEUE',
  summary: 'print the completions for a shell',
  examples: [{ command: 'source <(tq completion bash)', text: 'in ~/.bashrc' }],
  args: [{ name: 'SHELL', required: true, help: 'bash, zsh or fish' }],
  flags: {},
  run: notWired,
});
