/**
 * Codes of this package's errors, and their numbers on the wire. A side that
 * refuses names its reason, so both ends report the same code. Numbers are
 * never reused; an unknown one reads as `LINK_CLOSED_BY_PEER`.
 */

import { ClawError } from '@claw/base';

/** Version 1 of the table. */
const WIRE_CODES = {
  LINK_CLOSED: 0,
  LINK_IDENTITY_WRONG: 1,
  LINK_INTEGRITY_MISMATCH: 2,
  LINK_VERSION_REFUSED: 3,
  LINK_NONCE_STALE: 4,
  LINK_NONCE_REPLAYED: 5,
  LINK_BINDING_MISMATCH: 6,
  LINK_HANDSHAKE_INVALID: 7,
  LINK_HANDSHAKE_TIMEOUT: 8,
  LINK_PROTOCOL_VIOLATED: 9,
  LINK_SEAL_BROKEN: 10,
  LINK_FLOW_VIOLATED: 11,
  LINK_PEER_ABUSE: 12,
  LINK_SUPERSEDED: 13,
  LINK_UNPAIRED: 14,
  LINK_LOST: 15,
  LINK_CLOSED_BY_PEER: 16,
  LINK_SHUTDOWN: 17,
  LINK_CERTIFICATE_EXPIRED: 18,
  LINK_INTERNAL: 19,
  STREAM_RESET: 32,
  STREAM_LIMIT: 33,
  STREAM_REFUSED: 34,
  STREAM_NOT_GRANTED: 35,
  STREAM_UNKNOWN_SERVICE: 36,
  STREAM_TARGET_FAILED: 37,
} as const;

export type LinkErrorCode =
  | keyof typeof WIRE_CODES
  | 'LINK_NOT_CONNECTED'
  | 'LINK_NO_PATH'
  | 'MESSAGE_TOO_LARGE'
  | 'PAIR_INVITE_INVALID'
  | 'PAIR_INVITE_ALTERED'
  | 'PAIR_INVITE_EXPIRED'
  | 'PAIR_INVITE_USED'
  | 'PAIR_INVITE_UNKNOWN'
  | 'PAIR_INVITE_OWN'
  | 'PAIR_REFUSED'
  | 'PAIR_TIMEOUT';

const BY_NUMBER = new Map<number, LinkErrorCode>(
  Object.entries(WIRE_CODES).map(([code, number]) => [number, code as LinkErrorCode]),
);

/** The number that stands for `code` on the wire; codes without one travel as `fallback`. */
export function toWireCode(code: string, fallback: keyof typeof WIRE_CODES): number {
  return WIRE_CODES[code as keyof typeof WIRE_CODES] ?? WIRE_CODES[fallback];
}

export function fromWireCode(number: number, fallback: LinkErrorCode): LinkErrorCode {
  return BY_NUMBER.get(number) ?? fallback;
}

export function linkError(code: LinkErrorCode, message: string, options?: { cause?: unknown; hint?: string }) {
  return new ClawError<LinkErrorCode>(code, message, options);
}

/** The peer broke a rule of the protocol. */
export function violated(detail: string) {
  return linkError('LINK_PROTOCOL_VIOLATED', detail);
}
