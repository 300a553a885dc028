/** The figures of a contestant over many cells, for the page and for the terminal. Pure. */

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

/** Whether messages arrived again after the longest silence: the last second of the watch was not silent. */
export function recovered({ delay, bucketMs, durationMs }: WatchResult): boolean {
  return delay.slice(Math.floor((durationMs - 1000) / bucketMs)).some((value) => value !== null);
}

export function median(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : percentile(values, 0.5);
}

/** The value below which `share` of them lie, one of them; `values` is not empty. */
export function percentile(values: readonly number[], share: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] as number;
}
