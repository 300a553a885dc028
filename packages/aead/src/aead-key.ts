/**
 * An AEAD key that seals or opens many messages (RFC 5116): AES-GCM and
 * ChaCha20-Poly1305. node:crypto makes a cipher object for each message, which costs
 * ten times what the encryption does, so keys that are used often go to the same
 * OpenSSL directly where `openssl.ts` can reach it.
 */

import { createCipheriv, createDecipheriv } from 'node:crypto';
import { forget, openssl } from './openssl.ts';
import { AEAD_TAG_BYTES } from './sizes.ts';

export type AeadAlgorithm = 'aes-128-gcm' | 'aes-256-gcm' | 'chacha20-poly1305';

const OPTIONS = { authTagLength: AEAD_TAG_BYTES };

export class AeadKey {
  readonly algorithm: AeadAlgorithm;
  readonly #key: Buffer;

  /** Copies `key`; the caller wipes its own. */
  constructor(algorithm: AeadAlgorithm, key: Uint8Array) {
    this.algorithm = algorithm;
    // Not of the pool, whose memory others read later.
    this.#key = Buffer.allocUnsafeSlow(key.length);
    this.#key.set(key);
  }

  /** Writes the ciphertext and its tag to `out`, where the plaintext may lie already, and returns where they end. */
  seal(nonce: Uint8Array, additional: Uint8Array, plaintext: Uint8Array, out: Buffer, offset: number): number {
    const end = offset + plaintext.length + AEAD_TAG_BYTES;
    if (end > out.length) throw new RangeError(`${end} bytes do not fit into ${out.length}`);
    const native = openssl()?.sealers[this.algorithm];
    if (native) {
      native.seal(this.#key, nonce, additional, plaintext, out, offset);
      return end;
    }
    const cipher = createCipheriv(this.#nodeName, this.#key, nonce, OPTIONS);
    cipher.setAAD(additional);
    out.set(cipher.update(plaintext), offset);
    cipher.final();
    out.set(cipher.getAuthTag(), end - AEAD_TAG_BYTES);
    return end;
  }

  /**
   * The plaintext, or `undefined` when the tag does not prove it. Takes `sealed` for its own: the plaintext
   * may lie there, and nothing is left there of one that was not proven.
   */
  open(nonce: Uint8Array, additional: Uint8Array, sealed: Buffer): Buffer | undefined {
    const length = sealed.length - AEAD_TAG_BYTES;
    if (length < 0) return undefined;
    const native = openssl()?.openers[this.algorithm];
    if (native) {
      if (native.open(this.#key, nonce, additional, sealed)) return sealed.subarray(0, length);
      sealed.fill(0);
      return undefined;
    }
    const decipher = createDecipheriv(this.#nodeName, this.#key, nonce, OPTIONS);
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

  /** Clears the key; it is not to be used any more. */
  wipe(): void {
    forget(this.#key);
    this.#key.fill(0);
  }

  get #nodeName(): 'aes-128-gcm' {
    // The three have the same calls; the types of node:crypto tell them apart.
    return this.algorithm as 'aes-128-gcm';
  }
}
