/** Round trip of 64 bytes on loopback while nothing else happens. Asked: at most that of node-datachannel. */

import { median, percentile } from '@claw/testkit/statistics';
import { roundTrip } from '../peers/endpoint.ts';
import { Pair } from '../peers/pair.ts';
import { ms, printTable, ratio, verdict } from '../statistics.ts';
import { ENGINES, perEngine } from './engines.ts';

const PINGS = 2000;
const WARM_UP = 200;

export async function benchRoundTrips(): Promise<void> {
  const taken = perEngine<number[]>(() => []);
  for (const engine of ENGINES) {
    await using pair = await Pair.open(engine);
    const connected = await pair.connect();
    await pair.pipe.order({ order: 'echo' });
    for (let ping = -WARM_UP; ping < PINGS; ping += 1) {
      const took = await roundTrip(connected.endpoint, Buffer.alloc(64, 7));
      if (ping >= 0) taken[engine].push(took);
    }
    await pair.disconnect(connected);
  }
  const share = median(taken.own) / median(taken.bare);
  printTable('Engines: round trip of 64 B, loopback, idle', [
    ['', 'p50', 'p99'],
    ...ENGINES.map((engine) => [engine, ms(median(taken[engine])), ms(percentile(taken[engine], 0.99))]),
    ['ratio', ratio(share), `asked ≤ 1.0: ${verdict(share <= 1)}`],
  ]);
}
