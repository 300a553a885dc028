/** Codes of what is wrong with a scenario or a topology. */

import { ClawError } from '@claw/base';

export type ScenarioErrorCode = 'SCENARIO_UNKNOWN' | 'SCENARIO_INVALID' | 'TOPOLOGY_INVALID';

export function scenarioError(code: ScenarioErrorCode, message: string, options?: { cause?: unknown; hint?: string }) {
  return new ClawError<ScenarioErrorCode>(code, message, options);
}
