/**
 * STUN messages as written to the wire (RFC 8489 §5, §14). Attributes come in the
 * order of the calls; `integrity` and `fingerprint` last.
 */

import { addressToBytes, type TransportAddress } from '../address.ts';
import { ATTRIBUTE, CLASSES, HEADER_BYTES, MAGIC_COOKIE, type StunClass } from './constants.ts';
import { INTEGRITY_BYTES, type IntegrityAlgorithm, type IntegrityKey, integrityOf } from './integrity.ts';
import { fingerprintOf } from './message.ts';

const INITIAL_BYTES = 192;

export class StunWriter {
  #bytes = Buffer.allocUnsafe(INITIAL_BYTES);
  #length = HEADER_BYTES;

  /** `transactionId` has 12 bytes. */
  constructor(stunClass: StunClass, method: number, transactionId: Uint8Array) {
    const bits = CLASSES.indexOf(stunClass);
    const type =
      (method & 0xf) | ((method & 0x70) << 1) | ((method & 0xf80) << 2) | ((bits & 2) << 7) | ((bits & 1) << 4);
    this.#bytes.writeUInt16BE(type, 0);
    this.#bytes.writeUInt16BE(0, 2);
    this.#bytes.writeUInt32BE(MAGIC_COOKIE, 4);
    this.#bytes.set(transactionId, 8);
  }

  bytes(type: number, value: Uint8Array): this {
    this.#room(type, value.length).set(value);
    return this;
  }

  text(type: number, value: string): this {
    return this.bytes(type, Buffer.from(value, 'utf8'));
  }

  flag(type: number): this {
    this.#room(type, 0);
    return this;
  }

  uint32(type: number, value: number): this {
    this.#room(type, 4).writeUInt32BE(value >>> 0);
    return this;
  }

  uint64(type: number, value: bigint): this {
    this.#room(type, 8).writeBigUInt64BE(value);
    return this;
  }

  /** XORed with cookie and transaction id, as all of ours are (RFC 8489 §14.2). */
  address(type: number, { address, port }: TransportAddress): this {
    const raw = addressToBytes(address);
    if (!raw) throw new TypeError(`"${address}" is no IP address`);
    const value = this.#room(type, 4 + raw.length);
    value[0] = 0;
    value[1] = raw.length === 4 ? 1 : 2;
    value.writeUInt16BE(port ^ (MAGIC_COOKIE >>> 16), 2);
    for (const [at, byte] of raw.entries()) value[4 + at] = byte ^ (this.#bytes[4 + at] ?? 0);
    return this;
  }

  error(code: number, reason: string): this {
    const text = Buffer.from(reason, 'utf8');
    const value = this.#room(ATTRIBUTE.errorCode, 4 + text.length);
    value.writeUInt16BE(0, 0);
    value[2] = Math.floor(code / 100);
    value[3] = code % 100;
    value.set(text, 4);
    return this;
  }

  unknownAttributes(types: readonly number[]): this {
    const value = this.#room(ATTRIBUTE.unknownAttributes, types.length * 2);
    for (const [index, type] of types.entries()) value.writeUInt16BE(type, index * 2);
    return this;
  }

  integrity(key: IntegrityKey, algorithm: IntegrityAlgorithm = 'sha1'): this {
    const offset = this.#length;
    const type = algorithm === 'sha1' ? ATTRIBUTE.messageIntegrity : ATTRIBUTE.messageIntegritySha256;
    const bytes = INTEGRITY_BYTES[algorithm];
    const value = this.#room(type, bytes);
    value.set(integrityOf(this.#bytes, offset, bytes, key, algorithm));
    return this;
  }

  /** The finished message with a FINGERPRINT; the writer is used up. */
  finishWithFingerprint(): Buffer {
    const offset = this.#length;
    const value = this.#room(ATTRIBUTE.fingerprint, 4);
    value.writeUInt32BE(fingerprintOf(this.#bytes, offset));
    return this.finish();
  }

  finish(): Buffer {
    return this.#bytes.subarray(0, this.#length);
  }

  /** Appends the head of an attribute and returns the place of its value. Padding is zero. */
  #room(type: number, valueBytes: number): Buffer {
    const start = this.#length;
    const end = start + 4 + ((valueBytes + 3) & ~3);
    if (end > this.#bytes.length) {
      const larger = Buffer.allocUnsafe(Math.max(end + 64, this.#bytes.length * 2));
      this.#bytes.copy(larger, 0, 0, start);
      this.#bytes = larger;
    }
    this.#bytes.writeUInt16BE(type, start);
    this.#bytes.writeUInt16BE(valueBytes, start + 2);
    // The memory is the pool's: whatever lay there may not leave, should an attribute not fill its value.
    this.#bytes.fill(0, start + 4, end);
    this.#length = end;
    this.#bytes.writeUInt16BE(end - HEADER_BYTES, 2);
    return this.#bytes.subarray(start + 4, start + 4 + valueBytes);
  }
}
