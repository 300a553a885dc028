/** What the reference peer asks and answers while it looks for a path: STUN Binding, signed with the token of who is asked. */

import type { Endpoint } from '../nat/flow.ts';
import {
  attributeOf,
  decodeStunAddress,
  encodeStun,
  encodeStunAddress,
  isSignedWith,
  STUN_ATTRIBUTE,
  STUN_METHOD,
  type StunMessage,
} from '../stun/message.ts';

export interface Check {
  readonly transaction: Buffer;
  /** Of the peer that is asked. Without: a plain question to a STUN server. */
  readonly token?: string | undefined;
  readonly nominates?: boolean;
}

const EMPTY = Buffer.alloc(0);

export function encodeCheck({ transaction, token, nominates }: Check): Buffer {
  const message = { method: STUN_METHOD.binding, class: 'request', transaction } as const;
  if (token === undefined) return encodeStun({ ...message, attributes: [] });
  const attributes = [
    { type: STUN_ATTRIBUTE.username, value: Buffer.from(token) },
    ...(nominates ? [{ type: STUN_ATTRIBUTE.useCandidate, value: EMPTY }] : []),
  ];
  return encodeStun({ ...message, attributes }, Buffer.from(token));
}

/** Whether `message` is a check for the peer that owns `token`. */
export function isCheckFor(token: string, message: StunMessage, bytes: Uint8Array): boolean {
  if (message.method !== STUN_METHOD.binding || message.class !== 'request') return false;
  const username = attributeOf(message, STUN_ATTRIBUTE.username);
  return username !== undefined && username.equals(Buffer.from(token)) && isSignedWith(bytes, Buffer.from(token));
}

export function isNomination(message: StunMessage): boolean {
  return attributeOf(message, STUN_ATTRIBUTE.useCandidate) !== undefined;
}

/** Tells `from` as whom it was seen, signed with the token of who answers. */
export function encodeCheckAnswer(check: StunMessage, from: Endpoint, token: string): Buffer {
  const { transaction } = check;
  const attributes = [{ type: STUN_ATTRIBUTE.xorMappedAddress, value: encodeStunAddress(from, transaction) }];
  return encodeStun({ method: STUN_METHOD.binding, class: 'success', transaction, attributes }, Buffer.from(token));
}

/** The mapped address of an answer, or undefined when it is none. Throws SIMNET_MALFORMED. */
export function mappedAddressOf(message: StunMessage): Endpoint | undefined {
  if (message.method !== STUN_METHOD.binding || message.class !== 'success') return undefined;
  const value = attributeOf(message, STUN_ATTRIBUTE.xorMappedAddress);
  return value && decodeStunAddress(value, message.transaction);
}
