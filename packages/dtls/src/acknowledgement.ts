/**
 * ACK messages of DTLS 1.3 (RFC 9147 §7): which records arrived. The list is
 * bounded; what does not fit is sent again by the peer, no harm done.
 */

import { ByteReader } from './byte-reader.ts';
import { u64, vector16 } from './byte-writer.ts';
import { fault } from './errors.ts';

export interface RecordNumber {
  readonly epoch: number;
  readonly sequence: number;
}

const NUMBER_BYTES = 16;
/** More than any flight has records. */
const MAX_PENDING = 48;

export function encodeAck(numbers: readonly RecordNumber[]): Buffer {
  return vector16(...numbers.flatMap(({ epoch, sequence }) => [u64(epoch), u64(sequence)]));
}

/** @throws ClawError `DTLS_MALFORMED` */
export function parseAck(content: Buffer): RecordNumber[] {
  const reader = new ByteReader(content);
  const list = reader.vector16();
  reader.end();
  if (list.length % NUMBER_BYTES !== 0) throw fault('DTLS_MALFORMED', 'an ACK has half a record number');
  const numbers = new ByteReader(list);
  return Array.from({ length: list.length / NUMBER_BYTES }, () => ({ epoch: numbers.u64(), sequence: numbers.u64() }));
}

/** The records that we shall acknowledge, and when. */
export class PendingAcks {
  #numbers: RecordNumber[] = [];
  /** When the list goes out on its own. */
  deadlineMs: number | undefined;

  get isEmpty(): boolean {
    return this.#numbers.length === 0;
  }

  add(epoch: number, sequence: number): void {
    if (this.#numbers.length >= MAX_PENDING) this.#numbers.shift();
    this.#numbers.push({ epoch, sequence });
  }

  /** The list in the order that RFC 9147 §7 asks for; it stays until {@link clear}. */
  sorted(): RecordNumber[] {
    return this.#numbers.toSorted((a, b) => a.epoch - b.epoch || a.sequence - b.sequence);
  }

  clear(): void {
    this.#numbers = [];
    this.deadlineMs = undefined;
  }
}
