/**
 * Reads the presentation language of RFC 8446 §3. Whatever is short, long or out
 * of its bounds is DTLS_MALFORMED; what is read shares the input's memory.
 */

import { asBuffer } from '@claw/base';
import { fault } from './errors.ts';

export class ByteReader {
  readonly #bytes: Buffer;
  #offset = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = asBuffer(bytes);
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    return this.#bytes.readUInt8(this.#take(1));
  }

  u16(): number {
    return this.#bytes.readUInt16BE(this.#take(2));
  }

  u24(): number {
    return this.#bytes.readUIntBE(this.#take(3), 3);
  }

  /** A 64-bit number; one that a double cannot hold is malformed, as no peer of ours counts so far. */
  u64(): number {
    const offset = this.#take(8);
    const value = this.#bytes.readUInt32BE(offset) * 2 ** 32 + this.#bytes.readUInt32BE(offset + 4);
    if (!Number.isSafeInteger(value)) throw fault('DTLS_MALFORMED', 'a 64-bit number is out of range');
    return value;
  }

  bytes(length: number): Buffer {
    const offset = this.#take(length);
    return this.#bytes.subarray(offset, offset + length);
  }

  /** `opaque<min..max>` with a length of one byte. */
  vector8(min = 0, max = 0xff): Buffer {
    return this.#vector(this.u8(), min, max);
  }

  vector16(min = 0, max = 0xffff): Buffer {
    return this.#vector(this.u16(), min, max);
  }

  vector24(min = 0, max = 0xffffff): Buffer {
    return this.#vector(this.u24(), min, max);
  }

  /** @throws ClawError `DTLS_MALFORMED` when bytes are left. */
  end(): void {
    if (this.remaining > 0) throw fault('DTLS_MALFORMED', `${this.remaining} bytes follow the end of a structure`);
  }

  #vector(length: number, min: number, max: number): Buffer {
    if (length < min || length > max) {
      throw fault('DTLS_MALFORMED', `a vector of ${length} bytes is not within ${min} and ${max}`);
    }
    return this.bytes(length);
  }

  #take(length: number): number {
    const offset = this.#offset;
    if (length > this.#bytes.length - offset) throw fault('DTLS_MALFORMED', 'a structure ends early');
    this.#offset = offset + length;
    return offset;
  }
}

/** The list of 16-bit numbers that fills `bytes`. */
export function u16List(bytes: Uint8Array): number[] {
  if (bytes.length % 2 !== 0) throw fault('DTLS_MALFORMED', 'a list of 16-bit numbers has an odd length');
  const reader = new ByteReader(bytes);
  return Array.from({ length: bytes.length / 2 }, () => reader.u16());
}
