/**
 * UDP mappings that others make on the same outside address: a Poisson process
 * that takes ports from the same allocator and holds them for a mapping's life.
 * It is caught up with whenever somebody asks, so an idle NAT costs nothing.
 */

import type { Random } from '@claw/base';
import type { NatSpec } from '@claw/scenarios';

interface ForeignRequest {
  readonly owner: string;
  readonly insidePort: number;
}

export class ForeignFlows {
  readonly #ratePerMs: number;
  readonly #lifetimeMs: number;
  readonly #ownerSize: number;
  readonly #random: Random;
  readonly #heldUntilMs = new Map<number, number>();
  #nextMs: number;
  #made = 0;
  /** No port was left, and none was given back since. */
  #isFull = false;

  constructor(spec: NatSpec, lifetimeMs: number, random: Random) {
    this.#ratePerMs = (spec.foreignMappingsPerSecond ?? 0) / 1000;
    this.#lifetimeMs = lifetimeMs;
    this.#ownerSize = spec.ports.kind === 'block' ? spec.ports.blockSize : 1;
    this.#random = random;
    this.#nextMs = this.#ratePerMs > 0 ? this.#gapMs() : Number.POSITIVE_INFINITY;
  }

  holds(port: number, nowMs: number): boolean {
    return (this.#heldUntilMs.get(port) ?? 0) > nowMs;
  }

  /** Makes the mappings due by `nowMs`. */
  advance(nowMs: number, allocate: (request: ForeignRequest, atMs: number) => number | undefined): void {
    for (; this.#nextMs <= nowMs; this.#nextMs += this.#gapMs()) {
      this.#forget(this.#nextMs);
      // A subscriber of a CGNAT is counted as another once it fills a block.
      const owner = `foreign ${Math.floor(this.#made / this.#ownerSize)}`;
      this.#made += 1;
      if (this.#isFull) continue;
      const port = allocate({ owner, insidePort: 32_768 + Math.floor(this.#random.fraction() * 28_232) }, this.#nextMs);
      if (port === undefined) this.#isFull = true;
      else this.#heldUntilMs.set(port, this.#nextMs + this.#lifetimeMs);
    }
    this.#forget(nowMs);
  }

  /** Mappings end in the order in which they were made. */
  #forget(nowMs: number): void {
    for (const [port, untilMs] of this.#heldUntilMs) {
      if (untilMs > nowMs) return;
      this.#heldUntilMs.delete(port);
      this.#isFull = false;
    }
  }

  #gapMs(): number {
    return -Math.log(1 - this.#random.fraction()) / this.#ratePerMs;
  }
}
