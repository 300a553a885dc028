/**
 * A bounded FIFO queue before a rate: either each packet takes its
 * serialisation time, or a token bucket lets bursts through and delays the rest.
 * Lengths count 14 bytes of Ethernet header.
 */

import type { Timer } from '@claw/base';
import type { LinkSpec } from '@claw/scenarios';
import type { Scheduler } from '../core/scheduler.ts';
import { pieceCount, totalBytes } from './fragments.ts';
import type { Frame } from './packet.ts';

const FRAME_HEADER_BYTES = 14;
const MIN_DEFAULT_QUEUE_BYTES = 32 * 1024;

export class Shaper {
  readonly #scheduler: Scheduler;
  readonly #depart: (frame: Frame) => void;
  readonly #queue: Frame[] = [];
  #spec: LinkSpec;
  #queuedBytes = 0;
  /** A packet takes its time, or waits for tokens. */
  #service: Timer | undefined;
  #waitsForTokens = false;
  #tokens: number;
  #tokensAtMs = 0;

  constructor(spec: LinkSpec, scheduler: Scheduler, depart: (frame: Frame) => void) {
    this.#spec = spec;
    this.#scheduler = scheduler;
    this.#depart = depart;
    this.#tokens = spec.tokenBucket?.burstBytes ?? 0;
  }

  change(spec: LinkSpec): void {
    this.#fill();
    if (!this.#spec.tokenBucket) this.#tokens = spec.tokenBucket?.burstBytes ?? 0;
    this.#spec = spec;
    if (!this.#waitsForTokens) return;
    this.#service?.cancel();
    this.#serve();
  }

  /** False when the queue is full and the packet is dropped. */
  enqueue(frame: Frame): boolean {
    const isBusy = this.#service !== undefined;
    if (!isBusy && this.#rate() === undefined) {
      this.#depart(frame);
      return true;
    }
    // Whatever its size, a packet that finds the line free is served.
    if (isBusy && this.#queuedBytes + frameBytes(frame) > this.#queueLimit()) return false;
    this.#queue.push(frame);
    this.#queuedBytes += frameBytes(frame);
    if (!isBusy) this.#serve();
    return true;
  }

  #serve(): void {
    this.#service = undefined;
    this.#waitsForTokens = false;
    for (let frame = this.#queue[0]; frame && !this.#service; frame = this.#queue[0]) {
      if (this.#spec.tokenBucket) {
        const waitMs = this.#tokenWaitMs(frame, this.#spec.tokenBucket);
        if (waitMs > 0) {
          this.#waitsForTokens = true;
          this.#service = this.#scheduler.after(waitMs, () => this.#serve());
          return;
        }
        this.#tokens -= frameBytes(frame);
        this.#depart(this.#shift(frame));
      } else {
        this.#transmit(this.#shift(frame));
      }
    }
  }

  #transmit(frame: Frame): void {
    const rate = this.#rate();
    const serialisationMs = rate === undefined ? 0 : (frameBytes(frame) * 8000) / rate;
    this.#service = this.#scheduler.after(serialisationMs, () => {
      this.#depart(frame);
      this.#serve();
    });
  }

  /** A packet larger than the bucket passes when the bucket is full, and leaves a debt. */
  #tokenWaitMs(frame: Frame, bucket: NonNullable<LinkSpec['tokenBucket']>): number {
    this.#fill();
    const missing = Math.min(frameBytes(frame), bucket.burstBytes) - this.#tokens;
    return missing > 1e-6 ? (missing * 8000) / bucket.rateBitsPerSecond : 0;
  }

  #fill(): void {
    const { tokenBucket } = this.#spec;
    const { nowMs } = this.#scheduler;
    if (tokenBucket) {
      const gained = ((nowMs - this.#tokensAtMs) * tokenBucket.rateBitsPerSecond) / 8000;
      this.#tokens = Math.min(tokenBucket.burstBytes, this.#tokens + gained);
    }
    this.#tokensAtMs = nowMs;
  }

  #shift(frame: Frame): Frame {
    this.#queue.shift();
    this.#queuedBytes -= frameBytes(frame);
    return frame;
  }

  #rate(): number | undefined {
    return this.#spec.tokenBucket?.rateBitsPerSecond ?? this.#spec.rateBitsPerSecond;
  }

  #queueLimit(): number {
    const { queueBytes, delayMs = 0 } = this.#spec;
    return queueBytes ?? Math.max(MIN_DEFAULT_QUEUE_BYTES, ((this.#rate() ?? 0) * 2 * delayMs) / 8000);
  }
}

function frameBytes(frame: Frame): number {
  return totalBytes(frame.packet) + FRAME_HEADER_BYTES * pieceCount(frame.packet);
}
