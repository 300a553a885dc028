/** The error codes of this package; callers branch on them, the README explains them. */

import { ClawError, type ClawErrorOptions } from '@claw/base';

/** Why an envelope was not taken. The router counts these; it never throws them at a carrier. */
export type EnvelopeErrorCode =
  | 'ENVELOPE_MALFORMED'
  | 'ENVELOPE_NOT_FOR_US'
  | 'ENVELOPE_UNSEALABLE'
  | 'ENVELOPE_FORGED'
  | 'ENVELOPE_EXPIRED'
  | 'ENVELOPE_FROM_FUTURE'
  | 'ENVELOPE_REPLAYED'
  | 'ENVELOPE_FLOOD'
  | 'ENVELOPE_TOO_LARGE';

export type SignalingErrorCode =
  | EnvelopeErrorCode
  | 'SEALING_KEY_INVALID'
  | 'ROUTER_CLOSED'
  | 'HAND_TEXT_INVALID'
  | 'RELAY_URL_INVALID'
  | 'RELAY_LISTEN_FAILED'
  | 'RELAY_FRAME_MALFORMED';

export function signalingError<Code extends SignalingErrorCode>(
  code: Code,
  message: string,
  options?: ClawErrorOptions,
): ClawError<Code> {
  return new ClawError(code, message, options);
}
