/** Why the laboratory could not run a contestant; a contestant's own failures are text, in its words. */

import { ClawError, type ClawErrorOptions } from '@claw/base';

export type ContestantErrorCode =
  /** No adapter has that name. */
  | 'CONTESTANT_UNKNOWN'
  /** `npm ci` of the contestants' folder failed. */
  | 'CONTESTANT_INSTALL_FAILED'
  /** Its process ended, or could not be started. */
  | 'CONTESTANT_ENDED'
  /** Its process wrote what is not an event, or a line without end. */
  | 'CONTESTANT_GARBLED'
  /** Its process did not answer in time. */
  | 'CONTESTANT_SILENT'
  /** The contestant failed; the message is its own. */
  | 'CONTESTANT_FAILED';

export function contestantError(
  code: ContestantErrorCode,
  message: string,
  options?: ClawErrorOptions,
): ClawError<ContestantErrorCode> {
  return new ClawError(code, message, options);
}
