/**
 * Time-bound nonces: each side mints one for an attempt, and the peer's proof
 * must answer it while it is fresh, and only once. Freshness is judged by the
 * minting side's own monotonic clock, so no two clocks need to agree.
 */

import type { Clock, Random } from '@claw/base';
import { linkError } from '../errors.ts';

export const NONCE_BYTES = 32;
/** Nonces remembered at once; far more than attempts can be under way. */
const MAX_NONCES = 4096;

interface Entry {
  readonly freshUntilMs: number;
  used: boolean;
}

export class NonceBook {
  readonly #clock: Clock;
  readonly #random: Random;
  readonly #entries = new Map<string, Entry>();

  constructor(clock: Clock, random: Random) {
    this.#clock = clock;
    this.#random = random;
  }

  /** A new nonce of 32 bytes, good for `lifetimeMs`. */
  mint(lifetimeMs: number): Buffer {
    this.#forget();
    const nonce = this.#random.bytes(NONCE_BYTES);
    this.#entries.set(nonce.toString('hex'), { freshUntilMs: this.#clock.monotonicMs() + lifetimeMs, used: false });
    return nonce;
  }

  /** @throws ClawError `LINK_NONCE_STALE` (too old, or never ours) or `LINK_NONCE_REPLAYED`. */
  spend(nonce: Uint8Array): void {
    const entry = this.#entries.get(Buffer.from(nonce).toString('hex'));
    if (!entry || this.#clock.monotonicMs() > entry.freshUntilMs) {
      throw linkError('LINK_NONCE_STALE', 'the peer answered a nonce that is too old');
    }
    if (entry.used) throw linkError('LINK_NONCE_REPLAYED', 'the peer answered a nonce that was answered before');
    entry.used = true;
  }

  /** Drops the oldest; what is gone reads as stale, never as fresh. */
  #forget(): void {
    const now = this.#clock.monotonicMs();
    for (const [nonce, entry] of this.#entries) {
      if (this.#entries.size < MAX_NONCES && entry.freshUntilMs >= now) break;
      this.#entries.delete(nonce);
    }
  }
}
