/**
 * The two builders against each other: the same reference peer through every
 * scenario, in virtual time and on kernels. Connected or not must be the same;
 * the shortest round trip, which the machine's own scheduling disturbs least,
 * within 5 % or 3 ms, and the jitter of the links.
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
const PINGS = 20;
/** What connects at all does so in this time. */
const CONNECT_MS = 10_000;

/** A row for each scenario that both can run; `onRow` as they come. */
export async function agreementRows(seed: number, onRow: (row: SelftestRow) => void): Promise<void> {
  const both = loadScenarios().filter((scenario) => !scenario.simnetOnly && !scenario.labOnly);
  // What is measured after connecting is not compared: pings and the verdict are.
  const measure = { pings: PINGS };
  const short = both.map((scenario) => ({ ...scenario, measure, events: [], connectTimeoutMs: CONNECT_MS }));
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
  const expected = simnet.connected ? shortestOf(simnet.roundTripMs) : undefined;
  const found = lab.outcome === 'connected' ? lab.roundTrip?.minMs : undefined;
  return {
    what: scenario.name,
    asked: simnet.connected ? `connected, ${(expected ?? 0).toFixed(1)} ms` : 'failed',
    measured: lab.outcome === 'connected' ? `connected, ${(found ?? 0).toFixed(1)} ms` : wordsOf(lab),
    verdict: agrees(simnet.connected, expected, lab, found, jitterOf(scenario)) ? 'ok' : 'off',
  };
}

function agrees(
  connected: boolean,
  expected: number | undefined,
  lab: CellResult,
  found: number | undefined,
  jitterMs: number,
): boolean {
  if (!connected) return lab.outcome === 'failed';
  if (lab.outcome !== 'connected' || expected === undefined || found === undefined) return false;
  return Math.abs(found - expected) <= Math.max(SLACK_MS, TOLERANCE * expected) + jitterMs;
}

/** Of both directions of a's own links. */
function jitterOf({ topology }: Scenario): number {
  const links = Object.values(topology.nodes['a']?.interfaces ?? {}).flatMap(({ up, down }) => [up, down]);
  return links.reduce((sum, link) => sum + (link?.jitterMs ?? 0), 0);
}

function shortestOf(values: readonly (number | null)[]): number {
  return Math.min(...values.filter((value) => value !== null));
}

function wordsOf(lab: CellResult): string {
  return lab.outcome === 'failed' ? 'failed' : `${lab.outcome}: ${lab.reason ?? ''}`;
}
