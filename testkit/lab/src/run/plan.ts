/** Which cells a run consists of. */

import type { Scenario } from '@claw/scenarios';

export interface PlannedCell {
  readonly scenario: Scenario;
  readonly contestant: string;
  readonly round: number;
  readonly seed: number;
}

/** Every scenario with every contestant, round by round; a cell's seed follows from the run's, its scenario and its round. */
export function planCells(
  scenarios: readonly Scenario[],
  contestants: readonly string[],
  options: { readonly seed: number; readonly repeat: number },
): PlannedCell[] {
  const rounds = Array.from({ length: options.repeat }, (_, round) => round);
  return rounds.flatMap((round) =>
    scenarios.flatMap((scenario) =>
      contestants.map((contestant) => ({
        scenario,
        contestant,
        round,
        seed: (options.seed + 7919 * round + hash(scenario.name)) >>> 0,
      })),
    ),
  );
}

/** Whether a cell only waits for packets, so that others may run beside it. */
export function isLight({ scenario }: PlannedCell): boolean {
  return (scenario.measure.bulkMs ?? 0) === 0;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
