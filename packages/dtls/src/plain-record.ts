/** The 13-byte record header of DTLS 1.2 and of plaintext in DTLS 1.3 (RFC 6347 §4.1, RFC 9147 §4). */

import { wireVersion } from './registry.ts';

export const HEADER_BYTES = 13;
/** 2^14, the most that a record's content may have (RFC 8446 §5.1). */
export const MAX_CONTENT_BYTES = 16_384;
/** Record numbers have 48 bits. */
export const MAX_SEQUENCE = 2 ** 48 - 1;

export function writeHeader(
  out: Buffer,
  offset: number,
  type: number,
  epoch: number,
  sequence: number,
  length: number,
): void {
  out[offset] = type;
  out.writeUInt16BE(wireVersion.dtls12, offset + 1);
  out.writeUInt16BE(epoch, offset + 3);
  out.writeUIntBE(sequence, offset + 5, 6);
  out.writeUInt16BE(length, offset + 11);
}
