/** Our own WebRTC stack against bare node-datachannel on loopback, runs in turn. */

import { benchIdleConnections } from './idle.ts';
import { benchPriority } from './priority.ts';
import { benchRoundTrips } from './round-trip.ts';
import { benchSetUp } from './set-up.ts';
import { benchTransfer } from './transfer.ts';

export const engineFigures: Record<string, () => Promise<void>> = {
  'engine-transfer': benchTransfer,
  'engine-setup': benchSetUp,
  'engine-round-trip': benchRoundTrips,
  'engine-priority': benchPriority,
  'engine-idle': benchIdleConnections,
};
