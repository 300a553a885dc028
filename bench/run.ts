/** Runs the figures: all of them, or those named. `npm run bench -- throughput setup` */

import { engineFigures } from './engine/index.ts';
import { benchIdle } from './idle.ts';
import { benchRoundTrip } from './round-trip.ts';
import { benchSetup } from './setup.ts';
import { benchTcpShare } from './tcp-share.ts';
import { benchThroughput } from './throughput.ts';

const FIGURES: Record<string, () => Promise<void>> = {
  throughput: benchThroughput,
  setup: benchSetup,
  'round-trip': benchRoundTrip,
  'tcp-share': benchTcpShare,
  idle: benchIdle,
  ...engineFigures,
};

const wanted = process.argv.slice(2);
const isWanted = (name: string) =>
  wanted.some((each) => each === name || (each === 'engine' && name.startsWith('engine-')));
const unknown = wanted.filter((name) => name !== 'engine' && !Object.hasOwn(FIGURES, name));
if (unknown.length > 0) {
  console.error(`There is no figure "${unknown.join('", "')}". There are: ${Object.keys(FIGURES).join(', ')}.`);
  process.exit(2);
}
for (const [name, run] of Object.entries(FIGURES)) {
  if (wanted.length > 0 && !isWanted(name)) continue;
  console.error(`measuring ${name} …`);
  await run();
}
process.exit(0);
