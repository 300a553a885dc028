/**
 * The cells that every change is judged by, with what each must come to: some of
 * each kind, in at most three minutes, without anything to install.
 */

import type { Verdict } from '../report/summary.ts';
import { verdictOf } from '../report/summary.ts';
import type { CellResult } from '../results.ts';

export interface Expectation {
  readonly scenario: string;
  readonly contestant: string;
  readonly verdict: Verdict;
}

const of = (contestant: string, verdict: Verdict, ...scenarios: readonly string[]): Expectation[] =>
  scenarios.map((scenario) => ({ contestant, verdict, scenario }));

export const CANARY: readonly Expectation[] = [
  ...of(
    'claw',
    'direct',
    'nat/none/none',
    'nat/eim-eif/apdm-random',
    'nat/eim-apdf/eim-apdf',
    'nat/double-nat/cgnat-block',
    'ladder/3-lte',
    'faults/useless-addresses',
  ),
  ...of('claw', 'relayed', 'nat/apdm-random/apdm-random', 'faults/relay-death', 'nat/proxy-only/proxy-only'),
  ...of('claw-webrtc', 'direct', 'nat/eim-apdf/eim-apdf', 'ladder/3-lte'),
  ...of(
    'claw-webrtc',
    'relayed',
    'nat/apdm-random/eim-apdf',
    'nat/tcp-443-only/eim-apdf',
    'nat/proxy-only/none',
    'nat/udp-blocked/none', // at first: pairs over TCP wait for UDP longer than the relay takes
  ),
  ...of('node-datachannel', 'direct', 'ladder/3-lte'),
  ...of('node-datachannel', 'relayed', 'nat/apdm-random/eim-apdf'),
  ...of('reference', 'direct', 'nat/eim-adf/apdm-random', 'nat/double-nat/eim-apdf'),
  ...of('reference', 'failed', 'nat/apdm-random/eim-apdf', 'nat/udp-blocked/none'),
  ...of('tcp-bbr', 'direct', 'nat/eim-apdf/none', 'ladder/3-lte', 'ladder/7-cell-edge'),
  ...of('tcp-bbr', 'failed', 'nat/none/eim-apdf'),
  ...of('tcp-cubic', 'direct', 'ladder/3-lte'),
];

/** One sentence for each cell that came to something else. */
export function breaches(cells: readonly CellResult[]): string[] {
  return CANARY.flatMap(({ scenario, contestant, verdict }) => {
    const cell = cells.find((one) => one.scenario === scenario && one.contestant === contestant);
    const found = cell ? verdictOf(cell) : 'not run';
    if (found === verdict) return [];
    const why = cell?.reason === undefined ? '' : `: ${cell.reason}`;
    return [`${contestant} on ${scenario}: expected ${verdict}, found ${found}${why}`];
  });
}
