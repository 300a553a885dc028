/** Codes of the errors that services, transfers and the node throw; README.md says when. */

import { ClawError } from '@claw/base';

export type NodeErrorCode =
  | 'NODE_RUNNING'
  | 'SERVICE_UNKNOWN'
  | 'SERVICE_INVALID'
  | 'SERVICE_KIND'
  | 'CATALOG_TIMEOUT'
  | 'FORWARD_PORT_TAKEN'
  | 'FORWARD_UNKNOWN'
  | 'HAND_SESSION_UNKNOWN'
  | 'SEND_FILE_UNREADABLE'
  | 'SEND_NOT_A_FILE'
  | 'SEND_FILE_CHANGED'
  | 'SEND_HASH_MISMATCH'
  | 'SEND_NO_SPACE'
  | 'SEND_FAILED';

export function nodeError(code: NodeErrorCode, message: string, options?: { cause?: unknown; hint?: string }) {
  return new ClawError<NodeErrorCode>(code, message, options);
}
