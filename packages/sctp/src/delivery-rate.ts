/**
 * Delivery-rate samples (draft-ietf-ccwg-bbr §4.1): how many bytes were delivered
 * between the sending of a chunk and its acknowledgement. A sample taken while the
 * application had nothing to send is marked, for it says little about the path.
 */

import type { SentChunk } from './sent-chunks.ts';

export class DeliveryRate {
  /** Bytes acknowledged in the life of the association. */
  deliveredBytes = 0;
  #deliveredMs = 0.5;
  #firstSentMs = 0.5;
  /** `deliveredBytes` at which the present lack of data will have been acknowledged; 0 when there is none. */
  #appLimitedUntil = 0;

  /** Of the sample being taken: */
  priorDeliveredBytes = 0;
  isAppLimited = false;
  #sendElapsedMs = 0.5;
  #ackElapsedMs = 0.5;
  #hasSample = false;

  onSent(chunk: SentChunk, inFlightBytes: number, nowMs: number): void {
    if (inFlightBytes === 0) {
      this.#firstSentMs = nowMs;
      this.#deliveredMs = nowMs;
    }
    chunk.firstSentMs = this.#firstSentMs;
    chunk.deliveredMs = this.#deliveredMs;
    chunk.deliveredBytes = this.deliveredBytes;
    chunk.isAppLimited = this.#appLimitedUntil > 0;
  }

  /** The application leaves the window unused while `inFlightBytes` are on their way. */
  markAppLimited(inFlightBytes: number): void {
    this.#appLimitedUntil = Math.max(1, this.deliveredBytes + inFlightBytes);
  }

  begin(): void {
    this.#hasSample = false;
    this.priorDeliveredBytes = 0;
    this.isAppLimited = false;
  }

  /** `isOfEarlier`: it is not the last transmission that was acknowledged, of which the chunk's notes are. */
  onAcked(chunk: SentChunk, isOfEarlier: boolean, nowMs: number): void {
    this.deliveredBytes += chunk.wireBytes;
    this.#deliveredMs = nowMs;
    if (isOfEarlier) return;
    if (this.#hasSample && chunk.deliveredBytes < this.priorDeliveredBytes) return;
    if (this.#hasSample && chunk.deliveredBytes === this.priorDeliveredBytes && chunk.sentMs <= this.#firstSentMs)
      return;
    this.#hasSample = true;
    this.priorDeliveredBytes = chunk.deliveredBytes;
    this.isAppLimited = chunk.isAppLimited;
    this.#sendElapsedMs = chunk.sentMs - chunk.firstSentMs;
    this.#ackElapsedMs = nowMs - chunk.deliveredMs;
    this.#firstSentMs = chunk.sentMs;
  }

  /** Bytes a millisecond, or 0 when the sample says nothing. */
  end(minRttMs: number): number {
    if (this.#appLimitedUntil > 0 && this.deliveredBytes > this.#appLimitedUntil) this.#appLimitedUntil = 0;
    if (!this.#hasSample) return 0;
    const intervalMs = Math.max(this.#sendElapsedMs, this.#ackElapsedMs);
    // Less than a round trip: the clock is too coarse, or the chunk was retransmitted meanwhile.
    if (intervalMs <= 0 || intervalMs < minRttMs * 0.9) return 0;
    return (this.deliveredBytes - this.priorDeliveredBytes) / intervalMs;
  }
}
