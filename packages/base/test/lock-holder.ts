/** A process for file-lock.test.ts: takes the lock of argv[2], then counts up argv[3] times, or holds on for ever. */

import { readFileSync, writeFileSync } from 'node:fs';
import { withFileLock } from '../src/index.ts';

const [, , path = '', rounds = ''] = process.argv;

if (rounds === 'hold') {
  await withFileLock(path, () => {
    process.stdout.write('held\n');
    return new Promise(() => setInterval(() => {}, 1000));
  });
}
for (let round = 0; round < Number(rounds); round += 1) {
  await withFileLock(
    path,
    async () => {
      const before = Number(readFileSync(path, 'utf8'));
      await new Promise((resolve) => setImmediate(resolve));
      writeFileSync(path, String(before + 1));
    },
    { waitMs: 30_000 },
  );
}
