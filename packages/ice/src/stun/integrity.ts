/**
 * MESSAGE-INTEGRITY and MESSAGE-INTEGRITY-SHA256 (RFC 8489 §14.5, §14.6): an HMAC
 * over the message up to the attribute, with a length field that ends behind it.
 */

import { timingSafeEqual } from 'node:crypto';
import { hmac } from '@claw/base';
import { ATTRIBUTE, HEADER_BYTES } from './constants.ts';
import type { StunMessage } from './message.ts';
import { ShortTermKey } from './short-term-key.ts';

export type IntegrityAlgorithm = 'sha1' | 'sha256';

/** A {@link ShortTermKey} is for SHA-1 alone. */
export type IntegrityKey = Uint8Array | ShortTermKey;

export const INTEGRITY_BYTES = { sha1: 20, sha256: 32 } as const;

/** True when the message carries this integrity attribute and it is right. */
export function verifyIntegrity(
  message: StunMessage,
  key: IntegrityKey,
  algorithm: IntegrityAlgorithm = 'sha1',
): boolean {
  const type = algorithm === 'sha1' ? ATTRIBUTE.messageIntegrity : ATTRIBUTE.messageIntegritySha256;
  const attribute = message.attributes.get(type);
  if (!attribute) return false;
  const { value, offset } = attribute;
  // SHA-256 may be truncated to a multiple of four, not below 16.
  const isLengthRight =
    algorithm === 'sha1' ? value.length === 20 : value.length >= 16 && value.length <= 32 && value.length % 4 === 0;
  if (!isLengthRight) return false;
  const expected = integrityOf(message.bytes, offset, value.length, key, algorithm);
  return timingSafeEqual(expected.subarray(0, value.length), value);
}

/** The HMAC of the message before `offset`, as if the attribute of `valueBytes` there were its last. */
export function integrityOf(
  bytes: Buffer,
  offset: number,
  valueBytes: number,
  key: IntegrityKey,
  algorithm: IntegrityAlgorithm,
): Uint8Array {
  const isShortTerm = key instanceof ShortTermKey;
  if (isShortTerm && algorithm !== 'sha1') throw new TypeError('a short-term key signs by SHA-1');
  const length = bytes.readUInt16BE(2);
  bytes.writeUInt16BE(offset + 4 + valueBytes - HEADER_BYTES, 2);
  const covered = bytes.subarray(0, offset);
  const value = isShortTerm ? key.mac(covered) : hmac(algorithm, key).update(covered).digest();
  bytes.writeUInt16BE(length, 2);
  return value;
}
