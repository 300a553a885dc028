/**
 * How much is acknowledged in bunches, beyond what the rate explains: late timers,
 * busy machines, radio frames (the extra_acked of BBR). So much more may be in
 * flight, or the path would idle between two bunches.
 */

import { WindowedFilter } from './windowed-filter.ts';

const MAX_BUNCH_MS = 20;

export class AckBunches {
  readonly #extra: WindowedFilter;
  #startMs = 0;
  #bytes = 0;

  constructor(windowRounds: number) {
    this.#extra = new WindowedFilter(windowRounds, Math.max, 0);
  }

  /** The greatest bunch of late. */
  get extraBytes(): number {
    return this.#extra.value;
  }

  add(ackedBytes: number, rateBytesPerMs: number, round: number, nowMs: number): void {
    let expected = rateBytesPerMs * (nowMs - this.#startMs);
    if (this.#bytes <= expected) {
      this.#startMs = nowMs;
      this.#bytes = 0;
      expected = 0;
    }
    this.#bytes += ackedBytes;
    this.#extra.update(Math.min(this.#bytes - expected, MAX_BUNCH_MS * rateBytesPerMs), round);
  }
}
