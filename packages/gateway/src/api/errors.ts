/** The codes of the local API, and the one place where a code becomes an HTTP status. */

import { ClawError, type ClawErrorOptions, isClawError } from '@claw/base';

export type AuthErrorCode =
  /** `Host` is not 127.0.0.1:PORT or localhost:PORT: a name that was rebound, or a proxy. */
  | 'AUTH_HOST'
  /** `Origin` names a page that is not ours. */
  | 'AUTH_ORIGIN'
  | 'AUTH_MISSING'
  | 'AUTH_MALFORMED'
  /** Signed with another token, or altered since. */
  | 'AUTH_SIGNATURE'
  /** Signed more than a minute from now, by the daemon's clock. */
  | 'AUTH_STALE'
  | 'AUTH_REPLAYED'
  /** More requests within the window than the daemon remembers. */
  | 'AUTH_BUSY';

export type ApiErrorCode =
  | 'REQUEST_MALFORMED'
  | 'REQUEST_TOO_LARGE'
  | 'REQUEST_TIMEOUT'
  | 'REQUEST_INVALID'
  | 'ROUTE_NOT_FOUND'
  | 'METHOD_NOT_ALLOWED'
  | 'MEDIA_TYPE_NOT_SUPPORTED'
  | 'UPGRADE_UNKNOWN'
  | 'GATEWAY_CLOSING'
  | 'INTERNAL';

export type GatewayClientErrorCode =
  /** Nobody listens on the port, or no session file is there. */
  | 'GATEWAY_UNREACHABLE'
  /** Whoever answered did not prove that it knows the session's token. */
  | 'GATEWAY_UNPROVEN'
  /** The connection ended before the answer did. */
  | 'GATEWAY_CUT'
  | 'GATEWAY_TIMEOUT'
  /** A proven answer of a shape that this client does not know: two versions meet. */
  | 'GATEWAY_ANSWER_INVALID';

export type GatewayErrorCode = AuthErrorCode | ApiErrorCode | GatewayClientErrorCode;

export function apiError(
  code: GatewayErrorCode,
  message: string,
  options?: ClawErrorOptions,
): ClawError<GatewayErrorCode> {
  return new ClawError(code, message, options);
}

const STATUS: Readonly<Record<string, number>> = {
  AUTH_HOST: 403,
  AUTH_ORIGIN: 403,
  AUTH_MISSING: 401,
  AUTH_MALFORMED: 401,
  AUTH_SIGNATURE: 401,
  AUTH_STALE: 401,
  AUTH_REPLAYED: 401,
  AUTH_BUSY: 429,
  REQUEST_MALFORMED: 400,
  REQUEST_INVALID: 400,
  REQUEST_TIMEOUT: 408,
  REQUEST_TOO_LARGE: 413,
  ROUTE_NOT_FOUND: 404,
  METHOD_NOT_ALLOWED: 405,
  MEDIA_TYPE_NOT_SUPPORTED: 415,
  UPGRADE_UNKNOWN: 404,
  GATEWAY_CLOSING: 503,
  INTERNAL: 500,
  SETTINGS_INVALID: 400,
  SETTINGS_CONFLICT: 409,
  FILE_LOCKED: 409,
};

/** What an error code ends in says enough where neither the route nor the table above does. */
const STATUS_BY_ENDING: readonly (readonly [RegExp, number])[] = [
  [/_(?:NOT_FOUND|UNKNOWN)$/, 404],
  [/_(?:INVALID|MALFORMED)$/, 400],
  [/_(?:REFUSED|DENIED|FORBIDDEN)$/, 403],
  [/_(?:CONFLICT|EXISTS|TAKEN|BUSY)$/, 409],
  [/_TIMEOUT$/, 504],
  [/_UNREACHABLE$/, 502],
];

/** The status of a code; `own` are the ones that a route declares. */
export function statusOf(code: string, own: Readonly<Record<string, number>> = {}): number {
  return own[code] ?? STATUS[code] ?? STATUS_BY_ENDING.find(([ending]) => ending.test(code))?.[1] ?? 500;
}

export interface ErrorBody {
  readonly error: { readonly code: string; readonly message: string; readonly hint?: string };
}

/** What of an error is told on the wire: a ClawError as it is, of anything else only that it happened. */
export function errorBody(error: unknown): ErrorBody {
  if (!isClawError(error)) return { error: { code: 'INTERNAL', message: 'the daemon failed; its log says why' } };
  const { code, message, hint } = error;
  return { error: { code, message, ...(hint === undefined ? {} : { hint }) } };
}
