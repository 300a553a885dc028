/**
 * The file under the settings, as others may treat it: a link, a pipe, changed at
 * any moment by an editor that knows no lock. A snapshot holds the file it read
 * open, so that its inode cannot come back under another content unnoticed.
 */

import { randomBytes } from 'node:crypto';
import { type BigIntStats, constants, linkSync, lstatSync, readdirSync, renameSync, rmSync, statSync } from 'node:fs';
import { type FileHandle, open, readlink, realpath } from 'node:fs/promises';
import { basename, dirname, join, resolve } from 'node:path';
import { ClawError, errorCode, errorText, isProcessAlive } from '@claw/base';
import { SETTINGS_FILE, type SettingsErrorCode } from './errors.ts';

const MAX_BYTES = 2 ** 20;
const MAX_LINKS = 16;

export interface Snapshot extends AsyncDisposable {
  /** `undefined` when there is no file. */
  readonly bytes: Buffer | undefined;
  readonly mode: number;
  /** True while the path still leads to the file that was read, unchanged as far as its times and size tell. */
  isCurrent(): boolean;
  /** Reads the same inode again, even when the path has moved on to another. */
  readAgain(): Promise<Buffer | undefined>;
}

/** Where the settings really are: the file behind any links, which need not exist. */
export async function resolveSettingsPath(home: string): Promise<string> {
  let path = join(home, SETTINGS_FILE);
  for (let links = 0; links < MAX_LINKS; links++) {
    try {
      return await realpath(path);
    } catch (error) {
      if (errorCode(error) !== 'ENOENT') throw unreadable(error);
    }
    if (!lstatSync(path, { throwIfNoEntry: false })?.isSymbolicLink()) return path;
    path = resolve(dirname(path), await readlink(path));
  }
  throw new ClawError<SettingsErrorCode>('SETTINGS_UNREADABLE', `${SETTINGS_FILE} is a link that leads nowhere`);
}

/** @throws ClawError `SETTINGS_UNREADABLE` for anything but a readable regular file of at most 1 MiB, or none. */
export async function openSnapshot(path: string): Promise<Snapshot> {
  let file: FileHandle;
  try {
    // Without O_NONBLOCK, opening a named pipe would wait for its writer.
    file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (error) {
    if (errorCode(error) !== 'ENOENT') throw unreadable(error);
    return {
      bytes: undefined,
      mode: 0,
      isCurrent: () => lstatSync(path, { throwIfNoEntry: false }) === undefined,
      readAgain: async () => undefined,
      [Symbol.asyncDispose]: async () => {},
    };
  }
  try {
    const stats = await file.stat({ bigint: true });
    const bytes = await readBounded(file, stats);
    return {
      bytes,
      mode: Number(stats.mode & 0o777n),
      isCurrent: () => isSame(stats, statSync(path, { bigint: true, throwIfNoEntry: false })),
      readAgain: async () => readBounded(file, await file.stat({ bigint: true })),
      [Symbol.asyncDispose]: () => file.close(),
    };
  } catch (error) {
    await file.close();
    throw error;
  }
}

/**
 * Puts `text` in place of what `snapshot` read, in one step and durably, unless
 * the file has changed since: then nothing happens and the answer is false.
 */
export async function replaceIfCurrent(path: string, snapshot: Snapshot, text: string): Promise<boolean> {
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString('hex')}.tmp`;
  try {
    const file = await open(temporary, 'wx', 0o600);
    try {
      await file.writeFile(text);
      await file.sync();
    } finally {
      await file.close();
    }
    // Synchronous from here: microseconds lie between the look and the rename.
    if (!snapshot.isCurrent()) return false;
    if (snapshot.bytes) renameSync(temporary, path);
    else if (!createFrom(temporary, path)) return false;
  } catch (error) {
    throw unreadable(error, 'written');
  } finally {
    rmSync(temporary, { force: true });
  }
  const directory = await open(dirname(path), 'r');
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
  return true;
}

/** Deletes what a killed writer left half done. Only for the holder of the lock. */
export function removeLeftovers(path: string): void {
  const prefix = `${basename(path)}.`;
  for (const entry of readdirSync(dirname(path))) {
    const pid = entry.startsWith(prefix)
      ? /^(\d+)\.[0-9a-f]{8}\.tmp$/.exec(entry.slice(prefix.length))?.[1]
      : undefined;
    if (pid && Number(pid) !== process.pid && !isProcessAlive(Number(pid)))
      rmSync(join(dirname(path), entry), { force: true });
  }
}

/** A hard link never replaces what is there. File systems without them get a rename. */
function createFrom(temporary: string, path: string): boolean {
  try {
    linkSync(temporary, path);
    return true;
  } catch (error) {
    if (errorCode(error) === 'EEXIST') return false;
    if (!['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS'].includes(errorCode(error))) throw error;
    renameSync(temporary, path);
    return true;
  }
}

async function readBounded(file: FileHandle, stats: BigIntStats): Promise<Buffer> {
  if (!stats.isFile()) {
    throw new ClawError<SettingsErrorCode>('SETTINGS_UNREADABLE', `${SETTINGS_FILE} is not a regular file`);
  }
  const buffer = Buffer.alloc(Math.min(Number(stats.size), MAX_BYTES) + 1);
  let length = 0;
  while (length < buffer.length) {
    const { bytesRead } = await file.read(buffer, length, buffer.length - length, length);
    if (bytesRead === 0) break;
    length += bytesRead;
  }
  if (length > MAX_BYTES) {
    throw new ClawError<SettingsErrorCode>(
      'SETTINGS_UNREADABLE',
      `${SETTINGS_FILE} has more than ${MAX_BYTES} bytes, the most that are read`,
    );
  }
  return buffer.subarray(0, length);
}

function isSame(a: BigIntStats, b: BigIntStats | undefined): boolean {
  return (
    b !== undefined &&
    a.ino === b.ino &&
    a.dev === b.dev &&
    a.size === b.size &&
    a.mtimeNs === b.mtimeNs &&
    a.ctimeNs === b.ctimeNs
  );
}

function unreadable(cause: unknown, action: 'read' | 'written' = 'read'): ClawError {
  if (cause instanceof ClawError) return cause;
  return new ClawError<SettingsErrorCode>(
    'SETTINGS_UNREADABLE',
    `${SETTINGS_FILE} cannot be ${action}: ${errorText(cause)}`,
    { cause },
  );
}
