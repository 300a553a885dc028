/**
 * Set-up from connect() to the first application byte at the other side, against
 * bare node-datachannel, attempts in turn. Asked: at most 1.5 × on loopback, and
 * at 50 ms round trip no round trip more.
 */

import { median, percentile } from '@claw/testkit/statistics';
import { type Connected, Pair } from './peers/pair.ts';
import { ms, printTable, ratio, verdict } from './statistics.ts';

const LOOPBACK_ATTEMPTS = 30;
const DELAYED_ATTEMPTS = 9;
const ROUND_TRIP_MS = 50;

async function attempts(count: number, oneWayMs: number): Promise<{ bare: number[]; link: number[] }> {
  await using bare = await Pair.open('bare', oneWayMs);
  await using link = await Pair.open('link', oneWayMs);
  const results = { bare: [] as number[], link: [] as number[], own: [] as number[] };
  for (let attempt = -1; attempt < count; attempt += 1) {
    for (const pair of [bare, link]) {
      const connected: Connected = await pair.connect();
      if (attempt >= 0) results[pair.contestant].push(connected.firstByteMs); // the first warms up
      await pair.disconnect(connected);
      await new Promise((resolve) => setTimeout(resolve, 150)); // certificates are made ahead of time, not in a burst
    }
  }
  return results;
}

export async function benchSetup(): Promise<void> {
  const near = await attempts(LOOPBACK_ATTEMPTS, 0);
  const share = median(near.link) / median(near.bare);
  printTable(`Set-up on loopback, connect() to first byte there, ${LOOPBACK_ATTEMPTS} attempts each`, [
    ['', 'p25', 'median', 'p95'],
    ['bare', ms(percentile(near.bare, 0.25)), ms(median(near.bare)), ms(percentile(near.bare, 0.95))],
    ['link', ms(percentile(near.link, 0.25)), ms(median(near.link)), ms(percentile(near.link, 0.95))],
    ['ratio of medians', '', ratio(share), `asked ≤ 1.5: ${verdict(share <= 1.5)}`],
  ]);
  const far = await attempts(DELAYED_ATTEMPTS, ROUND_TRIP_MS / 2);
  const trips = (median(far.link) - median(far.bare)) / ROUND_TRIP_MS;
  printTable(
    `Set-up at ${ROUND_TRIP_MS} ms round trip (packets and signals delayed), ${DELAYED_ATTEMPTS} attempts each`,
    [
      ['', 'median', 'round trips'],
      ['bare', ms(median(far.bare)), (median(far.bare) / ROUND_TRIP_MS).toFixed(2)],
      ['link', ms(median(far.link)), (median(far.link) / ROUND_TRIP_MS).toFixed(2)],
      ['more by', ms(median(far.link) - median(far.bare)), `${trips.toFixed(2)}, asked < 1: ${verdict(trips < 1)}`],
    ],
  );
}
