/** Chunks and parameters that are not on a hot path, as type-length-value records (RFC 9260 §3.2). */

import { readU16, writeU16 } from './byte-order.ts';

export interface Parameter {
  readonly type: number;
  /** The value, without type, length and padding. */
  readonly value: Buffer;
}

/** One parameter or error cause, padded to four bytes. */
export function encodeParameter(type: number, value: Uint8Array): Buffer {
  const bytes = Buffer.alloc((4 + value.length + 3) & ~3);
  writeU16(bytes, 0, type);
  writeU16(bytes, 2, 4 + value.length);
  bytes.set(value, 4);
  return bytes;
}

/** One chunk, padded to four bytes. */
export function encodeChunk(type: number, flags: number, ...parts: readonly Uint8Array[]): Buffer {
  const bodyLength = parts.reduce((sum, part) => sum + part.length, 0);
  const bytes = Buffer.alloc((4 + bodyLength + 3) & ~3);
  bytes[0] = type;
  bytes[1] = flags;
  writeU16(bytes, 2, 4 + bodyLength);
  let at = 4;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}

/** The parameters in `bytes`, or `undefined` when a length is wrong. Views, not copies. */
export function decodeParameters(bytes: Buffer): Parameter[] | undefined {
  const parameters: Parameter[] = [];
  let at = 0;
  while (bytes.length - at >= 4) {
    const length = readU16(bytes, at + 2);
    if (length < 4 || at + length > bytes.length) return undefined;
    parameters.push({ type: readU16(bytes, at), value: bytes.subarray(at + 4, at + length) });
    at += (length + 3) & ~3;
  }
  return at >= bytes.length ? parameters : undefined;
}

/** 32-bit numbers one after the other. */
export function encodeU32s(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  values.forEach((value, at) => bytes.writeUInt32BE(value >>> 0, at * 4));
  return bytes;
}
