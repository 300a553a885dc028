/**
 * FORWARD TSN and I-FORWARD-TSN (RFC 3758 §3.2, RFC 8260 §2.3.1): tell the peer to
 * stop waiting for messages that were given up, and which number each stream skips to.
 */

import { readU16, readU32, writeU16, writeU32 } from './byte-order.ts';
import { CHUNK_HEADER_BYTES, ChunkType } from './chunk-types.ts';
import type { InFlight } from './in-flight.ts';
import type { PacketWriter } from './packet-writer.ts';
import { ChunkState } from './sent-chunks.ts';
import { isAfter, isAfter16 } from './serial.ts';

export interface SkippedMessage {
  readonly streamId: number;
  readonly isUnordered: boolean;
  /** SSN or MID of the last message skipped. */
  readonly sequence: number;
}

/** Writes the chunk up to the advanced TSN, or as far as the packet has room; false when there is none. */
export function writeForwardTsn(writer: PacketWriter, inFlight: InFlight, isInterleaved: boolean): boolean {
  const entryBytes = isInterleaved ? 8 : 4;
  const maxEntries = Math.floor((writer.roomBytes - CHUNK_HEADER_BYTES - 4) / entryBytes);
  if (maxEntries < 1) return false;
  const skipped = new Map<number, SkippedMessage>();
  const { chunks } = inFlight;
  let newTsn = inFlight.cumulativeTsn;
  const end = (inFlight.advancedTsn + 1) >>> 0;
  for (let tsn = chunks.firstTsn; tsn !== end; tsn = (tsn + 1) >>> 0) {
    const { state, message } = chunks.get(tsn);
    if (message && state === ChunkState.abandoned && (isInterleaved || !message.isUnordered)) {
      const key = message.stream.id * 2 + (message.isUnordered ? 1 : 0);
      const known = skipped.get(key);
      if (!known && skipped.size === maxEntries) break;
      const { sequence } = message;
      const isLater =
        !known || (isInterleaved ? isAfter(sequence, known.sequence) : isAfter16(sequence, known.sequence));
      if (isLater) skipped.set(key, { streamId: message.stream.id, isUnordered: message.isUnordered, sequence });
    }
    newTsn = tsn;
  }
  let at = writer.addChunk(
    isInterleaved ? ChunkType.iForwardTsn : ChunkType.forwardTsn,
    0,
    4 + skipped.size * entryBytes,
  );
  writeU32(writer.bytes, at, newTsn);
  at += 4;
  for (const { streamId, isUnordered, sequence } of skipped.values()) {
    writeU16(writer.bytes, at, streamId);
    if (isInterleaved) {
      writeU16(writer.bytes, at + 2, isUnordered ? 1 : 0);
      writeU32(writer.bytes, at + 4, sequence);
    } else writeU16(writer.bytes, at + 2, sequence);
    at += entryBytes;
  }
  return true;
}

/** Reads the skipped messages after the new cumulative TSN; `undefined` when the length is wrong. */
export function readSkipped(body: Buffer, isInterleaved: boolean): SkippedMessage[] | undefined {
  const entryBytes = isInterleaved ? 8 : 4;
  if (body.length < 4 || (body.length - 4) % entryBytes !== 0) return undefined;
  const skipped: SkippedMessage[] = [];
  for (let at = 4; at < body.length; at += entryBytes) {
    skipped.push({
      streamId: readU16(body, at),
      isUnordered: isInterleaved && (readU16(body, at + 2) & 1) === 1,
      sequence: isInterleaved ? readU32(body, at + 4) : readU16(body, at + 2),
    });
  }
  return skipped;
}
