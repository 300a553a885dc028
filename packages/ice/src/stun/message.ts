/**
 * STUN messages as read from the wire (RFC 8489 §5, §14). Values are views into
 * the datagram, so a message lives no longer than its bytes. Reading is linear in
 * the length and whatever does not fit is refused whole: `undefined`, no error,
 * because strangers send it.
 */

import { crc32 } from 'node:zlib';
import { asBuffer } from '@claw/base';
import { addressFromBytes, type TransportAddress } from '../address.ts';
import {
  ATTRIBUTE,
  CLASSES,
  HEADER_BYTES,
  KNOWN_REQUIRED,
  MAGIC_COOKIE,
  type StunClass,
  TRANSACTION_ID_BYTES,
} from './constants.ts';

export interface StunAttribute {
  readonly type: number;
  readonly value: Buffer;
  /** Of its type field, from the start of the message. */
  readonly offset: number;
}

export interface StunMessage {
  readonly bytes: Buffer;
  readonly class: StunClass;
  readonly method: number;
  readonly transactionId: Buffer;
  /** What comes before the integrity attributes, and these. The first of a type counts. */
  readonly attributes: ReadonlyMap<number, StunAttribute>;
  readonly hasFingerprint: boolean;
}

/** More attributes than any message needs; the rest is an attack. */
const MAX_ATTRIBUTES = 64;
const FINGERPRINT_XOR = 0x5354554e;

/** Whether a datagram can be STUN: two zero bits, the cookie, a length that fits. */
function looksLikeStun(bytes: Uint8Array): boolean {
  return (
    bytes.length >= HEADER_BYTES &&
    (bytes[0] ?? 255) < 4 &&
    bytes[4] === 0x21 &&
    bytes[5] === 0x12 &&
    bytes[6] === 0xa4 &&
    bytes[7] === 0x42
  );
}

/** The message, or `undefined` when the bytes are none, or carry a wrong FINGERPRINT. */
export function decodeStun(input: Uint8Array): StunMessage | undefined {
  if (!looksLikeStun(input)) return undefined;
  const bytes = asBuffer(input);
  const type = bytes.readUInt16BE(0);
  const length = bytes.readUInt16BE(2);
  if (length % 4 !== 0 || length !== bytes.length - HEADER_BYTES) return undefined;
  const attributes = new Map<number, StunAttribute>();
  let hasFingerprint = false;
  let isSealed = false;
  let count = 0;
  for (let offset = HEADER_BYTES; offset < bytes.length; ) {
    if (hasFingerprint || (count += 1) > MAX_ATTRIBUTES || offset + 4 > bytes.length) return undefined;
    const attributeType = bytes.readUInt16BE(offset);
    const end = offset + 4 + bytes.readUInt16BE(offset + 2);
    if (end > bytes.length) return undefined;
    const attribute = { type: attributeType, value: bytes.subarray(offset + 4, end), offset };
    if (attributeType === ATTRIBUTE.fingerprint) {
      if (attribute.value.length !== 4 || attribute.value.readUInt32BE() !== fingerprintOf(bytes, offset))
        return undefined;
      hasFingerprint = true;
    } else if (isIntegrity(attributeType) || !isSealed) {
      if (!attributes.has(attributeType)) attributes.set(attributeType, attribute);
      isSealed ||= isIntegrity(attributeType);
    }
    offset = (end + 3) & ~3;
  }
  return {
    bytes,
    class: CLASSES[((type >> 7) & 2) | ((type >> 4) & 1)] ?? 'request',
    method: (type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80),
    transactionId: bytes.subarray(8, 8 + TRANSACTION_ID_BYTES),
    attributes,
    hasFingerprint,
  };
}

/** CRC-32 of the message before `offset`; the length field must already count the attribute. */
export function fingerprintOf(bytes: Uint8Array, offset: number): number {
  return (crc32(bytes.subarray(0, offset)) ^ FINGERPRINT_XOR) >>> 0;
}

/** A transaction id as a key of a Map. */
export function transactionKey(id: Buffer): string {
  return id.toString('latin1');
}

export function uint32Of(message: StunMessage, type: number): number | undefined {
  const value = message.attributes.get(type)?.value;
  return value?.length === 4 ? value.readUInt32BE() : undefined;
}

export function uint64Of(message: StunMessage, type: number): bigint | undefined {
  const value = message.attributes.get(type)?.value;
  return value?.length === 8 ? value.readBigUInt64BE() : undefined;
}

export function textOf(message: StunMessage, type: number): string | undefined {
  return message.attributes.get(type)?.value.toString('utf8');
}

/** MAPPED-ADDRESS and ALTERNATE-SERVER are plain, everything else is XORed (RFC 8489 §14.2). */
export function addressOf(message: StunMessage, type: number): TransportAddress | undefined {
  const value = message.attributes.get(type)?.value;
  if (!value || value.length < 8) return undefined;
  const addressBytes = value[1] === 1 ? 4 : value[1] === 2 ? 16 : 0;
  if (addressBytes === 0 || value.length !== 4 + addressBytes) return undefined;
  const isPlain = type === ATTRIBUTE.mappedAddress || type === ATTRIBUTE.alternateServer;
  if (isPlain) return { address: addressFromBytes(value.subarray(4)), port: value.readUInt16BE(2) };
  const address = Buffer.from(value.subarray(4));
  for (let at = 0; at < addressBytes; at += 1) address[at] = (address[at] ?? 0) ^ (message.bytes[4 + at] ?? 0);
  return { address: addressFromBytes(address), port: value.readUInt16BE(2) ^ (MAGIC_COOKIE >>> 16) };
}

export interface StunError {
  readonly code: number;
  readonly reason: string;
}

export function errorOf(message: StunMessage): StunError | undefined {
  const value = message.attributes.get(ATTRIBUTE.errorCode)?.value;
  if (!value || value.length < 4) return undefined;
  const code = ((value[2] ?? 0) & 7) * 100 + (value[3] ?? 0);
  if (code < 300 || code > 699) return undefined;
  return { code, reason: value.toString('utf8', 4, Math.min(value.length, 4 + 128)) };
}

/** Comprehension-required attributes that we do not know (RFC 8489 §6.3). */
export function unknownRequired(message: StunMessage): number[] {
  return [...message.attributes.keys()].filter((type) => type < 0x8000 && !KNOWN_REQUIRED.has(type));
}

function isIntegrity(type: number): boolean {
  return type === ATTRIBUTE.messageIntegrity || type === ATTRIBUTE.messageIntegritySha256;
}
