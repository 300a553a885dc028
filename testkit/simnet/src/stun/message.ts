/**
 * STUN messages: RFC 8489, sections 5 and 14. A message is a method, a class, a
 * transaction and attributes; addresses are XORed with cookie and transaction.
 */

import { createHmac, timingSafeEqual } from 'node:crypto';
import { simnetError } from '../errors.ts';
import type { Endpoint } from '../nat/flow.ts';
import { formatAddress, parseAddress } from '../net/address.ts';

export const STUN_METHOD = {
  binding: 0x001,
  allocate: 0x003,
  refresh: 0x004,
  send: 0x006,
  data: 0x007,
  createPermission: 0x008,
  channelBind: 0x009,
} as const;

export type StunClass = 'request' | 'indication' | 'success' | 'error';

export const STUN_ATTRIBUTE = {
  mappedAddress: 0x0001,
  changeRequest: 0x0003,
  username: 0x0006,
  messageIntegrity: 0x0008,
  errorCode: 0x0009,
  channelNumber: 0x000c,
  lifetime: 0x000d,
  xorPeerAddress: 0x0012,
  data: 0x0013,
  realm: 0x0014,
  nonce: 0x0015,
  xorRelayedAddress: 0x0016,
  requestedAddressFamily: 0x0017,
  requestedTransport: 0x0019,
  xorMappedAddress: 0x0020,
  useCandidate: 0x0025,
  responseOrigin: 0x802b,
  otherAddress: 0x802c,
} as const;

export interface StunMessage {
  readonly method: number;
  readonly class: StunClass;
  /** 12 bytes. */
  readonly transaction: Buffer;
  /** In their order; those after MESSAGE-INTEGRITY are left out (RFC 8489, section 14.5). */
  readonly attributes: readonly StunAttribute[];
}

export interface StunAttribute {
  readonly type: number;
  readonly value: Buffer;
}

const CLASSES: readonly StunClass[] = ['request', 'indication', 'success', 'error'];
const COOKIE = 0x2112a442;
const HEADER_BYTES = 20;
const INTEGRITY_BYTES = 20;

/** True for what may be STUN, among other datagrams on the same port (RFC 8489, section 6.3). */
export function looksLikeStun(bytes: Uint8Array): boolean {
  const cookie = ((bytes[4] ?? 0) << 24) | ((bytes[5] ?? 0) << 16) | ((bytes[6] ?? 0) << 8) | (bytes[7] ?? 0);
  return bytes.length >= HEADER_BYTES && (bytes[0] ?? 0) < 64 && cookie === COOKIE;
}

/** With `key`, MESSAGE-INTEGRITY is appended. */
export function encodeStun(message: StunMessage, key?: Buffer): Buffer {
  const parts = message.attributes.map(({ type, value }) => {
    const part = Buffer.alloc(4 + Math.ceil(value.length / 4) * 4);
    part.writeUInt16BE(type, 0);
    part.writeUInt16BE(value.length, 2);
    value.copy(part, 4);
    return part;
  });
  const header = Buffer.alloc(HEADER_BYTES);
  const { method } = message;
  const classBits = CLASSES.indexOf(message.class);
  header.writeUInt16BE(
    ((method & 0xf80) << 2) |
      ((method & 0x070) << 1) |
      (method & 0x00f) |
      ((classBits & 2) << 7) |
      ((classBits & 1) << 4),
    0,
  );
  header.writeUInt32BE(COOKIE, 4);
  message.transaction.copy(header, 8);
  const body = Buffer.concat(parts);
  header.writeUInt16BE(body.length, 2);
  if (!key) return Buffer.concat([header, body]);

  const integrity = Buffer.alloc(4 + INTEGRITY_BYTES);
  integrity.writeUInt16BE(STUN_ATTRIBUTE.messageIntegrity, 0);
  integrity.writeUInt16BE(INTEGRITY_BYTES, 2);
  header.writeUInt16BE(body.length + integrity.length, 2);
  const unsigned = Buffer.concat([header, body]);
  createHmac('sha1', key).update(unsigned).digest().copy(integrity, 4);
  return Buffer.concat([unsigned, integrity]);
}

/** Throws SIMNET_MALFORMED. */
export function decodeStun(bytes: Uint8Array): StunMessage {
  if (!looksLikeStun(bytes)) throw malformed('it has no STUN header');
  const message = Buffer.from(bytes);
  if (message.readUInt16BE(2) !== message.length - HEADER_BYTES || message.length % 4 !== 0) {
    throw malformed(`${message.length} bytes are not the length that it claims`);
  }
  const type = message.readUInt16BE(0);
  const attributes: StunAttribute[] = [];
  for (let at = HEADER_BYTES; at < message.length; ) {
    const length = message.readUInt16BE(at + 2);
    const end = at + 4 + length;
    if (end > message.length) throw malformed('an attribute goes on past its end');
    const attribute = { type: message.readUInt16BE(at), value: message.subarray(at + 4, end) };
    attributes.push(attribute);
    if (attribute.type === STUN_ATTRIBUTE.messageIntegrity) break;
    at = at + 4 + Math.ceil(length / 4) * 4;
  }
  return {
    method: ((type & 0x3e00) >> 2) | ((type & 0x00e0) >> 1) | (type & 0x000f),
    class: CLASSES[((type & 0x100) >> 7) | ((type & 0x010) >> 4)] as StunClass,
    transaction: message.subarray(8, HEADER_BYTES),
    attributes,
  };
}

/** Whether the bytes that `decodeStun` took are signed with `key`. */
export function isSignedWith(bytes: Uint8Array, key: Buffer): boolean {
  let at = HEADER_BYTES;
  const message = Buffer.from(bytes);
  while (at + 4 <= message.length && message.readUInt16BE(at) !== STUN_ATTRIBUTE.messageIntegrity) {
    at += 4 + Math.ceil(message.readUInt16BE(at + 2) / 4) * 4;
  }
  if (at + 4 + INTEGRITY_BYTES > message.length || message.readUInt16BE(at + 2) !== INTEGRITY_BYTES) return false;
  message.writeUInt16BE(at + 4 + INTEGRITY_BYTES - HEADER_BYTES, 2);
  const digest = createHmac('sha1', key).update(message.subarray(0, at)).digest();
  return timingSafeEqual(digest, message.subarray(at + 4, at + 4 + INTEGRITY_BYTES));
}

export function attributeOf(message: StunMessage, type: number): Buffer | undefined {
  return message.attributes.find((attribute) => attribute.type === type)?.value;
}

/** MAPPED-ADDRESS and its kin; `transaction` for those whose name begins with XOR. */
export function encodeStunAddress({ address, port }: Endpoint, transaction?: Buffer): Buffer {
  const ip = parseAddress(address);
  const value = Buffer.concat([Buffer.of(0, ip.length === 4 ? 1 : 2, port >> 8, port & 255), ip]);
  return transaction ? xorAddress(value, transaction) : value;
}

/** Throws SIMNET_MALFORMED. */
export function decodeStunAddress(value: Buffer, transaction?: Buffer): Endpoint {
  const isIpv4 = value[1] === 1 && value.length === 8;
  if (!isIpv4 && !(value[1] === 2 && value.length === 20))
    throw malformed('an address has an unknown family or length');
  const plain = transaction ? xorAddress(value, transaction) : value;
  return { address: formatAddress(plain.subarray(4)), port: plain.readUInt16BE(2) };
}

function xorAddress(value: Buffer, transaction: Buffer): Buffer {
  const mask = Buffer.alloc(16);
  mask.writeUInt32BE(COOKIE, 0);
  transaction.copy(mask, 4);
  const out = Buffer.from(value);
  for (let at = 2; at < out.length; at += 1) {
    const key = at < 4 ? mask[at - 2] : mask[at - 4];
    out[at] = (out[at] ?? 0) ^ (key ?? 0);
  }
  return out;
}

function malformed(why: string) {
  return simnetError('SIMNET_MALFORMED', `not a STUN message: ${why}`);
}
