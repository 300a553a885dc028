/**
 * Whether the peer still lives, and how far away it is: a ping after each
 * interval without a word, the end after three. One timer a link.
 */

import type { ClawError, Clock, Timer } from '@claw/base';

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

/** Own probes that are remembered when a peer sends but never answers. */
const MAX_UNANSWERED = 64;

interface Sample {
  readonly sentAtMs: number;
  readonly asked?: PromiseWithResolvers<number>;
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

  /** One round trip in milliseconds; rejects when the link ends first. */
  ping(): Promise<number> {
    const asked = Promise.withResolvers<number>();
    this.#send(asked);
    return asked.promise;
  }

  onPong(id: number): void {
    const sample = this.#pings.get(id);
    if (!sample) return;
    this.#pings.delete(id);
    const roundTripMs = this.#options.clock.monotonicMs() - sample.sentAtMs;
    this.#smoothed =
      this.#smoothed === undefined ? roundTripMs : this.#smoothed + ALPHA * (roundTripMs - this.#smoothed);
    sample.asked?.resolve(roundTripMs);
  }

  stop(error: ClawError): void {
    this.#timer.cancel();
    for (const { asked } of this.#pings.values()) asked?.reject(error);
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

  #send(asked?: PromiseWithResolvers<number>): void {
    const id = this.#nextId++;
    for (const [old, sample] of this.#pings) {
      if (this.#pings.size < MAX_UNANSWERED) break;
      if (!sample.asked) this.#pings.delete(old);
    }
    this.#pings.set(id, { sentAtMs: this.#options.clock.monotonicMs(), ...(asked && { asked }) });
    this.#options.sendPing(id);
  }
}
