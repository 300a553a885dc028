/**
 * Whether the peer still lives, and how far away it is: a ping after each
 * interval without a word, the end after three. One timer a link.
 */

import type { Clock, Timer } from '@claw/base';

export interface LivenessOptions {
  readonly clock: Clock;
  readonly intervalMs: number;
  readonly sendPing: (id: number) => void;
  readonly onDead: (silentMs: number) => void;
}

const DEAD_AFTER_INTERVALS = 3;
/** Weight of a new sample in the smoothed round trip (RFC 6298 §2). */
const ALPHA = 1 / 8;
/** An idle link still measures its round trip this often. */
const MEASURE_EVERY_INTERVALS = 6;

interface Sample {
  readonly sentAtMs: number;
  readonly resolve?: (roundTripMs: number) => void;
}

export class Liveness {
  readonly #options: LivenessOptions;
  readonly #pings = new Map<number, Sample>();
  #timer: Timer;
  #nextId = 0;
  #intervals = 0;
  #silentIntervals = 0;
  #heard = false;
  #smoothed: number | undefined;

  constructor(options: LivenessOptions) {
    this.#options = options;
    this.#timer = this.#schedule();
  }

  get roundTripMs(): number | undefined {
    return this.#smoothed;
  }

  /** Any record of the peer is a sign of life. */
  heard(): void {
    this.#heard = true;
  }

  ping(): Promise<number> {
    return new Promise((resolve) => this.#send(resolve));
  }

  onPong(id: number): void {
    const sample = this.#pings.get(id);
    if (!sample) return;
    this.#pings.delete(id);
    const roundTripMs = this.#options.clock.monotonicMs() - sample.sentAtMs;
    this.#smoothed = this.#smoothed === undefined ? roundTripMs : this.#smoothed + ALPHA * (roundTripMs - this.#smoothed);
    sample.resolve?.(roundTripMs);
  }

  stop(): void {
    this.#timer.cancel();
    this.#pings.clear();
  }

  #schedule(): Timer {
    return this.#options.clock.setTimer(this.#options.intervalMs, () => this.#onInterval());
  }

  #onInterval(): void {
    this.#silentIntervals = this.#heard ? 0 : this.#silentIntervals + 1;
    this.#heard = false;
    if (this.#silentIntervals >= DEAD_AFTER_INTERVALS) {
      this.#options.onDead(this.#silentIntervals * this.#options.intervalMs);
      return;
    }
    this.#timer = this.#schedule();
    this.#intervals += 1;
    if (this.#silentIntervals > 0 || this.#intervals % MEASURE_EVERY_INTERVALS === 1) this.#send();
  }

  #send(resolve?: (roundTripMs: number) => void): void {
    const id = this.#nextId++;
    if (this.#pings.size > 64) this.#pings.clear(); // unanswered for minutes: the link is about to end
    this.#pings.set(id, { sentAtMs: this.#options.clock.monotonicMs(), ...(resolve && { resolve }) });
    this.#options.sendPing(id);
  }
}
