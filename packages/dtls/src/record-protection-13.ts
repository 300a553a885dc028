/**
 * Records of DTLS 1.3: the unified header, its encrypted record number and the
 * AEAD (RFC 9147 §4). A number on the wire has 16 bits; the receiver takes the
 * whole number nearest to the next one it expects (§4.2.2).
 */

import { createCipheriv } from 'node:crypto';
import { AeadKey, BlockKey, AEAD_NONCE_BYTES as NONCE_BYTES, AEAD_TAG_BYTES as TAG_BYTES } from '@claw/aead';
import type { CipherSuite } from './cipher-suites.ts';
import { expandLabel } from './hkdf.ts';
import { MAX_CONTENT_BYTES, MAX_SEQUENCE } from './plain-record.ts';
import { type RecordOpener, type RecordSealer, writeNonce } from './record-protection.ts';
import { ReplayWindow } from './replay-window.ts';

/** Bits of the first byte: 001CSLEE. */
export const UNIFIED_BITS = 0x20;
export const UNIFIED_MASK = 0xe0;
export const CONNECTION_ID_BIT = 0x10;
export const LONG_SEQUENCE_BIT = 0x08;
export const LENGTH_BIT = 0x04;
export const EPOCH_MASK = 0x03;

/** What we write, and the most there is: 16 bits of number and a length, so that records can share a datagram. */
const HEADER_BYTES = 5;
const SAMPLE_BYTES = 16;
const NOTHING: Buffer = Buffer.alloc(0);
/** Where all sealers put the content type behind the plaintext: sealing ends before another begins. */
const scratch: Buffer = Buffer.allocUnsafeSlow(MAX_CONTENT_BYTES + 1);

class Protection13 {
  protected readonly key: AeadKey;
  protected readonly nonce = Buffer.alloc(NONCE_BYTES);
  readonly #iv: Buffer;
  readonly #numberCipher: NumberCipher;

  /** The caller wipes `secret`. */
  constructor(suite: CipherSuite, secret: Uint8Array) {
    const key = expandLabel(suite.hash, secret, 'key', NOTHING, suite.keyBytes);
    const numberKey = expandLabel(suite.hash, secret, 'sn', NOTHING, suite.keyBytes);
    this.key = new AeadKey(suite.algorithm, key);
    this.#iv = expandLabel(suite.hash, secret, 'iv', NOTHING, NONCE_BYTES);
    this.#numberCipher = new NumberCipher(suite, numberKey);
    key.fill(0);
    numberKey.fill(0);
  }

  protected setNonce(sequence: number): void {
    writeNonce(this.nonce, this.#iv, Math.floor(sequence / 2 ** 32), sequence >>> 0);
  }

  /** In memory that the next call uses again. */
  protected mask(sealed: Buffer, offset: number): Buffer {
    return this.#numberCipher.mask(sealed, offset);
  }

  wipe(): void {
    this.key.wipe();
    this.#numberCipher.wipe();
  }
}

export class Sealer13 extends Protection13 implements RecordSealer {
  readonly overheadBytes = HEADER_BYTES + 1 + TAG_BYTES;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  /** The part of the scratch memory that the last record took. */
  #inner = NOTHING;

  constructor(suite: CipherSuite, secret: Uint8Array, epoch: number) {
    super(suite, secret);
    this.#header[0] = UNIFIED_BITS | LONG_SEQUENCE_BIT | LENGTH_BIT | (epoch & EPOCH_MASK);
  }

  seal(type: number, sequence: number, content: Uint8Array, out: Buffer, offset: number): number {
    const { length } = content;
    if (this.#inner.length !== length + 1) this.#inner = scratch.subarray(0, length + 1);
    this.#inner.set(content);
    this.#inner[length] = type;
    this.#header.writeUInt16BE(sequence % 0x10000, 1);
    this.#header.writeUInt16BE(length + 1 + TAG_BYTES, 3);
    this.setNonce(sequence);
    this.#header.copy(out, offset);
    const start = offset + HEADER_BYTES;
    const end = this.key.seal(this.nonce, this.#header, this.#inner, out, start);
    const mask = this.mask(out, start);
    out[offset + 1] = (out[offset + 1] as number) ^ (mask[0] as number);
    out[offset + 2] = (out[offset + 2] as number) ^ (mask[1] as number);
    return end;
  }
}

export class Opener13 extends Protection13 implements RecordOpener {
  type = 0;
  sequence = 0;
  #content: Buffer = NOTHING;
  readonly #header = Buffer.alloc(HEADER_BYTES);
  readonly #window = new ReplayWindow();

  open(record: Buffer, headerEnd: number): boolean {
    if (record.length - headerEnd < SAMPLE_BYTES) return false;
    const header = headerEnd === HEADER_BYTES ? this.#header : this.#header.subarray(0, headerEnd);
    record.copy(header, 0, 0, headerEnd);
    const mask = this.mask(record, headerEnd);
    const bits = (header[0] as number) & LONG_SEQUENCE_BIT ? 16 : 8;
    for (let i = 0; i < bits / 8; i++) header[1 + i] = (header[1 + i] as number) ^ (mask[i] as number);
    const sequence = nearest(header.readUIntBE(1, bits / 8), bits, this.#window.highest + 1);
    if (sequence > MAX_SEQUENCE || !this.#window.isNew(sequence)) return false;
    this.setNonce(sequence);
    const inner = this.key.open(this.nonce, header, record.subarray(headerEnd));
    if (!inner) return false;
    this.#window.mark(sequence);
    let end = inner.length - 1;
    while (end >= 0 && inner[end] === 0) end -= 1;
    // RFC 8446 §5.4: no type is an unexpected message; in DTLS such a record is dropped.
    if (end < 0 || end > MAX_CONTENT_BYTES) return false;
    this.type = inner[end] as number;
    this.sequence = sequence;
    this.#content = inner.subarray(0, end);
    return true;
  }

  takeContent(): Buffer {
    const content = this.#content;
    this.#content = NOTHING;
    return content;
  }
}

/** Makes the mask of record numbers out of a record's first ciphertext bytes (RFC 9147 §4.2.3). */
class NumberCipher {
  readonly #aes: BlockKey | undefined;
  readonly #chachaKey: Buffer | undefined;

  /** Copies `key`. */
  constructor(suite: CipherSuite, key: Uint8Array) {
    if (suite.algorithm === 'chacha20-poly1305') this.#chachaKey = Buffer.from(key);
    else this.#aes = new BlockKey(key);
  }

  mask(sealed: Buffer, offset: number): Buffer {
    if (this.#aes) return this.#aes.encrypt(sealed, offset);
    // The sample is block counter and nonce, in node's order.
    const sample = sealed.subarray(offset, offset + SAMPLE_BYTES);
    return createCipheriv('chacha20', this.#chachaKey as Buffer, sample).update(ZEROS);
  }

  wipe(): void {
    this.#aes?.wipe();
    this.#chachaKey?.fill(0);
  }
}

const ZEROS = Buffer.alloc(2);

/** The number nearest to `expected` whose low `bits` are `low`. */
function nearest(low: number, bits: number, expected: number): number {
  const span = 2 ** bits;
  const candidate = expected - (expected % span) + low;
  if (candidate > expected + span / 2) return candidate >= span ? candidate - span : candidate;
  return candidate < expected - span / 2 ? candidate + span : candidate;
}
