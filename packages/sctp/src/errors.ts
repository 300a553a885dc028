/** The codes this package throws and reports; the README explains each. */

import { ClawError, type ClawErrorOptions } from '@claw/base';

export type SctpErrorCode =
  | 'SCTP_ABORTED'
  | 'SCTP_CHANNEL_CLOSED'
  | 'SCTP_CLOSED'
  | 'SCTP_MALFORMED'
  | 'SCTP_MESSAGE_TOO_LARGE'
  | 'SCTP_NO_STREAM_ID'
  | 'SCTP_PROTOCOL_VIOLATION'
  | 'SCTP_RESTARTED'
  | 'SCTP_TIMEOUT';

export function sctpError(code: SctpErrorCode, message: string, options?: ClawErrorOptions): ClawError<SctpErrorCode> {
  return new ClawError(code, message, options);
}
