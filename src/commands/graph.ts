/**
 * `tq graph`: what comes after what.
 */
import { FILTER_FLAGS, SELECTOR } from './flags/filter.ts';
import { notYet } from './not-yet.ts';
import { defineCommand } from './spec.ts';

export const command = defineCommand({
  name: 'graph',
  section: 'LOOKING',
  summary: 'draw which task comes after which',
  examples: [
    { command: 'tq graph -g nightly', text: 'a tree with states' },
    { command: 'tq graph -g nightly --dot | dot -Tsvg > nightly.svg', text: 'a picture' },
  ],
  args: SELECTOR,
  flags: {
    dot: { help: 'for Graphviz' },
    mermaid: { help: 'for Mermaid' },
    ...FILTER_FLAGS,
  },
  run: notYet('graph'),
});
