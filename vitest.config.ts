import os from 'node:os';
import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    environment: 'node',
    pool: 'forks',
    // Most tests wait for processes: two files side by side keep a machine of two cores busy.
    maxWorkers: Math.max(2, os.availableParallelism() - 1),
    // A test waits for a condition; this bound only ends one whose condition never comes.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    allowOnly: false,
  },
});
