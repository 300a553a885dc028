/** The rungs of the lab's ladder in virtual time, so that what real kernels showed once does not come back unseen. */

import type { LinkSpec } from '@claw/scenarios';
import { afterAll, describe, expect, test } from 'vitest';
import { geometricMean, rungTopology, runLadder } from './ladder.ts';

const rows: string[] = [];
afterAll(() => console.log(rows.join('\n')));

/** A message in eight seconds. */
const LEAST_MBPS = 0.016;

async function measure(rung: number, seeds: readonly number[], change?: (link: LinkSpec) => LinkSpec) {
  const topology = rungTopology(rung, change);
  const rates: number[] = [];
  for (const seed of seeds) rates.push((await runLadder(topology, { seed })).mbps);
  return { mbps: geometricMean(rates, LEAST_MBPS), rates };
}

// What BBR of Linux has in the lab: 94.7, 9.5, 7.5, 17.5, 14.4, 0.94, 0.41, 0.09 and 0.06, with headers 4 % smaller.
describe('a bulk transfer of eight seconds', () => {
  test.each<[number, number, readonly number[]]>([
    [1, 85, [1]],
    [2, 8.5, [1, 2]],
    [3, 6.6, [1, 2, 3]],
    [4, 16.5, [1, 2, 3]],
    [5, 13, [1, 2, 3]],
    [6, 0.84, [1, 2, 3]],
    [7, 0.35, [1, 2, 3, 4, 5, 6]],
    [8, 0.24, [1, 2, 3, 4, 5, 6]],
    [9, 0.05, [1, 2, 3, 4, 5, 6, 7, 8]],
  ])('on rung %d carries at least %d Mbit/s', async (rung, least, seeds) => {
    const { mbps, rates } = await measure(rung, seeds);
    rows.push(`rung ${rung}: ${mbps.toFixed(3)} Mbit/s (${rates.map((rate) => rate.toFixed(2)).join(', ')})`);
    expect(mbps).toBeGreaterThanOrEqual(least);
  });

  test.each<[string, number, number, (link: LinkSpec) => LinkSpec]>([
    ['of half the rate', 4, 8.2, (link) => ({ ...link, rateBitsPerSecond: 10_000_000 })],
    ['of twice the rate', 4, 29, (link) => ({ ...link, rateBitsPerSecond: 40_000_000 })],
    ['with half the delay', 4, 14.5, (link) => ({ ...link, delayMs: 5, jitterMs: 5 })],
    ['with twice the delay', 4, 16, (link) => ({ ...link, delayMs: 20 })],
    ['without jitter', 4, 16, (link) => ({ ...link, jitterMs: 0 })],
    ['with twice the jitter', 3, 6.4, (link) => ({ ...link, jitterMs: 16 })],
    ['with half the delay', 3, 6.5, (link) => ({ ...link, delayMs: 15 })],
    ['with twice the jitter', 2, 8.4, (link) => ({ ...link, jitterMs: 4 })],
  ])('%s on rung %d carries at least %d Mbit/s', async (name, rung, least, change) => {
    const { mbps } = await measure(rung, [1, 2], change);
    rows.push(`rung ${rung} ${name}: ${mbps.toFixed(3)} Mbit/s`);
    expect(mbps).toBeGreaterThanOrEqual(least);
  });
});

test('twenty pings beforehand, some of them lost, do not slow the transfer after them', async () => {
  const topology = rungTopology(5);
  const rates: number[] = [];
  for (let seed = 1; seed <= 6; seed++) rates.push((await runLadder(topology, { seed, pings: 20 })).mbps);
  rows.push(`rung 5 after 20 pings: ${rates.map((rate) => rate.toFixed(1)).join(', ')} Mbit/s`);
  expect(Math.min(...rates)).toBeGreaterThan(12);
});
