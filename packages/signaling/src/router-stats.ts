/** What a router counted since it was opened. Every arriving envelope is counted in exactly one of the arrival fields. */

import type { EnvelopeErrorCode } from './errors.ts';

export interface RouterStats {
  /** Envelopes sealed by `post`. */
  readonly posted: number;
  /** Calls of `resend` that handed the bytes out again. */
  readonly resent: number;
  /** Envelopes opened, admitted and handed to `onMessage`. */
  readonly delivered: number;
  /** Byte for byte the same as one that arrived before, over any carrier. */
  readonly duplicates: number;
  /** Sound, but `authorize` said no. */
  readonly refused: number;
  /** Dropped unopened, because the carrier brought more than its share. */
  readonly overloaded: number;
  /** Dropped, by reason. */
  readonly rejected: Readonly<Record<EnvelopeErrorCode, number>>;
}

export type MutableRouterStats = { -readonly [Key in Exclude<keyof RouterStats, 'rejected'>]: number } & {
  readonly rejected: Record<EnvelopeErrorCode, number>;
};

export function createRouterStats(): MutableRouterStats {
  return {
    posted: 0,
    resent: 0,
    delivered: 0,
    duplicates: 0,
    refused: 0,
    overloaded: 0,
    rejected: {
      ENVELOPE_MALFORMED: 0,
      ENVELOPE_NOT_FOR_US: 0,
      ENVELOPE_UNSEALABLE: 0,
      ENVELOPE_FORGED: 0,
      ENVELOPE_EXPIRED: 0,
      ENVELOPE_FROM_FUTURE: 0,
      ENVELOPE_REPLAYED: 0,
      ENVELOPE_FLOOD: 0,
      ENVELOPE_TOO_LARGE: 0,
    },
  };
}
