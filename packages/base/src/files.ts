/**
 * Files that survive a kill at any moment: a writer makes the new content under
 * another name, syncs it and renames it over the old one, so a reader sees the
 * old file or the new one and never a part. Node's home: files 0600, folders 0700.
 */

import { randomBytes } from 'node:crypto';
import { mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { type Clock, sleep, systemClock } from './clock.ts';
import { ClawError, errorCode } from './errors.ts';

export type FileErrorCode = 'FILE_LOCKED';

/** Creates `directory` and its missing parents, readable by its owner only. */
export async function makePrivateDirectory(directory: string): Promise<void> {
  await mkdir(directory, { recursive: true, mode: 0o700 });
}

/** The file's content, or `undefined` when there is no such file. */
export async function readFileIfPresent(path: string): Promise<Buffer | undefined> {
  try {
    return await readFile(path);
  } catch (error) {
    if (errorCode(error) === 'ENOENT') return undefined;
    throw error;
  }
}

/** Replaces `path` by `content` in one step and makes it durable. The file's mode is 0600. */
export async function writeFileAtomic(path: string, content: string | Uint8Array): Promise<void> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(content);
      await file.sync();
    } finally {
      await file.close();
    }
    await rename(temporary, path);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
  await syncDirectory(dirname(path));
}

async function syncDirectory(directory: string): Promise<void> {
  const handle = await open(directory, 'r');
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

/** A lock whose owner died is taken over after this long without a sign of life. */
const STALE_LOCK_MS = 5000;
const LOCK_RETRY_MS = 15;

/**
 * Runs `work` while holding `path`.lock, so that of several processes that follow
 * this protocol one at a time is inside. `work` must end well within five seconds.
 * @throws ClawError `FILE_LOCKED` when the lock stays taken for `waitMs` (default 10,000).
 */
export async function withFileLock<T>(
  path: string,
  work: () => Promise<T>,
  options: { readonly waitMs?: number; readonly clock?: Clock } = {},
): Promise<T> {
  const clock = options.clock ?? systemClock;
  const lock = `${path}.lock`;
  const giveUpAt = clock.monotonicMs() + (options.waitMs ?? 10_000);
  const token = randomBytes(16).toString('hex');
  while (!(await takeLock(lock, token, clock))) {
    if (clock.monotonicMs() > giveUpAt) {
      throw new ClawError<FileErrorCode>('FILE_LOCKED', `${path} stays locked by another process`, {
        hint: `If no other claw process runs, delete ${lock}.`,
      });
    }
    await sleep(clock, LOCK_RETRY_MS);
  }
  try {
    return await work();
  } finally {
    if ((await readFileIfPresent(lock))?.toString() === token) await rm(lock, { force: true });
  }
}

async function takeLock(lock: string, token: string, clock: Clock): Promise<boolean> {
  try {
    const file = await open(lock, 'wx', 0o600);
    await file.writeFile(token);
    await file.close();
    return true;
  } catch (error) {
    if (errorCode(error) !== 'EEXIST') throw error;
  }
  const age = await stat(lock).then(
    (found) => clock.now() - found.mtimeMs,
    () => 0,
  );
  // Renaming first lets exactly one of several waiters remove the stale lock.
  if (age > STALE_LOCK_MS) {
    const grave = join(dirname(lock), `.${token}.stale`);
    await rename(lock, grave).then(
      () => rm(grave, { force: true }),
      () => {},
    );
  }
  return false;
}
