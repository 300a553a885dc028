/**
 * RFC 9260 §7.2: slow start, congestion avoidance and halving, with appropriate
 * byte counting and the initial window of RFC 6928.
 */

import type { AckSample, CongestionControl } from './congestion-control.ts';

export class RfcCongestion implements CongestionControl {
  #packetBytes: number;
  #thresholdBytes = Number.POSITIVE_INFINITY;
  #partialBytesAcked = 0;
  #minRttMs = Number.POSITIVE_INFINITY;
  windowBytes: number;

  constructor(packetBytes: number) {
    this.#packetBytes = packetBytes;
    this.windowBytes = initialWindow(packetBytes);
  }

  get paceBytesPerMs(): number {
    return windowPace(this.windowBytes, this.#thresholdBytes, this.#minRttMs);
  }

  onAck(sample: AckSample): void {
    this.#minRttMs = sample.minRttMs;
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

/**
 * A window spread over the least round trip, with room to grow. The smoothed one, which Linux takes for TCP, stands still
 * while nothing but retransmissions is acknowledged: at a pace from before, of a full queue, the window would never be
 * full, and so would never grow.
 */
export function windowPace(windowBytes: number, thresholdBytes: number, minRttMs: number): number {
  if (minRttMs === Number.POSITIVE_INFINITY) return minRttMs;
  return ((windowBytes < thresholdBytes ? 2 : 1.2) * windowBytes) / minRttMs;
}
