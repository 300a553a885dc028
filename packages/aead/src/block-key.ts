/** An AES key for single blocks, as the masks of packet numbers take them (RFC 9147 §4.2.3): never for messages. */

import { createCipheriv } from 'node:crypto';
import { forget, openssl } from './openssl.ts';
import { BLOCK_BYTES } from './sizes.ts';

export class BlockKey {
  readonly #algorithm: 'aes-128-ecb' | 'aes-256-ecb';
  readonly #key: Buffer;
  readonly #out = Buffer.alloc(BLOCK_BYTES);

  /** Copies `key`, of 16 or 32 bytes; the caller wipes its own. */
  constructor(key: Uint8Array) {
    if (key.length !== 16 && key.length !== 32) throw new RangeError(`a key of ${key.length} bytes is none of ours`);
    this.#algorithm = key.length === 16 ? 'aes-128-ecb' : 'aes-256-ecb';
    this.#key = Buffer.allocUnsafeSlow(key.length);
    this.#key.set(key);
  }

  /** The encrypted block at `offset` of `bytes`, in memory that the next call uses again. */
  encrypt(bytes: Buffer, offset: number): Buffer {
    const block = bytes.subarray(offset, offset + BLOCK_BYTES);
    if (block.length !== BLOCK_BYTES) throw new RangeError(`${block.length} bytes are no block`);
    const native = openssl()?.blocks[this.#algorithm];
    if (native) native.encrypt(this.#key, block, this.#out);
    else this.#out.set(createCipheriv(this.#algorithm, this.#key, null).setAutoPadding(false).update(block));
    return this.#out;
  }

  /** Clears the key; it is not to be used any more. */
  wipe(): void {
    forget(this.#key);
    this.#key.fill(0);
    this.#out.fill(0);
  }
}
