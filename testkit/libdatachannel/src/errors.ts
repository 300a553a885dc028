/**
 * Errors of an engine, and the two guards at the native border: what the
 * library throws becomes a ClawError, and what our callbacks throw stays here
 * (an exception that escapes a native callback aborts the process).
 */

import { ClawError, errorText } from '@claw/base';

export type EngineErrorCode = 'ENGINE_FAILED' | 'ENGINE_CLOSED' | 'ENGINE_DESCRIPTION_INVALID';

/** Calls into the library. @throws ClawError `ENGINE_FAILED` for whatever it throws. */
export function callNative<T>(what: string, call: () => T): T {
  try {
    return call();
  } catch (cause) {
    throw failedError(what, cause);
  }
}

/** The error of a call that the library refused. */
export function failedError(what: string, cause: unknown): ClawError<EngineErrorCode> {
  return new ClawError('ENGINE_FAILED', `cannot ${what}: ${errorText(cause)}`, { cause });
}

/** The error of an operation on a connection or channel that was closed. */
export function closedError(what: string): ClawError<EngineErrorCode> {
  return new ClawError('ENGINE_CLOSED', `cannot ${what}: it is closed`);
}

/** The error of a description or candidate that the peer should not have sent. */
export function invalidDescription(detail: string): ClawError<EngineErrorCode> {
  return new ClawError('ENGINE_DESCRIPTION_INVALID', `the peer's description is refused: ${detail}`);
}
