/**
 * Seals records of one lane: AES-256-GCM, one record a message. Record layout:
 * epoch u8 | sequence u48 | ciphertext | tag 16; the first seven bytes are the
 * additional data. See docs/protocols/sub-channels.md.
 */

import { AEAD_TAG_BYTES as TAG_BYTES } from '@claw/aead';
import { linkError } from '../errors.ts';
import { deriveLaneKey, EPOCH_BYTES, EPOCH_RECORDS, LAST_EPOCH, type LaneKey, writeNonce } from './lane-keys.ts';

export const RECORD_HEADER_BYTES = 7;
export const RECORD_OVERHEAD_BYTES = RECORD_HEADER_BYTES + TAG_BYTES;

const SMALL_BYTES = 2048;
/** A full frame, sealed. */
const LARGE_BYTES = 64 * 1024;

export interface EpochLimits {
  readonly records: number;
  readonly bytes: number;
}

export class LaneSealer {
  readonly #secret: Buffer;
  readonly #lane: number;
  readonly #limits: EpochLimits;
  readonly #nonce = Buffer.alloc(12);
  #record = Buffer.alloc(0);
  #epoch = 1;
  /** Derived with the first record: a link that becomes operational waits for the lanes it uses only. */
  #key: LaneKey | undefined;
  #sequence = 0;
  #epochStart = 0;
  #epochBytes = 0;
  #isClosed = false;

  constructor(secret: Buffer, lane: number, limits: EpochLimits = { records: EPOCH_RECORDS, bytes: EPOCH_BYTES }) {
    this.#secret = secret;
    this.#lane = lane;
    this.#limits = limits;
  }

  /** Sequence number of the next record. */
  get nextSequence(): number {
    return this.#sequence;
  }

  /** One record over `head` followed by `parts`, in memory of the sealer's that the next call uses again. */
  seal(head: Uint8Array, parts: readonly Uint8Array[], partsLength: number): Buffer {
    if (this.#isClosed) throw linkError('LINK_CLOSED', 'the link is closed');
    const length = head.length + partsLength;
    if (this.#sequence - this.#epochStart >= this.#limits.records || this.#epochBytes + length > this.#limits.bytes)
      this.#nextEpoch();
    const record = this.#room(RECORD_HEADER_BYTES + length + TAG_BYTES);
    record[0] = this.#epoch;
    record.writeUIntBE(this.#sequence, 1, 6);
    this.#key ??= deriveLaneKey(this.#secret, this.#lane, this.#epoch);
    writeNonce(this.#nonce, this.#key.iv, this.#sequence);
    let at = RECORD_HEADER_BYTES + head.length;
    record.set(head, RECORD_HEADER_BYTES);
    for (const part of parts) {
      record.set(part, at);
      at += part.length;
    }
    const header = record.subarray(0, RECORD_HEADER_BYTES);
    this.#key.key.seal(this.#nonce, header, record.subarray(RECORD_HEADER_BYTES, at), record, RECORD_HEADER_BYTES);
    this.#sequence += 1;
    this.#epochBytes += length;
    return record;
  }

  /** Clears the key in use; nothing is sealed any more. Whoever owns the secret clears that. */
  close(): void {
    this.#isClosed = true;
    this.#wipe();
  }

  #wipe(): void {
    this.#key?.key.wipe();
    this.#key = undefined;
  }

  #room(length: number): Buffer {
    if (this.#record.length < length)
      this.#record = Buffer.allocUnsafeSlow(length <= SMALL_BYTES ? SMALL_BYTES : Math.max(length, LARGE_BYTES));
    return this.#record.subarray(0, length);
  }

  #nextEpoch(): void {
    if (this.#epoch === LAST_EPOCH) throw linkError('LINK_CLOSED', 'the link used up its keys and must be made anew');
    this.#epoch += 1;
    this.#wipe();
    this.#epochStart = this.#sequence;
    this.#epochBytes = 0;
  }
}
