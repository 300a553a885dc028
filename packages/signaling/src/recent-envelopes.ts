/**
 * Digests of the envelopes that arrived lately, so that the same bytes over a
 * second carrier cost a hash and not an opening. Bounded: two generations, the
 * elder forgotten when the younger is full. The replay window stays the judge.
 */

import { hash } from 'node:crypto';

export class RecentEnvelopes {
  readonly #perGeneration: number;
  #young = new Set<string>();
  #old = new Set<string>();

  /** At least `perGeneration` digests are kept, at most twice as many. Default 4,096. */
  constructor(perGeneration = 4096) {
    this.#perGeneration = perGeneration;
  }

  /** The digest to use with the other calls. */
  digest(bytes: Uint8Array): string {
    return hash('sha256', bytes, 'base64');
  }

  has(digest: string): boolean {
    return this.#young.has(digest) || this.#old.has(digest);
  }

  add(digest: string): void {
    this.#young.add(digest);
    if (this.#young.size < this.#perGeneration) return;
    this.#old = this.#young;
    this.#young = new Set();
  }
}
