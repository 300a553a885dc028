/** One daemon to a home: a lock of the kernel's on `run/node.lock`, which ends with the process that holds it. */

import { join } from 'node:path';
import { type FileLock, makePrivateDirectory, tryFileLock } from '@claw/base';
import { nodeError } from '../errors.ts';

/** @throws ClawError `NODE_RUNNING` when another process holds the home. */
export async function lockHome(home: string): Promise<FileLock> {
  const run = join(home, 'run');
  await makePrivateDirectory(run);
  const lock = tryFileLock(join(run, 'node'));
  if (lock) return lock;
  throw nodeError('NODE_RUNNING', `a node runs already in ${home}`, {
    hint: '"claw status" shows it, "claw down" stops it; --home DIR starts another beside it.',
  });
}
