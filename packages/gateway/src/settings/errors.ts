/**
 * What goes wrong with `claw.json`, and where: a fault is tied to an offset in
 * the text and becomes `claw.json:LINE:COLUMN: …`, which editors make a link.
 */

import { ClawError } from '@claw/base';

export type SettingsErrorCode =
  /** A key or a value that the schema refuses. */
  | 'SETTINGS_INVALID'
  /** The text is not JSON5, or not UTF-8. */
  | 'SETTINGS_SYNTAX'
  /** The file cannot be opened, is no regular file, or is above 1 MiB. */
  | 'SETTINGS_UNREADABLE'
  /** Another program kept changing the file while it was being edited. */
  | 'SETTINGS_CONFLICT';

export const SETTINGS_FILE = 'claw.json';

export interface SettingsFault {
  /** Index into the text, UTF-16 units. */
  readonly offset: number;
  /** `services.web.target: expected HOST:PORT, found "x"`. */
  readonly message: string;
  readonly hint?: string;
}

/** Faults named in one message; more are only counted. */
const MAX_FAULTS_SHOWN = 5;

/** `claw.json:LINE:COLUMN`, both from 1, the column in UTF-16 units. */
export function placeOf(text: string, offset: number): string {
  const before = text.slice(0, offset).replace(/^\ufeff/, '');
  const lines = before.split(/\r\n|\n|\r/);
  return `${SETTINGS_FILE}:${lines.length}:${(lines.at(-1) ?? '').length + 1}`;
}

export function faultsError(
  code: SettingsErrorCode,
  text: string,
  faults: readonly SettingsFault[],
): ClawError<SettingsErrorCode> {
  const lines = faults.slice(0, MAX_FAULTS_SHOWN).map((fault) => `${placeOf(text, fault.offset)}: ${fault.message}`);
  if (faults.length > MAX_FAULTS_SHOWN) lines.push(`${SETTINGS_FILE}: ${faults.length - MAX_FAULTS_SHOWN} more`);
  const hint = faults.find((fault) => fault.hint)?.hint;
  return new ClawError(code, lines.join('\n'), hint ? { hint } : {});
}

/** The one of `known` that a slip of the finger could have turned into `word`. */
export function closestTo(word: string, known: readonly string[]): string | undefined {
  const wanted = word.slice(0, 64).toLowerCase();
  const ranked = known
    .map((candidate) => ({ candidate, distance: editDistance(wanted, candidate.toLowerCase()) }))
    .sort((a, b) => a.distance - b.distance);
  const best = ranked[0];
  return best && best.distance <= Math.ceil(best.candidate.length / 3) ? best.candidate : undefined;
}

/** Insertions, deletions and substitutions between two words (Levenshtein). */
function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = (row[j - 1] as number) + (a[i - 1] === b[j - 1] ? 0 : 1);
      next.push(Math.min(replaced, (row[j] as number) + 1, (next[j - 1] as number) + 1));
    }
    row = next;
  }
  return row[b.length] as number;
}
