/**
 * The two builders against each other: the same reference peer through every
 * scenario, in virtual time and on kernels. Connected or not must be the same;
 * the round trip within 5 % or 3 ms, the machine's own scheduling included.
 */

import { loadScenarios, type Scenario } from '@claw/scenarios';
import { runReference } from '@claw/simnet';
import type { CellResult } from '../results.ts';
import { planCells } from '../run/plan.ts';
import { runPlan } from '../run/run-plan.ts';
import type { SelftestRow } from './row.ts';

const REFERENCE = 'reference';
const JOBS = 8;
const TOLERANCE = 0.05;
const SLACK_MS = 3;

/** A row for each scenario that both can run; `onRow` as they come. */
export async function agreementRows(seed: number, onRow: (row: SelftestRow) => void): Promise<void> {
  const both = loadScenarios().filter((scenario) => !scenario.simnetOnly && !scenario.labOnly);
  // What is measured after connecting is not compared: pings and the verdict are.
  const short = both.map((scenario) => ({ ...scenario, measure: { pings: 20 }, events: [] }));
  const byName = new Map(short.map((scenario) => [scenario.name, scenario]));
  const pending: Promise<void>[] = [];
  await runPlan(planCells(short, [REFERENCE], { seed, repeat: 1 }), {
    jobs: JOBS,
    onCell: ({ result }) => {
      const scenario = byName.get(result.scenario);
      if (scenario) pending.push(compare(scenario, result, seed).then(onRow));
    },
  });
  await Promise.all(pending);
}

async function compare(scenario: Scenario, lab: CellResult, seed: number): Promise<SelftestRow> {
  const simnet = await runReference(scenario, { seed });
  const expected = simnet.connected ? medianOf(simnet.roundTripMs) : undefined;
  const found = lab.outcome === 'connected' ? lab.roundTrip?.p50Ms : undefined;
  return {
    what: scenario.name,
    asked: simnet.connected ? `connected, ${(expected ?? 0).toFixed(1)} ms` : 'failed',
    measured: lab.outcome === 'connected' ? `connected, ${(found ?? 0).toFixed(1)} ms` : wordsOf(lab),
    verdict: agrees(simnet.connected, expected, lab, found) ? 'ok' : 'off',
  };
}

function agrees(connected: boolean, expected: number | undefined, lab: CellResult, found: number | undefined): boolean {
  if (!connected) return lab.outcome === 'failed';
  if (lab.outcome !== 'connected' || expected === undefined || found === undefined) return false;
  return Math.abs(found - expected) <= Math.max(SLACK_MS, TOLERANCE * expected);
}

function medianOf(values: readonly (number | null)[]): number {
  const sorted = values.filter((value) => value !== null).toSorted((one, other) => one - other);
  return sorted[Math.floor(sorted.length / 2)] ?? Number.NaN;
}

function wordsOf(lab: CellResult): string {
  return lab.outcome === 'failed' ? 'failed' : `${lab.outcome}: ${lab.reason ?? ''}`;
}
