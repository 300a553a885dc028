/**
 * One daemon to a home: `run/node.lock` holds the pid of the one that runs. A
 * lock whose owner is dead is taken over, one taker at a time.
 */

import { open, rm } from 'node:fs/promises';
import { join } from 'node:path';
import { errorCode, makePrivateDirectory, readFileIfPresent, withFileLock } from '@claw/base';
import { nodeError } from '../errors.ts';

export interface HomeLock extends AsyncDisposable {
  release(): Promise<void>;
}

/** @throws ClawError `NODE_RUNNING` when another living process holds the home. */
export async function lockHome(home: string): Promise<HomeLock> {
  const run = join(home, 'run');
  await makePrivateDirectory(run);
  const path = join(run, 'node.lock');
  await withFileLock(path, async () => {
    const owner = await readOwner(path);
    if (owner !== undefined && isAlive(owner)) {
      throw nodeError('NODE_RUNNING', `a node runs already in ${home} (process ${owner})`, {
        hint: '"claw status" shows it, "claw down" stops it; --home DIR starts another beside it.',
      });
    }
    const file = await open(path, 'w', 0o600);
    await file.writeFile(`${process.pid}\n`);
    await file.close();
  });
  const release = async () => {
    if ((await readOwner(path)) === process.pid) await rm(path, { force: true });
  };
  return { release, [Symbol.asyncDispose]: release };
}

async function readOwner(path: string): Promise<number | undefined> {
  const pid = Number((await readFileIfPresent(path))?.toString());
  return Number.isSafeInteger(pid) && pid > 0 ? pid : undefined;
}

function isAlive(pid: number): boolean {
  if (pid === process.pid) return false; // a reused number: this very process has no lock yet
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return errorCode(error) === 'EPERM';
  }
}
