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

/** A transfer slower than this leaves the machine idle. Four of 20 Mbit/s at once cost each other a sixth. */
const LIGHT_BITS_PER_SECOND = 15_000_000;

/** Whether a cell mostly waits for packets, so that others may run beside it. */
export function isLight({ scenario }: PlannedCell): boolean {
  if ((scenario.measure.bulkMs ?? 0) === 0) return true;
  const links = [
    ...Object.values(scenario.topology.nodes['a']?.interfaces ?? {}).map((spec) => spec.up),
    ...scenario.events.map((event) => (event.do === 'set-link' ? event.link : undefined)),
  ].filter((link) => link !== undefined);
  const rates = links.map((link) => link.rateBitsPerSecond ?? link.tokenBucket?.rateBitsPerSecond ?? Infinity);
  return rates.length > 0 && Math.max(...rates) <= LIGHT_BITS_PER_SECOND;
}

const CELL_MS = 5000;

/** What a cell takes of a run's time, roughly: for telling how long the rest will. */
export function costMs(cell: PlannedCell, jobs: number): number {
  const { bulkMs = 0, watchMs = 0 } = cell.scenario.measure;
  return (CELL_MS + bulkMs + watchMs) / (isLight(cell) ? jobs : 1);
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (const byte of Buffer.from(text)) value = Math.imul(value ^ byte, 0x01000193);
  return value >>> 0;
}
