/**
 * What the record layer needs of an epoch's keys, in either version. `open` leaves
 * the record in the object's own fields: no object a packet.
 */

export interface RecordSealer {
  /** Bytes that a record adds to its content. */
  readonly overheadBytes: number;
  /** Writes one record and returns where it ends. */
  seal(type: number, sequence: number, content: Uint8Array, out: Buffer, offset: number): number;
  /** Clears the keys. */
  wipe(): void;
}

export interface RecordOpener {
  /** Of the last record that opened. */
  readonly type: number;
  readonly sequence: number;
  /** Its content, which the opener forgets. */
  takeContent(): Buffer;
  /**
   * Opens the record whose header ends at `headerEnd`; false when it is forged, replayed or no record.
   * The record is the opener's: what it protects may be laid open in its place.
   */
  open(record: Buffer, headerEnd: number): boolean;
  /** Clears the keys. */
  wipe(): void;
}

/** Writes the nonce of `sequence`: the IV with the number added to its end by XOR (RFC 8446 §5.3). */
export function writeNonce(nonce: Buffer, iv: Buffer, high32: number, low32: number): void {
  iv.copy(nonce);
  nonce.writeUInt32BE((iv.readUInt32BE(4) ^ high32) >>> 0, 4);
  nonce.writeUInt32BE((iv.readUInt32BE(8) ^ low32) >>> 0, 8);
}
