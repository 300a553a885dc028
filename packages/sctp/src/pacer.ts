/**
 * Spreads packets over time at the rate that congestion control asks for. Credit
 * for up to 2 ms may pile up, and a wake-up waits until 1 ms of it is there, so a
 * timer that fires once a millisecond keeps up with any rate.
 */

const MAX_CREDIT_MS = 2;
const WAKE_UP_MS = 1;

export class Pacer {
  /** When the bytes sent so far are paid for. */
  #paidAtMs = Number.NEGATIVE_INFINITY;
  #intervalMs = 0;

  canSend(nowMs: number): boolean {
    return this.#paidAtMs <= nowMs;
  }

  onSent(bytes: number, bytesPerMs: number, nowMs: number): void {
    this.#intervalMs = bytes / bytesPerMs;
    this.#paidAtMs = Math.max(this.#paidAtMs, nowMs - MAX_CREDIT_MS) + this.#intervalMs;
  }

  /** When to try again after `canSend` said no. */
  get wakeUpMs(): number {
    return this.#intervalMs < WAKE_UP_MS ? this.#paidAtMs + WAKE_UP_MS - this.#intervalMs : this.#paidAtMs;
  }
}
