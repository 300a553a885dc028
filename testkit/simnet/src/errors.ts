/** What goes wrong here, as codes. */

import { ClawError } from '@claw/base';

export type SimnetErrorCode =
  | 'SIMNET_BAD_TOPOLOGY'
  | 'SIMNET_BAD_EVENT'
  | 'SIMNET_MALFORMED'
  | 'SIMNET_STALLED'
  | 'SIMNET_CLOSED'
  | 'SIMNET_ADDRESS_IN_USE'
  | 'SIMNET_NO_ADDRESS'
  | 'SIMNET_NO_ROUTE'
  | 'SIMNET_TOO_BIG'
  | 'SIMNET_REFUSED'
  | 'SIMNET_RESET'
  | 'SIMNET_UNREACHABLE'
  | 'SIMNET_TIMEOUT';

export function simnetError(code: SimnetErrorCode, message: string, cause?: unknown): ClawError<SimnetErrorCode> {
  return new ClawError(code, message, { cause });
}
