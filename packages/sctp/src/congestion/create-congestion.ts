/** Makes the congestion control that an option names. */

import type { Random } from '@claw/base';
import { ClawCongestion } from './claw.ts';
import type { CongestionControl, CongestionKind } from './congestion-control.ts';
import { CubicCongestion } from './cubic.ts';
import { RfcCongestion } from './rfc.ts';

export function createCongestion(kind: CongestionKind, packetBytes: number, random: Random): CongestionControl {
  switch (kind) {
    case 'rfc':
      return new RfcCongestion(packetBytes);
    case 'cubic':
      return new CubicCongestion(packetBytes);
    case 'claw':
      return new ClawCongestion(packetBytes, random);
  }
}
