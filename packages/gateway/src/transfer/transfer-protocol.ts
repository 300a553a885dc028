/**
 * Sending one file over one stream of the service `claw.send`:
 *
 *   open metadata    CBOR {name, size, sha256}: the offer
 *   accept metadata  CBOR {offset}: how much the receiver holds already
 *   stream           the bytes from offset on, then end
 *   stream back      CBOR {code, detail}: what became of it, then end
 *
 * A broken stream leaves the receiver's part in place; the next offer of the same
 * bytes goes on from there.
 */

import { decodeCbor, encodeCbor, fixedBytes } from '@claw/wire';
import * as v from 'valibot';

const MAX_META_BYTES = 4096;
const size = v.pipe(v.number(), v.safeInteger(), v.minValue(0));

const offerSchema = v.strictObject({
  name: v.pipe(v.string(), v.minLength(1), v.maxLength(255)),
  size,
  sha256: fixedBytes(32),
});
const acceptSchema = v.strictObject({ offset: size });
const resultSchema = v.strictObject({
  code: v.picklist(['OK', 'SEND_HASH_MISMATCH', 'SEND_NO_SPACE', 'SEND_FAILED']),
  detail: v.pipe(v.string(), v.maxLength(1024)),
});

export type SendOffer = v.InferOutput<typeof offerSchema>;
export type SendResult = v.InferOutput<typeof resultSchema>;

export const encodeOffer = (offer: SendOffer): Uint8Array => encodeCbor(offer);
export const encodeAccept = (offset: number): Uint8Array => encodeCbor({ offset });
export const encodeResult = (result: SendResult): Uint8Array => encodeCbor(result);

/** The three decoders throw ClawError `WIRE_MALFORMED` or `WIRE_TOO_LARGE`. */
export const decodeOffer = (bytes: Uint8Array): SendOffer =>
  decodeCbor('a file offer', offerSchema, bytes, MAX_META_BYTES);
export const decodeAccept = (bytes: Uint8Array): number =>
  decodeCbor('an accepted offer', acceptSchema, bytes, MAX_META_BYTES).offset;
export const decodeResult = (bytes: Uint8Array): SendResult =>
  decodeCbor('a transfer result', resultSchema, bytes, MAX_META_BYTES);
