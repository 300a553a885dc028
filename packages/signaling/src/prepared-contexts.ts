/**
 * Sealing contexts made ahead of time for the readers one writes to, so that a
 * message waits for no public-key operation: half of what sealing costs. Each is
 * used once. A context holds an ephemeral key of ours and says nothing of the
 * message that it will seal.
 */

import type { Clock, Random, Timer } from '@claw/base';
import { startEnvelope } from './envelope.ts';
import type { SealingContext } from './hpke.ts';

/** An attempt to connect sends two messages in a row. */
const KEPT = 2;
const MAX_READERS = 256;
/** After the burst that used them up. */
const REFILL_AFTER_MS = 30;

export class PreparedContexts {
  readonly #clock: Clock;
  readonly #random: Random;
  /** By the reader's sealing key; the one used last is last. */
  readonly #readers = new Map<string, SealingContext[]>();
  readonly #timers = new Set<Timer>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** A context for a message to the holder of `sealingKey`. @throws ClawError `SEALING_KEY_INVALID` */
  take(sealingKey: Uint8Array): SealingContext {
    const reader = Buffer.from(sealingKey).toString('base64');
    const ready = this.#readers.get(reader) ?? [];
    const context = ready.shift() ?? startEnvelope(sealingKey, this.#random);
    this.#readers.delete(reader);
    this.#readers.set(reader, ready);
    if (this.#readers.size > MAX_READERS) this.#readers.delete(this.#readers.keys().next().value as string);
    this.#refillLater(ready, Buffer.from(sealingKey));
    return context;
  }

  close(): void {
    for (const timer of this.#timers) timer.cancel();
    this.#timers.clear();
    this.#readers.clear();
  }

  #refillLater(ready: SealingContext[], sealingKey: Uint8Array): void {
    const timer = this.#clock.setTimer(REFILL_AFTER_MS, () => {
      this.#timers.delete(timer);
      while (ready.length < KEPT) ready.push(startEnvelope(sealingKey, this.#random));
    });
    this.#timers.add(timer);
  }
}
