import type { RtcPriority } from '@claw/contracts';

/** Share of a full path among channels that have something to send (RFC 8831 §6.4). */
export const priorityWeights: Readonly<Record<RtcPriority, number>> = {
  'very-low': 128,
  low: 256,
  medium: 512,
  high: 1024,
};
