/** Codes of what a peer connection refuses or ends with. */

import { ClawError } from '@claw/base';

export type EngineErrorCode =
  /** A description or candidate that the peer should not have sent. */
  | 'ENGINE_DESCRIPTION_INVALID'
  /** A call that does not fit the signaling state (W3C InvalidStateError). */
  | 'ENGINE_STATE_INVALID'
  /** The connection is closed. */
  | 'ENGINE_CLOSED'
  /** The connection ended by itself: ICE, DTLS or SCTP says why in `cause`. */
  | 'ENGINE_FAILED';

export function engineError(code: EngineErrorCode, message: string, options?: { cause?: unknown }) {
  return new ClawError<EngineErrorCode>(code, message, options);
}
