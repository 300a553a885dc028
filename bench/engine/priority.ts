/** Round trip of 64 bytes on the channel that goes first, beside one that fills the path. Asked: p99 of 5 ms. */

import { median, percentile } from '@claw/testkit/statistics';
import { roundTrip } from '../peers/endpoint.ts';
import { Pair } from '../peers/pair.ts';
import { ms, printTable, verdict } from '../statistics.ts';
import { ENGINES } from './engines.ts';

const PINGS = 500;
const WARM_UP = 50;
const PAUSE_MS = 5;

export async function benchPriority(): Promise<void> {
  const rows = [['', 'p50', 'p99', 'most']];
  let worst = Number.NaN;
  for (const engine of ENGINES) {
    const taken = await pingBesideBulk(engine);
    worst = percentile(taken, 0.99);
    rows.push([engine, ms(median(taken)), ms(worst), ms(Math.max(...taken))]);
  }
  rows.push(['asked of own', '', '≤ 5 ms', verdict(worst <= 5)]);
  printTable('Engines: round trip of 64 B on a channel of high priority beside 64 KiB messages without end', rows);
}

async function pingBesideBulk(engine: (typeof ENGINES)[number]): Promise<number[]> {
  await using pair = await Pair.open(engine);
  const connected = await pair.connect();
  const { endpoint } = connected;
  await pair.pipe.order({ order: 'echo-urgent' });
  if (!endpoint.urgent) throw new TypeError(`${engine} has no second channel`);
  let isOver = false;
  const bulk = (async () => {
    const message = Buffer.alloc(64 * 1024, 0x5a);
    while (!isOver) {
      await endpoint.send(message);
      await new Promise((resolve) => setImmediate(resolve));
    }
  })();
  const taken: number[] = [];
  for (let ping = -WARM_UP; ping < PINGS; ping += 1) {
    const took = await roundTrip(endpoint.urgent, Buffer.alloc(64, 7));
    if (ping >= 0) taken.push(took);
    await new Promise((resolve) => setTimeout(resolve, PAUSE_MS));
  }
  isOver = true;
  await bulk;
  await pair.disconnect(connected);
  return taken;
}
