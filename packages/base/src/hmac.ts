/** HMAC (RFC 2104), by way of a KeyObject: over plain bytes Node.js 24 takes three to five times as long. */

import { createHmac, createSecretKey, type Hmac, type KeyObject } from 'node:crypto';

/** `algorithm` as node:crypto names it; bytes may be wiped once this returns. */
export function hmac(algorithm: string, key: Uint8Array | KeyObject): Hmac {
  return createHmac(algorithm, key instanceof Uint8Array ? createSecretKey(key) : key);
}
