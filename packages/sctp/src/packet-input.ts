/** Which packets are read at all: ports, checksum and verification tag (RFC 9260 §8.4, §8.5, RFC 9653). */

import { readU16, readU32 } from './byte-order.ts';
import { decodeParameters } from './chunk-codec.ts';
import { ChunkType, COMMON_HEADER_BYTES, TAG_REFLECTED } from './chunk-types.ts';
import { crc32c } from './crc32c.ts';

export interface PacketInputOptions {
  readonly localPort: number;
  readonly remotePort: number;
  readonly zeroChecksum: boolean;
}

/** Whether the packet is one for these ports, and whole. Its checksum field may be overwritten. */
export function isForUs(packet: Buffer, options: PacketInputOptions): boolean {
  if (packet.length < COMMON_HEADER_BYTES + 4) return false;
  if (readU16(packet, 0) !== options.remotePort || readU16(packet, 2) !== options.localPort) return false;
  const checksum = packet.readUInt32LE(8);
  if (checksum === 0 && options.zeroChecksum) return true;
  packet.fill(0, 8, 12);
  return crc32c(packet, packet.length) === checksum;
}

/** Whether the tag is the one that a packet with this first chunk must carry. */
export function hasRightTag(packet: Buffer, localTag: number, peerTag: number): boolean {
  const tag = readU32(packet, 4);
  const type = packet[COMMON_HEADER_BYTES];
  if (type === ChunkType.init) return tag === 0;
  // Checked against the tag inside the cookie.
  if (type === ChunkType.cookieEcho) return true;
  const isReflected = ((packet[COMMON_HEADER_BYTES + 1] as number) & TAG_REFLECTED) !== 0;
  if ((type === ChunkType.abort || type === ChunkType.shutdownComplete) && isReflected) {
    return tag === peerTag && tag !== 0;
  }
  return tag === localTag;
}

/** The codes of the causes in an ERROR or ABORT chunk. */
export function readErrorCauses(body: Buffer): number[] {
  return decodeParameters(body)?.map(({ type }) => type) ?? [];
}

/** The first cause of an ABORT, for a message; empty when there is none. */
export function describeAbort(body: Buffer): string {
  const cause = decodeParameters(body)?.[0];
  if (!cause) return '';
  const text = cause.value
    .subarray(0, 128)
    .toString('latin1')
    .replaceAll(/[^\x20-\x7e]/g, '');
  return ` (cause ${cause.type}${text ? `: ${text}` : ''})`;
}
