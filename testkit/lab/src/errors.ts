/** Codes of what can be wrong with a run of the lab; world and contestants own theirs. */

import { ClawError } from '@claw/base';

export type LabRunErrorCode = 'LAB_USAGE' | 'LAB_INTERRUPTED' | 'LAB_OUTPUT_UNWRITABLE';

export function labRunError(code: LabRunErrorCode, message: string, options?: { cause?: unknown; hint?: string }) {
  return new ClawError<LabRunErrorCode>(code, message, options);
}
