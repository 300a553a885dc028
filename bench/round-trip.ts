/** Round trip of 64 bytes against bare node-datachannel, blocks in turn. Asked: at most 1.3 ×. */

import { median, percentile } from '@claw/testkit/statistics';
import { roundTrip } from './peers/endpoint.ts';
import { type Contestant, Pair } from './peers/pair.ts';
import { printTable, ratio, verdict } from './statistics.ts';

const BLOCKS = 9;
const PER_BLOCK = 1000;
const MESSAGE = Buffer.alloc(64, 7);

export async function benchRoundTrip(): Promise<void> {
  await using bare = await Pair.open('bare');
  await using link = await Pair.open('link');
  const samples: Record<Contestant, number[]> = { bare: [], link: [], own: [] };
  const shares: number[] = [];
  const ends = [];
  for (const pair of [bare, link]) {
    const connected = await pair.connect();
    await pair.pipe.order({ order: 'echo' });
    ends.push({ pair, connected });
  }
  for (let block = -2; block < BLOCKS; block += 1) {
    const medians: number[] = [];
    for (const { pair, connected } of ends) {
      const taken: number[] = [];
      for (let count = 0; count < PER_BLOCK; count += 1) {
        taken.push((await roundTrip(connected.endpoint, MESSAGE)) * 1000);
      }
      medians.push(median(taken));
      if (block >= 0) samples[pair.contestant].push(...taken);
    }
    if (block >= 0) shares.push((medians[1] as number) / (medians[0] as number));
  }
  for (const { pair, connected } of ends) await pair.disconnect(connected);
  const share = median(shares);
  const row = (name: 'bare' | 'link') => [
    name,
    ...[0.5, 0.95, 0.99].map((at) => `${percentile(samples[name], at).toFixed(0)} µs`),
  ];
  printTable(`Round trip of 64 B on loopback, ${BLOCKS} blocks of ${PER_BLOCK}`, [
    ['', 'p50', 'p95', 'p99'],
    row('bare'),
    row('link'),
    ['median of ratios', ratio(share), 'asked ≤ 1.3', verdict(share <= 1.3)],
  ]);
}
