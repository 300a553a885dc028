/** Set-up from connect() to the first byte at the other side, on loopback: of fresh processes, and of warm ones. Asked: p50 5 ms, p95 10 ms. */

import { median, percentile } from '@claw/testkit/statistics';
import { Pair } from '../peers/pair.ts';
import { ms, printTable } from '../statistics.ts';
import { ENGINES } from './engines.ts';

const SETUPS = 300;
const FRESH = 30;

export async function benchSetUp(): Promise<void> {
  const rows = [['', 'the first', `p50 of ${FRESH}`, 'p95', `p50 of ${SETUPS - FRESH} more`, 'p95']];
  for (const engine of ENGINES) {
    const taken: number[] = [];
    await using pair = await Pair.open(engine);
    for (let attempt = 0; attempt < SETUPS; attempt += 1) {
      const connected = await pair.connect();
      taken.push(connected.firstByteMs);
      await pair.disconnect(connected);
    }
    const [fresh, warm] = [taken.slice(1, FRESH + 1), taken.slice(FRESH + 1)];
    const columns = [fresh, warm].flatMap((part) => [ms(median(part)), ms(percentile(part, 0.95))]);
    rows.push([engine, ms(taken[0] ?? 0), ...columns]);
  }
  rows.push(['asked of own', '', '≤ 5 ms', '≤ 10 ms', '≤ 5 ms', '≤ 10 ms']);
  printTable('Engines: set-up on loopback until the first byte is there, two processes, one after the other', rows);
}
