/**
 * `claw.json` in the node's home, read once and frozen. A missing file means all
 * defaults. `openclaw.json` beside it is another program's and never touched.
 */

import { hostname } from 'node:os';
import { join } from 'node:path';
import type { InferOutput } from 'valibot';
import { checkDocument } from './check.ts';
import { faultsError, SETTINGS_FILE } from './errors.ts';
import { decodeText, parseJson5 } from './json5.ts';
import type { Settings, settingsSchema } from './schema.ts';
import { openSnapshot, resolveSettingsPath } from './settings-file.ts';

export interface LoadedSettings {
  readonly settings: Settings;
  /** For people: root keys that are not ours, with their places, and a file that others can read. */
  readonly warnings: readonly string[];
}

/**
 * @param home the node's home, an absolute path
 * @throws ClawError `SETTINGS_UNREADABLE`, `SETTINGS_SYNTAX`, `SETTINGS_INVALID`
 */
export async function loadSettings(home: string): Promise<LoadedSettings> {
  await using snapshot = await openSnapshot(await resolveSettingsPath(home));
  const loaded = readSettings(snapshot.bytes ? decodeText(snapshot.bytes) : '{}', home);
  if ((snapshot.mode & 0o077) === 0) return loaded;
  const mode = snapshot.mode.toString(8).padStart(4, '0');
  return {
    ...loaded,
    warnings: [...loaded.warnings, `${SETTINGS_FILE}: other users can open it (mode ${mode}, better 0600)`],
  };
}

/** The settings in a text. Pure but for the host's name. @throws ClawError `SETTINGS_SYNTAX`, `SETTINGS_INVALID` */
export function readSettings(text: string, home: string): LoadedSettings {
  const { output, faults, warnings } = checkDocument(parseJson5(text));
  if (!output) throw faultsError('SETTINGS_INVALID', text, faults);
  return { settings: freezeDeep(withHostDefaults(output, home)), warnings };
}

function withHostDefaults(output: InferOutput<typeof settingsSchema>, home: string): Settings {
  return {
    ...output,
    name: output.name ?? nameFrom(hostname()),
    inbox: { ...output.inbox, directory: output.inbox.directory ?? join(home, 'inbox') },
  };
}

/** A host name cut down to what a node's name may hold. */
export function nameFrom(host: string): string {
  return (
    host
      .replace(/[^A-Za-z0-9._-]+/g, '-')
      .replace(/^-+/, '')
      .slice(0, 32)
      .replace(/-+$/, '') || 'node'
  );
}

function freezeDeep<T>(value: T): T {
  if (value !== null && typeof value === 'object' && !Object.isFrozen(value)) {
    Object.freeze(value);
    Object.values(value).forEach(freezeDeep);
  }
  return value;
}
