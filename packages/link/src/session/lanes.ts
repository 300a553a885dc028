/**
 * The lanes of a link: data channels with fixed SCTP stream ids, negotiated by
 * this table and opened before the first description, so none costs a round trip.
 */

import type { RtcDataChannelInit, RtcPriority } from '@claw/contracts';

/** Control frames. Nothing bulky goes here, so it never waits long. */
export const CONTROL_LANE = 0;
/** Streams, and messages that are reliable and ordered. */
export const BULK_LANE = 1;

export interface Reliability {
  readonly ordered: boolean;
  readonly reliable: boolean;
}

const LANES: readonly (Reliability & { readonly label: string; readonly priority: RtcPriority })[] = [
  { label: 'claw.control', ordered: true, reliable: true, priority: 'high' },
  { label: 'claw.bulk', ordered: true, reliable: true, priority: 'low' },
  { label: 'claw.reliable-unordered', ordered: false, reliable: true, priority: 'low' },
  { label: 'claw.lossy-ordered', ordered: true, reliable: false, priority: 'medium' },
  { label: 'claw.lossy-unordered', ordered: false, reliable: false, priority: 'medium' },
];

export const LANE_IDS: readonly number[] = LANES.map((_, id) => id);

/** The lane that carries messages of this reliability. */
export function laneFor(reliability: Reliability): number {
  if (reliability.reliable) return reliability.ordered ? BULK_LANE : 2;
  return reliability.ordered ? 3 : 4;
}

export function laneReliability(lane: number): Reliability {
  const found = LANES[lane];
  if (!found) throw new RangeError(`there is no lane ${lane}`);
  return found;
}

/** Arguments of `createDataChannel` for `lane`. */
export function laneChannel(lane: number): { label: string; init: RtcDataChannelInit } {
  const { label, ordered, reliable, priority } = LANES[lane] as (typeof LANES)[number];
  return { label, init: { ordered, priority, negotiated: true, id: lane, ...(reliable ? {} : { maxRetransmits: 0 }) } };
}
