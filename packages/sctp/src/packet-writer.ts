/**
 * Builds one SCTP packet (RFC 9260 §3) in a buffer borrowed from a pool shared by
 * all associations, so that an idle one holds none. The bytes are valid from
 * {@link PacketWriter.open} to {@link PacketWriter.close}.
 */

import { writeU16, writeU32 } from './byte-order.ts';
import { CHUNK_HEADER_BYTES, COMMON_HEADER_BYTES } from './chunk-types.ts';
import { crc32c } from './crc32c.ts';

const CAPACITY_BYTES = 65_536;
const NO_BYTES = Buffer.alloc(0);
const pool: Buffer[] = [];

export class PacketWriter {
  bytes: Buffer = NO_BYTES;
  length = 0;
  /** The packet may not grow past this. */
  limitBytes = 0;

  /** Starts a packet of at most `limitBytes`. */
  open(sourcePort: number, destinationPort: number, verificationTag: number, limitBytes: number): void {
    this.bytes = pool.pop() ?? Buffer.allocUnsafeSlow(CAPACITY_BYTES);
    this.limitBytes = Math.min(limitBytes, CAPACITY_BYTES);
    writeU16(this.bytes, 0, sourcePort);
    writeU16(this.bytes, 2, destinationPort);
    writeU32(this.bytes, 4, verificationTag);
    writeU32(this.bytes, 8, 0);
    this.length = COMMON_HEADER_BYTES;
  }

  get isEmpty(): boolean {
    return this.length === COMMON_HEADER_BYTES;
  }

  /** What a chunk may still take, header included. */
  get roomBytes(): number {
    return this.limitBytes - this.length;
  }

  /** Writes a chunk header and reserves its body; returns where the body starts. Padding is written too. */
  addChunk(type: number, flags: number, bodyLength: number): number {
    const { bytes, length } = this;
    bytes[length] = type;
    bytes[length + 1] = flags;
    const chunkLength = CHUNK_HEADER_BYTES + bodyLength;
    writeU16(bytes, length + 2, chunkLength);
    let end = length + chunkLength;
    while (end & 3) bytes[end++] = 0;
    this.length = end;
    return length + CHUNK_HEADER_BYTES;
  }

  /** Appends a whole chunk built elsewhere, already padded. */
  addBuilt(chunk: Uint8Array): void {
    this.bytes.set(chunk, this.length);
    this.length += chunk.length;
  }

  /** The finished packet. */
  finish(withChecksum: boolean): Buffer {
    if (withChecksum) {
      const crc = crc32c(this.bytes, this.length);
      this.bytes[8] = crc;
      this.bytes[9] = crc >>> 8;
      this.bytes[10] = crc >>> 16;
      this.bytes[11] = crc >>> 24;
    }
    return this.bytes.subarray(0, this.length);
  }

  /** Gives the buffer back. */
  close(): void {
    if (pool.length < 8) pool.push(this.bytes);
    this.bytes = NO_BYTES;
    this.length = 0;
  }
}
