/**
 * What two nodes say while they connect, as the bodies of signaling messages:
 * CBOR, checked. All of one attempt carry its id, which the offerer draws.
 */

import { boundedBytes, decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import * as v from 'valibot';
import { MAX_HANDSHAKE_BYTES } from '../handshake/flight-buffer.ts';
import { NONCE_BYTES } from '../handshake/nonce-book.ts';

export const ATTEMPT_ID_BYTES = 16;
const MAX_SDP_BYTES = 8 * 1024;
export const MAX_CANDIDATES = 64;
const MAX_BODY_BYTES = 16 * 1024;

const attempt = fixedBytes(ATTEMPT_ID_BYTES);
const candidates = v.pipe(
  v.array(
    v.strictObject({
      candidate: v.pipe(v.string(), v.maxLength(512)),
      sdpMid: v.nullable(v.pipe(v.string(), v.maxLength(32))),
    }),
  ),
  v.maxLength(MAX_CANDIDATES),
);
const flight = boundedBytes(MAX_HANDSHAKE_BYTES);
const offset = v.pipe(v.number(), v.safeInteger(), v.minValue(0), v.maxValue(MAX_HANDSHAKE_BYTES));

const descriptionSchema = v.strictObject({
  attempt,
  sdp: v.pipe(v.string(), v.maxLength(MAX_SDP_BYTES)),
  candidates,
  /** First flight of the inner handshake. */
  flight,
  /** Minted by the sender; the receiver's claim answers it. */
  nonce: fixedBytes(NONCE_BYTES),
});
const moreSchema = v.strictObject({
  attempt,
  candidates,
  segments: v.pipe(v.array(v.strictObject({ offset, bytes: flight })), v.maxLength(8)),
});
const refuseSchema = v.strictObject({
  attempt,
  code: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  reason: v.pipe(v.string(), v.maxLength(256)),
});

const SCHEMAS = {
  'link.offer': descriptionSchema,
  'link.answer': descriptionSchema,
  'link.more': moreSchema,
  'link.refuse': refuseSchema,
} as const;

export type AttemptKind = keyof typeof SCHEMAS;
export type DescriptionMessage = v.InferOutput<typeof descriptionSchema>;
export type MoreMessage = v.InferOutput<typeof moreSchema>;
export type RefuseMessage = v.InferOutput<typeof refuseSchema>;
export type AttemptMessage =
  | ({ readonly kind: 'link.offer' | 'link.answer' } & DescriptionMessage)
  | ({ readonly kind: 'link.more' } & MoreMessage)
  | ({ readonly kind: 'link.refuse' } & RefuseMessage);

export function isAttemptKind(kind: string): kind is AttemptKind {
  return Object.hasOwn(SCHEMAS, kind);
}

export function encodeAttemptMessage({ kind: _kind, ...body }: AttemptMessage): Uint8Array {
  return encodeCbor(body);
}

/** @throws ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`. */
export function decodeAttemptMessage(kind: AttemptKind, body: Uint8Array): AttemptMessage {
  return { kind, ...decodeCbor(`a ${kind} message`, SCHEMAS[kind], body, MAX_BODY_BYTES) } as AttemptMessage;
}

/** First byte of a control-lane message that no key seals: the handshake's own, before there are keys. */
export const CLEARTEXT = 0;
const CLEARTEXT_KINDS = ['link.more', 'link.refuse'] as const;

/** The same message for the control lane of the connection it is about. */
export function encodeCleartext(message: MoreWithKind | RefuseWithKind): Buffer {
  return Buffer.concat([
    Buffer.from([CLEARTEXT, CLEARTEXT_KINDS.indexOf(message.kind)]),
    encodeAttemptMessage(message),
  ]);
}

/** @throws ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`. */
export function decodeCleartext(data: Buffer): MoreWithKind | RefuseWithKind {
  const kind = CLEARTEXT_KINDS[data[1] as number] ?? 'link.more';
  return decodeAttemptMessage(kind, data.subarray(2)) as MoreWithKind | RefuseWithKind;
}

type MoreWithKind = { readonly kind: 'link.more' } & MoreMessage;
type RefuseWithKind = { readonly kind: 'link.refuse' } & RefuseMessage;
