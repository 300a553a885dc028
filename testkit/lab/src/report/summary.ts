/** The figures of a contestant over many cells, for the page and for the terminal. Pure. */

import { median } from '@claw/testkit/statistics';
import type { CellResult, LabResults, WatchResult } from '../results.ts';

export type Verdict = 'direct' | 'relayed' | 'proxied' | 'failed' | 'skipped';

export const VERDICTS: readonly Verdict[] = ['direct', 'proxied', 'relayed', 'failed', 'skipped'];

export function verdictOf(cell: CellResult): Verdict {
  return cell.outcome === 'connected' ? (cell.path?.type ?? 'direct') : cell.outcome;
}

/** The round to show where a cell was run more than once: the median by time to connect, failures last. */
function medianCell(cells: readonly CellResult[]): CellResult | undefined {
  const sorted = cells.toSorted((one, other) => (one.connectMs ?? Infinity) - (other.connectMs ?? Infinity));
  return sorted[Math.floor((sorted.length - 1) / 2)];
}

/** Cells by contestant and scenario. */
export class CellIndex {
  readonly #cells: ReadonlyMap<string, CellResult[]>;

  constructor(results: LabResults) {
    this.#cells = Map.groupBy(results.cells, (cell) => `${cell.contestant} ${cell.scenario}`);
  }

  find(contestant: string, scenario: string): CellResult | undefined {
    return medianCell(this.#cells.get(`${contestant} ${scenario}`) ?? []);
  }
}

export function countVerdicts(cells: readonly (CellResult | undefined)[]): Record<Verdict, number> {
  const counts: Record<Verdict, number> = { direct: 0, proxied: 0, relayed: 0, failed: 0, skipped: 0 };
  for (const cell of cells) if (cell) counts[verdictOf(cell)] += 1;
  return counts;
}

export interface NatSummary {
  readonly cells: number;
  readonly counts: Record<Verdict, number>;
  /** Median of those that connected; NaN when none did. */
  readonly connectMs: number;
  readonly packets: number;
}

/** What a contestant made of the NAT pairs. */
export function summarizeNat(cells: readonly (CellResult | undefined)[]): NatSummary {
  const run = cells.filter((cell) => cell !== undefined);
  return {
    cells: run.length,
    counts: countVerdicts(run),
    connectMs: median(run.flatMap((cell) => cell.connectMs ?? [])),
    packets: median(run.flatMap((cell) => (cell.connectMs === undefined ? [] : (cell.connectPackets ?? [])))),
  };
}

/** Whether messages arrived again after the longest silence: the last second of the watch was not silent. */
export function recovered({ delay, bucketMs, durationMs }: WatchResult): boolean {
  return delay.slice(Math.floor((durationMs - 1000) / bucketMs)).some((value) => value !== null);
}
