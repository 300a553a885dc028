/** CUBIC (RFC 9438): growth by the time since the last reduction, with fast convergence and the Reno-friendly region. */

import type { AckSample, CongestionControl } from './congestion-control.ts';
import { initialWindow, windowPace } from './rfc.ts';

/** Packets a cubed second. */
const C = 0.4;
const BETA = 0.7;
const RENO_ALPHA = (3 * (1 - BETA)) / (1 + BETA);

export class CubicCongestion implements CongestionControl {
  #packetBytes: number;
  #thresholdBytes = Number.POSITIVE_INFINITY;
  #minRttMs = Number.POSITIVE_INFINITY;
  /** Window before the last reduction, in bytes. */
  #maxBytes = 0;
  /** NaN: the epoch starts with the next acknowledgement. */
  #epochStartMs = Number.NaN;
  #plateauSeconds = 0;
  #renoBytes = 0;
  windowBytes: number;

  /** With `windowBytes` it starts in congestion avoidance from there. */
  constructor(packetBytes: number, windowBytes?: number) {
    this.#packetBytes = packetBytes;
    this.windowBytes = windowBytes ?? initialWindow(packetBytes);
    if (windowBytes !== undefined) this.#thresholdBytes = windowBytes;
  }

  get paceBytesPerMs(): number {
    return windowPace(this.windowBytes, this.#thresholdBytes, this.#minRttMs);
  }

  onAck(sample: AckSample): void {
    this.#minRttMs = sample.minRttMs;
    if (sample.startsEpisode) {
      this.#reduce();
      this.windowBytes = this.#thresholdBytes;
      return;
    }
    if (!sample.isWindowLimited) return;
    if (this.windowBytes < this.#thresholdBytes) this.windowBytes += sample.ackedBytes;
    else this.#avoid(sample);
  }

  onTimeout(): void {
    this.#reduce();
    this.windowBytes = this.#packetBytes;
  }

  setPacketBytes(packetBytes: number): void {
    this.#packetBytes = packetBytes;
    this.windowBytes = Math.max(this.windowBytes, 2 * packetBytes);
  }

  #reduce(): void {
    this.#maxBytes = this.windowBytes < this.#maxBytes ? (this.windowBytes * (1 + BETA)) / 2 : this.windowBytes;
    this.#thresholdBytes = Math.max(this.windowBytes * BETA, 2 * this.#packetBytes);
    this.#epochStartMs = Number.NaN;
  }

  #avoid(sample: AckSample): void {
    if (Number.isNaN(this.#epochStartMs)) {
      this.#epochStartMs = sample.nowMs;
      this.#maxBytes = Math.max(this.#maxBytes, this.windowBytes);
      this.#plateauSeconds = Math.cbrt((this.#maxBytes - this.windowBytes) / this.#packetBytes / C);
      this.#renoBytes = this.windowBytes;
    }
    this.#renoBytes += (RENO_ALPHA * this.#packetBytes * sample.ackedBytes) / this.windowBytes;
    const seconds = (sample.nowMs - this.#epochStartMs + sample.smoothedRttMs) / 1000 - this.#plateauSeconds;
    const targetBytes = this.#maxBytes + C * seconds ** 3 * this.#packetBytes;
    const boundedBytes = Math.min(Math.max(targetBytes, this.windowBytes), 1.5 * this.windowBytes);
    this.windowBytes += ((boundedBytes - this.windowBytes) * sample.ackedBytes) / this.windowBytes;
    if (this.windowBytes < this.#renoBytes) this.windowBytes = this.#renoBytes;
  }
}
