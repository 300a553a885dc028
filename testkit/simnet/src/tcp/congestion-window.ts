/**
 * NewReno: slow start and avoidance by RFC 5681, recovery by RFC 6582, the
 * initial window of RFC 6928. Slow start also ends when the round trip grows
 * (after RFC 9406), because without SACK an overshoot costs a round trip a packet.
 */

const INITIAL_SEGMENTS = 10;
const WINDOW_SAMPLES = 8;
const MIN_DELAY_GROWTH_MS = 4;
const MAX_DELAY_GROWTH_MS = 16;

export class CongestionWindow {
  #segmentBytes: number;
  #window: number;
  #threshold = Number.POSITIVE_INFINITY;
  #ackedInAvoidance = 0;
  #samples = 0;
  #leastMs = 0;
  /** Recovery lasts until this offset is acknowledged. */
  #recoverAt: number | undefined;

  constructor(segmentBytes: number) {
    this.#segmentBytes = segmentBytes;
    this.#window = INITIAL_SEGMENTS * segmentBytes;
  }

  get bytes(): number {
    return this.#window;
  }

  get isRecovering(): boolean {
    return this.#recoverAt !== undefined;
  }

  setSegmentBytes(segmentBytes: number): void {
    this.#segmentBytes = segmentBytes;
  }

  /** New data was acknowledged up to `offset`. True when a further hole begins there, to be filled at once. */
  acknowledged(offset: number, ackedBytes: number, flightBytes: number): boolean {
    if (this.#recoverAt !== undefined) {
      if (offset < this.#recoverAt) {
        this.#window = Math.max(this.#segmentBytes, this.#window - ackedBytes + this.#segmentBytes);
        return true;
      }
      this.#recoverAt = undefined;
      this.#window = Math.min(this.#threshold, Math.max(flightBytes, this.#segmentBytes) + this.#segmentBytes);
      return false;
    }
    if (this.#window < this.#threshold) {
      this.#window += Math.min(ackedBytes, 2 * this.#segmentBytes);
      return false;
    }
    this.#ackedInAvoidance += ackedBytes;
    if (this.#ackedInAvoidance >= this.#window) {
      this.#ackedInAvoidance -= this.#window;
      this.#window += this.#segmentBytes;
    }
    return false;
  }

  /** A burst's own queue must not count, so the least of several samples does. */
  roundTripMeasured(roundTripMs: number, minRoundTripMs: number): void {
    if (this.#samples === WINDOW_SAMPLES) this.#samples = 0;
    this.#leastMs = this.#samples === 0 ? roundTripMs : Math.min(this.#leastMs, roundTripMs);
    this.#samples += 1;
    const growthMs = Math.min(MAX_DELAY_GROWTH_MS, Math.max(MIN_DELAY_GROWTH_MS, minRoundTripMs / 8));
    const hasGrown = this.#samples === WINDOW_SAMPLES && this.#leastMs > minRoundTripMs + growthMs;
    if (this.#window < this.#threshold && hasGrown) this.#threshold = this.#window;
  }

  /** Three duplicate acknowledgements. */
  enterRecovery(flightBytes: number, sentUpTo: number): void {
    this.#threshold = Math.max(flightBytes / 2, 2 * this.#segmentBytes);
    this.#window = this.#threshold + 3 * this.#segmentBytes;
    this.#recoverAt = sentUpTo;
  }

  /** One more packet has left the network, by a further duplicate acknowledgement. */
  inflate(): void {
    this.#window += this.#segmentBytes;
  }

  timedOut(flightBytes: number): void {
    this.#threshold = Math.max(flightBytes / 2, 2 * this.#segmentBytes);
    this.#window = this.#segmentBytes;
    this.#recoverAt = undefined;
    this.#ackedInAvoidance = 0;
  }
}
