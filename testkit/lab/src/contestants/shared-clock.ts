/** The clock of the machine: its monotonic time is CLOCK_MONOTONIC, the same in every process, so that one-way delays can be told. */

import { type Clock, systemClock } from '@claw/base';

export const sharedClock: Clock = {
  ...systemClock,
  monotonicMs: () => Number(process.hrtime.bigint()) / 1e6,
};
