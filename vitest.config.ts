import { defineConfig } from 'vitest/config';

// The real daemon starts about ten containers a second whatever the concurrency,
// and tests of deadlines and fairness measure time: one file at a time there.
const AGAINST_DOCKER = { fileParallelism: false, testTimeout: 60_000, hookTimeout: 120_000 };

export default defineConfig({
  test: {
    reporters: ['default'],
    retry: 0,
    testTimeout: 60_000,
    projects: [
      {
        test: { name: 'unit', include: ['test/unit/**/*.test.ts'], maxWorkers: 2, sequence: { groupOrder: 1 } },
      },
      {
        test: {
          name: 'integration',
          include: ['test/integration/**/*.test.ts'],
          ...AGAINST_DOCKER,
          sequence: { groupOrder: 2 },
        },
      },
      {
        test: { name: 'e2e', include: ['test/e2e/**/*.test.ts'], ...AGAINST_DOCKER, sequence: { groupOrder: 3 } },
      },
    ],
  },
});
