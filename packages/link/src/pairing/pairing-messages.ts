/**
 * The two messages of pairing and the words that both people compare. Each
 * message proves knowledge of the invite's secret by an HMAC over everything in
 * it and both node ids; the envelope around it is signed by the sender's node key.
 */

import { equalBytes, hmac } from '@claw/base';
import { type NodeId, publicKeyOf } from '@claw/contracts';
import { decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import { wordlist } from '@scure/bip39/wordlists/english.js';
import * as v from 'valibot';
import { MAX_RELAYS } from './invite.ts';

const MAX_BODY_BYTES = 4096;

const introductionSchema = v.strictObject({
  /** See `inviteIdOf`. */
  invite: fixedBytes(8),
  name: v.pipe(v.string(), v.maxLength(32)),
  sealingKey: fixedBytes(32),
  relays: v.pipe(v.array(v.pipe(v.string(), v.maxLength(256))), v.maxLength(MAX_RELAYS)),
  mac: fixedBytes(32),
});
const refusalSchema = v.strictObject({
  invite: fixedBytes(8),
  code: v.picklist(['PAIR_INVITE_UNKNOWN', 'PAIR_INVITE_EXPIRED', 'PAIR_INVITE_USED', 'PAIR_REFUSED']),
  message: v.pipe(v.string(), v.maxLength(256)),
});

/** `pair.request` and `pair.accept`: who the sender is, and that it knows the secret. */
export type Introduction = v.InferOutput<typeof introductionSchema>;
export type Refusal = v.InferOutput<typeof refusalSchema>;

export const PAIRING_KINDS = ['pair.request', 'pair.accept', 'pair.refuse', 'pair.removed'] as const;
export type PairingKind = (typeof PAIRING_KINDS)[number];

export interface MacContext {
  readonly kind: 'pair.request' | 'pair.accept';
  readonly secret: Uint8Array;
  readonly from: NodeId;
  readonly to: NodeId;
  /** In an accept: the mac of the request that it answers. */
  readonly answers?: Uint8Array;
}

export function encodeIntroduction(
  context: MacContext,
  body: Omit<Introduction, 'mac'>,
): { bytes: Uint8Array; mac: Buffer } {
  const mac = macOf(context, body);
  return { bytes: encodeCbor({ ...body, mac }), mac };
}

/** @throws ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`. */
export function decodeIntroduction(bytes: Uint8Array): Introduction {
  return decodeCbor('a pairing message', introductionSchema, bytes, MAX_BODY_BYTES);
}

export function checkIntroduction(context: MacContext, { mac, ...body }: Introduction): boolean {
  return equalBytes(macOf(context, body), mac);
}

export function encodeRefusal(refusal: Refusal): Uint8Array {
  return encodeCbor(refusal);
}

/** @throws ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`. */
export function decodeRefusal(bytes: Uint8Array): Refusal {
  return decodeCbor('a pairing refusal', refusalSchema, bytes, MAX_BODY_BYTES);
}

/** Four words (BIP 39 English list, 44 bits) that are the same on both sides and on no third. */
export function verificationWords(secret: Uint8Array, requestMac: Uint8Array, acceptMac: Uint8Array): string {
  const digest = hmac('sha256', secret).update('claw words v1').update(requestMac).update(acceptMac).digest();
  return [0, 1, 2, 3].map((index) => wordlist[digest.readUInt16BE(index * 2) % wordlist.length]).join(' ');
}

function macOf(context: MacContext, body: Omit<Introduction, 'mac'>): Buffer {
  const { kind, secret, from, to, answers } = context;
  return hmac('sha256', secret)
    .update(`claw ${kind} v1\0`)
    .update(publicKeyOf(from))
    .update(publicKeyOf(to))
    .update(answers ?? Buffer.alloc(32))
    .update(encodeCbor(body))
    .digest();
}
