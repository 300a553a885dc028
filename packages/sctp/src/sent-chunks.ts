/**
 * The chunks that were sent and not yet passed by the cumulative acknowledgement,
 * in a ring indexed by TSN whose records are reused, and linked lists through
 * them: every operation is O(1).
 */

import type { OutboundMessage } from './outbound-stream.ts';

/** What became of a chunk. */
export const ChunkState = { inFlight: 0, lost: 1, acked: 2, abandoned: 3 } as const;

export class SentChunk {
  tsn = 0;
  message: OutboundMessage | undefined = undefined;
  offset = 0;
  length = 0;
  fragment = 0;
  flags = 0;
  /** With header and padding: what congestion control counts. */
  wireBytes = 0;
  /** Of the packet that it left in last, or the largest one of its pieces. */
  packetBytes = 0;
  state: number = ChunkState.acked;
  transmissions = 0;
  sentMs = 0.5;
  /** The delivery-rate sampler's notes at the time of sending. */
  deliveredBytes = 0;
  deliveredMs = 0.5;
  firstSentMs = 0.5;
  isAppLimited = false;
  previous: SentChunk | undefined = undefined;
  next: SentChunk | undefined = undefined;
}

/** A doubly linked list through {@link SentChunk}; a chunk is in one list at most. */
export class ChunkList {
  head: SentChunk | undefined = undefined;
  tail: SentChunk | undefined = undefined;
  length = 0;

  append(chunk: SentChunk): void {
    chunk.previous = this.tail;
    chunk.next = undefined;
    if (this.tail) this.tail.next = chunk;
    else this.head = chunk;
    this.tail = chunk;
    this.length++;
  }

  remove(chunk: SentChunk): void {
    if (chunk.previous) chunk.previous.next = chunk.next;
    else this.head = chunk.next;
    if (chunk.next) chunk.next.previous = chunk.previous;
    else this.tail = chunk.previous;
    chunk.previous = undefined;
    chunk.next = undefined;
    this.length--;
  }
}

export class SentChunks {
  #slots: SentChunk[] = [];
  /** Lowest TSN held. */
  firstTsn: number;
  /** The TSN the next chunk gets. */
  nextTsn: number;

  constructor(initialTsn: number) {
    this.firstTsn = initialTsn;
    this.nextTsn = initialTsn;
  }

  get length(): number {
    return (this.nextTsn - this.firstTsn) >>> 0;
  }

  /** The chunk with this TSN, which must be held. */
  get(tsn: number): SentChunk {
    return this.#slots[tsn & (this.#slots.length - 1)] as SentChunk;
  }

  /** A fresh record under the next TSN. */
  push(): SentChunk {
    if (this.length === this.#slots.length) this.#grow();
    const chunk = this.get(this.nextTsn);
    chunk.tsn = this.nextTsn;
    chunk.transmissions = 0;
    this.nextTsn = (this.nextTsn + 1) >>> 0;
    return chunk;
  }

  /** Forgets the lowest TSN. */
  releaseFirst(): void {
    this.get(this.firstTsn).message = undefined;
    this.firstTsn = (this.firstTsn + 1) >>> 0;
  }

  /** Gives the memory of a past burst back. */
  trim(): void {
    if (this.length === 0) this.#slots = [];
  }

  #grow(): void {
    const size = Math.max(16, this.#slots.length * 2);
    const slots = new Array<SentChunk>(size);
    for (let at = 0; at < this.length; at++) {
      const chunk = this.get((this.firstTsn + at) >>> 0);
      slots[chunk.tsn & (size - 1)] = chunk;
    }
    for (let at = this.length; at < size; at++) slots[(this.firstTsn + at) & (size - 1)] = new SentChunk();
    this.#slots = slots;
  }
}
