import type { RtcPriority } from '@claw/contracts';

/** Share of a full path among channels that have something to send (RFC 8831 §6.4). */
export const priorityWeights: Readonly<Record<RtcPriority, number>> = {
  'very-low': 128,
  low: 256,
  medium: 512,
  high: 1024,
};

/** By the ranges of RFC 8831 §6.4, for peers that say other numbers. */
export function priorityOf(weight: number): RtcPriority {
  if (weight <= 128) return 'very-low';
  if (weight <= 256) return 'low';
  return weight <= 512 ? 'medium' : 'high';
}
