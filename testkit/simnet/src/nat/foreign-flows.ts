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

  constructor(spec: NatSpec, lifetimeMs: number, random: Random) {
    this.#ratePerMs = (spec.foreignMappingsPerSecond ?? 0) / 1000;
    this.#lifetimeMs = lifetimeMs;
    this.#ownerSize = spec.ports.kind === 'block' ? spec.ports.blockSize : 1;
    this.#random = random;
    this.#nextMs = this.#ratePerMs > 0 ? this.#gapMs() : Number.POSITIVE_INFINITY;
  }

  holds(port: number, nowMs: number): boolean {
    const untilMs = this.#heldUntilMs.get(port);
    if (untilMs === undefined) return false;
    if (untilMs > nowMs) return true;
    this.#heldUntilMs.delete(port);
    return false;
  }

  /** Makes the mappings due by `nowMs`. */
  advance(nowMs: number, allocate: (request: ForeignRequest) => number | undefined): void {
    for (; this.#nextMs <= nowMs; this.#nextMs += this.#gapMs()) {
      // A subscriber of a CGNAT is counted as another once it fills a block.
      const owner = `foreign ${Math.floor(this.#made / this.#ownerSize)}`;
      this.#made += 1;
      const port = allocate({ owner, insidePort: 32768 + Math.floor(this.#random.fraction() * 28232) });
      if (port !== undefined) this.#heldUntilMs.set(port, this.#nextMs + this.#lifetimeMs);
    }
  }

  #gapMs(): number {
    return -Math.log(1 - this.#random.fraction()) / this.#ratePerMs;
  }
}
