/**
 * The inner handshake's bytes on their way: each direction is one byte stream,
 * cut into segments that carry their offset, so the same bytes may travel in a
 * description, in an envelope and on the control lane at once, in any order.
 */

import { linkError } from '../errors.ts';

export interface Segment {
  readonly offset: number;
  readonly bytes: Uint8Array;
}

/** Bytes that one side of a handshake may send in all. A real one takes about 3 KiB. */
export const MAX_HANDSHAKE_BYTES = 32 * 1024;
const MAX_SEGMENTS_HELD = 32;

/** Puts the peer's segments in order. */
export class FlightReader {
  #next = 0;
  #received = Buffer.alloc(0);
  #held: Segment[] = [];

  /**
   * The bytes that are now in order, none when `segment` is old or early.
   * @throws ClawError `LINK_HANDSHAKE_INVALID` beyond the bounds.
   */
  push(segment: Segment): Buffer {
    if (segment.offset + segment.bytes.length > MAX_HANDSHAKE_BYTES || this.#held.length >= MAX_SEGMENTS_HELD) {
      throw linkError(
        'LINK_HANDSHAKE_INVALID',
        `the handshake is longer than ${MAX_HANDSHAKE_BYTES} bytes or in too many pieces`,
      );
    }
    this.#held.push(segment);
    const ready: Uint8Array[] = [];
    for (let found = this.#takeNext(); found; found = this.#takeNext()) ready.push(found);
    const bytes = Buffer.concat(ready);
    this.#received = Buffer.concat([this.#received, bytes]);
    return bytes;
  }

  /** Bytes that came in order so far. */
  get length(): number {
    return this.#received.length;
  }

  /** The first `end` bytes of the stream. */
  upTo(end: number): Buffer {
    return this.#received.subarray(0, end);
  }

  #takeNext(): Uint8Array | undefined {
    this.#held = this.#held.filter(({ offset, bytes }) => offset + bytes.length > this.#next);
    const segment = this.#held.find(({ offset }) => offset <= this.#next);
    if (!segment) return undefined;
    const fresh = segment.bytes.subarray(this.#next - segment.offset);
    this.#next += fresh.length;
    return fresh;
  }
}

/** Keeps what this side sent, so that it can be said again on another way. */
export class FlightWriter {
  #sent = Buffer.alloc(0);

  /** Appends and returns the new segment. */
  push(bytes: Uint8Array): Segment {
    const segment = { offset: this.#sent.length, bytes };
    this.#sent = Buffer.concat([this.#sent, bytes]);
    return segment;
  }

  /** Bytes sent so far. */
  get length(): number {
    return this.#sent.length;
  }

  /** Everything from `offset` up to `end`, as one segment. */
  from(offset: number, end = this.#sent.length): Segment {
    return { offset, bytes: this.#sent.subarray(offset, end) };
  }
}
