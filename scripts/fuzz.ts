/**
 * The nightly fuzz: every test named "fuzz", with CLAW_FUZZ_RUNS inputs each (default 1,000,000), and CLAW_SCENARIOS
 * simulated networks (default 2,000).
 */

import { spawnSync } from 'node:child_process';
import { join } from 'node:path';

const root = join(import.meta.dirname, '..');
const done = spawnSync(
  join(root, 'node_modules', '.bin', 'vitest'),
  ['run', '-t', 'fuzz', '--testTimeout=3600000', ...process.argv.slice(2)],
  {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
    env: {
      ...process.env,
      CLAW_FUZZ_RUNS: process.env.CLAW_FUZZ_RUNS ?? '1000000',
      CLAW_SCENARIOS: process.env.CLAW_SCENARIOS ?? '2000',
    },
  },
);
process.exitCode = done.status ?? 1;
