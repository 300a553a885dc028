/**
 * The key of a generation's checks (RFC 8489 §9.1.1), hashed once for all their MACs. In JavaScript: an agent that has
 * slept pays node:crypto 50 µs for each, because of how much code that passes through, and this 20.
 */

import { hmac } from '@noble/hashes/hmac.js';
import { sha1 } from '@noble/hashes/legacy.js';

export class ShortTermKey {
  readonly #hmac: ReturnType<typeof hmac.create>;

  constructor(password: string) {
    this.#hmac = hmac.create(sha1, Buffer.from(password));
  }

  /** HMAC-SHA-1 (RFC 2104). */
  mac(bytes: Uint8Array): Uint8Array {
    return this.#hmac.clone().update(bytes).digest();
  }
}
