/** Codes of what a peer connection refuses or ends with. */

import { ClawError } from '@claw/base';

export type EngineErrorCode =
  /** A description or candidate that the peer should not have sent. */
  | 'ENGINE_DESCRIPTION_INVALID'
  /** A call that does not fit the signaling state (W3C InvalidStateError). */
  | 'ENGINE_STATE_INVALID'
  /** A local description that is not the one that was made last (W3C InvalidModificationError). */
  | 'ENGINE_DESCRIPTION_CHANGED'
  /** The connection is closed. */
  | 'ENGINE_CLOSED'
  /** The connection ended by itself: ICE, DTLS or SCTP says why in `cause`. */
  | 'ENGINE_FAILED';

/** What the W3C calls them: code written for browsers looks at the name. */
const NAMES: Readonly<Record<EngineErrorCode, string>> = {
  ENGINE_DESCRIPTION_INVALID: 'OperationError',
  ENGINE_STATE_INVALID: 'InvalidStateError',
  ENGINE_DESCRIPTION_CHANGED: 'InvalidModificationError',
  ENGINE_CLOSED: 'InvalidStateError',
  ENGINE_FAILED: 'OperationError',
};

export function engineError(code: EngineErrorCode, message: string, options?: { cause?: unknown }) {
  const error = new ClawError<EngineErrorCode>(code, message, options);
  return Object.defineProperty(error, 'name', { value: NAMES[code] });
}
