import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['test/**/*.test.{ts,tsx}'],
    environment: 'node',
    pool: 'forks',
    // A test waits for a condition; this bound only ends one whose condition never comes.
    testTimeout: 60_000,
    hookTimeout: 120_000,
    allowOnly: false,
  },
});
