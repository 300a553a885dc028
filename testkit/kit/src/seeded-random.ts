/** A `Random` that gives the same sequence for the same seed (mulberry32). For tests only. */

import type { Random } from '@claw/base';

export function seededRandom(seed: number): Random {
  let state = seed >>> 0;
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return (mixed ^ (mixed >>> 14)) >>> 0;
  };
  return {
    bytes: (length) => Buffer.from(Array.from({ length }, () => next() & 255)),
    fraction: () => next() / 2 ** 32,
  };
}
