/**
 * Jittered exponential back-off: each delay is drawn between half and all of a
 * ceiling that doubles from `firstMs` to `maxMs`, so that peers cut off together
 * do not come back together.
 */

import type { Random } from './random.ts';

export interface BackoffOptions {
  /** Ceiling of the first delay. Default 250 ms. */
  readonly firstMs?: number;
  /** Ceiling of every later delay. Default 30,000 ms. */
  readonly maxMs?: number;
}

export class Backoff {
  readonly #random: Random;
  readonly #firstMs: number;
  readonly #maxMs: number;
  #attempt = 0;

  constructor(random: Random, options: BackoffOptions = {}) {
    this.#random = random;
    this.#firstMs = options.firstMs ?? 250;
    this.#maxMs = options.maxMs ?? 30_000;
  }

  /** How long to wait before the next attempt, in milliseconds. */
  nextDelayMs(): number {
    const ceiling = Math.min(this.#maxMs, this.#firstMs * 2 ** Math.min(this.#attempt, 30));
    this.#attempt += 1;
    return ceiling * (0.5 + this.#random.fraction() / 2);
  }

  /** Call after a success: the next delay is the first again. */
  reset(): void {
    this.#attempt = 0;
  }
}
