/**
 * How long packets wait in a queue, told from round trips: the least of a round
 * over the least of all. Some paths scatter round trips without any queue (radio
 * frames, busy machines). How much, the ups and downs within a round tell, which
 * a queue that grows or drains does not have; what counts as a queue is what
 * stands out of that noise.
 */

import { RoundTripJump } from './round-trip-jump.ts';
import { WindowedFilter } from './windowed-filter.ts';

const MIN_RTT_WINDOW_MS = 30_000;
const MIN_SAMPLES = 4;
/** The noise estimate falls quickly and rises slowly, so that a queue's rare jumps do not pass for noise. */
const NOISE_FALL = 1 / 4;
const NOISE_RISE = 1 / 12;
/** Links that keep the order of packets but not their delay let nearly all of them wait for some late one. */
const USUAL_NOISES = 4;
const QUEUE_NOISES = 6;
const MIN_QUEUE_MS = 1.5;
const MIN_QUEUE_SHARE = 0.05;
/** The peer acknowledges a lone packet so late. */
const MAX_PACKET_MS = 25;
const STALE_SHARE = 0.03;
const FLAT_ROUNDS = 12;
const FLAT_MS = 1;
const FLAT_SHARE = 0.02;
const FLAT_NOISES = 4;

export class QueueDelay {
  #minRtt = new WindowedFilter(MIN_RTT_WINDOW_MS, Math.min, Number.POSITIVE_INFINITY);
  /** Least round trips of late rounds, counted in rounds. */
  #recentLeast = new WindowedFilter(FLAT_ROUNDS, Math.min, Number.POSITIVE_INFINITY);
  #recentGreatest = new WindowedFilter(FLAT_ROUNDS, Math.max, 0);
  #rounds = 0;
  readonly #jump = new RoundTripJump();
  /** When a round trip as short as the least one was last seen. */
  minRttSeenMs = 0;
  /** Of the last round, milliseconds. */
  queueMs = 0;
  #maxQueueMs = 0;
  #noiseMs = Number.NaN;
  #packetMs = 0;
  /** Before two rounds have been seen. */
  #firstMinMs = Number.POSITIVE_INFINITY;
  #lastRoundMinMs = 0;
  // Of the round under way:
  #minMs = Number.POSITIVE_INFINITY;
  #lastRttMs = Number.NaN;
  #upMs = 0;
  #downMs = 0;
  #samples = 0;

  /** Infinite before the first sample. One packet that was lucky does not count: two rounds in a row must have been as short. */
  get minRttMs(): number {
    return Math.min(this.#minRtt.value, this.#firstMinMs);
  }

  /** The round trip of a usual packet that meets no queue. */
  get pathRttMs(): number {
    return this.minRttMs + USUAL_NOISES * this.noiseMs;
  }

  get noiseMs(): number {
    return Number.isNaN(this.#noiseMs) ? 0 : this.#noiseMs;
  }

  /** What counts as a queue and not as noise. */
  get thresholdMs(): number {
    return Math.max(MIN_QUEUE_MS, MIN_QUEUE_SHARE * this.minRttMs, QUEUE_NOISES * this.noiseMs, this.#packetMs);
  }

  get isStanding(): boolean {
    return this.queueMs > this.thresholdMs;
  }

  /** As long as it has been of late. */
  get isFull(): boolean {
    return this.isStanding && this.queueMs > this.#maxQueueMs / 2;
  }

  /** Round trips have not changed of late, as a queue always does. */
  get isFlat(): boolean {
    const leastMs = this.#recentLeast.value;
    return this.#recentGreatest.value - leastMs <= Math.max(FLAT_MS, FLAT_SHARE * leastMs, FLAT_NOISES * this.noiseMs);
  }

  /** Rounds since round trips became much longer at a stroke; 0 when they did not, or are short again. */
  get roundsSinceJump(): number {
    return this.#jump.rounds;
  }

  /** The path has become longer: what was a queue is none. */
  rebase(nowMs: number): void {
    this.#minRtt = new WindowedFilter(MIN_RTT_WINDOW_MS, Math.min, Number.POSITIVE_INFINITY);
    this.#minRtt.update(this.#recentLeast.value, nowMs);
    this.queueMs = 0;
    this.#maxQueueMs = 0;
    this.#jump.clear();
  }

  add(rttMs: number): void {
    if (this.#jump.add(rttMs, this.#lastRoundMinMs)) this.#beginRound();
    if (rttMs < this.#minMs) this.#minMs = rttMs;
    if (this.#minRtt.value === Number.POSITIVE_INFINITY && rttMs < this.#firstMinMs) this.#firstMinMs = rttMs;
    if (rttMs > this.#lastRttMs) this.#upMs += rttMs - this.#lastRttMs;
    else if (rttMs < this.#lastRttMs) this.#downMs += this.#lastRttMs - rttMs;
    this.#lastRttMs = rttMs;
    this.#samples++;
  }

  /** `packetMs` is what a packet takes at the present rate. A round of few samples is one with the next. */
  endRound(packetMs: number, nowMs: number): void {
    this.#packetMs = Math.min(packetMs, MAX_PACKET_MS);
    // After a jump there are few, and none of them may be lost among those before it.
    if (this.#samples < (this.#jump.isNoticed ? 1 : MIN_SAMPLES)) return;
    this.#jump.endRound(this.#minMs);
    if (this.#jump.rounds === 1 || this.#jump.rounds === 2) this.#forgetRecent();
    if (this.#samples >= MIN_SAMPLES) {
      this.#noteNoise((2 * Math.min(this.#upMs, this.#downMs)) / (this.#samples - 1));
    }
    this.#recentLeast.update(this.#minMs, ++this.#rounds);
    this.#recentGreatest.update(this.#minMs, this.#rounds);
    this.#noteMin(Math.max(this.#minMs, this.#lastRoundMinMs), nowMs);
    this.queueMs = Math.max(0, this.#minMs - this.minRttMs);
    this.#maxQueueMs = Math.max(this.queueMs, this.#maxQueueMs * 0.99);
    this.#lastRoundMinMs = this.#minMs;
    this.#beginRound();
  }

  #beginRound(): void {
    this.#minMs = Number.POSITIVE_INFINITY;
    this.#lastRttMs = Number.NaN;
    this.#upMs = 0;
    this.#downMs = 0;
    this.#samples = 0;
  }

  /** Whether round trips are flat after a jump is a matter of those since. The first round may have had half of it. */
  #forgetRecent(): void {
    this.#recentLeast = new WindowedFilter(FLAT_ROUNDS, Math.min, Number.POSITIVE_INFINITY);
    this.#recentGreatest = new WindowedFilter(FLAT_ROUNDS, Math.max, 0);
  }

  #noteNoise(noiseMs: number): void {
    if (Number.isNaN(this.#noiseMs)) this.#noiseMs = noiseMs;
    else this.#noiseMs += (noiseMs - this.#noiseMs) * (noiseMs < this.#noiseMs ? NOISE_FALL : NOISE_RISE);
  }

  #noteMin(minMs: number, nowMs: number): void {
    const known = this.minRttMs;
    if (minMs <= known + Math.max(0.5, STALE_SHARE * known, this.noiseMs)) this.minRttSeenMs = nowMs;
    this.#minRtt.update(minMs, nowMs);
    this.#firstMinMs = Number.POSITIVE_INFINITY;
  }
}
