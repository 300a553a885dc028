/**
 * RACK and tail-loss probes for TSNs (RFC 8985): a chunk is lost when one sent
 * later has arrived and a reordering window has passed since. The window opens
 * as spurious retransmissions show, which SCTP reports as duplicate TSNs.
 */

import type { RoundTripTime } from './round-trip-time.ts';
import type { ChunkList, SentChunk } from './sent-chunks.ts';
import { isAfter } from './serial.ts';

const DUPLICATE_THRESHOLD = 3;
const MAX_WINDOW_QUARTERS = 16;
const QUARTERS_KEPT_EPISODES = 16;
/** A lone packet's acknowledgement may be delayed by the peer. */
const LONE_PACKET_DELAY_MS = 25;

export class LossDetection {
  readonly #rtt: RoundTripTime;
  #newestSentMs = Number.NEGATIVE_INFINITY;
  #newestTsn = 0;
  #newestRttMs = 0;
  #highestAckedTsn: number;
  #sawReordering = false;
  #windowQuarters = 1;
  #episodesLeft = 0;
  #widenedAtMs = Number.NEGATIVE_INFINITY;
  /** When the next chunk is overdue; infinite when none waits. */
  reorderDeadlineMs = Number.POSITIVE_INFINITY;

  constructor(rtt: RoundTripTime, initialTsn: number) {
    this.#rtt = rtt;
    this.#highestAckedTsn = (initialTsn - 1) >>> 0;
  }

  /** Not to be called when the acknowledgement is of an earlier transmission than the last. */
  onAcked(chunk: SentChunk, nowMs: number): void {
    const rttMs = nowMs - chunk.sentMs;
    if (chunk.transmissions === 1 && isAfter(this.#highestAckedTsn, chunk.tsn)) this.#sawReordering = true;
    if (isAfter(chunk.tsn, this.#highestAckedTsn)) this.#highestAckedTsn = chunk.tsn;
    if (
      chunk.sentMs > this.#newestSentMs ||
      (chunk.sentMs === this.#newestSentMs && isAfter(chunk.tsn, this.#newestTsn))
    ) {
      this.#newestSentMs = chunk.sentMs;
      this.#newestTsn = chunk.tsn;
      this.#newestRttMs = rttMs;
    }
  }

  /** The peer got a TSN twice after we had retransmitted: the window was too small. */
  onSpuriousRetransmission(nowMs: number): void {
    this.#sawReordering = true;
    this.#episodesLeft = QUARTERS_KEPT_EPISODES;
    if (nowMs - this.#widenedAtMs < this.#rtt.smoothedMs) return;
    this.#widenedAtMs = nowMs;
    this.#windowQuarters = Math.min(MAX_WINDOW_QUARTERS, this.#windowQuarters + 1);
  }

  onEpisodeStart(): void {
    if (this.#episodesLeft > 0 && --this.#episodesLeft === 0) this.#windowQuarters = 1;
  }

  /** Calls `onLost` for every chunk in flight, oldest first, that is overdue; sets the deadline for the next. */
  detect(
    inFlight: ChunkList,
    ackedAbove: number,
    isRecovering: boolean,
    nowMs: number,
    onLost: (chunk: SentChunk, nowMs: number) => void,
  ): void {
    this.reorderDeadlineMs = Number.POSITIVE_INFINITY;
    const windowMs = this.#windowMs(ackedAbove, isRecovering);
    // `onLost` takes the chunk out of the list, and perhaps others of its message.
    for (let chunk = inFlight.head; chunk; chunk = inFlight.head) {
      if (chunk.sentMs > this.#newestSentMs) break;
      if (chunk.sentMs === this.#newestSentMs && !isAfter(this.#newestTsn, chunk.tsn)) break;
      const overdueAtMs = chunk.sentMs + this.#newestRttMs + windowMs;
      if (overdueAtMs > nowMs + 1e-6) {
        this.reorderDeadlineMs = overdueAtMs;
        break;
      }
      onLost(chunk, nowMs);
    }
  }

  /** How long after the last transmission to probe for a lost tail. */
  probeTimeoutMs(chunksInFlight: number): number {
    return 2 * this.#rtt.smoothedMs + (chunksInFlight === 1 ? LONE_PACKET_DELAY_MS : 2);
  }

  #windowMs(ackedAbove: number, isRecovering: boolean): number {
    if (!this.#sawReordering && (isRecovering || ackedAbove >= DUPLICATE_THRESHOLD)) return 0;
    const quarterMs = Number.isFinite(this.#rtt.minMs) ? this.#rtt.minMs / 4 : 0;
    return Math.min(this.#windowQuarters * quarterMs, this.#rtt.smoothedMs);
  }
}
