/**
 * Spreads packets over time at the rate that congestion control asks for. Credit
 * for up to 2 ms may pile up, and a wake-up waits until 1 ms of it is there, so a
 * timer that fires once a millisecond keeps up with any rate. Debt is kept in
 * bytes: when the rate rises, it is paid off at the new one.
 */

const MAX_CREDIT_MS = 2;
const WAKE_UP_MS = 1;

export class Pacer {
  #creditBytes = 0;
  #bytesPerMs = Number.POSITIVE_INFINITY;
  #updatedMs = Number.NEGATIVE_INFINITY;

  canSend(bytesPerMs: number, nowMs: number): boolean {
    this.#bytesPerMs = bytesPerMs;
    if (bytesPerMs === Number.POSITIVE_INFINITY) this.#creditBytes = 0;
    else if (nowMs > this.#updatedMs) {
      const earned = this.#creditBytes + (nowMs - this.#updatedMs) * bytesPerMs;
      this.#creditBytes = Math.min(earned, MAX_CREDIT_MS * bytesPerMs);
    }
    this.#updatedMs = nowMs;
    return this.#creditBytes >= 0;
  }

  onSent(bytes: number): void {
    if (this.#bytesPerMs !== Number.POSITIVE_INFINITY) this.#creditBytes -= bytes;
  }

  /** When to try again after `canSend` said no. */
  get wakeUpMs(): number {
    if (this.#creditBytes >= 0) return Number.POSITIVE_INFINITY;
    // A nanosecond more, so that rounding does not make the wake-up come too early for ever.
    return this.#updatedMs + Math.max(-this.#creditBytes / this.#bytesPerMs, WAKE_UP_MS) + 1e-6;
  }
}
