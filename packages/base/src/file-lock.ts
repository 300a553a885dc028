/**
 * One process at a time, by a lock of the kernel's that ends with the process
 * that holds it: no lock can go stale, so none is ever taken over. Node.js has
 * no call for it; an exclusive transaction of the SQLite inside Node.js does.
 * The empty file stays behind: removing it would let two owners in.
 */

import { DatabaseSync } from 'node:sqlite';
import { type Clock, holdProcess, sleep, systemClock } from './clock.ts';
import { ClawError } from './errors.ts';

export type FileErrorCode = 'FILE_LOCKED';

export interface FileLockOptions {
  /** How long to wait for the lock. Default 10,000 ms. */
  readonly waitMs?: number;
  readonly clock?: Clock;
}

/** A lock that is held until it is released, or until the process ends. */
export interface FileLock {
  release(): void;
}

const RETRY_MS = 15;
/** https://www.sqlite.org/rescode.html#busy */
const SQLITE_BUSY = 5;

/**
 * Runs `work` while holding `path`.lock: of all processes and callers that use
 * this function for `path`, one at a time is inside. Not re-entrant.
 * @throws ClawError `FILE_LOCKED` when the lock stays taken for `waitMs`.
 */
export async function withFileLock<T>(path: string, work: () => Promise<T>, options: FileLockOptions = {}): Promise<T> {
  const lock = tryLock(`${path}.lock`) ?? (await waitForLock(path, options));
  try {
    return await work();
  } finally {
    lock.close();
  }
}

/** Takes `path`.lock and keeps it; `undefined` while another process has it. */
export function tryFileLock(path: string): FileLock | undefined {
  const lock = tryLock(`${path}.lock`);
  return lock && { release: () => lock.close() };
}

async function waitForLock(path: string, options: FileLockOptions): Promise<DatabaseSync> {
  using _ = holdProcess();
  const clock = options.clock ?? systemClock;
  const giveUpAt = clock.monotonicMs() + (options.waitMs ?? 10_000);
  while (clock.monotonicMs() < giveUpAt) {
    await sleep(clock, RETRY_MS);
    const lock = tryLock(`${path}.lock`);
    if (lock) return lock;
  }
  throw new ClawError<FileErrorCode>('FILE_LOCKED', `${path} stays locked by another claw process`, {
    hint: 'End the other claw process, or wait for it.',
  });
}

/** The lock, held until it is closed; `undefined` while another has it. */
function tryLock(file: string): DatabaseSync | undefined {
  const database = new DatabaseSync(file, { timeout: 0 });
  try {
    database.exec('BEGIN EXCLUSIVE');
    return database;
  } catch (error) {
    database.close();
    if (isBusy(error)) return undefined;
    throw error;
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof Error && 'errcode' in error && error.errcode === SQLITE_BUSY;
}
