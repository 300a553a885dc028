/**
 * IP fragmentation, as numbers (RFC 791, RFC 8200 §4.5): a datagram in several pieces
 * stays one packet that knows how large its pieces are. It is lost when one of them
 * is, and takes the headers of all of them. Routers and NATs put it together again.
 */

import { ipHeaderBytes, type Packet } from './packet.ts';

/** In IPv6 each piece has a header of its own besides. */
const FRAGMENT_HEADER_BYTES = { ipv4: 0, ipv6: 8 } as const;

/** The packet in pieces of at most `mtuBytes`; itself when it is small enough. */
export function inPieces(packet: Packet, mtuBytes: number): Packet {
  return largestPieceBytes(packet) > mtuBytes ? { ...packet, pieceBytes: mtuBytes } : packet;
}

export function largestPieceBytes({ bytes, pieceBytes = bytes }: Packet): number {
  return Math.min(bytes, pieceBytes);
}

export function pieceCount({ family, bytes, pieceBytes = bytes }: Packet): number {
  if (bytes <= pieceBytes) return 1;
  const headerBytes = ipHeaderBytes(family);
  const roomBytes = Math.floor((pieceBytes - headerBytes - FRAGMENT_HEADER_BYTES[family]) / 8) * 8;
  return Math.ceil((bytes - headerBytes) / roomBytes);
}

/** Bytes of all pieces with their IP headers. */
export function totalBytes(packet: Packet): number {
  const { family, bytes } = packet;
  const pieces = pieceCount(packet);
  const extraBytes = ipHeaderBytes(family) * (pieces - 1) + FRAGMENT_HEADER_BYTES[family] * pieces;
  return pieces === 1 ? bytes : bytes + extraBytes;
}
