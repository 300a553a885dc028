/**
 * Opens records of one lane and refuses what was altered. On an ordered reliable
 * lane a record that is repeated or out of turn breaks the seal as well; on the
 * others, where the transport may do so, it is passed over: what is repeated on
 * all of them, what is late on the ordered one too. The peer's epochs may only
 * grow; one older key is kept for records that unordered lanes deliver late.
 */

import { linkError } from '../errors.ts';
import { deriveLaneKey, LAST_EPOCH, type LaneKey, writeNonce } from './lane-keys.ts';
import { RECORD_HEADER_BYTES, RECORD_OVERHEAD_BYTES } from './lane-sealer.ts';
import { SequenceWindow } from './sequence-window.ts';

/** How the lane's transport delivers. */
export interface LaneOrder {
  readonly ordered: boolean;
  readonly reliable: boolean;
}

export class LaneOpener {
  readonly #secret: Buffer;
  readonly #lane: number;
  readonly #strict: boolean;
  /** Only where records may come out of order; elsewhere their numbers rise. */
  readonly #window: SequenceWindow | undefined;
  readonly #nonce = Buffer.alloc(12);
  #next = 0;
  #epoch = 1;
  /** Derived with the first record. */
  #key: LaneKey | undefined;
  #older: LaneKey | undefined;
  #isClosed = false;

  constructor(secret: Buffer, lane: number, order: LaneOrder) {
    this.#secret = secret;
    this.#lane = lane;
    this.#strict = order.ordered && order.reliable;
    this.#window = order.ordered ? undefined : new SequenceWindow();
  }

  /** Highest sequence number opened so far, −1 before the first. */
  get highest(): number {
    return this.#next - 1;
  }

  /**
   * The plaintext of `record`, or `undefined` for one that is to be passed over. Takes the record for its own:
   * the plaintext may lie there.
   * @throws ClawError `LINK_SEAL_BROKEN`: the record is not the peer's, or not in turn.
   */
  open(record: Buffer): Buffer | undefined {
    if (this.#isClosed) return undefined;
    if (record.length < RECORD_OVERHEAD_BYTES) throw broken('it is too short');
    const epoch = record[0] as number;
    const sequence = record.readUIntBE(1, 6);
    if (this.#strict && sequence !== this.#next) throw broken(`record ${sequence} came where ${this.#next} was due`);
    if (this.#window ? !this.#window.isNew(sequence) : sequence < this.#next) return undefined;
    const key = this.#keyOf(epoch);
    writeNonce(this.#nonce, key.iv, sequence);
    const header = record.subarray(0, RECORD_HEADER_BYTES);
    const plain = key.key.open(this.#nonce, header, record.subarray(RECORD_HEADER_BYTES));
    if (!plain) throw broken('its seal does not hold');
    this.#accept(epoch, key, sequence);
    return plain;
  }

  /** Clears the keys in use; whatever comes is passed over. Whoever owns the secret clears that. */
  close(): void {
    this.#isClosed = true;
    this.#key?.key.wipe();
    this.#older?.key.wipe();
    this.#key = undefined;
    this.#older = undefined;
  }

  #keyOf(epoch: number): LaneKey {
    if (epoch === this.#epoch) {
      this.#key ??= deriveLaneKey(this.#secret, this.#lane, epoch);
      return this.#key;
    }
    if (epoch === this.#epoch - 1 && this.#older) return this.#older;
    if (epoch === this.#epoch + 1 && epoch <= LAST_EPOCH) return deriveLaneKey(this.#secret, this.#lane, epoch);
    throw broken(`its epoch is ${epoch} while ${this.#epoch} is current`);
  }

  #accept(epoch: number, key: LaneKey, sequence: number): void {
    this.#window?.add(sequence);
    if (sequence >= this.#next) this.#next = sequence + 1;
    if (epoch > this.#epoch) {
      this.#older?.key.wipe();
      if (!this.#window) this.#key?.key.wipe();
      this.#older = this.#window ? this.#keyOf(this.#epoch) : undefined;
      this.#key = key;
      this.#epoch = epoch;
    }
  }
}

function broken(detail: string) {
  return linkError('LINK_SEAL_BROKEN', `a record was refused: ${detail}`);
}
