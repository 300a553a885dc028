/** The error codes of this package; the README says what each means. */

import { ClawError, type ClawErrorOptions } from '@claw/base';

export type IceErrorCode =
  | 'ICE_CANDIDATE_INVALID'
  | 'ICE_SERVER_INVALID'
  | 'ICE_PARAMETERS_INVALID'
  | 'ICE_FRAME_TOO_LARGE'
  | 'ICE_NO_SUCH_PAIR'
  | 'ICE_PROXY_REFUSED'
  | 'ICE_CLOSED';

export function iceError(code: IceErrorCode, message: string, options: ClawErrorOptions = {}): ClawError<IceErrorCode> {
  return new ClawError(code, message, options);
}
