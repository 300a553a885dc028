/**
 * One direction's AEAD key. The key lives in a KeyObject, which OpenSSL clears when
 * it is dropped; node:crypto has no cipher that is keyed once and used often, so
 * each record costs a cipher object.
 */

import {
  type CipherGCM,
  createCipheriv,
  createDecipheriv,
  createSecretKey,
  type DecipherGCM,
  type KeyObject,
} from 'node:crypto';
import type { CipherSuite } from './cipher-suites.ts';

export const TAG_BYTES = 16;
export const NONCE_BYTES = 12;

const OPTIONS = { authTagLength: TAG_BYTES };

export class AeadKey {
  readonly #algorithm: 'aes-128-gcm';
  readonly #key: KeyObject;

  /** Copies `key`; the caller wipes it. */
  constructor(algorithm: CipherSuite['algorithm'], key: Uint8Array) {
    // The three have the same calls; the types of node:crypto tell them apart.
    this.#algorithm = algorithm as 'aes-128-gcm';
    this.#key = createSecretKey(key);
  }

  /** Writes the ciphertext and its tag to `out` and returns where they end. */
  seal(nonce: Buffer, additional: Buffer, plaintext: Uint8Array, out: Buffer, offset: number): number {
    const cipher: CipherGCM = createCipheriv(this.#algorithm, this.#key, nonce, OPTIONS);
    cipher.setAAD(additional);
    const body = cipher.update(plaintext);
    cipher.final();
    out.set(body, offset);
    out.set(cipher.getAuthTag(), offset + body.length);
    return offset + body.length + TAG_BYTES;
  }

  /** The plaintext in memory of its own, or `undefined` when the tag does not prove it. */
  open(nonce: Buffer, additional: Buffer, sealed: Buffer): Buffer | undefined {
    const length = sealed.length - TAG_BYTES;
    if (length < 0) return undefined;
    const decipher: DecipherGCM = createDecipheriv(this.#algorithm, this.#key, nonce, OPTIONS);
    decipher.setAAD(additional);
    decipher.setAuthTag(sealed.subarray(length));
    const plaintext = decipher.update(sealed.subarray(0, length));
    try {
      decipher.final();
      return plaintext;
    } catch {
      // The only failure there is: the tag is another's.
      plaintext.fill(0);
      return undefined;
    }
  }
}
