/**
 * RFC 9260 §7.2: slow start, congestion avoidance and halving, with appropriate
 * byte counting and the initial window of RFC 6928.
 */

import type { AckSample, CongestionControl } from './congestion-control.ts';

export class RfcCongestion implements CongestionControl {
  #packetBytes: number;
  #thresholdBytes = Number.POSITIVE_INFINITY;
  #partialBytesAcked = 0;
  #smoothedRttMs = 0;
  windowBytes: number;

  constructor(packetBytes: number) {
    this.#packetBytes = packetBytes;
    this.windowBytes = initialWindow(packetBytes);
  }

  get paceBytesPerMs(): number {
    return windowPace(this.windowBytes, this.#thresholdBytes, this.#smoothedRttMs);
  }

  onAck(sample: AckSample): void {
    this.#smoothedRttMs = sample.smoothedRttMs;
    if (sample.startsEpisode) {
      this.#thresholdBytes = Math.max(this.windowBytes / 2, 4 * this.#packetBytes);
      this.windowBytes = this.#thresholdBytes;
      this.#partialBytesAcked = 0;
      return;
    }
    if (!sample.isWindowLimited) return;
    if (this.windowBytes < this.#thresholdBytes) {
      this.windowBytes += Math.min(sample.ackedBytes, 2 * this.#packetBytes);
      return;
    }
    this.#partialBytesAcked += sample.ackedBytes;
    if (this.#partialBytesAcked >= this.windowBytes) {
      this.#partialBytesAcked -= this.windowBytes;
      this.windowBytes += this.#packetBytes;
    }
  }

  onTimeout(): void {
    this.#thresholdBytes = Math.max(this.windowBytes / 2, 4 * this.#packetBytes);
    this.windowBytes = this.#packetBytes;
    this.#partialBytesAcked = 0;
  }

  setPacketBytes(packetBytes: number): void {
    this.#packetBytes = packetBytes;
    this.windowBytes = Math.max(this.windowBytes, 2 * packetBytes);
  }
}

/** RFC 6928: ten packets, and no more than about 14,600 bytes of small ones. */
export function initialWindow(packetBytes: number): number {
  return Math.min(10 * packetBytes, Math.max(2 * packetBytes, 14_600));
}

/** A window spread over the round trip, with room to grow, as Linux paces TCP. */
export function windowPace(windowBytes: number, thresholdBytes: number, smoothedRttMs: number): number {
  if (smoothedRttMs <= 0) return Number.POSITIVE_INFINITY;
  return ((windowBytes < thresholdBytes ? 2 : 1.2) * windowBytes) / smoothedRttMs;
}
