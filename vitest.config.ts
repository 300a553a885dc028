import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    include: ['**/test/**/*.test.ts'],
    exclude: ['**/node_modules/**'],
    // Forks, because a native engine may not be loaded into two worker threads of one process.
    pool: 'forks',
    maxWorkers: 2,
    // On a loaded machine a foreign editor's race with a rename, and the engine's own set-up race, are rare but there.
    retry: process.env['CI'] ? 2 : 0,
    testTimeout: 20_000,
    hookTimeout: 20_000,
    teardownTimeout: 5000,
  },
});
