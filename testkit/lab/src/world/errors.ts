/** What goes wrong when a laboratory is built or used, as codes. */

import { ClawError, type ClawErrorOptions } from '@claw/base';

export type LabErrorCode =
  /** This machine or this user may not make namespaces; the message says what is missing. */
  | 'LAB_UNAVAILABLE'
  /** A program that the topology needs is not installed; the hint names its Debian package. */
  | 'LAB_PROGRAM_MISSING'
  /** The C compiler refused one of `native/*.c`. */
  | 'LAB_COMPILE_FAILED'
  /** The topology is valid, and the lab cannot build it. */
  | 'LAB_TOPOLOGY_UNSUPPORTED'
  /** Something of that run id exists already. */
  | 'LAB_RUN_ID_IN_USE'
  /** `ip`, `nft` or another tool failed; the message has its words. */
  | 'LAB_COMMAND_FAILED'
  /** netd refused a command or ended. */
  | 'LAB_NETD_FAILED'
  /** A service or the user-space NAT did not come up; the message has the end of its log. */
  | 'LAB_SERVICE_FAILED'
  /** There is no such node, interface or service. */
  | 'LAB_NODE_UNKNOWN'
  /** A kernel cannot do this event. */
  | 'LAB_EVENT_UNSUPPORTED'
  | 'LAB_CLOSED';

export function labError(code: LabErrorCode, message: string, options?: ClawErrorOptions): ClawError<LabErrorCode> {
  return new ClawError(code, message, options);
}
