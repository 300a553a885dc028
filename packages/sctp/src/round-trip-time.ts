/**
 * Round-trip time estimates: the smoothed one and the retransmission timeout
 * (RFC 9260 §6.3, with a lower RTO.Min: tail-loss probes and fine timers make
 * 1 s needless), and the least one seen lately.
 */

const ALPHA = 1 / 8;
const BETA = 1 / 4;
const MIN_RTT_WINDOW_MS = 10_000;
const THIN_EVEN_TIMEOUTS = 2;

export interface RtoOptions {
  readonly initialRtoMs: number;
  readonly minRtoMs: number;
  readonly maxRtoMs: number;
}

export class RoundTripTime {
  readonly #options: RtoOptions;
  #srttMs = 0;
  #varianceMs = 0;
  #backoff = 1;
  #evenTimeouts = 0;
  #latestMs = 0;
  #minMs = Number.POSITIVE_INFINITY;
  #nextMinMs = Number.POSITIVE_INFINITY;
  #minWindowEndsMs = 0;

  constructor(options: RtoOptions) {
    this.#options = options;
  }

  /** 0 before the first sample. */
  get smoothedMs(): number {
    return this.#srttMs;
  }

  get latestMs(): number {
    return this.#latestMs;
  }

  /** The least of the last 10 to 20 s; infinite before the first sample. */
  get minMs(): number {
    return this.#minMs;
  }

  get hasSample(): boolean {
    return this.#srttMs > 0;
  }

  get rtoMs(): number {
    const { initialRtoMs, minRtoMs, maxRtoMs } = this.#options;
    const base = this.hasSample ? this.#srttMs + Math.max(1, 4 * this.#varianceMs) : initialRtoMs;
    const leastMs = Math.max(minRtoMs, base);
    return Math.max(leastMs, Math.min(maxRtoMs, leastMs * this.#backoff));
  }

  addSample(rttMs: number, nowMs: number): void {
    const ms = Math.max(rttMs, 0.001);
    this.#latestMs = ms;
    if (this.#srttMs === 0) {
      this.#srttMs = ms;
      this.#varianceMs = ms / 2;
    } else {
      this.#varianceMs += BETA * (Math.abs(this.#srttMs - ms) - this.#varianceMs);
      this.#srttMs += ALPHA * (ms - this.#srttMs);
    }
    this.clearBackoff();
    if (nowMs >= this.#minWindowEndsMs) {
      this.#minMs = this.#nextMinMs;
      this.#nextMinMs = ms;
      this.#minWindowEndsMs = nowMs + MIN_RTT_WINDOW_MS;
    }
    if (ms < this.#nextMinMs) this.#nextMinMs = ms;
    if (ms < this.#minMs) this.#minMs = ms;
  }

  /**
   * After a timeout the next one comes later (RFC 9260 §6.3.3 E2); not so the first ones of a thin stream, which a
   * path that loses much would silence for seconds and which burden nobody (as Linux does for TCP).
   */
  backOff(isThin: boolean): void {
    if (isThin && this.#evenTimeouts < THIN_EVEN_TIMEOUTS) this.#evenTimeouts++;
    else this.#backoff = Math.min(64, this.#backoff * 2);
  }

  /** Something got through. Without this a path of heavy loss, where all is retransmitted and gives no sample, would stand still. */
  clearBackoff(): void {
    this.#backoff = 1;
    this.#evenTimeouts = 0;
  }
}
