/**
 * Notices when round trips become much longer at a stroke, as another path or a
 * pause of the old one makes them, and a queue that grows does not.
 */

/** So many round trips in a row, each so far above the least of the round before. */
const SAMPLES = 3;
const FACTOR = 2;
const LEAST_MS = 50;

export class RoundTripJump {
  /** Whole rounds since the jump in which no round trip was short again; 0 without one. */
  rounds = 0;
  /** Least round trip before the jump; 0 without one. */
  #beforeMs = 0;
  #samples = 0;

  get isNoticed(): boolean {
    return this.#beforeMs > 0;
  }

  /** True when this sample makes it a jump. */
  add(rttMs: number, lastRoundMinMs: number): boolean {
    if (this.isNoticed) return false;
    this.#samples = isFarAbove(rttMs, lastRoundMinMs) ? this.#samples + 1 : 0;
    if (this.#samples < SAMPLES) return false;
    this.#beforeMs = lastRoundMinMs;
    return true;
  }

  endRound(minMs: number): void {
    if (!this.isNoticed) return;
    if (isFarAbove(minMs, this.#beforeMs)) this.rounds++;
    else this.clear();
  }

  clear(): void {
    this.rounds = 0;
    this.#beforeMs = 0;
    this.#samples = 0;
  }
}

function isFarAbove(rttMs: number, beforeMs: number): boolean {
  return beforeMs > 0 && rttMs > Math.max(FACTOR * beforeMs, beforeMs + LEAST_MS);
}
