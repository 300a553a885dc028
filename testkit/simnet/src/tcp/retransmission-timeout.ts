/** How long to wait for an acknowledgement: RFC 6298, with Linux's minimum of 200 ms. */

const INITIAL_MS = 1000;
const MIN_MS = 200;
const MAX_MS = 60_000;

export class RetransmissionTimeout {
  #smoothedMs: number | undefined;
  #variationMs = 0;
  #timeoutMs = INITIAL_MS;
  #minRoundTripMs = Number.POSITIVE_INFINITY;

  get ms(): number {
    return this.#timeoutMs;
  }

  get minRoundTripMs(): number {
    return this.#minRoundTripMs;
  }

  sample(roundTripMs: number): void {
    this.#minRoundTripMs = Math.min(this.#minRoundTripMs, roundTripMs);
    if (this.#smoothedMs === undefined) {
      this.#smoothedMs = roundTripMs;
      this.#variationMs = roundTripMs / 2;
    } else {
      this.#variationMs = 0.75 * this.#variationMs + 0.25 * Math.abs(this.#smoothedMs - roundTripMs);
      this.#smoothedMs = 0.875 * this.#smoothedMs + 0.125 * roundTripMs;
    }
    this.#timeoutMs = Math.min(MAX_MS, this.#smoothedMs + Math.max(MIN_MS, 4 * this.#variationMs));
  }

  backOff(): void {
    this.#timeoutMs = Math.min(MAX_MS, 2 * this.#timeoutMs);
  }
}
