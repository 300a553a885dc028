/** Which packets a link loses: independently, or in bursts by a chain of two states (Gilbert 1960, Elliott 1963). */

import type { Random } from '@claw/base';
import type { LossSpec } from '@claw/scenarios';

/** Says of each packet in turn whether it is lost. */
export function lossModel(spec: LossSpec | undefined, random: Random): () => boolean {
  if (!spec) return () => false;
  if (spec.model === 'bernoulli') return () => random.fraction() < spec.share;
  let isBad = false;
  return () => {
    const isLost = random.fraction() < (isBad ? spec.lossInBad : spec.lossInGood);
    if (random.fraction() < (isBad ? spec.badToGood : spec.goodToBad)) isBad = !isBad;
    return isLost;
  };
}
