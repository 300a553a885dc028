/**
 * Records of DTLS 1.2 under AEAD ciphers (RFC 6347 §4.1, RFC 5288, RFC 7905). The
 * nonce is made of epoch and sequence number, so it never repeats under a key.
 */

import { AeadKey, AEAD_NONCE_BYTES as NONCE_BYTES, AEAD_TAG_BYTES as TAG_BYTES } from '@claw/aead';
import type { CipherSuite } from './cipher-suites.ts';
import { HEADER_BYTES, writeHeader } from './plain-record.ts';
import { type RecordOpener, type RecordSealer, writeNonce } from './record-protection.ts';
import { ReplayWindow } from './replay-window.ts';

const EXPLICIT_NONCE_BYTES = 8;
const ADDITIONAL_BYTES = 13;

const NOTHING: Buffer = Buffer.alloc(0);

/** What both directions share: the nonce and the additional data. */
class Protection12 {
  protected readonly key: AeadKey;
  /** 8 for AES-GCM, which carries a part of the nonce in each record; 0 for ChaCha20-Poly1305. */
  protected readonly explicitBytes: number;
  protected readonly nonce = Buffer.alloc(NONCE_BYTES);
  protected readonly additional = Buffer.alloc(ADDITIONAL_BYTES);
  readonly #iv: Buffer;

  constructor(suite: CipherSuite, key: Uint8Array, iv: Uint8Array) {
    this.key = new AeadKey(suite.algorithm, key);
    this.explicitBytes = suite.algorithm === 'chacha20-poly1305' ? 0 : EXPLICIT_NONCE_BYTES;
    this.#iv = Buffer.from(iv);
    this.#iv.copy(this.nonce);
  }

  wipe(): void {
    this.key.wipe();
  }

  /** `explicit` is the nonce's part that the record carries, when it does. */
  protected prepare(header: Buffer, offset: number, length: number, explicit?: Buffer): void {
    // RFC 5246 §6.2.3.3: number, then type and version, then the length of the plaintext.
    header.copy(this.additional, 0, offset + 3, offset + 11);
    header.copy(this.additional, 8, offset, offset + 3);
    this.additional.writeUInt16BE(length, 11);
    if (explicit) explicit.copy(this.nonce, 4);
    else writeNonce(this.nonce, this.#iv, header.readUInt32BE(offset + 3), header.readUInt32BE(offset + 7));
  }
}

export class Sealer12 extends Protection12 implements RecordSealer {
  readonly overheadBytes = HEADER_BYTES + this.explicitBytes + TAG_BYTES;
  readonly #epoch: number;

  constructor(suite: CipherSuite, key: Uint8Array, iv: Uint8Array, epoch: number) {
    super(suite, key, iv);
    this.#epoch = epoch;
  }

  seal(type: number, sequence: number, content: Uint8Array, out: Buffer, offset: number): number {
    writeHeader(out, offset, type, this.#epoch, sequence, content.length + this.overheadBytes - HEADER_BYTES);
    const start = offset + HEADER_BYTES;
    if (this.explicitBytes > 0) {
      out.copy(out, start, offset + 3, offset + 11);
      this.prepare(out, offset, content.length, out.subarray(start, start + EXPLICIT_NONCE_BYTES));
    } else {
      this.prepare(out, offset, content.length);
    }
    return this.key.seal(this.nonce, this.additional, content, out, start + this.explicitBytes);
  }
}

export class Opener12 extends Protection12 implements RecordOpener {
  type = 0;
  sequence = 0;
  #content: Buffer = NOTHING;
  readonly #window = new ReplayWindow();

  open(record: Buffer, headerEnd: number): boolean {
    const start = headerEnd - HEADER_BYTES;
    const sequence = record.readUIntBE(start + 5, 6);
    const length = record.length - headerEnd - this.explicitBytes - TAG_BYTES;
    if (length < 0 || !this.#window.isNew(sequence)) return false;
    const bodyStart = headerEnd + this.explicitBytes;
    this.prepare(record, start, length, this.explicitBytes > 0 ? record.subarray(headerEnd, bodyStart) : undefined);
    const content = this.key.open(this.nonce, this.additional, record.subarray(bodyStart));
    if (!content) return false;
    this.#window.mark(sequence);
    this.type = record[start] as number;
    this.sequence = sequence;
    this.#content = content;
    return true;
  }

  takeContent(): Buffer {
    const content = this.#content;
    this.#content = NOTHING;
    return content;
  }
}
