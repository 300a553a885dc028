/**
 * Unsigned integers in 1, 2, 4 or 8 bytes, as QUIC writes them (RFC 9000 §16):
 * the top two bits of the first byte give the length. Values end at 2^53 − 1.
 */

import { ClawError } from '@claw/base';
import type { WireErrorCode } from './cbor.ts';

export function varintLength(value: number): 1 | 2 | 4 | 8 {
  return value < 0x40 ? 1 : value < 0x4000 ? 2 : value < 0x4000_0000 ? 4 : 8;
}

/** Writes `value` at `offset` and returns the offset after it. */
export function writeVarint(out: Buffer, value: number, offset: number): number {
  if (value < 0x40) return out.writeUInt8(value, offset);
  if (value < 0x4000) return out.writeUInt16BE(value | 0x4000, offset);
  if (value < 0x4000_0000) return out.writeUInt32BE((value | 0x8000_0000) >>> 0, offset);
  if (!Number.isSafeInteger(value)) throw new RangeError(`not a safe integer: ${value}`);
  out.writeUInt32BE((0xc000_0000 | Math.floor(value / 2 ** 32)) >>> 0, offset);
  return out.writeUInt32BE(value >>> 0, offset + 4);
}

/** A cursor over foreign bytes; reading past the end throws `WIRE_MALFORMED`. */
export class Reader {
  readonly #bytes: Buffer;
  #offset: number;

  constructor(bytes: Buffer, offset = 0) {
    this.#bytes = bytes;
    this.#offset = offset;
  }

  get remaining(): number {
    return this.#bytes.length - this.#offset;
  }

  u8(): number {
    this.#need(1);
    return this.#bytes[this.#offset++] as number;
  }

  varint(): number {
    this.#need(1);
    const length = 1 << ((this.#bytes[this.#offset] as number) >>> 6);
    this.#need(length);
    const at = this.#offset;
    this.#offset += length;
    if (length === 1) return (this.#bytes[at] as number) & 0x3f;
    if (length === 2) return this.#bytes.readUInt16BE(at) & 0x3fff;
    if (length === 4) return this.#bytes.readUInt32BE(at) & 0x3fff_ffff;
    const high = this.#bytes.readUInt32BE(at) & 0x3fff_ffff;
    const value = high * 2 ** 32 + this.#bytes.readUInt32BE(at + 4);
    if (!Number.isSafeInteger(value)) throw malformed('an integer is above 2^53 - 1');
    return value;
  }

  /** The next `length` bytes, over the same memory. */
  bytes(length: number): Buffer {
    this.#need(length);
    this.#offset += length;
    return this.#bytes.subarray(this.#offset - length, this.#offset);
  }

  /** Everything that is left, over the same memory. */
  rest(): Buffer {
    return this.bytes(this.remaining);
  }

  #need(count: number): void {
    if (this.remaining < count) throw malformed(`${count} bytes wanted, ${this.remaining} left`);
  }
}

function malformed(detail: string): ClawError<WireErrorCode> {
  return new ClawError('WIRE_MALFORMED', `a frame ends early or is out of range: ${detail}`);
}
