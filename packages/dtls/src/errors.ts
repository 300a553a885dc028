/**
 * What can end a connection. The peer hears an alert (RFC 8446 §6, RFC 5246 §7.2)
 * that says no more than its own protocol does; the caller gets the code.
 */

import { ClawError } from '@claw/base';

/** Codes of the errors that this package reports; README.md says when. */
export type DtlsErrorCode =
  | 'DTLS_TIMEOUT'
  | 'DTLS_PEER_ALERT'
  | 'DTLS_MALFORMED'
  | 'DTLS_UNEXPECTED_MESSAGE'
  | 'DTLS_ILLEGAL_PARAMETER'
  | 'DTLS_NEGOTIATION_FAILED'
  | 'DTLS_DOWNGRADE'
  | 'DTLS_CERTIFICATE_INVALID'
  | 'DTLS_FINGERPRINT_MISMATCH'
  | 'DTLS_SIGNATURE_INVALID'
  | 'DTLS_FINISHED_INVALID'
  | 'DTLS_KEY_EXHAUSTED'
  | 'DTLS_NOT_CONNECTED'
  | 'DTLS_INTERNAL';

export type DtlsError = ClawError<DtlsErrorCode>;

export const alertLevel = { warning: 1, fatal: 2 } as const;

export const closeNotify = 0;
export const userCanceled = 90;
export const noRenegotiation = 100;

const ALERT_OF: Record<DtlsErrorCode, number> = {
  DTLS_TIMEOUT: 80,
  DTLS_PEER_ALERT: 80,
  DTLS_MALFORMED: 50, // decode_error
  DTLS_UNEXPECTED_MESSAGE: 10,
  DTLS_ILLEGAL_PARAMETER: 47,
  DTLS_NEGOTIATION_FAILED: 40, // handshake_failure
  DTLS_DOWNGRADE: 47,
  DTLS_CERTIFICATE_INVALID: 42, // bad_certificate
  DTLS_FINGERPRINT_MISMATCH: 42,
  DTLS_SIGNATURE_INVALID: 51, // decrypt_error
  DTLS_FINISHED_INVALID: 51,
  DTLS_KEY_EXHAUSTED: 80, // internal_error
  DTLS_NOT_CONNECTED: 80,
  DTLS_INTERNAL: 80,
};

const ALERT_NAMES: Readonly<Record<number, string>> = {
  0: 'close_notify',
  10: 'unexpected_message',
  20: 'bad_record_mac',
  22: 'record_overflow',
  40: 'handshake_failure',
  42: 'bad_certificate',
  43: 'unsupported_certificate',
  44: 'certificate_revoked',
  45: 'certificate_expired',
  46: 'certificate_unknown',
  47: 'illegal_parameter',
  48: 'unknown_ca',
  49: 'access_denied',
  50: 'decode_error',
  51: 'decrypt_error',
  52: 'too_many_cids_requested',
  70: 'protocol_version',
  71: 'insufficient_security',
  80: 'internal_error',
  86: 'inappropriate_fallback',
  90: 'user_canceled',
  100: 'no_renegotiation',
  109: 'missing_extension',
  110: 'unsupported_extension',
  116: 'certificate_required',
  120: 'no_application_protocol',
};

export function fault(code: DtlsErrorCode, message: string, cause?: unknown): DtlsError {
  return new ClawError(code, message, { cause });
}

/** The alert description that the peer is told. */
export function alertOf(code: DtlsErrorCode): number {
  return ALERT_OF[code];
}

export function alertName(description: number): string {
  return ALERT_NAMES[description] ?? `alert ${description}`;
}

/** Anything that was thrown while a peer's bytes were handled. */
export function toDtlsError(error: unknown): DtlsError {
  if (error instanceof ClawError && error.code in ALERT_OF) return error as DtlsError;
  return fault('DTLS_INTERNAL', 'a step of the handshake failed', error);
}
