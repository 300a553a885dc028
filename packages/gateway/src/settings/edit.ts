/**
 * Edits of `claw.json` that lose nothing of anyone's. Our own writers take turns
 * under a lock. An editor that knows no lock is noticed: before the rename by the
 * file's identity, after it by a look at the inode that was replaced; either way
 * the edit is made again on the other's text. What nobody can close without the
 * other's help is a rename by an editor within the microseconds between our look
 * and our rename.
 */

import { join } from 'node:path';
import {
  ClawError,
  type Clock,
  holdProcess,
  isClawError,
  makePrivateDirectory,
  sleep,
  systemClock,
  withFileLock,
} from '@claw/base';
import { checkDocument } from './check.ts';
import { closestTo, faultsError, SETTINGS_FILE, type SettingsErrorCode } from './errors.ts';
import { decodeText, parseJson5 } from './json5.ts';
import { settingsKeys } from './schema.ts';
import {
  openSnapshot,
  removeLeftovers,
  replaceIfCurrent,
  resolveSettingsPath,
  type Snapshot,
} from './settings-file.ts';
import { type Edit, editJson5 } from './splice.ts';

export interface EditOptions {
  readonly clock?: Clock;
}

const FIRST_TEXT = `// Settings of this OpenClaw node. The format is JSON5: comments stay.
// Every key is optional; keys at this level that OpenClaw does not know are left alone.
{
}
`;
/** Less than our other writers wait for the lock. */
const GIVE_UP_MS = 2500;
/** How long an editor may take to save in place, seen from outside as a broken file. */
const SETTLE_ATTEMPTS = 20;
const SETTLE_MS = 25;

/**
 * Applies `edits` in order, all or none, and makes them durable before it resolves.
 * @throws ClawError `SETTINGS_INVALID` when the result would be, `SETTINGS_SYNTAX` and
 *   `SETTINGS_UNREADABLE` for the file as it is, `SETTINGS_CONFLICT`, `FILE_LOCKED`.
 *   The file is then as it was.
 */
export async function editSettings(home: string, edits: readonly Edit[], options: EditOptions = {}): Promise<void> {
  for (const { path } of edits) refuseForeign(path);
  await makePrivateDirectory(home);
  const path = await resolveSettingsPath(home);
  const clock = options.clock ?? systemClock;
  using _ = holdProcess();
  await withFileLock(join(home, SETTINGS_FILE), () => editUnderLock(path, edits, clock), { clock });
}

async function editUnderLock(path: string, edits: readonly Edit[], clock: Clock): Promise<void> {
  removeLeftovers(path);
  /** What an editor wrote into the file while we replaced it, and what we replaced it by. */
  let overtaken: { readonly theirs: string; readonly ours: string } | undefined;
  const giveUpAt = clock.monotonicMs() + GIVE_UP_MS;
  while (clock.monotonicMs() < giveUpAt) {
    await using snapshot = await openSettled(path, clock);
    const onDisk = snapshot.bytes ? decodeText(snapshot.bytes) : undefined;
    const before = overtaken && overtaken.ours === onDisk ? overtaken.theirs : (onDisk ?? FIRST_TEXT);
    const after = applyEdits(before, edits);
    if (after === onDisk) return;
    if (!(await replaceIfCurrent(path, snapshot, after))) continue;
    const theirs = await readSettled(snapshot, clock);
    if (theirs === undefined || theirs === onDisk) return;
    overtaken = { theirs, ours: after };
  }
  throw new ClawError<SettingsErrorCode>(
    'SETTINGS_CONFLICT',
    `${path} kept changing for ${GIVE_UP_MS} ms while it was being edited`,
    {
      hint: 'Another program keeps writing this file. Try again when it has finished.',
    },
  );
}

/** The text after the edits, checked. A fault that was there before is reported with its place. */
function applyEdits(before: string, edits: readonly Edit[]): string {
  const after = editJson5(before, edits);
  const { faults } = checkDocument(parseJson5(after));
  if (faults.length === 0) return after;
  const earlier = checkDocument(parseJson5(before)).faults;
  if (earlier.length > 0) throw faultsError('SETTINGS_INVALID', before, earlier);
  const refused = faults.map((fault) => fault.message).join('\n');
  throw new ClawError<SettingsErrorCode>(
    'SETTINGS_INVALID',
    `${SETTINGS_FILE} would not be valid after this change: ${refused}`,
  );
}

/** A file saved in place is empty or cut for a moment: waits for it to parse. */
async function openSettled(path: string, clock: Clock): Promise<Snapshot> {
  for (let attempt = 1; ; attempt++) {
    const snapshot = await openSnapshot(path);
    try {
      if (snapshot.bytes) parseJson5(decodeText(snapshot.bytes));
      return snapshot;
    } catch (error) {
      await snapshot[Symbol.asyncDispose]();
      if (attempt === SETTLE_ATTEMPTS || !isClawError(error, 'SETTINGS_SYNTAX')) throw error;
    }
    await sleep(clock, SETTLE_MS);
  }
}

/** What the replaced inode holds once it parses; `undefined` when it never does. */
async function readSettled(snapshot: Snapshot, clock: Clock): Promise<string | undefined> {
  for (let attempt = 0; attempt < SETTLE_ATTEMPTS; attempt++) {
    const bytes = await snapshot.readAgain();
    if (!bytes) return undefined;
    try {
      const text = decodeText(bytes);
      parseJson5(text);
      return text;
    } catch (error) {
      if (!isClawError(error, 'SETTINGS_SYNTAX')) throw error;
    }
    await sleep(clock, SETTLE_MS);
  }
  return undefined;
}

function refuseForeign(path: readonly string[]): void {
  const [key] = path;
  if (key === undefined) throw new TypeError('an edit needs a path of at least one key');
  if (settingsKeys.includes(key)) return;
  const close = closestTo(key, settingsKeys);
  throw new ClawError<SettingsErrorCode>(
    'SETTINGS_INVALID',
    `${key}: found no such setting, expected one of ${settingsKeys.join(', ')}`,
    {
      hint: close ? `Did you mean "${close}"?` : 'Keys of other programs are edited by hand.',
    },
  );
}
