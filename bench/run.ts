/** Runs the figures: all of them, or those named. `npm run bench -- throughput setup` */

import { benchEngine } from './engine.ts';
import { benchIdle } from './idle.ts';
import { benchRoundTrip } from './round-trip.ts';
import { benchSetup } from './setup.ts';
import { benchTcpShare } from './tcp-share.ts';
import { benchThroughput } from './throughput.ts';

const FIGURES: Record<string, () => Promise<void>> = {
  engine: benchEngine,
  throughput: benchThroughput,
  setup: benchSetup,
  'round-trip': benchRoundTrip,
  'tcp-share': benchTcpShare,
  idle: benchIdle,
};

const wanted = process.argv.slice(2);
const unknown = wanted.filter((name) => !Object.hasOwn(FIGURES, name));
if (unknown.length > 0) {
  console.error(`There is no figure "${unknown.join('", "')}". There are: ${Object.keys(FIGURES).join(', ')}.`);
  process.exit(2);
}
for (const [name, run] of Object.entries(FIGURES)) {
  if (wanted.length > 0 && !wanted.includes(name)) continue;
  console.error(`measuring ${name} …`);
  await run();
}
process.exit(0);
